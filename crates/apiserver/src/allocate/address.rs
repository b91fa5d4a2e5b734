//! One key per allocated cluster IP.

use std::net::Ipv4Addr;

use bytes::Bytes;
use gantry_api::{Value, value};
use ipnet::Ipv4Net;
use rand::Rng;
use serde_json::json;

use crate::app::App;
use crate::pipeline::commit::Effects;
use crate::pipeline::metadata;
use crate::request::Target;

/// Where the `IPAddress` objects are.
const PREFIX: &str = "/registry/ipaddresses/";
/// Where the `ServiceCIDR` objects are.
const RANGES: &str = "/registry/servicecidrs/";
/// The label that says who made the object of an address, and what the allocator is called there.
const MANAGED_BY: &str = "ipaddress.kubernetes.io/managed-by";
const ALLOCATOR: &str = "ipallocator.k8s.io";
/// Random tries before the range is searched from a random start.
const RANDOM_TRIES: usize = 16;

/// The key of an address.
pub(super) fn key(ip: Ipv4Addr) -> String {
    format!("{PREFIX}{ip}")
}

/// The ranges that addresses are taken from: the server's own first, then those of `ServiceCIDR` objects.
fn ranges(app: &App) -> Vec<Ipv4Net> {
    let own = app.config.service_cluster_ip_range;
    let mut all = vec![own];
    let Some(view) = app.cache.view(RANGES) else { return all };
    for object in view.snapshot().list(None, None) {
        let object: Value = serde_json::from_slice(object.json()).unwrap_or_default();
        all.extend(ranges_of(&object).into_iter().filter(|range| *range != own));
    }
    all
}

/// The IPv4 ranges of a `ServiceCIDR` that is not on its way out.
fn ranges_of(object: &Value) -> Vec<Ipv4Net> {
    let off = |c: &Value| c["type"] == "Ready" && c["status"] == "False";
    let unusable = value::str_at(object, "metadata.deletionTimestamp").is_some()
        || value::list_at(object, "status.conditions").iter().any(off);
    let cidrs = value::list_at(object, "spec.cidrs").iter().filter_map(Value::as_str);
    if unusable { Vec::new() } else { cidrs.filter_map(|c| c.parse().ok()).collect() }
}

/// First and number of assignable addresses of a range: all but network and broadcast, and of the server's own also the
/// first, which is default/kubernetes.
fn assignable(range: Ipv4Net, own: bool) -> (u32, u32) {
    let (first, last) = (u32::from(range.network()), u32::from(range.broadcast()));
    let reserved = if own { 2 } else { 1 };
    (first.saturating_add(reserved), last.saturating_sub(first).saturating_sub(reserved))
}

fn is_free(app: &App, ip: Ipv4Addr) -> bool {
    app.cache.view(PREFIX).is_none_or(|view| view.get("", &ip.to_string()).is_none())
}

/// A free address; the transaction proves that it still is.
pub(super) fn random_free(app: &App) -> Option<Ipv4Addr> {
    ranges(app).into_iter().enumerate().find_map(|(at, range)| random_free_in(app, assignable(range, at == 0)))
}

fn random_free_in(app: &App, (first, count): (u32, u32)) -> Option<Ipv4Addr> {
    if count == 0 {
        return None;
    }
    let lower = static_band(count);
    let upper = random_free_of(app, first + lower, count - lower);
    upper.or_else(|| random_free_of(app, first, lower))
}

fn random_free_of(app: &App, first: u32, count: u32) -> Option<Ipv4Addr> {
    if count == 0 {
        return None;
    }
    let mut random = rand::rng();
    let at = |offset: u64| Ipv4Addr::from(first + u32::try_from(offset % u64::from(count)).unwrap_or_default());
    for _ in 0..RANDOM_TRIES {
        let ip = at(random.random_range(0..u64::from(count)));
        if is_free(app, ip) {
            return Some(ip);
        }
    }
    let start = random.random_range(0..u64::from(count));
    (0..u64::from(count)).map(|i| at(start + i)).find(|ip| is_free(app, *ip))
}

/// How many of the first addresses are left to those who choose theirs, as long as there are others (KEP-3070).
fn static_band(count: u32) -> u32 {
    const MIN: u32 = 16;
    const MAX: u32 = 256;
    const STEP: u32 = 16;
    if count < MIN { 0 } else { (count / STEP).clamp(MIN, MAX).min(count) }
}

/// Whether an address is in a range.
pub(super) fn is_usable(app: &App, ip: Ipv4Addr) -> bool {
    let usable = |range: &Ipv4Net| range.contains(&ip) && ip != range.network() && ip != range.broadcast();
    ranges(app).iter().any(usable)
}

/// Whether a chosen address can be had.
pub(super) async fn check(app: &App, ip: Ipv4Addr) -> Result<(), String> {
    if !is_usable(app, ip) {
        let range = app.config.service_cluster_ip_range;
        return Err(format!("the provided network does not match the current range: {ip} is not in {range}"));
    }
    match app.store.get(&key(ip)).await {
        Ok(None) => Ok(()),
        Ok(Some(_)) => Err("provided IP is already allocated".to_owned()),
        Err(error) => Err(gantry_common::error_chain(&error)),
    }
}

/// Whether the allocator made the object of an address.
pub(super) fn is_managed(object: &Value) -> bool {
    value::map_at(object, "metadata.labels").and_then(|labels| labels.get(MANAGED_BY)).is_some_and(|by| by == ALLOCATOR)
}

/// The object that says that a Service has the address.
pub(super) fn object(app: &App, namespace: &str, name: &str, ip: Ipv4Addr) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IPAddress",
        "metadata": {
            "name": ip.to_string(),
            "uid": uuid::Uuid::new_v4().to_string(),
            "creationTimestamp": metadata::time(app.clock.now()),
            "labels": {"ipaddress.kubernetes.io/ip-family": "IPv4", (MANAGED_BY): ALLOCATOR},
        },
        "spec": {"parentRef": {"group": "", "resource": "services", "namespace": namespace, "name": name}},
    })
}

/// Takes the address for the Service.
pub(super) fn take(app: &App, target: &Target, ip: Ipv4Addr, effects: &mut Effects) {
    let object = object(app, &target.namespace, &target.name, ip);
    effects.conditions.push((key(ip), 0));
    effects.puts.push((key(ip), Bytes::from(object.to_string())));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_objects_that_stay() {
        let range = |rest: Value| {
            let mut object = json!({"metadata": {"name": "r"}, "spec": {"cidrs": ["10.1.0.0/28", "2001:db8::/64"]}});
            for (key, value) in rest.as_object().into_iter().flatten() {
                object[key] = value.clone();
            }
            ranges_of(&object)
        };
        let one: Ipv4Net = "10.1.0.0/28".parse().expect("a range");
        assert_eq!(range(json!({})), [one]);
        assert_eq!(range(json!({"metadata": {"deletionTimestamp": "2026-01-02T03:04:05Z"}})), []);
        assert_eq!(range(json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}})), []);
        assert_eq!(assignable(one, false), (u32::from(Ipv4Addr::new(10, 1, 0, 1)), 14));
        assert_eq!(assignable(one, true), (u32::from(Ipv4Addr::new(10, 1, 0, 2)), 13));
    }
}
