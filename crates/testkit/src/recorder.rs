//! Follows the store from its first revision and holds every step against the invariants as it happens.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use gantry_common::task::{Group, OnExit};
use gantry_store::store::Previous;
use gantry_store::{MemoryStore, Store};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::history::{self, Step, World};
use crate::invariants::{Checker, Violation};

/// Between attempts to start the watch again, which faults of the store may end.
const RETRY: Duration = Duration::from_millis(20);

/// Reads what was recorded. Cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    shared: Arc<Shared>,
}

struct Shared {
    checker: Mutex<Checker>,
    history: Mutex<Vec<Step>>,
    revision: watch::Sender<u64>,
}

impl Recorder {
    /// Starts to follow the store, as a task of `group`.
    #[must_use]
    pub fn start(store: MemoryStore, group: &Group) -> Self {
        let shared =
            Arc::new(Shared { checker: Mutex::default(), history: Mutex::default(), revision: watch::Sender::new(0) });
        group.spawn("recorder", OnExit::ShutDown, follow(store, Arc::clone(&shared)));
        Self { shared }
    }

    /// See [`Step::Ambiguous`].
    pub fn ambiguous(&self, now: bool) {
        self.shared.take(Step::Ambiguous(now));
    }

    /// The last recorded revision.
    #[must_use]
    pub fn revision(&self) -> u64 {
        *self.shared.revision.borrow()
    }

    /// Reads the world as it is now.
    pub fn with<T>(&self, read: impl FnOnce(&World) -> T) -> T {
        read(self.shared.checker.lock().world())
    }

    /// Resolves with what `look` finds in the world, once it finds something.
    pub async fn until<T>(&self, look: impl Fn(&World) -> Option<T>) -> T {
        let mut revision = self.shared.revision.subscribe();
        loop {
            revision.mark_unchanged();
            if let Some(found) = self.with(&look) {
                return found;
            }
            // The sender lives in `shared`.
            drop(revision.changed().await);
        }
    }

    /// Resolves once this many more revisions were made.
    pub async fn revisions(&self, count: u64) {
        let wanted = self.revision() + count;
        drop(self.shared.revision.subscribe().wait_for(|r| *r >= wanted).await);
    }

    /// What was found so far.
    #[must_use]
    pub fn violations(&self) -> Vec<Violation> {
        self.shared.checker.lock().violations().to_vec()
    }

    /// Everything that happened.
    #[must_use]
    pub fn history(&self) -> Vec<Step> {
        self.shared.history.lock().clone()
    }
}

impl Shared {
    fn take(&self, step: Step) {
        self.checker.lock().step(&step);
        if let Step::Changes { revision, .. } = &step {
            self.revision.send_replace(*revision);
        }
        self.history.lock().push(step);
    }
}

async fn follow(store: MemoryStore, shared: Arc<Shared>) {
    let mut next = 1;
    loop {
        if let Ok(mut events) = store.watch("/registry/", next, Previous::Include).await {
            while let Some(Ok(batch)) = events.next().await {
                next = batch.revision + 1;
                history::steps(&batch.events).into_iter().for_each(|step| shared.take(step));
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}
