//! HTTP/1.1 with keep-alive over TLS: what most clients of the API do.

use anyhow::{Context, bail};
use bytes::Bytes;
use gantry_common::tls::{self, Identity};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

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
        let stream =
            TcpStream::connect(&self.authority).await.with_context(|| format!("connecting to {}", self.authority))?;
        stream.set_nodelay(true)?;
        self.connector.connect(self.name.clone(), stream).await.context("TLS handshake")
    }

    pub(crate) async fn connect(&self) -> anyhow::Result<Connection> {
        let stream = self.stream().await?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        gantry_common::task::spawn("connection", async move {
            // Its end shows in the requests.
            drop(connection.await);
        });
        Ok(Connection { target: self.clone(), sender })
    }

    pub(crate) async fn connections(&self, count: usize) -> anyhow::Result<Vec<Connection>> {
        futures::future::try_join_all((0..count).map(|_| self.connect())).await
    }
}

/// One connection, one request at a time.
pub(crate) struct Connection {
    target: Target,
    sender: SendRequest<Full<Bytes>>,
}

impl Connection {
    pub(crate) async fn send(&mut self, method: Method, path: &str, body: Bytes) -> anyhow::Result<Response<Incoming>> {
        let mut request = Request::builder().method(method).uri(path).header("host", &self.target.authority);
        request = request.header("user-agent", "gantry-bench").header("content-type", "application/json");
        if let Some(token) = &self.target.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        self.sender.ready().await?;
        Ok(self.sender.send_request(request.body(Full::new(body))?).await?)
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
        let response = self.send(method, path, body).await?;
        let status = response.status();
        Ok((status, response.into_body().collect().await?.to_bytes()))
    }

    pub(crate) async fn get(&mut self, path: &str) -> anyhow::Result<Bytes> {
        self.call(Method::GET, path, Bytes::new()).await
    }

    /// Reads a body without keeping it; returns its size.
    pub(crate) async fn get_size(&mut self, path: &str) -> anyhow::Result<usize> {
        let response = self.send(Method::GET, path, Bytes::new()).await?;
        anyhow::ensure!(response.status().is_success(), "GET {path}: {}", response.status());
        let mut body = response.into_body();
        let mut size = 0;
        while let Some(frame) = body.frame().await {
            size += frame?.data_ref().map_or(0, Bytes::len);
        }
        Ok(size)
    }
}
