//! Objects that this process writes.
//!
//! The writer has made the served form of what it stores already. The watch brings the same bytes back, a moment before the answer
//! to the write or after it: who finds that they are the same need not read them again.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parking_lot::Mutex;

use super::core::Core;
use crate::encoded::{Draft, Encoded, Error};
use crate::store::KeyValue;

/// Bytes of written objects that wait for the watch at most. It brings them within milliseconds; while it is interrupted, what
/// exceeds this is read as if somebody else had written it.
const WAITING_BYTES_MAX: usize = 8 << 20;

/// What is being written, and what the watch has still to bring, by key.
#[derive(Default)]
pub(crate) struct Registry(Mutex<Announced>);

#[derive(Default)]
struct Announced {
    writes: HashMap<String, Write>,
    /// Of those that are written.
    waiting_bytes: usize,
}

struct Write {
    entry: Arc<Entry>,
    /// At which the watch has brought these bytes; 0 = not yet.
    brought: u64,
    /// Of a write that is done, and that the watch has still to bring; 0 = it is under way.
    written: u64,
}

struct Entry {
    draft: Draft,
    /// Made by the writer or by the watch, whichever knows the revision first.
    encoded: OnceLock<Encoded>,
}

impl Entry {
    fn at(&self, revision: u64) -> Result<Encoded, Error> {
        if let Some(made) = self.encoded.get().filter(|made| made.rv() == revision) {
            return Ok(made.clone());
        }
        let made = self.draft.written(revision)?;
        // The other one may have been faster; both are the same.
        drop(self.encoded.set(made.clone()));
        Ok(made)
    }

    fn bytes(&self) -> usize {
        self.draft.json().len()
    }
}

impl Announced {
    fn of(&mut self, key: &str, entry: &Arc<Entry>) -> Option<&mut Write> {
        // Another write of the same object may have taken the place.
        self.writes.get_mut(key).filter(|write| Arc::ptr_eq(&write.entry, entry))
    }

    fn remove(&mut self, key: &str) {
        if let Some(write) = self.writes.remove(key) {
            self.forget(&write);
        }
    }

    /// Lets go of what was written up to `revision`, and what the watch has passed without anybody finding it: its value cannot be
    /// read, say.
    fn sweep(&mut self, revision: u64) {
        let Self { writes, waiting_bytes } = self;
        for (_, write) in writes.extract_if(|_, write| write.written > 0 && write.written <= revision) {
            *waiting_bytes -= write.entry.bytes();
        }
    }

    fn forget(&mut self, write: &Write) {
        if write.written > 0 {
            self.waiting_bytes -= write.entry.bytes();
        }
    }
}

impl Registry {
    /// The served form of a stored value, if this process is writing or has written exactly that.
    pub(super) fn find(&self, kv: &KeyValue) -> Option<Encoded> {
        let entry = self.0.lock().writes.get(&kv.key)?.entry.clone();
        if entry.draft.json() != &kv.value {
            return None;
        }
        let found = entry.at(kv.mod_revision).ok();
        let mut announced = self.0.lock();
        if let Some(write) = announced.of(&kv.key, &entry) {
            write.brought = kv.mod_revision;
            if write.written == kv.mod_revision {
                announced.remove(&kv.key);
            }
        }
        found
    }

    /// How many written objects the watch has still to bring, and their bytes.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> (usize, usize) {
        let announced = self.0.lock();
        (announced.writes.values().filter(|write| write.written > 0).count(), announced.waiting_bytes)
    }

    fn announce(&self, key: &str, entry: &Arc<Entry>) {
        let mut announced = self.0.lock();
        let write = Write { entry: entry.clone(), brought: 0, written: 0 };
        if let Some(before) = announced.writes.insert(key.to_owned(), write) {
            announced.forget(&before);
        }
    }

    /// The write is over: it was made at `revision`, or (0) nobody knows that it was made. The cache has all up to `present`.
    fn over(&self, key: &str, entry: &Arc<Entry>, revision: u64, present: u64) {
        // What the cache has, the watch does not bring again.
        let revision = if revision > present { revision } else { 0 };
        let mut announced = self.0.lock();
        if announced.waiting_bytes + entry.bytes() > WAITING_BYTES_MAX {
            announced.sweep(present);
        }
        let room = WAITING_BYTES_MAX.saturating_sub(announced.waiting_bytes);
        let Some(write) = announced.of(key, entry) else { return };
        if revision == 0 || write.brought == revision || entry.bytes() > room {
            return announced.remove(key);
        }
        write.written = revision;
        announced.waiting_bytes += entry.bytes();
    }

    /// Everything was listed: the watch brings nothing any more of what was written before.
    pub(super) fn listed(&self) {
        self.0.lock().sweep(u64::MAX);
    }
}

/// A write under way; see [`super::Cache::writing`].
pub struct Writing {
    entry: Arc<Entry>,
    /// Where it is announced.
    place: Option<(Arc<Core>, String)>,
    /// At which it was made, once that is known.
    revision: AtomicU64,
}

impl Writing {
    pub(super) fn new(place: Option<(Arc<Core>, String)>, draft: Draft) -> Self {
        let entry = Arc::new(Entry { draft, encoded: OnceLock::new() });
        if let Some((core, key)) = &place {
            core.writing.announce(key, &entry);
        }
        Self { entry, place, revision: AtomicU64::new(0) }
    }

    /// The bytes to store.
    #[must_use]
    pub fn json(&self) -> &Bytes {
        self.entry.draft.json()
    }

    /// The object as it is served, written at revision `rv`; 0 = it is not written.
    ///
    /// # Errors
    /// [`Error::TooLarge`].
    pub fn written(&self, rv: u64) -> Result<Encoded, Error> {
        self.revision.store(rv, Ordering::Relaxed);
        self.entry.at(rv)
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        let Some((core, key)) = &self.place else { return };
        core.writing.over(key, &self.entry, *self.revision.get_mut(), core.revision());
    }
}
