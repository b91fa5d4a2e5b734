//! An object of every kind with every field set, made from the type table: canonical form, protobuf, merges, managed fields.

use serde_json::json;

use crate::decode::{conform, protobuf};
use crate::kinds::{self, KindInfo};
use crate::table::{FieldType, Type, TypeTable};
use crate::{Value, canon, managed, patch};

/// The types that a value is in. Types contain themselves (schemas, for one): in there nothing is set.
type Above<'a> = Vec<&'a str>;

/// A canonical value that is not its type's zero.
fn some<'t>(ty: &'t FieldType, above: &mut Above<'t>) -> Value {
    match ty {
        FieldType::String => "text".into(),
        FieldType::Bytes => "AQI=".into(),
        FieldType::Bool => true.into(),
        FieldType::Int32 => 7.into(),
        FieldType::Int64 => 77.into(),
        FieldType::Double => 1.5.into(),
        FieldType::Time => "2026-01-02T03:04:05Z".into(),
        FieldType::MicroTime => "2026-01-02T03:04:05.000006Z".into(),
        FieldType::Quantity => "5Gi".into(),
        FieldType::IntOrString => "50%".into(),
        FieldType::Raw | FieldType::Any | FieldType::Open => json!({"a": [1]}),
        FieldType::Struct(id) => full(TypeTable::builtin().get(id), above),
        FieldType::List(item) => json!([some(item, above)]),
        FieldType::Map(item) => json!({"key": some(item, above)}),
        FieldType::Merged(field) => some(&field.ty, above),
    }
}

/// An object with every field set.
fn full<'t>(ty: &'t Type, above: &mut Above<'t>) -> Value {
    if above.contains(&ty.name) {
        return json!({});
    }
    above.push(ty.name);
    let fields = ty.fields.iter().map(|(name, field)| {
        let held = match (field.declared.contains("JSONSchemaPropsOr"), &field.ty) {
            (false, ty) => some(ty, above),
            // A schema, though it is not typed as one.
            (true, FieldType::Map(_)) => json!({"key": {"type": "text"}}),
            (true, _) => json!({"type": "text"}),
        };
        ((*name).to_owned(), held)
    });
    let fields = fields.collect();
    above.pop();
    Value::Object(fields)
}

/// The canonical form of [`full`] for a kind.
pub(super) fn maximal(kind: &KindInfo) -> Value {
    let ty = TypeTable::builtin().ty(&kind.type_name).expect("a type for every kind");
    let mut object = full(ty, &mut Vec::new());
    object["apiVersion"] = kind.api_version.as_str().into();
    object["kind"] = kind.kind.into();
    object
}

/// The object as `k8s\0` and an envelope.
pub(super) fn encoded(object: &Value) -> Vec<u8> {
    crate::encode::protobuf(object).expect("a message for every kind")
}

/// Where two trees differ first, for a message that fits a screen.
pub(super) fn difference(a: &Value, b: &Value, path: &str) -> Option<String> {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: std::collections::BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            let null = Value::Null;
            keys.into_iter()
                .find_map(|k| difference(a.get(k).unwrap_or(&null), b.get(k).unwrap_or(&null), &format!("{path}.{k}")))
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            a.iter().zip(b).enumerate().find_map(|(i, (a, b))| difference(a, b, &format!("{path}[{i}]")))
        }
        _ => (a != b).then(|| format!("{path}: {a} != {b}")),
    }
}

fn assert_same(kind: &KindInfo, a: &Value, b: &Value, what: &str) {
    assert_eq!(difference(a, b, ""), None, "{} {}: {what}", kind.api_version, kind.kind);
}

#[test]
fn every_field_of_every_kind_is_canonical() {
    for kind in kinds::all() {
        let object = maximal(kind);
        let mut conformed = object.clone();
        let unknown = conform(&mut conformed, &kind.type_name).expect("of the type");
        assert_eq!(unknown, Vec::<String>::new(), "{}", kind.kind);
        assert_same(kind, &object, &conformed, "no field is dropped or changed");
        let bytes = canon::encode(&conformed);
        let again: Value = serde_json::from_slice(&bytes).expect("JSON");
        assert_same(kind, &conformed, &again, "its bytes say the same");
    }
}

#[test]
fn every_field_of_every_kind_is_read_from_protobuf() {
    for kind in kinds::all().iter().filter(|k| !k.computed()) {
        let mut object = maximal(kind);
        // Templates of claims say what they are in JSON only; defaulting puts it back.
        if let Some(Value::Array(claims)) = crate::value::get_mut(&mut object, "spec.volumeClaimTemplates") {
            for claim in claims.iter_mut().filter_map(Value::as_object_mut) {
                claim.remove("apiVersion");
                claim.remove("kind");
            }
        }
        let read = protobuf(&encoded(&object)).expect("readable");
        assert_same(kind, &object, &read, "protobuf and JSON mean the same");
    }
}

#[test]
fn patches_of_every_kind_that_change_nothing_change_nothing() {
    for kind in kinds::all() {
        let object = maximal(kind);
        let merged = patch::merge(&object, &object).expect("a patch");
        assert_same(kind, &object, &merged, "merge patch with itself");
        match patch::strategic(&object, &object, &kind.type_name) {
            Ok(merged) => assert_same(kind, &object, &merged, "strategic merge patch with itself"),
            // What upstream's Go types do not tell: maps of maps, structs and lists, and what reads its JSON by itself.
            Err(status) => {
                let known =
                    ["merging an object in json but data type is not struct", "unable to find api field in struct "];
                assert!(known.iter().any(|why| status.message.starts_with(why)), "{}: {status}", kind.type_name);
            }
        }
        let merged =
            patch::json(&object, &json!([{"op": "test", "path": "/kind", "value": kind.kind}])).expect("a patch");
        assert_same(kind, &object, &merged, "JSON patch that only tests");
    }
}

#[test]
fn the_writer_of_every_field_of_every_kind_is_known() {
    let write = |kind: &'static KindInfo, manager| managed::Write {
        manager,
        api_version: &kind.api_version,
        ty: kind.into(),
        subresource: "",
        reset: &[],
        settable: &[],
        now: jiff::Timestamp::UNIX_EPOCH,
    };
    for kind in kinds::all().iter().filter(|k| !k.create_only()) {
        let mut object = maximal(kind);
        crate::value::remove(&mut object, "metadata.managedFields");
        managed::stamp(None, &mut object, &write(kind, "maker"));
        let entries = crate::value::list_at(&object, "metadata.managedFields");
        assert_eq!(entries.len(), 1, "{}", kind.kind);
        let fields = entries[0]["fieldsV1"].as_object().expect("a set");
        for key in object.as_object().expect("an object").keys() {
            let system = ["apiVersion", "kind", "metadata"].contains(&key.as_str());
            assert!(system || fields.contains_key(&format!("f:{key}")), "{} {key}", kind.kind);
        }
        let old = object.clone();
        managed::stamp(Some(&old), &mut object, &write(kind, "other"));
        assert_same(kind, &old, &object, "a write that changes nothing owns nothing");
    }
}
