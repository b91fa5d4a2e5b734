//! One connection: HTTP/1.1 or HTTP/2, each request to gRPC or REST by its content type.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gantry_api::status::Status;
use gantry_common::settled::Settled;
use gantry_common::task;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tonic::service::Routes;
use tracing::debug;

use super::door::{Door, Doored};
use super::heads::Timed;
use super::standing::Standing;
use super::{Response, tls};
use crate::app::App;
use crate::auth::authenticator::Peer;
use crate::grpc::{convert, entry};
use crate::rest;

/// How long an HTTP/1.1 connection may wait for the end of its next head; [`super::heads`] gives a head that has begun less.
/// Upstream keeps idle connections for 90 s, and clients must not find one closed that they were about to use.
const IDLE_TIMEOUT: Duration = Duration::from_secs(95);
/// Streams at once on one connection.
const STREAMS_MAX: u32 = 1000;
/// Bytes that a stream may have in flight.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
/// Bytes that a connection may have in flight: as much as all its streams together, so that sessions which nobody reads cannot
/// close the window for the others. It is a bound, not a buffer: only bytes that nobody took are held.
const CONNECTION_WINDOW_BYTES: u32 = STREAM_WINDOW_BYTES * STREAMS_MAX;
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
    pub(crate) standing: Arc<Standing>,
}

pub(super) fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(IDLE_TIMEOUT);
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
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let (stream, door) = Doored::new(stream);
    let (stream, heads) = Timed::new(stream, !is_http2);
    let (standing, shutdown, bounds) = (origin.standing.clone(), app.shutdown.clone(), app.config.connections.clone());
    let service = service_fn(move |mut request: http::Request<Incoming>| {
        heads.came(request.version());
        let asked = (request.version() == http::Version::HTTP_2).then(|| origin.standing.asked());
        if request.version() == http::Version::HTTP_11 {
            request.extensions_mut().insert::<Arc<dyn Door>>(door.clone());
        }
        let (heads, answer) = (heads.clone(), answer(app.clone(), origin.clone(), grpc.clone(), request));
        async move {
            let response = answer.await?;
            Ok::<_, Infallible>(match asked {
                Some(asked) => asked.answered(response),
                None => heads.answered(response),
            })
        }
    });
    let connection = builder().serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
    // Whoever stops the server waits for this.
    let _open = watcher;
    let own = GracefulShutdown::new();
    let watched = own.watch(connection);
    // A task of its own: what ends the connection must not be looked at whenever something comes on it.
    let mut served = task::spawn("connection", async move {
        if let Err(error) = Settled::new(std::pin::pin!(watched)).await {
            debug!(%address, %error, "connection ended");
        }
    });
    tokio::select! {
        _ = &mut served => return,
        () = shutdown.requested() => {}
        () = standing.over(is_http2, &bounds) => {
            debug!(%address, known = standing.is_known(), "connection is told to end");
        }
        () = standing.given_up() => {
            debug!(%address, "connection is given up: others need its place, and nobody has said whose it is");
            return served.abort();
        }
    }
    let ended = own.shutdown();
    if standing.is_known() {
        return ended.await;
    }
    if tokio::time::timeout(bounds.last, ended).await.is_err() {
        served.abort();
    }
}

async fn answer(
    app: Arc<App>,
    origin: Arc<Origin>,
    grpc: Routes,
    mut request: http::Request<Incoming>,
) -> Result<Response, Infallible> {
    // A server that has just started would take everybody for nobody: a moment's patience instead of a refusal.
    let known = is_probe(request.uri().path()) || app.authorizer.known(START_PATIENCE).await;
    request.extensions_mut().insert(origin);
    match (is_grpc(&request), known) {
        (true, true) => entry::answer(&app, grpc, request).await,
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
    // What is proxied may be gRPC between a client and a pod.
    if request.uri().path().starts_with("/api") {
        return false;
    }
    let content_type = request.headers().get(http::header::CONTENT_TYPE);
    content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"))
}
