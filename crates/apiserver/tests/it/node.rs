//! A node that serves sessions by hand.

use std::time::Duration;

use gantry_client::ResourceId;
use gantry_proto::v1::control_command::Command;
use gantry_proto::v1::control_report::Report;
use gantry_proto::v1::open_session::Kind;
use gantry_proto::v1::session_frame::Frame;
use gantry_proto::v1::{ControlReport, LogRequest, NodeHello, OpenFailed, OpenSession, SessionFrame, SessionOver};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::support::{Cluster, pod};

/// How long something may take that has to happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn frame(frame: Frame) -> SessionFrame {
    SessionFrame { frame: Some(frame) }
}

/// A cluster whose pod `p`, with container `c`, is on node `n1`.
pub(crate) async fn with_pod() -> Cluster {
    let cluster = Cluster::start().await;
    add_pod(&cluster, "p", |_| {}).await;
    cluster
}

/// Adds a pod on node `n1`.
pub(crate) async fn add_pod(cluster: &Cluster, name: &str, change: impl FnOnce(&mut Value)) {
    if cluster.rest("GET", "/api/v1/namespaces/default/serviceaccounts/default", &[], "").await.code == 404 {
        cluster.default_account().await;
    }
    let mut bound = pod(name);
    bound["spec"]["nodeName"] = "n1".into();
    change(&mut bound);
    let pods = cluster.admin().dynamic(ResourceId::new("", "v1", "pods"), "default");
    pods.create("", "", &bound, &gantry_client::WriteParams::default()).await.expect("created");
}

/// The node's control stream.
pub(crate) struct Node {
    pub(crate) client: gantry_client::Client,
    commands: tonic::Streaming<gantry_proto::v1::ControlCommand>,
    reports: mpsc::Sender<ControlReport>,
    /// Whether the session that was asked for last waits for its start.
    pub(crate) deferred: bool,
}

/// The node's end of a session.
pub(crate) struct Served {
    pub(crate) frames: mpsc::Sender<SessionFrame>,
    pub(crate) back: tonic::Streaming<SessionFrame>,
}

impl Node {
    pub(crate) async fn connect(cluster: &Cluster, name: &str) -> Self {
        let client = cluster.client(&format!("system:node:{name}"), &["system:nodes"]);
        let (reports, receiver) = mpsc::channel(1);
        let hello = ControlReport { report: Some(Report::Hello(NodeHello { node: name.to_owned() })) };
        reports.send(hello).await.expect("room");
        let (_, mut nodes) = client.nodes().into_iter().next().expect("a server");
        let commands = nodes.control(ReceiverStream::new(receiver)).await.expect("opens").into_inner();
        Self { client, commands, reports, deferred: false }
    }

    /// The next session that is asked for.
    pub(crate) async fn opened(&mut self) -> (String, Kind) {
        let open = loop {
            let command = self.commands.message().await.expect("alive").expect("a command");
            match command.command {
                Some(Command::Open(open)) => break open,
                // Of a session that this node has not noticed the end of.
                Some(Command::Close(_)) => {}
                None => panic!("a command"),
            }
        };
        let OpenSession { session, kind: Some(kind), deferred } = open else { panic!("it names its kind") };
        self.deferred = deferred;
        (session, kind)
    }

    pub(crate) async fn opened_log(&mut self) -> (String, LogRequest) {
        match self.opened().await {
            (session, Kind::Log(log)) => (session, log),
            (_, other) => panic!("a log session, not {other:?}"),
        }
    }

    /// Says hello.
    pub(crate) async fn answer(&self, session: &str) -> (mpsc::Sender<SessionFrame>, tonic::Streaming<SessionFrame>) {
        let (frames, receiver) = mpsc::channel(1);
        frames.send(frame(Frame::Hello(session.to_owned()))).await.expect("room");
        let (_, mut nodes) = self.client.nodes().into_iter().next().expect("a server");
        let back = nodes.session(ReceiverStream::new(receiver)).await.expect("opens").into_inner();
        (frames, back)
    }

    /// Takes the next session; gives its id too.
    pub(crate) async fn serve_named(&mut self) -> (String, Served) {
        let (session, _) = self.opened().await;
        let (frames, back) = self.answer(&session).await;
        (session, Served { frames, back })
    }

    /// Takes the next session.
    pub(crate) async fn serve(&mut self) -> (Kind, Served) {
        let (session, kind) = self.opened().await;
        let (frames, back) = self.answer(&session).await;
        (kind, Served { frames, back })
    }

    /// Says past a session's own stream how it ended.
    pub(crate) async fn over(&self, session: &str, status: &Value) {
        let over = SessionOver { session: session.to_owned(), status: status.to_string().into() };
        self.reports.send(ControlReport { report: Some(Report::SessionOver(over)) }).await.expect("room");
    }

    /// Refuses a session.
    pub(crate) async fn refuse(&self, session: &str, status: &Value) {
        let failed = OpenFailed { session: session.to_owned(), status: status.to_string().into() };
        self.reports.send(ControlReport { report: Some(Report::OpenFailed(failed)) }).await.expect("room");
    }
}

impl Served {
    pub(crate) async fn send(&self, sent: Frame) {
        self.frames.send(frame(sent)).await.expect("the server takes it");
    }

    /// Sends output until nothing fits any more: nobody takes it.
    pub(crate) async fn fill(&self) {
        let data = frame(Frame::Data(vec![b'x'; 60_000].into()));
        let stuck = Duration::from_millis(500);
        while let Ok(sent) = tokio::time::timeout(stuck, self.frames.send(data.clone())).await {
            sent.expect("the session is open");
        }
    }

    /// Waits until the server takes nothing any more.
    pub(crate) async fn dropped(&self) {
        tokio::time::timeout(PATIENCE, self.frames.closed()).await.expect("in time");
    }

    /// The next frame; `None` once the server has ended the session.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        let next = tokio::time::timeout(PATIENCE, self.back.message()).await.expect("in time");
        next.ok().flatten().and_then(|f| f.frame)
    }

    /// Waits until the server has ended the session.
    pub(crate) async fn ended(&mut self) {
        while self.next().await.is_some() {}
    }

    /// Says how it went, and waits until the server has taken that.
    pub(crate) async fn finish(self, status: Value) {
        self.send(Frame::Status(status.to_string().into())).await;
        self.frames.closed().await;
    }
}
