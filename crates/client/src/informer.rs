//! A local, indexed copy of a resource, kept up to date over one watch stream.
//!
//! The stream starts with the present objects, so there is no separate LIST. When it breaks, the informer resumes at
//! the last revision it saw; when that has expired, it takes the present objects again and tells subscribers the
//! difference. Readers see each object as of some revision, never a torn one, and revisions never go back, unless the store itself was
//! set back: then all is taken anew. An object that cannot be read is left out, with an error in the log; it holds up no other.

mod state;
mod subscription;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use gantry_common::{
    backoff::Backoff,
    task::{Group, OnExit},
};
use tokio::sync::watch as signal;

use self::state::{IndexFn, State};
pub use self::subscription::{Change, Subscription};
use crate::{
    Api, Error, Key, ListParams, Object, Result,
    watch::{Event, EventKind, WatchStream},
};

const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// An informer that is being set up.
pub struct Informer<K> {
    api: Api<K>,
    params: ListParams,
    indexes: Vec<(&'static str, IndexFn<K>)>,
    transform: Option<fn(&mut K)>,
}

impl<K: Object> Informer<K> {
    /// An informer of all objects that `api` reaches.
    #[must_use]
    pub fn builder(api: Api<K>) -> Self {
        Self { api, params: ListParams::default(), indexes: Vec::new(), transform: None }
    }

    /// Only objects with these labels.
    #[must_use]
    pub fn labels(mut self, selector: &str) -> Self {
        selector.clone_into(&mut self.params.label_selector);
        self
    }

    /// Only objects with these fields.
    #[must_use]
    pub fn fields(mut self, selector: &str) -> Self {
        selector.clone_into(&mut self.params.field_selector);
        self
    }

    /// Adds an index: [`Reader::by_index`] finds the objects for which `f` returned a value.
    #[must_use]
    pub fn index(mut self, name: &'static str, f: impl Fn(&K) -> Vec<String> + Send + Sync + 'static) -> Self {
        self.indexes.push((name, Box::new(f)));
        self
    }

    /// Changes each object before it is kept, for example to drop what is not needed (managedFields go always).
    #[must_use]
    pub fn transform(mut self, f: fn(&mut K)) -> Self {
        self.transform = Some(f);
        self
    }

    /// Starts the watch as a task of `group`.
    #[must_use]
    pub fn start(self, group: &Group) -> Reader<K> {
        let shared = Arc::new(Shared::new(self.indexes, self.transform));
        let driver = Driver { api: self.api, params: self.params, shared: Arc::clone(&shared) };
        group.spawn("informer", OnExit::ShutDown, driver.run());
        Reader { shared }
    }
}

struct Shared<K> {
    state: State<K>,
    transform: Option<fn(&mut K)>,
    revision: signal::Sender<u64>,
    synced: signal::Sender<bool>,
    /// The server says that there is no such resource.
    unserved: signal::Sender<bool>,
}

/// Reads an informer's copy. Cheap to clone.
pub struct Reader<K> {
    shared: Arc<Shared<K>>,
}

impl<K> Clone for Reader<K> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<K: Object> Reader<K> {
    /// The object under `key`.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.shared.state.get(key)
    }

    /// All objects, in key order.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<K>> {
        self.shared.state.list()
    }

    /// The objects of one namespace, in key order.
    #[must_use]
    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        self.shared.state.in_namespace(namespace)
    }

    /// The objects for which the index `name` has `value`, in key order.
    #[must_use]
    pub fn by_index(&self, name: &str, value: &str) -> Vec<Arc<K>> {
        self.shared.state.by_index(name, value)
    }

    /// How many objects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.state.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Resolves once the copy holds all objects that were there at the start.
    pub async fn synced(&self) {
        let mut synced = self.shared.synced.subscribe();
        // The sender lives in `shared`, which this reader holds.
        drop(synced.wait_for(|s| *s).await);
    }

    /// Resolves while the server says that it does not serve the resource. It is asked again all the time: it may be another one, or be
    /// told to serve it.
    pub async fn unserved(&self) {
        let mut unserved = self.shared.unserved.subscribe();
        // The sender lives in `shared`, which this reader holds.
        drop(unserved.wait_for(|unserved| *unserved).await);
    }

    /// Whether [`Reader::synced`] would resolve at once.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        *self.shared.synced.borrow()
    }

    /// The highest revision that the copy reflects.
    #[must_use]
    pub fn revision(&self) -> u64 {
        *self.shared.revision.borrow()
    }

    /// Resolves once the copy reflects `revision`: a controller waits for its own writes before it plans again.
    pub async fn wait_for_revision(&self, revision: u64) {
        let mut seen = self.shared.revision.subscribe();
        drop(seen.wait_for(|r| *r >= revision).await);
    }

    /// Changes from now on; the present objects come first, as new ones. Changes of one object that the subscriber has
    /// not yet taken are merged, so the queue is bounded by the number of objects.
    #[must_use]
    pub fn subscribe(&self) -> Subscription<K> {
        self.shared.state.subscribe()
    }
}

struct Driver<K> {
    api: Api<K>,
    params: ListParams,
    shared: Arc<Shared<K>>,
}

/// How a stream ended.
enum Ended {
    /// In good order, or it broke: resume.
    Resume,
    /// The revision is no longer kept: start over.
    Restart,
}

