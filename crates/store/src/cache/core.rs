//! What the cache, its views and its driver share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gantry_common::shutdown::Shutdown;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot, watch};

use super::writing::Registry;
use super::{Config, Error, Normalise};
use crate::store::Store;

/// Callers of `consistent_revision` that may wait at a time.
const QUESTIONS: usize = 8_192;

/// One caller's wish to know the store's revision.
pub(crate) type Question = oneshot::Sender<Result<u64, Error>>;

/// Counts since the start.
#[derive(Debug, Default)]
pub struct Counters {
    events: AtomicU64,
    restarts: AtomicU64,
    relists: AtomicU64,
    mismatches: AtomicU64,
    revision_reads: AtomicU64,
}

impl Counters {
    /// Store events applied.
    #[must_use]
    pub fn events(&self) -> u64 {
        self.events.load(Ordering::Relaxed)
    }

    /// Times the store watch was started.
    #[must_use]
    pub fn watch_starts(&self) -> u64 {
        self.restarts.load(Ordering::Relaxed)
    }

    /// Times everything was listed.
    #[must_use]
    pub fn lists(&self) -> u64 {
        self.relists.load(Ordering::Relaxed)
    }

    /// Objects in which cache and store differed when they were compared. Anything but 0 is a bug.
    #[must_use]
    pub fn mismatches(&self) -> u64 {
        self.mismatches.load(Ordering::Relaxed)
    }

    /// Questions for the store's revision, after sharing.
    #[must_use]
    pub fn revision_reads(&self) -> u64 {
        self.revision_reads.load(Ordering::Relaxed)
    }

    pub(crate) fn count_events(&self, count: usize) {
        self.events.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn count_watch_start(&self) {
        self.restarts.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_list(&self) {
        self.relists.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_mismatches(&self, count: usize) {
        self.mismatches.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(crate) fn count_revision_read(&self) {
        self.revision_reads.fetch_add(1, Ordering::Relaxed);
    }
}

/// Shared state without the views (which point here).
pub(crate) struct Core {
    pub(crate) config: Config,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) normalise: Arc<dyn Normalise>,
    pub(crate) gap_permits: Arc<Semaphore>,
    pub(crate) counters: Counters,
    /// What this process is writing.
    pub(crate) writing: Registry,
    /// Told when the cache may not follow the store any more: list again.
    pub(crate) doubt: Notify,
    /// Given when the driver has stopped.
    pub(crate) closed: Shutdown,
    revision: watch::Sender<u64>,
    /// States before this revision are gone for every replica; 0 = none that this cache has heard of.
    compacted: AtomicU64,
    ready: watch::Sender<bool>,
    questions: mpsc::Sender<Question>,
}

impl Core {
    pub(crate) fn new(
        config: Config,
        store: Arc<dyn Store>,
        normalise: Arc<dyn Normalise>,
    ) -> (Arc<Self>, mpsc::Receiver<Question>) {
        let (questions, receiver) = mpsc::channel(QUESTIONS);
        let core = Self {
            gap_permits: Arc::new(Semaphore::new(config.gap_watches)),
            config,
            store,
            normalise,
            counters: Counters::default(),
            writing: Registry::default(),
            doubt: Notify::new(),
            closed: Shutdown::new(),
            revision: watch::Sender::new(0),
            compacted: AtomicU64::new(0),
            ready: watch::Sender::new(false),
            questions,
        };
        (Arc::new(core), receiver)
    }

    pub(crate) fn revision(&self) -> u64 {
        *self.revision.borrow()
    }

    /// Every view has everything up to here. Wakes who waits for it.
    pub(crate) fn set_revision(&self, revision: u64) {
        self.revision.send_replace(revision);
    }

    /// The oldest revision whose state is still to be answered for, as far as is known here.
    pub(crate) fn compacted(&self) -> u64 {
        self.compacted.load(Ordering::Relaxed)
    }

    /// The servers have agreed to compact to `revision`.
    pub(crate) fn set_compacted(&self, revision: u64) {
        self.compacted.fetch_max(revision, Ordering::Relaxed);
    }

    /// After a list, no history here is older than a compaction; and the store may be another one, or an older state of it.
    pub(crate) fn forget_compaction(&self) {
        self.compacted.store(0, Ordering::Relaxed);
    }

    pub(crate) fn set_ready(&self) {
        self.ready.send_if_modified(|ready| !std::mem::replace(ready, true));
    }

    pub(crate) fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    pub(crate) async fn ready(&self) {
        // An error means that the sender is gone, which `self` holds.
        drop(self.ready.subscribe().wait_for(|ready| *ready).await);
    }

    pub(crate) async fn wait_for(&self, revision: u64) -> Result<(), Error> {
        if self.revision() >= revision {
            return Ok(());
        }
        let mut changes = self.revision.subscribe();
        let reached = changes.wait_for(|current| *current >= revision);
        match tokio::time::timeout(self.config.wait, reached).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::TooLarge { requested: revision, current: self.revision() }),
        }
    }

    pub(crate) async fn consistent_revision(&self) -> Result<u64, Error> {
        let (question, answer) = oneshot::channel();
        self.questions.send(question).await.map_err(|_| Error::Closed)?;
        answer.await.unwrap_or(Err(Error::Closed))
    }
}
