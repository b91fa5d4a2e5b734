//! Schemas as types of the type table, so that pruning, managed fields and apply are the same for all kinds.

use super::names::Names;
use super::schema::{Additional, ListKind, Schema, SchemaType};
use crate::table::{CustomType, Field, FieldType, Fields, ListType, PatchStrategy, Type, TypeId, TypeTable};

const METADATA: &str = "meta/v1.ObjectMeta";

/// The type of a whole object.
pub(super) fn of(name: &'static str, schema: &Schema, api_versions: Vec<String>, names: &Names) -> Type {
    let mut fields = fields(name, schema, names);
    resource(&mut fields);
    // Upstream's objects always have them, whatever the schema says of the root.
    let custom = CustomType { open: schema.preserve_unknown, api_versions };
    Type { name, fields, printed: Vec::new(), atomic: false, unions: None, custom: Some(custom) }
}

/// The fields that every object has.
fn resource(fields: &mut Fields) {
    for name in ["apiVersion", "kind"] {
        fields.insert(name, field(name, FieldType::String));
    }
    let metadata = TypeTable::builtin().id(METADATA).map_or(FieldType::Any, FieldType::Struct);
    fields.insert("metadata", Field { declared: METADATA, ..field("metadata", metadata) });
}

fn fields(name: &'static str, schema: &Schema, names: &Names) -> Fields {
    let each = schema.properties.iter().map(|(key, schema)| {
        let key = names.intern(key);
        (key, defined(key, field_type(name, schema, names), schema, names))
    });
    each.collect()
}

/// A field of which a schema says how it merges.
fn defined(name: &'static str, ty: FieldType, schema: &Schema, names: &Names) -> Field {
    let list_type = match schema.list {
        ListKind::Set => ListType::Set,
        ListKind::Map => ListType::Map,
        _ => ListType::Atomic,
    };
    Field {
        list_type,
        list_type_stated: list_type != ListType::Atomic,
        map_keys: schema.list_keys.iter().map(|key| names.intern(key)).collect(),
        atomic: schema.atomic,
        default: schema.default.clone(),
        ..field(name, ty)
    }
}

fn field(name: &'static str, ty: FieldType) -> Field {
    Field {
        name,
        printed: None,
        ty,
        declared: "",
        go: None,
        required: false,
        pointer: true,
        list_type: ListType::Atomic,
        list_type_stated: false,
        map_keys: Vec::new(),
        atomic: false,
        granular: false,
        patch_strategy: PatchStrategy::default(),
        patch_merge_key: None,
        default: None,
    }
}

fn field_type(parent: &'static str, schema: &Schema, names: &Names) -> FieldType {
    if schema.int_or_string {
        return FieldType::Any;
    }
    match schema.ty {
        SchemaType::String => FieldType::String,
        SchemaType::Integer => FieldType::Int64,
        SchemaType::Number => FieldType::Double,
        SchemaType::Boolean => FieldType::Bool,
        SchemaType::Array => {
            let item = schema.items.as_ref().map_or(FieldType::Any, |items| field_type(parent, items, names));
            FieldType::List(Box::new(item))
        }
        SchemaType::Any if schema.preserve_unknown && schema.properties.is_empty() => FieldType::Open,
        SchemaType::Any if !schema.preserve_unknown => FieldType::Any,
        SchemaType::Object | SchemaType::Any => object(parent, schema, names),
    }
}

fn object(parent: &'static str, schema: &Schema, names: &Names) -> FieldType {
    match &schema.additional {
        Some(Additional::Schema(value)) if schema.properties.is_empty() => {
            let held = field_type(parent, value, names);
            let merges = matches!(value.list, ListKind::Set | ListKind::Map) || value.atomic;
            let held = if merges { FieldType::Merged(Box::new(defined("", held, value, names))) } else { held };
            return FieldType::Map(Box::new(held));
        }
        Some(Additional::Allowed(true)) if schema.properties.is_empty() => {
            return FieldType::Map(Box::new(FieldType::Any));
        }
        _ => {}
    }
    let mut fields = fields(parent, schema, names);
    if schema.embedded {
        resource(&mut fields);
    }
    let custom = CustomType { open: schema.preserve_unknown, api_versions: Vec::new() };
    let ty =
        Type { name: parent, fields, printed: Vec::new(), atomic: schema.atomic, unions: None, custom: Some(custom) };
    FieldType::Struct(TypeId::custom(ty))
}
