//! Kinds that are served in two forms of one store.

use serde_json::{Value, json};

use crate::support::Cluster;

const CORE: &str = "/api/v1/namespaces/default/events";
const NEWER: &str = "/apis/events.k8s.io/v1/namespaces/default/events";
const MERGE: (&str, &str) = ("content-type", "application/merge-patch+json");

fn newer_event(name: &str) -> Value {
    json!({
        "metadata": {"name": name}, "eventTime": "2026-01-02T03:04:05.000000Z", "reportingController": "a.b/c",
        "reportingInstance": "i", "action": "Binding", "reason": "Scheduled", "type": "Normal", "note": "it fits",
        "regarding": {"kind": "Pod", "namespace": "default", "name": "p"},
    })
}

#[tokio::test]
async fn events_are_one_store_in_two_forms() {
    let cluster = Cluster::start().await;
    let made = cluster.rest("POST", NEWER, &[], &newer_event("e").to_string()).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let made = made.json();
    assert_eq!((made["apiVersion"].as_str(), made["note"].as_str()), (Some("events.k8s.io/v1"), Some("it fits")));
    let core = cluster.rest("GET", &format!("{CORE}/e"), &[], "").await.json();
    assert_eq!((core["apiVersion"].as_str(), core["message"].as_str()), (Some("v1"), Some("it fits")));
    assert_eq!(
        (core["involvedObject"]["name"].as_str(), core["reportingComponent"].as_str()),
        (Some("p"), Some("a.b/c"))
    );
    let old = json!({"metadata": {"name": "f"}, "involvedObject": {"kind": "Pod", "namespace": "default", "name": "q"},
        "reason": "Old", "type": "Warning", "message": "said", "count": 3});
    assert_eq!(cluster.rest("POST", CORE, &[], &old.to_string()).await.code, 201);
    let names = async |path: &str, selector: &str| {
        let list = cluster.rest("GET", &format!("{path}?fieldSelector={selector}"), &[], "").await.json();
        let items = list["items"].as_array().cloned().unwrap_or_else(|| panic!("{list}"));
        items.iter().map(|e| e["metadata"]["name"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(NEWER, "regarding.name%3Dq").await, ["f"]);
    assert_eq!(names(NEWER, "reportingController%3Da.b/c").await, ["e"]);
    assert_eq!(names(CORE, "involvedObject.name%3Dp").await, ["e"]);
    assert_eq!(cluster.rest("GET", &format!("{NEWER}?fieldSelector=involvedObject.name%3Dp"), &[], "").await.code, 400);
    let list = cluster.rest("GET", NEWER, &[], "").await.json();
    assert_eq!(list["kind"], "EventList");
    let old = list["items"].as_array().into_iter().flatten().find(|e| e["metadata"]["name"] == "f").expect("listed");
    assert_eq!(
        (&old["deprecatedCount"], &old["note"], &old["apiVersion"]),
        (&json!(3), &json!("said"), &json!("events.k8s.io/v1"))
    );
    let watch = format!("{NEWER}?watch=true&timeoutSeconds=1&fieldSelector=metadata.name%3Df");
    let seen: Value =
        serde_json::from_str(cluster.rest("GET", &watch, &[], "").await.text.lines().next().expect("an event"))
            .expect("JSON");
    assert_eq!((&seen["type"], &seen["object"]["note"]), (&json!("ADDED"), &json!("said")));
}

#[tokio::test]
async fn events_of_the_newer_form_keep_its_rules() {
    let cluster = Cluster::start().await;
    let mut wrong = newer_event("e");
    wrong["deprecatedCount"] = 1.into();
    let refused = cluster.rest("POST", NEWER, &[], &wrong.to_string()).await;
    assert_eq!(refused.code, 422);
    assert!(
        refused.json()["message"]
            .as_str()
            .is_some_and(|m| m.starts_with("Event.events.k8s.io \"e\" is invalid: count:")),
        "{}",
        refused.text
    );
    cluster.rest("POST", NEWER, &[], &newer_event("e").to_string()).await;
    let series = json!({"series": {"count": 2, "lastObservedTime": "2026-01-02T03:04:06.000000Z"}}).to_string();
    let patched = cluster.rest("PATCH", &format!("{NEWER}/e"), &[MERGE], &series).await;
    assert_eq!((patched.code, &patched.json()["series"]["count"]), (200, &json!(2)), "{}", patched.text);
    let other = cluster.rest("PATCH", &format!("{NEWER}/e"), &[MERGE], r#"{"note":"else"}"#).await;
    assert_eq!(other.code, 422, "{}", other.text);
    let missing = cluster.rest("GET", &format!("{NEWER}/none"), &[], "").await.json();
    assert_eq!(missing["message"], "events.events.k8s.io \"none\" not found");
}

#[tokio::test]
async fn autoscalers_are_served_in_both_versions() {
    let cluster = Cluster::start().await;
    let (one, two) = (
        "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers",
        "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers",
    );
    let body = json!({"metadata": {"name": "h"}, "spec": {"maxReplicas": 5, "targetCPUUtilizationPercentage": 60,
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}}});
    let made = cluster.rest("POST", one, &[], &body.to_string()).await;
    assert_eq!((made.code, &made.json()["spec"]["minReplicas"]), (201, &json!(1)), "{}", made.text);
    let stored = cluster.rest("GET", &format!("{two}/h"), &[], "").await.json();
    let target = &stored["spec"]["metrics"][0]["resource"]["target"];
    assert_eq!(*target, json!({"type": "Utilization", "averageUtilization": 60}));
    let json_patch = [("content-type", "application/json-patch+json")];
    let patch = r#"[{"op":"replace","path":"/spec/targetCPUUtilizationPercentage","value":70}]"#;
    let patched = cluster.rest("PATCH", &format!("{one}/h"), &json_patch, patch).await;
    assert_eq!(patched.json()["spec"]["targetCPUUtilizationPercentage"], 70, "{}", patched.text);
    let memory = json!({"spec": {"metrics": [{"type": "Resource", "resource": {"name": "memory",
        "target": {"type": "AverageValue", "averageValue": "1Gi"}}}]}});
    assert_eq!(cluster.rest("PATCH", &format!("{two}/h"), &[MERGE], &memory.to_string()).await.code, 200);
    let old = cluster.rest("GET", &format!("{one}/h"), &[], "").await.json();
    let annotation = &old["metadata"]["annotations"]["autoscaling.alpha.kubernetes.io/metrics"];
    assert_eq!(*annotation, r#"[{"resource":{"name":"memory","targetAverageValue":"1Gi"},"type":"Resource"}]"#);
    let written_back = cluster.rest("PUT", &format!("{one}/h"), &[], &old.to_string()).await.json();
    assert_eq!(
        written_back["metadata"]["resourceVersion"], old["metadata"]["resourceVersion"],
        "nothing is lost on the way"
    );
    let watch = format!("{one}?watch=true&timeoutSeconds=1");
    let seen: Value =
        serde_json::from_str(cluster.rest("GET", &watch, &[], "").await.text.lines().next().expect("an event"))
            .expect("JSON");
    assert_eq!(seen["object"]["apiVersion"], "autoscaling/v1");
}

#[tokio::test]
async fn endpoints_come_with_a_warning() {
    let cluster = Cluster::start().await;
    let path = "/api/v1/namespaces/default/endpoints";
    let warning = "299 - \"v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice\"";
    let body = json!({"metadata": {"name": "e"}, "subsets": [{"addresses": [{"ip": "10.1.2.3"}]}]}).to_string();
    for (method, path, body) in [("POST", path, body.as_str()), ("GET", path, ""), ("GET", &format!("{path}/e"), "")] {
        let answer = cluster.rest(method, path, &[], body).await;
        assert_eq!(answer.headers.get("warning").and_then(|w| w.to_str().ok()), Some(warning), "{method} {path}");
    }
    let other = cluster.rest("GET", "/api/v1/namespaces/default/configmaps", &[], "").await;
    assert_eq!(other.headers.get("warning"), None);
}

/// The entry of a manager.
fn owned_by<'a>(object: &'a Value, manager: &str) -> &'a Value {
    let entries = object["metadata"]["managedFields"].as_array().expect("entries");
    entries.iter().find(|e| e["manager"] == manager).unwrap_or_else(|| panic!("{manager}: {object}"))
}

#[tokio::test]
async fn managers_own_fields_of_the_form_that_they_write() {
    let cluster = Cluster::start().await;
    let path = |version: &str| format!("/apis/autoscaling/{version}/namespaces/default/horizontalpodautoscalers");
    let body = json!({"metadata": {"name": "h"}, "spec": {"maxReplicas": 5, "targetCPUUtilizationPercentage": 60,
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}}});
    let made = cluster.rest("POST", &format!("{}?fieldManager=old", path("v1")), &[], &body.to_string()).await.json();
    let entry = owned_by(&made, "old");
    assert_eq!(entry["apiVersion"], "autoscaling/v1");
    let spec = json!({"f:maxReplicas": {}, "f:minReplicas": {}, "f:scaleTargetRef": {}, "f:targetCPUUtilizationPercentage": {}});
    assert_eq!(entry["fieldsV1"], json!({"f:spec": spec}));

    let metrics = json!({"spec": {"metrics": [{"type": "Resource", "resource": {"name": "cpu",
        "target": {"type": "Utilization", "averageUtilization": 70}}}]}});
    let newer = format!("{}/h?fieldManager=new", path("v2"));
    let patched = cluster.rest("PATCH", &newer, &[MERGE], &metrics.to_string()).await.json();
    let entry = owned_by(&patched, "new");
    assert_eq!(
        (&entry["apiVersion"], &entry["fieldsV1"]["f:spec"]["f:metrics"]),
        (&json!("autoscaling/v2"), &json!({}))
    );
    let left = json!({"f:maxReplicas": {}, "f:minReplicas": {}, "f:scaleTargetRef": {}});
    assert_eq!(owned_by(&patched, "old")["fieldsV1"]["f:spec"], left, "the share went with the metrics");

    let apply = async |share: u64, force: &str| {
        let body = json!({"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"},
            "spec": {"targetCPUUtilizationPercentage": share}});
        let path = format!("{}/h?fieldManager=applier{force}", path("v1"));
        cluster.rest("PATCH", &path, &[("content-type", "application/apply-patch+yaml")], &body.to_string()).await
    };
    let agreed = apply(70, "").await;
    assert_eq!(agreed.code, 200, "{}", agreed.text);
    let entry = owned_by(&agreed.json(), "applier").clone();
    assert_eq!(entry["apiVersion"], "autoscaling/v1");
    assert_eq!(entry["fieldsV1"], json!({"f:spec": {"f:targetCPUUtilizationPercentage": {}}}));
    let conflict = apply(80, "").await;
    let message = "Apply failed with 1 conflict: conflict with \"new\" using autoscaling/v2: .spec.metrics";
    assert_eq!((conflict.code, conflict.json()["message"].as_str()), (409, Some(message)), "{}", conflict.text);
    let forced = apply(80, "&force=true").await.json();
    assert_eq!(forced["spec"]["targetCPUUtilizationPercentage"], 80, "{forced}");
    let entries = forced["metadata"]["managedFields"].as_array().expect("entries");
    assert!(entries.iter().all(|e| e["manager"] != "new"), "{forced}");

    let made =
        cluster.rest("POST", &format!("{NEWER}?fieldManager=x"), &[], &newer_event("e").to_string()).await.json();
    let entry = owned_by(&made, "x");
    assert_eq!(entry["apiVersion"], "events.k8s.io/v1");
    let fields: Vec<&String> = entry["fieldsV1"].as_object().expect("fields").keys().collect();
    let expected =
        ["action", "eventTime", "note", "reason", "regarding", "reportingController", "reportingInstance", "type"];
    assert_eq!(fields, expected.map(|name| format!("f:{name}")).iter().collect::<Vec<_>>());
}

