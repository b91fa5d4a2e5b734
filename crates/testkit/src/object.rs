//! Short names for what invariants read in objects.

use std::collections::BTreeMap;
use std::sync::Arc;

use gantry_api::quantity::Quantity;
use gantry_api::value::{self, Value};

/// A stored object; shared, because a history holds many versions of it.
pub type Object = Arc<Value>;

/// The text at a dotted path, or "".
#[must_use]
pub fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    value::str_at(object, path).unwrap_or_default()
}

/// The number at a dotted path, or 0.
#[must_use]
pub fn number(object: &Value, path: &str) -> i64 {
    value::i64_at(object, path).unwrap_or_default()
}

/// Its kind.
#[must_use]
pub fn kind(object: &Value) -> &str {
    text(object, "kind")
}

/// Its namespace, or "".
#[must_use]
pub fn namespace(object: &Value) -> &str {
    text(object, "metadata.namespace")
}

/// Its uid.
#[must_use]
pub fn uid(object: &Value) -> &str {
    text(object, "metadata.uid")
}

/// `Kind namespace/name`, for messages.
#[must_use]
pub fn title(object: &Value) -> String {
    let (namespace, name) = (namespace(object), text(object, "metadata.name"));
    let slash = if namespace.is_empty() { "" } else { "/" };
    format!("{} {namespace}{slash}{name}", kind(object))
}

/// Whether it is on its way out.
#[must_use]
pub fn is_terminating(object: &Value) -> bool {
    value::get(object, "metadata.deletionTimestamp").is_some()
}

/// The uid of its controlling owner, or "".
#[must_use]
pub fn controller(object: &Value) -> &str {
    let owners = value::list_at(object, "metadata.ownerReferences");
    owners.iter().find(|o| value::bool_at(o, "controller")).map_or("", |o| text(o, "uid"))
}

/// Its labels.
#[must_use]
pub fn labels(object: &Value) -> BTreeMap<&str, &str> {
    strings(object, "metadata.labels")
}

/// A map of strings.
#[must_use]
pub fn strings<'a>(object: &'a Value, path: &str) -> BTreeMap<&'a str, &'a str> {
    let map = value::map_at(object, path);
    map.into_iter().flatten().filter_map(|(key, value)| Some((key.as_str(), value.as_str()?))).collect()
}

/// The status of a condition, or "".
#[must_use]
pub fn condition<'a>(object: &'a Value, kind: &str) -> &'a str {
    let conditions = value::list_at(object, "status.conditions");
    conditions.iter().find(|c| text(c, "type") == kind).map_or("", |c| text(c, "status"))
}

/// Whether a pod's containers have ended for good.
#[must_use]
pub fn is_finished(pod: &Value) -> bool {
    matches!(text(pod, "status.phase"), "Succeeded" | "Failed")
}

/// Whether a pod counts for its replica set.
#[must_use]
pub fn is_active(pod: &Value) -> bool {
    !is_terminating(pod) && !is_finished(pod)
}

/// Whether a pod is active and ready.
#[must_use]
pub fn is_ready(pod: &Value) -> bool {
    is_active(pod) && condition(pod, "Ready") == "True"
}

/// What a pod's containers request of a resource, in thousandths.
#[must_use]
pub fn requested(pod: &Value, resource: &str) -> i64 {
    let containers = value::list_at(pod, "spec.containers").iter();
    containers.filter_map(|c| value::map_at(c, "resources.requests")?.get(resource)).map(milli).sum()
}

/// A quantity in thousandths, 0 where there is none.
#[must_use]
pub fn milli(quantity: &Value) -> i64 {
    quantity.as_str().and_then(|text| text.parse::<Quantity>().ok()).map_or(0, |q| q.milli())
}

/// The most pods that a deployment may have while it rolls, and the least that must be ready.
#[must_use]
pub fn bounds(deployment: &Value) -> (i64, i64) {
    let replicas = number(deployment, "spec.replicas");
    let bound = |name: &str, round_up| {
        share(value::get(deployment, &format!("spec.strategy.rollingUpdate.{name}")), replicas, round_up)
    };
    let (surge, mut unavailable) = (bound("maxSurge", true), bound("maxUnavailable", false));
    if surge == 0 && unavailable == 0 {
        // Percentages of few pods may both come to nothing; one pod must be able to move.
        unavailable = 1;
    }
    (replicas + surge, (replicas - unavailable).max(0))
}

/// A number of pods, or a percentage of them.
fn share(bound: Option<&Value>, replicas: i64, round_up: bool) -> i64 {
    let Some(bound) = bound else { return 0 };
    if let Some(count) = bound.as_i64() {
        return count;
    }
    let percent: i64 = bound.as_str().and_then(|t| t.strip_suffix('%')?.parse().ok()).unwrap_or(0);
    (replicas * percent + if round_up { 99 } else { 0 }) / 100
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bounds_are_numbers_or_percentages() {
        let check = |surge: Value, unavailable: Value, expected| {
            let strategy = json!({"rollingUpdate": {"maxSurge": surge, "maxUnavailable": unavailable}});
            assert_eq!(bounds(&json!({"spec": {"replicas": 10, "strategy": strategy}})), expected);
        };
        check(json!(1), json!(2), (11, 8));
        check(json!("25%"), json!("25%"), (13, 8));
        check(json!("0%"), json!("1%"), (10, 9));
        check(json!(0), json!(20), (10, 0));
    }
}
