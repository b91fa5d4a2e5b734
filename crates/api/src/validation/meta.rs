//! Object metadata: names, labels, annotations, owners, finalizers; and what an update may not change.

use std::collections::HashSet;

use super::at::{At, Out};
use crate::field::Error;
use crate::internal;
use crate::names;
use crate::value::{get, list_at, map_at, str_at};
use crate::{Object, Value};

/// The most bytes that all annotations of an object have together.
const ANNOTATION_BYTES: usize = 256 * 1024;
/// A generated name is at most this long without its suffix of 5.
const GENERATED_BASE_BYTES: usize = 58;

/// How the name of a kind is formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NameRule {
    /// RFC 1123 subdomain.
    Subdomain,
    /// RFC 1123 label.
    Label,
    /// RFC 1035 label.
    Label1035,
    /// Any path segment.
    Segment,
}

impl NameRule {
    /// The messages about `name`; `prefix`: it is a `generateName`, which may end in `-`.
    pub(crate) fn check(self, name: &str, prefix: bool) -> Vec<String> {
        let masked;
        let name = if prefix && self != Self::Segment {
            masked = names::masked(name);
            &masked
        } else {
            name
        };
        match self {
            Self::Subdomain => names::dns_subdomain(name),
            Self::Label => names::dns_label(name),
            Self::Label1035 => names::dns_1035_label(name),
            Self::Segment => names::path_segment(name),
        }
    }
}

/// The metadata of an object that is created.
pub(crate) fn object_meta(out: &mut Out, object: &Value, namespaced: bool, rule: NameRule) {
    let root = At::Root("metadata");
    let text = |key| get(object, "metadata").and_then(|m| m.get(key)).and_then(Value::as_str).unwrap_or_default();
    let (name, base) = (text("name"), text("generateName"));
    if !base.is_empty() {
        out.invalid_each(root.child("generateName"), base, rule.check(base, true));
    }
    if name.is_empty() {
        out.required(root.child("name"), "name or generateName is required");
    } else if base.is_empty() || name.len() > GENERATED_BASE_BYTES + 5 || !name.starts_with(base) {
        out.invalid_each(root.child("name"), name, rule.check(name, false));
    }
    let namespace = text("namespace");
    if namespaced && namespace.is_empty() {
        out.required(root.child("namespace"), "");
    } else if namespaced {
        out.invalid_each(root.child("namespace"), namespace, names::dns_label(namespace));
    } else if !namespace.is_empty() {
        out.forbidden(root.child("namespace"), "not allowed on this type");
    }
    common(out, object);
}

/// Labels, annotations, owners and finalizers, for creates and updates.
fn common(out: &mut Out, object: &Value) {
    let root = At::Root("metadata");
    if let Some(map) = map_at(object, "metadata.labels") {
        labels(out, root.child("labels"), map);
    }
    if let Some(map) = map_at(object, "metadata.annotations") {
        annotations(out, root.child("annotations"), map);
    }
    owners(out, root.child("ownerReferences"), list_at(object, "metadata.ownerReferences"));
    finalizers(out, root.child("finalizers"), list_at(object, "metadata.finalizers"));
}

/// Label keys and values.
pub(crate) fn labels(out: &mut Out, at: At<'_>, map: &Object) {
    for (key, value) in map {
        out.invalid_each(at, key, names::qualified_name(key));
        let text = value.as_str().unwrap_or_default();
        out.invalid_each(at, text, names::label_value(text));
    }
}

/// Annotation keys and the size of all.
pub(crate) fn annotations(out: &mut Out, at: At<'_>, map: &Object) {
    let mut total = 0;
    for (key, value) in map {
        let found = if key.bytes().any(|b| b.is_ascii_uppercase()) {
            names::qualified_name(&key.to_ascii_lowercase())
        } else {
            names::qualified_name(key)
        };
        out.invalid_each(at, key, found);
        total += key.len() + value.as_str().map_or(0, str::len);
    }
    if total > ANNOTATION_BYTES {
        out.too_long(at, ANNOTATION_BYTES);
    }
}

/// The metadata of a template: labels and annotations count, the rest is the server's.
pub(crate) fn of_template(out: &mut Out, at: At<'_>, metadata: Option<&Value>) {
    let Some(metadata) = metadata else { return };
    if let Some(map) = metadata.get("labels").and_then(Value::as_object) {
        labels(out, at.child("labels"), map);
    }
    if let Some(map) = metadata.get("annotations").and_then(Value::as_object) {
        annotations(out, at.child("annotations"), map);
    }
}

