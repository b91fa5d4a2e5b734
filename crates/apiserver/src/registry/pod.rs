//! Pods: what a new one starts with, graceful deletion, binding; their cells are in [`cells`].

mod app_armor;
mod cells;
mod label_keys;
pub(crate) mod qos;
pub(crate) mod resize;
mod warnings;

use std::borrow::Cow;
use std::collections::{HashMap, VecDeque};

use gantry_api::kinds::KindInfo;
use gantry_api::status::Status;
use gantry_api::{Object, Value, value};
use serde_json::json;

use crate::pipeline::metadata::time;

use super::{Column, Ctx, Deletion, Row, Strategy, metadata_field, text, written};

pub(crate) use warnings::{
    fraction, node_term, old_label, template as template_warnings, template_at as template_warnings_at,
};

/// The strategy of pods.
pub(super) struct Pod;

impl Strategy for Pod {
    fn prepare_create(&self, ctx: &Ctx<'_>, pod: &mut Value) {
        let mut status = json!({"phase": "Pending", "qosClass": qos::class(pod)});
        if !value::list_at(pod, "spec.schedulingGates").is_empty() {
            status["conditions"] = json!([{
                "type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
                "message": "Scheduling is blocked due to non-empty scheduling gates",
                "lastProbeTime": null, "lastTransitionTime": time(ctx.now),
            }]);
        }
        value::set(pod, "status", status);
        label_keys::apply(pod);
        app_armor::apply(pod);
    }

    fn outdated(&self, pod: &Value) -> Vec<String> {
        app_armor::outdated(pod)
    }

    fn prepare_status_update(&self, _ctx: &Ctx<'_>, new: &mut Value, old: &Value) {
        keep_generations(new, old);
        if let Some(class) = value::str_at(old, "status.qosClass") {
            value::set_default(new, "status.qosClass", class);
        }
        super::keep(new, old, "metadata.ownerReferences");
    }

    fn reset_fields(&self, _kind: &KindInfo, subresource: &str) -> &'static [&'static str] {
        match subresource {
            "status" => &["spec", "metadata.deletionTimestamp", "metadata.ownerReferences"],
            _ => &["status"],
        }
    }

    fn settable_fields(&self, subresource: &str) -> &'static [&'static str] {
        match subresource {
            "ephemeralcontainers" => &["spec.ephemeralContainers"],
            "resize" => &[
                "spec.containers.*.resources",
                "spec.containers.*.resizePolicy",
                "spec.initContainers.*.resources",
                "spec.initContainers.*.resizePolicy",
                "spec.resources",
            ],
            _ => &[],
        }
    }

    fn warnings(&self, pod: &Value, old: Option<&Value>) -> Vec<String> {
        // An update cannot change what is warned about, and status writers would see it again and again.
        if old.is_some() { Vec::new() } else { warnings::pod(pod) }
    }

    fn status_warnings(&self, pod: &Value) -> Vec<String> {
        let of = |key: &'static str| {
            let addresses = value::list_at(pod, &format!("status.{key}")).iter().enumerate();
            addresses.filter_map(move |(i, one)| written::ip(&format!("status.{key}[{i}].ip"), &text(one, "ip")))
        };
        of("podIPs").chain(of("hostIPs")).collect()
    }

    fn delete(&self, old: &Value, grace_period_seconds: Option<i64>) -> Deletion {
        let asked = grace_period_seconds.map(|s| if s < 0 { 1 } else { s });
        if value::str_at(old, "metadata.deletionTimestamp").is_some() {
            let Some(granted) = value::i64_at(old, "metadata.deletionGracePeriodSeconds") else {
                return Deletion::Remove;
            };
            return match asked {
                Some(seconds) if seconds >= granted => Deletion::Pending,
                Some(0) => Deletion::Remove,
                Some(seconds) => Deletion::Graceful { seconds },
                None => Deletion::Pending,
            };
        }
        let own = || match value::i64_at(old, "spec.terminationGracePeriodSeconds").unwrap_or(0) {
            negative if negative < 0 => 1,
            seconds => seconds,
        };
        let unscheduled = value::str_at(old, "spec.nodeName").is_none_or(str::is_empty);
        match asked.unwrap_or_else(own) {
            0 => Deletion::Remove,
            _ if unscheduled || is_terminal(old) => Deletion::Remove,
            seconds => Deletion::Graceful { seconds },
        }
    }

    fn field_value<'a>(&self, pod: &'a Value, path: &str) -> Option<Cow<'a, str>> {
        match path {
            "spec.host" => Some(text(pod, "spec.nodeName")),
            "spec.nodeName"
            | "spec.restartPolicy"
            | "spec.schedulerName"
            | "spec.serviceAccountName"
            | "status.phase"
            | "status.podIP"
            | "status.nominatedNodeName" => Some(text(pod, path)),
            "spec.hostNetwork" => Some(Cow::Borrowed(if value::bool_at(pod, path) { "true" } else { "false" })),
            "status.podIPs" => {
                let ips = value::list_at(pod, path).iter().filter_map(|ip| ip.get("ip")?.as_str());
                Some(Cow::Owned(ips.collect::<Vec<_>>().join(",")))
            }
            _ => metadata_field(pod, path),
        }
    }

    fn columns(&self) -> &'static [Column] {
        cells::COLUMNS
    }

    fn row(&self, pod: &Value, now: jiff::Timestamp) -> Row {
        cells::row(pod, now)
    }
}

