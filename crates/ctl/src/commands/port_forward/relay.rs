//! Connections, each a session of its own: bytes both ways, each way ended for itself.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context, Result, anyhow};
use bytes::BytesMut;
use gantry_client::{
    Client,
    session::{DATA_BYTES_MAX, Event, Input, Output},
};
use gantry_common::{error_chain, task};
use gantry_proto::v1::{PortForwardRequest, open_session::Kind};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::Semaphore,
};

use crate::output;

/// Connections at once through one port-forward.
const CONNECTIONS_MAX: usize = 512;
/// How long to wait after a connection could not be accepted (out of file descriptors, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The pod.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) namespace: String,
    pub(super) pod: String,
    /// That very pod, and no later one of the same name.
    pub(super) uid: String,
}

impl Target {
    /// What is asked of the API server, but for the port.
    pub(super) fn request(&self) -> PortForwardRequest {
        PortForwardRequest {
            namespace: self.namespace.clone(),
            pod: self.pod.clone(),
            pod_uid: self.uid.clone(),
            port: 0,
        }
    }
}

/// Takes connections to a pod.
#[derive(Clone)]
pub(super) struct Relay {
    client: Client,
    target: Target,
    places: Arc<Semaphore>,
}

impl Relay {
    pub(super) fn new(client: Client, target: Target) -> Self {
        Self { client, target, places: Arc::new(Semaphore::new(CONNECTIONS_MAX)) }
    }

    /// Waits until no connection is open.
    pub(super) async fn idle(&self) {
        let all = u32::try_from(CONNECTIONS_MAX).unwrap_or(u32::MAX);
        // The semaphore is never closed.
        drop(self.places.acquire_many(all).await);
    }

    /// Serves a listening socket.
    ///
    /// # Errors
    /// Never, as long as connections can be accepted at all.
    pub(super) async fn accept(self, listener: TcpListener, local: u16, remote: u16) -> Result<()> {
        loop {
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) if is_passing(&error) => continue,
                Err(error) => {
                    output::note(&format!("cannot accept a connection on port {local}: {error}"));
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
                output::note(&format!(
                    "a connection from {peer} to port {local} is refused: {CONNECTIONS_MAX} connections are open, which is \
                     the most for one port-forward"
                ));
                continue;
            };
            output::line(&format!("Handling connection for {local}"))?;
            let relay = self.clone();
            task::spawn("connection", async move {
                if let Err(error) = relay.serve(stream, peer, remote).await {
                    let why = error_chain(error.as_ref());
                    output::note(&format!("error: an error occurred forwarding {local} -> {remote}: {why}"));
                }
                drop(place);
            });
        }
    }

    async fn serve(&self, stream: TcpStream, peer: SocketAddr, remote: u16) -> Result<()> {
        drop(stream.set_nodelay(true));
        let request = PortForwardRequest { port: remote.into(), ..self.target.request() };
        let (input, output) = self.client.open_session(Kind::PortForward(request)).await?;
        let (read, write) = stream.into_split();
        let upload = task::spawn("upload", upload(read, input));
        let abort = upload.abort_handle();
        let broken_off = async {
            match upload.await {
                Ok(Local::BrokeOff) => {}
                // The other direction goes on.
                _ => std::future::pending().await,
            }
        };
        // Dropping the output ends the session, and with it the connection in the pod.
        let result = tokio::select! {
            result = download(output, write) => result.with_context(|| format!("the connection from {peer}")),
            () = broken_off => Ok(()),
        };
        abort.abort();
        result
    }
}

/// A connection that was gone before it was accepted.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}

/// How the local side stopped sending.
enum Local {
    /// It sends no more, and may still read.
    Ended,
    /// It is gone.
    BrokeOff,
}

/// From the local connection to the pod.
async fn upload(mut read: OwnedReadHalf, input: Input) -> Local {
    loop {
        let mut buffer = BytesMut::with_capacity(DATA_BYTES_MAX);
        match read.read_buf(&mut buffer).await {
            Ok(0) => break,
            Err(_) => return Local::BrokeOff,
            Ok(_) => {
                // Where the session has ended, its output says so.
                if input.data(buffer.freeze()).await.is_err() {
                    return Local::Ended;
                }
            }
        }
    }
    drop(input.end().await);
    Local::Ended
}

/// From the pod to the local connection, until the session ends.
async fn download(mut output: Output, mut write: OwnedWriteHalf) -> Result<()> {
    loop {
        match output.next().await? {
            Event::Data(bytes) => {
                if write.write_all(&bytes).await.is_err() {
                    // The local side is gone: nobody is left to tell.
                    return Ok(());
                }
            }
            Event::End => drop(write.shutdown().await),
            Event::Stderr(_) => {}
            Event::Done(status) if status.status == "Failure" => return Err(anyhow!(status.message)),
            Event::Done(_) => return Ok(()),
        }
    }
}
