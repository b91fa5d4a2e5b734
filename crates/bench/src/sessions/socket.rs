//! A WebSocket to the API server that speaks `v5.channel.k8s.io`.

use anyhow::{Context, bail};
use futures::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Bytes, Message};

use crate::http::Target;

const STDOUT: u8 = 1;
const STATUS: u8 = 3;
const CLOSE: u8 = 255;
/// Bytes of one message; what kubectl sends.
const MESSAGE_BYTES: usize = 32 << 10;

/// An open session.
pub(crate) struct Socket(WebSocketStream<TlsStream<TcpStream>>);

/// A word as part of a query.
pub(crate) fn encode(word: &str) -> String {
    word.bytes()
        .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
}

/// A WebSocket that speaks `protocol`.
pub(crate) async fn open(
    target: &Target,
    path: &str,
    protocol: &str,
) -> anyhow::Result<WebSocketStream<TlsStream<TcpStream>>> {
    let stream = target.stream().await?;
    let mut request = format!("wss://{}{path}", target.authority()).into_client_request()?;
    request.headers_mut().insert("sec-websocket-protocol", protocol.parse()?);
    match tokio_tungstenite::client_async(request, stream).await {
        Ok((socket, _)) => Ok(socket),
        Err(tokio_tungstenite::tungstenite::Error::Http(answer)) => {
            let body = answer.body().as_deref().map(String::from_utf8_lossy).unwrap_or_default().into_owned();
            bail!("{path}: {}: {body}", answer.status());
        }
        Err(other) => Err(other).context(path.to_owned()),
    }
}

impl Socket {
    pub(crate) async fn open(target: &Target, path: &str) -> anyhow::Result<Self> {
        let protocol = if path.contains("/portforward") { "v4.channel.k8s.io" } else { "v5.channel.k8s.io" };
        Ok(Self(open(target, path, protocol).await?))
    }

    async fn next(&mut self) -> anyhow::Result<Option<(u8, Bytes)>> {
        loop {
            match self.0.next().await.transpose()? {
                Some(Message::Binary(data)) if !data.is_empty() => return Ok(Some((data[0], data.slice(1..)))),
                Some(Message::Close(_)) | None => return Ok(None),
                Some(_) => {}
            }
        }
    }

    /// Reads until the final status, which must be a success.
    pub(crate) async fn status(&mut self) -> anyhow::Result<()> {
        self.drain().await.map(drop)
    }

    /// Reads until the final status; returns the bytes of standard output.
    pub(crate) async fn drain(&mut self) -> anyhow::Result<usize> {
        let mut bytes = 0;
        while let Some((channel, data)) = self.next().await? {
            match channel {
                STDOUT => bytes += data.len(),
                STATUS if !data.is_empty() => {
                    let status: Value = serde_json::from_slice(&data)?;
                    anyhow::ensure!(status["status"] == "Success", "the session ended with {status}");
                    return Ok(bytes);
                }
                _ => {}
            }
        }
        bail!("the session ended without a status")
    }

    /// Reads so many bytes of the first data channel.
    pub(crate) async fn take(&mut self, count: usize) -> anyhow::Result<usize> {
        let mut bytes = 0;
        while bytes < count {
            match self.next().await? {
                Some((0, data)) => bytes += data.len(),
                Some((1, data)) if data.len() > 2 => bail!("port-forward: {}", String::from_utf8_lossy(&data)),
                Some(_) => {}
                None => bail!("the port-forward ended after {bytes} bytes"),
            }
        }
        Ok(bytes)
    }

    /// Sends zeros to a channel.
    pub(crate) async fn send_zeros(&mut self, channel: u8, count: usize) -> anyhow::Result<()> {
        let mut message = vec![0; MESSAGE_BYTES + 1];
        message[0] = channel;
        let message = Bytes::from(message);
        for _ in 0..count / MESSAGE_BYTES {
            self.0.feed(Message::Binary(message.clone())).await?;
        }
        Ok(self.0.flush().await?)
    }

    /// Half-closes a channel.
    pub(crate) async fn close_channel(&mut self, channel: u8) -> anyhow::Result<()> {
        Ok(self.0.send(Message::Binary(Bytes::from(vec![CLOSE, channel]))).await?)
    }
}
