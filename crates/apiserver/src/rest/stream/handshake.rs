//! What a request wants to become, and whether that can be. Pure; in upstream's words where a client sees them.

use gantry_api::status::Status;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::channel::{self, Protocol};
use crate::auth::websocket::{TOKEN, has_token, is_websocket, list};
use crate::rest::answer::{self, Style};
use crate::server::{Body, Response};
use crate::sessions::Start;

/// The subprotocol of a port-forward whose messages are slices of a SPDY connection.
pub(crate) const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
/// The one protocol of port-forwards over SPDY.
pub(crate) const PORT_FORWARD: &[&str] = &["portforward.k8s.io"];
/// The protocols of exec and attach over SPDY, which differ in what the error stream carries and in `resize`.
pub(crate) const REMOTE_COMMAND: &[&str] =
    &["v5.channel.k8s.io", "v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"];

const STREAM_VERSION: HeaderName = HeaderName::from_static("x-stream-protocol-version");
const ACCEPTED_VERSIONS: HeaderName = HeaderName::from_static("x-accepted-stream-protocol-versions");

/// What the connection becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Agreed {
    WebSocket {
        accept: String,
        protocol: Protocol,
    },
    /// SPDY in the messages of a WebSocket.
    Tunnel {
        accept: String,
    },
    Spdy {
        protocol: &'static str,
    },
}

/// What a resource can speak.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Offered {
    pub(crate) websocket: &'static [Protocol],
    pub(crate) tunnel: bool,
    pub(crate) spdy: &'static [&'static str],
}

/// A refusal: a Status, and the headers that go with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) status: Status,
    pub(crate) headers: HeaderMap,
}

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        Self { status, headers: HeaderMap::new() }
    }
}

impl Refused {
    /// The answer that says so.
    pub(crate) fn response(self, style: Style) -> Response {
        let mut response = answer::status(&self.status, style);
        response.headers_mut().extend(self.headers);
        response
    }
}

/// Agrees on a protocol.
///
/// # Errors
/// 400 for a request that asks for no upgrade or asks for it badly, 403 with the list where no protocol fits.
pub(crate) fn agree(method: &Method, headers: &HeaderMap, offered: Offered) -> Result<Agreed, Refused> {
    if is_websocket(headers) {
        if method != Method::GET {
            return Err(Status::bad_request("a WebSocket is asked for by GET").into());
        }
        return websocket(headers, offered);
    }
    if has_token(headers, &header::CONNECTION, "upgrade") && has_token(headers, &header::UPGRADE, "spdy/3.1") {
        return spdy(headers, offered.spdy);
    }
    Err(Status::bad_request("Upgrade request required").into())
}

