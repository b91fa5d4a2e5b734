//! HTTP answers: JSON, pretty or packed where the client likes it, Status for every failure.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use gantry_api::status::Status;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::StreamBody;

use crate::request::Format;
use crate::server::{Body, Response};

/// Smaller bodies are not worth packing (upstream's limit).
const GZIP_FROM_BYTES: usize = 128 * 1024;

/// The media type of Kubernetes protobuf.
pub(crate) const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// How the client wants JSON.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Style {
    /// JSON with lines and indents; other forms have but one look.
    pub(crate) pretty: bool,
    pub(crate) gzip: bool,
    /// YAML instead of JSON.
    pub(crate) yaml: bool,
    /// Protobuf instead of JSON.
    pub(crate) protobuf: bool,
}

impl Style {
    /// Reads the headers and the `pretty` parameter.
    pub(crate) fn of(headers: &HeaderMap, query: &super::query::Query) -> Self {
        let agent = headers.get(header::USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let by_hand = ["curl", "Wget", "Mozilla/5.0"].iter().any(|a| agent.starts_with(a));
        let asked = if query.has("pretty") { query.flag("pretty") } else { by_hand };
        let accept = headers.get(header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let chosen = super::negotiate::objects(accept);
        let gzip = headers.get(header::ACCEPT_ENCODING).and_then(|v| v.to_str().ok()).is_some_and(takes_gzip);
        let style = Self { pretty: asked || chosen.is_some_and(|chosen| chosen.pretty), gzip, ..Self::default() };
        style.in_format(chosen.map_or(Format::Json, |chosen| chosen.format))
    }

    /// The same in another form.
    pub(crate) fn in_format(self, format: Format) -> Self {
        Self { yaml: format == Format::Yaml, protobuf: format == Format::Protobuf, ..self }
    }
}

/// Whether a client takes packed bodies: as upstream, only the bare word says so, no weight (`gzip;q=0` refuses it).
fn takes_gzip(encodings: &str) -> bool {
    encodings.split(',').any(|encoding| encoding.trim() == "gzip")
}

fn body(bytes: Bytes) -> Body {
    Body::new(http_body_util::Full::new(bytes))
}

fn with_type(code: u16, content_type: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// JSON bytes, as the client likes them: packed, pretty, as YAML or as protobuf.
pub(crate) fn json(code: u16, bytes: Bytes, style: Style) -> Response {
    let (content_type, bytes) = match style {
        Style { protobuf: true, .. } => match as_protobuf(&bytes) {
            Some(bytes) => (PROTOBUF, bytes),
            // It has no form but JSON.
            None => return status(&super::negotiate::refused(), Style { protobuf: false, ..style }),
        },
        Style { yaml: true, .. } => match as_yaml(&bytes) {
            Some(text) => ("application/yaml", text),
            None => ("application/json", bytes),
        },
        Style { pretty: true, .. } => ("application/json", prettied(&bytes)),
        _ => ("application/json", bytes),
    };
    if style.gzip && bytes.len() >= GZIP_FROM_BYTES {
        let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::new(1));
        if let Ok(packed) = encoder.write_all(&bytes).and_then(|()| encoder.finish()) {
            let mut response = with_type(code, content_type, body(Bytes::from(packed)));
            response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
            return response;
        }
    }
    with_type(code, content_type, body(bytes))
}

fn as_protobuf(json: &Bytes) -> Option<Bytes> {
    let value: gantry_api::Value = serde_json::from_slice(json).ok()?;
    gantry_api::encode::protobuf(&value).map(Bytes::from)
}

fn as_yaml(json: &Bytes) -> Option<Bytes> {
    let value: gantry_api::Value = serde_json::from_slice(json).ok()?;
    serde_saphyr::to_string(&value).ok().map(Bytes::from)
}

/// Packed JSON with a line for every entry, in the order in which they are.
fn prettied(packed: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(packed.len() * 2);
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    let line = |out: &mut Vec<u8>, depth: usize| {
        out.push(b'\n');
        out.extend(std::iter::repeat_n(b' ', 2 * depth));
    };
    for (at, &byte) in packed.iter().enumerate() {
        if in_text {
            out.push(byte);
            in_text = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            continue;
        }
        let is_empty = matches!((byte, packed.get(at + 1)), (b'{', Some(b'}')) | (b'[', Some(b']')));
        match byte {
            b'{' | b'[' => {
                out.push(byte);
                depth += 1;
                if !is_empty {
                    line(&mut out, depth);
                }
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if !matches!(out.last(), Some(b'{' | b'[')) {
                    line(&mut out, depth);
                }
                out.push(byte);
            }
            b',' => {
                out.push(byte);
                line(&mut out, depth);
            }
            b':' => out.extend_from_slice(b": "),
            b' ' | b'\n' | b'\r' | b'\t' => {}
            other => {
                in_text = other == b'"';
                out.push(other);
            }
        }
    }
    Bytes::from(out)
}

/// A body in protobuf that was written in pieces. `counted` makes what [`chunked`] takes, for a large one.
pub(crate) fn protobuf<C>(pieces: Vec<Vec<u8>>, gzip: bool, counted: impl FnOnce() -> C) -> Response
where
    C: FnMut(usize) + Send + 'static,
{
    let bytes: usize = pieces.iter().map(Vec::len).sum();
    if bytes < GZIP_FROM_BYTES {
        return with_type(200, PROTOBUF, body(pieces.concat().into()));
    }
    chunked(PROTOBUF, pieces.into_iter().map(Bytes::from), gzip, counted())
}

/// A value.
pub(crate) fn value(code: u16, value: &gantry_api::Value, style: Style) -> Response {
    json(code, Bytes::from(value.to_string()), style)
}

/// A Status, Success or Failure; one that says no code is a success.
pub(crate) fn status(status: &Status, style: Style) -> Response {
    let bytes = serde_json::to_vec(status).expect("a Status is plain data");
    let mut response = json(if status.code == 0 { 200 } else { status.code }, Bytes::from(bytes), style);
    let retry = status.details.as_ref().map_or(0, |d| d.retry_after_seconds);
    if retry > 0 {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(retry));
    }
    response
}

/// A refusal for want of room, as text, with the seconds after which to ask again.
pub(crate) fn too_many(status: &Status) -> Response {
    let mut response = text(status.code, format!("{}\n", status.message));
    let seconds = status.details.as_ref().map_or(1, |details| details.retry_after_seconds);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

/// Plain text.
pub(crate) fn text(code: u16, text: impl Into<String>) -> Response {
    let mut response = with_type(code, "text/plain; charset=utf-8", body(Bytes::from(text.into())));
    response.headers_mut().insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}

/// Bytes whose type the caller states.
pub(crate) fn bytes(code: u16, bytes: impl Into<Bytes>) -> Response {
    with_type(code, "application/octet-stream", body(bytes.into()))
}

/// A stream.
pub(crate) fn stream(content_type: &'static str, body: Body) -> Response {
    with_type(200, content_type, body)
}

/// A body that is made piece by piece as the client takes it; packed likewise, so that no large one blocks others. `counted` is
/// told the bytes of each piece as it is sent.
pub(crate) fn chunked(
    content_type: &'static str,
    chunks: impl Iterator<Item = Bytes> + Send + 'static,
    gzip: bool,
    mut counted: impl FnMut(usize) + Send + 'static,
) -> Response {
    let encoder = GzEncoder::new(Vec::new(), Compression::new(1));
    let chunks: Box<dyn Iterator<Item = Bytes> + Send> =
        if gzip { Box::new(Packed { chunks, encoder: Some(encoder) }) } else { Box::new(chunks) };
    let frames = chunks.map(move |bytes| {
        counted(bytes.len());
        Ok::<_, std::convert::Infallible>(http_body::Frame::data(bytes))
    });
    let mut response = stream(content_type, Body::new(StreamBody::new(futures::stream::iter(frames))));
    if gzip {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    }
    response
}

/// Packs pieces.
struct Packed<I> {
    chunks: I,
    encoder: Option<GzEncoder<Vec<u8>>>,
}

impl<I: Iterator<Item = Bytes>> Iterator for Packed<I> {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        loop {
            let encoder = self.encoder.as_mut()?;
            let Some(chunk) = self.chunks.next() else { break };
            // Writing to a Vec cannot fail.
            encoder.write_all(&chunk).ok()?;
            if !encoder.get_ref().is_empty() {
                return Some(Bytes::from(std::mem::take(encoder.get_mut())));
            }
        }
        self.encoder.take()?.finish().ok().map(Bytes::from)
    }
}

/// Adds `Warning` headers, as many as fit into reasonable headers.
pub(crate) fn warn(response: &mut Response, warnings: &[String]) {
    const BYTES_MAX: usize = 4096;
    let mut bytes = 0;
    for (at, warning) in warnings.iter().enumerate() {
        if warnings[..at].contains(warning) {
            continue;
        }
        let clean: String = warning.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let text = format!("299 - \"{}\"", clean.replace('\\', "\\\\").replace('"', "\\\""));
        bytes += text.len();
        if bytes > BYTES_MAX {
            return;
        }
        if let Ok(value) = HeaderValue::from_str(&text).or_else(|_| HeaderValue::from_bytes(text.as_bytes())) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_bare_word_asks_for_gzip() {
        for (text, expected) in [
            ("gzip", true),
            ("deflate, gzip", true),
            ("gzip;q=0", false),
            ("gzip;q=1.0", false),
            ("gzipped", false),
            ("*", false),
        ] {
            assert_eq!(takes_gzip(text), expected, "{text}");
        }
    }

    #[test]
    fn pretty_json_keeps_its_order_and_its_texts() {
        let packed = br#"{"kind":"x","apiVersion":"v1","a":{},"b":[],"c":[1,{"z":null,"y":"a,:{\"\\"}],"d":true}"#;
        let expected = "{\n  \"kind\": \"x\",\n  \"apiVersion\": \"v1\",\n  \"a\": {},\n  \"b\": [],\n  \"c\": [\n    1,\n    {\n      \
                        \"z\": null,\n      \"y\": \"a,:{\\\"\\\\\"\n    }\n  ],\n  \"d\": true\n}";
        assert_eq!(String::from_utf8_lossy(&prettied(packed)), expected);
        assert_eq!(prettied(expected.as_bytes()), expected, "what is pretty stays as it is");
    }
}
