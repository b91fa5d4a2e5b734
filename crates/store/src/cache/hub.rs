//! The recent history of one view, and the distribution of new events to its watchers.
//!
//! Watchers are kept by what they asked for: an event looks up its namespace, its name and its index values, so a
//! watcher of one object or one node costs nothing for all other events. A watcher whose queue is full is ended;
//! nobody waits for it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, OnceLock};

use tokio::sync::mpsc;

use super::event::{Event, Object, Scope};
use super::subscription::WatchError;

/// The sending half of a subscription.
pub(crate) struct Subscriber {
    id: u64,
    scope: Scope,
    queue: mpsc::Sender<Arc<Event>>,
    ended: Arc<OnceLock<WatchError>>,
}

/// The receiving half, with what has to be sent first.
pub(crate) struct Receiver {
    pub(crate) id: u64,
    pub(crate) replay: VecDeque<Arc<Event>>,
    pub(crate) queue: mpsc::Receiver<Arc<Event>>,
    pub(crate) ended: Arc<OnceLock<WatchError>>,
}

/// Bounds of a hub.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) history_events: usize,
    pub(crate) history_bytes: usize,
    pub(crate) queue_events: usize,
}

/// Ring and subscribers of one view. Its lock orders events before subscriptions.
pub(crate) struct Hub {
    limits: Limits,
    ring: VecDeque<Arc<Event>>,
    ring_bytes: usize,
    /// Every event after this revision is in the ring.
    floor: u64,
    next_id: u64,
    closed: bool,
    subscribers: Subscribers,
}

type List = Vec<Arc<Subscriber>>;

#[derive(Default)]
struct Subscribers {
    count: usize,
    all: List,
    namespaces: HashMap<Box<str>, List>,
    names: HashMap<Box<str>, List>,
    indexes: HashMap<(usize, Box<str>), List>,
}

impl Hub {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            ring: VecDeque::new(),
            ring_bytes: 0,
            floor: 0,
            next_id: 0,
            closed: false,
            subscribers: Subscribers::default(),
        }
    }

    /// The oldest revision from which a watch can be served from the ring.
    pub(crate) fn floor(&self) -> u64 {
        self.floor
    }

    pub(crate) fn subscribers(&self) -> usize {
        self.subscribers.count
    }

    pub(crate) fn history(&self) -> (usize, usize) {
        (self.ring.len(), self.ring_bytes)
    }

    /// Starts a watch after revision `from`. None = the ring does not reach back that far.
    pub(crate) fn subscribe(&mut self, from: u64, scope: &Scope) -> Option<Receiver> {
        if from < self.floor {
            return None;
        }
        let replay = self.after(from).filter_map(|event| scope.narrow(event)).collect();
        let (sender, queue) = mpsc::channel(self.limits.queue_events);
        let ended = Arc::new(OnceLock::new());
        self.next_id += 1;
        let id = self.next_id;
        if self.closed {
            ended.get_or_init(|| WatchError::Closed);
        } else {
            let subscriber = Subscriber { id, scope: scope.clone(), queue: sender, ended: ended.clone() };
            self.subscribers.insert(Arc::new(subscriber));
        }
        Some(Receiver { id, replay, queue, ended })
    }

    pub(crate) fn unsubscribe(&mut self, id: u64, scope: &Scope) {
        self.subscribers.remove(id, scope);
    }

    /// Events after `revision`, oldest first.
    pub(crate) fn after(&self, revision: u64) -> impl DoubleEndedIterator<Item = &Arc<Event>> {
        let start = self.ring.partition_point(|event| event.revision <= revision);
        self.ring.range(start..)
    }

    /// Takes a new event: into the ring and to whom it concerns.
    pub(crate) fn publish(&mut self, event: Arc<Event>) {
        self.subscribers.send(&event);
        self.ring_bytes += event.size_bytes();
        self.ring.push_back(event);
        while self.ring.len() > self.limits.history_events || self.ring_bytes > self.limits.history_bytes {
            self.drop_oldest();
        }
    }

    /// The oldest revision goes; all its events together, so that a floor never cuts a revision.
    fn drop_oldest(&mut self) {
        let Some(revision) = self.ring.front().map(|event| event.revision) else { return };
        while self.ring.front().is_some_and(|event| event.revision == revision) {
            let event = self.ring.pop_front().expect("the front was just seen");
            self.ring_bytes -= event.size_bytes();
        }
        self.floor = revision;
    }

    /// Forgets the history: watches can start at `floor` or later only.
    pub(crate) fn reset(&mut self, floor: u64) {
        self.ring.clear();
        self.ring_bytes = 0;
        // A store begins at revision 1 without an event, so nothing is missing after 0 either.
        self.floor = if floor > 1 { floor } else { 0 };
    }

    /// Ends every watch. `closed`: later ones too.
    pub(crate) fn end_all(&mut self, error: &WatchError, closed: bool) {
        self.closed |= closed;
        for subscriber in std::mem::take(&mut self.subscribers).into_all() {
            subscriber.ended.get_or_init(|| error.clone());
        }
    }
}

