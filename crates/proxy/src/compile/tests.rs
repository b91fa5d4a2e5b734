use serde_json::{Value, json};

use super::*;
use crate::element::Mapping;

fn slice(endpoints: &Value) -> Arc<EndpointSlice> {
    let value = json!({
        "addressType": "IPv4",
        "metadata": { "namespace": "ns", "name": "web-1", "labels": { "kubernetes.io/service-name": "web" } },
        "ports": [{ "name": "http", "port": 8080, "protocol": "TCP" }],
        "endpoints": endpoints,
    });
    Arc::new(serde_json::from_value(value).expect("a slice"))
}

fn service(change: &Value) -> Service {
    let mut value = json!({
        "metadata": { "namespace": "ns", "name": "web" },
        "spec": { "type": "ClusterIP", "clusterIP": "10.96.0.20", "clusterIPs": ["10.96.0.20"],
                  "ports": [{ "name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080 }] },
    });
    for (key, new) in change.as_object().into_iter().flatten() {
        value["spec"][key] = new.clone();
    }
    serde_json::from_value(value).expect("a service")
}

/// One local endpoint, one elsewhere, one that is not ready.
fn three() -> Value {
    json!([
        { "addresses": ["10.244.1.2"], "nodeName": "here", "conditions": { "ready": true } },
        { "addresses": ["10.244.2.2"], "nodeName": "there", "conditions": { "ready": true } },
        { "addresses": ["10.244.2.3"], "nodeName": "there", "conditions": { "ready": false } },
    ])
}

fn check(change: &Value, endpoints: &Value, expected: &[&str]) {
    let present = Elements::new();
    let view = View { node: "here", silent: &BTreeSet::new(), present: &present };
    let elements = compile(&service(change), &[slice(endpoints)], view);
    let text: Vec<String> = elements.iter().map(|(k, d)| format!("{}: {}", k.container(), Mapping(*k, *d))).collect();
    assert_eq!(text, expected);
}

#[test]
fn a_cluster_address_with_its_ready_endpoints() {
    check(
        &json!({}),
        &three(),
        &[
            "services: 10.96.0.20 . tcp . 80 : goto pick2",
            "endpoints: 10.96.0.20 . tcp . 80 . 0 : 10.244.1.2 . 8080",
            "endpoints: 10.96.0.20 . tcp . 80 . 1 : 10.244.2.2 . 8080",
            "cluster-ips: 10.96.0.20",
            "hairpin: 10.244.1.2 . 10.244.1.2",
        ],
    );
}

#[test]
fn what_has_no_cluster_address_needs_nothing() {
    check(&json!({ "clusterIP": "None", "clusterIPs": ["None"] }), &three(), &[]);
    check(&json!({ "type": "ExternalName", "clusterIP": "", "clusterIPs": null }), &three(), &[]);
}

#[test]
fn without_endpoints_only_the_refusal_is_left() {
    check(&json!({}), &json!([]), &["cluster-ips: 10.96.0.20"]);
    let node_port = json!({ "type": "NodePort", "ports": [{ "name": "http", "port": 80, "nodePort": 30080 }] });
    check(&node_port, &json!([]), &["cluster-ips: 10.96.0.20", "refused-node-ports: tcp . 30080 : goto refuse"]);
}

#[test]
fn node_ports_are_masqueraded_unless_the_policy_is_local() {
    let node_port = |policy: &str| {
        json!({ "type": "NodePort", "externalTrafficPolicy": policy,
                "ports": [{ "name": "http", "port": 80, "nodePort": 30080 }] })
    };
    check(
        &node_port("Cluster"),
        &three(),
        &[
            "services: 10.96.0.20 . tcp . 80 : goto pick2",
            "node-ports: tcp . 30080 : goto node-pick2",
            "endpoints: 10.96.0.20 . tcp . 80 . 0 : 10.244.1.2 . 8080",
            "endpoints: 10.96.0.20 . tcp . 80 . 1 : 10.244.2.2 . 8080",
            "node-port-endpoints: tcp . 30080 . 0 : 10.244.1.2 . 8080",
            "node-port-endpoints: tcp . 30080 . 1 : 10.244.2.2 . 8080",
            "cluster-ips: 10.96.0.20",
            "hairpin: 10.244.1.2 . 10.244.1.2",
            "masquerade-tcp: 30080",
        ],
    );
    let elsewhere = json!([{ "addresses": ["10.244.2.2"], "nodeName": "there" }]);
    check(
        &node_port("Local"),
        &elsewhere,
        &[
            "services: 10.96.0.20 . tcp . 80 : goto pick1",
            "endpoints: 10.96.0.20 . tcp . 80 . 0 : 10.244.2.2 . 8080",
            "cluster-ips: 10.96.0.20",
            "refused-node-ports: tcp . 30080 : drop",
        ],
    );
}

#[test]
fn internal_policies() {
    let local = [
        "services: 10.96.0.20 . tcp . 80 : goto pick1",
        "endpoints: 10.96.0.20 . tcp . 80 . 0 : 10.244.1.2 . 8080",
        "cluster-ips: 10.96.0.20",
        "hairpin: 10.244.1.2 . 10.244.1.2",
    ];
    check(&json!({ "internalTrafficPolicy": "Local" }), &three(), &local);
    check(&json!({ "trafficDistribution": "PreferSameNode" }), &three(), &local);
}

#[test]
fn affinity_fills_the_ring() {
    let present = Elements::new();
    let view = View { node: "here", silent: &BTreeSet::new(), present: &present };
    let elements = compile(&service(&json!({ "sessionAffinity": "ClientIP" })), &[slice(&three())], view);
    let frontend = Frontend::Service(Ipv4Addr::new(10, 96, 0, 20), Protocol::Tcp, 80);
    assert_eq!(elements.get(&Key::Spread(frontend)), Some(&Data::Sticky));
    let slots = elements.keys().filter(|k| matches!(k, Key::Slot(..))).count();
    assert_eq!(slots, RING_SLOTS as usize);
}

#[test]
fn an_endpoint_that_goes_touches_only_its_own_service_and_the_fewest_slots() {
    let endpoint = |last: u8| json!({ "addresses": [format!("10.244.2.{last}")], "nodeName": "there" });
    let with = |of: &[u8], present: &Elements| {
        let endpoints: Vec<Value> = of.iter().map(|l| endpoint(*l)).collect();
        let view = View { node: "here", silent: &BTreeSet::new(), present };
        compile(&service(&json!({})), &[slice(&json!(endpoints))], view)
    };
    let before = with(&[1, 2, 3, 4], &Elements::new());
    let after = with(&[1, 3, 4], &before);
    let change = crate::intent::difference(&before, &after);
    let text = |e: &Elements| e.iter().map(|(k, d)| Mapping(*k, *d).to_string()).collect::<Vec<_>>();
    assert_eq!(
        text(&change.add),
        ["10.96.0.20 . tcp . 80 : goto pick3", "10.96.0.20 . tcp . 80 . 1 : 10.244.2.4 . 8080"]
    );
    assert_eq!(change.delete.len(), 3);
}
