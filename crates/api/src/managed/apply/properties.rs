//! What holds for any configurations.

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::canon;

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

fn ty() -> &'static Type {
    crate::table::TypeTable::builtin().ty(TYPE).expect("a type")
}

fn applied(live: Option<&Value>, config: &Value, manager: &str, force: bool) -> Result<Value, Status> {
    let mut new = apply(live, config, &write(manager), force)?;
    canon::canonical(&mut new, TYPE).expect("of the type");
    Ok(new)
}

fn later(live: &Value, config: &Value, manager: &str) -> Result<Value, Status> {
    let write = Write { now: Timestamp::from_second(1_800_000_000).expect("in range"), ..write(manager) };
    let mut new = apply(Some(live), config, &write, false)?;
    canon::canonical(&mut new, TYPE).expect("of the type");
    Ok(new)
}

fn bare(object: &Value) -> Value {
    let mut object = object.clone();
    value::remove(&mut object, "metadata.managedFields");
    object
}

fn paths_of(object: &Value, manager: &str) -> Set {
    let owners = owners::entries_of(object).iter().map(Owner::of);
    owners.filter(|o| o.entry["manager"] == manager).map(|o| o.paths).next().unwrap_or_default()
}

fn maybe(strategy: impl Strategy<Value = Value> + 'static) -> impl Strategy<Value = Option<Value>> {
    prop::option::of(strategy)
}

fn letter() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["a", "b", "c"]).prop_map(str::to_owned)
}

fn text() -> impl Strategy<Value = Value> {
    letter().prop_map(Value::from)
}

fn labels() -> impl Strategy<Value = Value> {
    prop::collection::btree_map(letter(), letter(), 1..3).prop_map(|m| json!(m))
}

/// An object of the fields that are there.
fn object(fields: Vec<(&'static str, Option<Value>)>) -> Value {
    Value::Object(fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect())
}

/// Items named apart, in any order.
fn named(item: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    let items = prop::collection::btree_map(letter(), item, 1..4);
    let list = items.prop_map(|items| {
        let with_name = |(name, mut item): (String, Value)| {
            item["name"] = name.into();
            item
        };
        items.into_iter().map(with_name).collect::<Vec<_>>()
    });
    list.prop_shuffle().prop_map(Value::from)
}

fn container() -> impl Strategy<Value = Value> {
    let env = named(text().prop_map(|value| json!({"value": value})));
    let ports = prop::collection::btree_set(80..83i64, 1..3)
        .prop_map(|ports| json!(ports.into_iter().map(|p| json!({"containerPort": p})).collect::<Vec<_>>()));
    let command = prop::collection::vec(letter(), 1..3).prop_map(|c| json!(c));
    (maybe(text()), maybe(env), maybe(ports), maybe(command)).prop_map(|(image, env, ports, command)| {
        object(vec![("image", image), ("env", env), ("ports", ports), ("command", command)])
    })
}

/// Deployments in which nothing is null, zero or empty: such values are owned without being there.
fn config() -> impl Strategy<Value = Value> {
    let finalizers = prop::collection::btree_set(letter(), 1..3).prop_map(|f| json!(f));
    let metadata = (maybe(labels()), maybe(finalizers)).prop_map(|(labels, finalizers)| {
        object(vec![("name", Some("d".into())), ("labels", labels), ("finalizers", finalizers)])
    });
    let pod = (maybe(named(container())), maybe(labels())).prop_map(
        |(containers, selector)| json!({"spec": object(vec![("containers", containers), ("nodeSelector", selector)])}),
    );
    let selector = labels().prop_map(|labels| json!({"matchLabels": labels}));
    let replicas = (1..4i64).prop_map(Value::from);
    let spec = (maybe(replicas), maybe(selector), maybe(pod));
    (metadata, spec).prop_map(|(metadata, (replicas, selector, template))| {
        let spec = object(vec![("replicas", replicas), ("selector", selector), ("template", template)]);
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec})
    })
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
    fn applying_twice_is_applying_once(a in config(), b in config()) {
        let live = applied(None, &a, "a", false).expect("creates");
        let once = applied(Some(&live), &b, "b", true).expect("forced");
        prop_assert_eq!(&later(&once, &b, "b").expect("own fields do not conflict"), &once);
        let changed = applied(Some(&live), &b, "a", false).expect("own fields do not conflict");
        prop_assert_eq!(&later(&changed, &b, "a").expect("own fields do not conflict"), &changed);
        prop_assert_eq!(bare(&changed), { let mut b = b; canon::canonical(&mut b, TYPE).expect("of the type"); b }, "nobody owns more");
    }

    #[test]
    fn ownership_is_of_what_is_there(a in config(), b in config(), c in config()) {
        let mut live = applied(None, &a, "a", false).expect("creates");
        for (config, manager) in [(&b, "b"), (&c, "c"), (&b, "a")] {
            live = applied(Some(&live), config, manager, true).expect("forced");
            let there = fields::named(&fields::of(&bare(&live), ty()), ty());
            for entry in owners::entries_of(&live) {
                let mut elsewhere = Owner::of(entry).paths;
                elsewhere.subtract(&there);
                prop_assert!(elsewhere.is_empty(), "{:?} of {}", elsewhere, entry["manager"]);
            }
            let mut said = fields::of(config, ty());
            said.remove_system_fields();
            prop_assert_eq!(&paths_of(&live, manager), &said, "the applier owns what it said");
        }
    }

    #[test]
    fn conflicts_are_mutual(a in config(), b in config()) {
        let conflicts = |first: &Value, second: &Value| {
            let live = applied(None, first, "first", false).expect("creates");
            applied(Some(&live), second, "second", false).is_err()
        };
        prop_assert_eq!(conflicts(&a, &b), conflicts(&b, &a));
    }

    #[test]
    fn applying_what_is_there_only_shares_it(a in config(), b in config()) {
        let live = applied(None, &a, "a", false).expect("creates");
        let live = applied(Some(&live), &b, "b", true).expect("forced");
        let shared = applied(Some(&live), &bare(&live), "c", false).expect("equal values do not conflict");
        prop_assert_eq!(bare(&shared), bare(&live));
        for manager in ["a", "b"] {
            prop_assert_eq!(paths_of(&shared, manager), paths_of(&live, manager));
        }
    }

    #[test]
    fn a_merge_holds_the_configuration(a in config(), b in config()) {
        let merged = merge::merge(&a, &b, ty());
        prop_assert_eq!(merge::merge(&merged, &b, ty()), merged);
    }

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
        crate::managed::to_scale(&live, &mut new);
        crate::managed::to_workload(&live, &mut new, "apps/v1");
    }
}