impl Subscribers {
    fn list(&mut self, scope: &Scope) -> &mut List {
        match scope {
            Scope::All => &mut self.all,
            Scope::Namespace(namespace) => self.namespaces.entry(namespace.clone()).or_default(),
            Scope::Name { name, .. } => self.names.entry(name.clone()).or_default(),
            Scope::Index { index, value } => self.indexes.entry((*index, value.clone())).or_default(),
        }
    }

    fn insert(&mut self, subscriber: Arc<Subscriber>) {
        self.count += 1;
        let scope = subscriber.scope.clone();
        self.list(&scope).push(subscriber);
    }

    fn remove(&mut self, id: u64, scope: &Scope) {
        let list = self.list(scope);
        let found = list.iter().position(|subscriber| subscriber.id == id);
        if let Some(at) = found {
            list.swap_remove(at);
        }
        let empty = list.is_empty();
        self.count -= usize::from(found.is_some());
        if empty {
            match scope {
                Scope::All => {}
                Scope::Namespace(namespace) => drop(self.namespaces.remove(namespace)),
                Scope::Name { name, .. } => drop(self.names.remove(name)),
                Scope::Index { index, value } => drop(self.indexes.remove(&(*index, value.clone()))),
            }
        }
    }

    fn send(&mut self, event: &Arc<Event>) {
        if self.count == 0 {
            return;
        }
        let mut gone = send_as_is(&self.all, event);
        let meta = event.object.meta();
        if let Some(list) = self.namespaces.get(&meta.namespace) {
            gone.extend(send_as_is(list, event));
        }
        if let Some(list) = self.names.get(&meta.name) {
            gone.extend(send_narrowed(list, event));
        }
        for (index, value) in index_values(event) {
            if let Some(list) = self.indexes.get(&(index, value)) {
                gone.extend(send_narrowed(list, event));
            }
        }
        for (id, scope) in gone {
            self.remove(id, &scope);
        }
    }

    fn into_all(self) -> impl Iterator<Item = Arc<Subscriber>> {
        let maps = self.namespaces.into_values().chain(self.names.into_values()).chain(self.indexes.into_values());
        self.all.into_iter().chain(maps.flatten())
    }
}

/// Subscribers that have to be removed: ended by a full queue, or dropped by their owner.
type Gone = Vec<(u64, Scope)>;

fn send_as_is(list: &List, event: &Arc<Event>) -> Gone {
    list.iter().filter(|subscriber| !subscriber.offer(event.clone())).map(|one| (one.id, one.scope.clone())).collect()
}

fn send_narrowed(list: &List, event: &Arc<Event>) -> Gone {
    let dropped = |one: &&Arc<Subscriber>| one.scope.narrow(event).is_some_and(|narrowed| !one.offer(narrowed));
    list.iter().filter(dropped).map(|one| (one.id, one.scope.clone())).collect()
}

impl Subscriber {
    /// Whether the subscription goes on.
    fn offer(&self, event: Arc<Event>) -> bool {
        let revision = event.revision;
        match self.queue.try_send(event) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.ended.get_or_init(|| WatchError::Overflow { revision });
                false
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }
}

/// The index values that an event touches: those of the new state, then those that the old state alone has.
fn index_values(event: &Event) -> Vec<(usize, Box<str>)> {
    let values = |object: &Object| -> Vec<(usize, Box<str>)> {
        let value = |index| object.index_value(index).map(|value| (index, Box::from(value)));
        (0..object.index_count()).filter_map(value).collect()
    };
    let mut touched = values(&event.object);
    for value in event.previous.iter().flat_map(|object| values(object)) {
        if !touched.contains(&value) {
            touched.push(value);
        }
    }
    touched
}
