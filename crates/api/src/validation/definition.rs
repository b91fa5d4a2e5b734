//! Definitions of custom kinds.

mod bundle;
mod defaults;
mod openapi;
mod parts;
mod schema;
mod shown;
mod waived;
mod walk;

use std::collections::HashSet;

use self::waived::{Demand, Terms};
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
    spec(out, definition, &Terms::of(definition, None));
    accepted_names(out, definition);
    stored_versions(out, definition);
    approval(out, definition);
    preservation(out, definition);
}

pub(super) fn update(out: &mut Out, new: &Value, old: &Value) {
    spec(out, new, &Terms::of(new, Some(old)));
    if is_established(old) {
        out.immutable(At::Root("spec.scope"), "string", get(new, "spec.scope"), get(old, "spec.scope"));
        out.immutable(At::Root("spec.names.kind"), "string", get(new, "spec.names.kind"), get(old, "spec.names.kind"));
    }
    out.immutable(At::Root("spec.group"), "string", get(new, "spec.group"), get(old, "spec.group"));
    out.immutable(
        At::Root("spec.names.plural"),
        "string",
        get(new, "spec.names.plural"),
        get(old, "spec.names.plural"),
    );
    accepted_names(out, new);
    stored_versions(out, new);
    let sort = |definition| approval_state(definition).map(|state| std::mem::discriminant(&state));
    if sort(new) != sort(old) {
        approval(out, new);
    }
    if !bool_at(old, "spec.preserveUnknownFields") {
        preservation(out, new);
    }
}

fn is_established(definition: &Value) -> bool {
    let mut conditions = list_at(definition, "status.conditions").iter();
    conditions.any(|c| str_at(c, "type") == Some("Established") && str_at(c, "status") == Some("True"))
}

/// Whether the authorities of a definition's webhook are given and hold no certificate.
#[must_use]
pub fn has_no_authority(definition: &Value) -> bool {
    let bundle = str_at(definition, "spec.conversion.webhook.clientConfig.caBundle").unwrap_or_default();
    !bundle.is_empty() && bundle::fault(bundle).is_some()
}

/// What a write of `/status` must keep to.
pub(super) fn status(out: &mut Out, new: &Value) {
    accepted_names(out, new);
}

fn accepted_names(out: &mut Out, definition: &Value) {
    let names = get(definition, "status.acceptedNames").unwrap_or(&Value::Null);
    parts::names(out, At::Root("status.acceptedNames"), names);
}

fn preservation(out: &mut Out, definition: &Value) {
    if bool_at(definition, "spec.preserveUnknownFields") {
        let why =
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
        out.invalid(At::Root("spec.preserveUnknownFields"), true, why);
    }
}

fn name(out: &mut Out, definition: &Value) {
    let found = text(definition, "metadata.name");
    let wanted = format!("{}.{}", text(definition, "spec.names.plural"), text(definition, "spec.group"));
    if !found.is_empty() && found != wanted {
        out.invalid(At::Root("metadata.name"), found, "must be spec.names.plural+\".\"+spec.group");
    }
}

fn spec(out: &mut Out, definition: &Value, terms: &Terms) {
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
    let list = list_at(definition, "spec.versions");
    if list.len() > MAX_VERSIONS {
        out.too_many(At::Root("spec.versions"), list.len(), MAX_VERSIONS);
        return;
    }
    has_schemas(out, definition, terms);
    let shared = Shared::of(list);
    versions(out, list, &shared, terms);
    let empty = Value::Object(Object::new());
    let names = get(definition, "spec.names").unwrap_or(&empty);
    for part in ["plural", "singular", "kind", "listKind"] {
        if text(names, part).is_empty() {
            out.required(At::Root("spec.names").child(part), "");
        }
    }
    parts::names(out, At::Root("spec.names"), names);
    in_common(out, list, &shared, terms);
    parts::conversion(out, definition, terms);
}

fn has_schemas(out: &mut Out, definition: &Value, terms: &Terms) {
    let preserves = bool_at(definition, "spec.preserveUnknownFields");
    let at = At::Root("spec.versions");
    for (index, version) in list_at(definition, "spec.versions").iter().enumerate() {
        if get(version, "schema.openAPIV3Schema").is_some_and(Value::is_object) {
            continue;
        }
        let at = at.index(index);
        if terms.ask(Demand::Schemas) {
            out.required(at.child("schema.openAPIV3Schema"), "");
        } else if !preserves && bool_at(version, "served") {
            out.required(at.child("schema.openAPIV3Schema"), "because otherwise all fields are pruned");
        }
    }
    let has_default = |schema: &Value| schema.get("default").is_some_and(|d| !d.is_null());
    if preserves && walk::schemas(definition).flat_map(walk::all).any(has_default) {
        let why = "must be false in order to use defaults in the schema";
        out.invalid(At::Root("spec.preserveUnknownFields"), true, why);
    }
}

/// What all versions have in common: upstream keeps it once, and reports it there.
struct Shared {
    schema: bool,
    subresources: bool,
    columns: bool,
    fields: bool,
}

impl Shared {
    fn of(list: &[Value]) -> Self {
        let same = |path: &str| list.windows(2).all(|pair| get(&pair[0], path) == get(&pair[1], path));
        let schema = same("schema");
        Self {
            schema,
            subresources: same("subresources"),
            columns: same("additionalPrinterColumns"),
            fields: schema && same("selectableFields"),
        }
    }
}

fn has_status(version: &Value) -> bool {
    get(version, "subresources.status").is_some_and(Value::is_object)
}

