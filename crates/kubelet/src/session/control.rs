//! The control streams, and the streams that are opened on their word.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use gantry_client::Client;
use gantry_common::{
    backoff::Backoff,
    task::{self, Group, OnExit},
};
use gantry_proto::v1::{
    ControlReport, NodeHello, OpenFailed, OpenSession, SessionFrame, SessionOver, control_command::Command,
    control_report, session_frame,
};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::{
    Sessions,
    link::{FRAMES, Incoming, Outgoing},
};

const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(10);
/// Reports that may wait for the network.
const REPORTS: usize = 64;
/// How long a kubelet that stops waits for the other side to take what sessions said last.
pub(super) const FAREWELL: Duration = Duration::from_secs(1);

/// Keeps the control streams.
pub(crate) struct Control {
    client: Client,
    node: String,
    sessions: Arc<Sessions>,
    /// Sessions by their replica and id.
    open: Mutex<HashMap<(usize, String), CancellationToken>>,
    /// The reports of the control stream that each replica has now. A session does not keep a stream that has broken.
    reports: Vec<watch::Sender<Option<mpsc::WeakSender<ControlReport>>>>,
}

/// A session that its replica may close, as long as this is kept.
struct Listed<'a> {
    control: &'a Control,
    session: (usize, String),
    closed: CancellationToken,
}

impl<'a> Listed<'a> {
    fn new(control: &'a Control, session: (usize, String)) -> Self {
        let closed = CancellationToken::new();
        control.open.lock().insert(session.clone(), closed.clone());
        Self { control, session, closed }
    }
}

impl Drop for Listed<'_> {
    fn drop(&mut self) {
        self.control.open.lock().remove(&self.session);
    }
}

impl Control {
    pub(crate) fn new(client: Client, node: String, sessions: Arc<Sessions>) -> Arc<Self> {
        let reports = client.nodes().iter().map(|_| watch::Sender::new(None)).collect();
        Arc::new(Self { client, node, sessions, open: Mutex::default(), reports })
    }

    /// Keeps a control stream to every replica.
    pub(crate) fn start(self: &Arc<Self>, group: &Group) {
        for index in 0..self.client.nodes().len() {
            let control = Arc::clone(self);
            group.spawn("control", OnExit::ShutDown, async move { control.keep(index).await });
        }
    }

    async fn keep(self: Arc<Self>, index: usize) {
        let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
        loop {
            if let Err(status) = self.once(index, &mut backoff).await {
                tracing::debug!(replica = index, %status, "control stream broke, trying again");
            }
            tokio::time::sleep(backoff.next()).await;
        }
    }

    async fn once(self: &Arc<Self>, index: usize, backoff: &mut Backoff) -> Result<(), tonic::Status> {
        let Some((address, mut nodes)) = self.client.nodes().into_iter().nth(index) else { return Ok(()) };
        let (reports, outgoing) = mpsc::channel(REPORTS);
        let hello = NodeHello { node: self.node.clone() };
        // There is room for the first one.
        drop(reports.try_send(ControlReport { report: Some(control_report::Report::Hello(hello)) }));
        let mut commands = nodes.control(ReceiverStream::new(outgoing)).await?.into_inner();
        tracing::info!(server = address, "control stream is open");
        backoff.reset();
        if let Some(current) = self.reports.get(index) {
            current.send_replace(Some(reports.downgrade()));
        }
        while let Some(command) = commands.message().await? {
            match command.command {
                Some(Command::Open(open)) => {
                    let (control, reports) = (Arc::clone(self), reports.clone());
                    task::spawn("session", async move { control.open(index, open, reports).await });
                }
                Some(Command::Close(close)) => self.close(&(index, close.session)),
                None => {}
            }
        }
        Ok(())
    }

    async fn open(&self, index: usize, open: OpenSession, reports: mpsc::Sender<ControlReport>) {
        let OpenSession { session: id, kind, deferred } = open;
        let session = match self.sessions.accept(kind, deferred).await {
            Ok(session) => session,
            Err(status) => {
                let status = serde_json::to_vec(&status).unwrap_or_default().into();
                let report = control_report::Report::OpenFailed(OpenFailed { session: id, status });
                // Without the control stream the replica has given the session up itself.
                drop(reports.send(ControlReport { report: Some(report) }).await);
                return;
            }
        };
        // While a session lasts it needs nothing of the control stream, which may break and come back.
        drop(reports);
        let Some((_, mut nodes)) = self.client.nodes().into_iter().nth(index) else { return };
        let listed = Listed::new(self, (index, id.clone()));
        let (frames, outgoing) = mpsc::channel(FRAMES);
        // There is room for the first one.
        drop(frames.try_send(SessionFrame { frame: Some(session_frame::Frame::Hello(id.clone())) }));
        match nodes.session(ReceiverStream::new(outgoing)).await {
            Ok(answer) => {
                let past = |status| self.over(index, id, status);
                let incoming = Incoming::new(answer.into_inner());
                session.run(incoming, Outgoing::new(frames), listed.closed.clone(), past).await;
            }
            Err(status) => tracing::warn!(session = id, %status, "session could not be opened"),
        }
    }

    /// The replica says that nobody is at the other end of a session.
    fn close(&self, session: &(usize, String)) {
        if let Some(closed) = self.open.lock().get(session) {
            closed.cancel();
        }
    }

    /// Says by the control stream how a session ended whose own stream is full. Waits for a control stream if need be.
    async fn over(&self, index: usize, session: String, status: Bytes) {
        let Some(current) = self.reports.get(index) else { return };
        let upgrade =
            |weak: &Option<mpsc::WeakSender<ControlReport>>| weak.as_ref().and_then(mpsc::WeakSender::upgrade);
        let mut current = current.subscribe();
        let reports = match current.wait_for(|weak| upgrade(weak).is_some()).await {
            Ok(weak) => upgrade(&weak),
            Err(_) => None,
        };
        if let Some(reports) = reports {
            let report = control_report::Report::SessionOver(SessionOver { session, status });
            drop(reports.send(ControlReport { report: Some(report) }).await);
        }
    }
}
