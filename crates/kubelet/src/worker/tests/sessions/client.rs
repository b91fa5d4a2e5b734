//! The other end of a session's stream, without a network in between.

use std::sync::Arc;

use bytes::Bytes;
use gantry_api::status::Status;
use gantry_common::{shutdown::Shutdown, task};
use gantry_proto::v1::{
    ExecRequest, SessionEnd, SessionFrame, SessionStart, TerminalSize, open_session::Kind, session_frame::Frame,
};
use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;

use super::{super::rig::Rig, Running};
use crate::{
    session::{Context, Pods, Sessions, link},
    stats::Meter,
    worker::Deps,
};

/// The one pod of a test, until it is taken away.
struct OnePod(watch::Sender<Option<Arc<Pod>>>);

#[async_trait::async_trait]
impl Pods for OnePod {
    fn get(&self, namespace: &str, name: &str) -> Option<Arc<Pod>> {
        let pod = self.0.borrow().clone();
        pod.filter(|pod| {
            pod.metadata.namespace.as_deref() == Some(namespace) && pod.metadata.name.as_deref() == Some(name)
        })
    }

    fn list(&self) -> Vec<Arc<Pod>> {
        self.0.borrow().iter().cloned().collect()
    }

    async fn gone(&self, _namespace: &str, _name: &str, uid: &str) {
        let mut pod = self.0.subscribe();
        let gone = |pod: &Option<Arc<Pod>>| pod.as_ref().and_then(|pod| pod.metadata.uid.as_deref()) != Some(uid);
        drop(pod.wait_for(gone).await);
    }
}

/// A node's sessions.
pub(in super::super) struct Served {
    pub(in super::super) sessions: Arc<Sessions>,
    pod: Arc<OnePod>,
    pub(super) shutdown: Shutdown,
}

/// A client's end.
pub(in super::super) struct Client {
    to: Option<mpsc::Sender<Result<SessionFrame, tonic::Status>>>,
    from: mpsc::Receiver<SessionFrame>,
}

/// All that a session said.
#[derive(Debug, Default)]
pub(in super::super) struct Said {
    pub(super) out: Vec<u8>,
    pub(super) err: Vec<u8>,
    pub(super) ended: bool,
    pub(super) status: Value,
}

impl Said {
    pub(in super::super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.out).into_owned()
    }

    pub(in super::super) fn error(&self) -> String {
        String::from_utf8_lossy(&self.err).into_owned()
    }
}

impl Served {
    pub(in super::super) fn of(running: &Running, max: usize) -> Self {
        Self::with(running.api.pod(), &running.deps, max)
    }

    pub(in super::super) fn of_rig(rig: &Rig, max: usize) -> Self {
        Self::with(rig.pod(), &rig.deps, max)
    }

    fn with(pod: Pod, deps: &Arc<Deps>, max: usize) -> Self {
        let pod = Arc::new(OnePod(watch::channel(Some(Arc::new(pod))).0));
        let shutdown = Shutdown::new();
        let context = Context {
            deps: Arc::clone(deps),
            pods: Arc::clone(&pod) as Arc<dyn Pods>,
            meter: Meter::new(),
            config: serde_json::json!({"maxPods": 110}),
            shutdown: shutdown.clone(),
        };
        Self { sessions: Sessions::new(context, max), pod, shutdown }
    }

    /// Tells the sessions of the pod's newest state.
    pub(in super::super) fn set(&self, pod: Option<Pod>) {
        self.pod.0.send_replace(pod.map(Arc::new));
    }

    pub(in super::super) async fn open(&self, kind: Kind) -> Result<Client, Status> {
        self.open_as(kind, false).await
    }

    /// One that begins with [`Client::start`].
    pub(super) async fn open_deferred(&self, kind: Kind) -> Client {
        self.open_as(kind, true).await.unwrap()
    }

    async fn open_as(&self, kind: Kind, deferred: bool) -> Result<Client, Status> {
        let session = self.sessions.accept(Some(kind), deferred).await?;
        let (to, incoming) = mpsc::channel(link::FRAMES);
        let (outgoing, from) = mpsc::channel(link::FRAMES);
        let incoming = link::Incoming::new(ReceiverStream::new(incoming));
        task::spawn(
            "session",
            session.run(incoming, link::Outgoing::new(outgoing), CancellationToken::new(), |_| async {}),
        );
        Ok(Client { to: Some(to), from })
    }

    /// Whether no session is being served.
    pub(in super::super) fn idle(&self) -> bool {
        self.sessions.current() == 0
    }

    pub(in super::super) fn pod_uid(&self) -> String {
        self.pod.list()[0].metadata.uid.clone().unwrap()
    }

    /// A shell's script, with input and both outputs.
    pub(in super::super) async fn shell(&self, script: &str) -> Client {
        self.open(Kind::Exec(shell(script))).await.unwrap()
    }
}

pub(in super::super) fn shell(script: &str) -> ExecRequest {
    ExecRequest {
        namespace: "default".into(),
        pod: "web".into(),
        command: ["/bin/busybox", "sh", "-c", script].map(str::to_owned).to_vec(),
        stdin: true,
        stdout: true,
        stderr: true,
        ..ExecRequest::default()
    }
}

impl Client {
    async fn send(&self, frame: Frame) {
        let to = self.to.as_ref().expect("it was not ended");
        drop(to.send(Ok(SessionFrame { frame: Some(frame) })).await);
    }

    pub(super) async fn start(&self) {
        self.send(Frame::Start(SessionStart {})).await;
    }

    pub(in super::super) async fn data(&self, bytes: impl Into<Bytes>) {
        self.send(Frame::Data(bytes.into())).await;
    }

    pub(in super::super) async fn resize(&self, width: u32, height: u32) {
        self.send(Frame::Resize(TerminalSize { width, height })).await;
    }

    pub(in super::super) async fn end(&self) {
        self.send(Frame::End(SessionEnd {})).await;
    }

    /// Takes the sending half away, for a task of its own.
    pub(in super::super) fn sender(&mut self) -> mpsc::Sender<Result<SessionFrame, tonic::Status>> {
        self.to.clone().expect("it was not ended")
    }

    /// The next frame; `None` after the last.
    pub(in super::super) async fn next(&mut self) -> Option<Frame> {
        self.from.recv().await.map(|frame| frame.frame.expect("no frame is empty"))
    }

    /// Reads until the output has so many lines.
    pub(in super::super) async fn lines(&mut self, count: usize) -> String {
        let mut text = String::new();
        while text.lines().count() < count || !text.ends_with('\n') {
            match self.next().await {
                Some(Frame::Data(bytes)) => text.push_str(&String::from_utf8_lossy(&bytes)),
                other => panic!("after {text:?} came {other:?}"),
            }
        }
        text
    }

    /// Says that no more will come, and reads to the end.
    pub(in super::super) async fn rest_after_end(self) -> Said {
        self.end().await;
        self.rest().await
    }

    /// Reads to the end.
    pub(in super::super) async fn rest(mut self) -> Said {
        let mut said = Said::default();
        while let Some(frame) = self.next().await {
            match frame {
                Frame::Data(bytes) => said.out.extend_from_slice(&bytes),
                Frame::Stderr(bytes) => said.err.extend_from_slice(&bytes),
                Frame::End(_) => said.ended = true,
                Frame::Status(bytes) => {
                    assert_eq!(said.status, Value::Null, "there is one status");
                    said.status = serde_json::from_slice(&bytes).unwrap();
                }
                other => panic!("a node does not send {other:?}"),
            }
        }
        said
    }
}
