//! One REST request from its headers to its answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gantry_api::status::Status;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::{Body, Incoming as HttpBody};
use hyper::upgrade::OnUpgrade;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::answer::{self, Style};
use super::proxy::aggregated;
use super::query::Query;
use super::{discovery, health, metrics, openapi, resource, zpages};
use crate::app::App;
use crate::audit::{self, AUDIT_ID};
use crate::flows::Asked;
use crate::metrics::access::Attempt;
use crate::metrics::requests::{Answered, DryRun, Labels, Verb};
use crate::pipeline::review;
use crate::rbac::authorizer;
use crate::rbac::rule::Attributes;
use crate::request::{Caller, Fence, Notes, Trail};
use crate::route::{self, ResourcePath, Route};
use crate::server::Response;
use crate::server::connection::Origin;
use crate::server::door::Door;
use crate::server::limits::{BODY_TIMEOUT, TOO_MANY};

/// Bytes of a request body (upstream's limit).
pub(crate) const BODY_BYTES_MAX: usize = 3 * 1024 * 1024;

/// How much of a larger body is still taken, so that its sender gets to read the answer.
const DISCARDED_BYTES_MAX: usize = 16 * 1024 * 1024;

/// How long a request may take that changes something, at most (upstream's bound).
const WRITE_TIMEOUT: Duration = Duration::from_secs(34);

/// What is said of a request that was not answered in time.
const LATE: &str = "request did not complete within the allotted timeout";
/// The same of one that changes something.
const LATE_WRITE: &str = "request did not complete within requested timeout - context deadline exceeded";

/// How long a client may go on sending a body that is not read.
const UNWANTED_TIMEOUT: Duration = Duration::from_secs(1);

/// A request whose caller is known.
pub(crate) struct Incoming {
    pub(crate) method: Method,
    /// Path and query as they were sent.
    pub(crate) uri: String,
    pub(crate) path: String,
    pub(crate) query: Query,
    pub(crate) headers: HeaderMap,
    pub(crate) caller: Caller,
    pub(crate) style: Style,
    /// The connection and what its client showed.
    pub(crate) origin: Option<Arc<Origin>>,
    /// A way past hyper, for bodies in chunks of HTTP/1.1.
    pub(crate) door: Option<Arc<dyn Door>>,
    /// The connection itself, for requests that ask for another protocol on it.
    pub(crate) upgrade: Mutex<Option<OnUpgrade>>,
}

impl Incoming {
    /// A header's text, `""` where it is absent.
    pub(crate) fn header(&self, name: impl header::AsHeaderName) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
    }
}

/// The body of a request until somebody takes it.
pub(crate) struct Unread(Option<HttpBody>);

impl Unread {
    /// The body.
    ///
    /// # Errors
    /// 500 if it was taken before.
    pub(crate) fn take(&mut self) -> Result<HttpBody, Status> {
        self.0.take().ok_or_else(|| Status::internal("the request body was read twice"))
    }

    /// Whether the client sends none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(Body::is_end_stream)
    }

    /// Takes a body that nobody wanted. HTTP/2 would end the stream while its client still sends, and some clients then do not
    /// look at the answer.
    async fn discard(self, version: http::Version) {
        let Some(mut body) = self.0.filter(|body| version == http::Version::HTTP_2 && !body.is_end_stream()) else {
            return;
        };
        // Who is slower has had his chance.
        drop(tokio::time::timeout(UNWANTED_TIMEOUT, discard(&mut body)).await);
    }
}

/// Reads a body up to the limit.
///
/// # Errors
/// 413 past the limit, 408 when it takes too long, 400 when the client breaks off.
pub(crate) async fn read_body(body: &mut Unread) -> Result<Bytes, Status> {
    in_time(&mut body.take()?).await
}

