//! SPDY/3.1 to the API server: as kubectl up to 1.30 speaks it for exec, and every kubectl for port-forward, there in the
//! messages of a WebSocket.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use anyhow::{Context as _, bail};
use bytes::{Buf, Bytes};
use futures::{Sink, Stream as _};
use gantry_spdy::{Connection, Headers, Stream};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::socket;
use crate::http::Target;

/// Bytes of one piece, as Go's copies have it.
const PIECE_BYTES: usize = 32 << 10;
/// Bytes of an answer's head.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// How SPDY travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// On the connection itself.
    Plain,
    /// In the binary messages of a WebSocket.
    Tunnel,
}

fn drive(driver: gantry_spdy::Driver) {
    gantry_common::task::spawn("spdy", async move {
        // Its end shows in the streams.
        drop(driver.run().await);
    });
}

async fn plain(target: &Target, path: &str, version: &str) -> anyhow::Result<Connection> {
    let mut stream = target.stream().await?;
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: {version}\r\nContent-Length: 0\r\n\r\n",
        target.authority()
    );
    stream.write_all(request.as_bytes()).await?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        anyhow::ensure!(head.len() < HEAD_BYTES_MAX, "{path}: an answer without an end");
        head.push(stream.read_u8().await.with_context(|| path.to_owned())?);
    }
    if !head.starts_with(b"HTTP/1.1 101") {
        bail!("{path}: {}", String::from_utf8_lossy(&head));
    }
    let (connection, driver) = gantry_spdy::client(stream);
    drive(driver);
    Ok(connection)
}

async fn tunnel(target: &Target, path: &str) -> anyhow::Result<Connection> {
    let socket = socket::open(target, path, "SPDY/3.1+portforward.k8s.io").await?;
    let (connection, driver) = gantry_spdy::client(Tunnel { socket, left: Bytes::new() });
    drive(driver);
    Ok(connection)
}

async fn stream(connection: &Connection, labels: &[(&str, &str)]) -> anyhow::Result<Stream> {
    let mut headers = Headers::new();
    for (name, value) in labels {
        headers.insert(name, *value);
    }
    Ok(connection.open(headers, false).await?)
}

/// Sends so many zeros.
async fn send_zeros(stream: &Stream, count: usize) -> anyhow::Result<()> {
    let piece = Bytes::from(vec![0; PIECE_BYTES]);
    for _ in 0..count / PIECE_BYTES {
        stream.write(piece.clone()).await?;
    }
    Ok(())
}

/// A command whose streams are open.
pub(crate) struct Exec {
    connection: Connection,
    error: Stream,
    stdin: Option<Stream>,
    stdout: Stream,
}

impl Exec {
    /// Runs what `path` names, which asks for standard output, and for standard input if `types`.
    pub(crate) async fn open(target: &Target, path: &str, types: bool) -> anyhow::Result<Self> {
        let connection = plain(target, path, "v4.channel.k8s.io").await?;
        let error = stream(&connection, &[("streamtype", "error")]).await?;
        let stdin = match types {
            true => Some(stream(&connection, &[("streamtype", "stdin")]).await?),
            false => None,
        };
        let stdout = stream(&connection, &[("streamtype", "stdout")]).await?;
        Ok(Self { connection, error, stdin, stdout })
    }

    /// Sends so many zeros, and that no more come.
    pub(crate) async fn send_zeros(&self, count: usize) -> anyhow::Result<()> {
        let stdin = self.stdin.as_ref().context("no standard input was asked for")?;
        send_zeros(stdin, count).await?;
        Ok(stdin.finish().await?)
    }

    /// Reads to the end, which must be a success; returns the bytes of standard output.
    pub(crate) async fn drain(mut self) -> anyhow::Result<usize> {
        let mut bytes = 0;
        while let Some(piece) = self.stdout.read().await {
            bytes += piece.len();
        }
        let mut last = Vec::new();
        while let Some(piece) = self.error.read().await {
            last.extend_from_slice(&piece);
        }
        let status: Value = serde_json::from_slice(&last).context("the session ended without a status")?;
        anyhow::ensure!(status["status"] == "Success", "the session ended with {status}");
        self.connection.close();
        Ok(bytes)
    }
}

/// One forwarded connection.
pub(crate) struct Forward {
    /// Its end would end the streams.
    _connection: Connection,
    error: Stream,
    data: Stream,
}

impl Forward {
    /// Opens a port-forward and a connection to `port` in it.
    pub(crate) async fn open(target: &Target, path: &str, port: u16, way: Way) -> anyhow::Result<Self> {
        let connection = match way {
            Way::Plain => plain(target, path, "portforward.k8s.io").await?,
            Way::Tunnel => tunnel(target, path).await?,
        };
        let port = port.to_string();
        let label = |kind| [("streamtype", kind), ("port", port.as_str()), ("requestid", "0")];
        let error = stream(&connection, &label("error")).await?;
        error.finish().await?;
        let data = stream(&connection, &label("data")).await?;
        Ok(Self { _connection: connection, error, data })
    }

    /// Reads so many bytes.
    pub(crate) async fn take(&mut self, count: usize) -> anyhow::Result<usize> {
        let mut bytes = 0;
        while bytes < count {
            match self.data.read().await {
                Some(piece) => bytes += piece.len(),
                None => bail!("the port-forward ended after {bytes} bytes: {:?}", self.error.read().await),
            }
        }
        Ok(bytes)
    }

    /// Sends so many zeros.
    pub(crate) async fn send_zeros(&self, count: usize) -> anyhow::Result<()> {
        send_zeros(&self.data, count).await
    }
}

/// The bytes of all binary messages of a WebSocket.
struct Tunnel {
    socket: WebSocketStream<TlsStream<TcpStream>>,
    left: Bytes,
}

fn broken(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        other => io::Error::other(other),
    }
}

impl AsyncRead for Tunnel {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.left.is_empty() {
            match ready!(Pin::new(&mut this.socket).poll_next(cx)) {
                Some(Ok(Message::Binary(bytes))) => this.left = bytes,
                Some(Ok(Message::Close(_))) | None => return Poll::Ready(Ok(())),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
            }
        }
        let taken = this.left.len().min(into.remaining());
        into.put_slice(&this.left[..taken]);
        this.left.advance(taken);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tunnel {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.socket).poll_ready(cx)).map_err(broken)?;
        let taken = bytes.len().min(2 * PIECE_BYTES);
        let message = Message::Binary(Bytes::copy_from_slice(&bytes[..taken]));
        Pin::new(&mut this.socket).start_send(message).map_err(broken)?;
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx).map_err(broken)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_close(cx).map_err(broken)
    }
}
