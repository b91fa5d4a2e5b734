//! Upgrades through a proxy: two byte streams joined, but only once the backend has agreed.
//!
//! A backend that does not switch keeps no open connection behind an answer (CVE-2018-1002105), and what it answers is followed
//! nowhere (CVE-2020-8559).

use gantry_api::status::Status;
use gantry_common::task;
use http::{HeaderValue, StatusCode, header};
use hyper::body::Incoming as HttpBody;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWriteExt, copy_bidirectional_with_sizes};
use tracing::debug;

use super::guard::Guard;
use super::links::Links;
use super::{body, headers};
use crate::rest::handler::Incoming;
use crate::server::{Body, Response};

/// How long a client may take to be told of the end.
const FAREWELL: std::time::Duration = std::time::Duration::from_secs(5);
/// Bytes in flight in each direction.
const BUFFER_BYTES: usize = 64 * 1024;

/// The protocol that the client asks for.
pub(super) fn wanted(request: &Incoming) -> Option<String> {
    let lines = request.headers.get_all(header::CONNECTION).into_iter().filter_map(|v| v.to_str().ok());
    let asks = lines.flat_map(|line| line.split(',')).any(|word| word.trim().eq_ignore_ascii_case("upgrade"));
    let protocol = request.header(header::UPGRADE);
    let possible = request.upgrade.lock().is_some();
    (asks && possible && !protocol.is_empty()).then(|| protocol.to_owned())
}

/// Whether the backend agreed to one of the protocols that were asked for.
fn agreed(wanted: &str, headers: &http::HeaderMap) -> bool {
    let got = headers.get(header::UPGRADE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    wanted.split(',').any(|one| one.trim().eq_ignore_ascii_case(got.trim()))
}

/// The backend's answer to an upgrade, for the client.
///
/// # Errors
/// 500 in upstream's words for an answer that is neither an upgrade nor an error, 502 for an upgrade to something else.
pub(super) fn answer(
    request: &Incoming,
    wanted: &str,
    answer: http::Response<HttpBody>,
    links: &Links,
    guard: Guard,
) -> Result<Response, Status> {
    let code = answer.status();
    if code.is_client_error() || code.is_server_error() {
        let (mut parts, rest) = answer.into_parts();
        headers::towards_client(&mut parts.headers);
        links.rewrite_location(&mut parts.headers);
        let mut response = Response::new(body::passed(rest, None, guard));
        (*response.status_mut(), *response.headers_mut()) = (parts.status, parts.headers);
        return Ok(response);
    }
    if code != StatusCode::SWITCHING_PROTOCOLS {
        let text = format!("invalid upgrade response: status code {}", code.as_u16());
        return Err(Status::failure(500, "InternalError", text));
    }
    if !agreed(wanted, answer.headers()) {
        let text = format!("the backend switched to another protocol than {wanted:?}");
        return Err(Status::failure(502, "BadGateway", text));
    }
    let Some(client) = request.upgrade.lock().take() else {
        return Err(Status::internal("the connection cannot be upgraded"));
    };
    let mut kept = answer.headers().clone();
    let protocol = kept.get(header::UPGRADE).cloned();
    headers::towards_client(&mut kept);
    kept.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    kept.extend(protocol.map(|protocol| (header::UPGRADE, protocol)));
    drop(task::spawn("proxied-upgrade", join(client, hyper::upgrade::on(answer), guard)));
    let mut response = Response::new(Body::empty());
    (*response.status_mut(), *response.headers_mut()) = (code, kept);
    Ok(response)
}

/// Passes bytes both ways until both have ended, or the right to it has.
async fn join(client: hyper::upgrade::OnUpgrade, backend: hyper::upgrade::OnUpgrade, guard: Guard) {
    let (client, backend) = match tokio::try_join!(client, backend) {
        Ok(both) => both,
        Err(error) => {
            debug!(%error, "an upgrade came to nothing");
            return;
        }
    };
    let (mut client, mut backend) = (TokioIo::new(client), TokioIo::new(backend));
    let ended = tokio::select! {
        copied = copy_bidirectional_with_sizes(&mut client, &mut backend, BUFFER_BYTES, BUFFER_BYTES) => {
            copied.map(drop).map_err(|error| error.to_string())
        }
        status = guard.ends() => Err(status.message),
    };
    if let Err(why) = ended {
        debug!(why, "a proxied connection broke off");
    }
    // The backend's end first: a client that does not read may keep its own end open for a while, and nothing else.
    drop(backend);
    drop(tokio::time::timeout(FAREWELL, client.shutdown()).await);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_asked_for_is_agreed_to() {
        let check = |wanted: &str, got: Option<&'static str>, expected: bool| {
            let mut headers = http::HeaderMap::new();
            headers.extend(got.map(|got| (header::UPGRADE, HeaderValue::from_static(got))));
            assert_eq!(agreed(wanted, &headers), expected, "{wanted} {got:?}");
        };
        check("websocket", Some("WebSocket"), true);
        check("SPDY/3.1, websocket", Some("websocket"), true);
        check("websocket", Some("h2c"), false);
        check("websocket", None, false);
    }
}
