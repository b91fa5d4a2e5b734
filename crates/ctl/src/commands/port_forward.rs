//! `gantryctl port-forward`: local ports that lead into a pod.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use gantry_api::value::{Value, str_at};
use tokio::net::TcpListener;

use crate::{
    output,
    pods::{self, Named},
    session::Session,
};

mod hold;
mod ports;
mod relay;

use hold::Hold;
use ports::Pair;
use relay::{Relay, Target};

/// How long open connections have when the pod is gone: as long as its node gives them.
const LAST_BYTES: Duration = Duration::from_secs(5);

/// Flags of `port-forward`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "It ends with an error when the pod is gone or may not be used any more. When the API server goes, open connections break; new ones work as soon as it is back or another one is found, within --reconnect-timeout.\n\nExamples:\n  gantryctl port-forward web-1 8080:80\n  gantryctl port-forward svc/web :http\n  gantryctl port-forward deployment/web 5000 6000\n  gantryctl port-forward --address 0.0.0.0 web-1 8888:5000"
)]
pub struct Args {
    /// POD or TYPE/NAME
    #[arg(value_name = "POD")]
    pod: String,
    /// [LOCAL:]REMOTE: ports by number, the remote one also by name; :REMOTE takes any free local port
    #[arg(required = true, value_name = "PORTS")]
    ports: Vec<String>,
    /// Where to listen: `localhost` or addresses of this machine
    #[arg(long, value_delimiter = ',', default_value = "localhost")]
    address: Vec<String>,
    /// How long to wait for a pod of TYPE/NAME, such as 30s or 1m
    #[arg(long, default_value = "1m", value_parser = gantry_common::daemon::duration)]
    pod_running_timeout: Duration,
    /// How long to look for an API server when the connection to it is lost, such as 30s or 5m; 0s ends at once
    #[arg(long, default_value = "1m", value_parser = gantry_common::daemon::duration)]
    reconnect_timeout: Duration,
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        let (pod, pairs) = self.resolve(session).await?;
        if str_at(&pod, "status.phase") != Some("Running") {
            let phase = str_at(&pod, "status.phase").unwrap_or("Unknown");
            bail!(
                "unable to forward ports because pod {} is not running: its status is {phase}; wait until it runs",
                pods::name(&pod)
            );
        }
        let hosts = self.address.iter().map(|a| ports::host(a)).collect::<Result<Vec<_>>>()?.concat();
        let target = Target {
            namespace: str_at(&pod, "metadata.namespace").unwrap_or(&session.namespace).to_owned(),
            pod: pods::name(&pod).to_owned(),
            uid: str_at(&pod, "metadata.uid").unwrap_or_default().to_owned(),
        };
        let hold = Hold::open(session.client.clone(), target.clone(), self.reconnect_timeout).await?;
        let relay = Relay::new(session.client.clone(), target);
        let mut listening = tokio::task::JoinSet::new();
        for pair in pairs {
            for listener in listen(&hosts, pair.local).await? {
                let local = listener.local_addr().context("cannot tell the address of a listening socket")?;
                output::line(&format!("Forwarding from {local} -> {}", pair.remote))?;
                listening.spawn(relay.clone().accept(listener, local.port(), pair.remote));
            }
        }
        let listened = async {
            while let Some(ended) = listening.join_next().await {
                ended.context("a listener failed")??;
            }
            Ok(())
        };
        // Until the user ends it, or there is nothing to forward to.
        tokio::select! {
            ended = listened => ended,
            lost = hold.keep() => {
                // What is on its way to open connections still arrives.
                drop(tokio::time::timeout(LAST_BYTES, relay.idle()).await);
                lost.map(|never| match never {})
            }
        }
    }

    /// The pod, and ports of it.
    async fn resolve(&self, session: &Session) -> Result<(Value, Vec<Pair>)> {
        match pods::named(session, &self.pod).await? {
            Named::Pod(pod) => {
                let pairs = self.ports.iter().map(|p| ports::of_pod(p, &pod)).collect::<Result<_>>()?;
                Ok((pod, pairs))
            }
            Named::Owner { object, kind, selector } => {
                let pod = pods::first_of(session, &self.pod, &selector, self.pod_running_timeout).await?;
                let pair = |text: &String| {
                    if kind == "Service" { ports::of_service(text, &object, &pod) } else { ports::of_pod(text, &pod) }
                };
                let pairs = self.ports.iter().map(pair).collect::<Result<_>>()?;
                Ok((pod, pairs))
            }
        }
    }
}

/// Listens on the port at every address. `localhost` means both loopback addresses, of which one is enough.
async fn listen(hosts: &[(IpAddr, bool)], port: u16) -> Result<Vec<TcpListener>> {
    let mut port = port;
    let mut listeners = Vec::new();
    let mut failure = None;
    for (host, required) in hosts {
        let address = SocketAddr::new(*host, port);
        match TcpListener::bind(address).await {
            Ok(listener) => {
                // A port that was chosen at the first address is the port at the others.
                port = listener.local_addr().context("cannot tell the address of a listening socket")?.port();
                listeners.push(listener);
            }
            Err(error) => {
                let error = anyhow::Error::from(error)
                    .context(format!("unable to listen on {address}: choose another local port, or :REMOTE for any"));
                if *required {
                    return Err(error);
                }
                failure = Some(error);
            }
        }
    }
    match (listeners.is_empty(), failure) {
        (true, Some(failure)) => Err(failure),
        _ => Ok(listeners),
    }
}

/// Both loopback addresses; not required, because a machine may have only one.
const LOCALHOST: [(IpAddr, bool); 2] =
    [(IpAddr::V4(Ipv4Addr::LOCALHOST), false), (IpAddr::V6(Ipv6Addr::LOCALHOST), false)];
