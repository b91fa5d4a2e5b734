//! Services: addresses of both families, who may pass, what a status says; and slices of endpoints.

use serde_json::json;

use super::{check, check_update, kind, object, texts, with_port};
use crate::Value;
use crate::validation::status_update;

#[test]
fn addresses_of_families() {
    let addresses = |ips: Value, families: Value, expected: &[&str]| {
        let spec = json!({"clusterIP": ips[0], "clusterIPs": ips, "ipFamilies": families});
        check("Service", with_port(spec), expected);
    };
    addresses(json!(["10.0.0.1", "2001:db8::1"]), json!(["IPv4", "IPv6"]), &[]);
    addresses(
        json!(["10.0.0.1", "10.0.0.2"]),
        json!(["IPv4"]),
        &[
            "spec.clusterIPs: Invalid value: [\"10.0.0.1\",\"10.0.0.2\"]: may specify no more than one IP for each IP family",
        ],
    );
    addresses(
        json!(["None", "10.0.0.2"]),
        json!([]),
        &["spec.clusterIPs: Invalid value: [\"None\",\"10.0.0.2\"]: 'None' must be the first and only value"],
    );
    // Where one is none, which goes with which is not asked.
    addresses(
        json!(["10.0.0.1", "None"]),
        json!(["IPv6", "IPv4"]),
        &["spec.clusterIPs[1]: Invalid value: \"None\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"],
    );
    addresses(
        json!(["10.0.0.1"]),
        json!(["IPv6"]),
        &["spec.clusterIPs[0]: Invalid value: \"10.0.0.1\": expected an IPv6 value as indicated by `ipFamilies[0]`"],
    );
}

