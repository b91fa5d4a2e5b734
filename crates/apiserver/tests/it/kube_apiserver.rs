//! What a kube-apiserver 1.20 stored as protobuf, byte for byte, is served, changed and respected.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use gantry_apiserver::testing::Builder;
use gantry_store::{MemoryStore, Store, Txn};
use serde_json::{Value, json};

use crate::support::Cluster;

/// Keys and values, taken from the etcd of one that ran.
const STORED: &str = include_str!("kube_apiserver.tsv");
const SERVICES: &str = "/api/v1/namespaces/ra/services";
const PATHS: [(&str, &str); 16] = [
    ("/registry/configmaps/ra/t-cm", "/api/v1/namespaces/ra/configmaps/t-cm"),
    ("/registry/cronjobs/ra/t-cj", "/apis/batch/v1/namespaces/ra/cronjobs/t-cj"),
    ("/registry/csidrivers/csi.example.com", "/apis/storage.k8s.io/v1/csidrivers/csi.example.com"),
    ("/registry/endpointslices/ra/t-es", "/apis/discovery.k8s.io/v1/namespaces/ra/endpointslices/t-es"),
    ("/registry/events/ra/t-ev", "/apis/events.k8s.io/v1/namespaces/ra/events/t-ev"),
    (
        "/registry/horizontalpodautoscalers/ra/t-hpa",
        "/apis/autoscaling/v2/namespaces/ra/horizontalpodautoscalers/t-hpa",
    ),
    ("/registry/ingress/ra/t-ing", "/apis/networking.k8s.io/v1/namespaces/ra/ingresses/t-ing"),
    ("/registry/ingressclasses/ic", "/apis/networking.k8s.io/v1/ingressclasses/ic"),
    ("/registry/leases/ra/lease", "/apis/coordination.k8s.io/v1/namespaces/ra/leases/lease"),
    ("/registry/limitranges/ra/lr", "/api/v1/namespaces/ra/limitranges/lr"),
    ("/registry/poddisruptionbudgets/ra/t-pdb", "/apis/policy/v1/namespaces/ra/poddisruptionbudgets/t-pdb"),
    (
        "/registry/prioritylevelconfigurations/system",
        "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations/system",
    ),
    ("/registry/runtimeclasses/rtc", "/apis/node.k8s.io/v1/runtimeclasses/rtc"),
    (
        "/registry/validatingwebhookconfigurations/vwc",
        "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/vwc",
    ),
    ("/registry/certificatesigningrequests/csr", "/apis/certificates.k8s.io/v1/certificatesigningrequests/csr"),
    ("/registry/minions/n1", "/api/v1/nodes/n1"),
];

async fn cluster() -> (Arc<MemoryStore>, Cluster) {
    let store = Arc::new(MemoryStore::new());
    for (key, value) in STORED.lines().filter_map(|line| line.split_once('\t')) {
        let value = Bytes::from(STANDARD.decode(value).expect("base64"));
        store.txn(Txn::new().put(key, value)).await.expect("stored");
    }
    let builder = Builder::default().store(store.clone()).configure(|config| {
        config.service_cluster_ip_range = "10.96.0.0/24".parse().expect("a network");
        config.service_node_port_range = "30000-30099".parse().expect("a range");
    });
    let cluster = Cluster::with(builder).await;
    let namespace = json!({"metadata": {"name": "ra"}}).to_string();
    assert_eq!(cluster.rest("POST", "/api/v1/namespaces", &[], &namespace).await.code, 201);
    (store, cluster)
}

async fn read(cluster: &Cluster, path: &str) -> Value {
    let answer = cluster.rest("GET", path, &[], "").await;
    assert_eq!(answer.code, 200, "{path}: {}", answer.text);
    answer.json()
}

/// Without its version, and without the managers: those of versions that are served no longer are dropped.
fn plain(mut object: Value) -> Value {
    let metadata = object["metadata"].as_object_mut().expect("metadata");
    metadata.remove("resourceVersion");
    metadata.remove("managedFields");
    object
}

#[tokio::test]
async fn values_of_an_older_kube_apiserver_are_served_and_replaced_by_the_next_write() {
    let (store, cluster) = cluster().await;
    for (key, path) in PATHS {
        let object = read(&cluster, path).await;
        let again = cluster.rest("PUT", path, &[], &object.to_string()).await;
        assert_eq!(again.code, 200, "a write that changes nothing: {path}: {}", again.text);
        let kv = store.get(key).await.expect("read").expect("it is there");
        assert!(kv.value.starts_with(b"{"), "{key} is still in the old form");
        let now = read(&cluster, path).await;
        assert_eq!(plain(now), plain(object), "the form changes, the object does not");
    }
}

#[tokio::test]
async fn older_versions_say_the_same_in_the_fields_of_today() {
    let (_store, cluster) = cluster().await;
    let slice = read(&cluster, PATHS[3].1).await;
    let wanted = json!([{"addresses": ["1.2.3.5"], "conditions": {"ready": true}, "nodeName": "n1", "zone": "z1"}]);
    assert_eq!((&slice["apiVersion"], &slice["endpoints"]), (&json!("discovery.k8s.io/v1"), &wanted));
    let ingress = read(&cluster, PATHS[6].1).await;
    let backend = json!({"service": {"name": "svc", "port": {"number": 80}}});
    let paths = json!([{"path": "/", "pathType": "Prefix", "backend": backend}]);
    assert_eq!(ingress["spec"], json!({"rules": [{"host": "a.b", "http": {"paths": paths}}]}));
    let budget = read(&cluster, PATHS[10].1).await;
    assert_eq!(budget["spec"], json!({"minAvailable": 1, "selector": {"matchLabels": {"a": "b"}}}));
    let job = read(&cluster, PATHS[1].1).await;
    assert_eq!((&job["apiVersion"], &job["spec"]["schedule"]), (&json!("batch/v1"), &json!("*/5 * * * *")));
}

#[tokio::test]
async fn addresses_and_ports_that_an_older_kube_apiserver_gave_are_taken() {
    let (_store, cluster) = cluster().await;
    let service = read(&cluster, &format!("{SERVICES}/t-np")).await;
    let (ip, port) = (&service["spec"]["clusterIP"], &service["spec"]["ports"][0]["nodePort"]);
    let ip = ip.as_str().expect("an address");
    let address = read(&cluster, &format!("/apis/networking.k8s.io/v1/ipaddresses/{ip}")).await;
    assert_eq!(address["spec"]["parentRef"]["name"], "t-np");
    let other = |name: &str, spec: Value| json!({"metadata": {"name": name}, "spec": spec}).to_string();
    let same_ip = other("second", json!({"clusterIP": ip, "ports": [{"port": 80}]}));
    let refused = cluster.rest("POST", SERVICES, &[], &same_ip).await;
    assert!(refused.code == 422 && refused.text.contains("provided IP is already allocated"), "{}", refused.text);
    let same_port = other("third", json!({"type": "NodePort", "ports": [{"port": 80, "nodePort": port}]}));
    let refused = cluster.rest("POST", SERVICES, &[], &same_port).await;
    assert!(refused.code == 422 && refused.text.contains("provided port is already allocated"), "{}", refused.text);
    let gone = cluster.rest("DELETE", &format!("{SERVICES}/t-np"), &[], "").await;
    assert_eq!(gone.code, 200, "{}", gone.text);
    for free in [same_ip, same_port] {
        let made = cluster.rest("POST", SERVICES, &[], &free).await;
        assert_eq!(made.code, 201, "what is given back is free: {}", made.text);
    }
}
