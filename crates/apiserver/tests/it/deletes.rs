//! What a DELETE answers.

use serde_json::{Value, json};

use crate::support::{Cluster, configmap};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
async fn create(cluster: &Cluster, path: &str, object: Value) {
    let answer = cluster.rest("POST", path, &[], &object.to_string()).await;
    assert_eq!(answer.code, 201, "{}", answer.text);
}

#[tokio::test]
async fn a_deletion_that_waits_is_accepted_where_dependents_are_to_go_in_the_older_way() {
    let cluster = Cluster::start().await;
    let older = json!({"kind": "DeleteOptions", "apiVersion": "v1", "orphanDependents": false}).to_string();
    let mut held = configmap("held", "1");
    held["metadata"]["finalizers"] = json!(["example.com/held"]);
    create(&cluster, MAPS, held).await;
    create(&cluster, MAPS, configmap("free", "1")).await;
    let delete = async |name: &str, query: &str, body: &str| {
        cluster.rest("DELETE", &format!("{MAPS}/{name}{query}"), &[], body).await.code
    };
    assert_eq!(delete("held", "", "").await, 200);
    assert_eq!(delete("held", "", &older).await, 202);
    assert_eq!(delete("held", "?orphanDependents=false", "").await, 202);
    assert_eq!(delete("held", "", "{\"propagationPolicy\":\"Background\"}").await, 200);
    assert_eq!(delete("free", "", &older).await, 200);
}

#[tokio::test]
async fn the_endpoints_of_a_service_go_with_it() {
    let cluster = Cluster::start().await;
    let in_default = |resource: &str| format!("/api/v1/namespaces/default/{resource}");
    let service = |finalizers: Value| json!({"metadata": {"name": "s", "finalizers": finalizers}, "spec": {"ports": [{"port": 80}]}});
    let endpoints = async || cluster.rest("GET", &in_default("endpoints/s"), &[], "").await.code;
    for finalizers in [json!([]), json!(["example.com/held"])] {
        let is_held = finalizers != json!([]);
        create(&cluster, &in_default("services"), service(finalizers)).await;
        create(&cluster, &in_default("endpoints"), json!({"metadata": {"name": "s"}})).await;
        cluster.rest("DELETE", &in_default("services/s?dryRun=All"), &[], "").await;
        assert_eq!(endpoints().await, 200, "nothing is gone yet");
        cluster.rest("DELETE", &in_default("services/s"), &[], "").await;
        if is_held {
            assert_eq!(endpoints().await, 200, "the service is still there");
            let free = json!({"metadata": {"finalizers": null}}).to_string();
            let merge = [("content-type", "application/merge-patch+json")];
            cluster.rest("PATCH", &in_default("services/s"), &merge, &free).await;
        }
        assert_eq!(endpoints().await, 404);
    }
}
