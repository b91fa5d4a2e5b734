//! Golden cells of services, and what an update inherits or drops.

use gantry_api::Value;
use serde_json::json;

use crate::registry::strategy;
use crate::registry::tests::{check, ctx, kind};

fn service(spec: Value) -> Value {
    json!({"metadata": {"name": "s", "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": spec})
}

#[test]
fn golden_rows() {
    let ports = json!([{"port": 80, "protocol": "TCP"}, {"port": 53, "protocol": "UDP", "nodePort": 30053}]);
    check(
        "",
        "Service",
        &service(
            json!({"type": "ClusterIP", "clusterIPs": ["10.96.0.1"], "ports": ports, "selector": {"b": "2", "a": "1"}}),
        ),
        &json!(["s", "ClusterIP", "10.96.0.1", "<none>", "80/TCP,53:30053/UDP", "27h", "a=1,b=2"]),
    );
    check(
        "",
        "Service",
        &service(json!({"type": "ClusterIP", "clusterIPs": ["None"]})),
        &json!(["s", "ClusterIP", "None", "<none>", "<none>", "27h", "<none>"]),
    );
    check(
        "",
        "Service",
        &service(json!({"type": "NodePort", "clusterIPs": ["10.96.0.2"], "externalIPs": ["1.1.1.1", "2.2.2.2"]})),
        &json!(["s", "NodePort", "10.96.0.2", "1.1.1.1,2.2.2.2", "<none>", "27h", "<none>"]),
    );
    check(
        "",
        "Service",
        &service(json!({"type": "ExternalName", "externalName": "a.b"})),
        &json!(["s", "ExternalName", "<none>", "a.b", "<none>", "27h", "<none>"]),
    );
    let mut balanced = service(json!({"type": "LoadBalancer", "clusterIPs": ["10.96.0.3"]}));
    check("", "Service", &balanced, &json!(["s", "LoadBalancer", "10.96.0.3", "<pending>", "<none>", "27h", "<none>"]));
    balanced["status"] =
        json!({"loadBalancer": {"ingress": [{"ip": "9.9.9.9"}, {"hostname": "h"}, {"ip": "3.3.3.3"}]}});
    check(
        "",
        "Service",
        &balanced,
        &json!(["s", "LoadBalancer", "10.96.0.3", "3.3.3.3,9.9.9.9,h", "<none>", "27h", "<none>"]),
    );
}

/// Prepares `new` over `old` and looks at the spec.
fn updated(new: Value, old: Value, expected: Value) {
    let kind = kind("", "Service");
    let mut new = service(new);
    strategy(kind).prepare_update(&ctx(kind), &mut new, &service(old));
    assert_eq!(new["spec"], expected);
}

#[test]
fn updates_inherit_what_was_allocated() {
    let families = |mut spec: Value| {
        spec["ipFamilies"] = json!(["IPv4"]);
        spec["ipFamilyPolicy"] = "SingleStack".into();
        spec
    };
    let old = families(json!({"type": "NodePort", "clusterIP": "10.96.0.2", "clusterIPs": ["10.96.0.2"], "ports": [
        {"name": "a", "port": 80, "nodePort": 30001}, {"name": "b", "port": 81, "nodePort": 30002}]}));
    updated(
        json!({"type": "NodePort", "ports": [{"name": "b", "port": 91}, {"name": "c", "port": 92}]}),
        old.clone(),
        families(json!({"type": "NodePort", "clusterIP": "10.96.0.2", "clusterIPs": ["10.96.0.2"], "ports": [
            {"name": "b", "port": 91, "nodePort": 30002}, {"name": "c", "port": 92}]})),
    );
    updated(
        json!({"type": "NodePort", "ports": [{"name": "a", "port": 80}, {"name": "c", "port": 92, "nodePort": 30001}]}),
        old.clone(),
        families(json!({"type": "NodePort", "clusterIP": "10.96.0.2", "clusterIPs": ["10.96.0.2"], "ports": [
            {"name": "a", "port": 80}, {"name": "c", "port": 92, "nodePort": 30001}]})),
    );
    let mut internal = old.clone();
    internal["type"] = "ClusterIP".into();
    let mut expected = internal.clone();
    expected["ports"] = json!([{"name": "a", "port": 80}, {"name": "b", "port": 81}]);
    updated(internal, old.clone(), expected);
    // A port that goes at the same time does not keep the others'.
    let mut fewer = old.clone();
    fewer["type"] = "ClusterIP".into();
    fewer["ports"] = json!([{"name": "b", "port": 81, "nodePort": 30002}]);
    let mut expected = fewer.clone();
    expected["ports"] = json!([{"name": "b", "port": 81}]);
    updated(fewer, old.clone(), expected);
    // One that is asked for does.
    let mut other = old.clone();
    other["type"] = "ClusterIP".into();
    other["ports"][0]["nodePort"] = 30_003.into();
    updated(other.clone(), old.clone(), other);
    // A balancer that wants no more node ports keeps those that it has.
    let mut balancer = old.clone();
    balancer["type"] = "LoadBalancer".into();
    balancer["allocateLoadBalancerNodePorts"] = false.into();
    updated(balancer.clone(), old.clone(), balancer);
    let mut external = old.clone();
    external["type"] = "ExternalName".into();
    external["ports"] = json!([]);
    external["internalTrafficPolicy"] = "Cluster".into();
    updated(external.clone(), old, json!({"type": "ExternalName", "ports": []}));
    // Nor does a new one have a policy for traffic that it never sees.
    let mut made = service(external);
    strategy(kind("", "Service")).prepare_create(&ctx(kind("", "Service")), &mut made);
    assert_eq!(made["spec"].get("internalTrafficPolicy"), None);
}

#[test]
fn only_balancers_have_the_status_of_one() {
    let kind = kind("", "Service");
    let status = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}});
    let with = |kind: &str| {
        let mut object = service(json!({"type": kind, "clusterIP": "10.96.0.2", "clusterIPs": ["10.96.0.2"]}));
        object["status"] = status.clone();
        object
    };
    for (new, expected) in [("LoadBalancer", &status), ("ClusterIP", &json!({"loadBalancer": {}}))] {
        let mut object = with(new);
        strategy(kind).prepare_update(&ctx(kind), &mut object, &with("LoadBalancer"));
        assert_eq!(&object["status"], expected, "{new}");
    }
}
