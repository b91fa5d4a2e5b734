//! Kinds with few rules: endpoint slices, leases, events, priority classes.

use std::collections::HashSet;

use super::at::{At, Out};
use super::read::{Seen, list, number, repeats, some, text, truth};
use super::{formats, service};
use crate::Value;
use crate::names;

const UNSET: Value = Value::Null;
/// The most endpoints of a slice.
const ENDPOINTS: usize = 1000;
/// The most addresses of an endpoint.
const ADDRESSES: usize = 100;
/// The most zones that an endpoint is hinted to.
const ZONES: usize = 8;
/// The most ports of a slice.
const PORTS: usize = 20_000;
/// The longest message of an event that has a time of its own.
const NOTE_BYTES: usize = 1024;
/// The highest priority that users may define.
const PRIORITY: i64 = 1_000_000_000;

/// An endpoint slice.
pub(super) fn endpoint_slice(out: &mut Out, slice: &Value) {
    let kind = text(slice, "addressType");
    out.one_of(At::Root("addressType"), kind, &["FQDN", "IPv4", "IPv6"]);
    let at = At::Root("endpoints");
    let endpoints = list(slice, "endpoints");
    if endpoints.len() > ENDPOINTS {
        out.too_many(at, endpoints.len(), ENDPOINTS);
        return;
    }
    for (index, found) in endpoints.iter().enumerate() {
        endpoint(out, at.index(index), found, kind);
    }
    let at = At::Root("ports");
    let ports = list(slice, "ports");
    if ports.len() > PORTS {
        out.too_many(at, ports.len(), PORTS);
        return;
    }
    let mut seen = Seen::new();
    for (index, port) in ports.iter().enumerate() {
        let at = at.index(index);
        let name = text(port, "name");
        if !name.is_empty() {
            out.invalid_each(at.child("name"), name, names::dns_label(name));
        }
        if repeats(&mut seen, name) {
            out.duplicate(at.child("name"), name);
        }
        out.one_of(at.child("protocol"), text(port, "protocol"), &["TCP", "UDP", "SCTP"]);
        if let Some(number) = number(port, "port")
            && let Some(detail) = formats::port_number(number)
        {
            out.invalid(at.child("port"), number, &detail);
        }
        service::app_protocol(out, at, port);
    }
}

fn endpoint(out: &mut Out, at: At<'_>, endpoint: &Value, kind: &str) {
    let addresses = list(endpoint, "addresses");
    let list_at = at.child("addresses");
    if addresses.is_empty() {
        out.required(list_at, "must contain at least 1 address");
    } else if addresses.len() > ADDRESSES {
        out.too_many(list_at, addresses.len(), ADDRESSES);
    }
    for (index, address) in addresses.iter().enumerate() {
        let address = address.as_str().unwrap_or_default();
        let at = list_at.index(index);
        match kind {
            "IPv4" if address.parse::<std::net::Ipv4Addr>().is_err() => {
                out.invalid(at, address, "must be a valid IPv4 address");
            }
            "IPv6" if address.parse::<std::net::Ipv6Addr>().is_err() => {
                out.invalid(at, address, "must be a valid IPv6 address");
            }
            "FQDN" => out.invalid_each(at, address, names::dns_subdomain(address)),
            _ => {
                if let Some(detail) = service::special_ip(address) {
                    out.invalid(at, address, &detail);
                }
            }
        }
    }
    let given = |key| some(endpoint, key).and_then(Value::as_str);
    if let Some(node) = given("nodeName") {
        out.invalid_each(at.child("nodeName"), node, names::dns_subdomain(node));
    }
    if let Some(host) = given("hostname") {
        out.invalid_each(at.child("hostname"), host, names::dns_label(host));
    }
    if let Some(hints) = some(endpoint, "hints") {
        zone_hints(out, at.child("hints.forZones"), list(hints, "forZones"));
    }
}

