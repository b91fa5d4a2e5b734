//! Ownership that does not come from an apply of the whole object: what was there before, what clients applied themselves,
//! subresources and scales.

use serde_json::json;

use super::*;

#[test]
fn what_was_there_before_the_first_apply_has_an_owner() {
    let live = map(json!({"x": "1"}));
    let status = by("a").try_apply(Some(&live), &map(json!({"x": "2"}))).expect_err("conflicts");
    assert_eq!(status.message, "Apply failed with 1 conflict: conflict with \"before-first-apply\" using v1: .data.x");
    let new = by("a").apply(Some(&live), &map(json!({"x": "1", "y": "1"})));
    let expected = [
        ("a Apply", json!({"f:data": {"f:x": {}, "f:y": {}}})),
        ("before-first-apply Update", json!({"f:data": {".": {}, "f:x": {}}})),
    ];
    assert_eq!(owned(&new), expected.map(|(n, f)| (n.to_owned(), f)));
}

#[test]
fn what_became_atomic_is_owned_as_a_whole() {
    let selector = |label: &str| deployment(json!({"selector": {"matchLabels": {label: "x"}}, "replicas": 1}));
    let mut live = by("a").apply(None, &selector("a"));
    live["metadata"]["managedFields"][0]["fieldsV1"] = json!({
        "f:spec": {"f:selector": {".": {}, "f:matchLabels": {"f:a": {}}}, "f:replicas": {}, "f:later": {"f:x": {}}},
    });
    let status = by("b").try_apply(Some(&live), &selector("b")).expect_err("conflicts");
    assert_eq!(status.message, "Apply failed with 1 conflict: conflict with \"a\": .spec.selector");
    let shared = by("b").apply(Some(&live), &selector("a"));
    assert_eq!(owned(&shared)[0].1, json!({"f:spec": {"f:selector": {}, "f:replicas": {}, "f:later": {"f:x": {}}}}));
}

fn last_applied(object: Value, config: &str) -> Value {
    with_meta(object, &json!({"annotations": {LAST_APPLIED: config}}))
}

#[test]
fn kubectl_takes_over_from_its_own_annotation() {
    let was = map(json!({"x": "1", "y": "1"})).to_string();
    let live = by("kubectl-client-side-apply").update(None, last_applied(map(json!({"x": "1", "y": "1"})), &was));
    let config = map(json!({"x": "2<&>"}));
    assert_eq!(by("other").try_apply(Some(&live), &config).expect_err("conflicts").code, 409);
    let taken = by("kubectl").apply(Some(&live), &config);
    assert_eq!(taken["data"], json!({"x": "2<&>", "y": "1"}));
    let text = taken["metadata"]["annotations"][LAST_APPLIED].as_str().expect("kept up to date");
    assert_eq!(text, config.to_string().replace("<&>", "\\u003c\\u0026\\u003e") + "\n");
    // What somebody else changed since is not kubectl's.
    let mut edited = live.clone();
    edited["data"]["x"] = "edited".into();
    let edited = by("editor").update(Some(&live), edited);
    let status = by("kubectl").try_apply(Some(&edited), &config).expect_err("conflicts");
    assert_eq!(status.message, "Apply failed with 1 conflict: conflict with \"editor\" using v1: .data.x");
    for broken in ["{", "{}", "{\"apiVersion\":\"v2\"}", "{\"apiVersion\":\"v1\",\"data\":1}"] {
        let live = by("u").update(None, last_applied(map(json!({"x": "1"})), broken));
        assert_eq!(by("kubectl").try_apply(Some(&live), &config).expect_err("conflicts").code, 409, "{broken}");
    }
    let large = map(json!({"x": "1", "y": "z".repeat(MAX_ANNOTATIONS_BYTES)}));
    let forced = By { force: true, ..by("kubectl") }.apply(Some(&live), &large);
    assert_eq!(forced["metadata"].get("annotations"), None, "too large to keep");
}

#[test]
fn what_a_write_cannot_set_it_does_not_own() {
    let mut whole = deployment(json!({"replicas": 1}));
    whole["status"] = json!({"replicas": 1});
    whole["metadata"]["labels"] = json!({"a": "b"});
    let live = by("a").apply(None, &whole);
    assert_eq!(owned(&live)[0].1, json!({"f:metadata": {"f:labels": {"f:a": {}}}, "f:spec": {"f:replicas": {}}}));
    let of_status = By { subresource: "status", reset: &["spec", "metadata.labels"], ..by("a") };
    whole["spec"]["replicas"] = 7.into();
    whole["metadata"]["labels"]["a"] = "c".into();
    let live = of_status.apply(Some(&live), &whole);
    assert_eq!(owned(&live)[1], ("a Apply status".to_owned(), json!({"f:status": {"f:replicas": {}}})));
    assert_eq!(owned(&live).len(), 2, "entries of subresources are kept apart");
}

#[test]
fn a_version_that_is_not_known_loses_its_entries() {
    let mut live = by("a").apply(None, &map(json!({"x": "1"})));
    live["metadata"]["managedFields"][0]["apiVersion"] = "v1alpha7".into();
    let new = by("b").apply(Some(&live), &map(json!({"x": "1"})));
    assert_eq!(
        owned(&new).iter().map(|(n, _)| n.as_str()).collect::<Vec<_>>(),
        ["b Apply", "before-first-apply Update"]
    );
}

#[test]
fn a_scale_is_applied_on_behalf_of_its_workload() {
    let scale = |workload: &Value, replicas: i64| {
        let mut scale = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "d", "namespace": "n"},
            "spec": {"replicas": workload["spec"]["replicas"]}, "status": {"replicas": 0}});
        crate::managed::to_scale(workload, "spec.replicas", &mut scale);
        let config = json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "d"}, "spec": {"replicas": replicas}});
        (scale, config)
    };
    let by_scale = |manager| By { subresource: "scale", reset: &[], second: 5, ..by(manager) };
    let live = by("a").apply(None, &deployment(json!({"replicas": 1, "paused": true})));
    let (seen, config) = scale(&live, 3);
    let status = by_scale("s").try_apply(Some(&seen), &config).expect_err("conflicts");
    assert_eq!(status.message, "Apply failed with 1 conflict: conflict with \"a\": .spec.replicas");
    let forced = By { force: true, ..by_scale("s") }.apply(Some(&seen), &config);
    let mut scaled = live.clone();
    scaled["spec"]["replicas"] = 3.into();
    crate::managed::to_workload(&forced, &mut scaled, "apps/v1", "spec.replicas");
    let replicas = json!({"f:spec": {"f:replicas": {}}});
    let expected = [("a Apply", json!({"f:spec": {"f:paused": {}}})), ("s Apply scale", replicas.clone())];
    assert_eq!(owned(&scaled), expected.map(|(n, f)| (n.to_owned(), f)));
    assert_eq!(scaled["metadata"]["managedFields"][1]["apiVersion"], "apps/v1");

    let (seen, config) = scale(&scaled, 4);
    assert_eq!(owned(&seen), [("s Apply scale".to_owned(), replicas)]);
    let again = By { second: 9, ..by_scale("s") }.apply(Some(&seen), &config);
    crate::managed::to_workload(&again, &mut scaled, "apps/v1", "spec.replicas");
    assert_eq!(owned(&scaled).len(), 2);
    assert_eq!(scaled["metadata"]["managedFields"][1]["time"], "2026-01-02T03:04:14Z");
}
