//! Types of the table as OpenAPI schemas.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::Gvk;
use crate::table::{Field, FieldType, ListType, Type, TypeTable};
use crate::{Object, Value};

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

    /// A reference that stands where a schema may carry more than the reference.
    fn held(self, type_name: &str) -> Value {
        match self {
            Self::V2 => self.reference(type_name),
            Self::V3 => json!({"allOf": [self.reference(type_name)]}),
        }
    }
}

/// `io.k8s.api.apps.v1.Deployment` for `apps/v1.Deployment`.
pub(super) fn schema_name(type_name: &str) -> String {
    let (package, rest) = type_name.split_once('/').unwrap_or(("", type_name));
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

/// The schemas of the given types and of all that they refer to.
pub(super) fn closure(roots: impl Iterator<Item = String>, gvks: &BTreeSet<Gvk>, style: Style) -> Object {
    let mut done: BTreeMap<String, Value> = BTreeMap::new();
    let mut open: Vec<String> = roots.collect();
    while let Some(name) = open.pop() {
        if done.contains_key(&name) {
            continue;
        }
        let mut schema = match TypeTable::builtin().ty(&name) {
            Some(ty) => {
                let mut refers = |to: &str| open.push(to.to_owned());
                object(ty, style, &mut refers)
            }
            None => special(&name, style),
        };
        let of_this = gvks.iter().filter(|g| g.0 == name);
        let named: Vec<Value> = of_this.map(|(_, g, v, k)| json!({"group": g, "version": v, "kind": k})).collect();
        if !named.is_empty() {
            schema["x-kubernetes-group-version-kind"] = Value::from(named);
        }
        done.insert(name, schema);
    }
    done.into_iter().map(|(name, schema)| (schema_name(&name), schema)).collect()
}

/// The types that JSON prints as scalars.
fn special(name: &str, style: Style) -> Value {
    match (name, style) {
        ("meta/v1.Time" | "meta/v1.MicroTime", _) => json!({"type": "string", "format": "date-time"}),
        ("resource/Quantity", Style::V2) => json!({"type": "string"}),
        ("resource/Quantity", Style::V3) => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
        ("intstr/IntOrString", Style::V2) => json!({"type": "string", "format": "int-or-string"}),
        ("intstr/IntOrString", Style::V3) => {
            json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]})
        }
        _ => json!({"type": "object"}),
    }
}

fn object(ty: &Type, style: Style, refers: &mut dyn FnMut(&str)) -> Value {
    let mut properties = Object::new();
    for (name, field) in &ty.fields {
        properties.insert((*name).to_owned(), property(field, style, refers));
    }
    let required: Vec<&str> = ty.fields.values().filter(|f| f.required).map(|f| f.name).collect();
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

fn property(field: &Field, style: Style, refers: &mut dyn FnMut(&str)) -> Value {
    let mut schema = of_type(&field.ty, style, refers);
    if matches!(field.ty, FieldType::List(_)) {
        let list_type = match field.list_type {
            ListType::Atomic => "atomic",
            ListType::Set => "set",
            ListType::Map => "map",
        };
        // Upstream leaves the type out where it is the default and not stated; stating it means the same.
        schema["x-kubernetes-list-type"] = Value::from(list_type);
        if !field.map_keys.is_empty() {
            schema["x-kubernetes-list-map-keys"] = json!(field.map_keys);
        }
    } else if field.atomic {
        schema["x-kubernetes-map-type"] = Value::from("atomic");
    }
    let strategy = field.patch_strategy;
    let words = [(strategy.merge, "merge"), (strategy.replace, "replace"), (strategy.retain_keys, "retainKeys")];
    let words: Vec<&str> = words.into_iter().filter(|(on, _)| *on).map(|(_, word)| word).collect();
    if !words.is_empty() {
        schema["x-kubernetes-patch-strategy"] = Value::from(words.join(","));
    }
    if let Some(key) = field.patch_merge_key {
        schema["x-kubernetes-patch-merge-key"] = Value::from(key);
    }
    if let Some(default) = &field.default {
        schema["default"] = default.clone();
    }
    schema
}

fn of_type(ty: &FieldType, style: Style, refers: &mut dyn FnMut(&str)) -> Value {
    let mut held = |name: &str| {
        refers(name);
        style.held(name)
    };
    match ty {
        FieldType::String => json!({"type": "string"}),
        FieldType::Bytes => json!({"type": "string", "format": "byte"}),
        FieldType::Bool => json!({"type": "boolean"}),
        FieldType::Int32 => json!({"type": "integer", "format": "int32"}),
        FieldType::Int64 => json!({"type": "integer", "format": "int64"}),
        FieldType::Double => json!({"type": "number", "format": "double"}),
        FieldType::Time => held("meta/v1.Time"),
        FieldType::MicroTime => held("meta/v1.MicroTime"),
        FieldType::Quantity => held("resource/Quantity"),
        FieldType::IntOrString => held("intstr/IntOrString"),
        FieldType::Raw => json!({"type": "object"}),
        FieldType::Any => json!({}),
        FieldType::Struct(id) => held(TypeTable::builtin().get(*id).name),
        FieldType::List(item) => json!({"type": "array", "items": of_type(item, style, refers)}),
        FieldType::Map(item) => json!({"type": "object", "additionalProperties": of_type(item, style, refers)}),
    }
}