async fn in_time<B>(body: &mut B) -> Result<Bytes, Status>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    tokio::time::timeout(BODY_TIMEOUT, bounded(body)).await.map_err(|_| {
        Status::failure(408, "Timeout", format!("the request body did not arrive within {BODY_TIMEOUT:?}"))
    })?
}

async fn bounded<B>(body: &mut B) -> Result<Bytes, Status>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    match Limited::new(&mut *body, BODY_BYTES_MAX).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            discard(body).await;
            Err(Status::too_large(&format!("limit is {BODY_BYTES_MAX}")))
        }
        Err(error) => Err(Status::bad_request(format!("reading the request body failed: {error}"))),
    }
}

/// Reads on for a while: a client that is cut off while it sends does not see why.
async fn discard<B: Body<Data = Bytes> + Unpin>(body: &mut B) {
    let mut bytes = 0;
    while let Some(Ok(frame)) = body.frame().await {
        bytes += frame.data_ref().map_or(0, Bytes::len);
        if bytes > DISCARDED_BYTES_MAX {
            return;
        }
    }
}

/// Who calls, after impersonation. `about`: what is asked for, where that is known.
///
/// # Errors
/// 401, 403.
pub(crate) async fn caller(
    app: &App,
    origin: Option<&Arc<Origin>>,
    headers: &HeaderMap,
    about: Option<&Attributes>,
) -> Result<Caller, Status> {
    let peer = origin.and_then(|o| o.peer.as_ref());
    let notes = Arc::new(Notes::default());
    let began = Instant::now();
    let found = app.authenticator.authenticate(peer, headers, &notes).await;
    let attempt = match &found {
        Ok(_) => Attempt::Success,
        Err(_) if headers.contains_key(header::AUTHORIZATION) => Attempt::Error,
        Err(_) => Attempt::Failure,
    };
    let name = found.as_ref().ok().map(|user| user.name.as_str());
    app.authenticator.figures.asked(attempt, name, began.elapsed());
    let user = found?;
    if let Some(origin) = origin.filter(|_| !user.is_anonymous()) {
        origin.standing.is_somebodys();
    }
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let authenticated = headers.contains_key("impersonate-user").then(|| user.clone());
    let user = review::impersonate(app, user, headers, about).await?;
    let audit_id = match text(AUDIT_ID) {
        "" => uuid::Uuid::new_v4().to_string(),
        told => told.to_owned(),
    };
    let trail = Arc::new(Trail { audit_id, source: origin.map(|o| o.address.ip()), impersonator: authenticated });
    let fence = Fence::of(headers)?;
    Ok(Caller { notes, trail, ..Caller::new(user, text("user-agent"), fence) })
}

/// The name of a request in logs, of which everybody that it passes is told: the client's own, or a new one.
fn audit_id(headers: &mut HeaderMap) -> Option<HeaderValue> {
    if let Some(told) = headers.get(AUDIT_ID) {
        return Some(told.clone());
    }
    let id = HeaderValue::from_str(&uuid::Uuid::new_v4().to_string()).ok()?;
    headers.insert(AUDIT_ID, id.clone());
    Some(id)
}

/// What a request was, as far as its head tells.
fn counted(method: &Method, path: &str, query: &Query) -> Labels {
    let mut labels = Labels::new(Verb::of(method));
    labels.dry_run = DryRun::of(query.all("dryRun"));
    // Of the paths that name no resource, upstream counts these.
    if let Some(probe) = ["/healthz", "/livez", "/readyz"].into_iter().find(|probe| *probe == path) {
        labels.path(probe);
    }
    labels
}

