//! Network policies.

use super::super::at::{At, Out};
use super::super::read::{Seen, list, number, some, text};
use super::super::{formats, selector};
use super::UNSET;
use crate::Value;
use crate::names;

/// A network policy; ranges that `old` has may stay as they are.
pub(in super::super) fn network_policy(out: &mut Out, object: &Value, old: Option<&Value>) {
    let (at, spec) = (At::Root("spec"), some(object, "spec").unwrap_or(&UNSET));
    let known = old.map_or_else(Seen::new, ranges);
    if let Some(pods) = some(spec, "podSelector") {
        selector::label_selector(out, at.child("podSelector"), pods);
    }
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        let at = at.child(direction);
        for (index, rule) in list(spec, direction).iter().enumerate() {
            let at = at.index(index);
            let ports_at = at.child("ports");
            for (index, found) in list(rule, "ports").iter().enumerate() {
                port(out, ports_at.index(index), found);
            }
            let peers_at = at.child(peers);
            for (index, found) in list(rule, peers).iter().enumerate() {
                peer(out, peers_at.index(index), found, &known);
            }
        }
    }
    let types = list(spec, "policyTypes");
    let types_at = at.child("policyTypes");
    if types.len() > 2 {
        out.invalid(types_at, types.to_vec(), "may not specify more than two policyTypes");
        return;
    }
    for (index, kind) in types.iter().enumerate() {
        let kind = kind.as_str().unwrap_or_default();
        if !["Egress", "Ingress"].contains(&kind) {
            out.not_listed(types_at.index(index), kind, &["Ingress", "Egress"]);
        }
    }
}

fn port(out: &mut Out, at: At<'_>, port: &Value) {
    let protocols = ["TCP", "UDP", "SCTP"];
    if let Some(protocol) = some(port, "protocol").and_then(Value::as_str).filter(|p| !protocols.contains(p)) {
        out.not_listed(at.child("protocol"), protocol, &protocols);
    }
    let end = number(port, "endPort");
    match some(port, "port") {
        None => {
            if let Some(end) = end {
                out.invalid(at.child("endPort"), end, "may not be specified when `port` is not specified");
            }
        }
        Some(Value::String(name)) => {
            if let Some(end) = end {
                out.invalid(at.child("endPort"), end, "may not be specified when `port` is non-numeric");
            }
            out.invalid_each(at.child("port"), name, names::port_name(name));
        }
        Some(first) => {
            let first = first.as_i64().unwrap_or(0);
            if let Some(detail) = formats::port_number(first) {
                out.invalid(at.child("port"), first, &detail);
            }
            let Some(end) = end else { return };
            if end < first {
                out.invalid(at.child("endPort"), end, "must be greater than or equal to `port`");
            }
            if let Some(detail) = formats::port_number(end) {
                out.invalid(at.child("endPort"), end, &detail);
            }
        }
    }
}

/// All ranges that a policy names.
fn ranges(policy: &Value) -> Seen<'_> {
    let spec = some(policy, "spec").unwrap_or(&UNSET);
    let peers = [("ingress", "from"), ("egress", "to")]
        .into_iter()
        .flat_map(|(direction, peers)| list(spec, direction).iter().flat_map(move |rule| list(rule, peers)));
    let blocks = peers.filter_map(|peer| some(peer, "ipBlock"));
    let each = |block| list(block, "except").iter().filter_map(Value::as_str).chain([text(block, "cidr")]);
    blocks.flat_map(each).collect()
}

fn peer(out: &mut Out, at: At<'_>, peer: &Value, known: &Seen<'_>) {
    let mut count = 0;
    for key in ["podSelector", "namespaceSelector"] {
        if let Some(found) = some(peer, key) {
            count += 1;
            selector::label_selector(out, at.child(key), found);
        }
    }
    if let Some(block) = some(peer, "ipBlock") {
        count += 1;
        ip_block(out, at.child("ipBlock"), block, known);
        if count > 1 {
            out.forbidden(at, "may not specify both ipBlock and another peer");
        }
    }
    if count == 0 {
        out.required(at, "must specify a peer");
    }
}

fn ip_block(out: &mut Out, at: At<'_>, block: &Value, known: &Seen<'_>) {
    let cidr = text(block, "cidr");
    if cidr.is_empty() {
        out.required(at.child("cidr"), "");
        return;
    }
    formats::strict_cidr(out, at.child("cidr"), cidr, known);
    if formats::cidr(cidr).is_some() {
        return;
    }
    let except_at = at.child("except");
    for (index, except) in list(block, "except").iter().enumerate() {
        let except = except.as_str().unwrap_or_default();
        let at = except_at.index(index);
        formats::strict_cidr(out, at, except, known);
        if formats::cidr(except).is_none() && !formats::strictly_within(except, cidr) {
            out.invalid(at, except, "must be a strict subset of `cidr`");
        }
    }
}
