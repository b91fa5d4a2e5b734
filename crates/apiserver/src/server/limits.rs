//! Requests in flight: past the limit a request waits a little, then it is answered 429, so that memory stays bounded.

use std::sync::Arc;
use std::time::Duration;

use gantry_api::status::Status;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::metrics::flows::{Crowded, Executing, Flow};
use crate::metrics::peak::{Held, Peak};
use crate::request::Notes;

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
    waiting_max: u64,
    /// Requests that are worked on, whether they need a slot or not.
    working: Arc<Peak>,
    waiting: Arc<Peak>,
}

impl Budget {
    fn new(slots: usize) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(slots)),
            waiting_max: u64::try_from(slots.saturating_mul(WAITING_PER_SLOT)).unwrap_or(u64::MAX),
            working: Arc::default(),
            waiting: Arc::default(),
        }
    }

    /// Waits in the queue for a slot.
    async fn wait(&self, second: u64) -> Result<OwnedSemaphorePermit, Crowded> {
        let _place = self.waiting.hold(second);
        if self.waiting.now() > self.waiting_max {
            return Err(Crowded::QueueFull);
        }
        match tokio::time::timeout(WAIT, self.slots.clone().acquire_owned()).await {
            Ok(Ok(slot)) => Ok(slot),
            Ok(Err(_)) | Err(_) => Err(Crowded::TimeOut),
        }
    }
}

/// Two budgets, as upstream has: a flood of reads must not stop writes.
pub(crate) struct Limits {
    reads: Budget,
    writes: Budget,
    born: Instant,
}

/// Held while a request is worked on; it may hold nothing.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    _permit: Option<OwnedSemaphorePermit>,
    _working: Option<Held>,
    _executing: Option<Executing>,
}

impl Limits {
    pub(crate) fn new(reads: usize, writes: usize) -> Self {
        Self { reads: Budget::new(reads), writes: Budget::new(writes), born: Instant::now() }
    }

    fn budget(&self, write: bool) -> &Budget {
        if write { &self.writes } else { &self.reads }
    }

    fn second(&self) -> u64 {
        self.born.elapsed().as_secs()
    }

    /// What is counted of a request that needs no slot.
    pub(crate) fn exempt(&self, write: bool, flow: Option<&Arc<Flow>>) -> Slot {
        let working = self.budget(write).working.hold(self.second());
        Slot { _permit: None, _working: Some(working), _executing: flow.map(Flow::execute_exempt) }
    }

    /// A slot.
    ///
    /// # Errors
    /// 429 with a time to wait.
    pub(crate) async fn enter(&self, write: bool, flow: Option<&Arc<Flow>>, notes: &Notes) -> Result<Slot, Status> {
        let (budget, second) = (self.budget(write), self.second());
        let (permit, waited) = match budget.slots.clone().try_acquire_owned() {
            Ok(permit) => (permit, Duration::ZERO),
            Err(_) => {
                let began = Instant::now();
                let waiting = flow.map(Flow::wait);
                let result = budget.wait(second).await;
                drop(waiting);
                let waited = began.elapsed();
                notes.wait(waited);
                let permit = result.map_err(|why| {
                    notes.refuse();
                    flow.inspect(|flow| flow.reject(why, waited));
                    Status::too_many_requests(TOO_MANY, 1)
                })?;
                (permit, waited)
            }
        };
        let executing = flow.map(|flow| flow.execute(waited));
        Ok(Slot { _permit: Some(permit), _working: Some(budget.working.hold(second)), _executing: executing })
    }

    /// How many requests are worked on now.
    #[cfg(test)]
    pub(crate) fn working(&self, write: bool) -> u64 {
        self.budget(write).working.now()
    }

    /// How many requests were worked on, and waited, at most in the last second. `write`: those that change something.
    pub(crate) fn peaks(&self, write: bool) -> (u64, u64) {
        let (budget, second) = (self.budget(write), self.second());
        (budget.working.highest(second), budget.waiting.highest(second))
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    async fn enter(limits: &Limits, write: bool) -> Result<Slot, Status> {
        limits.enter(write, None, &Notes::default()).await
    }

    #[tokio::test(start_paused = true)]
    async fn each_budget_is_its_own() {
        let limits = Limits::new(1, 1);
        let first = enter(&limits, false).await.expect("free");
        assert_eq!(enter(&limits, false).await.expect_err("taken for too long").code, 429);
        drop(enter(&limits, true).await.expect("writes have their own"));
        drop(first);
        assert!(enter(&limits, false).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn the_queue_is_bounded_and_served() {
        let limits = Limits::new(1, 1);
        let first = enter(&limits, true).await.expect("free");
        let mut waiting: Vec<_> = (0..WAITING_PER_SLOT).map(|_| Box::pin(enter(&limits, true))).collect();
        assert!(waiting.iter_mut().all(|w| w.now_or_never().is_none()));
        assert_eq!(enter(&limits, true).now_or_never().expect("at once").expect_err("full").code, 429);
        drop(first);
        drop(waiting.remove(0).await.expect("its turn"));
        drop(waiting.remove(0).await.expect("its turn"));
    }
}
