//! Kubernetes protobuf bodies, written with the message table alone: what `decode::protobuf` reads.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use crate::decode::{PROTOBUF_MAGIC, protobuf_type};
use crate::table::messages::{Message, Messages, ProtoField, Wire};
use crate::{Object, Value, duration, value};

/// Wire types.
const VARINT: u64 = 0;
const FIXED: u64 = 1;
const BYTES: u64 = 2;

/// The bytes of a message as they grow.
#[derive(Default)]
struct Out(Vec<u8>);

impl Out {
    fn varint(&mut self, mut n: u64) {
        while n >= 0x80 {
            self.0.push(u8::try_from(n & 0x7f).unwrap_or_default() | 0x80);
            n >>= 7;
        }
        self.0.push(u8::try_from(n).unwrap_or_default());
    }

    fn tag(&mut self, number: u32, wire_type: u64) {
        self.varint(u64::from(number) << 3 | wire_type);
    }

    fn number(&mut self, number: u32, n: i64) {
        self.tag(number, VARINT);
        self.varint(n.cast_unsigned());
    }

    fn bytes(&mut self, number: u32, bytes: &[u8]) {
        self.tag(number, BYTES);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }
}

/// An object with its `kind` and `apiVersion`, as a `runtime.Unknown` envelope; `None` for a kind that has no message.
#[must_use]
pub fn protobuf(object: &Value) -> Option<Vec<u8>> {
    let at = |path: &str| value::str_at(object, path).unwrap_or_default();
    let (api_version, kind) = (at("apiVersion"), at("kind"));
    let message = Messages::builtin().by_name(&protobuf_type(api_version, kind))?;
    let mut envelope = envelope(api_version, kind);
    envelope.bytes(ENVELOPED, &of_message(message, object.as_object()?));
    Some(envelope.0)
}

/// The field of an envelope that holds the object.
const ENVELOPED: u32 = 2;

/// An envelope up to the object in it.
fn envelope(api_version: &str, kind: &str) -> Out {
    let mut meta = Out::default();
    meta.bytes(1, api_version.as_bytes());
    meta.bytes(2, kind.as_bytes());
    let mut envelope = Out(PROTOBUF_MAGIC.to_vec());
    envelope.bytes(1, &meta.0);
    envelope
}

/// A list of which one item after the other is written, so that it is never held as values.
pub struct List {
    /// The list without items.
    object: Value,
    message: &'static Message,
    items: &'static ProtoField,
    /// Written items, in pieces of about [`List::PIECE_BYTES`].
    pieces: Vec<Out>,
}

impl List {
    const PIECE_BYTES: usize = 64 * 1024;

    /// A list with `kind`, `apiVersion` and `metadata`; `None` for a kind that has no message.
    #[must_use]
    pub fn new(object: Value) -> Option<Self> {
        let at = |path: &str| value::str_at(&object, path).unwrap_or_default();
        let message = Messages::builtin().by_name(&protobuf_type(at("apiVersion"), at("kind")))?;
        let items = message.fields.iter().find(|field| field.json == "items")?;
        Some(Self { object, message, items, pieces: Vec::new() })
    }

    /// Writes one more item.
    pub fn push(&mut self, item: &Value) {
        if self.pieces.last().is_none_or(|piece| piece.0.len() >= Self::PIECE_BYTES) {
            self.pieces.push(Out(Vec::with_capacity(Self::PIECE_BYTES + Self::PIECE_BYTES / 8)));
        }
        if let Some(piece) = self.pieces.last_mut() {
            write_value(piece, self.items.number, &self.items.wire, item);
        }
    }

    /// The whole body, as [`protobuf`] writes it but for the order of its fields, in pieces.
    #[must_use]
    pub fn finish(self) -> Vec<Vec<u8>> {
        let at = |path: &str| value::str_at(&self.object, path).unwrap_or_default();
        let none = Object::new();
        let bare = of_message(self.message, self.object.as_object().unwrap_or(&none));
        let bytes = bare.len() + self.pieces.iter().map(|piece| piece.0.len()).sum::<usize>();
        let mut head = envelope(at("apiVersion"), at("kind"));
        head.tag(ENVELOPED, BYTES);
        head.varint(bytes as u64);
        head.0.extend_from_slice(&bare);
        std::iter::once(head).chain(self.pieces).map(|piece| piece.0).collect()
    }
}

/// One event of a watch: its type, and the object in an envelope. Events stand on the wire without an envelope of their own.
#[must_use]
pub fn protobuf_event(kind: &str, object: &Value) -> Option<Vec<u8>> {
    let mut raw = Out::default();
    raw.bytes(1, &protobuf(object)?);
    let mut event = Out::default();
    event.bytes(1, kind.as_bytes());
    event.bytes(2, &raw.0);
    Some(event.0)
}

