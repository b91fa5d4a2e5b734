use jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::canon;

mod origins;
mod situations;

/// One apply in a test; `second` tells writes apart in time.
struct By<'a> {
    manager: &'a str,
    subresource: &'a str,
    reset: &'a [&'a str],
    second: i64,
    force: bool,
}

const fn by(manager: &str) -> By<'_> {
    By { manager, subresource: "", reset: &["status"], second: 0, force: false }
}

fn type_name(object: &Value) -> String {
    let text = |path| value::str_at(object, path).unwrap_or_default();
    let (group, version) = kinds::split_api_version(text("apiVersion"));
    kinds::type_name(group, version, text("kind"))
}

impl By<'_> {
    fn write<T>(&self, object: &Value, act: impl FnOnce(&Write<'_>) -> T) -> T {
        let now = Timestamp::from_second(1_767_323_045 + self.second).expect("in range");
        act(&Write {
            manager: self.manager,
            api_version: value::str_at(object, "apiVersion").unwrap_or_default(),
            ty: (&type_name(object)).into(),
            subresource: self.subresource,
            reset: self.reset,
            settable: &[],
            now,
        })
    }

    fn try_apply(&self, live: Option<&Value>, config: &Value) -> Result<Value, Status> {
        let mut new = self.write(config, |write| apply(live, config, write, self.force))?;
        canon::canonical(&mut new, &type_name(config)).expect("what was checked is of the type");
        Ok(new)
    }

    fn apply(&self, live: Option<&Value>, config: &Value) -> Value {
        self.try_apply(live, config).unwrap_or_else(|status| panic!("{config}: {status}"))
    }

    /// A plain write of `new` over `old`.
    fn update(&self, old: Option<&Value>, mut new: Value) -> Value {
        self.write(&new.clone(), |write| crate::managed::stamp(old, &mut new, write));
        new
    }
}

/// `manager operation subresource` and the paths of every entry.
fn owned(object: &Value) -> Vec<(String, Value)> {
    let text = |entry: &Value, path| value::str_at(entry, path).unwrap_or_default().to_owned();
    let name = |e: &Value| format!("{} {} {}", text(e, "manager"), text(e, "operation"), text(e, "subresource"));
    owners::entries_of(object).iter().map(|e| (name(e).trim().to_owned(), e["fieldsV1"].clone())).collect()
}

fn map(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m", "namespace": "n"}, "data": data})
}

fn with_meta(mut object: Value, metadata: &Value) -> Value {
    for (name, value) in metadata.as_object().expect("a map") {
        object["metadata"][name] = value.clone();
    }
    object
}

fn deployment(spec: Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "n"}, "spec": spec})
}

fn pod(spec: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "n"}, "spec": spec})
}

fn bare(object: &Value) -> Value {
    let mut object = object.clone();
    value::remove(&mut object, "metadata.managedFields");
    object
}

#[test]
fn an_apply_that_creates_owns_what_it_says() {
    let config = with_meta(
        deployment(json!({
            "replicas": 0,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {
                    "securityContext": {"runAsNonRoot": false},
                    "nodeSelector": {"a": "b"},
                    "volumes": [{"name": "v", "emptyDir": {}}],
                    "containers": [{
                        "name": "c", "image": "i", "command": ["a"], "env": [],
                        "ports": [{"containerPort": 80}], "resources": {"limits": {"cpu": "1000m"}},
                    }],
                },
            },
        })),
        &json!({"finalizers": ["x"], "annotations": {"a": "b"}}),
    );
    let new = by("a").apply(None, &config);
    assert_eq!(new["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"], "1");
    let fields = json!({
        "f:metadata": {"f:annotations": {"f:a": {}}, "f:finalizers": {"v:\"x\"": {}}},
        "f:spec": {
            "f:replicas": {}, "f:selector": {}, "f:strategy": {},
            "f:template": {
                "f:metadata": {"f:labels": {"f:app": {}}},
                "f:spec": {
                    "f:securityContext": {"f:runAsNonRoot": {}},
                    "f:nodeSelector": {},
                    "f:volumes": {"k:{\"name\":\"v\"}": {".": {}, "f:name": {}, "f:emptyDir": {}}},
                    "f:containers": {"k:{\"name\":\"c\"}": {
                        ".": {}, "f:name": {}, "f:image": {}, "f:command": {},
                        "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}},
                        "f:resources": {"f:limits": {"f:cpu": {}}},
                    }},
                },
            },
        },
    });
    assert_eq!(
        new["metadata"]["managedFields"],
        json!([{
            "manager": "a", "operation": "Apply", "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
            "time": "2026-01-02T03:04:05Z", "fieldsV1": fields,
        }])
    );
}

