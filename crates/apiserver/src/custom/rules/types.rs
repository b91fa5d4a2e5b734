//! Schemas as types of expressions.

use std::collections::BTreeMap;
use std::sync::Arc;

use gantry_api::custom::schema::{Additional, ListKind as Kind, Schema, SchemaType};
use gantry_cel::{Annotated, Field, ListKind, ObjectType, Type, escape};

fn bound(count: Option<i64>) -> Option<u64> {
    count.and_then(|n| u64::try_from(n).ok())
}

fn sized(ty: Type, max_elements: Option<u64>, list: ListKind) -> Type {
    Type::Annotated(Arc::new(Annotated { ty, max_elements, list }))
}

/// The type of values of a schema; `None` for what expressions cannot reach. `name` tells object types apart.
pub(super) fn of(schema: &Schema, name: &str, root: bool) -> Option<Type> {
    if schema.int_or_string {
        return Some(Type::Dyn);
    }
    let bounds = &schema.bounds;
    Some(match schema.ty {
        SchemaType::Any => return None,
        SchemaType::Boolean => Type::Bool,
        SchemaType::Integer => Type::Int,
        SchemaType::Number => Type::Double,
        SchemaType::String => match bounds.format.as_str() {
            "byte" => sized(Type::Bytes, bound(bounds.max_length), ListKind::Atomic),
            "duration" => Type::Duration,
            "date" | "date-time" => Type::Timestamp,
            _ => sized(Type::String, bound(bounds.max_length), ListKind::Atomic),
        },
        SchemaType::Array => {
            let item = of(schema.items.as_ref()?, &format!("{name}.@idx"), false)?;
            let kind = match schema.list {
                Kind::Atomic => ListKind::Atomic,
                Kind::Set => ListKind::Set,
                Kind::Map => ListKind::Map(schema.list_keys.clone()),
            };
            sized(Type::list(item), bound(bounds.max_items), kind)
        }
        SchemaType::Object => match &schema.additional {
            Some(Additional::Schema(value)) => {
                let value = of(value, &format!("{name}.@elem"), false)?;
                sized(Type::map(Type::String, value), bound(bounds.max_properties), ListKind::Atomic)
            }
            _ => Type::Object(object(schema, name, root || schema.embedded)),
        },
    })
}

fn object(schema: &Schema, name: &str, resource: bool) -> Arc<ObjectType> {
    let mut fields = BTreeMap::new();
    let mut add = |json: &str, ty: Type| {
        if let Some(escaped) = escape::escape(json) {
            fields.insert(escaped, Field { ty, json: json.to_owned() });
        }
    };
    for (json, property) in &schema.properties {
        if resource && matches!(json.as_str(), "apiVersion" | "kind" | "metadata") {
            continue;
        }
        if let Some(ty) = of(property, &format!("{name}.{json}"), false) {
            add(json, ty);
        }
    }
    if resource {
        add("apiVersion", Type::String);
        add("kind", Type::String);
        let names = [("name", Type::String), ("generateName", Type::String)];
        add("metadata", Type::Object(ObjectType::new(format!("{name}.metadata"), names)));
    }
    Arc::new(ObjectType { name: name.to_owned(), fields, open: false })
}