/// What a request is about, for telling flows apart.
fn asked<'a>(route: &'a Route, method: &Method, query: &Query) -> Asked<'a> {
    let verb = |one: &'static str, all: &'static str, unnamed: bool| if unnamed { all } else { one };
    match route {
        Route::Plain(path) => {
            let verb = match *method {
                Method::HEAD => "head",
                Method::POST => "post",
                Method::PUT => "put",
                Method::PATCH => "patch",
                Method::DELETE => "delete",
                _ => "get",
            };
            Asked { verb, path: Some(path), ..Asked::default() }
        }
        Route::Resource(path) => {
            let all = path.name.is_empty();
            let verb = match *method {
                _ if path.watch => "watch",
                Method::POST => "create",
                Method::PUT => "update",
                Method::PATCH => "patch",
                Method::DELETE => verb("delete", "deletecollection", all),
                _ if query.flag("watch") => verb("get", "watch", all),
                _ => verb("get", "list", all),
            };
            let (group, resource, subresource) = (&path.group, &path.resource, &path.subresource);
            let namespace = authorizer::namespace_of((group, resource), &path.namespace, &path.name);
            Asked { verb, group, resource, subresource, namespace, path: None }
        }
        Route::Malformed => Asked::default(),
    }
}

/// Whether the caller may do this with what is not there: whoever may not is not told so (upstream authorises before it routes).
///
/// # Errors
/// 403.
pub(crate) async fn require(app: &App, request: &Incoming, path: &ResourcePath) -> Result<(), Status> {
    let about = attributes(&Route::Resource(path.clone()), &request.method, &request.query);
    app.authorizer.require(app, &request.caller.user, &about).await
}

/// What a request is about, for permissions.
fn attributes(route: &Route, method: &Method, query: &Query) -> Attributes {
    let asked = asked(route, method, query);
    let mut attributes = Attributes {
        verb: asked.verb.to_owned(),
        group: asked.group.to_owned(),
        resource: asked.resource.to_owned(),
        subresource: asked.subresource.to_owned(),
        namespace: asked.namespace.to_owned(),
        path: asked.path.map(str::to_owned),
        ..Attributes::default()
    };
    if let Route::Resource(path) = route {
        path.version.clone_into(&mut attributes.version);
        path.name.clone_into(&mut attributes.name);
    }
    attributes
}

fn failed(status: &Status, style: Style) -> Response {
    match status.message.as_str() {
        // Upstream's filter before its handlers, which knows no Status.
        TOO_MANY if status.code == 429 => answer::too_many(status),
        _ => answer::status(status, style),
    }
}

/// Answers a request.
pub(crate) async fn handle(app: Arc<App>, mut request: Request<HttpBody>) -> Response {
    let started = Instant::now();
    let upgrade = request.headers().contains_key(header::UPGRADE).then(|| hyper::upgrade::on(&mut request));
    let wants_upgrade = upgrade.is_some() && request.version() == http::Version::HTTP_11;
    let (mut parts, body) = request.into_parts();
    let (mut body, version) = (Unread(Some(body)), parts.version);
    let bodyless = parts.method == Method::HEAD;
    let audit_id = audit_id(&mut parts.headers);
    let query = Query::parse(parts.uri.query().unwrap_or_default());
    let style = Style::of(&parts.headers, &query);
    let origin = parts.extensions.get::<Arc<Origin>>().cloned();
    let door = parts.extensions.get::<Arc<dyn Door>>().cloned();
    let path = parts.uri.path().to_owned();
    let mut labels = counted(&parts.method, &path, &query);
    let mut notes = None;
    let mut flow = HeaderMap::new();
    let route = route::parse(&path);
    let about = parts.headers.contains_key("impersonate-user").then(|| attributes(&route, &parts.method, &query));
    let remote = if matches!(route, Route::Malformed) { None } else { app.aggregator.serving(&path) };
    let known = async {
        let deadline =
            deadline(&route, remote.is_some(), (&parts.method, &query), (started, app.config.request_timeout))?;
        Ok((deadline, caller(&app, origin.as_ref(), &parts.headers, about.as_ref()).await?))
    };
    let result = match known.await {
        Ok((deadline, mut caller)) => {
            notes = Some(caller.notes.clone());
            caller.flow = app.flows.tell(&caller.user, &asked(&route, &parts.method, &query), &mut flow);
            let upgrade = Mutex::new(upgrade);
            let (method, uri, headers) = (parts.method, parts.uri.to_string(), parts.headers);
            let request = Incoming { method, uri, path, query, headers, caller, style, origin, door, upgrade };
            let answer = async {
                match &remote {
                    Some(remote) => aggregated::handle(&app, &request, body.take()?, (remote, &route), deadline).await,
                    None => answered(&app, request, route, &mut body, &mut labels).await,
                }
            };
            within(deadline, Box::pin(answer)).await
        }
        Err(status) => {
            audit::unknown(&app, origin.as_deref(), &parts, &status);
            Err(status)
        }
    };
    let late = matches!(&result, Err(status) if status.code == 504 && is_late(status));
    let mut response = result.unwrap_or_else(|status| failed(&status, style));
    if let Some(notes) = &notes {
        answer::warn(&mut response, &notes.warnings());
    }
    response.headers_mut().extend(flow);
    if let Some(id) = audit_id {
        response.headers_mut().insert(AUDIT_ID, id);
    }
    if wants_upgrade && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        // The client may have sent more already, in the protocol that it wanted: none of it must be read as a request.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if bodyless {
        drop_body(&mut response);
    }
    body.discard(version).await;
    let code = response.status().as_u16();
    let answered = Answered { code, took: started.elapsed(), late, notes: notes.as_deref() };
    if let Some(series) = app.metrics.requests.observe(&labels, answered)
        && let Some(bytes) = response.body().size_hint().exact()
    {
        series.size(bytes);
    }
    response
}

