//! Reading one's own writes: what a controller wrote but its informer has not shown yet.
//!
//! A plan made from a snapshot that lacks the last plan's effect would do it twice (create too many, delete too many). So
//! after its writes a controller notes them here and does nothing for that key until the informer has caught up; the very
//! event that shows the write brings the key back.

use std::{collections::BTreeMap, time::Duration};

use gantry_client::{Key, Object, Reader};
use parking_lot::Mutex;
use tokio::time::Instant;

/// After this time a write that never showed up is forgotten, so that a key cannot hang for ever.
const FORGET_AFTER: Duration = Duration::from_secs(300);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Sign {
    /// The object must be seen at this revision or later.
    Revision(u64),
    /// The object with this uid must be gone or on its way out.
    Gone(String),
}

#[derive(Debug)]
struct Entry {
    object: Key,
    sign: Sign,
    since: Instant,
}

/// What the informer's copy of an object says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    uid: String,
    revision: u64,
    deleting: bool,
}

/// Writes per key of the controller, until they are seen.
#[derive(Debug, Default)]
pub struct Pending {
    entries: Mutex<BTreeMap<Key, Vec<Entry>>>,
}

impl Pending {
    /// When to look again at a key whose writes are not seen yet. The event that shows them brings it back long before, but
    /// for an object that was made and deleted again before the informer told there is no event.
    pub const LOOK_AGAIN: Duration = Duration::from_secs(5);

    /// No writes.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// While working on `key`, `written` was made or changed.
    pub fn wrote<K: Object>(&self, key: &Key, written: &K) {
        self.note(key, written.key(), Sign::Revision(written.revision()));
    }

    /// While working on `key`, `object` was deleted.
    pub fn deleted<K: Object>(&self, key: &Key, object: &K) {
        self.note(key, object.key(), Sign::Gone(object.uid().to_owned()));
    }

    /// Whether `reader` shows every write that was noted for `key`.
    pub fn settled<K: Object>(&self, key: &Key, reader: &Reader<K>) -> bool {
        self.settle(key, reader.revision(), |object| {
            reader.get(object).map(|o| Seen {
                uid: o.uid().to_owned(),
                revision: o.revision(),
                deleting: o.metadata().deletion_timestamp.is_some(),
            })
        })
    }

    /// The owner is gone: nothing is expected for it any more.
    pub fn forget(&self, key: &Key) {
        self.entries.lock().remove(key);
    }

    fn note(&self, key: &Key, object: Key, sign: Sign) {
        let entry = Entry { object, sign, since: Instant::now() };
        self.entries.lock().entry(key.clone()).or_default().push(entry);
    }

    fn settle(&self, key: &Key, seen_revision: u64, look: impl Fn(&Key) -> Option<Seen>) -> bool {
        let mut all = self.entries.lock();
        let Some(entries) = all.get_mut(key) else { return true };
        entries.retain(|entry| {
            let seen = match (&entry.sign, look(&entry.object)) {
                (Sign::Revision(wanted), Some(now)) => now.revision >= *wanted || seen_revision >= *wanted,
                (Sign::Revision(wanted), None) => seen_revision >= *wanted,
                (Sign::Gone(uid), Some(now)) => now.uid != *uid || now.deleting,
                (Sign::Gone(_), None) => true,
            };
            let forgotten = entry.since.elapsed() >= FORGET_AFTER;
            if forgotten && !seen {
                tracing::warn!(%key, object = %entry.object, "own write was never seen, going on without it");
            }
            !seen && !forgotten
        });
        let settled = entries.is_empty();
        if settled {
            all.remove(key);
        }
        settled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(uid: &str, revision: u64, deleting: bool) -> Option<Seen> {
        Some(Seen { uid: uid.to_owned(), revision, deleting })
    }

    #[tokio::test(start_paused = true)]
    async fn settles_when_the_write_is_seen() {
        let check = |sign: &Sign, revision, object: Option<Seen>, expected| {
            let pending = Pending::new();
            let key = Key::new("ns", "owner");
            pending.note(&key, Key::new("ns", "object"), sign.clone());
            assert_eq!(pending.settle(&key, revision, |_| object.clone()), expected, "{sign:?} {revision} {object:?}");
        };
        let written = Sign::Revision(7);
        check(&written, 5, None, false);
        check(&written, 6, seen("u", 6, false), false);
        check(&written, 7, seen("u", 7, false), true);
        check(&written, 9, seen("u", 8, false), true);
        // Made and removed again before we looked.
        check(&written, 9, None, true);
        let gone = Sign::Gone("u".to_owned());
        check(&gone, 5, seen("u", 5, false), false);
        check(&gone, 6, seen("u", 6, true), true);
        check(&gone, 6, seen("namesake", 6, false), true);
        check(&gone, 5, None, true);
    }

    #[tokio::test(start_paused = true)]
    async fn forgets_in_the_end() {
        let pending = Pending::new();
        let key = Key::new("ns", "owner");
        pending.note(&key, Key::new("ns", "object"), Sign::Revision(7));
        assert!(!pending.settle(&key, 0, |_| None));
        tokio::time::advance(FORGET_AFTER).await;
        assert!(pending.settle(&key, 0, |_| None));
        assert!(pending.settle(&key, 0, |_| None));
    }
}
