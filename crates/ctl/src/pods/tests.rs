use serde_json::json;

use super::*;

#[test]
fn words_name_pods_or_what_has_them() {
    assert_eq!(split("web").expect("a pod"), None);
    assert_eq!(split("deploy/web").expect("a deployment"), Some(("deploy", "web")));
    for bad in ["", "/", "deploy/", "/web", "a/b/c"] {
        assert!(split(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn selectors_of_every_kind_become_text() {
    let check = |selector_field: Value, expected: Option<&str>| {
        let object = json!({"spec": {"selector": selector_field}});
        assert_eq!(selector(&object).as_deref(), expected, "{object}");
    };
    check(json!({"app": "web", "tier": "front"}), Some("app=web,tier=front"));
    check(json!({"matchLabels": {"app": "web"}}), Some("app=web"));
    check(
        json!({"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "t", "operator": "In", "values": ["a", "b"]}]}),
        Some("app=web,t in (a,b)"),
    );
    check(json!({}), None);
    check(Value::Null, None);
    assert_eq!(selector(&json!({"spec": {}})), None);
}

fn pod(name: &str, phase: &str, ready: bool, created: &str) -> Value {
    let ready = if ready { "True" } else { "False" };
    json!({"metadata": {"name": name, "creationTimestamp": created},
        "status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready}]}})
}

#[test]
fn the_best_pod_is_ready_then_running_then_old() {
    let waiting = pod("waiting", "Pending", false, "2026-01-01T00:00:00Z");
    let running = pod("running", "Running", false, "2026-01-02T00:00:00Z");
    let young = pod("young", "Running", true, "2026-01-04T00:00:00Z");
    let old = pod("old", "Running", true, "2026-01-03T00:00:00Z");
    let mut ending = pod("ending", "Running", true, "2026-01-01T00:00:00Z");
    ending["metadata"]["deletionTimestamp"] = json!("2026-01-05T00:00:00Z");
    let check = |pods: &[&Value], expected: Option<&str>| assert_eq!(best(pods).map(name), expected);
    check(&[&waiting, &ending, &running, &young, &old], Some("old"));
    check(&[&waiting, &ending, &running], Some("running"));
    check(&[&ending], Some("ending"));
    check(&[], None);
}

#[test]
fn the_container_that_is_meant_is_found() {
    let mut pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a"}, {"name": "b"}],
        "initContainers": [{"name": "i"}], "ephemeralContainers": [{"name": "e"}]}});
    for (wanted, expected) in [(None, "a"), (Some("b"), "b"), (Some("i"), "i"), (Some("e"), "e")] {
        assert_eq!(container(&pod, wanted, true).expect("it is there"), expected);
    }
    let error = container(&pod, Some("x"), true).expect_err("there is none").to_string();
    assert_eq!(error, "container x not found in pod p; it has: a, b, i, e");
    pod["metadata"]["annotations"] = json!({DEFAULT_CONTAINER: "b"});
    assert_eq!(container(&pod, None, true).expect("annotated"), "b");
    assert_eq!(container(&pod, Some("a"), true).expect("the flag wins"), "a");
}
