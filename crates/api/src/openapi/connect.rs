//! Operations that take a connection instead of an object: proxies.

use serde_json::json;

use super::paths::{Target, operation_id, parameter};
use super::schema::Style;
use crate::kinds::{KindInfo, Subresource};
use crate::{Object, Value};

/// HTTP methods and the verbs that discovery has for them; a proxy passes HEAD and OPTIONS on as well.
const METHODS: [(&str, &str); 7] = [
    ("get", "get"),
    ("post", "create"),
    ("put", "update"),
    ("patch", "patch"),
    ("delete", "delete"),
    ("head", "patch"),
    ("options", "patch"),
];

/// Adds the paths of a subresource that connects; `item` is the path of the object.
pub(super) fn add(paths: &mut Object, item: &str, of: &Target<'_>, sub: &Subresource) {
    let plain = format!("{item}/{}", sub.name);
    let below = (sub.name == "proxy").then(|| format!("{plain}/{{path}}"));
    for (path, suffix) in [(Some(plain), ""), (below, "WithPath")] {
        let Some(path) = path else { continue };
        let mut entry = Object::new();
        for (method, _) in METHODS.iter().filter(|(_, verb)| sub.verbs.contains(verb)) {
            entry.insert((*method).to_owned(), operation(of, sub, method, suffix));
        }
        entry.insert("parameters".to_owned(), parameters(of.style, of.kind, !suffix.is_empty()));
        paths.insert(path, Value::Object(entry));
    }
}

fn parameters(style: Style, kind: &KindInfo, with_path: bool) -> Value {
    let mut found = vec![parameter(style, "name", "path", "string")];
    if kind.namespaced {
        found.push(parameter(style, "namespace", "path", "string"));
    }
    if with_path {
        found.push(parameter(style, "path", "path", "string"));
    }
    found.push(parameter(style, "path", "query", "string"));
    Value::from(found)
}

fn capital(word: &str) -> String {
    let mut word = word.to_owned();
    word[..1].make_ascii_uppercase();
    word
}

fn operation(of: &Target<'_>, sub: &Subresource, method: &str, suffix: &str) -> Value {
    let id = format!("{}{}{}{suffix}", capital(method), of.id, capital(sub.name));
    let target = Target { kind: of.kind, style: of.style, gvk: of.gvk, id };
    let text = match of.style {
        Style::V2 => json!({"description": "OK", "schema": {"type": "string"}}),
        Style::V3 => json!({"description": "OK", "content": {"*/*": {"schema": {"type": "string"}}}}),
    };
    json!({
        "operationId": operation_id(&target, "connect"),
        "responses": {"200": text, "401": {"description": "Unauthorized"}},
        "x-kubernetes-action": "connect",
        "x-kubernetes-group-version-kind": {"group": sub.group, "version": sub.version, "kind": sub.kind},
    })
}
