//! One resource's part of the cache: GET and LIST from an immutable snapshot, WATCH from the history ring.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gantry_common::task;
use parking_lot::{Mutex, MutexGuard, RwLock};

use super::core::Core;
use super::event::{Event, Object, Scope};
use super::gap::Gap;
use super::hub::Hub;
use super::snapshot::{Page, Snapshot};
use super::state::{Prepared, State};
use super::subscription::{Subscription, WatchError};
use super::{Error, Undecodable};
use crate::encoded::Encoded;
use crate::store::{Form, KeyValue, Range};

/// Computes an object's value in an index, e.g. `|pod| pod.scalar_at(&["spec", "nodeName"])...`.
pub type IndexFn = fn(&Encoded) -> Option<Box<str>>;

/// What a view covers.
#[derive(Clone, Debug)]
pub struct ViewSpec {
    /// Full key prefix with its final slash, e.g. `/registry/pods/`. No view's prefix starts with another's.
    pub prefix: String,
    /// Secondary indexes, addressed by their position.
    pub indexes: Vec<IndexFn>,
}

impl ViewSpec {
    /// A view without indexes.
    pub fn new(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), indexes: Vec::new() }
    }

    /// Adds an index; the first is number 0.
    #[must_use]
    pub fn index(mut self, index: IndexFn) -> Self {
        self.indexes.push(index);
        self
    }
}

/// The objects of one resource. Cheap to clone.
#[derive(Clone)]
pub struct View(Arc<Inner>);

struct Inner {
    spec: ViewSpec,
    core: Arc<Core>,
    /// Taken before `state` where both are needed; the driver holds it while it applies events.
    hub: Mutex<Hub>,
    state: RwLock<State>,
    received: AtomicU64,
    fillings: AtomicU64,
}

impl View {
    pub(crate) fn new(spec: ViewSpec, core: Arc<Core>) -> Self {
        Self::made(spec, core, None)
    }

    /// A view that keeps changes back until [`View::fill`].
    pub(crate) fn pending(spec: ViewSpec, core: Arc<Core>) -> Self {
        Self::made(spec, core, Some(Vec::new()))
    }

    fn made(spec: ViewSpec, core: Arc<Core>, waiting: Option<Vec<Prepared>>) -> Self {
        let state = State::new(spec.indexes.len(), waiting);
        let hub = Mutex::new(Hub::new(core.config.limits()));
        let (received, fillings) = (AtomicU64::new(0), AtomicU64::new(0));
        Self(Arc::new(Inner { spec, core, hub, state: RwLock::new(state), received, fillings }))
    }

