//! The parts of a definition beside its schemas.

use std::collections::HashSet;

use super::waived::{Demand, Terms};
use super::{bundle, text};
use crate::Value;
use crate::custom::field_path;
use crate::custom::schema::{Schema, SchemaType};
use crate::names::dns_1035_label;
use crate::validation::admission::client;
use crate::validation::at::{At, Out};
use crate::value::{bool_at, get, list_at};

/// Selectable fields of one version.
pub(super) const MAX_SELECTABLE: usize = 8;
/// Bytes of a warning of deprecation.
const MAX_WARNING: usize = 256;
const COLUMN_TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
const COLUMN_FORMATS: [&str; 8] = ["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];

pub(super) fn names(out: &mut Out, at: At<'_>, names: &Value) {
    let mut check = |name: &str, mixed: bool| {
        let found = text(names, name);
        let wrong = dns_1035_label(&if mixed { found.to_lowercase() } else { found.to_owned() });
        if !found.is_empty() && !wrong.is_empty() {
            let head = if mixed { "may have mixed case, but should otherwise match: " } else { "" };
            out.invalid(at.child(name), found, &format!("{head}{}", wrong.join(",")));
        }
    };
    check("plural", false);
    check("singular", false);
    check("kind", true);
    check("listKind", true);
    for list in ["shortNames", "categories"] {
        for (index, name) in list_at(names, list).iter().enumerate() {
            let name = name.as_str().unwrap_or_default();
            let wrong = dns_1035_label(name);
            if !wrong.is_empty() {
                out.invalid(at.child(list).index(index), name, &wrong.join(","));
            }
        }
    }
    let (kind, list_kind) = (text(names, "kind"), text(names, "listKind"));
    if !kind.is_empty() && kind == list_kind {
        out.invalid(at.child("listKind"), list_kind, "kind and listKind may not be the same");
    }
}

pub(super) fn conversion(out: &mut Out, definition: &Value, terms: &Terms) {
    let at = At::Root("spec.conversion");
    let Some(conversion) = get(definition, "spec.conversion").filter(|c| c.is_object()) else { return };
    let strategy = text(conversion, "strategy");
    if strategy != "None" && bool_at(definition, "spec.preserveUnknownFields") {
        out.invalid(at.child("strategy"), strategy, "must be None if spec.preserveUnknownFields is true");
    }
    out.one_of(at.child("strategy"), strategy, &["None", "Webhook"]);
    // Upstream has both beside each other, and names them as they stand there.
    let (config_at, versions_at) = (at.child("webhookClientConfig"), at.child("conversionReviewVersions"));
    let config = get(conversion, "webhook.clientConfig").filter(|c| c.is_object());
    let versions = list_at(conversion, "webhook.conversionReviewVersions");
    if strategy != "Webhook" {
        let why = "should not be set when strategy is not set to Webhook";
        if config.is_some() {
            out.forbidden(config_at, why);
        }
        if !versions.is_empty() {
            out.forbidden(versions_at, why);
        }
        return;
    }
    match config {
        Some(config) => {
            client::config(out, config_at, config);
            let bundle = text(config, "caBundle");
            if !bundle.is_empty()
                && terms.ask(Demand::Bundle)
                && let Some(why) = bundle::fault(bundle)
            {
                out.invalid(config_at.child("caBundle"), bundle, why);
            }
        }
        None => out.required(config_at, "required when strategy is set to Webhook"),
    }
    review_versions(out, versions_at, versions, terms.ask(Demand::ReviewVersions));
}

/// What clients of a deprecated version are told.
pub(super) fn deprecation(out: &mut Out, at: At<'_>, version: &Value) {
    let Some(said) = get(version, "deprecationWarning").and_then(Value::as_str) else { return };
    if !bool_at(version, "deprecated") {
        out.invalid(at, said, "can only be set for deprecated versions");
        return;
    }
    if said.len() > MAX_WARNING {
        out.invalid(at, said, "must be <= 256 characters long");
    }
    if said.is_empty() {
        out.invalid(at, said, "must not be an empty string");
    }
    let is_printed = |c: char| c == ' ' || !(c.is_control() || c.is_whitespace());
    if let Some((index, _)) = said.char_indices().find(|(_, c)| !is_printed(*c)) {
        let why =
            format!("must only contain printable UTF-8 characters; non-printable character found at index {index}");
        out.invalid(at, said, &why);
    }
}

/// Whether one of the versions of `ConversionReview` is known.
pub(super) fn knows_review(versions: &[Value]) -> bool {
    versions.iter().any(|v| v == "v1" || v == "v1beta1")
}

fn review_versions(out: &mut Out, at: At<'_>, versions: &[Value], must_be_known: bool) {
    if versions.is_empty() {
        out.required(at, "");
        return;
    }
    let mut seen = HashSet::new();
    for (index, version) in versions.iter().enumerate() {
        let name = version.as_str().unwrap_or_default();
        if !seen.insert(version) {
            out.invalid(at.index(index), name, "duplicate version");
            continue;
        }
        out.invalid_each(at.index(index), name, dns_1035_label(name));
    }
    if must_be_known && !knows_review(versions) {
        out.invalid(at, versions.to_vec(), "must include at least one of v1, v1beta1");
    }
}

fn simple_path(out: &mut Out, at: At<'_>, path: &str) -> bool {
    if path.starts_with('.') {
        return true;
    }
    out.invalid(at, path, "must be a simple json path starting with .");
    false
}

pub(super) fn columns(out: &mut Out, at: At<'_>, list: &[Value]) {
    for (index, column) in list.iter().enumerate() {
        let at = at.index(index);
        if text(column, "name").is_empty() {
            out.required(at.child("name"), "");
        }
        let why = format!("must be one of {}", COLUMN_TYPES.join(","));
        match text(column, "type") {
            "" => out.required(at.child("type"), &why),
            ty if !COLUMN_TYPES.contains(&ty) => out.invalid(at.child("type"), ty, &why),
            _ => {}
        }
        let format = text(column, "format");
        if !format.is_empty() && !COLUMN_FORMATS.contains(&format) {
            out.invalid(at.child("format"), format, &format!("must be one of {}", COLUMN_FORMATS.join(",")));
        }
        match text(column, "jsonPath") {
            "" => out.required(at.child("JSONPath"), ""),
            path => drop(simple_path(out, at.child("JSONPath"), path)),
        }
    }
}

pub(super) fn subresources(out: &mut Out, at: At<'_>, subresources: &Value) {
    let Some(scale) = get(subresources, "scale").filter(|scale| scale.is_object()) else { return };
    let mut check = |name: &str, root: &str, required: bool| {
        let (at, path) = (at.child("scale"), text(scale, name));
        if path.is_empty() {
            if required {
                out.required(at.child(name), "");
            }
        } else if simple_path(out, at.child(name), path) && !path.starts_with(&format!("{root}.")) {
            out.invalid(at.child(name), path, &format!("should be a json path under {root}"));
        }
    };
    check("specReplicasPath", ".spec", true);
    check("statusReplicasPath", ".status", true);
    let path = text(scale, "labelSelectorPath");
    let at = at.child("scale.labelSelectorPath");
    if !path.is_empty() && simple_path(out, at, path) && !path.starts_with(".spec.") && !path.starts_with(".status.") {
        out.invalid(at, path, "should be a json path under either .spec or .status");
    }
}

/// Selectable fields; `version` may keep more than are allowed if the terms say so.
pub(super) fn selectable_fields(out: &mut Out, at: At<'_>, version: &Value, schema: &Value, terms: &Terms) {
    let schema = Schema::parse(schema);
    let mut seen: HashSet<String> = HashSet::new();
    for (index, field) in list_at(version, "selectableFields").iter().enumerate() {
        let (here, path) = (at.index(index), text(field, "jsonPath"));
        let here = here.child("jsonPath");
        if path.is_empty() {
            out.required(here, "");
            continue;
        }
        let (names, found) = match field_path(path, &schema, false) {
            Ok(found) => found,
            Err(why) => {
                out.invalid(here, path, &format!("is an invalid path: {why}"));
                continue;
            }
        };
        let root = names.split(['.', '[']).next().unwrap_or_default();
        if root == "metadata" {
            out.invalid(here, path, "must not point to fields in metadata");
        }
        if !matches!(found.ty, SchemaType::String | SchemaType::Boolean | SchemaType::Integer) {
            let why = "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.";
            out.invalid(here, path, why);
        }
        if !seen.insert(names) {
            out.duplicate(here, path);
        }
    }
    if seen.len() > MAX_SELECTABLE && !terms.allow_many_fields(text(version, "name")) {
        out.too_many(at, seen.len(), MAX_SELECTABLE);
    }
}