/// Leaves of an answer what a HEAD gets: HTTP/2 would send the rest, and clients take that for a broken connection.
fn drop_body(response: &mut Response) {
    if let Some(length) = response.body().size_hint().exact() {
        response.headers_mut().entry(header::CONTENT_LENGTH).or_insert(length.into());
    }
    *response.body_mut() = crate::server::Body::empty();
}

/// When a request must be answered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadline {
    pub(crate) at: Instant,
    /// Whether it changes something.
    writes: bool,
}

/// When the request must be answered; `None` for streams and for what passes through. Writes to another server (`elsewhere`)
/// have their own bound there.
///
/// # Errors
/// 400 for a `timeout` that is no duration.
fn deadline(
    route: &Route,
    elsewhere: bool,
    (method, query): (&Method, &Query),
    (started, mut most): (Instant, Duration),
) -> Result<Option<Deadline>, Status> {
    let mut writes = false;
    if let Route::Resource(path) = route {
        let watches = path.watch || (path.name.is_empty() && query.flag("watch"));
        if watches || matches!(path.subresource.as_str(), "attach" | "exec" | "log" | "portforward" | "proxy") {
            return Ok(None);
        }
        writes = !elsewhere && !matches!(*method, Method::GET | Method::HEAD);
        if writes {
            most = most.min(WRITE_TIMEOUT);
        }
    }
    let wanted = match query.get("timeout") {
        "" => 0,
        text => gantry_api::duration::parse_go(text)
            .map_err(|why| Status::bad_request(format!("invalid timeout specified in the request URL - {why}")))?,
    };
    // Nothing, or more than there is: what there is.
    let wanted = u64::try_from(wanted).ok().filter(|n| *n > 0).map_or(most, Duration::from_nanos);
    Ok(Some(Deadline { at: started + wanted.min(most), writes }))
}

/// The answer, or 504 once its time is over, in the words of whoever of upstream's layers has waited.
async fn within(
    deadline: Option<Deadline>,
    answer: impl Future<Output = Result<Response, Status>>,
) -> Result<Response, Status> {
    let Some(Deadline { at, writes }) = deadline else { return answer.await };
    let why = if writes { LATE_WRITE } else { LATE };
    tokio::time::timeout_at(at, answer).await.unwrap_or_else(|_| Err(Status::timeout(why, 0)))
}

