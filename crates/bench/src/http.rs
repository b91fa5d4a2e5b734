//! HTTP/1.1 with keep-alive over TLS: what most clients of the API do.
//!
//! The load generator shares the processors with what it measures, so this client does little: one task asks and reads, nothing
//! is woken in between, and a body is handed on where it was decrypted.

use anyhow::{Context, bail};
use bytes::Bytes;
use gantry_common::tls::{self, Identity};
use hyper::{Method, StatusCode};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Bytes taken from the kernel at once, and bytes of an answer that are decrypted before they are looked at. rustls by itself
/// takes 4 KiB at once.
const READ_BYTES: usize = 64 << 10;

/// How to reach an API server.
#[derive(Clone)]
pub(crate) struct Target {
    authority: String,
    name: ServerName<'static>,
    connector: TlsConnector,
    token: Option<String>,
}

impl Target {
    /// `server` is `https://host:port`.
    pub(crate) fn new(
        server: &str,
        name: Option<&str>,
        ca_pem: &[u8],
        identity: Option<&Identity>,
        token: Option<String>,
    ) -> anyhow::Result<Self> {
        let authority =
            server.strip_prefix("https://").context("the server's URL must be https")?.trim_end_matches('/');
        let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
        let name = ServerName::try_from(name.unwrap_or(host).to_owned()).context("the server's name")?;
        let config = tls::client_config(ca_pem, identity, &[b"http/1.1"])?;
        Ok(Self {
            authority: authority.to_owned(),
            name,
            connector: TlsConnector::from(std::sync::Arc::new(config)),
            token,
        })
    }

    /// From a kubeconfig file.
    pub(crate) fn from_kubeconfig(path: &std::path::Path) -> anyhow::Result<Self> {
        let context = gantry_common::kubeconfig::load_file(path, None)?;
        let server = context.servers.first().context("the kubeconfig names no server")?;
        let name = context.tls_server_name.as_deref();
        Self::new(server, name, &context.ca_pem, context.identity.as_ref(), context.token.clone())
    }

    /// `host:port`.
    pub(crate) fn authority(&self) -> &str {
        &self.authority
    }

    /// A TLS connection on which nothing was sent yet.
    pub(crate) async fn stream(&self) -> anyhow::Result<TlsStream<TcpStream>> {
        self.over(self.dial().await?).await
    }

    async fn dial(&self) -> anyhow::Result<TcpStream> {
        let stream =
            TcpStream::connect(&self.authority).await.with_context(|| format!("connecting to {}", self.authority))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn over<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) -> anyhow::Result<TlsStream<S>> {
        self.connector.connect(self.name.clone(), stream).await.context("TLS handshake")
    }

    pub(crate) async fn connect(&self) -> anyhow::Result<Connection> {
        let token = self.token.as_ref().map_or_else(String::new, |token| format!("authorization: Bearer {token}\r\n"));
        Ok(Connection {
            stream: self.over(BufReader::with_capacity(READ_BYTES, self.dial().await?)).await?,
            fields: format!(
                "host: {}\r\nuser-agent: gantry-bench\r\ncontent-type: application/json\r\n{token}",
                self.authority
            ),
            read: vec![0; READ_BYTES],
            start: 0,
            end: 0,
            rest: Rest::Nothing,
        })
    }

    pub(crate) async fn connections(&self, count: usize) -> anyhow::Result<Vec<Connection>> {
        futures::future::try_join_all((0..count).map(|_| self.connect())).await
    }
}

/// What is still to come of an answer's body (RFC 9112, section 6).
#[derive(Debug, Clone, Copy)]
enum Rest {
    Nothing,
    Bytes(u64),
    /// The size of a chunk comes next.
    Size,
    /// These bytes of a chunk, then a line's end.
    Chunk(u64),
    /// The line's end after a chunk.
    ChunkEnd,
    /// The line's end after the last chunk. There are no trailers.
    LastEnd,
}

/// One connection, one request at a time.
pub(crate) struct Connection {
    stream: TlsStream<BufReader<TcpStream>>,
    /// What every request's head has.
    fields: String,
    /// Decrypted bytes; those from `start` to `end` were not looked at yet.
    read: Vec<u8>,
    start: usize,
    end: usize,
    rest: Rest,
}

impl Connection {
    /// Asks, and reads the answer's head; the body is what [`Connection::piece`] says.
    pub(crate) async fn send(&mut self, method: Method, path: &str, body: Bytes) -> anyhow::Result<StatusCode> {
        let head = format!("{method} {path} HTTP/1.1\r\n{}content-length: {}\r\n\r\n", self.fields, body.len());
        let mut request = head.into_bytes();
        request.extend_from_slice(&body);
        self.stream.write_all(&request).await?;
        self.stream.flush().await?;
        loop {
            if let Some(status) = self.head()? {
                return Ok(status);
            }
            self.more().await?;
        }
    }

