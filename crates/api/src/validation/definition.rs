//! Definitions of custom kinds.

mod parts;
mod schema;

use super::at::{At, Out};
use crate::custom::schema::MAX_DEPTH;
use crate::field::Errors;
use crate::names::{dns_1035_label, dns_subdomain};
use crate::value::{bool_at, get, list_at, map_at, str_at};
use crate::{Object, Value};

const APPROVAL: &str = "api-approved.kubernetes.io";
const APPROVALS: &str = "https://github.com/kubernetes/enhancements/pull/1111";
/// Versions of one definition.
const MAX_VERSIONS: usize = 100;

fn text<'a>(value: &'a Value, path: &str) -> &'a str {
    str_at(value, path).unwrap_or_default()
}

pub(super) fn create(out: &mut Out, definition: &Value) {
    name(out, definition);
    spec(out, definition);
    if bool_at(definition, "spec.preserveUnknownFields") {
        out.invalid(At::Root("spec.preserveUnknownFields"), true, "must be false");
    }
    approval(out, definition);
    stored_versions(out, definition);
}

pub(super) fn update(out: &mut Out, new: &Value, old: &Value) {
    spec(out, new);
    if bool_at(new, "spec.preserveUnknownFields") && !bool_at(old, "spec.preserveUnknownFields") {
        out.invalid(At::Root("spec.preserveUnknownFields"), true, "must be false");
    }
    let established = list_at(old, "status.conditions")
        .iter()
        .any(|c| str_at(c, "type") == Some("Established") && str_at(c, "status") == Some("True"));
    if established {
        out.immutable(At::Root("spec.scope"), get(new, "spec.scope"), get(old, "spec.scope"));
        out.immutable(At::Root("spec.names.kind"), get(new, "spec.names.kind"), get(old, "spec.names.kind"));
    }
    out.immutable(At::Root("spec.group"), get(new, "spec.group"), get(old, "spec.group"));
    out.immutable(At::Root("spec.names.plural"), get(new, "spec.names.plural"), get(old, "spec.names.plural"));
    let approved = |d: &Value| map_at(d, "metadata.annotations").and_then(|a| a.get(APPROVAL)).cloned();
    if approved(new) != approved(old) {
        approval(out, new);
    }
    stored_versions(out, new);
}

/// What a write of `/status` must keep to.
pub(super) fn status(out: &mut Out, new: &Value) {
    let empty = Value::Null;
    parts::names(out, At::Root("status.acceptedNames"), get(new, "status.acceptedNames").unwrap_or(&empty));
    stored_versions(out, new);
}

fn name(out: &mut Out, definition: &Value) {
    let found = text(definition, "metadata.name");
    let wanted = format!("{}.{}", text(definition, "spec.names.plural"), text(definition, "spec.group"));
    if !found.is_empty() && found != wanted {
        out.invalid(At::Root("metadata.name"), found, "must be spec.names.plural+\".\"+spec.group");
    }
}

fn spec(out: &mut Out, definition: &Value) {
    let group = text(definition, "spec.group");
    let wrong = dns_subdomain(group);
    if group.is_empty() {
        out.required(At::Root("spec.group"), "");
    } else if !wrong.is_empty() {
        out.invalid(At::Root("spec.group"), group, &wrong.join(","));
    } else if !group.contains('.') {
        out.invalid(At::Root("spec.group"), group, "should be a domain with at least one dot");
    }
    out.one_of(At::Root("spec.scope"), text(definition, "spec.scope"), &["Cluster", "Namespaced"]);
    versions(out, definition);
    let empty = Value::Object(Object::new());
    let names = get(definition, "spec.names").unwrap_or(&empty);
    for part in ["plural", "singular", "kind", "listKind"] {
        if text(names, part).is_empty() {
            out.required(At::Root("spec.names").child(part), "");
        }
    }
    parts::names(out, At::Root("spec.names"), names);
    parts::conversion(out, definition);
}

fn versions(out: &mut Out, definition: &Value) {
    let list = list_at(definition, "spec.versions");
    let at = At::Root("spec.versions");
    if list.len() > MAX_VERSIONS {
        out.too_many(at, list.len(), MAX_VERSIONS);
        return;
    }
    let mut unique = true;
    for (index, version) in list.iter().enumerate() {
        let (at, name) = (at.index(index), text(version, "name"));
        let wrong = dns_1035_label(name);
        if !wrong.is_empty() {
            out.invalid(at.child("name"), name, &wrong.join(","));
        }
        unique &= !list[..index].iter().any(|before| text(before, "name") == name);
        let said = text(version, "deprecationWarning");
        if !said.is_empty() && !bool_at(version, "deprecated") {
            out.invalid(at.child("deprecationWarning"), said, "can only be set for deprecated versions");
        }
        if get(version, "schema.openAPIV3Schema").is_none_or(Value::is_null) {
            out.required(at.child("schema.openAPIV3Schema"), "schemas are required");
        }
    }
    if !unique {
        out.invalid(at, list.to_vec(), "must contain unique version names");
    }
    if list.iter().filter(|version| bool_at(version, "storage")).count() != 1 {
        out.invalid(at, list.to_vec(), "must have exactly one version marked as storage version");
    }
    contents(out, list);
}

