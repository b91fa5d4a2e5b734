//! Nodes and namespaces.

use std::collections::HashSet;

use super::at::{At, Out, same};
use super::read::{list, map, number, some, text};
use super::{formats, meta, quotas, selector, written};
use crate::Value;
use crate::field::Error;
use crate::internal;
use crate::names;

const UNSET: Value = Value::Null;
/// The longest name of a subdomain.
const SUBDOMAIN_BYTES: usize = 253;

/// A node.
pub(super) fn node(out: &mut Out, object: &Value) {
    let spec = some(object, "spec").unwrap_or(&UNSET);
    written::of_node(out, object);
    // Upstream looks for taints in the specification and tells of them as metadata.
    taints(out, At::Root("metadata.taints"), list(spec, "taints"));
    resources(out, object);
    let swap = some(object, "status").and_then(|s| some(some(s, "nodeInfo")?, "swap"));
    if let Some(capacity) = swap.and_then(|s| number(s, "capacity")).filter(|c| *c <= 0) {
        out.invalid(At::Root("metadata.nodeSwapStatus.capacity"), capacity, "must be greater than zero");
    }
    declared_features(out, object);
    let at = At::Root("spec.podCIDRs");
    let cidrs: Vec<&str> = list(spec, "podCIDRs").iter().filter_map(Value::as_str).collect();
    let before = out.count();
    for (index, cidr) in cidrs.iter().enumerate() {
        if let Some(detail) = formats::cidr(cidr) {
            out.invalid(at.index(index), *cidr, &detail);
        }
    }
    let six = cidrs.iter().filter(|cidr| cidr.contains(':')).count();
    if out.count() == before && (six > 1 || cidrs.len() > six + 1) {
        out.invalid(at, cidrs, "may specify no more than one CIDR for each IP family");
    }
}

/// What a node has and what pods may have of it; the names are any.
fn resources(out: &mut Out, object: &Value) {
    let status = some(object, "status").unwrap_or(&UNSET);
    let at = At::Root("status");
    for key in ["capacity", "allocatable"] {
        let at = at.child(key);
        for (name, amount) in map(status, key).into_iter().flatten() {
            quotas::amount(out, at.child(name), name, amount);
        }
    }
}

/// The features that a node says it has (KEP-5328): names in order, each once.
fn declared_features(out: &mut Out, object: &Value) {
    let at = At::Root("status.declaredFeatures");
    let mut before: Option<&str> = None;
    for (index, feature) in list(some(object, "status").unwrap_or(&UNSET), "declaredFeatures").iter().enumerate() {
        let (at, feature) = (at.index(index), feature.as_str().unwrap_or_default());
        match before {
            Some(last) if last == feature => out.duplicate(at, feature),
            Some(last) if last > feature => out.invalid(at, feature, "list must be sorted alphabetically"),
            _ => {}
        }
        before = Some(feature);
        if feature.len() > SUBDOMAIN_BYTES {
            let detail = format!("invalid feature name {feature:?}: must be no more than {SUBDOMAIN_BYTES} characters");
            out.invalid(at, feature, &detail);
        } else if !is_feature(feature) {
            let detail = format!(
                "invalid feature name {feature:?}: must start with an UpperCamelCase segment, with subsequent segments \
                 separated by '/' (e.g., MyFeature or MyFeature/mySubFeature), and contain only alphanumeric characters \
                 and slashes"
            );
            out.invalid(at, feature, &detail);
        }
    }
}

fn is_feature(name: &str) -> bool {
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric());
    name.starts_with(|c: char| c.is_ascii_uppercase()) && name.split('/').all(plain)
}

/// The taints of a node.
pub(super) fn taints(out: &mut Out, at: At<'_>, taints: &[Value]) {
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
            out.add(|| {
                let mut error = Error::duplicate_as(&at.path(), &internal::shown("core/v1.Taint", taint));
                error.body.push_str(": taints must be unique by key and effect pair");
                error
            });
        }
    }
}

/// What an update of a node may not change.
pub(super) fn node_update(out: &mut Out, new: &Value, old: &Value) {
    node(out, new);
    node_changes(out, new, old);
}

/// As [`node_update`], through `/status`, which leaves the specification alone.
pub(super) fn node_status(out: &mut Out, new: &Value, old: &Value) {
    written::of_node(out, new);
    declared_features(out, new);
    resources(out, new);
    node_changes(out, new, old);
}

fn node_changes(out: &mut Out, new: &Value, old: &Value) {
    let mut seen = HashSet::new();
    for (index, address) in list(some(new, "status").unwrap_or(&UNSET), "addresses").iter().enumerate() {
        if !seen.insert(address) {
            out.duplicate_of(At::Root("status.addresses").index(index), "core/v1.NodeAddress", address);
        }
    }
    let (spec, before) = (some(new, "spec").unwrap_or(&UNSET), some(old, "spec").unwrap_or(&UNSET));
    for (key, name) in [("podCIDRs", "podCIDR"), ("providerID", "providerID")] {
        let set = before.get(key).is_some_and(|v| !super::at::empty(v));
        if set && !same(spec.get(key), before.get(key)) {
            let detail = format!("node updates may not change {name} except from \"\" to valid");
            out.forbidden(At::Root("spec").child(key), &detail);
        }
    }
    if text(spec, "externalID") != text(before, "externalID") {
        out.forbidden(At::Root("spec.externalID"), "may not be updated");
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
