//! Version 2: messages of `openapi.v2`.

use super::{Message, any, items, members, within};
use crate::openapi::{Parts, info, security};
use crate::{Object, Value};

/// The encoded document.
pub(crate) fn document(parts: Parts<'_>) -> Vec<u8> {
    let (requirements, schemes) = security();
    let about = info();
    let mut info = Message::default();
    info.text(1, about.get("title"));
    info.text(2, about.get("version"));
    let (mut paths, mut definitions, mut credentials) = (Message::default(), Message::default(), Message::default());
    for (path, item) in parts.paths {
        paths.named(2, path, &path_item(&item));
    }
    for (name, definition) in parts.schemas {
        definitions.named(1, name, &schema(&definition));
    }
    for (name, scheme) in &schemes {
        credentials.named(1, name, &within(2, &key_in_header(scheme)));
    }
    let mut parameters = Message::default();
    for (name, found) in &parts.shared.take() {
        parameters.named(1, name, &parameter(found));
    }
    let mut out = Message::default();
    out.bytes(1, b"2.0");
    out.message(2, &info);
    out.message(8, &paths);
    out.message(9, &definitions);
    out.message(10, &parameters);
    out.security(12, &requirements);
    out.message(13, &credentials);
    out.0
}

fn key_in_header(scheme: &Value) -> Message {
    let mut out = Message::default();
    for (field, name) in [(1, "type"), (2, "name"), (3, "in"), (4, "description")] {
        out.text(field, scheme.get(name));
    }
    out
}

fn path_item(item: &Value) -> Message {
    let mut out = Message::default();
    let methods = [(2, "get"), (3, "put"), (4, "post"), (5, "delete"), (6, "options"), (7, "head"), (8, "patch")];
    for (field, method) in methods {
        if let Some(Value::Object(found)) = item.get(method) {
            out.message(field, &operation(found));
        }
    }
    for found in items(item.get("parameters")) {
        out.message(9, &parameter_or_reference(found));
    }
    out
}

fn operation(object: &Object) -> Message {
    let mut out = Message::default();
    out.texts(1, object.get("tags"));
    out.text(3, object.get("description"));
    out.text(5, object.get("operationId"));
    out.texts(6, object.get("produces"));
    out.texts(7, object.get("consumes"));
    for found in items(object.get("parameters")) {
        out.message(8, &parameter_or_reference(found));
    }
    let mut responses = Message::default();
    for (code, found) in members(object.get("responses")) {
        let mut response = Message::default();
        response.text(1, found.get("description"));
        if let Some(held) = found.get("schema") {
            response.message(2, &within(1, &schema(held)));
        }
        responses.named(1, code, &within(1, &response));
    }
    out.message(9, &responses);
    out.texts(10, object.get("schemes"));
    out.flag(11, object.get("deprecated"));
    out.extensions(13, object);
    out
}

fn parameter_or_reference(found: &Value) -> Message {
    let Some(reference) = found.get("$ref") else { return within(1, &parameter(found)) };
    let mut out = Message::default();
    out.text(1, Some(reference));
    within(2, &out)
}

/// A parameter in the body, the query or the path.
fn parameter(parameter: &Value) -> Message {
    let mut out = Message::default();
    let place = parameter["in"].as_str().unwrap_or_default();
    if place == "body" {
        out.text(2, parameter.get("name"));
        out.text(3, parameter.get("in"));
        out.flag(4, parameter.get("required"));
        if let Some(held) = parameter.get("schema") {
            out.message(5, &schema(held));
        }
        return within(1, &out);
    }
    let in_path = place == "path";
    out.flag(1, parameter.get("required"));
    out.text(2, parameter.get("in"));
    out.text(3, parameter.get("description"));
    out.text(4, parameter.get("name"));
    out.text(if in_path { 5 } else { 6 }, parameter.get("type"));
    out.flag(if in_path { 19 } else { 20 }, parameter.get("uniqueItems"));
    within(2, &within(if in_path { 4 } else { 3 }, &out))
}

fn schema(schema_value: &Value) -> Message {
    let mut out = Message::default();
    let Some(object) = schema_value.as_object() else { return out };
    out.text(1, object.get("$ref"));
    out.text(2, object.get("format"));
    out.text(4, object.get("description"));
    if let Some(default) = object.get("default") {
        out.message(5, &any(default));
    }
    out.texts(19, object.get("required"));
    for value in items(object.get("enum")) {
        out.message(20, &any(value));
    }
    match object.get("additionalProperties") {
        Some(Value::Bool(_)) => {
            let mut allowed = Message::default();
            allowed.flag(2, object.get("additionalProperties"));
            out.message(21, &allowed);
        }
        Some(values) => out.message(21, &within(1, &schema(values))),
        None => {}
    }
    if let Some(ty) = object.get("type") {
        let mut types = Message::default();
        types.text(1, Some(ty));
        out.message(22, &types);
    }
    if let Some(held) = object.get("items") {
        out.message(23, &within(1, &schema(held)));
    }
    let mut properties = Message::default();
    for (name, property) in members(object.get("properties")) {
        properties.named(1, name, &schema(property));
    }
    if !properties.0.is_empty() {
        out.message(25, &properties);
    }
    out.extensions(31, object);
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn schemas_are_encoded_field_by_field() {
        let check = |given: Value, expected: &[u8]| assert_eq!(schema(&given).0, expected, "{given}");
        check(json!({"$ref": "#/a"}), b"\x0a\x03#/a");
        check(json!({"type": "string", "format": "byte"}), b"\x12\x04byte\xb2\x01\x08\x0a\x06string");
        check(
            json!({"properties": {"a": {"type": "b"}}, "required": ["a"]}),
            b"\x9a\x01\x01a\xca\x01\x0d\x0a\x0b\x0a\x01a\x12\x06\xb2\x01\x03\x0a\x01b",
        );
        check(json!({"items": {"format": "f"}}), b"\xba\x01\x05\x0a\x03\x12\x01f");
        check(json!({"additionalProperties": {"format": "f"}}), b"\xaa\x01\x05\x0a\x03\x12\x01f");
        check(json!({"enum": ["a"]}), b"\xa2\x01\x06\x12\x04\"a\"\n");
        check(json!({"x-a": [1]}), b"\xfa\x01\x0d\x0a\x03x-a\x12\x06\x12\x04[1]\n");
    }

    #[test]
    fn a_parameter_says_where_it_stands() {
        let query = parameter_or_reference(&json!({"name": "n", "in": "query", "type": "t"})).0;
        assert_eq!(query, b"\x0a\x11\x12\x0f\x1a\x0d\x12\x05query\x22\x01n\x32\x01t");
        let path = parameter_or_reference(&json!({"name": "n", "in": "path", "type": "t", "required": true})).0;
        assert_eq!(path, b"\x0a\x12\x12\x10\x22\x0e\x08\x01\x12\x04path\x22\x01n\x2a\x01t");
        let body = parameter_or_reference(&json!({"name": "n", "in": "body", "schema": {"format": "f"}})).0;
        assert_eq!(body, b"\x0a\x10\x0a\x0e\x12\x01n\x1a\x04body\x2a\x03\x12\x01f");
        let reference = parameter_or_reference(&json!({"$ref": "#/a"})).0;
        assert_eq!(reference, b"\x12\x05\x0a\x03#/a");
    }
}
