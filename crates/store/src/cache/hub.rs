//! The recent history of one view, and the distribution of new events to its watchers.
//!
//! Watchers are kept by what they asked for: an event looks up its namespace, its name and its index values, so a
//! watcher of one object or one node costs nothing for all other events. Many watchers of the same are told in turns
//! (see [`super::crowd`]). A watcher whose queue is full is ended; nobody waits for it.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::crowd::Crowd;
use super::event::{Event, Object, Scope};
use super::subscription::WatchError;

/// The sending half of a subscription.
pub(crate) struct Subscriber {
    pub(super) id: u64,
    pub(super) scope: Scope,
    /// How many watchers get what this one gets.
    watchers: Arc<AtomicUsize>,
    queue: mpsc::Sender<Arc<Event>>,
    ended: Arc<OnceLock<WatchError>>,
}

/// The receiving half, with what has to be sent first.
pub(crate) struct Receiver {
    pub(crate) id: u64,
    pub(crate) replay: VecDeque<Arc<Event>>,
    pub(crate) watchers: Arc<AtomicUsize>,
    pub(crate) queue: mpsc::Receiver<Arc<Event>>,
    pub(crate) ended: Arc<OnceLock<WatchError>>,
    /// The first revision that some watcher of the view has not been told of yet; `u64::MAX` = there is none.
    pub(crate) untold: Arc<AtomicU64>,
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
    untold: Arc<AtomicU64>,
}

type List = Vec<Arc<Subscriber>>;

#[derive(Default)]
struct Subscribers {
    count: usize,
    all: Crowd,
    namespaces: HashMap<Box<str>, Crowd>,
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
            untold: Arc::new(AtomicU64::new(u64::MAX)),
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
        // They are in the replay: whoever comes now must not be told again.
        self.tell_waiting(|_| true);
        let replay = self.after(from).filter_map(|event| scope.narrow(event)).collect();
        let (sender, queue) = mpsc::channel(self.limits.queue_events);
        let ended = Arc::new(OnceLock::new());
        let watchers = Arc::new(AtomicUsize::new(1));
        self.next_id += 1;
        let id = self.next_id;
        if self.closed {
            ended.get_or_init(|| WatchError::Closed);
        } else {
            let (scope, watchers, ended) = (scope.clone(), watchers.clone(), ended.clone());
            self.subscribers.insert(Arc::new(Subscriber { id, scope, watchers, queue: sender, ended }));
        }
        Some(Receiver { id, replay, watchers, queue, ended, untold: self.untold.clone() })
    }

    pub(crate) fn unsubscribe(&mut self, id: u64, scope: &Scope) {
        self.subscribers.remove(id, scope);
    }

    /// Events after `revision`, oldest first.
    pub(crate) fn after(&self, revision: u64) -> impl DoubleEndedIterator<Item = &Arc<Event>> {
        let start = self.ring.partition_point(|event| event.revision <= revision);
        self.ring.range(start..)
    }

    /// Takes a new event: into the ring and to whom it concerns. Adds to `turns` when [`Hub::tell_due`] has to be called because
    /// of it: once for each crowd that begins to wait, since each has a turn of its own.
    pub(crate) fn publish(&mut self, event: Arc<Event>, turns: &mut Vec<Instant>) {
        let before = turns.len();
        self.subscribers.send(&event, turns);
        if turns.len() > before {
            self.untold.fetch_min(event.revision, Ordering::AcqRel);
        }
        self.ring_bytes += event.size_bytes();
        self.ring.push_back(event);
        while self.ring.len() > self.limits.history_events || self.ring_bytes > self.limits.history_bytes {
            self.drop_oldest();
        }
    }

    /// Tells watchers what was kept back, as far as it is their turn.
    pub(crate) fn tell_due(&mut self) {
        let now = Instant::now();
        self.tell_waiting(|crowd| crowd.is_due(now));
    }

    fn tell_waiting(&mut self, wanted: impl Fn(&Crowd) -> bool) {
        if self.untold.load(Ordering::Acquire) == u64::MAX {
            return;
        }
        let first = self.subscribers.tell_waiting(wanted);
        // After the events are in the queues.
        self.untold.store(first.unwrap_or(u64::MAX), Ordering::Release);
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
        self.tell_waiting(|_| true);
        for subscriber in std::mem::take(&mut self.subscribers).into_all() {
            subscriber.ended.get_or_init(|| error.clone());
        }
    }
}

impl Subscribers {
    fn list(&mut self, scope: &Scope) -> &mut List {
        match scope {
            Scope::All => &mut self.all.members,
            Scope::Namespace(namespace) => &mut self.namespaces.entry(namespace.clone()).or_default().members,
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

    fn remove_all(&mut self, gone: Gone) {
        for (id, scope) in gone {
            self.remove(id, &scope);
        }
    }

    /// Adds to `turns` when those have to be told of the event who are not told at once.
    fn send(&mut self, event: &Arc<Event>, turns: &mut Vec<Instant>) {
        if self.count == 0 {
            return;
        }
        let mut gone = Gone::new();
        turns.extend(self.all.tell(event, &mut gone));
        let meta = event.object.meta();
        if let Some(crowd) = self.namespaces.get_mut(&meta.namespace) {
            turns.extend(crowd.tell(event, &mut gone));
        }
        if let Some(list) = self.names.get(&meta.name) {
            send_narrowed(list, event, &mut gone);
        }
        for (index, value) in index_values(event) {
            if let Some(list) = self.indexes.get(&(index, value)) {
                send_narrowed(list, event, &mut gone);
            }
        }
        self.remove_all(gone);
    }

    /// Tells the crowds that are `wanted` what they wait for. Returns the first revision that others still wait for.
    fn tell_waiting(&mut self, wanted: impl Fn(&Crowd) -> bool) -> Option<u64> {
        let mut gone = Gone::new();
        let mut first = None;
        for crowd in std::iter::once(&mut self.all).chain(self.namespaces.values_mut()) {
            if wanted(crowd) {
                crowd.tell_waiting(&mut gone);
            }
            first = first.into_iter().chain(crowd.first_waiting()).min();
        }
        self.remove_all(gone);
        first
    }

    fn into_all(self) -> impl Iterator<Item = Arc<Subscriber>> {
        let crowds = std::iter::once(self.all).chain(self.namespaces.into_values()).map(|crowd| crowd.members);
        crowds.chain(self.names.into_values()).chain(self.indexes.into_values()).flatten()
    }
}

/// Subscribers that have to be removed: ended by a full queue, or dropped by their owner.
pub(super) type Gone = Vec<(u64, Scope)>;

fn send_narrowed(list: &List, event: &Arc<Event>, gone: &mut Gone) {
    let dropped = |one: &&Arc<Subscriber>| one.scope.narrow(event).is_some_and(|narrowed| !one.offer(narrowed));
    gone.extend(list.iter().filter(dropped).map(|one| (one.id, one.scope.clone())));
}

impl Subscriber {
    pub(super) fn watchers(&self) -> usize {
        self.watchers.load(Ordering::Relaxed)
    }

    /// Whether the subscription goes on.
    pub(super) fn offer(&self, event: Arc<Event>) -> bool {
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
