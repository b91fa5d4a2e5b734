//! Sockets and the accept loop.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use gantry_common::shutdown::Shutdown;
use gantry_common::task;
use hyper_util::server::graceful::GracefulShutdown;
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::Ipv6V6Only;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tonic::service::Routes;
use tracing::{debug, info, warn};

use super::standing::{Nobodies, Shares, Standing};
use super::{connection, plain_http, tls};
use crate::app::App;

/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long to wait after a failed accept (out of file descriptors, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Of so many connections one is kept free for whoever comes next, by giving up those of nobody.
const SPARE_ONE_IN: usize = 16;

/// What every connection needs.
struct Port {
    app: Arc<App>,
    grpc: Routes,
    tls: Arc<tls::Acceptor>,
    slots: Arc<Semaphore>,
    shares: Arc<Shares>,
    nobodies: Arc<Nobodies>,
}

/// A socket could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Binding failed.
    #[error("cannot listen on {address}{}", hint(source))]
    Bind {
        /// The address and port.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

fn hint(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::AddrInUse => " (another process has the port: stop it, or choose another --secure-port)",
        std::io::ErrorKind::AddrNotAvailable => " (no interface has this address: check --bind-address)",
        std::io::ErrorKind::PermissionDenied => " (ports below 1024 need CAP_NET_BIND_SERVICE)",
        _ => "",
    }
}

/// A socket for one address. As Go does, an address of all interfaces stands for both families where the machine has both.
fn open(address: SocketAddr) -> std::io::Result<TcpListener> {
    const BACKLOG: u32 = 1024;
    let both = |port: u16| {
        let socket = TcpSocket::new_v6()?;
        setsockopt(&socket, Ipv6V6Only, &false)?;
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port))?;
        socket.listen(BACKLOG)
    };
    if address.ip().is_unspecified() {
        match both(address.port()) {
            // A machine may have no IPv6.
            Err(error) if error.kind() != std::io::ErrorKind::AddrInUse && address.is_ipv4() => {}
            opened => return opened,
        }
    }
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Opens a socket per address; port 0 takes one free port for all of them.
///
/// # Errors
/// When one address or port cannot be had.
pub(crate) fn bind(addresses: &[IpAddr], port: u16) -> Result<Vec<TcpListener>, Error> {
    let mut port = port;
    let mut sockets = Vec::new();
    // Whoever listens everywhere listens on each.
    let all = addresses.iter().find(|address| address.is_unspecified()).map(std::slice::from_ref);
    for ip in all.unwrap_or(addresses) {
        let address = SocketAddr::new(*ip, port);
        let socket = open(address).map_err(|source| Error::Bind { address, source })?;
        if let Ok(bound) = socket.local_addr() {
            port = bound.port();
        }
        sockets.push(socket);
    }
    Ok(sockets)
}

/// Serves until shutdown is asked for, then lets open requests end.
pub(crate) async fn serve(
    app: Arc<App>,
    grpc: Routes,
    sockets: Vec<TcpListener>,
    tls: Arc<tls::Acceptor>,
    shutdown: Shutdown,
) {
    let slots = Arc::new(Semaphore::new(app.config.connections.max));
    let (shares, nobodies) = (Arc::default(), Arc::default());
    let port = Arc::new(Port { app: app.clone(), grpc, tls, slots, shares, nobodies });
    let graceful = Arc::new(GracefulShutdown::new());
    let mut loops = Vec::new();
    for socket in sockets {
        let work = accept_loop(port.clone(), socket, graceful.clone());
        let shutdown = shutdown.clone();
        loops.push(task::spawn("accept", async move {
            tokio::select! {
                () = work => {}
                () = shutdown.requested() => {}
            }
        }));
    }
    for accept in loops {
        if let Err(error) = accept.await {
            warn!(%error, "an accept loop failed");
        }
    }
    drain(graceful, app.config.shutdown_grace).await;
}

async fn drain(graceful: Arc<GracefulShutdown>, grace: Duration) {
    let open = graceful.count();
    // Handshakes that are still under way hold a clone; they are cut off by the runtime's end.
    let Ok(graceful) = Arc::try_unwrap(graceful) else { return };
    info!(connections = open, "draining");
    if tokio::time::timeout(grace, graceful.shutdown()).await.is_err() {
        warn!(?grace, "some connections did not end in time and are cut off");
    }
}

async fn accept_loop(port: Arc<Port>, socket: TcpListener, graceful: Arc<GracefulShutdown>) {
    loop {
        let Ok(slot) = port.slots.clone().acquire_owned().await else { return };
        let (stream, peer) = match socket.accept().await {
            // A socket of both families sees those of IPv4 as IPv6's.
            Ok((stream, peer)) => (stream, SocketAddr::new(peer.ip().to_canonical(), peer.port())),
            Err(error) => {
                warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Some(share) = port.shares.take(peer.ip(), port.app.config.connections.max_per_address) else {
            debug!(%peer, "a connection is refused: its address has its share already");
            continue;
        };
        if port.slots.available_permits() < port.app.config.connections.max.div_ceil(SPARE_ONE_IN) {
            port.nobodies.give_up_oldest();
        }
        let standing = Arc::new(Standing::new());
        let listed = port.nobodies.list(standing.clone());
        let (port, watcher) = (port.clone(), graceful.watcher());
        drop(task::spawn("connection", async move {
            let _held = (slot, share, listed);
            let shaken = tokio::select! {
                shaken = handshake(&port.app, &port.tls, stream, peer) => shaken,
                () = standing.given_up() => None,
            };
            if let Some((stream, shown)) = shaken {
                let origin = connection::Origin { address: peer, peer: shown, standing };
                connection::serve(port.app.clone(), port.grpc.clone(), stream, origin, watcher).await;
            }
        }));
    }
}

async fn handshake(
    app: &App,
    tls: &tls::Acceptor,
    stream: TcpStream,
    peer: SocketAddr,
) -> Option<(tls::Stream, Option<crate::auth::authenticator::Peer>)> {
    // A server of small messages: never wait for more bytes to fill a packet.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%peer, %error, "cannot set TCP_NODELAY");
    }
    let shaking = async {
        if plain_http::is_spoken(&stream).await {
            plain_http::refuse(stream).await?;
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, "the client speaks plain HTTP"));
        }
        tls.accept(stream).await
    };
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, shaking).await {
        Ok(Ok(accepted)) => Some(accepted),
        Ok(Err(error)) => {
            app.metrics.tls_failures.add(1);
            debug!(%peer, %error, "TLS handshake failed");
            None
        }
        Err(_) => {
            app.metrics.tls_failures.add(1);
            debug!(%peer, "TLS handshake took too long");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[tokio::test]
    async fn all_interfaces_are_those_of_both_families() {
        let (v4, v6) = (IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST));
        let has_v6 = std::net::TcpListener::bind((v6, 0)).is_ok();
        for all in [IpAddr::from(Ipv4Addr::UNSPECIFIED), IpAddr::from(Ipv6Addr::UNSPECIFIED)] {
            if all.is_ipv6() && !has_v6 {
                continue;
            }
            let sockets = bind(&[v4, all], 0).expect("bound");
            let [socket] = sockets.as_slice() else { panic!("{} sockets", sockets.len()) };
            let port = socket.local_addr().expect("bound").port();
            TcpStream::connect((v4, port)).await.expect("reached");
            if has_v6 {
                TcpStream::connect((v6, port)).await.expect("reached");
            }
        }
        let sockets = bind(&[v4], 0).expect("bound");
        assert_eq!(sockets[0].local_addr().expect("bound").ip(), v4);
    }
}
