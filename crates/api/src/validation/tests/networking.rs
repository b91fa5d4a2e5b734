//! More of ingresses, addresses and their ranges, and metrics of autoscalers: what is said of which field.

use serde_json::json;

use super::{SUBDOMAIN, check, check_update};
use crate::{Value, value};

#[test]
fn backends_and_classes() {
    let path = |path: Value| json!({"spec": {"rules": [{"host": "a.b", "http": {"paths": [path]}}]}});
    let backend = json!({"service": {"name": "s", "port": {"number": 80}}});
    let at = "spec.rules[0].http.paths[0]";
    for (backend, expected) in [
        (json!({}), "backend: Invalid value: \"\": resource or service backend is required"),
        (json!({"service": {"name": "s"}}), "backend: Required value: port name or number is required"),
        (json!({"service": {"port": {"number": 1}}}), "backend.service.name: Required value"),
        (
            json!({"service": {"name": "s", "port": {"number": 70000}}}),
            "backend.service.port.number: Invalid value: 70000: must be between 1 and 65535, inclusive",
        ),
    ] {
        let expected = format!("{at}.{expected}");
        check("Ingress", path(json!({"path": "/", "pathType": "Prefix", "backend": backend})), &[&expected]);
    }
    // Without a type nothing else is looked at; an empty one is a type.
    check("Ingress", path(json!({})), &[&format!("{at}.pathType: Required value: pathType must be specified")]);
    check(
        "Ingress",
        path(json!({"pathType": "", "backend": backend})),
        &[&format!(
            "{at}.pathType: Unsupported value: \"\": supported values: \"Exact\", \"ImplementationSpecific\", \"Prefix\""
        )],
    );
    // What only new ones must keep comes last.
    let annotated = json!({"name": "x", "namespace": "ns", "annotations": {"kubernetes.io/ingress.class": "a"}});
    check(
        "Ingress",
        json!({"metadata": annotated, "spec": {"ingressClassName": "b"}}),
        &[
            "spec: Invalid value: null: either `defaultBackend` or `rules` must be specified",
            "annotations.kubernetes.io/ingress.class: Invalid value: \"a\": must match `ingressClassName` when both are specified",
        ],
    );
    check(
        "IngressClass",
        json!({"spec": {"controller": "a.b/c", "parameters": {"apiGroup": "", "kind": "K", "name": "n", "scope": ""}}}),
        &[
            &format!("spec.parameters.apiGroup: Invalid value: \"\": {SUBDOMAIN}"),
            "spec.parameters.scope: Unsupported value: \"\": supported values: \"Cluster\", \"Namespace\"",
        ],
    );
}

#[test]
fn addresses_that_lead_nowhere() {
    let address = |ip: &str, expected: &[&str]| {
        let subset = json!({"addresses": [{"ip": ip}], "ports": [{"name": "a", "port": 1}, {"name": "a", "port": 2}]});
        let expected: Vec<String> =
            expected.iter().map(|text| format!("subsets[0].addresses[0].ip: Invalid value: {ip:?}: {text}")).collect();
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        check("Endpoints", json!({"subsets": [subset]}), &expected);
    };
    address("10.0.0.1", &[]);
    address("0.0.0.0", &["may not be unspecified (0.0.0.0)"]);
    address("::", &["may not be unspecified (::)"]);
    address("fe80::1", &["may not be in the link-local range (169.254.0.0/16, fe80::/10)"]);
    address("ff02::1", &["may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"]);
    address("x", &["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)", "must be a valid IP address"]);
}

#[test]
fn ranges() {
    let ranges = |cidrs: Value| json!({"spec": {"cidrs": cidrs}});
    check(
        "ServiceCIDR",
        ranges(json!(["10.0.0.0/16", "10.1.0.0/16"])),
        &[
            "spec.cidrs: Invalid value: [\"10.0.0.0/16\",\"10.1.0.0/16\"]: may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64",
        ],
    );
    check(
        "ServiceCIDR",
        ranges(json!(["2001:DB8::/64"])),
        &["spec.cidrs[0]: Invalid value: \"2001:DB8::/64\": must be in canonical form (\"2001:db8::/64\")"],
    );
    check(
        "ServiceCIDR",
        ranges(json!(["a", "b", "c"])),
        &["spec.cidrs: Invalid value: {\"CIDRs\":[\"a\",\"b\",\"c\"]}: may only hold up to 2 values"],
    );
    // What was taken before is not looked at again.
    check_update("ServiceCIDR", ranges(json!(["10.0.0.1/16"])), ranges(json!(["10.0.0.1/16"])), &[]);
    check_update(
        "ServiceCIDR",
        ranges(json!([])),
        ranges(json!(["10.0.0.0/16"])),
        &["spec.cidrs: Invalid value: []: field is immutable"],
    );
}

#[test]
fn metrics() {
    let base = json!({"spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "d"}}});
    let spec = |path: &str, change: Value, expected: &[&str]| {
        let mut object = base.clone();
        value::set(&mut object, path, change);
        check("HorizontalPodAutoscaler", object, expected);
    };
    let sources = "supported values: \"ContainerResource\", \"External\", \"Object\", \"Pods\", \"Resource\"";
    let unsupported = format!("spec.metrics[0].type: Unsupported value: \"\": {sources}");
    spec(
        "spec.metrics",
        json!([{}]),
        &["spec.metrics[0].type: Required value: must specify a metric source type", &unsupported, &unsupported],
    );
    let pods =
        json!({"metric": {"name": "m", "selector": {"matchLabels": {"a": "-"}}}, "target": {"averageValue": "1"}});
    spec(
        "spec.metrics",
        json!([{"type": "Pods", "pods": pods, "resource": {}}]),
        &[
            "spec.metrics[0].pods.target.type: Required value: must specify a metric target type",
            "spec.metrics[0].pods.target.type: Invalid value: \"\": must be either Utilization, Value, or AverageValue",
            "spec.metrics[0].resource: Forbidden: must populate the given metric source only",
        ],
    );
    spec(
        "spec.metrics",
        json!([{"type": "Object", "object": {"target": {"type": "Value"}, "describedObject": {"kind": "K"}}}]),
        &[
            "spec.metrics[0].object.describedObject.name: Required value",
            "spec.metrics[0].object.metric.name: Required value: must specify a metric name",
            "spec.metrics[0].object.target.averageValue: Required value: must set either a target value or averageValue",
        ],
    );
    spec(
        "spec.behavior",
        json!({"scaleDown": {"tolerance": "-1"}}),
        &["spec.behavior.scaleDown.tolerance: Invalid value: \"-1\": must be greater than or equal to 0"],
    );
}

#[test]
fn names_with_a_domain() {
    let path = "Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')";
    let prefixed = "must be a domain-prefixed path (such as \"acme.io/foo\")";
    for (name, value, detail) in
        [("A.b/c", "A.b", SUBDOMAIN), ("a.b/c d", "c d", path), ("a.b/", "a.b/", prefixed), ("a", "a", prefixed)]
    {
        let expected = format!("spec.controller: Invalid value: {value:?}: {detail}");
        check("IngressClass", json!({"spec": {"controller": name}}), &[&expected]);
    }
    check("IngressClass", json!({"spec": {"controller": ""}}), &["spec.controller: Required value"]);
    // Upstream looks at a budget's metadata as at that of any kind.
    let meta = json!({"name": "Some_Budget", "namespace": "ns", "finalizers": ["mine"]});
    check("PodDisruptionBudget", json!({"metadata": meta}), &[]);
}
