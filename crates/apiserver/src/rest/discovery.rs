//! Discovery: what is served, in the aggregated form and in the older one.

use gantry_api::Value;
use gantry_api::discovery::{self, Root};
use gantry_api::kinds::Kinds;
use gantry_api::status::Status;
use http::{HeaderValue, StatusCode, header};

use super::handler::Incoming;
use super::{answer, negotiate};
use crate::served::{Aggregated, Served};
use crate::server::{Body, Response};

/// `/api`, `/apis` and `/`.
pub(crate) fn root(served: &Served, request: &Incoming, path: &str) -> Response {
    let root = match path {
        "/api" => Root::Api,
        "/apis" => Root::Apis,
        _ => return answer::value(200, &paths(&served.kinds), request.style),
    };
    let mut response = if negotiate::aggregated_discovery(Some(request.header(header::ACCEPT))) {
        aggregated_answer(request, served.aggregated(root))
    } else {
        let body = match root {
            Root::Api => discovery::api_versions(request.header(header::HOST)),
            Root::Apis => discovery::group_list(&served.kinds),
        };
        answer::value(200, &body, request.style)
    };
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    response
}

fn aggregated_answer(request: &Incoming, document: &Aggregated) -> Response {
    let matches = request.header(header::IF_NONE_MATCH).split(',').any(|tag| tag.trim() == document.etag);
    let mut response = if matches {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        answer::json(200, document.bytes.clone(), request.style)
    };
    let headers = response.headers_mut();
    if !matches {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(discovery::AGGREGATED_CONTENT_TYPE));
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
/// 405 for anything but reads.
pub(crate) fn group(kinds: &Kinds, request: &Incoming, path: &str) -> Result<Response, Status> {
    if !matches!(request.method, http::Method::GET | http::Method::HEAD) {
        return Err(Status::method_not_allowed());
    }
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let found: Option<Value> = match segments.as_slice() {
        ["api", version] => discovery::resource_list(kinds, "", version),
        ["apis", group] => discovery::group(kinds, group),
        ["apis", group, version] => discovery::resource_list(kinds, group, version),
        _ => None,
    };
    Ok(match found {
        Some(body) => answer::value(200, &body, request.style),
        None => answer::text(404, "404 page not found\n"),
    })
}

/// What `/` lists.
fn paths(kinds: &Kinds) -> Value {
    let mut paths: Vec<String> =
        ["/.well-known/openid-configuration", "/api", "/api/v1", "/apis", "/healthz", "/livez", "/metrics"]
            .map(str::to_owned)
            .to_vec();
    for (group, version) in kinds.group_versions().into_iter().filter(|(g, _)| !g.is_empty()) {
        paths.push(format!("/apis/{group}"));
        paths.push(format!("/apis/{group}/{version}"));
    }
    paths.extend(["/openapi/v2", "/openapi/v3", "/openid/v1/jwks", "/readyz", "/version"].map(str::to_owned));
    paths.sort();
    paths.dedup();
    serde_json::json!({ "paths": paths })
}