/// A writer that knows nothing of `observedGeneration` does not take it away, neither of the status nor of its conditions.
fn keep_generations(new: &mut Value, old: &Value) {
    const SEEN: &str = "observedGeneration";
    let number = |of: &Value| value::i64_at(of, SEEN).filter(|seen| *seen != 0);
    let known = old.get("status").and_then(number);
    // One type may stand several times, so each is the old one of its type that comes next.
    let mut before: HashMap<Option<Value>, VecDeque<&Value>> = HashMap::new();
    for condition in value::list_at(old, "status.conditions") {
        before.entry(condition.get("type").cloned()).or_default().push_back(condition);
    }
    let Some(status) = new.get_mut("status").filter(|status| status.is_object()) else { return };
    if number(status).is_none()
        && let Some(known) = known
    {
        status[SEEN] = known.into();
    }
    for condition in status.get_mut("conditions").and_then(Value::as_array_mut).into_iter().flatten() {
        let Some(next) = before.get_mut(&condition.get("type").cloned()).and_then(VecDeque::pop_front) else {
            continue;
        };
        let known = number(next);
        if condition.is_object()
            && number(condition).is_none()
            && let Some(known) = known
        {
            condition[SEEN] = known.into();
        }
    }
}

/// Whether the pod has ended for good.
pub(crate) fn is_terminal(pod: &Value) -> bool {
    matches!(value::str_at(pod, "status.phase"), Some("Succeeded" | "Failed"))
}

