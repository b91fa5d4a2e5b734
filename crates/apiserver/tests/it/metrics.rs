//! What nodes and pods use: `metrics.k8s.io`, from the nodes' own words.

use gantry_client::{ListParams, ResourceId, View};
use serde_json::{Value, json};

use crate::backends::{Behaviour, Node, node_object, running_pod};
use crate::support::{Answer, Cluster};

const NODES: &str = "/apis/metrics.k8s.io/v1beta1/nodes";
const PODS: &str = "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods";

fn reading(name: &str, cpu: u64, memory: u64) -> Value {
    json!({"name": name, "time": "2026-01-01T00:00:00Z", "window_seconds": 15.0, "cpu_nano_cores": cpu,
        "cpu_usage_core_nanoseconds": 9, "memory_usage_bytes": memory + 1, "memory_working_set_bytes": memory})
}

async fn with_node() -> (Cluster, Node) {
    let cluster = Cluster::start().await;
    cluster.default_account().await;
    for (name, ip) in [("n1", "192.0.2.11"), ("n2", "192.0.2.12")] {
        node_object(&cluster, name, ip).await;
    }
    let pod = running_pod(&cluster, "p", "10.244.1.7").await;
    running_pod(&cluster, "fresh", "10.244.1.8").await;
    let stats = json!({"node": reading("n1", 250_000_000, 1 << 30), "pods": [
        {"namespace": "default", "name": "p", "uid": pod["metadata"]["uid"],
            "containers": [reading("c", 1_500_000, 3 << 20), reading("d", 500_000, 1 << 20)]},
        {"namespace": "default", "name": "fresh", "uid": "of-an-earlier-pod", "containers": [reading("c", 1, 1)]}]});
    let behaviour = Behaviour { stats: Some(stats.to_string()), ..Behaviour::default() };
    let node = Node::start(&cluster, "n1", behaviour).await;
    (cluster, node)
}

fn names(answer: &Answer) -> Vec<String> {
    let list = answer.json();
    let items = list["items"].as_array().expect("a list").iter();
    items.map(|item| item["metadata"]["name"].as_str().expect("text").to_owned()).collect()
}

#[tokio::test]
async fn nodes_say_what_they_use_and_silent_ones_are_left_out() {
    let (cluster, _node) = with_node().await;
    let list = cluster.rest("GET", NODES, &[], "").await;
    assert_eq!((list.code, names(&list)), (200, vec!["n1".to_owned()]), "{}", list.text);
    let warning = list.headers["warning"].to_str().expect("text");
    assert!(
        warning.contains("the metrics of node \\\"n2\\\" are left out: node \\\"n2\\\" cannot be reached"),
        "{warning}"
    );
    let document = list.json();
    assert_eq!((document["kind"].as_str(), &document["metadata"]), (Some("NodeMetricsList"), &json!({})));
    let item = &document["items"][0];
    assert_eq!(item["usage"], json!({"cpu": "250m", "memory": "1Gi"}));
    assert_eq!((item["window"].as_str(), item["timestamp"].as_str()), (Some("15s"), Some("2026-01-01T00:00:00Z")));
    assert_eq!((&item["metadata"]["labels"], item["metadata"].get("resourceVersion")), (&json!({"zone": "n1"}), None));
    let one = cluster.rest("GET", &format!("{NODES}/n1"), &[], "").await;
    assert_eq!((one.code, &one.json()["usage"]), (200, &item["usage"]));
    assert!(names(&cluster.rest("GET", &format!("{NODES}?labelSelector=zone%3Dn2"), &[], "").await).is_empty());
    let silent = cluster.rest("GET", &format!("{NODES}/n2"), &[], "").await;
    assert_eq!(silent.code, 503);
    let missing = cluster.rest("GET", &format!("{NODES}/n3"), &[], "").await;
    assert_eq!(
        (missing.code, missing.json()["message"].as_str()),
        (404, Some("nodemetrics.metrics.k8s.io \"n3\" not found"))
    );
}