#[test]
fn what_others_own_is_a_conflict() {
    let check = |config: Value, message: &str, causes: &[(&str, &str)]| {
        let live = by("a").apply(None, &map(json!({"x": "1", "y": "1"})));
        let mut both = live.clone();
        both["data"]["z"] = "1".into();
        let live = by("u").update(Some(&live), both);
        let status = by("b").try_apply(Some(&live), &config).expect_err("conflicts");
        assert_eq!((status.code, status.reason.as_str(), status.message.as_str()), (409, "Conflict", message));
        let found = status.details.expect("details").causes;
        let found: Vec<(&str, &str)> = found.iter().map(|c| (c.message.as_str(), c.field.as_str())).collect();
        assert_eq!(found, causes);
    };
    check(
        map(json!({"x": "2", "y": "1"})),
        "Apply failed with 1 conflict: conflict with \"a\": .data.x",
        &[("conflict with \"a\"", ".data.x")],
    );
    check(
        map(json!({"z": "2"})),
        "Apply failed with 1 conflict: conflict with \"u\" using v1: .data.z",
        &[("conflict with \"u\" using v1", ".data.z")],
    );
    check(
        map(json!({"x": "2", "y": "2", "z": "2"})),
        "Apply failed with 3 conflicts: conflicts with \"a\":\n- .data.x\n- .data.y\nconflicts with \"u\" using v1:\n- .data.z",
        &[
            ("conflict with \"a\"", ".data.x"),
            ("conflict with \"a\"", ".data.y"),
            ("conflict with \"u\" using v1", ".data.z"),
        ],
    );
}

#[test]
fn attack_very_many_conflicts_are_not_told_one_by_one() {
    let data = |value: &str| map((0..3_000).map(|n| (format!("k{n}"), value.into())).collect::<Object>().into());
    let live = by("a").apply(None, &data("1"));
    let status = by("b").try_apply(Some(&live), &data("2")).expect_err("conflicts");
    assert!(status.message.starts_with("Apply failed with 3000 conflicts: conflicts with \"a\":\n- .data.k0\n"));
    assert!(status.message.ends_with("\nand 2000 more"), "{}", &status.message[status.message.len() - 100..]);
    assert_eq!(status.details.expect("causes").causes.len(), 1_000);
}

#[test]
fn conflicts_inside_lists_name_the_item() {
    let ports = |name: &str| json!({"containers": [{"name": "c", "ports": [{"containerPort": 80, "name": name}]}]});
    let live = by("a").apply(None, &pod(ports("x")));
    let status = by("b").try_apply(Some(&live), &pod(ports("y"))).expect_err("conflicts");
    let path = ".spec.containers[name=\"c\"].ports[containerPort=80,protocol=\"TCP\"].name";
    assert_eq!(status.message, format!("Apply failed with 1 conflict: conflict with \"a\": {path}"));
    let of_status = By { subresource: "status", reset: &["spec"], ..by("s") };
    let ready = |status: &str| {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "n"},
            "status": {"conditions": [{"type": "Ready", "status": status}]}})
    };
    let live = of_status.apply(Some(&live), &ready("True"));
    let other = By { manager: "t", ..of_status };
    assert_eq!(
        other.try_apply(Some(&live), &ready("False")).expect_err("conflicts").message,
        "Apply failed with 1 conflict: conflict with \"s\" with subresource \"status\": .status.conditions[type=\"Ready\"].status"
    );
}

