//! The Nodes service: control streams and sessions, opened by kubelets.

use std::pin::Pin;
use std::sync::Arc;

use futures::StreamExt;
use gantry_api::status::Status;
use gantry_common::task;
use gantry_proto::v1::control_report::Report;
use gantry_proto::v1::nodes_server::Nodes as Service;
use gantry_proto::v1::session_frame::Frame;
use gantry_proto::v1::{ControlCommand, ControlReport, SessionFrame};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Streaming};
use tracing::{debug, info};

use super::convert;
use crate::app::App;
use crate::sessions::over::{Listed, Over};
use crate::sessions::{Accepted, Received, received};

/// Serves kubelets.
pub(crate) struct Nodes(pub(crate) Arc<App>);

/// How long the end of a session may take to reach its node on the session's stream.
const CLOSE_AFTER: std::time::Duration = std::time::Duration::from_secs(1);

/// How long a node may take to say which session its stream is for.
const HELLO_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

type Stream_<T> = Pin<Box<dyn futures::Stream<Item = Result<T, tonic::Status>> + Send>>;

/// The node that calls; only kubelets may.
fn node<T>(request: &Request<T>) -> Result<String, tonic::Status> {
    let caller = convert::caller(request)?;
    caller.user.node().map(str::to_owned).ok_or_else(|| {
        let why = format!("user {:?} is no kubelet: only nodes open control streams and sessions", caller.user.name);
        convert::failed(Status::forbidden("", "nodes", "", &why))
    })
}

/// Takes the node's stream out when it ends.
struct Registered {
    app: Arc<App>,
    node: String,
    generation: u64,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.app.sessions.unregister(&self.node, self.generation);
        info!(node = self.node, "control stream closed");
    }
}

#[tonic::async_trait]
impl Service for Nodes {
    type ControlStream = Stream_<ControlCommand>;
    type SessionStream = Stream_<SessionFrame>;

    async fn control(
        &self,
        request: Request<Streaming<ControlReport>>,
    ) -> Result<Response<Self::ControlStream>, tonic::Status> {
        let node = node(&request)?;
        let right = convert::right(&self.0, &request).await?;
        let (generation, commands) = self.0.sessions.register(&node);
        info!(node, "control stream opened");
        let registered = Registered { app: self.0.clone(), node: node.clone(), generation };
        let (app, reports) = (self.0.clone(), request.into_inner());
        let (done, ended) = mpsc::channel::<()>(1);
        // Who is not sent commands any more is not listened to either.
        let open = CancellationToken::new();
        let listened = open.clone();
        drop(task::spawn("node-control", async move {
            tokio::select! {
                () = follow_reports(&app, &node, reports) => {}
                () = listened.cancelled() => {}
            }
            drop(done);
        }));
        let state = Some((commands, ended, (registered, right, open.drop_guard()), self.0.shutdown.clone()));
        let stream = futures::stream::unfold(state, |state| async move {
            let (mut commands, mut ended, held, shutdown) = state?;
            let command = tokio::select! {
                biased;
                () = shutdown.requested() => return None,
                status = held.1.ends() => return Some((Err(convert::failed(status)), None)),
                command = commands.recv() => command?,
                _ = ended.recv() => return None,
            };
            Some((Ok(command), Some((commands, ended, held, shutdown))))
        });
        Ok(Response::new(Box::pin(stream)))
    }

    async fn session(
        &self,
        request: Request<Streaming<SessionFrame>>,
    ) -> Result<Response<Self::SessionStream>, tonic::Status> {
        let node = node(&request)?;
        let mut frames = request.into_inner();
        let hello = tokio::time::timeout(HELLO_TIMEOUT, frames.next()).await;
        let hello = hello.ok().flatten().transpose()?.and_then(|f| f.frame);
        let Some(Frame::Hello(id)) = hello else {
            return Err(convert::failed(Status::bad_request("the first frame of a session is its hello")));
        };
        let accepted = self.0.sessions.accept(&id, &node).map_err(convert::failed)?;
        let Accepted { from_node, to_node, over, listed } = accepted;
        let sent = CancellationToken::new();
        let guard = sent.clone().drop_guard();
        let stream = Stream { app: self.0.clone(), node, id, sent, _listed: listed };
        drop(task::spawn("node-session", stream.forward(frames, from_node, over)));
        // Its end tells the node that nobody is there any more; it is dropped when that is on its way.
        Ok(Response::new(Box::pin(ReceiverStream::new(to_node).map(move |frame| {
            let _held = &guard;
            Ok(frame)
        }))))
    }
}

async fn follow_reports(app: &App, node: &str, mut reports: Streaming<ControlReport>) {
    loop {
        let report = tokio::select! {
            report = reports.message() => report,
            () = app.shutdown.requested() => return,
        };
        match report {
            Ok(Some(report)) => match report.report {
                Some(Report::OpenFailed(failed)) => {
                    app.sessions.failed(&failed.session, node, status(&failed.status, "refused"));
                }
                Some(Report::SessionOver(over)) => {
                    app.sessions.over(&over.session, node, status(&over.status, "ended the session"));
                }
                Some(Report::Hello(hello)) if hello.node != node => {
                    info!(node, said = hello.node, "a node calls itself by another name than its certificate does");
                    return;
                }
                Some(Report::Hello(_)) | None => {}
            },
            Ok(None) => return,
            Err(error) => {
                debug!(node, %error, "control stream broke off");
                return;
            }
        }
    }
}

fn status(json: &[u8], done: &str) -> Status {
    let read = serde_json::from_slice(json);
    read.unwrap_or_else(|e| Status::internal(format!("the node {done} with an unreadable status: {e}")))
}

/// The stream of a session.
struct Stream {
    app: Arc<App>,
    node: String,
    id: String,
    /// The node has all that it is sent, and the end.
    sent: CancellationToken,
    _listed: Listed,
}

impl Stream {
    /// Passes frames on until either side ends. A slow reader holds this session back, by flow control, and no other; what
    /// one side has left the other does not hold.
    async fn forward(self, frames: Streaming<SessionFrame>, sender: mpsc::Sender<Received>, over: Over) {
        let ended = tokio::select! {
            () = pass(frames, sender.clone()) => None,
            status = over.wait() => Some(status),
        };
        if let Some(status) = ended {
            // Who reads hears of it in its turn; who does not is told past all that.
            drop(sender.send(Received::Done(status)).await);
        }
        sender.closed().await;
        // A process that reads nothing keeps its stream full, and the end of that behind all that is on it.
        while tokio::time::timeout(CLOSE_AFTER, self.sent.cancelled()).await.is_err() {
            self.app.sessions.close(&self.id, &self.node).await;
        }
    }
}

async fn pass(mut frames: Streaming<SessionFrame>, sender: mpsc::Sender<Received>) {
    loop {
        let frame = tokio::select! {
            frame = frames.message() => frame,
            () = sender.closed() => return,
        };
        let item = match frame {
            Ok(Some(frame)) => received(frame.frame),
            Ok(None) => Received::Done(broke_off("the node ended its stream without a status")),
            Err(error) => Received::Done(broke_off(error.message())),
        };
        let last = matches!(item, Received::Done(_));
        if sender.send(item).await.is_err() || last {
            return;
        }
    }
}

fn broke_off(why: &str) -> Status {
    Status::unavailable(format!("the session with the node broke off: {why}"))
}
