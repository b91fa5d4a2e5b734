//! The kinds that are served now, with the documents that tell of them.
//!
//! The set of kinds changes while the server runs: it is replaced as a whole, and the documents with it. Whoever answers a
//! request takes the set once and stays with it.

use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use bytes::Bytes;
use gantry_api::Value;
use gantry_api::discovery::{self, Root};
use gantry_api::kinds::{Kinds, Unserved};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use crate::rest::documents::Documents;

/// An aggregated discovery document and its hash.
#[derive(Debug)]
pub(crate) struct Aggregated {
    pub(crate) bytes: Bytes,
    pub(crate) etag: String,
}

impl Aggregated {
    fn new(kinds: &Kinds, root: Root) -> Self {
        Self::of(&discovery::aggregated(kinds, root))
    }

    /// A document that was made elsewhere.
    pub(crate) fn of(document: &Value) -> Self {
        let bytes = Bytes::from(discovery::text(document));
        let hash: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02X}")).collect();
        Self { bytes, etag: format!("\"{hash}\"") }
    }
}

/// One set of kinds with its documents, which are made when they are first asked for.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) kinds: Arc<Kinds>,
    /// Those of them that discovery and OpenAPI tell of.
    pub(crate) told: Arc<Kinds>,
    pub(crate) documents: Documents,
    api: OnceLock<Aggregated>,
    apis: OnceLock<Aggregated>,
}

impl Served {
    fn new(kinds: Kinds, told: Option<Kinds>, before: Option<&Self>) -> Self {
        let kinds = Arc::new(kinds);
        let told = told.map_or_else(|| kinds.clone(), Arc::new);
        let documents = Documents::new(told.clone(), before.map(|before| &before.documents));
        Self { kinds, told, documents, api: OnceLock::new(), apis: OnceLock::new() }
    }

    /// The aggregated discovery document.
    pub(crate) fn aggregated(&self, root: Root) -> &Aggregated {
        let document = if root == Root::Api { &self.api } else { &self.apis };
        document.get_or_init(|| Aggregated::new(&self.told, root))
    }
}

/// What is served now.
pub(crate) struct Registry {
    now: ArcSwap<Served>,
    /// Counts the changes.
    changes: watch::Sender<u64>,
    unserved: Unserved,
}

impl Registry {
    /// The built-in kinds but for those that the operator switches off.
    pub(crate) fn new(unserved: Unserved) -> Self {
        let kinds = Kinds::builtin().without(unserved.clone());
        Self { now: ArcSwap::from_pointee(Served::new(kinds, None, None)), changes: watch::Sender::new(0), unserved }
    }

    /// The set of this moment.
    pub(crate) fn now(&self) -> Arc<Served> {
        self.now.load_full()
    }

    /// The kinds of this moment.
    pub(crate) fn kinds(&self) -> Arc<Kinds> {
        self.now.load().kinds.clone()
    }

    /// Replaces the set; `told` is what clients are told of, if that is less. Only one task may do so.
    pub(crate) fn replace(&self, kinds: Kinds, told: Option<Kinds>) {
        let here = |kinds: Kinds| kinds.without(self.unserved.clone());
        let served = Served::new(here(kinds), told.map(here), Some(&self.now.load()));
        self.now.store(Arc::new(served));
        self.changes.send_modify(|count| *count += 1);
    }

    /// Tells of changes.
    pub(crate) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}
