//! Requests in flight: past the limit a request is answered 429, so that memory stays bounded.

use std::sync::Arc;

use gantry_api::status::Status;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Two budgets, as upstream has: a flood of reads must not stop writes.
pub(crate) struct Limits {
    reads: Arc<Semaphore>,
    writes: Arc<Semaphore>,
}

/// Held while a request is worked on.
pub(crate) type Slot = Option<OwnedSemaphorePermit>;

impl Limits {
    pub(crate) fn new(reads: usize, writes: usize) -> Self {
        Self { reads: Arc::new(Semaphore::new(reads)), writes: Arc::new(Semaphore::new(writes)) }
    }

    /// A slot; members of system:masters need none, so that an administrator gets through a flood.
    ///
    /// # Errors
    /// 429 with a time to wait.
    pub(crate) fn enter(&self, write: bool, master: bool) -> Result<Slot, Status> {
        if master {
            return Ok(None);
        }
        let budget = if write { &self.writes } else { &self.reads };
        budget
            .clone()
            .try_acquire_owned()
            .map(Some)
            .map_err(|_| Status::too_many_requests("too many requests, please try again later.", 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_budget_is_its_own() {
        let limits = Limits::new(1, 1);
        let first = limits.enter(false, false).expect("free");
        assert_eq!(limits.enter(false, false).expect_err("taken").code, 429);
        assert!(limits.enter(false, true).expect("masters pass").is_none());
        drop(limits.enter(true, false).expect("writes have their own"));
        drop(first);
        assert!(limits.enter(false, false).is_ok());
    }
}