/// Assigns a stored pod to the node that a `Binding` names, as `pods/binding` does.
///
/// # Errors
/// 400 for a binding without a node, 409 for a pod that cannot be bound (deleted, bound, gated, another uid).
pub fn bind(pod: &mut Value, binding: &Value, now: jiff::Timestamp) -> Result<(), Status> {
    let name = text(pod, "metadata.name").into_owned();
    let conflict = |why: String| Err(Status::conflict("", "pods/binding", &name, &why));
    let kind = text(binding, "target.kind");
    if !matches!(&*kind, "" | "Node") {
        let path = gantry_api::field::Path::new("target").child("kind");
        let error = gantry_api::field::Error::not_supported(&path, &*kind, &["Node", "<empty>"]);
        return Err(Status::invalid("", "Binding", &name, &[error]));
    }
    let node = text(binding, "target.name");
    if node.is_empty() {
        let path = gantry_api::field::Path::new("target").child("name");
        return Err(Status::invalid("", "Binding", &name, &[gantry_api::field::Error::required(&path, "")]));
    }
    let (wanted, uid) = (text(binding, "metadata.uid"), text(pod, "metadata.uid"));
    if !wanted.is_empty() && wanted != uid {
        return conflict(format!(
            "the UID in the precondition ({wanted}) does not match the UID in record ({uid}). \
             The object might have been deleted and then recreated"
        ));
    }
    if value::str_at(pod, "metadata.deletionTimestamp").is_some() {
        return conflict(format!("pod {name} is being deleted, cannot be assigned to a host"));
    }
    let bound = text(pod, "spec.nodeName");
    if !bound.is_empty() {
        return conflict(format!("pod {name} is already assigned to node {:?}", &*bound));
    }
    if !value::list_at(pod, "spec.schedulingGates").is_empty() {
        return conflict(format!("pod {name} has non-empty .spec.schedulingGates"));
    }
    value::set(pod, "spec.nodeName", &*node);
    for (key, value) in value::map_at(binding, "metadata.annotations").into_iter().flatten() {
        if let Some(map) = value::object_mut(pod, "metadata.annotations") {
            map.insert(key.clone(), value.clone());
        }
    }
    for (key, value) in value::map_at(binding, "metadata.labels").into_iter().flatten() {
        if let Some(map) = value::object_mut(pod, "metadata.labels") {
            map.insert(key.clone(), value.clone());
        }
    }
    value::remove(pod, "status.nominatedNodeName");
    mark_scheduled(pod, now);
    Ok(())
}

/// Whether the pod is ready to serve.
pub(crate) fn is_ready(pod: &Value) -> bool {
    value::list_at(pod, "status.conditions")
        .iter()
        .any(|c| c.get("type") == Some(&"Ready".into()) && c.get("status") == Some(&"True".into()))
}

/// Sets a condition to true, for this reason; one that is so already stays.
pub(crate) fn set_condition(pod: &mut Value, kind: &str, reason: &str, message: &str, now: &str) {
    let generation = value::i64_at(pod, "metadata.generation").filter(|g| *g > 0);
    let Some(status) = value::object_mut(pod, "status") else { return };
    let conditions = status.entry("conditions").or_insert_with(|| Value::Array(Vec::new()));
    let Some(list) = conditions.as_array_mut() else { return };
    let mut condition = json!({"type": kind, "status": "True", "reason": reason, "message": message,
        "lastProbeTime": null, "lastTransitionTime": now});
    if let Some(generation) = generation {
        condition["observedGeneration"] = generation.into();
    }
    match list.iter_mut().find(|c| c.get("type").and_then(Value::as_str) == Some(kind)) {
        Some(known) if known["status"] == "True" && known["reason"] == reason => {}
        Some(known) => *known = condition,
        None => list.push(condition),
    }
}

/// Sets the condition `PodScheduled` to true.
fn mark_scheduled(pod: &mut Value, now: jiff::Timestamp) {
    let now = jiff::Timestamp::from_second(now.as_second()).unwrap_or(now).to_string();
    let Some(status) = value::object_mut(pod, "status") else { return };
    let conditions = status.entry("conditions").or_insert_with(|| Value::Array(Vec::new()));
    if conditions.is_null() {
        *conditions = Value::Array(Vec::new());
    }
    let Some(list) = conditions.as_array_mut() else { return };
    let scheduled = Object::from_iter([
        ("lastProbeTime".to_owned(), Value::Null),
        ("lastTransitionTime".to_owned(), now.into()),
        ("status".to_owned(), "True".into()),
        ("type".to_owned(), "PodScheduled".into()),
    ]);
    match list.iter_mut().find(|c| c.get("type").and_then(Value::as_str) == Some("PodScheduled")) {
        Some(condition) if condition.get("status").and_then(Value::as_str) == Some("True") => {}
        Some(condition) => *condition = Value::Object(scheduled),
        None => list.push(Value::Object(scheduled)),
    }
}

#[cfg(test)]
mod tests;
