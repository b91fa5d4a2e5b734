//! Compaction: once per interval, by one of the API servers, never more than the last interval away.
//!
//! As upstream does, the servers agree on a key outside of the prefix: who replaces `compact_rev_key` first has the
//! turn and compacts to the revision that was the present one an interval before. So history always reaches back one
//! to two intervals, and a real kube-apiserver on the same etcd takes part. The caches see the key change: from then on
//! no server gives pages of what is compacted, whatever history it has.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gantry_common::error_chain;
use gantry_common::shutdown::Shutdown;

use crate::error::{Error, Result};
use crate::store::{EventKind, Store, StoreEvent, Txn, TxnOutcome};

/// Where the servers agree; upstream's name.
pub const KEY: &str = "compact_rev_key";
/// Upstream's default interval.
pub const INTERVAL: Duration = Duration::from_secs(300);

/// What one server remembers between its turns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Turn {
    /// `mod_revision` of the key as last seen, 0 = absent.
    key: u64,
    /// The store's revision at that time: what the next turn compacts to.
    revision: u64,
}

/// Compacts until shutdown. A failed turn is made up for by the next one.
pub async fn run(store: Arc<dyn Store>, interval: Duration, shutdown: Shutdown) {
    let mut turn = None;
    loop {
        turn = match next(&*store, turn).await {
            Ok(turn) => Some(turn),
            Err(error) => {
                tracing::warn!(error = error_chain(&error), "compaction put off to the next interval");
                None
            }
        };
        tokio::select! {
            () = tokio::time::sleep(interval) => {}
            () = shutdown.requested() => return,
        }
    }
}

/// The revision that the servers have agreed to compact to, if the event says so. Upstream writes 0 at first.
pub(crate) fn announced(event: &StoreEvent) -> Option<u64> {
    let kv = Some(&event.kv).filter(|kv| kv.key == KEY && event.kind == EventKind::Put)?;
    let revision: u64 = std::str::from_utf8(&kv.value).ok()?.parse().ok()?;
    // What is not past yet cannot be compacted, whoever wrote it.
    (revision < kv.mod_revision).then_some(revision)
}

async fn next(store: &dyn Store, turn: Option<Turn>) -> Result<Turn> {
    let Some(turn) = turn else {
        let key = store.get(KEY).await?.map_or(0, |kv| kv.mod_revision);
        return Ok(Turn { key, revision: store.revision().await? });
    };
    let value = Bytes::from(turn.revision.to_string());
    match store.txn(Txn::update(KEY, turn.key, value)).await? {
        TxnOutcome::Committed { revision } => {
            match store.compact(turn.revision).await {
                Ok(()) => tracing::info!(revision = turn.revision, "store compacted"),
                Err(Error::Compacted { .. }) => {}
                Err(error) => return Err(error),
            }
            Ok(Turn { key: revision, revision })
        }
        TxnOutcome::Conflict { revision, current } => {
            let key = current.into_iter().flatten().next().map_or(0, |kv| kv.mod_revision);
            Ok(Turn { key, revision })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryStore;

    async fn write(store: &MemoryStore) -> u64 {
        store.txn(Txn::new().put("/a", Bytes::new())).await.unwrap();
        store.revision().await.unwrap()
    }

    #[tokio::test]
    async fn one_of_two_servers_compacts_to_the_last_interval() {
        let store = MemoryStore::new();
        let first = write(&store).await;
        let mut one = next(&store, None).await.unwrap();
        let mut two = next(&store, None).await.unwrap();
        assert_eq!(store.compacted_revision().await.unwrap(), 0, "the first look compacts nothing");
        write(&store).await;
        one = next(&store, Some(one)).await.unwrap();
        assert_eq!(store.compacted_revision().await.unwrap(), first);
        let seen = one.revision;
        two = next(&store, Some(two)).await.unwrap();
        assert_eq!(two, Turn { key: one.key, revision: seen }, "the second server lost its turn");
        assert_eq!(store.compacted_revision().await.unwrap(), first);
        write(&store).await;
        next(&store, Some(two)).await.unwrap();
        assert_eq!(store.compacted_revision().await.unwrap(), seen);
    }

    #[tokio::test(start_paused = true)]
    async fn compaction_goes_on_after_failures() {
        let store = MemoryStore::new();
        let shutdown = Shutdown::new();
        let first = write(&store).await;
        let task = gantry_common::task::spawn("compactor", run(Arc::new(store.clone()), INTERVAL, shutdown.clone()));
        store.faults().fail_next(2);
        tokio::time::sleep(INTERVAL * 4).await;
        assert!(store.compacted_revision().await.unwrap() >= first);
        shutdown.trigger();
        task.await.unwrap();
    }
}
