//! Upstream's defaulting: what an object says after decoding where its writer said nothing.
//!
//! Applied to every object that is written and to stored objects of foreign writers; idempotent. Values that need the
//! cluster (addresses, priorities, the service account) are set by strategies and admission, not here.

mod admission;
mod amounts;
mod batch;
mod container;
mod image;
mod other;
mod pod;
mod service;
mod status;
mod storage;
mod volume;
mod workload;

#[cfg(test)]
mod tests;

pub use status::empty_status;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::custom::Overgrown;
use crate::kinds::KindInfo;
use crate::status::Status;
use crate::value::{get_mut, object_mut, set_default, str_at};
use crate::{Object, Value};

const RBAC: &str = "rbac.authorization.k8s.io";

/// Fills in what `object` leaves out.
///
/// # Errors
/// 413 for a custom object that grows without measure: its definition's defaults are filled in up to the bound.
pub fn apply(kind: &KindInfo, object: &mut Value) -> Result<(), Status> {
    if let Some(custom) = &kind.custom {
        let grown = crate::custom::default_object(object, &custom.schema);
        crate::custom::prune_nulls(object, &custom.schema);
        return grown.map_err(|Overgrown| {
            let name = str_at(object, "metadata.name").unwrap_or_default();
            let (kind, limit) = (kind.kind, crate::custom::ADDED_BYTES_MAX);
            let why = format!("the defaults of its definition add more than {limit} bytes to {kind} {name:?}");
            Status::failure(413, "RequestEntityTooLarge", format!("Request entity too large: {why}"))
        });
    }
    fill_in(kind, object);
    Ok(())
}

fn fill_in(kind: &KindInfo, object: &mut Value) {
    match (kind.group, kind.kind) {
        ("", "Pod") => pod::pod(object),
        ("", "Service") => service::service(object),
        ("", "Namespace") => namespace(object),
        ("", "Node") => node(object),
        ("", "Secret") => secret(object),
        // In its stored form, whichever it came in; printed even when empty.
        ("" | "events.k8s.io", "Event") => set_default(object, "involvedObject", Object::new()),
        ("", "Endpoints") => other::endpoints(object),
        ("", "LimitRange") => other::limit_range(object),
        ("", "PersistentVolume") => storage::persistent_volume(object),
        ("", "PersistentVolumeClaim") => storage::persistent_volume_claim(object),
        ("admissionregistration.k8s.io", name) => admission::registration(name, object),
        ("apiextensions.k8s.io", _) => other::definition(object),
        ("apiregistration.k8s.io", _) => other::api_service(object),
        ("autoscaling", _) => other::autoscaler(object),
        ("flowcontrol.apiserver.k8s.io", "FlowSchema") => other::flow_schema(object),
        ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration") => other::priority_level(object),
        ("networking.k8s.io", "IngressClass") => other::ingress_class(object),
        ("networking.k8s.io", "NetworkPolicy") => other::network_policy(object),
        ("resource.k8s.io", "ResourceClaim") => other::resource_claim(object),
        ("resource.k8s.io", "ResourceClaimTemplate") => other::resource_claim_template(object),
        ("storage.k8s.io", "CSIDriver") => storage::csi_driver(object),
        ("storage.k8s.io", "StorageClass") => storage::storage_class(object),
        ("", "PodTemplate") => workload::pod_template(object),
        ("", "ReplicationController") => workload::replication_controller(object),
        ("apps", "Deployment") => workload::deployment(object),
        ("apps", "ReplicaSet") => workload::replica_set(object),
        ("apps", "DaemonSet") => workload::daemon_set(object),
        ("apps", "StatefulSet") => workload::stateful_set(object),
        ("batch", "Job") => batch::job(object),
        ("batch", "CronJob") => batch::cron_job(object),
        ("discovery.k8s.io", "EndpointSlice") => endpoint_slice(object),
        (RBAC, "RoleBinding" | "ClusterRoleBinding") => role_binding(object),
        ("scheduling.k8s.io", "PriorityClass") => {
            set_default_text(object, "preemptionPolicy", "PreemptLowerPriority");
        }
        _ => {}
    }
    amounts::round(kind, object);
}

