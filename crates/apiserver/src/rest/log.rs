//! `pods/{name}/log`: text from the node, through its own session.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use gantry_api::status::Status;
use gantry_common::shutdown::Shutdown;
use gantry_common::task;
use gantry_proto::v1::LogRequest;
use gantry_proto::v1::open_session::Kind;
use http_body_util::StreamBody;
use hyper::upgrade::OnUpgrade;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_tungstenite::tungstenite::Message;

use super::answer;
use super::handler::Incoming;
use super::query::Query;
use super::stream::channel::Protocol;
use super::stream::websocket::Tale;
use super::stream::{self, handshake, websocket};
use crate::app::App;
use crate::auth::websocket::is_websocket;
use crate::calls::Call;
use crate::request::Target;
use crate::server::{Body, Response};
use crate::sessions::Start;
use crate::sessions::channel::{Gone, Output, Silent, Sink, is_success};
use crate::sessions::grant::{Ask, grant};

/// Answers a log request: with text, or with the messages of a WebSocket, as upstream streams what is no object.
///
/// # Errors
/// 400 in upstream's words for a container that is not there or has not started, 500 when the node cannot be reached.
pub(crate) async fn get(app: &Arc<App>, request: &Incoming, target: &Target) -> Result<Response, Status> {
    let wanted = match wanted(&request.query, target) {
        Ok(wanted) => wanted,
        Err(unread) => {
            // What is wrong with it is for those who may ask.
            Call { app, caller: &request.caller }.authorize("get", target).await?;
            return Err(unread);
        }
    };
    let received = open(app, Ask::of(request), wanted, text_of).await?;
    let upgrade = if is_websocket(&request.headers) { request.upgrade.lock().take() } else { None };
    if let Some(upgrade) = upgrade {
        return Ok(match handshake::reader(&request.headers) {
            Ok((protocol, response)) => {
                drop(task::spawn("log", over_websocket(received, protocol, upgrade)));
                response
            }
            Err(refused) => refused.response(request.style),
        });
    }
    let frames = ReceiverStream::new(received).map(|bytes| Ok::<_, Infallible>(http_body::Frame::data(bytes)));
    Ok(answer::stream("text/plain", Body::new(StreamBody::new(frames))))
}

/// The log that the path and the query name.
fn wanted(query: &Query, target: &Target) -> Result<LogRequest, Status> {
    Ok(LogRequest {
        namespace: target.namespace.clone(),
        pod: target.name.clone(),
        container: query.get("container").to_owned(),
        follow: query.flag("follow"),
        previous: query.flag("previous"),
        since_seconds: query.number("sinceSeconds")?,
        since_time: query.get("sinceTime").to_owned(),
        timestamps: query.flag("timestamps"),
        tail_lines: query.number("tailLines")?,
        limit_bytes: query.number("limitBytes")?,
        stream: query.get("stream").to_owned(),
        pod_uid: String::new(),
    })
}

/// What a reader gets: text, and at the end perhaps why there is no more. The headers are out by then, so the only way to
/// tell is in the text, as upstream does.
fn text_of(piece: Result<Bytes, Status>) -> Bytes {
    piece.unwrap_or_else(|status| Bytes::from(format!("{}\n", status.message)))
}

/// A log in the messages of a WebSocket.
struct Messages {
    received: mpsc::Receiver<Bytes>,
    protocol: Protocol,
    /// An empty message comes first, by which a client sees that the log is there.
    began: bool,
}

impl Tale for Messages {
    async fn next(&mut self) -> Option<Message> {
        if !std::mem::replace(&mut self.began, true) {
            return Some(self.protocol.encode_whole(Bytes::new()));
        }
        Some(self.protocol.encode_whole(self.received.recv().await?))
    }

    fn try_next(&mut self) -> Option<Message> {
        Some(self.protocol.encode_whole(self.received.try_recv().ok()?))
    }
}

async fn over_websocket(received: mpsc::Receiver<Bytes>, protocol: Protocol, upgrade: OnUpgrade) {
    let Some(io) = stream::connection(upgrade).await else { return };
    websocket::tell(websocket::accept(io).await, Messages { received, protocol, began: false }).await;
}

/// Passes log text on as pieces of `T`.
struct Pieces<T> {
    sender: mpsc::Sender<T>,
    make: fn(Result<Bytes, Status>) -> T,
    /// A server that stops ends its logs without a word: the reader asks again.
    shutdown: Shutdown,
}

