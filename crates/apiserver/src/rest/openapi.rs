//! OpenAPI: version 3 by group and version with hashes in the links, version 2 as one document, JSON or protobuf.

use bytes::Bytes;
use gantry_api::openapi::{self, Document};
use gantry_api::status::Status;
use http::{HeaderValue, StatusCode, header};

use super::answer;
use super::handler::Incoming;
use crate::server::{Body, Response};

/// The protobuf form of version 2, as clients ask for it and as upstream writes it.
const ASKED: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
const WRITTEN: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
const JSON: &str = "application/json";

/// Answers a request below `/openapi/`.
///
/// # Errors
/// 405 for anything but reads, 406 for forms other than JSON.
pub(crate) fn answer(request: &Incoming, path: &str) -> Result<Response, Status> {
    if !matches!(request.method, http::Method::GET | http::Method::HEAD) {
        return Err(Status::method_not_allowed());
    }
    match path {
        "/openapi/v3" => Ok(answer::value(200, &openapi::index(), request.style)),
        "/openapi/v2" => {
            if wants_protobuf(request) {
                return Ok(document(request, openapi::v2_protobuf(), WRITTEN, false));
            }
            accepts_json(request)?;
            Ok(document(request, openapi::v2(), JSON, false))
        }
        other => {
            let found = other.strip_prefix("/openapi/v3/").and_then(openapi::v3);
            let Some(found) = found else { return Ok(answer::text(404, "404 page not found\n")) };
            accepts_json(request)?;
            let named = request.query.get("hash") == found.hash;
            Ok(document(request, found, JSON, named))
        }
    }
}

/// Whether the protobuf form of version 2 comes first in what the client takes.
fn wants_protobuf(request: &Incoming) -> bool {
    let accept = request.header(header::ACCEPT);
    let media = |a: &str| a.split(';').next().unwrap_or_default().trim().to_owned();
    accept.split(',').map(media).find(|m| matches!(m.as_str(), ASKED | WRITTEN | JSON)).is_some_and(|m| m != JSON)
}

/// Clients that insist on protobuf of version 3 fall back by themselves once they are refused.
fn accepts_json(request: &Incoming) -> Result<(), Status> {
    let accept = request.header(header::ACCEPT);
    let json = accept.is_empty()
        || accept.split(',').any(|a| {
            let media = a.split(';').next().unwrap_or_default().trim();
            matches!(media, "application/json" | "*/*" | "application/*")
        });
    if json { Ok(()) } else { Err(Status::not_acceptable("application/json")) }
}

fn document(request: &Incoming, document: &'static Document, content_type: &'static str, immutable: bool) -> Response {
    let etag = format!("\"{}\"", document.hash);
    let mut response = if request.header(header::IF_NONE_MATCH).contains(&etag) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else {
        let bytes = Bytes::from_static(&document.bytes);
        match content_type {
            JSON => answer::json(200, bytes, request.style),
            other => answer::stream(other, Body::new(http_body_util::Full::new(bytes))),
        }
    };
    let headers = response.headers_mut();
    let cache = if immutable { "public, immutable" } else { "no-cache, private" };
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache));
    headers.insert(header::VARY, HeaderValue::from_static("Accept"));
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        headers.insert(header::ETAG, etag);
    }
    response
}