/// Fills in a `TokenRequest`, which is a subresource and no kind of its own.
pub fn token_request(object: &mut Value) {
    set_default(object, "spec.expirationSeconds", 3600);
}

/// Sets `key` where it is absent or null.
fn fill(map: &mut Object, key: &str, value: impl Into<Value>) {
    if map.get(key).is_none_or(Value::is_null) {
        map.insert(key.to_owned(), value.into());
    }
}

/// Sets `key` where it is absent, null or `""`.
fn fill_text(map: &mut Object, key: &str, value: &str) {
    if map.get(key).is_none_or(|v| v.is_null() || v.as_str() == Some("")) {
        map.insert(key.to_owned(), Value::from(value));
    }
}

/// As [`fill_text`] at a path.
fn set_default_text(object: &mut Value, path: &str, value: &str) {
    if str_at(object, path).is_none_or(str::is_empty) {
        crate::value::set(object, path, value);
    }
}

/// An empty object under `key` where there is none.
fn fill_object(map: &mut Object, key: &str) {
    if map.get(key).is_none_or(Value::is_null) {
        map.insert(key.to_owned(), Value::Object(Object::new()));
    }
}

/// The object under `key`, if it is there.
fn object_in<'a>(map: &'a mut Object, key: &str) -> Option<&'a mut Object> {
    map.get_mut(key)?.as_object_mut()
}

/// The objects in the list under `key`.
fn objects_in<'a>(map: &'a mut Object, key: &str) -> impl Iterator<Item = &'a mut Object> {
    map.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut)
}

fn namespace(object: &mut Value) {
    if let Some(name) = str_at(object, "metadata.name").filter(|n| !n.is_empty()) {
        let name = name.to_owned();
        if let Some(labels) = object_mut(object, "metadata.labels") {
            labels.insert("kubernetes.io/metadata.name".to_owned(), name.into());
        }
    }
    set_default_text(object, "status.phase", "Active");
}

/// `stringData` is only written, never read: its entries go to `data` in base64, as if the client had sent that.
fn secret(object: &mut Value) {
    set_default_text(object, "type", "Opaque");
    let Some(Value::Object(plain)) = crate::value::remove(object, "stringData") else { return };
    if plain.is_empty() {
        return;
    }
    let Some(data) = object_mut(object, "data") else { return };
    for (key, text) in plain {
        data.insert(key, STANDARD.encode(text.as_str().unwrap_or_default()).into());
    }
}

fn node(object: &mut Value) {
    if let Some(spec) = get_mut(object, "spec").and_then(Value::as_object_mut) {
        // One range stands in both; where they differ the older field is right.
        let single = spec.get("podCIDR").and_then(Value::as_str).filter(|s| !s.is_empty()).map(str::to_owned);
        let first = spec.get("podCIDRs").and_then(|l| l.get(0)?.as_str()).map(str::to_owned);
        match (single, first) {
            (Some(one), first) if first.as_ref() != Some(&one) => {
                drop(spec.insert("podCIDRs".to_owned(), vec![one].into()))
            }
            (None, Some(one)) => drop(spec.insert("podCIDR".to_owned(), one.into())),
            _ => {}
        }
    }
    let Some(status) = get_mut(object, "status").and_then(Value::as_object_mut) else { return };
    if status.get("allocatable").is_none_or(Value::is_null)
        && let Some(capacity) = status.get("capacity").filter(|c| c.is_object()).cloned()
    {
        status.insert("allocatable".to_owned(), capacity);
    }
}

fn endpoint_slice(object: &mut Value) {
    let Some(slice) = object.as_object_mut() else { return };
    for port in objects_in(slice, "ports") {
        fill(port, "name", "");
        fill(port, "protocol", "TCP");
    }
}

fn role_binding(object: &mut Value) {
    let Some(binding) = object.as_object_mut() else { return };
    if let Some(role) = object_in(binding, "roleRef") {
        fill_text(role, "apiGroup", RBAC);
    }
    for subject in objects_in(binding, "subjects") {
        if matches!(subject.get("kind").and_then(Value::as_str), Some("User" | "Group")) {
            fill_text(subject, "apiGroup", RBAC);
        }
    }
}
