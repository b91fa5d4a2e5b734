//! What holds for any input.

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::json;

use super::*;

const TYPE: &str = "apps/v1.Deployment";

fn write(manager: &str) -> Write<'_> {
    Write {
        manager,
        api_version: "apps/v1",
        ty: TYPE.into(),
        subresource: "",
        reset: &["status"],
        settable: &[],
        now: Timestamp::from_second(1_767_323_045).expect("in range"),
    }
}

/// Any JSON, rich in the names and shapes that the type has.
fn any_tree() -> impl Strategy<Value = Value> {
    let name = prop::sample::select(vec![
        "metadata",
        "spec",
        "status",
        "labels",
        "finalizers",
        "managedFields",
        "template",
        "containers",
        "name",
        "env",
        "ports",
        "containerPort",
        "selector",
        "replicas",
        "operation",
        "fieldsV1",
        "annotations",
        LAST_APPLIED,
        "f:spec",
        "k:{\"name\":\"a\"}",
        "k:",
        ".",
        "conditions",
        "type",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a{\"]{0,3}".prop_map(Value::from),
        Just(Value::from("Apply")),
        Just(Value::from("FieldsV1")),
        Just(Value::from("apps/v1")),
        Just(Value::from("{\"apiVersion\":\"apps/v1\",\"spec\":{\"replicas\":null}}")),
    ];
    leaf.prop_recursive(6, 48, 4, move |inner| {
        prop_oneof![
            prop::collection::btree_map(name.clone().prop_map(str::to_owned), inner.clone(), 0..4)
                .prop_map(|m| json!(m)),
            prop::collection::vec(inner, 0..3).prop_map(Value::from),
        ]
    })
}

fn of_type(mut tree: Value) -> Value {
    if let Some(map) = tree.as_object_mut() {
        map.insert("apiVersion".to_owned(), "apps/v1".into());
        map.insert("kind".to_owned(), "Deployment".into());
    }
    tree
}

proptest! {
    #[test]
    fn no_input_is_too_strange(live in any_tree(), config in any_tree()) {
        let (live, config) = (of_type(live), of_type(config));
        for force in [false, true] {
            let _ = apply(Some(&live), &config, &write("kubectl"), force);
            let _ = apply(None, &config, &write(""), force);
        }
        let mut new = config.clone();
        crate::managed::keep_reset(&mut new);
        crate::managed::stamp(Some(&live), &mut new, &write("u"));
        crate::managed::to_scale(&live, "spec.replicas", &mut new);
        crate::managed::to_workload(&live, &mut new, "apps/v1", "spec.replicas");
    }
}
