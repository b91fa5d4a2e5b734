//! Types of the table as OpenAPI schemas.

use std::collections::BTreeMap;

use serde_json::json;

use super::custom;
use super::descriptions::{ANY_KIND, Described, Descriptions};
use super::enums::{Enum, Enums};
use super::gvk::Gvks;
use super::zeros::Zeros;
use crate::kinds::Kinds;
use crate::table::messages::Messages;
use crate::table::{Field, FieldType, ListType, Type, TypeTable};
use crate::{Object, Value};

/// Types that are no protobuf messages, with their required fields in the order of the structure in Go.
const UNSENT: &[(&str, &[&str])] = &[(
    "version/Info",
    &["major", "minor", "gitVersion", "gitCommit", "gitTreeState", "buildDate", "goVersion", "compiler", "platform"],
)];

/// Which OpenAPI is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    V2,
    V3,
}

impl Style {
    pub(super) fn reference(self, type_name: &str) -> Value {
        let name = schema_name(type_name);
        match self {
            Self::V2 => json!({"$ref": format!("#/definitions/{name}")}),
            Self::V3 => json!({"$ref": format!("#/components/schemas/{name}")}),
        }
    }
}

/// `io.k8s.api.apps.v1.Deployment` for `apps/v1.Deployment`, `com.example.v1.Thing` for the custom `example.com/v1.Thing`.
pub(super) fn schema_name(type_name: &str) -> String {
    let (package, rest) = type_name.split_once('/').unwrap_or(("", type_name));
    if package.contains('.') {
        let reversed: Vec<&str> = package.split('.').rev().collect();
        return format!("{}.{rest}", reversed.join("."));
    }
    let dotted = match (package, rest.contains('.')) {
        ("meta", _) => "io.k8s.apimachinery.pkg.apis.meta",
        ("apiextensions", _) => "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions",
        ("apiregistration", _) => "io.k8s.kube-aggregator.pkg.apis.apiregistration",
        ("resource", false) => "io.k8s.apimachinery.pkg.api.resource",
        ("intstr", _) => "io.k8s.apimachinery.pkg.util.intstr",
        ("runtime", _) => "io.k8s.apimachinery.pkg.runtime",
        ("version", _) => "io.k8s.apimachinery.pkg.version",
        ("metrics", _) => "io.k8s.metrics.pkg.apis.metrics",
        (group, _) => return format!("io.k8s.api.{group}.{rest}"),
    };
    format!("{dotted}.{rest}")
}

/// The given types and all that they refer to, by the names of their schemas. Types that nothing is known of are left out.
pub(super) fn closure(kinds: &Kinds, roots: impl Iterator<Item = String>) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut open: Vec<String> = roots.collect();
    while let Some(name) = open.pop() {
        if custom::named(kinds, &name).is_some() {
            found.insert(schema_name(&name), name);
            open.extend(custom::REFERENCES.map(str::to_owned));
            continue;
        }
        let known = TypeTable::builtin().ty(&name);
        if (known.is_none() && special(&name, Style::V3).is_none()) || found.contains_key(&schema_name(&name)) {
            continue;
        }
        open.extend(known.iter().flat_map(|ty| ty.fields.values()).filter_map(refers_to).map(str::to_owned));
        found.insert(schema_name(&name), name);
    }
    found
}

/// The type that a field names, in the words of the facts, without list and map.
fn named_type(mut declared: &str) -> &str {
    while let Some(held) = declared.strip_prefix("[]").or_else(|| declared.strip_prefix("map:")) {
        declared = held;
    }
    declared
}

fn refers_to(field: &Field) -> Option<&'static str> {
    Some(named_type(field.declared)).filter(|name| name.contains('/'))
}

/// Writes schemas.
pub(super) struct Schemas<'a> {
    pub(super) style: Style,
    pub(super) kinds: &'a Kinds,
    pub(super) descriptions: &'a Descriptions,
    pub(super) enums: &'a Enums,
    pub(super) zeros: &'a Zeros,
    pub(super) gvks: &'a Gvks,
}