impl<T: Send + 'static> Sink for Pieces<T> {
    async fn send(&mut self, output: Output) -> Result<(), Gone> {
        match output {
            Output::Data(bytes) | Output::Stderr(bytes) => {
                self.sender.send((self.make)(Ok(bytes))).await.map_err(|_| Gone::Left)
            }
            Output::End => Ok(()),
        }
    }

    async fn flush(&mut self) -> Result<(), Gone> {
        Ok(())
    }

    async fn idle(&mut self) -> Gone {
        self.sender.closed().await;
        Gone::Left
    }

    async fn finish(self, status: &Status) {
        if !is_success(status) && !self.shutdown.is_requested() {
            drop(self.sender.send((self.make)(Err(status.clone()))).await);
        }
    }
}

/// Opens the log of a container, in pieces that `make` makes. For a pod that has no node yet there is nothing, as upstream
/// answers it.
///
/// # Errors
/// 401 and 403, 400 for a container that is not there, 500 when the node cannot be reached.
pub(crate) async fn open<T: Send + 'static>(
    app: &Arc<App>,
    ask: Ask,
    request: LogRequest,
    make: fn(Result<Bytes, Status>) -> T,
) -> Result<mpsc::Receiver<T>, Status> {
    let mut grant = grant(app, ask, Kind::Log(request)).await?;
    let (sender, received) = mpsc::channel(1);
    if grant.node.is_empty() {
        return Ok(received);
    }
    let opened = grant.open(Start::AtOnce).await?;
    let sink = Pieces { sender, make, shutdown: app.shutdown.clone() };
    drop(task::spawn("session", grant.run(opened, Silent, sink)));
    Ok(received)
}

/// Options that cannot be.
///
/// # Errors
/// 422 in upstream's words.
pub(crate) fn check(request: &LogRequest) -> Result<(), Status> {
    use gantry_api::field::{Error, Path};
    if !request.since_time.is_empty() && request.since_time.parse::<jiff::Timestamp>().is_err() {
        return Err(Status::bad_request(format!("sinceTime {:?} is not a time in RFC 3339", request.since_time)));
    }
    let mut errors = Vec::new();
    if request.tail_lines.is_some_and(|n| n < 0) {
        errors.push(Error::invalid(&Path::new("tailLines"), request.tail_lines, "must be greater than or equal to 0"));
    }
    if request.limit_bytes.is_some_and(|n| n < 1) {
        errors.push(Error::invalid(&Path::new("limitBytes"), request.limit_bytes, "must be greater than 0"));
    }
    if request.since_seconds.is_some() && !request.since_time.is_empty() {
        // The options as a whole, which have no name.
        let why = "at most one of `sinceTime` or `sinceSeconds` may be specified";
        errors.push(Error::forbidden(&Path::new(""), why));
    } else if request.since_seconds.is_some_and(|s| s < 1) {
        errors.push(Error::invalid(&Path::new("sinceSeconds"), request.since_seconds, "must be greater than 0"));
    }
    if errors.is_empty() { Ok(()) } else { Err(Status::invalid("", "PodLogOptions", &request.pod, &errors)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_cannot_be_are_refused() {
        let check = |request: LogRequest, expected: Result<(), (u16, &str)>| {
            let got = check(&LogRequest { pod: "p".to_owned(), ..request });
            assert_eq!(got.as_ref().copied().map_err(|s| (s.code, s.message.as_str())), expected);
        };
        let none = LogRequest::default;
        let time = || "2026-01-02T03:04:05Z".to_owned();
        check(LogRequest { tail_lines: Some(0), limit_bytes: Some(1), since_seconds: Some(1), ..none() }, Ok(()));
        check(LogRequest { since_time: time(), ..none() }, Ok(()));
        let why = "PodLogOptions \"p\" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0";
        check(LogRequest { tail_lines: Some(-1), ..none() }, Err((422, why)));
        let why = "PodLogOptions \"p\" is invalid: [limitBytes: Invalid value: 0: must be greater than 0, sinceSeconds: \
                   Invalid value: 0: must be greater than 0]";
        check(LogRequest { limit_bytes: Some(0), since_seconds: Some(0), ..none() }, Err((422, why)));
        let why =
            "PodLogOptions \"p\" is invalid: Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified";
        check(LogRequest { since_seconds: Some(0), since_time: time(), ..none() }, Err((422, why)));
        let why = "sinceTime \"yesterday\" is not a time in RFC 3339";
        check(LogRequest { since_time: "yesterday".to_owned(), ..none() }, Err((400, why)));
    }
}
