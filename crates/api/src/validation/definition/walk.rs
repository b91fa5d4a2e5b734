//! The schemas of a definition, and the schemas inside of a schema.

use crate::Value;
use crate::value::{get, list_at, map_at};

/// The schemas of all versions, in their order.
pub(super) fn schemas(definition: &Value) -> impl Iterator<Item = &Value> {
    let versions = list_at(definition, "spec.versions").iter();
    versions.filter_map(|version| get(version, "schema.openAPIV3Schema")).filter(|schema| schema.is_object())
}

/// The named properties of a schema.
pub(super) fn properties(schema: &Value) -> impl Iterator<Item = (&String, &Value)> {
    map_at(schema, "properties").into_iter().flatten()
}

/// A schema that stands under `name`.
pub(super) fn inner<'a>(schema: &'a Value, name: &str) -> Option<&'a Value> {
    schema.get(name).filter(|inner| inner.is_object())
}

/// The schemas directly inside of a schema, in upstream's order.
fn parts(schema: &Value) -> Vec<&Value> {
    let mut found: Vec<&Value> = inner(schema, "items").into_iter().collect();
    for name in ["allOf", "anyOf", "oneOf"] {
        found.extend(list_at(schema, name));
    }
    found.extend(inner(schema, "not"));
    found.extend(properties(schema).map(|(_, property)| property));
    found.extend(inner(schema, "additionalProperties"));
    found
}

/// A schema and all inside of it.
pub(super) fn all(schema: &Value) -> Vec<&Value> {
    let mut found = Vec::new();
    let mut left = vec![schema];
    while let Some(next) = left.pop() {
        found.push(next);
        left.extend(parts(next).into_iter().rev());
    }
    found
}
