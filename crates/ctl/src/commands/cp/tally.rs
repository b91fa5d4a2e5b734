//! What was copied, shown while it is and told at the end.

use std::{io::IsTerminal, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};

use crate::{escape, output};

/// Warnings that are printed; more are counted only: whoever wrote the archive decides how many there are.
const WARNINGS_MAX: u64 = 20;

/// Counts and shows.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) files: u64,
    pub(super) folders: u64,
    pub(super) links: u64,
    pub(super) bytes: u64,
    /// Entries that cannot be copied by their nature.
    pub(super) skipped: u64,
    /// Entries that should have been copied and were not.
    pub(super) failed: u64,
    bar: ProgressBar,
    quiet: bool,
}

impl Tally {
    /// A bar where somebody watches.
    pub(super) fn new(quiet: bool) -> Self {
        let bar = if !quiet && std::io::stderr().is_terminal() {
            let style = ProgressStyle::with_template("  {spinner} {bytes} {binary_bytes_per_sec} {wide_msg}");
            let bar = ProgressBar::new_spinner().with_style(style.expect("a constant template"));
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        } else {
            ProgressBar::hidden()
        };
        Self { files: 0, folders: 0, links: 0, bytes: 0, skipped: 0, failed: 0, bar, quiet }
    }

    /// This file is copied now.
    pub(super) fn begin(&mut self, name: &str) {
        self.bar.set_message(escape::line(name));
    }

    pub(super) fn add_bytes(&mut self, count: usize) {
        self.bytes += count as u64;
        self.bar.set_position(self.bytes);
    }

    /// Something that `cp` does not copy.
    pub(super) fn skip(&mut self, text: &str) {
        self.skipped += 1;
        self.warn(text);
    }

    /// Something that could not be copied.
    pub(super) fn fail(&mut self, text: &str) {
        self.failed += 1;
        self.warn(text);
    }

    fn warn(&self, text: &str) {
        match (self.skipped + self.failed).cmp(&(WARNINGS_MAX + 1)) {
            std::cmp::Ordering::Less => self.bar.suspend(|| output::note(&format!("warning: {}", escape::line(text)))),
            std::cmp::Ordering::Equal => self.bar.suspend(|| output::note("warning: more entries were not copied")),
            std::cmp::Ordering::Greater => {}
        }
    }

    /// Ends the bar and says what was copied.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
        if !self.quiet {
            output::note(&self.summary());
        }
    }

    fn summary(&self) -> String {
        let count = |n: u64, what: &str| (n > 0).then(|| format!("{n} {what}{}", if n == 1 { "" } else { "s" }));
        let parts: Vec<String> = [count(self.files, "file"), count(self.folders, "folder"), count(self.links, "link")]
            .into_iter()
            .flatten()
            .collect();
        let what = if parts.is_empty() { "nothing".to_owned() } else { parts.join(", ") };
        let left = self.skipped + self.failed;
        let left = if left > 0 { format!("; not copied: {left}") } else { String::new() };
        format!("{what} copied, {} byte{}{left}", self.bytes, if self.bytes == 1 { "" } else { "s" })
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_counts() {
        let mut tally = Tally::new(true);
        assert_eq!(tally.summary(), "nothing copied, 0 bytes");
        (tally.files, tally.folders, tally.bytes) = (1, 2, 1);
        assert_eq!(tally.summary(), "1 file, 2 folders copied, 1 byte");
        (tally.links, tally.skipped, tally.failed) = (3, 1, 1);
        assert_eq!(tally.summary(), "1 file, 2 folders, 3 links copied, 1 byte; not copied: 2");
    }
}
