//! The cluster's DNS server, one per node.
//!
//! Services and EndpointSlices become an immutable [`zone`], swapped as a whole; questions are answered from it without a
//! lock ([`respond`]). Names of pods are computed from the name itself, so no pod is watched. Everything else is asked
//! [`upstream`] and remembered. Each server publishes itself as an endpoint of `kube-system/kube-dns`.
//!
//! It holds no state: killed at any time, it starts anew and answers once the zone is complete, with SERVFAIL before.

mod publish;
pub mod records;
pub mod respond;
pub mod server;
mod shell;
pub mod upstream;
pub mod zone;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use gantry_client::{Client, Informer};
use gantry_common::daemon::Context;
use gantry_common::task::{Group, OnExit};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use tokio::net::{TcpListener, UdpSocket};

use crate::publish::Publication;
use crate::server::Server;
use crate::upstream::Upstream;

/// What the server is told once, at its start.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    /// The name of this node's Node object.
    #[arg(long, value_name = "NAME")]
    pub hostname_override: String,
    /// Addresses to listen on; they are published as endpoints of the cluster's DNS service.
    #[arg(long, required = true, value_name = "IP")]
    pub bind_address: Vec<IpAddr>,
    /// Port to listen on, UDP and TCP.
    #[arg(long, default_value_t = 53, value_name = "PORT")]
    pub port: u16,
    /// The cluster's domain.
    #[arg(long, default_value = "cluster.local", value_name = "DOMAIN")]
    pub cluster_domain: String,
    /// Resolvers for other names, asked in this order.
    #[arg(long, value_name = "IP")]
    pub upstream: Vec<IpAddr>,
    /// Take further resolvers from this file.
    #[arg(long, value_name = "FILE")]
    pub resolv_conf: Option<PathBuf>,
}

/// Why the server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The resolvers cannot be read.
    #[error("cannot read the resolvers from {}", path.display())]
    ResolvConf {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A socket cannot be had.
    #[error("cannot listen on {address} ({protocol}); is another DNS server running there?")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// UDP or TCP.
        protocol: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Serves until shutdown is asked for.
///
/// # Errors
/// When a file cannot be read or a socket cannot be had.
pub async fn run(config: Config, client: Client, context: Context) -> Result<(), Error> {
    let server = Server::new(&config.cluster_domain, Upstream::new(resolvers(&config)?));
    let group = Group::new(context.shutdown.clone());
    listen(&config, &server, &group).await?;
    let services = Informer::<Service>::builder(client.api()).start(&group);
    let slices = Informer::<EndpointSlice>::builder(client.api())
        .index(shell::SERVICE_LABEL, |slice| shell::service_of(slice).map(|key| key.to_string()).into_iter().collect())
        .start(&group);
    let synced = async { tokio::join!(services.synced(), slices.synced()) };
    tokio::select! {
        _ = synced => {}
        () = context.shutdown.requested() => return Ok(()),
    }
    group.spawn("zone", OnExit::ShutDown, shell::follow(server, services, slices.clone()));
    let publication = Publication { node: config.hostname_override, addresses: config.bind_address, port: config.port };
    let keeping = publish::keep(client.clone(), slices, publication.clone(), group.clone());
    group.spawn("publish", OnExit::ShutDown, keeping);
    context.ready();
    context.shutdown.requested().await;
    group.join().await;
    publish::withdraw(&client, &publication).await;
    Ok(())
}

async fn listen(config: &Config, server: &std::sync::Arc<Server>, group: &Group) -> Result<(), Error> {
    for ip in &config.bind_address {
        let address = SocketAddr::new(*ip, config.port);
        let failed = |protocol| move |source| Error::Listen { address, protocol, source };
        let socket = UdpSocket::bind(address).await.map_err(failed("UDP"))?;
        let listener = TcpListener::bind(address).await.map_err(failed("TCP"))?;
        let shutdown = group.shutdown().clone();
        group.spawn("udp", OnExit::ShutDown, server::serve_udp(server.clone(), socket, shutdown.clone()));
        group.spawn("tcp", OnExit::ShutDown, server::serve_tcp(server.clone(), listener, shutdown));
    }
    Ok(())
}

/// The upstream servers; never this one, which would ask itself for ever.
fn resolvers(config: &Config) -> Result<Vec<SocketAddr>, Error> {
    let mut found = config.upstream.clone();
    if let Some(path) = &config.resolv_conf {
        let text = std::fs::read_to_string(path).map_err(|source| Error::ResolvConf { path: path.clone(), source })?;
        found.extend(upstream::parse_resolv_conf(&text));
    }
    found.retain(|ip| !config.bind_address.contains(ip));
    Ok(found.into_iter().map(|ip| SocketAddr::new(ip, 53)).collect())
}
