//! Which headers pass a proxy.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::rest::handler::Incoming;

/// Headers that are about one connection.
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "proxy-connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// What the client shows to the API server and to nobody else.
const CREDENTIALS: &[&str] = &["authorization", "x-remote-user", "x-remote-uid", "x-remote-group", "gantry-fence"];
/// The same with names of their own.
const CREDENTIAL_PREFIXES: &[&str] = &["impersonate-", "x-remote-extra-"];
/// The subprotocol by which browsers show a token.
const TOKEN_PROTOCOL: &str = "base64url.bearer.authorization.k8s.io.";
/// A backend does not decide who may read the API server's answers.
const CORS: &[&str] = &[
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
];

/// The host that the client meant, `""` where it says none.
pub(in crate::rest) fn host(request: &Incoming) -> &str {
    let authority = request.uri.split_once("://").and_then(|(_, rest)| rest.split(['/', '?']).next());
    authority.unwrap_or_else(|| request.header(header::HOST))
}

fn is_of_the_hop(name: &HeaderName, named: &[String]) -> bool {
    HOP_BY_HOP.contains(&name.as_str()) || named.iter().any(|n| n == name.as_str())
}

/// The headers that `Connection` names.
fn named(headers: &HeaderMap) -> Vec<String> {
    let lines = headers.get_all(header::CONNECTION).into_iter().filter_map(|v| v.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(|name| name.trim().to_ascii_lowercase()).collect()
}

fn is_credential(name: &HeaderName) -> bool {
    let name = name.as_str();
    CREDENTIALS.contains(&name) || CREDENTIAL_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// The headers of the request to the backend; `upgrade`: the protocol that is asked for.
pub(super) fn towards_backend(request: &Incoming, upgrade: Option<&str>) -> HeaderMap {
    let named = named(&request.headers);
    let mut headers = HeaderMap::with_capacity(request.headers.len() + 4);
    for (name, value) in &request.headers {
        if !is_of_the_hop(name, &named) && !is_credential(name) && name != header::EXPECT {
            headers.append(name.clone(), value.clone());
        }
    }
    let mut set = |name: HeaderName, text: &str| {
        if let Ok(value) = HeaderValue::from_str(text)
            && !text.is_empty()
        {
            headers.insert(name, value);
        }
    };
    set(header::HOST, host(request));
    set(HeaderName::from_static("x-forwarded-host"), host(request));
    set(HeaderName::from_static("x-forwarded-proto"), "https");
    set(HeaderName::from_static("x-forwarded-uri"), &request.path);
    set(HeaderName::from_static("x-forwarded-for"), &forwarded_for(request));
    if let Some(protocol) = upgrade {
        set(header::CONNECTION, "Upgrade");
        set(header::UPGRADE, protocol);
    }
    without_token(&mut headers);
    accept_known_encodings(&mut headers);
    headers
}

/// Those that the client names, and the client.
fn forwarded_for(request: &Incoming) -> String {
    let lines = request.headers.get_all("x-forwarded-for").into_iter().filter_map(|v| v.to_str().ok());
    let peer = request.origin.as_ref().map(|origin| origin.address.ip().to_string());
    lines.map(str::to_owned).chain(peer).collect::<Vec<_>>().join(", ")
}

/// A token among the subprotocols of a WebSocket goes no further.
fn without_token(headers: &mut HeaderMap) {
    let lines = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).into_iter().filter_map(|v| v.to_str().ok());
    let protocols: Vec<&str> = lines.flat_map(|line| line.split(',')).map(str::trim).collect();
    if !protocols.iter().any(|p| p.starts_with(TOKEN_PROTOCOL)) {
        return;
    }
    let kept: Vec<&str> = protocols.into_iter().filter(|p| !p.starts_with(TOKEN_PROTOCOL)).collect();
    let kept = HeaderValue::from_str(&kept.join(", ")).ok().filter(|kept| !kept.is_empty());
    headers.remove(header::SEC_WEBSOCKET_PROTOCOL);
    if let Some(kept) = kept {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, kept);
    }
}

/// Pages have links to rewrite, so they must come in a form that can be read here.
fn accept_known_encodings(headers: &mut HeaderMap) {
    let lines = headers.get_all(header::ACCEPT_ENCODING).into_iter().filter_map(|v| v.to_str().ok());
    let mut offers = lines.flat_map(|line| line.split(','));
    let gzip = offers.any(|offer| offer.trim().starts_with("gzip") && !offer.replace(' ', "").ends_with(";q=0"));
    headers.remove(header::ACCEPT_ENCODING);
    if gzip {
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    }
}

/// Takes out of an answer what is not for the client.
pub(super) fn towards_client(headers: &mut HeaderMap) {
    let named = named(headers);
    let names: Vec<HeaderName> = headers.keys().cloned().collect();
    for name in names {
        if is_of_the_hop(&name, &named) || CORS.contains(&name.as_str()) {
            headers.remove(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(n, v)| (HeaderName::from_static(n), HeaderValue::from_str(v).expect("valid"))).collect()
    }

    #[test]
    fn answers_lose_what_is_about_the_connection() {
        let mut headers = map(&[
            ("connection", "close, X-Hop"),
            ("x-hop", "1"),
            ("keep-alive", "timeout=5"),
            ("upgrade", "h2c"),
            ("access-control-allow-origin", "*"),
            ("set-cookie", "a=b"),
            ("content-type", "text/plain"),
        ]);
        towards_client(&mut headers);
        let mut left: Vec<&str> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["content-type", "set-cookie"]);
    }

    #[test]
    fn a_browsers_token_stays_here() {
        let check = |given: &str, expected: Option<&str>| {
            let mut headers = map(&[("sec-websocket-protocol", given)]);
            without_token(&mut headers);
            let left = headers.get("sec-websocket-protocol").and_then(|v| v.to_str().ok());
            assert_eq!(left, expected, "{given}");
        };
        check("chat, base64url.bearer.authorization.k8s.io.c2VjcmV0", Some("chat"));
        check("base64url.bearer.authorization.k8s.io.c2VjcmV0", None);
        check("chat, superchat", Some("chat, superchat"));
    }

    #[test]
    fn encodings_are_those_that_can_be_read() {
        let check = |given: &str, expected: Option<&str>| {
            let mut headers = map(&[("accept-encoding", given)]);
            accept_known_encodings(&mut headers);
            assert_eq!(headers.get("accept-encoding").and_then(|v| v.to_str().ok()), expected, "{given}");
        };
        check("gzip, deflate, br", Some("gzip"));
        check("br", None);
        check("gzip;q=0", None);
        check("gzip; q=0.5", Some("gzip"));
    }

    #[test]
    fn credentials_are_known_by_name() {
        for name in
            ["authorization", "impersonate-user", "impersonate-extra-scopes", "x-remote-group", "x-remote-extra-a"]
        {
            assert!(is_credential(&HeaderName::from_static(name)), "{name}");
        }
        assert!(!is_credential(&HeaderName::from_static("x-forwarded-for")));
    }
}
