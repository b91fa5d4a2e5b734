//! Structural schemas: what is stated inside of logic must be stated outside of it too, and every value has one type.

use super::text;
use super::walk::{all, inner, properties};
use crate::Value;
use crate::custom::schema::{MAX_DEPTH, Pattern};
use crate::field::Errors;
use crate::validation::at::{At, Out, empty};
use crate::value::{bool_at, list_at, map_at};

const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";
const EMBEDDED: &str = "x-kubernetes-embedded-resource";
const INT_OR_STRING: &str = "x-kubernetes-int-or-string";
/// Errors beyond this are not listed; a schema can hold any number of them.
const MAX_ERRORS: usize = 50;
pub(super) const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];
/// Formats of strings, without their dashes.
pub(super) const FORMATS: &[&str] = &[
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
    "quantity",
    "k8sshortname",
    "k8slongname",
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

pub(super) fn full(out: &Out) -> bool {
    out.count() >= MAX_ERRORS
}

/// Whether the type is none of `OpenAPI`'s.
pub(super) fn has_unknown_type(schema: &Value) -> bool {
    let ty = text(schema, "type");
    !ty.is_empty() && !TYPES.contains(&ty)
}

/// Why a schema cannot be looked at as a structural one.
pub(super) fn unreadable(schema: &Value) -> Option<String> {
    all(schema).into_iter().find_map(|schema| {
        let says = |name: &&str| schema.get(*name).is_some_and(|v| !empty(v));
        let known = ["id", "$schema", "$ref", "patternProperties", "dependencies", "additionalItems", "definitions"];
        if let Some(name) = known.iter().find(|name| says(name)) {
            let name = if *name == "$schema" { "schema" } else { name };
            return Some(format!("OpenAPIV3Schema '{name}' is not supported"));
        }
        if schema.get(PRESERVE) == Some(&Value::Bool(false)) {
            return Some(format!("internal error: '{PRESERVE}' must be true or undefined"));
        }
        let is_list = schema.get("items").is_some_and(Value::is_array);
        is_list.then(|| "OpenAPIV3Schema 'items' must be a schema, but is an array".to_owned())
    })
}

/// Why a schema is not structural, in upstream's order.
pub(super) fn structural_errors(at: At<'_>, schema: &Value) -> Errors {
    let mut out = Out::default();
    structure(&mut out, at, schema, Level::Root, 0);
    complete(&mut out, schema, schema, (at, at), 0);
    let mut errors = out.into_errors();
    errors.sort_by_cached_key(ToString::to_string);
    errors
}

fn structure(out: &mut Out, at: At<'_>, schema: &Value, level: Level, depth: usize) {
    if full(out) {
        return;
    }
    if depth > MAX_DEPTH {
        out.forbidden(at, "the schema is nested too deeply");
        return;
    }
    kind(out, at, schema, level);
    if let Some(items) = inner(schema, "items") {
        structure(out, at.child("items"), items, Level::Item, depth + 1);
    }
    for (name, property) in properties(schema) {
        structure(out, at.child("properties").key(name), property, Level::Field, depth + 1);
    }
    if let Some(additional) = schema.get("additionalProperties").filter(|a| !a.is_null()) {
        if level == Level::Root {
            out.forbidden(at.child("additionalProperties"), "must not be used at the root");
        }
        if additional.is_object() {
            structure(out, at.child("additionalProperties"), additional, Level::Field, depth + 1);
        }
    }
    metadata(out, at, schema, level);
    let all_of = list_at(schema, "allOf").first().map_or(&[][..], |first| list_at(first, "anyOf"));
    let known = (is_int_or_string(list_at(schema, "anyOf")), is_int_or_string(all_of));
    restrictions(out, at, schema, known, depth);
}

/// The one list of types that logic may hold: that of a number or a string.
fn is_int_or_string(list: &[Value]) -> bool {
    let is = |one: &Value, ty: &str| {
        let said = one.as_object().into_iter().flatten().filter(|(_, v)| !empty(v) && **v != Value::Bool(false));
        said.count() == 1 && text(one, "type") == ty
    };
    matches!(list, [first, second] if is(first, "integer") && is(second, "string"))
}

/// The type, and the extensions that depend on it.
fn kind(out: &mut Out, at: At<'_>, schema: &Value, level: Level) {
    let ty = text(schema, "type");
    let on = |name: &str| bool_at(schema, name);
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
        if schema.get("additionalProperties").is_some_and(|a| !a.is_null()) {
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
            _ => {}
        }
        if name == "metadata" && level == Level::Root && !names_only(property) {
            let why =
                "must not specify anything other than name and generateName, but metadata is implicitly specified";
            out.forbidden(at.key(name), why);
        }
    }
}

