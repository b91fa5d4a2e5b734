//! Defaults of networking, scaling, limits, flow control and devices.

use serde_json::json;

use super::{fill, fill_object, fill_text, object_in, objects_in};
use crate::value::{get, object_mut, set_default, str_at};
use crate::{Object, Value};

pub(super) fn endpoints(object: &mut Value) {
    let Some(endpoints) = object.as_object_mut() else { return };
    for subset in objects_in(endpoints, "subsets") {
        objects_in(subset, "ports").for_each(|port| fill_text(port, "protocol", "TCP"));
    }
}

pub(super) fn network_policy(object: &mut Value) {
    let Some(spec) = object_mut(object, "spec") else { return };
    let some = |spec: &Object, key| spec.get(key).and_then(Value::as_array).is_some_and(|l| !l.is_empty());
    if !some(spec, "policyTypes") {
        let types = if some(spec, "egress") { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
        spec.insert("policyTypes".to_owned(), types);
    }
    for direction in ["ingress", "egress"] {
        for rule in objects_in(spec, direction) {
            objects_in(rule, "ports").for_each(|port| fill(port, "protocol", "TCP"));
        }
    }
}

pub(super) fn ingress_class(object: &mut Value) {
    if let Some(parameters) = object_mut(object, "spec").and_then(|s| object_in(s, "parameters")) {
        fill(parameters, "scope", "Cluster");
    }
}

/// Every resource of `from` that `to` lacks.
fn complete(item: &mut Object, to: &str, from: &str) {
    let Some(from) = item.get(from).and_then(Value::as_object).cloned() else { return };
    if let Some(to) = object_in(item, to) {
        for (name, amount) in from {
            to.entry(name).or_insert(amount);
        }
    }
}

pub(super) fn limit_range(object: &mut Value) {
    let Some(spec) = object_mut(object, "spec") else { return };
    for item in objects_in(spec, "limits") {
        if item.get("type").and_then(Value::as_str) != Some("Container") {
            continue;
        }
        fill_object(item, "default");
        fill_object(item, "defaultRequest");
        complete(item, "default", "max");
        complete(item, "defaultRequest", "default");
        complete(item, "defaultRequest", "min");
    }
}

pub(super) fn autoscaler(object: &mut Value) {
    let Some(spec) = object_mut(object, "spec") else { return };
    fill(spec, "minReplicas", 1);
    if spec.get("metrics").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        let target = json!({"type": "Utilization", "averageUtilization": 80});
        let metric = json!({"type": "Resource", "resource": {"name": "cpu", "target": target}});
        spec.insert("metrics".to_owned(), json!([metric]));
    }
    let Some(behavior) = object_in(spec, "behavior") else { return };
    let percent = json!({"type": "Percent", "value": 100, "periodSeconds": 15});
    let pods = json!({"type": "Pods", "value": 4, "periodSeconds": 15});
    scaling_rules(behavior, "scaleUp", json!([pods, percent]));
    scaling_rules(behavior, "scaleDown", json!([percent]));
    if let Some(up) = object_in(behavior, "scaleUp") {
        fill(up, "stabilizationWindowSeconds", 0);
    }
}

fn scaling_rules(behavior: &mut Object, direction: &str, policies: Value) {
    fill_object(behavior, direction);
    let Some(rules) = object_in(behavior, direction) else { return };
    fill(rules, "selectPolicy", "Max");
    fill(rules, "policies", policies);
}

pub(super) fn flow_schema(object: &mut Value) {
    let Some(spec) = object_mut(object, "spec") else { return };
    if spec.get("matchingPrecedence").and_then(Value::as_i64).unwrap_or(0) == 0 {
        spec.insert("matchingPrecedence".to_owned(), 1000.into());
    }
}

pub(super) fn priority_level(object: &mut Value) {
    let Some(spec) = object_mut(object, "spec") else { return };
    if let Some(exempt) = object_in(spec, "exempt") {
        fill(exempt, "nominalConcurrencyShares", 0);
        fill(exempt, "lendablePercent", 0);
    }
    let Some(limited) = object_in(spec, "limited") else { return };
    fill(limited, "nominalConcurrencyShares", 30);
    fill(limited, "lendablePercent", 0);
    if let Some(queuing) = object_in(limited, "limitResponse").and_then(|r| object_in(r, "queuing")) {
        for (key, value) in [("handSize", 8), ("queues", 64), ("queueLengthLimit", 50)] {
            if queuing.get(key).and_then(Value::as_i64).unwrap_or(0) == 0 {
                queuing.insert(key.to_owned(), value.into());
            }
        }
    }
}

pub(super) fn resource_claim(object: &mut Value) {
    object_mut(object, "spec").into_iter().for_each(device_claim);
}

pub(super) fn resource_claim_template(object: &mut Value) {
    object_mut(object, "spec").and_then(|s| object_in(s, "spec")).into_iter().for_each(device_claim);
}

fn device_claim(spec: &mut Object) {
    let Some(devices) = object_in(spec, "devices") else { return };
    for request in objects_in(devices, "requests") {
        object_in(request, "exactly").into_iter().for_each(device_request);
        objects_in(request, "firstAvailable").for_each(device_request);
    }
}

fn device_request(request: &mut Object) {
    fill_text(request, "allocationMode", "ExactCount");
    let exact = request.get("allocationMode").and_then(Value::as_str) == Some("ExactCount");
    if exact && request.get("count").and_then(Value::as_i64).unwrap_or(0) == 0 {
        request.insert("count".to_owned(), 1.into());
    }
    objects_in(request, "tolerations").for_each(|toleration| fill_text(toleration, "operator", "Equal"));
}

pub(super) fn api_service(object: &mut Value) {
    if get(object, "spec.service").is_some_and(Value::is_object) {
        set_default(object, "spec.service.port", 443);
    }
}

/// Names that follow from others, no conversion, and the port of a conversion webhook.
pub(super) fn definition(object: &mut Value) {
    let kind = str_at(object, "spec.names.kind").unwrap_or_default().to_owned();
    if !kind.is_empty() {
        super::set_default_text(object, "spec.names.singular", &kind.to_lowercase());
        super::set_default_text(object, "spec.names.listKind", &format!("{kind}List"));
    }
    set_default(object, "spec.conversion", json!({"strategy": "None"}));
    if get(object, "spec.conversion.webhook.clientConfig.service").is_some_and(Value::is_object) {
        set_default(object, "spec.conversion.webhook.clientConfig.service.port", 443);
    }
}
