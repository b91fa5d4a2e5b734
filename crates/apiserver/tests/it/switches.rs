//! What an operator may switch: group versions and features.

use gantry_apiserver::testing::Builder;
use serde_json::{Value, json};

use crate::support::Cluster;

#[tokio::test]
async fn group_versions_are_switched_off() {
    let wanted = ["batch/v1=false", "autoscaling/v1=false", "apps/v1/daemonsets=false"].map(str::to_owned).to_vec();
    let cluster = Cluster::with(Builder::default().configure(|config| config.runtime_config = wanted)).await;
    let get = async |path: &str| cluster.rest("GET", path, &[], "").await;
    for path in [
        "/apis/batch",
        "/apis/batch/v1",
        "/apis/batch/v1/jobs",
        "/apis/autoscaling/v1",
        "/apis/apps/v1/daemonsets",
        "/openapi/v3/apis/batch/v1",
        "/apis/apiregistration.k8s.io/v1/apiservices/v1.batch",
    ] {
        assert_eq!(get(path).await.code, 404, "{path}");
    }
    let job = json!({"metadata": {"name": "j"}}).to_string();
    assert_eq!(cluster.rest("POST", "/apis/batch/v1/namespaces/default/jobs", &[], &job).await.code, 404);
    let groups = get("/apis").await.json();
    let names: Vec<&Value> = groups["groups"].as_array().expect("a list").iter().map(|group| &group["name"]).collect();
    assert!(!names.contains(&&json!("batch")) && names.contains(&&json!("autoscaling")), "{names:?}");
    let resources = get("/apis/apps/v1").await;
    assert!(!resources.text.contains("daemonsets") && resources.text.contains("deployments"), "{}", resources.text);
    assert!(!get("/openapi/v2").await.text.contains("io.k8s.api.batch.v1.Job\""));
    for path in ["/apis/autoscaling/v2", "/apis/apps/v1/deployments", "/openapi/v3/apis/apps/v1"] {
        assert_eq!(get(path).await.code, 200, "{path}");
    }
}

#[tokio::test]
async fn what_cannot_be_switched_stops_the_server() {
    let start = async |gates: &str, versions: &str| {
        let folder = tempfile::tempdir().expect("a folder");
        let (gates, versions) = (vec![gates.to_owned()], vec![versions.to_owned()]);
        let builder = Builder::default().configure(|config| {
            config.feature_gates = gates;
            config.runtime_config = versions;
        });
        builder.start(folder.path()).await.map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(start("WatchList=true", "apps/v1=true").await, Ok(()));
    let unknown = "--feature-gates: unrecognized feature gate: Nonsense";
    assert_eq!(start("Nonsense=true", "").await, Err(unknown.to_owned()));
    let absent = start("", "resource.k8s.io/v1beta1=true").await;
    assert!(
        absent.is_err_and(|e| e.starts_with("--runtime-config: resource.k8s.io/v1beta1: Kubernetes 1.36 does not"))
    );
}
