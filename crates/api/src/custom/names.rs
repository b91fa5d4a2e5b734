//! The names that custom kinds are made of.
//!
//! Kinds and fields are compared and keyed by `&'static str` wherever they are met. So the names of custom ones live for ever, each
//! once, however many definitions have it, and there may be only so many of them.

use std::cell::Cell;
use std::collections::HashSet;
use std::sync::{Mutex, OnceLock, PoisonError};

/// The bytes of names that may live for ever: some hundred thousand names. All definitions of a large cluster have some ten thousand.
const MAX_BYTES: usize = 16 << 20;
/// What a name takes beside its text.
const OVERHEAD_BYTES: usize = 32;

/// Names, and the bytes that they take.
#[derive(Default)]
struct Known {
    names: HashSet<&'static str>,
    bytes: usize,
}

impl Known {
    /// The one copy of a name; `None` where there is no room for another.
    fn intern(&mut self, name: &str, max: usize) -> Option<&'static str> {
        if let Some(known) = self.names.get(name) {
            return Some(known);
        }
        let bytes = self.bytes + name.len() + OVERHEAD_BYTES;
        if bytes > max {
            return None;
        }
        self.bytes = bytes;
        let name: &'static str = Box::leak(Box::<str>::from(name));
        self.names.insert(name);
        Some(name)
    }
}

/// The names of one definition that is being made.
#[derive(Default)]
pub(super) struct Names {
    lacks_room: Cell<bool>,
}

impl Names {
    /// A name. Empty where there is no room for it, which [`Names::fit`] tells.
    pub(super) fn intern(&self, name: &str) -> &'static str {
        static KNOWN: OnceLock<Mutex<Known>> = OnceLock::new();
        if name.is_empty() {
            return "";
        }
        let mut known = KNOWN.get_or_init(Mutex::default).lock().unwrap_or_else(PoisonError::into_inner);
        known.intern(name, MAX_BYTES).unwrap_or_else(|| {
            self.lacks_room.set(true);
            ""
        })
    }

    /// Whether there was room for all of them.
    pub(super) fn fit(&self) -> bool {
        !self.lacks_room.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_kept_once_and_only_so_many_are() {
        let mut known = Known::default();
        let max = 2 * (OVERHEAD_BYTES + 3);
        let one = known.intern("one", max).expect("room");
        assert!(known.intern(&String::from("one"), max).is_some_and(|again| std::ptr::eq(again, one)));
        assert_eq!(known.intern("two", max), Some("two"));
        assert_eq!(known.intern("six", max), None);
        assert_eq!((known.intern("two", max), known.names.len()), (Some("two"), 2), "what is known stays known");
    }
}
