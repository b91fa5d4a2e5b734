//! Pipelined writes: each item is a transaction of its own, answered as soon as it is durable.

use std::sync::Arc;

use bytes::Bytes;
use futures::{Stream, StreamExt};
use gantry_api::status::Status;
use gantry_proto::v1::batch_reply::Result as Reply;
use gantry_proto::v1::batch_request::Operation;
use gantry_proto::v1::{BatchReply, BatchRequest};
use tonic::Streaming;

use super::objects::Write;
use crate::app::App;
use crate::request::Caller;

/// Items of one stream in flight; the client's next one waits, by flow control, until one of these is answered.
const IN_FLIGHT: usize = 128;

/// Runs the stream.
pub(super) fn run(
    app: Arc<App>,
    caller: Caller,
    requests: Streaming<BatchRequest>,
) -> impl Stream<Item = Result<BatchReply, tonic::Status>> + Send {
    let caller = Arc::new(caller);
    // A server that stops answers what it has read and reads no more.
    let stopping = app.shutdown.token().clone().cancelled_owned();
    let work = requests.take_until(stopping).map(move |request| {
        let (app, caller) = (app.clone(), caller.clone());
        async move { Ok(one(&app, &caller, request?).await) }
    });
    work.buffer_unordered(IN_FLIGHT)
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