impl Schemas<'_> {
    /// The schema of a type that [`closure`] has found.
    pub(super) fn of(&self, type_name: &str) -> Value {
        if let Some((kind, is_list)) = custom::named(self.kinds, type_name) {
            let described = self.descriptions.of(ANY_KIND);
            let finish = |schema| self.finished(schema);
            let mut schema = custom::Writer { style: self.style, described, finish: &finish }.schema(kind, is_list);
            schema["x-kubernetes-group-version-kind"] = Value::from(self.gvks.of(type_name));
            return schema;
        }
        let described = self.descriptions.of(&schema_name(type_name));
        let mut schema = match TypeTable::builtin().ty(type_name) {
            Some(ty) => self.object(ty, described),
            None => special(type_name, self.style).unwrap_or_else(|| json!({"type": "object"})),
        };
        if let Some(text) = described.own() {
            schema["description"] = Value::from(text);
        }
        let kinds = self.gvks.of(type_name);
        if !kinds.is_empty() {
            schema["x-kubernetes-group-version-kind"] = Value::from(kinds);
        }
        schema
    }

    fn object(&self, ty: &Type, described: Described<'_>) -> Value {
        let is_kind = ["apiVersion", "kind", "metadata"].iter().all(|name| ty.fields.contains_key(name));
        let mut properties = Object::new();
        for (name, field) in &ty.fields {
            let mut property = self.property(field);
            if let Some(default) = self.default_of(ty, field, is_kind) {
                property.insert("default".to_owned(), default);
            }
            let values = field.go.and_then(|go| self.enums.of(ty.name, go));
            let text = described.field(name);
            // Of lists and maps each item says what it may hold, and the description does not.
            let text = match (values, &field.ty) {
                (Some(values), FieldType::String) => Some(values.described(text.unwrap_or_default())),
                _ => text.map(str::to_owned),
            };
            if let Some(text) = text {
                property.insert("description".to_owned(), Value::from(text));
            }
            if let Some(values) = values {
                enumerate(&mut property, values);
            }
            properties.insert((*name).to_owned(), self.finished(property));
        }
        let required = required(ty);
        let mut schema = json!({"type": "object"});
        if !properties.is_empty() {
            schema["properties"] = Value::Object(properties);
        }
        if !required.is_empty() {
            schema["required"] = json!(required);
        }
        if ty.atomic {
            schema["x-kubernetes-map-type"] = Value::from("atomic");
        }
        if let Some(unions) = ty.unions.and_then(|u| serde_json::from_str::<Value>(u).ok()) {
            schema["x-kubernetes-unions"] = unions;
        }
        schema
    }

    fn property(&self, field: &Field) -> Object {
        let mut schema = self.of_type(&field.ty, field.declared);
        let mut add = |name: &str, value: Value| schema.insert(name.to_owned(), value);
        // Bytes are a list in Go: caBundle of an APIService has a list type, too.
        if matches!(field.ty, FieldType::List(_) | FieldType::Bytes) && field.list_type_stated {
            let list_type = match field.list_type {
                ListType::Atomic => "atomic",
                ListType::Set => "set",
                ListType::Map => "map",
            };
            add("x-kubernetes-list-type", Value::from(list_type));
            if !field.map_keys.is_empty() {
                add("x-kubernetes-list-map-keys", json!(field.map_keys));
            }
        } else if field.atomic || field.granular {
            add("x-kubernetes-map-type", Value::from(if field.atomic { "atomic" } else { "granular" }));
        }
        let strategy = field.patch_strategy;
        let words = [(strategy.merge, "merge"), (strategy.replace, "replace"), (strategy.retain_keys, "retainKeys")];
        let words: Vec<&str> = words.into_iter().filter(|(on, _)| *on).map(|(_, word)| word).collect();
        if !words.is_empty() {
            add("x-kubernetes-patch-strategy", Value::from(words.join(",")));
        }
        if let Some(key) = field.patch_merge_key {
            add("x-kubernetes-patch-merge-key", Value::from(key));
        }
        schema
    }

    /// The default that version 3 states; version 2 states none (kube-openapi, `PruneDefaults`). With it come the zero values that
    /// Go writes whether they are set or not: those of required text and of structs by value.
    fn default_of(&self, ty: &Type, field: &Field, of_kind: bool) -> Option<Value> {
        if field.default.is_some() || self.style == Style::V2 {
            return field.default.clone().filter(|_| self.style == Style::V3);
        }
        let stated = self.zeros.is_stated(ty.name, field.name);
        match (&field.ty, field.declared) {
            (FieldType::String, _) if stated.unwrap_or(field.required) => Some(Value::from("")),
            (_, "meta/v1.ObjectMeta" | "meta/v1.ListMeta") => Some(json!({})),
            (FieldType::Struct(_), _) if of_kind && matches!(field.name, "spec" | "status") => Some(json!({})),
            (FieldType::Struct(_), _) if stated == Some(true) => Some(json!({})),
            _ => None,
        }
    }

    fn of_type(&self, ty: &FieldType, declared: &'static str) -> Object {
        let plain = |ty: &str| json!({"type": ty});
        let formatted = |ty: &str, format: &str| json!({"type": ty, "format": format});
        let schema = match ty {
            FieldType::String => plain("string"),
            FieldType::Bytes => formatted("string", "byte"),
            FieldType::Bool => plain("boolean"),
            FieldType::Int32 => formatted("integer", "int32"),
            FieldType::Int64 => formatted("integer", "int64"),
            FieldType::Double => formatted("number", "double"),
            FieldType::List(item) => {
                let held = self.held(item, declared.strip_prefix("[]").unwrap_or_default());
                json!({"type": "array", "items": held})
            }
            FieldType::Map(item) => {
                let held = self.held(item, declared.strip_prefix("map:").unwrap_or_default());
                json!({"type": "object", "additionalProperties": held})
            }
            FieldType::Raw if !declared.contains('/') => plain("object"),
            FieldType::Any if !declared.contains('/') => json!({}),
            _ => self.style.reference(declared),
        };
        match schema {
            Value::Object(schema) => schema,
            _ => Object::new(),
        }
    }

    /// What a list or map holds. Version 3 states the zero values of items.
    fn held(&self, item: &FieldType, declared: &'static str) -> Value {
        let mut schema = self.of_type(item, declared);
        let default = match item {
            _ if self.style == Style::V2 => None,
            FieldType::String => Some(Value::from("")),
            FieldType::Bool => Some(Value::from(false)),
            FieldType::Int32 | FieldType::Int64 => Some(Value::from(0)),
            FieldType::Struct(_) => Some(json!({})),
            _ => None,
        };
        if let Some(default) = default {
            schema.insert("default".to_owned(), default);
        }
        self.finished(schema)
    }

    /// In version 3 a reference stands alone; what stands beside it makes it one of `allOf`.
    fn finished(&self, mut schema: Object) -> Value {
        if self.style == Style::V3
            && schema.len() > 1
            && let Some(reference) = schema.remove("$ref")
        {
            schema.insert("allOf".to_owned(), json!([{"$ref": reference}]));
        }
        Value::Object(schema)
    }
}

