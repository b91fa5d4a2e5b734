//! HTTP/1.1 over a dialled connection, with TLS from end to end where it is wanted. A backend serves one request and is never
//! shared, so that no user's request can meet another's answer.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gantry_api::status::Status;
use gantry_common::{task, tls};
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::{InvalidDnsNameError, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tracing::debug;

use super::Dialed;
use crate::app::App;

/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a response's head, and of what is read ahead.
const BUFFER_BYTES_MAX: usize = 256 * 1024;

/// Why a backend cannot be talked to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("no CA to verify {name} with: give the API server --proxy-ca-file or --client-ca-file")]
    NoCa { name: String },
    #[error("{path} cannot be used to verify {name}")]
    Ca {
        path: PathBuf,
        name: String,
        #[source]
        source: tls::Error,
    },
    #[error("{name:?} cannot be the name in a certificate")]
    Name {
        name: String,
        #[source]
        source: InvalidDnsNameError,
    },
    #[error("tls: the other end must show a certificate for {name} that a CA of {trusted} has signed")]
    Tls {
        name: String,
        trusted: &'static str,
        #[source]
        source: std::io::Error,
    },
    #[error("tls: no handshake within {HANDSHAKE_TIMEOUT:?}")]
    TlsTimeout,
    #[error("no HTTP")]
    Http(#[source] hyper::Error),
}

impl Error {
    /// 503 in upstream's words.
    pub(crate) fn status(&self) -> Status {
        Status::unavailable(format!("error trying to reach service: {}", gantry_common::error_chain(self)))
    }
}

/// A connection that waits for its request.
pub(crate) struct Backend<B>(SendRequest<B>);

impl<B> Backend<B>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    /// Starts HTTP on the connection; `secure`: within TLS, always verified.
    ///
    /// # Errors
    /// When the other end is not who it should be, or does not speak.
    pub(crate) async fn new(app: &App, dialed: Dialed, secure: bool) -> Result<Self, Error> {
        let Dialed { stream, server_name, .. } = dialed;
        match server_name.filter(|_| secure) {
            Some(name) => Self::start(encrypted(app, stream, name).await?).await,
            None => Self::start(stream).await,
        }
    }

    /// Starts HTTP within TLS as `config` says; the other end must be `name`.
    ///
    /// # Errors
    /// As [`Backend::new`].
    pub(crate) async fn within_tls(dialed: Dialed, name: String, config: Arc<ClientConfig>) -> Result<Self, Error> {
        Self::start(handshake(dialed.stream, name, config, "the APIService's spec.caBundle").await?).await
    }

    async fn start<S>(stream: S) -> Result<Self, Error>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let mut builder = http1::Builder::new();
        builder.max_buf_size(BUFFER_BYTES_MAX);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(Error::Http)?;
        drop(task::spawn("backend", async move {
            if let Err(error) = connection.with_upgrades().await {
                debug!(%error, "connection to a backend ended");
            }
        }));
        Ok(Self(sender))
    }

    /// Sends the one request. The connection closes after its answer.
    ///
    /// # Errors
    /// When no answer comes.
    pub(crate) async fn send(mut self, request: Request<B>) -> Result<Response<Incoming>, Error> {
        self.0.send_request(request).await.map_err(Error::Http)
    }
}

async fn encrypted<S>(app: &App, stream: S, name: String) -> Result<tokio_rustls::client::TlsStream<S>, Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let config = &app.config;
    let Some(path) = config.proxy_ca_file.as_ref().or(config.client_ca_file.as_ref()) else {
        return Err(Error::NoCa { name });
    };
    // Read anew each time: a changed file counts at once, and such connections are rare.
    let unusable = |source| Error::Ca { path: path.clone(), name: name.clone(), source };
    let ca = tls::read(path).map_err(unusable)?;
    let client = tls::client_config(&ca, None, &[b"http/1.1"]).map_err(unusable)?;
    handshake(stream, name, Arc::new(client), "--proxy-ca-file").await
}

async fn handshake<S>(
    stream: S,
    name: String,
    config: Arc<ClientConfig>,
    trusted: &'static str,
) -> Result<tokio_rustls::client::TlsStream<S>, Error>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let server = ServerName::try_from(name.clone()).map_err(|source| Error::Name { name: name.clone(), source })?;
    let handshake = TlsConnector::from(config).connect(server, stream);
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await {
        Ok(stream) => stream.map_err(|source| Error::Tls { name, trusted, source }),
        Err(_) => Err(Error::TlsTimeout),
    }
}
