//! History that no key opens any more.

use std::sync::atomic::{AtomicBool, Ordering};

use futures::StreamExt;

use super::*;
use crate::Result;
use crate::store::{Form, KeyValue, LeaseId, Previous, Range, RangeResult, StoreStatus, WatchStream};

/// What pods on this node are sealed with goes away.
const OLD: &str = "old-key";

/// A store whose values of [`OLD`] cannot be read once it is `gone`.
struct Sealed {
    inner: MemoryStore,
    gone: Arc<AtomicBool>,
}

fn seen(mut kv: KeyValue, gone: &AtomicBool) -> KeyValue {
    if gone.load(Ordering::Relaxed) && String::from_utf8_lossy(&kv.value).contains(OLD) {
        (kv.value, kv.form) = (Bytes::new(), Form::Unreadable("no key opens it".into()));
    }
    kv
}

#[async_trait::async_trait]
impl Store for Sealed {
    async fn get(&self, key: &str) -> Result<Option<KeyValue>> {
        Ok(self.inner.get(key).await?.map(|kv| seen(kv, &self.gone)))
    }

    async fn range(&self, range: Range) -> Result<RangeResult> {
        let mut found = self.inner.range(range).await?;
        found.kvs = found.kvs.into_iter().map(|kv| seen(kv, &self.gone)).collect();
        Ok(found)
    }

    async fn txn(&self, txn: Txn) -> Result<TxnOutcome> {
        self.inner.txn(txn).await
    }

    async fn watch(&self, prefix: &str, from: u64, previous: Previous) -> Result<WatchStream> {
        let (stream, gone) = (self.inner.watch(prefix, from, previous).await?, self.gone.clone());
        let opened = stream.map(move |batch| {
            let mut batch = batch?;
            for event in &mut batch.events {
                event.kv = seen(event.kv.clone(), &gone);
                event.prev = event.prev.take().map(|kv| seen(kv, &gone));
            }
            Ok(batch)
        });
        Ok(opened.boxed())
    }

    async fn compact(&self, revision: u64) -> Result<()> {
        self.inner.compact(revision).await
    }

    async fn revision(&self) -> Result<u64> {
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

/// A world with a short history in which `act` happens, then much else, then the key goes. Also gives the revision before all.
async fn rotated(act: impl AsyncFnOnce(&World)) -> (World, u64) {
    let (store, gone) = (MemoryStore::new(), Arc::new(AtomicBool::new(false)));
    let sealed = Arc::new(Sealed { inner: store.clone(), gone: gone.clone() });
    let world = World::start_over(store, sealed, Config { history_events: 2, ..Config::default() }).await;
    let before = world.cache.consistent().await.unwrap();
    act(&world).await;
    for _ in 0..4 {
        world.put("b/1", "").await;
    }
    world.cache.consistent().await.unwrap();
    gone.store(true, Ordering::Relaxed);
    (world, before)
}

#[tokio::test(start_paused = true)]
async fn a_page_of_then_is_refused_where_a_value_cannot_be_read() {
    let (world, before) = rotated(async |world| {
        world.put("a/1", "").await;
        world.put("a/2", OLD).await;
        world.put("a/2", "").await;
        commit(&world.store, Txn::new().put(format!("{PODS}a/3"), Bytes::from("\0"))).await;
    })
    .await;
    assert!(world.pods().unreadable(None).is_none(), "the present can be read");
    let page = async |revision| world.pods().page_at(revision, Some("a"), None, 0).await.map(|page| page.items.len());
    let refused = page(before + 2).await;
    let key = format!("{PODS}a/2");
    assert!(matches!(&refused, Err(Error::Unreadable { key: named, .. }) if *named == key), "{refused:?}");
    assert_eq!(page(before + 1).await.unwrap(), 1);
    assert_eq!(page(before + 4).await.unwrap(), 2, "what makes no sense is left out, as everywhere");
}

#[tokio::test(start_paused = true)]
async fn a_watch_from_then_ends_where_a_value_cannot_be_read() {
    let (world, before) = rotated(async |world| {
        world.put("a/1", "").await;
        commit(&world.store, Txn::new().put("/registry/other", Bytes::from(OLD))).await;
        world.put("a/2", OLD).await;
        world.put("a/2", "").await;
    })
    .await;
    let mut watch = world.watch(before, Scope::All).await;
    let ended = watch.next().await.map(|event| told(&event));
    assert_eq!(ended, Err(WatchError::Expired { requested: before, oldest: before + 3 }));
}

#[tokio::test(start_paused = true)]
async fn a_watch_from_then_ends_where_the_object_of_a_deletion_cannot_be_read() {
    let (world, _) = rotated(async |world| {
        world.put("a/1", OLD).await;
        world.delete("a/1").await;
    })
    .await;
    let deleted = world.store.revision().await.unwrap() - 4;
    let mut watch = world.watch(deleted - 1, Scope::All).await;
    let ended = watch.next().await.map(|event| told(&event));
    assert_eq!(ended, Err(WatchError::Expired { requested: deleted - 1, oldest: deleted }));
}
