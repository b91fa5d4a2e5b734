//! The metadata of every object in the cluster but Events: who owns what, and what a namespace holds.
//!
//! One metadata watch per kind feeds it, and lists of what other API servers have. Readers are told the identity of what changed and look at the present state.

mod definitions;
mod others;
mod watch;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use gantry_api::{
    custom::Definition,
    kinds::{self, Kind, KindInfo, Kinds},
};
use gantry_client::{Client, Key};
use gantry_common::task::{Group, OnExit};
use gantry_controller::Queue;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use parking_lot::Mutex;
use tokio::sync::watch as signal;

/// Which object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id {
    /// The kind's name in the type table.
    pub type_name: &'static str,
    /// Namespace and name.
    pub key: Key,
}

/// What is kept of an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Meta {
    /// Its kind.
    pub kind: Kind,
    /// Namespace and name.
    pub key: Key,
    /// Its uid.
    pub uid: String,
    /// Its resource version.
    pub resource_version: String,
    /// Its owners.
    pub owners: Vec<OwnerReference>,
    /// Its finalizers.
    pub finalizers: Vec<String>,
    /// Whether it has been asked to go.
    pub deleting: bool,
}

impl Meta {
    /// Takes what is kept from an object's metadata.
    #[must_use]
    pub fn new(kind: impl Into<Kind>, meta: ObjectMeta) -> Self {
        Self {
            kind: kind.into(),
            key: Key::of(&meta),
            uid: meta.uid.unwrap_or_default(),
            resource_version: meta.resource_version.unwrap_or_default(),
            owners: meta.owner_references.unwrap_or_default(),
            finalizers: meta.finalizers.unwrap_or_default(),
            deleting: meta.deletion_timestamp.is_some(),
        }
    }

    /// Its identity.
    #[must_use]
    pub fn id(&self) -> Id {
        Id { type_name: self.kind.name(), key: self.key.clone() }
    }

    /// Whether it has this finalizer.
    #[must_use]
    pub fn has_finalizer(&self, name: &str) -> bool {
        self.finalizers.iter().any(|f| f == name)
    }
}

#[derive(Default)]
struct Inner {
    objects: BTreeMap<Id, Arc<Meta>>,
    namespaces: BTreeMap<String, BTreeSet<Id>>,
    /// The revision that the objects of a kind are known at.
    revisions: BTreeMap<&'static str, u64>,
    subscribers: Vec<Queue<Id>>,
}

/// The metadata of all objects.
pub struct Catalog {
    inner: Mutex<Inner>,
    /// Kinds whose present objects are not all known yet, nor known not to be served.
    missing: signal::Sender<usize>,
    served: Mutex<Served>,
}

/// Which kinds there are now.
#[derive(Default)]
struct Served {
    /// By what is defined here.
    definitions: Vec<Arc<Definition>>,
    /// The kinds of this server.
    own: Arc<Kinds>,
    /// By what other servers have.
    others: Vec<Arc<Definition>>,
    /// All of them.
    all: Arc<Kinds>,
}

/// The kinds that are looked after: everything that can be watched and deleted. Events come and go by themselves.
#[must_use]
pub fn watched_kinds() -> Vec<&'static KindInfo> {
    let verbs = ["list", "watch", "delete"];
    // Other forms of a kind show the same objects again.
    let once = |k: &&KindInfo| k.kind != "Event" && !k.is_converted();
    kinds::all().iter().filter(|k| verbs.iter().all(|v| k.supports(v))).filter(once).collect()
}

impl Catalog {
    /// Starts the watches as tasks of `group`.
    #[must_use]
    pub fn start(client: &Client, group: &Group) -> Arc<Self> {
        let kinds = watched_kinds();
        // The definitions of custom kinds count as one, and so do other servers.
        let catalog = Arc::new(Self::empty(kinds.len() + 2));
        let definitions = definitions::Definitions::new(client.clone(), group.clone(), Arc::clone(&catalog));
        group.spawn("definitions", OnExit::ShutDown, definitions.run());
        let others = others::Others::new(client.clone(), Arc::clone(&catalog));
        group.spawn("other servers", OnExit::ShutDown, others.run());
        for kind in kinds {
            let watch = watch::Watch::new(client.clone(), kind.held(), Arc::clone(&catalog));
            group.spawn("catalog", OnExit::ShutDown, watch.run());
        }
        catalog
    }

