//! What the schemas of custom kinds may say, whether they are structural or not.

use std::collections::HashSet;

use super::schema::{TYPES, full, has_unknown_type};
use super::waived::{Demand, Terms};
use super::walk::{inner, properties};
use super::{shown, text};
use crate::Value;
use crate::custom::schema::MAX_DEPTH;
use crate::validation::at::{At, Out, empty};
use crate::value::{bool_at, list_at, map_at};

const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";
const EMBEDDED: &str = "x-kubernetes-embedded-resource";
const MAP_TYPE: &str = "x-kubernetes-map-type";
const LIST_TYPE: &str = "x-kubernetes-list-type";
const KEYS: &str = "x-kubernetes-list-map-keys";
/// What a schema may say at its root where `status` is a subresource, as upstream names it and as it is written.
const AT_ROOT: [(&str, &str); 22] = [
    ("Description", "description"),
    ("Type", "type"),
    ("Format", "format"),
    ("Title", "title"),
    ("Maximum", "maximum"),
    ("ExclusiveMaximum", "exclusiveMaximum"),
    ("Minimum", "minimum"),
    ("ExclusiveMinimum", "exclusiveMinimum"),
    ("MaxLength", "maxLength"),
    ("MinLength", "minLength"),
    ("Pattern", "pattern"),
    ("MaxItems", "maxItems"),
    ("MinItems", "minItems"),
    ("UniqueItems", "uniqueItems"),
    ("MultipleOf", "multipleOf"),
    ("Required", "required"),
    ("Items", "items"),
    ("Properties", "properties"),
    ("ExternalDocs", "externalDocs"),
    ("Example", "example"),
    ("XPreserveUnknownFields", "x-kubernetes-preserve-unknown-fields"),
    ("XValidations", "x-kubernetes-validations"),
];

/// What may be said where: it depends on what is around.
#[derive(Clone, Copy, Default)]
struct Around<'a> {
    is_root: bool,
    /// The schema is of metadata, or of something in it.
    in_metadata: bool,
    /// Why there may be no default.
    no_default: Option<&'a str>,
}

/// Checks a schema and all inside of it.
pub(super) fn check(out: &mut Out, at: At<'_>, schema: &Value, terms: &Terms) {
    node(out, at, schema, terms, Around { is_root: true, ..Around::default() }, 0);
}

/// Checks the root of a schema whose `status` is a subresource: it is validated by itself there.
pub(super) fn root(out: &mut Out, at: At<'_>, schema: &Value) {
    let ty = text(schema, "type");
    let says = |name: &str| schema.get(name).is_some_and(|v| !v.is_null() && *v != Value::Bool(false) && v != "");
    // Upstream stops at the first in this order.
    if !["id", "$schema", "$ref"].into_iter().any(says) && !matches!(ty, "" | "object") {
        let why =
            "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled";
        out.invalid(at.child("type"), ty, why);
        return;
    }
    let is_allowed = |name: &str| AT_ROOT.iter().any(|(_, written)| *written == name);
    if schema.as_object().into_iter().flatten().any(|(name, _)| says(name) && !is_allowed(name)) {
        let names: Vec<&str> = AT_ROOT.iter().map(|(name, _)| *name).collect();
        let why = format!(
            "only [{}] fields are allowed at the root of the schema if the status subresource is enabled",
            names.join(" ")
        );
        out.invalid_as(at, &shown::schema(schema), &why);
    }
}

