//! Operations of the served kinds as OpenAPI paths.

use serde_json::json;

use super::connect;
use super::schema::Style;
use crate::kinds::{KindInfo, type_name};
use crate::{Object, Value};

const JSON: &str = "application/json";
const BODIES: [&str; 3] = [JSON, "application/yaml", "application/vnd.kubernetes.protobuf"];
const PATCHES: [&str; 4] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];

/// `api/v1` or `apis/apps/v1`.
pub(super) fn root(group: &str, version: &str) -> String {
    if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") }
}

/// What an operation works on.
pub(super) struct Target<'k> {
    pub(super) kind: &'k KindInfo,
    pub(super) style: Style,
    /// `(group, version, kind)` of the object that it takes and returns.
    pub(super) gvk: (&'k str, &'k str, &'k str),
    /// The camel-case middle of operation ids: `NamespacedPodStatus`.
    pub(super) id: String,
}

/// Adds the paths of a kind.
pub(super) fn add(paths: &mut Object, kind: &KindInfo, style: Style) {
    let base = format!("/{}", root(kind.group, kind.version));
    let scope = if kind.namespaced { "/namespaces/{namespace}" } else { "" };
    let id = format!("{}{}", if kind.namespaced { "Namespaced" } else { "" }, kind.kind);
    let target = Target { kind, style, gvk: (kind.group, kind.version, kind.kind), id: id.clone() };
    let collection = [("post", "create"), ("get", "list"), ("delete", "deletecollection")];
    insert(paths, format!("{base}{scope}/{}", kind.resource), &target, &collection, &kind.verbs, false);
    if kind.namespaced && kind.supports("list") {
        let everywhere = Target { id: format!("{}ForAllNamespaces", kind.kind), ..target };
        insert(paths, format!("{base}/{}", kind.resource), &everywhere, &[("get", "list")], &kind.verbs, false);
    }
    let item = format!("{base}{scope}/{}/{{name}}", kind.resource);
    let single = [("get", "get"), ("put", "update"), ("patch", "patch"), ("delete", "delete")];
    let target = Target { kind, style, gvk: (kind.group, kind.version, kind.kind), id: id.clone() };
    insert(paths, item.clone(), &target, &single, &kind.verbs, true);
    for sub in &kind.subresources {
        if sub.connects() {
            connect::add(paths, &item, &target, sub);
            continue;
        }
        let mut title = sub.name.to_owned();
        title[..1].make_ascii_uppercase();
        let target = Target { kind, style, gvk: (sub.group, sub.version, sub.kind), id: format!("{id}{title}") };
        let verbs = [("get", "get"), ("post", "create"), ("put", "update"), ("patch", "patch")];
        insert(paths, format!("{item}/{}", sub.name), &target, &verbs, &sub.verbs, true);
    }
}

fn insert(
    paths: &mut Object,
    path: String,
    target: &Target<'_>,
    methods: &[(&str, &str)],
    verbs: &[&str],
    named: bool,
) {
    let mut entry = Object::new();
    for (method, verb) in methods.iter().filter(|(_, verb)| verbs.contains(verb)) {
        entry.insert((*method).to_owned(), operation(target, verb));
    }
    if entry.is_empty() {
        return;
    }
    let mut parameters = Vec::new();
    if named {
        parameters.push(parameter(target.style, "name", "path", "string"));
    }
    if path.contains("{namespace}") {
        parameters.push(parameter(target.style, "namespace", "path", "string"));
    }
    if !parameters.is_empty() {
        entry.insert("parameters".to_owned(), Value::from(parameters));
    }
    paths.insert(path, Value::Object(entry));
}

