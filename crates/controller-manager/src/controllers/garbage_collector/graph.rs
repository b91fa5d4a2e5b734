//! Who owns whom, as the catalog shows it, and which objects must be looked at when that changes.
//!
//! Model: k8s.io/kubernetes pkg/controller/garbagecollector/graph_builder.go. An owner that is named but not known stands in
//! the graph as *virtual* until it appears or the API server says that it does not exist.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use gantry_client::Key;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use crate::catalog::{Id, Meta};

pub(super) const ORPHAN: &str = "orphan";
pub(super) const FOREGROUND: &str = "foregroundDeletion";

/// What to look at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Work {
    /// May the object with this uid be deleted?
    Delete(String),
    /// The object with this uid goes and its dependents stay: free them.
    Orphan(String),
    /// The object with this uid names an owner in another namespace.
    Complain(String),
}

/// A named but unknown owner.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Virtual {
    pub(super) reference: OwnerReference,
    /// The namespace of the dependent that named it.
    pub(super) namespace: String,
}

#[derive(Debug, Clone)]
enum Node {
    Real(Arc<Meta>),
    Virtual(Virtual),
}

/// The graph, by uid.
#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: BTreeMap<String, Node>,
    /// Owner to dependents; also of owners that are gone while dependents still name them.
    dependents: BTreeMap<String, BTreeSet<String>>,
    uids: BTreeMap<Id, String>,
}

/// Whether the object stays until its dependents are gone.
pub(super) fn is_foreground(meta: &Meta) -> bool {
    meta.deleting && meta.has_finalizer(FOREGROUND)
}

fn is_orphaning(meta: &Meta) -> bool {
    meta.deleting && meta.has_finalizer(ORPHAN)
}

/// Whether `reference`, made in `namespace`, means the object.
fn means(reference: &OwnerReference, namespace: &str, meta: &Meta) -> bool {
    let (group, _) = gantry_api::kinds::split_api_version(&reference.api_version);
    reference.kind == meta.kind.kind
        && group == meta.kind.group
        && reference.name == meta.key.name
        && (!meta.kind.namespaced || meta.key.namespace == namespace)
}

impl Graph {
    /// Takes note of what the catalog says of `id` now; returns what to look at.
    pub(super) fn update(&mut self, id: &Id, now: Option<Arc<Meta>>) -> BTreeSet<Work> {
        let mut work = BTreeSet::new();
        let known = self.uids.get(id).cloned();
        if let Some(old) = known.filter(|old| now.as_ref().is_none_or(|m| m.uid != *old)) {
            self.uids.remove(id);
            work.extend(self.remove(&old));
        }
        if let Some(meta) = now {
            self.uids.insert(id.clone(), meta.uid.clone());
            work.extend(self.upsert(meta));
        }
        work
    }

    /// The API server says that the virtual owner does not exist.
    pub(super) fn absent(&mut self, uid: &str) -> BTreeSet<Work> {
        if matches!(self.nodes.get(uid), Some(Node::Virtual(_))) { self.remove(uid) } else { BTreeSet::new() }
    }

    /// The object, if it is known.
    pub(super) fn get(&self, uid: &str) -> Option<&Arc<Meta>> {
        if let Some(Node::Real(meta)) = self.nodes.get(uid) { Some(meta) } else { None }
    }

    /// How the unknown owner was named.
    pub(super) fn get_virtual(&self, uid: &str) -> Option<&Virtual> {
        if let Some(Node::Virtual(v)) = self.nodes.get(uid) { Some(v) } else { None }
    }

    /// The objects that name `uid` as their owner.
    pub(super) fn dependents(&self, uid: &str) -> Vec<Arc<Meta>> {
        self.dependents.get(uid).into_iter().flatten().filter_map(|d| self.get(d).cloned()).collect()
    }

    /// Whether the object waits for dependents that wait for dependents that ... wait for it. Upstream hangs then.
    pub(super) fn waits_for_itself(&self, uid: &str) -> bool {
        let mut seen = BTreeSet::new();
        let mut open = vec![uid.to_owned()];
        while let Some(next) = open.pop() {
            for dependent in self.dependents(&next) {
                let blocks = dependent.owners.iter().any(|o| o.uid == next && o.block_owner_deletion == Some(true));
                if !blocks || !is_foreground(&dependent) {
                    continue;
                }
                if dependent.uid == uid {
                    return true;
                }
                if seen.insert(dependent.uid.clone()) {
                    open.push(dependent.uid.clone());
                }
            }
        }
        false
    }

