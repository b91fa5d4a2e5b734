//! Services: which allocated values an update inherits or drops, address families, cells.
//!
//! Allocating addresses and ports is the pipeline's work; this is what can be said without looking at other services.

mod cells;
mod families;
mod warnings;

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};

use gantry_api::{Value, value};
use serde_json::json;

pub use self::families::Family;
pub(crate) use self::families::errors as family_errors;
use super::columns::text;
use super::{Column, Ctx, Row, Strategy, metadata_field, written};

/// The strategy of services.
pub(super) struct Service;

impl Strategy for Service {
    /// Another service of that name must not find the old one's.
    fn takes_along(&self) -> Option<(&'static str, &'static str, &'static str)> {
        Some(("", "v1", "endpoints"))
    }

    fn prepare_create(&self, ctx: &Ctx<'_>, service: &mut Value) {
        if !text(service, "spec.clusterIP").is_empty() && value::list_at(service, "spec.clusterIPs").is_empty() {
            let ip = text(service, "spec.clusterIP").to_owned();
            value::set(service, "spec.clusterIPs", json!([ip]));
        }
        families::prepare(service, None, ctx.families);
        drop_of_name(service);
    }

    fn prepare_update(&self, ctx: &Ctx<'_>, new: &mut Value, old: &Value) {
        normalize_cluster_ips(new, old);
        drop_type_dependent(new, old);
        inherit_allocated(new, old);
        families::prepare(new, Some(old), ctx.families);
        drop_of_name(new);
    }

    fn warnings(&self, service: &Value, _old: Option<&Value>) -> Vec<String> {
        warnings::all(service)
    }

    fn status_warnings(&self, service: &Value) -> Vec<String> {
        let ingress = value::list_at(service, "status.loadBalancer.ingress").iter().enumerate();
        let odd = |(i, one)| written::ip(&format!("status.loadBalancer.ingress[{i}]"), text(one, "ip"));
        ingress.filter_map(odd).collect()
    }

    fn create_on_update(&self) -> bool {
        true
    }

    fn field_value<'a>(&self, service: &'a Value, path: &str) -> Option<Cow<'a, str>> {
        match path {
            "spec.clusterIP" | "spec.type" => Some(text(service, path).into()),
            _ => metadata_field(service, path),
        }
    }

    fn columns(&self) -> &'static [Column] {
        cells::COLUMNS
    }

    fn row(&self, service: &Value, now: jiff::Timestamp) -> Row {
        cells::row(service, now)
    }
}

/// Whether this type has cluster IPs (or is headless).
#[must_use]
pub fn needs_cluster_ip(service: &Value) -> bool {
    matches!(text(service, "spec.type"), "ClusterIP" | "NodePort" | "LoadBalancer")
}

/// Whether its ports may have node ports: those of a load balancer that wants none stay, where it had them.
fn may_have_node_ports(service: &Value) -> bool {
    matches!(text(service, "spec.type"), "NodePort" | "LoadBalancer")
}

/// Whether each port is to have a node port.
#[must_use]
pub fn needs_node_ports(service: &Value) -> bool {
    match text(service, "spec.type") {
        "NodePort" => true,
        "LoadBalancer" => value::get(service, "spec.allocateLoadBalancerNodePorts") != Some(&Value::Bool(false)),
        _ => false,
    }
}

/// Whether nodes answer health checks for it on a port of their own.
#[must_use]
pub fn needs_health_check_node_port(service: &Value) -> bool {
    text(service, "spec.type") == "LoadBalancer" && text(service, "spec.externalTrafficPolicy") == "Local"
}

/// Whether it has no cluster IP on purpose.
#[must_use]
pub fn is_headless(service: &Value) -> bool {
    text(service, "spec.clusterIP") == "None"
}

fn is_externally_accessible(service: &Value) -> bool {
    match text(service, "spec.type") {
        "NodePort" | "LoadBalancer" => true,
        "ClusterIP" => !value::list_at(service, "spec.externalIPs").is_empty(),
        _ => false,
    }
}

fn same(new: &Value, old: &Value, path: &str) -> bool {
    value::get(new, path) == value::get(old, path)
}

