//! WATCH over REST: one line of JSON per event, or one message of a WebSocket.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gantry_api::encode;
use gantry_api::status::Status;
use gantry_common::task;
use gantry_store::cache::Change;
use http_body_util::StreamBody;
use hyper::upgrade::OnUpgrade;
use tokio_tungstenite::tungstenite::Message;

use super::handler::Incoming;
use super::query::Query;
use super::resource::shape;
use super::stream::{self, handshake, websocket};
use super::{answer, negotiate};
use crate::app::App;
use crate::auth::websocket::is_websocket;
use crate::calls::Call;
use crate::pipeline::selection::Selection;
use crate::pipeline::watch::{Signal, WatchQuery, Watcher};
use crate::request::Target;
use crate::server::{Body, Response};
use crate::view::Shape;

/// Events that are ready go out together, up to about this size.
const BATCH_BYTES: usize = 64 * 1024;

/// The media type of events in protobuf.
const PROTOBUF_EVENTS: &str = "application/vnd.kubernetes.protobuf;stream=watch";

/// How long a client may take to answer the goodbye of its WebSocket.
const GOODBYE_WITHIN: Duration = Duration::from_secs(10);

/// What a watch request asks for.
fn watch_query(query: &Query, target: &Target) -> Result<WatchQuery, Status> {
    let mut fields = query.get("fieldSelector").to_owned();
    if !target.name.is_empty() {
        let name = format!("metadata.name={}", target.name);
        fields = if fields.is_empty() { name } else { format!("{fields},{name}") };
    }
    let timeout = query.number("timeoutSeconds")?.and_then(|s| u64::try_from(s).ok()).filter(|s| *s > 0);
    Ok(WatchQuery {
        selection: Selection::parse(target.kind, &target.namespace, query.get("labelSelector"), &fields)?,
        resource_version: query.get("resourceVersion").to_owned(),
        resource_version_match: query.get("resourceVersionMatch").to_owned(),
        send_initial_events: query.has("sendInitialEvents").then(|| query.flag("sendInitialEvents")),
        allow_bookmarks: query.flag("allowWatchBookmarks"),
        awaits_start: true,
        timeout: timeout.map(Duration::from_secs),
    })
}

/// Where the events come from.
enum Source {
    Running(Box<Watcher>),
    /// A watch that could not start has one thing to tell.
    Failed(Option<Box<Status>>),
}

impl Source {
    /// Sorts out how a watch started. Upstream's watch cache answers what is wrong with the request itself at once; that a revision
    /// is too old, or not there yet, is an event, as it is where etcd answers.
    fn new(started: Result<Watcher, Status>) -> Result<Self, Status> {
        match started {
            Ok(watcher) => Ok(Self::Running(Box::new(watcher))),
            Err(status) if matches!(status.code, 410 | 504) => Ok(Self::Failed(Some(Box::new(status)))),
            Err(status) => Err(status),
        }
    }

    async fn next(&mut self) -> Option<Signal> {
        match self {
            Self::Running(watcher) => watcher.next().await,
            Self::Failed(status) => status.take().map(Signal::Failed),
        }
    }

    fn try_next(&mut self) -> Option<Signal> {
        match self {
            Self::Running(watcher) => watcher.try_next(),
            Self::Failed(status) => status.take().map(Signal::Failed),
        }
    }
}

/// Starts a watch.
///
/// # Errors
/// A Status in upstream's words for what is wrong with the request; other failures are ERROR events.
pub(crate) async fn start(app: &Arc<App>, request: &Incoming, target: &Target) -> Result<Response, Status> {
    if request.style.yaml {
        // Events are lines of JSON.
        return Err(negotiate::refused());
    }
    let shape = shape(app, request, target)?;
    let query = watch_query(&request.query, target)?;
    let upgrade = if is_websocket(&request.headers) { request.upgrade.lock().take() } else { None };
    let switched = match upgrade.is_some().then(|| handshake::any_websocket(&request.headers)).transpose() {
        Ok(switched) => switched,
        Err(refused) => {
            let mut response = answer::status(&refused.status, request.style);
            response.headers_mut().extend(refused.headers);
            return Ok(response);
        }
    };
    let call = Call { app, caller: &request.caller };
    let source = Source::new(call.watch(target.kind, &target.namespace, query).await)?;
    let protobuf = request.style.protobuf;
    let state = State { source, shape, target: target.clone(), first: true, protobuf };
    if let (Some(response), Some(upgrade)) = (switched, upgrade) {
        drop(task::spawn("watch", state.over_websocket(upgrade)));
        return Ok(response);
    }
    let frames = futures::stream::unfold(state, |mut state| async move {
        let bytes = state.next_batch().await?;
        Some((Ok::<_, std::convert::Infallible>(http_body::Frame::data(bytes)), state))
    });
    let content_type = if protobuf { PROTOBUF_EVENTS } else { "application/json" };
    Ok(answer::stream(content_type, Body::new(StreamBody::new(frames))))
}

