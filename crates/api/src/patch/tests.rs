use serde_json::json;

use super::*;

#[test]
fn json_patches() {
    let doc = json!({"a": {"b": [1, 2]}, "s~/": 1});
    let check = |patch: Value, expected: Value| assert_eq!(json(&doc, &patch), Ok(expected));
    check(json!([{"op": "add", "path": "/a/b/-", "value": 3}]), json!({"a": {"b": [1, 2, 3]}, "s~/": 1}));
    check(json!([{"op": "test", "path": "/a/b/0", "value": 1}, {"op": "remove", "path": "/a"}]), json!({"s~/": 1}));
    check(json!([{"op": "replace", "path": "/s~0~1", "value": null}]), json!({"a": {"b": [1, 2]}, "s~/": null}));
    check(
        json!([{"op": "test", "path": "/c", "value": null}, {"op": "add", "path": "/c", "value": [1]}]),
        json!({"a": {"b": [1, 2]}, "s~/": 1, "c": [1]}),
    );
    check(
        json!([{"op": "test", "path": "/c"}, {"op": "test", "path": "/a/b/-1", "value": 2},
            {"op": "add", "path": "/a/b/-1", "value": 3}, {"op": "replace", "path": "/a/b/-3", "value": 0},
            {"op": "remove", "path": "/a/b/-2"}, {"op": "copy", "from": "/a/b/-1", "path": "/a/b/-3"}]),
        json!({"a": {"b": [3, 0, 3]}, "s~/": 1}),
    );
    check(json!([{"op": "replace", "path": "/a/c", "value": 3}]), json!({"a": {"b": [1, 2], "c": 3}, "s~/": 1}));
    check(json!([{"op": "copy", "from": "/x", "path": "/a"}]), json!({"a": null, "s~/": 1}));
    let fails = |patch: Value, code: u16| assert_eq!(json(&doc, &patch).expect_err("fails").code, code);
    fails(json!([{"op": "test", "path": "/a", "value": 1}]), 422);
    for path in ["/a", "/s~0~1", "/a/b/7", "/a/b/c", "/x/y"] {
        fails(json!([{"op": "test", "path": path, "value": null}]), 422);
    }
    fails(json!([{"op": "test", "path": "/c", "value": 1}]), 422);
    fails(json!([{"op": "test", "path": "/a"}]), 422);
    fails(json!([{"op": "remove", "path": "/a/b/-3"}]), 422);
    fails(json!([{"op": "remove", "path": "/x"}]), 422);
    fails(json!([{"op": "nope", "path": "/x"}]), 422);
    fails(json!({"a": 1}), 422);
    let many = Value::Array(vec![json!({"op": "remove", "path": "/x"}); 10_001]);
    let refused = json(&doc, &many).expect_err("fails");
    let why = "Request entity too large: The allowed maximum operations in a JSON patch is 10000, got 10001";
    assert_eq!((refused.code, refused.message.as_str()), (413, why));
    let doubling: Vec<Value> =
        (0..64).map(|n| json!({"op": "copy", "from": "/a", "path": format!("/a/x{n}")})).collect();
    fails(Value::Array(doubling), 422);
    let message = json(&doc, &json!([{"op": "test", "path": "/a", "value": 1}])).expect_err("fails").message;
    assert_eq!(message, "the server rejected our request due to an error in our request");
}

