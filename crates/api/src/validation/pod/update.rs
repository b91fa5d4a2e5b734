//! What an update of a pod may change: images, a few numbers, tolerations, gates.

use super::super::at::{At, Out, same};
use super::super::formats;
use super::super::read::{list, map, number, some, text};
use super::{annotations, pod_spec, same_but, whole_images};
use crate::{Object, Value};

const FIELDS: &str = "pod updates may not change fields other than `spec.containers[*].image`,\
    `spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing \
    tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";
/// The annotation of a pod whose master copy is a file on a node.
pub(super) const MIRROR: &str = "kubernetes.io/config.mirror";
/// Fields that are compared by rules of their own.
const MUTABLE: [&str; 6] = [
    "containers",
    "initContainers",
    "activeDeadlineSeconds",
    "tolerations",
    "terminationGracePeriodSeconds",
    "schedulingGates",
];

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
    whole_images(out, at, new);
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
    let changed = changes(new, old, gated);
    if !changed.is_empty() {
        out.forbidden(at, &format!("{FIELDS}\n{}", changed.join("\n")));
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
    let before = list(old, "schedulingGates");
    for (index, gate) in list(new, "schedulingGates").iter().enumerate().filter(|(_, g)| !before.contains(g)) {
        let detail = format!("only deletion is allowed, but found new scheduling gate '{}'", text(gate, "name"));
        out.forbidden(at.index(index).child("name"), &detail);
    }
}

/// All that were there stay; only their `tolerationSeconds` may change.
fn tolerations(out: &mut Out, at: At<'_>, new: &Value, old: &Value) {
    let now = list(new, "tolerations");
    let kept = |before: &Value| {
        now.iter().any(|t| match (t.as_object(), before.as_object()) {
            (Some(t), Some(before)) => same_but(t, before, &["tolerationSeconds"]),
            _ => false,
        })
    };
    if !list(old, "tolerations").iter().all(kept) {
        out.forbidden(at, "existing toleration can not be modified except its tolerationSeconds");
    }
}

/// A gated pod's node selector may only narrow.
fn node_selector(out: &mut Out, at: At<'_>, new: &Value, old: &Value) {
    let now = map(new, "nodeSelector");
    let kept = |(key, value): (&String, &Value)| now.and_then(|n| n.get(key)) == Some(value);
    if !map(old, "nodeSelector").into_iter().flatten().all(kept) {
        let detail = "only additions to spec.nodeSelector are allowed (no mutations or deletions)";
        out.invalid(at, new.get("nodeSelector").cloned().unwrap_or(Value::Null), detail);
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
        out.invalid(at, now.to_vec(), detail);
        return;
    }
    for (index, (now, before)) in now.iter().zip(before).enumerate() {
        for key in ["matchExpressions", "matchFields"] {
            if !list(now, key).starts_with(list(before, key)) {
                out.invalid(at.index(index), now.clone(), "only additions are allowed (no mutations or deletions)");
            }
        }
    }
}

/// The paths that changed though they may not.
fn changes(new: &Value, old: &Value, gated: bool) -> Vec<String> {
    let mut found = Vec::new();
    for key in ["containers", "initContainers"] {
        for (index, (now, before)) in list(new, key).iter().zip(list(old, key)).enumerate() {
            let (Some(now), Some(before)) = (now.as_object(), before.as_object()) else { continue };
            collect(&mut found, &format!("spec.{key}[{index}]."), now, before, &["image"]);
        }
    }
    if let (Some(now), Some(before)) = (new.as_object(), old.as_object()) {
        let mut except = MUTABLE.to_vec();
        if gated {
            except.extend(["nodeSelector", "affinity"]);
        }
        collect(&mut found, "spec.", now, before, &except);
    }
    let grace = |spec| number(spec, "terminationGracePeriodSeconds");
    if grace(new) != grace(old) && !(grace(new) == Some(1) && grace(old).is_some_and(|s| s < 0)) {
        found.push("spec.terminationGracePeriodSeconds".to_owned());
    }
    let rest = |spec| some(spec, "affinity").and_then(Value::as_object);
    if gated
        && let (now, Some(before)) = (rest(new), rest(old))
        && !now.is_some_and(|now| same_but(now, before, &["nodeAffinity"]))
    {
        found.push("spec.affinity".to_owned());
    }
    found
}

fn collect(found: &mut Vec<String>, prefix: &str, new: &Object, old: &Object, except: &[&str]) {
    let keys = new.keys().chain(old.keys().filter(|k| !new.contains_key(*k)));
    for key in keys.filter(|k| !except.contains(&k.as_str())) {
        if !same(new.get(key), old.get(key)) {
            found.push(format!("{prefix}{key}"));
        }
    }
}