    fn upsert(&mut self, meta: Arc<Meta>) -> BTreeSet<Work> {
        let mut work = BTreeSet::new();
        let uid = meta.uid.clone();
        let before = self.nodes.insert(uid.clone(), Node::Real(Arc::clone(&meta)));
        let old = match &before {
            Some(Node::Real(old)) => Some(Arc::clone(old)),
            Some(Node::Virtual(_)) => {
                // Those that named it otherwise than it is called do not mean it.
                let strangers = self.dependents(&uid).into_iter().filter(|d| !names(d, &meta));
                work.extend(strangers.map(|d| Work::Delete(d.uid.clone())));
                None
            }
            None => None,
        };
        for gone in old.iter().flat_map(|o| &o.owners).filter(|o| !meta.owners.contains(o)) {
            work.extend(self.unlink(&uid, gone, &meta));
        }
        for owner in &meta.owners {
            work.extend(self.link(&meta, owner));
        }
        if is_orphaning(&meta) && !old.as_deref().is_some_and(is_orphaning) {
            work.insert(Work::Orphan(uid.clone()));
        }
        if is_foreground(&meta) && !old.as_deref().is_some_and(is_foreground) {
            work.extend(self.dependents(&uid).iter().map(|d| Work::Delete(d.uid.clone())));
            work.insert(Work::Delete(uid));
        }
        work
    }

    /// The dependent no longer names this owner, or names it otherwise: it may no longer hold it up.
    fn unlink(&mut self, dependent: &str, owner: &OwnerReference, now: &Meta) -> Option<Work> {
        if now.owners.iter().all(|o| o.uid != owner.uid) {
            self.drop_dependent(&owner.uid, dependent);
        }
        self.get(&owner.uid).filter(|o| is_foreground(o)).map(|o| Work::Delete(o.uid.clone()))
    }

    fn link(&mut self, dependent: &Meta, owner: &OwnerReference) -> Vec<Work> {
        self.dependents.entry(owner.uid.clone()).or_default().insert(dependent.uid.clone());
        match self.nodes.get(&owner.uid) {
            None => {
                let named = Virtual { reference: owner.clone(), namespace: dependent.key.namespace.clone() };
                self.nodes.insert(owner.uid.clone(), Node::Virtual(named));
                vec![Work::Delete(owner.uid.clone())]
            }
            Some(Node::Real(real)) if !means(owner, &dependent.key.namespace, real) => {
                let abroad = real.kind.namespaced && real.key.namespace != dependent.key.namespace;
                let complaint = abroad.then(|| Work::Complain(dependent.uid.clone()));
                complaint.into_iter().chain([Work::Delete(dependent.uid.clone())]).collect()
            }
            Some(Node::Real(real)) if is_foreground(real) => vec![Work::Delete(dependent.uid.clone())],
            Some(Node::Virtual(v)) if v.reference.name != owner.name || v.namespace != dependent.key.namespace => {
                // Named in two ways: each dependent is looked at by its own.
                vec![Work::Delete(dependent.uid.clone())]
            }
            Some(_) => Vec::new(),
        }
    }

    fn remove(&mut self, uid: &str) -> BTreeSet<Work> {
        let mut work: BTreeSet<Work> = self.dependents(uid).iter().map(|d| Work::Delete(d.uid.clone())).collect();
        if let Some(Node::Real(meta)) = self.nodes.remove(uid) {
            for owner in &meta.owners {
                self.drop_dependent(&owner.uid, uid);
                let waits = self.get(&owner.uid).is_some_and(|o| is_foreground(o));
                work.extend(waits.then(|| Work::Delete(owner.uid.clone())));
            }
        }
        work
    }

    fn drop_dependent(&mut self, owner: &str, dependent: &str) {
        let Some(dependents) = self.dependents.get_mut(owner) else { return };
        dependents.remove(dependent);
        if dependents.is_empty() {
            self.dependents.remove(owner);
            if matches!(self.nodes.get(owner), Some(Node::Virtual(_))) {
                self.nodes.remove(owner);
            }
        }
    }
}

/// Whether the dependent names the object as it is called.
fn names(dependent: &Meta, meta: &Meta) -> bool {
    dependent.owners.iter().filter(|o| o.uid == meta.uid).all(|o| means(o, &dependent.key.namespace, meta))
}

/// The key of an owner named in `namespace`.
pub(super) fn owner_key(reference: &OwnerReference, namespaced: bool, namespace: &str) -> Key {
    if namespaced { Key::new(namespace, reference.name.clone()) } else { Key::cluster(reference.name.clone()) }
}
