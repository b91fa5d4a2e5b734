//! The definitions as they were last seen: each is read once for each of its revisions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use gantry_api::custom::{self, Definition};
use gantry_api::{Value, value};
use tracing::error;

use super::kind;
use crate::app::App;

/// All definitions by name.
#[derive(Default)]
pub(super) struct Known(BTreeMap<String, Entry>);

/// One of them.
pub(super) struct Entry {
    revision: u64,
    pub(super) definition: Value,
    /// What it defines, if that is to be served.
    pub(super) served: Option<Arc<Definition>>,
    /// Nothing is left to do about its status, as long as its group stays as it is.
    pub(super) settled: bool,
}

impl Entry {
    /// `before` is what was served of it, which it stays with where it cannot be made of what it says now.
    fn new(revision: u64, definition: Value, before: Option<Arc<Definition>>) -> Self {
        let made = || {
            custom::definition(&definition).or_else(|| {
                error!(
                    definition = value::str_at(&definition, "metadata.name").unwrap_or_default(),
                    "what a definition says now is not served: the names of custom kinds and of their fields are more than are kept; \
                     restart the API server, which forgets those that are not used any more"
                );
                before
            })
        };
        let served = if super::is_served(&definition) { made() } else { None };
        let served = served.filter(|found| !found.is_over_built_in());
        Self { revision, definition, served, settled: false }
    }

    fn group(&self) -> &str {
        value::str_at(&self.definition, "spec.group").unwrap_or_default()
    }
}

impl Known {
    /// Takes up what the cache holds. Names are given within a group, so a change there makes all of it unsettled.
    pub(super) fn refresh(&mut self, app: &App) {
        let snapshot = app.view(kind()).snapshot();
        let objects = snapshot.list(None, None);
        self.replace(objects.map(|object| (object.meta().name.to_string(), object.rv(), &object.json()[..])));
    }

    fn replace<'a>(&mut self, objects: impl Iterator<Item = (String, u64, &'a [u8])>) {
        let mut before = std::mem::take(&mut self.0);
        let mut changed = BTreeSet::new();
        for (name, revision, json) in objects {
            let entry = match before.remove(&name) {
                Some(entry) if entry.revision == revision => entry,
                older => {
                    let Ok(definition) = serde_json::from_slice(json) else { continue };
                    let entry = Entry::new(revision, definition, older.and_then(|older| older.served));
                    changed.insert(entry.group().to_owned());
                    entry
                }
            };
            self.0.insert(name, entry);
        }
        changed.extend(before.values().map(|gone| gone.group().to_owned()));
        for entry in self.0.values_mut().filter(|entry| changed.contains(entry.group())) {
            entry.settled = false;
        }
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.0.values()
    }

    /// The names of those about which there is something to do.
    pub(super) fn unsettled(&self) -> Vec<String> {
        self.0.iter().filter(|(_, entry)| !entry.settled).map(|(name, _)| name.clone()).collect()
    }

    /// One of them, and all of its group.
    pub(super) fn with_group(&self, name: &str) -> Option<(&Value, Vec<&Value>)> {
        let own = self.0.get(name)?;
        let group = self.0.values().filter(|entry| entry.group() == own.group()).map(|entry| &entry.definition);
        Some((&own.definition, group.collect()))
    }

    pub(super) fn settle(&mut self, name: &str) {
        if let Some(entry) = self.0.get_mut(name) {
            entry.settled = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_changed_is_read_and_only_its_group_is_looked_at() {
        let json = |group: &str| json!({"spec": {"group": group}}).to_string().into_bytes();
        let (a, b) = (json("a.example.com"), json("b.example.com"));
        let broken = b"{".to_vec();
        let mut known = Known::default();
        let put = |known: &mut Known, objects: &[(&str, u64, &Vec<u8>)]| {
            known.replace(objects.iter().map(|(name, rv, json)| ((*name).to_owned(), *rv, json.as_slice())));
            known.unsettled()
        };
        assert_eq!(put(&mut known, &[("one", 1, &a), ("two", 2, &b)]), ["one", "two"]);
        known.settle("one");
        known.settle("two");
        // What has its revision is not read again: it could not be.
        assert_eq!(put(&mut known, &[("one", 1, &broken), ("two", 2, &broken)]), [""; 0]);
        assert_eq!(put(&mut known, &[("one", 3, &a), ("two", 2, &broken)]), ["one"]);
        assert_eq!(
            put(&mut known, &[("one", 3, &broken), ("two", 2, &broken), ("three", 4, &b)]),
            ["one", "three", "two"]
        );
        for name in ["one", "two", "three"] {
            known.settle(name);
        }
        assert_eq!(put(&mut known, &[("one", 3, &broken), ("two", 2, &broken)]), ["two"], "what went frees its names");
        assert_eq!(known.with_group("two").map(|(_, group)| group.len()), Some(1));
    }
}
