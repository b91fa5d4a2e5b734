//! Services: ports, addresses, what goes with which type, and what an update may not change.

mod addresses;

pub(super) use addresses::special_ip;

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
/// How traffic is kept near its source, by its name and by the one before.
const TOPOLOGY_MODE: &str = "service.kubernetes.io/topology-mode";
const TOPOLOGY_HINTS: &str = "service.kubernetes.io/topology-aware-hints";
/// Whom a load balancer lets through, as it was said before there was a field.
const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";

/// The spec of a service that is created, or of one that replaces `old`, whose addresses may stay as they are.
pub(super) fn service(out: &mut Out, service: &Value, old: Option<&Value>) {
    let known = old.map_or_else(Seen::new, addresses::of);
    let at = At::Root("spec");
    let spec = some(service, "spec").unwrap_or(&UNSET);
    let (kind, headless) = (text(spec, "type"), text(spec, "clusterIP") == "None");
    let annotations = some(service, "metadata").and_then(|m| map(m, "annotations"));
    let annotation = |key: &str| annotations.and_then(|a| a.get(key)).and_then(Value::as_str);
    if let (Some(mode), Some(hints)) = (annotation(TOPOLOGY_MODE), annotation(TOPOLOGY_HINTS))
        && mode != hints
    {
        let detail = format!("must match annotations[{TOPOLOGY_HINTS}] when both are specified");
        out.invalid(At::Root("metadata.annotations").key(TOPOLOGY_MODE), mode, &detail);
    }
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
    addresses::cluster_ips(out, at, spec, &known);
    external_ips(out, at.child("externalIPs"), list(spec, "externalIPs"), &known);
    out.one_of(at.child("type"), kind, TYPES);
    taken_twice(out, at.child("ports"), spec);
    source_ranges(out, at, spec, annotation(SOURCE_RANGES), &known);
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
        let number = number(port, "port").unwrap_or(0);
        if let Some(detail) = formats::port_number(number) {
            out.invalid(at.child("port"), number, &detail);
        }
        out.one_of(at.child("protocol"), text(port, "protocol"), PROTOCOLS);
        pod::port(out, at.child("targetPort"), port.get("targetPort"));
        app_protocol(out, at, port);
    }
}

/// What is spoken on a port, where that is said.
pub(super) fn app_protocol(out: &mut Out, at: At<'_>, port: &Value) {
    if let Some(protocol) = some(port, "appProtocol").and_then(Value::as_str) {
        out.invalid_each(at.child("appProtocol"), protocol, names::qualified_name(protocol));
    }
}

