//! References to fields of the pod and to resources of its containers, in variables and in files.

use super::super::at::{At, Out};
use super::super::read::text;
use crate::Value;
use crate::names;
use crate::quantity::Quantity;

/// Fields of the pod that variables may carry.
pub(super) const ENV_FIELDS: &[&str] = &[
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];
/// Fields of the pod that files may carry.
pub(super) const FILE_FIELDS: &[&str] =
    &["metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"];

const RESOURCES: &[&str] = &[
    "limits.cpu",
    "limits.ephemeral-storage",
    "limits.memory",
    "requests.cpu",
    "requests.ephemeral-storage",
    "requests.memory",
];

/// A `fieldRef` that may name one of `supported`, or one label or annotation.
pub(super) fn field_ref(out: &mut Out, at: At<'_>, field: &Value, supported: &[&str]) {
    let path = text(field, "fieldPath");
    if text(field, "apiVersion").is_empty() {
        out.required(at.child("apiVersion"), "");
        return;
    }
    if path.is_empty() {
        out.required(at.child("fieldPath"), "");
        return;
    }
    if let Some((map, key)) = path.strip_suffix("']").and_then(|p| p.split_once("['")) {
        match map {
            "metadata.annotations" => {
                out.invalid_each(at, key, names::qualified_name(&key.to_ascii_lowercase()));
            }
            "metadata.labels" => out.invalid_each(at, key, names::qualified_name(key)),
            _ => out.invalid(at, map, "does not support subscript"),
        }
        return;
    }
    if supported.contains(&path) {
        return;
    }
    if ENV_FIELDS.contains(&path) || FILE_FIELDS.contains(&path) {
        out.not_supported(at.child("fieldPath"), path, supported);
    } else {
        let detail = format!("error converting fieldPath: field label not supported: {path}");
        out.invalid(at.child("fieldPath"), path, &detail);
    }
}

/// A `resourceFieldRef`; in files it has to say of which container.
pub(super) fn resource_ref(out: &mut Out, at: At<'_>, reference: &Value, in_file: bool) {
    if in_file && text(reference, "containerName").is_empty() {
        out.required(at.child("containerName"), "");
        return;
    }
    let resource = text(reference, "resource");
    let huge = |r: &str| r.starts_with("limits.hugepages-") || r.starts_with("requests.hugepages-");
    if resource.is_empty() {
        out.required(at.child("resource"), "");
        return;
    }
    if !RESOURCES.contains(&resource) && !huge(resource) {
        out.not_supported(at.child("resource"), resource, RESOURCES);
    }
    divisor(out, at.child("divisor"), resource, text(reference, "divisor"));
}

fn divisor(out: &mut Out, at: At<'_>, resource: &str, divisor: &str) {
    if divisor.is_empty() || divisor == "0" {
        return;
    }
    let (allowed, detail): (&[&str], &str) = match resource.rsplit('.').next().unwrap_or_default() {
        "cpu" => (&["1m", "1"], "only divisor's values 1m and 1 are supported with the cpu resource"),
        "memory" => (
            &["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"],
            "only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are supported with the memory resource",
        ),
        _ => return,
    };
    let given = divisor.parse::<Quantity>();
    let fine = given.is_ok_and(|given| allowed.iter().any(|a| a.parse::<Quantity>().is_ok_and(|a| a == given)));
    if !fine {
        out.invalid(at, divisor, detail);
    }
}
