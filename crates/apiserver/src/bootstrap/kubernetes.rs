//! The Service default/kubernetes and its endpoints: the addresses of all API servers that live.
//!
//! Each server keeps a key with its address under `/registry/masterleases/` on a short etcd lease, as upstream does;
//! every server writes the endpoints that the keys say.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gantry_api::status::Status;
use gantry_api::{Value, kinds, value};
use gantry_store::cache::Scope;
use gantry_store::{Error, LeaseId, Range, Txn};
use serde_json::json;
use tracing::warn;

use super::ensure;
use crate::app::App;
use crate::pipeline::change::{Change, Made, Part};
use crate::pipeline::current::{self, Current, store_failed};
use crate::registry::Family;
use crate::request::{Caller, Target, WriteOptions};

const PREFIX: &str = "/registry/masterleases/";
/// A server that is gone leaves the endpoints after this.
const LEASE: Duration = Duration::from_secs(15);
/// A change is looked at after this.
const SETTLE: Duration = Duration::from_millis(100);
/// How often the lease is renewed and the endpoints are looked at (upstream's interval).
const EVERY: Duration = Duration::from_secs(10);
/// When it is tried again after a failure.
const AGAIN: Duration = Duration::from_secs(1);

/// Makes the Service where it is missing.
///
/// # Errors
/// When the store fails, or another Service holds the address.
pub(crate) async fn ensure_service(app: &App) -> Result<(), Status> {
    let ip = app.config.kubernetes_service_ip();
    let (family, ip) = (Family::of(ip).name(), ip.to_string());
    ensure(
        app,
        json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {
                "name": "kubernetes", "namespace": "default",
                "labels": {"component": "apiserver", "provider": "kubernetes"},
            },
            "spec": {
                "type": "ClusterIP", "clusterIP": ip, "clusterIPs": [ip], "sessionAffinity": "None",
                "ipFamilies": [family], "ipFamilyPolicy": "SingleStack",
                "ports": [{"name": "https", "port": 443, "protocol": "TCP", "targetPort": port(app)}],
            },
        }),
    )
    .await
}

fn port(app: &App) -> u16 {
    app.config.secure_port
}

/// Keeps Service and endpoints until the server stops.
pub(crate) async fn run(app: Arc<App>) {
    let address = app.config.advertised();
    if address.is_none() {
        warn!(
            "default/kubernetes gets no endpoint: no bound address can be reached from elsewhere; set --advertise-address"
        );
    }
    let mut started = app.started.subscribe();
    if started.wait_for(|done| *done).await.is_err() {
        return;
    }
    let mut lease: Option<LeaseId> = None;
    loop {
        // Started before the turn, so that no change slips in between.
        let changed = changes(&app);
        let turned = turn(&app, address, &mut lease).await;
        if let Err(status) = &turned {
            warn!("keeping default/kubernetes failed: {}", status.message);
            lease = None;
        }
        tokio::select! {
            () = tokio::time::sleep(if turned.is_ok() { EVERY } else { AGAIN }) => {}
            () = changed => {}
        }
    }
}

/// Resolves when somebody changes the Service or its endpoints; our own turn does so at most once.
fn changes(app: &App) -> impl Future<Output = ()> + use<> {
    let from = app.cache.revision();
    let scope = Scope::Name { namespace: Some("default".into()), name: "kubernetes".into() };
    let views =
        [("", "services"), ("", "endpoints"), ("discovery.k8s.io", "endpointslices")].map(|(group, resource)| {
            kinds::by_resource(group, "v1", resource).and_then(|kind| app.cache.view(&kind.storage_prefix))
        });
    async move {
        let watches = views.into_iter().flatten().map(|view| {
            let scope = scope.clone();
            Box::pin(async move {
                match view.watch(from, scope).await {
                    Ok(mut watch) => drop(watch.next().await),
                    // The turn that comes by the clock sees to it.
                    Err(_) => std::future::pending().await,
                }
            })
        });
        futures::future::select_all(watches).await;
        // Many changes at once are one reason to look.
        tokio::time::sleep(SETTLE).await;
    }
}

/// Takes this server's address out, so that clients do not wait for the lease's end.
pub(crate) async fn leave(app: &App) {
    let Some(address) = app.config.advertised() else { return };
    let removed = app.store.txn(Txn::new().delete(format!("{PREFIX}{address}"))).await;
    if let Err(error) = removed {
        warn!("taking this server's address out failed: {}", gantry_common::error_chain(&error));
        return;
    }
    if let Err(status) = endpoints(app).await {
        warn!("updating the endpoints of default/kubernetes failed: {}", status.message);
    }
}

/// Keeps the Service, and where this server can be reached, its address and the endpoints.
async fn turn(app: &App, address: Option<IpAddr>, lease: &mut Option<LeaseId>) -> Result<(), Status> {
    let Some(address) = address else { return ensure_service(app).await };
    keep_address(app, address, lease).await?;
    ensure_service(app).await?;
    endpoints(app).await
}

