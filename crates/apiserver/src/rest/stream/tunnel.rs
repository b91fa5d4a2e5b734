//! A byte stream in the binary messages of a WebSocket: how kubectl sends SPDY through what speaks WebSocket only.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Error, Message};

use super::websocket::{Io, accept};

/// Bytes of one message.
const MESSAGE_BYTES_MAX: usize = 64 << 10;

/// The bytes of all binary messages, in order, each way.
pub(crate) struct Tunnel<T> {
    socket: WebSocketStream<T>,
    left: Bytes,
    ended: bool,
}

impl<T: Io> Tunnel<T> {
    /// On a connection whose handshake is done.
    pub(crate) async fn new(io: T) -> Self {
        Self { socket: accept(io).await, left: Bytes::new(), ended: false }
    }
}

fn broken(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        Error::ConnectionClosed | Error::AlreadyClosed => io::ErrorKind::BrokenPipe.into(),
        other => io::Error::other(other),
    }
}

impl<T: Io> AsyncRead for Tunnel<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.left.is_empty() && !this.ended {
            match ready!(Pin::new(&mut this.socket).poll_next(cx)) {
                Some(Ok(Message::Binary(bytes))) => this.left = bytes,
                Some(Ok(Message::Text(_))) => {
                    return Poll::Ready(Err(io::Error::other("a tunnel carries binary messages only")));
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Ok(Message::Close(_))) | None => this.ended = true,
                Some(Err(error)) => return Poll::Ready(Err(broken(error))),
            }
        }
        let taken = this.left.len().min(into.remaining());
        into.put_slice(&this.left[..taken]);
        this.left.advance(taken);
        Poll::Ready(Ok(()))
    }
}

impl<T: Io> AsyncWrite for Tunnel<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(Pin::new(&mut this.socket).poll_ready(cx)).map_err(broken)?;
        let taken = bytes.len().min(MESSAGE_BYTES_MAX);
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

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::*;

    #[tokio::test]
    async fn bytes_pass_whatever_the_messages_are() {
        use futures::{SinkExt, StreamExt};
        let (near, far) = tokio::io::duplex(1000);
        let mut tunnel = Tunnel::new(near).await;
        let mut client = WebSocketStream::from_raw_socket(far, Role::Client, None).await;
        let sent: Vec<u8> = (0..200_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let client_side = async {
            for piece in sent.chunks(70_001) {
                client.send(Message::Binary(Bytes::copy_from_slice(piece))).await.expect("sent");
                client.send(Message::Binary(Bytes::new())).await.expect("sent");
            }
            let mut got = Vec::new();
            while let Some(Ok(Message::Binary(bytes))) = client.next().await {
                got.extend_from_slice(&bytes);
            }
            got
        };
        let server_side = async {
            let mut got = vec![0; sent.len()];
            tunnel.read_exact(&mut got).await.expect("read");
            tunnel.write_all(&got).await.expect("written");
            tunnel.flush().await.expect("flushed");
            tunnel.shutdown().await.expect("closed");
            got
        };
        let (echoed, got) = tokio::join!(client_side, server_side);
        assert!(got == sent && echoed == sent);
    }
}
