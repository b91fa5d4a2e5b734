//! What an operator may switch: group versions, features, the Lease of an API server.

use std::sync::Arc;
use std::time::Duration;

use gantry_apiserver::testing::Builder;
use gantry_store::MemoryStore;
use serde_json::{Value, json};

use crate::support::Cluster;

const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";

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

#[tokio::test]
async fn an_api_server_tells_of_itself_by_a_lease() {
    let store = Arc::new(MemoryStore::new());
    let first = Cluster::with(Builder::default().store(store.clone())).await;
    let post = async |name: &str, labels: Value, renewed: &str| {
        let lease = json!({"metadata": {"name": name, "labels": labels}, "spec": {
            "holderIdentity": "x", "leaseDurationSeconds": 3600, "renewTime": renewed}});
        assert_eq!(first.rest("POST", LEASES, &[], &lease.to_string()).await.code, 201, "{name}");
    };
    let ours = json!({"apiserver.kubernetes.io/identity": "kube-apiserver"});
    post("apiserver-gone", ours.clone(), "2020-01-01T00:00:00.000000Z").await;
    post("apiserver-there", ours, "2100-01-01T00:00:00.000000Z").await;
    post("others", json!({}), "2020-01-01T00:00:00.000000Z").await;
    let second = Cluster::with(Builder::default().store(store).configure(|config| config.feature_gates.clear())).await;
    let leases = async || {
        let list = second.rest("GET", LEASES, &[], "").await.json();
        list["items"].as_array().expect("a list").clone()
    };
    let name = |lease: &Value| lease["metadata"]["name"].as_str().expect("a name").to_owned();
    let looked = async {
        loop {
            let found = leases().await;
            let names: Vec<String> = found.iter().map(name).collect();
            if names.len() == 3 && !names.contains(&"apiserver-gone".to_owned()) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let found = tokio::time::timeout(Duration::from_secs(30), looked).await.expect("in time");
    let mine = found.iter().find(|l| !["apiserver-there", "others"].contains(&name(l).as_str())).expect("its own");
    let host = nix::unistd::gethostname().expect("a name").to_string_lossy().into_owned();
    assert_eq!(
        mine["metadata"]["labels"],
        json!({"apiserver.kubernetes.io/identity": "kube-apiserver", "kubernetes.io/hostname": host})
    );
    assert_eq!(mine["spec"]["leaseDurationSeconds"], 3600);
    let holder = mine["spec"]["holderIdentity"].as_str().expect("a holder");
    assert!(name(mine).starts_with("apiserver-") && holder.starts_with(&format!("{}_", name(mine))), "{mine}");
    assert!(mine["spec"]["renewTime"].is_string());
}
