//! Pipelined writes: many in flight on one stream, each its own transaction with its own result.

use std::{collections::HashMap, sync::Arc};

use gantry_api::status::Status;
use gantry_common::task;
use gantry_proto::v1::{BatchReply, BatchRequest, batch_reply, batch_request::Operation};
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;

use crate::{Client, DeleteParams, DynApi, Error, Key, Patch, ResourceId, Result, WriteParams};

/// Writes that may wait to be sent; a full queue makes [`Batch::submit`] wait.
const QUEUE_LEN: usize = 256;
const CALL: &str = "Objects.Batch";

/// One write.
#[derive(Debug, Clone)]
pub enum Write {
    /// Create `object`, or post it to a subresource of `name`.
    Create {
        /// The resource.
        resource: ResourceId,
        /// Namespace, and name where a subresource is meant.
        key: Key,
        /// "", "binding", "token", ...
        subresource: String,
        /// The body.
        object: Value,
    },
    /// Replace an object or a subresource of it.
    Update {
        /// The resource.
        resource: ResourceId,
        /// Which object.
        key: Key,
        /// "" or "status".
        subresource: String,
        /// The body.
        object: Value,
    },
    /// Patch an object or a subresource of it.
    Patch {
        /// The resource.
        resource: ResourceId,
        /// Which object.
        key: Key,
        /// "" or "status".
        subresource: String,
        /// The patch.
        patch: Patch,
    },
    /// Delete an object.
    Delete {
        /// The resource.
        resource: ResourceId,
        /// Which object.
        key: Key,
        /// Options.
        params: DeleteParams,
    },
}

impl Write {
    /// Creates a typed object.
    ///
    /// # Errors
    /// When it cannot be written as JSON.
    pub fn create<K: crate::Object>(object: &K) -> Result<Self> {
        let key = object.key();
        Ok(Self::Create {
            resource: crate::resource_of::<K>(),
            object: to_value(object, &key)?,
            key: Key::new(key.namespace, ""),
            subresource: String::new(),
        })
    }
}

fn to_value(object: &impl Serialize, key: &Key) -> Result<Value> {
    serde_json::to_value(object).map_err(|source| Error::Encode { what: key.to_string(), source })
}

struct Item {
    operation: Operation,
    answer: oneshot::Sender<Result<Value>>,
}

/// A cheap handle; its stream is opened with the first write and again after it broke.
#[derive(Clone)]
pub struct Batch {
    client: Client,
    sender: Arc<Mutex<Option<mpsc::Sender<Item>>>>,
}

impl Batch {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, sender: Arc::new(Mutex::new(None)) }
    }

    /// Sends a write and waits for its result; call it many times at once to pipeline.
    ///
    /// # Errors
    /// The server's answer to this write, or `Transport` when the stream broke (the write may have happened).
    pub async fn submit(&self, write: Write) -> Result<Value> {
        let (answer, result) = oneshot::channel();
        let mut item = Item { operation: self.operation(&write), answer };
        loop {
            let sender = self.sender();
            match sender.send(item).await {
                Ok(()) => break,
                Err(refused) => {
                    // The stream ended before it took the write: open another.
                    item = refused.0;
                    self.forget(&sender);
                }
            }
        }
        result.await.unwrap_or_else(|_| Err(broken("the batch stream ended before it answered")))
    }

    fn operation(&self, write: &Write) -> Operation {
        let api =
            |resource: &ResourceId, key: &Key| DynApi::new(self.client.clone(), resource.clone(), &key.namespace).raw;
        let options = WriteParams::default();
        match write {
            Write::Create { resource, key, subresource, object } => Operation::Create(
                api(resource, key).create_request(&key.name, subresource, object.to_string().into_bytes(), &options),
            ),
            Write::Update { resource, key, subresource, object } => Operation::Update(
                api(resource, key).update_request(&key.name, subresource, object.to_string().into_bytes(), &options),
            ),
            Write::Patch { resource, key, subresource, patch } => {
                Operation::Patch(api(resource, key).patch_request(&key.name, subresource, patch, &options))
            }
            Write::Delete { resource, key, params } => {
                Operation::Delete(api(resource, key).delete_request(&key.name, params))
            }
        }
    }

    fn sender(&self) -> mpsc::Sender<Item> {
        let mut slot = self.sender.lock();
        if let Some(sender) = slot.as_ref().filter(|s| !s.is_closed()) {
            return sender.clone();
        }
        let (sender, receiver) = mpsc::channel(QUEUE_LEN);
        *slot = Some(sender.clone());
        task::spawn("batch", run(self.client.clone(), receiver));
        sender
    }

    fn forget(&self, broken: &mpsc::Sender<Item>) {
        let mut slot = self.sender.lock();
        if slot.as_ref().is_some_and(|s| s.same_channel(broken)) {
            *slot = None;
        }
    }
}

