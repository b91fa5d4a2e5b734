//! Discovery: what is served, in the aggregated form and in the older one.

use std::net::SocketAddr;

use gantry_api::Value;
use gantry_api::discovery::{self, Root};
use gantry_api::kinds::Kinds;
use gantry_api::status::Status;
use http::{HeaderValue, Method, StatusCode, header};

use super::handler::Incoming;
use super::proxy::headers;
use super::{answer, negotiate};
use crate::aggregate::documents;
use crate::app::App;
use crate::request::Format;
use crate::served::Aggregated;
use crate::server::{Body, Response};

/// The `Content-Type` of the aggregated form as YAML, and as protobuf.
const AGGREGATED_YAML: &str = "application/yaml;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
const AGGREGATED_PROTOBUF: &str =
    "application/vnd.kubernetes.protobuf;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// `/api`, `/apis` and `/`.
///
/// # Errors
/// 405 for a HEAD of the core group, as upstream's router has it; 406 for a form that discovery does not come in.
pub(crate) fn root(app: &App, request: &Incoming, path: &str) -> Result<Response, Status> {
    if path == "/api" && request.method == Method::HEAD {
        return Err(Status::method_not_allowed());
    }
    let (served, others) = (app.kinds.now(), &app.aggregator);
    let root = match path {
        "/api" => Root::Api,
        "/apis" => Root::Apis,
        _ => return Ok(answer::value(200, &paths(app), request.style)),
    };
    let accept = request.header(header::ACCEPT);
    let mut response = if let Some(format) = negotiate::aggregated_discovery(accept) {
        let local = served.aggregated(root);
        match others.aggregated(&local.bytes).filter(|_| root == Root::Apis) {
            Some(all) => aggregated_answer(request, format, &Aggregated::of(&all)),
            None => aggregated_answer(request, format, local),
        }
    } else {
        let style = request.style.in_format(negotiate::plain(accept)?);
        let body = match root {
            Root::Api => discovery::api_versions(&server_address(app, request)),
            Root::Apis => others.group_list(discovery::group_list(&served.kinds)),
        };
        answer::json(200, discovery::text(&body).into(), style)
    };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    Ok(response)
}

/// Where clients reach this server: as it is advertised, else as this client called it.
pub(crate) fn server_address(app: &App, request: &Incoming) -> String {
    match app.config.advertised() {
        Some(address) => SocketAddr::new(address, app.config.secure_port).to_string(),
        None => headers::host(request).to_owned(),
    }
}

fn aggregated_answer(request: &Incoming, format: Format, document: &Aggregated) -> Response {
    let matches = request.header(header::IF_NONE_MATCH).split(',').any(|tag| tag.trim() == document.etag);
    let mut response = if matches {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        answer::json(200, document.bytes.clone(), request.style.in_format(format))
    };
    let headers = response.headers_mut();
    if !matches {
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static(match format {
                Format::Yaml => AGGREGATED_YAML,
                Format::Protobuf => AGGREGATED_PROTOBUF,
                Format::Json => discovery::AGGREGATED_CONTENT_TYPE,
            }),
        );
    }
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public"));
    if let Ok(etag) = HeaderValue::from_str(&document.etag) {
        headers.insert(header::ETAG, etag);
    }
    response
}

/// `/api/v1`, `/apis/{group}` and `/apis/{group}/{version}`.
///
/// # Errors
/// 405 for anything but reads, and for a HEAD of what a group and version built in here serves, as upstream's router has it; 406
/// for a form that discovery does not come in.
pub(crate) fn group(app: &App, request: &Incoming, path: &str) -> Result<Response, Status> {
    let served = app.kinds.now();
    let (kinds, told) = (&served.kinds, &served.told);
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let is_built_in = match segments.as_slice() {
        ["api", _] => true,
        ["apis", group, version] => kinds.of(group, version).any(|kind| kind.custom.is_none()),
        _ => false,
    };
    match request.method {
        Method::GET => {}
        Method::HEAD if !is_built_in => {}
        _ => return Err(Status::method_not_allowed()),
    }
    let style = request.style.in_format(negotiate::plain(request.header(header::ACCEPT))?);
    let found: Option<Value> = match segments.as_slice() {
        ["api", version] => discovery::resource_list(told, "", version),
        ["apis", group] => whole_group(app, kinds, group),
        ["apis", group, version] => discovery::resource_list(told, group, version),
        _ => None,
    };
    Ok(match found {
        Some(body) => answer::json(200, discovery::text(&body).into(), style),
        None => answer::text(404, "404 page not found\n"),
    })
}

/// `APIGroup` with what others serve of the group.
fn whole_group(app: &App, kinds: &Kinds, name: &str) -> Option<Value> {
    let local = discovery::group(kinds, name);
    let is_bare = local.is_none();
    let mut group = app.aggregator.group(local.unwrap_or_else(|| documents::bare_group(name)))?;
    if is_bare {
        group["kind"] = "APIGroup".into();
        group["apiVersion"] = "v1".into();
    }
    Some(group)
}

/// What `/` lists.
fn paths(app: &App) -> Value {
    let kinds = app.kinds.kinds();
    let mut paths: Vec<String> =
        ["/.well-known/openid-configuration", "/api", "/api/v1", "/apis", "/flagz", "/healthz", "/livez", "/metrics"]
            .map(str::to_owned)
            .to_vec();
    for (group, version) in kinds.group_versions().into_iter().filter(|(g, _)| !g.is_empty()) {
        paths.push(format!("/apis/{group}"));
        paths.push(format!("/apis/{group}/{version}"));
    }
    for remote in app.aggregator.remotes() {
        paths.extend([format!("/apis/{}", remote.group), remote.root()]);
    }
    paths.extend(
        ["/metrics/slis", "/openapi/v2", "/openapi/v3", "/openid/v1/jwks", "/readyz", "/statusz", "/version"]
            .map(str::to_owned),
    );
    paths.sort();
    paths.dedup();
    serde_json::json!({ "paths": paths })
}