impl<K: Object> Driver<K> {
    async fn run(mut self) {
        let mut backoff = Backoff::new(BACKOFF_MIN, BACKOFF_MAX);
        let mut initial = true;
        loop {
            let before = *self.shared.revision.borrow();
            match self.stream(&mut initial).await {
                Ok(Ended::Resume) => {}
                Ok(Ended::Restart) => initial = true,
                Err(error) if error.is_expired() => initial = true,
                Err(error) if error.is_ahead() => {
                    let resource = K::URL_PATH_SEGMENT;
                    tracing::warn!(resource, revision = before, "the store is behind what was seen, taking all anew");
                    initial = true;
                }
                Err(error) if error.is_unserved() => {
                    if !self.shared.unserved.send_replace(true) {
                        let (resource, version) = (K::URL_PATH_SEGMENT, K::API_VERSION);
                        tracing::warn!(resource, version, "the server does not serve what is watched, trying again");
                    }
                }
                Err(error) => {
                    let resource = K::URL_PATH_SEGMENT;
                    tracing::warn!(resource, error = gantry_common::error_chain(&error), "watch broke, trying again");
                }
            }
            if *self.shared.revision.borrow() > before {
                backoff.reset();
            }
            tokio::time::sleep(backoff.next()).await;
        }
    }

    async fn stream(&mut self, initial: &mut bool) -> Result<Ended> {
        self.params.resource_version = if *initial { String::new() } else { self.shared.revision.borrow().to_string() };
        let mut stream = self.api.watch(&self.params, *initial).await?;
        self.shared.unserved.send_if_modified(std::mem::take);
        if *initial {
            match self.initial_events(&mut stream).await? {
                Some(()) => *initial = false,
                None => return Ok(Ended::Restart),
            }
        }
        while let Some(event) = stream.next().await? {
            self.shared.live_event(&event)?;
        }
        Ok(Ended::Resume)
    }

    /// Takes the present objects; what is not among them is gone. `None` when the stream ended too early.
    async fn initial_events(&mut self, stream: &mut WatchStream) -> Result<Option<()>> {
        let mut present = Vec::new();
        while let Some(event) = stream.next().await? {
            match event.kind {
                EventKind::Bookmark { initial_events_end: true } => {
                    self.shared.replace(present, event.revision);
                    self.shared.synced.send_replace(true);
                    return Ok(Some(()));
                }
                EventKind::Bookmark { .. } => {}
                EventKind::Deleted => present.retain({
                    let gone = key_of::<K>(&event)?;
                    move |o: &Arc<K>| o.key() != gone
                }),
                EventKind::Added | EventKind::Modified => present.extend(self.shared.decode(&event)),
            }
        }
        Ok(None)
    }
}

impl<K: Object> Shared<K> {
    fn new(indexes: Vec<(&'static str, IndexFn<K>)>, transform: Option<fn(&mut K)>) -> Self {
        let (synced, unserved) = (signal::channel(false).0, signal::channel(false).0);
        Self { state: State::new(indexes), transform, revision: signal::channel(0).0, synced, unserved }
    }

    /// Takes the present objects as of `revision`. A revision below the one that was seen is another history, in which equal
    /// revisions say nothing.
    fn replace(&self, present: Vec<Arc<K>>, revision: u64) {
        let set_back = revision < *self.revision.borrow();
        self.state.replace(present, set_back);
        self.revision.send_replace(revision);
    }

    fn live_event(&self, event: &Event) -> Result<()> {
        match event.kind {
            EventKind::Added | EventKind::Modified => match self.decode(event) {
                Some(object) => self.state.upsert(object),
                // What was known of it is no longer true.
                None => self.state.remove(&key_of::<K>(event)?),
            },
            EventKind::Deleted => self.state.remove(&key_of::<K>(event)?),
            EventKind::Bookmark { .. } => {}
        }
        self.revision.send_if_modified(|r| {
            let newer = event.revision > *r;
            *r = event.revision.max(*r);
            newer
        });
        Ok(())
    }

    /// `None`, and an error in the log, where the object cannot be read: waiting for it would hold up all others for ever.
    fn decode(&self, event: &Event) -> Option<Arc<K>> {
        let mut object: K = match serde_json::from_slice(&event.object) {
            Ok(object) => object,
            Err(error) => {
                let (kind, revision) = (K::KIND, event.revision);
                let key = key_of::<K>(event).map_or_else(|error| error.to_string(), |key| key.to_string());
                tracing::error!(kind, key, revision, %error, "an object cannot be read and is left out: mend or delete it");
                return None;
            }
        };
        object.metadata_mut().managed_fields = None;
        if let Some(f) = self.transform {
            f(&mut object);
        }
        Some(Arc::new(object))
    }
}

/// Which object an event is about. Looks at nothing else in it.
fn key_of<K: Object>(event: &Event) -> Result<Key> {
    #[derive(serde::Deserialize)]
    struct Named {
        metadata: Name,
    }
    #[derive(serde::Deserialize)]
    struct Name {
        #[serde(default)]
        namespace: String,
        name: String,
    }
    let Named { metadata: Name { namespace, name } } = serde_json::from_slice(&event.object)
        .map_err(|source| Error::Decode { what: format!("the name of a {} of a watch", K::KIND), source })?;
    Ok(Key::new(namespace, name))
}