    /// The full key prefix.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.0.spec.prefix
    }

    /// The full key of an object; `namespace` "" = cluster-scoped.
    #[must_use]
    pub fn key(&self, namespace: &str, name: &str) -> String {
        match namespace {
            "" => format!("{}{name}", self.prefix()),
            _ => format!("{}{namespace}/{name}", self.prefix()),
        }
    }

    /// The object as the cache knows it now. For a consistent answer call [`super::Cache::consistent`] first.
    #[must_use]
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.0.state.read().map.get(&self.key(namespace, name)).cloned()
    }

    /// As [`View::get`], with the revision of the state that was looked at (for "not found" answers).
    #[must_use]
    pub fn get_at_present(&self, namespace: &str, name: &str) -> (Option<Arc<Object>>, u64) {
        let state = self.0.state.read();
        (state.map.get(&self.key(namespace, name)).cloned(), self.label(&state))
    }

    /// All objects at one moment; costs one reference count.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let state = self.0.state.read();
        Snapshot::new(self.prefix().into(), state.map.clone(), self.label(&state))
    }

    /// The objects whose index number `index` has `value`, in key order, and the revision of that state.
    #[must_use]
    pub fn by_index(&self, index: usize, value: &str) -> (Vec<Arc<Object>>, u64) {
        let state = self.0.state.read();
        let found = state.indexes.get(index).and_then(|index| index.get(value));
        (found.map(|objects| objects.values().cloned().collect()).unwrap_or_default(), self.label(&state))
    }

    /// All objects as of `revision`, made from the present state and the history.
    ///
    /// # Errors
    /// `Expired` when the history does not reach back that far, `TooLarge` when the cache has not seen it yet, `Closed` when
    /// the view never will.
    pub fn snapshot_at(&self, revision: u64) -> Result<Snapshot, Error> {
        let (mut map, undo) = {
            let hub = self.0.hub.lock();
            let state = self.0.state.read();
            let current = self.label(&state);
            if revision > current {
                let is_closed = state.closed_at.is_some();
                return Err(if is_closed { Error::Closed } else { Error::TooLarge { requested: revision, current } });
            }
            if revision < hub.floor() {
                return Err(Error::Expired { requested: revision, oldest: hub.floor() });
            }
            let undo: Vec<Arc<Event>> = hub.after(revision).rev().cloned().collect();
            (state.map.clone(), undo)
        };
        for event in undo {
            match &event.previous {
                Some(previous) => drop(map.insert(previous.clone())),
                None => drop(map.remove(event.object.key())),
            }
        }
        Ok(Snapshot::new(self.prefix().into(), map, revision))
    }

    /// A page as of `revision`: from the cache, or from the store where the cache's history is too short. What has been
    /// compacted is refused though the history may have it: which replica is asked must make no difference.
    ///
    /// # Errors
    /// `Expired` when the revision has been compacted, `TooLarge` when it does not come in time, `Closed` when another view
    /// took this one's place before it came, `Unreadable` when the store's state of then cannot be read, `Store`.
    pub async fn page_at(
        &self,
        revision: u64,
        namespace: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, Error> {
        self.0.core.wait_for(revision).await?;
        let oldest = self.0.core.compacted();
        if revision < oldest {
            return Err(Error::Expired { requested: revision, oldest });
        }
        match self.snapshot_at(revision) {
            Ok(snapshot) => Ok(snapshot.page(namespace, after, limit)),
            Err(Error::Expired { .. }) => self.page_from_store(revision, namespace, after, limit).await,
            Err(error) => Err(error),
        }
    }

    async fn page_from_store(
        &self,
        revision: u64,
        namespace: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, Error> {
        let prefix = namespace.map_or_else(|| self.prefix().to_owned(), |name| format!("{}{name}/", self.prefix()));
        let mut range = Range::prefix(prefix).limit(limit).at(revision);
        range.after = after.map(|after| format!("{}{after}", self.prefix()));
        let read = self.0.core.store.range(range).await?;
        let remaining = usize::try_from(read.count).unwrap_or(usize::MAX).saturating_sub(read.kvs.len());
        let items = read.kvs.iter().filter_map(|kv| self.served(kv).transpose()).collect::<Result<_, _>>()?;
        Ok(Page { revision, items, remaining })
    }

    /// The served form of a stored key; none for a value that makes no sense, as in the cache.
    ///
    /// # Errors
    /// The value's form cannot be read: what it says is not known.
    pub(crate) fn served(&self, kv: &KeyValue) -> Result<Option<Arc<Object>>, Undecodable> {
        match self.decode(kv) {
            Ok(object) => Ok(Some(object)),
            Err(what) if what.unreadable => Err(what),
            Err(_) => Ok(None),
        }
    }

    /// Follows the changes after revision `from` (waits for it if the cache is behind). History comes from the ring,
    /// or, where that is too short, from the store. As upstream's watch cache does, the ring serves what is compacted too.
    ///
    /// # Errors
    /// `Expired` when the history is gone, `TooLarge` when the revision does not come in time, `Closed`, `Store`.
    pub async fn watch(&self, from: u64, scope: Scope) -> Result<Subscription, WatchError> {
        self.0.core.wait_for(from).await.map_err(WatchError::from)?;
        if let Some(receiver) = self.0.hub.lock().subscribe(from, &scope) {
            return Ok(Subscription::live(self.clone(), scope, from, receiver));
        }
        let oldest = self.0.hub.lock().floor();
        let gap = Gap::open(self.clone(), scope.clone(), from, oldest).await?;
        Ok(Subscription::from_gap(self.clone(), scope, from, gap))
    }

    /// Stored values that cannot be served; LIST and WATCH go on without them.
    #[must_use]
    pub fn undecodable(&self) -> Vec<Undecodable> {
        self.0.state.read().undecodable.values().cloned().collect()
    }

    /// The first value (of a namespace, or of all) whose form cannot be read: a list must say so instead of leaving it out.
    #[must_use]
    pub fn unreadable(&self, namespace: Option<&str>) -> Option<Undecodable> {
        let prefix = namespace.map_or_else(|| self.prefix().to_owned(), |name| format!("{}{name}/", self.prefix()));
        let state = self.0.state.read();
        let found = state.undecodable.values().find(|what| what.unreadable && what.key.starts_with(&prefix));
        found.cloned()
    }

    /// Why the value of one object cannot be read, if that is so.
    #[must_use]
    pub fn unreadable_object(&self, namespace: &str, name: &str) -> Option<Undecodable> {
        let state = self.0.state.read();
        if state.undecodable.is_empty() {
            return None;
        }
        state.undecodable.get(&self.key(namespace, name)).filter(|what| what.unreadable).cloned()
    }

    /// The oldest revision from which a watch is served without the store.
    #[must_use]
    pub fn oldest_revision(&self) -> u64 {
        self.0.hub.lock().floor()
    }

    /// How many watches run.
    #[must_use]
    pub fn watchers(&self) -> usize {
        self.0.hub.lock().subscribers()
    }

    /// Events in the history ring and their size.
    #[must_use]
    pub fn history(&self) -> (usize, usize) {
        self.0.hub.lock().history()
    }

    /// Events that the store told of, since the start.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.0.received.load(Ordering::Relaxed)
    }

    /// How often the view was filled from a list of the store.
    #[must_use]
    pub fn fillings(&self) -> u64 {
        self.0.fillings.load(Ordering::Relaxed)
    }

    /// Objects now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.state.read().map.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Up to which revision the state is complete. Both readings are exact: the cache's revision is raised after every
    /// view has been changed, a view's own with the change; the lock keeps the second still while they are compared.
    fn label(&self, state: &State) -> u64 {
        state.revision.max(state.closed_at.unwrap_or_else(|| self.0.core.revision()))
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.0.core
    }

    pub(crate) fn cache_revision(&self) -> u64 {
        self.0.core.revision()
    }

    pub(crate) fn hub(&self) -> MutexGuard<'_, Hub> {
        self.0.hub.lock()
    }

    pub(crate) fn unsubscribe(&self, id: u64, scope: &Scope) {
        self.0.hub.lock().unsubscribe(id, scope);
    }

    /// Makes the served form of a stored key.
    pub(crate) fn decode(&self, kv: &KeyValue) -> Result<Arc<Object>, Undecodable> {
        let aside =
            |reason, unreadable| Undecodable { key: kv.key.clone(), mod_revision: kv.mod_revision, reason, unreadable };
        if let Form::Unreadable(reason) = &kv.form {
            return Err(aside(reason.to_string(), true));
        }
        let core = &self.0.core;
        let encoded = match core.writing.find(kv) {
            Some(encoded) => encoded,
            None => {
                let normalised = core.normalise.normalise(&kv.key, &kv.value, kv.mod_revision);
                normalised.map_err(|error| aside(gantry_common::error_chain(error.as_ref()), false))?
            }
        };
        let index_values = self.0.spec.indexes.iter().map(|index| index(&encoded)).collect();
        Ok(Arc::new(Object::new(kv.key.as_str(), encoded, kv.create_revision, kv.lease, index_values)))
    }

    /// Applies changes in order, tells the watchers, and remembers `revision` as applied.
    pub(crate) fn apply(&self, changes: Vec<Prepared>, revision: u64) {
        let mut hub = self.0.hub.lock();
        let events: Vec<Event> = {
            let mut state = self.0.state.write();
            if let Some(waiting) = &mut state.waiting {
                waiting.extend(changes);
                return;
            }
            state.revision = revision;
            changes.into_iter().filter_map(|change| state.apply(change)).collect()
        };
        self.0.received.fetch_add(events.len() as u64, Ordering::Relaxed);
        self.publish(&mut hub, events);
    }

    /// Tells watchers of events: now, or when it is their turn.
    fn publish(&self, hub: &mut Hub, events: Vec<Event>) {
        let mut turns = Vec::new();
        events.into_iter().for_each(|event| hub.publish(Arc::new(event), &mut turns));
        for turn in turns {
            let view = self.clone();
            drop(task::spawn("watch-turn", async move {
                tokio::time::sleep_until(turn).await;
                view.hub().tell_due();
            }));
        }
    }

    /// Replaces everything by a list made at `revision`. Watchers get the differences where these are certain to be
    /// what happened, else they are ended with `Expired`. Returns how many objects differed.
    pub(crate) fn replace(&self, mut listed: Vec<Prepared>, revision: u64) -> usize {
        let mut hub = self.0.hub.lock();
        let mut state = self.0.state.write();
        let oldest = revision;
        let differences = state.differences(&listed, self.0.core.revision());
        let count = differences.as_ref().map_or_else(|count| *count, Vec::len);
        match differences {
            Ok(events) => self.publish(&mut hub, events),
            Err(_) => hub.end_all(&WatchError::Expired { requested: state.revision, oldest }, false),
        }
        self.0.fillings.fetch_add(1, Ordering::Relaxed);
        hub.reset(revision);
        state.clear();
        listed.drain(..).for_each(|change| drop(state.apply(change)));
        state.revision = revision;
        count
    }

    /// Fills a pending view with a list made at `revision`, then with the changes after it that arrived meanwhile.
    pub(crate) fn fill(&self, listed: Vec<Prepared>, revision: u64) {
        let mut hub = self.0.hub.lock();
        let mut state = self.0.state.write();
        // A relist of everything came first: it is newer.
        let Some(waiting) = state.waiting.take() else { return };
        self.0.fillings.fetch_add(1, Ordering::Relaxed);
        hub.reset(revision);
        listed.into_iter().for_each(|change| drop(state.apply(change)));
        state.revision = revision;
        let mut events = Vec::new();
        for change in waiting.into_iter().filter(|change| change.revision() > revision) {
            state.revision = change.revision();
            events.extend(state.apply(change));
        }
        self.publish(&mut hub, events);
    }

    /// Whether both are handles of one view.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Ends all watches for good. From now on the view answers for the state that it has, whatever the cache goes on to. So it has
    /// to be closed before the driver stops to feed it.
    pub(crate) fn close(&self) {
        let mut hub = self.0.hub.lock();
        let mut state = self.0.state.write();
        let revision = self.label(&state);
        state.closed_at = Some(revision);
        hub.end_all(&WatchError::Closed, true);
    }
}
