//! `pods|services|nodes/{[scheme:]name[:port]}/proxy/{path}`: a request passed on to what runs in the cluster, and its answer
//! passed back. What both sides must not learn of each other (credentials, connections) stays here.

pub(crate) mod aggregated;
mod body;
mod guard;
pub(super) mod headers;
mod html;
mod links;
mod name;
mod upgrade;

use std::sync::Arc;

use gantry_api::status::Status;
use http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use hyper::body::Incoming as HttpBody;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::json;

use self::guard::Guard;
use self::links::Links;
use self::name::Name;
use super::handler::Incoming;
use crate::admission::{Operation, Request as Admission};
use crate::app::App;
use crate::dial;
use crate::dial::backend::Backend;
use crate::request::Target;
use crate::server::{Body, Response};
use crate::sessions::over::Over;

/// The verb that a method needs, as upstream's request info has it: OPTIONS has none, so only `*` allows it.
fn verb(method: &Method) -> Result<&'static str, Status> {
    Ok(match *method {
        Method::GET | Method::HEAD => "get",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        Method::OPTIONS => "",
        _ => return Err(Status::method_not_allowed()),
    })
}

/// Answers a request to `/proxy`; `rest` is what follows, as it was sent.
///
/// # Errors
/// 401 and 403, 400 for a name that makes no sense, 404, 503 in upstream's words when the backend cannot be reached.
pub(crate) async fn handle(
    app: &Arc<App>,
    request: &Incoming,
    body: HttpBody,
    target: &Target,
    rest: &str,
) -> Result<Response, Status> {
    let mut guard = Guard::take(app, request, target, verb(&request.method)?).await?;
    admit(app, request, target, rest).await.inspect_err(|status| guard.answered(status.code))?;
    let name = Name::parse(target).inspect_err(|status| guard.answered(status.code))?;
    let wanted = path(request, rest);
    let upgrade = upgrade::wanted(request);
    if wanted.is_empty() && upgrade.is_none() && matches!(request.method, Method::GET | Method::HEAD) {
        // As upstream: only what is there is worth another request.
        let found = dial::look_up(app, name.endpoint(target), name.default_port()).await;
        let answer = found.and_then(|()| redirect_to_slash(request));
        guard.answered(answer.as_ref().map_or_else(|status| status.code, |answer| answer.status().as_u16()));
        return answer;
    }
    let asked = ask(app, request, body, (&name, target), (&wanted, rest), upgrade.as_deref());
    let answered = tokio::select! {
        answered = asked => answered,
        // A backend that does not answer is not waited for any longer than the user may ask it.
        status = guard.ends() => Err(status),
    };
    guard.answered(answered.as_ref().map_or_else(|status| status.code, |(answer, ..)| answer.status().as_u16()));
    let (answer, links, over) = answered?;
    guard.follow(over);
    match upgrade {
        Some(protocol) => upgrade::answer(request, &protocol, answer, &links, guard),
        None => passed(request, answer, &links, guard),
    }
}

/// Asks webhooks and policies.
async fn admit(app: &App, request: &Incoming, target: &Target, rest: &str) -> Result<(), Status> {
    let kind = target.sub().map_or("", |sub| sub.kind);
    let mut options = json!({"kind": kind, "apiVersion": "v1"});
    if !rest.is_empty() {
        options["path"] = rest.into();
    }
    Admission::new(app, &request.caller, target, Operation::Connect).admit_other(&mut options).await
}

/// Sends the request on, and waits for the head of the answer.
async fn ask(
    app: &Arc<App>,
    request: &Incoming,
    body: HttpBody,
    (name, target): (&Name<'_>, &Target),
    (wanted, rest): (&str, &str),
    upgrade: Option<&str>,
) -> Result<(http::Response<HttpBody>, Links, Option<Over>), Status> {
    let dialed = dial::dial(app, name.endpoint(target), name.default_port()).await.map_err(dial::Error::proxied)?;
    let over = dialed.stream.over();
    let links = Links::new(prefix(request, rest), [&dialed.authority, headers::host(request)]);
    let mut outgoing = outgoing(request, wanted, upgrade)?;
    app.authenticator.strip(outgoing.headers_mut());
    let backend = Backend::new(app, dialed, name.secure()).await.map_err(|error| error.status())?;
    let answer = backend.send(outgoing.map(|()| body)).await.map_err(|error| error.status())?;
    Ok((answer, links, over))
}

/// Backends expect a path that ends in a slash where relative links of their first page begin.
fn redirect_to_slash(request: &Incoming) -> Result<Response, Status> {
    let query = query(request).map_or_else(String::new, |query| format!("?{query}"));
    let location = HeaderValue::from_str(&format!("{}/{query}", request.path))
        .map_err(|error| Status::bad_request(format!("the path cannot be passed on: {error}")))?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}

/// The query as it was sent.
fn query(request: &Incoming) -> Option<&str> {
    request.uri.split_once('?').map(|(_, query)| query)
}

/// Path and query as they were sent, without scheme and host.
fn path_and_query(request: &Incoming) -> String {
    query(request).map_or_else(|| request.path.clone(), |query| format!("{}?{query}", request.path))
}

/// The part of the path that ends in `/proxy`.
fn prefix<'a>(request: &'a Incoming, rest: &str) -> &'a str {
    request.path.strip_suffix(rest).unwrap_or(&request.path)
}

/// What may stand in a path besides letters and digits.
const PATH: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'<').add(b'>').add(b'?').add(b'`').add(b'{').add(b'}').add(b'%');

/// The backend's path: what follows, or else the parameter `path`.
fn path(request: &Incoming, rest: &str) -> String {
    match (rest, request.query.get("path")) {
        ("", "") => String::new(),
        ("", path) => format!("/{}", utf8_percent_encode(path.trim_start_matches('/'), PATH)),
        (rest, _) => rest.to_owned(),
    }
}

/// The head of the request to the backend.
fn outgoing(request: &Incoming, path: &str, upgrade: Option<&str>) -> Result<Request<()>, Status> {
    let path = if path.is_empty() { "/" } else { path };
    let uri = query(request).map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    let uri: Uri =
        uri.parse().map_err(|error| Status::bad_request(format!("the path cannot be passed on: {error}")))?;
    let mut outgoing = Request::new(());
    *outgoing.method_mut() = request.method.clone();
    *outgoing.uri_mut() = uri;
    *outgoing.headers_mut() = headers::towards_backend(request, upgrade);
    Ok(outgoing)
}

/// An answer that is no upgrade, passed on.
fn passed(
    request: &Incoming,
    answer: http::Response<HttpBody>,
    links: &Links,
    guard: Guard,
) -> Result<Response, Status> {
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        // Nobody asked for it, and what follows is no HTTP.
        return Err(Status::failure(502, "BadGateway", "the backend switched protocols without being asked"));
    }
    let (mut parts, body) = answer.into_parts();
    headers::towards_client(&mut parts.headers);
    links.rewrite_location(&mut parts.headers);
    let rewriter = html::Rewriter::for_answer(&request.method, parts.status, &mut parts.headers, links);
    let mut response = Response::new(body::passed(body, rewriter, guard));
    *response.status_mut() = parts.status;
    *response.headers_mut() = parts.headers;
    Ok(response)
}
