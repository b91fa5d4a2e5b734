//! One line per step on standard error, with the time it took; a spinner where somebody watches.

use std::{io::IsTerminal, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::Instant;

use crate::{escape, output};

/// Shows how far a command is.
#[derive(Debug, Default)]
pub struct Progress {
    quiet: bool,
}

/// A step that is being done.
#[derive(Debug)]
pub struct Step {
    what: String,
    started: Instant,
    spinner: Option<ProgressBar>,
    quiet: bool,
}

impl Progress {
    /// Prints steps unless `quiet`.
    #[must_use]
    pub fn new(quiet: bool) -> Self {
        Self { quiet }
    }

    /// Begins a step.
    #[must_use]
    pub fn step(&self, what: impl Into<String>) -> Step {
        let what = what.into();
        let spinner = (!self.quiet && std::io::stderr().is_terminal()).then(|| {
            let bar = ProgressBar::new_spinner().with_message(what.clone());
            bar.set_style(ProgressStyle::with_template("  {spinner} {msg} ({elapsed})").expect("a constant template"));
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Step { what, started: Instant::now(), spinner, quiet: self.quiet }
    }

    /// Prints a line.
    pub fn note(&self, text: &str) {
        if !self.quiet {
            output::note(text);
        }
    }
}

impl Step {
    /// Says what the step waits for.
    pub fn waiting(&self, detail: &str) {
        if let Some(spinner) = &self.spinner {
            // What it waits for is told by the cluster.
            spinner.set_message(escape::line(&format!("{}: {detail}", self.what)));
        }
    }

    /// Ends the step.
    pub fn done(self) {
        let text = self.what.clone();
        self.done_as(&text);
    }

    /// Ends the step with another text than it began with.
    pub fn done_as(self, text: &str) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
        if !self.quiet {
            output::note(&format!("  ok  {text} ({:.1} s)", self.started.elapsed().as_secs_f64()));
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
    }
}
