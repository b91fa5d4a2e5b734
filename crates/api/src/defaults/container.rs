//! Defaults of containers of all three sorts.

use super::{fill, fill_object, fill_text, image, object_in, objects_in};
use crate::{Object, Value};

/// Defaults of one container.
pub(super) fn container(container: &mut Object) {
    if container.get("imagePullPolicy").and_then(Value::as_str).is_none_or(str::is_empty) {
        let policy = image::pull_policy(container.get("image").and_then(Value::as_str).unwrap_or_default());
        container.insert("imagePullPolicy".to_owned(), policy.into());
    }
    fill_text(container, "terminationMessagePath", "/dev/termination-log");
    fill_text(container, "terminationMessagePolicy", "File");
    fill_object(container, "resources");
    for port in objects_in(container, "ports") {
        fill_text(port, "protocol", "TCP");
    }
    for env in objects_in(container, "env") {
        if let Some(source) = object_in(env, "valueFrom") {
            field_ref(source);
            if let Some(file) = object_in(source, "fileKeyRef") {
                fill(file, "optional", false);
            }
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = object_in(container, probe) {
            self::probe(probe);
        }
    }
    if let Some(lifecycle) = object_in(container, "lifecycle") {
        for hook in ["postStart", "preStop"] {
            if let Some(get) = object_in(lifecycle, hook).and_then(|h| object_in(h, "httpGet")) {
                http_get(get);
            }
        }
    }
}

/// The API version of a `fieldRef`.
pub(super) fn field_ref(source: &mut Object) {
    if let Some(field) = object_in(source, "fieldRef") {
        fill_text(field, "apiVersion", "v1");
    }
}

fn probe(probe: &mut Object) {
    for (key, value) in [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)]
    {
        if probe.get(key).and_then(Value::as_i64).unwrap_or(0) == 0 {
            probe.insert(key.to_owned(), value.into());
        }
    }
    if let Some(get) = object_in(probe, "httpGet") {
        http_get(get);
    }
    if let Some(grpc) = object_in(probe, "grpc") {
        fill(grpc, "service", "");
    }
}

fn http_get(get: &mut Object) {
    fill_text(get, "path", "/");
    fill_text(get, "scheme", "HTTP");
}

/// What is limited but not requested is requested up to its limit.
pub(super) fn requests_from_limits(container: &mut Object) {
    let Some(resources) = object_in(container, "resources") else { return };
    let Some(limits) = resources.get("limits").and_then(Value::as_object) else { return };
    let requests = resources.get("requests").and_then(Value::as_object);
    let missing: Vec<(String, Value)> = limits
        .iter()
        .filter(|(name, _)| requests.is_none_or(|r| !r.contains_key(*name)))
        .map(|(name, amount)| (name.clone(), amount.clone()))
        .collect();
    if missing.is_empty() {
        return;
    }
    fill_object(resources, "requests");
    if let Some(requests) = object_in(resources, "requests") {
        requests.extend(missing);
    }
}
