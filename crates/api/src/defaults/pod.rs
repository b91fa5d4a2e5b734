//! Defaults of pods and of pod templates, which share most of them.

use super::{container, fill, fill_object, fill_text, object_in, objects_in, volume};
use crate::value::{map_at, object_mut, set};
use crate::{Object, Value, quota};

const CONTAINER_LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// Defaults of a pod: those of a template, and what only a pod that will run gets.
pub(super) fn pod(object: &mut Value) {
    let Some(spec) = object_mut(object, "spec") else { return };
    pod_spec(spec);
    fill(spec, "enableServiceLinks", true);
    let host_network = spec.get("hostNetwork").and_then(Value::as_bool) == Some(true);
    for list in ["initContainers", "containers"] {
        for item in objects_in(spec, list) {
            container::requests_from_limits(item);
            if host_network {
                host_ports(item);
            }
        }
    }
    whole_pod(object);
    if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) {
        mirror_addresses(status, "podIP", "podIPs");
        mirror_addresses(status, "hostIP", "hostIPs");
    }
}

/// What a pod states for itself as a whole (KEP-2837): huge pages that its containers limit, and where it limits itself, requests
/// as its containers' together, or else as its limits.
fn whole_pod(object: &mut Value) {
    const LIMITS: &str = "spec.resources.limits";
    const REQUESTS: &str = "spec.resources.requests";
    if map_at(object, "spec.resources").is_none() {
        return;
    }
    let is_huge = |name: &str| name.starts_with("hugepages-");
    let is_shared = |name: &str| matches!(name, "cpu" | "memory");
    let stated = |object: &Value, path| map_at(object, path).cloned().unwrap_or_default();
    let mut limits = stated(object, LIMITS);
    for (name, amount) in quota::containers_total(object, "limits").into_iter().filter(|(name, _)| is_huge(name)) {
        limits.entry(name).or_insert_with(|| amount.to_string().into());
    }
    if limits.is_empty() {
        return;
    }
    let mut requests = stated(object, REQUESTS);
    for (name, amount) in quota::containers_total(object, "requests").into_iter().filter(|(name, _)| is_shared(name)) {
        requests.entry(name).or_insert_with(|| amount.to_string().into());
    }
    for (name, limit) in limits.iter().filter(|(name, _)| is_shared(name) || is_huge(name)) {
        requests.entry(name.clone()).or_insert_with(|| limit.clone());
    }
    set(object, LIMITS, Value::Object(limits));
    if !requests.is_empty() {
        set(object, REQUESTS, Value::Object(requests));
    }
}

/// Defaults of `template` in a workload's spec.
pub(super) fn template(workload_spec: &mut Object) {
    let template = object_in(workload_spec, "template").and_then(|t| object_in(t, "spec"));
    if let Some(spec) = template {
        pod_spec(spec);
    }
}

fn pod_spec(spec: &mut Object) {
    fill_text(spec, "dnsPolicy", "ClusterFirst");
    fill_text(spec, "restartPolicy", "Always");
    fill_text(spec, "schedulerName", "default-scheduler");
    fill(spec, "terminationGracePeriodSeconds", 30);
    fill_object(spec, "securityContext");
    mirror_service_account(spec);
    for list in CONTAINER_LISTS {
        for item in objects_in(spec, list) {
            container::container(item);
        }
    }
    for item in objects_in(spec, "volumes") {
        volume::volume(item);
    }
}

/// `serviceAccount` is the old name of `serviceAccountName`; both are always equal.
fn mirror_service_account(spec: &mut Object) {
    let text = |key: &str| spec.get(key).and_then(Value::as_str).filter(|s| !s.is_empty());
    let (new, old) = (text("serviceAccountName"), text("serviceAccount"));
    if new == old {
        return;
    }
    let name = Value::from(new.or(old).unwrap_or_default());
    spec.insert("serviceAccount".to_owned(), name.clone());
    spec.insert("serviceAccountName".to_owned(), name);
}

/// A pod on the host's network listens on the host's ports.
fn host_ports(container: &mut Object) {
    for port in objects_in(container, "ports") {
        if port.get("hostPort").and_then(Value::as_i64).unwrap_or(0) == 0
            && let Some(number) = port.get("containerPort").cloned()
        {
            port.insert("hostPort".to_owned(), number);
        }
    }
}

/// `podIP` is the first of `podIPs`, and `hostIP` of `hostIPs`: a missing one is filled from the other, and where they
/// differ the single one is right (old kubelets write only that).
fn mirror_addresses(status: &mut Object, one: &str, many: &str) {
    let single = status.get(one).and_then(Value::as_str).filter(|s| !s.is_empty());
    let first = status.get(many).and_then(Value::as_array).and_then(|l| l.first()?.get("ip")?.as_str());
    match (single, first) {
        (Some(ip), first) if first != Some(ip) => {
            let list = Value::Array(vec![Value::Object(Object::from_iter([("ip".to_owned(), Value::from(ip))]))]);
            status.insert(many.to_owned(), list);
        }
        (None, Some(ip)) => {
            let ip = Value::from(ip);
            status.insert(one.to_owned(), ip);
        }
        _ => {}
    }
}
