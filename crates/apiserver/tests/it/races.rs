//! Writes that meet another writer between their look at the store and their write, or whose answer gets lost.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use gantry_apiserver::testing::Builder;
use gantry_store::{
    Error, KeyValue, LeaseId, MemoryStore, Previous, Range, RangeResult, Result, Store, StoreStatus, Txn, TxnOutcome,
    WatchStream,
};
use serde_json::json;

use crate::support::Cluster;

const KEY: &str = "/registry/configmaps/default/a";
const ONE: &str = "/api/v1/namespaces/default/configmaps/a?fieldManager=m";

/// What another writer makes of what is there.
type Rewrite = Box<dyn Fn(&KeyValue) -> Option<Bytes> + Send>;

/// Writes of somebody else before one write are at most these: whoever never gives up must come through.
const INTERFERED_MAX: usize = 3;

/// A store in which another write of a key comes first, once or a few times, or the answer to a write of it gets lost.
pub(crate) struct Racing {
    inner: MemoryStore,
    key: &'static str,
    first: Mutex<Option<Txn>>,
    rewrite: Mutex<Option<Rewrite>>,
    interfered: AtomicUsize,
    loses: AtomicBool,
    refuses: AtomicBool,
}

impl Racing {
    pub(crate) fn about(key: &'static str) -> Arc<Self> {
        Arc::new(Self {
            inner: MemoryStore::new(),
            key,
            first: Mutex::default(),
            rewrite: Mutex::default(),
            interfered: AtomicUsize::default(),
            loses: AtomicBool::default(),
            refuses: AtomicBool::default(),
        })
    }

    /// Makes this write before the next one of the key.
    pub(crate) fn before(&self, txn: Txn) {
        *self.first.lock().expect("no test panics with the lock") = Some(txn);
    }

    /// Rewrites the key before writes of it.
    pub(crate) fn always(&self, rewrite: impl Fn(&KeyValue) -> Option<Bytes> + Send + 'static) {
        *self.rewrite.lock().expect("no test panics with the lock") = Some(Box::new(rewrite));
    }

    /// Loses the answer to the next write of the key.
    pub(crate) fn lose_next(&self) {
        self.loses.store(true, Ordering::SeqCst);
    }

    /// Refuses the next write of the key for good.
    pub(crate) fn refuse_next(&self) {
        self.refuses.store(true, Ordering::SeqCst);
    }

    /// How often somebody else wrote.
    pub(crate) fn interfered(&self) -> usize {
        self.interfered.load(Ordering::Relaxed)
    }

    async fn interfere(&self) -> Result<()> {
        let first = self.first.lock().expect("no test panics with the lock").take();
        if let Some(first) = first {
            self.inner.txn(first).await?;
        }
        if self.interfered() >= INTERFERED_MAX {
            return Ok(());
        }
        let Some(kv) = self.inner.get(self.key).await? else { return Ok(()) };
        let rewritten = self.rewrite.lock().expect("no test panics with the lock").as_ref().and_then(|make| make(&kv));
        if let Some(bytes) = rewritten {
            self.interfered.fetch_add(1, Ordering::Relaxed);
            self.inner.txn(Txn::new().put(self.key, bytes)).await?;
        }
        Ok(())
    }
}

#[async_trait::async_trait]
impl Store for Racing {
    async fn get(&self, key: &str) -> Result<Option<KeyValue>> {
        self.inner.get(key).await
    }

    async fn range(&self, range: Range) -> Result<RangeResult> {
        self.inner.range(range).await
    }

    async fn txn(&self, txn: Txn) -> Result<TxnOutcome> {
        if txn.ops.iter().any(|op| op.key() == self.key) {
            self.interfere().await?;
            if self.refuses.swap(false, Ordering::SeqCst) {
                return Err(Error::Invalid { doing: "committing a transaction", detail: "as asked for".to_owned() });
            }
            if self.loses.swap(false, Ordering::SeqCst) {
                self.inner.txn(txn).await?;
                return Err(Error::Timeout { doing: "committing a transaction", after: Duration::from_secs(1) });
            }
        }
        self.inner.txn(txn).await
    }

    async fn watch(&self, prefix: &str, from: u64, previous: Previous) -> Result<WatchStream> {
        self.inner.watch(prefix, from, previous).await
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

fn body(key: &str) -> String {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {key: "1"}}).to_string()
}

#[tokio::test]
async fn an_apply_goes_on_from_what_others_made_of_the_object() {
    let store = Racing::about(KEY);
    let cluster = Cluster::with(Builder::default().store(store.clone())).await;
    let before = |txn: Txn| store.before(txn);
    let apply = async |key: &str| {
        cluster.rest("PATCH", ONE, &[("content-type", "application/apply-patch+yaml")], &body(key)).await
    };
    let theirs = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "data": {"theirs": "1"},
        "metadata": {"name": "a", "namespace": "default", "uid": "u", "creationTimestamp": "2026-01-02T03:04:05Z"},
    });
    before(Txn::create(KEY, Bytes::from(theirs.to_string())));
    let merged = apply("x").await;
    assert_eq!(
        (merged.code, &merged.json()["data"]),
        (200, &json!({"theirs": "1", "x": "1"})),
        "it was created meanwhile"
    );
    before(Txn::new().delete(KEY));
    let created = apply("y").await;
    assert_eq!((created.code, &created.json()["data"]), (201, &json!({"y": "1"})), "it was deleted meanwhile");
}

#[tokio::test]
async fn a_write_of_unknown_outcome_is_made_once_and_asks_nobody_to_repeat_it() {
    let store = Racing::about(KEY);
    let cluster = Cluster::with(Builder::default().store(store.clone())).await;
    let finalizers = async || cluster.rest("GET", ONE, &[], "").await.json()["metadata"]["finalizers"].clone();
    let lost = async |method: &str, headers: &[(&str, &str)], body: &str| {
        store.lose_next();
        let answer = cluster.rest(method, ONE, headers, body).await;
        assert!(!store.loses.load(Ordering::SeqCst), "{method} wrote");
        assert_eq!((answer.code, answer.json()["reason"].as_str()), (504, Some("Timeout")), "{}", answer.text);
        assert!(!answer.headers.contains_key("retry-after"), "{method}: clients would send it again unseen");
        assert!(answer.json()["details"]["retryAfterSeconds"].is_null(), "{}", answer.text);
    };
    let mut object: serde_json::Value = serde_json::from_str(&body("x")).expect("JSON");
    object["metadata"]["finalizers"] = json!(["a.b/c"]);
    let maps = "/api/v1/namespaces/default/configmaps";
    assert_eq!(cluster.rest("POST", maps, &[], &object.to_string()).await.code, 201);
    let append = json!([{"op": "add", "path": "/metadata/finalizers/-", "value": "d.e/f"}]).to_string();
    lost("PATCH", &[("content-type", "application/json-patch+json")], &append).await;
    assert_eq!(finalizers().await, json!(["a.b/c", "d.e/f"]), "it was made, once");
    let free = json!({"metadata": {"finalizers": null}}).to_string();
    lost("PATCH", &[("content-type", "application/merge-patch+json")], &free).await;
    lost("DELETE", &[], "").await;
    assert_eq!(cluster.rest("GET", ONE, &[], "").await.code, 404);
}