/// Old clients know only `clusterIP`: what they do to it is done to `clusterIPs`.
fn normalize_cluster_ips(new: &mut Value, old: &Value) {
    let (ip, before) = (text(new, "spec.clusterIP").to_owned(), text(old, "spec.clusterIP"));
    if ip == before || !same(new, old, "spec.clusterIPs") {
        if !ip.is_empty() && before.is_empty() && value::list_at(new, "spec.clusterIPs").is_empty() {
            value::set(new, "spec.clusterIPs", json!([ip]));
        }
        return;
    }
    if ip.is_empty() {
        value::remove(new, "spec.clusterIPs");
    } else {
        value::set(new, "spec.clusterIPs", json!([ip]));
    }
}

/// A mere name has no traffic within the cluster. Upstream takes the policy, as older versions made one up, but never shows it.
fn drop_of_name(service: &mut Value) {
    if text(service, "spec.type") == "ExternalName" {
        value::remove(service, "spec.internalTrafficPolicy");
    }
}

/// When a new type has no use for a value and the client just sent the old one back, it goes.
fn drop_type_dependent(new: &mut Value, old: &Value) {
    if needs_cluster_ip(old) && !needs_cluster_ip(new) {
        if same(new, old, "spec.clusterIPs") {
            value::remove(new, "spec.clusterIP");
            value::remove(new, "spec.clusterIPs");
        }
        remove_same(new, old, &["spec.ipFamilies", "spec.ipFamilyPolicy"]);
    }
    if may_have_node_ports(old) && !may_have_node_ports(new) && node_ports(new).is_subset(&node_ports(old)) {
        for port in ports_mut(new) {
            if let Some(port) = port.as_object_mut() {
                port.remove("nodePort");
            }
        }
    }
    if needs_health_check_node_port(old) && !needs_health_check_node_port(new) {
        remove_same(new, old, &["spec.healthCheckNodePort"]);
    }
    let balanced = |s: &Value| text(s, "spec.type") == "LoadBalancer";
    if balanced(old) && !balanced(new) {
        remove_same(new, old, &["spec.allocateLoadBalancerNodePorts", "spec.loadBalancerClass"]);
    }
    if is_externally_accessible(old) && !is_externally_accessible(new) {
        remove_same(new, old, &["spec.externalTrafficPolicy"]);
    }
    if !balanced(new) && value::get(new, "status.loadBalancer").is_some() {
        value::set(new, "status.loadBalancer", json!({}));
    }
}

fn remove_same(new: &mut Value, old: &Value, paths: &[&str]) {
    for path in paths {
        if same(new, old, path) {
            value::remove(new, path);
        }
    }
}

/// The node ports that it has.
fn node_ports(service: &Value) -> BTreeSet<i64> {
    let ports = value::list_at(service, "spec.ports").iter();
    ports.filter_map(|port| value::i64_at(port, "nodePort")).filter(|number| *number != 0).collect()
}

fn ports_mut(service: &mut Value) -> impl Iterator<Item = &mut Value> {
    value::get_mut(service, "spec.ports").and_then(Value::as_array_mut).into_iter().flatten()
}

/// A client that does not send allocated values keeps them; node ports are matched by port name.
fn inherit_allocated(new: &mut Value, old: &Value) {
    if needs_cluster_ip(old) && needs_cluster_ip(new) {
        if text(new, "spec.clusterIP").is_empty() {
            copy(new, old, "spec.clusterIP");
        }
        if value::list_at(new, "spec.clusterIPs").is_empty() && same(new, old, "spec.clusterIP") {
            copy(new, old, "spec.clusterIPs");
        }
    }
    if may_have_node_ports(old) && may_have_node_ports(new) {
        let kept = node_ports(new);
        // Of several with one name the last one.
        let by_name: HashMap<&str, &Value> =
            value::list_at(old, "spec.ports").iter().map(|port| (text(port, "name"), port)).collect();
        for port in ports_mut(new).filter(|p| value::i64_at(p, "nodePort").unwrap_or(0) == 0) {
            let before = by_name.get(text(port, "name")).copied();
            if let Some(number) = before.and_then(|p| value::i64_at(p, "nodePort")).filter(|n| !kept.contains(n)) {
                value::set(port, "nodePort", number);
            }
        }
    }
    if needs_health_check_node_port(old) && needs_health_check_node_port(new) {
        let number = value::i64_at(old, "spec.healthCheckNodePort").unwrap_or(0);
        if number != 0 && value::i64_at(new, "spec.healthCheckNodePort").unwrap_or(0) == 0 {
            value::set(new, "spec.healthCheckNodePort", number);
        }
    }
}

fn copy(new: &mut Value, old: &Value, path: &str) {
    if let Some(found) = value::get(old, path) {
        value::set(new, path, found.clone());
    }
}

#[cfg(test)]
mod tests;
