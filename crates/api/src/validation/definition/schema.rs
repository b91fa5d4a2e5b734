//! Structural schemas: what is stated inside of logic must be stated outside of it too, and every value has one type.

use super::text;
use crate::custom::schema::{MAX_DEPTH, Pattern, Schema};
use crate::custom::{Unknown, validate_value};
use crate::validation::at::{At, Out};
use crate::value::{bool_at, get, list_at, map_at};
use crate::{Object, Value};

const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";
const EMBEDDED: &str = "x-kubernetes-embedded-resource";
const INT_OR_STRING: &str = "x-kubernetes-int-or-string";
/// Errors beyond this are not listed; a schema can hold any number of them.
const MAX_ERRORS: usize = 50;
const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];
const FORMATS: &[&str] = &[
    "bsonobjectid",
    "uri",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "cidr",
    "mac",
    "uuid",
    "uuid3",
    "uuid4",
    "uuid5",
    "isbn",
    "isbn10",
    "isbn13",
    "creditcard",
    "ssn",
    "hexcolor",
    "rgbcolor",
    "byte",
    "password",
    "date",
    "duration",
    "datetime",
    "date-time",
    "int32",
    "int64",
    "float",
    "double",
    "k8s-short-name",
    "k8s-long-name",
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// Checks the schema of one version.
pub(super) fn check(out: &mut Out, at: At<'_>, schema: &Value, has_status: bool) {
    let before = out.errors.len();
    if has_status && !matches!(text(schema, "type"), "" | "object") {
        let why =
            "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled";
        out.invalid(at.child("type"), text(schema, "type"), why);
    }
    structure(out, at, schema, Level::Root, 0);
    if out.errors.len() == before {
        defaults(out, at, schema, true);
    }
}

/// Checks only whether the schema is structural.
pub(super) fn structural(out: &mut Out, at: At<'_>, schema: &Value) {
    structure(out, at, schema, Level::Root, 0);
}

fn full(out: &Out) -> bool {
    out.errors.len() >= MAX_ERRORS
}

fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    map_at(schema, "properties").into_iter().flatten()
}

fn structure(out: &mut Out, at: At<'_>, schema: &Value, level: Level, depth: usize) {
    if full(out) {
        return;
    }
    if depth > MAX_DEPTH {
        out.forbidden(at, "the schema is nested too deeply");
        return;
    }
    forbidden(out, at, schema);
    kind(out, at, schema, level);
    lists(out, at, schema);
    if let Some(items) = schema.get("items").filter(|items| items.is_object()) {
        structure(out, at.child("items"), items, Level::Item, depth + 1);
    }
    for (name, property) in properties(schema) {
        structure(out, at.child("properties").key(name), property, Level::Field, depth + 1);
    }
    if let Some(additional) = schema.get("additionalProperties") {
        if level == Level::Root {
            out.forbidden(at.child("additionalProperties"), "must not be used at the root");
        }
        if additional.is_object() {
            structure(out, at.child("additionalProperties"), additional, Level::Field, depth + 1);
        }
    }
    metadata(out, at, schema, level);
    logic(out, at, schema, Some(schema), depth);
}

/// What schemas of custom kinds may not say.
fn forbidden(out: &mut Out, at: At<'_>, schema: &Value) {
    for name in ["id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref"] {
        if schema.get(name).is_some_and(|v| !v.is_null()) {
            out.forbidden(at.child(name), &format!("{name} is not supported"));
        }
    }
    if bool_at(schema, "uniqueItems") {
        let why = "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        out.forbidden(at.child("uniqueItems"), why);
    }
    if schema.get("items").is_some_and(Value::is_array) {
        out.forbidden(at.child("items"), "items must be a schema object and not an array");
    }
    let additional = schema.get("additionalProperties");
    if additional.is_some_and(|a| a != &Value::Bool(true)) && properties(schema).next().is_some() {
        out.forbidden(at.child("additionalProperties"), "additionalProperties and properties are mutual exclusive");
    }
    pattern(out, at, schema);
}

