//! Schemas as types of the type table, so that pruning, managed fields and apply are the same for all kinds.

use super::definition::leak;
use super::schema::{Additional, ListKind, Schema, SchemaType};
use crate::table::{CustomType, Field, FieldType, Fields, ListType, PatchStrategy, Type, TypeId, TypeTable};

const METADATA: &str = "meta/v1.ObjectMeta";

/// The type of a whole object.
pub(super) fn of(name: &'static str, schema: &Schema, api_versions: Vec<String>) -> &'static Type {
    let mut fields = fields(name, schema);
    resource(&mut fields);
    // Upstream's objects always have them, whatever the schema says of the root.
    let custom = CustomType { open: schema.preserve_unknown, api_versions };
    Box::leak(Box::new(Type { name, fields, printed: Vec::new(), atomic: false, unions: None, custom: Some(custom) }))
}

/// The fields that every object has.
fn resource(fields: &mut Fields) {
    for name in ["apiVersion", "kind"] {
        fields.insert(name, field(name, FieldType::String, None));
    }
    let metadata = TypeTable::builtin().id(METADATA).map_or(FieldType::Any, FieldType::Struct);
    fields.insert("metadata", Field { declared: METADATA, ..field("metadata", metadata, None) });
}

fn fields(name: &'static str, schema: &Schema) -> Fields {
    let each = schema.properties.iter().map(|(key, schema)| {
        let key = leak(key);
        (key, field(key, field_type(name, schema), Some(schema)))
    });
    each.collect()
}

fn field(name: &'static str, ty: FieldType, schema: Option<&Schema>) -> Field {
    let list_type = match schema.map(|s| s.list) {
        Some(ListKind::Set) => ListType::Set,
        Some(ListKind::Map) => ListType::Map,
        _ => ListType::Atomic,
    };
    Field {
        name,
        printed: None,
        ty,
        declared: "",
        go: None,
        required: false,
        pointer: true,
        list_type,
        list_type_stated: list_type != ListType::Atomic,
        map_keys: schema.map_or_else(Vec::new, |s| s.list_keys.iter().map(|key| leak(key)).collect()),
        atomic: schema.is_some_and(|s| s.atomic),
        granular: false,
        patch_strategy: PatchStrategy::default(),
        patch_merge_key: None,
        default: schema.and_then(|s| s.default.clone()),
    }
}

fn field_type(parent: &'static str, schema: &Schema) -> FieldType {
    if schema.int_or_string {
        return FieldType::Any;
    }
    match schema.ty {
        SchemaType::String => FieldType::String,
        SchemaType::Integer => FieldType::Int64,
        SchemaType::Number => FieldType::Double,
        SchemaType::Boolean => FieldType::Bool,
        SchemaType::Array => {
            let item = schema.items.as_ref().map_or(FieldType::Any, |items| field_type(parent, items));
            FieldType::List(Box::new(item))
        }
        SchemaType::Any if schema.preserve_unknown && schema.properties.is_empty() => FieldType::Open,
        SchemaType::Any if !schema.preserve_unknown => FieldType::Any,
        SchemaType::Object | SchemaType::Any => object(parent, schema),
    }
}

fn object(parent: &'static str, schema: &Schema) -> FieldType {
    match &schema.additional {
        Some(Additional::Schema(value)) if schema.properties.is_empty() => {
            return FieldType::Map(Box::new(field_type(parent, value)));
        }
        Some(Additional::Allowed(true)) if schema.properties.is_empty() => {
            return FieldType::Map(Box::new(FieldType::Any));
        }
        _ => {}
    }
    let mut fields = fields(parent, schema);
    if schema.embedded {
        resource(&mut fields);
    }
    let custom = CustomType { open: schema.preserve_unknown, api_versions: Vec::new() };
    let ty =
        Type { name: parent, fields, printed: Vec::new(), atomic: schema.atomic, unions: None, custom: Some(custom) };
    FieldType::Struct(TypeId::custom(Box::leak(Box::new(ty))))
}
