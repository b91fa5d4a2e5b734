//! Custom objects: reads, writes, watches, subresources.

use super::*;

#[tokio::test]
async fn objects_live_as_those_of_other_kinds() {
    let cluster = Cluster::start().await;
    define(&cluster, &crontabs()).await;
    let one = format!("{CRONTABS}/a");
    let dry = post(&cluster, &format!("{CRONTABS}?dryRun=All"), &crontab("a", json!({}))).await;
    assert_eq!(dry.code, 201, "{}", dry.text);
    assert_eq!(get(&cluster, &one).await.code, 404);
    let made = post(&cluster, CRONTABS, &crontab("a", json!({"image": "i", "replicas": 3}))).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let made = made.json();
    assert_eq!(made["spec"], json!({"cronSpec": "5 0 * * *", "image": "i", "replicas": 3}));
    assert_eq!((&made["metadata"]["generation"], &made["metadata"]["namespace"]), (&json!(1), &json!("default")));
    assert_eq!(get(&cluster, &one).await.json(), made);
    // Every way to change it.
    let merged = patch(&cluster, &one, &json!({"spec": {"replicas": 4}})).await.json();
    assert_eq!((&merged["spec"]["replicas"], &merged["metadata"]["generation"]), (&json!(4), &json!(2)));
    let json_patch = r#"[{"op": "replace", "path": "/spec/replicas", "value": 5}]"#;
    let patched = cluster.rest("PATCH", &one, &[("content-type", "application/json-patch+json")], json_patch).await;
    assert_eq!(patched.json()["spec"]["replicas"], 5, "{}", patched.text);
    let refused =
        cluster.rest("PATCH", &one, &[("content-type", "application/strategic-merge-patch+json")], "{}").await;
    assert_eq!(refused.code, 415, "{}", refused.text);
    let mut whole = get(&cluster, &one).await.json();
    whole["spec"] = json!({"image": "j"});
    let put = cluster.rest("PUT", &one, &[], &whole.to_string()).await;
    assert_eq!(put.json()["spec"], json!({"cronSpec": "5 0 * * *", "image": "j"}), "{}", put.text);
    let stale = cluster.rest("PUT", &one, &[], &whole.to_string()).await;
    assert_eq!(stale.code, 409, "{}", stale.text);
    whole["metadata"].as_object_mut().expect("a map").remove("resourceVersion");
    let blind = cluster.rest("PUT", &one, &[], &whole.to_string()).await;
    assert!(
        blind.text.contains("metadata.resourceVersion: Invalid value: 0: must be specified for an update"),
        "{}",
        blind.text
    );
    // Labels raise no generation, and select.
    let labelled = patch(&cluster, &one, &json!({"metadata": {"labels": {"x": "y"}}})).await.json();
    assert_eq!(labelled["metadata"]["generation"], put.json()["metadata"]["generation"]);
    post(&cluster, CRONTABS, &crontab("b", json!({}))).await;
    let names = async |query: &str| {
        let list = get(&cluster, &format!("{CRONTABS}?{query}")).await.json();
        let items = list["items"].as_array().expect("items").clone();
        items.iter().map(|i| i["metadata"]["name"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names("labelSelector=x%3Dy").await, ["a"]);
    assert_eq!(names("fieldSelector=metadata.name%3Db").await, ["b"]);
    assert_eq!(names("limit=1").await, ["a"]);
    let everywhere = get(&cluster, "/apis/stable.example.com/v1/crontabs").await.json();
    assert_eq!(everywhere["items"].as_array().map(Vec::len), Some(2));
    let gone = cluster.rest("DELETE", &one, &[], "").await.json();
    assert_eq!(gone["status"], "Success");
    let rest = cluster.rest("DELETE", CRONTABS, &[], "").await;
    assert_eq!(rest.json()["items"].as_array().map(Vec::len), Some(1), "{}", rest.text);
    assert!(names("").await.is_empty());
}

#[tokio::test]
async fn watches_see_changes() {
    let cluster = Cluster::start().await;
    define(&cluster, &crontabs()).await;
    let from =
        get(&cluster, CRONTABS).await.json()["metadata"]["resourceVersion"].as_str().expect("a version").to_owned();
    post(&cluster, CRONTABS, &crontab("a", json!({}))).await;
    patch(&cluster, &format!("{CRONTABS}/a"), &json!({"spec": {"replicas": 2}})).await;
    cluster.rest("DELETE", &format!("{CRONTABS}/a"), &[], "").await;
    let watch = get(&cluster, &format!("{CRONTABS}?watch=true&resourceVersion={from}&timeoutSeconds=1")).await;
    let events: Vec<Value> = watch.text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let told: Vec<&str> = events.iter().map(|e| e["type"].as_str().expect("a type")).collect();
    assert_eq!(told, ["ADDED", "MODIFIED", "DELETED"]);
    assert_eq!(events[1]["object"]["spec"]["replicas"], 2);
}

#[tokio::test]
async fn status_and_scale_are_written_apart() {
    let cluster = Cluster::start().await;
    let mut with = crontabs();
    with["spec"]["versions"][0]["subresources"] = json!({"status": {}, "scale":
        {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector"}});
    define(&cluster, &with).await;
    let one = format!("{CRONTABS}/a");
    let mut object = crontab("a", json!({"replicas": 2}));
    object["status"] = json!({"replicas": 9});
    let made = post(&cluster, CRONTABS, &object).await.json();
    assert_eq!(made.get("status"), None, "status is not written with the rest");
    let status = json!({"status": {"replicas": 1, "selector": "a=b"}, "spec": {"replicas": 7}, "metadata": {"labels": {"l": "m"}}});
    let written = patch(&cluster, &format!("{one}/status"), &status).await;
    assert_eq!(written.code, 200, "{}", written.text);
    let written = written.json();
    assert_eq!((&written["status"]["replicas"], &written["spec"]["replicas"]), (&json!(1), &json!(2)));
    assert_eq!((&written["metadata"]["generation"], written["metadata"].get("labels")), (&json!(1), None));
    let managers = written["metadata"]["managedFields"].as_array().expect("entries");
    assert!(managers.iter().any(|m| m["subresource"] == "status"), "{managers:?}");
    let plain = patch(&cluster, &one, &json!({"status": {"replicas": 5}})).await.json();
    assert_eq!(plain["status"]["replicas"], 1);
    let scale = get(&cluster, &format!("{one}/scale")).await.json();
    assert_eq!(scale["spec"]["replicas"], 2, "{scale}");
    assert_eq!(scale["status"], json!({"replicas": 1, "selector": "a=b"}));
    let scaled = patch(&cluster, &format!("{one}/scale"), &json!({"spec": {"replicas": 4}})).await;
    assert_eq!(scaled.json()["spec"]["replicas"], 4, "{}", scaled.text);
    let now = get(&cluster, &one).await.json();
    assert_eq!((&now["spec"]["replicas"], &now["metadata"]["generation"]), (&json!(4), &json!(2)));
}

#[tokio::test]
async fn a_status_is_validated_by_itself() {
    let cluster = Cluster::start().await;
    let mut with =
        definition("crontabs", "CronTab", json!({"type": "object", "properties": {"size": {"type": "integer"}}}));
    let version = &mut with["spec"]["versions"][0];
    version["subresources"] = json!({"status": {}});
    version["schema"]["openAPIV3Schema"]["properties"]["status"] = json!({"type": "object", "properties": {"phase": {"type": "string", "maxLength": 3}, "n": {"type": "integer"}}});
    define(&cluster, &with).await;
    let one = format!("{CRONTABS}/a");
    assert_eq!(post(&cluster, CRONTABS, &crontab("a", json!({}))).await.code, 201);
    let refused = patch(&cluster, &format!("{one}/status"), &json!({"status": {"n": "x"}})).await;
    let why = "status.n: Invalid value: \"string\": n in body must be of type integer: \"string\"";
    assert!(
        refused.code == 422 && refused.json()["message"].as_str().is_some_and(|m| m.ends_with(why)),
        "{}",
        refused.text
    );
    // What became required of the rest meanwhile is not asked of who writes the status.
    let path = format!("{DEFINITIONS}/crontabs.stable.example.com");
    let required =
        json!([{"op": "add", "path": "/spec/versions/0/schema/openAPIV3Schema/required", "value": ["more"]}]);
    let json_patch = [("content-type", "application/json-patch+json")];
    let changed = cluster.rest("PATCH", &path, &json_patch, &required.to_string()).await;
    assert_eq!(changed.code, 200, "{}", changed.text);
    let spec = json!({"spec": {"size": 1}});
    let told = async || patch(&cluster, &one, &spec).await.text.contains("more: Required value");
    let wait = async {
        while !told().await {
            tokio::time::sleep(AGAIN).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("the schema is in force");
    let written = patch(&cluster, &format!("{one}/status"), &json!({"status": {"n": 1}})).await;
    assert_eq!((written.code, &written.json()["status"]["n"]), (200, &json!(1)), "{}", written.text);
}

#[tokio::test]
async fn without_status_all_of_it_is_content() {
    let cluster = Cluster::start().await;
    define(&cluster, &crontabs()).await;
    let mut object = crontab("a", json!({}));
    object["status"] = json!({"replicas": 9});
    assert_eq!(post(&cluster, CRONTABS, &object).await.json()["status"]["replicas"], 9);
    let changed = patch(&cluster, &format!("{CRONTABS}/a"), &json!({"status": {"replicas": 8}})).await.json();
    assert_eq!(changed["metadata"]["generation"], 2);
    assert_eq!(patch(&cluster, &format!("{CRONTABS}/a/status"), &json!({})).await.code, 404);
    let protobuf = [("content-type", "application/vnd.kubernetes.protobuf")];
    assert_eq!(cluster.rest("POST", CRONTABS, &protobuf, "k8s\0").await.code, 415);
}

#[tokio::test]
async fn objects_without_namespaces() {
    let cluster = Cluster::start().await;
    let mut wide = definition("planets", "Planet", json!({"type": "object"}));
    wide["spec"]["scope"] = "Cluster".into();
    define(&cluster, &wide).await;
    let planets = "/apis/stable.example.com/v1/planets";
    let planet = json!({"apiVersion": "stable.example.com/v1", "kind": "Planet", "metadata": {"name": "mars"}});
    let made = post(&cluster, planets, &planet).await;
    assert_eq!((made.code, made.json()["metadata"].get("namespace")), (201, None), "{}", made.text);
    assert_eq!(get(&cluster, "/apis/stable.example.com/v1/namespaces/default/planets").await.code, 404);
    assert_eq!(get(&cluster, &format!("{planets}/mars")).await.code, 200);
}

#[tokio::test]
async fn apply_merges_by_the_schema() {
    let cluster = Cluster::start().await;
    let spec = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {
        "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items":
            {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "port": {"type": "integer"}}}},
        "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "whole": {"type": "array", "items": {"type": "string"}},
    }});
    define(&cluster, &definition("crontabs", "CronTab", spec)).await;
    let apply = async |manager: &str, spec: Value| {
        let path = format!("{CRONTABS}/a?fieldManager={manager}");
        cluster.rest("PATCH", &path, &[APPLY], &crontab("a", spec).to_string()).await
    };
    let first = json!({"ports": [{"name": "x", "port": 1}], "tags": ["a"], "whole": ["1"], "free": {"k": {"deep": 1}}});
    assert_eq!(apply("one", first).await.code, 201);
    let second = json!({"ports": [{"name": "y", "port": 2}], "tags": ["b"], "free": {"l": 2}});
    let both = apply("two", second).await;
    assert_eq!(both.code, 200, "{}", both.text);
    let spec = both.json()["spec"].clone();
    assert_eq!(spec["ports"], json!([{"name": "x", "port": 1}, {"name": "y", "port": 2}]));
    assert_eq!((&spec["tags"], &spec["whole"]), (&json!(["a", "b"]), &json!(["1"])));
    assert_eq!(spec["free"], json!({"k": {"deep": 1}, "l": 2}));
    let conflict = apply("two", json!({"whole": ["2"]})).await;
    assert_eq!(conflict.code, 409, "{}", conflict.text);
    assert!(conflict.text.contains(".spec.whole"), "{}", conflict.text);
    let wrong = apply("two", json!({"ports": [{"name": "y", "port": "x"}]})).await;
    assert!(wrong.text.contains("expected numeric (int or float), got string"), "{}", wrong.text);
    // What an applier leaves out goes with it.
    let less = apply("one", json!({"tags": ["a"]})).await.json();
    assert_eq!(less["spec"]["ports"], json!([{"name": "y", "port": 2}]));
    assert_eq!(less["spec"]["free"], json!({"l": 2}));
}

#[tokio::test]
async fn a_watch_that_waits_while_its_kind_changes_is_told_what_came_last() {
    let cluster = Cluster::start().await;
    define(&cluster, &crontabs()).await;
    assert_eq!(post(&cluster, CRONTABS, &crontab("a", json!({}))).await.code, 201);
    let listed = get(&cluster, CRONTABS).await.json();
    let now: u64 = listed["metadata"]["resourceVersion"].as_str().and_then(|v| v.parse().ok()).expect("a version");
    let later = now + 40;
    let initial = "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let watched = format!("{CRONTABS}?{initial}&resourceVersion={later}&timeoutSeconds=1");
    let change = async {
        let mut changed = crontabs();
        let fields = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
        changed.pointer_mut(fields).expect("a schema")["zone"] = json!({"type": "string"});
        let path = format!("{DEFINITIONS}/crontabs.stable.example.com");
        let patched = patch(&cluster, &path, &json!({"spec": changed["spec"]})).await;
        assert_eq!(patched.code, 200, "{}", patched.text);
        let zoned = crontab("b", json!({"zone": "z"}));
        while post(&cluster, &format!("{CRONTABS}?dryRun=All"), &zoned).await.json()["spec"]["zone"] != "z" {
            tokio::time::sleep(AGAIN).await;
        }
        assert_eq!(post(&cluster, CRONTABS, &zoned).await.code, 201);
        for number in 0..40 {
            let map = crate::support::configmap(&format!("m{number}"), "1");
            assert_eq!(post(&cluster, "/api/v1/namespaces/default/configmaps", &map).await.code, 201);
        }
    };
    let (told, ()) = tokio::join!(get(&cluster, &watched), change);
    let lines: Vec<Value> = told.text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let end = lines.iter().find(|line| line["type"] == "BOOKMARK").expect("the end of the initial events");
    let reached = end["object"]["metadata"]["resourceVersion"].as_str().and_then(|v| v.parse::<u64>().ok());
    assert!(reached.is_some_and(|reached| reached >= later), "{}", told.text);
    let names: Vec<&Value> = lines.iter().take(2).map(|line| &line["object"]["metadata"]["name"]).collect();
    assert_eq!(names, ["a", "b"], "{}", told.text);
}
