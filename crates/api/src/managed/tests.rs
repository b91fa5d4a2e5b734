use serde_json::json;

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_767_323_045 + second).expect("in range")
}

fn write(manager: &str, subresource: &str, second: i64, old: Option<&Value>, mut new: Value) -> Value {
    let write = Write {
        manager,
        api_version: "apps/v1",
        ty: "apps/v1.Deployment".into(),
        subresource,
        reset: &[],
        settable: &[],
        now: at(second),
    };
    stamp(old, &mut new, &write);
    new
}

fn entry(object: &Value, index: usize) -> (&str, &Value) {
    let entry = &object["metadata"]["managedFields"][index];
    (entry["manager"].as_str().unwrap_or_default(), &entry["fieldsV1"])
}

fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "namespace": "default", "uid": "u", "generation": 1, "creationTimestamp": "2026-01-02T03:04:05Z", "labels": {"app": "web"}, "finalizers": ["x"]},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {
                    "containers": [{"name": "nginx", "image": "nginx", "command": ["a", "b"], "resources": {"limits": {"cpu": "1"}}, "ports": [{"containerPort": 80}]}],
                    "securityContext": {},
                },
            },
        },
    })
}

#[test]
fn a_create_owns_everything_as_upstream_writes_it() {
    let created = write("kubectl-create", "", 0, None, deployment());
    let entries = created["metadata"]["managedFields"].as_array().expect("a list");
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0]["time"], "2026-01-02T03:04:05Z");
    assert_eq!(entries[0]["operation"], "Update");
    assert_eq!(entries[0].get("subresource"), None);
    assert_eq!(
        entries[0]["fieldsV1"],
        json!({
            "f:metadata": {"f:labels": {".": {}, "f:app": {}}, "f:finalizers": {".": {}, "v:\"x\"": {}}},
            "f:spec": {
                "f:replicas": {},
                "f:selector": {},
                "f:strategy": {"f:type": {}, "f:rollingUpdate": {".": {}, "f:maxSurge": {}}},
                "f:template": {
                    "f:metadata": {"f:labels": {".": {}, "f:app": {}}},
                    "f:spec": {
                        "f:containers": {"k:{\"name\":\"nginx\"}": {
                            ".": {}, "f:name": {}, "f:image": {}, "f:command": {},
                            "f:resources": {".": {}, "f:limits": {".": {}, "f:cpu": {}}},
                            "f:ports": {".": {}, "k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}},
                        }},
                        "f:securityContext": {},
                    },
                },
            },
        })
    );
}

#[test]
fn an_update_takes_the_changed_fields_from_others() {
    let created = write("a", "", 0, None, deployment());
    let mut scaled = created.clone();
    scaled["spec"]["replicas"] = json!(3);
    scaled["metadata"]["labels"]["x"] = json!("y");
    let scaled = write("b", "", 5, Some(&created), scaled);
    assert_eq!(
        entry(&scaled, 1),
        ("b", &json!({"f:metadata": {"f:labels": {"f:x": {}}}, "f:spec": {"f:replicas": {}}}))
    );
    let (name, fields) = entry(&scaled, 0);
    assert_eq!((name, &fields["f:spec"].get("f:replicas")), ("a", &None));

    let mut removed = scaled.clone();
    removed["metadata"]["labels"].as_object_mut().expect("a map").remove("x");
    let removed = write("c", "", 9, Some(&scaled), removed);
    assert_eq!(removed["metadata"]["managedFields"].as_array().map(Vec::len), Some(2), "c set nothing");
    assert_eq!(entry(&removed, 1), ("b", &json!({"f:spec": {"f:replicas": {}}})));
    assert_eq!(removed["metadata"]["managedFields"][1]["time"], "2026-01-02T03:04:10Z");

    let mut back = removed.clone();
    back["spec"]["replicas"] = json!(4);
    let back = write("a", "", 12, Some(&removed), back);
    assert_eq!(back["metadata"]["managedFields"].as_array().map(Vec::len), Some(1), "b has nothing left");
    assert_eq!(entry(&back, 0).1["f:spec"]["f:replicas"], json!({}));
    assert_eq!(back["metadata"]["managedFields"][0]["time"], "2026-01-02T03:04:17Z");
}