fn node(out: &mut Out, at: At<'_>, schema: &Value, terms: &Terms, around: Around<'_>, depth: usize) {
    if full(out) || depth > MAX_DEPTH {
        return;
    }
    unsupported(out, at, schema, terms, around);
    let next = Around { is_root: false, ..around };
    let additional = schema.get("additionalProperties").filter(|a| !a.is_null());
    if let Some(additional) = additional {
        if additional != &Value::Bool(true) && properties(schema).next().is_some() {
            out.forbidden(at.child("additionalProperties"), "additionalProperties and properties are mutual exclusive");
        }
        if additional.is_object() {
            let why = "inside additionalProperties applying to object metadata";
            let next = if around.in_metadata { Around { no_default: Some(why), ..next } } else { next };
            node(out, at.child("additionalProperties"), additional, terms, next, depth + 1);
        }
    }
    for (name, property) in properties(schema) {
        let is_meta = matches!(name.as_str(), "metadata" | "kind" | "apiVersion")
            && (around.is_root || bool_at(schema, EMBEDDED));
        let why = format!("in top-level {name}");
        let no_default = if is_meta && around.is_root { Some(why.as_str()) } else { next.no_default };
        let next = Around { in_metadata: next.in_metadata || is_meta, no_default, ..next };
        node(out, at.child("properties").key(name), property, terms, next, depth + 1);
    }
    if let Some(not) = inner(schema, "not") {
        node(out, at.child("not"), not, terms, next, depth + 1);
    }
    for name in ["allOf", "oneOf", "anyOf"] {
        let at = at.child(name);
        for (index, one) in list_at(schema, name).iter().enumerate() {
            node(out, at.index(index), one, terms, next, depth + 1);
        }
    }
    if let Some(items) = inner(schema, "items") {
        node(out, at.child("items"), items, terms, next, depth + 1);
    }
    if schema.get(PRESERVE) == Some(&Value::Bool(false)) {
        out.invalid(at.child(PRESERVE), false, "must be true or undefined");
    }
    map_type(out, at, schema);
    list_type(out, at, schema, terms);
    map_list(out, at, schema);
    if terms.ask(Demand::MapKeys) {
        keys_are_there(out, at, schema);
    }
}

fn unsupported(out: &mut Out, at: At<'_>, schema: &Value, terms: &Terms, around: Around<'_>) {
    let ty = text(schema, "type");
    if terms.ask(Demand::Types) && has_unknown_type(schema) {
        out.not_supported(at.child("type"), ty, &TYPES);
    }
    if let Some(why) = around.no_default.filter(|_| schema.get("default").is_some_and(|d| !d.is_null())) {
        out.forbidden(at.child("default"), &format!("must not be set {why}"));
    }
    for name in ["id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref"] {
        if schema.get(name).is_some_and(|v| !empty(v)) {
            out.forbidden(at.child(name), &format!("{name} is not supported"));
        }
    }
    if ty == "null" {
        out.forbidden(at.child("type"), "type cannot be set to null, use nullable as an alternative");
    }
    if schema.get("items").is_some_and(Value::is_array) {
        out.forbidden(at.child("items"), "items must be a schema object and not an array");
    }
    if around.in_metadata && bool_at(schema, EMBEDDED) {
        out.forbidden(at.child(EMBEDDED), "must not be used inside of resource meta");
    }
    if bool_at(schema, "uniqueItems") {
        let why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        out.forbidden(at.child("uniqueItems"), why);
    }
}

/// That a type goes with an extension.
fn must_be(out: &mut Out, at: At<'_>, found: &str, why: &str) {
    if found.is_empty() { out.required(at, why) } else { out.invalid(at, found, why) }
}

fn map_type(out: &mut Out, at: At<'_>, schema: &Value) {
    let Some(map_type) = schema.get(MAP_TYPE).and_then(Value::as_str) else { return };
    let ty = text(schema, "type");
    if ty != "object" {
        must_be(out, at.child("type"), ty, "must be object if x-kubernetes-map-type is specified");
    }
    if !matches!(map_type, "atomic" | "granular") {
        out.not_supported(at.child(MAP_TYPE), map_type, &["atomic", "granular"]);
    }
}

/// Where the items of a set have parts that merge by themselves: what says so, below the items.
pub(super) fn set_of_parts(schema: &Value) -> Option<&'static str> {
    let items = inner(schema, "items").filter(|_| text(schema, LIST_TYPE) == "set")?;
    match text(items, "type") {
        "array" => items.get(LIST_TYPE).is_some_and(|t| t != "atomic").then_some(LIST_TYPE),
        "object" => (text(items, MAP_TYPE) != "atomic").then_some(MAP_TYPE),
        _ => None,
    }
}

