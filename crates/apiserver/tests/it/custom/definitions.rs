//! Definitions: their status, what is refused, how they go.

use std::sync::Arc;

use gantry_apiserver::testing::Builder;
use gantry_store::{MemoryStore, Store, Txn};

use super::*;

#[tokio::test]
async fn a_definition_is_accepted_established_and_served() {
    let cluster = Cluster::start().await;
    assert_eq!(get(&cluster, CRONTABS).await.code, 404);
    let made = post(&cluster, DEFINITIONS, &crontabs()).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let made = made.json();
    assert_eq!(made["status"]["storedVersions"], json!(["v1"]));
    assert_eq!(made["spec"]["names"]["listKind"], "CronTabList");
    assert_eq!(made["spec"]["conversion"], json!({"strategy": "None"}));
    let path = format!("{DEFINITIONS}/crontabs.stable.example.com");
    let done = until(&cluster, &path, |a| condition(&a.json(), "Established").starts_with("True")).await.json();
    assert_eq!(condition(&done, "Established"), "True InitialNamesAccepted");
    assert_eq!(condition(&done, "NamesAccepted"), "True NoConflicts");
    assert_eq!(done["status"]["acceptedNames"], done["spec"]["names"]);
    // Whoever sees that it is established can use it.
    let list = get(&cluster, CRONTABS).await;
    assert_eq!((list.code, &list.json()["kind"]), (200, &json!("CronTabList")));
    let group = get(&cluster, "/apis/stable.example.com").await.json();
    assert_eq!(group["preferredVersion"]["groupVersion"], "stable.example.com/v1");
    let resources = get(&cluster, "/apis/stable.example.com/v1").await.json();
    assert_eq!(resources["resources"][0]["name"], "crontabs");
    assert_eq!(resources["resources"][0]["kind"], "CronTab");
    let verbs = json!(["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"]);
    assert_eq!(resources["resources"][0]["verbs"], verbs);
}

#[tokio::test]
async fn names_are_given_once() {
    let cluster = Cluster::start().await;
    let mut first = definition("things", "Thing", json!({"type": "object"}));
    first["spec"]["names"]["shortNames"] = json!(["th"]);
    define(&cluster, &first).await;
    let mut second = definition("others", "Other", json!({"type": "object"}));
    second["spec"]["names"]["shortNames"] = json!(["th"]);
    assert_eq!(post(&cluster, DEFINITIONS, &second).await.code, 201);
    let path = format!("{DEFINITIONS}/others.stable.example.com");
    let refused = until(&cluster, &path, |a| condition(&a.json(), "NamesAccepted").starts_with("False")).await.json();
    assert_eq!(condition(&refused, "NamesAccepted"), "False ShortNamesConflict");
    assert_eq!(condition(&refused, "Established"), "False NotAccepted");
    assert_eq!(get(&cluster, "/apis/stable.example.com/v1/others").await.code, 404);
    // The names come free with the first one.
    let gone = cluster.rest("DELETE", &format!("{DEFINITIONS}/things.stable.example.com"), &[], "").await;
    assert_eq!(gone.code, 200, "{}", gone.text);
    until(&cluster, &path, |a| condition(&a.json(), "Established").starts_with("True")).await;
}

#[tokio::test]
async fn definitions_cannot_lie_over_what_is_built_in() {
    let cluster = Cluster::start().await;
    define(&cluster, &crontabs()).await;
    let over = |group: &str, plural: &str, kind: &str, version: &str| {
        let mut over = definition(plural, kind, json!({"type": "object"}));
        over["metadata"] = json!({"name": format!("{plural}.{group}"),
            "annotations": {"api-approved.kubernetes.io": "unapproved, test-only"}});
        over["spec"]["group"] = group.into();
        over["spec"]["versions"][0]["name"] = version.into();
        over
    };
    let resources = async |path: &str| get(&cluster, path).await.json()["resources"].to_string();
    // In a group version that is built in they are established, but neither shown nor served.
    define(&cluster, &over("networking.k8s.io", "foos", "Foo", "v1")).await;
    assert_eq!(get(&cluster, "/apis/networking.k8s.io/v1/namespaces/default/foos").await.code, 404);
    let shown = resources("/apis/networking.k8s.io/v1").await;
    assert!(shown.contains("networkpolicies") && !shown.contains("foos"), "{shown}");
    define(&cluster, &over("networking.k8s.io", "bars", "Bar", "v9")).await;
    assert!(resources("/apis/networking.k8s.io/v9").await.contains("bars"));
    // What is kept for the server itself is not touched when such a definition goes.
    let itself = over("apiextensions.k8s.io", "customresourcedefinitions", "CustomResourceDefinition", "v9");
    define(&cluster, &itself).await;
    let path = format!("{DEFINITIONS}/customresourcedefinitions.apiextensions.k8s.io");
    assert_eq!(get(&cluster, "/apis/apiextensions.k8s.io/v9/customresourcedefinitions").await.code, 404);
    assert_eq!(cluster.rest("DELETE", &path, &[], "").await.code, 200);
    until(&cluster, &path, |a| a.code == 404).await;
    let kept = get(&cluster, &format!("{DEFINITIONS}/crontabs.stable.example.com")).await.json();
    assert_eq!(kept["metadata"]["deletionTimestamp"], Value::Null, "{kept}");
}