fn of_message(message: &Message, object: &Object) -> Vec<u8> {
    let mut out = Out::default();
    for field in &message.fields {
        match &field.wire {
            Wire::Message(id) if field.inline => {
                let inner = of_message(Messages::builtin().get(*id), object);
                if !inner.is_empty() {
                    out.bytes(field.number, &inner);
                }
            }
            _ => {
                if let Some(value) = object.get(field.json).filter(|v| !v.is_null()) {
                    write_field(&mut out, field, value);
                }
            }
        }
    }
    out.0
}

fn write_field(out: &mut Out, field: &ProtoField, value: &Value) {
    match (&field.wire, value) {
        (Wire::Map(item), Value::Object(map)) => {
            for (key, value) in map {
                let mut entry = Out::default();
                entry.bytes(1, key.as_bytes());
                write_value(&mut entry, 2, item, value);
                out.bytes(field.number, &entry.0);
            }
        }
        (wire, Value::Array(list)) if field.repeated => {
            for item in list {
                write_value(out, field.number, wire, item);
            }
        }
        (wire, value) => write_value(out, field.number, wire, value),
    }
}

fn write_value(out: &mut Out, number: u32, wire: &Wire, value: &Value) {
    let text = value.as_str().unwrap_or_default();
    match wire {
        Wire::String => out.bytes(number, text.as_bytes()),
        Wire::Bytes => out.bytes(number, &STANDARD.decode(text).unwrap_or_default()),
        Wire::Bool => out.number(number, i64::from(value.as_bool().unwrap_or(false))),
        Wire::Int32 | Wire::Int64 => out.number(number, value.as_i64().unwrap_or(0)),
        Wire::Double => {
            out.tag(number, FIXED);
            out.0.extend_from_slice(&value.as_f64().unwrap_or(0.0).to_le_bytes());
        }
        Wire::Message(id) => {
            let empty = Object::new();
            out.bytes(number, &of_message(Messages::builtin().get(*id), value.as_object().unwrap_or(&empty)));
        }
        Wire::SchemaOr(id) => out.bytes(number, &of_alternative(Messages::builtin().get(*id), value)),
        // A map is a field, never an item.
        Wire::Map(_) => {}
        Wire::Time
        | Wire::MicroTime
        | Wire::Duration
        | Wire::Quantity
        | Wire::IntOrString
        | Wire::Raw
        | Wire::Strings => {
            out.bytes(number, &of_scalar(wire, value, text));
        }
    }
}

/// The small messages that JSON prints as one scalar.
fn of_scalar(wire: &Wire, value: &Value, text: &str) -> Vec<u8> {
    let mut out = Out::default();
    match wire {
        Wire::Time | Wire::MicroTime => {
            if let Ok(at) = text.parse::<Timestamp>() {
                // The second before, and what has passed of it, also before 1970.
                let passed = i64::from(at.subsec_nanosecond()).rem_euclid(1_000_000_000);
                out.number(1, at.as_second() - i64::from(at.subsec_nanosecond() < 0));
                out.number(2, passed);
            }
        }
        Wire::Duration => out.number(1, duration::parse_go(text).unwrap_or(0)),
        Wire::Quantity => out.bytes(1, text.as_bytes()),
        Wire::IntOrString => {
            out.number(1, i64::from(value.is_string()));
            out.number(2, value.as_i64().unwrap_or(0));
            out.bytes(3, text.as_bytes());
        }
        Wire::Raw => out.bytes(1, value.to_string().as_bytes()),
        _ => {
            for item in value.as_array().into_iter().flatten().filter_map(Value::as_str) {
                out.bytes(1, item.as_bytes());
            }
        }
    }
    out.0
}

