//! One connection to a webhook: TLS and HTTP/1.1.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use gantry_api::Value;
use gantry_common::{task, tls};
use http::{Request, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;
use tracing::debug;

use super::ANSWER_BYTES_MAX;
use super::error::Error;
use super::place::{Place, Target};
use crate::app::App;
use crate::dial::{self, Endpoint};

/// Bytes of an answer's head, and of what is read ahead.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// Bytes of an error's body that are shown.
const SHOWN_BYTES_MAX: usize = 1024;
/// As upstream calls itself, which some webhooks look at.
const AGENT: &str = "kube-apiserver-admission";
/// Where systems keep the certificates that they trust.
const SYSTEM_ROOTS: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// A connection that waits for a request.
pub(super) struct Connection(SendRequest<Full<Bytes>>);

impl Connection {
    /// Connects to the webhook, and makes sure that it is the one.
    pub(super) async fn open(app: &App, place: &Place) -> Result<Self, Error> {
        let config = trust(place)?;
        let name = ServerName::try_from(place.certified.clone()).map_err(|error| {
            Error::Config(format!("{:?} cannot be the name in a certificate: {error}", place.certified))
        })?;
        let stream = match &place.target {
            Target::Trusted => dial::anywhere(&place.host, place.port).await.map_err(unreachable)?,
            Target::Outside => dial::outside(app, &place.host, place.port).await.map_err(unreachable)?,
            Target::Service { namespace, name } => {
                let port = place.port.to_string();
                // Endpoints that are no pods are fine: who answers must show the Service's certificate.
                let endpoint = Endpoint::Service { namespace, name, port: &port, outside: true };
                dial::dial(app, endpoint, place.port).await.map_err(unreachable)?.stream
            }
        };
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(Error::Tls)?;
        let mut builder = http1::Builder::new();
        builder.max_buf_size(BUFFER_BYTES_MAX);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(Error::Http)?;
        drop(task::spawn("webhook", async move {
            if let Err(error) = connection.await {
                debug!(%error, "connection to a webhook ended");
            }
        }));
        Ok(Self(sender))
    }

    /// Whether another request can be sent on it.
    pub(super) fn is_reusable(&self) -> bool {
        !self.0.is_closed()
    }

    /// Sends a request and reads its answer to the end.
    pub(super) async fn send(&mut self, place: &Place, path: &str, body: Bytes) -> Result<Value, Error> {
        let mut request = Request::post(path)
            .header(header::HOST, place.authority())
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::ACCEPT, "application/json, */*")
            .header(header::USER_AGENT, AGENT)
            .body(Full::new(body))
            .map_err(|error| Error::Config(format!("the path cannot be asked for: {error}")))?;
        if let Some(credential) = &place.credential
            && let Some(value) = credential.authorization().await
        {
            request.headers_mut().insert(header::AUTHORIZATION, value);
        }
        self.0.ready().await.map_err(Error::Unsent)?;
        let answer = self.0.try_send_request(request).await.map_err(|mut failed| match failed.take_message() {
            Some(_) => Error::Unsent(failed.into_error()),
            None => Error::Http(failed.into_error()),
        })?;
        let (parts, body) = answer.into_parts();
        let bytes = match Limited::new(body, ANSWER_BYTES_MAX).collect().await {
            Ok(collected) => collected.to_bytes(),
            Err(error) if error.is::<LengthLimitError>() => return Err(Error::TooLarge(ANSWER_BYTES_MAX)),
            Err(error) => {
                let error = error.downcast::<hyper::Error>();
                return Err(error.map_or_else(|other| Error::Config(other.to_string()), |e| Error::Http(*e)));
            }
        };
        if !parts.status.is_success() {
            let shown = &bytes[..bytes.len().min(SHOWN_BYTES_MAX)];
            let text = String::from_utf8_lossy(shown).trim().to_owned();
            return Err(Error::Refused { code: parts.status.as_u16(), text });
        }
        serde_json::from_slice(&bytes).map_err(Error::Json)
    }
}

fn unreachable(error: dial::Error) -> Error {
    match error {
        dial::Error::Refused(status) | dial::Error::Unreachable(status) => Error::Dial(status),
    }
}

/// Whom to believe: the CA bundle alone, or the system's certificates where there is none.
/// And the certificate that is shown, where there is one.
fn trust(place: &Place) -> Result<rustls::ClientConfig, Error> {
    let system;
    let pem = if place.ca_bundle.is_empty() {
        let found = SYSTEM_ROOTS.iter().map(Path::new).find(|path| path.exists());
        system = tls::read(found.unwrap_or_else(|| Path::new(SYSTEM_ROOTS[0]))).map_err(Error::Roots)?;
        &system
    } else {
        &place.ca_bundle
    };
    let identity = place.credential.as_ref().and_then(|credential| credential.identity.as_ref());
    tls::client_config(pem, identity, &[b"http/1.1"]).map_err(Error::Roots)
}