/// Whether a request was given up, and not answered by whoever worked on it.
fn is_late(status: &Status) -> bool {
    status.message.ends_with(LATE) || status.message.ends_with(LATE_WRITE)
}

async fn answered(
    app: &Arc<App>,
    request: Incoming,
    route: Route,
    body: &mut Unread,
    labels: &mut Labels,
) -> Result<Response, Status> {
    match route {
        Route::Resource(path) if path.hollow => {
            require(app, &request, &path).await?;
            Err(Status::no_such_resource())
        }
        Route::Malformed => Err(Status::bad_request("the path has a segment that cannot be part of a name")),
        Route::Plain(path) => plain(app, &request, &path).await,
        Route::Resource(path) => resource::handle(app, &request, body, path, labels).await,
    }
}

/// Paths that name no resource.
async fn plain(app: &Arc<App>, request: &Incoming, path: &str) -> Result<Response, Status> {
    let verb = request.method.as_str().to_lowercase();
    let attributes = Attributes { verb, path: Some(path.to_owned()), ..Attributes::default() };
    app.authorizer.require(app, &request.caller.user, &attributes).await?;
    let found = match forgiven(path) {
        "/healthz" | "/livez" | "/readyz" => health::answer(app, path, &request.query).await,
        // Upstream writes this for people, whoever asks.
        "/version" => answer::json(
            200,
            gantry_api::discovery::text(&health::version()).into(),
            Style { pretty: true, ..Style::default() },
        ),
        "/metrics" => metrics::all(app, request).await,
        "/metrics/slis" => metrics::slis(app, request),
        "/statusz" => zpages::statusz(app, request)?,
        "/flagz" => zpages::flagz(app, request)?,
        "/.well-known/openid-configuration" if health::has_openid(app) => {
            let address = discovery::server_address(app, request);
            health::published("application/json", &health::openid(app, &address))
        }
        "/openid/v1/jwks" if health::has_openid(app) => health::published("application/jwk-set+json", &app.keys.jwks()),
        "" | "/api" | "/apis" => discovery::root(app, request, path.trim_end_matches('/'))?,
        other if other.starts_with("/openapi/") => return openapi::answer(app, request, other).await,
        other if other.starts_with("/api/") || other.starts_with("/apis/") => {
            return discovery::group(app, request, other);
        }
        other if is_probe(other) => health::answer(app, other, &request.query).await,
        _ => answer::text(404, "404 page not found\n"),
    };
    if request.method != Method::GET && request.method != Method::HEAD {
        return Err(Status::method_not_allowed());
    }
    Ok(found)
}

/// The path as it is looked up: a slash at its end is nothing where upstream's router for the API is asked, elsewhere it makes
/// another path of it.
fn forgiven(path: &str) -> &str {
    let trimmed = path.trim_end_matches('/');
    let routed = ["/api/", "/apis/", "/version/", "/.well-known/", "/openid/"];
    let is_root = path == "/" || routed.iter().any(|root| path.starts_with(root));
    if is_root { trimmed } else { path }
}

