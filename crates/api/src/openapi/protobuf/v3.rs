//! Version 3: messages of `openapi.v3`.

use super::{Message, any, items, members, within};
use crate::openapi::{Parts, info, security};
use crate::{Object, Value};

/// The encoded document.
pub(crate) fn document(parts: Parts<'_>) -> Vec<u8> {
    let (_, schemes) = security();
    let about = info();
    let mut info = Message::default();
    info.text(1, about.get("title"));
    info.text(6, about.get("version"));
    let (mut paths, mut schemas, mut credentials) = (Message::default(), Message::default(), Message::default());
    for (path, item) in parts.paths {
        paths.named(1, path, &path_item(&item));
    }
    for (name, held) in parts.schemas {
        schemas.named(1, name, &schema_or_reference(&held));
    }
    for (name, scheme) in &schemes {
        credentials.named(1, name, &within(1, &key_in_header(scheme)));
    }
    let mut components = within(1, &schemas);
    components.message(7, &credentials);
    let mut out = Message::default();
    out.bytes(1, b"3.0.0");
    out.message(2, &info);
    out.message(4, &paths);
    out.message(5, &components);
    out.0
}

fn key_in_header(scheme: &Value) -> Message {
    let mut out = Message::default();
    for (field, name) in [(1, "type"), (2, "description"), (3, "name"), (4, "in")] {
        out.text(field, scheme.get(name));
    }
    out
}

fn path_item(item: &Value) -> Message {
    let mut out = Message::default();
    let methods = [(4, "get"), (5, "put"), (6, "post"), (7, "delete"), (8, "options"), (9, "head"), (10, "patch")];
    for (field, method) in methods {
        if let Some(Value::Object(found)) = item.get(method) {
            out.message(field, &operation(found));
        }
    }
    for found in items(item.get("parameters")) {
        out.message(13, &within(1, &parameter(found)));
    }
    out
}

fn operation(object: &Object) -> Message {
    let mut out = Message::default();
    out.texts(1, object.get("tags"));
    out.text(3, object.get("description"));
    out.text(5, object.get("operationId"));
    for found in items(object.get("parameters")) {
        out.message(6, &within(1, &parameter(found)));
    }
    if let Some(found) = object.get("requestBody") {
        let mut body = Message::default();
        body.message(2, &content(found));
        body.flag(3, found.get("required"));
        out.message(7, &within(1, &body));
    }
    let mut responses = Message::default();
    for (code, found) in members(object.get("responses")) {
        let mut response = Message::default();
        response.text(1, found.get("description"));
        if found.get("content").is_some() {
            response.message(3, &content(found));
        }
        responses.named(2, code, &within(1, &response));
    }
    out.message(8, &responses);
    out.flag(10, object.get("deprecated"));
    out.extensions(13, object);
    out
}

/// The media types of a body or an answer.
fn content(of: &Value) -> Message {
    let mut out = Message::default();
    for (media_type, held) in members(of.get("content")) {
        let schema = held.get("schema").map(schema_or_reference).unwrap_or_default();
        out.named(1, media_type, &within(1, &schema));
    }
    out
}

fn parameter(parameter: &Value) -> Message {
    let mut out = Message::default();
    for (field, name) in [(1, "name"), (2, "in"), (3, "description")] {
        out.text(field, parameter.get(name));
    }
    out.flag(4, parameter.get("required"));
    if let Some(held) = parameter.get("schema") {
        out.message(10, &schema_or_reference(held));
    }
    out
}

fn schema_or_reference(value: &Value) -> Message {
    match value.get("$ref") {
        Some(target) => {
            let mut reference = Message::default();
            reference.text(1, Some(target));
            within(2, &reference)
        }
        None => within(1, &schema(value)),
    }
}

fn schema(value: &Value) -> Message {
    let mut out = Message::default();
    let Some(object) = value.as_object() else { return out };
    out.flag(20, object.get("uniqueItems"));
    out.texts(23, object.get("required"));
    for value in items(object.get("enum")) {
        out.message(24, &any(value));
    }
    out.text(25, object.get("type"));
    for (field, name) in [(26, "allOf"), (27, "oneOf")] {
        for held in items(object.get(name)) {
            out.message(field, &schema_or_reference(held));
        }
    }
    if let Some(held) = object.get("items") {
        out.message(30, &within(1, &schema_or_reference(held)));
    }
    let mut properties = Message::default();
    for (name, property) in members(object.get("properties")) {
        properties.named(1, name, &schema_or_reference(property));
    }
    if !properties.0.is_empty() {
        out.message(31, &properties);
    }
    if let Some(held) = object.get("additionalProperties") {
        out.message(32, &within(1, &schema_or_reference(held)));
    }
    if let Some(default) = object.get("default").and_then(default) {
        out.message(33, &default);
    }
    out.text(34, object.get("description"));
    out.text(35, object.get("format"));
    out.extensions(36, object);
    out
}

/// The format knows scalar defaults only.
fn default(value: &Value) -> Option<Message> {
    let mut out = Message::default();
    match value {
        Value::Number(number) => out.double(1, number.as_f64()?),
        Value::Bool(flag) => {
            out.varint(2 << 3);
            out.varint(u64::from(*flag));
        }
        Value::String(text) => out.bytes(3, text.as_bytes()),
        _ => return None,
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn schemas_are_encoded_field_by_field() {
        let check = |given: Value, expected: &[u8]| assert_eq!(schema(&given).0, expected, "{given}");
        check(json!({"type": "string", "format": "byte"}), b"\xca\x01\x06string\x9a\x02\x04byte");
        check(json!({"allOf": [{"$ref": "#/a"}]}), b"\xd2\x01\x07\x12\x05\x0a\x03#/a");
        check(json!({"oneOf": [{"type": "t"}]}), b"\xda\x01\x06\x0a\x04\xca\x01\x01t");
        check(json!({"items": {"$ref": "r"}}), b"\xf2\x01\x07\x0a\x05\x12\x03\x0a\x01r");
        check(json!({"properties": {"a": {"$ref": "r"}}}), b"\xfa\x01\x0c\x0a\x0a\x0a\x01a\x12\x05\x12\x03\x0a\x01r");
        check(json!({"additionalProperties": {"$ref": "r"}}), b"\x82\x02\x07\x0a\x05\x12\x03\x0a\x01r");
        check(json!({"enum": ["a"]}), b"\xc2\x01\x06\x12\x04\"a\"\n");
        check(json!({"default": "x"}), b"\x8a\x02\x03\x1a\x01x");
        check(json!({"default": true}), b"\x8a\x02\x02\x10\x01");
        check(json!({"default": {}}), b"");
        check(json!({"x-a": [1]}), b"\xa2\x02\x0d\x0a\x03x-a\x12\x06\x12\x04[1]\n");
    }

    #[test]
    fn bodies_and_answers_name_their_media_types() {
        let content = content(&json!({"content": {"m": {"schema": {"$ref": "r"}}}})).0;
        assert_eq!(content, b"\x0a\x0c\x0a\x01m\x12\x07\x0a\x05\x12\x03\x0a\x01r");
        let parameter = parameter(&json!({"name": "n", "in": "path", "required": true, "schema": {"type": "t"}})).0;
        assert_eq!(parameter, b"\x0a\x01n\x12\x04path\x20\x01\x52\x06\x0a\x04\xca\x01\x01t");
    }
}
