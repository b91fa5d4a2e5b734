//! Brings what is allocated together with what Services hold, as upstream does and as often. This server's own writes keep
//! both in step; an older server knows no `IPAddress` objects, and others can delete them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gantry_api::kinds;
use gantry_api::status::Status;
use gantry_api::{Value, value};
use gantry_store::cache::Object;
use gantry_store::{Txn, TxnOutcome};
use jiff::Timestamp;
use tracing::warn;

use super::{address, addresses, node_ports, ports};
use crate::app::App;
use crate::pipeline::current::store_failed;
use crate::registry::Family;

const INTERVAL: Duration = Duration::from_secs(180);
/// Upstream's servers write an address before its Service, within a request's time.
const GRACE: Duration = Duration::from_secs(60);

/// A Service as the cache has it.
struct Holder {
    key: String,
    revision: u64,
    namespace: String,
    name: String,
    addresses: BTreeSet<IpAddr>,
    ports: BTreeSet<u16>,
}

/// Services by namespace and name: each address looks its own up, and there may be thousands of both.
type Holders = BTreeMap<(String, String), Holder>;

impl Holder {
    fn of(object: &Arc<Object>) -> Option<Self> {
        let service: Value = serde_json::from_slice(object.json()).ok()?;
        Some(Self {
            key: object.key().to_owned(),
            revision: object.rv(),
            namespace: value::str_at(&service, "metadata.namespace")?.to_owned(),
            name: value::str_at(&service, "metadata.name")?.to_owned(),
            addresses: addresses(&service),
            ports: node_ports(&service),
        })
    }
}

/// Repairs now and then.
pub(crate) async fn run(app: Arc<App>) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        if let Err(status) = once(&app).await {
            warn!("repairing the allocations of Services failed: {}", status.message);
        }
    }
}

/// Repairs once. What changes meanwhile is left for the next time.
///
/// # Errors
/// When the store fails.
pub(crate) async fn once(app: &App) -> Result<(), Status> {
    // The map first: a Service that goes after this changes it.
    let map = ports::Map::load(app).await?;
    app.cache.consistent().await.map_err(crate::pipeline::read::cache_failed)?;
    let services = kinds::by_resource("", "v1", "services").ok_or_else(Status::no_such_resource)?;
    let found = app.view(services).snapshot();
    let found = found.list(None, None).filter_map(Holder::of);
    let held: Holders = found.map(|holder| ((holder.namespace.clone(), holder.name.clone()), holder)).collect();
    take_ports(app, map, &held).await?;
    let taken = kinds::by_resource("networking.k8s.io", "v1", "ipaddresses").ok_or_else(Status::no_such_resource)?;
    let view = app.view(taken);
    for service in held.values() {
        for ip in service.addresses.iter().filter(|ip| address::is_usable(app, **ip)) {
            let found = view.get("", &ip.to_string());
            if found.as_deref().is_none_or(|object| !is_held(object, *ip, &held)) {
                claim(app, service, *ip, found.map_or(0, |object| object.rv())).await?;
            }
        }
    }
    for object in view.snapshot().list(None, None) {
        release(app, object, &held).await?;
    }
    Ok(())
}

fn parse(object: &Object) -> Value {
    serde_json::from_slice(object.json()).unwrap_or_default()
}

/// The Service that an address says it is of.
fn parent<'a>(address: &Value, held: &'a Holders) -> Option<&'a Holder> {
    let at = |path| value::str_at(address, path).unwrap_or_default();
    let service = at("spec.parentRef.group").is_empty() && at("spec.parentRef.resource") == "services";
    let key = (at("spec.parentRef.namespace").to_owned(), at("spec.parentRef.name").to_owned());
    held.get(&key).filter(|_| service)
}

fn is_held(object: &Object, ip: IpAddr, held: &Holders) -> bool {
    parent(&parse(object), held).is_some_and(|holder| holder.addresses.contains(&ip))
}

async fn claim(app: &App, service: &Holder, ip: IpAddr, revision: u64) -> Result<(), Status> {
    let (family, Holder { namespace, name, .. }) = (Family::of(ip).name(), service);
    warn!("the ClusterIP [{family}]:{ip} for Service {namespace}/{name} is not allocated; repairing");
    let object = address::object(app, &service.namespace, &service.name, ip);
    let txn = Txn::new()
        .if_unchanged(service.key.clone(), service.revision)
        .if_unchanged(address::key(ip), revision)
        .put(address::key(ip), Bytes::from(object.to_string()));
    app.store.txn(txn).await.map_err(store_failed).map(drop)
}

/// Deletes an address of the allocator's whose Service does not hold it.
async fn release(app: &App, object: &Object, held: &Holders) -> Result<(), Status> {
    let address = parse(object);
    let Some(ip) = value::str_at(&address, "metadata.name").and_then(|name| name.parse().ok()) else { return Ok(()) };
    if !address::is_managed(&address) || is_held(object, ip, held) {
        return Ok(());
    }
    let mut txn = Txn::new().if_unchanged(object.key(), object.rv());
    match parent(&address, held) {
        Some(service) => txn = txn.if_unchanged(service.key.clone(), service.revision),
        None => {
            let made = value::str_at(&address, "metadata.creationTimestamp").and_then(|t| t.parse::<Timestamp>().ok());
            let age = made.map(|made| app.clock.now().duration_since(made));
            if age.is_some_and(|age| age.unsigned_abs() < GRACE) {
                return Ok(());
            }
        }
    }
    warn!("IPAddress {ip} appears to have leaked: cleaning up");
    app.store.txn(txn.delete(object.key())).await.map_err(store_failed).map(drop)
}

/// Marks the ports that Services hold and the map does not know.
async fn take_ports(app: &App, mut map: ports::Map, held: &Holders) -> Result<(), Status> {
    let missing: Vec<u16> =
        held.values().flat_map(|s| &s.ports).copied().filter(|port| map.take(*port).is_ok()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let (key, revision, bytes) = map.stored();
    let outcome = app.store.txn(Txn::new().if_unchanged(key.clone(), revision).put(key, bytes)).await;
    if matches!(outcome.map_err(store_failed)?, TxnOutcome::Committed { .. }) {
        warn!(ports = ?missing, "node ports of Services were not allocated; repaired");
    }
    Ok(())
}
