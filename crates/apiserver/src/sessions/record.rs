//! What is kept about a session: counters for metrics, and the audit events at its start and its end.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gantry_api::kinds;
use gantry_api::status::Status;
use gantry_proto::v1::open_session::Kind;
use serde_json::json;
use tokio::time::Instant;

use super::grant::Ask;
use super::ports::Ports;
use super::subject::Subject;
use crate::app::App;
use crate::audit::{COMPLETE, Event, ObjectRef, STARTED, Who, time};
use crate::auth::credential::Shown;
use crate::metrics::requests::{Labels, Lasting};
use crate::request::{Caller, Notes};

/// Bytes of a command that an event shows.
const COMMAND_BYTES_MAX: usize = 4096;

/// Bytes each way, and connections.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    to_node: AtomicU64,
    from_node: AtomicU64,
    connections: AtomicU64,
}

impl Counts {
    pub(crate) fn sent(&self, bytes: usize) {
        self.to_node.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn received(&self, bytes: usize) {
        self.from_node.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// A session that consists of connections has one more.
    pub(crate) fn connected(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }
}

/// The story of one session. It ends when this is dropped.
pub(crate) struct Record {
    app: Arc<App>,
    name: &'static str,
    event: Event,
    began: Instant,
    started: bool,
    outcome: Option<Status>,
    /// Bytes are counted where they pass in frames.
    counts: Option<Arc<Counts>>,
    /// Of a port-forward that has begun.
    ports: Option<Arc<Ports>>,
    /// Of the request.
    notes: Arc<Notes>,
    /// What goes on in the metrics.
    lasting: Option<Lasting>,
}

fn command(kind: &Kind) -> Option<String> {
    let Kind::Exec(request) = kind else { return None };
    let mut text = json!(request.command).to_string();
    if text.len() > COMMAND_BYTES_MAX {
        let end = (0..=COMMAND_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(end);
        text.push_str(" ...");
    }
    Some(text)
}

fn container(kind: &Kind) -> Option<String> {
    match kind {
        Kind::Log(r) => Some(r.container.clone()),
        Kind::Exec(r) => Some(r.container.clone()),
        Kind::Attach(r) => Some(r.container.clone()),
        _ => None,
    }
}

impl Record {
    /// Begins with what is known of a request.
    pub(crate) fn new(app: &Arc<App>, ask: &Ask, subject: &Subject, kind: &Kind) -> Self {
        let mut annotations = BTreeMap::new();
        if let Some(command) = command(kind) {
            annotations.insert("gantry.dev/command".into(), command);
        }
        if let Kind::PortForward(request) = kind
            && request.port > 0
        {
            annotations.insert("gantry.dev/port".into(), request.port.to_string());
        }
        let verb = if ask.by_get || matches!(subject.name, "log" | "stats") { "get" } else { "create" };
        let object = ObjectRef {
            resource: Cow::Borrowed(subject.resource),
            namespace: subject.namespace.clone(),
            name: subject.object.clone(),
            uid: String::new(),
            api_version: Cow::Borrowed("v1"),
            subresource: Cow::Borrowed(subject.subresource),
        };
        let event = Event { annotations, object_ref: object, ..Event::of(app, &ask.caller, ask.uri.clone(), verb) };
        Self {
            app: app.clone(),
            name: subject.name,
            event,
            began: Instant::now(),
            started: false,
            outcome: None,
            counts: Some(Arc::default()),
            ports: None,
            notes: ask.caller.notes.clone(),
            lasting: None,
        }
    }

    /// Begins with a request that is to be passed on to what runs in the cluster.
    pub(crate) fn proxied(app: &Arc<App>, caller: &Caller, uri: String, verb: &'static str, object: ObjectRef) -> Self {
        Self {
            app: app.clone(),
            name: "proxy",
            event: Event { object_ref: object, ..Event::of(app, caller, uri, verb) },
            began: Instant::now(),
            started: false,
            outcome: None,
            counts: None,
            ports: None,
            notes: caller.notes.clone(),
            lasting: None,
        }
    }

    /// Says who it is, with whom they act as.
    pub(crate) fn by(&mut self, shown: &Shown) {
        self.event.user = Who::from(&shown.real);
        let impersonates = shown.real != shown.acting;
        self.event.impersonated_user = impersonates.then(|| Who::from(&shown.acting));
    }

    /// Says where it goes.
    pub(crate) fn at(&mut self, node: &str, uid: &str, kind: &Kind) {
        uid.clone_into(&mut self.event.object_ref.uid);
        self.event.annotations.insert("gantry.dev/node".into(), node.to_owned());
        if let Some(container) = container(kind) {
            self.event.annotations.insert("gantry.dev/container".into(), container);
        }
    }

    /// Bytes each way.
    pub(crate) fn counts(&self) -> Arc<Counts> {
        self.counts.clone().unwrap_or_default()
    }

    /// It is admitted: from now on it counts as open.
    pub(crate) fn open(&mut self) {
        self.started = true;
        let kept = self.app.metrics.sessions(self.name);
        kept.opened.add(1);
        kept.open.add(1);
        self.lasting = self.lasts();
    }

    /// What upstream takes for a connection with an object of the core group.
    fn lasts(&self) -> Option<Lasting> {
        let object = &self.event.object_ref;
        if (self.name == "proxy") != (object.subresource == "proxy") {
            return None;
        }
        let kind = kinds::by_resource("", &object.api_version, &object.resource)?;
        let subresource = kind.subresource(&object.subresource)?.name;
        let mut lasting =
            self.app.metrics.requests.last(&Labels::connecting(kind, subresource), self.began, &self.notes)?;
        if matches!(subresource, "exec" | "attach" | "portforward") {
            lasting.ended(101);
        }
        Some(lasting)
    }

    /// The session has begun.
    pub(crate) fn start(&mut self, session: &str) {
        self.open();
        self.event.annotations.insert("gantry.dev/session".into(), session.to_owned());
        self.app.audit.write(&self.started());
    }

    /// A port-forward whose ports are not known yet has begun.
    pub(crate) fn start_ports(&mut self, session: &str) -> Arc<Ports> {
        self.start(session);
        let ports = Ports::new(&self.app, self.started());
        self.ports = Some(ports.clone());
        ports
    }

    fn started(&self) -> Event {
        let mut event = self.event.clone();
        event.stage = STARTED;
        event.response_status = Some(json!({"metadata": {}, "code": 101}));
        event.stage_timestamp = time(self.app.clock.now());
        event
    }

    /// How it ended. Without this, the client has left.
    pub(crate) fn finish(&mut self, status: &Status) {
        self.outcome = Some(status.clone());
    }

    fn end(&mut self) {
        let notes = &mut self.event.annotations;
        notes.insert("gantry.dev/seconds".into(), format!("{:.3}", self.began.elapsed().as_secs_f64()));
        if let Some(counts) = &self.counts {
            notes.insert("gantry.dev/bytes-to-node".into(), counts.to_node.load(Ordering::Relaxed).to_string());
            notes.insert("gantry.dev/bytes-from-node".into(), counts.from_node.load(Ordering::Relaxed).to_string());
            let connections = counts.connections.load(Ordering::Relaxed);
            if connections > 0 {
                notes.insert("gantry.dev/connections".into(), connections.to_string());
            }
        }
        if let Some(ports) = self.ports.as_ref().and_then(|ports| ports.text()) {
            notes.insert("gantry.dev/ports".into(), ports);
        }
        let status = match &self.outcome {
            None => {
                notes.insert("gantry.dev/outcome".into(), "the client left".to_owned());
                json!({"metadata": {}, "code": 200})
            }
            Some(status) => {
                let message = if status.message.is_empty() { &status.status } else { &status.message };
                notes.insert("gantry.dev/outcome".into(), message.clone());
                json!({"metadata": {}, "status": status.status, "reason": status.reason, "code": status.code})
            }
        };
        self.event.response_status = Some(status);
        self.event.stage = COMPLETE;
        self.event.stage_timestamp = time(self.app.clock.now());
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let kept = self.app.metrics.sessions(self.name);
        if let (Some(lasting), "proxy", Some(status)) = (&mut self.lasting, self.name, &self.outcome) {
            lasting.ended(status.code);
        }
        if self.started {
            kept.open.sub(1);
        } else {
            kept.refused.add(1);
        }
        self.end();
        self.app.audit.write(&self.event);
    }
}
