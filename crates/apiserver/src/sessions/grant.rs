//! The one door of every session: who asks, whether they may, where it goes, and a place for it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use gantry_api::status::Status;
use gantry_proto::v1::PortForwardRequest;
use gantry_proto::v1::open_session::Kind;
use http::{HeaderMap, Method};
use tokio::sync::watch;

use super::bounds::{Holder, Place};
use super::channel::{Sink, Source};
use super::pod::Pod;
use super::ports::Ports;
use super::record::{Counts, Record};
use super::relay;
use super::right::Right;
use super::subject::{self, Subject};
use super::{Opened, Start};
use crate::admission::{Operation, Request};
use crate::app::App;
use crate::auth::credential::Credential;
use crate::request::Caller;
use crate::rest::handler::Incoming;
use crate::server::connection::Origin;

/// How long a node may take to end the connections to a pod that is gone; it gives who reads them 5 s itself.
const NODE_ENDS: Duration = Duration::from_secs(7);

/// Who asks for a session, and how.
pub(crate) struct Ask {
    pub(crate) caller: Caller,
    pub(crate) credential: Credential,
    /// As audit events show it.
    pub(crate) uri: String,
    /// A GET that asks for an upgrade.
    pub(crate) by_get: bool,
}

impl Ask {
    /// Of a REST request.
    pub(crate) fn of(request: &Incoming) -> Self {
        Self {
            caller: request.caller.clone(),
            credential: Credential::of(request.origin.as_ref(), &request.headers),
            uri: request.uri.clone(),
            by_get: request.method == Method::GET,
        }
    }

    /// Of a gRPC call.
    pub(crate) fn of_call(caller: Caller, origin: Option<&Arc<Origin>>, headers: &HeaderMap, uri: &str) -> Self {
        Self { caller, credential: Credential::of(origin, headers), uri: uri.to_owned(), by_get: false }
    }
}

/// A session that may be. Dropping it ends the story: its place is free again and the audit log says so.
pub(crate) struct Grant {
    app: Arc<App>,
    /// Empty for a pod that has no node yet.
    pub(crate) node: String,
    /// What the node is asked for: complete, with container and UID.
    pub(crate) kind: Kind,
    holder: Holder,
    pod: Pod,
    right: Right,
    record: Record,
    _place: Place,
}

/// Checks a request for a session.
///
/// # Errors
/// 400, 401, 403, 404 in upstream's words, 429 past a bound.
pub(crate) async fn grant(app: &Arc<App>, ask: Ask, mut kind: Kind) -> Result<Grant, Status> {
    let subject = Subject::of(&mut kind, ask.by_get)?;
    let mut record = Record::new(app, &ask, &subject, &kind);
    match admit(app, ask, &subject, &mut kind, &mut record).await {
        Ok(Admitted { right, holder, node, pod, place }) => {
            Ok(Grant { app: app.clone(), node, kind, holder, pod, right, record, _place: place })
        }
        Err(status) => {
            record.finish(&status);
            Err(status)
        }
    }
}

struct Admitted {
    right: Right,
    holder: Holder,
    node: String,
    pod: Pod,
    place: Place,
}

async fn admit(
    app: &Arc<App>,
    ask: Ask,
    subject: &Subject,
    kind: &mut Kind,
    record: &mut Record,
) -> Result<Admitted, Status> {
    let (right, user) = Right::recorded(app, ask.credential, subject.needed.clone(), |shown| record.by(shown)).await?;
    if let Some((target, mut options)) = subject.connects(kind) {
        Request::new(app, &ask.caller, &target, Operation::Connect).admit_other(&mut options).await?;
    }
    let located = subject.locate(app, kind).await?;
    record.at(&located.node, &located.uid, kind);
    let holder = Holder::of(&user);
    let place = app.places.take_for(holder.clone())?;
    Ok(Admitted { right, holder, pod: subject.pod(&located), node: located.node, place })
}

impl Grant {
    /// Opens the session on its node.
    ///
    /// # Errors
    /// [`is_unreachable`](super::is_unreachable) when the node cannot be reached, and what the node says.
    pub(crate) async fn open(&mut self, start: Start) -> Result<Opened, Status> {
        let opened = match self.node.is_empty() {
            true => Err(subject::no_host(&self.pod.target.name)),
            false => self.app.sessions.open(&self.node, self.kind.clone(), start).await,
        };
        match &opened {
            Ok(opened) => self.record.start(&opened.id),
            Err(status) => self.record.finish(status),
        }
        opened
    }

    /// Whether the node can be reached at all, for sessions that begin later.
    ///
    /// # Errors
    /// [`is_unreachable`](super::is_unreachable) when it cannot.
    pub(crate) fn check_node(&mut self) -> Result<(), Status> {
        self.app.sessions.check(&self.node, &self.kind).inspect_err(|status| self.record.finish(status))
    }

