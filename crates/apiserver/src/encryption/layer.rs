//! The store as the API server sees it: plain values, and keys under `/registry` whatever etcd's prefix is.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use gantry_store::{
    Compare, Error, EventKind, KeyValue, LeaseId, Op, Previous, Range, RangeResult, Result, Store, StoreEvent,
    StoreStatus, Txn, TxnOutcome, WatchStream, compact,
};

use super::Keyring;

/// What the API server's own keys start with.
const OURS: &str = "/registry/";
/// Keys of others, which only count as revisions, are moved out of the way under this.
const FOREIGN: &str = "\u{1}foreign/";

/// How keys and values are changed on their way.
#[derive(Clone)]
struct Shape {
    /// etcd's prefix with its final slash; `None`: the API server's own.
    prefix: Option<Arc<str>>,
    keyring: Option<Arc<Keyring>>,
}

/// A store with encryption, another prefix, or both.
pub(crate) struct Layered {
    inner: Arc<dyn Store>,
    shape: Shape,
}

/// Puts the layer over a store if it has anything to do. `prefix` is that of `--etcd-prefix`.
pub(crate) fn over(inner: Arc<dyn Store>, prefix: &str, keyring: Option<Arc<Keyring>>) -> Arc<dyn Store> {
    let prefix = format!("/{}/", prefix.trim_matches('/'));
    let prefix = (prefix != OURS).then(|| Arc::from(prefix));
    if prefix.is_none() && keyring.is_none() {
        return inner;
    }
    Arc::new(Layered { inner, shape: Shape { prefix, keyring } })
}

impl Shape {
    /// The key in etcd.
    fn outward(&self, key: String) -> String {
        match (&self.prefix, key.strip_prefix(OURS)) {
            (Some(prefix), Some(rest)) => format!("{prefix}{rest}"),
            _ => key,
        }
    }

    /// The key as the API server knows it.
    fn inward(&self, key: String) -> String {
        let Some(prefix) = &self.prefix else { return key };
        match key.strip_prefix(&**prefix) {
            // It lies outside of every prefix.
            None if key == compact::KEY => key,
            Some(rest) => format!("{OURS}{rest}"),
            None => format!("{FOREIGN}{key}"),
        }
    }

    /// A key and its value on their way in.
    async fn read(&self, mut kv: KeyValue, with_value: bool) -> KeyValue {
        let place = kv.key.clone();
        kv.key = self.inward(kv.key);
        if let Some(keyring) = self.keyring.as_ref().filter(|_| with_value) {
            let key = std::mem::take(&mut kv.key);
            match keyring.prepare(&kv.value, &key).await {
                Ok(()) => keyring.open(&mut kv, &key, place.as_bytes()),
                Err(reason) => super::withhold(&mut kv, &reason),
            }
            kv.key = key;
        }
        kv
    }

    fn compare(&self, compare: Compare) -> Compare {
        match compare {
            Compare::Absent(key) => Compare::Absent(self.outward(key)),
            Compare::Exists(key) => Compare::Exists(self.outward(key)),
            Compare::ModRevision { key, revision } => Compare::ModRevision { key: self.outward(key), revision },
        }
    }

    fn op(&self, op: Op) -> Result<Op> {
        match op {
            Op::Put { key, value, lease } => {
                let place = self.outward(key.clone());
                let value = match &self.keyring {
                    Some(keyring) => keyring.seal(&key, place.as_bytes(), value).map_err(not_sealed)?,
                    None => value,
                };
                Ok(Op::Put { key: place, value, lease })
            }
            Op::Delete { key } => Ok(Op::Delete { key: self.outward(key) }),
        }
    }

    fn txn(&self, txn: Txn) -> Result<Txn> {
        Ok(Txn {
            compares: txn.compares.into_iter().map(|compare| self.compare(compare)).collect(),
            ops: txn.ops.into_iter().map(|op| self.op(op)).collect::<Result<_>>()?,
            read_on_conflict: txn.read_on_conflict.into_iter().map(|key| self.outward(key)).collect(),
        })
    }

    async fn event(&self, event: StoreEvent) -> StoreEvent {
        let prev = match event.prev {
            Some(kv) => Some(self.read(kv, true).await),
            None => None,
        };
        StoreEvent { kind: event.kind, kv: self.read(event.kv, event.kind == EventKind::Put).await, prev }
    }
}

fn not_sealed(detail: String) -> Error {
    Error::Invalid { doing: "encrypting a value", detail }
}

#[async_trait::async_trait]
impl Store for Layered {
    async fn get(&self, key: &str) -> Result<Option<KeyValue>> {
        match self.inner.get(&self.shape.outward(key.to_owned())).await? {
            Some(kv) => Ok(Some(self.shape.read(kv, true).await)),
            None => Ok(None),
        }
    }

    async fn range(&self, mut range: Range) -> Result<RangeResult> {
        let with_values = !range.keys_only && !range.count_only;
        range.prefix = self.shape.outward(range.prefix);
        range.after = range.after.map(|after| self.shape.outward(after));
        let mut result = self.inner.range(range).await?;
        let found = std::mem::take(&mut result.kvs);
        result.kvs.reserve(found.len());
        for kv in found {
            result.kvs.push(self.shape.read(kv, with_values).await);
        }
        Ok(result)
    }

    async fn txn(&self, txn: Txn) -> Result<TxnOutcome> {
        match self.inner.txn(self.shape.txn(txn)?).await? {
            TxnOutcome::Conflict { revision, current } => {
                let mut read = Vec::with_capacity(current.len());
                for kv in current {
                    read.push(match kv {
                        Some(kv) => Some(self.shape.read(kv, true).await),
                        None => None,
                    });
                }
                Ok(TxnOutcome::Conflict { revision, current: read })
            }
            committed => Ok(committed),
        }
    }

    async fn watch(&self, prefix: &str, from: u64, previous: Previous) -> Result<WatchStream> {
        let stream = self.inner.watch(&self.shape.outward(prefix.to_owned()), from, previous).await?;
        let shape = self.shape.clone();
        let opened = stream.then(move |batch| {
            let shape = shape.clone();
            async move {
                let mut batch = batch?;
                let events = std::mem::take(&mut batch.events);
                batch.events.reserve(events.len());
                for event in events {
                    batch.events.push(shape.event(event).await);
                }
                Ok(batch)
            }
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
