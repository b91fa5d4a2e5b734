//! Text from a cluster on its way to a terminal: what could steer the terminal is shown instead of obeyed.
//!
//! Names, messages, annotations, events and logs are written by whoever may write to the cluster. Printed as they are,
//! an escape sequence in them could retitle or clear the user's terminal, hide lines, or answer questions in the user's
//! place. So:
//!
//! - [`line`] is for one field or cell, [`text`] for a message of several lines. Every printing path ends in one of them
//!   ([`crate::output`]), whether standard output is a terminal or not: a table is for people.
//! - Objects as YAML or JSON and logs are data: they stay byte for byte as they are, unless they go to a terminal.
//! - [`log_line`] is for logs on a terminal: colours (SGR) stay, because programs write them on purpose and they cannot
//!   do more than colour; they end with the line. Everything else is shown.
//! - The output of `exec`, `attach` and `run -i` is the terminal session that the user asked for, and stays as it is.

/// What a character is shown as that must not be obeyed.
const SHOWN: char = '\u{fffd}';
/// Parameters of a colour sequence that are let through, in characters.
const COLOUR_CHARS_MAX: usize = 32;
const RESET: &str = "\u{1b}[0m";

/// Control characters (C0, DEL, C1), and those that turn the direction of writing: text could read differently from what
/// it is.
fn steers(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn shown(c: char) -> char {
    if steers(c) { SHOWN } else { c }
}

/// One line: line ends are shown too, tabs stay.
#[must_use]
pub(crate) fn line(text: &str) -> String {
    text.chars().map(|c| if c == '\t' { c } else { shown(c) }).collect()
}

/// Several lines.
#[must_use]
pub(crate) fn text(text: &str) -> String {
    text.chars().map(|c| if matches!(c, '\t' | '\n') { c } else { shown(c) }).collect()
}

/// A line of a log for a terminal, with or without its line end.
#[must_use]
pub(crate) fn log_line(bytes: &[u8]) -> String {
    let decoded = String::from_utf8_lossy(bytes);
    let (body, end) = match decoded.strip_suffix('\n') {
        Some(body) => (body.strip_suffix('\r').unwrap_or(body), "\n"),
        None => (decoded.as_ref(), ""),
    };
    let mut out = String::with_capacity(decoded.len());
    let mut coloured = false;
    let mut rest = body;
    while let Some(c) = rest.chars().next() {
        if let Some(length) = colour(rest) {
            let sequence = &rest[..length];
            coloured = !matches!(sequence, "\u{1b}[m" | RESET);
            out.push_str(sequence);
            rest = &rest[length..];
        } else {
            out.push(if c == '\t' { c } else { shown(c) });
            rest = &rest[c.len_utf8()..];
        }
    }
    if coloured {
        out.push_str(RESET);
    }
    out.push_str(end);
    out
}

/// The length in bytes of the colour sequence that the text begins with: `ESC [ digits ; : m`.
fn colour(text: &str) -> Option<usize> {
    let parameters = text.strip_prefix("\u{1b}[")?;
    let length = parameters.bytes().take_while(|b| matches!(b, b'0'..=b'9' | b';' | b':')).count();
    let fits = length <= COLOUR_CHARS_MAX && parameters.as_bytes().get(length) == Some(&b'm');
    fits.then_some(2 + length + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminal_escapes_are_defused() {
        let check = |given: &str, expected: &str| assert_eq!(line(given), expected, "{given:?}");
        check("plain \u{e4}\u{1f980}\ttext", "plain \u{e4}\u{1f980}\ttext");
        check("a\u{1b}[31mb", "a\u{fffd}[31mb");
        check("\u{1b}]0;title\u{7}", "\u{fffd}]0;title\u{fffd}");
        check("forged\nrow\r", "forged\u{fffd}row\u{fffd}");
        check("\u{9b}2J\u{7f}\u{0}", "\u{fffd}2J\u{fffd}\u{fffd}");
        check("user\u{202e}txt.exe\u{2066}", "user\u{fffd}txt.exe\u{fffd}");
        assert_eq!(text("a\n\tb\r\u{1b}c"), "a\n\tb\u{fffd}\u{fffd}c");
    }

    #[test]
    fn colours_of_logs_stay_and_end_with_their_line() {
        let check = |given: &str, expected: &str| assert_eq!(log_line(given.as_bytes()), expected, "{given:?}");
        check("plain\n", "plain\n");
        check("windows\r\n", "windows\n");
        check("no end", "no end");
        check("\u{1b}[31mred\u{1b}[0m\n", "\u{1b}[31mred\u{1b}[0m\n");
        check("\u{1b}[1;38:5:1mred\u{1b}[m\n", "\u{1b}[1;38:5:1mred\u{1b}[m\n");
        check("\u{1b}[8mhidden\n", "\u{1b}[8mhidden\u{1b}[0m\n");
        check("\u{1b}[2J\u{1b}[H\n", "\u{fffd}[2J\u{fffd}[H\n");
        check("\u{1b}]52;c;ZXZpbA==\u{7}\n", "\u{fffd}]52;c;ZXZpbA==\u{fffd}\n");
        check("50%\r100%\n", "50%\u{fffd}100%\n");
        check("\u{1b}", "\u{fffd}");
        check("\u{1b}[", "\u{fffd}[");
        let endless = format!("\u{1b}[{}m", "1;".repeat(40));
        assert!(log_line(endless.as_bytes()).starts_with('\u{fffd}'));
        assert_eq!(log_line(b"\xff\x9b2J\n"), "\u{fffd}\u{fffd}2J\n");
    }
}
