//! Services: ports, addresses, what goes with which type, and what an update may not change.

use std::collections::HashSet;

use super::at::{At, Out, empty, same};
use super::read::{Seen, list, map, number, repeats, some, text};
use super::{formats, meta, pod};
use crate::Value;
use crate::names;

const TYPES: &[&str] = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const PROTOCOLS: &[&str] = &["TCP", "UDP", "SCTP"];
/// The longest client affinity: one day, in seconds.
const STICKY_SECONDS: i64 = 86_400;
const UNSET: Value = Value::Null;

/// The spec of a service that is created, or of one that replaces another.
pub(super) fn service(out: &mut Out, service: &Value) {
    let at = At::Root("spec");
    let spec = some(service, "spec").unwrap_or(&UNSET);
    let (kind, headless) = (text(spec, "type"), text(spec, "clusterIP") == "None");
    if list(spec, "ports").is_empty() && !headless && kind != "ExternalName" {
        out.required(at.child("ports"), "");
    }
    match kind {
        "LoadBalancer" | "NodePort" if headless => {
            let detail = format!("may not be set to 'None' for {kind} services");
            out.invalid(at.child("clusterIPs").index(0), "None", &detail);
        }
        "ExternalName" => external_name(out, at, spec),
        _ => {}
    }
    ports(out, at.child("ports"), spec);
    if let Some(selector) = map(spec, "selector") {
        meta::labels(out, at.child("selector"), selector);
    }
    affinity(out, at, spec);
    cluster_ips(out, at, spec);
    external_ips(out, at.child("externalIPs"), list(spec, "externalIPs"));
    out.one_of(at.child("type"), kind, TYPES);
    type_fields(out, at, spec, kind);
    traffic(out, at, spec, kind);
}

fn external_name(out: &mut Out, at: At<'_>, spec: &Value) {
    for key in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        if some(spec, key).is_some_and(|v| !empty(v)) {
            out.forbidden(at.child(key), "may not be set for ExternalName services");
        }
    }
    let name = text(spec, "externalName");
    match name.strip_suffix('.').unwrap_or(name) {
        "" => out.required(at.child("externalName"), ""),
        host => out.invalid_each(at.child("externalName"), host, names::dns_subdomain(host)),
    }
}

fn ports(out: &mut Out, at: At<'_>, spec: &Value) {
    let ports = list(spec, "ports");
    let mut seen = Seen::new();
    let mut taken = HashSet::new();
    let node_ports = text(spec, "type") != "ClusterIP";
    for (index, port) in ports.iter().enumerate() {
        let at = at.index(index);
        let name = text(port, "name");
        if name.is_empty() {
            if ports.len() > 1 {
                out.required(at.child("name"), "");
            }
        } else {
            out.invalid_each(at.child("name"), name, names::dns_label(name));
            if repeats(&mut seen, name) {
                out.duplicate(at.child("name"), name);
            }
        }
        let number_of = |key| number(port, key).unwrap_or(0);
        if let Some(detail) = formats::port_number(number_of("port")) {
            out.invalid(at.child("port"), number_of("port"), &detail);
        }
        out.one_of(at.child("protocol"), text(port, "protocol"), PROTOCOLS);
        pod::port(out, at.child("targetPort"), port.get("targetPort"));
        let protocol = text(port, "appProtocol");
        if !protocol.is_empty() {
            out.invalid_each(at.child("appProtocol"), protocol, names::qualified_name(protocol));
        }
        if !node_ports && number_of("nodePort") != 0 {
            out.forbidden(at.child("nodePort"), "may not be used when `type` is 'ClusterIP'");
        }
        let protocol = text(port, "protocol");
        if !taken.insert((protocol, "port", number_of("port"))) {
            let mut shown = serde_json::Map::new();
            shown.insert("port".to_owned(), number_of("port").into());
            shown.insert("protocol".to_owned(), protocol.into());
            out.duplicate(at, Value::Object(shown));
        }
        if number_of("nodePort") != 0 && !taken.insert((protocol, "nodePort", number_of("nodePort"))) {
            out.duplicate(at.child("nodePort"), number_of("nodePort"));
        }
    }
}

