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
use crate::store::{EventKind, Form, Previous, StoreEvent, WatchBatch, WatchStream};

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
                Some(Ok(batch)) => self.take(&batch),
                Some(Err(error)) => return Poll::Ready(Step::Failed(failed(&error, self.requested, oldest))),
                None => return Poll::Ready(Step::Failed(WatchError::Store { reason: "the watch ended".to_owned() })),
            }
        }
    }

    fn take(&mut self, batch: &WatchBatch) {
        self.at = batch.revision;
        for event in batch.events.iter().filter(|event| event.kv.key.starts_with(self.view.prefix())) {
            let narrowed = self.decode(event).and_then(|event| self.scope.narrow(&Arc::new(event)));
            self.pending.extend(narrowed);
        }
    }

    /// The event as the cache would have made it. A value that cannot be decoded counts as absent, as it does there.
    fn decode(&self, event: &StoreEvent) -> Option<Event> {
        if matches!(event.kv.form, Form::Unreadable(_)) {
            return None;
        }
        let decode = |kv| self.view.decode(kv).ok();
        let previous = event.prev.as_ref().and_then(decode);
        let object = (event.kind == EventKind::Put).then(|| decode(&event.kv)).flatten();
        let revision = event.kv.mod_revision;
        match (object, previous) {
            (Some(object), None) => Some(Event { change: Change::Added, revision, object, previous: None }),
            (Some(object), previous) => Some(Event { change: Change::Modified, revision, object, previous }),
            (None, Some(previous)) => {
                Some(Event { change: Change::Deleted, revision, object: previous.clone(), previous: Some(previous) })
            }
            (None, None) => None,
        }
    }
}

fn failed(error: &crate::Error, requested: u64, oldest: u64) -> WatchError {
    match error {
        crate::Error::Compacted { .. } => WatchError::Expired { requested, oldest },
        _ => WatchError::Store { reason: gantry_common::error_chain(error) },
    }
}
