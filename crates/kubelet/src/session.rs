//! The node's end of sessions. Nothing dials a node: the kubelet holds a small control stream to every API server replica,
//! and opens a stream of its own for each session that a replica asks for.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use gantry_api::status::Status;
use gantry_client::{Client, Key, Reader};
use gantry_common::{
    backoff::Backoff,
    task::{self, Group, OnExit},
};
use gantry_proto::v1::{
    ControlReport, LogRequest, NodeHello, OpenFailed, OpenSession, SessionFrame, control_command, control_report,
    open_session, session_frame,
};
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;

use crate::{logs, runtime::Error, worker::Deps};

const RETRY_MIN: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(10);
/// Sessions at once on this node.
const SESSIONS_MAX: usize = 256;
/// Frames that wait for the network; flow control is HTTP/2's.
const FRAMES: usize = 8;

/// Serves sessions.
pub(crate) struct Sessions {
    client: Client,
    deps: Arc<Deps>,
    pods: Reader<Pod>,
    places: Arc<Semaphore>,
}

impl Sessions {
    pub(crate) fn new(client: Client, deps: Arc<Deps>, pods: Reader<Pod>) -> Arc<Self> {
        Arc::new(Self { client, deps, pods, places: Arc::new(Semaphore::new(SESSIONS_MAX)) })
    }

    /// Keeps a control stream to every replica.
    pub(crate) fn start(self: &Arc<Self>, group: &Group) {
        for index in 0..self.client.nodes().len() {
            let sessions = Arc::clone(self);
            group.spawn("control", OnExit::ShutDown, async move { sessions.control(index).await });
        }
    }

    async fn control(self: Arc<Self>, index: usize) {
        let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
        loop {
            if let Err(status) = self.control_once(index, &mut backoff).await {
                tracing::debug!(replica = index, %status, "control stream broke, trying again");
            }
            tokio::time::sleep(backoff.next()).await;
        }
    }

    async fn control_once(self: &Arc<Self>, index: usize, backoff: &mut Backoff) -> Result<(), tonic::Status> {
        let Some((address, mut nodes)) = self.client.nodes().into_iter().nth(index) else { return Ok(()) };
        let (reports, outgoing) = mpsc::channel(FRAMES);
        let hello = NodeHello { node: self.deps.settings.node.clone() };
        // There is room for the first one.
        drop(reports.try_send(ControlReport { report: Some(control_report::Report::Hello(hello)) }));
        let mut commands = nodes.control(ReceiverStream::new(outgoing)).await?.into_inner();
        tracing::info!(server = address, "control stream is open");
        backoff.reset();
        while let Some(command) = commands.message().await? {
            let Some(control_command::Command::Open(open)) = command.command else { continue };
            let (sessions, reports) = (Arc::clone(self), reports.clone());
            task::spawn("session", async move {
                let session = open.session.clone();
                if let Err(status) = sessions.serve(index, open).await {
                    let status = serde_json::to_vec(&status).unwrap_or_default().into();
                    let report = control_report::Report::OpenFailed(OpenFailed { session, status });
                    // Without the control stream the replica has given the session up itself.
                    drop(reports.send(ControlReport { report: Some(report) }).await);
                }
            });
        }
        Ok(())
    }

    /// Serves one session. What is wrong with the request is told before a stream is opened for it, so that the client
    /// gets an error and not a log that consists of one.
    async fn serve(&self, index: usize, open: OpenSession) -> Result<(), Status> {
        let too_many = |_| Status::too_many_requests("the node serves too many sessions already", 1);
        let _place = self.places.try_acquire().map_err(too_many)?;
        let Some(open_session::Kind::Log(request)) = open.kind else {
            return Err(Status::bad_request("the node's kubelet does not know this kind of session"));
        };
        let stream = self.open_log(&request).await?;
        let Some((_, mut nodes)) = self.client.nodes().into_iter().nth(index) else { return Ok(()) };
        let (frames, outgoing) = mpsc::channel(FRAMES);
        // There is room for the first one.
        drop(frames.try_send(SessionFrame { frame: Some(session_frame::Frame::Hello(open.session.clone())) }));
        let mut incoming = match nodes.session(ReceiverStream::new(outgoing)).await {
            Ok(answer) => answer.into_inner(),
            Err(status) => {
                tracing::warn!(session = open.session, %status, "session could not be opened");
                return Ok(());
            }
        };
        let work = async {
            let status = match send_log(stream, &request, &frames).await {
                Ok(()) => Status { status: "Success".to_owned(), ..Status::failure(200, "", "") },
                Err(status) => status,
            };
            let bytes = serde_json::to_vec(&status).unwrap_or_default();
            // The other side may have left.
            drop(frames.send(SessionFrame { frame: Some(session_frame::Frame::Status(bytes.into())) }).await);
        };
        // The other side ends a session by ending its stream.
        tokio::select! {
            () = work => {
                drop(frames);
                ended(&mut incoming).await;
            }
            () = ended(&mut incoming) => {}
        }
        Ok(())
    }

    async fn open_log(&self, request: &LogRequest) -> Result<LogStream, Status> {
        let pod = self.pods.get(&Key::new(&request.namespace, &request.pod));
        let fits = |pod: &Arc<Pod>| request.pod_uid.is_empty() || pod.metadata.uid.as_deref() == Some(&request.pod_uid);
        let pod = pod.filter(fits).ok_or_else(|| Status::not_found("", "pods", &request.pod))?;
        let containers = self.deps.observed.of(pod.metadata.uid.as_deref().unwrap_or_default());
        let id = logs::select(&pod, &containers, request)?;
        let options = logs::options(request, self.deps.clock.now())?;
        self.deps.runtime.logs(&id, &options).await.map_err(|error| failed(&error))
    }
}

type LogStream = BoxStream<'static, Result<Bytes, Error>>;

fn failed(error: &Error) -> Status {
    Status::internal(gantry_common::error_chain(error))
}

async fn send_log(
    mut stream: LogStream,
    request: &LogRequest,
    frames: &mpsc::Sender<SessionFrame>,
) -> Result<(), Status> {
    let mut left = request.limit_bytes.map(|limit| usize::try_from(limit).unwrap_or(0));
    while let Some(chunk) = stream.next().await {
        let mut chunk = chunk.map_err(|error| failed(&error))?;
        if let Some(left) = &mut left {
            chunk.truncate(*left);
            *left -= chunk.len();
        }
        let frame = SessionFrame { frame: Some(session_frame::Frame::Data(chunk)) };
        if frames.send(frame).await.is_err() || left == Some(0) {
            break;
        }
    }
    Ok(())
}

async fn ended(incoming: &mut tonic::Streaming<SessionFrame>) {
    while let Ok(Some(_)) = incoming.message().await {}
}