#[test]
fn force_takes_over() {
    let live = by("a").apply(None, &map(json!({"x": "1", "y": "1"})));
    let forced = By { force: true, second: 5, ..by("b") }.apply(Some(&live), &map(json!({"x": "2"})));
    assert_eq!(forced["data"], json!({"x": "2", "y": "1"}));
    let expected = [("a Apply", json!({"f:data": {"f:y": {}}})), ("b Apply", json!({"f:data": {"f:x": {}}}))];
    assert_eq!(owned(&forced), expected.map(|(n, f)| (n.to_owned(), f)));
    let all = By { force: true, second: 9, ..by("b") }.apply(Some(&forced), &map(json!({"x": "2", "y": "2"})));
    assert_eq!(owned(&all).len(), 1, "a has nothing left");
}

#[test]
fn what_is_applied_alike_is_shared() {
    let live = by("a").apply(None, &map(json!({"x": "1", "y": "1"})));
    let live = by("b").apply(Some(&live), &map(json!({"x": "1"})));
    assert_eq!(owned(&live).len(), 2);
    let live = by("a").apply(Some(&live), &map(json!({"y": "1"})));
    assert_eq!(live["data"], json!({"x": "1", "y": "1"}), "b still owns x");
    let live = by("b").apply(Some(&live), &map(json!({})));
    assert_eq!(live["data"], json!({"y": "1"}));
    let expected = [("a Apply", json!({"f:data": {"f:y": {}}})), ("b Apply", json!({"f:data": {}}))];
    assert_eq!(owned(&live), expected.map(|(n, f)| (n.to_owned(), f)));
}

#[test]
fn what_a_manager_says_no_longer_goes() {
    let check = |first: Value, others: &dyn Fn(Value) -> Value, second: Value, expected: Value| {
        let live = others(by("a").apply(None, &first));
        assert_eq!(bare(&by("a").apply(Some(&live), &second)), expected);
    };
    let same = |live| live;
    let containers = |list: Value| pod(json!({"containers": list}));
    check(
        with_meta(map(json!({"x": "1"})), &json!({"labels": {"a": "b"}, "finalizers": ["p", "q"]})),
        &same,
        with_meta(map(json!({"y": "1"})), &json!({"finalizers": ["q"]})),
        with_meta(map(json!({"y": "1"})), &json!({"finalizers": ["q"]})),
    );
    check(
        containers(json!([{"name": "c", "image": "i"}, {"name": "d", "image": "i"}])),
        &same,
        containers(json!([{"name": "d", "image": "i"}])),
        containers(json!([{"name": "d", "image": "i"}])),
    );
    check(
        containers(
            json!([{"name": "c", "image": "i", "tty": true, "ports": [{"containerPort": 80}, {"containerPort": 81}]}]),
        ),
        &same,
        containers(json!([{"name": "c", "image": "i", "ports": [{"containerPort": 81, "protocol": "TCP"}]}])),
        containers(json!([{"name": "c", "image": "i", "ports": [{"containerPort": 81, "protocol": "TCP"}]}])),
    );
    check(
        with_meta(map(json!({"x": "1"})), &json!({"labels": {"a": "b"}})),
        &same,
        json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {"x": "1"}}),
        map(json!({"x": "1"})),
    );
    // What nobody owns inside of an item goes with the item, and stays with it.
    let defaulted = |mut live: Value| {
        live["spec"]["containers"][0]["imagePullPolicy"] = "Always".into();
        live
    };
    check(
        containers(json!([{"name": "c", "image": "i", "tty": true}, {"name": "d"}])),
        &defaulted,
        containers(json!([{"name": "c", "image": "i"}, {"name": "d"}])),
        containers(json!([{"name": "c", "image": "i", "imagePullPolicy": "Always"}, {"name": "d"}])),
    );
    check(
        containers(json!([{"name": "c", "image": "i"}, {"name": "d"}])),
        &defaulted,
        containers(json!([{"name": "d"}])),
        containers(json!([{"name": "d"}])),
    );
    // Plain writers keep what they set.
    let labelled = |live: Value| {
        let mut new = live.clone();
        new["data"]["x"] = "2".into();
        by("u").update(Some(&live), new)
    };
    check(map(json!({"x": "1", "y": "1"})), &labelled, map(json!({})), map(json!({"x": "2"})));
}