/// Whether a schema of metadata says nothing but what the names are.
fn names_only(metadata: &Value) -> bool {
    let unread = ["type", "properties", "default", "example", "externalDocs"];
    let says = |(name, value): (&String, &Value)| {
        !unread.contains(&name.as_str()) && !empty(value) && *value != Value::Bool(false)
    };
    properties(metadata).all(|(name, _)| matches!(name.as_str(), "name" | "generateName"))
        && !metadata.as_object().is_some_and(|m| m.iter().any(says))
}

/// What a schema says of values beside their type. `known`: whether its `anyOf`, and that of its first `allOf`, may hold types.
fn restrictions(out: &mut Out, at: At<'_>, schema: &Value, known: (bool, bool), depth: usize) {
    for name in ["anyOf", "allOf", "oneOf"] {
        if name == "anyOf" && known.0 {
            continue;
        }
        let at = at.child(name);
        for (index, one) in list_at(schema, name).iter().enumerate() {
            nested(out, at.index(index), one, name == "allOf" && index == 0 && known.1, depth + 1);
        }
    }
    if let Some(not) = inner(schema, "not") {
        nested(out, at.child("not"), not, false, depth + 1);
    }
    let source = text(schema, "pattern");
    if let Err(why) = Pattern::new(source).regex() {
        out.invalid(at.child("pattern"), source, &format!("must be a valid regular expression, but isn't: {why}"));
    }
}

/// A schema inside of logic: it may only restrict values. `types`: its `anyOf` may hold types.
fn nested(out: &mut Out, at: At<'_>, schema: &Value, types: bool, depth: usize) {
    if full(out) || depth > MAX_DEPTH {
        return;
    }
    restrictions(out, at, schema, (types, false), depth);
    if let Some(items) = inner(schema, "items") {
        nested(out, at.child("items"), items, false, depth + 1);
    }
    for (name, property) in properties(schema) {
        nested(out, at.child("properties").key(name), property, false, depth + 1);
    }
    for (name, why) in [
        ("type", "must be empty to be structural"),
        ("default", "must be undefined to be structural"),
        ("title", "must be empty to be structural"),
        ("description", "must be empty to be structural"),
        ("nullable", "must be false to be structural"),
        ("externalDocs", "must be undefined to be structural"),
        (PRESERVE, "must be false to be structural"),
        (EMBEDDED, "must be false to be structural"),
        (INT_OR_STRING, "must be false to be structural"),
        ("x-kubernetes-list-map-keys", "must be empty to be structural"),
        ("x-kubernetes-list-type", "must be undefined to be structural"),
        ("x-kubernetes-map-type", "must be undefined to be structural"),
        ("x-kubernetes-validations", "must be empty to be structural"),
    ] {
        if schema.get(name).is_some_and(|v| !empty(v) && (name == "default" || v != &Value::Bool(false))) {
            out.forbidden(at.child(name), why);
        }
    }
    if schema.get("additionalProperties").is_some_and(|a| !a.is_null()) {
        out.forbidden(at.child("additionalProperties"), "must be undefined to be structural");
    }
    if map_at(schema, "properties").is_some_and(|p| p.contains_key("metadata")) {
        out.forbidden(at.child("properties").key("metadata"), "must not be specified in a nested context");
    }
}

/// Whether what stands inside of logic stands outside of it too. `at`: where outside, and where inside.
fn complete(out: &mut Out, outside: &Value, inside: &Value, at: (At<'_>, At<'_>), depth: usize) {
    if full(out) || depth > MAX_DEPTH {
        return;
    }
    if let Some(not) = inner(inside, "not") {
        restated(out, outside, not, (at.0, at.1.child("not")), depth);
    }
    for name in ["allOf", "anyOf", "oneOf"] {
        for (index, one) in list_at(inside, name).iter().enumerate() {
            restated(out, outside, one, (at.0, at.1.child(name).index(index)), depth);
        }
    }
}

fn restated(out: &mut Out, outside: &Value, inside: &Value, at: (At<'_>, At<'_>), depth: usize) {
    complete(out, outside, inside, at, depth + 1);
    let missing = |out: &mut Out, at: (At<'_>, At<'_>)| {
        out.required(at.0, &format!("because it is defined in {}", at.1.path()));
    };
    if let Some(items) = inner(inside, "items") {
        let at = (at.0.child("items"), at.1.child("items"));
        match inner(outside, "items") {
            Some(same) => restated(out, same, items, at, depth + 1),
            None => missing(out, at),
        }
    }
    let at = (at.0.child("properties"), at.1.child("properties"));
    for (name, property) in properties(inside) {
        let at = (at.0.key(name), at.1.key(name));
        match map_at(outside, "properties").and_then(|p| p.get(name)) {
            Some(same) => restated(out, same, property, at, depth + 1),
            None => missing(out, at),
        }
    }
}