struct State {
    source: Source,
    shape: Shape,
    target: Target,
    /// The next event is the first one.
    first: bool,
    /// Events are messages behind their length instead of lines of JSON.
    protobuf: bool,
}

fn name(signal: &Signal) -> &'static str {
    match signal {
        Signal::Event { change: Change::Added, .. } => "ADDED",
        Signal::Event { change: Change::Modified, .. } => "MODIFIED",
        Signal::Event { change: Change::Deleted, .. } => "DELETED",
        Signal::Bookmark { .. } => "BOOKMARK",
        Signal::Failed(_) => "ERROR",
    }
}

impl State {
    async fn next_batch(&mut self) -> Option<Bytes> {
        let mut out = Vec::with_capacity(4096);
        let signal = self.source.next().await?;
        self.write(&signal, &mut out);
        while out.len() < BATCH_BYTES
            && let Some(signal) = self.source.try_next()
        {
            self.write(&signal, &mut out);
        }
        Some(Bytes::from(out))
    }

    /// Sends the events until the watch ends or the client leaves.
    async fn over_websocket(mut self, upgrade: OnUpgrade) {
        let Some(io) = stream::connection(upgrade).await else { return };
        let (mut reader, mut writer) = websocket::split(websocket::accept_for_events(io).await);
        // The client has nothing to say but goodbye.
        let mut leaving = pin!(async { while reader.next().await.is_ok() {} });
        let has_ended = tokio::select! {
            () = &mut leaving => false,
            has_ended = self.send_on(&mut writer) => has_ended,
        };
        if has_ended {
            writer.close().await;
            drop(tokio::time::timeout(GOODBYE_WITHIN, leaving).await);
        }
    }

    /// Whether the watch has come to its end, and the client has been told everything.
    async fn send_on<T: websocket::Io>(&mut self, writer: &mut websocket::Writer<T>) -> bool {
        loop {
            let signal = tokio::select! {
                signal = self.source.next() => signal,
                _ = writer.keep_alive() => return false,
            };
            let Some(mut signal) = signal else { return true };
            loop {
                let message = self.message(&signal);
                if writer.feed(message).await.is_err() {
                    return false;
                }
                match self.source.try_next() {
                    Some(next) => signal = next,
                    None => break,
                }
            }
            if writer.flush().await.is_err() {
                return false;
            }
        }
    }

    fn message(&mut self, signal: &Signal) -> Message {
        if self.protobuf {
            return Message::binary(self.protobuf_event(signal));
        }
        let mut line = Vec::new();
        self.write(signal, &mut line);
        Message::text(String::from_utf8_lossy(&line).into_owned())
    }

    fn protobuf_event(&mut self, signal: &Signal) -> Vec<u8> {
        let mut object = Vec::new();
        self.object(signal, &mut object);
        let event = serde_json::from_slice(&object).ok().and_then(|o| encode::protobuf_event(name(signal), &o));
        event.unwrap_or_default()
    }

    fn write(&mut self, signal: &Signal, out: &mut Vec<u8>) {
        if self.protobuf {
            let event = self.protobuf_event(signal);
            out.extend_from_slice(&u32::try_from(event.len()).unwrap_or_default().to_be_bytes());
            out.extend_from_slice(&event);
            return;
        }
        out.extend_from_slice(format!("{{\"type\":\"{}\",\"object\":", name(signal)).as_bytes());
        self.object(signal, out);
        out.extend_from_slice(b"}\n");
    }

    /// Writes the object of an event.
    fn object(&mut self, signal: &Signal, out: &mut Vec<u8>) {
        match signal {
            Signal::Event { object, revision, .. } => {
                self.shape.event(self.target.kind, object.encoded(), *revision, self.first, out);
                self.first = false;
            }
            Signal::Bookmark { revision, initial } => {
                let object = self.shape.bookmark(self.target.kind, *revision, *initial);
                out.extend_from_slice(object.to_string().as_bytes());
            }
            Signal::Failed(status) => {
                out.extend_from_slice(&serde_json::to_vec(status).expect("a Status is plain data"));
            }
        }
    }
}
