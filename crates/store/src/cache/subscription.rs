//! A watcher's end of the cache: a bounded stream of events in revision order, none missing, none twice.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use futures::Stream;
use tokio::sync::mpsc;

use super::event::{Event, Scope};
use super::gap::Gap;
use super::hub::Receiver;
use super::view::View;

/// Why a watch could not start or ended. It never skips an event: it ends instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WatchError {
    /// The history from that revision on is gone: the client has to list again (410).
    #[error("too old resource version: {requested} ({oldest})")]
    Expired {
        /// What the client asked for.
        requested: u64,
        /// The oldest revision from which a watch can start.
        oldest: u64,
    },
    /// The watcher read too slowly; it can watch again from the last event that it got.
    #[error("the watcher fell behind at revision {revision} and its queue is full")]
    Overflow {
        /// The first event that did not fit.
        revision: u64,
    },
    /// The revision asked for did not appear in time (504).
    #[error("too large resource version: {requested}, current: {current}")]
    TooLarge {
        /// What the client asked for.
        requested: u64,
        /// Where the cache is.
        current: u64,
    },
    /// The cache has stopped.
    #[error("the watch cache has stopped")]
    Closed,
    /// Old history had to come from the store, which failed.
    #[error("reading old events from the store failed: {reason}")]
    Store {
        /// The store's error with its causes.
        reason: String,
    },
}

/// A running watch of one view. Dropping it ends it.
pub struct Subscription {
    view: View,
    scope: Scope,
    /// The last revision delivered, or the start.
    position: u64,
    source: Source,
    finished: bool,
}

enum Source {
    /// Old events from the store until the ring is reached.
    Gap(Box<Gap>),
    /// The ring's replay, then new events.
    Live(Live),
}

struct Live {
    id: u64,
    replay: VecDeque<Arc<Event>>,
    watchers: Arc<AtomicUsize>,
    queue: mpsc::Receiver<Arc<Event>>,
    ended: Arc<OnceLock<WatchError>>,
    untold: Arc<AtomicU64>,
    /// Events up to this revision were delivered by the source before, which may have been ahead of the cache.
    start: u64,
}

impl Live {
    fn new(receiver: Receiver, start: u64) -> Self {
        let Receiver { id, replay, watchers, queue, ended, untold } = receiver;
        Self { id, replay, watchers, queue, ended, untold, start }
    }
}

impl Subscription {
    pub(crate) fn live(view: View, scope: Scope, from: u64, receiver: Receiver) -> Self {
        Self { view, scope, position: from, source: Source::Live(Live::new(receiver, from)), finished: false }
    }

    pub(crate) fn from_gap(view: View, scope: Scope, from: u64, gap: Gap) -> Self {
        Self { view, scope, position: from, source: Source::Gap(Box::new(gap)), finished: false }
    }

    /// The next event. Cancel safe.
    ///
    /// # Errors
    /// [`WatchError`]: the watch has ended; every event before was delivered.
    pub async fn next(&mut self) -> Result<Arc<Event>, WatchError> {
        std::future::poll_fn(|context| self.poll(context)).await
    }

    /// The next event if one is there already.
    ///
    /// # Errors
    /// As [`Subscription::next`].
    pub fn try_next(&mut self) -> Result<Option<Arc<Event>>, WatchError> {
        let mut context = Context::from_waker(std::task::Waker::noop());
        // Without the task's budget: an exhausted one would look as if there were nothing.
        let polled = std::pin::pin!(tokio::task::unconstrained(self.next())).poll(&mut context);
        match polled {
            Poll::Ready(Ok(event)) => Ok(Some(event)),
            Poll::Ready(Err(error)) => Err(error),
            Poll::Pending => Ok(None),
        }
    }

    /// Says how many watchers are told what this subscription is told: a crowd hears the same in turns, however it is counted.
    /// Until the ring is reached ([`Subscription::progress`] says so) it has no effect.
    pub fn speak_for(&self, watchers: usize) {
        if let Source::Live(live) = &self.source {
            live.watchers.store(watchers, Ordering::Relaxed);
        }
    }

    /// The revision of the last event that was delivered, or the start. The cache's own revision may still be lower: it is raised
    /// after events are in the queues.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.position
    }

    /// A revision for a BOOKMARK: everything up to it that concerns this watcher has been delivered. None = there is
    /// more to deliver now, or of the last revision not everything has come (a lease that ends takes many objects at one revision).
    #[must_use]
    pub fn progress(&self) -> Option<u64> {
        let Source::Live(live) = &self.source else { return None };
        // The order matters: the cache's revision is raised after the events up to it are in the queues, or known to be
        // untold; and they are in the queues before they are not untold any more.
        let revision = self.view.cache_revision();
        let untold = live.untold.load(Ordering::Acquire);
        let revision = revision.min(untold.saturating_sub(1));
        let is_told = live.replay.is_empty() && live.queue.is_empty() && live.ended.get().is_none();
        (is_told && self.position <= revision).then_some(revision)
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Arc<Event>, WatchError>> {
        loop {
            let polled = match &mut self.source {
                Source::Live(live) => live.poll(context).map(Step::from),
                Source::Gap(gap) => gap.poll(context),
            };
            match polled {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Step::Event(event)) => {
                    self.position = self.position.max(event.revision);
                    return Poll::Ready(Ok(event));
                }
                Poll::Ready(Step::Failed(error)) => {
                    self.finished = true;
                    return Poll::Ready(Err(error));
                }
                Poll::Ready(Step::Reached { receiver, at }) => {
                    self.position = self.position.max(at);
                    self.source = Source::Live(Live::new(receiver, at));
                }
            }
        }
    }
}

/// What a source has to say.
pub(crate) enum Step {
    Event(Arc<Event>),
    Failed(WatchError),
    /// The old history has met the ring: go on there.
    Reached {
        receiver: Receiver,
        /// The last revision that the old history covered.
        at: u64,
    },
}

impl From<Result<Arc<Event>, WatchError>> for Step {
    fn from(result: Result<Arc<Event>, WatchError>) -> Self {
        match result {
            Ok(event) => Self::Event(event),
            Err(error) => Self::Failed(error),
        }
    }
}

impl Live {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Arc<Event>, WatchError>> {
        if let Some(event) = self.replay.pop_front() {
            return Poll::Ready(Ok(event));
        }
        loop {
            match ready!(self.queue.poll_recv(context)) {
                Some(event) if event.revision <= self.start => {}
                Some(event) => return Poll::Ready(Ok(event)),
                None => return Poll::Ready(Err(self.ended.get().cloned().unwrap_or(WatchError::Closed))),
            }
        }
    }
}

impl Stream for Subscription {
    type Item = Result<Arc<Event>, WatchError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.finished { Poll::Ready(None) } else { self.poll(context).map(Some) }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Source::Live(live) = &self.source {
            self.view.unsubscribe(live.id, &self.scope);
        }
    }
}
