//! Keeps the cache equal to the store: list once, then follow one watch over the whole key space.
//!
//! A dropped watch resumes after the last revision applied. When that has been compacted, or when the store does not
//! seem to be the one that was followed (its revision went back), everything is listed again.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt;
use gantry_common::backoff::Backoff;
use gantry_common::shutdown::Shutdown;
use gantry_common::{error_chain, task};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::core::Question;
use super::view::Prepared;
use super::{Cache, View, check, reader};
use crate::error::{Error, Result};
use crate::store::{EventKind, KeyValue, Previous, Range, StoreEvent, WatchBatch};

/// Keys read per call while listing.
const PAGE_KEYS: usize = 1_500;
const BACKOFF_MIN: Duration = Duration::from_millis(20);
const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// Fills the cache and keeps it up to date while it runs.
pub struct Driver {
    cache: Cache,
    questions: mpsc::Receiver<Question>,
}

/// Why following the store stopped.
enum Stopped {
    /// List again.
    Doubt(&'static str),
    /// Resume.
    Failed(Error),
}

impl Driver {
    pub(crate) fn new(cache: Cache, questions: mpsc::Receiver<Question>) -> Self {
        Self { cache, questions }
    }

    /// Runs until shutdown; then every watch ends with `Closed`.
    pub async fn run(self, shutdown: Shutdown) {
        let Self { cache, questions } = self;
        let reader = task::spawn("store-revision-reader", reader::answer(cache.core.clone(), questions));
        let checker = task::spawn("store-cache-check", check::run(cache.clone()));
        tokio::select! {
            () = follow(&cache) => {}
            () = shutdown.requested() => {}
        }
        reader.abort();
        checker.abort();
        cache.core.closed.trigger();
        cache.views().for_each(View::close);
    }
}

/// Never ends.
async fn follow(cache: &Cache) {
    let mut backoff = Backoff::new(BACKOFF_MIN, BACKOFF_MAX);
    let mut listed = false;
    loop {
        let started = Instant::now();
        let stopped = match if listed { Ok(()) } else { list(cache).await } {
            Ok(()) => {
                listed = true;
                watch(cache).await
            }
            Err(error) => Stopped::Failed(error),
        };
        match stopped {
            Stopped::Doubt(reason) => {
                tracing::warn!(revision = cache.revision(), reason, "listing the store again");
                listed = false;
            }
            Stopped::Failed(error) => {
                tracing::warn!(revision = cache.revision(), error = error_chain(&error), "store watch interrupted");
                listed &= !error.is_compacted();
            }
        }
        if started.elapsed() > BACKOFF_MAX {
            backoff.reset();
        }
        tokio::time::sleep(backoff.next()).await;
    }
}

/// Replaces the cache's content by the state of one revision: at first one that lies back a little, so that the watch
/// that follows fills the history rings; later the present one.
async fn list(cache: &Cache) -> Result<()> {
    cache.core.counters.count_list();
    let core = &cache.core;
    let present = core.store.revision().await?;
    let revision = if core.is_ready() {
        present
    } else {
        let back = present.saturating_sub(core.config.startup_revisions).max(1);
        back.max(core.store.compacted_revision().await?)
    };
    let mut changes = read_all(cache, revision).await?;
    for view in cache.views() {
        let different = view.replace(changes.remove(view.prefix()).unwrap_or_default(), revision);
        if core.is_ready() && different > 0 {
            tracing::warn!(
                prefix = view.prefix(),
                objects = different,
                "objects changed while the store was not followed"
            );
        }
    }
    core.set_revision(revision);
    Ok(())
}

/// Everything of the views as of `revision`, decoded. The store reads the next page while one is decoded.
async fn read_all(cache: &Cache, revision: u64) -> Result<BTreeMap<&str, Vec<Prepared>>> {
    let mut changes: BTreeMap<&str, Vec<Prepared>> = BTreeMap::new();
    let mut range = Range::prefix(cache.core.config.prefix.clone()).limit(PAGE_KEYS).at(revision);
    let mut waiting: Vec<KeyValue> = Vec::new();
    loop {
        let decode = async {
            for kv in waiting.drain(..) {
                let Some(view) = cache.view_of(&kv.key) else { continue };
                changes.entry(view.prefix()).or_default().push(prepare_put(view, &kv));
            }
        };
        let (page, ()) = futures::join!(cache.core.store.range(range.clone()), decode);
        let page = page?;
        range.after = page.kvs.last().map(|kv| kv.key.clone());
        waiting = page.kvs;
        if waiting.is_empty() {
            return Ok(changes);
        }
    }
}

async fn watch(cache: &Cache) -> Stopped {
    let core = &cache.core;
    core.counters.count_watch_start();
    let from = core.revision() + 1;
    let present = match core.store.revision().await {
        Ok(present) => present,
        Err(error) => return Stopped::Failed(error),
    };
    if present + 1 < from {
        return Stopped::Doubt("the store's revision went back");
    }
    let mut stream = match core.store.watch("", from, Previous::Omit).await {
        Ok(stream) => stream,
        Err(error) => return Stopped::Failed(error),
    };
    if core.revision() >= present {
        core.set_ready();
    }
    loop {
        let next = tokio::select! {
            next = stream.next() => next,
            () = core.doubt.notified() => return Stopped::Doubt("cache and store may differ"),
        };
        let batch = match next {
            Some(Ok(batch)) => batch,
            Some(Err(error)) => return Stopped::Failed(error),
            None => return Stopped::Failed(Error::WatchEnded),
        };
        if !is_in_order(&batch, core.revision()) {
            return Stopped::Doubt("the watch's revisions are not in order");
        }
        apply(cache, &batch);
        if batch.revision >= present {
            core.set_ready();
        }
    }
}

fn is_in_order(batch: &WatchBatch, after: u64) -> bool {
    let revisions = batch.events.iter().map(|event| event.kv.mod_revision);
    batch.events.first().is_some_and(|event| event.kv.mod_revision > after)
        && revisions.is_sorted()
        && batch.events.last().is_some_and(|event| event.kv.mod_revision == batch.revision)
}

/// Decodes outside of any lock, then changes view after view, then raises the revision.
fn apply(cache: &Cache, batch: &WatchBatch) {
    let mut changes: BTreeMap<&str, (&View, Vec<Prepared>, u64)> = BTreeMap::new();
    for event in &batch.events {
        let Some(view) = cache.view_of(&event.kv.key) else { continue };
        let entry = changes.entry(view.prefix()).or_insert_with(|| (view, Vec::new(), 0));
        entry.1.push(prepare(view, event));
        entry.2 = event.kv.mod_revision;
    }
    for (view, changes, revision) in changes.into_values() {
        view.apply(changes, revision);
    }
    cache.core.counters.count_events(batch.events.len());
    cache.core.set_revision(batch.revision);
}

fn prepare(view: &View, event: &StoreEvent) -> Prepared {
    match event.kind {
        EventKind::Put => prepare_put(view, &event.kv),
        EventKind::Delete => Prepared::Delete { key: event.kv.key.clone(), revision: event.kv.mod_revision },
    }
}

fn prepare_put(view: &View, kv: &KeyValue) -> Prepared {
    match view.decode(kv) {
        Ok(object) => Prepared::Put(object),
        Err(what) => {
            tracing::error!(
                key = what.key,
                revision = what.mod_revision,
                reason = what.reason,
                "stored value cannot be served"
            );
            Prepared::Undecodable(what)
        }
    }
}
