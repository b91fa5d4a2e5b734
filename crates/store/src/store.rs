//! The `Store` trait: what the API server needs from etcd, and nothing more.
//!
//! Keys are UTF-8 strings, values are opaque bytes, revisions are etcd's: one counter for the whole key space that each
//! committed transaction raises by one. `EtcdStore` and `MemoryStore` pass the same `conformance` suite.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;

use crate::error::{Error, Result};

/// The id of a lease; never 0.
pub type LeaseId = i64;

/// One key with its value, as of some revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    /// The full key, e.g. `/registry/pods/default/web`.
    pub key: String,
    /// The stored bytes; empty where the request asked for keys only.
    pub value: Bytes,
    /// The revision at which this incarnation of the key was created.
    pub create_revision: u64,
    /// The revision of the last write: the object's resourceVersion.
    pub mod_revision: u64,
    /// Writes since creation, counted from 1.
    pub version: u64,
    /// The lease that will delete the key, 0 = none.
    pub lease: LeaseId,
    /// How the value was stored.
    pub form: Form,
}

/// How a value was stored, as the layer that decrypts it found it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// As it would be written now.
    #[default]
    Current,
    /// In a form (another key, another provider) that the next write replaces, even if it changes nothing else.
    Stale,
    /// In a form that cannot be read, and why. The value is empty, and must not be overwritten.
    Unreadable(Arc<str>),
}

/// Which keys to read. Built with [`Range::prefix`] and the methods below.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Range {
    /// All keys that start with this; "" = the whole key space.
    pub prefix: String,
    /// Start after this key (exclusive).
    pub after: Option<String>,
    /// At most this many keys; 0 = all (read in pages of one revision).
    pub limit: usize,
    /// Read the state as of this revision; 0 = the present.
    pub revision: u64,
    /// Leave the values empty.
    pub keys_only: bool,
    /// Only count: no keys at all.
    pub count_only: bool,
}

impl Range {
    /// Everything under `prefix`, now.
    pub fn prefix(prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), ..Self::default() }
    }

    /// Starts after `key`.
    #[must_use]
    pub fn after(mut self, key: impl Into<String>) -> Self {
        self.after = Some(key.into());
        self
    }

    /// Reads at most `limit` keys; 0 = all.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }

    /// Reads the state as of `revision`; 0 = now.
    #[must_use]
    pub fn at(mut self, revision: u64) -> Self {
        self.revision = revision;
        self
    }

    /// Leaves the values empty.
    #[must_use]
    pub fn keys_only(mut self) -> Self {
        self.keys_only = true;
        self
    }

    /// Counts only.
    #[must_use]
    pub fn count_only(mut self) -> Self {
        self.count_only = true;
        self
    }
}

/// The answer to a [`Range`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeResult {
    /// The revision of the state that was read (the one asked for, or the present one).
    pub revision: u64,
    /// The keys in byte order.
    pub kvs: Vec<KeyValue>,
    /// Whether keys after the last one exist that `limit` cut off.
    pub more: bool,
    /// How many keys there are in the range from `after` on, cut off or not.
    pub count: u64,
}

/// A condition of a [`Txn`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compare {
    /// The key does not exist.
    Absent(String),
    /// The key exists, whatever its value.
    Exists(String),
    /// The key's last write was at this revision.
    ModRevision {
        /// The key.
        key: String,
        /// Its expected `mod_revision`.
        revision: u64,
    },
}

impl Compare {
    /// The key compared.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Absent(key) | Self::Exists(key) | Self::ModRevision { key, .. } => key,
        }
    }
}

/// A change made by a [`Txn`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Writes the value; `lease` 0 = none.
    Put {
        /// The key.
        key: String,
        /// The new value.
        value: Bytes,
        /// The lease that deletes the key when it ends; 0 = none.
        lease: LeaseId,
    },
    /// Deletes the key; nothing happens when it does not exist.
    Delete {
        /// The key.
        key: String,
    },
}

impl Op {
    /// The key changed.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }
}

