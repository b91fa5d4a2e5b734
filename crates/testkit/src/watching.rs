//! Watches of the API server's clients: what they are told is in order, and adds up to what is stored.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gantry_client::watch::{Event, EventKind};
use gantry_client::{Client, Error, ListParams, ResourceId, View};
use gantry_common::task::{Group, OnExit};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::watch;

use crate::object;

/// Between attempts to watch again.
const RETRY: Duration = Duration::from_millis(50);

/// Something that a watching client was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// The client starts over: what it knew counts no more.
    Start,
    /// All objects that were there at the start were told.
    Complete(u64),
    /// An object, as one that was there at the start.
    Present(Seen),
    /// It appeared.
    Added(Seen),
    /// It changed.
    Modified(Seen),
    /// It went.
    Deleted(Seen),
    /// Only the revision moved on.
    Bookmark(u64),
}

/// Which version of which object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// `namespace/name`.
    pub key: String,
    /// Its uid.
    pub uid: String,
    /// The event's revision.
    pub revision: u64,
}

/// What a client knows.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Uid and revision of each object.
    pub objects: BTreeMap<String, (String, u64)>,
    revision: u64,
    gone: BTreeMap<String, u64>,
}

impl Known {
    /// Takes in what was told; returns what is wrong with it.
    pub fn take(&mut self, told: &Told) -> Option<String> {
        match told {
            Told::Start => {
                self.objects.clear();
                self.revision = 0;
                None
            }
            Told::Complete(revision) | Told::Bookmark(revision) => {
                let fault = (*revision < self.revision)
                    .then(|| format!("a bookmark at {revision} came after revision {}", self.revision));
                self.revision = self.revision.max(*revision);
                fault
            }
            Told::Present(seen) => self.put(seen, false),
            Told::Added(seen) => self.follows(seen).or_else(|| self.put(seen, false)),
            Told::Modified(seen) => self.follows(seen).or_else(|| self.put(seen, true)),
            Told::Deleted(seen) => self.follows(seen).or_else(|| {
                self.gone.insert(seen.uid.clone(), seen.revision);
                let known = self.objects.remove(&seen.key).is_some();
                (!known).then(|| format!("{} was deleted at {}, but was not there", seen.key, seen.revision))
            }),
        }
    }

    fn follows(&mut self, seen: &Seen) -> Option<String> {
        let last = std::mem::replace(&mut self.revision, seen.revision);
        (seen.revision <= last).then(|| format!("{} at revision {} came after {last}", seen.key, seen.revision))
    }

    fn put(&mut self, seen: &Seen, expected: bool) -> Option<String> {
        let old = self.objects.insert(seen.key.clone(), (seen.uid.clone(), seen.revision));
        if let Some(at) = self.gone.get(&seen.uid) {
            return Some(format!("{} went at {at} and is back at {}", seen.key, seen.revision));
        }
        match (old, expected) {
            (None, true) => Some(format!("{} was modified at {}, but was not there", seen.key, seen.revision)),
            (Some(_), false) => Some(format!("{} was added at {}, but was there", seen.key, seen.revision)),
            _ => None,
        }
    }
}

/// A client that watches one resource, resumes where its stream broke and remembers what it was told.
#[derive(Clone)]
pub struct Watcher {
    /// What it watches.
    pub resource: ResourceId,
    state: Arc<Mutex<State>>,
    revision: Arc<watch::Sender<u64>>,
}

#[derive(Default)]
struct State {
    known: Known,
    faults: Vec<String>,
}

impl Watcher {
    /// Starts to watch, as a task of `group`.
    #[must_use]
    pub fn start(client: Client, resource: ResourceId, group: &Group) -> Self {
        let watcher = Self { resource, state: Arc::default(), revision: Arc::new(watch::Sender::new(0)) };
        group.spawn("watcher", OnExit::ShutDown, watcher.clone().run(client));
        watcher
    }

