//! Custom kinds as OpenAPI schemas: what their definition says, and the fields that every object has.

use serde_json::json;

use super::schema::Style;
use crate::kinds::{KindInfo, Kinds};
use crate::{Object, Value};

const METADATA: &str = "meta/v1.ObjectMeta";
const LIST_METADATA: &str = "meta/v1.ListMeta";
const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";
const API_VERSION: &str = "Group and version of the form in which the object is written.";
const KIND: &str = "The kind of the object.";

/// The types of built-in kinds that schemas of custom ones refer to.
pub(super) const REFERENCES: [&str; 2] = [METADATA, LIST_METADATA];

/// The custom kind that a type's name stands for, and whether it is that of its list.
pub(super) fn named(kinds: &Kinds, type_name: &str) -> Option<(&'static KindInfo, bool)> {
    // Only custom groups have dots there.
    let (group, _) = type_name.split_once('/').filter(|(group, _)| group.contains('.'))?;
    let custom = || kinds.all().filter(|kind| kind.group == group && kind.custom.is_some());
    let of = |name: &str| custom().find(|kind| kind.type_name == name);
    of(type_name).map(|kind| (kind, false)).or_else(|| Some((of(type_name.strip_suffix("List")?)?, true)))
}

/// The schema of a custom kind, or of its list.
pub(super) fn schema(kind: &KindInfo, is_list: bool, style: Style, finish: &dyn Fn(Object) -> Value) -> Value {
    if is_list { list(kind, style, finish) } else { object(kind, style, finish) }
}

fn text(description: &str) -> Value {
    json!({"type": "string", "description": description})
}

fn reference(style: Style, ty: &str, description: &str, finish: &dyn Fn(Object) -> Value) -> Value {
    let mut schema = style.reference(ty);
    schema["description"] = description.into();
    match schema {
        Value::Object(schema) => finish(schema),
        other => other,
    }
}

fn list(kind: &KindInfo, style: Style, finish: &dyn Fn(Object) -> Value) -> Value {
    json!({
        "description": format!("A list of objects of kind {}.", kind.kind),
        "type": "object",
        "required": ["items"],
        "properties": {
            "apiVersion": text(API_VERSION),
            "kind": text(KIND),
            "items": {
                "description": format!("List of {}.", kind.resource),
                "type": "array",
                "items": style.reference(&kind.type_name),
            },
            "metadata": reference(style, LIST_METADATA, "Standard list metadata.", finish),
        },
    })
}

fn object(kind: &KindInfo, style: Style, finish: &dyn Fn(Object) -> Value) -> Value {
    let Some(custom) = kind.custom else { return json!({"type": "object"}) };
    let source = &custom.source;
    // Old clients take an object with some properties for one without others.
    if style == Style::V2 && source.get(PRESERVE) == Some(&Value::Bool(true)) {
        return json!({"type": "object"});
    }
    let mut schema = source.clone();
    if style == Style::V2 {
        simplify(&mut schema);
    }
    resources(&mut schema, style, finish, true);
    schema
}

/// Adds the fields of objects, at the root and wherever an object is embedded.
fn resources(schema: &mut Value, style: Style, finish: &dyn Fn(Object) -> Value, root: bool) {
    let Some(map) = schema.as_object_mut() else { return };
    if root || map.get("x-kubernetes-embedded-resource") == Some(&Value::Bool(true)) {
        let properties = map.entry("properties").or_insert_with(|| json!({}));
        if let Some(properties) = properties.as_object_mut() {
            properties.insert("apiVersion".to_owned(), text(API_VERSION));
            properties.insert("kind".to_owned(), text(KIND));
            let metadata = reference(style, METADATA, "Standard object metadata.", finish);
            properties.insert("metadata".to_owned(), metadata);
        }
    }
    each(map, &mut |below| resources(below, style, finish, false));
}

/// The schemas directly below.
fn each(map: &mut Object, visit: &mut dyn FnMut(&mut Value)) {
    if let Some(properties) = map.get_mut("properties").and_then(Value::as_object_mut) {
        properties.iter_mut().filter(|(name, _)| *name != "metadata").for_each(|(_, property)| visit(property));
    }
    for name in ["items", "additionalProperties"] {
        if let Some(below) = map.get_mut(name) {
            visit(below);
        }
    }
}

/// Takes out what version 2 cannot say. What may be null, or keeps unknown fields, has no type there: clients of version 2 refuse
/// what a type does not list.
fn simplify(schema: &mut Value) {
    let Some(map) = schema.as_object_mut() else { return };
    let on = |map: &Object, name: &str| map.get(name) == Some(&Value::Bool(true));
    if on(map, "nullable") || on(map, PRESERVE) {
        for name in ["type", "properties", "items", "additionalProperties", "required"] {
            map.remove(name);
        }
    }
    for name in ["nullable", "allOf", "anyOf", "oneOf", "not"] {
        map.remove(name);
    }
    each(map, &mut simplify);
}
