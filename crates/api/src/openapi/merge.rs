//! Version 2 documents of other servers within ours, merged as upstream's aggregator does.

use std::collections::BTreeMap;

use super::shared::{PARAMETERS, Shared};
use super::{Form, Parts, protobuf, text};
use crate::value::list_at;
use crate::{Object, Value};

const GVKS: &str = "x-kubernetes-group-version-kind";
const DEFINITIONS: &str = "#/definitions/";

/// What the document of another server says of one group version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    root: String,
    paths: Object,
    definitions: Object,
}

impl Foreign {
    /// The part of a document below `/apis/{group}/{version}`, with the definitions that it uses; `None` where there is none.
    #[must_use]
    pub fn read(document: &Value, root: &str) -> Option<Self> {
        let all = document.get("paths")?.as_object()?;
        let is_below =
            |path: &str| path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let mut paths: Object =
            all.iter().filter(|(path, _)| is_below(path)).map(|(p, i)| (p.clone(), i.clone())).collect();
        if paths.is_empty() {
            return None;
        }
        paths.values_mut().for_each(|item| write_out(item, document));
        let mut definitions = Object::new();
        let mut wanted: Vec<String> = Vec::new();
        paths.values().for_each(|item| references(item, &mut wanted));
        while let Some(name) = wanted.pop() {
            if let Some(found) = document["definitions"].get(&name).filter(|_| !definitions.contains_key(&name)) {
                references(found, &mut wanted);
                definitions.insert(name, found.clone());
            }
        }
        Some(Self { root: root.to_owned(), paths, definitions })
    }
}

/// Our document with those of others in it, the more important first. Where one describes a path of ours, it is the one who
/// serves it.
#[must_use]
pub fn merged(local: &[u8], others: &[&Foreign], form: Form) -> Option<Vec<u8>> {
    let mut document: Value = serde_json::from_slice(local).ok()?;
    let mut part = |name: &str| match document.get_mut(name).map(Value::take) {
        Some(Value::Object(part)) => Some(part),
        _ => None,
    };
    let (mut paths, mut definitions) = (part("paths")?, part("definitions")?);
    let shared = Shared::from(part("parameters").unwrap_or_default());
    for other in others {
        let is_theirs = |path: &str| path.strip_prefix(&other.root).is_some_and(|r| r.is_empty() || r.starts_with('/'));
        paths.retain(|path, _| !is_theirs(path));
    }
    for other in others {
        add(&mut paths, &mut definitions, other);
    }
    let mut paths = paths.iter().map(|(path, item)| (path.as_str(), item.clone()));
    let mut schemas = definitions.iter().map(|(name, schema)| (name.as_str(), schema.clone()));
    let parts = Parts { paths: &mut paths, schemas: &mut schemas, shared: &shared };
    Some(match form {
        Form::Json => text::v2(parts),
        Form::Protobuf => protobuf::v2::document(parts),
    })
}

/// Puts shared parameters where they are used: those of ours are other ones.
fn write_out(value: &mut Value, document: &Value) {
    if let Some(shared) = value.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix(PARAMETERS)) {
        *value = document["parameters"].get(shared).cloned().unwrap_or_default();
        return;
    }
    match value {
        Value::Object(map) => map.values_mut().for_each(|inner| write_out(inner, document)),
        Value::Array(list) => list.iter_mut().for_each(|inner| write_out(inner, document)),
        _ => {}
    }
}

/// The definitions that a value refers to.
fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            let name = map.get("$ref").and_then(Value::as_str).and_then(|r| r.strip_prefix(DEFINITIONS));
            found.extend(name.map(str::to_owned));
            map.values().for_each(|inner| references(inner, found));
        }
        Value::Array(list) => list.iter().for_each(|inner| references(inner, found)),
        _ => {}
    }
}

fn renamed(value: &Value, names: &BTreeMap<&str, String>) -> Value {
    match value {
        Value::Object(map) => {
            let one = |(key, inner): (&String, &Value)| {
                let name = inner.as_str().filter(|_| key == "$ref").and_then(|r| r.strip_prefix(DEFINITIONS));
                let inner = match name.and_then(|name| names.get(name)) {
                    Some(name) => format!("{DEFINITIONS}{name}").into(),
                    None => renamed(inner, names),
                };
                (key.clone(), inner)
            };
            Value::Object(map.iter().map(one).collect())
        }
        Value::Array(list) => list.iter().map(|inner| renamed(inner, names)).collect(),
        other => other.clone(),
    }
}

/// Whether two definitions are the same, whichever kinds they say that they describe.
fn same(a: &Value, b: &Value) -> bool {
    match (a.as_object(), b.as_object()) {
        (Some(a), Some(b)) => {
            let rest = |map: &'_ Object| {
                map.iter().filter(|(key, _)| *key != GVKS).map(|(k, v)| (k.clone(), v.clone())).collect::<Object>()
            };
            rest(a) == rest(b)
        }
        _ => a == b,
    }
}

