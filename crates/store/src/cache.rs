//! The watch cache: every read of the API server is served from here.
//!
//! One store watch over the whole key space feeds it. Because *every* revision of the store yields an event in that
//! watch, the cache knows exactly how far it is, and a consistent read costs one tiny (and shared) question to the
//! store: "which revision is it?", then waiting until the cache has it. Objects are normalised once, when they enter.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use gantry_store::{Store, cache::{Cache, Config, JsonAsIs, Scope, ViewSpec}};
//! # async fn example(store: Arc<dyn Store>, shutdown: gantry_common::shutdown::Shutdown) -> Result<(), Box<dyn std::error::Error>> {
//! let pods = ViewSpec::new("/registry/pods/").index(|pod| Some(pod.scalar_at(&["spec", "nodeName"])?.as_ref().into()));
//! let (cache, driver) = Cache::new(Config::default(), store, Arc::new(JsonAsIs), vec![pods]);
//! gantry_common::task::spawn("store-cache", driver.run(shutdown));
//! cache.ready().await;
//! cache.consistent().await?; // now the cache has every write that was acknowledged before the call
//! let pods = cache.view("/registry/pods/").expect("it is in the list above");
//! let snapshot = pods.snapshot();
//! for pod in snapshot.list(Some("default"), None) {
//!     println!("{:?}", pod.to_bytes(pod.rv()));
//! }
//! let mut watch = pods.watch(snapshot.revision(), Scope::All).await?;
//! while let Ok(event) = watch.next().await {
//!     println!("{:?} {:?}", event.change, event.object.to_bytes(event.revision));
//! }
//! # Ok(())
//! # }
//! ```

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::RwLock;

mod added;
mod check;
mod core;
mod crowd;
mod driver;
mod event;
mod gap;
mod hub;
mod map;
mod reader;
mod snapshot;
mod state;
mod subscription;
mod view;
mod writing;

use self::core::Core;
pub use self::core::Counters;
pub use self::crowd::SMALL as SMALL_CROWD;
pub use self::driver::Driver;
pub use self::event::{Change, Event, Object, Scope};
pub use self::snapshot::{Page, Snapshot};
pub use self::subscription::{Subscription, WatchError};
pub use self::view::{IndexFn, View, ViewSpec};
pub use self::writing::Writing;
use crate::encoded::{Draft, Encoded};
use crate::store::Store;

/// Makes the served form of a stored value: decrypt, decode foreign encodings, default. Runs once per write.
pub trait Normalise: Send + Sync + 'static {
    /// The served form of `value`, which was written at `mod_revision`.
    ///
    /// # Errors
    /// Why the value cannot be served; it is kept aside and reported, everything else goes on.
    fn normalise(
        &self,
        key: &str,
        value: &Bytes,
        mod_revision: u64,
    ) -> Result<Encoded, Box<dyn std::error::Error + Send + Sync>>;
}

/// Stored values are served as they are.
#[derive(Clone, Copy, Debug)]
pub struct JsonAsIs;

impl Normalise for JsonAsIs {
    fn normalise(
        &self,
        _key: &str,
        value: &Bytes,
        mod_revision: u64,
    ) -> Result<Encoded, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Encoded::from_json(value, mod_revision)?)
    }
}

/// Bounds and times.
#[derive(Clone, Debug)]
pub struct Config {
    /// All keys of the views start with this.
    pub prefix: String,
    /// Events kept per view for watches that resume.
    pub history_events: usize,
    /// Their size per view.
    pub history_bytes: usize,
    /// Events that may wait for one watcher before it is ended.
    pub queue_events: usize,
    /// How far back in revisions the history reaches at start (as far as it is not compacted). etcd replays some 7,500
    /// a second, and nothing is served before.
    pub startup_revisions: u64,
    /// How long a read waits for a revision.
    pub wait: Duration,
    /// Watches that may read old history from the store at a time.
    pub gap_watches: usize,
    /// Whether the watch is alive is checked this often.
    pub probe_interval: Duration,
    /// Cache and store are compared this often.
    pub check_interval: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            prefix: "/registry/".to_owned(),
            history_events: 16_384,
            history_bytes: 32 << 20,
            queue_events: 4_096,
            startup_revisions: 4_000,
            wait: Duration::from_secs(3),
            gap_watches: 8,
            probe_interval: Duration::from_secs(30),
            check_interval: Duration::from_secs(600),
        }
    }
}