#[test]
fn atomic_values_are_owned_and_replaced_as_one() {
    let tolerations = |keys: &[&str]| {
        pod(json!({"containers": [], "tolerations": keys.iter().map(|k| json!({"key": k})).collect::<Vec<_>>()}))
    };
    let live = by("a").apply(None, &tolerations(&["x", "y"]));
    assert_eq!(owned(&live)[0].1, json!({"f:spec": {"f:tolerations": {}}}));
    let status = by("b").try_apply(Some(&live), &tolerations(&["x"])).expect_err("conflicts");
    assert_eq!(status.message, "Apply failed with 1 conflict: conflict with \"a\": .spec.tolerations");
    let live = by("a").apply(Some(&live), &tolerations(&["z"]));
    assert_eq!(live["spec"]["tolerations"], json!([{"key": "z"}]));
    let selector = |label: &str| deployment(json!({"selector": {"matchLabels": {label: "x"}}}));
    let live = by("a").apply(None, &selector("a"));
    let status = by("b").try_apply(Some(&live), &selector("b")).expect_err("conflicts");
    assert_eq!(status.message, "Apply failed with 1 conflict: conflict with \"a\": .spec.selector");
    let gone = by("a").apply(Some(&live), &deployment(json!({"replicas": 1})));
    assert_eq!(gone["spec"], json!({"replicas": 1}));
}

#[test]
fn nulls_and_empty_values_are_said_and_owned() {
    let check = |live: &Value, config: Value, expected: Value, owned_now: Value| {
        let new = by("a").apply(Some(live), &config);
        assert_eq!((bare(&new)["spec"].clone(), owned(&new).pop().expect("a").1), (expected, owned_now), "{config}");
    };
    let live =
        by("u").update(None, deployment(json!({"replicas": 3, "paused": true, "strategy": {"type": "Recreate"}})));
    let status = by("a").try_apply(Some(&live), &deployment(json!({"replicas": null}))).expect_err("conflicts");
    assert_eq!(status.message, "Apply failed with 1 conflict: conflict with \"u\" using apps/v1: .spec.replicas");
    let status = by("a").try_apply(Some(&live), &deployment(json!({"paused": false}))).expect_err("conflicts");
    assert_eq!(status.message, "Apply failed with 1 conflict: conflict with \"u\" using apps/v1: .spec.paused");
    let free = bare(&live);
    let free = by("other").apply(Some(&free), &deployment(json!({})));
    let mut free = by("x").apply(Some(&bare(&free)), &deployment(json!({})));
    value::set(
        &mut free,
        "metadata.managedFields",
        json!([{
            "manager": "x", "operation": "Apply", "apiVersion": "apps/v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:minReadySeconds": {}}},
        }]),
    );
    let spec = |value: Value| json!({"f:spec": value});
    let kept = json!({"replicas": 3, "paused": true, "strategy": {"type": "Recreate"}});
    check(
        &free,
        deployment(json!({"replicas": null})),
        json!({"paused": true, "strategy": {"type": "Recreate"}}),
        spec(json!({"f:replicas": {}})),
    );
    check(&free, deployment(json!({"strategy": null})), kept.clone(), spec(json!({"f:strategy": {}})));
    check(&free, deployment(json!({"strategy": {}})), kept.clone(), spec(json!({"f:strategy": {}})));
    check(
        &free,
        deployment(json!({"paused": false})),
        json!({"replicas": 3, "strategy": {"type": "Recreate"}}),
        spec(json!({"f:paused": {}})),
    );
    let listed = with_meta(map(json!({"x": "1"})), &json!({"finalizers": [], "labels": null}));
    assert_eq!(
        owned(&by("a").apply(None, &listed))[0].1,
        json!({"f:metadata": {"f:labels": {}}, "f:data": {"f:x": {}}})
    );
}

#[test]
fn lists_merge_in_the_order_of_the_configuration() {
    let list = |names: &str| -> Value {
        let items = names.chars().map(|c| json!({"name": c.to_string()}));
        pod(json!({"containers": items.collect::<Vec<_>>()}))
    };
    let check = |old: &str, new: &str, expected: &str| {
        let live = by("u").update(None, list(old));
        let merged = by("a").apply(Some(&live), &list(new));
        assert_eq!(bare(&merged)["spec"], list(expected)["spec"], "{old} + {new}");
    };
    check("", "ab", "ab");
    check("abc", "", "abc");
    check("abc", "abc", "abc");
    check("abcd", "da", "bcda");
    check("abcd", "bx", "abcdx");
    check("abcd", "xb", "axbcd");
    check("ab", "xy", "abxy");
    check("abcdef", "fxbyd", "acefxbyd");
    check("ace", "abcde", "abcde");
}