/// What Go's encoder cannot leave out is there, though nobody owns it, and goes when somebody sets it.
#[tokio::test]
async fn what_upstream_prints_empty_is_printed() {
    let cluster = Cluster::start().await;
    let metadata = json!({"name": "x"});
    let check = async |path: &str, mut body: Value, printed: Value| {
        body["metadata"] = metadata.clone();
        let made = cluster.rest("POST", path, &[], &body.to_string()).await;
        assert_eq!(made.code, 201, "{path}: {}", made.text);
        let made = made.json();
        for (name, value) in printed.as_object().expect("fields") {
            assert_eq!(made[name], *value, "{path}: {made}");
        }
        made
    };
    let object = json!({"namespace": "default"});
    let event = json!({"eventTime": null, "firstTimestamp": null, "lastTimestamp": null, "source": {},
        "reportingComponent": "", "reportingInstance": "", "involvedObject": object});
    let made = check(CORE, json!({"involvedObject": object}), event).await;
    let fields = &owned_by(&made, "unknown")["fieldsV1"];
    assert_eq!(*fields, json!({"f:involvedObject": {}}), "{made}");
    let newer = cluster.rest("GET", &format!("{NEWER}/x"), &[], "").await.json();
    let null_or_absent =
        ["deprecatedFirstTimestamp", "deprecatedLastTimestamp", "eventTime"].map(|name| newer.get(name));
    assert_eq!(null_or_absent, [Some(&Value::Null); 3], "{newer}");
    assert_eq!((newer.get("reportingController"), &newer["deprecatedSource"]), (None, &json!({})), "{newer}");
    let roles = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles";
    check(roles, json!({}), json!({"rules": null})).await;
    let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
    check(slices, json!({"addressType": "IPv4"}), json!({"endpoints": null, "ports": null})).await;
    let nodes = "/apis/storage.k8s.io/v1/csinodes";
    check(nodes, json!({"spec": {}}), json!({"spec": {"drivers": null}})).await;
    check("/api/v1/namespaces/default/resourcequotas", json!({}), json!({"spec": {}, "status": {}})).await;
    check("/apis/coordination.k8s.io/v1/namespaces/default/leases", json!({}), json!({"spec": {}})).await;
    check("/apis/scheduling.k8s.io/v1/priorityclasses", json!({}), json!({"value": 0})).await;
    let claims = "/apis/resource.k8s.io/v1/namespaces/default/resourceclaims";
    check(claims, json!({}), json!({"spec": {"devices": {}}})).await;
    let scaler = json!({"spec": {"maxReplicas": 2, "scaleTargetRef": {"kind": "Deployment", "name": "x"}}});
    let status = json!({"currentMetrics": null, "desiredReplicas": 0});
    let scalers = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
    check(scalers, scaler, json!({"status": status})).await;

    let rule = json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]);
    let driver = json!([{"name": "a.b", "nodeID": "n"}]);
    let strategic = ("content-type", "application/strategic-merge-patch+json");
    for (path, kind, field, value) in [
        (roles, MERGE, "/rules", json!({"rules": rule})),
        (roles, strategic, "/rules", json!({"rules": null})),
        (nodes, strategic, "/spec/drivers", json!({"spec": {"drivers": driver}})),
        (nodes, MERGE, "/spec/drivers", json!({"spec": {"drivers": null}})),
    ] {
        let patched = cluster.rest("PATCH", &format!("{path}/x"), &[kind], &value.to_string()).await;
        assert_eq!(patched.json().pointer(field), value.pointer(field), "{path} {value}: {}", patched.text);
    }
}