impl Config {
    fn limits(&self) -> hub::Limits {
        hub::Limits {
            history_events: self.history_events,
            history_bytes: self.history_bytes,
            queue_events: self.queue_events,
        }
    }
}

/// Why a read cannot be served.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The revision did not appear in time (504).
    #[error("too large resource version: {requested}, current: {current}")]
    TooLarge {
        /// What was asked for.
        requested: u64,
        /// Where the cache is.
        current: u64,
    },
    /// The state of that revision is gone (410).
    #[error("too old resource version: {requested} ({oldest})")]
    Expired {
        /// What was asked for.
        requested: u64,
        /// The oldest that can be served.
        oldest: u64,
    },
    /// The store failed.
    #[error("the store failed to answer a read")]
    Store {
        /// How.
        #[source]
        source: Arc<crate::Error>,
    },
    /// A stored value that belongs to the answer cannot be read (500): without it the answer would be wrong.
    #[error("unable to transform key {key:?}: {reason}")]
    Unreadable {
        /// Its full key.
        key: String,
        /// Why it cannot.
        reason: String,
    },
    /// A view's prefix begins like that of another.
    #[error("a view of {prefix} would overlap with another")]
    Overlaps {
        /// The prefix.
        prefix: String,
    },
    /// The cache has stopped.
    #[error("the watch cache has stopped")]
    Closed,
}

impl From<crate::Error> for Error {
    fn from(source: crate::Error) -> Self {
        match source {
            crate::Error::Compacted { requested, oldest } => Self::Expired { requested, oldest },
            crate::Error::FutureRevision { requested, current } => Self::TooLarge { requested, current },
            source => Self::Store { source: Arc::new(source) },
        }
    }
}

impl From<Error> for WatchError {
    fn from(error: Error) -> Self {
        match error {
            Error::TooLarge { requested, current } => Self::TooLarge { requested, current },
            Error::Expired { requested, oldest } => Self::Expired { requested, oldest },
            Error::Store { source } => Self::Store { reason: gantry_common::error_chain(&*source) },
            error @ Error::Unreadable { .. } => Self::Store { reason: error.to_string() },
            Error::Overlaps { .. } | Error::Closed => Self::Closed,
        }
    }
}

/// A stored value that cannot be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Undecodable {
    /// Its full key.
    pub key: String,
    /// The revision of its write.
    pub mod_revision: u64,
    /// The error with its causes.
    pub reason: String,
    /// Its form cannot be read (no key opens it): it may become readable again, so readers are not told that it is gone.
    pub unreadable: bool,
}

impl From<Undecodable> for Error {
    fn from(what: Undecodable) -> Self {
        Self::Unreadable { key: what.key, reason: what.reason }
    }
}

/// Handle of the cache. Cheap to clone; serves once its [`Driver`] runs.
#[derive(Clone)]
pub struct Cache {
    core: Arc<Core>,
    /// The views that there are now. Whoever works through several takes one state of the set and stays with it.
    views: Arc<RwLock<Arc<Views>>>,
}

/// Views by prefix.
type Views = BTreeMap<String, Slot>;

/// The views of one prefix.
#[derive(Clone)]
struct Slot {
    /// What readers see.
    served: Option<View>,
    /// What takes its place once it is filled.
    filling: Option<View>,
}

impl Slot {
    /// All that have to follow the store.
    fn each(&self) -> impl Iterator<Item = &View> {
        self.served.iter().chain(&self.filling)
    }
}

