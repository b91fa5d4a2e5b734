//! Objects that this process is about to write.
//!
//! The writer has made the served form of what it stores already. The watch brings the same bytes back a moment later: who
//! finds that they are the same need not read them again.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use parking_lot::Mutex;

use super::core::Core;
use crate::encoded::{Draft, Encoded, Error};
use crate::store::KeyValue;

/// What is being written, by key.
#[derive(Default)]
pub(crate) struct Registry(Mutex<HashMap<String, Arc<Entry>>>);

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
}

impl Registry {
    /// The served form of a stored value, if this process is writing exactly that.
    pub(super) fn find(&self, kv: &KeyValue) -> Option<Encoded> {
        let entry = self.0.lock().get(&kv.key).cloned()?;
        if entry.draft.json() != &kv.value {
            return None;
        }
        entry.at(kv.mod_revision).ok()
    }
}

/// A write under way; see [`super::Cache::writing`].
pub struct Writing {
    entry: Arc<Entry>,
    /// Where it is announced.
    place: Option<(Arc<Core>, String)>,
}

impl Writing {
    pub(super) fn new(place: Option<(Arc<Core>, String)>, draft: Draft) -> Self {
        let entry = Arc::new(Entry { draft, encoded: OnceLock::new() });
        if let Some((core, key)) = &place {
            core.writing.0.lock().insert(key.clone(), entry.clone());
        }
        Self { entry, place }
    }

    /// The bytes to store.
    #[must_use]
    pub fn json(&self) -> &Bytes {
        self.entry.draft.json()
    }

    /// The object as it is served, written at revision `rv`.
    ///
    /// # Errors
    /// [`Error::TooLarge`].
    pub fn written(&self, rv: u64) -> Result<Encoded, Error> {
        self.entry.at(rv)
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        let Some((core, key)) = &self.place else { return };
        let mut writing = core.writing.0.lock();
        // Another write of the same object may have taken the place.
        if writing.get(key).is_some_and(|entry| Arc::ptr_eq(entry, &self.entry)) {
            writing.remove(key);
        }
    }
}
