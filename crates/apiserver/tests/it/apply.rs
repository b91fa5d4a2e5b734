//! Server-side apply over REST and gRPC: what is created, merged, refused, and who owns it.

use std::time::Duration;

use gantry_apiserver::testing::Builder;
use gantry_client::{Patch, ResourceId, WriteParams};
use gantry_common::clock::Manual;
use serde_json::{Value, json};

use crate::support::{Answer, Cluster, configmap, pod};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const APPLY: (&str, &str) = ("content-type", "application/apply-patch+yaml");

async fn apply(cluster: &Cluster, path: &str, query: &str, body: &str) -> Answer {
    cluster.rest("PATCH", &format!("{path}?{query}"), &[APPLY], body).await
}

fn map(data: &Value) -> String {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": data}).to_string()
}

fn deployment(replicas: Option<i64>) -> Value {
    let mut object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "labels": {"a": "b"}},
        "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {
            "metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "i:1", "ports": [{"containerPort": 80}]}]},
        }},
    });
    if let Some(replicas) = replicas {
        object["spec"]["replicas"] = replicas.into();
    }
    object
}

#[tokio::test]
async fn what_comes_to_the_same_is_not_written() {
    let clock = Manual::new(jiff::Timestamp::now());
    let cluster = Cluster::with(Builder::default().clock(clock.clone())).await;
    // Defaults and canonical quantities in a list that is set as a whole.
    let claims = json!([{"metadata": {"name": "v"}, "spec": {
        "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1024Mi"}},
    }}]);
    let set = json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "s"},
        "spec": {"serviceName": "s", "selector": {"matchLabels": {"a": "b"}}, "volumeClaimTemplates": claims, "template": {
            "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]},
        }},
    });
    let mut with_nulls: Value = serde_json::from_str(&map(&json!({"x": "1"}))).expect("JSON");
    with_nulls["metadata"]["creationTimestamp"] = Value::Null;
    with_nulls["metadata"]["resourceVersion"] = Value::Null;
    let sets = "/apis/apps/v1/namespaces/default/statefulsets/s";
    for (path, config) in [(sets, set), (&format!("{MAPS}/a"), with_nulls)] {
        let first = apply(&cluster, path, "fieldManager=m", &config.to_string()).await;
        assert_eq!(first.code, 201, "{}", first.text);
        clock.advance(Duration::from_secs(5));
        let again = apply(&cluster, path, "fieldManager=m", &config.to_string()).await;
        assert_eq!((again.code, again.json()), (200, first.json()));
    }
}

/// `manager operation subresource` of every entry, sorted.
fn managers(object: &Value) -> Vec<String> {
    let text = |e: &Value, field: &str| e[field].as_str().unwrap_or_default().to_owned();
    let name = |e: &Value| format!("{} {} {}", text(e, "manager"), text(e, "operation"), text(e, "subresource"));
    let entries = object["metadata"]["managedFields"].as_array();
    let mut names: Vec<String> = entries.into_iter().flatten().map(|e| name(e).trim().to_owned()).collect();
    names.sort();
    names
}

fn fields<'a>(object: &'a Value, manager: &str, subresource: Option<&str>) -> &'a Value {
    let entries = object["metadata"]["managedFields"].as_array().expect("entries");
    let of = |e: &&Value| e["manager"] == manager && e["subresource"].as_str() == subresource;
    &entries.iter().find(of).unwrap_or_else(|| panic!("{manager} owns nothing"))["fieldsV1"]
}

