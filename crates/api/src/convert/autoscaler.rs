//! Horizontal pod autoscalers: version 1 knows the share of CPU only and carries the rest in annotations, as upstream does.

use serde_json::json;

use crate::value::{get, i64_at, list_at, map_at, object_mut, remove, set, set_default, str_at};
use crate::{Object, Value};

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";
const CURRENT_REPLICAS: &str = "status.currentReplicas";

/// A source in version 2, its key, and where version 1 keeps the parts of its target and metric.
struct Source {
    kind: &'static str,
    key: &'static str,
    /// Version 1's name for `target.value`, `target.averageValue`, `target.averageUtilization`.
    target: [&'static str; 3],
    /// The same of what is measured now.
    current: [&'static str; 3],
    /// Version 1's names for `metric.name` and `metric.selector`.
    metric: [&'static str; 2],
}

const SOURCES: [Source; 5] = [
    Source {
        kind: "Object",
        key: "object",
        target: ["targetValue", "averageValue", ""],
        current: ["currentValue", "averageValue", ""],
        metric: ["metricName", "selector"],
    },
    Source {
        kind: "Pods",
        key: "pods",
        target: ["", "targetAverageValue", ""],
        current: ["", "currentAverageValue", ""],
        metric: ["metricName", "selector"],
    },
    Source {
        kind: "Resource",
        key: "resource",
        target: ["", "targetAverageValue", "targetAverageUtilization"],
        current: ["", "currentAverageValue", "currentAverageUtilization"],
        metric: ["", ""],
    },
    Source {
        kind: "ContainerResource",
        key: "containerResource",
        target: ["", "targetAverageValue", "targetAverageUtilization"],
        current: ["", "currentAverageValue", "currentAverageUtilization"],
        metric: ["", ""],
    },
    Source {
        kind: "External",
        key: "external",
        target: ["targetValue", "targetAverageValue", ""],
        current: ["currentValue", "currentAverageValue", ""],
        metric: ["metricName", "metricSelector"],
    },
];

const PARTS: [&str; 3] = ["value", "averageValue", "averageUtilization"];

/// One metric of version 2 as version 1 writes it; `now`: what is measured, not what is wanted.
fn old_metric(metric: &Value, now: bool) -> Value {
    let Some(source) = SOURCES.iter().find(|s| Some(s.kind) == str_at(metric, "type")) else { return metric.clone() };
    let (holder, names) = if now { ("current", source.current) } else { ("target", source.target) };
    let mut old = Object::new();
    for (key, value) in map_at(metric, source.key).into_iter().flatten() {
        match key.as_str() {
            _ if key == holder => {
                for (part, name) in PARTS.iter().zip(names).filter(|(_, name)| !name.is_empty()) {
                    if let Some(amount) = value.get(part) {
                        old.insert(name.to_owned(), amount.clone());
                    }
                }
            }
            "metric" => {
                for (part, name) in ["name", "selector"].iter().zip(source.metric) {
                    if let Some(found) = value.get(part) {
                        old.insert(name.to_owned(), found.clone());
                    }
                }
            }
            "describedObject" => drop(old.insert("target".to_owned(), value.clone())),
            _ => drop(old.insert(key.clone(), value.clone())),
        }
    }
    // Required in version 1, even where only the average is wanted.
    if source.kind == "Object" {
        old.entry(names[0]).or_insert_with(|| "0".into());
    }
    json!({"type": source.kind, source.key: old})
}

/// The reverse of [`old_metric`].
fn new_metric(metric: &Value, now: bool) -> Value {
    let Some(source) = SOURCES.iter().find(|s| Some(s.kind) == str_at(metric, "type")) else { return metric.clone() };
    let (holder, names) = if now { ("current", source.current) } else { ("target", source.target) };
    let (mut new, mut parts, mut measured) = (Object::new(), Object::new(), Object::new());
    for (key, value) in map_at(metric, source.key).into_iter().flatten() {
        let part = PARTS.iter().zip(names).find(|(_, name)| *name == key.as_str());
        let of_metric = ["name", "selector"].into_iter().zip(source.metric).find(|(_, name)| *name == key.as_str());
        match (part, of_metric) {
            (Some((part, _)), _) => drop(parts.insert((*part).to_owned(), value.clone())),
            (_, Some((part, _))) => drop(measured.insert(part.to_owned(), value.clone())),
            _ if source.kind == "Object" && key == "target" => {
                drop(new.insert("describedObject".to_owned(), value.clone()));
            }
            _ => drop(new.insert(key.clone(), value.clone())),
        }
    }
    if parts.len() > 1 && parts.get("value").is_some_and(|v| v == "0" || v == 0) {
        parts.remove("value");
    }
    if !now {
        let kind = match () {
            () if parts.contains_key("averageUtilization") => "Utilization",
            () if parts.contains_key("averageValue") => "AverageValue",
            () => "Value",
        };
        parts.insert("type".to_owned(), kind.into());
    }
    new.insert(holder.to_owned(), Value::Object(parts));
    if !source.metric[0].is_empty() {
        new.insert("metric".to_owned(), Value::Object(measured));
    }
    json!({"type": source.kind, source.key: new})
}

/// Whether the metric is what version 1 has a field for; `holder` is `target` or `current`.
fn cpu_share(metric: &Value, holder: &str) -> Option<i64> {
    let cpu = str_at(metric, "type") == Some("Resource") && str_at(metric, "resource.name") == Some("cpu");
    cpu.then(|| i64_at(metric, &format!("resource.{holder}.averageUtilization"))).flatten()
}

/// Changes the case of the first letter of all keys: upstream writes the annotation with the names of Go's fields.
fn recase(value: &Value, change: fn(char) -> char) -> Value {
    match value {
        Value::Object(map) => {
            let key = |key: &String| {
                let mut letters = key.chars();
                letters.next().map(change).into_iter().chain(letters).collect::<String>()
            };
            Value::Object(map.iter().map(|(k, v)| (key(k), recase(v, change))).collect())
        }
        Value::Array(list) => list.iter().map(|v| recase(v, change)).collect(),
        other => other.clone(),
    }
}

pub(super) fn to_v1(object: &mut Value) {
    let metrics = list_at(object, "spec.metrics").to_vec();
    let current = list_at(object, "status.currentMetrics").to_vec();
    let mut kept: Vec<(&str, Value)> = Vec::new();
    let rest = |list: &[Value], holder: &str| -> Vec<Value> {
        let others = list.iter().filter(|m| cpu_share(m, holder).is_none());
        others.map(|m| old_metric(m, holder == "current")).collect()
    };
    for (name, list) in [(METRICS, rest(&metrics, "target")), (CURRENT, rest(&current, "current"))] {
        if !list.is_empty() {
            kept.push((name, list.into()));
        }
    }
    if let Some(conditions) =
        remove(object, "status.conditions").filter(|c| c.as_array().is_some_and(|l| !l.is_empty()))
    {
        kept.push((CONDITIONS, conditions));
    }
    if let Some(behavior) = remove(object, "spec.behavior").filter(|b| !b.is_null()) {
        kept.push((BEHAVIOR, recase(&behavior, |c| c.to_ascii_uppercase())));
    }
    remove(object, "spec.metrics");
    remove(object, "status.currentMetrics");
    if let Some(share) = metrics.iter().find_map(|m| cpu_share(m, "target")) {
        set(object, "spec.targetCPUUtilizationPercentage", share);
    }
    if let Some(share) = current.iter().find_map(|m| cpu_share(m, "current")) {
        set(object, "status.currentCPUUtilizationPercentage", share);
    }
    if get(object, "status").is_some_and(Value::is_object) {
        // The old form says it even when it is none.
        set_default(object, CURRENT_REPLICAS, 0);
    }
    for (name, value) in kept {
        if let Some(annotations) = object_mut(object, "metadata.annotations") {
            annotations.insert(name.to_owned(), value.to_string().into());
        }
    }
}

/// Takes what an annotation carries; one that cannot be read is dropped.
fn take(object: &mut Value, annotation: &str) -> Option<Value> {
    let annotations = object.get_mut("metadata")?.get_mut("annotations")?.as_object_mut()?;
    let text = annotations.remove(annotation)?;
    let empty = annotations.is_empty();
    if empty {
        remove(object, "metadata.annotations");
    }
    serde_json::from_str(text.as_str()?).ok()
}

pub(super) fn to_v2(object: &mut Value) {
    if get(object, CURRENT_REPLICAS).is_some_and(|count| count == 0) {
        remove(object, CURRENT_REPLICAS);
    }
    let mut metrics: Vec<Value> = Vec::new();
    if let Some(share) = remove(object, "spec.targetCPUUtilizationPercentage").filter(|s| !s.is_null()) {
        let target = json!({"type": "Utilization", "averageUtilization": share});
        metrics.push(json!({"type": "Resource", "resource": {"name": "cpu", "target": target}}));
    }
    let mut current: Vec<Value> = Vec::new();
    if let Some(share) = remove(object, "status.currentCPUUtilizationPercentage").filter(|s| !s.is_null()) {
        let now = json!({"averageUtilization": share});
        current.push(json!({"type": "Resource", "resource": {"name": "cpu", "current": now}}));
    }
    let others = |list: Option<Value>, now: bool| -> Vec<Value> {
        let list = list.as_ref().and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        list.iter().map(|m| new_metric(m, now)).collect()
    };
    metrics.extend(others(take(object, METRICS), false));
    current.extend(others(take(object, CURRENT), true));
    if !metrics.is_empty() {
        set(object, "spec.metrics", metrics);
    }
    if !current.is_empty() {
        set(object, "status.currentMetrics", current);
    }
    if let Some(conditions) = take(object, CONDITIONS).filter(Value::is_array) {
        set(object, "status.conditions", conditions);
    }
    if let Some(behavior) = take(object, BEHAVIOR).filter(Value::is_object) {
        set(object, "spec.behavior", recase(&behavior, |c| c.to_ascii_lowercase()));
    }
    if get(object, "status").is_some_and(|s| s.as_object().is_some_and(Object::is_empty)) {
        remove(object, "status");
    }
}
