//! Failures on purpose.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::error::{Error, Result};

/// What the in-memory store does wrong, and how often.
#[derive(Default)]
pub struct Faults {
    plan: Mutex<Plan>,
    drops: watch::Sender<u64>,
}

#[derive(Default)]
struct Plan {
    fail: u32,
    lose_replies: u32,
    refuse_watches: u32,
    delay: Duration,
    reply_delay: Duration,
    silent: bool,
}

impl Faults {
    /// The next `calls` calls fail as `NotSent` and do nothing.
    pub fn fail_next(&self, calls: u32) {
        self.plan.lock().fail = calls;
    }

    /// The next `writes` transactions are made, but their answers are lost (`Timeout`).
    pub fn lose_replies(&self, writes: u32) {
        self.plan.lock().lose_replies = writes;
    }

    /// Every call takes this long.
    pub fn delay(&self, delay: Duration) {
        self.plan.lock().delay = delay;
    }

    /// Every answer travels this long after the call has had its effect.
    pub fn delay_replies(&self, delay: Duration) {
        self.plan.lock().reply_delay = delay;
    }

    /// All running watches end with `Unavailable`.
    pub fn drop_watches(&self) {
        self.drops.send_modify(|count| *count += 1);
    }

    /// The next `watches` watches cannot be started.
    pub fn refuse_watches(&self, watches: u32) {
        self.plan.lock().refuse_watches = watches;
    }

    /// Watches stay open but tell nothing, as over a dead connection.
    pub fn silence_watches(&self, silent: bool) {
        self.plan.lock().silent = silent;
    }

    pub(super) fn is_silent(&self) -> bool {
        self.plan.lock().silent
    }

    pub(super) fn drops(&self) -> watch::Receiver<u64> {
        self.drops.subscribe()
    }

    pub(super) async fn before(&self, doing: &'static str) -> Result<()> {
        let (fails, delay) = {
            let mut plan = self.plan.lock();
            (take(&mut plan.fail), plan.delay)
        };
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if fails { Err(Error::NotSent { doing, source: "failed on purpose".into() }) } else { Ok(()) }
    }

    pub(super) async fn reply(&self) {
        let delay = self.plan.lock().reply_delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
    }

    pub(super) async fn before_watch(&self) -> Result<()> {
        self.before("starting a watch").await?;
        if take(&mut self.plan.lock().refuse_watches) {
            return Err(Error::Unavailable { doing: "starting a watch", source: "refused on purpose".into() });
        }
        Ok(())
    }

    pub(super) fn after_write(&self, doing: &'static str) -> Result<()> {
        match take(&mut self.plan.lock().lose_replies) {
            true => Err(Error::Timeout { doing, after: Duration::ZERO }),
            false => Ok(()),
        }
    }
}

fn take(count: &mut u32) -> bool {
    let some = *count > 0;
    *count = count.saturating_sub(1);
    some
}
