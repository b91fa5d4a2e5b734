//! The Sessions service: container logs, and every kind of session frame by frame, for gantryctl and integrations.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use gantry_api::status::Status;
use gantry_common::task;
use gantry_proto::v1::open_session::Kind;
use gantry_proto::v1::session_frame::Frame;
use gantry_proto::v1::sessions_server::Sessions as Service;
use gantry_proto::v1::{LogChunk, LogRequest, SessionEnd, SessionFrame};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Streaming};

use super::convert;
use crate::app::App;
use crate::rest::log;
use crate::server::connection::Origin;
use crate::sessions::channel::{Gone, Input, Output, Sink, Source};
use crate::sessions::grant::{Ask, Connector, grant};
use crate::sessions::{FRAME_BYTES_MAX, FRAMES, Start};

/// How long a client may take to say what it wants.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// Serves logs and sessions.
pub(crate) struct Sessions(pub(crate) Arc<App>);

fn ask<T>(request: &Request<T>, method: &str) -> Result<Ask, tonic::Status> {
    let caller = convert::caller(request)?;
    let origin = request.extensions().get::<Arc<Origin>>();
    Ok(Ask::of_call(caller, origin, request.metadata().as_ref(), &format!("/gantry.v1.Sessions/{method}")))
}

#[tonic::async_trait]
impl Service for Sessions {
    type LogStream = Pin<Box<dyn Stream<Item = Result<LogChunk, tonic::Status>> + Send>>;
    type OpenStream = Pin<Box<dyn Stream<Item = Result<SessionFrame, tonic::Status>> + Send>>;

    async fn open(
        &self,
        request: Request<Streaming<SessionFrame>>,
    ) -> Result<Response<Self::OpenStream>, tonic::Status> {
        let ask = ask(&request, "Open")?;
        let mut frames = request.into_inner();
        let kind = wanted(&mut frames).await?;
        let one_way = matches!(kind, Kind::Log(_) | Kind::Stats(_));
        let as_such = matches!(&kind, Kind::PortForward(request) if request.port == 0);
        let mut grant = grant(&self.0, ask, kind).await.map_err(convert::failed)?;
        if as_such {
            grant.check_node().map_err(convert::failed)?;
            let (sender, answers) = mpsc::channel(FRAMES);
            let frames = Frames { frames, one_way: false };
            drop(task::spawn("session", grant.run_many(|connector| hold(connector, frames, Answers(sender)))));
            return Ok(Response::new(Box::pin(ReceiverStream::new(answers))));
        }
        let opened = grant.open(Start::AtOnce).await.map_err(convert::failed)?;
        let (sender, answers) = mpsc::channel(FRAMES);
        // There is room for the first one.
        drop(sender.try_send(Ok(frame(Frame::Hello(opened.id.clone())))));
        drop(task::spawn("session", grant.run(opened, Frames { frames, one_way }, Answers(sender))));
        Ok(Response::new(Box::pin(ReceiverStream::new(answers))))
    }

    async fn log(&self, request: Request<LogRequest>) -> Result<Response<Self::LogStream>, tonic::Status> {
        let ask = ask(&request, "Log")?;
        let received = log::open(&self.0, ask, request.into_inner(), chunk).await.map_err(convert::failed)?;
        Ok(Response::new(Box::pin(ReceiverStream::new(received))))
    }
}

/// A port-forward as such: nothing passes through it, but it lasts as long as connections may be added.
async fn hold(connector: Connector, mut frames: Frames, mut answers: Answers) {
    if answers.put(Frame::Hello(connector.id.clone())).await.is_err() {
        return;
    }
    let client = async {
        loop {
            if let Err(gone) = frames.next().await {
                return gone;
            }
        }
    };
    let status = tokio::select! {
        status = connector.ends() => status,
        gone = client => match gone {
            Gone::Refused(status) => status,
            Gone::Left => return,
        },
        _ = answers.idle() => return,
    };
    answers.finish(&status).await;
}

fn chunk(piece: Result<Bytes, Status>) -> Result<LogChunk, tonic::Status> {
    piece.map(|data| LogChunk { data }).map_err(convert::failed)
}

fn frame(frame: Frame) -> SessionFrame {
    SessionFrame { frame: Some(frame) }
}