fn is_probe(path: &str) -> bool {
    let checks = ["/healthz/", "/livez/", "/readyz/"];
    checks.iter().any(|probe| path.strip_prefix(probe).is_some_and(|check| !check.is_empty()))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::StreamExt;
    use http_body_util::StreamBody;
    use hyper::body::Frame;

    use super::*;

    #[tokio::test]
    async fn a_body_that_is_too_large_is_taken_before_it_is_refused() {
        const PIECE: usize = 1024 * 1024;
        let check = async |pieces: usize, taken: usize, code: u16| {
            let sent = AtomicUsize::new(0);
            let frames = futures::stream::iter(0..pieces).map(|_| {
                sent.fetch_add(1, Ordering::Relaxed);
                Ok::<_, Infallible>(Frame::data(Bytes::from(vec![b' '; PIECE])))
            });
            let answer = bounded(&mut StreamBody::new(frames)).await.map_or_else(|status| status.code, |_| 200);
            assert_eq!((sent.load(Ordering::Relaxed), answer), (taken, code), "{pieces} pieces");
        };
        check(3, 3, 200).await;
        check(5, 5, 413).await;
        check(100, 3 + 1 + 17, 413).await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_does_not_come_in_time_is_a_504() {
        let within_most = |method: Method, uri: &str, most: Duration, expected: Option<u64>| {
            let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
            let started = Instant::now();
            let asked = (&method, &Query::parse(query));
            let deadline =
                deadline(&route::parse(path), path.contains("/metrics/"), asked, (started, most)).expect("valid");
            assert_eq!(deadline.map(|deadline| (deadline.at - started).as_secs()), expected, "{uri}");
            deadline
        };
        let minute = Duration::from_secs(60);
        let of = |method, uri: &str, expected| within_most(method, uri, minute, expected);
        within_most(Method::GET, "/version?timeout=3m", minute * 2, Some(120));
        within_most(Method::POST, "/api/v1/namespaces/a/pods", minute / 6, Some(10));
        let check = async |uri: &str, expected| of(Method::GET, uri, expected);
        check("/version?timeout=3m", Some(60)).await;
        check("/version?timeout=0s", Some(60)).await;
        check("/version?timeout=-5s", Some(60)).await;
        check("/api/v1/pods?watch=1&timeout=5s", None).await;
        check("/api/v1/watch/pods", None).await;
        check("/api/v1/namespaces/a/pods/p/log", None).await;
        check("/api/v1/namespaces/a/pods/p?watch=1", Some(60)).await;
        let late = check("/api/v1/pods?timeout=5s", Some(5)).await;
        let status = within(late, std::future::pending()).await.expect_err("too late");
        assert_eq!((status.code, status.reason.as_str()), (504, "Timeout"));
        assert_eq!(status.message, "Timeout: request did not complete within the allotted timeout");
        of(Method::DELETE, "/api/v1/namespaces/a/pods/p?timeout=60s", Some(34));
        of(Method::POST, "/api/v1/namespaces/a/pods/p/exec", None);
        of(Method::POST, "/apis/metrics/v1/namespaces/a/pods", Some(60));
        of(Method::GET, "/apis/metrics/v1/namespaces/a/pods/p/log", None);
        let late = of(Method::POST, "/api/v1/namespaces/a/pods?timeout=5s", Some(5));
        let status = within(late, std::future::pending()).await.expect_err("too late");
        let why = "Timeout: request did not complete within requested timeout - context deadline exceeded";
        assert_eq!((status.code, status.message.as_str()), (504, why));
    }

    #[test]
    fn a_slash_at_the_end_is_forgiven_where_upstream_forgives_it() {
        for (path, expected) in [("/", ""), ("/apis/", "/apis"), ("/api/v1//", "/api/v1"), ("/version/", "/version")] {
            assert_eq!(forgiven(path), expected, "{path}");
        }
        for path in ["//", "/healthz/", "/metrics/", "//api/v1", "/openapi/v2/"] {
            assert_eq!(forgiven(path), path);
        }
        assert!(is_probe("/healthz/ping") && !is_probe("/healthz/"));
    }

    #[tokio::test(start_paused = true)]
    async fn attack_a_body_that_drips_has_its_time_and_no_more() {
        let began = tokio::time::Instant::now();
        let drops = futures::stream::repeat(()).then(|()| async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok::<_, Infallible>(Frame::data(Bytes::from_static(b" ")))
        });
        let status = in_time(&mut Box::pin(StreamBody::new(drops))).await.expect_err("it never ends");
        assert_eq!((status.code, status.reason.as_str()), (408, "Timeout"), "{}", status.message);
        assert!(began.elapsed() < BODY_TIMEOUT * 2, "{:?}", began.elapsed());
    }
}
