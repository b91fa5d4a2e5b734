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

/// What else has a name, though neither may carry all of it.
const KNOWN_FIELDS: &[&str] =
    &["metadata.annotations", "metadata.labels", "spec.restartPolicy", "spec.schedulerName", "status.phase"];
/// Maps that one entry can be taken of.
const SUBSCRIPTS: [&str; 2] = ["metadata.annotations", "metadata.labels"];

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
    let subscript = path.strip_suffix("']").and_then(|p| p.split_once("['"));
    let unknown = match subscript {
        _ if text(field, "apiVersion") != "v1" => format!("unsupported pod version: {}", text(field, "apiVersion")),
        Some((map, _)) if !SUBSCRIPTS.contains(&map) => format!("field label does not support subscript: {path}"),
        None if path != "spec.host" && !ENV_FIELDS.contains(&path) && !KNOWN_FIELDS.contains(&path) => {
            format!("field label not supported: {path}")
        }
        _ => String::new(),
    };
    if !unknown.is_empty() {
        out.invalid(at.child("fieldPath"), path, &format!("error converting fieldPath: {unknown}"));
        return;
    }
    // The old name still works.
    let path = if path == "spec.host" { "spec.nodeName" } else { path };
    if let Some((map, key)) = subscript {
        match map {
            "metadata.annotations" => {
                out.invalid_each(at, key, names::qualified_name(&key.to_ascii_lowercase()));
            }
            _ => out.invalid_each(at, key, names::qualified_name(key)),
        }
        return;
    }
    if !supported.contains(&path) {
        out.not_supported(at.child("fieldPath"), path, supported);
    }
}

/// A `resourceFieldRef`; in files it has to say of which container.
pub(super) fn resource_ref(out: &mut Out, at: At<'_>, reference: &Value, in_file: bool) {
    let resource = text(reference, "resource");
    let huge = |r: &str| r.starts_with("limits.hugepages-") || r.starts_with("requests.hugepages-");
    if in_file && text(reference, "containerName").is_empty() {
        out.required(at.child("containerName"), "");
    } else if resource.is_empty() {
        out.required(at.child("resource"), "");
    } else if !RESOURCES.contains(&resource) && !huge(resource) {
        out.not_supported(at.child("resource"), resource, RESOURCES);
    }
    divisor(out, at.child("divisor"), resource, text(reference, "divisor"));
}

fn divisor(out: &mut Out, at: At<'_>, resource: &str, divisor: &str) {
    const BYTES: &[&str] = &["1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"];
    if divisor.is_empty() || divisor == "0" {
        return;
    }
    let (allowed, what): (&[&str], &str) = match resource.split_once('.').map_or("", |(_, what)| what) {
        "cpu" => (&["1m", "1"], "cpu"),
        "memory" => (BYTES, "memory"),
        "ephemeral-storage" => (BYTES, "local ephemeral storage"),
        huge if huge.starts_with("hugepages-") => (BYTES, "hugepages"),
        _ => return,
    };
    let given = divisor.parse::<Quantity>();
    let fine = given.is_ok_and(|given| allowed.iter().any(|a| a.parse::<Quantity>().is_ok_and(|a| a == given)));
    if !fine {
        let list = if what == "cpu" { "1m and 1".to_owned() } else { BYTES.join(", ") };
        // Upstream shows the resource, not the divisor.
        out.invalid(at, resource, &format!("only divisor's values {list} are supported with the {what} resource"));
    }
}
