//! Logs of several containers on one standard output: whole lines, each with its label.

use std::sync::Arc;

use anyhow::Result;
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::{escape, output};

/// The longest line that is held back until its end has come, in bytes. A longer one keeps the output to itself until then.
const LINE_BYTES_MAX: usize = 256 << 10;

/// Colours of labels, one after another: no red, which stands for errors, and none that is hard to read.
const COLOURS: [u8; 6] = [32, 33, 34, 35, 36, 92];

/// A label in the `n`th colour.
#[must_use]
pub(super) fn paint(label: &str, n: usize) -> String {
    if label.is_empty() { String::new() } else { format!("\u{1b}[{}m{label}\u{1b}[0m", COLOURS[n % COLOURS.len()]) }
}

/// How lines are written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Style {
    /// To a terminal: what could steer it is shown.
    pub(super) terminal: bool,
    /// Other logs are written too, so that lines must be whole.
    pub(super) several: bool,
}

/// Writes one log.
pub(super) struct Writer {
    output: Arc<Mutex<()>>,
    label: String,
    style: Style,
    text: Lines,
    /// Held in the middle of a line that is too long to be held back.
    held: Option<OwnedMutexGuard<()>>,
}

impl Writer {
    pub(super) fn new(output: Arc<Mutex<()>>, label: String, style: Style) -> Self {
        Self { output, label, style, text: Lines::default(), held: None }
    }

    fn is_plain(&self) -> bool {
        self.label.is_empty() && !self.style.terminal && !self.style.several
    }

    /// The next bytes of the log.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub(super) async fn add(&mut self, bytes: &[u8]) -> Result<()> {
        if self.is_plain() {
            return output::write(bytes);
        }
        let out = self.text.add(bytes, &self.label, self.style.terminal);
        self.write(&out).await
    }

    /// The end of the log: what stands after the last line end.
    ///
    /// # Errors
    /// When standard output cannot be written.
    pub(super) async fn finish(mut self) -> Result<()> {
        let out = self.text.finish(&self.label, self.style);
        self.write(&out).await
    }

    async fn write(&mut self, out: &[u8]) -> Result<()> {
        if out.is_empty() {
            return Ok(());
        }
        let guard = match self.held.take() {
            Some(guard) => guard,
            None => Arc::clone(&self.output).lock_owned().await,
        };
        let result = output::write(out);
        if self.text.in_line {
            self.held = Some(guard);
        }
        result
    }
}

/// Cuts a log into lines. Pure.
#[derive(Debug, Default)]
struct Lines {
    /// The beginning of a line whose end has not come.
    begun: Vec<u8>,
    /// The line's beginning has been given out already.
    in_line: bool,
}

impl Lines {
    /// What can be written now.
    fn add(&mut self, bytes: &[u8], label: &str, terminal: bool) -> Vec<u8> {
        let mut out = Vec::new();
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            self.begun.extend_from_slice(piece);
            let whole = piece.ends_with(b"\n");
            if whole || self.begun.len() > LINE_BYTES_MAX {
                self.emit(&mut out, label, terminal);
                self.in_line = !whole;
            }
        }
        out
    }

    fn emit(&mut self, out: &mut Vec<u8>, label: &str, terminal: bool) {
        if !self.in_line {
            out.extend_from_slice(label.as_bytes());
        }
        if terminal {
            out.extend_from_slice(escape::log_line(&self.begun).as_bytes());
        } else {
            out.extend_from_slice(&self.begun);
        }
        self.begun.clear();
    }

    /// What is left at the end. Among several logs it gets the line end that it lacks.
    fn finish(&mut self, label: &str, style: Style) -> Vec<u8> {
        let mut out = Vec::new();
        let open = self.in_line || !self.begun.is_empty();
        if !self.begun.is_empty() {
            self.emit(&mut out, label, style.terminal);
        }
        if open && style.several {
            out.push(b'\n');
        }
        self.in_line = false;
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is written for each piece, and at the end.
    fn check(pieces: &[&str], several: bool, expected: &[&str]) {
        let mut lines = Lines::default();
        let mut written: Vec<String> =
            pieces.iter().map(|p| String::from_utf8(lines.add(p.as_bytes(), "L ", false)).expect("text")).collect();
        let end = lines.finish("L ", Style { terminal: false, several });
        written.push(String::from_utf8(end).expect("text"));
        assert_eq!(written, expected, "{pieces:?}");
    }

    #[test]
    fn lines_are_whole_and_have_their_label_once() {
        check(&["one\ntwo\nth", "ree\n"], true, &["L one\nL two\n", "L three\n", ""]);
        check(&["a", "b", "c\n\n"], true, &["", "", "L abc\nL \n", ""]);
        check(&["no end"], true, &["", "L no end\n"]);
        check(&["no end"], false, &["", "L no end"]);
        check(&[], true, &[""]);
    }

    #[test]
    fn a_line_without_end_is_not_held_back_for_ever() {
        let mut lines = Lines::default();
        assert_eq!(lines.add(&vec![b'x'; LINE_BYTES_MAX], "L ", false), b"");
        let out = lines.add(b"x", "L ", false);
        assert_eq!(out.len(), 2 + LINE_BYTES_MAX + 1);
        assert!(lines.in_line, "it keeps the output to itself");
        assert_eq!(lines.add(b"rest\nnext\n", "L ", false), b"rest\nL next\n");
        assert!(!lines.in_line);
    }

    #[test]
    fn on_a_terminal_lines_are_harmless() {
        let mut lines = Lines::default();
        assert_eq!(lines.add(b"\x1b[2Jgone\n", "", true), "\u{fffd}[2Jgone\n".as_bytes());
    }

    #[test]
    fn labels_have_colours_in_turn() {
        assert_eq!(paint("[a] ", 0), "\u{1b}[32m[a] \u{1b}[0m");
        assert_eq!(paint("[a] ", 6), paint("[a] ", 0));
        assert_ne!(paint("[a] ", 1), paint("[a] ", 0));
        assert_eq!(paint("", 3), "");
    }

    #[tokio::test]
    async fn a_long_line_keeps_others_out_until_it_ends() {
        let output = Arc::new(Mutex::new(()));
        let style = Style { terminal: false, several: true };
        let mut writer = Writer::new(Arc::clone(&output), String::new(), style);
        writer.text.in_line = true;
        writer.held = Some(Arc::clone(&output).lock_owned().await);
        assert!(output.try_lock().is_err());
        writer.add(b"\n").await.expect("it is written");
        assert!(output.try_lock().is_ok());
    }
}