#[test]
fn duplicates_in_the_store_are_replaced_and_in_a_configuration_refused() {
    let env = |list: Value| pod(json!({"containers": [{"name": "c", "env": list}]}));
    let twice = env(json!([{"name": "x", "value": "1"}, {"name": "y", "value": "1"}, {"name": "x", "value": "2"}]));
    let live = by("u").update(None, twice.clone());
    let kept = by("a").apply(Some(&live), &env(json!([{"name": "z", "value": "1"}])));
    assert_eq!(kept["spec"]["containers"][0]["env"].as_array().map(Vec::len), Some(4));
    let forced = By { force: true, ..by("a") }.apply(Some(&live), &env(json!([{"name": "x", "value": "3"}])));
    assert_eq!(
        forced["spec"]["containers"][0]["env"],
        json!([{"name": "x", "value": "3"}, {"name": "y", "value": "1"}])
    );
    let bare_item = By { force: true, ..by("a") }.apply(Some(&live), &env(json!([{"name": "x"}])));
    assert_eq!(bare_item["spec"]["containers"][0]["env"], json!([{"name": "x"}, {"name": "y", "value": "1"}]));
    let item = |object: &Value, manager: usize| {
        owned(object)[manager].1["f:spec"]["f:containers"]["k:{\"name\":\"c\"}"]["f:env"]["k:{\"name\":\"x\"}"].clone()
    };
    assert_eq!(item(&live, 0), json!({}), "duplicates are owned as one");
    assert_eq!(item(&bare_item, 1), Value::Null);
    let without = by("w").update(Some(&live), env(json!([{"name": "y", "value": "1"}])));
    assert_eq!((owned(&without).len(), item(&without, 0)), (1, Value::Null));
    let refused = by("a").try_apply(Some(&live), &twice).expect_err("refused");
    assert_eq!(
        refused.message,
        "failed to create typed patch object (n/p; /v1, Kind=Pod): .spec.containers[name=\"c\"].env: duplicate entries for key [name=\"x\"]"
    );
}

#[test]
fn a_configuration_must_be_of_its_type() {
    let check = |config: Value, message: &str| {
        let status =
            by("a").write(&map(json!({})), |w| apply(None, &config, &Write { ty: "core/v1.Pod".into(), ..*w }, true));
        let status = status.expect_err("refused");
        let code = if message.starts_with("failed to create typed") { 500 } else { 400 };
        assert_eq!((status.code, status.message.as_str()), (code, message), "{config}");
    };
    let typed = |spec: Value, why: &str| {
        check(pod(spec), &format!("failed to create typed patch object (n/p; /v1, Kind=Pod): {why}"));
    };
    check(json!({"apiVersion": "v1", "kind": "Secret"}), "invalid object type: /v1, Kind=Secret");
    check(json!({"apiVersion": "apps/v1", "kind": "Pod"}), "invalid object type: apps/v1, Kind=Pod");
    check(json!({}), "invalid object type: /, Kind=");
    check(json!([1]), "invalid object type: /, Kind=");
    check(with_meta(pod(json!({})), &json!({"managedFields": []})), "metadata.managedFields must be nil");
    typed(json!({"foo": 1}), ".spec.foo: field not declared in schema");
    typed(
        json!({"containers": [{"name": "c", "foo": 1}]}),
        ".spec.containers[name=\"c\"].foo: field not declared in schema",
    );
    typed(json!({"tolerations": [{"foo": 1}]}), ".spec.tolerations[0].foo: field not declared in schema");
    typed(
        json!({"containers": [{"image": "i"}]}),
        ".spec.containers: element 0: associative list with keys has an element that omits all key fields [\"name\"] (and doesn't have default values for any key fields)",
    );
    typed(
        json!({"containers": [null]}),
        ".spec.containers: element 0: associative list with keys may not have a null element",
    );
    typed(json!({"containers": {"a": 1}}), ".spec.containers: expected list, got &{map[a:1]}");
    typed(json!(["x"]), ".spec: expected map, got &{[x]}");
    typed(json!({"hostNetwork": "yes"}), ".spec.hostNetwork: expected boolean, got &{yes}");
    typed(json!({"priority": "1"}), ".spec.priority: expected numeric (int or float), got string");
    typed(json!({"nodeName": 1}), ".spec.nodeName: expected string, got &value.valueUnstructured{Value:1}");
    typed(json!({"overhead": {"cpu": []}}), ".spec.overhead.cpu: expected any scalar, got &{[]}");
    typed(
        json!({"hostNetwork": 1, "hostPID": 1}),
        "errors:\n  .spec.hostNetwork: expected boolean, got &{1}\n  .spec.hostPID: expected boolean, got &{1}",
    );
    check(
        with_meta(pod(json!({})), &json!({"finalizers": ["a", "a", {}]})),
        "failed to create typed patch object (n/p; /v1, Kind=Pod): errors:\n  .metadata.finalizers: duplicate entries for key [=\"a\"]\n  .metadata.finalizers: element 2: associative list without keys has an element that's a map type",
    );
    let long = pod(json!({"nodeName": ["é".repeat(5000)]}));
    let message = by("a").try_apply(None, &long).expect_err("refused").message;
    assert!(message.len() < 1200 && message.ends_with("é..."), "{message}");
    let quantity = pod(json!({"overhead": {"cpu": "many"}}));
    assert_eq!(by("a").try_apply(None, &quantity).expect_err("refused").code, 400);
}

