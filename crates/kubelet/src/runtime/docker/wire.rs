//! Requests whose answer is a stream: joined processes and logs. Each has a connection of its own, whose two directions
//! end by themselves, and nothing is read from it that nobody takes.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Method, Request, Response, StatusCode,
    body::Incoming,
    client::conn::http1,
    header::{CONNECTION, CONTENT_TYPE, HOST, UPGRADE},
};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use crate::runtime::Error;

/// Bytes of a refusal that are read.
const REFUSAL_BYTES: usize = 64 * 1024;

fn unreachable<E>(endpoint: &str) -> impl FnOnce(E) -> Error
where
    E: std::error::Error + Send + Sync + 'static,
{
    let endpoint = endpoint.to_owned();
    move |source| Error::Unreachable { endpoint, source: Box::new(source) }
}

async fn send(endpoint: &str, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Error> {
    let path = endpoint.strip_prefix("unix://").unwrap_or(endpoint);
    let stream = UnixStream::connect(path).await.map_err(unreachable(endpoint))?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(unreachable(endpoint))?;
    // It ends with the body or the upgraded stream; its errors are theirs too.
    gantry_common::task::spawn("docker-stream", async move { drop(connection.with_upgrades().await) });
    sender.send_request(request).await.map_err(unreachable(endpoint))
}

async fn refused(response: Response<Incoming>) -> Error {
    #[derive(serde::Deserialize)]
    struct Refusal {
        message: String,
    }
    let code = response.status().as_u16();
    let body = Limited::new(response.into_body(), REFUSAL_BYTES).collect().await;
    let bytes = body.map(|body| body.to_bytes()).unwrap_or_default();
    let message = match serde_json::from_slice::<Refusal>(&bytes) {
        Ok(refusal) => refusal.message,
        Err(_) => String::from_utf8_lossy(&bytes).trim().to_owned(),
    };
    Error::Refused { code, message }
}

fn request(method: Method, path: &str, body: Option<String>, upgrade: bool) -> Result<Request<Full<Bytes>>, Error> {
    let mut builder = Request::builder().method(method).uri(path).header(HOST, "docker");
    if upgrade {
        builder = builder.header(CONNECTION, "Upgrade").header(UPGRADE, "tcp");
    }
    if body.is_some() {
        builder = builder.header(CONTENT_TYPE, "application/json");
    }
    let built = builder.body(Full::new(Bytes::from(body.unwrap_or_default())));
    // Only identifiers and numbers are put into paths; others come from the API server, which has names checked.
    built.map_err(|error| Error::Refused { code: 400, message: format!("cannot ask for {path:?}: {error}") })
}

/// A connection that was handed over, and what had arrived on it already.
pub(super) struct Joined {
    pub(super) stream: UnixStream,
    pub(super) arrived: Bytes,
}

/// Asks for a stream in both directions.
pub(super) async fn join(endpoint: &str, path: &str, body: Option<String>) -> Result<Joined, Error> {
    let response = send(endpoint, request(Method::POST, path, body, true)?).await?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(refused(response).await);
    }
    let upgraded = hyper::upgrade::on(response).await.map_err(unreachable(endpoint))?;
    let parts = upgraded.downcast::<TokioIo<UnixStream>>();
    let parts = parts.map_err(|_| Error::Incomplete { what: "an upgrade", field: "stream of its own" })?;
    Ok(Joined { stream: parts.io.into_inner(), arrived: parts.read_buf })
}

/// Asks for a stream to read.
pub(super) async fn read(endpoint: &str, path: &str) -> Result<Incoming, Error> {
    let response = send(endpoint, request(Method::GET, path, None, false)?).await?;
    if !response.status().is_success() {
        return Err(refused(response).await);
    }
    Ok(response.into_body())
}
