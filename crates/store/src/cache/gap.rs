//! Old history for one watcher: a temporary store watch that leads up to the ring.
//!
//! After a restart or a burst of writes a client may resume from a revision that the ring has dropped but the store has
//! not compacted. Reading it costs the store more than a list, so few of these run at once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt};
use tokio::sync::OwnedSemaphorePermit;

use super::event::{Change, Event, Scope};
use super::subscription::{Step, WatchError};
use super::view::View;
use crate::store::{EventKind, Previous, StoreEvent, WatchBatch, WatchStream};

/// A watch that is still behind the ring.
pub(crate) struct Gap {
    view: View,
    scope: Scope,
    stream: WatchStream,
    pending: VecDeque<Arc<Event>>,
    /// Every event up to here has been delivered or is pending.
    at: u64,
    requested: u64,
    closed: BoxFuture<'static, ()>,
    _permit: OwnedSemaphorePermit,
}

impl Gap {
    /// Starts after revision `from`, which is older than the ring's `oldest`.
    pub(crate) async fn open(view: View, scope: Scope, from: u64, oldest: u64) -> Result<Self, WatchError> {
        let expired = WatchError::Expired { requested: from, oldest };
        let permit = view.core().gap_permits.clone().try_acquire_owned().map_err(|_| expired)?;
        // The whole key space, so that every revision shows how far the watch is.
        let stream = view
            .core()
            .store
            .watch("", from + 1, Previous::Include)
            .await
            .map_err(|error| failed(&error, from, oldest))?;
        let closed = view.core().closed.token().clone().cancelled_owned().boxed();
        Ok(Self { view, scope, stream, pending: VecDeque::new(), at: from, requested: from, closed, _permit: permit })
    }

    pub(crate) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Step> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return Poll::Ready(Step::Event(event));
            }
            let oldest = {
                let mut hub = self.view.hub();
                if let Some(receiver) = hub.subscribe(self.at, &self.scope) {
                    return Poll::Ready(Step::Reached { receiver, at: self.at });
                }
                hub.floor()
            };
            if self.closed.poll_unpin(context).is_ready() {
                return Poll::Ready(Step::Failed(WatchError::Closed));
            }
            match ready!(self.stream.poll_next_unpin(context)) {
                Some(Ok(batch)) => {
                    if let Err(Unknown { key, revision }) = self.take(&batch) {
                        let requested = self.requested;
                        tracing::warn!(
                            key,
                            revision,
                            requested,
                            "a watch ends: the store does not say what an event was"
                        );
                        // A list shows the object as it is now, or says that it cannot be read.
                        return Poll::Ready(Step::Failed(WatchError::Expired { requested, oldest: revision }));
                    }
                }
                Some(Err(error)) => return Poll::Ready(Step::Failed(failed(&error, self.requested, oldest))),
                None => return Poll::Ready(Step::Failed(WatchError::Store { reason: "the watch ended".to_owned() })),
            }
        }
    }

    /// Takes a batch whole, or not at all.
    fn take(&mut self, batch: &WatchBatch) -> Result<(), Unknown> {
        let ours = batch.events.iter().filter(|event| event.kv.key.starts_with(self.view.prefix()));
        let events = ours.map(|event| self.decode(event)).collect::<Result<Vec<Option<Event>>, Unknown>>()?;
        let narrowed = events.into_iter().flatten().filter_map(|event| self.scope.narrow(&Arc::new(event)));
        self.pending.extend(narrowed);
        self.at = batch.revision;
        Ok(())
    }

    /// The event as the cache would have made it. A value that cannot be decoded counts as absent, as it does there. One whose
    /// form cannot be read does not, nor one that the store has not kept: whoever watches may know the object.
    fn decode(&self, event: &StoreEvent) -> Result<Option<Event>, Unknown> {
        let revision = event.kv.mod_revision;
        let unknown = || Unknown { key: event.kv.key.clone(), revision };
        let is_put = event.kind == EventKind::Put;
        let is_new = is_put && event.kv.create_revision == revision;
        if event.prev.is_none() && !is_new {
            return Err(unknown());
        }
        let decode = |kv| self.view.served(kv).map_err(|_| unknown());
        let previous = event.prev.as_ref().map(decode).transpose()?.flatten();
        let object = if is_put { decode(&event.kv)? } else { None };
        let event = match (object, previous) {
            (Some(object), None) => Some(Event { change: Change::Added, revision, object, previous: None }),
            (Some(object), previous) => Some(Event { change: Change::Modified, revision, object, previous }),
            (None, Some(previous)) => {
                Some(Event { change: Change::Deleted, revision, object: previous.clone(), previous: Some(previous) })
            }
            (None, None) => None,
        };
        Ok(event)
    }
}

/// An event of which the store does not say what changed.
struct Unknown {
    key: String,
    revision: u64,
}

fn failed(error: &crate::Error, requested: u64, oldest: u64) -> WatchError {
    match error {
        crate::Error::Compacted { .. } => WatchError::Expired { requested, oldest },
        _ => WatchError::Store { reason: gantry_common::error_chain(error) },
    }
}
