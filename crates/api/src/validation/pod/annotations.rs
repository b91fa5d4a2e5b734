//! Annotations of pods that mean something.

use super::super::at::{At, Out};
use super::super::read::{Seen, list, map, some, text};
use super::super::written;
use super::mounts;
use super::update::MIRROR;
use crate::{Object, Value};

const COST: &str = "controller.kubernetes.io/pod-deletion-cost";
/// Before the name of a container.
const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
const APP_ARMOR_PROFILES: [&str; 3] = ["", "runtime/default", "unconfined"];
const SECCOMP: &str = "seccomp.security.alpha.kubernetes.io/pod";
/// Before the name of a container.
const SECCOMP_OF: &str = "container.seccomp.security.alpha.kubernetes.io/";
const SECCOMP_PROFILES: [&str; 3] = ["runtime/default", "docker/default", "unconfined"];
/// All lists of containers, in the order in which upstream visits them.
const LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

fn of(pod: &Value) -> Option<&Object> {
    some(pod, "metadata").and_then(|m| map(m, "annotations"))
}

/// What an update may not change of the annotations of a pod.
pub(super) fn changed(out: &mut Out, new: &Value, old: &Value) {
    let (now, before) = (of(new), of(old));
    let at = At::Root("metadata.annotations");
    let mut refuse = |key: &str, verb: &str| {
        let what = if key == MIRROR { "mirror pod annotation" } else { "AppArmor annotations" };
        if key == MIRROR || key.starts_with(APP_ARMOR) {
            out.forbidden(at.key(key), &format!("may not {verb} {what}"));
        }
    };
    for (key, _) in before.into_iter().flatten().filter(|(key, value)| now.and_then(|n| n.get(*key)) != Some(value)) {
        refuse(key, "remove or update");
    }
    for (key, _) in now.into_iter().flatten().filter(|(key, _)| before.is_none_or(|b| !b.contains_key(*key))) {
        refuse(key, "add");
    }
    let wrong_before = before.and_then(|b| b.get(COST)).is_some_and(|cost| !is_cost(cost.as_str().unwrap_or_default()));
    check(out, at, new, wrong_before);
}

/// The annotations of a pod, or of a template; whose cost was wrong before may keep it so.
pub(super) fn check(out: &mut Out, list_at: At<'_>, pod: &Value, any_cost: bool) {
    let Some(annotations) = of(pod) else { return };
    let spec = some(pod, "spec").unwrap_or(&Value::Null);
    written::of_pod(out, list_at, annotations);
    let mut containers = None;
    for (key, value) in annotations {
        let (at, value) = (list_at.key(key), value.as_str().unwrap_or_default());
        if key == MIRROR && text(spec, "nodeName").is_empty() {
            out.invalid(at, value, "must set spec.nodeName if mirror pod annotation is set");
        } else if key == COST && !any_cost && !is_cost(value) {
            out.invalid(at, value, "must be a 32bit integer");
        } else if let Some(container) = key.strip_prefix(APP_ARMOR) {
            let containers = containers.get_or_insert_with(|| {
                LISTS.into_iter().flat_map(|key| list(spec, key)).map(|c| text(c, "name")).collect::<Seen<'_>>()
            });
            if !containers.contains(container) {
                out.invalid(at, container, "container not found");
            }
            if !APP_ARMOR_PROFILES.contains(&value) && !value.starts_with("localhost/") {
                out.invalid(at, value, &format!("invalid AppArmor profile name: {value:?}"));
            }
        } else if (key == SECCOMP || key.starts_with(SECCOMP_OF)) && !SECCOMP_PROFILES.contains(&value) {
            // Upstream's path has the key as if it were a field.
            match value.strip_prefix("localhost/") {
                Some(path) => mounts::descending(out, list_at.child(key), path),
                None => out.invalid(list_at.child(key), value, "must be a valid seccomp profile"),
            }
        }
    }
}

/// Profiles that a new pod or template names twice, by annotation and by field, whose spec stands at `at`.
pub(super) fn agree(out: &mut Out, at: At<'_>, pod: &Value) {
    let (Some(annotations), Some(spec)) = (of(pod), some(pod, "spec")) else { return };
    if !annotations.keys().any(|key| key == SECCOMP || key.starts_with(SECCOMP_OF) || key.starts_with(APP_ARMOR)) {
        return;
    }
    let said = |key: &str| annotations.get(key).and_then(Value::as_str);
    let field = |of: &'_ Value, key: &str| some(of, "securityContext").and_then(|c| some(c, key)).cloned();
    if let (Some(said), Some(profile)) = (said(SECCOMP), field(spec, "seccompProfile")) {
        same_profile(out, at.child("securityContext.seccompProfile"), "seccomp", said, &profile);
    }
    let windows = some(spec, "os").is_some_and(|os| text(os, "name") == "windows");
    let whole = field(spec, "appArmorProfile");
    for key in LISTS {
        let list_at = at.child(key);
        for (index, container) in list(spec, key).iter().enumerate() {
            let (at, name) = (list_at.index(index), text(container, "name"));
            let at = at.child("securityContext");
            if let (Some(said), Some(profile)) =
                (said(&format!("{SECCOMP_OF}{name}")), field(container, "seccompProfile"))
            {
                same_profile(out, at.child("seccompProfile"), "seccomp", said, &profile);
            }
            let profile = field(container, "appArmorProfile").or_else(|| whole.clone()).filter(|_| !windows);
            if let (Some(said), Some(profile)) = (said(&format!("{APP_ARMOR}{name}")), profile) {
                same_profile(out, at.child("appArmorProfile"), "apparmor", said, &profile);
            }
        }
    }
}

fn same_profile(out: &mut Out, at: At<'_>, what: &str, said: &str, profile: &Value) {
    let fits = match text(profile, "type") {
        "Unconfined" => said == "unconfined",
        "RuntimeDefault" => said == "runtime/default" || (what == "seccomp" && said == "docker/default"),
        "Localhost" => match said.strip_prefix("localhost/") {
            Some(path) => {
                if some(profile, "localhostProfile").and_then(Value::as_str) != Some(path) {
                    let detail = format!("{what} profile in annotation and field must match");
                    out.forbidden(at.child("localhostProfile"), &detail);
                }
                true
            }
            None => false,
        },
        _ => true,
    };
    if !fits {
        out.forbidden(at.child("type"), &format!("{what} type in annotation and field must match"));
    }
}

/// A number without a plus or zeros before it.
fn is_cost(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = text == "0" || digits.starts_with(|c: char| ('1'..='9').contains(&c));
    plain && text.parse::<i32>().is_ok()
}