    /// What was wrong with what it was told.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        self.state.lock().faults.iter().map(|f| format!("watch of {}: {f}", self.resource.resource)).collect()
    }

    /// Resolves once what it knows is `expected`: uid and revision by key.
    pub async fn until_knows(&self, expected: &BTreeMap<String, (String, u64)>) {
        let mut revision = self.revision.subscribe();
        loop {
            revision.mark_unchanged();
            if self.state.lock().known.objects == *expected {
                return;
            }
            drop(revision.changed().await);
        }
    }

    fn take(&self, told: &Told) {
        let mut state = self.state.lock();
        let fault = state.known.take(told);
        state.faults.extend(fault);
        let revision = state.known.revision;
        drop(state);
        self.revision.send_replace(revision);
    }

    async fn run(self, client: Client) {
        let mut resume = None;
        loop {
            match self.stream(&client, &mut resume).await {
                Err(error) if error.is_expired() => resume = None,
                _ => {}
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    async fn stream(&self, client: &Client, resume: &mut Option<u64>) -> Result<(), Error> {
        let api = client.dynamic(self.resource.clone(), "");
        let from = resume.map(|r| r.to_string()).unwrap_or_default();
        let params = ListParams { resource_version: from, ..ListParams::default() };
        let mut initial = resume.is_none();
        let mut events = api.watch(&params, initial, View::Metadata).await?;
        if initial {
            self.take(&Told::Start);
        }
        while let Some(event) = events.next().await? {
            self.take(&told(&event, initial));
            if event.kind == (EventKind::Bookmark { initial_events_end: true }) {
                initial = false;
            }
            if !initial {
                *resume = Some(event.revision);
            }
        }
        Ok(())
    }
}

fn told(event: &Event, initial: bool) -> Told {
    let object: Value = serde_json::from_slice(&event.object).unwrap_or_default();
    let key = format!("{}/{}", object::namespace(&object), object::text(&object, "metadata.name"));
    let seen = Seen { key, uid: object::uid(&object).to_owned(), revision: event.revision };
    match event.kind {
        EventKind::Added if initial => Told::Present(seen),
        EventKind::Added => Told::Added(seen),
        EventKind::Modified => Told::Modified(seen),
        EventKind::Deleted => Told::Deleted(seen),
        EventKind::Bookmark { initial_events_end: true } => Told::Complete(event.revision),
        EventKind::Bookmark { .. } => Told::Bookmark(event.revision),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(key: &str, revision: u64) -> Seen {
        Seen { key: key.to_owned(), uid: key.to_owned(), revision }
    }

    fn check(told: &[Told], faults: usize) {
        let mut known = Known::default();
        let found: Vec<_> = told.iter().filter_map(|t| known.take(t)).collect();
        assert_eq!(found.len(), faults, "{found:?}");
    }

    #[test]
    fn a_watch_in_order_is_fine() {
        let start = [Told::Start, Told::Present(seen("b", 4)), Told::Present(seen("a", 7)), Told::Complete(9)];
        check(&start, 0);
        check(&[&start[..], &[Told::Modified(seen("a", 10)), Told::Deleted(seen("a", 11))]].concat(), 0);
        check(&[&start[..], &start[..]].concat(), 0);
    }

    #[test]
    fn what_is_out_of_order_is_found() {
        let told = |last: Told| [Told::Start, Told::Present(seen("a", 4)), Told::Complete(9), last];
        check(&told(Told::Modified(seen("a", 9))), 1);
        check(&told(Told::Modified(seen("b", 10))), 1);
        check(&told(Told::Added(seen("a", 10))), 1);
        check(&told(Told::Deleted(seen("b", 10))), 1);
        check(&told(Told::Bookmark(8)), 1);
        let back = [Told::Deleted(seen("a", 10)), Told::Added(seen("a", 11))];
        check(&[&told(Told::Bookmark(9))[..], &back[..]].concat(), 1);
    }
}
