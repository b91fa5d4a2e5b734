//! What happened, in the order in which it happened, and the world that it made.
//!
//! The history is taken from the store, below the API server: one global order, each change with what was there before.

use std::collections::BTreeMap;
use std::sync::Arc;

use gantry_api::value;
use gantry_store::{EventKind, KeyValue, StoreEvent};

use crate::object::{self, Object};

/// One change of one key.
#[derive(Debug, Clone)]
pub struct Change {
    /// The key in the store.
    pub key: String,
    /// The object before, if there was one.
    pub before: Option<Object>,
    /// The object after, unless it is gone.
    pub after: Option<Object>,
}

impl Change {
    /// The object as it is, or as it last was.
    #[must_use]
    pub fn newest(&self) -> &Object {
        self.after.as_ref().or(self.before.as_ref()).expect("a change has something before or after")
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> &str {
        object::kind(self.newest())
    }

    /// The object, if it was not there before.
    #[must_use]
    pub fn created(&self) -> Option<&Object> {
        if self.before.is_some() { None } else { self.after.as_ref() }
    }

    /// The object as it last was, if it is gone now.
    #[must_use]
    pub fn removed(&self) -> Option<&Object> {
        if self.after.is_some() { None } else { self.before.as_ref() }
    }

    /// Both sides, if it was there and still is.
    #[must_use]
    pub fn updated(&self) -> Option<(&Object, &Object)> {
        Some((self.before.as_ref()?, self.after.as_ref()?))
    }
}

/// One entry of the history.
#[derive(Debug, Clone)]
pub enum Step {
    /// All changes of one transaction.
    Changes {
        /// Its revision.
        revision: u64,
        /// The changes.
        changes: Vec<Change>,
    },
    /// From here on, or no longer, a write may happen though its writer is told that it failed: what counts pods may
    /// then be off by one until it looks again.
    Ambiguous(bool),
}

/// The state after a part of the history.
#[derive(Debug, Clone, Default)]
pub struct World {
    /// By key in the store.
    pub objects: BTreeMap<String, Object>,
    /// The last revision.
    pub revision: u64,
    /// See [`Step::Ambiguous`].
    pub ambiguous: bool,
}

impl World {
    /// Takes in a step.
    pub fn apply(&mut self, step: &Step) {
        match step {
            Step::Ambiguous(now) => self.ambiguous = *now,
            Step::Changes { revision, changes } => {
                self.revision = *revision;
                for change in changes {
                    match &change.after {
                        Some(object) => self.objects.insert(change.key.clone(), Arc::clone(object)),
                        None => self.objects.remove(&change.key),
                    };
                }
            }
        }
    }

    /// The objects of one kind, in key order.
    pub fn all<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Object> {
        self.objects.values().filter(move |o| object::kind(o) == kind)
    }

    /// The object of a kind with this namespace and name.
    #[must_use]
    pub fn find(&self, kind: &str, namespace: &str, name: &str) -> Option<&Object> {
        let is_it = |o: &&Object| {
            object::kind(o) == kind && object::namespace(o) == namespace && object::text(o, "metadata.name") == name
        };
        self.objects.values().find(is_it)
    }

    /// The object with this uid.
    #[must_use]
    pub fn by_uid(&self, uid: &str) -> Option<&Object> {
        self.objects.values().find(|o| object::uid(o) == uid)
    }

    /// The objects of a kind that the owner controls.
    pub fn controlled<'a>(&'a self, kind: &'a str, owner: &'a str) -> impl Iterator<Item = &'a Object> {
        self.all(kind).filter(move |o| object::controller(o) == owner)
    }
}

fn parse(kv: &KeyValue) -> Object {
    let mut object: value::Value = serde_json::from_slice(&kv.value).unwrap_or_default();
    if object.get("kind").is_some() {
        // Stored without: it is the revision of the key.
        value::set(&mut object, "metadata.resourceVersion", kv.mod_revision.to_string());
    }
    Arc::new(object)
}

/// The steps of a batch of events, one per revision.
#[must_use]
pub fn steps(events: &[StoreEvent]) -> Vec<Step> {
    let of_one_revision = events.chunk_by(|a, b| a.kv.mod_revision == b.kv.mod_revision);
    let change = |event: &StoreEvent| Change {
        key: event.kv.key.clone(),
        before: event.prev.as_ref().map(parse),
        after: (event.kind == EventKind::Put).then(|| parse(&event.kv)),
    };
    of_one_revision
        .map(|events| Step::Changes {
            revision: events[0].kv.mod_revision,
            changes: events.iter().map(change).collect(),
        })
        .collect()
}
