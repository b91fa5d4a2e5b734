//! WATCH over REST: one line of JSON per event.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gantry_api::status::Status;
use gantry_store::cache::Change;
use http_body_util::StreamBody;

use super::handler::Incoming;
use super::query::Query;
use super::resource::shape;
use super::{answer, negotiate};
use crate::app::App;
use crate::calls::Call;
use crate::pipeline::selection::Selection;
use crate::pipeline::watch::{Signal, WatchQuery, Watcher};
use crate::request::Target;
use crate::server::{Body, Response};
use crate::view::Shape;

/// Events that are ready go out together, up to about this size.
const BATCH_BYTES: usize = 64 * 1024;

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
        timeout: timeout.map(Duration::from_secs),
    })
}

/// Starts a watch.
///
/// # Errors
/// A Status in upstream's words; once the answer has begun, failures are ERROR events.
pub(crate) async fn start(app: &Arc<App>, request: &Incoming, target: &Target) -> Result<Response, Status> {
    if request.style.yaml {
        // Events are lines of JSON.
        return Err(negotiate::refused());
    }
    let shape = shape(app, request)?;
    let query = watch_query(&request.query, target)?;
    let call = Call { app, caller: &request.caller };
    let watcher = call.watch(target.kind, &target.namespace, query).await?;
    let state = State { watcher, shape, target: target.clone(), first: true };
    let frames = futures::stream::unfold(state, |mut state| async move {
        let bytes = state.next_batch().await?;
        Some((Ok::<_, std::convert::Infallible>(http_body::Frame::data(bytes)), state))
    });
    Ok(answer::stream("application/json", Body::new(StreamBody::new(frames))))
}

struct State {
    watcher: Watcher,
    shape: Shape,
    target: Target,
    /// The next event is the first one.
    first: bool,
}

fn name(change: Change) -> &'static str {
    match change {
        Change::Added => "ADDED",
        Change::Modified => "MODIFIED",
        Change::Deleted => "DELETED",
    }
}

impl State {
    async fn next_batch(&mut self) -> Option<Bytes> {
        let mut out = Vec::with_capacity(4096);
        let signal = self.watcher.next().await?;
        self.write(&signal, &mut out);
        while out.len() < BATCH_BYTES
            && let Some(signal) = self.watcher.try_next()
        {
            self.write(&signal, &mut out);
        }
        Some(Bytes::from(out))
    }

    fn write(&mut self, signal: &Signal, out: &mut Vec<u8>) {
        match signal {
            Signal::Event { change, object, revision } => {
                out.extend_from_slice(format!("{{\"type\":\"{}\",\"object\":", name(*change)).as_bytes());
                self.shape.event(self.target.kind, object.encoded(), *revision, self.first, out);
                self.first = false;
            }
            Signal::Bookmark { revision, initial } => {
                let object = self.shape.bookmark(self.target.kind, *revision, *initial);
                out.extend_from_slice(format!("{{\"type\":\"BOOKMARK\",\"object\":{object}").as_bytes());
            }
            Signal::Failed(status) => {
                let status = serde_json::to_string(status).expect("a Status is plain data");
                out.extend_from_slice(format!("{{\"type\":\"ERROR\",\"object\":{status}").as_bytes());
            }
        }
        out.extend_from_slice(b"}\n");
    }
}