fn owners(out: &mut Out, at: At<'_>, list: &[Value]) {
    let mut controller: Option<String> = None;
    for (index, owner) in list.iter().enumerate() {
        if out.is_full() {
            return;
        }
        let at = at.index(index);
        let text = |key: &str| owner.get(key).and_then(Value::as_str).unwrap_or_default();
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        let version = api_version.rsplit('/').next().unwrap_or_default();
        if version.is_empty() || api_version.matches('/').count() > 1 {
            out.invalid(at.child("apiVersion"), version, "version must not be empty");
        }
        if kind.is_empty() {
            out.invalid(at.child("kind"), kind, "must not be empty");
        }
        if text("name").is_empty() {
            out.invalid(at.child("name"), "", "must not be empty");
        }
        if text("uid").is_empty() {
            out.invalid(at.child("uid"), "", "must not be empty");
        }
        if (api_version, kind) == ("v1", "Event") {
            out.invalid_of(at, "meta/v1.OwnerReference", owner, "/v1, Kind=Event is disallowed from being an owner");
        }
        if owner.get("controller").and_then(Value::as_bool) == Some(true) {
            let this = format!("{kind}/{}", text("name"));
            if let Some(first) = &controller {
                out.add(|| {
                    let shown = internal::shown("[]meta/v1.OwnerReference", &Value::Array(list.to_vec()));
                    let why = format!(
                        "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {this}"
                    );
                    Error::invalid_as(&At::Root("metadata.ownerReferences").path(), &shown, &why)
                });
            } else {
                controller = Some(this);
            }
        }
    }
}

fn finalizers(out: &mut Out, at: At<'_>, list: &[Value]) {
    let mut dependents = [false, false];
    for item in list {
        let name = item.as_str().unwrap_or_default();
        out.invalid_each(at, name, names::qualified_name(name));
        dependents[0] |= name == "orphan";
        dependents[1] |= name == "foregroundDeletion";
    }
    if dependents == [true, true] {
        out.invalid(at, Value::Array(list.to_vec()), "finalizer orphan and foregroundDeletion cannot be both set");
    }
}

/// Finalizers of built-in kinds: with a domain unless they are standard ones. Custom kinds take any.
pub(crate) fn standard_finalizers(out: &mut Out, object: &Value) {
    for (index, item) in list_at(object, "metadata.finalizers").iter().enumerate() {
        let at = At::Root("metadata.finalizers").index(index);
        standard_finalizer(out, at, item.as_str().unwrap_or_default());
    }
}

/// A finalizer: qualified, and with a domain unless it is one of the standard ones.
pub(crate) fn finalizer_name(out: &mut Out, at: At<'_>, name: &str) {
    out.invalid_each(at, name, names::qualified_name(name));
    standard_finalizer(out, at, name);
}

fn standard_finalizer(out: &mut Out, at: At<'_>, name: &str) {
    if !name.contains('/') && !["orphan", "foregroundDeletion", "kubernetes"].contains(&name) {
        out.invalid(at, name, "name is neither a standard finalizer name nor is it fully qualified");
    }
}

/// What an update may not do to metadata.
pub(crate) fn object_meta_update(out: &mut Out, new: &Value, old: &Value) {
    let root = At::Root("metadata");
    if str_at(old, "metadata.deletionTimestamp").is_some() {
        let known: HashSet<&Value> = list_at(old, "metadata.finalizers").iter().collect();
        let added: Vec<&str> = list_at(new, "metadata.finalizers")
            .iter()
            .filter(|f| !known.contains(f))
            .filter_map(Value::as_str)
            .collect();
        if !added.is_empty() {
            let shown: Vec<String> = added.iter().map(|f| format!("{f:?}")).collect();
            let detail = format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                shown.join(", ")
            );
            out.forbidden(root.child("finalizers"), &detail);
        }
    }
    let metadata = |v| get(v, "metadata").unwrap_or(&Value::Null);
    for (key, ty) in [
        ("name", "string"),
        ("namespace", "string"),
        ("uid", "string"),
        ("creationTimestamp", "time"),
        ("deletionTimestamp", "*time"),
        ("deletionGracePeriodSeconds", "*int"),
    ] {
        out.immutable(root.child(key), ty, metadata(new).get(key), metadata(old).get(key));
    }
    common(out, new);
}
