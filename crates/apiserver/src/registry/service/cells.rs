//! `kubectl get services`: addresses and ports.

use gantry_api::{Value, value};
use jiff::Timestamp;

use crate::registry::columns::{AGE, NAME, age, cells, labels, name, number, of_field, selector_of, text};
use crate::registry::{Column, Row};

pub(super) const COLUMNS: &[Column] = &[
    NAME,
    of_field("Type", "string", "core/v1.ServiceSpec", "type"),
    of_field("Cluster-IP", "string", "core/v1.ServiceSpec", "clusterIP"),
    of_field("External-IP", "string", "core/v1.ServiceSpec", "externalIPs"),
    of_field("Port(s)", "string", "core/v1.ServiceSpec", "ports"),
    AGE,
    selector_of("core/v1.ServiceSpec"),
];

pub(super) fn row(service: &Value, now: Timestamp) -> Row {
    let ip = value::list_at(service, "spec.clusterIPs").first().and_then(Value::as_str).unwrap_or("<none>");
    cells(vec![
        name(service),
        text(service, "spec.type").into(),
        ip.into(),
        external_ip(service).into(),
        ports(service).into(),
        age(service, now),
        labels(service, "spec.selector").into(),
    ])
}

fn external_ip(service: &Value) -> String {
    let own: Vec<&str> = value::list_at(service, "spec.externalIPs").iter().filter_map(Value::as_str).collect();
    match text(service, "spec.type") {
        "ClusterIP" | "NodePort" if own.is_empty() => "<none>".to_owned(),
        "ClusterIP" | "NodePort" => own.join(","),
        "LoadBalancer" => {
            let mut all = ingress(service);
            all.extend(own);
            if all.is_empty() { "<pending>".to_owned() } else { all.join(",") }
        }
        "ExternalName" => text(service, "spec.externalName").to_owned(),
        _ => "<unknown>".to_owned(),
    }
}

/// What a load balancer published, each once, sorted.
fn ingress(service: &Value) -> Vec<&str> {
    let published = value::list_at(service, "status.loadBalancer.ingress").iter();
    let mut found: Vec<&str> = published
        .map(|i| match text(i, "ip") {
            "" => text(i, "hostname"),
            ip => ip,
        })
        .filter(|a| !a.is_empty())
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

fn ports(service: &Value) -> String {
    let one = |port: &Value| match number(port, "nodePort") {
        0 => format!("{}/{}", number(port, "port"), text(port, "protocol")),
        node => format!("{}:{node}/{}", number(port, "port"), text(port, "protocol")),
    };
    let all: Vec<String> = value::list_at(service, "spec.ports").iter().map(one).collect();
    if all.is_empty() { "<none>".to_owned() } else { all.join(",") }
}