#[test]
fn fields_of_load_balancers() {
    let cidr = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
    let balanced = |key: &str, value: Value, expected: &[&str]| {
        check("Service", with_port(json!({"type": "LoadBalancer", key: value})), expected);
    };
    balanced("loadBalancerSourceRanges", json!([" 10.0.0.0/8 "]), &[]);
    let bad = format!("spec.LoadBalancerSourceRanges[0]: Invalid value: \"a\": {cidr}");
    balanced("loadBalancerSourceRanges", json!(["a"]), &[&bad]);
    balanced(
        "trafficDistribution",
        json!(""),
        &[
            "spec.trafficDistribution: Unsupported value: \"\": supported values: \"PreferClose\", \"PreferSameNode\", \"PreferSameZone\"",
        ],
    );
    let only = "Forbidden: may only be used when `type` is 'LoadBalancer'";
    for (key, value) in [
        ("LoadBalancerSourceRanges", json!(["10.0.0.0/8"])),
        ("allocateLoadBalancerNodePorts", json!(false)),
        ("loadBalancerClass", json!("not a name")),
    ] {
        let field = if key.starts_with('L') { "loadBalancerSourceRanges" } else { key };
        check("Service", with_port(json!({field: value})), &[&format!("spec.{key}: {only}")]);
    }
    let mut annotated = with_port(json!({}));
    annotated["metadata"] = json!({"name": "x", "namespace": "ns", "annotations": {
        "service.beta.kubernetes.io/load-balancer-source-ranges": "10.0.0.0/8, a",
        "service.kubernetes.io/topology-mode": "Auto", "service.kubernetes.io/topology-aware-hints": "auto"}});
    let at = "metadata.annotations[service.beta.kubernetes.io/load-balancer-source-ranges]";
    check(
        "Service",
        annotated,
        &[
            "metadata.annotations[service.kubernetes.io/topology-mode]: Invalid value: \"Auto\": must match annotations[service.kubernetes.io/topology-aware-hints] when both are specified",
            &format!("{at}: {only}"),
            &format!("{at}: Invalid value: \"a\": {cidr}"),
        ],
    );
    let health = |port: i64| {
        with_port(json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local", "healthCheckNodePort": port}))
    };
    check_update("Service", health(30000), health(30000), &[]);
    check_update(
        "Service",
        health(70000),
        health(30000),
        &[
            "spec.healthCheckNodePort: Forbidden: field is immutable",
            "spec.healthCheckNodePort: Invalid value: 70000: must be between 1 and 65535, inclusive",
        ],
    );
}

#[test]
fn other_fields() {
    check(
        "Service",
        with_port(json!({"internalTrafficPolicy": "Some"})),
        &["spec.internalTrafficPolicy: Unsupported value: \"Some\": supported values: \"Cluster\", \"Local\""],
    );
    check(
        "Service",
        json!({"spec": {"type": "ExternalName", "externalName": "a.b", "internalTrafficPolicy": "Some"}}),
        &["spec.internalTrafficPolicy: Unsupported value: \"Some\": supported values: \"Cluster\", \"Local\""],
    );
    let ports = json!([{"name": "a", "port": 1, "nodePort": 30000}, {"name": "b", "port": 1, "nodePort": 30000}]);
    check(
        "Service",
        with_port(json!({"type": "NodePort", "ports": ports})),
        &[
            "spec.ports[1].nodePort: Duplicate value: 30000",
            "spec.ports[1]: Duplicate value: {\"Name\":\"\",\"Protocol\":\"TCP\",\"AppProtocol\":null,\"Port\":1,\"TargetPort\":0,\"NodePort\":0}",
        ],
    );
}

#[test]
fn statuses() {
    let with = |kind_of: &str, ingress: Value, expected: &[&str]| {
        let mut service = object("Service", with_port(json!({"type": kind_of})));
        service["status"] = json!({"loadBalancer": {"ingress": [ingress]}});
        assert_eq!(texts(&status_update(kind("Service"), &service, &service)), expected);
    };
    let at = "status.loadBalancer.ingress[0]";
    with("LoadBalancer", json!({"ip": "1.2.3.4", "ipMode": "Proxy"}), &[]);
    with(
        "LoadBalancer",
        json!({"ip": "1.2.3.4"}),
        &[&format!("{at}.ipMode: Required value: must be specified when `ip` is set")],
    );
    with(
        "LoadBalancer",
        json!({"hostname": "a.b", "ipMode": "VIP"}),
        &[&format!("{at}.ipMode: Forbidden: may not be specified when `ip` is not set")],
    );
    with(
        "LoadBalancer",
        json!({"ip": "1.2.3.4", "ipMode": "X"}),
        &[&format!("{at}.ipMode: Unsupported value: \"X\": supported values: \"Proxy\", \"VIP\"")],
    );
    with(
        "NodePort",
        json!({"ip": "1.2.3.4", "ipMode": "VIP"}),
        &["status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is 'LoadBalancer'"],
    );
}

#[test]
fn hints_of_slices() {
    let with = |endpoint: Value, expected: &[&str]| {
        check("EndpointSlice", json!({"addressType": "IPv4", "endpoints": [endpoint]}), expected);
    };
    let zones =
        |count: usize| json!({"addresses": ["10.0.0.1"], "hints": {"forZones": vec![json!({"name": "z"}); count]}});
    with(zones(1), &[]);
    with(zones(2), &["endpoints[0].hints.forZones[1].name: Duplicate value: \"z\""]);
    with(zones(9), &["endpoints[0].hints.forZones: Too many: 9: must have at most 8 items"]);
    with(json!({"addresses": ["10.0.0.1"], "hostname": "a"}), &[]);
    let ports = json!({"addressType": "IPv4", "ports": [{"port": 1, "appProtocol": "a/b"}]});
    check("EndpointSlice", ports, &[]);
}

#[test]
fn odd_addresses_stay_where_they_were() {
    let (zeros, mapped) = ("must not have leading 0s", "must not be an IPv4-mapped IPv6 address");
    for (ip, detail) in [("010.0.0.1", zeros), ("::ffff:10.0.0.1", mapped)] {
        let service = || with_port(json!({"externalIPs": [ip]}));
        check("Service", service(), &[&format!("spec.externalIPs[0]: Invalid value: {ip:?}: {detail}")]);
        check_update("Service", service(), service(), &[]);
    }
    for (cidr, detail) in [
        ("10.0.0.1/8", "must not have bits set beyond the prefix length"),
        ("10.0.0.0/08", "must not have leading 0s in IP or prefix length"),
        ("::ffff:10.0.0.0/104", "must not have an IPv4-mapped IPv6 address"),
        ("10.0.0.0/33", "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"),
    ] {
        let policy = || json!({"spec": {"ingress": [{"from": [{"ipBlock": {"cidr": cidr}}]}]}});
        let at = "spec.ingress[0].from[0].ipBlock.cidr";
        check("NetworkPolicy", policy(), &[&format!("{at}: Invalid value: {cidr:?}: {detail}")]);
        check_update("NetworkPolicy", policy(), policy(), &[]);
    }
    let endpoints = || json!({"subsets": [{"notReadyAddresses": [{"ip": "::ffff:10.0.0.1"}]}]});
    check(
        "Endpoints",
        endpoints(),
        &[&format!("subsets[0].notReadyAddresses[0].ip: Invalid value: \"::ffff:10.0.0.1\": {mapped}")],
    );
    check_update("Endpoints", endpoints(), endpoints(), &[]);
}
