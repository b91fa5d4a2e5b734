//! Sessions with nodes: every stream is opened by the node, nothing dials it.
//!
//! A node keeps a control stream. To open a session the server sends `Open` over it with an unguessable id; the node
//! answers with a stream of its own that begins with that id. HTTP/2 flow control then holds per session: a slow
//! reader fills its own bounded channel and blocks nobody else.

pub(crate) mod bounds;
pub(crate) mod channel;
pub(crate) mod container;
pub(crate) mod grant;
pub(crate) mod over;
mod pod;
pub(crate) mod ports;
pub(crate) mod record;
pub(crate) mod relay;
pub(crate) mod right;
mod subject;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use gantry_api::status::Status;
use gantry_proto::v1::control_command::Command;
use gantry_proto::v1::open_session::Kind;
use gantry_proto::v1::session_frame::Frame;
use gantry_proto::v1::{CloseSession, ControlCommand, LogRequest, OpenSession, SessionFrame, SessionStart};
use parking_lot::Mutex;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::sync::{mpsc, oneshot};

use self::over::{Listed, Open, Over};

/// How long a node may take to open a session.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
/// Commands that may wait for one node.
const COMMANDS: usize = 64;
/// Frames of one session that may wait for its reader.
pub(crate) const FRAMES: usize = 8;
/// Bytes of one data frame.
pub(crate) const FRAME_BYTES_MAX: usize = 64 * 1024;
/// Sessions that wait for their node at once.
const PENDING_MAX: usize = 1024;

/// What a session brings. [`Received::Done`] is the last one, always: made here when the node's stream breaks off.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "a Status ends a session: there is one of them, and up to eight pieces wait"
)]
pub(crate) enum Received {
    /// Log text, standard output, bytes of a connection.
    Data(Bytes),
    /// Standard error.
    Stderr(Bytes),
    /// The peer of the connection sends no more.
    End,
    /// The session is over.
    Done(Status),
}

/// The API server's end of a session that the node has accepted. Dropping it ends the session, and with it everything that
/// the session started on the node.
#[derive(Debug)]
pub(crate) struct Opened {
    /// The session's id, which the node knows too.
    pub(crate) id: String,
    /// What the node sends.
    pub(crate) from_node: mpsc::Receiver<Received>,
    /// What the node is sent: data, resize and end frames.
    pub(crate) to_node: mpsc::Sender<SessionFrame>,
    /// Whether the node has said that it is over, past all that is still on its way.
    pub(crate) over: Over,
}

impl Opened {
    /// Lets a session begin that was opened [deferred](Start::Deferred).
    pub(crate) async fn begin(&self) {
        let start = SessionFrame { frame: Some(Frame::Start(SessionStart {})) };
        // A node that is gone is noticed by whoever passes the frames.
        drop(self.to_node.send(start).await);
    }

    /// Waits until the node has ended a session in which no frame has passed yet.
    pub(crate) async fn lost(&self) -> Status {
        tokio::select! {
            status = self.over.wait() => status,
            () = self.to_node.closed() => relay::broke_off(),
        }
    }
}

/// When a session begins on its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// Once the node has said hello.
    AtOnce,
    /// With [`Opened::begin`].
    Deferred,
}

/// The other ends of [`Opened`], for the node's stream.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) from_node: mpsc::Sender<Received>,
    pub(crate) to_node: mpsc::Receiver<SessionFrame>,
    /// Resolves like the one of [`Opened`].
    pub(crate) over: Over,
    /// While this is kept the node may say that the session is over.
    pub(crate) listed: Listed,
}

struct Control {
    /// Tells a newer stream of the same node from an older one.
    generation: u64,
    commands: mpsc::Sender<ControlCommand>,
}

struct Pending {
    node: String,
    opened: oneshot::Sender<Result<Opened, Status>>,
}

const NO_STREAM: &str = "its kubelet has no stream to this API server";

/// All control streams and sessions of this server.
#[derive(Default)]
pub(crate) struct Sessions {
    next: AtomicU64,
    controls: Mutex<HashMap<String, Control>>,
    pending: Mutex<HashMap<String, Pending>>,
    open: Arc<Open>,
}

/// What upstream says before the reason why its dialler reached no kubelet (apimachinery pkg/util/proxy/upgradeaware.go).
const NO_BACKEND: &str = "error dialing backend: ";

/// Whether a session was refused because its node cannot be reached.
pub(crate) fn is_unreachable(status: &Status) -> bool {
    let said = status.message.as_str();
    status.code == 500
        && status.reason.is_empty()
        && (said.starts_with(NO_BACKEND) || said.starts_with("Get \"https://"))
}