/// What proves that the request for a WebSocket was understood.
fn accepted(headers: &HeaderMap) -> Result<String, Refused> {
    if headers.get(header::SEC_WEBSOCKET_VERSION).is_none_or(|v| v.as_bytes() != b"13") {
        let mut refused = Refused::from(Status::bad_request("the WebSocket version is not 13"));
        refused.headers.insert(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        return Err(refused);
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|key| !key.is_empty());
    let key = key.ok_or_else(|| Status::bad_request("the WebSocket request has no Sec-WebSocket-Key"))?;
    Ok(derive_accept_key(key.as_bytes()))
}

/// The subprotocols that the client names, but those that carry its token.
fn named(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    list(headers, &header::SEC_WEBSOCKET_PROTOCOL).filter(|p| !p.starts_with(TOKEN))
}

/// Where messages are alike whatever the subprotocol: the client's first one is repeated, for browsers insist on it.
///
/// # Errors
/// 400 for a request that asks for a WebSocket badly.
pub(crate) fn any_websocket(headers: &HeaderMap) -> Result<Response, Refused> {
    let protocol = named(headers).next().and_then(|name| HeaderValue::from_str(name).ok());
    Ok(switched("websocket", Some(&accepted(headers)?), protocol))
}

/// Agrees with a client that only listens, on a form of its messages.
///
/// # Errors
/// 400 for a request that asks for a WebSocket badly, 403 with the list where no protocol fits.
pub(crate) fn reader(headers: &HeaderMap) -> Result<(Protocol, Response), Refused> {
    let accept = accepted(headers)?;
    let wanted = wanted(headers);
    let find = |name: &&str| channel::READER.iter().find(|p| p.name == *name);
    let protocol = wanted.iter().find_map(find).ok_or_else(|| unsupported(&wanted, channel::READER, &[]))?;
    let agreed = Agreed::WebSocket { accept, protocol: *protocol };
    Ok((*protocol, agreed.response()))
}

fn websocket(headers: &HeaderMap, offered: Offered) -> Result<Agreed, Refused> {
    let accept = accepted(headers)?;
    let wanted = wanted(headers);
    for name in &wanted {
        if offered.tunnel && *name == TUNNEL {
            return Ok(Agreed::Tunnel { accept });
        }
        if let Some(protocol) = offered.websocket.iter().find(|p| p.name == *name) {
            return Ok(Agreed::WebSocket { accept, protocol: *protocol });
        }
    }
    let tunnel = if offered.tunnel { &[TUNNEL][..] } else { &[] };
    Err(unsupported(&wanted, offered.websocket, tunnel))
}

/// What the client names, in its order; the nameless protocol where it names none.
fn wanted(headers: &HeaderMap) -> Vec<&str> {
    let wanted: Vec<&str> = named(headers).collect();
    if wanted.is_empty() { vec![""] } else { wanted }
}

fn unsupported(wanted: &[&str], known: &[Protocol], tunnel: &[&str]) -> Refused {
    let known: Vec<&str> = known.iter().map(|p| p.name).filter(|n| !n.is_empty()).collect();
    let known = [tunnel, &known].concat().join(" ");
    let why = format!("requested protocol(s) are not supported: [{}]; supports [{known}]", wanted.join(" "));
    Status::failure(403, "Forbidden", why).into()
}

fn spdy(headers: &HeaderMap, known: &'static [&'static str]) -> Result<Agreed, Refused> {
    let wanted: Vec<&str> = list(headers, &STREAM_VERSION).collect();
    if wanted.is_empty() {
        return Err(Status::bad_request("unable to upgrade: X-Stream-Protocol-Version is required").into());
    }
    for name in &wanted {
        if let Some(protocol) = known.iter().find(|k| *k == name) {
            return Ok(Agreed::Spdy { protocol });
        }
    }
    let why = format!(
        "unable to upgrade: unable to negotiate protocol: client supports [{}], server accepts [{}]",
        wanted.join(" "),
        known.join(" ")
    );
    let mut refused = Refused::from(Status::failure(403, "Forbidden", why));
    for name in known {
        refused.headers.append(ACCEPTED_VERSIONS, HeaderValue::from_static(name));
    }
    Err(refused)
}

impl Agreed {
    /// Whether it is one of the text forms of the channel protocols.
    pub(crate) fn is_base64(&self) -> bool {
        matches!(self, Self::WebSocket { protocol, .. } if protocol.is_base64())
    }

    /// When exec and attach begin: a client of SPDY has to open its streams first, as upstream waits for them.
    pub(crate) fn start(&self) -> Start {
        match self {
            Self::Spdy { .. } => Start::Deferred,
            Self::WebSocket { .. } | Self::Tunnel { .. } => Start::AtOnce,
        }
    }

    /// 101: from here on the connection speaks the other protocol.
    pub(crate) fn response(&self) -> Response {
        let (upgrade, accept, protocol) = match self {
            Self::WebSocket { accept, protocol } => ("websocket", Some(accept), protocol.name),
            Self::Tunnel { accept } => ("websocket", Some(accept), TUNNEL),
            Self::Spdy { protocol } => ("SPDY/3.1", None, *protocol),
        };
        switched(upgrade, accept, (!protocol.is_empty()).then(|| HeaderValue::from_static(protocol)))
    }
}

