//! The stored bytes of an object, and when two objects are the same.
//!
//! What the canonical tree looks like is decided in [`crate::decode::conform`]; maps are ordered by key, so its bytes are canonical too.

use crate::Value;
use crate::decode::conform;
use crate::status::Status;
use crate::table::TypeRef;
use crate::value;

/// Compact JSON, keys in byte order.
#[must_use]
pub fn encode(value: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(1024);
    serde_json::to_writer(&mut out, value).expect("a value tree has string keys and a Vec takes all bytes");
    out
}

/// Brings `value` to the canonical form of its type: `canonical(canonical(x)) = canonical(x)`.
///
/// # Errors
/// 400 for a tree that is not of the type.
pub fn canonical<'a>(value: &mut Value, ty: impl Into<TypeRef<'a>>) -> Result<(), Status> {
    conform(value, ty).map(|_| ())
}

/// Whether a write of `new` over `old` changes nothing: equal but for the resource version and the times in managed fields.
#[must_use]
pub fn unchanged(old: &Value, new: &Value) -> bool {
    let (Some(a), Some(b)) = (old.as_object(), new.as_object()) else { return old == new };
    a.len() == b.len()
        && a.iter().all(|(key, old)| match b.get(key) {
            Some(new) if key == "metadata" => same_metadata(old, new),
            other => other == Some(old),
        })
}

fn same_metadata(old: &Value, new: &Value) -> bool {
    let (Some(a), Some(b)) = (old.as_object(), new.as_object()) else { return old == new };
    let counts = |key: &str| key != "resourceVersion" && key != "managedFields";
    a.iter().filter(|(k, _)| counts(k)).all(|(k, v)| b.get(k) == Some(v))
        && b.keys().filter(|k| counts(k)).all(|k| a.contains_key(k))
        && same_managers(value::list_at(old, "managedFields"), value::list_at(new, "managedFields"))
}

fn same_managers(old: &[Value], new: &[Value]) -> bool {
    let same = |(a, b): (&Value, &Value)| match (a.as_object(), b.as_object()) {
        (Some(a), Some(b)) => a.len() == b.len() && a.iter().all(|(k, v)| k == "time" || b.get(k) == Some(v)),
        _ => a == b,
    };
    old.len() == new.len() && old.iter().zip(new).all(same)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_matters_makes_a_change() {
        let old = json!({"metadata": {"name": "a", "resourceVersion": "1", "managedFields": [{"manager": "m", "time": "x"}]}, "spec": {"a": 1}});
        let check = |path: &str, new: Value, expected: bool| {
            let mut changed = old.clone();
            value::set(&mut changed, path, new);
            assert_eq!(unchanged(&old, &changed), expected, "{path}");
        };
        check("metadata.resourceVersion", json!("2"), true);
        check("metadata.managedFields", json!([{"manager": "m", "time": "y"}]), true);
        check("metadata.managedFields", json!([{"manager": "n", "time": "x"}]), false);
        check("metadata.labels", json!({}), false);
        check("spec.a", json!(2), false);
        check("status", json!({}), false);
    }

    /// Trees with the field names of a Deployment and values of any JSON type.
    fn tree() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-3i64..3).prop_map(Value::from),
            "[0-9]{1,3}(m|Ki)?".prop_map(Value::from),
            Just(Value::from("2026-01-02T03:04:05.5+02:00")),
        ];
        let name = prop::sample::select(vec![
            "metadata",
            "spec",
            "labels",
            "replicas",
            "template",
            "containers",
            "name",
            "resources",
            "limits",
            "cpu",
            "env",
            "creationTimestamp",
            "selector",
            "matchLabels",
            "emptyDir",
            "volumes",
            "foo",
        ]);
        leaf.prop_recursive(6, 64, 5, move |inner| {
            prop_oneof![
                prop::collection::btree_map(name.clone().prop_map(str::to_owned), inner.clone(), 0..5)
                    .prop_map(|m| Value::Object(m.into_iter().collect())),
                prop::collection::vec(inner, 0..3).prop_map(Value::from),
            ]
        })
    }

    proptest! {
        #[test]
        fn canonical_is_a_fixed_point(mut value in tree()) {
            if canonical(&mut value, "apps/v1.Deployment").is_ok() {
                let once = encode(&value);
                let mut again: Value = serde_json::from_slice(&once).expect("its own bytes");
                canonical(&mut again, "apps/v1.Deployment").expect("it was canonical");
                prop_assert_eq!(encode(&again), once);
            }
        }
    }
}
