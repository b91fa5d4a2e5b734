//! The situations of upstream's own merge tests (structured-merge-diff, `merge/*_test.go`), on a kind that a definition makes: what one
//! applies, updates and applies again, the object that comes of it, and who owns what.

use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::custom::{self, Definition};

/// One step: who writes, in which version, and the fields.
enum Step {
    Apply(&'static str, &'static str, Value),
    /// The same, which is refused for these paths of these owners.
    Conflict(&'static str, &'static str, Value, &'static [(&'static str, &'static str)]),
    Force(&'static str, &'static str, Value),
    Update(&'static str, &'static str, Value),
}

use Step::{Apply, Conflict, Force, Update};

/// A kind with these fields, the same in three versions.
fn definition(properties: &Value) -> Arc<Definition> {
    let versions: Vec<Value> = ["v1", "v2", "v3", "v4"]
        .iter()
        .map(|name| {
            let schema = json!({"openAPIV3Schema": {"type": "object", "properties": properties}});
            json!({"name": name, "served": true, "storage": *name == "v1", "schema": schema})
        })
        .collect();
    let names = json!({"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"});
    let definition = json!({
        "metadata": {"name": "things.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": names, "versions": versions},
        "status": {"acceptedNames": names},
    });
    custom::definition(&definition).expect("a definition")
}

/// Lists and maps within lists and maps.
fn nested() -> Value {
    let texts = json!({"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"});
    let map = json!({"type": "object", "additionalProperties": {"type": "string"}});
    let keyed = |value: &Value| {
        let item =
            json!({"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "value": value}});
        json!({"type": "array", "items": item, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]})
    };
    let named = json!({"type": "object", "properties": {"name": {"type": "string"}, "value": {"type": "integer"}}});
    let mut atomic = named.clone();
    atomic["x-kubernetes-map-type"] = "atomic".into();
    json!({
        "listOfLists": keyed(&texts), "listOfMaps": keyed(&map),
        "mapOfMaps": {"type": "object", "additionalProperties": map}, "struct": named, "atomic": atomic,
        "mapOfLists": {"type": "object", "additionalProperties": texts},
        "mapOfItems": {"type": "object", "additionalProperties": keyed(&texts)},
        "mapOfAtoms": {"type": "object", "additionalProperties": {
            "type": "object", "additionalProperties": {"type": "string"}, "x-kubernetes-map-type": "atomic",
        }},
        "list": texts, "plain": {"type": "array", "items": {"type": "string"}},
        "bool": {"type": "boolean"}, "string": {"type": "string"}, "number": {"type": "integer"},
        "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        "ports": {
            "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["port", "protocol"],
            "items": {"type": "object", "required": ["port"], "properties": {
                "port": {"type": "integer"}, "protocol": {"type": "string", "default": "TCP"}, "name": {"type": "string"},
            }},
        },
    })
}

fn thing(version: &str, fields: &Value) -> Value {
    let mut object = fields.clone();
    object["apiVersion"] = format!("example.com/{version}").into();
    object["kind"] = "Thing".into();
    object["metadata"] = json!({"name": "t", "namespace": "n"});
    object
}

/// The object without what every object has, and the paths by manager, without entries that own nothing.
fn seen(live: Option<&Value>) -> (Value, Value) {
    let mut object = live.cloned().unwrap_or_else(|| json!({}));
    let owners: Object = live
        .map_or(&[][..], owners::entries_of)
        .iter()
        .map(|e| (e["manager"].as_str().unwrap_or_default().to_owned(), e["fieldsV1"].clone()))
        .collect();
    for name in ["apiVersion", "kind", "metadata"] {
        object.as_object_mut().expect("an object").remove(name);
    }
    (object, owners.into())
}

fn check(what: &str, properties: &Value, steps: Vec<Step>, object: Value, owners: Value) {
    let definition = definition(properties);
    let mut live: Option<Value> = None;
    for step in steps {
        let (Apply(manager, version, fields)
        | Force(manager, version, fields)
        | Update(manager, version, fields)
        | Conflict(manager, version, fields, _)) = &step;
        let config = thing(version, fields);
        let kind = definition.version(version).expect("a version");
        let by = Write {
            manager,
            api_version: &kind.api_version,
            ty: kind.into(),
            subresource: "",
            reset: &[],
            settable: &[],
            now: Timestamp::from_second(1_767_323_045).expect("in range"),
        };
        match &step {
            Update(..) => {
                let mut new = config;
                crate::managed::stamp(live.as_ref(), &mut new, &by);
                live = Some(new);
            }
            Apply(..) | Force(..) => {
                let new = apply(live.as_ref(), &config, &by, matches!(step, Force(..)));
                live = Some(new.unwrap_or_else(|status| panic!("{what}: {manager}: {status}")));
            }
            Conflict(.., paths) => {
                let status = apply(live.as_ref(), &config, &by, false).expect_err(what);
                let causes = status.details.expect("details").causes;
                let owner = |message: &str| message.split('"').nth(1).unwrap_or_default().to_owned();
                let found: Vec<_> = causes.iter().map(|c| (owner(&c.message), c.field.clone())).collect();
                let paths: Vec<_> = paths.iter().map(|(o, p)| ((*o).to_owned(), (*p).to_owned())).collect();
                assert_eq!(found, paths, "{what}");
            }
        }
    }
    assert_eq!(seen(live.as_ref()), (object, owners), "{what}");
}

const A: &str = "k:{\"name\":\"a\"}";
const B: &str = "k:{\"name\":\"b\"}";

#[test]
fn nested_values_are_changed_by_their_applier() {
    let check = |what: &str, first: Value, second: Value, owned: Value| {
        let writes = vec![Apply("d", "v1", first), Apply("d", "v1", second.clone())];
        check(what, &nested(), writes, second, json!({"d": owned}));
    };
    let list = |field: &str, name: &str, value: Value| json!({field: [{"name": name, "value": value}]});
    let of_list =
        |field: String, key: &str, value: Value| json!({field: {key: {".": {}, "f:name": {}, "f:value": value}}});
    let set = json!({"v:\"a\"": {}, "v:\"c\"": {}});
    let map = json!({"f:a": {}, "f:c": {}});
    for (name, key) in [("a", A), ("b", B)] {
        let (first, second) = (json!(["b", "c"]), json!(["a", "c"]));
        check(
            "a set in an item",
            list("listOfLists", "a", first),
            list("listOfLists", name, second),
            of_list("f:listOfLists".into(), key, set.clone()),
        );
        let (first, second) = (json!({"b": "x", "c": "y"}), json!({"a": "x", "c": "z"}));
        check(
            "a map in an item",
            list("listOfMaps", "a", first.clone()),
            list("listOfMaps", name, second.clone()),
            of_list("f:listOfMaps".into(), key, map.clone()),
        );
        let mut owned = map.clone();
        owned["."] = json!({});
        check(
            "a map in a map",
            json!({"mapOfMaps": {"a": first}}),
            json!({"mapOfMaps": {name: second}}),
            json!({"f:mapOfMaps": {format!("f:{name}"): owned}}),
        );
        let mut owned = set.clone();
        owned["."] = json!({});
        check(
            "a set in a map",
            json!({"mapOfLists": {"a": ["b", "c"]}}),
            json!({"mapOfLists": {name: ["a", "c"]}}),
            json!({"f:mapOfLists": {format!("f:{name}"): owned}}),
        );
        let items = |name: &str, value: Value| json!({"mapOfItems": {name: [{"name": name, "value": value}]}});
        check(
            "a list with keys in a map",
            items("a", json!(["b", "c"])),
            items(name, json!(["a", "c"])),
            json!({"f:mapOfItems": {format!("f:{name}"): {".": {}, key: {".": {}, "f:name": {}, "f:value": set}}}}),
        );
        check(
            "an atomic map in a map",
            json!({"mapOfAtoms": {"a": {"b": "x"}}}),
            json!({"mapOfAtoms": {name: {"a": "x"}}}),
            json!({"f:mapOfAtoms": {format!("f:{name}"): {}}}),
        );
    }
}

#[test]
fn structs_that_lose_their_fields() {
    let check = |what: &str, between: Option<Value>, last: Value, object: Value, owners: Value| {
        let mut writes = vec![Apply("d", "v1", json!({"struct": {"name": "a"}}))];
        writes.extend(between.map(|value| Update("c", "v1", value)));
        writes.push(Apply("d", "v1", last));
        check(what, &nested(), writes, object, owners);
    };
    let name_and_value = Some(json!({"struct": {"name": "a", "value": 1}}));
    let value = json!({"struct": {"value": 1}});
    let by_c = json!({"f:struct": {"f:value": {}}});
    check("all is gone", None, json!({}), json!({}), json!({}));
    check("null is said", None, json!({"struct": null}), json!({"struct": null}), json!({"d": {"f:struct": {}}}));
    check("others keep theirs", name_and_value.clone(), json!({}), value.clone(), json!({"c": by_c}));
    check(
        "{} changes nothing",
        name_and_value.clone(),
        json!({"struct": {}}),
        value.clone(),
        json!({"c": by_c, "d": {"f:struct": {}}}),
    );
    check("nor does null", name_and_value, json!({"struct": null}), value, json!({"c": by_c, "d": {"f:struct": {}}}));
    let taken = json!({"struct": {"name": "b", "value": 1}});
    let by_c = json!({"f:struct": {"f:name": {}, "f:value": {}}});
    check(
        "what was taken over stays",
        Some(taken.clone()),
        json!({"struct": null}),
        taken,
        json!({"c": by_c, "d": {"f:struct": {}}}),
    );
}

fn lists(items: &[(&str, &[&str])]) -> Value {
    let item = |(name, value): &(&str, &[&str])| match *value {
        [] => json!({"name": name}),
        value => json!({"name": name, "value": value}),
    };
    json!({"listOfLists": items.iter().map(item).collect::<Vec<_>>()})
}

fn owned_items(items: Value) -> Value {
    json!({"f:listOfLists": items})
}

#[test]
fn several_appliers_keep_what_they_share() {
    let item = |value: Option<Value>| match value {
        Some(value) => json!({".": {}, "f:name": {}, "f:value": value}),
        None => json!({".": {}, "f:name": {}}),
    };
    let one = owned_items(json!({A: item(None)}));
    check(
        "one of two items goes, the other one's stays with what others put into it",
        &nested(),
        vec![
            Apply("one", "v1", lists(&[("a", &[]), ("b", &["c"])])),
            Apply("two", "v2", lists(&[("b", &["d"])])),
            Apply("one", "v3", lists(&[("a", &[])])),
        ],
        lists(&[("a", &[]), ("b", &["d"])]),
        json!({"one": one, "two": owned_items(json!({B: item(Some(json!({"v:\"d\"": {}})))}))}),
    );
    check(
        "an item goes with what a plain writer put into it",
        &nested(),
        vec![
            Apply("one", "v1", lists(&[("a", &[]), ("b", &["c"])])),
            Apply("two", "v2", lists(&[("a", &["b"])])),
            Update("controller", "v2", lists(&[("a", &["b"]), ("b", &["c", "d"])])),
            Apply("one", "v3", lists(&[("a", &[])])),
        ],
        lists(&[("a", &["b"])]),
        json!({"one": one, "two": owned_items(json!({A: item(Some(json!({"v:\"b\"": {}})))}))}),
    );
    check(
        "it stays while another applier has it",
        &nested(),
        vec![
            Apply("one", "v1", lists(&[("a", &[]), ("b", &["c"])])),
            Apply("two", "v2", lists(&[("b", &["d"])])),
            Update("controller", "v2", lists(&[("a", &[]), ("b", &["c", "d", "e"])])),
            Apply("one", "v3", lists(&[("a", &[])])),
        ],
        lists(&[("a", &[]), ("b", &["d", "e"])]),
        json!({
            "one": one, "two": owned_items(json!({B: item(Some(json!({"v:\"d\"": {}})))})),
            "controller": owned_items(json!({B: {"f:value": {"v:\"e\"": {}}}})),
        }),
    );
}

#[test]
fn maps_of_unknown_shape_merge_by_what_is_there() {
    let open = |value: Value| json!({"open": value});
    check(
        "several appliers and controllers, level by level",
        &nested(),
        vec![
            Apply("one", "v1", open(json!({"a": {"b": null}, "c": {"d": null}}))),
            Apply("two", "v2", open(json!({"a": null, "c": {"d": null}}))),
            Update("first", "v3", open(json!({"a": {"b": {"c": null}}, "c": {"d": {"e": null}}}))),
            Update("second", "v2", open(json!({"a": {"b": {"c": {"d": null}}}, "c": {"d": {"e": {"f": null}}}}))),
            Update(
                "first",
                "v3",
                open(json!({"a": {"b": {"c": {"d": {"e": null}}}}, "c": {"d": {"e": {"f": {"g": null}}}}})),
            ),
            Apply("one", "v4", json!({})),
        ],
        open(json!({"a": {}, "c": {"d": {"e": {"f": {"g": null}}}}})),
        json!({
            "two": {"f:open": {"f:a": {}, "f:c": {".": {}, "f:d": {}}}},
            "first": {"f:open": {"f:c": {"f:d": {"f:e": {".": {}, "f:f": {"f:g": {}}}}}}},
            "second": {"f:open": {"f:c": {"f:d": {"f:e": {"f:f": {}}}}}},
        }),
    );
    check(
        "a list there is one value",
        &nested(),
        vec![
            Apply("one", "v1", open(json!({"list": ["a", "b"], "x": 1}))),
            Conflict("two", "v1", open(json!({"list": ["a"]})), &[("one", ".open.list")]),
            Force("two", "v1", open(json!({"list": ["a"]}))),
        ],
        open(json!({"list": ["a"], "x": 1})),
        json!({"one": {"f:open": {"f:x": {}}}, "two": {"f:open": {"f:list": {}}}}),
    );
}

#[test]
fn leaves_sets_and_atoms() {
    let apply_twice = |what: &str, first: Value, second: Value, object: Value, owned: Value| {
        check(what, &nested(), vec![Apply("d", "v1", first), Apply("d", "v1", second)], object, json!({"d": owned}));
    };
    let first = json!({"number": 1, "string": "s", "bool": false});
    apply_twice("some go", first.clone(), json!({"string": "t"}), json!({"string": "t"}), json!({"f:string": {}}));
    let conflicts: &[(&str, &str)] = &[("c", ".bool"), ("c", ".string")];
    let changed = json!({"number": 1, "string": "controller", "bool": true});
    check(
        "what a controller changed is its own",
        &nested(),
        vec![
            Apply("d", "v1", first.clone()),
            Update("c", "v1", changed.clone()),
            Conflict("d", "v1", json!({"number": 2, "string": "user", "bool": false}), conflicts),
        ],
        changed.clone(),
        json!({"d": {"f:number": {}}, "c": {"f:bool": {}, "f:string": {}}}),
    );
    check(
        "by force it comes back",
        &nested(),
        vec![Apply("d", "v1", first.clone()), Update("c", "v1", changed.clone()), Force("d", "v2", first.clone())],
        first.clone(),
        json!({"d": {"f:number": {}, "f:bool": {}, "f:string": {}}}),
    );
    check(
        "to say no more of it is no conflict",
        &nested(),
        vec![Apply("d", "v1", first), Update("c", "v1", changed), Apply("d", "v1", json!({"number": 1}))],
        json!({"number": 1, "string": "controller", "bool": true}),
        json!({"d": {"f:number": {}}, "c": {"f:bool": {}, "f:string": {}}}),
    );
    check(
        "what is atomic is one value",
        &nested(),
        vec![
            Apply("one", "v1", json!({"atomic": {"name": "a", "value": 1}, "plain": ["a", "b"]})),
            Conflict(
                "two",
                "v1",
                json!({"atomic": {"name": "a"}, "plain": ["b"]}),
                &[("one", ".atomic"), ("one", ".plain")],
            ),
            Force("two", "v1", json!({"atomic": {"name": "a"}})),
        ],
        json!({"atomic": {"name": "a"}, "plain": ["a", "b"]}),
        json!({"one": {"f:plain": {}}, "two": {"f:atomic": {}}}),
    );
}

#[test]
fn keys_have_defaults() {
    let ports = |ports: Value| json!({"ports": ports});
    let tcp = "k:{\"port\":80,\"protocol\":\"TCP\"}";
    check(
        "one key left out and given is the same item",
        &nested(),
        vec![
            Apply("d", "v1", ports(json!([{"port": 80, "name": "a"}]))),
            Conflict(
                "e",
                "v1",
                ports(json!([{"port": 80, "protocol": "TCP", "name": "b"}])),
                &[("d", ".ports[port=80,protocol=\"TCP\"].name")],
            ),
            Apply("e", "v1", ports(json!([{"port": 80, "protocol": "UDP", "name": "b"}]))),
        ],
        ports(json!([{"port": 80, "name": "a"}, {"port": 80, "protocol": "UDP", "name": "b"}])),
        json!({
            "d": {"f:ports": {tcp: {".": {}, "f:name": {}, "f:port": {}}}},
            "e": {"f:ports": {"k:{\"port\":80,\"protocol\":\"UDP\"}": {".": {}, "f:name": {}, "f:port": {}, "f:protocol": {}}}},
        }),
    );
    let twice = ports(json!([{"port": 80, "name": "a"}, {"port": 80, "name": "b"}]));
    check(
        "duplicates that a plain writer left are one, until an applier says which",
        &nested(),
        vec![
            Update("u", "v1", twice.clone()),
            Apply("d", "v1", json!({"string": "x"})),
            Conflict(
                "d",
                "v1",
                ports(json!([{"port": 80, "name": "a"}])),
                &[("u", ".ports[port=80,protocol=\"TCP\"]")],
            ),
            Force("d", "v1", ports(json!([{"port": 80, "name": "a"}]))),
        ],
        ports(json!([{"port": 80, "name": "a"}])),
        json!({"u": {"f:ports": {}}, "d": {"f:ports": {tcp: {".": {}, "f:name": {}, "f:port": {}}}}}),
    );
}

#[test]
fn a_type_that_becomes_atomic_is_owned_as_one() {
    let granular = definition(&nested());
    let mut properties = nested();
    properties["struct"]["x-kubernetes-map-type"] = "atomic".into();
    let atomic = definition(&properties);
    let apply_by = |of: &Definition, live: Option<&Value>, manager: &str, value: Value, force: bool| {
        let kind = of.version("v1").expect("a version");
        let now = Timestamp::from_second(1_767_323_045).expect("in range");
        let by = Write {
            manager,
            api_version: &kind.api_version,
            ty: kind.into(),
            subresource: "",
            reset: &[],
            settable: &[],
            now,
        };
        apply(live, &thing("v1", &json!({"struct": value})), &by, force)
    };
    let live = apply_by(&granular, None, "one", json!({"value": 1}), false).expect("created");
    let status = apply_by(&atomic, Some(&live), "two", json!({"name": "x"}), false).expect_err("a conflict");
    assert_eq!(status.message, "Apply failed with 1 conflict: conflict with \"one\": .struct");
    let live = apply_by(&atomic, Some(&live), "two", json!({"name": "x"}), true).expect("forced");
    assert_eq!(seen(Some(&live)), (json!({"struct": {"name": "x"}}), json!({"two": {"f:struct": {}}})));
    // An owner that lost all its children has lost the struct as well.
    let live = apply_by(&granular, None, "one", json!({"value": 1}), false).expect("created");
    let live = apply_by(&granular, Some(&live), "two", json!({"value": 2}), true).expect("forced");
    let status = apply_by(&atomic, Some(&live), "three", json!({"name": "x"}), false).expect_err("a conflict");
    assert_eq!(status.message, "Apply failed with 1 conflict: conflict with \"two\": .struct");
}

/// A manager may say by hand what it owns, and leave out the fields by which an item is told from the others.
#[test]
fn an_item_keeps_its_keys_whoever_owns_them() {
    let ready = json!({".": {}, "f:status": {}});
    let live = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n", "managedFields": [
        {"manager": "other", "operation": "Apply", "apiVersion": "v1", "time": "2026-01-02T03:04:05Z", "fieldsType": "FieldsV1",
            "fieldsV1": {"f:status": {"f:conditions": {"k:{\"type\":\"Ready\"}": ready}}}},
    ]}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}});
    let config = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"},
        "status": {"conditions": [{"type": "X", "status": "True"}]}});
    let one = By { reset: &[], ..by("one") };
    let first = one.apply(Some(&live), &config);
    let types = |object: &Value| {
        let conditions = object["status"]["conditions"].as_array().expect("a list");
        conditions.iter().map(|c| c["type"].as_str().unwrap_or("none").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(types(&first), ["Ready", "X"]);
    assert_eq!(one.apply(Some(&first), &config), first, "nothing has changed");
    let none = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}});
    assert_eq!(types(&one.apply(Some(&first), &none)), ["Ready"]);
}