/// The required fields of a type in the order of the structure in Go.
fn required(ty: &Type) -> Vec<&'static str> {
    let message = Messages::builtin().by_name(ty.name);
    let place = |name: &str| match message {
        Some(message) => message.fields.iter().find(|field| field.json == name).map(|field| field.place),
        None => UNSENT.iter().find(|(of, _)| *of == ty.name)?.1.iter().position(|known| *known == name),
    };
    let mut names: Vec<_> = ty.fields.values().filter(|field| field.required).map(|field| field.name).collect();
    names.sort_by_key(|name| place(name));
    names
}

/// Says which values a field may hold, or the items of its list or the values of its map.
fn enumerate(property: &mut Object, values: &Enum) {
    let held = ["items", "additionalProperties"].into_iter().find(|held| property.contains_key(*held));
    match held.and_then(|held| property.get_mut(held)) {
        Some(held) => held["enum"] = values.values(),
        None => {
            property.insert("enum".to_owned(), values.values());
        }
    }
}

/// The types that JSON prints as scalars, or as anything.
fn special(name: &str, style: Style) -> Option<Value> {
    Some(match (name, style) {
        ("meta/v1.Time" | "meta/v1.MicroTime", _) => json!({"type": "string", "format": "date-time"}),
        ("resource/Quantity", Style::V2) => json!({"type": "string"}),
        ("resource/Quantity", Style::V3) => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
        ("intstr/IntOrString", Style::V2) => json!({"type": "string", "format": "int-or-string"}),
        ("intstr/IntOrString", Style::V3) => {
            json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]})
        }
        ("runtime/RawExtension" | "meta/v1.FieldsV1" | "meta/v1.Patch", _) => json!({"type": "object"}),
        (
            "apiextensions/v1.JSON"
            | "apiextensions/v1.JSONSchemaPropsOrArray"
            | "apiextensions/v1.JSONSchemaPropsOrBool"
            | "apiextensions/v1.JSONSchemaPropsOrStringArray",
            _,
        ) => json!({}),
        _ => return None,
    })
}