fn pattern(out: &mut Out, at: At<'_>, schema: &Value) {
    let source = text(schema, "pattern");
    if !source.is_empty() && Pattern::new(source).regex().is_none() {
        out.invalid(at.child("pattern"), source, "must be a valid regular expression, but isn't");
    }
}

/// The type, and the extensions that depend on it.
fn kind(out: &mut Out, at: At<'_>, schema: &Value, level: Level) {
    let ty = text(schema, "type");
    let on = |name: &str| bool_at(schema, name);
    if ty == "null" {
        out.forbidden(at.child("type"), "type cannot be set to null, use nullable as an alternative");
    } else if !ty.is_empty() && !TYPES.contains(&ty) {
        out.not_supported(at.child("type"), ty, &TYPES);
    }
    if ty == "array" && schema.get("items").is_none_or(Value::is_null) {
        out.required(at.child("items"), "must be specified");
    }
    if on(INT_OR_STRING) {
        if on(PRESERVE) {
            out.invalid(at.child(PRESERVE), true, "must be false if x-kubernetes-int-or-string is true");
        }
        if on(EMBEDDED) {
            out.invalid(at.child(EMBEDDED), true, "must be false if x-kubernetes-int-or-string is true");
        }
    }
    if on(EMBEDDED) {
        let why = "must be object if x-kubernetes-embedded-resource is true";
        match ty {
            "object" => {}
            "" => out.required(at.child("type"), why),
            other => out.invalid(at.child("type"), other, why),
        }
        if schema.get("additionalProperties").is_some() {
            out.forbidden(
                at.child("additionalProperties"),
                "must not be used if x-kubernetes-embedded-resource is set",
            );
        }
        if !on(PRESERVE) && properties(schema).next().is_none() {
            let why = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
            out.required(at.child("properties"), why);
        }
    } else if ty.is_empty() && !on(INT_OR_STRING) && !on(PRESERVE) {
        let why = match level {
            Level::Root => "must not be empty at the root",
            Level::Item => "must not be empty for specified array items",
            Level::Field => "must not be empty for specified object fields",
        };
        out.required(at.child("type"), why);
    }
    if level == Level::Root && !ty.is_empty() && ty != "object" {
        out.invalid(at.child("type"), ty, "must be object at the root");
    }
    if schema.get(PRESERVE) == Some(&Value::Bool(false)) {
        out.invalid(at.child(PRESERVE), false, "must be true or undefined");
    }
}

/// List types and map types.
fn lists(out: &mut Out, at: At<'_>, schema: &Value) {
    let ty = text(schema, "type");
    let map_type = text(schema, "x-kubernetes-map-type");
    if !map_type.is_empty() {
        let at = at.child("x-kubernetes-map-type");
        if ty != "object" {
            out.invalid(at, map_type, "must be object if x-kubernetes-map-type is specified");
        } else if !matches!(map_type, "atomic" | "granular") {
            out.not_supported(at, map_type, &["atomic", "granular"]);
        }
    }
    let list_type = text(schema, "x-kubernetes-list-type");
    let keys = list_at(schema, "x-kubernetes-list-map-keys");
    if list_type.is_empty() {
        if !keys.is_empty() {
            let why = "must be map if x-kubernetes-list-map-keys is non-empty";
            out.required(at.child("x-kubernetes-list-type"), why);
        }
        return;
    }
    if ty != "array" {
        let why = "must be array if x-kubernetes-list-type is specified";
        if ty.is_empty() { out.required(at.child("type"), why) } else { out.invalid(at.child("type"), ty, why) }
    }
    if !matches!(list_type, "atomic" | "set" | "map") {
        out.not_supported(at.child("x-kubernetes-list-type"), list_type, &["atomic", "set", "map"]);
    }
    let at = at.child("x-kubernetes-list-map-keys");
    match (list_type, keys) {
        ("map", []) => out.required(at, "must not be empty if x-kubernetes-list-type is map"),
        ("map", keys) => map_keys(out, at, schema, keys),
        (_, []) => {}
        _ => out.forbidden(at, "must be empty if x-kubernetes-list-type is not map"),
    }
}

