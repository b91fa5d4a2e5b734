//! The node's end of sessions. Nothing dials a node: the kubelet holds a small control stream to every API server replica,
//! and opens a stream of its own for each session that a replica asks for.
//!
//! What is wrong with a request is told before a stream is opened for it. What a session has started is owned by the
//! future that serves it: however the session ends, that future goes, and what it owns ends with it.

mod answer;
mod attach;
mod control;
mod dial;
mod ending;
mod exec;
mod forward;
pub(crate) mod link;
mod log;
mod server;
mod socket;
mod stats;
mod target;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use gantry_api::status::Status;
use gantry_common::shutdown::Shutdown;
use gantry_proto::v1::open_session::Kind;
use serde_json::Value;
use tokio::sync::Semaphore;

pub(crate) use control::Control;
pub(crate) use target::Pods;

use self::{
    answer::Ended,
    ending::{Session, With},
    link::{Incoming, Outgoing},
    target::Target,
};
use crate::{stats::Meter, worker::Deps};

/// How long a session may take to be prepared: the API server waits no longer either.
const PREPARE_WITHIN: Duration = Duration::from_secs(10);

/// What all sessions share.
pub(crate) struct Context {
    pub(crate) deps: Arc<Deps>,
    pub(crate) pods: Arc<dyn Pods>,
    pub(crate) meter: Meter,
    /// The kubelet's configuration, as `/configz` shows it.
    pub(crate) config: Value,
    pub(crate) shutdown: Shutdown,
}

/// How many sessions there were.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) opened: AtomicU64,
    pub(crate) refused: AtomicU64,
}

/// One kind of session, ready to begin.
#[async_trait::async_trait]
trait Work: Send {
    /// Serves to the end. What it has started ends when this future goes.
    async fn run(self: Box<Self>, incoming: &mut Incoming, outgoing: &Outgoing) -> Ended;
}

/// Serves sessions.
pub(crate) struct Sessions {
    context: Context,
    counts: Counts,
    places: Arc<Semaphore>,
    max: usize,
}

fn port(number: u32) -> Result<u16, Status> {
    let port = u16::try_from(number).ok().filter(|port| *port > 0);
    port.ok_or_else(|| Status::bad_request(format!("port {number} is not in the range 1-65535")))
}

impl Sessions {
    /// At most `max` sessions at once.
    pub(crate) fn new(context: Context, max: usize) -> Arc<Self> {
        Arc::new(Self { context, counts: Counts::default(), places: Arc::new(Semaphore::new(max)), max })
    }

    /// Checks what is asked for, and prepares it. A `deferred` session begins with a frame that says so.
    ///
    /// # Errors
    /// What the client is told in place of a session.
    pub(crate) async fn accept(self: &Arc<Self>, kind: Option<Kind>, deferred: bool) -> Result<Session, Status> {
        // Docker may hang; a session that nobody waits for any more keeps no place.
        let prepared = tokio::time::timeout(PREPARE_WITHIN, self.prepare(kind, deferred)).await;
        let accepted = prepared.unwrap_or_else(|_| Err(slow()));
        let count = if accepted.is_ok() { &self.counts.opened } else { &self.counts.refused };
        count.fetch_add(1, Ordering::Relaxed);
        accepted
    }

    async fn prepare(self: &Arc<Self>, kind: Option<Kind>, deferred: bool) -> Result<Session, Status> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            let message = format!("the node serves {} sessions already, as many as --max-sessions allows", self.max);
            Status::too_many_requests(message, 1)
        })?;
        let context = &self.context;
        if context.shutdown.is_requested() {
            return Err(stopping());
        }
        let alone = |work: Box<dyn Work>| (work, With::Nothing);
        let with = |(work, target): (Box<dyn Work>, Target)| (work, With::Sandbox(Box::new(target)));
        let (work, with) = match kind {
            Some(Kind::Log(request)) => {
                let (work, pod) = log::prepare(context, &request).await?;
                (work, With::Log(pod))
            }
            Some(Kind::Exec(request)) => with(exec::prepare(context, request).await?),
            Some(Kind::Attach(request)) => with(attach::prepare(context, request, deferred).await?),
            Some(Kind::PortForward(request)) => with(forward::prepare(context, request).await?),
            Some(Kind::Dial(request)) => {
                let (work, target) = dial::prepare(context, request).await?;
                (work, target.map_or(With::Nothing, |target| With::Sandbox(Box::new(target))))
            }
            Some(Kind::Stats(_)) => alone(stats::prepare(context).await?),
            Some(Kind::Kubelet(_)) => alone(server::prepare(self)),
            None => return Err(Status::bad_request("the node's kubelet does not know this kind of session")),
        };
        Ok(Session { work, with, deferred, sessions: Arc::clone(self), place })
    }

    /// Sessions that are being served.
    pub(crate) fn current(&self) -> usize {
        self.max.saturating_sub(self.places.available_permits())
    }

    /// Waits until every session has ended; for the end of the kubelet, which sessions are told of by its shutdown.
    pub(crate) async fn settle(&self) {
        let all = u32::try_from(self.max).unwrap_or(u32::MAX);
        // The semaphore is never closed.
        drop(self.places.acquire_many(all).await);
        self.context.deps.commands.settle().await;
    }
}

// The API server passes these on to the client: upstream names no time to try again where a node cannot be reached.
fn slow() -> Status {
    Status::unavailable(format!("the node did not open the session within {PREPARE_WITHIN:?}"))
}

fn stopping() -> Status {
    Status::unavailable("the node's kubelet is stopping")
}