#[tokio::test]
async fn pods_are_found_by_their_uid() {
    let (cluster, _node) = with_node().await;
    let list = cluster.rest("GET", PODS, &[], "").await;
    assert_eq!((list.code, names(&list)), (200, vec!["p".to_owned()]), "another pod's figures are not its own");
    assert!(!list.headers.contains_key("warning"));
    assert_eq!(
        list.json()["items"][0]["containers"][1],
        json!({"name": "d", "usage": {"cpu": "500u", "memory": "1Mi"}})
    );
    assert_eq!(names(&cluster.rest("GET", "/apis/metrics.k8s.io/v1beta1/pods", &[], "").await), ["p"]);
    assert!(names(&cluster.rest("GET", &format!("{PODS}?labelSelector=app%3Dy"), &[], "").await).is_empty());
    let table = ("accept", "application/json;as=Table;g=meta.k8s.io;v=v1");
    let rows = cluster.rest("GET", PODS, &[table], "").await.json();
    assert_eq!(rows["rows"][0]["cells"], json!(["p", "2m", "4Mi", "15s"]));
    let missing = cluster.rest("GET", &format!("{PODS}/fresh"), &[], "").await;
    assert_eq!(
        (missing.code, missing.json()["message"].as_str()),
        (404, Some("podmetrics.metrics.k8s.io \"default/fresh\" not found"))
    );
    for (method, path) in
        [("DELETE", format!("{PODS}/p")), ("POST", PODS.to_owned()), ("GET", format!("{PODS}?watch=true"))]
    {
        assert_eq!(cluster.rest(method, &path, &[], "{}").await.code, 405, "{method} {path}");
    }
}

#[tokio::test]
async fn grpc_lists_them_and_roles_cover_them() {
    let (cluster, _node) = with_node().await;
    let pods = cluster.admin().dynamic(ResourceId::new("metrics.k8s.io", "v1beta1", "pods"), "default");
    let list = pods.list(&ListParams::default(), View::Full).await.expect("listed");
    assert_eq!(list.items.len(), 1);
    let one = pods.get("p", "", View::Full).await.expect("found");
    assert_eq!(one["containers"][0]["usage"]["memory"], "3Mi");
    let groups = cluster.rest("GET", "/apis", &[], "").await.text;
    assert!(groups.contains("metrics.k8s.io/v1beta1"), "{groups}");
    let refused = cluster.rest("GET", PODS, &[("impersonate-user", "alice")], "").await;
    assert_eq!(refused.code, 403);
    let binding = json!({"metadata": {"name": "viewers"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "alice"}]});
    let path = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings";
    assert_eq!(cluster.rest("POST", path, &[], &binding.to_string()).await.code, 201);
    let seen = tokio::time::timeout(std::time::Duration::from_secs(20), async {
        // Roles are read from a watch, and `view` is put together by it.
        while cluster.rest("GET", PODS, &[("impersonate-user", "alice")], "").await.code != 200 {
            tokio::task::yield_now().await;
        }
    });
    assert!(seen.await.is_ok(), "who may view pods may view what they use");
}

#[tokio::test]
async fn components_say_how_they_are() {
    let cluster = Cluster::start().await;
    let path = "/api/v1/componentstatuses";
    let list = cluster.rest("GET", path, &[], "").await;
    assert!(list.headers["warning"].to_str().expect("text").contains("v1 ComponentStatus is deprecated in v1.19+"));
    let list = list.json();
    let shown: Vec<_> = list["items"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|c| (&c["metadata"]["name"], &c["conditions"][0]["status"]))
        .collect();
    let expected = [("controller-manager", "False"), ("etcd-0", "True"), ("scheduler", "False")]
        .map(|(n, s)| (json!(n), json!(s)));
    assert_eq!(shown, expected.iter().map(|(n, s)| (n, s)).collect::<Vec<_>>());
    let lease = json!({"metadata": {"name": "kube-scheduler"}, "spec": {"holderIdentity": "a", "leaseDurationSeconds": 15,
        "renewTime": "2100-01-01T00:00:00.000000Z"}});
    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases";
    assert_eq!(cluster.rest("POST", leases, &[], &lease.to_string()).await.code, 201);
    let one = cluster.rest("GET", &format!("{path}/scheduler"), &[], "").await.json();
    assert_eq!(one["conditions"][0], json!({"type": "Healthy", "status": "True", "message": "ok"}));
    assert_eq!(cluster.rest("GET", &format!("{path}/nobody"), &[], "").await.code, 404);
}
