//! Nodes and namespaces.

use std::collections::HashSet;

use super::at::{At, Out, same};
use super::read::{list, map, some, text};
use super::{formats, meta, pod, selector};
use crate::Value;
use crate::names;

const UNSET: Value = Value::Null;

/// A node.
pub(super) fn node(out: &mut Out, object: &Value) {
    let spec = some(object, "spec").unwrap_or(&UNSET);
    taints(out, At::Root("spec.taints"), list(spec, "taints"));
    for (index, cidr) in list(spec, "podCIDRs").iter().enumerate() {
        let cidr = cidr.as_str().unwrap_or_default();
        if let Some(detail) = formats::cidr(cidr) {
            out.invalid(At::Root("spec.podCIDRs").index(index), cidr, &detail);
        }
    }
    let status = some(object, "status").unwrap_or(&UNSET);
    for key in ["capacity", "allocatable"] {
        if let Some(amounts) = map(status, key) {
            let at = At::Root("status");
            pod::resource_list(out, at.child(key), amounts, "pods");
        }
    }
    let mut seen = HashSet::new();
    for (index, address) in list(status, "addresses").iter().enumerate() {
        if !seen.insert(address) {
            out.duplicate(At::Root("status.addresses").index(index), address.clone());
        }
    }
}

fn taints(out: &mut Out, at: At<'_>, taints: &[Value]) {
    let mut seen = HashSet::new();
    for (index, taint) in taints.iter().enumerate() {
        let at = at.index(index);
        let (key, value) = (text(taint, "key"), text(taint, "value"));
        selector::label_name(out, at.child("key"), key);
        let found = names::label_value(value);
        if !found.is_empty() {
            out.invalid(at.child("value"), value, &found.join(";"));
        }
        out.one_of(at.child("effect"), text(taint, "effect"), selector::EFFECTS);
        if !seen.insert((key, text(taint, "effect"))) {
            out.duplicate(at, taint.clone());
            if let Some(error) = out.errors.last_mut() {
                error.body.push_str(": taints must be unique by key and effect pair");
            }
        }
    }
}

/// What an update of a node may not change.
pub(super) fn node_update(out: &mut Out, new: &Value, old: &Value) {
    node(out, new);
    let (spec, before) = (some(new, "spec").unwrap_or(&UNSET), some(old, "spec").unwrap_or(&UNSET));
    for (key, name) in [("podCIDRs", "podCIDR"), ("providerID", "providerID")] {
        let set = before.get(key).is_some_and(|v| !super::at::empty(v));
        if set && !same(spec.get(key), before.get(key)) {
            let detail = format!("node updates may not change {name} except from \"\" to valid");
            out.forbidden(At::Root("spec").child(key), &detail);
        }
    }
}

/// A namespace.
pub(super) fn namespace(out: &mut Out, object: &Value) {
    let spec = some(object, "spec").unwrap_or(&UNSET);
    for finalizer in list(spec, "finalizers") {
        meta::finalizer_name(out, At::Root("spec.finalizers"), finalizer.as_str().unwrap_or_default());
    }
}

/// What keeps a namespace, as `/finalize` leaves it; here upstream says which one is wrong.
pub(super) fn finalizers(out: &mut Out, object: &Value) {
    let at = At::Root("spec.finalizers");
    for (index, finalizer) in list(some(object, "spec").unwrap_or(&UNSET), "finalizers").iter().enumerate() {
        meta::finalizer_name(out, at.index(index), finalizer.as_str().unwrap_or_default());
    }
}

/// The phase goes with the deletion.
pub(super) fn namespace_status(out: &mut Out, new: &Value) {
    let phase = some(new, "status").map_or("", |s| text(s, "phase"));
    let deleting = some(new, "metadata").is_some_and(|m| some(m, "deletionTimestamp").is_some());
    let at = At::Root("status.Phase");
    if deleting && phase != "Terminating" {
        out.invalid(at, phase, "may only be 'Terminating' if `deletionTimestamp` is not empty");
    } else if !deleting && phase != "Active" {
        out.invalid(at, phase, "may only be 'Active' if `deletionTimestamp` is empty");
    }
}