fn switched(upgrade: &'static str, accept: Option<&String>, protocol: Option<HeaderValue>) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static(upgrade));
    let accept = accept.and_then(|accept| HeaderValue::from_str(accept).ok());
    let named = if accept.is_some() { header::SEC_WEBSOCKET_PROTOCOL } else { STREAM_VERSION };
    headers.extend(accept.map(|accept| (header::SEC_WEBSOCKET_ACCEPT, accept)));
    headers.extend(protocol.map(|protocol| (named, protocol)));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMAND: Offered = Offered { websocket: channel::REMOTE_COMMAND, tunnel: false, spdy: REMOTE_COMMAND };
    const FORWARD: Offered = Offered { websocket: channel::PORT_FORWARD, tunnel: true, spdy: PORT_FORWARD };

    fn check(offered: Offered, lines: &[(&str, &str)], expected: Result<&str, (u16, &str)>) {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::try_from(*name).expect("a name"), value.parse().expect("a value"));
        }
        let got = agree(&Method::GET, &headers, offered);
        let text = got.as_ref().map(|agreed| match agreed {
            Agreed::WebSocket { protocol, .. } => format!("websocket {}", protocol.name),
            Agreed::Tunnel { .. } => "tunnel".to_owned(),
            Agreed::Spdy { protocol } => format!("spdy {protocol}"),
        });
        let text = text.as_deref().map_err(|refused| (refused.status.code, refused.status.message.as_str()));
        assert_eq!(text, expected, "{lines:?}");
    }

    const WEBSOCKET: [(&str, &str); 4] = [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    fn websocket(protocols: &'static str) -> Vec<(&'static str, &'static str)> {
        [&WEBSOCKET[..], &[("sec-websocket-protocol", protocols)]].concat()
    }

    #[test]
    fn websockets_take_the_first_protocol_that_is_known() {
        check(COMMAND, &websocket("v5.channel.k8s.io"), Ok("websocket v5.channel.k8s.io"));
        check(COMMAND, &websocket("x, base64.channel.k8s.io"), Ok("websocket base64.channel.k8s.io"));
        check(
            COMMAND,
            &websocket("base64url.bearer.authorization.k8s.io.eA, v4.channel.k8s.io"),
            Ok("websocket v4.channel.k8s.io"),
        );
        check(COMMAND, &WEBSOCKET, Ok("websocket "));
        check(FORWARD, &websocket(TUNNEL), Ok("tunnel"));
        check(FORWARD, &websocket("portforward.k8s.io"), Ok("websocket portforward.k8s.io"));
        let why = "requested protocol(s) are not supported: [SPDY/3.1+portforward.k8s.io]; supports [v5.channel.k8s.io \
                   v4.channel.k8s.io v3.channel.k8s.io v2.channel.k8s.io channel.k8s.io v4.base64.channel.k8s.io \
                   base64.channel.k8s.io]";
        check(COMMAND, &websocket(TUNNEL), Err((403, why)));
        check(COMMAND, &WEBSOCKET[..2], Err((400, "the WebSocket version is not 13")));
        check(COMMAND, &WEBSOCKET[..3], Err((400, "the WebSocket request has no Sec-WebSocket-Key")));
    }

    #[test]
    fn spdy_takes_the_first_version_that_is_known() {
        let spdy = [("connection", "Upgrade"), ("upgrade", "SPDY/3.1")];
        let with = |versions: &'static [&str]| {
            let versions = versions.iter().map(|v| ("x-stream-protocol-version", *v));
            spdy.into_iter().chain(versions).collect::<Vec<_>>()
        };
        check(COMMAND, &with(&["v9.channel.k8s.io", "v4.channel.k8s.io"]), Ok("spdy v4.channel.k8s.io"));
        check(COMMAND, &with(&["v5.channel.k8s.io,v4.channel.k8s.io"]), Ok("spdy v5.channel.k8s.io"));
        check(FORWARD, &with(&["portforward.k8s.io"]), Ok("spdy portforward.k8s.io"));
        check(COMMAND, &spdy, Err((400, "unable to upgrade: X-Stream-Protocol-Version is required")));
        let why = "unable to upgrade: unable to negotiate protocol: client supports [v9], server accepts [portforward.k8s.io]";
        check(FORWARD, &with(&["v9"]), Err((403, why)));
        check(COMMAND, &[], Err((400, "Upgrade request required")));
        check(COMMAND, &[("upgrade", "SPDY/3.1")], Err((400, "Upgrade request required")));
    }

    #[test]
    fn a_log_has_protocols_of_its_own() {
        let check = |protocols: &'static str, expected: Result<&str, &str>| {
            let lines = websocket(protocols).into_iter().filter(|(_, value)| !value.is_empty());
            let lines = lines
                .map(|(name, value)| (HeaderName::try_from(name).expect("a name"), value.parse().expect("a value")));
            let got = reader(&lines.collect());
            let got = got.as_ref().map(|(protocol, _)| protocol.name).map_err(|r| r.status.message.as_str());
            assert_eq!(got, expected, "{protocols}");
        };
        check("binary.k8s.io", Ok("binary.k8s.io"));
        check("x, base64.binary.k8s.io", Ok("base64.binary.k8s.io"));
        check("", Ok(""));
        let why = "requested protocol(s) are not supported: [v5.channel.k8s.io]; supports [binary.k8s.io base64.binary.k8s.io]";
        check("v5.channel.k8s.io", Err(why));
    }

    #[test]
    fn the_answer_repeats_what_was_agreed() {
        let headers: HeaderMap = websocket("v4.channel.k8s.io")
            .into_iter()
            .map(|(n, v)| (HeaderName::try_from(n).expect("a name"), v.parse().expect("a value")))
            .collect();
        let response = agree(&Method::GET, &headers, COMMAND).expect("agreed").response();
        assert!(agree(&Method::POST, &headers, COMMAND).is_err(), "a WebSocket begins with a GET");
        assert_eq!(response.status(), 101);
        assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert_eq!(response.headers()["sec-websocket-protocol"], "v4.channel.k8s.io");
        let any = any_websocket(&headers).expect("agreed");
        assert_eq!(any.headers(), response.headers());
    }
}
