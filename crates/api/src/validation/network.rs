//! Ingresses and their classes, network policies, endpoints, addresses and ranges of them.

mod ingress;
mod policy;

use std::net::IpAddr;

pub(super) use ingress::{class as ingress_class, class_update as ingress_class_update};
pub(super) use ingress::{create as ingress_create, ingress, status as ingress_status};
pub(super) use policy::network_policy;

use super::at::{At, Out};
use super::read::{Seen, list, number, some, text};
use super::{formats, service};
use crate::Value;
use crate::names;

const UNSET: Value = Value::Null;

/// Endpoints of a Service, the old way; addresses that `old` has may stay as they are.
pub(super) fn endpoints(out: &mut Out, object: &Value, old: Option<&Value>) {
    let at = At::Root("subsets");
    let known: Seen<'_> = old
        .into_iter()
        .flat_map(|old| list(old, "subsets"))
        .flat_map(|subset| list(subset, "addresses").iter().chain(list(subset, "notReadyAddresses")))
        .map(|address| text(address, "ip"))
        .collect();
    for (index, subset) in list(object, "subsets").iter().enumerate() {
        let at = at.index(index);
        let (ready, others) = (list(subset, "addresses"), list(subset, "notReadyAddresses"));
        if ready.is_empty() && others.is_empty() {
            out.required(at, "must specify `addresses` or `notReadyAddresses`");
        }
        for (key, addresses) in [("addresses", ready), ("notReadyAddresses", others)] {
            let at = at.child(key);
            for (index, address) in addresses.iter().enumerate() {
                endpoint_address(out, at.index(index), address, &known);
            }
        }
        let ports_at = at.child("ports");
        let ports = list(subset, "ports");
        for (index, port) in ports.iter().enumerate() {
            endpoint_port(out, ports_at.index(index), port, ports.len() > 1);
        }
    }
}

fn endpoint_port(out: &mut Out, at: At<'_>, port: &Value, named: bool) {
    let name = text(port, "name");
    if name.is_empty() && named {
        out.required(at.child("name"), "");
    } else if !name.is_empty() {
        out.invalid_each(at.child("name"), name, names::dns_label(name));
    }
    let number = number(port, "port").unwrap_or(0);
    if let Some(detail) = formats::port_number(number) {
        out.invalid(at.child("port"), number, &detail);
    }
    out.one_of(at.child("protocol"), text(port, "protocol"), &["TCP", "UDP", "SCTP"]);
    service::app_protocol(out, at, port);
}

fn endpoint_address(out: &mut Out, at: At<'_>, address: &Value, known: &Seen<'_>) {
    let (ip, host) = (text(address, "ip"), text(address, "hostname"));
    formats::strict_ip(out, at.child("ip"), ip, known);
    if !host.is_empty() {
        out.invalid_each(at.child("hostname"), host, names::dns_label(host));
    }
    if let Some(node) = some(address, "nodeName").and_then(Value::as_str) {
        out.invalid_each(at.child("nodeName"), node, names::dns_subdomain(node));
    }
    // Upstream looks twice, and has something to say each time.
    if formats::ip(ip).is_some() {
        out.invalid(at.child("ip"), ip, "must be a valid IP address");
    } else if let Some(detail) = service::special_ip(ip) {
        out.invalid(at.child("ip"), ip, &detail);
    }
}

/// An allocated address; its name is the address.
pub(super) fn ip_address(out: &mut Out, object: &Value) {
    let name = some(object, "metadata").map_or("", |m| text(m, "name"));
    let at = At::Root("metadata.name");
    match (formats::ip(name), name.parse::<IpAddr>()) {
        (Some(detail), _) => out.invalid(at, name, &detail),
        (None, Ok(IpAddr::V6(ip))) if ip.to_ipv4_mapped().is_some() => {
            out.invalid(at, name, "must not be an IPv4-mapped IPv6 address");
        }
        (None, Ok(ip)) if ip.to_string() != name => {
            out.invalid(at, name, &format!("must be in canonical form ({:?})", ip.to_string()));
        }
        _ => {}
    }
    let at = At::Root("spec.parentRef");
    let Some(parent) = some(object, "spec").and_then(|s| some(s, "parentRef")) else {
        out.required(at, "");
        return;
    };
    let group = text(parent, "group");
    if !group.is_empty() {
        out.invalid_each(at.child("group"), group, names::dns_subdomain(group));
    }
    for key in ["resource", "name"] {
        match text(parent, key) {
            "" => out.required(at.child(key), ""),
            found => out.invalid_each(at.child(key), found, names::path_segment(found)),
        }
    }
    let namespace = text(parent, "namespace");
    if !namespace.is_empty() {
        out.invalid_each(at.child("namespace"), namespace, names::path_segment(namespace));
    }
}

/// An address belongs to whom it was given.
pub(super) fn ip_address_update(out: &mut Out, new: &Value, old: &Value) {
    let parent = |object| some(object, "spec").and_then(|s| s.get("parentRef"));
    out.immutable(At::Root("spec.parentRef"), "*networking/v1.ParentReference", parent(new), parent(old));
}

fn cidrs(object: &Value) -> Vec<&str> {
    list(some(object, "spec").unwrap_or(&UNSET), "cidrs").iter().filter_map(Value::as_str).collect()
}

/// A range of addresses for Services.
pub(super) fn service_cidr(out: &mut Out, object: &Value) {
    let (at, ranges) = (At::Root("spec.cidrs"), cidrs(object));
    if ranges.is_empty() {
        out.required(at, "at least one CIDR required");
    }
    if ranges.len() > 2 {
        out.invalid_of(at, "networking/v1.ServiceCIDRSpec", some(object, "spec"), "may only hold up to 2 values");
        return;
    }
    for (index, range) in ranges.iter().enumerate() {
        let at = at.index(index);
        if let Some(detail) = formats::cidr(range) {
            out.invalid(at, *range, &detail);
        } else if formats::has_host_bits(range) {
            out.invalid(at, *range, "must not have bits set beyond the prefix length");
        } else if let Some(network) = formats::masked(range).filter(|network| network != range) {
            out.invalid(at, *range, &format!("must be in canonical form ({network:?})"));
        }
    }
    if let [a, b] = ranges.as_slice()
        && let (Some(a), Some(b)) = (formats::masked(a), formats::masked(b))
        && a.contains(':') == b.contains(':')
    {
        let detail = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
        out.invalid(at, Value::from(ranges), detail);
    }
}

/// A range may get one of the other family, and else stays.
pub(super) fn service_cidr_update(out: &mut Out, new: &Value, old: &Value) {
    let (at, now, before) = (At::Root("spec.cidrs"), cidrs(new), cidrs(old));
    let grown = matches!((now.len(), before.len()), (2, 1));
    if now.len() != before.len() && !grown {
        out.invalid(at, Value::from(now), "field is immutable");
        return;
    }
    for (index, (range, _)) in now.iter().zip(&before).enumerate().filter(|(_, (a, b))| a != b) {
        out.invalid(at.index(index), *range, "field is immutable");
    }
    // What was taken once is not looked at again.
    if grown {
        service_cidr(out, new);
    }
}