/// What all versions have in common is reported once, as upstream, which keeps it once.
fn contents(out: &mut Out, list: &[Value]) {
    let at = At::Root("spec.versions");
    let same = |path: &str| list.windows(2).all(|pair| get(&pair[0], path) == get(&pair[1], path));
    let (schemas, subresources, columns) = (same("schema"), same("subresources"), same("additionalPrinterColumns"));
    for (index, version) in list.iter().enumerate() {
        let at = at.index(index);
        let first = index == 0;
        if let Some(found) = get(version, "schema.openAPIV3Schema").filter(|s| s.is_object()) {
            let has_status = get(version, "subresources.status").is_some();
            if !schemas {
                schema::check(out, at.child("schema.openAPIV3Schema"), found, has_status);
            } else if first {
                schema::check(out, At::Root("spec.validation.openAPIV3Schema"), found, has_status);
            }
            parts::selectable_fields(out, at.child("selectableFields"), version, found);
        }
        if let Some(found) = get(version, "subresources") {
            let at = if subresources { At::Root("spec.subresources") } else { at.child("subresources") };
            if first || !subresources {
                parts::subresources(out, at, found);
            }
        }
        if first || !columns {
            let at =
                if columns { At::Root("spec.additionalPrinterColumns") } else { at.child("additionalPrinterColumns") };
            parts::columns(out, at, list_at(version, "additionalPrinterColumns"));
        }
    }
}

/// Whether what the definition says of approval is enough.
fn approval(out: &mut Out, definition: &Value) {
    let at = At::Root("metadata.annotations");
    match approval_state(definition) {
        None | Some(Approval::Approved(_) | Approval::Bypassed(_)) => {}
        Some(Approval::Missing(why)) => out.required(at.key(APPROVAL), &why),
        Some(Approval::Invalid(why)) => out.invalid(at.key(APPROVAL), approved_in(definition), &why),
    }
}

fn approved_in(definition: &Value) -> &str {
    let given = map_at(definition, "metadata.annotations").and_then(|a| a.get(APPROVAL));
    given.and_then(Value::as_str).unwrap_or_default()
}

/// What a definition says of its approval; each with upstream's words for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Approval {
    /// By a link to the review.
    Approved(String),
    /// There is none, and it says so.
    Bypassed(String),
    /// It says nothing.
    Missing(String),
    /// What it says is neither a link nor an admission.
    Invalid(String),
}

/// The approval of a definition; names below domains of Kubernetes need it from its project, for others there is none.
#[must_use]
pub fn approval_state(definition: &Value) -> Option<Approval> {
    let group = text(definition, "spec.group");
    let protected = |domain: &str| group == domain || group.ends_with(&format!(".{domain}"));
    if !protected("k8s.io") && !protected("kubernetes.io") {
        return None;
    }
    let given = approved_in(definition);
    let is_link = given
        .split_once("://")
        .is_some_and(|(scheme, rest)| !scheme.is_empty() && !rest.starts_with('/') && !rest.is_empty());
    Some(if given.is_empty() {
        Approval::Missing(format!("protected groups must have approval annotation {APPROVAL:?}, see {APPROVALS}"))
    } else if given.starts_with("unapproved") {
        Approval::Bypassed(format!("not approved: {given:?}"))
    } else if is_link {
        Approval::Approved(format!("approved in {given}"))
    } else {
        Approval::Invalid(format!(
            "protected groups must have approval annotation {APPROVAL:?} with either a URL or a reason starting with \"unapproved\", see {APPROVALS}"
        ))
    })
}

/// Why the schemas of a definition are not structural. None is stored by this server, but one that is older than version 1 may be.
#[must_use]
pub fn structural_errors(definition: &Value) -> Errors {
    let mut out = Out::default();
    if bool_at(definition, "spec.preserveUnknownFields") {
        out.invalid(At::Root("spec.preserveUnknownFields"), true, "must be false");
    }
    let at = At::Root("spec.versions");
    for (index, version) in list_at(definition, "spec.versions").iter().enumerate() {
        if let Some(found) = get(version, "schema.openAPIV3Schema").filter(|s| s.is_object()) {
            schema::structural(&mut out, at.index(index).child("schema.openAPIV3Schema"), found);
        }
    }
    out.errors
}

fn stored_versions(out: &mut Out, definition: &Value) {
    let at = At::Root("status.storedVersions");
    let stored = list_at(definition, "status.storedVersions");
    if stored.is_empty() {
        out.invalid(at, stored.to_vec(), "must have at least one stored version");
        return;
    }
    let versions = list_at(definition, "spec.versions");
    for version in versions.iter().filter(|version| bool_at(version, "storage")) {
        let name = text(version, "name");
        if !stored.iter().any(|stored| stored == name) {
            out.invalid(at, stored.to_vec(), &format!("must have the storage version {name}"));
        }
    }
    for (index, name) in stored.iter().enumerate() {
        if !versions.iter().any(|version| version.get("name") == Some(name)) {
            out.invalid(at.index(index), name.clone(), "must appear in spec.versions");
        }
    }
}

/// What the writer should know.
pub(super) fn warnings(definition: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for version in list_at(definition, "spec.versions") {
        if let Some(schema) = get(version, "schema.openAPIV3Schema") {
            schema::unknown_formats(&mut found, schema);
        }
    }
    found
}

const _: () = assert!(MAX_DEPTH < crate::decode::MAX_DEPTH);
