//! Types from OpenAPI schemas, with the bounds on sizes that estimates need. What a schema does not bound is bounded by the largest request.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map as JsonMap, Value as Json};

use crate::escape::escape;
use crate::types::{Annotated, Field, ListKind, ObjectType, Type};

/// The largest request body.
const REQUEST_BYTES: u64 = 3 << 20;
/// The longest text that fits into a request, beside its quotes.
const TEXT_MAX: u64 = REQUEST_BYTES - 2;
/// The longest duration, and the longest date with time, in JSON.
const DURATION_MAX: u64 = 32;
const DATETIME_MAX: u64 = 32;
/// A date in JSON.
const DATE_BYTES: u64 = 12;
/// The shortest values in JSON.
const DATETIME_MIN: u64 = 21;
const DURATION_MIN: u64 = 3;
const TEXT_MIN: u64 = 2;
const BOOL_MIN: u64 = 4;
const NUMBER_MIN: u64 = 1;

/// A type and the fewest bytes that a value of it takes in JSON.
struct Sized {
    ty: Type,
    min_bytes: u64,
}

impl Type {
    /// The type for an OpenAPI v3 schema as custom resources have it (structural), or `None` when expressions do not see values of it: they are of
    /// unknown type. `name` names the objects in it, so that those of different schemas are different types. A `resource` has the fields of every
    /// resource (`kind`, `metadata.name`) even if the schema does not say so.
    #[must_use]
    pub fn from_schema(schema: &Json, name: &str, resource: bool) -> Option<Self> {
        convert(schema, name, resource).map(|sized| sized.ty)
    }

    /// How many values of a schema fit into one request, with a comma after each.
    #[must_use]
    pub fn most_in_request(schema: &Json) -> u64 {
        REQUEST_BYTES / (convert(schema, "", false).map_or(0, |sized| sized.min_bytes) + 1)
    }
}

fn flag(schema: &Json, name: &str) -> bool {
    schema.get(name).and_then(Json::as_bool).unwrap_or(false)
}

/// A bound in a schema; a negative one is none at all.
fn bound(schema: &Json, name: &str) -> Option<u64> {
    let value = schema.get(name)?;
    value.as_u64().or_else(|| value.as_f64().map(|n| n.max(0.0) as u64))
}

fn convert(schema: &Json, name: &str, resource: bool) -> Option<Sized> {
    if flag(schema, "x-kubernetes-int-or-string") {
        let max = bound(schema, "maxLength").map_or(TEXT_MAX, |n| n.saturating_mul(4));
        return Some(Sized { ty: Type::Dyn.at_most(max), min_bytes: NUMBER_MIN });
    }
    let resource = resource || flag(schema, "x-kubernetes-embedded-resource");
    match schema.get("type").and_then(Json::as_str)? {
        "array" => array(schema, name),
        "object" => object(schema, name, resource),
        "string" => Some(text(schema)),
        "boolean" => Some(Sized { ty: Type::Bool, min_bytes: BOOL_MIN }),
        "number" => Some(Sized { ty: Type::Double, min_bytes: NUMBER_MIN }),
        "integer" => Some(Sized { ty: Type::Int, min_bytes: NUMBER_MIN }),
        _ => None,
    }
}

fn array(schema: &Json, name: &str) -> Option<Sized> {
    let items = convert(schema.get("items")?, &format!("{name}.@idx"), false)?;
    let max = bound(schema, "maxItems").unwrap_or_else(|| (REQUEST_BYTES - 2) / (items.min_bytes + 1));
    let list = match schema.get("x-kubernetes-list-type").and_then(Json::as_str) {
        Some("set") => ListKind::Set,
        Some("map") => ListKind::Map(texts(schema.get("x-kubernetes-list-map-keys"))),
        _ => ListKind::Atomic,
    };
    let ty = Type::Annotated(Arc::new(Annotated { ty: Type::list(items.ty), max_elements: Some(max), list }));
    Some(Sized { ty, min_bytes: 2 })
}

fn texts(list: Option<&Json>) -> Vec<String> {
    let items = list.and_then(Json::as_array).into_iter().flatten();
    items.filter_map(Json::as_str).map(str::to_owned).collect()
}

fn object(schema: &Json, name: &str, resource: bool) -> Option<Sized> {
    if let Some(values) = schema.get("additionalProperties").filter(|v| v.is_object()) {
        let values = convert(values, &format!("{name}.@elem"), false)?;
        let max = bound(schema, "maxProperties").unwrap_or_else(|| (REQUEST_BYTES - 2) / (values.min_bytes + 6));
        return Some(Sized { ty: Type::map(Type::String, values.ty).at_most(max), min_bytes: 2 });
    }
    let empty = JsonMap::new();
    let properties = schema.get("properties").and_then(Json::as_object).unwrap_or(&empty);
    let required = texts(schema.get("required"));
    let mut fields = BTreeMap::new();
    let mut min_bytes = 2;
    for (json, property) in properties {
        let Some(sized) = convert(property, &format!("{name}.{json}"), false) else { continue };
        if required.contains(json) && property.get("default").is_none() {
            min_bytes += json.len() as u64 + sized.min_bytes + 4;
        }
        if let Some(escaped) = escape(json) {
            fields.insert(escaped, Field { ty: sized.ty, json: json.clone() });
        }
    }
    if resource {
        add_resource_fields(&mut fields, name);
    }
    let ty = Type::Object(Arc::new(ObjectType { name: name.to_owned(), fields, open: false }));
    Some(Sized { ty, min_bytes })
}

/// The fields of every resource. A schema that describes all of them keeps its own.
fn add_resource_fields(fields: &mut BTreeMap<String, Field>, name: &str) {
    let is_text = |fields: &BTreeMap<String, Field>, name: &str| {
        fields.get(name).is_some_and(|f| matches!(f.ty.plain(), Type::String))
    };
    let described = is_text(fields, "kind")
        && is_text(fields, "apiVersion")
        && fields.get("metadata").is_some_and(|f| match f.ty.plain() {
            Type::Object(metadata) => is_text(&metadata.fields, "name") && is_text(&metadata.fields, "generateName"),
            _ => false,
        });
    if described {
        return;
    }
    let text = || Type::String.at_most(TEXT_MAX);
    let metadata = ObjectType::new(format!("{name}.metadata"), [("name", text()), ("generateName", text())]);
    for (json, ty) in [("kind", text()), ("apiVersion", text()), ("metadata", Type::Object(metadata))] {
        fields.insert(json.to_owned(), Field { ty, json: json.to_owned() });
    }
}

fn text(schema: &Json) -> Sized {
    let sized = |ty: Type, max: u64, min_bytes: u64| Sized { ty: ty.at_most(max), min_bytes };
    match schema.get("format").and_then(Json::as_str) {
        Some("byte") => sized(Type::Bytes, bound(schema, "maxLength").unwrap_or(TEXT_MAX), TEXT_MIN),
        Some("duration") => sized(Type::Duration, DURATION_MAX, DURATION_MIN),
        Some("date") => sized(Type::Timestamp, DATE_BYTES, DATE_BYTES),
        Some("date-time") => sized(Type::Timestamp, DATETIME_MAX, DATETIME_MIN),
        _ => sized(Type::String, text_max(schema), TEXT_MIN),
    }
}

/// A length is in code points, a size in bytes; the longest of the values, if those are listed.
fn text_max(schema: &Json) -> u64 {
    if let Some(max) = bound(schema, "maxLength") {
        return max.saturating_mul(4);
    }
    let values = texts(schema.get("enum"));
    values.iter().map(|v| v.len() as u64).max().unwrap_or(TEXT_MAX)
}