    /// Waits until a session that has not begun cannot: the right to it has ended, or the node has ended it.
    pub(crate) async fn lost(&self, opened: &Opened) -> Status {
        tokio::select! {
            status = self.right.ends() => status,
            status = opened.lost() => status,
        }
    }

    /// The session was refused after all.
    pub(crate) fn refuse(&mut self, status: &Status) {
        self.record.finish(status);
    }

    /// Passes frames between the client and the node until one of them ends it, or the right to it ends.
    pub(crate) async fn run(mut self, opened: Opened, source: impl Source, sink: impl Sink) {
        let ended = relay::relay(opened, &self.record.counts(), self.right.ends(), source, sink).await;
        if let Some(status) = ended {
            self.record.finish(&status);
        }
    }
}

/// How far the end of a port-forward has come.
#[derive(Debug, Clone)]
enum Ending {
    /// It goes on.
    No,
    /// No connection is added, and with the last one it is over.
    Soon(Status),
    /// Its connections end, too.
    Now(Status),
}

/// Opens the connections that a port-forward consists of; each is a session with the node of its own.
#[derive(Clone)]
pub(crate) struct Connector {
    app: Arc<App>,
    node: String,
    request: PortForwardRequest,
    holder: Holder,
    ending: watch::Receiver<Ending>,
    ports: Arc<Ports>,
    pub(crate) counts: Arc<Counts>,
    /// The port-forward's own id.
    pub(crate) id: String,
}

impl Connector {
    /// Opens a connection to a port of the pod.
    ///
    /// # Errors
    /// 429 past a bound, [`is_unreachable`](super::is_unreachable), what the node says, and why the port-forward ends.
    pub(crate) async fn open(&self, port: u16) -> Result<(Place, Opened), Status> {
        self.ports.used(port);
        let place = self.app.places.take_for(self.holder.clone())?;
        let request = PortForwardRequest { port: port.into(), ..self.request.clone() };
        let opened = tokio::select! {
            opened = self.app.sessions.open(&self.node, Kind::PortForward(request), Start::AtOnce) => opened?,
            status = self.ends() => return Err(status),
        };
        self.counts.connected();
        Ok((place, opened))
    }

    /// The pod's name.
    pub(crate) fn pod(&self) -> String {
        self.request.pod.clone()
    }

    /// Waits until no connection may be added any more. Those that there are have a moment: what is on its way arrives.
    pub(crate) async fn ends(&self) -> Status {
        self.ending(|ending| match ending {
            Ending::No => None,
            Ending::Soon(status) | Ending::Now(status) => Some(status.clone()),
        })
        .await
    }

    /// Waits until the connections that there are may not go on either.
    async fn ended(&self) -> Status {
        self.ending(|ending| match ending {
            Ending::No | Ending::Soon(_) => None,
            Ending::Now(status) => Some(status.clone()),
        })
        .await
    }

    async fn ending(&self, with: fn(&Ending) -> Option<Status>) -> Status {
        let mut ending = self.ending.clone();
        match ending.wait_for(|ending| with(ending).is_some()).await.ok().and_then(|ending| with(&ending)) {
            Some(status) => status,
            // Whoever watches over it is gone, and everything with it.
            None => std::future::pending().await,
        }
    }

    /// Passes the bytes of one connection.
    pub(crate) async fn run(&self, opened: Opened, source: impl Source, sink: impl Sink) {
        drop(relay::relay(opened, &self.counts, self.ended(), source, sink).await);
    }
}

impl Grant {
    /// Serves connections until `serve` is done, the right to it ends or the pod is gone; then `serve` has a moment to say so.
    pub(crate) async fn run_many<F>(mut self, serve: impl FnOnce(Connector) -> F)
    where
        F: Future<Output = ()>,
    {
        let Kind::PortForward(request) = self.kind.clone() else { return };
        let id = uuid::Uuid::new_v4().to_string();
        let ports = self.record.start_ports(&id);
        let (over, ending) = watch::channel(Ending::No);
        let connector = Connector {
            app: self.app.clone(),
            node: self.node.clone(),
            request,
            holder: self.holder.clone(),
            ending,
            ports,
            counts: self.record.counts(),
            id,
        };
        let mut work = std::pin::pin!(serve(connector));
        let status = tokio::select! {
            () = &mut work => return,
            status = self.right.ends() => status,
            status = self.pod.gone(&self.app) => {
                // Its node knows it, too, and ends what goes through it.
                over.send_replace(Ending::Soon(status.clone()));
                let done = tokio::select! {
                    () = &mut work => true,
                    _ = self.right.ends() => false,
                    () = tokio::time::sleep(NODE_ENDS) => false,
                };
                if done {
                    return self.record.finish(&status);
                }
                status
            }
        };
        over.send_replace(Ending::Now(status.clone()));
        drop(tokio::time::timeout(relay::FAREWELL + relay::LINGER, work).await);
        self.record.finish(&status);
    }
}
