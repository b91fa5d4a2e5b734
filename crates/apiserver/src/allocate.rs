//! Cluster IPs and node ports of Services, allocated in the transaction that stores the Service: nothing can leak.
//!
//! As upstream: an `IPAddress` object per address (its key is the lock) and one bitmap of node ports.

use std::collections::BTreeSet;
use std::net::IpAddr;

use gantry_api::field::{Error, Errors, Path};
use gantry_api::kinds::KindInfo;
use gantry_api::status::Status;
use gantry_api::{Value, value};

use crate::app::App;
use crate::pipeline::commit::Effects;
use crate::pipeline::read::cache_failed;
use crate::pipeline::turns::Held;
use crate::registry::{Family, service};
use crate::request::Target;

mod address;
mod ports;
pub(crate) mod repair;

fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    value::str_at(object, path).unwrap_or_default()
}

/// Waits for the turn among those who lost an allocation, and until the cache, where what is free is looked up, knows what the
/// others have taken.
///
/// # Errors
/// When the cache cannot be brought up to date.
pub(crate) async fn try_again<'a>(app: &'a App, turn: &mut Held<'a>) -> Result<(), Status> {
    turn.allocation(&app.turns).await;
    app.cache.consistent().await.map(drop).map_err(cache_failed)
}

/// The addresses that a Service holds.
fn addresses(object: &Value) -> BTreeSet<IpAddr> {
    if !service::needs_cluster_ip(object) || service::is_headless(object) {
        return BTreeSet::new();
    }
    let one = std::iter::once(text(object, "spec.clusterIP"));
    let all = value::list_at(object, "spec.clusterIPs").iter().filter_map(Value::as_str);
    one.chain(all).filter_map(|ip| ip.parse().ok()).collect()
}

/// The node ports that a Service holds.
fn node_ports(object: &Value) -> BTreeSet<u16> {
    let mut found = BTreeSet::new();
    let mut add = |port: Option<i64>| {
        if let Some(port) = port.and_then(|p| u16::try_from(p).ok()).filter(|p| *p > 0) {
            found.insert(port);
        }
    };
    if matches!(text(object, "spec.type"), "NodePort" | "LoadBalancer") {
        for port in value::list_at(object, "spec.ports") {
            add(value::i64_at(port, "nodePort"));
        }
        add(value::i64_at(object, "spec.healthCheckNodePort"));
    }
    found
}

fn refused(target: &Target, error: Error) -> Status {
    Status::invalid(target.kind.group, target.kind.kind, &target.name, &[error])
}

/// Whether objects of this kind are allocated something.
pub(crate) fn concerns(kind: &KindInfo) -> bool {
    kind.kind == "Service" && kind.group.is_empty()
}

/// What the cluster's address families do not allow of a Service.
pub(crate) fn refusals(app: &App, new: &Value, old: Option<&Value>) -> Errors {
    service::family_errors(new, old, &app.config.service_cluster_ip_range.families())
}

/// What a write of a Service changes beside it; fills in what it is given. Other kinds have no such effects.
///
/// # Errors
/// 422 for an address or port that cannot be had.
pub(crate) async fn plan(
    app: &App,
    target: &Target,
    old: Option<&Value>,
    mut new: Option<&mut Value>,
) -> Result<Effects, Status> {
    let mut effects = Effects::default();
    if !concerns(&target.kind) {
        return Ok(effects);
    }
    let held = old.map(addresses).unwrap_or_default();
    if let Some(new) = new.as_deref_mut() {
        plan_addresses(app, target, &held, new, &mut effects).await?;
    }
    let kept = new.as_deref().map(addresses).unwrap_or_default();
    for released in held.difference(&kept) {
        effects.deletes.push(address::key(*released));
    }
    plan_ports(app, target, old, new, &mut effects).await?;
    Ok(effects)
}

async fn plan_addresses(
    app: &App,
    target: &Target,
    held: &BTreeSet<IpAddr>,
    new: &mut Value,
    effects: &mut Effects,
) -> Result<(), Status> {
    if !service::needs_cluster_ip(new) || service::is_headless(new) {
        return Ok(());
    }
    let wanted = addresses(new);
    for ip in wanted.difference(held) {
        address::check(app, *ip).await.map_err(|why| {
            let path = Path::new("spec").child("clusterIPs");
            let shown = value::get(new, "spec.clusterIPs").cloned().unwrap_or_else(|| ip.to_string().into());
            refused(target, Error::invalid(&path, shown, &format!("failed to allocate IP {ip}: {why}")))
        })?;
        address::take(app, target, *ip, effects);
    }
    // Of each of its families it has one, of which those that are not chosen come last.
    let mut all = value::list_at(new, "spec.clusterIPs").to_vec();
    if all.is_empty() && !text(new, "spec.clusterIP").is_empty() {
        all.push(text(new, "spec.clusterIP").into());
    }
    for name in value::list_at(new, "spec.ipFamilies").iter().skip(all.len()) {
        let family = if name == Family::V6.name() { Family::V6 } else { Family::V4 };
        let free = address::random_free(app, family);
        let free = free.ok_or_else(|| Status::internal("failed to allocate a serviceIP: range is full"))?;
        address::take(app, target, free, effects);
        all.push(free.to_string().into());
    }
    if let Some(first) = all.first().cloned() {
        value::set(new, "spec.clusterIP", first);
        value::set(new, "spec.clusterIPs", all);
    }
    Ok(())
}

async fn plan_ports(
    app: &App,
    target: &Target,
    old: Option<&Value>,
    new: Option<&mut Value>,
    effects: &mut Effects,
) -> Result<(), Status> {
    let held = old.map(node_ports).unwrap_or_default();
    let missing = new.as_deref().is_some_and(ports::wants_more);
    let wanted = new.as_deref().map(node_ports).unwrap_or_default();
    if !missing && wanted == held {
        return Ok(());
    }
    let mut map = ports::Map::load(app).await?;
    for port in held.difference(&wanted) {
        map.release(*port);
    }
    for port in wanted.difference(&held) {
        map.take(*port).map_err(|why| refused(target, ports::error(new.as_deref(), *port, &why)))?;
    }
    if let Some(new) = new {
        ports::fill(new, &mut map).map_err(Status::internal)?;
    }
    let (key, revision, bytes) = map.stored();
    effects.conditions.push((key.clone(), revision));
    effects.puts.push((key, bytes));
    Ok(())
}