fn operation(target: &Target<'_>, verb: &str) -> Value {
    let (group, version, kind) = target.gvk;
    let reply_type = match verb {
        "list" => format!("{}List", target.kind.type_name),
        "deletecollection" | "delete" => "meta/v1.Status".to_owned(),
        _ => type_name(group, version, kind),
    };
    let action = match verb {
        "create" => "post",
        "update" => "put",
        other => other,
    };
    let parameters: Vec<Value> =
        query(verb).iter().map(|(name, ty)| parameter(target.style, name, "query", ty)).collect();
    let mut operation = json!({
        "operationId": operation_id(target, verb),
        "parameters": parameters,
        "responses": {"200": response(target.style, &reply_type), "401": {"description": "Unauthorized"}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": kind},
    });
    if verb == "create" {
        operation["responses"]["201"] = response(target.style, &reply_type);
    }
    body(&mut operation, target, verb, &type_name(group, version, kind));
    operation
}

pub(super) fn operation_id(target: &Target<'_>, verb: &str) -> String {
    let word = match verb {
        "get" => "read",
        "update" => "replace",
        "deletecollection" => "deleteCollection",
        other => other,
    };
    let mut group = target.kind.group.split('.').next().filter(|g| !g.is_empty()).unwrap_or("core").to_owned();
    group[..1].make_ascii_uppercase();
    let mut version = target.kind.version.to_owned();
    version[..1].make_ascii_uppercase();
    format!("{word}{group}{version}{}", target.id)
}

/// The query parameters of a verb.
fn query(verb: &str) -> &'static [(&'static str, &'static str)] {
    match verb {
        "create" | "update" => {
            &[("pretty", "string"), ("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string")]
        }
        "patch" => &[
            ("pretty", "string"),
            ("dryRun", "string"),
            ("fieldManager", "string"),
            ("fieldValidation", "string"),
            ("force", "boolean"),
        ],
        "delete" => &[
            ("pretty", "string"),
            ("dryRun", "string"),
            ("gracePeriodSeconds", "integer"),
            ("orphanDependents", "boolean"),
            ("propagationPolicy", "string"),
        ],
        "list" | "deletecollection" => &[
            ("pretty", "string"),
            ("allowWatchBookmarks", "boolean"),
            ("continue", "string"),
            ("fieldSelector", "string"),
            ("labelSelector", "string"),
            ("limit", "integer"),
            ("resourceVersion", "string"),
            ("resourceVersionMatch", "string"),
            ("sendInitialEvents", "boolean"),
            ("timeoutSeconds", "integer"),
            ("watch", "boolean"),
        ],
        _ => &[("pretty", "string")],
    }
}

pub(super) fn parameter(style: Style, name: &str, place: &str, ty: &str) -> Value {
    let mut parameter = json!({"name": name, "in": place, "uniqueItems": true});
    match style {
        Style::V2 => parameter["type"] = Value::from(ty),
        Style::V3 => {
            parameter.as_object_mut().map(|p| p.remove("uniqueItems"));
            parameter["schema"] = json!({"type": ty, "uniqueItems": true});
        }
    }
    if place == "path" {
        parameter["required"] = Value::from(true);
    }
    parameter
}

fn response(style: Style, type_name: &str) -> Value {
    let schema = style.reference(type_name);
    match style {
        Style::V2 => json!({"description": "OK", "schema": schema}),
        Style::V3 => json!({"description": "OK", "content": {JSON: {"schema": schema}}}),
    }
}

fn body(operation: &mut Value, target: &Target<'_>, verb: &str, own_type: &str) {
    let (types, schema): (&[&str], Value) = match verb {
        "create" | "update" => (&BODIES, target.style.reference(own_type)),
        "patch" => (&PATCHES, json!({"type": "object"})),
        "delete" | "deletecollection" => (&BODIES, target.style.reference("meta/v1.DeleteOptions")),
        _ => return,
    };
    match target.style {
        Style::V2 => {
            operation["consumes"] = json!(types);
            let body = json!({"name": "body", "in": "body", "schema": schema});
            if let Some(list) = operation["parameters"].as_array_mut() {
                list.push(body);
            }
        }
        Style::V3 => {
            let content: Object = types.iter().map(|t| ((*t).to_owned(), json!({"schema": schema}))).collect();
            operation["requestBody"] = json!({"content": content});
        }
    }
}
