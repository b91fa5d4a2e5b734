//! Pipelined writes: each item is a transaction of its own, answered as soon as it is durable.
//!
//! What a stream may hold is bounded. The message of an item is read only when the item before it has its place among the
//! requests in flight, so at most one of a stream waits without one; a user has so many streams; and there are so many
//! items whose answers the client has not taken. A task works on the items whether or not the client takes what it
//! is told: places are never held by somebody who does not listen.

use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use gantry_api::status::Status;
use gantry_common::task;
use gantry_proto::v1::batch_reply::Result as Reply;
use gantry_proto::v1::batch_request::Operation;
use gantry_proto::v1::{BatchReply, BatchRequest};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::convert;
use super::objects::Write;
use crate::app::App;
use crate::request::Caller;
use crate::server::limits::Slot;
use crate::sessions::bounds::Place;
use crate::sessions::right::Right;

/// Items of one stream whose answers the client has not got; its next one waits, by flow control, until one of these is taken.
const IN_FLIGHT: usize = 128;

/// Streams that one user may have open. Each can hold a message that waits for its place.
pub(crate) const STREAMS_PER_USER: usize = 64;

/// Whose stream it is.
pub(super) struct Whose {
    pub(super) caller: Caller,
    pub(super) right: Right,
    /// The stream's own, while it is open.
    pub(super) place: Option<Place>,
}

/// An answer, and the room that it takes until the client has it.
type Answer = (Result<BatchReply, tonic::Status>, Option<OwnedSemaphorePermit>);

/// Runs the stream.
pub(super) fn run(
    app: Arc<App>,
    whose: Whose,
    requests: Streaming<BatchRequest>,
) -> impl Stream<Item = Result<BatchReply, tonic::Status>> + Send {
    // Room for every item that has a permit, and for the last word.
    let (answers, taken) = mpsc::channel(IN_FLIGHT + 1);
    drop(task::spawn("batch", async move {
        let left = answers.clone();
        tokio::select! {
            () = left.closed() => {}
            () = work(app, whose, requests, answers) => {}
        }
    }));
    // The room is given back when the answer has left.
    ReceiverStream::new(taken).map(|(answer, _room)| answer)
}

/// Works on the items until there are no more.
async fn work(app: Arc<App>, whose: Whose, requests: Streaming<BatchRequest>, answers: mpsc::Sender<Answer>) {
    let Whose { mut caller, right, place: _place } = whose;
    // Each item is given its place when it is read.
    caller.seated = true;
    let caller = Arc::new(caller);
    let (lost, mut why) = tokio::sync::oneshot::channel();
    let stopping = app.shutdown.token().clone().cancelled_owned();
    // A server that stops answers what it has read and reads no more; so does one whose caller is not let in any longer, and
    // tells him.
    let stopping = async move {
        tokio::select! {
            biased;
            () = stopping => {}
            status = right.ends() => drop(lost.send(status)),
        }
    };
    let items = seated(requests.take_until(Box::pin(stopping)), || app.place(&caller, true));
    let answered = items.map(|(request, room, place)| {
        let (app, caller) = (app.clone(), caller.clone());
        async move {
            let answer = match request {
                Ok(request) => Ok(one(&app, &caller, request, place).await),
                Err(status) => Err(status),
            };
            (answer, room)
        }
    });
    let mut answered = std::pin::pin!(answered.buffer_unordered(IN_FLIGHT));
    while let Some(answer) = answered.next().await {
        if answers.send(answer).await.is_err() {
            return;
        }
    }
    if let Ok(status) = why.try_recv() {
        drop(answers.send((Err(convert::failed(status)), None)).await);
    }
}

/// Takes an item when the one before it has its place, and there is room for its answer.
fn seated<T, F: Future>(
    items: impl Stream<Item = T>,
    place: impl Fn() -> F,
) -> impl Stream<Item = (T, Option<OwnedSemaphorePermit>, F::Output)> {
    let room = Arc::new(Semaphore::new(IN_FLIGHT));
    items.then(move |item| {
        let (room, place) = (room.clone(), place());
        async move {
            let room = room.acquire_owned().await.ok();
            (item, room, place.await)
        }
    })
}

async fn one(app: &Arc<App>, caller: &Caller, request: BatchRequest, place: Result<Slot, Status>) -> BatchReply {
    let id = request.id;
    let result = match (place, request.operation) {
        (Err(status), _) => Err(status),
        (Ok(_), Some(Operation::Create(r))) => Write::Create(r).run(app, caller).await,
        (Ok(_), Some(Operation::Update(r))) => Write::Update(r).run(app, caller).await,
        (Ok(_), Some(Operation::Patch(r))) => Write::Patch(r).run(app, caller).await,
        (Ok(_), Some(Operation::Delete(r))) => Write::Delete(r).run(app, caller).await,
        (Ok(_), None) => Err(Status::bad_request("the item has no operation")),
    };
    let result = match result {
        Ok(reply) => Reply::Reply(reply),
        Err(status) => Reply::Status(Bytes::from(serde_json::to_vec(&status).expect("a Status is plain data"))),
    };
    BatchReply { id, result: Some(result) }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn attack_an_item_is_read_when_the_one_before_has_its_place() {
        let (read, places) = (AtomicUsize::new(0), Semaphore::new(1));
        let items = futures::stream::repeat_with(|| read.fetch_add(1, Ordering::Relaxed));
        let mut seated = std::pin::pin!(seated(items, || places.acquire()));
        let first = seated.next().now_or_never().flatten();
        for _ in 0..3 {
            assert!(seated.next().now_or_never().is_none(), "there is no place");
            assert_eq!(read.load(Ordering::Relaxed), 2);
        }
        drop(first);
        let mut unsent = Vec::new();
        while let Some(Some((_, room, _place))) = seated.next().now_or_never() {
            unsent.push(room);
        }
        assert_eq!(
            (unsent.len(), read.load(Ordering::Relaxed)),
            (IN_FLIGHT, IN_FLIGHT + 2),
            "nobody takes the answers"
        );
        unsent.pop();
        assert!(seated.next().now_or_never().is_some());
    }
}
