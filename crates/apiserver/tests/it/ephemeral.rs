//! `pods/ephemeralcontainers`: guests come to a running pod by their own door.

use gantry_client::{Patch, ResourceId, WriteParams};
use serde_json::{Value, json};

use crate::support::{Answer, Cluster, pod};

const PATH: &str = "/api/v1/namespaces/default/pods/p/ephemeralcontainers";
const STRATEGIC: (&str, &str) = ("content-type", "application/strategic-merge-patch+json");

async fn with_pod() -> Cluster {
    let cluster = Cluster::start().await;
    cluster.default_account().await;
    let pods = cluster.admin().dynamic(ResourceId::new("", "v1", "pods"), "default");
    pods.create("", "", &pod("p"), &WriteParams::default()).await.expect("created");
    cluster
}

fn guest(name: &str) -> String {
    json!({"spec": {"ephemeralContainers": [{"name": name, "image": "busybox", "targetContainerName": "c"}]}})
        .to_string()
}

fn guests(answer: &Answer) -> Vec<String> {
    let pod = answer.json();
    let list = pod["spec"]["ephemeralContainers"].as_array().cloned().unwrap_or_default();
    list.iter().map(|c| c["name"].as_str().expect("text").to_owned()).collect()
}

#[tokio::test]
async fn guests_are_added_through_their_own_door() {
    let cluster = with_pod().await;
    let before = cluster.rest("GET", PATH, &[], "").await.json();
    assert_eq!((before["kind"].as_str(), before["metadata"]["generation"].as_i64()), (Some("Pod"), Some(1)));
    // What kubectl debug sends.
    let first = cluster.rest("PATCH", PATH, &[STRATEGIC, ("user-agent", "kubectl/1")], &guest("debugger-1")).await;
    assert_eq!(first.code, 200, "{}", first.text);
    let made = first.json();
    let added = &made["spec"]["ephemeralContainers"][0];
    assert_eq!(
        (added["imagePullPolicy"].as_str(), added["terminationMessagePath"].as_str()),
        (Some("Always"), Some("/dev/termination-log"))
    );
    assert_eq!(made["metadata"]["generation"], 2);
    let fields = made["metadata"]["managedFields"].as_array().expect("a list").iter();
    let fields = fields.clone().find(|f| f["subresource"] == "ephemeralcontainers").expect("an entry of its own");
    assert_eq!(
        (fields["manager"].as_str(), fields["subresource"].as_str()),
        (Some("kubectl"), Some("ephemeralcontainers"))
    );
    let second = cluster.rest("PATCH", PATH, &[STRATEGIC], &guest("debugger-2")).await;
    let mut both = guests(&second);
    both.sort_unstable();
    assert_eq!(both, ["debugger-1", "debugger-2"]);
    // Only the guests are taken from a whole pod.
    let mut whole = second.json();
    whole["spec"]["activeDeadlineSeconds"] = 5.into();
    whole["metadata"]["labels"]["app"] = "other".into();
    whole["spec"]["ephemeralContainers"].as_array_mut().expect("a list").push(json!({"name": "d3", "image": "i"}));
    let put = cluster.rest("PUT", PATH, &[], &whole.to_string()).await;
    assert_eq!((put.code, guests(&put).len()), (200, 3), "{}", put.text);
    assert_eq!(
        (put.json()["metadata"]["labels"]["app"].as_str(), put.json()["spec"].get("activeDeadlineSeconds")),
        (Some("x"), None)
    );
    let stale = cluster.rest("PUT", PATH, &[], &whole.to_string()).await;
    assert_eq!(stale.code, 409);
}