fn affinity(out: &mut Out, at: At<'_>, spec: &Value) {
    let affinity = text(spec, "sessionAffinity");
    out.one_of(at.child("sessionAffinity"), affinity, &["ClientIP", "None"]);
    let config = some(spec, "sessionAffinityConfig");
    let at = at.child("sessionAffinityConfig");
    match (affinity, config) {
        ("ClientIP", None) => out.required(at, "when session affinity type is ClientIP"),
        ("ClientIP", Some(config)) => {
            let client = some(config, "clientIP").unwrap_or(&UNSET);
            match number(client, "timeoutSeconds") {
                None => out.required(at.child("clientIP.timeoutSeconds"), ""),
                Some(seconds) if !(1..=STICKY_SECONDS).contains(&seconds) => {
                    let detail = "must be greater than 0 and less than 86400";
                    out.invalid(at.child("clientIP.timeoutSeconds"), seconds, detail);
                }
                Some(_) => {}
            }
        }
        ("None", Some(_)) => out.forbidden(at, "must not be set when session affinity is None"),
        _ => {}
    }
}

fn cluster_ips(out: &mut Out, at: At<'_>, spec: &Value) {
    let (ip, ips) = (text(spec, "clusterIP"), list(spec, "clusterIPs"));
    let families = list(spec, "ipFamilies");
    for (index, family) in families.iter().enumerate() {
        let list = at.child("ipFamilies");
        let at = list.index(index);
        let family = family.as_str().unwrap_or_default();
        if !["IPv4", "IPv6"].contains(&family) {
            out.not_supported(at, family, &["IPv4", "IPv6"]);
        }
        if families[..index].iter().any(|f| f == family) {
            out.duplicate(at, family);
        }
    }
    let policy = text(spec, "ipFamilyPolicy");
    let policies = ["SingleStack", "PreferDualStack", "RequireDualStack"];
    if !policy.is_empty() && !policies.contains(&policy) {
        out.not_supported(at.child("ipFamilyPolicy"), policy, &policies);
    }
    let at = at.child("clusterIPs");
    if text(spec, "type") == "ExternalName" {
        return;
    }
    match (ip, ips.first()) {
        ("", Some(_)) => out.invalid(at, ips.to_vec(), "must be empty when `clusterIP` is not specified"),
        (ip, Some(first)) if first != ip => out.invalid(at, ips.to_vec(), "first value must match `clusterIP`"),
        _ => {}
    }
    if ips.len() > 2 {
        out.invalid(at, ips.to_vec(), "may only hold up to 2 values");
    }
    if ips.len() > 1 && ips.iter().any(|ip| ip == "None") {
        out.invalid(at, ips.to_vec(), "'None' must be the first and only value");
    }
    for (index, ip) in ips.iter().enumerate() {
        let ip = ip.as_str().unwrap_or_default();
        if ip == "None" || ip.is_empty() {
            continue;
        }
        if let Some(detail) = formats::ip(ip) {
            out.invalid(at.index(index), ip, &detail);
            continue;
        }
        let family = if ip.contains(':') { "IPv6" } else { "IPv4" };
        if let Some(wanted) = families.get(index).and_then(Value::as_str).filter(|f| *f != family) {
            let detail = format!("expected an {wanted} value as indicated by `ipFamilies[{index}]`");
            out.invalid(at.index(index), ip, &detail);
        }
    }
}

/// Addresses that nothing outside a node can use.
pub(super) fn special_ip(ip: &str) -> Option<&'static str> {
    let ip: std::net::IpAddr = ip.parse().ok()?;
    if ip.is_unspecified() {
        Some("may not be unspecified (0.0.0.0 or ::)")
    } else if ip.is_loopback() {
        Some("may not be in the loopback range (127.0.0.0/8, ::1/128)")
    } else if matches!(ip, std::net::IpAddr::V4(v4) if v4.is_link_local()) {
        Some("may not be in the link-local range (169.254.0.0/16, fe80::/10)")
    } else if matches!(ip, std::net::IpAddr::V4(v4) if v4.octets()[..3] == [224, 0, 0]) {
        Some("may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)")
    } else {
        None
    }
}

fn external_ips(out: &mut Out, at: At<'_>, ips: &[Value]) {
    for (index, ip) in ips.iter().enumerate() {
        let ip = ip.as_str().unwrap_or_default();
        if let Some(detail) = formats::ip(ip) {
            out.invalid(at.index(index), ip, &detail);
        } else if let Some(detail) = special_ip(ip) {
            out.invalid(at.index(index), ip, detail);
        }
    }
}