#[tokio::test]
async fn an_apply_creates_and_then_merges() {
    let cluster = Cluster::start().await;
    let one = format!("{MAPS}/a");
    let dry = apply(&cluster, &one, "fieldManager=m&dryRun=All", &map(&json!({"x": "1"}))).await;
    assert_eq!((dry.code, dry.json()["metadata"].get("resourceVersion")), (201, None));
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  x: '1'\n  y: '1'\n";
    let made = apply(&cluster, &one, "fieldManager=m", yaml).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let made = made.json();
    assert_eq!(fields(&made, "m", None), &json!({"f:data": {"f:x": {}, "f:y": {}}}));
    let again = apply(&cluster, &one, "fieldManager=m", yaml).await;
    assert_eq!((again.code, again.json()), (200, made.clone()), "nothing changes, so nothing is stored");
    let dry = apply(&cluster, &one, "fieldManager=m&dryRun=All", &map(&json!({"z": "1"}))).await.json();
    assert_eq!(dry["data"], json!({"z": "1"}));
    let less = apply(&cluster, &one, "fieldManager=m", &map(&json!({"y": "2"}))).await.json();
    assert_eq!(less["data"], json!({"y": "2"}));
    assert_ne!(less["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);
    assert_eq!(less["metadata"]["uid"], made["metadata"]["uid"]);
}

#[tokio::test]
async fn conflicts_are_told_and_forced() {
    let cluster = Cluster::start().await;
    let one = format!("{DEPLOYMENTS}/d");
    cluster.rest("POST", DEPLOYMENTS, &[("user-agent", "tool/1")], &deployment(Some(1)).to_string()).await;
    let body = deployment(Some(3)).to_string();
    let refused = apply(&cluster, &one, "fieldManager=m", &body).await;
    let expected = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "Conflict", "code": 409,
        "message": "Apply failed with 1 conflict: conflict with \"tool\" using apps/v1: .spec.replicas",
        "details": {"causes": [{
            "reason": "FieldManagerConflict", "message": "conflict with \"tool\" using apps/v1", "field": ".spec.replicas",
        }]},
    });
    assert_eq!((refused.code, refused.json()), (409, expected));
    let forced = apply(&cluster, &one, "fieldManager=m&force=true", &body).await.json();
    assert_eq!((forced["spec"]["replicas"].as_i64(), forced["metadata"]["generation"].as_i64()), (Some(3), Some(2)));
    assert_eq!(managers(&forced), ["m Apply", "tool Update"]);
    assert_eq!(fields(&forced, "tool", None)["f:spec"].get("f:replicas"), None);
    // A plain write takes the field away from the applier.
    let merge = ("content-type", "application/merge-patch+json");
    let scaled = cluster.rest("PATCH", &format!("{one}?fieldManager=u"), &[merge], r#"{"spec":{"replicas":5}}"#).await;
    assert_eq!(fields(&scaled.json(), "m", None)["f:spec"].get("f:replicas"), None);
    let less = apply(&cluster, &one, "fieldManager=m", &deployment(None).to_string()).await.json();
    assert_eq!(less["spec"]["replicas"], 5, "it is not the applier's any more");
    assert_eq!(
        less["spec"]["template"]["spec"]["containers"][0]["ports"][0]["protocol"], "TCP",
        "defaults are applied"
    );
}

/// A ConfigMap `a` whose metadata says this much.
fn named(metadata: &Value) -> String {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}).to_string()
}

async fn refused(cluster: &Cluster, path: &str, query: &str, body: &str, code: u16, message: &str) {
    let answer = apply(cluster, path, query, body).await;
    assert_eq!((answer.code, answer.json()["message"].as_str()), (code, Some(message)), "{body}");
}