#[tokio::test]
async fn a_definition_takes_its_objects_along() {
    let cluster = Cluster::start().await;
    define(&cluster, &crontabs()).await;
    for name in ["a", "b"] {
        assert_eq!(post(&cluster, CRONTABS, &crontab(name, json!({}))).await.code, 201);
    }
    // One object is held for a while.
    let held =
        patch(&cluster, &format!("{CRONTABS}/a"), &json!({"metadata": {"finalizers": ["example.com/hold"]}})).await;
    assert_eq!(held.code, 200, "{}", held.text);
    let path = format!("{DEFINITIONS}/crontabs.stable.example.com");
    let deleted = cluster.rest("DELETE", &path, &[], "").await.json();
    assert_eq!(deleted["metadata"]["finalizers"], json!(["customresourcecleanup.apiextensions.k8s.io"]));
    assert_eq!(condition(&deleted, "Terminating"), "True InstanceDeletionPending");
    until(&cluster, &path, |a| condition(&a.json(), "Terminating") == "True InstanceDeletionInProgress").await;
    until(&cluster, &format!("{CRONTABS}/b"), |a| a.code == 404).await;
    let late = post(&cluster, CRONTABS, &crontab("late", json!({}))).await;
    assert_eq!(late.code, 405, "{}", late.text);
    assert_eq!(late.json()["message"], "create not allowed while custom resource definition is terminating");
    // What is left can still be changed, but nobody is told.
    let resources = get(&cluster, "/apis/stable.example.com/v1").await.json();
    assert_eq!(resources["resources"][0]["verbs"], json!(["delete", "deletecollection", "get", "list", "watch"]));
    assert_eq!(get(&cluster, &path).await.code, 200, "an object is left");
    let freed = cluster.rest("PATCH", &format!("{CRONTABS}/a"), &[MERGE], r#"{"metadata":{"finalizers":null}}"#).await;
    assert_eq!(freed.code, 200, "{}", freed.text);
    until(&cluster, &path, |a| a.code == 404).await;
    until(&cluster, CRONTABS, |a| a.code == 404).await;
    // The same name may come again, without the objects.
    define(&cluster, &crontabs()).await;
    assert_eq!(get(&cluster, CRONTABS).await.json()["items"], json!([]));
    assert_eq!(post(&cluster, CRONTABS, &crontab("a", json!({}))).await.code, 201);
}

#[tokio::test]
async fn objects_that_do_not_go_do_not_hold_up_those_behind_them() {
    let store = Arc::new(MemoryStore::new());
    let cluster = Cluster::with(Builder::default().store(store.clone())).await;
    define(&cluster, &crontabs()).await;
    assert_eq!(post(&cluster, CRONTABS, &crontab("z", json!({}))).await.code, 201);
    // More than are asked for at a time.
    let held: Vec<String> = (0..510).map(|number| format!("held-{number:03}")).collect();
    for names in held.chunks(100) {
        let write = names.iter().fold(Txn::new(), |write, name| {
            let object = json!({"apiVersion": "stable.example.com/v1", "kind": "CronTab", "metadata": {"name": name,
                "namespace": "default", "uid": name, "finalizers": ["example.com/hold"],
                "creationTimestamp": "2026-01-02T03:04:05Z"}});
            write.put(format!("/registry/stable.example.com/crontabs/default/{name}"), object.to_string().into())
        });
        store.txn(write).await.expect("written");
    }
    let path = format!("{DEFINITIONS}/crontabs.stable.example.com");
    assert_eq!(cluster.rest("DELETE", &path, &[], "").await.code, 200);
    until(&cluster, &format!("{CRONTABS}/z"), |a| a.code == 404).await;
    assert_eq!(get(&cluster, &path).await.code, 200, "the others are left");
}

/// Creates the cron tabs with a change, and expects this refusal.
async fn refused(cluster: &Cluster, change: &dyn Fn(&mut Value), expected: &str) {
    let mut wrong = crontabs();
    change(&mut wrong);
    let refused = post(cluster, DEFINITIONS, &wrong).await;
    assert_eq!(refused.code, 422, "{}", refused.text);
    let message = refused.json()["message"].as_str().expect("a message").to_owned();
    assert!(message.contains(expected), "{message}\nlacks\n{expected}");
}

#[tokio::test]
async fn what_is_wrong_with_a_definition_is_said() {
    let cluster = Cluster::start().await;
    let check = async |change: &dyn Fn(&mut Value), expected: &str| refused(&cluster, change, expected).await;
    let name = "metadata.name: Invalid value: \"x.example.com\": must be spec.names.plural+\".\"+spec.group";
    check(&|d| d["metadata"]["name"] = "x.example.com".into(), name).await;
    let scope = "spec.scope: Unsupported value: \"Nowhere\": supported values: \"Cluster\", \"Namespaced\"";
    check(&|d| d["spec"]["scope"] = "Nowhere".into(), scope).await;
    let storage = "must have exactly one version marked as storage version";
    check(&|d| d["spec"]["versions"][0]["storage"] = false.into(), storage).await;
    let schema = "spec.versions[0].schema.openAPIV3Schema: Required value";
    check(&|d| d["spec"]["versions"][0]["schema"] = json!({}), schema).await;
    let preserve = "spec.preserveUnknownFields: Invalid value: true: cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead";
    check(&|d| d["spec"]["preserveUnknownFields"] = true.into(), preserve).await;
    let group = |d: &mut Value| {
        d["spec"]["group"] = "example.k8s.io".into();
        d["metadata"]["name"] = "crontabs.example.k8s.io".into();
    };
    check(&group, "protected groups must have approval annotation \"api-approved.kubernetes.io\"").await;
}

#[tokio::test]
async fn whether_a_name_was_approved_stands_in_the_status() {
    const APPROVAL: &str = "KubernetesAPIApprovalPolicyConformant";
    let cluster = Cluster::start().await;
    let mut approved = crontabs();
    approved["spec"]["group"] = "stable.k8s.io".into();
    approved["metadata"] = json!({"name": "crontabs.stable.k8s.io",
        "annotations": {"api-approved.kubernetes.io": "https://github.com/kubernetes/kubernetes/pull/1"}});
    define(&cluster, &approved).await;
    let path = format!("{DEFINITIONS}/crontabs.stable.k8s.io");
    let done = until(&cluster, &path, |a| condition(&a.json(), APPROVAL) == "True ApprovedAnnotation").await.json();
    assert_eq!(condition(&done, "NonStructuralSchema"), "- -");
    // What the annotation says may change.
    let change = json!({"metadata": {"annotations": {"api-approved.kubernetes.io": "unapproved, a try"}}});
    assert_eq!(patch(&cluster, &path, &change).await.code, 200);
    until(&cluster, &path, |a| condition(&a.json(), APPROVAL) == "False UnapprovedAnnotation").await;
}

#[tokio::test]
async fn schemas_must_be_structural() {
    const AT: &str = "spec.validation.openAPIV3Schema";
    let cluster = Cluster::start().await;
    let check = async |schema: Value, expected: &str| {
        let change = |d: &mut Value| d["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = schema.clone();
        refused(&cluster, &change, &expected.replace("AT", AT)).await;
    };
    let object = |properties: Value| json!({"type": "object", "properties": properties});
    check(json!({"properties": {}}), "AT.type: Required value: must not be empty at the root").await;
    let untyped = "AT.properties[a].type: Required value: must not be empty for specified object fields";
    check(object(json!({"a": {}})), untyped).await;
    let nested = "AT.properties[a].anyOf[0].type: Forbidden: must be empty to be structural";
    check(object(json!({"a": {"type": "string", "anyOf": [{"type": "string"}]}})), nested).await;
    let inside = "AT.properties[a]: Required value: because it is defined in AT.anyOf[0].properties[a]";
    check(json!({"type": "object", "anyOf": [{"properties": {"a": {"minLength": 1}}}]}), inside).await;
    let default = "AT.properties[a].default: Invalid value: \"integer\"";
    check(object(json!({"a": {"type": "string", "default": 1}})), default).await;
    let pruned = "AT.properties[a].default: Invalid value: {\"b\":1}: must not have unknown fields";
    check(object(json!({"a": {"type": "object", "default": {"b": 1}}})), pruned).await;
    let keys = "AT.properties[a].x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map";
    let list = json!({"a": {"type": "array", "x-kubernetes-list-type": "map", "items": {"type": "object"}}});
    check(object(list), keys).await;
}

#[tokio::test]
async fn the_status_of_a_definition_is_written_as_upstream_does() {
    let cluster = Cluster::start().await;
    define(&cluster, &crontabs()).await;
    let path = format!("{DEFINITIONS}/crontabs.stable.example.com");
    let status =
        json!({"metadata": {"labels": {"a": "b"}}, "spec": {"scope": "Cluster"}, "status": {"storedVersions": ["v0"]}});
    let written = patch(&cluster, &format!("{path}/status"), &status).await;
    assert_eq!(written.code, 200, "{}", written.text);
    let written = written.json();
    assert_eq!(written["metadata"]["labels"], json!({"a": "b"}));
    assert_eq!(
        (&written["spec"]["scope"], &written["status"]["storedVersions"]),
        (&json!("Namespaced"), &json!(["v0"]))
    );
    let refused = patch(&cluster, &path, &json!({"metadata": {"labels": {"a": "c"}}})).await;
    let why = "status.storedVersions[0]: Invalid value: \"v0\": missing from spec.versions; v0 was previously a storage version";
    assert!(refused.code == 422 && refused.text.contains(&why.replace('"', "\\\"")), "{}", refused.text);
    let emptied = patch(&cluster, &format!("{path}/status"), &json!({"status": {"storedVersions": null}})).await;
    assert_eq!(emptied.json()["status"]["storedVersions"], json!(["v1"]));
}

#[tokio::test]
async fn what_decides_where_objects_are_cannot_be_changed() {
    let cluster = Cluster::start().await;
    define(&cluster, &crontabs()).await;
    let path = format!("{DEFINITIONS}/crontabs.stable.example.com");
    let refused = patch(&cluster, &path, &json!({"spec": {"scope": "Cluster"}})).await;
    assert_eq!(refused.code, 422, "{}", refused.text);
    assert!(refused.text.contains("field is immutable"), "{}", refused.text);
    let mut blind = get(&cluster, &path).await.json();
    blind["metadata"].as_object_mut().expect("a map").remove("resourceVersion");
    let refused = cluster.rest("PUT", &path, &[], &blind.to_string()).await;
    assert!(refused.text.contains("must be specified for an update"), "{}", refused.text);
}

#[tokio::test]
async fn definitions_and_objects_outlive_the_server() {
    let store = std::sync::Arc::new(gantry_store::MemoryStore::new());
    let builder = || gantry_apiserver::testing::Builder::default().store(store.clone());
    let first = Cluster::with(builder()).await;
    define(&first, &crontabs()).await;
    assert_eq!(post(&first, CRONTABS, &crontab("a", json!({"image": "i"}))).await.code, 201);
    let (server, folder) = first.into_parts();
    server.stop().await;
    drop(folder);
    // Once it is ready it serves them: nobody is told that they do not exist.
    let second = Cluster::with(builder()).await;
    assert_eq!(get(&second, &format!("{CRONTABS}/a")).await.json()["spec"]["image"], "i");
}

#[tokio::test]
async fn clients_are_told_of_established_kinds_alone() {
    let cluster = Cluster::start().await;
    let mut waiting = crontabs();
    let config = json!({"url": "https://127.0.0.1:1/", "caBundle": "Cg=="});
    let webhook = json!({"conversionReviewVersions": ["v1"], "clientConfig": config});
    waiting["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": webhook});
    let made = post(&cluster, DEFINITIONS, &waiting).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let path = format!("{DEFINITIONS}/crontabs.stable.example.com");
    until(&cluster, &path, |a| condition(&a.json(), "Established") == "False InvalidCABundle").await;
    let version = "/apis/stable.example.com/v1";
    until(&cluster, version, |answer| answer.code == 404).await;
    assert_eq!(get(&cluster, CRONTABS).await.code, 200, "what has its names is served");
    assert_eq!(
        get(&cluster, "/apis/stable.example.com").await.code,
        200,
        "group versions are registered by their names"
    );
    let aggregated = ("accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList");
    let all = cluster.rest("GET", "/apis", &[aggregated], "").await;
    assert!(!all.text.contains("stable.example.com"), "{}", all.text);
    assert_eq!(get(&cluster, &format!("/openapi/v3{version}")).await.code, 404);
    let mended = json!({"spec": {"conversion": {"strategy": "None", "webhook": null}}});
    assert_eq!(patch(&cluster, &path, &mended).await.code, 200);
    until(&cluster, &path, |a| condition(&a.json(), "Established").starts_with("True")).await;
    let told = until(&cluster, version, |answer| answer.code == 200).await;
    assert_eq!(told.json()["resources"][0]["name"], "crontabs");
    assert_eq!(get(&cluster, &format!("/openapi/v3{version}")).await.code, 200);
}