/// That a node cannot be reached: for the sessions of pods as upstream tells the failed dial to a kubelet, which has no reason.
/// No time to try again is named, as upstream names none: with one, client-go tries ten times before it tells its user.
fn unreachable(node: &str, kind: &Kind, why: &str) -> Status {
    let why = format!("node {node:?} cannot be reached: {why}");
    match kind {
        // The client of a log says what it asked for (net/http's Client); upgrades are dialled by the proxy.
        Kind::Log(request) => {
            Status::failure(500, "", format!("Get \"{}\": dial tcp: {why}", kubelet_url(node, request)))
        }
        Kind::Exec(_) | Kind::Attach(_) | Kind::PortForward(_) => {
            Status::failure(500, "", format!("{NO_BACKEND}dial tcp: {why}"))
        }
        Kind::Stats(_) | Kind::Dial(_) | Kind::Kubelet(_) => Status::unavailable(why),
    }
}

/// Where upstream reads a log: the kubelet's port, and the options by name.
fn kubelet_url(node: &str, request: &LogRequest) -> String {
    let LogRequest { namespace, pod, container, .. } = request;
    let flag = |set: bool| set.then(|| "true".to_owned());
    let number = |number: Option<i64>| number.map(|n| n.to_string());
    let text = |text: &str| Some(utf8_percent_encode(text, QUERY).to_string()).filter(|text| !text.is_empty());
    let options = [
        ("follow", flag(request.follow)),
        ("limitBytes", number(request.limit_bytes)),
        ("previous", flag(request.previous)),
        ("sinceSeconds", number(request.since_seconds)),
        ("sinceTime", text(&request.since_time)),
        ("stream", text(&request.stream)),
        ("tailLines", number(request.tail_lines)),
        ("timestamps", flag(request.timestamps)),
    ];
    let options: Vec<String> =
        options.into_iter().filter_map(|(key, value)| Some(format!("{key}={}", value?))).collect();
    let query = if options.is_empty() { String::new() } else { format!("?{}", options.join("&")) };
    format!("https://{node}:10250/containerLogs/{namespace}/{pod}/{container}{query}")
}

/// What Go leaves as it is in a query.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

impl Sessions {
    /// Takes a node's control stream; an older one of the same node is replaced.
    pub(crate) fn register(&self, node: &str) -> (u64, mpsc::Receiver<ControlCommand>) {
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let generation = self.next.fetch_add(1, Ordering::Relaxed);
        self.controls.lock().insert(node.to_owned(), Control { generation, commands });
        (generation, receiver)
    }

    /// Forgets a control stream, unless a newer one has taken its place.
    pub(crate) fn unregister(&self, node: &str, generation: u64) {
        let mut controls = self.controls.lock();
        if controls.get(node).is_some_and(|c| c.generation == generation) {
            controls.remove(node);
        }
    }

    /// Whether a node has a control stream here, for a session of this kind.
    ///
    /// # Errors
    /// See [`is_unreachable`], when it has none.
    pub(crate) fn check(&self, node: &str, kind: &Kind) -> Result<(), Status> {
        match self.controls.lock().contains_key(node) {
            true => Ok(()),
            false => Err(unreachable(node, kind, NO_STREAM)),
        }
    }

    /// Opens a session on a node. The caller has authorised it.
    ///
    /// # Errors
    /// See [`is_unreachable`] (503 for what is no pod's session) when the node has no stream here or does not answer, and what
    /// the node says.
    pub(crate) async fn open(&self, node: &str, kind: Kind, start: Start) -> Result<Opened, Status> {
        let id = uuid::Uuid::new_v4().to_string();
        let commands = self.controls.lock().get(node).map(|c| c.commands.clone());
        let commands = commands.ok_or_else(|| unreachable(node, &kind, NO_STREAM))?;
        let (opened, answer) = oneshot::channel();
        {
            let mut pending = self.pending.lock();
            if pending.len() >= PENDING_MAX {
                return Err(Status::too_many_requests("too many sessions wait for their nodes", 1));
            }
            pending.insert(id.clone(), Pending { node: node.to_owned(), opened });
        }
        let waiting = Waiting { sessions: self, id: &id };
        let open = OpenSession { session: id.clone(), kind: Some(kind.clone()), deferred: start == Start::Deferred };
        let command = ControlCommand { command: Some(Command::Open(open)) };
        // A burst waits for the node to take its commands: how many may wait is bounded above.
        let asked = async { commands.send(command).await.ok().and(answer.await.ok()) };
        let answer = tokio::time::timeout(OPEN_TIMEOUT, asked).await;
        drop(waiting);
        match answer {
            Ok(Some(opened)) => opened,
            Ok(None) => Err(unreachable(node, &kind, "its control stream ended")),
            Err(_) => Err(unreachable(node, &kind, &format!("it did not open the session within {OPEN_TIMEOUT:?}"))),
        }
    }

