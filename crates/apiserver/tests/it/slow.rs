//! A store whose answers about some keys arrive late: readers of one state meet, as they do over a network. It counts what is
//! asked for most.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use gantry_store::{
    KeyValue, LeaseId, MemoryStore, Previous, Range, RangeResult, Result, Store, StoreStatus, Txn, TxnOutcome,
    WatchStream,
};

/// Turns of the runtime that an answer takes.
const TURNS: usize = 200;

pub(crate) struct Slow {
    inner: MemoryStore,
    /// Reads of keys with this prefix are late.
    prefix: &'static str,
    revisions: AtomicUsize,
}

impl Slow {
    pub(crate) fn about(prefix: &'static str) -> Arc<dyn Store> {
        Self::new(prefix)
    }

    /// As [`Slow::about`], with its counts.
    pub(crate) fn new(prefix: &'static str) -> Arc<Self> {
        Arc::new(Self { inner: MemoryStore::new(), prefix, revisions: AtomicUsize::new(0) })
    }

    /// How often the revision was asked for.
    pub(crate) fn revisions(&self) -> usize {
        self.revisions.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Store for Slow {
    async fn get(&self, key: &str) -> Result<Option<KeyValue>> {
        let answer = self.inner.get(key).await;
        if key.starts_with(self.prefix) {
            for _ in 0..TURNS {
                tokio::task::yield_now().await;
            }
        }
        answer
    }

    async fn range(&self, range: Range) -> Result<RangeResult> {
        self.inner.range(range).await
    }

    async fn txn(&self, txn: Txn) -> Result<TxnOutcome> {
        self.inner.txn(txn).await
    }

    async fn watch(&self, prefix: &str, from: u64, previous: Previous) -> Result<WatchStream> {
        self.inner.watch(prefix, from, previous).await
    }

    async fn compact(&self, revision: u64) -> Result<()> {
        self.inner.compact(revision).await
    }

    async fn revision(&self) -> Result<u64> {
        self.revisions.fetch_add(1, Ordering::Relaxed);
        self.inner.revision().await
    }

    async fn lease_grant(&self, ttl: Duration) -> Result<LeaseId> {
        self.inner.lease_grant(ttl).await
    }

    async fn lease_keep_alive(&self, lease: LeaseId) -> Result<Duration> {
        self.inner.lease_keep_alive(lease).await
    }

    async fn lease_revoke(&self, lease: LeaseId) -> Result<()> {
        self.inner.lease_revoke(lease).await
    }

    async fn status(&self) -> Result<StoreStatus> {
        self.inner.status().await
    }
}
