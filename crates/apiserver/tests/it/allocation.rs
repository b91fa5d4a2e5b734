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

/// A cluster with two families: what a Service has of both, gains and gives back.
#[tokio::test]
async fn a_service_has_an_address_of_each_of_its_families() {
    let cluster = Cluster::with(gantry_apiserver::testing::Builder::default().configure(|config| {
        config.service_cluster_ip_range = "10.96.0.0/24,fd00:96::/112".parse().expect("ranges");
    }))
    .await;
    let rest = async |method: &str, path: &str, body: &Value| cluster.rest(method, path, &[], &body.to_string()).await;
    let range = rest("GET", "/apis/networking.k8s.io/v1/servicecidrs/kubernetes", &Value::Null).await.json();
    assert_eq!(range["spec"]["cidrs"], json!(["10.96.0.0/24", "fd00:96::/112"]));
    assert_eq!(range["status"]["conditions"][0]["status"], "True");
    let services = "/api/v1/namespaces/default/services";
    let own = rest("GET", &format!("{services}/kubernetes"), &Value::Null).await.json();
    assert_eq!((&own["spec"]["clusterIPs"], &own["spec"]["ipFamilies"]), (&json!(["10.96.0.1"]), &json!(["IPv4"])));
    let make = async |name: &str, spec: Value| {
        let mut made = service(name, "ClusterIP");
        made["spec"].as_object_mut().expect("a map").extend(spec.as_object().expect("a map").clone());
        rest("POST", services, &made).await
    };
    let families = |service: &Value| {
        let ips = service["spec"]["clusterIPs"].as_array().cloned().unwrap_or_default();
        let of = |ip: &Value| if ip.as_str().unwrap_or_default().contains(':') { "IPv6" } else { "IPv4" };
        let found: Vec<&str> = ips.iter().map(of).collect();
        assert_eq!(json!(found), service["spec"]["ipFamilies"], "{service}");
        assert_eq!(ips.first(), service["spec"].get("clusterIP"), "{service}");
        found.join(",")
    };
    assert_eq!(families(&make("one", json!({})).await.json()), "IPv4");
    assert_eq!(families(&make("six", json!({"ipFamilies": ["IPv6"]})).await.json()), "IPv6");
    let both = make("both", json!({"ipFamilyPolicy": "PreferDualStack", "ipFamilies": ["IPv6"]})).await.json();
    assert_eq!(families(&both), "IPv6,IPv4");
    let chosen = json!({"ipFamilyPolicy": "RequireDualStack", "clusterIP": "fd00:96::77"});
    let chosen = make("chosen", chosen).await.json();
    assert_eq!((families(&chosen), &chosen["spec"]["clusterIP"]), ("IPv6,IPv4".to_owned(), &json!("fd00:96::77")));
    let taken = make("taken", json!({"clusterIP": "fd00:96::77"})).await;
    assert!(
        taken.text.contains("failed to allocate IP fd00:96::77: provided IP is already allocated"),
        "{}",
        taken.text
    );
    let outside = make("outside", json!({"clusterIP": "fd00:97::1"})).await;
    assert!(outside.text.contains("fd00:97::1 is not in fd00:96::/112"), "{}", outside.text);
    let several = make("several", json!({"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4", "IPv6"]})).await;
    assert!(several.text.contains("when multiple IP families are specified"), "{}", several.text);
    // Gained, and given back.
    let addresses = "/apis/networking.k8s.io/v1/ipaddresses";
    let merge = [("content-type", "application/merge-patch+json")];
    let patch = async |policy: &str| {
        let body = json!({"spec": {"ipFamilyPolicy": policy}}).to_string();
        cluster.rest("PATCH", &format!("{services}/one"), &merge, &body).await.json()
    };
    let gained = patch("RequireDualStack").await;
    assert_eq!(families(&gained), "IPv4,IPv6");
    let second = gained["spec"]["clusterIPs"][1].as_str().expect("an address").to_owned();
    let address = rest("GET", &format!("{addresses}/{second}"), &Value::Null).await.json();
    assert_eq!(address["metadata"]["labels"]["ipaddress.kubernetes.io/ip-family"], "IPv6");
    assert_eq!(address["spec"]["parentRef"]["name"], "one");
    let single = patch("SingleStack").await;
    assert_eq!(
        (families(&single), &single["spec"]["clusterIPs"][0]),
        ("IPv4".to_owned(), &gained["spec"]["clusterIP"])
    );
    assert_eq!(rest("GET", &format!("{addresses}/{second}"), &Value::Null).await.code, 404, "it is free again");
    let headless = make("headless", json!({"clusterIP": "None", "ipFamilyPolicy": "PreferDualStack"})).await.json();
    let found = (&headless["spec"]["clusterIPs"], &headless["spec"]["ipFamilies"]);
    assert_eq!(found, (&json!(["None"]), &json!(["IPv4", "IPv6"])));
}

#[tokio::test]
async fn a_cluster_may_have_ipv6_alone() {
    let cluster = Cluster::with(gantry_apiserver::testing::Builder::default().configure(|config| {
        config.service_cluster_ip_range = "fd00:96::/112".parse().expect("a range");
        config.advertise_address = Some("2001:db8::7".parse().expect("an address"));
    }))
    .await;
    let get = async |path: &str| cluster.rest("GET", path, &[], "").await;
    let own = get("/api/v1/namespaces/default/services/kubernetes").await.json();
    assert_eq!((&own["spec"]["clusterIPs"], &own["spec"]["ipFamilies"]), (&json!(["fd00:96::1"]), &json!(["IPv6"])));
    // Made after the start.
    let slice = loop {
        let answer = get("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes").await;
        if answer.code == 200 {
            break answer.json();
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    let found = (&slice["addressType"], &slice["endpoints"][0]["addresses"]);
    assert_eq!(found, (&json!("IPv6"), &json!(["2001:db8::7"])));
    let wanted = service("s", "NodePort").to_string();
    let made = cluster.rest("POST", "/api/v1/namespaces/default/services", &[], &wanted).await;
    assert_eq!(made.json()["spec"]["ipFamilies"], json!(["IPv6"]));
    let builder = gantry_apiserver::testing::Builder::default().configure(|config| {
        config.service_cluster_ip_range = "fd00:96::/112".parse().expect("a range");
        config.advertise_address = Some([192, 0, 2, 7].into());
    });
    let folder = tempfile::tempdir().expect("a folder");
    let error = builder.start(folder.path()).await.map(drop).expect_err("another family").to_string();
    assert!(
        error.contains("service IP family \"fd00:96::/112\" must match public address family \"192.0.2.7\""),
        "{error}"
    );
}