impl Cache {
    /// A cache of the given views. It is empty until `Driver::run` has filled it, see [`Cache::ready`].
    ///
    /// # Panics
    /// When a view's prefix starts with another's, or not with the configured prefix.
    #[must_use]
    pub fn new(
        config: Config,
        store: Arc<dyn Store>,
        normalise: Arc<dyn Normalise>,
        views: Vec<ViewSpec>,
    ) -> (Self, Driver) {
        let (core, questions) = Core::new(config, store, normalise);
        let made = |spec: ViewSpec| Slot { served: Some(View::new(spec, core.clone())), filling: None };
        let views: Views = views.into_iter().map(|spec| (spec.prefix.clone(), made(spec))).collect();
        let prefixes: Vec<&String> = views.keys().collect();
        assert!(prefixes.windows(2).all(|pair| !pair[1].starts_with(pair[0])), "views must not overlap: {prefixes:?}");
        assert!(prefixes.iter().all(|prefix| prefix.starts_with(&core.config.prefix)), "a view is out of the prefix");
        let cache = Self { core, views: Arc::new(RwLock::new(Arc::new(views))) };
        (cache.clone(), Driver::new(cache, questions))
    }

    /// The view of this exact prefix.
    #[must_use]
    pub fn view(&self, prefix: &str) -> Option<View> {
        self.views.read().get(prefix).and_then(|slot| slot.served.clone())
    }

    /// All views in the order of their prefixes.
    #[must_use]
    pub fn views(&self) -> Vec<View> {
        self.present().values().filter_map(|slot| slot.served.clone()).collect()
    }

    /// The views that there are now.
    fn present(&self) -> Arc<Views> {
        self.views.read().clone()
    }

    /// The revision that every view has reached.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.core.revision()
    }

    /// Resolves once the cache has been filled. Stays true when the store fails later: reads go on.
    pub async fn ready(&self) {
        self.core.ready().await;
    }

    /// Whether the cache has been filled.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.core.is_ready()
    }

    /// Waits until the cache has reached `revision`.
    ///
    /// # Errors
    /// `TooLarge` after [`Config::wait`].
    pub async fn wait_for(&self, revision: u64) -> Result<(), Error> {
        self.core.wait_for(revision).await
    }

    /// The store's present revision. Callers that ask at the same time share one question.
    ///
    /// # Errors
    /// `Store`, `Closed`.
    pub async fn consistent_revision(&self) -> Result<u64, Error> {
        self.core.consistent_revision().await
    }

    /// Waits until the cache has every write that was acknowledged before this call; returns that revision.
    ///
    /// # Errors
    /// `TooLarge`, `Store`, `Closed`.
    pub async fn consistent(&self) -> Result<u64, Error> {
        let revision = self.consistent_revision().await?;
        self.wait_for(revision).await?;
        Ok(revision)
    }

    /// Announces a write of `draft` to `key`, to be kept until the store has answered. When the watch brings back the same
    /// bytes, the views take the draft's form instead of reading them; not if it is not `shared`, for keys whose values are
    /// served in another form than they are stored in.
    #[must_use]
    pub fn writing(&self, key: String, draft: Draft, shared: bool) -> Writing {
        Writing::new(shared.then(|| (self.core.clone(), key)), draft)
    }

    /// All stored values that cannot be served.
    #[must_use]
    pub fn undecodable(&self) -> Vec<Undecodable> {
        self.views().iter().flat_map(View::undecodable).collect()
    }

    /// What has happened since the start, for metrics.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.core.counters
    }

    /// Lists the store again, because what could not be read may be readable now.
    pub fn list_again(&self) {
        self.core.doubt.notify_one();
    }

    /// The store underneath.
    #[must_use]
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.core.store
    }
}

/// The views that cover a full key, with their prefix.
fn slot_of<'v>(views: &'v Views, key: &str) -> Option<(&'v str, &'v Slot)> {
    // No prefix is a prefix of another, so only the greatest one that is not after the key can cover it.
    let (prefix, slot) = views.range::<str, _>((Bound::Unbounded, Bound::Included(key))).next_back()?;
    key.starts_with(prefix.as_str()).then_some((prefix, slot))
}

#[cfg(test)]
mod tests;