/// The first frame of a client.
async fn wanted(frames: &mut Streaming<SessionFrame>) -> Result<Kind, tonic::Status> {
    let first = tokio::time::timeout(OPEN_TIMEOUT, frames.next()).await.map_err(|_| {
        let why = format!("the first frame of the session did not arrive within {OPEN_TIMEOUT:?}");
        convert::failed(Status::failure(408, "Timeout", why))
    })?;
    match first.transpose()?.and_then(|f| f.frame) {
        Some(Frame::Open(open)) => {
            open.kind.ok_or_else(|| convert::failed(Status::bad_request("the session's open frame names no kind")))
        }
        _ => Err(convert::failed(Status::bad_request("the first frame of a session opens it"))),
    }
}

/// What the client sends.
struct Frames {
    frames: Streaming<SessionFrame>,
    /// The client has nothing to say, so it may end its side.
    one_way: bool,
}

fn refused(why: impl Into<String>) -> Gone {
    Gone::Refused(Status::bad_request(why))
}

impl Source for Frames {
    async fn next(&mut self) -> Result<Input, Gone> {
        match self.frames.message().await {
            Ok(Some(SessionFrame { frame })) => input(frame),
            Ok(None) if self.one_way => std::future::pending().await,
            Ok(None) | Err(_) => Err(Gone::Left),
        }
    }
}

fn input(frame: Option<Frame>) -> Result<Input, Gone> {
    match frame {
        Some(Frame::Data(bytes)) if bytes.len() > FRAME_BYTES_MAX => {
            Err(refused(format!("a data frame has {} bytes, but at most {FRAME_BYTES_MAX} may be in one", bytes.len())))
        }
        Some(Frame::Data(bytes)) => Ok(Input::Data(bytes)),
        Some(Frame::Resize(size)) => Ok(Input::Resize { width: size.width, height: size.height }),
        Some(Frame::End(_)) => Ok(Input::End),
        Some(Frame::Hello(_) | Frame::Status(_) | Frame::Stderr(_) | Frame::Open(_) | Frame::Start(_)) | None => {
            Err(refused("the session got a frame that a client does not send once it is open"))
        }
    }
}

/// What the client is sent.
struct Answers(mpsc::Sender<Result<SessionFrame, tonic::Status>>);

impl Answers {
    async fn put(&self, answer: Frame) -> Result<(), Gone> {
        self.0.send(Ok(frame(answer))).await.map_err(|_| Gone::Left)
    }
}

impl Sink for Answers {
    async fn send(&mut self, output: Output) -> Result<(), Gone> {
        let answer = match output {
            Output::Data(bytes) => Frame::Data(bytes),
            Output::Stderr(bytes) => Frame::Stderr(bytes),
            Output::End => Frame::End(SessionEnd {}),
        };
        self.put(answer).await
    }

    async fn flush(&mut self) -> Result<(), Gone> {
        Ok(())
    }

    async fn idle(&mut self) -> Gone {
        self.0.closed().await;
        Gone::Left
    }

    async fn finish(self, status: &Status) {
        let bytes = serde_json::to_vec(status).expect("a Status is plain data");
        drop(self.put(Frame::Status(Bytes::from(bytes))).await);
    }
}

#[cfg(test)]
mod tests {
    use gantry_proto::v1::TerminalSize;

    use super::*;

    #[test]
    fn clients_send_input_and_nothing_else() {
        let check = |given: Option<Frame>, expected: Result<Input, u16>| {
            let got = input(given).map_err(|gone| match gone {
                Gone::Refused(status) => status.code,
                Gone::Left => 0,
            });
            assert_eq!(got, expected);
        };
        let data = |n: usize| Bytes::from(vec![b'x'; n]);
        check(Some(Frame::Data(data(FRAME_BYTES_MAX))), Ok(Input::Data(data(FRAME_BYTES_MAX))));
        check(Some(Frame::Data(data(FRAME_BYTES_MAX + 1))), Err(400));
        check(Some(Frame::End(SessionEnd {})), Ok(Input::End));
        let size = TerminalSize { width: 80, height: 24 };
        check(Some(Frame::Resize(size)), Ok(Input::Resize { width: 80, height: 24 }));
        check(Some(Frame::Hello(String::new())), Err(400));
        check(Some(Frame::Status(Bytes::new())), Err(400));
        check(Some(Frame::Start(gantry_proto::v1::SessionStart {})), Err(400));
        check(None, Err(400));
    }
}
