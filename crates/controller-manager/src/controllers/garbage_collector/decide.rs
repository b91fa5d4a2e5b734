//! What becomes of one object, given what its owners are.
//!
//! Rules: k8s.io/kubernetes pkg/controller/garbagecollector/garbagecollector.go, `attemptToDeleteItem`.

use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

use super::graph::{FOREGROUND, ORPHAN, is_foreground};
use crate::catalog::Meta;

/// What an owner is, by the API server's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    /// It exists and stays.
    Solid,
    /// It does not exist.
    Absent,
    /// It is on its way out and waits for its dependents.
    Waiting,
}

/// What to do with the object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision {
    /// Nothing.
    Keep,
    /// Strike these owners (uids) from its list; others hold it.
    Strike(Vec<String>),
    /// Delete it.
    Delete {
        /// `Background`, `Foreground` or `Orphan`.
        policy: &'static str,
        /// First let it no longer hold up its owners: one of its dependents waits itself, and they could wait in a circle.
        unblock: bool,
    },
    /// Its last blocking dependent is gone: take the foreground finalizer off.
    Release,
    /// It waits for these dependents, which must be looked at.
    Wait(Vec<String>),
    /// It waits, through others, for itself: let it no longer hold up its owners.
    Unblock,
}

/// Decides about `item` as the API server shows it; `owners` in the order of its references. `in_circle`: see
/// [`super::graph::Graph::waits_for_itself`].
pub(super) fn decide(
    item: &Meta,
    owners: &[(OwnerReference, Owner)],
    dependents: &[Arc<Meta>],
    in_circle: bool,
) -> Decision {
    if is_foreground(item) {
        let blocks = item.owners.iter().any(|o| o.block_owner_deletion == Some(true));
        return if in_circle && blocks { Decision::Unblock } else { wait_or_release(item, dependents) };
    }
    if item.deleting || owners.is_empty() {
        return Decision::Keep;
    }
    let having = |wanted: Owner| owners.iter().any(|(_, state)| *state == wanted);
    if having(Owner::Solid) {
        let others = owners.iter().filter(|(_, state)| *state != Owner::Solid);
        let uids: Vec<String> = others.map(|(reference, _)| reference.uid.clone()).collect();
        return if uids.is_empty() { Decision::Keep } else { Decision::Strike(uids) };
    }
    if having(Owner::Waiting) && !dependents.is_empty() {
        let unblock = dependents.iter().any(|d| is_foreground(d));
        return Decision::Delete { policy: "Foreground", unblock };
    }
    let policy = match () {
        () if item.has_finalizer(ORPHAN) => "Orphan",
        () if item.has_finalizer(FOREGROUND) => "Foreground",
        () => "Background",
    };
    Decision::Delete { policy, unblock: false }
}

fn wait_or_release(item: &Meta, dependents: &[Arc<Meta>]) -> Decision {
    let blocks = |d: &&Arc<Meta>| d.owners.iter().any(|o| o.uid == item.uid && o.block_owner_deletion == Some(true));
    let blocking: Vec<&Arc<Meta>> = dependents.iter().filter(blocks).collect();
    if blocking.is_empty() {
        return Decision::Release;
    }
    // One that waits for its own dependents is looked at when those go.
    Decision::Wait(blocking.into_iter().filter(|d| !is_foreground(d)).map(|d| d.uid.clone()).collect())
}
