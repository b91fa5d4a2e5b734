//! Annotations of pods that mean something.

use super::super::at::{At, Out};
use super::super::read::{Seen, list, map, some, text};
use super::update::MIRROR;
use crate::{Object, Value};

const COST: &str = "controller.kubernetes.io/pod-deletion-cost";
/// Before the name of a container.
const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
const APP_ARMOR_PROFILES: [&str; 3] = ["", "runtime/default", "unconfined"];

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
    check(out, new, wrong_before);
}

/// The annotations of a pod; whose cost was wrong before may keep it so.
pub(super) fn check(out: &mut Out, pod: &Value, any_cost: bool) {
    let Some(annotations) = of(pod) else { return };
    let spec = some(pod, "spec").unwrap_or(&Value::Null);
    let at = At::Root("metadata.annotations");
    let mut containers = None;
    for (key, value) in annotations {
        let (at, value) = (at.key(key), value.as_str().unwrap_or_default());
        if key == MIRROR && text(spec, "nodeName").is_empty() {
            out.invalid(at, value, "must set spec.nodeName if mirror pod annotation is set");
        } else if key == COST && !any_cost && !is_cost(value) {
            out.invalid(at, value, "must be a 32bit integer");
        } else if let Some(container) = key.strip_prefix(APP_ARMOR) {
            let containers = containers.get_or_insert_with(|| {
                let lists = ["initContainers", "containers", "ephemeralContainers"].into_iter();
                lists.flat_map(|key| list(spec, key)).map(|c| text(c, "name")).collect::<Seen<'_>>()
            });
            if !containers.contains(container) {
                out.invalid(at, container, "container not found");
            }
            if !APP_ARMOR_PROFILES.contains(&value) && !value.starts_with("localhost/") {
                out.invalid(at, value, &format!("invalid AppArmor profile name: {value:?}"));
            }
        }
    }
}

/// A number without a plus or zeros before it.
fn is_cost(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = text == "0" || digits.starts_with(|c: char| ('1'..='9').contains(&c));
    plain && text.parse::<i32>().is_ok()
}
