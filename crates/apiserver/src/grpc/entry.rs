//! What a call passes before anything of its message is read: a caller, a place, and a time for the message to arrive.
//!
//! Whoever reads a message makes room for all that its head announces, and the methods see the call when that has been read.
//! So all this stands before the services.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use gantry_api::status::Status;
use http::Request;
use http_body::{Frame, SizeHint};
use tokio::time::Sleep;
use tonic::service::Routes;
use tower_service::Service as _;

use super::answers::Held;
use super::{convert, deadline};
use crate::app::App;
use crate::request::Caller;
use crate::rest::handler;
use crate::server::connection::Origin;
use crate::server::limits::{BODY_TIMEOUT, Slot};
use crate::server::{Body, Response, held};

/// What a call is, by its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Answered without credentials, as `/readyz` and `/version` are. Its services take small messages alone.
    Open,
    /// Many messages while it lasts: a stream holds no place, the writes on it take theirs.
    Stream,
    /// One message; the place is held until the message is there.
    Long,
    /// One message, which is worked on in its place.
    Short { write: bool },
}

impl Kind {
    fn of(path: &str) -> Self {
        match path {
            "/gantry.v1.Cluster/Version" => Self::Open,
            "/gantry.v1.Objects/Batch" | "/gantry.v1.Sessions/Open" => Self::Stream,
            "/gantry.v1.Objects/Watch" | "/gantry.v1.Sessions/Log" => Self::Long,
            "/gantry.v1.Objects/Create"
            | "/gantry.v1.Objects/Update"
            | "/gantry.v1.Objects/Patch"
            | "/gantry.v1.Objects/Delete"
            | "/gantry.v1.Objects/DeleteCollection" => Self::Short { write: true },
            path if path.starts_with("/grpc.health.v1.Health/") => Self::Open,
            path if path.starts_with("/gantry.v1.Nodes/") || path.starts_with("/grpc.reflection.") => Self::Stream,
            _ => Self::Short { write: false },
        }
    }
}

/// Answers a call, within its own deadline.
pub(crate) async fn answer<B>(app: &App, grpc: Routes, request: Request<B>) -> Result<Response, Infallible>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let headers = request.headers().clone();
    deadline::within(&headers, || entered(app, grpc, request)).await
}

async fn entered<B>(app: &App, mut grpc: Routes, mut request: Request<B>) -> Result<Response, Infallible>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let kind = Kind::of(request.uri().path());
    let slot = match enter(app, kind, &mut request).await {
        Ok(slot) => Arc::new(slot),
        Err(status) => return Ok(convert::failed(status).into_http()),
    };
    let worked_on = matches!(kind, Kind::Short { .. }).then(|| slot.clone());
    let request = match kind {
        Kind::Stream => request.map(Body::new),
        _ => request.map(|body| Body::new(Arriving::new(body, slot))),
    };
    let mut response = grpc.call(request).await?;
    drop(worked_on);
    let held = response.extensions_mut().remove::<Arc<Held>>();
    Ok(match held {
        Some(held) => held::until_left(response, held),
        None => response,
    })
}

/// Makes sure who calls, and takes a place for the message.
async fn enter<B>(app: &App, kind: Kind, request: &mut Request<B>) -> Result<Slot, Status> {
    if kind == Kind::Open {
        return Ok(Slot::default());
    }
    let origin = request.extensions().get::<Arc<Origin>>();
    let mut caller = handler::caller(app, origin, request.headers(), None).await?;
    if caller.user.is_anonymous() {
        return Err(Status::unauthorized());
    }
    let write = match kind {
        Kind::Short { write } => Some(write),
        Kind::Long => Some(false),
        Kind::Open | Kind::Stream => None,
    };
    let slot = match write {
        Some(write) => app.place(&caller, write).await?,
        None => Slot::default(),
    };
    caller.seated = matches!(kind, Kind::Short { .. });
    request.extensions_mut().insert::<Caller>(caller);
    Ok(slot)
}

/// The body of a call with one message: it has its time, and a place until it has come to its end.
struct Arriving<B> {
    body: B,
    until: Pin<Box<Sleep>>,
    slot: Option<Arc<Slot>>,
}

impl<B> Arriving<B> {
    fn new(body: B, slot: Arc<Slot>) -> Self {
        Self { body, until: Box::pin(tokio::time::sleep(BODY_TIMEOUT)), slot: Some(slot) }
    }
}

impl<B> http_body::Body for Arriving<B>
where
    B: http_body::Body<Data = Bytes> + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) else {
            ready!(self.until.as_mut().poll(context));
            let why = format!("the message of the call did not arrive within {BODY_TIMEOUT:?}");
            return Poll::Ready(Some(Err(convert::failed(Status::failure(408, "Timeout", why)))));
        };
        if frame.is_none() {
            self.slot = None;
        }
        Poll::Ready(frame.map(|frame| frame.map_err(|error| tonic::Status::from_error(error.into()))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::request::Notes;
    use crate::server::limits::Limits;
    use futures::StreamExt as _;
    use http_body_util::{BodyExt as _, StreamBody};

    #[test]
    fn every_method_is_what_it_is() {
        for (path, kind) in [
            ("/grpc.health.v1.Health/Check", Kind::Open),
            ("/gantry.v1.Cluster/Version", Kind::Open),
            ("/gantry.v1.Cluster/Resources", Kind::Short { write: false }),
            ("/gantry.v1.Objects/List", Kind::Short { write: false }),
            ("/gantry.v1.Objects/Patch", Kind::Short { write: true }),
            ("/gantry.v1.Objects/Watch", Kind::Long),
            ("/gantry.v1.Objects/Batch", Kind::Stream),
            ("/gantry.v1.Nodes/Control", Kind::Stream),
            ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", Kind::Stream),
            ("/nobody.Knows/This", Kind::Short { write: false }),
        ] {
            assert_eq!(Kind::of(path), kind, "{path}");
        }
    }

    async fn held() -> (Limits, Arc<Slot>) {
        let limits = Limits::new(1, 1);
        let slot = limits.enter(false, None, &Notes::default()).await.expect("free");
        (limits, Arc::new(slot))
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_drips_has_its_time_and_no_more() {
        let (limits, slot) = held().await;
        let drops = futures::stream::repeat(()).then(|()| async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"x")))
        });
        let collected = Arriving::new(Box::pin(StreamBody::new(drops)), slot).collect().await;
        assert_eq!(collected.map(drop).expect_err("it never ends").code(), tonic::Code::DeadlineExceeded);
        assert_eq!(limits.working(false), 0, "a place is held no longer");
    }

    #[tokio::test]
    async fn a_place_is_free_when_the_message_is_there() {
        let (limits, slot) = held().await;
        let frames = futures::stream::iter([Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"x")))]);
        let mut body = Arriving::new(StreamBody::new(frames), slot);
        assert!(body.frame().await.is_some());
        assert_eq!(limits.working(false), 1);
        assert!(body.frame().await.is_none());
        assert_eq!(limits.working(false), 0);
    }
}
