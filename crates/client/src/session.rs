//! Sessions with containers: exec, attach, port-forward and their like, as two typed halves of one stream.

use bytes::Bytes;
use futures::StreamExt;
use gantry_api::status::Status;
use gantry_proto::v1::{
    self, OpenSession, SessionEnd, SessionFrame, TerminalSize, open_session::Kind, session_frame::Frame,
};
use tokio::{sync::mpsc, time::Duration};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{Client, Error, Result};

/// The largest piece of data in one frame, in bytes.
pub const DATA_BYTES_MAX: usize = 64 << 10;
/// Frames towards the server that may wait.
const FRAMES: usize = 8;
/// How long the server may take to accept a session. It gives the node 10 s itself.
const OPEN_TIMEOUT: Duration = Duration::from_secs(30);

const CALL: &str = "Sessions.Open";
const LOG_CALL: &str = "Sessions.Log";

/// What a session brings.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::large_enum_variant, reason = "the large one comes once, at the end of a session")]
pub enum Event {
    /// Standard output, bytes of a connection, log text.
    Data(Bytes),
    /// Standard error.
    Stderr(Bytes),
    /// The peer of a connection sends no more data.
    End,
    /// The session has ended in good order, with this result. Nothing follows.
    Done(Status),
}

/// The session ended meanwhile; why is what [`Output::next`] says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the session has ended")]
pub struct Ended;

/// What goes into a session.
#[derive(Debug, Clone)]
pub struct Input(mpsc::Sender<SessionFrame>);

impl Input {
    async fn send(&self, frame: Frame) -> Result<(), Ended> {
        self.0.send(SessionFrame { frame: Some(frame) }).await.map_err(|_| Ended)
    }

    /// Standard input, or bytes to a connection, in frames of at most [`DATA_BYTES_MAX`].
    ///
    /// # Errors
    /// When the session has ended.
    pub async fn data(&self, mut bytes: Bytes) -> Result<(), Ended> {
        while !bytes.is_empty() {
            let piece = bytes.split_to(bytes.len().min(DATA_BYTES_MAX));
            self.send(Frame::Data(piece)).await?;
        }
        Ok(())
    }

    /// The size of the user's terminal.
    ///
    /// # Errors
    /// When the session has ended.
    pub async fn resize(&self, columns: u16, rows: u16) -> Result<(), Ended> {
        let size = TerminalSize { width: columns.into(), height: rows.into() };
        self.send(Frame::Resize(size)).await
    }

    /// No more data will come.
    ///
    /// # Errors
    /// When the session has ended.
    pub async fn end(&self) -> Result<(), Ended> {
        self.send(Frame::End(SessionEnd {})).await
    }
}

/// What comes out of a session. Dropping it breaks the session off, and with it all that the session started.
///
/// (HTTP/2 cannot say so while frames of this side wait for a server that takes none; it says so after them.)
#[derive(Debug)]
pub struct Output {
    stream: tonic::Streaming<SessionFrame>,
    /// Keeps this side's direction open, whoever else holds an [`Input`]: its end would break the session off.
    _open: Input,
    /// Ends this side's direction, whoever else holds an [`Input`]: only then is the stream reset.
    _ends: DropGuard,
    done: bool,
}

fn broken(why: impl Into<String>) -> Error {
    Error::Transport { call: CALL, source: Box::new(tonic::Status::unavailable(why.into())) }
}

impl Output {
    /// What comes next; [`Event::Done`] is the last. Cancel safe.
    ///
    /// # Errors
    /// When the session was ended by the API server, with the reason, or the connection broke.
    pub async fn next(&mut self) -> Result<Event> {
        if self.done {
            return Err(broken("the session has ended"));
        }
        let frame = self.stream.message().await.map_err(|s| Error::from_grpc(CALL, s))?;
        let frame = frame.ok_or_else(|| broken("the connection ended before the session did"))?.frame;
        match frame {
            Some(Frame::Data(bytes)) => Ok(Event::Data(bytes)),
            Some(Frame::Stderr(bytes)) => Ok(Event::Stderr(bytes)),
            Some(Frame::End(_)) => Ok(Event::End),
            Some(Frame::Status(json)) => {
                self.done = true;
                let decoded = serde_json::from_slice(&json);
                let what = || "the result of a session".to_owned();
                decoded.map(Event::Done).map_err(|source| Error::Decode { what: what(), source })
            }
            other => Err(broken(format!("the API server sent a frame that has no place in a session: {other:?}"))),
        }
    }
}

/// The log of a container, in chunks of raw bytes.
#[derive(Debug)]
pub struct Log(tonic::Streaming<v1::LogChunk>);

impl Log {
    /// The next chunk; `None` at the end of the log.
    ///
    /// # Errors
    /// When the log was cut off, with the reason.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        Ok(self.0.message().await.map_err(|s| Error::from_grpc(LOG_CALL, s))?.map(|chunk| chunk.data))
    }
}

/// The exit code of the command that a session's result tells of: `None` when it tells of something else.
#[must_use]
pub fn exit_code(result: &Status) -> Option<i32> {
    if result.status != "Failure" {
        return Some(0);
    }
    let causes = result.details.as_ref().map_or(&[][..], |d| &d.causes);
    let code = causes.iter().find(|c| c.reason == "ExitCode").and_then(|c| c.message.parse().ok());
    code.filter(|_| result.reason == "NonZeroExitCode")
}

impl Client {
    /// Reads the log of one container.
    ///
    /// # Errors
    /// Why the API server or the node refuses.
    pub async fn log(&self, request: v1::LogRequest) -> Result<Log> {
        Ok(Log(self.sessions().log(request).await.map_err(|s| Error::from_grpc(LOG_CALL, s))?.into_inner()))
    }

    /// Opens a session and waits until the node has accepted it.
    ///
    /// # Errors
    /// Why the API server or the node refuses.
    pub async fn open_session(&self, kind: Kind) -> Result<(Input, Output)> {
        let (frames, receiver) = mpsc::channel(FRAMES);
        let input = Input(frames);
        let open = OpenSession { kind: Some(kind), ..OpenSession::default() };
        // The channel is empty: there is room.
        drop(input.send(Frame::Open(open)).await);
        let ends = CancellationToken::new().drop_guard();
        let ended = ends.token().clone().cancelled_owned();
        let opening = async {
            let request = ReceiverStream::new(receiver).take_until(ended);
            let reply = self.sessions().open(request).await.map_err(|s| Error::from_grpc(CALL, s))?;
            let mut stream = reply.into_inner();
            match stream.message().await.map_err(|s| Error::from_grpc(CALL, s))?.and_then(|f| f.frame) {
                Some(Frame::Hello(_)) => Ok(stream),
                other => Err(broken(format!("the API server answered with {other:?} instead of a hello"))),
            }
        };
        let late = |_| broken(format!("the session was not accepted within {} s", OPEN_TIMEOUT.as_secs()));
        let stream = tokio::time::timeout(OPEN_TIMEOUT, opening).await.map_err(late)??;
        Ok((input.clone(), Output { stream, _open: input, _ends: ends, done: false }))
    }
}

#[cfg(test)]
pub(crate) mod tests;
