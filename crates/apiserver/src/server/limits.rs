//! Requests in flight: past the limit a request waits a little, then it is answered 429, so that memory stays bounded.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gantry_api::status::Status;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a client may take to send a body that is read whole, over either edge: it holds a slot meanwhile.
pub(crate) const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// What is said where there is no slot, in upstream's words.
pub(crate) const TOO_MANY: &str = "Too many requests, please try again later.";

/// How long a request waits for a slot.
const WAIT: Duration = Duration::from_secs(5);
/// Requests that wait at once, per slot.
const WAITING_PER_SLOT: usize = 8;

/// Slots and the queue before them.
struct Budget {
    slots: Arc<Semaphore>,
    waiting: AtomicUsize,
    waiting_max: usize,
}

impl Budget {
    fn new(slots: usize) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(slots)),
            waiting: AtomicUsize::new(0),
            waiting_max: slots.saturating_mul(WAITING_PER_SLOT),
        }
    }

    async fn enter(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(slot) = self.slots.clone().try_acquire_owned() {
            return Some(slot);
        }
        let _place = Place::take(self)?;
        tokio::time::timeout(WAIT, self.slots.clone().acquire_owned()).await.ok()?.ok()
    }
}

/// A place in the queue.
struct Place<'a>(&'a Budget);

impl<'a> Place<'a> {
    fn take(budget: &'a Budget) -> Option<Self> {
        let before = budget.waiting.fetch_add(1, Ordering::Relaxed);
        let place = Self(budget);
        (before < budget.waiting_max).then_some(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Two budgets, as upstream has: a flood of reads must not stop writes.
pub(crate) struct Limits {
    reads: Budget,
    writes: Budget,
}

/// Held while a request is worked on; `None` where none is needed.
pub(crate) type Slot = Option<OwnedSemaphorePermit>;

impl Limits {
    pub(crate) fn new(reads: usize, writes: usize) -> Self {
        Self { reads: Budget::new(reads), writes: Budget::new(writes) }
    }

    /// A slot.
    ///
    /// # Errors
    /// 429 with a time to wait.
    pub(crate) async fn enter(&self, write: bool) -> Result<OwnedSemaphorePermit, Status> {
        let budget = if write { &self.writes } else { &self.reads };
        budget.enter().await.ok_or_else(|| Status::too_many_requests(TOO_MANY, 1))
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn each_budget_is_its_own() {
        let limits = Limits::new(1, 1);
        let first = limits.enter(false).await.expect("free");
        assert_eq!(limits.enter(false).await.expect_err("taken for too long").code, 429);
        drop(limits.enter(true).await.expect("writes have their own"));
        drop(first);
        assert!(limits.enter(false).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn the_queue_is_bounded_and_served() {
        let limits = Limits::new(1, 1);
        let first = limits.enter(true).await.expect("free");
        let mut waiting: Vec<_> = (0..WAITING_PER_SLOT).map(|_| Box::pin(limits.enter(true))).collect();
        assert!(waiting.iter_mut().all(|w| w.now_or_never().is_none()));
        assert_eq!(limits.enter(true).now_or_never().expect("at once").expect_err("full").code, 429);
        drop(first);
        drop(waiting.remove(0).await.expect("its turn"));
        drop(waiting.remove(0).await.expect("its turn"));
    }
}
