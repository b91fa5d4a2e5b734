//! Ephemeral containers: a guest in a running pod, so much of what other containers may have is not theirs; once there, they
//! stay as they are.

use std::collections::HashMap;

use super::super::at::{At, Out, empty};
use super::super::read::{Seen, list, map, some, text};
use super::update::alike;
use super::{Pod, containers, update};
use crate::containers::Sort;
use crate::{Object, Value, internal};

/// What an ephemeral container may say; everything else upstream forbids, so that new fields are forbidden until thought about.
const ALLOWED: &[&str] = &[
    "name",
    "image",
    "command",
    "args",
    "workingDir",
    "envFrom",
    "env",
    "volumeMounts",
    "volumeDevices",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "imagePullPolicy",
    "securityContext",
    "stdin",
    "stdinOnce",
    "tty",
    "targetContainerName",
];
const NOT_ALLOWED: &str = "cannot be set for an Ephemeral Container";

/// The ephemeral containers of a pod; `names` are those of the other containers.
pub(super) fn all<'a>(out: &mut Out, at: At<'_>, pod: &Pod<'a>, names: &mut Seen<'a>) {
    let others = names.clone();
    for (index, container) in list(pod.spec, Sort::Ephemeral.field()).iter().enumerate() {
        let at = at.index(index);
        containers::common(out, at, container, pod);
        let image = text(container, "image");
        if image.trim() != image {
            out.invalid(at.child("image"), image, "must not have leading or trailing whitespace");
        }
        containers::name(out, at, container, names);
        let target = text(container, "targetContainerName");
        if !target.is_empty() && !others.contains(&target) {
            out.not_found(at.child("targetContainerName"), target);
        }
        for (key, value) in container.as_object().into_iter().flatten() {
            if !ALLOWED.contains(&key.as_str()) && !empty(value) {
                out.forbidden(at.child(key), NOT_ALLOWED);
            }
        }
        for (index, mount) in list(container, "volumeMounts").iter().enumerate() {
            let mounts = at.child("volumeMounts");
            let at = mounts.index(index);
            for key in ["subPath", "subPathExpr"].into_iter().filter(|key| !text(mount, key).is_empty()) {
                out.forbidden(at.child(key), NOT_ALLOWED);
            }
        }
    }
}

/// A write of `pods/ephemeralcontainers`.
pub(crate) fn changed(out: &mut Out, new: &Value, old: &Value) {
    let annotations = some(old, "metadata").and_then(|m| map(m, "annotations"));
    if annotations.is_some_and(|a| a.contains_key(update::MIRROR)) {
        out.clear();
        out.forbidden(At::Root(""), "static pods do not support ephemeral containers");
        return;
    }
    let none = Value::Object(Object::new());
    let (new, old) = (some(new, "spec").unwrap_or(&none), some(old, "spec").unwrap_or(&none));
    let root = At::Root("spec");
    super::pod_spec(out, root, new);
    let at = root.child(Sort::Ephemeral.field());
    // Of several with one name the last one.
    let present: HashMap<&str, &Value> =
        list(new, Sort::Ephemeral.field()).iter().map(|container| (text(container, "name"), container)).collect();
    for before in list(old, Sort::Ephemeral.field()) {
        let name = text(before, "name");
        if out.is_full() {
            return;
        }
        match present.get(name).copied() {
            None => out.forbidden(at, &format!("existing ephemeral containers {name:?} may not be removed\n")),
            Some(now) => {
                if !alike(now, before) {
                    let changes = internal::changes("core/v1.EphemeralContainer", before, now);
                    out.forbidden(at, &format!("existing ephemeral containers {name:?} may not be changed\n{changes}"));
                }
            }
        }
    }
}
