//! OpenAPI: version 3 by group and version with hashes in the links, version 2 as one document, each as JSON or protobuf.

use std::sync::Arc;

use gantry_api::openapi::{self, Form};
use gantry_api::status::Status;
use http::{HeaderValue, StatusCode, header};

use super::answer;
use super::documents::{Document, Which};
use super::handler::Incoming;
use crate::app::App;
use crate::server::{Body, Response};

/// The protobuf form of a version as clients ask for it, and as upstream writes it.
struct Protobuf {
    asked: &'static str,
    written: &'static str,
}

const V2: Protobuf = Protobuf {
    asked: "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
    written: "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
};
const V3: Protobuf = Protobuf {
    asked: "application/com.github.proto-openapi.spec.v3@v1.0+protobuf",
    written: "application/com.github.proto-openapi.spec.v3.v1.0+protobuf",
};
const JSON: &str = "application/json";
/// How long a document may be kept whose address names its hash.
const KEPT: jiff::SignedDuration = jiff::SignedDuration::from_hours(365 * 24);

/// Answers a request below `/openapi/`.
///
/// # Errors
/// 405 for anything but reads, 406 for forms that a document does not come in.
pub(crate) async fn answer(app: &App, request: &Incoming, path: &str) -> Result<Response, Status> {
    if !matches!(request.method, http::Method::GET | http::Method::HEAD) {
        return Err(Status::method_not_allowed());
    }
    let served = app.kinds.now();
    let documents = &served.documents;
    if path == "/openapi/v3" {
        let hashes = documents.hashes().await?;
        let index = app.aggregator.openapi(openapi::index(&hashes));
        return Ok(answer::value(200, &index, request.style));
    }
    let (which, protobuf) = match path.strip_prefix("/openapi/v3/") {
        Some(rest) => (Which::V3(rest.to_owned()), V3),
        None if path == "/openapi/v2" => (Which::V2, V2),
        None => return Ok(missing()),
    };
    let form = form(request.header(header::ACCEPT), &protobuf)?;
    let found = match &which {
        Which::V2 => app.aggregator.swagger(documents, form).await?,
        Which::V3(_) => documents.get(which.clone(), form).await?,
    };
    let Some(document) = found else { return Ok(missing()) };
    let content_type = if form == Form::Json { JSON } else { protobuf.written };
    let Which::V3(name) = which else { return Ok(body(request, &document, content_type)) };
    // Links name the hash of the JSON form, whichever form is then asked for.
    let current = match form {
        Form::Json => document.hash.clone(),
        Form::Protobuf => {
            let twin = documents.get(Which::V3(name.clone()), Form::Json).await?;
            twin.map(|document| document.hash.clone()).unwrap_or_default()
        }
    };
    match request.query.get("hash") {
        "" => Ok(body(request, &document, content_type)),
        hash if hash == current => Ok(kept(app, body(request, &document, content_type))),
        _ => Ok(moved(&format!("/openapi/v3/{name}?hash={current}"))),
    }
}

fn missing() -> Response {
    answer::text(404, "404 page not found\n")
}

/// The first form in what the client takes that there is.
fn form(accept: &str, protobuf: &Protobuf) -> Result<Form, Status> {
    let media_types = accept.split(',').map(|a| a.split(';').next().unwrap_or_default().trim());
    let form = |media: &str| match media {
        "" | JSON | "*/*" | "application/*" => Some(Form::Json),
        other if other == protobuf.asked || other == protobuf.written => Some(Form::Protobuf),
        _ => None,
    };
    let acceptable = || Status::not_acceptable(&format!("{JSON}, {}", protobuf.asked));
    media_types.into_iter().find_map(form).ok_or_else(acceptable)
}

fn body(request: &Incoming, document: &Arc<Document>, content_type: &'static str) -> Response {
    let etag = format!("\"{}\"", document.hash);
    let mut response = if request.header(header::IF_NONE_MATCH).split(',').any(|tag| tag.trim() == etag) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        response
    } else if request.style.gzip {
        let packed = Body::new(http_body_util::Full::new(document.packed.clone()));
        let mut response = answer::stream(content_type, packed);
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        response
    } else {
        answer::chunked(content_type, document.unpacked(), false, drop)
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    headers.insert(header::VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
    if let Ok(etag) = HeaderValue::from_str(&etag) {
        headers.insert(header::ETAG, etag);
    }
    response
}

/// What is behind a hash never changes.
fn kept(app: &App, mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
    let until = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&(app.clock.now() + KEPT));
    if let Some(until) = until.ok().and_then(|text| HeaderValue::from_str(&text).ok()) {
        headers.insert(header::EXPIRES, until);
    }
    response
}

/// The document has changed since the link was made.
fn moved(location: &str) -> Response {
    let mut response = answer::text(301, String::new());
    if let Ok(location) = HeaderValue::from_str(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_form_that_there_is() {
        let check = |accept: &str, expected: Option<Form>| assert_eq!(form(accept, &V3).ok(), expected, "{accept}");
        check("", Some(Form::Json));
        check("*/*", Some(Form::Json));
        check("application/com.github.proto-openapi.spec.v3@v1.0+protobuf", Some(Form::Protobuf));
        check("application/com.github.proto-openapi.spec.v3@v1.0+protobuf, application/json", Some(Form::Protobuf));
        check("application/json;q=1, application/com.github.proto-openapi.spec.v3@v1.0+protobuf", Some(Form::Json));
        check("text/html, application/json", Some(Form::Json));
        check("application/com.github.proto-openapi.spec.v2@v1.0+protobuf", None);
        check("text/html", None);
    }
}
