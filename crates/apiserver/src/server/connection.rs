//! One connection: HTTP/1.1 or HTTP/2, each request to gRPC or REST by its content type.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gantry_api::status::Status;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::Watcher;
use tonic::service::Routes;
use tower_service::Service;
use tracing::debug;

use super::{Body, Response, tls};
use crate::app::App;
use crate::auth::authenticator::Peer;
use crate::grpc::{convert, deadline};
use crate::rest;

/// How long a client may take to send its request line and headers.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// Bytes that a stream, and a connection, may have in flight.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
/// Streams at once on one connection.
const STREAMS_MAX: u32 = 1000;
/// Header bytes of one request.
const HEADER_BYTES_MAX: u32 = 64 << 10;
/// How long requests wait for a server that has just started.
const START_PATIENCE: Duration = Duration::from_secs(5);
/// A peer that does not answer a ping for this long is gone.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);

/// Where a connection comes from.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    pub(crate) peer: Option<Peer>,
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT);
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}

/// Serves one connection to its end.
pub(crate) async fn serve(app: Arc<App>, grpc: Routes, stream: tls::Stream, origin: Origin, watcher: Watcher) {
    let address = origin.address;
    let origin = Arc::new(origin);
    let service =
        service_fn(move |request: http::Request<Incoming>| answer(app.clone(), origin.clone(), grpc.clone(), request));
    let connection = builder().serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
    if let Err(error) = watcher.watch(connection).await {
        debug!(%address, %error, "connection ended");
    }
}

async fn answer(
    app: Arc<App>,
    origin: Arc<Origin>,
    mut grpc: Routes,
    mut request: http::Request<Incoming>,
) -> Result<Response, Infallible> {
    // A server that has just started would take everybody for nobody: a moment's patience instead of a refusal.
    let known = is_probe(request.uri().path()) || app.authorizer.known(START_PATIENCE).await;
    request.extensions_mut().insert(origin);
    match (is_grpc(&request), known) {
        (true, true) => {
            let headers = request.headers().clone();
            deadline::within(&headers, || grpc.call(request.map(Body::new))).await
        }
        (true, false) => Ok(convert::failed(starting()).into_http()),
        (false, true) => Ok(rest::handler::handle(app, request).await),
        (false, false) => Ok(rest::answer::status(&starting(), rest::answer::Style::default())),
    }
}

/// 503 while roles, bindings and service accounts are not read yet.
fn starting() -> Status {
    Status::unavailable("the API server is starting: it has not read the cluster's roles from etcd yet").retry_after(1)
}

fn is_probe(path: &str) -> bool {
    ["/healthz", "/livez", "/readyz", "/grpc.health.v1.Health/"].iter().any(|probe| path.starts_with(probe))
}

fn is_grpc<B>(request: &http::Request<B>) -> bool {
    let content_type = request.headers().get(http::header::CONTENT_TYPE);
    content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}