    fn empty(missing: usize) -> Self {
        Self { inner: Mutex::default(), missing: signal::channel(missing).0, served: Mutex::default() }
    }

    /// The kinds that this cluster's API server has now, custom ones included.
    #[must_use]
    pub fn kinds(&self) -> Arc<Kinds> {
        Arc::clone(&self.served.lock().own)
    }

    /// The same and those of other API servers.
    #[must_use]
    pub fn all_kinds(&self) -> Arc<Kinds> {
        Arc::clone(&self.served.lock().all)
    }

    fn define(&self, definitions: Vec<Arc<Definition>>) {
        let mut served = self.served.lock();
        served.own = Arc::new(Kinds::with(definitions.clone()));
        served.definitions = definitions;
        served.combine();
    }

    fn define_others(&self, definitions: Vec<Arc<Definition>>) {
        let mut served = self.served.lock();
        served.others = definitions;
        served.combine();
    }

    /// Resolves once all objects that were there at the start are known, of the kinds that the server serves.
    pub async fn synced(&self) {
        // The sender lives in `self`.
        drop(self.missing.subscribe().wait_for(|missing| *missing == 0).await);
    }

    /// The object.
    #[must_use]
    pub fn get(&self, id: &Id) -> Option<Arc<Meta>> {
        self.inner.lock().objects.get(id).cloned()
    }

    /// Everything in a namespace, also of what other API servers keep there.
    #[must_use]
    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<Meta>> {
        let inner = self.inner.lock();
        let ids = inner.namespaces.get(namespace);
        ids.into_iter().flatten().filter_map(|id| inner.objects.get(id).cloned()).collect()
    }

    /// How many objects of the kind, by its name in the type table, a namespace holds.
    #[must_use]
    pub fn count(&self, type_name: &'static str, namespace: &str) -> usize {
        let inner = self.inner.lock();
        let Some(ids) = inner.namespaces.get(namespace) else { return 0 };
        let first = Id { type_name, key: Key::default() };
        ids.range(first..).take_while(|id| id.type_name == type_name).count()
    }

    /// The revision up to which the objects of the kind are known; `None` for a kind that is not looked after, or not yet.
    #[must_use]
    pub fn revision(&self, type_name: &str) -> Option<u64> {
        self.inner.lock().revisions.get(type_name).copied()
    }

    /// The identities of what changes from now on, all present objects first; several changes of one object are one.
    #[must_use]
    pub fn subscribe(self: &Arc<Self>) -> Subscription {
        let mut inner = self.inner.lock();
        let queue = Queue::new();
        inner.objects.keys().for_each(|id| queue.add(id.clone()));
        inner.subscribers.push(queue.clone());
        Subscription { catalog: Arc::clone(self), queue }
    }

    fn set(&self, id: Id, meta: Option<Meta>) {
        let mut inner = self.inner.lock();
        inner.set(id, meta);
    }

    /// The objects of the kind are known up to this revision.
    fn advance(&self, kind: &KindInfo, revision: u64) {
        let mut inner = self.inner.lock();
        let known = inner.revisions.entry(kind.name()).or_default();
        *known = revision.max(*known);
    }

    /// The kind is looked after no more.
    fn forget(&self, kind: &KindInfo) {
        self.replace(kind, Vec::new());
        self.inner.lock().revisions.remove(kind.type_name.as_str());
    }

    /// As [`Catalog::replace`], of another server's kind; nothing where the kind is this server's by now.
    fn replace_foreign(&self, kind: &KindInfo, present: Vec<Meta>) {
        // It is held meanwhile: a kind that is defined in between has its own objects.
        let served = self.served.lock();
        if served.own.by_kind(kind.group, kind.version, kind.kind).is_none() {
            self.replace(kind, present);
        }
    }

    /// Makes the objects of one kind equal to `present`.
    fn replace(&self, kind: &KindInfo, present: Vec<Meta>) {
        let mut inner = self.inner.lock();
        let ids: BTreeSet<Id> = present.iter().map(Meta::id).collect();
        let of_kind = |id: &&Id| id.type_name == kind.type_name;
        let gone: Vec<Id> = inner.objects.keys().filter(of_kind).filter(|id| !ids.contains(id)).cloned().collect();
        gone.into_iter().for_each(|id| inner.set(id, None));
        present.into_iter().for_each(|meta| inner.set(meta.id(), Some(meta)));
    }

