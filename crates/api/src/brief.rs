//! Texts about what a client has sent. They repeat parts of it, which may be as long as a body, and one body can give cause for very
//! many of them: each is cut, and there are only so many.

use std::borrow::Cow;
use std::collections::HashSet;

/// Bytes of a path in a text; no path of an ordinary object comes near.
pub(crate) const PATH_BYTES_MAX: usize = 1024;
/// Complaints about fields that are kept of one body, as upstream's reader of JSON has it.
pub(crate) const COMPLAINTS_MAX: usize = 100;
/// Stands for what was cut off.
const MORE: &str = "...";

/// The text, or its beginning and `...` where it has more than `max_bytes`.
pub(crate) fn cut(text: &str, max_bytes: usize) -> Cow<'_, str> {
    if text.len() <= max_bytes {
        return Cow::Borrowed(text);
    }
    Cow::Owned(format!("{}{MORE}", &text[..text.floor_char_boundary(max_bytes)]))
}

/// As [`cut`], for a text that is not needed otherwise.
pub(crate) fn cut_owned(mut text: String, max_bytes: usize) -> String {
    if text.len() > max_bytes {
        text.truncate(text.floor_char_boundary(max_bytes));
        text.push_str(MORE);
        text.shrink_to_fit();
    }
    text
}

/// A path that is put together part by part, and takes no more than [`PATH_BYTES_MAX`] and `...` whatever is pushed.
#[derive(Debug, Default)]
pub(crate) struct Path(String);

impl Path {
    /// Goes on from a text that [`Path::text`] has returned.
    pub(crate) fn from(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// Adds to its end what still has room.
    pub(crate) fn push(&mut self, part: &str) {
        // What is longer has been cut.
        if let Some(room) = PATH_BYTES_MAX.checked_sub(self.0.len()) {
            self.0.push_str(&cut(part, room));
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn text(self) -> String {
        self.0
    }
}

/// Complaints about the fields of one body, each once, up to [`COMPLAINTS_MAX`].
#[derive(Debug, Default)]
pub(crate) struct Complaints {
    listed: Vec<String>,
    seen: HashSet<String>,
}

impl Complaints {
    /// Whether no more are kept: nothing needs to be looked for any longer.
    pub(crate) fn is_full(&self) -> bool {
        self.listed.len() >= COMPLAINTS_MAX
    }

    /// Adds one, unless it is there or there are enough.
    pub(crate) fn add(&mut self, text: String) {
        if !self.is_full() && self.seen.insert(text.clone()) {
            self.listed.push(text);
        }
    }

    /// In the order in which they were added.
    pub(crate) fn list(self) -> Vec<String> {
        self.listed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_between_characters() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("abcd", 3), "abc...");
        assert_eq!(cut("aéé", 4), "aé...");
        assert_eq!(cut_owned("abcd".to_owned(), 3), "abc...");
    }

    #[test]
    fn paths_end_where_they_are_cut() {
        let mut path = Path::default();
        path.push("spec");
        path.push(&"x".repeat(2 * PATH_BYTES_MAX));
        path.push(".y");
        let text = path.text();
        assert_eq!(text.len(), PATH_BYTES_MAX + MORE.len());
        assert!(text.starts_with("specxx") && text.ends_with("xx..."), "{text}");
        let mut path = Path::from(&text);
        path.push(".z");
        assert_eq!(path.text(), text);
    }
}
