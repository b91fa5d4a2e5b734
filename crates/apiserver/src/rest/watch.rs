//! WATCH over REST: one line of JSON per event, or one message of a WebSocket.

mod batch;
pub(crate) mod crowd;
mod form;
mod seat;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gantry_api::kinds::KindInfo;
use gantry_api::status::Status;
use gantry_common::task;
use http_body_util::StreamBody;
use hyper::upgrade::OnUpgrade;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;

use self::crowd::{Alike, Place, Seated};
use self::form::Form;
use self::seat::Step;
use super::handler::Incoming;
use super::query::Query;
use super::resource::{narrowed, shape_of};
use super::stream::{self, handshake, websocket};
use super::{answer, negotiate};
use crate::app::App;
use crate::auth::websocket::is_websocket;
use crate::calls::{Call, Watch};
use crate::custom::convert;
use crate::metrics::requests::{Labels, Lasting};
use crate::pipeline::selection::{Narrowed, Selection};
use crate::pipeline::watch::{Due, Schedule, Signal, WatchQuery, Watcher};
use crate::request::Target;
use crate::server::door::Door;
use crate::server::{Body, Response};

/// Events that are ready go out together, up to about this size.
const BATCH_BYTES: usize = 64 * 1024;

/// The media type of events in protobuf.
const PROTOBUF_EVENTS: &str = "application/vnd.kubernetes.protobuf;stream=watch";

/// The field selector of a watch; a name in the path is part of it.
fn field_selector(query: &Query, target: &Target) -> String {
    let fields = query.get("fieldSelector");
    match (fields, target.name.as_str()) {
        (fields, "") => fields.to_owned(),
        ("", name) => format!("metadata.name={name}"),
        (fields, name) => format!("{fields},metadata.name={name}"),
    }
}

