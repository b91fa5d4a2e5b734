//! Defaults of pods and of pod templates, which share most of them.

use super::{container, fill, fill_object, fill_text, object_in, objects_in, volume};
use crate::value::object_mut;
use crate::{Object, Value};

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
    if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) {
        mirror_addresses(status, "podIP", "podIPs");
        mirror_addresses(status, "hostIP", "hostIPs");
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