#[test]
fn what_changes_nothing_stamps_nothing() {
    let created = write("a", "", 0, None, deployment());
    assert_eq!(write("b", "", 5, Some(&created), created.clone()), created);
    let mut touched = created.clone();
    touched["metadata"]["resourceVersion"] = json!("7");
    touched["metadata"]["generation"] = json!(2);
    assert_eq!(write("b", "", 5, Some(&created), touched.clone()), touched);
    let mut forgetful = created.clone();
    value::remove(&mut forgetful, "metadata.managedFields");
    assert_eq!(write("b", "", 5, Some(&created), forgetful), created, "clients that do not know the field keep it");
}

#[test]
fn subresources_have_entries_of_their_own() {
    let created = write("a", "", 0, None, deployment());
    let mut ready = created.clone();
    ready["status"] = json!({"replicas": 1, "conditions": [{"type": "Available", "status": "True"}]});
    let ready = write("a", "status", 5, Some(&created), ready);
    let entry = &ready["metadata"]["managedFields"][1];
    assert_eq!((entry["manager"].as_str(), entry["subresource"].as_str()), (Some("a"), Some("status")));
    assert_eq!(
        entry["fieldsV1"],
        json!({"f:status": {
            "f:replicas": {},
            "f:conditions": {".": {}, "k:{\"type\":\"Available\"}": {".": {}, "f:type": {}, "f:status": {}}},
        }})
    );
}

#[test]
fn clients_can_reset_and_replace() {
    let created = write("a", "", 0, None, deployment());
    let with = |list: Value| {
        let mut new = created.clone();
        new["metadata"]["managedFields"] = list;
        write("b", "", 5, Some(&created), new)["metadata"].get("managedFields").cloned()
    };
    assert_eq!(with(json!([{}])), None);
    assert_eq!(with(json!([])), Some(created["metadata"]["managedFields"].clone()));
    assert_eq!(
        with(json!([{"manager": "x"}])),
        Some(created["metadata"]["managedFields"].clone()),
        "invalid is ignored"
    );
    let moved = json!([{"manager": "k", "operation": "Apply", "apiVersion": "apps/v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": {"f:replicas": {}}}}]);
    assert_eq!(with(moved.clone()), Some(moved));

    let mut bare = created.clone();
    value::remove(&mut bare, "metadata.managedFields");
    let mut next = bare.clone();
    next["spec"]["replicas"] = json!(9);
    assert_eq!(
        write("b", "", 5, Some(&bare), next)["metadata"].get("managedFields"),
        None,
        "untracked stays untracked"
    );
}

#[test]
fn old_managers_are_merged() {
    let mut object = write("a", "", 0, None, deployment());
    for n in 0..14 {
        let mut next = object.clone();
        next["metadata"]["labels"][format!("l{n}")] = json!("v");
        object = write(&format!("m{n:02}"), "", n + 1, Some(&object), next);
    }
    let list = object["metadata"]["managedFields"].as_array().expect("a list");
    assert_eq!(list.len(), 10);
    assert_eq!(list[0]["manager"], "ancient-changes");
    assert!(list[0]["fieldsV1"]["f:metadata"]["f:labels"].get("f:l4").is_some());
    assert_eq!(list[9]["manager"], "m13");
    assert!(list.windows(2).all(|w| w[0]["time"].as_str() <= w[1]["time"].as_str()));
}

#[test]
fn user_agents_name_managers() {
    assert_eq!(manager_of("kubectl/v1.32.4 (linux/amd64)"), "kubectl");
    assert_eq!(manager_of("a\u{7}b"), "ab");
    assert_eq!(manager_of(&"x".repeat(300)).len(), 128);
}