fn versions(out: &mut Out, list: &[Value], shared: &Shared, terms: &Terms) {
    let at = At::Root("spec.versions");
    let (mut unique, mut seen) = (true, HashSet::new());
    for (index, version) in list.iter().enumerate() {
        let (at, name) = (at.index(index), text(version, "name"));
        let wrong = dns_1035_label(name);
        if !wrong.is_empty() {
            out.invalid(at.child("name"), name, &wrong.join(","));
        }
        unique &= seen.insert(name);
        parts::deprecation(out, at.child("deprecationWarning"), version);
        let found = get(version, "schema.openAPIV3Schema").filter(|found| found.is_object() && !shared.schema);
        if let Some(found) = found {
            schema_errors(out, at.child("schema.openAPIV3Schema"), found, has_status(version), terms);
        }
        if let Some(found) = get(version, "subresources").filter(|_| !shared.subresources) {
            parts::subresources(out, at.child("subresources"), found);
        }
        if !shared.columns {
            parts::columns(out, at.child("additionalPrinterColumns"), list_at(version, "additionalPrinterColumns"));
        }
        if !shared.fields && !list_at(version, "selectableFields").is_empty() {
            let at = at.child("selectableFields");
            match found {
                Some(found) => parts::selectable_fields(out, at, version, found, terms),
                // Nor may they where the schema is that of all versions.
                None => out.invalid(at, "", "may only be set when `version.schema.openAPIV3Schema` is not included"),
            }
        }
    }
    if !unique {
        out.invalid_as(at, &shown::versions(list, shared), "must contain unique version names");
    }
    if list.iter().filter(|version| bool_at(version, "storage")).count() != 1 {
        let why = "must have exactly one version marked as storage version";
        out.invalid_as(at, &shown::versions(list, shared), why);
    }
}

fn in_common(out: &mut Out, list: &[Value], shared: &Shared, terms: &Terms) {
    let Some(first) = list.first() else { return };
    let found = get(first, "schema.openAPIV3Schema").filter(|found| found.is_object());
    if let Some(found) = found.filter(|_| shared.schema) {
        let has_status = list.iter().any(has_status);
        schema_errors(out, At::Root("spec.validation.openAPIV3Schema"), found, has_status, terms);
    }
    if let Some(found) = get(first, "subresources").filter(|_| shared.subresources) {
        parts::subresources(out, At::Root("spec.subresources"), found);
    }
    if shared.columns {
        let at = At::Root("spec.additionalPrinterColumns");
        parts::columns(out, at, list_at(first, "additionalPrinterColumns"));
    }
    if shared.fields && !list_at(first, "selectableFields").is_empty() {
        let at = At::Root("spec.selectableFields");
        match found {
            Some(found) => parts::selectable_fields(out, at, first, found, terms),
            None => out.invalid(at, "", "may only be set when validations.schema is included"),
        }
    }
}

/// Checks the schema of one version, or of all.
fn schema_errors(out: &mut Out, at: At<'_>, schema: &Value, has_status: bool, terms: &Terms) {
    let before = out.count();
    if has_status {
        openapi::root(out, at, schema);
    }
    if bool_at(schema, "nullable") {
        out.forbidden(at.child("nullable"), "nullable cannot be true at the root");
    }
    let unreadable = if terms.ask(Demand::Structure) { schema::unreadable(schema) } else { None };
    if terms.ask(Demand::Structure) && unreadable.is_none() {
        let mut found = Out::default();
        found.extend(schema::structural_errors(at, schema));
        if found.count() == 0 {
            defaults::check(&mut found, at, schema, terms.ask(Demand::PrunedDefaults), true);
        }
        out.extend(found.into_errors());
    }
    let mut found = Out::default();
    openapi::check(&mut found, at, schema, terms);
    out.extend(found.into_errors());
    if let Some(why) = unreadable.filter(|_| out.count() == before) {
        out.invalid(at, "", &why);
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
            let at = at.index(index);
            out.extend(schema::structural_errors(at.child("schema.openAPIV3Schema"), found));
        }
    }
    out.into_errors()
}

fn stored_versions(out: &mut Out, definition: &Value) {
    let at = At::Root("status.storedVersions");
    let stored = list_at(definition, "status.storedVersions");
    if stored.is_empty() {
        out.invalid(at, stored.to_vec(), "must have at least one stored version");
        return;
    }
    let versions = list_at(definition, "spec.versions");
    let known: HashSet<&str> = stored.iter().filter_map(Value::as_str).collect();
    for version in versions.iter().filter(|version| bool_at(version, "storage")) {
        if out.is_full() {
            return;
        }
        let name = text(version, "name");
        if !known.contains(name) {
            out.invalid(at, stored.to_vec(), &format!("must have the storage version {name}"));
        }
    }
    let there: HashSet<&Value> = versions.iter().filter_map(|version| version.get("name")).collect();
    for (index, name) in stored.iter().enumerate() {
        if !there.contains(name) {
            let version = name.as_str().unwrap_or_default();
            let why = format!(
                "missing from spec.versions; {version} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {version} and removes {version} from status.storedVersions"
            );
            out.invalid(at.index(index), version, &why);
        }
    }
}

/// What the writer should know: what is said of the definition and was not said of `old`.
pub(super) fn warnings(definition: &Value, old: Option<&Value>) -> Vec<String> {
    let known = old.map(defaults::unknown_formats).unwrap_or_default();
    let mut found = defaults::unknown_formats(definition);
    found.retain(|format| !known.contains(format));
    found.into_iter().map(|format| format!("unrecognized format {format:?}")).collect()
}

const _: () = assert!(MAX_DEPTH < crate::decode::MAX_DEPTH);