fn add(paths: &mut Object, definitions: &mut Object, other: &Foreign) {
    let mut names: BTreeMap<&str, String> = BTreeMap::new();
    for (name, definition) in &other.definitions {
        if definitions.get(name).is_none_or(|known| same(known, definition)) {
            continue;
        }
        // Another thing of the same name: it gets the first name that is free, or that it has already.
        let is_free = |wanted: &String| match definitions.get(wanted) {
            Some(known) => same(known, definition),
            None => !other.definitions.contains_key(wanted) && !names.values().any(|taken| taken == wanted),
        };
        let found = (2..).map(|number: u32| format!("{name}_v{number}")).find(is_free);
        names.extend(found.map(|found| (name.as_str(), found)));
    }
    for (name, definition) in &other.definitions {
        let name = names.get(name.as_str()).unwrap_or(name);
        match definitions.get_mut(name) {
            Some(known) => add_kinds(known, definition),
            None => drop(definitions.insert(name.clone(), renamed(definition, &names))),
        }
    }
    for (path, item) in &other.paths {
        if !paths.contains_key(path) {
            paths.insert(path.clone(), renamed(item, &names));
        }
    }
}

/// A definition that several servers have describes the kinds of all of them.
fn add_kinds(known: &mut Value, other: &Value) {
    let mut kinds = list_at(known, GVKS).to_vec();
    kinds.extend(list_at(other, GVKS).iter().filter(|kind| !list_at(known, GVKS).contains(kind)).cloned());
    if kinds.len() > list_at(known, GVKS).len() {
        known[GVKS] = kinds.into();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn other(meta: &Value) -> Value {
        let reference = |name: &str| json!({"$ref": format!("{DEFINITIONS}{name}")});
        json!({
            "swagger": "2.0",
            "parameters": {"pretty": {"name": "pretty", "in": "query", "type": "string"}},
            "paths": {
                "/apis/a.b/v1/": {"get": {"operationId": "list"}},
                "/apis/a.b/v1/widgets": {"get": {"parameters": [{"$ref": "#/parameters/pretty"}],
                    "responses": {"200": {"description": "OK", "schema": reference("Widget")}}}},
                "/apis/a.b/v10/widgets": {"get": {}},
                "/version": {"get": {}},
            },
            "definitions": {
                "Widget": {"type": "object", "properties": {"metadata": reference("Meta")}, "x-kubernetes-group-version-kind": [{"group": "a.b", "version": "v1", "kind": "Widget"}]},
                "Meta": meta, "Unused": {"type": "object"},
            },
        })
    }

    fn local() -> Vec<u8> {
        let kinds = json!([{"group": "", "version": "v1", "kind": "Meta"}]);
        let pretty = json!({"pretty-1": {"name": "pretty", "in": "query", "type": "string"}});
        json!({"paths": {"/api/v1/": {"get": {}}, "/apis/a.b/v1/old": {"get": {}}}, "definitions": {"Meta": {"type": "object", GVKS: kinds}}, "parameters": pretty})
            .to_string()
            .into_bytes()
    }

    fn merge(others: &[Value]) -> Value {
        let read: Vec<Foreign> = others.iter().filter_map(|o| Foreign::read(o, "/apis/a.b/v1")).collect();
        let all: Vec<&Foreign> = read.iter().collect();
        assert!(merged(&local(), &all, Form::Protobuf).expect("encoded").len() > 100);
        serde_json::from_slice(&merged(&local(), &all, Form::Json).expect("written")).expect("JSON")
    }

    #[test]
    fn a_part_of_another_document_is_taken_over() {
        let kinds = json!([{"group": "a.b", "version": "v1", "kind": "Meta"}]);
        let document = merge(&[other(&json!({"type": "object", GVKS: kinds}))]);
        let paths: Vec<&String> = document["paths"].as_object().expect("a map").keys().collect();
        assert_eq!(paths, ["/api/v1/", "/apis/a.b/v1/", "/apis/a.b/v1/widgets"]);
        let definitions: Vec<&String> = document["definitions"].as_object().expect("a map").keys().collect();
        assert_eq!(definitions, ["Meta", "Widget"]);
        assert_eq!(document["definitions"]["Meta"][GVKS].as_array().map(Vec::len), Some(2));
        let parameter = &document["paths"]["/apis/a.b/v1/widgets"]["get"]["parameters"][0];
        assert_eq!(parameter, &json!({"name": "pretty", "in": "query", "type": "string"}));
        assert_eq!(document["parameters"]["pretty-1"]["name"], "pretty", "ours are still there");
    }

    #[test]
    fn another_thing_of_the_same_name_gets_a_name_of_its_own() {
        let document = merge(&[other(&json!({"type": "string"})), other(&json!({"type": "string"}))]);
        let definitions = &document["definitions"];
        assert_eq!(definitions["Meta"]["type"], "object");
        assert_eq!(definitions["Meta_v2"], json!({"type": "string"}));
        assert_eq!(definitions.get("Meta_v3"), None, "two servers with the same share it");
        assert_eq!(definitions["Widget"]["properties"]["metadata"]["$ref"], "#/definitions/Meta_v2");
    }

    #[test]
    fn nonsense_is_left_out() {
        for document in [json!(null), json!({}), json!({"paths": []}), json!({"paths": {"/x": {}}})] {
            assert_eq!(Foreign::read(&document, "/apis/a.b/v1"), None);
        }
        assert_eq!(merged(b"{", &[], Form::Json), None);
    }
}