#[tokio::test]
async fn bad_applies_are_refused() {
    let cluster = Cluster::start().await;
    cluster.rest("POST", MAPS, &[], &configmap("a", "1").to_string()).await;
    let one = format!("{MAPS}/a");
    let manager = "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch";
    refused(&cluster, &one, "", "{}", 422, manager).await;
    let list = "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal array into Go value of type map[string]interface {}";
    let typed =
        "failed to create typed patch object (/a; /v1, Kind=ConfigMap): .metadata.foo: field not declared in schema";
    for (body, code, message) in [
        ("{}".to_owned(), 400, "invalid object type: /, Kind="),
        ("[]".to_owned(), 400, list),
        (named(&json!({"name": "a", "foo": 1})), 500, typed),
        (named(&json!({"name": "a", "managedFields": [{}]})), 400, "metadata.managedFields must be nil"),
        (named(&json!({"name": "b"})), 400, "the name of the object (b) does not match the name on the URL (a)"),
        (
            named(&json!({"name": "a", "namespace": "other"})),
            400,
            "the namespace of the provided object does not match the namespace sent on the request",
        ),
        (
            named(&json!({"name": "a", "uid": "u"})),
            422,
            "ConfigMap \"a\" is invalid: metadata.uid: Invalid value: \"u\": field is immutable",
        ),
        (
            named(&json!({"name": "a", "resourceVersion": "1"})),
            409,
            "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; please apply your changes to the latest version and try again",
        ),
    ] {
        refused(&cluster, &one, "fieldManager=m", &body, code, message).await;
    }
    let meta = &cluster.rest("GET", &one, &[], "").await.json()["metadata"];
    let right = named(&json!({"name": "a", "uid": meta["uid"], "resourceVersion": meta["resourceVersion"]}));
    assert_eq!(apply(&cluster, &one, "fieldManager=m", &right).await.code, 200, "it names the present object");
}

#[tokio::test]
async fn what_is_not_there_must_be_named_to_be_created() {
    let cluster = Cluster::start().await;
    let (one, by) = (format!("{MAPS}/a"), "fieldManager=m");
    for (body, code, message) in [
        (named(&json!({"name": "b"})), 400, "the name of the object (b) does not match the name on the URL (a)"),
        (named(&json!({})), 400, "the name of the object (a based on URL) was undeterminable: name must be provided"),
        (
            named(&json!({"name": "a", "uid": "u"})),
            409,
            "Operation cannot be fulfilled on configmaps \"a\": uid mismatch: the provided object specified uid u, and no existing object was found",
        ),
    ] {
        refused(&cluster, &one, by, &body, code, message).await;
    }
    let body = named(&json!({"name": "a"}));
    let elsewhere = "/api/v1/namespaces/none/configmaps/a";
    refused(&cluster, elsewhere, by, &body, 404, "namespaces \"none\" not found").await;
    let gone = "deployments.apps \"d\" not found";
    refused(&cluster, &format!("{DEPLOYMENTS}/d/status"), by, &deployment(None).to_string(), 404, gone).await;
    let scale = r#"{"apiVersion":"autoscaling/v1","kind":"Scale"}"#;
    refused(&cluster, &format!("{DEPLOYMENTS}/d/scale"), by, scale, 404, gone).await;
    let versioned = named(&json!({"name": "a", "resourceVersion": "1"}));
    assert_eq!(apply(&cluster, &one, by, &versioned).await.code, 201, "there is no version to compare with");
}

#[tokio::test]
async fn other_media_types_and_force_are_refused() {
    let cluster = Cluster::start().await;
    let one = format!("{MAPS}/a");
    let cbor = cluster.rest("PATCH", &one, &[("content-type", "application/apply-patch+cbor")], "{}").await;
    let accepted = "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml";
    assert_eq!((cbor.code, cbor.headers["accept-patch"].to_str().ok()), (415, Some(accepted)));
    let message =
        format!("the body of the request was in an unknown format - accepted media types include: {accepted}");
    assert_eq!(cbor.json()["message"], message);
    let merge = ("content-type", "application/merge-patch+json");
    let forced = cluster.rest("PATCH", &format!("{one}?force=true"), &[merge], "{}").await;
    let message =
        "PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be specified for non-apply patch";
    assert_eq!((forced.code, forced.json()["message"].as_str()), (422, Some(message)));
    let document = cluster.rest("GET", "/openapi/v3/api/v1", &[], "").await.json();
    let patch = &document["paths"]["/api/v1/namespaces/{namespace}/configmaps/{name}"]["patch"];
    assert!(patch["requestBody"]["content"].get("application/apply-patch+yaml").is_some());
}

