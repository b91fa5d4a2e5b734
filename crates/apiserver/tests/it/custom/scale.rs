//! Scales of custom objects, as upstream's `subresources_test.go` tries them.

use super::*;

const ONE: &str = "/apis/stable.example.com/v1/namespaces/default/crontabs/a";

/// Cron tabs of any content whose replicas are at a path that is not that of the built-in kinds.
fn sized() -> Value {
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let mut with = definition("crontabs", "CronTab", open);
    with["spec"]["versions"][0]["subresources"] = json!({"status": {}, "scale":
        {"specReplicasPath": ".spec.size.n", "statusReplicasPath": ".status.n", "labelSelectorPath": ".status.selector"}});
    with
}

#[tokio::test]
async fn who_scales_an_object_that_says_nothing_must_say_how_many() {
    let cluster = Cluster::start().await;
    define(&cluster, &sized()).await;
    assert_eq!(post(&cluster, CRONTABS, &crontab("a", json!({}))).await.code, 201);
    let scale = format!("{ONE}/scale");
    let told = |answer: &Answer| (answer.code, answer.json()["message"].as_str().unwrap_or_default().to_owned());
    let missing = get(&cluster, &scale).await;
    let why = "Internal error occurred: the spec replicas field \".spec.size.n\" does not exist";
    assert_eq!(told(&missing), (500, why.to_owned()));
    let empty = patch(&cluster, &scale, &json!({"metadata": {"labels": {"a": "b"}}})).await;
    assert_eq!(told(&empty), (400, "the spec replicas field \".spec.size.n\" cannot be empty".to_owned()));
    let put =
        json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "a"}, "spec": {"replicas": 2}});
    let replaced = cluster.rest("PUT", &scale, &[], &put.to_string()).await;
    assert_eq!((replaced.code, &replaced.json()["spec"]["replicas"]), (200, &json!(2)), "{}", replaced.text);
    assert_eq!(get(&cluster, ONE).await.json()["spec"], json!({"size": {"n": 2}}));
    let negative = patch(&cluster, &scale, &json!({"spec": {"replicas": -1}})).await;
    let why = "CronTab.stable.example.com \"a\" is invalid: .spec.size.n: Invalid value: -1: should be a non-negative integer";
    assert_eq!(told(&negative), (422, why.to_owned()));
    let version = get(&cluster, ONE).await.json()["metadata"]["resourceVersion"].clone();
    let same = patch(&cluster, &scale, &json!({"spec": {"replicas": 2}, "status": {"replicas": 7}})).await.json();
    assert_eq!((&same["metadata"]["resourceVersion"], &same["status"]["replicas"]), (&version, &json!(0)));
    let strategic = [("content-type", "application/strategic-merge-patch+json")];
    assert_eq!(cluster.rest("PATCH", &scale, &strategic, "{}").await.code, 415);
}

#[tokio::test]
async fn what_a_scale_reads_must_be_of_its_type() {
    let cluster = Cluster::start().await;
    define(&cluster, &sized()).await;
    let refused = async |spec: Value, why: &str| {
        let answer = post(&cluster, CRONTABS, &crontab("a", spec)).await;
        assert_eq!(answer.code, 422, "{}", answer.text);
        assert_eq!(answer.json()["message"], format!("CronTab.stable.example.com \"a\" is invalid: {why}"));
    };
    let why =
        ".spec.size.n: Invalid value: 0: .spec.size.n accessor error: three is of the type string, expected int64";
    refused(json!({"size": {"n": "three"}}), why).await;
    let why = ".spec.size.n: Invalid value: 0: .spec.size.n accessor error: 3 is of the type int64, expected map[string]interface{}";
    refused(json!({"size": 3}), why).await;
    let why = ".spec.size.n: Invalid value: 9223372036854775807: should be less than or equal to 2147483647";
    refused(json!({"size": {"n": i64::MAX}}), why).await;
    assert_eq!(post(&cluster, CRONTABS, &crontab("a", json!({"size": {"n": 3}}))).await.code, 201);
    let status = patch(&cluster, &format!("{ONE}/status"), &json!({"status": {"selector": {"a": "b"}}})).await;
    let why = ".status.selector: Invalid value: \"\": .status.selector accessor error: map[a:b] is of the type map[string]interface {}, expected string";
    assert!(
        status.code == 422 && status.json()["message"].as_str().is_some_and(|m| m.ends_with(why)),
        "{}",
        status.text
    );
}

#[tokio::test]
async fn who_applies_a_scale_owns_the_replicas_where_they_are() {
    let cluster = Cluster::start().await;
    define(&cluster, &sized()).await;
    let apply = async |path: &str, body: &Value| cluster.rest("PATCH", path, &[APPLY], &body.to_string()).await;
    let made = apply(&format!("{ONE}?fieldManager=applier"), &crontab("a", json!({"size": {"n": 3, "m": 1}}))).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let scale =
        json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "a"}, "spec": {"replicas": 5}});
    let path = format!("{ONE}/scale?fieldManager=scaler");
    let conflict = apply(&path, &scale).await;
    let why = "Apply failed with 1 conflict: conflict with \"applier\": .spec.replicas";
    assert_eq!((conflict.code, conflict.json()["message"].as_str()), (409, Some(why)));
    let forced = apply(&format!("{path}&force=true"), &scale).await;
    assert_eq!((forced.code, &forced.json()["spec"]["replicas"]), (200, &json!(5)), "{}", forced.text);
    let managed = get(&cluster, ONE).await.json()["metadata"]["managedFields"].clone();
    let owned = |at: usize| {
        (managed[at]["manager"].clone(), managed[at]["subresource"].clone(), managed[at]["fieldsV1"].clone())
    };
    assert_eq!(owned(0), (json!("applier"), json!(null), json!({"f:spec": {"f:size": {".": {}, "f:m": {}}}})));
    assert_eq!(owned(1), (json!("scaler"), json!("scale"), json!({"f:spec": {"f:size": {"f:n": {}}}})));
}