    /// A node's stream for a session that was opened for it.
    ///
    /// # Errors
    /// 403 for a session that was not opened for this node, or that nobody waits for any more.
    pub(crate) fn accept(&self, id: &str, node: &str) -> Result<Accepted, Status> {
        let pending = self.take(id, node)?;
        let (from_node, received) = mpsc::channel(FRAMES);
        let (sent, to_node) = mpsc::channel(FRAMES);
        let (over, listed) = self.open.list(id, node);
        let opened = Opened { id: id.to_owned(), from_node: received, to_node: sent, over: over.clone() };
        pending.opened.send(Ok(opened)).map_err(|_| refused(id))?;
        Ok(Accepted { from_node, to_node, over, listed })
    }

    /// A node says that it cannot open a session.
    pub(crate) fn failed(&self, id: &str, node: &str, status: Status) {
        if let Ok(pending) = self.take(id, node) {
            // Whoever waited may be gone.
            drop(pending.opened.send(Err(status)));
        }
    }

    /// A node says how a session ended whose stream takes nothing.
    pub(crate) fn over(&self, id: &str, node: &str, status: Status) {
        self.open.end(id, node, status);
    }

    /// Tells a node past a session's stream that nobody is at its other end any more. A node without a control stream is not
    /// told.
    pub(crate) async fn close(&self, id: &str, node: &str) {
        let commands = self.controls.lock().get(node).map(|c| c.commands.clone());
        if let Some(commands) = commands {
            let close = CloseSession { session: id.to_owned() };
            drop(commands.send(ControlCommand { command: Some(Command::Close(close)) }).await);
        }
    }

    fn take(&self, id: &str, node: &str) -> Result<Pending, Status> {
        let mut pending = self.pending.lock();
        if pending.get(id).is_none_or(|p| p.node != node) {
            return Err(refused(id));
        }
        pending.remove(id).ok_or_else(|| refused(id))
    }
}

fn refused(id: &str) -> Status {
    Status::forbidden("", "", "", &format!("session {id:?} was not opened for this node, or has ended"))
}

/// Takes the entry out when the opener stops waiting.
struct Waiting<'a> {
    sessions: &'a Sessions,
    id: &'a str,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.sessions.pending.lock().remove(self.id);
    }
}