#[tokio::test]
async fn duplicate_keys_are_judged() {
    let cluster = Cluster::start().await;
    let one = format!("{MAPS}/a");
    let body = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  x: '1'\n  x: '2'\n";
    let strict = apply(&cluster, &one, "fieldManager=m&fieldValidation=Strict", body).await;
    let message = "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  line 6: key \"x\" already set in map";
    assert_eq!((strict.code, strict.json()["message"].as_str()), (400, Some(message)));
    let warned = apply(&cluster, &one, "fieldManager=m", body).await;
    assert_eq!((warned.code, &warned.json()["data"]["x"]), (201, &json!("2")));
    assert_eq!(warned.headers["warning"], "299 - \"line 6: key \\\"x\\\" already set in map\"");
    let ignored = apply(&cluster, &one, "fieldManager=m&fieldValidation=Ignore", body).await;
    assert_eq!((ignored.code, ignored.headers.get("warning")), (200, None));
}

#[tokio::test]
async fn subresources_are_applied_by_themselves() {
    let cluster = Cluster::start().await;
    let one = format!("{DEPLOYMENTS}/d");
    let mut whole = deployment(Some(2));
    whole["status"] = json!({"replicas": 7});
    let made = apply(&cluster, &one, "fieldManager=m", &whole.to_string()).await.json();
    assert_eq!(fields(&made, "m", None).get("f:status"), None, "status is not owned through the object");
    assert_eq!(made["status"]["replicas"].as_i64().unwrap_or(0), 0);
    whole["spec"]["replicas"] = 9.into();
    whole["metadata"]["labels"] = json!({"a": "other"});
    let status = apply(&cluster, &format!("{one}/status"), "fieldManager=m", &whole.to_string()).await.json();
    assert_eq!((&status["spec"]["replicas"], &status["status"]["replicas"]), (&json!(2), &json!(7)));
    assert_eq!(status["metadata"]["labels"], json!({"a": "b"}));
    assert_eq!(managers(&status), ["m Apply", "m Apply status"]);
    assert_eq!(fields(&status, "m", Some("status")), &json!({"f:status": {"f:replicas": {}}}));
    assert_eq!(status["metadata"]["generation"], 1);
}

#[tokio::test]
async fn a_scale_apply_owns_the_replicas() {
    let cluster = Cluster::start().await;
    let (one, scale) = (format!("{DEPLOYMENTS}/d"), format!("{DEPLOYMENTS}/d/scale"));
    apply(&cluster, &one, "fieldManager=m", &deployment(Some(2)).to_string()).await;
    let config = |replicas: i64| {
        json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "d"}, "spec": {"replicas": replicas}}).to_string()
    };
    let refused = apply(&cluster, &scale, "fieldManager=hpa", &config(5)).await.json();
    assert_eq!(refused["message"], "Apply failed with 1 conflict: conflict with \"m\": .spec.replicas");
    assert_eq!(apply(&cluster, &scale, "", &config(5)).await.code, 422);
    let forced = apply(&cluster, &scale, "fieldManager=hpa&force=true", &config(5)).await;
    assert_eq!(
        (forced.code, forced.json()["kind"].as_str(), &forced.json()["spec"]["replicas"]),
        (200, Some("Scale"), &json!(5))
    );
    let object = cluster.rest("GET", &one, &[], "").await.json();
    assert_eq!(
        (managers(&object), &object["spec"]["replicas"]),
        (vec!["hpa Apply scale".to_owned(), "m Apply".to_owned()], &json!(5))
    );
    assert_eq!(fields(&object, "hpa", Some("scale")), &json!({"f:spec": {"f:replicas": {}}}));
    let again = apply(&cluster, &scale, "fieldManager=hpa", &config(5)).await.json();
    assert_eq!(again["metadata"]["resourceVersion"], object["metadata"]["resourceVersion"], "nothing changes");
    // The object's applier meets the owner, and gives way by not saying replicas.
    let refused = apply(&cluster, &one, "fieldManager=m", &deployment(Some(2)).to_string()).await.json();
    assert_eq!(
        refused["message"],
        "Apply failed with 1 conflict: conflict with \"hpa\" with subresource \"scale\": .spec.replicas"
    );
    let kept = apply(&cluster, &one, "fieldManager=m", &deployment(None).to_string()).await.json();
    assert_eq!(kept["spec"]["replicas"], 5);
    let wrong = config(1).replace("\"d\"", "\"e\"");
    assert_eq!(apply(&cluster, &scale, "fieldManager=hpa", &wrong).await.code, 400);
}

