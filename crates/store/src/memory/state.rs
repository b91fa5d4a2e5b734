//! The data of the in-memory store: every key with all its versions since the last compaction.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::error::{Error, Result};
use crate::store::{
    Compare, EventKind, Form, KeyValue, LeaseId, Op, Range, RangeResult, StoreEvent, Txn, TxnOutcome, WatchBatch,
};

/// etcd's defaults (`--max-txn-ops`, `--max-request-bytes`).
const MAX_OPS: usize = 128;
const MAX_REQUEST_BYTES: usize = 1_572_864;
const DOING: &str = "committing a transaction";

pub(super) struct State {
    revision: u64,
    compacted: u64,
    /// Versions in order; a version with revision but without `kv` is a deletion.
    keys: BTreeMap<String, Vec<Version>>,
    /// One batch per revision after `compacted`.
    log: VecDeque<WatchBatch>,
    leases: BTreeMap<LeaseId, Lease>,
    next_lease: LeaseId,
}

struct Version {
    revision: u64,
    kv: Option<KeyValue>,
}

struct Lease {
    ttl: Duration,
    ends: Instant,
    keys: BTreeSet<String>,
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            revision: 1,
            compacted: 0,
            keys: BTreeMap::new(),
            log: VecDeque::new(),
            leases: BTreeMap::new(),
            next_lease: 1,
        }
    }

    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    pub(super) fn size_bytes(&self) -> u64 {
        let kvs = self.keys.values().flatten().filter_map(|version| version.kv.as_ref());
        kvs.map(|kv| u64::try_from(kv.key.len() + kv.value.len()).unwrap_or(u64::MAX)).sum()
    }

    pub(super) fn get(&self, key: &str) -> Option<&KeyValue> {
        self.keys.get(key)?.last()?.kv.as_ref()
    }

    pub(super) fn range(&self, range: &Range) -> Result<RangeResult> {
        let at = self.readable(range.revision)?;
        let start = match &range.after {
            Some(after) if *after >= range.prefix => Bound::Excluded(after.as_str()),
            _ => Bound::Included(range.prefix.as_str()),
        };
        let mut result = RangeResult { revision: at, ..RangeResult::default() };
        for (key, versions) in self.keys.range::<str, _>((start, Bound::Unbounded)) {
            if !key.starts_with(&range.prefix) {
                break;
            }
            let as_of = versions.iter().rev().find(|version| version.revision <= at);
            let Some(kv) = as_of.and_then(|version| version.kv.as_ref()) else { continue };
            result.count += 1;
            if range.count_only {
                continue;
            }
            if range.limit > 0 && result.kvs.len() >= range.limit {
                result.more = true;
                continue;
            }
            let mut kv = kv.clone();
            if range.keys_only {
                kv.value = Bytes::new();
            }
            result.kvs.push(kv);
        }
        Ok(result)
    }

    fn readable(&self, revision: u64) -> Result<u64> {
        match revision {
            0 => Ok(self.revision),
            _ if revision < self.compacted => Err(Error::Compacted { requested: revision, oldest: self.compacted }),
            _ if revision > self.revision => Err(Error::FutureRevision { requested: revision, current: self.revision }),
            _ => Ok(revision),
        }
    }

    pub(super) fn txn(&mut self, txn: Txn) -> Result<TxnOutcome> {
        self.check(&txn)?;
        let holds = |compare: &Compare| match compare {
            Compare::Absent(key) => self.get(key).is_none(),
            Compare::Exists(key) => self.get(key).is_some(),
            Compare::ModRevision { key, revision } => self.get(key).is_some_and(|kv| kv.mod_revision == *revision),
        };
        if txn.compares.iter().all(holds) {
            return Ok(TxnOutcome::Committed { revision: self.commit(txn.ops) });
        }
        let keys = txn.compares.iter().map(Compare::key).chain(txn.read_on_conflict.iter().map(String::as_str));
        let current = keys.map(|key| self.get(key).cloned()).collect();
        Ok(TxnOutcome::Conflict { revision: self.revision, current })
    }

    fn check(&self, txn: &Txn) -> Result<()> {
        let invalid = |detail: &str| Err(Error::Invalid { doing: DOING, detail: detail.to_owned() });
        if txn.ops.len().max(txn.compares.len()) > MAX_OPS {
            return invalid("etcdserver: too many operations in txn request");
        }
        let keys: BTreeSet<&str> = txn.ops.iter().map(Op::key).collect();
        if keys.len() < txn.ops.len() {
            return invalid("etcdserver: duplicate key given in txn request");
        }
        let mut size = 0;
        for op in &txn.ops {
            let Op::Put { key, value, lease } = op else { continue };
            if key.is_empty() {
                return invalid("etcdserver: key is not provided");
            }
            if *lease != 0 && !self.leases.contains_key(lease) {
                return Err(Error::LeaseNotFound { id: *lease });
            }
            size += key.len() + value.len();
        }
        if size > MAX_REQUEST_BYTES {
            return Err(Error::TooLarge { doing: DOING, detail: "etcdserver: request is too large".to_owned() });
        }
        Ok(())
    }

    /// Makes the changes at the next revision, if they change anything.
    fn commit(&mut self, ops: Vec<Op>) -> u64 {
        let revision = self.revision + 1;
        let events: Vec<StoreEvent> = ops.into_iter().filter_map(|op| self.make(op, revision)).collect();
        if !events.is_empty() {
            self.revision = revision;
            self.log.push_back(WatchBatch { revision, events });
        }
        self.revision
    }

    fn make(&mut self, op: Op, revision: u64) -> Option<StoreEvent> {
        let prev = self.get(op.key()).cloned();
        if let Some(lease) = prev.as_ref().and_then(|prev| self.leases.get_mut(&prev.lease)) {
            lease.keys.remove(op.key());
        }
        let event = match op {
            Op::Put { key, value, lease } => {
                if let Some(lease) = self.leases.get_mut(&lease) {
                    lease.keys.insert(key.clone());
                }
                let create_revision = prev.as_ref().map_or(revision, |prev| prev.create_revision);
                let version = prev.as_ref().map_or(0, |prev| prev.version) + 1;
                let kv = KeyValue {
                    key,
                    value,
                    create_revision,
                    mod_revision: revision,
                    version,
                    lease,
                    form: Form::Current,
                };
                StoreEvent { kind: EventKind::Put, kv, prev }
            }
            Op::Delete { key } => {
                prev.as_ref()?;
                StoreEvent { kind: EventKind::Delete, kv: tombstone(key, revision), prev }
            }
        };
        let kv = (event.kind == EventKind::Put).then(|| event.kv.clone());
        self.keys.entry(event.kv.key.clone()).or_default().push(Version { revision, kv });
        Some(event)
    }

    pub(super) fn compact(&mut self, revision: u64) -> Result<()> {
        if revision <= self.compacted {
            return Err(Error::Compacted { requested: revision, oldest: self.compacted });
        }
        self.readable(revision)?;
        self.compacted = revision;
        self.log.retain(|batch| batch.revision >= revision);
        self.keys.retain(|_, versions| {
            let newest = versions.iter().rposition(|version| version.revision <= revision).unwrap_or(0);
            versions.drain(..newest);
            versions.len() > 1 || versions.first().is_some_and(|version| version.kv.is_some())
        });
        Ok(())
    }

    /// Up to `most` revisions from `from` on. The error is the compaction that hides them.
    pub(super) fn events(&self, from: u64, most: usize) -> Result<Vec<WatchBatch>> {
        if from < self.compacted {
            return Err(Error::Compacted { requested: from, oldest: self.compacted });
        }
        let start = self.log.partition_point(|batch| batch.revision < from);
        Ok(self.log.range(start..).take(most).cloned().collect())
    }

    pub(super) fn lease_grant(&mut self, ttl: Duration, now: Instant) -> LeaseId {
        let ttl = Duration::from_secs(ttl.as_secs().max(1));
        let id = self.next_lease;
        self.next_lease += 1;
        self.leases.insert(id, Lease { ttl, ends: now + ttl, keys: BTreeSet::new() });
        id
    }

    pub(super) fn lease_keep_alive(&mut self, id: LeaseId, now: Instant) -> Result<Duration> {
        let lease = self.leases.get_mut(&id).ok_or(Error::LeaseNotFound { id })?;
        lease.ends = now + lease.ttl;
        Ok(lease.ttl)
    }

    pub(super) fn lease_revoke(&mut self, id: LeaseId) -> Result<()> {
        let lease = self.leases.remove(&id).ok_or(Error::LeaseNotFound { id })?;
        self.commit(lease.keys.into_iter().map(|key| Op::Delete { key }).collect());
        Ok(())
    }

    /// Ends the leases whose time has come.
    pub(super) fn expire(&mut self, now: Instant) {
        let ended: Vec<LeaseId> =
            self.leases.iter().filter(|(_, lease)| lease.ends <= now).map(|(id, _)| *id).collect();
        for id in ended {
            self.lease_revoke(id).expect("the lease was just listed");
        }
    }

    /// When the next lease ends.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.leases.values().map(|lease| lease.ends).min()
    }

    pub(super) fn rewind(&mut self, revision: u64) {
        self.revision = revision;
        self.log.retain(|batch| batch.revision <= revision);
        self.keys.retain(|_, versions| {
            versions.retain(|version| version.revision <= revision);
            !versions.is_empty()
        });
    }
}

fn tombstone(key: String, revision: u64) -> KeyValue {
    KeyValue {
        key,
        value: Bytes::new(),
        create_revision: 0,
        mod_revision: revision,
        version: 0,
        lease: 0,
        form: Form::Current,
    }
}
