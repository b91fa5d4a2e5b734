//! A resize of a running pod: cpu and memory of its containers, and nothing that would make it another pod.

use super::super::at::{At, Out, same};
use super::super::read::{list, map, some, text};
use super::update::alike;
use super::{only_in_pods, pod_spec, update};
use crate::{Object, Value, internal};

const ONLY: &str = "only cpu and memory resources are mutable";
/// What may change.
const MUTABLE: [&str; 2] = ["cpu", "memory"];
/// The lists of containers, as the spec and as messages name them.
const LISTS: [&str; 2] = ["containers", "initContainers"];

/// A write of `pods/resize`; `classes` are the old and the new class of service.
pub(crate) fn resized(out: &mut Out, new: &Value, old: &Value, classes: (&str, &str)) {
    let none = Value::Object(Object::new());
    let (spec, before) = (some(new, "spec").unwrap_or(&none), some(old, "spec").unwrap_or(&none));
    let root = At::Root("spec");
    pod_spec(out, root, spec);
    only_in_pods(out, root, spec);
    let annotations = some(old, "metadata").and_then(|m| map(m, "annotations"));
    let refused = if annotations.is_some_and(|a| a.contains_key(update::MIRROR)) {
        Some("static pods cannot be resized")
    } else {
        let windows = some(before, "os").is_some_and(|os| text(os, "name") == "windows");
        windows.then_some("windows pods cannot be resized")
    };
    if let Some(refused) = refused {
        out.clear();
        out.forbidden(At::Root(""), refused);
        return;
    }
    let stated = some(old, "status").map_or("", |status| text(status, "qosClass"));
    let class = if stated.is_empty() { classes.0 } else { stated };
    if class != classes.1 {
        out.invalid(root, stated, "Pod QOS Class may not change as a result of resizing");
    }
    if !is_supported(old) {
        out.forbidden(root, "Pod running on node without support for resize");
    }
    if !in_order(out, root, spec, before) {
        return;
    }
    removed(out, root.child("resources"), spec, before);
    for key in LISTS {
        let at = root.child(key);
        for (index, (now, before)) in list(spec, key).iter().zip(list(before, key)).enumerate() {
            let at = at.index(index);
            container(out, at.child("resources"), now, before, key == "initContainers");
        }
    }
    let rest = rest_of(spec, before);
    if !alike(&rest, before) {
        out.forbidden(root, &format!("{ONLY}\n{}", internal::changes("core/v1.PodSpec", before, &rest)));
    }
}

/// A kubelet that knows how to resize reports what running containers have.
fn is_supported(pod: &Value) -> bool {
    let statuses = some(pod, "status").map_or(&[][..], |status| list(status, "containerStatuses"));
    let running = statuses.iter().find(|c| some(c, "state").is_some_and(|state| some(state, "running").is_some()));
    running.is_none_or(|status| some(status, "resources").is_some())
}

/// Whether the containers are those that were there.
fn in_order(out: &mut Out, at: At<'_>, new: &Value, old: &Value) -> bool {
    let errors = out.count();
    for key in LISTS {
        let (now, before) = (list(new, key), list(old, key));
        let at = at.child(key);
        if now.len() != before.len() {
            out.forbidden(at, &format!("{key} may not be added or removed on resize"));
            continue;
        }
        for (index, (now, before)) in now.iter().zip(before).enumerate() {
            if text(now, "name") != text(before, "name") {
                let at = at.index(index);
                out.forbidden(at.child("name"), &format!("{key} may not be renamed or reordered on resize"));
            }
        }
    }
    out.count() == errors
}

fn container(out: &mut Out, at: At<'_>, new: &Value, old: &Value, init: bool) {
    if init && text(old, "restartPolicy") != "Always" {
        if !same(new.get("resources"), old.get("resources")) {
            out.forbidden(at, "resources for non-sidecar init containers are immutable");
        }
        return;
    }
    removed(out, at, new, old);
}

/// What was requested or limited may change but not go.
fn removed(out: &mut Out, at: At<'_>, new: &Value, old: &Value) {
    let of = |holder, part| some(holder, "resources").and_then(|r| map(r, part));
    for part in ["requests", "limits"] {
        let now = of(new, part);
        if of(old, part).into_iter().flatten().any(|(name, _)| !now.is_some_and(|now| now.contains_key(name))) {
            out.forbidden(at.child(part), &format!("resource {part} cannot be removed"));
        }
    }
}

/// The new spec, with cpu and memory as they were.
fn rest_of(new: &Value, old: &Value) -> Value {
    let mut rest = new.clone();
    give_back(&mut rest, old);
    for key in LISTS {
        let containers = rest.get_mut(key).and_then(Value::as_array_mut);
        for (container, before) in containers.into_iter().flatten().zip(list(old, key)) {
            if key == "containers" || text(before, "restartPolicy") == "Always" {
                give_back(container, before);
            }
        }
    }
    rest
}

fn give_back(holder: &mut Value, before: &Value) {
    let Some(resources) = holder.get_mut("resources").filter(|r| r.is_object()) else { return };
    let before = some(before, "resources").unwrap_or(&Value::Null);
    for part in ["requests", "limits"] {
        let Some(was) = map(before, part) else {
            crate::value::remove(resources, part);
            continue;
        };
        let Some(now) = crate::value::object_mut(resources, part) else { continue };
        for name in MUTABLE {
            match was.get(name) {
                Some(amount) => drop(now.insert(name.to_owned(), amount.clone())),
                None => drop(now.remove(name)),
            }
        }
    }
}