fn broken(why: &str) -> Error {
    Error::Transport { call: CALL, source: Box::new(tonic::Status::unavailable(why)) }
}

/// Carries writes until the handle is dropped or the stream breaks; then every waiting caller gets an error.
async fn run(client: Client, mut items: mpsc::Receiver<Item>) {
    let (requests, outgoing) = mpsc::channel::<BatchRequest>(QUEUE_LEN);
    let mut waiting: HashMap<u64, oneshot::Sender<Result<Value>>> = HashMap::new();
    let mut objects = client.objects();
    let opening = objects.batch(ReceiverStream::new(outgoing));
    let mut replies = match opening.await {
        Ok(stream) => stream.into_inner(),
        Err(status) => return fail_all(&mut items, waiting, &status),
    };
    let mut next_id = 0u64;
    let mut unsent: Option<BatchRequest> = None;
    let mut open = true;
    // Replies are read even while the server takes no more requests: it may be waiting for us to take its answers.
    let ended = loop {
        if !open && unsent.is_none() && waiting.is_empty() {
            return;
        }
        tokio::select! {
            reply = replies.message() => match reply {
                Ok(Some(reply)) => answer(&mut waiting, reply),
                Ok(None) => break tonic::Status::unavailable("the server ended the batch stream"),
                Err(status) => break status,
            },
            permit = requests.reserve(), if unsent.is_some() => match (permit, unsent.take()) {
                (Ok(permit), Some(request)) => permit.send(request),
                _ => break tonic::Status::unavailable("the batch stream is closed"),
            },
            item = items.recv(), if open && unsent.is_none() => match item {
                Some(item) => {
                    next_id += 1;
                    waiting.insert(next_id, item.answer);
                    unsent = Some(BatchRequest { id: next_id, operation: Some(item.operation) });
                }
                None => open = false,
            },
        }
    };
    fail_all(&mut items, waiting, &ended);
}

fn answer(waiting: &mut HashMap<u64, oneshot::Sender<Result<Value>>>, reply: BatchReply) {
    let Some(caller) = waiting.remove(&reply.id) else { return };
    let result = match reply.result {
        Some(batch_reply::Result::Reply(r)) => serde_json::from_slice(&r.object)
            .map_err(|source| Error::Decode { what: "the answer of a batch item".to_owned(), source }),
        Some(batch_reply::Result::Status(s)) => match serde_json::from_slice::<Status>(&s) {
            Ok(status) => Err(Error::Api(Box::new(status))),
            Err(source) => Err(Error::Decode { what: "the status of a batch item".to_owned(), source }),
        },
        None => Err(broken("the server sent an empty batch reply")),
    };
    // The caller may have given up.
    drop(caller.send(result));
}

fn fail_all(
    items: &mut mpsc::Receiver<Item>,
    waiting: HashMap<u64, oneshot::Sender<Result<Value>>>,
    status: &tonic::Status,
) {
    items.close();
    let error = || Err(Error::from_grpc(CALL, status.clone()));
    for (_, caller) in waiting {
        drop(caller.send(error()));
    }
    while let Ok(item) = items.try_recv() {
        drop(item.answer.send(error()));
    }
}
