//! What a view holds, and how changes alter it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::Undecodable;
use super::event::{Change, Event, Object};
use super::map::Map;

/// A change that is ready to be applied: all decoding is done.
pub(crate) enum Prepared {
    Put(Arc<Object>),
    Delete { key: String, revision: u64 },
    Undecodable(Undecodable),
}

impl Prepared {
    pub(super) fn revision(&self) -> u64 {
        match self {
            Self::Put(object) => object.rv(),
            Self::Delete { revision, .. } => *revision,
            Self::Undecodable(what) => what.mod_revision,
        }
    }
}

/// The objects of a view.
pub(super) struct State {
    pub(super) map: Map,
    /// The revision of the last event applied here.
    pub(super) revision: u64,
    pub(super) indexes: Vec<Index>,
    pub(super) undecodable: BTreeMap<String, Undecodable>,
    /// Changes that wait for the list that fills the view; `None` once it is filled.
    pub(super) waiting: Option<Vec<Prepared>>,
    /// How far the cache was when the view was closed: nobody says that it is complete beyond that.
    pub(super) closed_at: Option<u64>,
}

/// Objects by index value, then by key.
type Index = HashMap<Box<str>, BTreeMap<Box<str>, Arc<Object>>>;

impl State {
    pub(super) fn new(indexes: usize, waiting: Option<Vec<Prepared>>) -> Self {
        Self {
            map: Map::default(),
            revision: 0,
            indexes: (0..indexes).map(|_| HashMap::new()).collect(),
            undecodable: BTreeMap::new(),
            waiting,
            closed_at: None,
        }
    }

    pub(super) fn apply(&mut self, change: Prepared) -> Option<Event> {
        match change {
            Prepared::Put(object) => Some(self.put(object)),
            Prepared::Delete { key, revision } => {
                self.undecodable.remove(&key);
                self.delete(&key, revision)
            }
            Prepared::Undecodable(what) => {
                // What was there is not what is stored any more: for readers the object is gone. What is merely not
                // readable is not: its last known state stays, and who asks for it is told why it cannot be had.
                let event = if what.unreadable { None } else { self.delete(&what.key, what.mod_revision) };
                self.undecodable.insert(what.key.clone(), what);
                event
            }
        }
    }

    fn put(&mut self, object: Arc<Object>) -> Event {
        if !self.undecodable.is_empty() {
            self.undecodable.remove(object.key());
        }
        let previous = self.map.insert(object.clone());
        if let Some(previous) = &previous {
            self.unindex(previous);
        }
        for (number, index) in self.indexes.iter_mut().enumerate() {
            if let Some(value) = object.index_value(number) {
                index.entry(value.into()).or_default().insert(object.key().into(), object.clone());
            }
        }
        let change = if previous.is_some() { Change::Modified } else { Change::Added };
        Event { change, revision: object.rv(), object, previous }
    }

    fn delete(&mut self, key: &str, revision: u64) -> Option<Event> {
        let object = self.map.remove(key)?;
        self.unindex(&object);
        Some(Event { change: Change::Deleted, revision, previous: Some(object.clone()), object })
    }

    fn unindex(&mut self, object: &Object) {
        for (number, index) in self.indexes.iter_mut().enumerate() {
            let Some(value) = object.index_value(number) else { continue };
            if let Some(objects) = index.get_mut(value) {
                objects.remove(object.key());
                if objects.is_empty() {
                    index.remove(value);
                }
            }
        }
    }

    pub(super) fn clear(&mut self) {
        self.waiting = None;
        self.map = Map::default();
        self.indexes.iter_mut().for_each(HashMap::clear);
        self.undecodable.clear();
    }

    /// The events that lead from this state to the listed one. `Err(n)` = n differences, but some cannot be told as
    /// events: a deletion's revision is unknown, so is one that a later creation hides, and a change that is not newer
    /// than `known` (what the watchers have seen) means that the store has gone back in time.
    pub(super) fn differences(&self, listed: &[Prepared], known: u64) -> Result<Vec<Event>, usize> {
        let (mut events, mut kept, mut untold) = (Vec::new(), 0, 0);
        for change in listed {
            let Prepared::Put(object) = change else { continue };
            let Some(previous) = self.map.get(object.key()) else {
                untold += usize::from(object.rv() <= known);
                events.push(Event {
                    change: Change::Added,
                    revision: object.rv(),
                    object: object.clone(),
                    previous: None,
                });
                continue;
            };
            kept += 1;
            if previous.rv() == object.rv() {
                continue;
            }
            let recreated = previous.create_revision() != object.create_revision();
            untold += usize::from(recreated || object.rv() <= known);
            let previous = Some(previous.clone());
            events.push(Event { change: Change::Modified, revision: object.rv(), object: object.clone(), previous });
        }
        untold += self.map.len() - kept;
        if untold > 0 {
            return Err(events.len() + self.map.len() - kept);
        }
        events.sort_by_key(|event| event.revision);
        Ok(events)
    }
}