/// "If all of these hold, make all of these changes, else tell me what is there": one round trip, one fsync.
///
/// A key may be changed once per transaction. Two keys of one resource must not be changed by one transaction (their
/// events would share a resourceVersion).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Txn {
    /// All must hold.
    pub compares: Vec<Compare>,
    /// Made together.
    pub ops: Vec<Op>,
    /// Keys to read, beside the compared ones, when a condition does not hold.
    pub read_on_conflict: Vec<String>,
}

impl Txn {
    /// An empty transaction.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates `key`: fails when it exists.
    pub fn create(key: impl Into<String>, value: Bytes) -> Self {
        let key = key.into();
        Self::new().if_absent(key.clone()).put(key, value)
    }

    /// Replaces `key` if its last write was at `revision`.
    pub fn update(key: impl Into<String>, revision: u64, value: Bytes) -> Self {
        let key = key.into();
        Self::new().if_unchanged(key.clone(), revision).put(key, value)
    }

    /// Deletes `key` if its last write was at `revision`.
    pub fn remove(key: impl Into<String>, revision: u64) -> Self {
        let key = key.into();
        Self::new().if_unchanged(key.clone(), revision).delete(key)
    }

    /// Adds the condition that `key` does not exist.
    #[must_use]
    pub fn if_absent(mut self, key: impl Into<String>) -> Self {
        self.compares.push(Compare::Absent(key.into()));
        self
    }

    /// Adds the condition that `key` exists.
    #[must_use]
    pub fn if_exists(mut self, key: impl Into<String>) -> Self {
        self.compares.push(Compare::Exists(key.into()));
        self
    }

    /// Adds the condition that the last write of `key` was at `revision`; 0 = it does not exist.
    #[must_use]
    pub fn if_unchanged(mut self, key: impl Into<String>, revision: u64) -> Self {
        let key = key.into();
        self.compares.push(match revision {
            0 => Compare::Absent(key),
            _ => Compare::ModRevision { key, revision },
        });
        self
    }

    /// Adds a write.
    #[must_use]
    pub fn put(self, key: impl Into<String>, value: Bytes) -> Self {
        self.put_with_lease(key, value, 0)
    }

    /// Adds a write that `lease` deletes when it ends; 0 = no lease.
    #[must_use]
    pub fn put_with_lease(mut self, key: impl Into<String>, value: Bytes, lease: LeaseId) -> Self {
        self.ops.push(Op::Put { key: key.into(), value, lease });
        self
    }

    /// Adds a deletion.
    #[must_use]
    pub fn delete(mut self, key: impl Into<String>) -> Self {
        self.ops.push(Op::Delete { key: key.into() });
        self
    }

    /// Also reads `key` when a condition does not hold.
    #[must_use]
    pub fn read_on_conflict(mut self, key: impl Into<String>) -> Self {
        self.read_on_conflict.push(key.into());
        self
    }
}

/// How a [`Txn`] ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TxnOutcome {
    /// Durable. Every key put has this `mod_revision`.
    Committed {
        /// The transaction's revision; the present one where the transaction changed nothing.
        revision: u64,
    },
    /// A condition did not hold; nothing was changed.
    Conflict {
        /// The revision at which the conditions were checked.
        revision: u64,
        /// What is there: the compared keys in order, then `read_on_conflict`; None = no such key.
        current: Vec<Option<KeyValue>>,
    },
}

/// What happened to a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// Created or changed.
    Put,
    /// Deleted, by a request or by its lease's end.
    Delete,
}

/// One change of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreEvent {
    /// What happened.
    pub kind: EventKind,
    /// The key after the change. For a deletion only `key` and `mod_revision` (the revision of the deletion) are set.
    pub kv: KeyValue,
    /// The key before the change; None = it did not exist, that state has been compacted, or it was not asked for.
    pub prev: Option<KeyValue>,
}

/// Whether a watch tells the state before each change. It costs the store a read per event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Previous {
    /// [`StoreEvent::prev`] is filled in.
    Include,
    /// [`StoreEvent::prev`] is None: the watcher knows what was there.
    Omit,
}