    /// The head that was read, when it is there as a whole.
    fn head(&mut self) -> anyhow::Result<Option<StatusCode>> {
        let mut fields = [httparse::EMPTY_HEADER; 32];
        let mut response = httparse::Response::new(&mut fields);
        let httparse::Status::Complete(length) = response.parse(&self.read[self.start..self.end])? else {
            return Ok(None);
        };
        let field = |name: &str| response.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
        self.rest = match (field("transfer-encoding"), field("content-length")) {
            (Some(_), _) => Rest::Size,
            (None, Some(length)) => Rest::Bytes(std::str::from_utf8(length.value)?.parse()?),
            (None, None) => bail!("an answer that does not say how long it is"),
        };
        let status = StatusCode::from_u16(response.code.context("an answer without a status")?)?;
        self.start += length;
        Ok(Some(status))
    }

    /// Reads more of what was not looked at yet.
    async fn more(&mut self) -> anyhow::Result<()> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.end == self.read.len() {
            anyhow::ensure!(self.start > 0, "a head of more than {READ_BYTES} bytes");
            self.read.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        let read = self.stream.read(&mut self.read[self.end..]).await?;
        anyhow::ensure!(read > 0, "the server closed the connection");
        self.end += read;
        Ok(())
    }

    /// The next bytes of the answer's body, `None` at its end.
    pub(crate) async fn piece(&mut self) -> anyhow::Result<Option<&[u8]>> {
        loop {
            if let Rest::Nothing | Rest::Bytes(0) = self.rest {
                self.rest = Rest::Nothing;
                return Ok(None);
            }
            let left = &self.read[self.start..self.end];
            match self.rest {
                Rest::Bytes(rest) | Rest::Chunk(rest) if !left.is_empty() => {
                    let length = left.len().min(usize::try_from(rest)?);
                    let after = rest - length as u64;
                    self.rest = match self.rest {
                        Rest::Chunk(_) if after == 0 => Rest::ChunkEnd,
                        Rest::Chunk(_) => Rest::Chunk(after),
                        _ => Rest::Bytes(after),
                    };
                    self.start += length;
                    return Ok(Some(&self.read[self.start - length..self.start]));
                }
                Rest::ChunkEnd | Rest::LastEnd if left.len() >= 2 => {
                    anyhow::ensure!(left.starts_with(b"\r\n"), "a chunk that does not end with its line");
                    self.rest = if let Rest::LastEnd = self.rest { Rest::Nothing } else { Rest::Size };
                    self.start += 2;
                }
                Rest::Size => match httparse::parse_chunk_size(left).ok().context("a broken size of a chunk")? {
                    httparse::Status::Complete((length, size)) => {
                        self.rest = if size == 0 { Rest::LastEnd } else { Rest::Chunk(size) };
                        self.start += length;
                    }
                    httparse::Status::Partial => self.more().await?,
                },
                _ => self.more().await?,
            }
        }
    }

    /// The body; anything but a 2xx is an error.
    pub(crate) async fn call(&mut self, method: Method, path: &str, body: Bytes) -> anyhow::Result<Bytes> {
        let (status, body) = self.answer(method.clone(), path, body).await?;
        if !status.is_success() {
            bail!("{method} {path}: {status}: {}", String::from_utf8_lossy(&body[..body.len().min(600)]));
        }
        Ok(body)
    }

    pub(crate) async fn answer(
        &mut self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> anyhow::Result<(StatusCode, Bytes)> {
        let status = self.send(method, path, body).await?;
        let mut body = Vec::new();
        while let Some(piece) = self.piece().await? {
            body.extend_from_slice(piece);
        }
        Ok((status, body.into()))
    }

    pub(crate) async fn get(&mut self, path: &str) -> anyhow::Result<Bytes> {
        self.call(Method::GET, path, Bytes::new()).await
    }

    /// Reads a body without keeping it; returns its size.
    pub(crate) async fn get_size(&mut self, path: &str) -> anyhow::Result<usize> {
        let status = self.send(Method::GET, path, Bytes::new()).await?;
        anyhow::ensure!(status.is_success(), "GET {path}: {status}");
        let mut size = 0;
        while let Some(piece) = self.piece().await? {
            size += piece.len();
        }
        Ok(size)
    }
}