#[tokio::test]
async fn creating_by_apply_needs_the_right_to_create() {
    let cluster = Cluster::start().await;
    let rest = |path: &'static str, object: Value| {
        let cluster = &cluster;
        async move { assert_eq!(cluster.rest("POST", path, &[], &object.to_string()).await.code, 201) }
    };
    let meta = json!({"name": "patcher"});
    let rules = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["patch"]}]);
    rest("/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles", json!({"metadata": meta, "rules": rules}))
        .await;
    let role = json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "patcher"});
    let subjects = json!([{"kind": "User", "name": "eve", "apiGroup": "rbac.authorization.k8s.io"}]);
    let binding = json!({"metadata": meta, "roleRef": role, "subjects": subjects});
    rest("/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings", binding).await;
    let maps = cluster.client("eve", &[]).dynamic(ResourceId::new("", "v1", "configmaps"), "default");
    let params = WriteParams { field_manager: "m".to_owned(), ..WriteParams::default() };
    let patch = Patch::Apply { object: configmap("a", "1"), force: false };
    let refused = maps.patch("a", "", &patch, &params).await.expect_err("may not create");
    assert!(refused.is_forbidden(), "{refused}");
    rest(MAPS, configmap("a", "1")).await;
    maps.patch("a", "", &patch, &params).await.expect("may patch");
}