#[test]
fn operations_that_do_not_apply_are_told_of_as_upstream_does() {
    let doc = json!({"m": {"k": 1}, "l": [1], "~/": 1});
    let check = |operation: Value, expected: &str| {
        let refused = json(&doc, &json!([operation])).expect_err(expected);
        let causes = refused.details.expect("details").causes;
        assert_eq!(causes[0].message, expected, "{operation}");
    };
    let at = |op: &str, path: &str| json!({"op": op, "path": path, "value": 2});
    check(at("add", "/x/y"), "add operation does not apply: doc is missing path: \"/x/y\": missing value");
    check(
        at("add", "/l/2"),
        "error in add for path: '/l/2': Unable to access invalid index: 2: invalid index referenced",
    );
    let no_index = "error in add for path: '/l/x': value was not a proper array index: 'x': strconv.Atoi: parsing \"x\": invalid syntax";
    check(at("add", "/l/x"), no_index);
    check(at("remove", "/x/y"), "remove operation does not apply: doc is missing path: \"/x/y\": missing value");
    let no_key = "Unable to remove nonexistent key: a~: missing value";
    check(at("remove", "/a~0"), &format!("error in remove for path: '/a~0': {no_key}"));
    check(
        at("remove", "/l/-2"),
        "error in remove for path: '/l/-2': Unable to access invalid index: -2: invalid index referenced",
    );
    check(at("replace", "/x/y"), "replace operation does not apply: doc is missing path: /x/y: missing value");
    check(at("replace", "/l/-"), "replace operation does not apply: doc is missing key: /l/-: missing value");
    check(at("test", "/x/y"), "test operation does not apply: is missing path: /x/y: missing value");
    check(at("test", "/l/-"), "error in test for path: '/l/-': strconv.Atoi: parsing \"-\": invalid syntax");
    for path in ["/m/k", "/m/x", "/l/0", ""] {
        check(at("test", path), &format!("testing value {path} failed: test failed"));
    }
    let from = |op: &str, from: &str, path: &str| json!({"op": op, "from": from, "path": path});
    check(from("move", "/x/y", "/m"), "move operation does not apply: doc is missing from path: /x/y: missing value");
    check(from("move", "/a~0", "/m"), &format!("error in move for path: 'a~': {no_key}"));
    check(
        from("move", "/l/0", "/x/y"),
        "move operation does not apply: doc is missing destination path: /x/y: missing value",
    );
    check(from("copy", "/x/y", "/m"), "copy operation does not apply: doc is missing from path: /x/y: missing value");
    check(
        from("copy", "/l/1", "/m"),
        "error in copy for from: '/l/1': Unable to access invalid index: 1: invalid index referenced",
    );
    check(
        from("copy", "/m", "/x/y"),
        "copy operation does not apply: doc is missing destination path: /x/y: missing value",
    );
}

#[test]
fn merge_patches() {
    let doc = json!({"a": {"b": 1, "c": 2}, "l": [1]});
    assert_eq!(merge(&doc, &json!({"a": {"b": null}, "l": []})), Ok(json!({"a": {"c": 2}, "l": []})));
    assert_eq!(merge(&doc, &json!([])).expect_err("fails").code, 400);
}

fn pod(spec: Value) -> Value {
    json!({"spec": spec})
}

#[test]
fn strategic_merges() {
    let check = |doc: Value, patch: Value, expected: Value| {
        assert_eq!(strategic(&pod(doc), &pod(patch.clone()), "core/v1.Pod"), Ok(pod(expected)), "{patch}");
    };
    let containers = json!({"containers": [{"name": "a", "image": "1", "env": [{"name": "x", "value": "1"}]}, {"name": "b", "image": "2"}]});
    check(
        containers.clone(),
        json!({"containers": [{"name": "b", "image": "3"}]}),
        json!({"containers": [{"name": "a", "image": "1", "env": [{"name": "x", "value": "1"}]}, {"name": "b", "image": "3"}]}),
    );
    check(
        containers.clone(),
        json!({"containers": [{"name": "a", "$patch": "delete"}]}),
        json!({"containers": [{"name": "b", "image": "2"}]}),
    );
    check(
        containers.clone(),
        json!({"containers": [{"$patch": "replace"}, {"name": "c", "image": "4"}]}),
        json!({"containers": [{"name": "c", "image": "4"}]}),
    );
    check(
        containers.clone(),
        json!({"containers": [{"name": "a", "image": null, "env": [{"name": "y", "value": "2"}]}]}),
        json!({"containers": [{"name": "a", "env": [{"name": "y", "value": "2"}, {"name": "x", "value": "1"}]}, {"name": "b", "image": "2"}]}),
    );
    check(
        containers.clone(),
        json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}], "containers": [{"name": "b", "image": "3"}]}),
        json!({"containers": [{"name": "b", "image": "3"}, {"name": "a", "image": "1", "env": [{"name": "x", "value": "1"}]}]}),
    );
    check(
        json!({"volumes": [{"name": "v", "emptyDir": {}}]}),
        json!({"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/a"}}]}),
        json!({"volumes": [{"name": "v", "hostPath": {"path": "/a"}}]}),
    );
    check(
        json!({"tolerations": [{"key": "a"}]}),
        json!({"tolerations": [{"key": "b"}]}),
        json!({"tolerations": [{"key": "b"}]}),
    );
    check(
        json!({"nodeSelector": {"a": "b"}}),
        json!({"nodeSelector": {"$patch": "replace", "c": "d"}}),
        json!({"nodeSelector": {"c": "d"}}),
    );
    check(
        json!({}),
        json!({"securityContext": {"runAsUser": null, "runAsGroup": 1}, "nodeSelector": {"$patch": "delete"}}),
        json!({"securityContext": {"runAsGroup": 1}}),
    );
}

