//! `Store` in memory, with etcd's semantics: revisions, history, compaction, leases, watches.
//!
//! For tests and simulation. Time is tokio's, so paused time moves the leases; [`Faults`] make it fail on purpose.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::error::Result;
use crate::store::{KeyValue, LeaseId, Previous, Range, RangeResult, Store, StoreStatus, Txn, TxnOutcome, WatchStream};

mod faults;
mod following;
mod state;

pub use faults::Faults;
use state::State;

/// The double of etcd. Clones share the data.
#[derive(Clone)]
pub struct MemoryStore {
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    /// Wakes watches when the state has changed.
    revision: watch::Sender<u64>,
    faults: Faults,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryStore {
    /// An empty store at revision 1, as a new etcd.
    #[must_use]
    pub fn new() -> Self {
        let shared =
            Shared { state: Mutex::new(State::new()), revision: watch::Sender::new(1), faults: Faults::default() };
        Self { shared: Arc::new(shared) }
    }

    /// Makes the store fail on purpose.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// Goes back to the state of `revision`, as a restored backup does; running watches notice nothing.
    pub fn rewind(&self, revision: u64) {
        self.with(|state| state.rewind(revision));
    }

    /// Runs `act` on the state after leases that have ended were removed, and wakes watches.
    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.shared.state.lock();
        state.expire(Instant::now());
        let result = act(&mut state);
        let revision = state.revision();
        drop(state);
        self.shared.revision.send_if_modified(|seen| std::mem::replace(seen, revision) != revision);
        result
    }

    async fn call<T>(&self, doing: &'static str, act: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        self.shared.faults.before(doing).await?;
        let result = self.with(act);
        self.shared.faults.reply().await;
        result
    }
}

#[async_trait::async_trait]
impl Store for MemoryStore {
    async fn get(&self, key: &str) -> Result<Option<KeyValue>> {
        self.call("reading a key", |state| Ok(state.get(key).cloned())).await
    }

    async fn range(&self, range: Range) -> Result<RangeResult> {
        self.call("reading a range of keys", |state| state.range(&range)).await
    }

    async fn txn(&self, txn: Txn) -> Result<TxnOutcome> {
        let outcome = self.call("committing a transaction", |state| state.txn(txn)).await?;
        self.shared.faults.after_write("committing a transaction")?;
        Ok(outcome)
    }

    async fn watch(&self, prefix: &str, from: u64, previous: Previous) -> Result<WatchStream> {
        self.shared.faults.before_watch().await?;
        Ok(following::run(self.clone(), prefix.to_owned(), from, previous).boxed())
    }

    async fn compact(&self, revision: u64) -> Result<()> {
        self.call("compacting", |state| state.compact(revision)).await
    }

    async fn revision(&self) -> Result<u64> {
        self.call("reading the revision", |state| Ok(state.revision())).await
    }

    async fn lease_grant(&self, ttl: Duration) -> Result<LeaseId> {
        self.call("granting a lease", |state| Ok(state.lease_grant(ttl, Instant::now()))).await
    }

    async fn lease_keep_alive(&self, lease: LeaseId) -> Result<Duration> {
        self.call("renewing a lease", |state| state.lease_keep_alive(lease, Instant::now())).await
    }

    async fn lease_revoke(&self, lease: LeaseId) -> Result<()> {
        self.call("revoking a lease", |state| state.lease_revoke(lease)).await
    }

    async fn status(&self) -> Result<StoreStatus> {
        self.call("reading the status", |state| {
            Ok(StoreStatus {
                version: "memory".to_owned(),
                database_bytes: state.size_bytes(),
                leader: 1,
                revision: state.revision(),
            })
        })
        .await
    }
}
