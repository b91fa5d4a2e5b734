//! Pipelined writes: each item is a transaction of its own, answered as soon as it is durable.

use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use gantry_api::status::Status;
use gantry_proto::v1::batch_reply::Result as Reply;
use gantry_proto::v1::batch_request::Operation;
use gantry_proto::v1::{BatchReply, BatchRequest};
use tonic::Streaming;

use super::convert;
use super::objects::Write;
use crate::app::App;
use crate::request::Caller;
use crate::sessions::right::Right;

/// Items of one stream in flight; the client's next one waits, by flow control, until one of these is answered.
const IN_FLIGHT: usize = 128;

/// Runs the stream.
pub(super) fn run(
    app: Arc<App>,
    (caller, right): (Caller, Right),
    requests: Streaming<BatchRequest>,
) -> impl Stream<Item = Result<BatchReply, tonic::Status>> + Send {
    let caller = Arc::new(caller);
    let (lost, why) = tokio::sync::oneshot::channel();
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
    let work = requests.take_until(Box::pin(stopping)).map(move |request| {
        let (app, caller) = (app.clone(), caller.clone());
        async move { Ok(one(&app, &caller, request?).await) }
    });
    let last = futures::stream::once(why).filter_map(async |why| why.ok().map(|status| Err(convert::failed(status))));
    work.buffer_unordered(IN_FLIGHT).chain(last)
}

async fn one(app: &Arc<App>, caller: &Caller, request: BatchRequest) -> BatchReply {
    let id = request.id;
    let result = match request.operation {
        Some(Operation::Create(r)) => Write::Create(r).run(app, caller).await,
        Some(Operation::Update(r)) => Write::Update(r).run(app, caller).await,
        Some(Operation::Patch(r)) => Write::Patch(r).run(app, caller).await,
        Some(Operation::Delete(r)) => Write::Delete(r).run(app, caller).await,
        None => Err(Status::bad_request("the item has no operation")),
    };
    let result = match result {
        Ok(reply) => Reply::Reply(reply),
        Err(status) => Reply::Status(Bytes::from(serde_json::to_vec(&status).expect("a Status is plain data"))),
    };
    BatchReply { id, result: Some(result) }
}