#[tokio::test]
async fn guests_stay_and_no_other_door_lets_them_in() {
    let cluster = with_pod().await;
    assert_eq!(cluster.rest("PATCH", PATH, &[STRATEGIC], &guest("d")).await.code, 200);
    let message = |answer: &Answer| answer.json()["message"].as_str().unwrap_or_default().to_owned();
    let merge = ("content-type", "application/merge-patch+json");
    let gone = cluster.rest("PATCH", PATH, &[merge], &json!({"spec": {"ephemeralContainers": null}}).to_string()).await;
    assert_eq!(gone.code, 422);
    assert_eq!(
        message(&gone),
        "Pod \"p\" is invalid: spec.ephemeralContainers: Forbidden: existing ephemeral containers \"d\" may not be removed\n"
    );
    let changed = json!({"spec": {"ephemeralContainers": [{"name": "d", "image": "other"}]}}).to_string();
    let changed = cluster.rest("PATCH", PATH, &[STRATEGIC], &changed).await;
    assert!(message(&changed).contains("existing ephemeral containers \"d\" may not be changed"), "{}", changed.text);
    let ports =
        json!({"spec": {"ephemeralContainers": [{"name": "e", "image": "i", "ports": [{"containerPort": 1}]}]}});
    let refused = cluster.rest("PATCH", PATH, &[STRATEGIC], &ports.to_string()).await;
    assert!(
        message(&refused).contains("ports: Forbidden: cannot be set for an Ephemeral Container"),
        "{}",
        refused.text
    );
    let main = cluster.rest("PATCH", "/api/v1/namespaces/default/pods/p", &[STRATEGIC], &guest("e")).await;
    assert_eq!(main.code, 422, "{}", main.text);
    assert!(message(&main).contains("pod updates may not change fields other than"), "{}", main.text);
    let mut new = pod("q");
    new["spec"]["ephemeralContainers"] = json!([{"name": "d", "image": "i"}]);
    let made = cluster.rest("POST", "/api/v1/namespaces/default/pods", &[], &new.to_string()).await;
    assert!(message(&made).contains("spec.ephemeralContainers: Forbidden: cannot be set on create"), "{}", made.text);
}

#[tokio::test]
async fn cve_2023_2728_guests_get_no_secret_that_the_account_does_not_name() {
    let cluster = with_pod().await;
    let merge = ("content-type", "application/merge-patch+json");
    let limited = json!({"metadata": {"annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}},
        "secrets": [{"name": "allowed"}]});
    let account = "/api/v1/namespaces/default/serviceaccounts/default";
    assert_eq!(cluster.rest("PATCH", account, &[merge], &limited.to_string()).await.code, 200);
    let with = async |secret: &str| {
        let env: Value = json!([{"name": "S", "valueFrom": {"secretKeyRef": {"name": secret, "key": "k"}}}]);
        let patch = json!({"spec": {"ephemeralContainers": [{"name": secret, "image": "i", "env": env}]}});
        cluster.rest("PATCH", PATH, &[STRATEGIC], &patch.to_string()).await
    };
    let refused = with("other").await;
    assert_eq!(refused.code, 403, "{}", refused.text);
    assert!(
        refused.text.contains("ephemeral container other with envVar S referencing secret.secretName"),
        "{}",
        refused.text
    );
    assert_eq!(with("allowed").await.code, 200);
}

#[tokio::test]
async fn an_apply_owns_its_guests() {
    let cluster = with_pod().await;
    let apply = ("content-type", "application/apply-patch+yaml");
    // What stands beside the guests cannot be set by this door, and so is nobody's.
    let guest = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"mine": "x"}},
        "spec": {"ephemeralContainers": [{"name": "d", "image": "i"}], "priority": 5}});
    let made = cluster.rest("PATCH", &format!("{PATH}?fieldManager=me"), &[apply], &guest.to_string()).await;
    assert_eq!((made.code, guests(&made)), (200, vec!["d".to_owned()]), "{}", made.text);
    let made = made.json();
    let mut entries = made["metadata"]["managedFields"].as_array().expect("a list").iter();
    let own = entries.find(|entry| entry["manager"] == "me").expect("an entry of its own");
    assert_eq!((&own["operation"], &own["subresource"]), (&json!("Apply"), &json!("ephemeralcontainers")));
    let guests = json!({"k:{\"name\":\"d\"}": {".": {}, "f:image": {}, "f:name": {}}});
    assert_eq!(own["fieldsV1"], json!({"f:spec": {"f:ephemeralContainers": guests}}));
}

#[tokio::test]
async fn grpc_writes_them_too() {
    let cluster = with_pod().await;
    let pods = cluster.admin().dynamic(ResourceId::new("", "v1", "pods"), "default");
    let patch = Patch::Strategic(serde_json::from_str(&guest("d")).expect("JSON"));
    let made = pods.patch("p", "ephemeralcontainers", &patch, &WriteParams::default()).await.expect("patched");
    assert_eq!(made.object["spec"]["ephemeralContainers"][0]["name"], "d");
}