async fn keep_address(app: &App, address: IpAddr, lease: &mut Option<LeaseId>) -> Result<(), Status> {
    let id = match *lease {
        Some(id) => match app.store.lease_keep_alive(id).await {
            // It has ended, and the key with it: others take this server for gone until the key is back.
            Err(Error::LeaseNotFound { .. }) => grant(app).await?,
            renewed => renewed.map(|_| id).map_err(store_failed)?,
        },
        None => grant(app).await?,
    };
    // A predecessor under the same address takes the key away when it stops late.
    if *lease != Some(id) || !masters(app).await?.contains(&address) {
        let object = json!({
            "apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": address.to_string(), "creationTimestamp": null},
            "subsets": [{"addresses": [{"ip": address.to_string()}], "ports": [{"port": port(app), "protocol": "TCP"}]}],
        });
        let key = format!("{PREFIX}{address}");
        let txn = Txn::new().put_with_lease(key, Bytes::from(object.to_string()), id);
        app.store.txn(txn).await.map_err(store_failed)?;
        *lease = Some(id);
    }
    Ok(())
}

async fn grant(app: &App) -> Result<LeaseId, Status> {
    app.store.lease_grant(LEASE).await.map_err(store_failed)
}

/// The addresses of the servers that live.
async fn masters(app: &App) -> Result<BTreeSet<IpAddr>, Status> {
    let read = app.store.range(Range::prefix(PREFIX).keys_only()).await.map_err(store_failed)?;
    // A slice holds one family; upstream's servers have none but the Service's.
    let family = Family::of(app.config.kubernetes_service_ip());
    let all = read.kvs.iter().filter_map(|kv| kv.key.strip_prefix(PREFIX)?.parse().ok());
    Ok(all.filter(|address| Family::of(*address) == family).collect())
}

fn slice(port: u16, addresses: &BTreeSet<IpAddr>) -> Value {
    let endpoints: Vec<Value> = addresses
        .iter()
        .map(|a| json!({"addresses": [a.to_string()], "conditions": {"ready": true, "serving": true, "terminating": false}}))
        .collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "kubernetes", "namespace": "default", "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "addressType": addresses.first().map_or(Family::V4, |address| Family::of(*address)).name(),
        "endpoints": endpoints,
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    })
}

/// The same for those who read no slices; nobody need make slices of it (upstream's pkg/controlplane/reconcilers).
fn legacy(port: u16, addresses: &BTreeSet<IpAddr>) -> Value {
    let addresses: BTreeSet<String> = addresses.iter().map(IpAddr::to_string).collect();
    let addresses: Vec<Value> = addresses.iter().map(|ip| json!({ "ip": ip })).collect();
    json!({
        "apiVersion": "v1",
        "kind": "Endpoints",
        "metadata": {
            "name": "kubernetes", "namespace": "default", "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"},
        },
        "subsets": [{"addresses": addresses, "ports": [{"name": "https", "port": port, "protocol": "TCP"}]}],
    })
}

async fn endpoints(app: &App) -> Result<(), Status> {
    let masters = masters(app).await?;
    if masters.is_empty() {
        // The last server that stops leaves its address: it is most likely to come back under it.
        return Ok(());
    }
    publish(app, "", "endpoints", legacy(port(app), &masters)).await?;
    publish(app, "discovery.k8s.io", "endpointslices", slice(port(app), &masters)).await
}

/// Writes default/kubernetes of a resource unless it is as it should be.
async fn publish(app: &App, group: &str, resource: &str, wanted: Value) -> Result<(), Status> {
    let kind = kinds::by_resource(group, "v1", resource).ok_or_else(Status::no_such_resource)?;
    let target = Target::new(kind, "default", "kubernetes");
    if current::load(app, &target).await?.is_none() {
        return ensure(app, wanted).await;
    }
    let make = |state: &Current| {
        let mut object = state.value.clone();
        for field in ["endpoints", "ports", "subsets", "metadata.labels"] {
            if let Some(new) = value::get(&wanted, field) {
                value::set(&mut object, field, new.clone());
            }
        }
        Ok(Made { object, warnings: Vec::new() })
    };
    let (caller, options) = (Caller::apiserver(), WriteOptions::default());
    let change = Change {
        caller: &caller,
        target: &target,
        options: &options,
        part: Part::Main,
        version_required: false,
        make: &make,
    };
    change.run(app).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slice_lists_every_server() {
        let addresses: BTreeSet<IpAddr> =
            ["10.0.0.2", "10.0.0.1"].iter().map(|a| a.parse().expect("an address")).collect();
        let slice = slice(6443, &addresses);
        assert_eq!(slice["endpoints"][0]["addresses"][0], "10.0.0.1");
        assert_eq!(slice["endpoints"].as_array().map(Vec::len), Some(2));
        assert_eq!((&slice["ports"][0]["port"], &slice["addressType"]), (&json!(6443), &json!("IPv4")));
        let legacy = legacy(6443, &addresses);
        assert_eq!(legacy["subsets"][0]["addresses"], json!([{"ip": "10.0.0.1"}, {"ip": "10.0.0.2"}]));
        let addresses = std::iter::once("2001:db8::1".parse().expect("an address")).collect();
        assert_eq!(super::slice(6443, &addresses)["addressType"], "IPv6");
    }
}