#[test]
fn primitive_lists() {
    let meta = |list: Value| json!({"metadata": {"finalizers": list}});
    let check = |patch: Value, expected: Value| {
        let patch = json!({"metadata": patch});
        assert_eq!(strategic(&meta(json!(["a", "b", "c"])), &patch, "core/v1.Pod"), Ok(meta(expected)), "{patch}");
    };
    check(json!({"finalizers": ["d"]}), json!(["d", "a", "b", "c"]));
    check(json!({"$deleteFromPrimitiveList/finalizers": ["b"]}), json!(["a", "c"]));
    check(json!({"$setElementOrder/finalizers": ["c", "a", "d"], "finalizers": ["d"]}), json!(["b", "c", "a", "d"]));
}

#[test]
fn bad_strategic_patches_are_refused() {
    let doc = pod(json!({"containers": [{"name": "a"}], "volumes": [{"name": "v"}]}));
    let check = |patch: Value, code: u16| {
        assert_eq!(strategic(&doc, &pod(patch), "core/v1.Pod").expect_err("fails").code, code)
    };
    check(json!({"containers": [{"image": "x"}]}), 500);
    check(json!({"$patch": "nope"}), 500);
    check(json!({"$retainKeys": 1}), 400);
    check(json!({"volumes": [{"name": "v", "$retainKeys": ["name"], "emptyDir": {}}]}), 400);
    check(json!({"$setElementOrder/containers": [{"name": "b"}], "containers": [{"name": "a"}]}), 500);
    let message = |patch: Value| strategic(&doc, &pod(patch), "core/v1.Pod").expect_err("fails").message;
    assert_eq!(
        message(json!({"containers": [{"image": "x"}]})),
        "map: map[image:x] does not contain declared merge key: name"
    );
    assert_eq!(message(json!({"$patch": "nope"})), "unknown patch type: nope in map: map[$patch:nope]");
    assert_eq!(
        message(json!({"$setElementOrder/containers": [{"name": "b"}], "containers": [{"name": "a"}]})),
        "The order in patch list:\n[map[name:a]]\n doesn't match $setElementOrder list:\n[map[name:b]]\n"
    );
}

/// Each of these would take hours, were each pair of items compared or each whole list merged again.
#[test]
fn attack_patches_take_no_more_than_their_length() {
    let many = |length: usize, make: &dyn Fn(usize) -> Value| Value::from((0..length).map(make).collect::<Vec<_>>());
    let volume: crate::Object = (0..100_000).map(|n| (format!("k{n}"), Value::from(1))).collect();
    let mut retained = Value::Object(volume.clone());
    retained["name"] = "v".into();
    retained["$retainKeys"] = many(100_001, &|n| if n == 0 { "name".into() } else { format!("k{}", n - 1).into() });
    let patched =
        strategic(&pod(json!({"volumes": [{"name": "v"}]})), &pod(json!({"volumes": [retained]})), "core/v1.Pod");
    assert_eq!(patched.expect("merges")["spec"]["volumes"][0]["k99999"], 1);

    let env = many(20_000, &|n| json!({"name": format!("e{n}"), "value": "1"}));
    let doc = pod(json!({"containers": [{"name": "a", "env": env}]}));
    let patch = |length| {
        pod(
            json!({"containers": many(length, &|n| json!({"name": "a", "env": [{"name": format!("e{n}"), "value": "2"}]}))}),
        )
    };
    assert_eq!(
        strategic(&doc, &patch(10), "core/v1.Pod").expect("merges")["spec"]["containers"][0]["env"][0]["value"],
        "2"
    );
    let status = strategic(&doc, &patch(20_000), "core/v1.Pod").expect_err("too much");
    assert_eq!(status.code, 422, "{status}");

    let list = many(1_000_000, &|_| 1.into());
    let removes = |length| many(length, &|_| json!({"op": "remove", "path": "/x/0"}));
    assert_eq!(json(&json!({"x": list}), &removes(10)).expect("patches")["x"].as_array().map(Vec::len), Some(999_990));
    let status = json(&json!({"x": list}), &removes(9_999)).expect_err("too much");
    assert_eq!(status.code, 422, "{status}");
    let appends = many(9_999, &|_| json!({"op": "add", "path": "/x/-", "value": 1}));
    assert!(json(&json!({"x": list}), &appends).is_ok());
}
