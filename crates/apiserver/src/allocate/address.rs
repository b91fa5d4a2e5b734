//! One key per allocated cluster IP.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bytes::Bytes;
use gantry_api::{Value, value};
use ipnet::IpNet;
use rand::Rng;
use serde_json::json;

use crate::app::App;
use crate::pipeline::commit::Effects;
use crate::pipeline::metadata;
use crate::registry::Family;
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
pub(super) fn key(ip: IpAddr) -> String {
    format!("{PREFIX}{ip}")
}

/// The ranges that addresses are taken from: the server's own first, then those of `ServiceCIDR` objects.
fn ranges(app: &App) -> Vec<IpNet> {
    let own = app.config.service_cluster_ip_range.all();
    let mut all = own.to_vec();
    let Some(view) = app.cache.view(RANGES) else { return all };
    for object in view.snapshot().list(None, None) {
        let object: Value = serde_json::from_slice(object.json()).unwrap_or_default();
        all.extend(ranges_of(&object).into_iter().filter(|range| !own.contains(range)));
    }
    all
}

/// The ranges of a `ServiceCIDR` that is not on its way out.
fn ranges_of(object: &Value) -> Vec<IpNet> {
    let off = |c: &Value| c["type"] == "Ready" && c["status"] == "False";
    let unusable = value::str_at(object, "metadata.deletionTimestamp").is_some()
        || value::list_at(object, "status.conditions").iter().any(off);
    let cidrs = value::list_at(object, "spec.cidrs").iter().filter_map(Value::as_str);
    if unusable { Vec::new() } else { cidrs.filter_map(|c| c.parse().ok()).collect() }
}

/// First and number of assignable addresses of a range: all but that of the network and, of IPv4, the broadcast. Of the
/// server's first range the first one is default/kubernetes'.
fn assignable(range: IpNet, first: bool) -> (u128, u128) {
    let (lowest, highest, broadcast) = match range {
        IpNet::V4(range) => (u32::from(range.network()).into(), u32::from(range.broadcast()).into(), 1),
        IpNet::V6(range) => (u128::from(range.network()), u128::from(range.broadcast()), 0),
    };
    let reserved = if first { 2 } else { 1 };
    let all: u128 = highest - lowest + 1;
    (lowest + reserved, all.saturating_sub(reserved + broadcast))
}

/// An address by its number.
fn address(family: Family, number: u128) -> IpAddr {
    match family {
        Family::V4 => Ipv4Addr::from(u32::try_from(number).unwrap_or_default()).into(),
        Family::V6 => Ipv6Addr::from(number).into(),
    }
}

fn is_free(app: &App, ip: IpAddr) -> bool {
    app.cache.view(PREFIX).is_none_or(|view| view.get("", &ip.to_string()).is_none())
}

/// A free address of a family; the transaction proves that it still is.
pub(super) fn random_free(app: &App, family: Family) -> Option<IpAddr> {
    let ranges = ranges(app).into_iter().enumerate().filter(|(_, range)| Family::of(range.addr()) == family);
    ranges.into_iter().find_map(|(at, range)| {
        let (first, count) = assignable(range, at == 0);
        let lower = static_band(count);
        let free = |first, count| random_free_of(app, family, first, count);
        free(first + lower, count - lower).or_else(|| free(first, lower))
    })
}

fn random_free_of(app: &App, family: Family, first: u128, count: u128) -> Option<IpAddr> {
    if count == 0 {
        return None;
    }
    let mut random = rand::rng();
    let at = |offset: u128| address(family, first + offset % count);
    for _ in 0..RANDOM_TRIES {
        let ip = at(random.random_range(0..count));
        if is_free(app, ip) {
            return Some(ip);
        }
    }
    let start = random.random_range(0..count);
    (0..count).map(|i| at(start + i)).find(|ip| is_free(app, *ip))
}

/// How many of the first addresses are left to those who choose theirs, as long as there are others (KEP-3070).
fn static_band(count: u128) -> u128 {
    const MIN: u128 = 16;
    const MAX: u128 = 256;
    const STEP: u128 = 16;
    if count < MIN { 0 } else { (count / STEP).clamp(MIN, MAX).min(count) }
}

/// Whether an address is in a range.
pub(super) fn is_usable(app: &App, ip: IpAddr) -> bool {
    let is_broadcast = |range: &IpNet| ip.is_ipv4() && ip == range.broadcast();
    let usable = |range: &IpNet| range.contains(&ip) && ip != range.network() && !is_broadcast(range);
    ranges(app).iter().any(usable)
}

/// Whether a chosen address can be had.
pub(super) async fn check(app: &App, ip: IpAddr) -> Result<(), String> {
    if !is_usable(app, ip) {
        let family = Family::of(ip);
        let own = app.config.service_cluster_ip_range.all().iter();
        let ranges: Vec<String> =
            own.filter(|range| Family::of(range.addr()) == family).map(ToString::to_string).collect();
        let range = ranges.join(", ");
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
pub(super) fn object(app: &App, namespace: &str, name: &str, ip: IpAddr) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IPAddress",
        "metadata": {
            "name": ip.to_string(),
            "uid": uuid::Uuid::new_v4().to_string(),
            "creationTimestamp": metadata::time(app.clock.now()),
            "labels": {"ipaddress.kubernetes.io/ip-family": Family::of(ip).name(), (MANAGED_BY): ALLOCATOR},
        },
        "spec": {"parentRef": {"group": "", "resource": "services", "namespace": namespace, "name": name}},
    })
}

/// Takes the address for the Service.
pub(super) fn take(app: &App, target: &Target, ip: IpAddr, effects: &mut Effects) {
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
        let [one, six] = ["10.1.0.0/28", "2001:db8::/64"].map(|text| text.parse().expect("a range"));
        assert_eq!(range(json!({})), [one, six]);
        assert_eq!(range(json!({"metadata": {"deletionTimestamp": "2026-01-02T03:04:05Z"}})), []);
        assert_eq!(range(json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}})), []);
        let number = |text: &str| match text.parse().expect("an address") {
            IpAddr::V4(address) => u128::from(u32::from(address)),
            IpAddr::V6(address) => u128::from(address),
        };
        assert_eq!(assignable(one, false), (number("10.1.0.1"), 14));
        assert_eq!(assignable(one, true), (number("10.1.0.2"), 13));
        assert_eq!(assignable(six, false), (number("2001:db8::1"), (1 << 64) - 1));
        assert_eq!(assignable("fd00::/125".parse().expect("a range"), true), (number("fd00::2"), 6));
        for (family, text) in [(Family::V4, "10.1.0.7"), (Family::V6, "2001:db8::7")] {
            assert_eq!(address(family, number(text)).to_string(), text);
        }
    }
}
