//! Distrust: is the watch alive, and does the cache hold what the store holds?
//!
//! The watch may be silent because nothing happens or because it is dead: asking for the store's revision tells which.
//! Seldom, all keys with their revisions are compared at one and the same revision.

use std::time::Duration;

use tokio::time::Instant;

use super::{Cache, Error, View};
use crate::store::{KeyValue, Range};

/// Keys read per call.
const PAGE_KEYS: usize = 10_000;

/// Never ends.
pub(crate) async fn run(cache: Cache) {
    cache.ready().await;
    let config = &cache.core.config;
    let mut compared = Instant::now();
    loop {
        tokio::time::sleep(config.probe_interval).await;
        if is_stuck(&cache).await {
            tracing::warn!(revision = cache.revision(), "the store watch is silent though the store moved on");
            cache.core.doubt.notify_one();
            continue;
        }
        if compared.elapsed() < config.check_interval {
            continue;
        }
        compared = Instant::now();
        match compare(&cache).await {
            Ok(0) => {}
            Ok(different) => {
                tracing::error!(objects = different, "the cache differs from the store; listing again");
                cache.core.counters.count_mismatches(different);
                cache.core.doubt.notify_one();
            }
            Err(error) => tracing::info!(error = gantry_common::error_chain(&error), "cache check put off"),
        }
    }
}

/// Whether no event came though the store's revision is ahead.
async fn is_stuck(cache: &Cache) -> bool {
    let before = cache.revision();
    let Ok(revision) = cache.consistent_revision().await else { return false };
    let patience = cache.core.config.wait.max(Duration::from_secs(10));
    let reached = tokio::time::timeout(patience, cache.wait_for(revision)).await;
    !matches!(reached, Ok(Ok(()))) && cache.revision() == before
}

/// How many keys differ between cache and store at one revision.
async fn compare(cache: &Cache) -> Result<usize, Error> {
    let revision = cache.consistent().await?;
    let mut different = 0;
    for view in cache.views() {
        different += compare_view(cache, &view, revision).await?;
    }
    Ok(different)
}

async fn compare_view(cache: &Cache, view: &View, revision: u64) -> Result<usize, Error> {
    let snapshot = view.snapshot_at(revision)?;
    let aside = view.undecodable();
    let is_aside = |key: &str| aside.iter().any(|what| what.key == key);
    let cached = snapshot.iter().map(|object| (object.key(), object.rv()));
    let cached: Vec<(&str, u64)> = cached.filter(|(key, _)| !is_aside(key)).collect();
    let mut cached = cached.into_iter().peekable();
    let mut different = 0;
    let mut range = Range::prefix(view.prefix()).keys_only().limit(PAGE_KEYS).at(revision);
    loop {
        let page = cache.core.store.range(range.clone()).await?;
        for kv in page.kvs.iter().filter(|kv| !is_aside(&kv.key)) {
            different += usize::from(!advance(&mut cached, kv));
        }
        let Some(last) = page.kvs.last().filter(|_| page.more) else { break };
        range.after = Some(last.key.clone());
    }
    Ok(different + cached.count())
}

/// Takes the cached key that matches `kv`; skips (as a difference) nothing that could match a later one.
fn advance<'a>(cached: &mut std::iter::Peekable<impl Iterator<Item = (&'a str, u64)>>, kv: &KeyValue) -> bool {
    let mut matched = true;
    while let Some((key, rv)) = cached.peek() {
        match (*key).cmp(kv.key.as_str()) {
            std::cmp::Ordering::Less => {
                cached.next();
                matched = false;
            }
            std::cmp::Ordering::Equal => {
                matched &= *rv == kv.mod_revision;
                cached.next();
                return matched;
            }
            std::cmp::Ordering::Greater => return false,
        }
    }
    false
}