/// Node ports where there are none, and ports that stand twice.
fn taken_twice(out: &mut Out, at: At<'_>, spec: &Value) {
    let ports: Vec<(usize, &str, i64, i64)> = list(spec, "ports")
        .iter()
        .enumerate()
        .map(|(index, port)| {
            let of = |key| number(port, key).unwrap_or(0);
            (index, text(port, "protocol"), of("port"), of("nodePort"))
        })
        .collect();
    let on_nodes = || ports.iter().filter(|(.., node)| *node != 0);
    if text(spec, "type") == "ClusterIP" {
        for (index, ..) in on_nodes() {
            let at = at.index(*index);
            out.forbidden(at.child("nodePort"), "may not be used when `type` is 'ClusterIP'");
        }
    }
    let mut taken = HashSet::new();
    for (index, protocol, _, node) in on_nodes() {
        if !taken.insert((protocol, node)) {
            let at = at.index(*index);
            out.duplicate(at.child("nodePort"), *node);
        }
    }
    let mut taken = HashSet::new();
    for (index, protocol, port, _) in &ports {
        if !taken.insert((protocol, port)) {
            let shown = serde_json::json!({"port": port, "protocol": protocol});
            out.duplicate_of(at.index(*index), "core/v1.ServicePort", &shown);
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

fn external_ips(out: &mut Out, at: At<'_>, ips: &[Value], known: &Seen<'_>) {
    for (index, ip) in ips.iter().enumerate() {
        let ip = ip.as_str().unwrap_or_default();
        let before = out.count();
        formats::strict_ip(out, at.index(index), ip, known);
        if out.count() == before
            && let Some(detail) = special_ip(ip)
        {
            out.invalid(at.index(index), ip, &detail);
        }
    }
}

const ONLY_BALANCED: &str = "may only be used when `type` is 'LoadBalancer'";

/// Whom a load balancer lets through: the field, or the annotation from before. The field's path is written as upstream does.
fn source_ranges(out: &mut Out, at: At<'_>, spec: &Value, annotation: Option<&str>, known: &Seen<'_>) {
    let balanced = text(spec, "type") == "LoadBalancer";
    let annotations = At::Root("metadata.annotations");
    let ranges = list(spec, "loadBalancerSourceRanges");
    let field = !ranges.is_empty();
    if !field && annotation.is_none() {
        return;
    }
    let at = if field { at.child("LoadBalancerSourceRanges") } else { annotations.key(SOURCE_RANGES) };
    if !balanced {
        out.forbidden(at, ONLY_BALANCED);
    }
    for (index, range) in ranges.iter().enumerate() {
        let range = range.as_str().unwrap_or_default().trim();
        formats::strict_cidr(out, at.index(index), range, known);
    }
    let said = annotation.filter(|text| !field && !text.trim().is_empty());
    for range in said.into_iter().flat_map(|text| text.split(',')).map(str::trim) {
        formats::strict_cidr(out, at, range, known);
    }
}

/// Fields that only load balancers have.
fn type_fields(out: &mut Out, at: At<'_>, spec: &Value, kind: &str) {
    let balanced = kind == "LoadBalancer";
    match (balanced, some(spec, "allocateLoadBalancerNodePorts")) {
        (false, Some(_)) => out.forbidden(at.child("allocateLoadBalancerNodePorts"), ONLY_BALANCED),
        // Upstream leaves the spec out of this path.
        (true, None) => out.required(At::Root("allocateLoadBalancerNodePorts"), ""),
        _ => {}
    }
    match some(spec, "loadBalancerClass").and_then(Value::as_str) {
        Some(_) if !balanced => out.forbidden(at.child("loadBalancerClass"), ONLY_BALANCED),
        Some(class) => out.invalid_each(at.child("loadBalancerClass"), class, names::qualified_name(class)),
        None => {}
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
    if !(kind == "LoadBalancer" && policy == "Local") {
        if health != 0 {
            let detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
            out.invalid(at.child("healthCheckNodePort"), health, detail);
        }
    } else if let Some(detail) = formats::port_number(health).filter(|_| health != 0) {
        out.invalid(at.child("healthCheckNodePort"), health, &detail);
    }
    match some(spec, "internalTrafficPolicy").and_then(Value::as_str) {
        None if matches!(kind, "ClusterIP" | "NodePort" | "LoadBalancer") => {
            out.required(at.child("internalTrafficPolicy"), "");
        }
        Some(policy) if !policies.contains(&policy) => {
            out.not_supported(at.child("internalTrafficPolicy"), policy, &policies);
        }
        _ => {}
    }
    let known = ["PreferClose", "PreferSameZone", "PreferSameNode"];
    let distribution = some(spec, "trafficDistribution").and_then(Value::as_str);
    if let Some(distribution) = distribution.filter(|d| !known.contains(d)) {
        out.not_supported(at.child("trafficDistribution"), distribution, &known);
    }
}

/// An update of a service: its addresses and families stay.
pub(super) fn update(out: &mut Out, new: &Value, old: &Value) {
    let at = At::Root("spec");
    let (spec, before) = (some(new, "spec").unwrap_or(&UNSET), some(old, "spec").unwrap_or(&UNSET));
    let addressed = |s| matches!(text(s, "type"), "ClusterIP" | "NodePort" | "LoadBalancer");
    if addressed(spec) && addressed(before) {
        kept_ips(out, at.child("clusterIPs"), list(spec, "clusterIPs"), list(before, "clusterIPs"));
        kept_families(out, at.child("ipFamilies").index(0), spec, before);
    }
    let balanced = |s| text(s, "type") == "LoadBalancer";
    if balanced(spec) && balanced(before) && !same(spec.get("loadBalancerClass"), before.get("loadBalancerClass")) {
        let class = spec.get("loadBalancerClass").cloned().unwrap_or_default();
        out.invalid(at.child("loadBalancerClass"), class, "may not change once set");
    }
    let checked = |s| balanced(s) && text(s, "externalTrafficPolicy") == "Local";
    let health = |s| number(s, "healthCheckNodePort").unwrap_or(0);
    if checked(spec) && checked(before) && health(spec) != health(before) {
        out.forbidden(at.child("healthCheckNodePort"), "field is immutable");
    }
    service(out, new, Some(old));
}

/// The first address of a service stays, and so does the second unless it comes or goes.
fn kept_ips(out: &mut Out, at: At<'_>, new: &[Value], old: &[Value]) {
    if new.is_empty() && !old.is_empty() {
        out.invalid(at.index(0), new.to_vec(), "primary clusterIP can not be unset");
    }
    let all = if new.len() == old.len() { new.len() } else { 1 };
    for (index, _) in new.iter().zip(old).enumerate().take(all).filter(|(_, (now, then))| now != then) {
        out.invalid(at.index(index), new.to_vec(), "may not change once set");
    }
}

/// The same of families, but that those without addresses may have others. Whichever it is, upstream names the first; where one
/// comes or goes it shows the addresses.
fn kept_families(out: &mut Out, at: At<'_>, spec: &Value, before: &Value) {
    let headless = |spec| matches!(list(spec, "clusterIPs"), [only] if *only == "None");
    if headless(spec) || headless(before) {
        return;
    }
    let (new, old) = (list(spec, "ipFamilies"), list(before, "ipFamilies"));
    let (shown, all) = if new.len() == old.len() { (new, new.len()) } else { (list(spec, "clusterIPs"), 1) };
    for _ in new.iter().zip(old).take(all).filter(|(now, then)| now != then) {
        out.invalid(at, shown.to_vec(), "may not change once set");
    }
}

/// An update of a service's status.
pub(super) fn status_update(out: &mut Out, new: &Value, old: &Value) {
    let spec = some(new, "spec").unwrap_or(&UNSET);
    let published_at = At::Root("status.loadBalancer.ingress");
    let any = some(new, "status").and_then(|s| some(s, "loadBalancer")).is_some_and(|b| !list(b, "ingress").is_empty());
    if any && text(spec, "type") != "LoadBalancer" {
        out.forbidden(published_at, "may only be used when `spec.type` is 'LoadBalancer'");
        return;
    }
    published(out, new, old, |out, at, ingress| {
        let (ip, at) = (!text(ingress, "ip").is_empty(), at.child("ipMode"));
        match some(ingress, "ipMode").and_then(Value::as_str) {
            None if ip => out.required(at, "must be specified when `ip` is set"),
            Some(_) if !ip => out.forbidden(at, "may not be specified when `ip` is not set"),
            Some(mode) if !["Proxy", "VIP"].contains(&mode) => out.not_supported(at, mode, &["Proxy", "VIP"]),
            _ => {}
        }
    });
}

/// Where a load balancer is reached; `more` looks at what only some kinds have.
pub(super) fn published(out: &mut Out, new: &Value, old: &Value, more: impl Fn(&mut Out, At<'_>, &Value)) {
    fn of(object: &Value) -> &[Value] {
        let balancer = some(object, "status").and_then(|s| some(s, "loadBalancer"));
        balancer.map_or(&[], |b| list(b, "ingress"))
    }
    let known: Seen<'_> = of(old).iter().map(|ingress| text(ingress, "ip")).collect();
    let at = At::Root("status.loadBalancer.ingress");
    for (index, ingress) in of(new).iter().enumerate() {
        let at = at.index(index);
        let (ip, host) = (text(ingress, "ip"), text(ingress, "hostname"));
        if !ip.is_empty() {
            formats::strict_ip(out, at.child("ip"), ip, &known);
        }
        more(out, at, ingress);
        if !host.is_empty() {
            out.invalid_each(at.child("hostname"), host, names::dns_subdomain(host));
            if formats::ip(host).is_none() {
                out.invalid(at.child("hostname"), host, "must be a DNS name, not an IP address");
            }
        }
    }
}