/// What a watch request asks for.
fn watch_query(query: &Query, target: &Target) -> Result<WatchQuery, Status> {
    let fields = field_selector(query, target);
    let timeout = query.number("timeoutSeconds")?.and_then(|s| u64::try_from(s).ok()).filter(|s| *s > 0);
    Ok(WatchQuery {
        selection: Selection::parse(&target.kind, &target.namespace, query.get("labelSelector"), &fields)?,
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
    /// A watch that could not start, or cannot go on, has at most one thing to tell.
    Ended(Option<Signal>),
}

impl Source {
    /// Sorts out how a watch started. Upstream's watch cache answers what is wrong with the request itself at once; that a revision
    /// is too old, or not there yet, is an event, as it is where etcd answers.
    fn new(started: Result<Watcher, Status>) -> Result<Self, Status> {
        match started {
            Ok(watcher) => Ok(Self::Running(Box::new(watcher))),
            Err(status) if matches!(status.code, 410 | 504) => Ok(Self::Ended(Some(Signal::Failed(Box::new(status))))),
            Err(status) => Err(status),
        }
    }

    async fn next(&mut self) -> Option<Signal> {
        match self {
            Self::Running(watcher) => watcher.next().await,
            Self::Ended(signal) => signal.take(),
        }
    }

    fn try_next(&mut self) -> Option<Signal> {
        match self {
            Self::Running(watcher) => watcher.try_next(),
            Self::Ended(signal) => signal.take(),
        }
    }
}

/// Starts a watch. `by_path`: the path says so, and may name an object.
///
/// # Errors
/// A Status in upstream's words for what is wrong with the request; other failures are ERROR events.
pub(crate) async fn start(
    app: &Arc<App>,
    request: &Incoming,
    target: &Target,
    by_path: bool,
    labels: &Labels,
) -> Result<Response, Status> {
    let began = Instant::now();
    let call = Call { app, caller: &request.caller };
    // Upstream looks at no selector of a path that says `watch`.
    let narrowed = if by_path { Narrowed::default() } else { narrowed(&request.query) };
    let permitted = call.permit_selection::<Watch>(target, narrowed).await?;
    let query = watch_query(&request.query, target)?;
    // Upstream streams what is there as objects only.
    let streams_list = query.send_initial_events == Some(true) && query.allow_bookmarks;
    let (shape, style) = shape_of(app, request, target, !streams_list)?;
    if style.yaml {
        // Events are lines of JSON, or frames.
        return Err(negotiate::refused_of_stream());
    }
    let upgrade = if is_websocket(&request.headers) { request.upgrade.lock().take() } else { None };
    let switched = match upgrade.is_some().then(|| handshake::any_websocket(&request.headers)).transpose() {
        Ok(switched) => switched,
        Err(refused) => return Ok(refused.response(style)),
    };
    let source = Source::new(permitted.watch(query).await)?;
    let protobuf = style.protobuf;
    let figures = app.metrics.resources.of(&target.kind);
    let form = Form { kind: target.kind.clone(), shape, protobuf, clock: app.clock.clone(), figures };
    // A watch that could not start has its answer at once.
    let goes_on = matches!(source, Source::Running(_));
    let lasting = goes_on.then(|| app.metrics.requests.last(labels, began, &request.caller.notes)).flatten();
    let telling = Telling { source, form, first: true, lasting };
    if let (Some(response), Some(upgrade)) = (switched, upgrade) {
        drop(task::spawn("watch", telling.over_websocket(upgrade)));
        return Ok(response);
    }
    // What a webhook converts each watch waits for by itself.
    let alike = (!convert::asks(&target.kind)).then(|| alike(&request.query, target, &telling.form));
    let place = alike.map(|alike| app.crowds.enter(alike));
    let answer = Answer { place, telling, door: request.door.clone(), seat: None };
    let frames = futures::stream::unfold(answer, |mut answer| async move {
        let bytes = answer.next_batch().await?;
        Some((Ok::<_, std::convert::Infallible>(http_body::Frame::data(bytes)), answer))
    });
    let content_type = if protobuf { PROTOBUF_EVENTS } else { "application/json" };
    Ok(answer::stream(content_type, Body::new(StreamBody::new(frames))))
}

fn alike(query: &Query, target: &Target, form: &Form) -> Alike {
    Alike {
        kind: std::ptr::from_ref::<KindInfo>(&form.kind).addr(),
        namespace: target.namespace.clone(),
        labels: query.get("labelSelector").to_owned(),
        fields: field_selector(query, target),
        view: form.shape.view,
        include: form.shape.include,
        protobuf: form.protobuf,
    }
}

/// A watch as the body of an answer.
struct Answer {
    /// It goes before the form, which holds the kind by whose address its crowd is found.
    place: Option<Place>,
    telling: Telling,
    door: Option<Arc<dyn Door>>,
    seat: Option<(Seated, Schedule)>,
}

impl Answer {
    async fn next_batch(&mut self) -> Option<Bytes> {
        loop {
            self.take_seat();
            let Some((seated, schedule)) = &mut self.seat else {
                let Some(settled) = self.settles() else { return self.telling.next_batch().await };
                tokio::select! {
                    biased;
                    batch = self.telling.next_batch() => return batch,
                    () = settled => continue,
                }
            };
            let end = tokio::select! {
                biased;
                step = seated.next() => match step {
                    Step::Say(bytes) => return Some(bytes),
                    Step::End(error) => {
                        self.telling.form.ended(&error);
                        Signal::of_end(error)
                    }
                },
                due = schedule.due() => match due {
                    Due::Bookmark => match seated.bookmark() {
                        Some(revision) => return Some(self.telling.one(&Signal::Bookmark { revision, initial: false })),
                        None => {
                            schedule.put_off();
                            continue;
                        }
                    },
                    Due::End => None,
                },
            };
            self.seat = None;
            self.telling.source = Source::Ended(end);
        }
    }

    /// What a seat waits for, if it is a matter of a moment: who does not wait gets none before the next event, which may be long.
    fn settles(&self) -> Option<impl Future<Output = ()> + use<>> {
        self.place.as_ref().filter(|place| place.is_crowded())?;
        match &self.telling.source {
            Source::Running(watcher) => watcher.settles(),
            Source::Ended(_) => None,
        }
    }

    /// Joins the others who ask for the same, once there is nothing left that this watch alone has to tell.
    fn take_seat(&mut self) {
        let Some(place) = self.place.as_ref().filter(|place| place.is_crowded()) else { return };
        let Telling { source, form, first, .. } = &mut self.telling;
        if *first && form.begins() {
            return;
        }
        if matches!(source, Source::Ended(_)) {
            return;
        }
        let Source::Running(watcher) = std::mem::replace(source, Source::Ended(None)) else { return };
        match place.seat(watcher, form, self.door.as_ref()) {
            Ok(seat) => self.seat = Some(seat),
            Err(watcher) => *source = Source::Running(watcher),
        }
    }
}

/// A watch's own events.
struct Telling {
    source: Source,
    form: Form,
    /// The next event is the first one.
    first: bool,
    lasting: Option<Lasting>,
}

impl Telling {
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
    async fn over_websocket(self, upgrade: OnUpgrade) {
        let Some(io) = stream::connection(upgrade).await else { return };
        websocket::tell(websocket::accept_for_events(io).await, self).await;
    }

    fn message(&mut self, signal: &Signal) -> Message {
        let first = self.is_first(signal);
        let message = self.form.message(signal, first);
        self.told(signal, message.len());
        message
    }

    fn write(&mut self, signal: &Signal, out: &mut Vec<u8>) {
        let (first, before) = (self.is_first(signal), out.len());
        self.form.write(signal, first, out);
        self.told(signal, out.len() - before);
    }

    fn told(&mut self, signal: &Signal, bytes: usize) {
        self.form.figures.told(bytes, 1);
        if let (Signal::Bookmark { initial: true, .. }, Some(lasting)) = (signal, &self.lasting) {
            lasting.listed();
        }
    }

    fn is_first(&mut self, signal: &Signal) -> bool {
        matches!(signal, Signal::Event { .. }) && std::mem::replace(&mut self.first, false)
    }

    fn one(&mut self, signal: &Signal) -> Bytes {
        let mut out = Vec::new();
        self.write(signal, &mut out);
        Bytes::from(out)
    }
}

impl websocket::Tale for Telling {
    async fn next(&mut self) -> Option<Message> {
        let signal = self.source.next().await?;
        Some(self.message(&signal))
    }

    fn try_next(&mut self) -> Option<Message> {
        let signal = self.source.try_next()?;
        Some(self.message(&signal))
    }
}
