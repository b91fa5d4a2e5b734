//! Cluster IPs and node ports: one owner each, under races, and given back.

use std::collections::BTreeSet;

use gantry_client::{Client, DeleteParams, Patch, ResourceId, View, WriteParams};
use serde_json::{Value, json};

use crate::support::Cluster;

fn services(client: &Client) -> gantry_client::DynApi {
    client.dynamic(ResourceId::new("", "v1", "services"), "default")
}

fn service(name: &str, kind: &str) -> Value {
    json!({"metadata": {"name": name}, "spec": {"type": kind, "selector": {"a": "b"}, "ports": [{"port": 80}]}})
}

#[tokio::test]
async fn racing_services_share_nothing() {
    let cluster = Cluster::with(gantry_apiserver::testing::Builder::default().configure(|config| {
        config.service_cluster_ip_range = "10.96.0.0/27".parse().expect("a network");
        config.service_node_port_range = "30000-30031".parse().expect("a range");
    }))
    .await;
    let client = cluster.admin();
    let api = services(&client);
    let write = WriteParams::default();
    let make = (0..24).map(|i| {
        let (api, write) = (api.clone(), write.clone());
        async move { api.create("", "", &service(&format!("s{i}"), "NodePort"), &write).await.expect("room").object }
    });
    let made = futures::future::join_all(make).await;
    let distinct = |path: &dyn Fn(&Value) -> String| made.iter().map(path).collect::<BTreeSet<_>>().len();
    assert_eq!(distinct(&|s| s["spec"]["clusterIP"].to_string()), 24);
    assert_eq!(distinct(&|s| s["spec"]["ports"][0]["nodePort"].to_string()), 24);
    // 32 addresses: network, broadcast and default/kubernetes leave 29.
    for i in 24..29 {
        api.create("", "", &service(&format!("s{i}"), "ClusterIP"), &write).await.expect("room");
    }
    assert!(api.create("", "", &service("full", "ClusterIP"), &write).await.is_err(), "the range is used up");
    api.delete("s3", &DeleteParams::default()).await.expect("deleted");
    let reused = api.create("", "", &service("again", "ClusterIP"), &write).await.expect("an address came back").object;
    assert_eq!(reused["spec"]["clusterIP"], made[3]["spec"]["clusterIP"]);
}

#[tokio::test]
async fn chosen_addresses_and_ports_are_checked() {
    let cluster = Cluster::start().await;
    let api = services(&cluster.admin());
    let write = WriteParams::default();
    let mut chosen = service("a", "NodePort");
    chosen["spec"]["clusterIP"] = "10.96.0.77".into();
    chosen["spec"]["ports"][0]["nodePort"] = 30080.into();
    api.create("", "", &chosen, &write).await.expect("free");
    let refused = |error: gantry_client::Error| error.status().map(|s| s.message.clone()).unwrap_or_default();
    let mut same_ip = service("b", "ClusterIP");
    same_ip["spec"]["clusterIP"] = "10.96.0.77".into();
    let message = refused(api.create("", "", &same_ip, &write).await.expect_err("taken"));
    assert_eq!(
        message,
        "Service \"b\" is invalid: spec.clusterIPs: Invalid value: [\"10.96.0.77\"]: failed to allocate IP 10.96.0.77: provided IP is already allocated"
    );
    let mut same_port = service("c", "NodePort");
    same_port["spec"]["ports"][0]["nodePort"] = 30080.into();
    let message = refused(api.create("", "", &same_port, &write).await.expect_err("taken"));
    assert_eq!(
        message,
        "Service \"c\" is invalid: spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated"
    );
    let mut outside = service("d", "NodePort");
    outside["spec"]["ports"][0]["nodePort"] = 80.into();
    assert!(refused(api.create("", "", &outside, &write).await.expect_err("outside")).contains("30000-32767"));
}

#[tokio::test]
async fn a_change_of_type_gives_back() {
    let cluster = Cluster::start().await;
    let api = services(&cluster.admin());
    let write = WriteParams::default();
    let made = api.create("", "", &service("a", "NodePort"), &write).await.expect("created").object;
    let port = made["spec"]["ports"][0]["nodePort"].clone();
    let plain = Patch::Merge(
        json!({"spec": {"type": "ClusterIP", "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}]}}),
    );
    let changed = api.patch("a", "", &plain, &write).await.expect("changed").object;
    assert_eq!(changed["spec"]["clusterIP"], made["spec"]["clusterIP"], "the address stays");
    assert!(changed["spec"]["ports"][0].get("nodePort").is_none());
    let mut taken = service("b", "NodePort");
    taken["spec"]["ports"][0]["nodePort"] = port;
    api.create("", "", &taken, &write).await.expect("the port came back");
    let kubernetes = api.get("kubernetes", "", View::Full).await.expect("made at start");
    assert_eq!(kubernetes["spec"]["clusterIP"], "10.96.0.1");
}
