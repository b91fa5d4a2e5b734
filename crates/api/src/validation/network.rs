//! Ingresses and their classes, network policies, endpoints, addresses and ranges of them.

mod ingress;
mod policy;

use std::net::IpAddr;

pub(super) use ingress::{class as ingress_class, class_update as ingress_class_update};
pub(super) use ingress::{create as ingress_create, ingress, status as ingress_status};
pub(super) use policy::network_policy;

use super::at::{At, Out, same};
use super::read::{Seen, list, number, repeats, some, text};
use super::{formats, service};
use crate::Value;
use crate::names;

const UNSET: Value = Value::Null;

/// Endpoints of a Service, the old way.
pub(super) fn endpoints(out: &mut Out, object: &Value) {
    let at = At::Root("subsets");
    for (index, subset) in list(object, "subsets").iter().enumerate() {
        let at = at.index(index);
        let (ready, others) = (list(subset, "addresses"), list(subset, "notReadyAddresses"));
        if ready.is_empty() && others.is_empty() {
            out.required(at, "must specify `addresses` or `notReadyAddresses`");
        }
        for (key, addresses) in [("addresses", ready), ("notReadyAddresses", others)] {
            let at = at.child(key);
            for (index, address) in addresses.iter().enumerate() {
                endpoint_address(out, at.index(index), address);
            }
        }
        let ports_at = at.child("ports");
        let ports = list(subset, "ports");
        let mut seen = Seen::new();
        for (index, port) in ports.iter().enumerate() {
            let at = ports_at.index(index);
            let name = text(port, "name");
            if name.is_empty() && ports.len() > 1 {
                out.required(at.child("name"), "");
            } else if !name.is_empty() {
                out.invalid_each(at.child("name"), name, names::dns_label(name));
                if repeats(&mut seen, name) {
                    out.duplicate(at.child("name"), name);
                }
            }
            let number = number(port, "port").unwrap_or(0);
            if let Some(detail) = formats::port_number(number) {
                out.invalid(at.child("port"), number, &detail);
            }
            out.one_of(at.child("protocol"), text(port, "protocol"), &["TCP", "UDP", "SCTP"]);
            let protocol = text(port, "appProtocol");
            if !protocol.is_empty() {
                out.invalid_each(at.child("appProtocol"), protocol, names::qualified_name(protocol));
            }
        }
    }
}

fn endpoint_address(out: &mut Out, at: At<'_>, address: &Value) {
    let (ip, host, node) = (text(address, "ip"), text(address, "hostname"), text(address, "nodeName"));
    if let Some(detail) = formats::ip(ip) {
        out.invalid(at.child("ip"), ip, &detail);
    } else if let Some(detail) = service::special_ip(ip) {
        out.invalid(at.child("ip"), ip, detail);
    }
    if !host.is_empty() {
        out.invalid_each(at.child("hostname"), host, names::dns_label(host));
    }
    if !node.is_empty() {
        out.invalid_each(at.child("nodeName"), node, names::dns_subdomain(node));
    }
}

/// An allocated address; its name is the address.
pub(super) fn ip_address(out: &mut Out, object: &Value) {
    let name = some(object, "metadata").map_or("", |m| text(m, "name"));
    let at = At::Root("metadata.name");
    match name.parse::<IpAddr>() {
        Err(_) => out.invalid(at, name, &format!("ParseAddr({name:?}): unable to parse IP")),
        Ok(ip) if ip.to_string() != name => out.invalid(at, name, "must be a canonical format IP address"),
        Ok(_) => {}
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
    out.invalid_each(at.child("namespace"), namespace, names::path_segment(namespace));
}

/// An address belongs to whom it was given.
pub(super) fn ip_address_update(out: &mut Out, new: &Value, old: &Value) {
    let parent = |object| some(object, "spec").and_then(|s| s.get("parentRef"));
    out.immutable(At::Root("spec.parentRef"), parent(new), parent(old));
}

fn cidrs(object: &Value) -> Vec<&str> {
    list(some(object, "spec").unwrap_or(&UNSET), "cidrs").iter().filter_map(Value::as_str).collect()
}

/// A range of addresses for Services.
pub(super) fn service_cidr(out: &mut Out, object: &Value) {
    let (at, ranges) = (At::Root("spec.cidrs"), cidrs(object));
    let shown = || some(object, "spec").and_then(|s| s.get("cidrs")).cloned().unwrap_or_default();
    if ranges.is_empty() {
        out.required(at, "at least one CIDR required");
    }
    if ranges.len() > 2 {
        out.invalid(at, shown(), "may only hold up to 2 values");
    } else if let [a, b] = ranges.as_slice()
        && a.contains(':') == b.contains(':')
    {
        let detail = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/96";
        out.invalid(at, shown(), detail);
    }
    for (index, range) in ranges.iter().enumerate() {
        let at = at.index(index);
        if let Some(detail) = formats::cidr(range) {
            out.invalid(at, *range, &detail);
        } else if let Some(network) = formats::masked(range).filter(|network| network != range) {
            out.invalid(
                at,
                *range,
                &format!("must not have bits set beyond the prefix length (i.e. must be {network:?})"),
            );
        }
    }
}

/// A range may get one of the other family, and else stays.
pub(super) fn service_cidr_update(out: &mut Out, new: &Value, old: &Value) {
    let (now, before) = (cidrs(new), cidrs(old));
    let grown = matches!((now.as_slice(), before.as_slice()), ([a, _], [b]) if a == b);
    if !grown && !same(Some(&Value::from(now.clone())), Some(&Value::from(before))) {
        out.invalid(At::Root("spec.cidrs"), Value::from(now), "field is immutable");
    }
}
