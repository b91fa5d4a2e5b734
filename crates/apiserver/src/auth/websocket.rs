//! Tokens of browsers, which cannot set headers on a WebSocket: one of the subprotocols carries the token.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gantry_api::status::Status;
use http::{HeaderMap, header};

/// What the subprotocol with the token begins with.
pub(crate) const TOKEN: &str = "base64url.bearer.authorization.k8s.io.";

/// Whether a request asks to become a WebSocket.
pub(crate) fn is_websocket(headers: &HeaderMap) -> bool {
    has_token(headers, &header::CONNECTION, "upgrade") && has_token(headers, &header::UPGRADE, "websocket")
}

/// The comma-separated values of a header, over all its lines.
pub(crate) fn list<'h>(headers: &'h HeaderMap, name: &header::HeaderName) -> impl Iterator<Item = &'h str> {
    let lines = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).map(str::trim).filter(|value| !value.is_empty())
}

/// Whether one of the header's values is `wanted`.
pub(crate) fn has_token(headers: &HeaderMap, name: &header::HeaderName, wanted: &str) -> bool {
    list(headers, name).any(|value| value.eq_ignore_ascii_case(wanted))
}

/// The token among the subprotocols.
///
/// # Errors
/// 401 for one that cannot be read, for two, and for a request that offers no other subprotocol: then the answer would have
/// to repeat the token.
pub(crate) fn token(headers: &HeaderMap) -> Result<Option<String>, Status> {
    if !is_websocket(headers) {
        return Ok(None);
    }
    let mut found = None;
    let mut others = false;
    for protocol in list(headers, &header::SEC_WEBSOCKET_PROTOCOL) {
        let Some(encoded) = protocol.strip_prefix(TOKEN) else {
            others = true;
            continue;
        };
        let decoded = URL_SAFE_NO_PAD.decode(encoded).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let token = decoded.filter(|token| !token.is_empty() && found.is_none());
        found = Some(token.ok_or_else(Status::unauthorized)?);
    }
    if found.is_some() && !others {
        return Err(Status::unauthorized());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_found_among_the_subprotocols() {
        let check = |upgrade: &str, protocols: &[&str], expected: Result<Option<&str>, u16>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONNECTION, "keep-alive, Upgrade".parse().expect("valid"));
            headers.insert(header::UPGRADE, upgrade.parse().expect("valid"));
            for protocol in protocols {
                headers.append(header::SEC_WEBSOCKET_PROTOCOL, protocol.parse().expect("valid"));
            }
            let got = token(&headers).map_err(|s| s.code);
            assert_eq!(got.as_ref().map(Option::as_deref).map_err(|c| *c), expected, "{upgrade} {protocols:?}");
        };
        let one = "base64url.bearer.authorization.k8s.io.czNjcmV0";
        check("websocket", &[one, "v4.channel.k8s.io"], Ok(Some("s3cret")));
        check("WebSocket", &[&format!("v4.channel.k8s.io,{one}")], Ok(Some("s3cret")));
        check("websocket", &["v4.channel.k8s.io"], Ok(None));
        check("SPDY/3.1", &[one, "v4.channel.k8s.io"], Ok(None));
        check("websocket", &[one], Err(401));
        check("websocket", &[one, one, "v4.channel.k8s.io"], Err(401));
        check("websocket", &["base64url.bearer.authorization.k8s.io.!", "v4.channel.k8s.io"], Err(401));
        check("websocket", &["base64url.bearer.authorization.k8s.io.", "v4.channel.k8s.io"], Err(401));
    }
}