#[tokio::test]
async fn grpc_applies_too() {
    let cluster = Cluster::start().await;
    let maps = cluster.admin().dynamic(ResourceId::new("", "v1", "configmaps"), "default");
    let by = |manager: &str| WriteParams { field_manager: manager.to_owned(), ..WriteParams::default() };
    let config = |value: &str, force| Patch::Apply { object: configmap("a", value), force };
    let made = maps.patch("a", "", &config("1", false), &by("m")).await.expect("created");
    assert_eq!(managers(&made.object), ["m Apply"]);
    let refused = maps.patch("a", "", &config("2", false), &by("n")).await.expect_err("conflicts");
    assert!(refused.is_conflict() && refused.to_string().contains("conflict with \"m\": .data.a"), "{refused}");
    let forced = maps.patch("a", "", &config("2", true), &by("n")).await.expect("forced");
    assert_eq!((managers(&forced.object), &forced.object["data"]["a"]), (vec!["n Apply".to_owned()], &json!("2")));
    let unnamed = maps.patch("a", "", &config("2", true), &WriteParams::default()).await.expect_err("no manager");
    assert!(unnamed.to_string().contains("is required for apply patch"), "{unnamed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn appliers_at_once_lose_nothing() {
    let cluster = Cluster::start().await;
    let appliers = (0..12).map(|i| {
        let cluster = &cluster;
        async move {
            let body = map(&json!({format!("k{i}"): "v"}));
            apply(cluster, &format!("{MAPS}/a"), &format!("fieldManager=m{i}"), &body).await.code
        }
    });
    let codes = futures::future::join_all(appliers).await;
    assert_eq!(codes.iter().filter(|c| **c == 201).count(), 1, "{codes:?}");
    assert!(codes.iter().all(|c| matches!(c, 200 | 201)), "{codes:?}");
    let after = cluster.rest("GET", &format!("{MAPS}/a"), &[], "").await.json();
    assert_eq!((after["data"].as_object().map(serde_json::Map::len), managers(&after).len()), (Some(12), 12));
}

#[tokio::test]
async fn managed_fields_are_reset_and_replaced() {
    let cluster = Cluster::start().await;
    let one = format!("{MAPS}/a");
    let json = ("content-type", "application/json-patch+json");
    let merge = ("content-type", "application/merge-patch+json");
    let made = apply(&cluster, &one, "fieldManager=m", &map(&json!({"x": "1"}))).await.json();
    // As kubectl moves ownership from its own apply to the server's.
    let entry = json!({"manager": "k", "operation": "Apply", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": {"f:data": {"f:x": {}}}});
    let moved = json!([
        {"op": "replace", "path": "/metadata/managedFields", "value": [entry]},
        {"op": "replace", "path": "/metadata/resourceVersion", "value": made["metadata"]["resourceVersion"]},
    ]);
    let moved_to = cluster.rest("PATCH", &one, &[json], &moved.to_string()).await;
    assert_eq!((moved_to.code, managers(&moved_to.json())), (200, vec!["k Apply".to_owned()]));
    assert_eq!(cluster.rest("PATCH", &one, &[json], &moved.to_string()).await.code, 409, "the version is old by now");
    for reset in ["[]", "[{}]"] {
        apply(&cluster, &one, "fieldManager=m&force=true", &map(&json!({"x": reset}))).await;
        let body = format!(r#"{{"metadata":{{"managedFields":{reset}}}}}"#);
        let cleared = cluster.rest("PATCH", &one, &[merge], &body).await.json();
        assert_eq!(cleared["metadata"].get("managedFields"), None, "{reset}");
    }
    let first = apply(&cluster, &one, "fieldManager=m", &map(&json!({"y": "1"}))).await.json();
    assert_eq!(managers(&first), ["before-first-apply Update", "m Apply"]);
    let invalid = cluster.rest("PATCH", &one, &[merge], r#"{"metadata":{"managedFields":[{"manager":"x"}]}}"#).await;
    assert_eq!(managers(&invalid.json()), managers(&first), "what is invalid is ignored");
}

#[tokio::test]
async fn only_what_the_writer_said_is_its_own() {
    let cluster = Cluster::start().await;
    cluster.default_account().await;
    let pods = "/api/v1/namespaces/default/pods";
    let made = cluster.rest("POST", &format!("{pods}?fieldManager=u"), &[], &pod("p").to_string()).await.json();
    assert!(made["spec"]["volumes"].is_array(), "admission adds the account's token");
    let spec = &fields(&made, "u", None)["f:spec"];
    assert_eq!(
        (spec.get("f:volumes"), spec.get("f:tolerations"), made["metadata"].get("f:status")),
        (None, None, None)
    );
    assert!(
        spec.get("f:containers").is_some() && spec.get("f:dnsPolicy").is_some(),
        "defaults are the writer's: {spec}"
    );
    let mut config = pod("q");
    config["metadata"]["namespace"] = "default".into();
    let applied = apply(&cluster, &format!("{pods}/q"), "fieldManager=m", &config.to_string()).await.json();
    assert_eq!(
        fields(&applied, "m", None)["f:spec"],
        json!({"f:containers": {"k:{\"name\":\"c\"}": {".": {}, "f:name": {}, "f:image": {}}}})
    );
    let again = apply(&cluster, &format!("{pods}/q"), "fieldManager=m", &config.to_string()).await;
    assert_eq!((again.code, again.json()), (200, applied));
    let secrets = "/api/v1/namespaces/default/secrets";
    let secret = json!({"metadata": {"name": "s"}, "stringData": {"a": "b"}});
    let secret = cluster.rest("POST", &format!("{secrets}?fieldManager=u"), &[], &secret.to_string()).await.json();
    assert_eq!(fields(&secret, "u", None), &json!({"f:data": {".": {}, "f:a": {}}, "f:type": {}}));
    let namespace = json!({"metadata": {"name": "n"}});
    let namespace = cluster.rest("POST", "/api/v1/namespaces?fieldManager=u", &[], &namespace.to_string()).await.json();
    assert_eq!(
        fields(&namespace, "u", None),
        &json!({"f:metadata": {"f:labels": {".": {}, "f:kubernetes.io/metadata.name": {}}}})
    );
}
