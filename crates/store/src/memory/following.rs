//! A watch of the in-memory store: a cursor into its log.

use std::time::Duration;

use futures::Stream;
use futures::stream;
use tokio::sync::watch;
use tokio::time::Instant;

use super::MemoryStore;
use crate::error::{Error, Result};
use crate::store::{Previous, WatchBatch};

/// Revisions merged into one batch at most, so that batches of several revisions occur as with etcd.
const MERGED: usize = 16;

struct Cursor {
    store: MemoryStore,
    prefix: String,
    previous: Previous,
    next: u64,
    changes: watch::Receiver<u64>,
    drops: watch::Receiver<u64>,
    ended: bool,
}

pub(super) fn run(
    store: MemoryStore,
    prefix: String,
    from: u64,
    previous: Previous,
) -> impl Stream<Item = Result<WatchBatch>> + Send {
    let changes = store.shared.revision.subscribe();
    let drops = store.shared.faults.drops();
    let next = if from == 0 { store.with(|state| state.revision()) + 1 } else { from };
    let cursor = Cursor { store, prefix, previous, next, changes, drops, ended: false };
    stream::unfold(cursor, |mut cursor| async move {
        if cursor.ended {
            return None;
        }
        let item = cursor.advance().await;
        cursor.ended = item.is_err();
        Some((item, cursor))
    })
}

impl Cursor {
    async fn advance(&mut self) -> Result<WatchBatch> {
        loop {
            self.changes.mark_unchanged();
            if let Some(batch) = self.read()? {
                return Ok(batch);
            }
            let expiry = self.store.with(|state| state.next_expiry());
            let expiry = expiry.unwrap_or_else(|| Instant::now() + Duration::from_secs(3_600));
            tokio::select! {
                _ = self.changes.changed() => {}
                _ = self.drops.changed() => {
                    return Err(Error::Unavailable { doing: "watching", source: "the watch was dropped on purpose".into() });
                }
                () = tokio::time::sleep_until(expiry) => {}
            }
        }
    }

    /// What is there now for this prefix.
    fn read(&mut self) -> Result<Option<WatchBatch>> {
        if self.store.shared.faults.is_silent() {
            return Ok(None);
        }
        if self.drops.has_changed().unwrap_or(false) {
            self.drops.mark_unchanged();
            return Err(Error::Unavailable { doing: "watching", source: "the watch was dropped on purpose".into() });
        }
        loop {
            let next = self.next;
            let batches = self.store.with(|state| state.events(next, MERGED))?;
            let Some(last) = batches.last() else { return Ok(None) };
            self.next = last.revision + 1;
            let events = batches.into_iter().flat_map(|batch| batch.events);
            let mut events: Vec<_> = events.filter(|event| event.kv.key.starts_with(&self.prefix)).collect();
            if self.previous == Previous::Omit {
                events.iter_mut().for_each(|event| event.prev = None);
            }
            if let Some(last) = events.last() {
                return Ok(Some(WatchBatch { revision: last.kv.mod_revision, events }));
            }
        }
    }
}