/// The zones whose traffic an endpoint should get.
fn zone_hints(out: &mut Out, at: At<'_>, zones: &[Value]) {
    if zones.len() > ZONES {
        out.too_many(at, zones.len(), ZONES);
        return;
    }
    let mut seen = Seen::new();
    for (index, zone) in zones.iter().enumerate() {
        let (at, name) = (at.index(index), text(zone, "name"));
        if repeats(&mut seen, name) {
            out.duplicate(at.child("name"), name);
        }
        out.invalid_each(at.child("name"), name, names::label_value(name));
    }
}

/// The only strategy of a coordinated election that is upstream's own.
const OLDEST: &str = "OldestEmulationVersion";

/// A lease.
pub(super) fn lease(out: &mut Out, lease: &Value) {
    let spec = some(lease, "spec").unwrap_or(&UNSET);
    let at = At::Root("spec");
    if let Some(seconds) = number(spec, "leaseDurationSeconds").filter(|s| *s <= 0) {
        out.invalid(at.child("leaseDurationSeconds"), seconds, "must be greater than 0");
    }
    out.non_negative(at.child("leaseTransitions"), number(spec, "leaseTransitions"));
    let strategy = text(spec, "strategy");
    if strategy.contains('/') {
        // Upstream names the field twice.
        out.invalid_each(at.child("strategy.strategy"), strategy, names::qualified_name(strategy));
    } else if some(spec, "strategy").is_some() && strategy != OLDEST {
        out.not_supported(at.child("strategy.strategy"), strategy, &[OLDEST]);
    }
    if strategy.is_empty() && !text(spec, "preferredHolder").is_empty() {
        out.forbidden(at.child("preferredHolder"), "may only be specified if `strategy` is defined");
    }
}

/// An event in its stored form; `newer`: it came in as one of `events.k8s.io`.
pub(super) fn event(out: &mut Out, event: &Value, newer: bool) {
    let own = some(event, "metadata").map_or("", |m| text(m, "namespace"));
    let involved = some(event, "involvedObject").map_or("", |o| text(o, "namespace"));
    let at = At::Root("involvedObject.namespace");
    let old = text(event, "eventTime").is_empty();
    // What happens to objects without a namespace is told in "default".
    let fits = match involved {
        "" => own == "default" || (!old && own == "kube-system"),
        involved => !old || own == involved,
    };
    if !fits {
        out.invalid(at, involved, "does not match event.namespace");
    }
    if old {
        return;
    }
    let controller = text(event, "reportingComponent");
    let at = At::Root(if newer { "reportingController" } else { "reportingComponent" });
    if controller.is_empty() {
        out.required(at, "");
    }
    out.invalid_each(at, controller, names::qualified_name(controller));
    for key in ["reportingInstance", "action", "reason"] {
        let value = text(event, key);
        if value.is_empty() {
            out.required(At::Root(key), "");
        } else if value.len() > 128 {
            out.invalid(At::Root(key), "", "can have at most 128 characters");
        }
    }
    if text(event, "message").len() > NOTE_BYTES {
        out.invalid(At::Root("message"), "", &format!("can have at most {NOTE_BYTES} characters"));
    }
}

/// A priority class.
pub(super) fn priority_class(out: &mut Out, class: &Value) {
    let name = some(class, "metadata").map_or("", |m| text(m, "name"));
    let value = number(class, "value").unwrap_or(0);
    let known = match name {
        "system-cluster-critical" => Some(2_000_000_000),
        "system-node-critical" => Some(2_000_001_000),
        _ => None,
    };
    if name.starts_with("system-") {
        let why = match known {
            None => Some(format!("{name} is not a known system priority class")),
            Some(known) if known != value => Some(format!("value of {name} PriorityClass must be {known}")),
            Some(_) if truth(class, "globalDefault") => {
                Some(format!("globalDefault of {name} PriorityClass must be false"))
            }
            Some(_) => None,
        };
        if let Some(why) = why {
            let detail =
                format!("priority class names with 'system-' prefix are reserved for system use only. error: {why}");
            out.forbidden(At::Root("metadata.name"), &detail);
        }
    } else if value > PRIORITY {
        out.forbidden(At::Root("value"), "maximum allowed value of a user defined priority is 1000000000");
    }
    let policy = text(class, "preemptionPolicy");
    if !policy.is_empty() {
        out.one_of(At::Root("preemptionPolicy"), policy, &["Never", "PreemptLowerPriority"]);
    }
}

