//! The watch cache on a real etcd: its restart, and compaction while it was away.

use std::sync::Arc;

use bytes::Bytes;
use gantry_common::{shutdown::Shutdown, task};
use gantry_store::cache::{Cache, Config, JsonAsIs, Scope, Subscription, ViewSpec};
use gantry_store::testing::Etcd;
use gantry_store::{EtcdConfig, EtcdStore, Store, Txn, TxnOutcome};

const PREFIX: &str = "/registry/configmaps/";

async fn put(store: &Arc<dyn Store>, name: &str) -> u64 {
    let value = format!(r#"{{"metadata":{{"name":"{name}","namespace":"a"}}}}"#);
    let txn = Txn::new().put(format!("{PREFIX}a/{name}"), Bytes::from(value));
    // A write whose answer was lost with etcd is made again.
    loop {
        match store.txn(txn.clone()).await {
            Ok(TxnOutcome::Committed { revision }) => return revision,
            Ok(conflict) => panic!("{conflict:?}"),
            Err(error) => assert!(error.is_transient(), "{error}"),
        }
    }
}

async fn start(store: &Arc<dyn Store>, shutdown: &Shutdown) -> Cache {
    let views = vec![ViewSpec::new(PREFIX)];
    let (cache, driver) = Cache::new(Config::default(), store.clone(), Arc::new(JsonAsIs), views);
    task::spawn("driver", driver.run(shutdown.clone()));
    cache.ready().await;
    cache
}

async fn next(watch: &mut Subscription) -> (u64, String) {
    let event = watch.next().await.expect("the watch goes on");
    (event.revision, event.object.meta().name.to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_when_etcd_restarts() {
    let mut etcd = Etcd::start().expect("etcd starts");
    let store: Arc<dyn Store> =
        Arc::new(EtcdStore::connect(&EtcdConfig::new(vec![etcd.url()])).await.expect("a usable configuration"));
    let shutdown = Shutdown::new();
    let cache = start(&store, &shutdown).await;
    let view = cache.view(PREFIX).expect("it was given");
    let mut watch = view.watch(cache.revision(), Scope::All).await.expect("watch");
    let first = put(&store, "first").await;
    assert_eq!(next(&mut watch).await, (first, "first".to_owned()));
    let etcd = tokio::task::spawn_blocking(move || etcd.restart().map(|()| etcd)).await;
    let _etcd = etcd.expect("no panic").expect("etcd starts again");
    let second = put(&store, "second").await;
    assert_eq!(next(&mut watch).await, (second, "second".to_owned()));
    assert!(cache.consistent().await.expect("the cache follows again") >= second);
    assert_eq!(cache.counters().lists(), 1, "the watch was resumed");
    shutdown.trigger();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_cache_has_the_history_since_the_last_compaction() {
    let etcd = Etcd::start().expect("etcd starts");
    let store: Arc<dyn Store> =
        Arc::new(EtcdStore::connect(&EtcdConfig::new(vec![etcd.url()])).await.expect("a usable configuration"));
    let mut revisions = Vec::new();
    for number in 0..40 {
        revisions.push(put(&store, &format!("m{}", number % 5)).await);
    }
    store.compact(revisions[19]).await.expect("compact");
    let shutdown = Shutdown::new();
    let cache = start(&store, &shutdown).await;
    let view = cache.view(PREFIX).expect("it was given");
    assert_eq!((view.oldest_revision(), view.len()), (revisions[19], 5));
    let mut watch = view.watch(revisions[19], Scope::All).await.expect("watch");
    for revision in &revisions[20..] {
        assert_eq!(next(&mut watch).await.0, *revision);
    }
    let old = view.snapshot_at(revisions[25]).expect("it is in the history");
    assert_eq!(old.list(None, None).map(|object| object.rv()).max(), Some(revisions[25]));
    shutdown.trigger();
}
