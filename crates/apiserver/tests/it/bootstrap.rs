//! What a cluster starts with, and that it stays.

use gantry_apiserver::testing::Builder;
use serde_json::{Value, json};

use crate::support::Cluster;

fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().expect("items");
    items.iter().filter_map(|i| i["metadata"]["name"].as_str()).collect()
}

#[tokio::test]
async fn four_namespaces_and_two_priority_classes() {
    let cluster = Cluster::start().await;
    let namespaces = cluster.rest("GET", "/api/v1/namespaces", &[], "").await.json();
    assert_eq!(names(&namespaces), ["default", "kube-node-lease", "kube-public", "kube-system"]);
    assert_eq!(namespaces["items"][0]["status"]["phase"], "Active");
    let classes = cluster.rest("GET", "/apis/scheduling.k8s.io/v1/priorityclasses", &[], "").await.json();
    assert_eq!(names(&classes), ["system-cluster-critical", "system-node-critical"]);
    let admin = cluster.rest("GET", "/apis/rbac.authorization.k8s.io/v1/clusterroles/admin", &[], "").await.json();
    let rules = admin["rules"].as_array().map_or(0, Vec::len);
    assert!(rules > 20, "admin has the rules that it aggregates, not {rules}");
}

#[tokio::test]
async fn every_cluster_starts_with_its_flow_control() {
    let cluster = Cluster::start().await;
    let group = "/apis/flowcontrol.apiserver.k8s.io/v1";
    let levels = cluster.rest("GET", &format!("{group}/prioritylevelconfigurations"), &[], "").await.json();
    let all = [
        "catch-all",
        "exempt",
        "global-default",
        "leader-election",
        "node-high",
        "system",
        "workload-high",
        "workload-low",
    ];
    assert_eq!(names(&levels), all);
    let schemas = cluster.rest("GET", &format!("{group}/flowschemas"), &[], "").await.json();
    assert_eq!(names(&schemas).len(), 13);
    let merge = ("content-type", "application/merge-patch+json");
    let changed = json!({"spec": {"matchingPrecedence": 5}}).to_string();
    let refused = cluster.rest("PATCH", &format!("{group}/flowschemas/catch-all"), &[merge], &changed).await;
    assert!(refused.code == 422 && refused.text.contains("must equal the fixed value"), "{}", refused.text);
    let suggested = cluster.rest("PATCH", &format!("{group}/flowschemas/service-accounts"), &[merge], &changed).await;
    assert_eq!(suggested.code, 200, "{}", suggested.text);
}

#[tokio::test]
async fn the_kubernetes_service_is_repaired() {
    let builder = Builder::default().configure(|config| config.advertise_address = Some([10, 9, 9, 9].into()));
    let cluster = Cluster::with(builder).await;
    let service = "/api/v1/namespaces/default/services/kubernetes";
    let slice = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes";
    let uid = async |path: &str| cluster.rest("GET", path, &[], "").await.json()["metadata"]["uid"].clone();
    let endpoint = async || cluster.rest("GET", slice, &[], "").await.json()["endpoints"][0]["addresses"][0].clone();
    while endpoint().await != "10.9.9.9" {}
    let legacy = "/api/v1/namespaces/default/endpoints/kubernetes";
    let address =
        async || cluster.rest("GET", legacy, &[], "").await.json()["subsets"][0]["addresses"][0]["ip"].clone();
    while address().await != "10.9.9.9" {}
    cluster.rest("DELETE", legacy, &[], "").await;
    while address().await != "10.9.9.9" {}
    let before = uid(service).await;
    cluster.rest("DELETE", service, &[], "").await;
    while [Value::Null, before.clone()].contains(&uid(service).await) {}
    let made = cluster.rest("GET", service, &[], "").await.json();
    assert_eq!(made["spec"]["clusterIP"], "10.96.0.1");
    let patch = json!({"endpoints": [{"addresses": ["6.6.6.6"]}]}).to_string();
    let merge = ("content-type", "application/merge-patch+json");
    assert_eq!(cluster.rest("PATCH", slice, &[merge], &patch).await.code, 200);
    while endpoint().await != "10.9.9.9" {}
    // As a predecessor under the same address does that stops late.
    let taken = gantry_store::Txn::new().delete("/registry/masterleases/10.9.9.9");
    cluster.server.store().txn(taken).await.expect("taken away");
    cluster.rest("DELETE", slice, &[], "").await;
    while endpoint().await != "10.9.9.9" {}
    // The key goes with its lease, and is back before the next turn that comes by the clock.
    let held = cluster.server.store().get("/registry/masterleases/10.9.9.9").await.expect("read").expect("held");
    cluster.server.store().lease_revoke(held.lease).await.expect("taken away");
    cluster.rest("DELETE", slice, &[], "").await;
    let back = async { while endpoint().await != "10.9.9.9" {} };
    tokio::time::timeout(std::time::Duration::from_secs(8), back).await.expect("put back at once");
}

#[tokio::test]
async fn the_kubernetes_service_is_repaired_by_a_server_that_nobody_can_reach() {
    let cluster = Cluster::start().await;
    let service = "/api/v1/namespaces/default/services/kubernetes";
    let uid = async || cluster.rest("GET", service, &[], "").await.json()["metadata"]["uid"].clone();
    let before = uid().await;
    assert_eq!(cluster.rest("DELETE", service, &[], "").await.code, 200);
    let back = async { while [Value::Null, before.clone()].contains(&uid().await) {} };
    tokio::time::timeout(std::time::Duration::from_secs(15), back).await.expect("put back");
}

#[tokio::test]
async fn events_go_on_when_their_lease_has_gone() {
    let cluster = Cluster::start().await;
    let events = "/api/v1/namespaces/default/events";
    let event = |name: &str| {
        let about = json!({"kind": "Pod", "namespace": "default", "name": "p"});
        json!({"metadata": {"name": name}, "involvedObject": about, "reason": "R", "message": "m", "type": "Normal"})
            .to_string()
    };
    assert_eq!(cluster.rest("POST", events, &[], &event("a")).await.code, 201);
    let store = cluster.server.store();
    let held = store.get("/registry/events/default/a").await.expect("read").expect("stored");
    store.lease_revoke(held.lease).await.expect("taken away");
    let made = cluster.rest("POST", events, &[], &event("b")).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let next = store.get("/registry/events/default/b").await.expect("read").expect("stored");
    assert!(next.lease != 0 && next.lease != held.lease);
}

#[tokio::test]
async fn namespace_status_is_written_on_its_own() {
    let cluster = Cluster::start().await;
    cluster.rest("POST", "/api/v1/namespaces", &[], &json!({"metadata": {"name": "n"}}).to_string()).await;
    let one = "/api/v1/namespaces/n";
    let mut namespace = cluster.rest("GET", one, &[], "").await.json();
    let condition = json!({"type": "NamespaceContentRemaining", "status": "False", "reason": "ContentRemoved"});
    namespace["status"]["conditions"] = json!([condition]);
    namespace["spec"]["finalizers"] = json!([]);
    let written = cluster.rest("PUT", &format!("{one}/status"), &[], &namespace.to_string()).await.json();
    assert_eq!(written["status"]["conditions"][0]["reason"], "ContentRemoved");
    assert_eq!(written["spec"]["finalizers"], json!(["kubernetes"]), "spec is not written through status");
    let mut main = written.clone();
    main["status"] = json!({"phase": "Terminating"});
    let main = cluster.rest("PUT", one, &[], &main.to_string()).await.json();
    assert_eq!(main["status"], written["status"], "status is not written through the main resource");
}
