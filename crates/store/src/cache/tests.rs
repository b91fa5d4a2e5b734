use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gantry_common::shutdown::Shutdown;
use gantry_common::task;

use super::*;
use crate::memory::MemoryStore;
use crate::store::{Store, Txn, TxnOutcome};

mod faults;
mod random;
mod reads;
mod sealed;
mod views;
mod watches;
mod writing;

const PODS: &str = "/registry/pods/";
const NODES: &str = "/registry/minions/";
/// Index 0 of pods.
const BY_NODE: usize = 0;

/// A store, a cache that follows it, and the means to stop.
struct World {
    store: MemoryStore,
    cache: Cache,
    shutdown: Shutdown,
}

fn by_node(pod: &Encoded) -> Option<Box<str>> {
    pod.scalar_at(&["spec", "nodeName"]).map(|node| node.as_ref().into())
}

impl World {
    async fn start(store: MemoryStore, config: Config) -> Self {
        let seen = Arc::new(store.clone());
        Self::start_over(store, seen, config).await
    }

    /// As [`World::start`], with a cache that sees the store through another.
    async fn start_over(store: MemoryStore, seen: Arc<dyn Store>, config: Config) -> Self {
        let views = vec![ViewSpec::new(PODS).index(by_node), ViewSpec::new(NODES)];
        let (cache, driver) = Cache::new(config, seen, Arc::new(JsonAsIs), views);
        let shutdown = Shutdown::new();
        task::spawn("driver", driver.run(shutdown.clone()));
        cache.ready().await;
        Self { store, cache, shutdown }
    }

    async fn new() -> Self {
        Self::start(MemoryStore::new(), Config::default()).await
    }

    fn pods(&self) -> View {
        self.cache.view(PODS).unwrap()
    }

    async fn put(&self, key: &str, node: &str) -> u64 {
        put(&self.store, key, node).await
    }

    async fn delete(&self, key: &str) -> u64 {
        commit(&self.store, Txn::new().delete(format!("{PODS}{key}"))).await
    }

    async fn watch(&self, from: u64, scope: Scope) -> Subscription {
        self.pods().watch(from, scope).await.unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}

async fn commit(store: &MemoryStore, txn: Txn) -> u64 {
    match store.txn(txn).await.unwrap() {
        TxnOutcome::Committed { revision } => revision,
        TxnOutcome::Conflict { current, .. } => panic!("{current:?}"),
    }
}

/// Writes pod `namespace/name` on a node ("" = none).
async fn put(store: &MemoryStore, key: &str, node: &str) -> u64 {
    commit(store, Txn::new().put(format!("{PODS}{key}"), pod(key, node))).await
}

fn pod(key: &str, node: &str) -> Bytes {
    let (namespace, name) = key.split_once('/').unwrap();
    let spec = if node.is_empty() { String::new() } else { format!(r#""nodeName":"{node}""#) };
    let metadata = format!(r#""labels":{{"app":"{name}"}},"name":"{name}","namespace":"{namespace}","uid":"u""#);
    Bytes::from(format!(r#"{{"apiVersion":"v1","kind":"Pod","metadata":{{{metadata}}},"spec":{{{spec}}}}}"#))
}

/// An event as text: "+ns/name@7", "~..", "-..".
fn told(event: &Event) -> String {
    let sign = match event.change {
        Change::Added => '+',
        Change::Modified => '~',
        Change::Deleted => '-',
    };
    format!("{sign}{}@{}", event.object.key().strip_prefix(PODS).unwrap(), event.revision)
}

async fn next(watch: &mut Subscription) -> String {
    told(&watch.next().await.unwrap())
}

fn scope_of(namespace: &str) -> Scope {
    Scope::Namespace(namespace.into())
}
