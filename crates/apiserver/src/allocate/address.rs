//! One key per allocated cluster IP.

use std::net::Ipv4Addr;

use bytes::Bytes;
use rand::Rng;
use serde_json::json;

use crate::app::App;
use crate::pipeline::commit::Effects;
use crate::pipeline::metadata;
use crate::request::Target;

/// Where the `IPAddress` objects are.
pub(crate) const PREFIX: &str = "/registry/ipaddresses/";
/// Random tries before the range is searched from a random start.
const RANDOM_TRIES: usize = 16;

/// The key of an address.
pub(super) fn key(ip: Ipv4Addr) -> String {
    format!("{PREFIX}{ip}")
}

/// First and number of assignable addresses: all but network, broadcast, and the first, which is default/kubernetes.
fn assignable(app: &App) -> (u32, u32) {
    let range = app.config.service_cluster_ip_range;
    let (first, last) = (u32::from(range.network()), u32::from(range.broadcast()));
    (first + 2, last.saturating_sub(first).saturating_sub(2))
}

fn is_free(app: &App, ip: Ipv4Addr) -> bool {
    app.cache.view(PREFIX).is_none_or(|view| view.get("", &ip.to_string()).is_none())
}

/// A free address; the transaction proves that it still is.
pub(super) fn random_free(app: &App) -> Option<Ipv4Addr> {
    let (first, count) = assignable(app);
    if count == 0 {
        return None;
    }
    let mut random = rand::rng();
    let at = |offset: u32| Ipv4Addr::from(first + offset % count);
    for _ in 0..RANDOM_TRIES {
        let ip = at(random.random_range(0..count));
        if is_free(app, ip) {
            return Some(ip);
        }
    }
    let start = random.random_range(0..count);
    (0..count).map(|i| at(start.wrapping_add(i))).find(|ip| is_free(app, *ip))
}

/// Whether a chosen address can be had.
pub(super) async fn check(app: &App, ip: Ipv4Addr) -> Result<(), String> {
    let range = app.config.service_cluster_ip_range;
    let edges = [range.network(), range.broadcast()];
    if !range.contains(&ip) || edges.contains(&ip) {
        return Err(format!("the provided network does not match the current range: {ip} is not in {range}"));
    }
    match app.store.get(&key(ip)).await {
        Ok(None) => Ok(()),
        Ok(Some(_)) => Err("provided IP is already allocated".to_owned()),
        Err(error) => Err(gantry_common::error_chain(&error)),
    }
}

/// Takes the address for the Service.
pub(super) fn take(app: &App, target: &Target, ip: Ipv4Addr, effects: &mut Effects) {
    let object = json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IPAddress",
        "metadata": {
            "name": ip.to_string(),
            "uid": uuid::Uuid::new_v4().to_string(),
            "creationTimestamp": metadata::time(app.clock.now()),
            "labels": {
                "ipaddress.kubernetes.io/ip-family": "IPv4",
                "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
            },
        },
        "spec": {"parentRef": {"group": "", "resource": "services", "namespace": target.namespace, "name": target.name}},
    });
    effects.conditions.push((key(ip), 0));
    effects.puts.push((key(ip), Bytes::from(object.to_string())));
}
