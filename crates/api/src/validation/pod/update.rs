//! What an update of a pod may change: images, a few numbers, tolerations, gates.

use std::collections::HashSet;

use super::super::at::{At, Out, empty};
use super::super::formats;
use super::super::read::{list, map, number, some, text};
use super::{annotations, only_in_pods, pod_spec};
use crate::{Object, Value, internal};

const FIELDS: &str = "pod updates may not change fields other than `spec.containers[*].image`,\
    `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing \
    tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
/// The annotation of a pod whose master copy is a file on a node.
pub(super) const MIRROR: &str = "kubernetes.io/config.mirror";
/// An update of a pod.
pub(crate) fn update(out: &mut Out, new: &Value, old: &Value) {
    annotations::changed(out, new, old);
    let empty = Value::Object(Object::new());
    let (new, old) = (some(new, "spec").unwrap_or(&empty), some(old, "spec").unwrap_or(&empty));
    if new == old {
        return;
    }
    let at = At::Root("spec");
    pod_spec(out, at, new);
    only_in_pods(out, at, new);
    for key in ["containers", "initContainers"] {
        if list(new, key).len() != list(old, key).len() {
            out.forbidden(at.child(key), "pod updates may not add or remove containers");
            return;
        }
    }
    if !deadline(out, at.child("activeDeadlineSeconds"), new, old) {
        return;
    }
    gates(out, at.child("schedulingGates"), new, old);
    tolerations(out, at.child("tolerations"), new, old);
    let gated = !list(old, "schedulingGates").is_empty();
    if gated {
        node_selector(out, at.child("nodeSelector"), new, old);
        node_affinity(out, at.child("affinity.nodeAffinity"), new, old);
    }
    let rest = rest_of(new, old, gated);
    if !alike(&rest, old) {
        out.forbidden(at, &format!("{FIELDS}\n{}", internal::changes("core/v1.PodSpec", old, &rest)));
    }
}

/// False where nothing more is worth saying.
fn deadline(out: &mut Out, at: At<'_>, new: &Value, old: &Value) -> bool {
    let key = "activeDeadlineSeconds";
    match (number(new, key), number(old, key)) {
        (Some(seconds), _) if !(0..=i64::from(i32::MAX)).contains(&seconds) => {
            out.invalid(at, seconds, &formats::between(0, i64::from(i32::MAX)));
            false
        }
        (Some(seconds), Some(before)) if before < seconds => {
            out.invalid(at, seconds, "must be less than or equal to previous value");
            false
        }
        (None, Some(_)) => {
            out.invalid(at, Value::Null, "must not update from a positive integer to nil value");
            true
        }
        _ => true,
    }
}

fn gates(out: &mut Out, at: At<'_>, new: &Value, old: &Value) {
    let before: HashSet<&Value> = list(old, "schedulingGates").iter().collect();
    for (index, gate) in list(new, "schedulingGates").iter().enumerate().filter(|(_, g)| !before.contains(g)) {
        let detail = format!("only deletion is allowed, but found new scheduling gate '{}'", text(gate, "name"));
        out.forbidden(at.index(index).child("name"), &detail);
    }
}

/// All that were there stay; only their `tolerationSeconds` may change.
fn tolerations(out: &mut Out, at: At<'_>, new: &Value, old: &Value) {
    let timeless = |toleration: &Value| {
        let mut rest = toleration.as_object()?.clone();
        rest.retain(|key, value| key != "tolerationSeconds" && !empty(value));
        Some(rest)
    };
    let now: HashSet<Object> = list(new, "tolerations").iter().filter_map(timeless).collect();
    if !list(old, "tolerations").iter().all(|before| timeless(before).is_some_and(|before| now.contains(&before))) {
        out.forbidden(at, "existing toleration can not be modified except its tolerationSeconds");
    }
}

