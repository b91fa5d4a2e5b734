use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};

use super::*;
use crate::records::records;

fn service(spec: Value) -> Service {
    serde_json::from_value(json!({ "metadata": {}, "spec": spec })).expect("a service")
}

fn slice(endpoints: Value) -> Arc<EndpointSlice> {
    let value = json!({
        "addressType": "IPv4", "metadata": {}, "endpoints": endpoints,
        "ports": [{ "name": "redis", "port": 6379, "protocol": "TCP" }],
    });
    Arc::new(serde_json::from_value(value).expect("a slice"))
}

fn zone() -> Zone {
    let mut zone = Zone::new("cluster.local.");
    let web = service(json!({ "clusterIP": "10.96.0.20", "clusterIPs": ["10.96.0.20"],
        "ports": [{ "name": "http", "port": 80 }, { "name": "dns", "port": 53, "protocol": "UDP" }] }));
    zone.set(&Key::new("default", "web"), Some(records(&web, &[])));
    let headless = service(json!({ "clusterIP": "None", "clusterIPs": ["None"] }));
    let endpoints = slice(json!([
        { "addresses": ["10.244.1.5"], "hostname": "redis-0", "conditions": { "ready": true } },
        { "addresses": ["10.244.2.6"], "conditions": { "ready": true } },
        { "addresses": ["10.244.2.7"], "conditions": { "ready": false } },
    ]));
    zone.set(&Key::new("default", "redis"), Some(records(&headless, &[endpoints])));
    let external = service(json!({ "type": "ExternalName", "externalName": "Example.org." }));
    zone.set(&Key::new("other", "ext"), Some(records(&external, &[])));
    let dns = service(json!({ "clusterIP": "10.96.0.10", "clusterIPs": ["10.96.0.10"] }));
    zone.set(&Key::new("kube-system", "kube-dns"), Some(records(&dns, &[])));
    zone
}

/// Names are given below the zone.
fn check(name: &str, kind: Kind, expected: &Answer) {
    let name = if name.is_empty() { "cluster.local".to_owned() } else { format!("{name}.cluster.local") };
    assert_eq!(zone().answer(&name, kind), *expected, "{name} {kind:?}");
}

fn addresses(of: &[&str]) -> Answer {
    Answer::Found(of.iter().map(|a| Data::Address(a.parse().expect("an address"))).collect())
}

fn location(port: u16, target: &str) -> Data {
    Data::Location(port, format!("{target}.svc.cluster.local"))
}

#[test]
fn services_with_a_cluster_address() {
    check("web.default.svc", Kind::A, &addresses(&["10.96.0.20"]));
    check("web.default.svc", Kind::Aaaa, &Answer::NoData);
    check("web.default.svc", Kind::Other, &Answer::NoData);
    check("_http._tcp.web.default.svc", Kind::Srv, &Answer::Found(vec![location(80, "web.default")]));
    check("_dns._udp.web.default.svc", Kind::Srv, &Answer::Found(vec![location(53, "web.default")]));
    check("_http._tcp.web.default.svc", Kind::A, &Answer::NoData);
    check("_http._udp.web.default.svc", Kind::Srv, &Answer::NoName);
    check("_tcp.web.default.svc", Kind::A, &Answer::NoData);
    check("_sctp.web.default.svc", Kind::A, &Answer::NoName);
    check("x.web.default.svc", Kind::A, &Answer::NoName);
    check("absent.default.svc", Kind::A, &Answer::NoName);
}

#[test]
fn headless_services() {
    check("redis.default.svc", Kind::A, &addresses(&["10.244.1.5", "10.244.2.6"]));
    check("redis-0.redis.default.svc", Kind::A, &addresses(&["10.244.1.5"]));
    check("10-244-2-6.redis.default.svc", Kind::A, &addresses(&["10.244.2.6"]));
    check("10-244-2-7.redis.default.svc", Kind::A, &Answer::NoName);
    check(
        "_redis._tcp.redis.default.svc",
        Kind::Srv,
        &Answer::Found(vec![location(6379, "redis-0.redis.default"), location(6379, "10-244-2-6.redis.default")]),
    );
}

#[test]
fn names_between_and_around() {
    check("", Kind::Soa, &Answer::Found(vec![Data::Authority]));
    check("", Kind::Ns, &Answer::Found(vec![Data::NameServer("ns.dns.cluster.local".to_owned())]));
    check("", Kind::A, &Answer::NoData);
    check("ns.dns", Kind::A, &addresses(&["10.96.0.10"]));
    check("dns-version", Kind::Txt, &Answer::Found(vec![Data::Text("1.1.0".to_owned())]));
    check("svc", Kind::A, &Answer::NoData);
    check("default.svc", Kind::A, &Answer::NoData);
    check("absent.svc", Kind::A, &Answer::NoName);
    check("google.com.default.svc", Kind::A, &Answer::NoName);
    check("a.b.c.d.web.default.svc", Kind::A, &Answer::NoName);
    check("nonsense", Kind::A, &Answer::NoName);
    assert_eq!(zone().answer("example.org", Kind::A), Answer::NotOurs);
    assert_eq!(zone().answer("mycluster.local", Kind::A), Answer::NotOurs);
}

#[test]
fn pods_and_aliases() {
    check("10-244-1-5.default.pod", Kind::A, &addresses(&["10.244.1.5"]));
    check("10-244-1-5.default.pod", Kind::Aaaa, &Answer::NoData);
    check("10-244-1-500.default.pod", Kind::A, &Answer::NoName);
    check("10-244-1-05.default.pod", Kind::A, &Answer::NoName);
    check("10-244-1.default.pod", Kind::A, &Answer::NoName);
    check("default.pod", Kind::A, &Answer::NoData);
    check("ext.other.svc", Kind::A, &Answer::Found(vec![Data::Alias("example.org".to_owned())]));
    check("ext.other.svc", Kind::Cname, &Answer::Found(vec![Data::Alias("example.org".to_owned())]));
}

#[test]
fn addresses_have_names_and_a_removed_service_leaves_none() {
    let mut zone = zone();
    let names = |zone: &Zone, ip: &str| zone.names_of(ip.parse().expect("an address"));
    let name = |n: &str| Some(vec![Data::Name(format!("{n}.svc.cluster.local"))]);
    assert_eq!(names(&zone, "10.96.0.20"), name("web.default"));
    assert_eq!(names(&zone, "10.244.1.5"), name("redis-0.redis.default"));
    assert_eq!(names(&zone, "10.244.2.7"), None);
    for (namespace, service) in [("default", "web"), ("default", "redis")] {
        zone.set(&Key::new(namespace, service), None);
    }
    assert_eq!(names(&zone, "10.96.0.20"), None);
    assert_eq!(names(&zone, "10.244.1.5"), None);
    assert_eq!(zone.answer("default.svc.cluster.local", Kind::A), Answer::NoName);
    assert_eq!(zone.len(), 2);
}