/// The alternatives of `JSONSchemaPropsOr…`: the one whose JSON this is.
fn of_alternative(message: &Message, value: &Value) -> Vec<u8> {
    let name = |field: &&ProtoField| match value {
        Value::Bool(_) => field.json == "allows",
        Value::Array(_) => matches!(field.json, "jSONSchemas" | "property"),
        _ => field.json == "schema",
    };
    let mut out = Out::default();
    if value.is_object()
        && let Some(allows) = message.fields.iter().find(|f| f.json == "allows")
    {
        out.number(allows.number, 1);
    }
    if let Some(field) = message.fields.iter().find(name) {
        write_field(&mut out, field, value);
    }
    out.0
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::kinds::Kinds;
    use crate::{decode, discovery};

    fn check(object: &Value) {
        let bytes = protobuf(object).unwrap_or_else(|| panic!("no message for {object}"));
        assert_eq!(&decode::protobuf(&bytes).expect("readable"), object);
    }

    #[test]
    fn what_is_written_is_read_again() {
        check(&json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "p", "creationTimestamp": "2026-01-02T03:04:05Z", "labels": {"a": "b"}, "generation": 3,
                "managedFields": [{"manager": "m", "operation": "Apply", "fieldsV1": {"f:spec": {}}}]},
            "spec": {
                "terminationGracePeriodSeconds": -1,
                "containers": [{"name": "c", "image": "i",
                    "resources": {"limits": {"cpu": "500m"}},
                    "readinessProbe": {"httpGet": {"path": "/", "port": "web"}, "periodSeconds": 3},
                    "livenessProbe": {"tcpSocket": {"port": 80}}}],
                "volumes": [{"name": "v", "emptyDir": {}}, {"name": "w", "configMap": {"name": "m", "optional": true}}],
            },
        }));
        check(&json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "data": {"a": "Yg=="}}));
        for version in ["v1", "v1beta1"] {
            check(&json!({"apiVersion": format!("meta.k8s.io/{version}"), "kind": "PartialObjectMetadataList",
                "metadata": {"resourceVersion": "5"}, "items": [{"metadata": {"name": "a"}}]}));
        }
        check(&json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "l"},
            "spec": {"renewTime": "2026-01-02T03:04:05.000123Z"},
        }));
        check(&json!({
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "c"},
            "status": {"acceptedNames": {"kind": "", "plural": ""}, "conditions": null, "storedVersions": null},
            "spec": {"group": "g", "versions": [{"name": "v1", "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"a": {"type": "array", "items": {"type": "number", "maximum": 1.5}}},
                "additionalProperties": {"type": "string"}, "default": {"a": [1]}}}}]},
        }));
        check(&json!({
            "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure", "code": 404,
            "details": {"name": "x", "kind": "pods"},
        }));
        check(&discovery::aggregated(&Kinds::builtin(), discovery::Root::Apis));
        assert_eq!(protobuf(&json!({"apiVersion": "example.com/v1", "kind": "Thing"})), None);
    }

    /// Go's zero time is no bytes at all, and the epoch is two zeros.
    #[test]
    fn any_time_is_read_as_it_was_written() {
        let lease = |renewed: &str| {
            json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                "metadata": {"name": "l", "creationTimestamp": "1970-01-01T00:00:00Z"}, "spec": {"renewTime": renewed}})
        };
        for renewed in [
            "1970-01-01T00:00:00.000000Z",
            "1970-01-01T00:00:00.000001Z",
            "1969-12-31T23:59:59.500000Z",
            "0001-01-01T00:00:00.000001Z",
            "9999-12-30T22:00:00.999999Z",
        ] {
            check(&lease(renewed));
        }
        let ends = |renewed: &str, with: &[u8]| protobuf(&lease(renewed)).is_some_and(|bytes| bytes.ends_with(with));
        assert!(ends("1970-01-01T00:00:00.000000Z", b"\x08\0\x10\0"));
        // The second before, and half of it.
        assert!(ends(
            "1969-12-31T23:59:59.500000Z",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x10\x80\xca\xb5\xee\x01"
        ));
    }

    #[test]
    fn a_list_is_written_item_by_item() {
        for (api_version, kind) in [
            ("v1", "ConfigMapList"),
            ("meta.k8s.io/v1", "PartialObjectMetadataList"),
            ("meta.k8s.io/v1beta1", "PartialObjectMetadataList"),
        ] {
            let head = json!({"apiVersion": api_version, "kind": kind, "metadata": {"resourceVersion": "5"}});
            let mut list = List::new(head.clone()).expect("a message");
            let items: Vec<Value> = (0..5_000).map(|n| json!({"metadata": {"name": format!("m{n}")}})).collect();
            items.iter().for_each(|item| list.push(item));
            let pieces = list.finish();
            assert!(pieces.len() > 1 && pieces.iter().all(|piece| piece.len() < 2 * List::PIECE_BYTES));
            let mut whole = head;
            whole["items"] = items.into();
            assert_eq!(decode::protobuf(&pieces.concat()).expect("readable"), whole, "{kind}");
        }
        assert!(List::new(json!({"apiVersion": "example.com/v1", "kind": "ThingList"})).is_none());
    }

    #[test]
    fn an_event_holds_an_object_in_its_envelope() {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}});
        let event = protobuf_event("ADDED", &object).expect("a message");
        let inner = protobuf(&object).expect("a message");
        assert!(event.starts_with(b"\x0a\x05ADDED\x12") && event.ends_with(&inner));
    }
}
