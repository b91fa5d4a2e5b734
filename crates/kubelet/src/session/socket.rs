//! TCP connections of sessions: opened in a network namespace, and copied in both directions.

use std::{
    fs::File,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::OwnedFd,
    time::Duration,
};

use bytes::BytesMut;
use nix::{
    errno::Errno,
    sched::{CloneFlags, setns},
    sys::socket::{AddressFamily, SockFlag, SockType, socket},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream, tcp},
    sync::oneshot,
};

use super::{
    answer::Ended,
    link::{FRAME_BYTES, Incoming, Input, Left, Outgoing},
};
use crate::process;

/// How long a connection may take; the API server waits 10 s for the session to open.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(8);

/// Where a socket is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// In the node's network.
    Node,
    /// In the network of the container with this process and identifier.
    Container {
        /// Its first process.
        pid: u32,
        /// Its identifier.
        id: String,
    },
}

/// An error in the words that Go's library has for it, as clients know them.
pub(super) fn words(error: &io::Error) -> String {
    match error.raw_os_error().map(Errno::from_raw) {
        Some(errno) => {
            let text = errno.desc().to_lowercase();
            // Only a call that connects can time out in the kernel.
            format!("connect: {text}")
        }
        None if error.kind() == io::ErrorKind::TimedOut => "i/o timeout".to_owned(),
        None => error.to_string(),
    }
}

fn new_socket(address: IpAddr) -> nix::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    socket(family, SockType::Stream, SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC, None)
}

/// Makes a socket in a container's network. Only a thread of its own may go there: it takes no other work along.
fn socket_inside(pid: u32, id: &str, address: IpAddr) -> io::Result<OwnedFd> {
    let namespace = File::open(format!("/proc/{pid}/ns/net"))?;
    // Asked after the file was opened: it is of that very process.
    if !i32::try_from(pid).is_ok_and(|pid| process::is_in_container(pid, id)) {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the pod's sandbox has ended"));
    }
    setns(namespace, CloneFlags::CLONE_NEWNET)?;
    Ok(new_socket(address)?)
}

async fn make(place: &Place, address: IpAddr) -> io::Result<TcpSocket> {
    let made = match place.clone() {
        Place::Node => new_socket(address)?,
        Place::Container { pid, id } => {
            let (sender, receiver) = oneshot::channel();
            std::thread::Builder::new().name("pod-network".to_owned()).spawn(move || {
                // Whoever waited may be gone.
                drop(sender.send(socket_inside(pid, &id, address)));
            })?;
            receiver.await.map_err(io::Error::other)??
        }
    };
    Ok(TcpSocket::from_std_stream(made.into()))
}

async fn connect_once(place: &Place, address: SocketAddr) -> io::Result<TcpStream> {
    let stream = make(place, address.ip()).await?.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Connects.
pub(super) async fn connect(place: &Place, address: SocketAddr) -> io::Result<TcpStream> {
    let attempt = tokio::time::timeout(CONNECT_TIMEOUT, connect_once(place, address)).await;
    attempt.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Connects to a port of `localhost`, and says what went wrong on which address.
pub(super) async fn connect_local(place: &Place, port: u16) -> Result<TcpStream, String> {
    let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, port));
    let first = match connect(place, v4).await {
        Ok(stream) => return Ok(stream),
        Err(error) => error,
    };
    match connect(place, v6).await {
        Ok(stream) => Ok(stream),
        Err(second) => {
            Err(format!("IPv6: dial tcp6 {v6}: {}, IPv4: dial tcp4 {v4}: {}", words(&second), words(&first)))
        }
    }
}

/// What went wrong with a connection that was open.
pub(super) enum Broken {
    /// The other side of the session has left.
    Left,
    /// The connection's peer has.
    Socket(io::Error),
}

impl From<Left> for Broken {
    fn from(_: Left) -> Self {
        Self::Left
    }
}

async fn to_socket(incoming: &mut Incoming, writer: &mut tcp::OwnedWriteHalf) -> Result<(), Broken> {
    loop {
        match incoming.next().await {
            Input::Data(bytes) => writer.write_all(&bytes).await.map_err(Broken::Socket)?,
            Input::End => return writer.shutdown().await.map_err(Broken::Socket),
            Input::Resize(_) => {}
            Input::Gone => return Err(Broken::Left),
        }
    }
}

async fn from_socket(reader: &mut tcp::OwnedReadHalf, outgoing: &Outgoing) -> Result<(), Broken> {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(FRAME_BYTES);
        if reader.read_buf(&mut buffer).await.map_err(Broken::Socket)? == 0 {
            return Ok(outgoing.end().await?);
        }
        outgoing.data(buffer.split().freeze()).await?;
    }
}

/// Copies in both directions until both have ended; each may end before the other.
pub(super) async fn copy(stream: TcpStream, incoming: &mut Incoming, outgoing: &Outgoing) -> Result<(), Broken> {
    let (mut reader, mut writer) = stream.into_split();
    tokio::try_join!(to_socket(incoming, &mut writer), from_socket(&mut reader, outgoing)).map(drop)
}

/// How a session ends whose connection has.
pub(super) fn ended(result: Result<(), Broken>, failed: impl FnOnce(&str) -> Ended) -> Ended {
    match result {
        Ok(()) => super::answer::success(),
        Err(Broken::Left) => Ended::Left,
        Err(Broken::Socket(error)) => failed(&error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_refusal_is_told_as_upstream_does() {
        let port = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap().port()
        };
        let error = connect_local(&Place::Node, port).await.unwrap_err();
        assert!(error.ends_with(&format!("IPv4: dial tcp4 127.0.0.1:{port}: connect: connection refused")), "{error}");
    }

    #[tokio::test]
    async fn a_process_of_no_container_lends_its_network_to_nobody() {
        let place = Place::Container { pid: std::process::id(), id: "no-such-container".into() };
        let error = connect(&place, SocketAddr::from(([127, 0, 0, 1], 1))).await.unwrap_err();
        assert_eq!(error.to_string(), "the pod's sandbox has ended");
    }

    #[test]
    fn errors_have_the_words_that_clients_know() {
        let check = |error: io::Error, expected: &str| assert_eq!(words(&error), expected);
        check(io::Error::from_raw_os_error(111), "connect: connection refused");
        check(io::Error::from_raw_os_error(113), "connect: no route to host");
        check(io::ErrorKind::TimedOut.into(), "i/o timeout");
    }
}