/// A gated pod's node selector may only narrow.
fn node_selector(out: &mut Out, at: At<'_>, new: &Value, old: &Value) {
    let now = map(new, "nodeSelector");
    let kept = |(key, value): (&String, &Value)| now.and_then(|n| n.get(key)) == Some(value);
    if !map(old, "nodeSelector").into_iter().flatten().all(kept) {
        let detail = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
        out.invalid_of(at, "map:string", new.get("nodeSelector"), detail);
    }
}

/// A gated pod's required node affinity may only narrow: the same terms, each with expressions added.
fn node_affinity(out: &mut Out, at: At<'_>, new: &Value, old: &Value) {
    fn terms(spec: &Value) -> Option<&[Value]> {
        let node = some(some(spec, "affinity")?, "nodeAffinity")?;
        some(node, "requiredDuringSchedulingIgnoredDuringExecution").map(|r| list(r, "nodeSelectorTerms"))
    }
    let Some(before) = terms(old) else { return };
    let now = terms(new).unwrap_or(&[]);
    let at = at.child("requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms");
    if before.len() != now.len() {
        let detail = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        out.invalid_of(at, "[]core/v1.NodeSelectorTerm", &Value::from(now.to_vec()), detail);
        return;
    }
    for (index, (now, before)) in now.iter().zip(before).enumerate() {
        let kept = |key: &&str| list(now, key).starts_with(list(before, key));
        if !["matchExpressions", "matchFields"].iter().all(kept) {
            let detail = "only additions are allowed (no mutations or deletions)";
            out.invalid_of(at.index(index), "core/v1.NodeSelectorTerm", now, detail);
        }
    }
}

/// The new spec, with what may change as it was.
fn rest_of(new: &Value, old: &Value, gated: bool) -> Value {
    let mut rest = new.clone();
    for key in ["containers", "initContainers"] {
        let containers = rest.get_mut(key).and_then(Value::as_array_mut);
        for (container, before) in containers.into_iter().flatten().zip(list(old, key)) {
            restore(container, before, "image");
        }
    }
    for key in ["activeDeadlineSeconds", "tolerations", "schedulingGates"] {
        restore(&mut rest, old, key);
    }
    let grace = "terminationGracePeriodSeconds";
    if number(old, grace).is_some_and(|s| s < 0) && number(new, grace) == Some(1) {
        restore(&mut rest, old, grace);
    }
    if gated {
        restore(&mut rest, old, "nodeSelector");
        restore_node_affinity(&mut rest, old);
    }
    rest
}

fn restore_node_affinity(rest: &mut Value, old: &Value) {
    let key = "nodeAffinity";
    let before = some(old, "affinity");
    let others = ["podAffinity", "podAntiAffinity"];
    match some(rest, "affinity") {
        None => {
            if let Some(node) = before.and_then(|affinity| some(affinity, key)) {
                crate::value::set(rest, "affinity.nodeAffinity", node.clone());
            }
        }
        Some(now) if before.is_none() && others.iter().all(|key| some(now, key).is_none()) => {
            crate::value::remove(rest, "affinity");
        }
        Some(_) => {
            let none = Value::Null;
            if let Some(now) = rest.get_mut("affinity") {
                restore(now, before.unwrap_or(&none), key);
            }
        }
    }
}

/// Gives `to` the field as `from` has it.
pub(super) fn restore(to: &mut Value, from: &Value, key: &str) {
    match some(from, key) {
        Some(value) => crate::value::set(to, key, value.clone()),
        None => drop(crate::value::remove(to, key)),
    }
}

/// Whether two values say the same: at every depth what is empty is as good as absent.
pub(super) fn alike(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let keys = a.keys().chain(b.keys().filter(|key| !a.contains_key(*key)));
            keys.into_iter().all(|key| {
                let of = |object: &Object| object.get(key).cloned().unwrap_or_default();
                alike(&of(a), &of(b))
            })
        }
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| alike(a, b)),
        _ => a == b || (super::super::at::empty(a) && super::super::at::empty(b)),
    }
}