/// Changes in revision order. A batch is never cut inside a revision: all events of its last revision are in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchBatch {
    /// The revision of the last event.
    pub revision: u64,
    /// The events; never empty.
    pub events: Vec<StoreEvent>,
}

/// A running watch; ends after the first error.
pub type WatchStream = BoxStream<'static, Result<WatchBatch>>;

/// How the store is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreStatus {
    /// The server's version, e.g. "3.4.23".
    pub version: String,
    /// Size of its database.
    pub database_bytes: u64,
    /// The id of the member that leads, 0 = none.
    pub leader: u64,
    /// The store's present revision.
    pub revision: u64,
}

/// Storage with etcd's semantics.
///
/// Every call has a deadline and is linearisable unless it says otherwise. A dropped future cancels the call; whether a
/// write was made is then unknown.
#[async_trait::async_trait]
pub trait Store: Send + Sync + 'static {
    /// Reads one key.
    ///
    /// # Errors
    /// `Unavailable`, `Timeout`.
    async fn get(&self, key: &str) -> Result<Option<KeyValue>>;

    /// Reads keys in byte order.
    ///
    /// # Errors
    /// `Compacted`, `FutureRevision`, `Unavailable`, `Timeout`.
    async fn range(&self, range: Range) -> Result<RangeResult>;

    /// Commits a transaction. Calls run concurrently: the caller need not wait for one to start the next.
    ///
    /// # Errors
    /// `TooLarge`, `Invalid`, `LeaseNotFound`, `NoSpace`: nothing was written. `Unavailable`, `Timeout`: unknown.
    async fn txn(&self, txn: Txn) -> Result<TxnOutcome>;

    /// Follows all changes of keys under `prefix` ("" = all keys) from revision `from` (inclusive; 0 = from now).
    ///
    /// # Errors
    /// `Unavailable`, `Timeout`. `Compacted` may come as an error here or as the stream's first item.
    async fn watch(&self, prefix: &str, from: u64, previous: Previous) -> Result<WatchStream>;

    /// Forgets the states before `revision`, which stays readable.
    ///
    /// # Errors
    /// `Compacted` when that has been done already, `FutureRevision`, `Unavailable`, `Timeout`.
    async fn compact(&self, revision: u64) -> Result<()>;

    /// The present revision (linearisable: at least that of any write acknowledged before the call).
    ///
    /// # Errors
    /// `Unavailable`, `Timeout`.
    async fn revision(&self) -> Result<u64>;

    /// Makes a lease that ends `ttl` (whole seconds, at least 1) after its last keep-alive.
    ///
    /// # Errors
    /// `Unavailable`, `Timeout`.
    async fn lease_grant(&self, ttl: Duration) -> Result<LeaseId>;

    /// Renews a lease; returns its time to live.
    ///
    /// # Errors
    /// `LeaseNotFound`, `Unavailable`, `Timeout`.
    async fn lease_keep_alive(&self, lease: LeaseId) -> Result<Duration>;

    /// Ends a lease now and deletes its keys.
    ///
    /// # Errors
    /// `LeaseNotFound`, `Unavailable`, `Timeout`.
    async fn lease_revoke(&self, lease: LeaseId) -> Result<()>;

    /// How the store is; not linearisable.
    ///
    /// # Errors
    /// `Unavailable`, `Timeout`.
    async fn status(&self) -> Result<StoreStatus>;

    /// The revision of the last compaction, 0 = never compacted: found by bisection, about 20 tiny reads.
    ///
    /// # Errors
    /// `Unavailable`, `Timeout`.
    async fn compacted_revision(&self) -> Result<u64> {
        let readable = async |revision: u64| -> Result<bool> {
            let probe = Range::prefix("\u{1}no-such-key").count_only().at(revision);
            match self.range(probe).await {
                Ok(_) => Ok(true),
                Err(Error::Compacted { .. }) => Ok(false),
                Err(error) => Err(error),
            }
        };
        let (mut low, mut high) = (0, self.revision().await?); // low: not readable (or 0); high: readable
        if readable(1).await? {
            return Ok(0);
        }
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if readable(middle).await? { high = middle } else { low = middle }
        }
        Ok(high)
    }
}
