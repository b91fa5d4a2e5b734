//! Requests to group versions that other API servers serve, passed on in the user's name with this server's certificate.
//!
//! What such a server answers is followed nowhere (CVE-2022-3172), and the client's own credentials stay here.

use std::borrow::Cow;
use std::sync::Arc;

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
use crate::rest::handler::Incoming;
use crate::route::Route;
use crate::server::Response;

/// What is said instead of a redirection.
const REDIRECTED: &str = "the backend attempted to redirect this request, which is not permitted";

/// Answers a request below `/apis/{group}/{version}` of a remote group version.
///
/// # Errors
/// 401 and 403, 429, 503 in upstream's words when the server cannot be reached.
pub(crate) async fn handle(
    app: &Arc<App>,
    request: &Incoming,
    body: HttpBody,
    remote: &Remote,
    route: &Route,
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
    let mut guard = Guard::open(app, request, needed, (verb, object)).await?;
    if !remote.available {
        guard.answered(StatusCode::SERVICE_UNAVAILABLE.as_u16());
        return Ok(answer::text(503, "service unavailable\n"));
    }
    let upgrade = upgrade::wanted(request);
    let asked = ask(app, request, body, remote, upgrade.as_deref());
    let answered = tokio::select! {
        answered = asked => answered,
        // A server that does not answer is not waited for any longer than the user may ask it.
        status = guard.ends() => Err(status),
    };
    guard.answered(answered.as_ref().map_or_else(|status| status.code, |(answer, _)| answer.status().as_u16()));
    let (answer, links) = answered?;
    if answer.status().is_redirection() && answer.headers().contains_key(header::LOCATION) {
        return Ok(answer::text(502, REDIRECTED));
    }
    match upgrade {
        Some(protocol) => upgrade::answer(request, &protocol, answer, &links, guard),
        None => passed(answer, guard),
    }
}

/// Sends the request on, and waits for the head of the answer.
async fn ask(
    app: &Arc<App>,
    request: &Incoming,
    body: HttpBody,
    remote: &Remote,
    upgrade: Option<&str>,
) -> Result<(http::Response<HttpBody>, Links), Status> {
    let (backend, authority) = remote.connect(app).await.map_err(crate::aggregate::remote::Error::status)?;
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
    let answer = backend.send(outgoing.map(|()| body), None).await.map_err(|error| error.status())?;
    Ok((answer, links))
}

/// What the user must be allowed, and the verb for the audit.
fn needed(request: &Incoming, route: &Route) -> Result<(Attributes, &'static str), Status> {
    let (Route::Resource(path), method) = (route, &request.method) else {
        let verb = super::verb(&request.method)?;
        let path = Some(request.path.clone());
        return Ok((Attributes { verb: request.method.as_str().to_lowercase(), path, ..Attributes::default() }, verb));
    };
    let verb = match (method.clone(), path.name.is_empty()) {
        _ if path.watch || (request.query.flag("watch") && is_read(method)) => "watch",
        (Method::GET | Method::HEAD, true) => "list",
        (Method::DELETE, true) => "deletecollection",
        _ => super::verb(method)?,
    };
    let attributes = Attributes {
        verb: verb.to_owned(),
        group: path.group.clone(),
        version: path.version.clone(),
        resource: path.resource.clone(),
        subresource: path.subresource.clone(),
        namespace: path.namespace.clone(),
        name: path.name.clone(),
        ..Attributes::default()
    };
    Ok((attributes, verb))
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