fn map_keys(out: &mut Out, at: At<'_>, schema: &Value, keys: &[Value]) {
    let empty = Object::new();
    let properties = map_at(schema, "items.properties").unwrap_or(&empty);
    let required = list_at(schema, "items.required");
    for (index, key) in keys.iter().enumerate() {
        let name = key.as_str().unwrap_or_default();
        let here = at.index(index);
        match properties.get(name) {
            None => out.invalid(here, name, "entries must all be names of item properties"),
            Some(property) if matches!(text(property, "type"), "array" | "object") => {
                out.invalid(here, name, "must be a scalar type if parent array's x-kubernetes-list-type is map");
            }
            Some(property) => {
                if !required.contains(key) && property.get("default").is_none() {
                    let at = At::Root("items.properties");
                    let path = format!("{}.{}.default", parent(here), at.key(name).path());
                    let why = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
                    out.required(At::Root(&path), why);
                }
            }
        }
        if keys[..index].contains(key) {
            out.duplicate(here, name);
        }
    }
}

/// The path of the list to which the keys belong.
fn parent(keys: At<'_>) -> String {
    let path = keys.path().to_string();
    path.rsplit_once(".x-kubernetes-list-map-keys").map_or_else(|| path.clone(), |(parent, _)| parent.to_owned())
}

/// What may be said of the fields that every object has.
fn metadata(out: &mut Out, at: At<'_>, schema: &Value, level: Level) {
    let checked = level == Level::Root || bool_at(schema, EMBEDDED);
    let at = at.child("properties");
    for (name, property) in properties(schema) {
        let ty = text(property, "type");
        match name.as_str() {
            "kind" | "apiVersion" if checked && ty != "string" => {
                out.invalid(at.key(name).child("type"), ty, "must be string");
            }
            "metadata" if checked && ty != "object" => {
                out.invalid(at.key(name).child("type"), ty, "must be object");
            }
            "metadata" if level == Level::Root => {
                let only = properties(property).all(|(name, _)| matches!(name.as_str(), "name" | "generateName"));
                let known = ["type", "properties", "description", "title"];
                let plain = property.as_object().is_some_and(|p| p.keys().all(|key| known.contains(&key.as_str())));
                if !only || !plain {
                    let why = "must not specify anything other than name and generateName, but metadata is implicitly specified";
                    out.forbidden(at.key(name), why);
                }
            }
            _ => {}
        }
    }
}

/// `allOf`, `anyOf`, `oneOf` and `not`; `outside` is what the schema says of the same value outside of logic.
fn logic(out: &mut Out, at: At<'_>, schema: &Value, outside: Option<&Value>, depth: usize) {
    let int_or_string = outside.is_some_and(|o| bool_at(o, INT_OR_STRING));
    let types =
        |list: &[Value]| list.len() == 2 && text(&list[0], "type") == "integer" && text(&list[1], "type") == "string";
    for name in ["allOf", "anyOf", "oneOf"] {
        let list = list_at(schema, name);
        if name == "anyOf" && int_or_string && types(list) {
            continue;
        }
        for (index, inner) in list.iter().enumerate() {
            let at = at.child(name);
            if name == "allOf" && index == 0 && int_or_string && types(list_at(inner, "anyOf")) {
                continue;
            }
            nested(out, at.index(index), inner, outside, depth + 1);
        }
    }
    if let Some(inner) = schema.get("not").filter(|not| not.is_object()) {
        nested(out, at.child("not"), inner, outside, depth + 1);
    }
}

