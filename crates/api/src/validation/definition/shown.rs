//! Parts of definitions as upstream shows them in errors: the JSON of its internal structures, which have Go's names, no tags, and every field.

use super::Shared;
use crate::Value;
use crate::field::go_escaped;

/// What a field of a structure is.
#[derive(Clone, Copy)]
enum Sort {
    /// A string that is there, perhaps empty.
    Text,
    Bool,
    Number,
    /// Anything that is `null` where it is not set.
    Optional,
    /// A structure, `null` where it is not set.
    Struct(&'static [Part]),
    List(&'static [Part]),
    /// A schema, `null` where it is not set; a variant of its own, as schemas contain schemas.
    Schema,
    SchemaList,
    /// Schemas by name.
    Schemas,
    /// A schema, or a list of them.
    Items,
    /// A schema, or whether anything is allowed.
    Additional,
    /// Schemas or names of properties, by name.
    Dependencies,
}

/// A field: its name in Go and in JSON.
struct Part(&'static str, &'static str, Sort);

const VERSION: &[Part] = &[
    Part("Name", "name", Sort::Text),
    Part("Served", "served", Sort::Bool),
    Part("Storage", "storage", Sort::Bool),
    Part("Deprecated", "deprecated", Sort::Bool),
    Part("DeprecationWarning", "deprecationWarning", Sort::Optional),
    Part("Schema", "schema", Sort::Struct(VALIDATION)),
    Part("Subresources", "subresources", Sort::Struct(SUBRESOURCES)),
    Part("AdditionalPrinterColumns", "additionalPrinterColumns", Sort::List(COLUMN)),
    Part("SelectableFields", "selectableFields", Sort::List(SELECTABLE)),
];
const VALIDATION: &[Part] = &[Part("OpenAPIV3Schema", "openAPIV3Schema", Sort::Schema)];
const SUBRESOURCES: &[Part] =
    &[Part("Status", "status", Sort::Struct(&[])), Part("Scale", "scale", Sort::Struct(SCALE))];
const SCALE: &[Part] = &[
    Part("SpecReplicasPath", "specReplicasPath", Sort::Text),
    Part("StatusReplicasPath", "statusReplicasPath", Sort::Text),
    Part("LabelSelectorPath", "labelSelectorPath", Sort::Optional),
];
const COLUMN: &[Part] = &[
    Part("Name", "name", Sort::Text),
    Part("Type", "type", Sort::Text),
    Part("Format", "format", Sort::Text),
    Part("Description", "description", Sort::Text),
    Part("Priority", "priority", Sort::Number),
    Part("JSONPath", "jsonPath", Sort::Text),
];
const SELECTABLE: &[Part] = &[Part("JSONPath", "jsonPath", Sort::Text)];
const SCHEMA: &[Part] = &[
    Part("ID", "id", Sort::Text),
    Part("Schema", "$schema", Sort::Text),
    Part("Ref", "$ref", Sort::Optional),
    Part("Description", "description", Sort::Text),
    Part("Type", "type", Sort::Text),
    Part("Nullable", "nullable", Sort::Bool),
    Part("Format", "format", Sort::Text),
    Part("Title", "title", Sort::Text),
    Part("Default", "default", Sort::Optional),
    Part("Maximum", "maximum", Sort::Optional),
    Part("ExclusiveMaximum", "exclusiveMaximum", Sort::Bool),
    Part("Minimum", "minimum", Sort::Optional),
    Part("ExclusiveMinimum", "exclusiveMinimum", Sort::Bool),
    Part("MaxLength", "maxLength", Sort::Optional),
    Part("MinLength", "minLength", Sort::Optional),
    Part("Pattern", "pattern", Sort::Text),
    Part("MaxItems", "maxItems", Sort::Optional),
    Part("MinItems", "minItems", Sort::Optional),
    Part("UniqueItems", "uniqueItems", Sort::Bool),
    Part("MultipleOf", "multipleOf", Sort::Optional),
    Part("Enum", "enum", Sort::Optional),
    Part("MaxProperties", "maxProperties", Sort::Optional),
    Part("MinProperties", "minProperties", Sort::Optional),
    Part("Required", "required", Sort::Optional),
    Part("Items", "items", Sort::Items),
    Part("AllOf", "allOf", Sort::SchemaList),
    Part("OneOf", "oneOf", Sort::SchemaList),
    Part("AnyOf", "anyOf", Sort::SchemaList),
    Part("Not", "not", Sort::Schema),
    Part("Properties", "properties", Sort::Schemas),
    Part("AdditionalProperties", "additionalProperties", Sort::Additional),
    Part("PatternProperties", "patternProperties", Sort::Schemas),
    Part("Dependencies", "dependencies", Sort::Dependencies),
    Part("AdditionalItems", "additionalItems", Sort::Additional),
    Part("Definitions", "definitions", Sort::Schemas),
    Part("ExternalDocs", "externalDocs", Sort::Struct(DOCS)),
    Part("Example", "example", Sort::Optional),
    Part("XPreserveUnknownFields", "x-kubernetes-preserve-unknown-fields", Sort::Optional),
    Part("XEmbeddedResource", "x-kubernetes-embedded-resource", Sort::Bool),
    Part("XIntOrString", "x-kubernetes-int-or-string", Sort::Bool),
    Part("XListMapKeys", "x-kubernetes-list-map-keys", Sort::Optional),
    Part("XListType", "x-kubernetes-list-type", Sort::Optional),
    Part("XMapType", "x-kubernetes-map-type", Sort::Optional),
    Part("XValidations", "x-kubernetes-validations", Sort::List(RULE)),
];
const DOCS: &[Part] = &[Part("Description", "description", Sort::Text), Part("URL", "url", Sort::Text)];
const RULE: &[Part] = &[
    Part("Rule", "rule", Sort::Text),
    Part("Message", "message", Sort::Text),
    Part("MessageExpression", "messageExpression", Sort::Text),
    Part("Reason", "reason", Sort::Optional),
    Part("FieldPath", "fieldPath", Sort::Text),
    Part("OptionalOldSelf", "optionalOldSelf", Sort::Optional),
];

/// A schema.
pub(super) fn schema(schema: &Value) -> String {
    go_escaped(structure(SCHEMA, schema))
}

/// What `items` of a list says.
pub(super) fn items(items: &Value) -> String {
    go_escaped(field(Sort::Items, items))
}

/// All versions. What they have in common stands elsewhere in upstream's structure.
pub(super) fn versions(list: &[Value], shared: &Shared) -> String {
    let shown = list.iter().map(|version| {
        let mut version = version.clone();
        let common = [
            ("schema", shared.schema),
            ("subresources", shared.subresources),
            ("additionalPrinterColumns", shared.columns),
            ("selectableFields", shared.fields),
        ];
        for (name, _) in common.into_iter().filter(|(_, shared)| *shared) {
            version[name] = Value::Null;
        }
        structure(VERSION, &version)
    });
    go_escaped(format!("[{}]", joined(shown)))
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(",")
}

fn structure(parts: &[Part], value: &Value) -> String {
    let fields = parts.iter().map(|Part(go, json, sort)| {
        let found = value.get(json).unwrap_or(&Value::Null);
        format!("\"{go}\":{}", field(*sort, found))
    });
    format!("{{{}}}", joined(fields))
}

fn field(sort: Sort, value: &Value) -> String {
    match (sort, value) {
        (Sort::Text, Value::Null) => "\"\"".to_owned(),
        (Sort::Bool, Value::Null) => "false".to_owned(),
        (Sort::Number, Value::Null) => "0".to_owned(),
        (_, Value::Null) => "null".to_owned(),
        (Sort::Text | Sort::Bool | Sort::Number | Sort::Optional, value) => plain(value),
        (Sort::Struct(parts), value) => structure(parts, value),
        (Sort::List(parts), value) => list(parts, value),
        (Sort::Schema, value) => structure(SCHEMA, value),
        (Sort::SchemaList, value) => list(SCHEMA, value),
        (Sort::Schemas, value) => by_name(value, |schema| structure(SCHEMA, schema)),
        (Sort::Items, Value::Array(_)) => format!("{{\"Schema\":null,\"JSONSchemas\":{}}}", list(SCHEMA, value)),
        (Sort::Items, schema) => format!("{{\"Schema\":{},\"JSONSchemas\":null}}", structure(SCHEMA, schema)),
        (Sort::Additional, Value::Bool(allows)) => format!("{{\"Allows\":{allows},\"Schema\":null}}"),
        (Sort::Additional, schema) => format!("{{\"Allows\":true,\"Schema\":{}}}", structure(SCHEMA, schema)),
        (Sort::Dependencies, value) => by_name(value, |one| match one {
            Value::Array(_) => format!("{{\"Schema\":null,\"Property\":{}}}", plain(one)),
            schema => format!("{{\"Schema\":{},\"Property\":null}}", structure(SCHEMA, schema)),
        }),
    }
}

fn list(parts: &[Part], value: &Value) -> String {
    let items = value.as_array().map_or(&[][..], Vec::as_slice);
    format!("[{}]", joined(items.iter().map(|item| structure(parts, item))))
}

fn by_name(value: &Value, show: impl Fn(&Value) -> String) -> String {
    let mut entries: Vec<_> = value.as_object().into_iter().flatten().collect();
    entries.sort_by_key(|(name, _)| *name);
    let shown = entries.into_iter().map(|(name, value)| format!("{}:{}", Value::from(name.as_str()), show(value)));
    format!("{{{}}}", joined(shown))
}

/// A value as it is; Go writes whole floating-point numbers without a point.
fn plain(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", joined(items.iter().map(plain))),
        Value::Object(_) => by_name(value, plain),
        Value::Number(number) => match number.as_f64() {
            Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 1e21 => format!("{float:.0}"),
            _ => number.to_string(),
        },
        other => other.to_string(),
    }
}