#[test]
fn entries_that_a_client_sends_are_brought_to_their_form() {
    let created = write("a", "", 0, None, deployment());
    let entry = |manager: &str, operation: &str, fields: Value| json!({"manager": manager, "operation": operation, "apiVersion": "apps/v1", "fieldsType": "FieldsV1", "fieldsV1": fields});
    let check = |sent: Value, expected: Option<Value>| {
        let mut new = created.clone();
        new["metadata"]["managedFields"] = sent;
        let expected = expected.unwrap_or_else(|| created["metadata"]["managedFields"].clone());
        assert_eq!(write("b", "", 5, Some(&created), new)["metadata"]["managedFields"], expected);
    };
    let ports = |key: &str| json!({"f:spec": {"f:ports": {key: {}}}});
    let canonical = ports("k:{\"containerPort\":80,\"protocol\":\"TCP\"}");
    check(
        json!([
            entry("u", "Update", json!({"f:spec": {}})),
            entry("e", "Apply", json!({})),
            entry("k", "Apply", json!({"f:metadata": {}})),
            entry("k", "Apply", ports("k:{\"protocol\": \"TCP\", \"containerPort\": 80}")),
        ]),
        Some(json!([entry("k", "Apply", canonical), entry("u", "Update", json!({"f:spec": {}}))])),
    );
    check(json!([entry("k", "Apply", json!({"k:x": {}}))]), None);
    check(json!([entry("k", "Delete", json!({"f:spec": {}}))]), None);
    let mut old = entry("k", "Apply", json!({"f:spec": {}}));
    old["apiVersion"] = "apps/v1beta7".into();
    check(
        json!([old, entry("u", "Update", json!({"f:spec": {}}))]),
        Some(json!([entry("u", "Update", json!({"f:spec": {}}))])),
    );
}

#[test]
fn an_empty_list_asks_for_a_reset() {
    let check = |mut object: Value, expected: Value| {
        keep_reset(&mut object);
        assert_eq!(object, expected);
    };
    check(json!({"metadata": {"managedFields": []}}), json!({"metadata": {"managedFields": [{}]}}));
    for other in [json!({}), json!([]), json!({"metadata": 1}), json!({"metadata": {"managedFields": [{"a": 1}]}})] {
        check(other.clone(), other);
    }
    let mut empty = write("a", "", 0, None, deployment());
    let old = empty.clone();
    empty["metadata"]["managedFields"] = json!([]);
    keep_reset(&mut empty);
    assert_eq!(write("b", "", 5, Some(&old), empty)["metadata"].get("managedFields"), None);
}

#[test]
fn what_a_write_cannot_set_is_nobodys() {
    let mut whole = deployment();
    whole["status"] = json!({"replicas": 1});
    let write = Write {
        manager: "",
        api_version: "apps/v1",
        ty: "apps/v1.Deployment".into(),
        subresource: "",
        reset: &["status", "metadata.labels"],
        settable: &[],
        now: at(0),
    };
    stamp(None, &mut whole, &write);
    let (manager, fields) = entry(&whole, 0);
    assert_eq!(manager, "unknown", "a manager without a name");
    assert_eq!((fields.get("f:status"), fields["f:metadata"].get("f:labels")), (None, None));
    assert!(fields["f:spec"].get("f:replicas").is_some());
}

/// Looking at each pair of an owner and a path takes very long.
#[test]
fn attack_many_owners_of_few_paths_each_take_no_more_than_their_number() {
    const MANY: usize = 15_000;
    let with_labels = |value: &str| {
        let mut object = deployment();
        object["metadata"]["labels"] =
            (0..MANY).map(|n| (format!("l{n}"), Value::from(value))).collect::<Object>().into();
        object
    };
    let entry = |n: usize| {
        json!({"manager": format!("m{n}"), "operation": "Apply", "apiVersion": "apps/v1", "fieldsType": "FieldsV1",
            "fieldsV1": {"f:metadata": {"f:labels": {format!("f:l{n}"): {}, "f:z": {}}}}})
    };
    let mut old = with_labels("1");
    old["metadata"]["managedFields"] = (0..MANY).map(entry).collect();
    let new = write("u", "", 1, Some(&old), with_labels("2"));
    let entries = new["metadata"]["managedFields"].as_array().expect("a list");
    assert_eq!(entries.len(), MANY + 1);
    assert_eq!(entries[0]["fieldsV1"], json!({"f:metadata": {"f:labels": {"f:z": {}}}}));
}