/// Pods carry the value of their class from when they were made.
pub(super) fn priority_class_update(out: &mut Out, new: &Value, old: &Value) {
    if number(new, "value") != number(old, "value") {
        out.forbidden(At::Root("value"), "may not be changed in an update.");
    }
    out.immutable(At::Root("preemptionPolicy"), "*string", new.get("preemptionPolicy"), old.get("preemptionPolicy"));
}

/// A runtime class.
pub(super) fn runtime_class(out: &mut Out, class: &Value) {
    let handler = text(class, "handler");
    out.invalid_each(At::Root("handler"), handler, names::dns_label(handler));
    if let Some(fixed) = some(class, "overhead").and_then(|o| super::read::map(o, "podFixed")) {
        super::pod::overhead(out, At::Root("overhead"), fixed);
    }
    let Some(scheduling) = some(class, "scheduling") else { return };
    let at = At::Root("scheduling");
    if let Some(selector) = super::read::map(scheduling, "nodeSelector") {
        super::meta::labels(out, at.child("nodeSelector"), selector);
    }
    let (at, tolerations) = (at.child("tolerations"), list(scheduling, "tolerations"));
    super::pod::tolerations(out, at, tolerations);
    let mut seen = HashSet::new();
    for (index, toleration) in tolerations.iter().enumerate() {
        if !seen.insert(["key", "operator", "value", "effect"].map(|key| text(toleration, key))) {
            out.duplicate_of(at.index(index), "core/v1.Toleration", toleration);
        }
    }
}

/// An event of `events.k8s.io`: what the core form lets pass for old clients' sake is refused.
pub(super) fn new_event(out: &mut Out, event: &Value, old: Option<&Value>) {
    let changed = |key: &str| old.is_some_and(|old| !super::at::same(event.get(key), old.get(key)));
    if old.is_none() || changed("series") {
        series(out, event);
    }
    if old.is_some() {
        for (key, ty) in [
            ("involvedObject", "core/v1.ObjectReference"),
            ("reason", "string"),
            ("message", "string"),
            ("source", "core/v1.EventSource"),
            ("firstTimestamp", "time"),
            ("lastTimestamp", "time"),
            ("count", "int"),
            ("type", "string"),
            ("eventTime", "time"),
            ("action", "string"),
            ("related", "*core/v1.ObjectReference"),
            ("reportingComponent", "string"),
            ("reportingInstance", "string"),
        ] {
            let shown = if key == "reportingComponent" { "reportingController" } else { key };
            out.immutable(At::Root(shown), ty, event.get(key), old.and_then(|o| o.get(key)));
        }
        return;
    }
    if text(event, "eventTime").is_empty() {
        out.required(At::Root("eventTime"), "");
    }
    let kind = text(event, "type");
    if !matches!(kind, "Normal" | "Warning") {
        out.invalid(At::Root("type"), "", &format!("has invalid value: {kind}"));
    }
    for key in ["firstTimestamp", "lastTimestamp", "count", "source"] {
        if some(event, key).is_some_and(|v| !super::at::empty(v) && v != 0) {
            out.invalid(At::Root(key), "", "needs to be unset");
        }
    }
}

fn series(out: &mut Out, event: &Value) {
    let Some(series) = some(event, "series") else { return };
    let at = At::Root("series");
    if number(series, "count").unwrap_or(0) < 2 {
        out.invalid(at.child("count"), "", "should be at least 2");
    }
    if text(series, "lastObservedTime").is_empty() {
        out.required(at.child("lastObservedTime"), "");
    }
}
