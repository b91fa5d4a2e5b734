//! Versions that are served no longer but may still be stored: whoever wrote them last was a server of their time.

use serde_json::json;

use crate::Value;
use crate::value::{get, get_mut, list_at, remove, set, str_at};

const V1BETA1: &str = "v1beta1";
/// Kinds whose older version has the fields of version 1, with the same numbers and, but for what [`settle`] does, meanings.
const SAME: [(&str, &[&str], &[&str]); 8] = [
    ("admissionregistration.k8s.io", &[V1BETA1], &["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"]),
    ("batch", &[V1BETA1], &["CronJob"]),
    ("certificates.k8s.io", &[V1BETA1], &["CertificateSigningRequest"]),
    ("coordination.k8s.io", &[V1BETA1], &["Lease"]),
    ("flowcontrol.apiserver.k8s.io", &[V1BETA1, "v1beta2", "v1beta3"], &["FlowSchema", "PriorityLevelConfiguration"]),
    ("networking.k8s.io", &[V1BETA1], &["IngressClass"]),
    ("node.k8s.io", &[V1BETA1], &["RuntimeClass"]),
    ("storage.k8s.io", &[V1BETA1], &["CSIDriver", "CSINode", "CSIStorageCapacity", "StorageClass", "VolumeAttachment"]),
];
/// Kinds whose older version has other fields.
const OTHER: [(&str, &str); 3] =
    [("discovery.k8s.io", "EndpointSlice"), ("networking.k8s.io", "Ingress"), ("policy", "PodDisruptionBudget")];
/// As upstream says in version 1 what an empty selector meant before: no pods.
const NO_PODS: &str = "pdb.kubernetes.io/deprecated-v1beta1-empty-selector-match";
const ZONE: &str = "topology.kubernetes.io/zone";
const HOST: &str = "kubernetes.io/hostname";

/// The version whose message reads the protobuf of an older one.
#[must_use]
pub fn read_as(api_version: &str, kind: &str) -> Option<String> {
    let (group, version) = api_version.split_once('/')?;
    let same =
        SAME.iter().any(|(g, versions, kinds)| *g == group && versions.contains(&version) && kinds.contains(&kind));
    let budget = (group, version, kind) == ("policy", V1BETA1, "PodDisruptionBudget");
    (same || budget).then(|| format!("{group}/v1"))
}

/// Whether JSON may be of such a version.
#[must_use]
pub fn may_be(json: &[u8]) -> bool {
    memchr::memmem::find_iter(json, b"v1beta").any(|at| matches!(json.get(at + 6), Some(b'1'..=b'3')))
}

fn parts(object: &Value) -> (&str, &str) {
    let at = |field| str_at(object, field).unwrap_or_default();
    (at("apiVersion"), at("kind"))
}

/// Whether an object is of such a version.
#[must_use]
pub fn is_older(object: &Value) -> bool {
    let (api_version, kind) = parts(object);
    let other = |(group, version): (&str, &str)| version == V1BETA1 && OTHER.contains(&(group, kind));
    api_version.split_once('/').is_some_and(other) || read_as(api_version, kind).is_some()
}

/// Brings an object of an older version to version 1. Whether it was one.
pub fn to_current(object: &mut Value) -> bool {
    if !is_older(object) {
        return false;
    }
    let (api_version, kind) = parts(object);
    let group = api_version.split_once('/').map_or("", |(group, _)| group);
    let (now, kind) = (format!("{group}/v1"), kind.to_owned());
    set(object, "apiVersion", now);
    settle(object, &kind);
    true
}

fn settle(object: &mut Value, kind: &str) {
    match kind {
        "EndpointSlice" => endpoints(object),
        "Ingress" => ingress(object),
        "PodDisruptionBudget" => {
            let empty = get(object, "spec.selector").and_then(Value::as_object).is_some_and(|selector| {
                selector
                    .values()
                    .all(|v| v.as_array().is_none_or(Vec::is_empty) && v.as_object().is_none_or(|o| o.is_empty()))
            });
            if empty {
                set(object, "spec.selector", json!({"matchExpressions": [{"key": NO_PODS, "operator": "Exists"}]}));
            }
        }
        "PriorityLevelConfiguration" => {
            if let Some(shares) = remove(object, "spec.limited.assuredConcurrencyShares") {
                set(object, "spec.limited.nominalConcurrencyShares", shares);
            }
        }
        _ => {}
    }
}

/// Zone and node come out of the map that they stood in.
fn endpoints(object: &mut Value) {
    for endpoint in get_mut(object, "endpoints").and_then(Value::as_array_mut).into_iter().flatten() {
        let Some(Value::Object(mut topology)) = remove(endpoint, "topology") else { continue };
        if let Some(zone) = topology.remove(ZONE) {
            set(endpoint, "zone", zone);
        }
        let node = get(endpoint, "nodeName").cloned();
        if let Some(host) = topology.get(HOST).cloned()
            && node.as_ref().is_none_or(|node| *node == host)
        {
            topology.remove(HOST);
            set(endpoint, "nodeName", host);
        }
        if !topology.is_empty() {
            set(endpoint, "deprecatedTopology", Value::Object(topology));
        }
    }
}

fn ingress(object: &mut Value) {
    if let Some(mut default) = remove(object, "spec.backend") {
        backend(&mut default);
        set(object, "spec.defaultBackend", default);
    }
    for rule in get_mut(object, "spec.rules").and_then(Value::as_array_mut).into_iter().flatten() {
        // In protobuf this is a message of its own.
        if let Some(http) = remove(rule, "ingressRuleValue").and_then(|mut value| remove(&mut value, "http")) {
            set(rule, "http", http);
        }
        for path in get_mut(rule, "http.paths").and_then(Value::as_array_mut).into_iter().flatten() {
            if let Some(found) = get_mut(path, "backend") {
                backend(found);
            }
        }
    }
    if list_at(object, "spec.rules").is_empty() {
        remove(object, "spec.rules");
    }
}

fn backend(backend: &mut Value) {
    let (name, port) = (remove(backend, "serviceName"), remove(backend, "servicePort"));
    let named = name.as_ref().and_then(Value::as_str).is_some_and(|name| !name.is_empty());
    let port = match port {
        Some(Value::String(name)) => json!({"name": name}),
        Some(number) if number.as_i64() != Some(0) => json!({"number": number}),
        _ if named => json!({}),
        _ => return,
    };
    set(backend, "service", json!({"name": name.unwrap_or_default(), "port": port}));
}