fn list_type(out: &mut Out, at: At<'_>, schema: &Value, terms: &Terms) {
    let keys = list_at(schema, KEYS);
    let Some(list_type) = schema.get(LIST_TYPE).and_then(Value::as_str) else {
        if !keys.is_empty() {
            out.required(at.child(LIST_TYPE), "must be map if x-kubernetes-list-map-keys is non-empty");
        }
        return;
    };
    let ty = text(schema, "type");
    if ty != "array" {
        must_be(out, at.child("type"), ty, "must be array if x-kubernetes-list-type is specified");
    } else if let Some(part) = set_of_parts(schema).filter(|_| terms.ask(Demand::AtomicSets)) {
        // Upstream shows the list type for both.
        let shown = inner(schema, "items").and_then(|items| items.get(LIST_TYPE)).cloned().unwrap_or_default();
        let why = "must be atomic as item of a list with x-kubernetes-list-type=set";
        out.invalid(at.child("items").child(part), shown, why);
    }
    if !matches!(list_type, "atomic" | "set" | "map") {
        out.not_listed(at.child(LIST_TYPE), list_type, &["atomic", "set", "map"]);
    }
    if !keys.is_empty() && list_type != "map" {
        out.invalid(at.child(LIST_TYPE), list_type, "must be map if x-kubernetes-list-map-keys is non-empty");
    }
}

/// A list whose items are told apart by keys.
fn map_list(out: &mut Out, at: At<'_>, schema: &Value) {
    if text(schema, LIST_TYPE) != "map" {
        return;
    }
    let keys = list_at(schema, KEYS);
    if keys.is_empty() {
        out.required(at.child(KEYS), "must not be empty if x-kubernetes-list-type is map");
    }
    let items_at = at.child("items");
    let items = match schema.get("items").filter(|items| !items.is_null()) {
        None => return out.required(items_at, "must have a schema if x-kubernetes-list-type is map"),
        Some(items) if !items.is_object() => {
            let why = "must only have a single schema if x-kubernetes-list-type is map";
            return out.invalid_as(items_at, &shown::items(items), why);
        }
        Some(items) => items,
    };
    let ty = text(items, "type");
    if ty != "object" {
        let why = "must be object if parent array's x-kubernetes-list-type is map";
        return out.invalid(items_at.child("type"), ty, why);
    }
    let mut seen = HashSet::new();
    for key in keys {
        if out.is_full() {
            return;
        }
        let name = key.as_str().unwrap_or_default();
        match map_at(items, "properties").and_then(|p| p.get(name)) {
            None => out.invalid(at.child(KEYS), keys.to_vec(), "entries must all be names of item properties"),
            Some(property) if matches!(text(property, "type"), "array" | "object") => {
                let why = "must be a scalar type if parent array's x-kubernetes-list-type is map";
                out.invalid(items_at.child("properties").key(name).child("type"), ty, why);
            }
            Some(_) => {}
        }
        if !seen.insert(key) {
            out.invalid(at.child(KEYS), keys.to_vec(), "must not contain duplicate entries");
        }
    }
}

/// What tells items apart must be there, and so must the items.
fn keys_are_there(out: &mut Out, at: At<'_>, schema: &Value) {
    let list_type = text(schema, LIST_TYPE);
    let Some(items) = inner(schema, "items").filter(|_| matches!(list_type, "set" | "map")) else { return };
    let at = at.child("items");
    if bool_at(items, "nullable") {
        out.forbidden(at.child("nullable"), &format!("cannot be nullable when x-kubernetes-list-type is {list_type}"));
    }
    if list_type == "set" {
        return;
    }
    let at = at.child("properties");
    let required: HashSet<&Value> = list_at(items, "required").iter().collect();
    for name in list_at(schema, KEYS) {
        let key = name.as_str().unwrap_or_default();
        let Some(property) = map_at(items, "properties").and_then(|p| p.get(key)) else { continue };
        if !required.contains(name) && property.get("default").is_none_or(Value::is_null) {
            let why =
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
            out.required(at.key(key).child("default"), why);
        }
        if bool_at(property, "nullable") {
            let why = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            out.forbidden(at.key(key).child("nullable"), why);
        }
    }
}

/// Whether a list has items that cannot be told apart.
pub(super) fn has_optional_keys(schema: &Value) -> bool {
    let mut out = Out::default();
    keys_are_there(&mut out, At::Root(""), schema);
    out.count() > 0
}
