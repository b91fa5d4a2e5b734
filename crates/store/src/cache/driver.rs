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
use super::state::Prepared;
use super::{Cache, Slot, View, Views, check, reader, slot_of};
use crate::compact;
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
        cache.present().values().flat_map(Slot::each).for_each(View::close);
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
    let views = cache.present();
    let mut changes = read_all(cache, &views, revision).await?;
    for (prefix, slot) in &*views {
        let listed = changes.remove(prefix.as_str()).unwrap_or_else(|| slot.each().map(|_| Vec::new()).collect());
        let replaced = slot.each().zip(listed).map(|(view, listed)| view.replace(listed, revision));
        let different = replaced.max().unwrap_or(0);
        if core.is_ready() && different > 0 {
            tracing::warn!(prefix, objects = different, "objects changed while the store was not followed");
        }
    }
    core.forget_compaction();
    core.writing.listed();
    core.set_revision(revision);
    Ok(())
}

/// The content of each view of a slot.
type Content = Vec<Vec<Prepared>>;

/// Everything of the views as of `revision`, decoded. The store reads the next page while one is decoded.
async fn read_all<'v>(cache: &Cache, views: &'v Views, revision: u64) -> Result<BTreeMap<&'v str, Content>> {
    let mut changes: BTreeMap<&str, Content> = BTreeMap::new();
    let mut range = Range::prefix(cache.core.config.prefix.clone()).limit(PAGE_KEYS).at(revision);
    let mut waiting: Vec<KeyValue> = Vec::new();
    loop {
        let decode = async {
            for kv in waiting.drain(..) {
                let Some((prefix, slot)) = slot_of(views, &kv.key) else { continue };
                let content = changes.entry(prefix).or_insert_with(|| slot.each().map(|_| Vec::new()).collect());
                content.iter_mut().zip(slot.each()).for_each(|(list, view)| list.push(prepare_put(view, &kv)));
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
    let views = cache.present();
    let mut changes: BTreeMap<&str, (&Slot, Vec<&StoreEvent>)> = BTreeMap::new();
    for event in &batch.events {
        if let Some(revision) = compact::announced(event) {
            cache.core.set_compacted(revision);
        }
        let Some((prefix, slot)) = slot_of(&views, &event.kv.key) else { continue };
        changes.entry(prefix).or_insert_with(|| (slot, Vec::new())).1.push(event);
    }
    let prepared: Vec<(&View, Vec<Prepared>, u64)> = changes
        .into_values()
        .flat_map(|(slot, events)| slot.each().map(move |view| (view, events.clone())))
        .map(|(view, events)| {
            let revision = events.last().map_or(batch.revision, |event| event.kv.mod_revision);
            (view, events.into_iter().map(|event| prepare(view, event)).collect(), revision)
        })
        .collect();
    for (view, changes, revision) in prepared {
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

pub(crate) fn prepare_put(view: &View, kv: &KeyValue) -> Prepared {
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