/// Fields that only load balancers have.
fn type_fields(out: &mut Out, at: At<'_>, spec: &Value, kind: &str) {
    let only = "may only be used when `type` is 'LoadBalancer'";
    let balanced = kind == "LoadBalancer";
    for key in ["loadBalancerSourceRanges", "allocateLoadBalancerNodePorts", "loadBalancerClass"] {
        if !balanced && some(spec, key).is_some_and(|v| !empty(v)) {
            out.forbidden(at.child(key), only);
        }
    }
    if balanced && some(spec, "allocateLoadBalancerNodePorts").is_none() {
        out.required(at.child("allocateLoadBalancerNodePorts"), "");
    }
    for (index, range) in list(spec, "loadBalancerSourceRanges").iter().enumerate() {
        let range = range.as_str().unwrap_or_default().trim();
        if let Some(detail) = formats::cidr(range) {
            out.invalid(at.child("loadBalancerSourceRanges").index(index), range, &detail);
        }
    }
    let class = text(spec, "loadBalancerClass");
    if !class.is_empty() {
        out.invalid_each(at.child("loadBalancerClass"), class, names::qualified_name(class));
    }
}

fn traffic(out: &mut Out, at: At<'_>, spec: &Value, kind: &str) {
    let external =
        matches!(kind, "NodePort" | "LoadBalancer") || (kind == "ClusterIP" && !list(spec, "externalIPs").is_empty());
    let policy = text(spec, "externalTrafficPolicy");
    let policies = ["Cluster", "Local"];
    if external {
        out.one_of(at.child("externalTrafficPolicy"), policy, &policies);
    } else if !policy.is_empty() {
        let detail = "may only be set for externally-accessible services";
        out.invalid(at.child("externalTrafficPolicy"), policy, detail);
    }
    let health = number(spec, "healthCheckNodePort").unwrap_or(0);
    if health < 0 {
        out.invalid(at.child("healthCheckNodePort"), health, "must be greater than or equal to 0");
    } else if health > 0 && !(kind == "LoadBalancer" && policy == "Local") {
        let detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
        out.invalid(at.child("healthCheckNodePort"), health, detail);
    }
    let policy = text(spec, "internalTrafficPolicy");
    if matches!(kind, "ClusterIP" | "NodePort" | "LoadBalancer") {
        out.one_of(at.child("internalTrafficPolicy"), policy, &policies);
    }
    let distribution = text(spec, "trafficDistribution");
    let known = ["PreferClose", "PreferSameZone", "PreferSameNode"];
    if !distribution.is_empty() && !known.contains(&distribution) {
        out.not_supported(at.child("trafficDistribution"), distribution, &known);
    }
}

/// An update of a service: its addresses and families stay.
pub(super) fn update(out: &mut Out, new: &Value, old: &Value) {
    let at = At::Root("spec");
    let (spec, before) = (some(new, "spec").unwrap_or(&UNSET), some(old, "spec").unwrap_or(&UNSET));
    let addressed = |s| matches!(text(s, "type"), "ClusterIP" | "NodePort" | "LoadBalancer");
    if addressed(spec) && addressed(before) {
        let (ips, old_ips) = (list(spec, "clusterIPs"), list(before, "clusterIPs"));
        match (ips.first(), old_ips.first()) {
            (None, Some(_)) => {
                out.invalid(at.child("clusterIPs").index(0), ips.to_vec(), "primary clusterIP can not be unset");
            }
            (Some(now), Some(then)) if now != then => {
                out.invalid(at.child("clusterIPs").index(0), ips.to_vec(), "may not change once set");
            }
            _ => {}
        }
        let (families, old_families) = (list(spec, "ipFamilies"), list(before, "ipFamilies"));
        match (families.first(), old_families.first()) {
            (Some(now), Some(then)) if now != then => {
                out.invalid(at.child("ipFamilies").index(0), families.to_vec(), "may not change once set");
            }
            _ => {}
        }
    }
    let balanced = |s| text(s, "type") == "LoadBalancer";
    if balanced(spec) && balanced(before) && !same(spec.get("loadBalancerClass"), before.get("loadBalancerClass")) {
        let class = spec.get("loadBalancerClass").cloned().unwrap_or_default();
        out.invalid(at.child("loadBalancerClass"), class, "may not change once set");
    }
    service(out, new);
}

/// An update of a service's status.
pub(super) fn status_update(out: &mut Out, new: &Value) {
    let Some(balancer) = some(new, "status").and_then(|s| some(s, "loadBalancer")) else { return };
    let at = At::Root("status.loadBalancer.ingress");
    for (index, ingress) in list(balancer, "ingress").iter().enumerate() {
        let at = at.index(index);
        let (ip, host) = (text(ingress, "ip"), text(ingress, "hostname"));
        if !ip.is_empty()
            && let Some(detail) = formats::ip(ip)
        {
            out.invalid(at.child("ip"), ip, &detail);
        }
        if !host.is_empty() {
            out.invalid_each(at.child("hostname"), host, names::dns_subdomain(host));
            if formats::ip(host).is_none() {
                out.invalid(at.child("hostname"), host, "must be a DNS name, not an IP address");
            }
        }
    }
}