    fn kind_is_synced(&self) {
        self.missing.send_modify(|missing| *missing -= 1);
    }
}

/// Tells what changed; ends when it is dropped.
pub struct Subscription {
    catalog: Arc<Catalog>,
    queue: Queue<Id>,
}

impl Subscription {
    /// Calls `act` with the present state of each object that changes, for ever.
    pub async fn follow(self, mut act: impl FnMut(&Id, Option<Arc<Meta>>)) {
        while let Some(id) = self.queue.next().await {
            act(&id, self.catalog.get(&id));
            self.queue.done(&id);
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.queue.close();
        self.catalog.inner.lock().subscribers.retain(|q| !q.is_closed());
    }
}

impl Served {
    fn combine(&mut self) {
        self.all = match self.others.is_empty() {
            true => Arc::clone(&self.own),
            false => Arc::new(Kinds::with(self.definitions.iter().chain(&self.others).cloned().collect())),
        };
    }
}

impl Inner {
    fn set(&mut self, id: Id, meta: Option<Meta>) {
        let namespace = id.key.namespace.clone();
        match meta {
            Some(meta) => {
                if self.objects.get(&id).is_some_and(|known| **known == meta) {
                    return;
                }
                self.namespaces.entry(namespace).or_default().insert(id.clone());
                self.objects.insert(id.clone(), Arc::new(meta));
            }
            None => {
                self.objects.remove(&id);
                if let Some(ids) = self.namespaces.get_mut(&namespace) {
                    ids.remove(&id);
                    if ids.is_empty() {
                        self.namespaces.remove(&namespace);
                    }
                }
            }
        }
        self.subscribers.iter().for_each(|queue| queue.add(id.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(namespace: &str, name: &str, uid: &str) -> Meta {
        let kind = kinds::by_kind("", "v1", "Pod").expect("served");
        let meta = ObjectMeta {
            namespace: Some(namespace.to_owned()),
            name: Some(name.to_owned()),
            uid: Some(uid.to_owned()),
            ..ObjectMeta::default()
        };
        Meta::new(kind, meta)
    }

    #[test]
    fn namespaces_are_indexed_and_subscribers_told() {
        let catalog = Arc::new(Catalog::empty(0));
        let (a, b) = (pod("ns", "a", "1"), pod("ns", "b", "2"));
        catalog.set(a.id(), Some(a.clone()));
        let subscription = catalog.subscribe();
        let queue = subscription.queue.clone();
        assert_eq!(queue.len(), 1, "present objects come first");
        catalog.set(b.id(), Some(b.clone()));
        catalog.set(b.id(), Some(b.clone()));
        assert_eq!(queue.len(), 2);
        assert_eq!(catalog.in_namespace("ns").len(), 2);
        assert_eq!([catalog.count(a.kind.name(), "ns"), catalog.count(a.kind.name(), "other")], [2, 0]);
        let maps = kinds::by_kind("", "v1", "ConfigMap").expect("served");
        assert_eq!(catalog.count(maps.name(), "ns"), 0);
        catalog.advance(&a.kind, 7);
        catalog.advance(&a.kind, 5);
        assert_eq!([catalog.revision(&a.kind.type_name), catalog.revision(&maps.type_name)], [Some(7), None]);
        catalog.replace(&a.kind, vec![b.clone()]);
        assert_eq!(catalog.get(&a.id()), None);
        assert_eq!(*catalog.in_namespace("ns")[0], b);
        catalog.set(b.id(), None);
        assert!(catalog.in_namespace("ns").is_empty());
        drop(subscription);
        assert!(catalog.inner.lock().subscribers.is_empty());
    }

    #[test]
    fn events_are_not_watched() {
        let kinds = watched_kinds();
        assert!(kinds.iter().any(|k| k.kind == "Pod"));
        assert!(kinds.iter().any(|k| k.kind == "Namespace"));
        assert!(kinds.iter().all(|k| k.kind != "Event" && !k.create_only()));
    }
}
