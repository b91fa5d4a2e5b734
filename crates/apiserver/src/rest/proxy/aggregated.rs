//! Requests to group versions that other API servers serve, passed on in the user's name with this server's certificate.
//!
//! What such a server answers is followed nowhere (CVE-2022-3172), and the client's own credentials stay here.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use gantry_api::names;
use gantry_api::selector::FieldSelector;
use gantry_api::status::Status;
use http::{HeaderValue, Method, Request, StatusCode, header};
use hyper::body::Incoming as HttpBody;

use super::guard::Guard;
use super::links::Links;
use super::{body, headers, upgrade};
use crate::aggregate::Remote;
use crate::aggregate::remote::name_user;
use crate::app::App;
use crate::audit::ObjectRef;
use crate::rbac::rule::Attributes;
use crate::rest::answer;
use crate::rest::handler::{Deadline, Incoming};
use crate::route::Route;
use crate::server::Response;

/// What is said instead of a redirection.
const REDIRECTED: &str = "the backend attempted to redirect this request, which is not permitted";

/// How long a server may take to say what it serves: clients ask all of them for that (upstream's bound).
const DISCOVERY_TIMEOUT: Duration = Duration::from_secs(5);

/// Answers a request below `/apis/{group}/{version}` of a remote group version. One that has a deadline and asks for no other
/// protocol is one of the requests in flight, to the end of its answer; the others last.
///
/// # Errors
/// 401 and 403, 429; 503 when the right ends or the server stops. That the other server cannot be reached is an answer: text,
/// as upstream's.
pub(crate) async fn handle(
    app: &Arc<App>,
    request: &Incoming,
    body: HttpBody,
    (remote, route): (&Remote, &Route),
    deadline: Option<Deadline>,
) -> Result<Response, Status> {
    let (needed, verb) = needed(request, route)?;
    let object = ObjectRef {
        resource: Cow::Owned(needed.resource.clone()),
        namespace: needed.namespace.clone(),
        name: needed.name.clone(),
        uid: String::new(),
        api_version: Cow::Owned(remote.version.clone()),
        subresource: Cow::Owned(needed.subresource.clone()),
    };
    let upgrade = upgrade::wanted(request);
    let until = deadline.filter(|_| upgrade.is_none()).map(|deadline| deadline.at);
    let mut guard = Guard::open(app, request, needed, (verb, object), until).await?;
    if !remote.available {
        guard.answered(StatusCode::SERVICE_UNAVAILABLE.as_u16());
        return Ok(answer::text(503, "service unavailable\n"));
    }
    let asked = ask(app, request, body, remote, upgrade.as_deref());
    let patience = async {
        match is_discovery(route) {
            true => tokio::time::sleep(DISCOVERY_TIMEOUT).await,
            false => std::future::pending().await,
        }
    };
    let answered = tokio::select! {
        answered = asked => answered,
        () = patience => Ok(Err(format!("error trying to reach service: no answer within {DISCOVERY_TIMEOUT:?}"))),
        // A server that does not answer is not waited for any longer than the user may ask it.
        status = guard.ends() => Err(status),
    };
    let code = match &answered {
        Ok(Ok((answer, _))) => answer.status(),
        Ok(Err(_)) => StatusCode::SERVICE_UNAVAILABLE,
        Err(status) => StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
    };
    guard.answered(code.as_u16());
    let (answer, links) = match answered? {
        Ok(found) => found,
        Err(why) => return Ok(answer::text(503, format!("{why}\n"))),
    };
    if answer.status().is_redirection() && answer.headers().contains_key(header::LOCATION) {
        return Ok(answer::text(502, REDIRECTED));
    }
    match upgrade {
        Some(protocol) => upgrade::answer(request, &protocol, answer, &links, guard),
        None => passed(answer, guard),
    }
}

/// Whether the path is `/apis/{group}/{version}` itself.
fn is_discovery(route: &Route) -> bool {
    matches!(route, Route::Plain(path) if path.trim_matches('/').split('/').count() == 3)
}

/// The answer's head, or why the server did not answer.
type Asked = Result<(http::Response<HttpBody>, Links), String>;

/// Sends the request on, and waits for the head of the answer.
///
/// # Errors
/// For what cannot be sent at all.
async fn ask(
    app: &Arc<App>,
    request: &Incoming,
    body: HttpBody,
    remote: &Remote,
    upgrade: Option<&str>,
) -> Result<Asked, Status> {
    let (backend, authority) = match remote.connect(app).await {
        Ok(connected) => connected,
        Err(error) => return Ok(Err(error.status().message)),
    };
    let path = super::path_and_query(request);
    let mut outgoing = Request::new(());
    *outgoing.method_mut() = request.method.clone();
    *outgoing.uri_mut() =
        path.parse().map_err(|error| Status::bad_request(format!("the path cannot be passed on: {error}")))?;
    let mut sent = headers::towards_backend(request, upgrade);
    app.authenticator.strip(&mut sent);
    name_user(&mut sent, &request.caller.user).map_err(Status::internal)?;
    if let Ok(host) = HeaderValue::from_str(&authority) {
        sent.insert(header::HOST, host);
    }
    *outgoing.headers_mut() = sent;
    let links = Links::new("", [&authority, headers::host(request)]);
    let answer = backend.send(outgoing.map(|()| body)).await;
    Ok(answer.map(|answer| (answer, links)).map_err(|error| error.status().message))
}

/// What the user must be allowed, and the verb for the audit.
fn needed(request: &Incoming, route: &Route) -> Result<(Attributes, &'static str), Status> {
    let (Route::Resource(path), method) = (route, &request.method) else {
        let verb = super::verb(&request.method)?;
        let path = Some(request.path.clone());
        return Ok((Attributes { verb: request.method.as_str().to_lowercase(), path, ..Attributes::default() }, verb));
    };
    let verb = match (method.clone(), path.name.is_empty()) {
        _ if path.watch => "watch",
        (Method::GET | Method::HEAD, true) if request.query.flag("watch") => "watch",
        (Method::GET | Method::HEAD, true) => "list",
        (Method::DELETE, true) => "deletecollection",
        _ => super::verb(method)?,
    };
    let mut attributes = Attributes {
        verb: verb.to_owned(),
        group: path.group.clone(),
        version: path.version.clone(),
        resource: path.resource.clone(),
        subresource: path.subresource.clone(),
        namespace: path.namespace.clone(),
        name: path.name.clone(),
        ..Attributes::default()
    };
    // In whatever group: as upstream reads a path, what follows `namespaces` is a namespace.
    if path.resource == "namespaces" && path.namespace.is_empty() {
        attributes.namespace.clone_from(&path.name);
    }
    if is_read(method)
        && !path.watch
        && path.name.is_empty()
        && let Some(name) = selected(request.query.get("fieldSelector"))
    {
        attributes.name = name;
    }
    Ok((attributes, verb))
}

/// The one name that a list is about, as upstream takes it for authorisation.
fn selected(fields: &str) -> Option<String> {
    let selector = FieldSelector::parse(fields).ok()?;
    selector.exact("metadata.name").filter(|name| names::path_segment(name).is_empty()).map(str::to_owned)
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// An answer that is no upgrade, passed on.
fn passed(answer: http::Response<HttpBody>, guard: Guard) -> Result<Response, Status> {
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Status::failure(502, "BadGateway", "the backend switched protocols without being asked"));
    }
    let (mut parts, rest) = answer.into_parts();
    headers::towards_client(&mut parts.headers);
    let mut response = Response::new(body::passed(rest, None, guard));
    (*response.status_mut(), *response.headers_mut()) = (parts.status, parts.headers);
    Ok(response)
}
