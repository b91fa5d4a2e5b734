//! Bodies that are small on the wire and large, deep or endless when they are read.

use serde_json::json;

use crate::Value;
use crate::decode::protobuf;
use crate::decode::protobuf::MAGIC;

/// What a server takes.
const BODY_BYTES: usize = 3 * 1024 * 1024;

fn varint(mut number: usize, out: &mut Vec<u8>) {
    while number > 0x7f {
        out.push(u8::try_from(number & 0x7f).expect("seven bits") | 0x80);
        number >>= 7;
    }
    out.push(u8::try_from(number).expect("seven bits"));
}

/// A field that holds a message or text.
fn field(number: usize, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(content.len() + 12);
    varint(number << 3 | 2, &mut out);
    varint(content.len(), &mut out);
    out.extend_from_slice(content);
    out
}

/// A message within itself, so many times.
fn nested(number: usize, levels: usize) -> Vec<u8> {
    // From within: each length depends on what is in it.
    let mut heads = Vec::with_capacity(levels);
    let mut length = 0;
    for _ in 0..levels {
        let mut head = Vec::new();
        varint(number << 3 | 2, &mut head);
        varint(length, &mut head);
        length += head.len();
        heads.push(head);
    }
    heads.into_iter().rev().flatten().collect()
}

fn body(api_version: &str, kind: &str, object: &[u8]) -> Vec<u8> {
    let meta = [field(1, api_version.as_bytes()), field(2, kind.as_bytes())].concat();
    [&MAGIC[..], &field(1, &meta), &field(2, object)].concat()
}

/// `spec.versions[].schema.openAPIV3Schema`, and in it a schema with this content.
fn definition(schema: &[u8]) -> Vec<u8> {
    let version = field(4, &field(1, schema));
    body("apiextensions.k8s.io/v1", "CustomResourceDefinition", &field(2, &field(7, &version)))
}

fn refusal(bytes: &[u8]) -> (u16, String) {
    let status = protobuf(bytes).expect_err("refused");
    (status.code, status.message)
}

#[test]
fn attack_messages_within_messages_end() {
    const TOO_DEEP: &str = "unable to decode the protobuf body: it is nested too deeply";
    // `not`, `allOf` and `items.schema` of JSONSchemaProps; the last has two messages a level.
    let items = |levels| (0..levels).fold(Vec::new(), |inner, _| field(24, &field(1, &inner)));
    for (what, few, many) in [
        ("not", nested(28, 100), nested(28, 500_000)),
        ("allOf", nested(25, 100), nested(25, 500_000)),
        ("items", items(50), items(2_000)),
    ] {
        assert!(many.len() < BODY_BYTES, "{what}");
        let read = protobuf(&definition(&few)).expect(what);
        let schema = &read["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let within = ["/not/not", "/allOf/0/allOf", "/items/items"].iter().find_map(|path| schema.pointer(path));
        assert!(within.is_some(), "{what}: {schema}");
        assert_eq!(refusal(&definition(&many)), (400, TOO_DEEP.to_owned()), "{what}");
    }
    // An envelope within an envelope is an object without a kind, however deep; nothing is opened twice.
    let envelope = (0..1_000).fold(Vec::new(), |inner, _| field(2, &inner));
    assert_eq!(
        refusal(&[&MAGIC[..], &envelope].concat()),
        (400, "no kind \"\" is registered for version \"\"".to_owned())
    );
    // Embedded JSON has a bound of its own.
    let deep = "[".repeat(200_000);
    let default = field(8, &field(1, deep.as_bytes()));
    let why = "unable to decode the protobuf body: an embedded object is not JSON";
    assert_eq!(refusal(&definition(&default)), (400, why.to_owned()));
}

#[test]
fn attack_a_million_tiny_fields_cost_what_they_say() {
    const MANY: usize = 1_000_000;
    // The last of a field that is there once counts, however often it is sent.
    let names = field(1, b"a").repeat(MANY);
    let map = body("v1", "ConfigMap", &field(1, &names));
    assert!(map.len() > BODY_BYTES / 2);
    assert_eq!(protobuf(&map).expect("readable")["metadata"]["name"], "a");
    // Unknown fields are read over.
    let unknown = [0xf8, 0x3f, 1].repeat(MANY);
    let read = protobuf(&body("v1", "ConfigMap", &unknown)).expect("readable");
    assert_eq!(read, json!({"apiVersion": "v1", "kind": "ConfigMap"}));
    // Entries of maps with the same key are one.
    let entries = field(2, &field(1, b"k")).repeat(MANY / 2);
    assert_eq!(protobuf(&body("v1", "ConfigMap", &entries)).expect("readable")["data"], json!({"k": ""}));
    // Numbers in one field, packed.
    let groups = protobuf(&body("v1", "Pod", &field(2, &field(14, &field(4, &vec![1; MANY]))))).expect("readable");
    let groups = groups["spec"]["securityContext"]["supplementalGroups"].as_array().map(Vec::len);
    assert_eq!(groups, Some(MANY));
    // A length that lies is found before anything is put aside for it.
    let mut lie = body("v1", "ConfigMap", &[]);
    lie.extend_from_slice(&[0x12, 0xff, 0xff, 0xff, 0xff, 0x0f]);
    assert_eq!(refusal(&lie), (400, "unable to decode the protobuf body: it ends in the middle of a field".to_owned()));
    // Each item of a list is one, and has nothing in it.
    let finalizers = field(1, &field(14, b"x").repeat(MANY / 2));
    let read = protobuf(&body("v1", "ConfigMap", &finalizers)).expect("readable");
    assert_eq!(values(&read), MANY / 2 + 5, "the object, its kind and version, metadata and the list");
    let containers = field(2, &field(2, b"").repeat(MANY));
    let read = protobuf(&body("v1", "Pod", &containers)).expect("readable");
    assert_eq!(values(&read["spec"]["containers"]), MANY + 1);
}

/// How many values there are, with those within.
fn values(value: &Value) -> usize {
    1 + match value {
        Value::Array(list) => list.iter().map(values).sum(),
        Value::Object(map) => map.values().map(values).sum(),
        _ => 0,
    }
}
