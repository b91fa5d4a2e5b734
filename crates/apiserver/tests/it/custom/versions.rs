//! Several versions of one kind, of which only `apiVersion` differs.

use super::*;

fn two() -> Value {
    let mut two = crontabs();
    let mut second = two["spec"]["versions"][0].clone();
    second["name"] = "v2".into();
    second["storage"] = false.into();
    second["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["extra"] =
        json!({"type": "string", "default": "e"});
    two["spec"]["versions"].as_array_mut().expect("versions").push(second);
    two
}

const V2: &str = "/apis/stable.example.com/v2/namespaces/default/crontabs";

#[tokio::test]
async fn an_object_is_seen_in_every_version() {
    let cluster = Cluster::start().await;
    define(&cluster, &two()).await;
    post(&cluster, CRONTABS, &crontab("a", json!({"image": "i"}))).await;
    let seen = get(&cluster, &format!("{V2}/a")).await.json();
    // Defaults are those of the version in which it is stored and, of what is written, of that of the write.
    assert_eq!((&seen["apiVersion"], seen["spec"].get("extra")), (&json!("stable.example.com/v2"), None));
    let list = get(&cluster, V2).await.json();
    assert_eq!(
        (&list["apiVersion"], &list["items"][0]["apiVersion"]),
        (&json!("stable.example.com/v2"), &json!("stable.example.com/v2"))
    );
    let group = get(&cluster, "/apis/stable.example.com").await.json();
    assert_eq!(group["preferredVersion"]["version"], "v2");
    // A write in one version is a write of the object; what the stored version does not have goes.
    let changed = patch(&cluster, &format!("{V2}/a"), &json!({"spec": {"image": "j", "extra": "f"}})).await;
    assert_eq!(
        (changed.code, &changed.json()["apiVersion"], changed.json()["spec"].get("extra")),
        (200, &json!("stable.example.com/v2"), None),
        "{}",
        changed.text
    );
    let stored = get(&cluster, &format!("{CRONTABS}/a")).await.json();
    assert_eq!(stored["spec"], json!({"cronSpec": "5 0 * * *", "image": "j"}));
    assert_eq!(stored["apiVersion"], "stable.example.com/v1");
    let wrong = post(&cluster, V2, &crontab("b", json!({}))).await;
    assert_eq!(wrong.code, 400, "{}", wrong.text);
}

#[tokio::test]
async fn versions_that_are_not_served_are_not_there() {
    let cluster = Cluster::start().await;
    define(&cluster, &two()).await;
    post(&cluster, CRONTABS, &crontab("a", json!({}))).await;
    let path = format!("{DEFINITIONS}/crontabs.stable.example.com");
    let hide = r#"[{"op": "replace", "path": "/spec/versions/0/served", "value": false}]"#;
    cluster.rest("PATCH", &path, &[("content-type", "application/json-patch+json")], hide).await;
    until(&cluster, CRONTABS, |a| a.code == 404).await;
    assert_eq!(get(&cluster, &format!("{V2}/a")).await.json()["apiVersion"], "stable.example.com/v2");
}

#[tokio::test]
async fn a_write_brings_an_object_to_the_stored_version() {
    let cluster = Cluster::start().await;
    define(&cluster, &two()).await;
    let made = post(&cluster, CRONTABS, &crontab("a", json!({}))).await.json();
    let path = format!("{DEFINITIONS}/crontabs.stable.example.com");
    let swap = r#"[{"op": "replace", "path": "/spec/versions/0/storage", "value": false}, {"op": "replace", "path": "/spec/versions/1/storage", "value": true}]"#;
    let swapped = cluster.rest("PATCH", &path, &[("content-type", "application/json-patch+json")], swap).await;
    assert_eq!(swapped.json()["status"]["storedVersions"], json!(["v1", "v2"]), "{}", swapped.text);
    // The version that is stored in may be struck out, but the next write of the definition puts it back.
    let struck = patch(&cluster, &format!("{path}/status"), &json!({"status": {"storedVersions": ["v1"]}})).await;
    assert_eq!(struck.json()["status"]["storedVersions"], json!(["v1"]), "{}", struck.text);
    let again = patch(&cluster, &path, &json!({"spec": {"names": {"shortNames": ["ct"]}}})).await;
    assert_eq!(again.json()["status"]["storedVersions"], json!(["v1", "v2"]), "{}", again.text);
    // A write that changes nothing is stored all the same, until the object is stored in the new version.
    let touch = async || {
        patch(&cluster, &format!("{CRONTABS}/a"), &json!({})).await.json()["metadata"]["resourceVersion"].clone()
    };
    let mut moved = touch().await;
    while moved == made["metadata"]["resourceVersion"] {
        tokio::time::sleep(AGAIN).await;
        moved = touch().await;
    }
    assert_eq!(touch().await, moved);
}

#[tokio::test]
async fn fields_are_those_of_the_requested_version() {
    let cluster = Cluster::start().await;
    let mut with = two();
    with["spec"]["versions"][1]["selectableFields"] = json!([{"jsonPath": ".spec.extra"}]);
    define(&cluster, &with).await;
    // Stored without the field, whose default in the version that is asked for is for what is written in it.
    post(&cluster, CRONTABS, &crontab("a", json!({}))).await;
    let found = get(&cluster, &format!("{V2}?fieldSelector=spec.extra%3De")).await.json();
    assert_eq!(found["items"], json!([]));
    let found = get(&cluster, &format!("{V2}?fieldSelector=spec.extra%3D")).await.json();
    assert_eq!(found["items"][0]["metadata"]["name"], "a", "{found}");
    let unknown = get(&cluster, &format!("{CRONTABS}?fieldSelector=spec.extra%3De")).await;
    assert_eq!(unknown.code, 400, "{}", unknown.text);
}