/// What a frame of the node means for the reader.
pub(crate) fn received(frame: Option<Frame>) -> Received {
    match frame {
        Some(Frame::Data(bytes) | Frame::Stderr(bytes)) if bytes.len() > FRAME_BYTES_MAX => {
            let (n, most) = (bytes.len(), FRAME_BYTES_MAX);
            Received::Done(Status::internal(format!(
                "the node sent a frame of {n} bytes, but at most {most} may be in one"
            )))
        }
        Some(Frame::Data(bytes)) => Received::Data(bytes),
        Some(Frame::Stderr(bytes)) => Received::Stderr(bytes),
        Some(Frame::End(_)) => Received::End,
        Some(Frame::Status(bytes)) => {
            Received::Done(serde_json::from_slice::<Status>(&bytes).unwrap_or_else(|error| {
                Status::internal(format!("the node ended the session with an unreadable status: {error}"))
            }))
        }
        Some(Frame::Hello(_) | Frame::Resize(_) | Frame::Open(_) | Frame::Start(_)) | None => {
            Received::Done(Status::internal("the node sent a frame that a node does not send"))
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use gantry_proto::v1::{AttachRequest, ExecRequest, PortForwardRequest, StatsRequest};

    use super::*;

    fn log() -> Kind {
        Kind::Log(LogRequest::default())
    }

    async fn opened(sessions: &Arc<Sessions>) -> (tokio::task::JoinHandle<Result<Opened, Status>>, String) {
        let (_, mut commands) = sessions.register("n1");
        let asking = sessions.clone();
        let open = gantry_common::task::spawn("open", async move { asking.open("n1", log(), Start::AtOnce).await });
        let command = commands.recv().await.expect("a command");
        let Some(Command::Open(open_session)) = command.command else { panic!("an open command") };
        (open, open_session.session)
    }

    #[tokio::test]
    async fn only_the_node_that_was_asked_may_answer() {
        let sessions = Arc::new(Sessions::default());
        let (open, id) = opened(&sessions).await;
        assert_eq!(sessions.accept(&id, "n2").expect_err("another node").code, 403);
        let mut accepted = sessions.accept(&id, "n1").expect("the node");
        assert!(sessions.accept(&id, "n1").is_err(), "a session is answered once");
        accepted.from_node.send(Received::Data(Bytes::from_static(b"line"))).await.expect("room");
        let mut session = open.await.expect("no panic").expect("opened");
        assert!(matches!(session.from_node.recv().await, Some(Received::Data(line)) if line == "line"));
        drop(session);
        assert!(accepted.from_node.is_closed(), "a reader that left is seen by the node's side");
        assert!(accepted.to_node.recv().await.is_none());
    }

    #[tokio::test]
    async fn a_node_without_a_stream_is_told_as_a_kubelet_that_cannot_be_dialled() {
        let check = async |kind: Kind, code: u16, message: &str| {
            let status = Sessions::default().open("n9", kind, Start::AtOnce).await.expect_err("no stream");
            assert_eq!((status.code, status.message.as_str()), (code, message));
            assert_eq!(status.details, None, "clients would try again instead of telling their user");
            assert_eq!(is_unreachable(&status), code == 500);
        };
        let why = "node \"n9\" cannot be reached: its kubelet has no stream to this API server";
        let dial = format!("error dialing backend: dial tcp: {why}");
        check(Kind::Exec(ExecRequest::default()), 500, &dial).await;
        check(Kind::Attach(AttachRequest::default()), 500, &dial).await;
        check(Kind::PortForward(PortForwardRequest::default()), 500, &dial).await;
        check(Kind::Stats(StatsRequest::default()), 503, why).await;
        let (namespace, pod, container) = ("ns".to_owned(), "web".to_owned(), "c".to_owned());
        let plain = LogRequest { namespace, pod, container, ..LogRequest::default() };
        let at = "https://n9:10250/containerLogs/ns/web/c";
        check(Kind::Log(plain.clone()), 500, &format!("Get \"{at}\": dial tcp: {why}")).await;
        let since_time = "2026-06-01T00:00:00+02:00".to_owned();
        let many = LogRequest { follow: true, tail_lines: Some(5), since_time, ..plain };
        let query = "?follow=true&sinceTime=2026-06-01T00%3A00%3A00%2B02%3A00&tailLines=5";
        check(Kind::Log(many), 500, &format!("Get \"{at}{query}\": dial tcp: {why}")).await;
    }

    #[tokio::test]
    async fn a_burst_waits_for_the_node() {
        let sessions = Arc::new(Sessions::default());
        let (_, mut commands) = sessions.register("n1");
        let opens: Vec<_> = (0..3 * COMMANDS)
            .map(|_| {
                let sessions = sessions.clone();
                gantry_common::task::spawn("open", async move { sessions.open("n1", log(), Start::AtOnce).await })
            })
            .collect();
        for _ in 0..3 * COMMANDS {
            let command = commands.recv().await.expect("a command");
            let Some(Command::Open(open)) = command.command else { panic!("an open command") };
            sessions.accept(&open.session, "n1").expect("the node");
        }
        for open in opens {
            open.await.expect("no panic").expect("opened");
        }
    }

    #[tokio::test]
    async fn a_node_may_end_a_session_past_its_stream() {
        let sessions = Arc::new(Sessions::default());
        let (open, id) = opened(&sessions).await;
        let accepted = sessions.accept(&id, "n1").expect("the node");
        let session = open.await.expect("no panic").expect("opened");
        sessions.over(&id, "n2", Status::bad_request("not yours"));
        assert!(session.over.wait().now_or_never().is_none(), "another node says nothing about it");
        sessions.over(&id, "n1", Status::bad_request("the pod is gone"));
        assert_eq!(session.over.wait().await.message, "the pod is gone");
        assert_eq!(accepted.over.wait().await.message, "the pod is gone");
        drop((accepted, session));
        let (open, id) = opened(&sessions).await;
        let accepted = sessions.accept(&id, "n1").expect("the node");
        let session = open.await.expect("no panic").expect("opened");
        drop(accepted);
        sessions.over(&id, "n1", Status::bad_request("too late"));
        assert!(session.over.wait().now_or_never().is_none(), "its stream has said how it ended");
        assert!(sessions.open.is_empty());
    }

    #[tokio::test]
    async fn a_node_may_refuse() {
        let sessions = Arc::new(Sessions::default());
        let (open, id) = opened(&sessions).await;
        sessions.failed(&id, "n1", Status::bad_request("no such container"));
        assert_eq!(open.await.expect("no panic").expect_err("refused").message, "no such container");
    }
}