/// A schema inside of logic: it may only restrict values.
fn nested(out: &mut Out, at: At<'_>, schema: &Value, outside: Option<&Value>, depth: usize) {
    if full(out) || depth > MAX_DEPTH {
        return;
    }
    for (name, why) in [
        ("type", "must be empty to be structural"),
        ("additionalProperties", "must be undefined to be structural"),
        ("default", "must be undefined to be structural"),
        ("title", "must be empty to be structural"),
        ("description", "must be empty to be structural"),
        ("nullable", "must be false to be structural"),
        (PRESERVE, "must be false to be structural"),
        (EMBEDDED, "must be false to be structural"),
        (INT_OR_STRING, "must be false to be structural"),
        ("x-kubernetes-list-map-keys", "must be empty to be structural"),
        ("x-kubernetes-list-type", "must be undefined to be structural"),
        ("x-kubernetes-map-type", "must be undefined to be structural"),
        ("x-kubernetes-validations", "must be empty to be structural"),
    ] {
        if schema.get(name).is_some_and(|v| !crate::validation::at::empty(v) && v != &Value::Bool(false)) {
            out.forbidden(at.child(name), why);
        }
    }
    pattern(out, at, schema);
    if map_at(schema, "properties").is_some_and(|p| p.contains_key("metadata")) {
        out.forbidden(at.child("properties").key("metadata"), "must not be specified in a nested context");
    }
    for (name, property) in properties(schema) {
        let same = outside.and_then(|o| map_at(o, "properties")).and_then(|p| p.get(name));
        let same = same.or_else(|| outside.and_then(|o| o.get("additionalProperties")).filter(|a| a.is_object()));
        if same.is_none() && !outside.is_some_and(|o| bool_at(o, PRESERVE)) {
            let path = outside_path(at, "properties", Some(name));
            out.required(
                At::Root(&path),
                &format!("because it is defined in {}", at.child("properties").key(name).path()),
            );
        }
        nested(out, at.child("properties").key(name), property, same, depth + 1);
    }
    if let Some(items) = schema.get("items").filter(|items| items.is_object()) {
        let same = outside.and_then(|o| o.get("items"));
        if same.is_none() {
            let path = outside_path(at, "items", None);
            out.required(At::Root(&path), &format!("because it is defined in {}", at.child("items").path()));
        }
        nested(out, at.child("items"), items, same, depth + 1);
    }
    logic(out, at, schema, outside, depth);
}

/// Where the same has to be stated outside of logic.
fn outside_path(at: At<'_>, part: &str, key: Option<&str>) -> String {
    let steps = at.path().to_string();
    let kept: Vec<&str> = steps.split('.').filter(|step| !is_logic(step)).collect();
    let path = format!("{}.{part}", kept.join("."));
    key.map_or_else(|| path.clone(), |key| format!("{path}[{key}]"))
}

fn is_logic(step: &str) -> bool {
    step == "not" || ["allOf[", "anyOf[", "oneOf["].iter().any(|word| step.starts_with(word))
}

/// Defaults must be complete and valid themselves.
fn defaults(out: &mut Out, at: At<'_>, schema: &Value, root: bool) {
    if full(out) {
        return;
    }
    if let Some(default) = schema.get("default").filter(|d| !d.is_null()).filter(|_| !root) {
        let parsed = Schema::parse(schema);
        if Unknown::any(default, &parsed) {
            out.invalid(at.child("default"), default.clone(), "must not have unknown fields");
        } else {
            for error in validate_value(&parsed, default, None) {
                let below = error.path.to_string();
                let path = at.child("default").path().to_string();
                let path = if below == "<nil>" { path } else { format!("{path}.{below}") };
                out.errors.push(crate::field::Error { path: crate::field::Path::new(&path), ..error });
            }
        }
    }
    for (name, property) in properties(schema) {
        defaults(out, at.child("properties").key(name), property, false);
    }
    for part in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get(part).filter(|inner| inner.is_object()) {
            defaults(out, at.child(part), inner, false);
        }
    }
}

/// Formats that nobody checks.
pub(super) fn unknown_formats(found: &mut Vec<String>, schema: &Value) {
    let format = text(schema, "format");
    if !format.is_empty() && !FORMATS.contains(&format) && found.len() < MAX_ERRORS {
        found.push(format!("unrecognized format {format:?}"));
    }
    for (_, property) in properties(schema) {
        unknown_formats(found, property);
    }
    for part in ["items", "additionalProperties"] {
        if let Some(inner) = get(schema, part).filter(|inner| inner.is_object()) {
            unknown_formats(found, inner);
        }
    }
}
