//! Text that is borrowed from a document or a program, or shared.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// Text.
#[derive(Clone)]
pub enum Text<'a> {
    /// Stands elsewhere.
    Borrowed(&'a str),
    /// Made by an expression.
    Owned(Arc<str>),
}

impl Text<'_> {
    pub(crate) fn code_points(&self) -> u64 {
        if self.is_ascii() { self.len() as u64 } else { self.chars().count() as u64 }
    }

    pub(crate) fn shared(&self) -> Arc<str> {
        match self {
            Self::Borrowed(text) => Arc::from(*text),
            Self::Owned(text) => Arc::clone(text),
        }
    }
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Owned(text) => text,
        }
    }
}

impl From<String> for Text<'_> {
    fn from(text: String) -> Self {
        Self::Owned(text.into())
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self::Borrowed(text)
    }
}

impl fmt::Debug for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}
