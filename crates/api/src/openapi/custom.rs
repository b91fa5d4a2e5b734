//! Custom kinds as OpenAPI schemas: what their definition says, and the fields that every object has.

use serde_json::json;

use super::descriptions::Described;
use super::schema::Style;
use crate::kinds::{KindInfo, Kinds};
use crate::{Object, Value};

const METADATA: &str = "meta/v1.ObjectMeta";
const LIST_METADATA: &str = "meta/v1.ListMeta";
const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";
/// Where upstream's descriptions of custom kinds send their readers.
const CONVENTIONS: &str = "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md";

/// The types of built-in kinds that schemas of custom ones refer to.
pub(super) const REFERENCES: [&str; 2] = [METADATA, LIST_METADATA];

/// The custom kind that a type's name stands for, and whether it is that of its list.
pub(super) fn named<'k>(kinds: &'k Kinds, type_name: &str) -> Option<(&'k KindInfo, bool)> {
    // Only custom groups have dots there.
    let (group, _) = type_name.split_once('/').filter(|(group, _)| group.contains('.'))?;
    let custom = || kinds.all().filter(|kind| kind.group == group && kind.custom.is_some());
    let of = |name: &str| custom().find(|kind| kind.type_name == name);
    of(type_name).map(|kind| (kind, false)).or_else(|| Some((of(type_name.strip_suffix("List")?)?, true)))
}

/// What the schemas of custom kinds are written with.
pub(super) struct Writer<'a> {
    pub(super) style: Style,
    /// The descriptions of any kind's fields.
    pub(super) described: Described<'a>,
    /// What is done to a schema that refers to another one.
    pub(super) finish: &'a dyn Fn(Object) -> Value,
}

impl Writer<'_> {
    /// The schema of a custom kind, or of its list.
    pub(super) fn schema(&self, kind: &KindInfo, is_list: bool) -> Value {
        if is_list { self.list(kind) } else { self.object(kind) }
    }

    /// A field that every kind has.
    fn text(&self, field: &str) -> Value {
        json!({"type": "string", "description": self.described.field(field).unwrap_or_default()})
    }

    fn reference(&self, ty: &str, description: &str) -> Value {
        let mut schema = self.style.reference(ty);
        schema["description"] = description.into();
        match schema {
            Value::Object(schema) => (self.finish)(schema),
            other => other,
        }
    }

    fn list(&self, kind: &KindInfo) -> Value {
        let metadata = format!("Standard list metadata. More info: {CONVENTIONS}#types-kinds");
        json!({
            "description": format!("{0}List is a list of {0}", kind.kind),
            "type": "object",
            "required": ["items"],
            "properties": {
                "apiVersion": self.text("apiVersion"),
                "kind": self.text("kind"),
                "items": {
                    "description": format!("List of {}. More info: {CONVENTIONS}", kind.resource),
                    "type": "array",
                    "items": self.style.reference(&kind.type_name),
                },
                "metadata": self.reference(LIST_METADATA, &metadata),
            },
        })
    }

    fn object(&self, kind: &KindInfo) -> Value {
        let Some(custom) = &kind.custom else { return json!({"type": "object"}) };
        let source = &custom.source;
        // Old clients take an object with some properties for one without others.
        if self.style == Style::V2 && source.get(PRESERVE) == Some(&Value::Bool(true)) {
            return json!({"type": "object"});
        }
        let mut schema = source.clone();
        if self.style == Style::V2 {
            simplify(&mut schema);
        }
        self.resources(&mut schema, true);
        schema
    }

    /// Adds the fields of objects, at the root and wherever an object is embedded.
    fn resources(&self, schema: &mut Value, root: bool) {
        let Some(map) = schema.as_object_mut() else { return };
        let embedded = is_on(map, "x-kubernetes-embedded-resource");
        // Old clients would take what keeps unknown fields for an object with these alone.
        let closed = self.style == Style::V3 || !is_on(map, PRESERVE);
        if root || (embedded && closed) {
            let metadata = format!("Standard object's metadata. More info: {CONVENTIONS}#metadata");
            let properties = map.entry("properties").or_insert_with(|| json!({}));
            if let Some(properties) = properties.as_object_mut() {
                properties.insert("apiVersion".to_owned(), self.text("apiVersion"));
                properties.insert("kind".to_owned(), self.text("kind"));
                properties.insert("metadata".to_owned(), self.reference(METADATA, &metadata));
            }
        }
        if embedded && closed {
            let required = map.entry("required").or_insert_with(|| json!([]));
            if let Some(required) = required.as_array_mut() {
                for name in ["kind", "apiVersion"].map(Value::from) {
                    if !required.contains(&name) {
                        required.push(name);
                    }
                }
            }
        }
        each(map, &mut |below| self.resources(below, false));
    }
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

/// Takes out what version 2 cannot say, as upstream does (apiextensions-apiserver, `ToStructuralOpenAPIV2`). What may be null, or
/// keeps unknown fields, has no type there: clients of version 2 refuse what a type does not list.
fn simplify(schema: &mut Value) {
    let Some(map) = schema.as_object_mut() else { return };
    let (nullable, open) = (is_on(map, "nullable"), is_on(map, PRESERVE));
    if nullable || open {
        map.remove("properties");
        map.remove("items");
    }
    let is = |map: &Object, ty: &str| map.get("type").is_some_and(|is| is == ty);
    if nullable || (open && is(map, "object")) || (is(map, "array") && !map.contains_key("items")) {
        map.remove("type");
    }
    require_no_null(map);
    for name in ["nullable", "allOf", "anyOf", "oneOf", "not"] {
        map.remove(name);
    }
    each(map, &mut simplify);
}

fn is_on(schema: &Object, name: &str) -> bool {
    schema.get(name) == Some(&Value::Bool(true))
}

/// Takes what may be null out of what is required.
fn require_no_null(schema: &mut Object) {
    let may_be_null = |schema: &Value| schema.as_object().is_some_and(|schema| is_on(schema, "nullable"));
    let Some(mut required) = schema.remove("required") else { return };
    if let (Some(names), Some(properties)) = (required.as_array_mut(), schema.get("properties")) {
        names.retain(|name| !name.as_str().and_then(|name| properties.get(name)).is_some_and(may_be_null));
    }
    let any = schema.get("additionalProperties").is_some_and(may_be_null);
    if !any && required.as_array().is_some_and(|names| !names.is_empty()) {
        schema.insert("required".to_owned(), required);
    }
}
