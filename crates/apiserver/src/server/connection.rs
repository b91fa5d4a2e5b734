//! One connection: HTTP/1.1 or HTTP/2, each request to gRPC or REST by its content type.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gantry_api::status::Status;
use gantry_common::settled::Settled;
use gantry_common::task;
use http::header::STRICT_TRANSPORT_SECURITY;
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
/// Header bytes of one request (upstream's bound). Of them a path and query have 65,534 at most: more a URI cannot hold.
const HEADER_BYTES_MAX: u32 = 1 << 20;
/// Headers of one request over HTTP/1.1. Upstream counts bytes alone; here room for all of them is made for each request.
const HEADERS_MAX: usize = 1024;
/// Header bytes of the requests over HTTP/2 that are under way on a connection on which nobody has said who he is. There may
/// be as many requests as streams, and nobody could make the server hold a GiB for each connection.
const NOBODYS_HEADER_BYTES_MAX: usize = 4 << 20;
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

/// The header bytes of requests under way.
#[derive(Debug, Default)]
struct Heads(AtomicUsize);

/// Those of one request, as long as it is under way.
#[derive(Debug)]
struct Head {
    all: Arc<Heads>,
    bytes: usize,
}

impl Heads {
    /// Makes room for the head of a request; `None` where there is none.
    fn take<B>(self: &Arc<Self>, request: &http::Request<B>) -> Option<Head> {
        let headers: usize = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        let bytes = headers + request.uri().path_and_query().map_or(0, |path| path.as_str().len());
        let head = Head { all: self.clone(), bytes };
        (self.0.fetch_add(bytes, Ordering::Relaxed) + bytes <= NOBODYS_HEADER_BYTES_MAX).then_some(head)
    }
}

impl Drop for Head {
    fn drop(&mut self) {
        self.all.0.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// 431: too much at once.
fn too_many_heads() -> Status {
    let why = "the headers of all requests under way on this connection are too long for one on which nobody has shown a \
               credential: send fewer at once";
    Status::failure(431, "RequestHeaderFieldsTooLarge", why)
}

/// What serves connections; `streams`: at once on one of HTTP/2, 0 for as many as usual.
pub(super) fn builder(streams: u32) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_TIMEOUT)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEADER_BYTES_MAX as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(if streams == 0 { STREAMS_MAX } else { streams })
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
    let (under_way, streams) = (Arc::<Heads>::default(), app.config.http2_max_streams_per_connection);
    let service = service_fn(move |mut request: http::Request<Incoming>| {
        heads.came(request.version());
        let nobodys = request.version() == http::Version::HTTP_2 && !origin.standing.is_known();
        let head = nobodys.then(|| under_way.take(&request));
        let asked = (request.version() == http::Version::HTTP_2).then(|| origin.standing.asked());
        if request.version() == http::Version::HTTP_11 {
            request.extensions_mut().insert::<Arc<dyn Door>>(door.clone());
        }
        let (heads, answer) = (heads.clone(), answer(app.clone(), origin.clone(), grpc.clone(), request));
        async move {
            let response = match &head {
                Some(None) => rest::answer::status(&too_many_heads(), rest::answer::Style::default()),
                _ => answer.await?,
            };
            drop(head);
            Ok::<_, Infallible>(match asked {
                Some(asked) => asked.answered(response),
                None => heads.answered(response),
            })
        }
    });
    let connection = builder(streams).serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
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
        (false, true) => {
            let security = app.transport_security.clone();
            let mut response = rest::handler::handle(app, request).await;
            response.headers_mut().extend(security.map(|value| (STRICT_TRANSPORT_SECURITY, value)));
            Ok(response)
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_long_heads_of_nobody_are_bounded_together() {
        let heads = Arc::<Heads>::default();
        let long = "x".repeat(1 << 20);
        let request = http::Request::builder().uri("/a").header("b", long).body(()).expect("a request");
        let held: Vec<_> = std::iter::from_fn(|| heads.take(&request)).collect();
        assert_eq!(held.len(), 3, "of a MiB and three bytes each");
        drop(held);
        assert_eq!(heads.0.load(Ordering::Relaxed), 0);
        assert!(heads.take(&request).is_some());
    }
}