#[test]
fn applying_the_same_again_changes_nothing() {
    let config = map(json!({"x": "1"}));
    let live = by("a").apply(None, &config);
    assert_eq!(By { second: 60, ..by("a") }.apply(Some(&live), &config), live);
    let shared = By { second: 60, ..by("b") }.apply(Some(&live), &config);
    assert_eq!(By { second: 90, ..by("b") }.apply(Some(&shared), &config), shared);
    assert_eq!(shared["metadata"]["managedFields"][1]["time"], "2026-01-02T03:05:05Z", "a new owner has a time");
    let more = By { second: 90, ..by("a") }.apply(Some(&shared), &map(json!({"x": "1", "y": "1"})));
    assert_eq!(more["metadata"]["managedFields"][1]["time"], "2026-01-02T03:05:35Z");
}

#[test]
fn a_change_of_times_alone_is_none() {
    let live = by("a").apply(None, &map(json!({"x": "1"})));
    let at = |object: &Value, data: &str| {
        let mut object = object.clone();
        object["data"]["x"] = data.into();
        object["metadata"]["managedFields"][0]["time"] = "2027-01-02T03:04:05Z".into();
        object
    };
    let check = |old: &Value, new: Value, expected: &Value| {
        let mut kept = new;
        crate::managed::keep_times(old, &mut kept);
        assert_eq!(&kept, expected);
    };
    check(&live, at(&live, "1"), &live);
    check(&live, at(&live, "2"), &at(&live, "2"));
    let other = by("b").apply(Some(&live), &map(json!({"x": "1"})));
    check(&live, other.clone(), &other);
    check(&bare(&live), live.clone(), &live);
}

#[test]
fn a_reference_that_merges_by_fields_in_one_place_only_has_owners_by_fields_there() {
    let volume = |claim: Value| json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "v"}, "spec": {"claimRef": claim}});
    let named = json!({"name": "c", "namespace": "n"});
    let bound = by("binder").update(None, volume(json!({"name": "c", "namespace": "n", "uid": "u"})));
    let both = by("a").apply(Some(&bound), &volume(named));
    assert_eq!(both["spec"]["claimRef"]["uid"], "u", "nobody else's field is lost");
    let fields = |names: &[&str]| -> Value {
        let claim: Object = names.iter().map(|name| (format!("f:{name}"), json!({}))).collect();
        json!({"f:spec": {"f:claimRef": claim}})
    };
    assert_eq!(owned(&both)[0].1, fields(&["name", "namespace"]));
    assert_eq!(owned(&both)[1].1["f:spec"]["f:claimRef"]["f:uid"], json!({}));
}
