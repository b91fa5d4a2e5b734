//! The service proxy: programs this node's packet rules so that service addresses reach ready endpoints, and its routes so
//! that pods reach those of other nodes ([`nodes`]).
//!
//! Services and EndpointSlices are compiled to map elements ([`compile`]), all services together are the [`intent`], and
//! the difference to what is there becomes one nft transaction ([`rules`]). Everything up to the text of a transaction is
//! pure; [`kernel`], [`flows`] and [`nodes`] are the only places that touch the system.
//!
//! Rules and routes outlive the daemon: they are adopted at start, and left in place at stop.

pub mod backends;
pub mod compile;
pub mod element;
pub mod flows;
pub mod intent;
pub mod kernel;
pub mod listing;
pub mod nodes;
mod probe;
pub mod rules;
mod shell;

use std::collections::BTreeSet;
use std::sync::Arc;

use gantry_client::{Client, Informer};
use gantry_common::daemon::Context;
use gantry_common::task::{Group, OnExit};
use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;

/// What the proxy is told once, at its start.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    /// The name of this node's Node object.
    #[arg(long, value_name = "NAME")]
    pub hostname_override: String,
    /// The pods' addresses: service traffic from elsewhere is masqueraded.
    #[arg(long, value_name = "CIDR")]
    pub cluster_cidr: Option<Ipv4Net>,
    /// The addresses of this node's pods; from the Node object if absent.
    #[arg(long, value_name = "CIDR")]
    pub pod_cidr: Option<Ipv4Net>,
}

/// Keeps the rules and routes of this network namespace until shutdown is asked for.
pub async fn run(config: Config, client: Client, kernel: Arc<dyn kernel::Kernel>, context: Context) {
    let group = Group::new(context.shutdown.clone());
    let others = Informer::<Node>::builder(client.api()).transform(nodes::trim).start(&group);
    let place =
        nodes::Place { name: config.hostname_override.clone(), range: config.pod_cidr, cluster: config.cluster_cidr };
    // Services do not wait for it: the way to a node may be barred for as long as it likes.
    group.spawn("nodes", OnExit::ShutDown, nodes::follow(others, place));
    let services = Informer::<Service>::builder(client.api()).start(&group);
    let slices = Informer::<EndpointSlice>::builder(client.api())
        .index(shell::SERVICE_LABEL, |slice| shell::service_of(slice).map(|key| key.to_string()).into_iter().collect())
        .start(&group);
    let synced = async { tokio::join!(services.synced(), slices.synced()) };
    tokio::select! {
        _ = synced => {}
        () = context.shutdown.requested() => return,
    }
    let shell = shell::Shell {
        node: config.hostname_override,
        cluster_cidr: config.cluster_cidr,
        kernel,
        services,
        slices,
        prober: probe::Prober::new(),
        intent: intent::Intent::default(),
        dirty: BTreeSet::new(),
        silent: BTreeSet::new(),
    };
    tokio::select! {
        () = shell.serve(|| context.ready()) => {}
        () = context.shutdown.requested() => {}
    }
    group.join().await;
}
