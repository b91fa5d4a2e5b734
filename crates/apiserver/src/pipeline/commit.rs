//! One write as one transaction: the object, what must change with it, and the leader's fence.

use bytes::Bytes;
use gantry_api::status::Status;
use gantry_api::{Value, canon, value};
use gantry_store::{Error, KeyValue, Txn, TxnOutcome};

use super::current::{Current, write_failed};
use crate::admission::reservations;
use crate::app::App;
use crate::custom::convert;
use crate::event_leases::expires;
use crate::request::{Fence, Target, fence_key};

/// Leases with this annotation fence their holder.
const FENCED: &str = "gantry.dev/fenced";

/// The canonical bytes to store.
pub(crate) fn canonical(object: &Value) -> Bytes {
    Bytes::from(canon::encode(object))
}

/// Why a write failed, and what has become of it. Every failure before a transaction is a refusal, so a [`Status`] is one as it
/// comes; what happens after one says itself which it is.
#[derive(Debug)]
pub(crate) enum Failed {
    /// Nothing was written.
    Refused(Status),
    /// Nothing was written: it is more than the store takes.
    TooLarge(Status),
    /// It was written, or may have been, or may yet be.
    Open(Status),
}

impl Failed {
    /// Of a transaction that the store has not answered, or answered with an error.
    fn of(error: Error) -> Self {
        let wrap = match &error {
            open if open.leaves_outcome_open() => Self::Open,
            Error::TooLarge { .. } => Self::TooLarge,
            _ => Self::Refused,
        };
        wrap(write_failed(error))
    }

    /// Whether the write is known not to have been made.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::TooLarge(_))
    }

    /// Whether the store would take less of it.
    pub(crate) fn is_too_large(&self) -> bool {
        matches!(self, Self::TooLarge(_))
    }

    /// What the client is told.
    pub(crate) fn into_status(self) -> Status {
        match self {
            Self::Refused(status) | Self::TooLarge(status) | Self::Open(status) => status,
        }
    }
}

impl From<Status> for Failed {
    fn from(status: Status) -> Self {
        Self::Refused(status)
    }
}

/// What a commit came to.
#[derive(Debug)]
pub(crate) enum Commit {
    /// Durable at this revision; with what was stored, where that is in another version than the write.
    Done(u64, Option<Bytes>),
    /// The object is not what the write started from; this is what is there.
    Moved(Option<Box<Current>>),
    /// A key of the side effects (an IP address, the port map) is not what it was.
    Effect,
}

/// What else changes in the transaction; made by the allocators and by the fences.
#[derive(Debug, Default, Clone)]
pub(crate) struct Effects {
    pub(crate) conditions: Vec<(String, u64)>,
    pub(crate) puts: Vec<(String, Bytes)>,
    pub(crate) deletes: Vec<String>,
}

impl Effects {
    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.conditions.is_empty() && self.puts.is_empty() && self.deletes.is_empty()
    }

    /// Adds others.
    pub(crate) fn merge(&mut self, other: Self) {
        self.conditions.extend(other.conditions);
        self.puts.extend(other.puts);
        self.deletes.extend(other.deletes);
    }

    /// Adds them to a transaction.
    fn apply(self, mut txn: Txn) -> Txn {
        for (key, revision) in self.conditions {
            txn = txn.if_unchanged(key, revision);
        }
        for (key, value) in self.puts {
            txn = txn.put(key, value);
        }
        for key in self.deletes {
            txn = txn.delete(key);
        }
        txn
    }

    /// A takeover of a fenced Lease changes its fence key in the same transaction.
    pub(crate) fn with_fence_of(mut self, target: &Target, new: &Value, old: Option<&Value>) -> Self {
        if !target.kind.is("coordination.k8s.io", "Lease") {
            return self;
        }
        let annotated = |v: &Value| {
            value::map_at(v, "metadata.annotations").and_then(|a| a.get(FENCED)).is_some_and(|f| f == "true")
        };
        let holder = |v: &Value| value::str_at(v, "spec.holderIdentity").unwrap_or_default().to_owned();
        let was_fenced = old.is_some_and(&annotated);
        let same = was_fenced && old.is_some_and(|old| holder(old) == holder(new));
        let key = fence_key(&target.namespace, &target.name);
        if annotated(new) && !same {
            self.puts.push((key, Bytes::from(holder(new))));
        } else if was_fenced && !annotated(new) {
            self.deletes.push(key);
        }
        self
    }

    /// What an object leaves behind that is no object of the API goes with it, so that a name which is used once is not kept for
    /// ever. A leader without its fence key writes nothing more, and an object that was reserved under a quota is charged anew.
    pub(crate) fn with_traces_of(mut self, gone: &Target) -> Self {
        if gone.kind.is("coordination.k8s.io", "Lease") {
            self.deletes.push(fence_key(&gone.namespace, &gone.name));
        }
        if gone.kind.is("", "ResourceQuota") {
            self.deletes.extend(reservations::keys(gone));
        }
        self
    }
}

/// A write of one object: put or delete, from a known state.
pub(crate) struct Write<'a> {
    pub(crate) target: &'a Target,
    pub(crate) fence: Option<&'a Fence>,
    /// The revision that the object must have; 0: it must not exist.
    pub(crate) from: u64,
    /// The new state; `None` deletes.
    pub(crate) bytes: Option<Bytes>,
    /// The etcd lease of the key; 0: none.
    pub(crate) lease: i64,
    pub(crate) effects: Effects,
}

impl Write<'_> {
    fn txn(&self) -> Txn {
        let key = self.target.key();
        let mut txn = Txn::new().if_unchanged(key.clone(), self.from);
        if let Some(fence) = self.fence {
            txn = txn.if_unchanged(fence.key(), fence.revision);
        }
        txn = match &self.bytes {
            Some(bytes) => txn.put_with_lease(key, bytes.clone(), self.lease),
            None => txn.delete(key),
        };
        self.effects.clone().apply(txn)
    }

    /// Makes the transaction. A lease may have gone before its time, with an etcd that was restored or somebody who revoked
    /// it; the refused write has changed nothing, so an event gets another.
    async fn made(&mut self, app: &App) -> Result<TxnOutcome, Failed> {
        match app.store.txn(self.txn()).await {
            Err(Error::LeaseNotFound { .. }) if expires(&self.target.kind) => {
                self.lease = app.event_leases.instead_of(app, self.lease).await?;
                app.store.txn(self.txn()).await.map_err(Failed::of)
            }
            other => other.map_err(Failed::of),
        }
    }

    /// Commits.
    ///
    /// # Errors
    /// 409 `Fenced` when another leader has taken over; what the store says otherwise. Final in any case: the write may have been made
    /// although it failed, and must not be made again from what is then there.
    pub(crate) async fn commit(mut self, app: &App) -> Result<Commit, Failed> {
        let converted = match &self.bytes {
            Some(bytes) => convert::to_storage(app, &self.target.kind, bytes).await?,
            None => None,
        };
        if converted.is_some() {
            self.bytes.clone_from(&converted);
        }
        let (target, fence, from) = (self.target, self.fence, self.from);
        match self.made(app).await? {
            TxnOutcome::Committed { revision } => Ok(Commit::Done(revision, converted)),
            TxnOutcome::Conflict { current, .. } => {
                app.metrics.conflicts.add(1);
                let stored = current.first().and_then(Option::as_ref);
                let guard = current.get(1).and_then(Option::as_ref);
                if let Some(fence) = fence
                    && guard.map_or(0, |kv| kv.mod_revision) != fence.revision
                {
                    return Err(fenced(target, fence, guard).into());
                }
                if stored.map_or(0, |kv| kv.mod_revision) == from {
                    return Ok(Commit::Effect);
                }
                let found = match stored.map(Current::from_stored) {
                    // A create need only know that the name is taken.
                    Some(Err(_)) if from == 0 => return Err(target.exists().into()),
                    Some(found) => Some(found?.seen_as(app, &target.kind).await?),
                    None => None,
                };
                Ok(Commit::Moved(found.map(Box::new)))
            }
        }
    }
}

fn fenced(target: &Target, fence: &Fence, now: Option<&KeyValue>) -> Status {
    let holder = now.map(|kv| String::from_utf8_lossy(&kv.value).into_owned()).unwrap_or_default();
    let message = format!(
        "Operation cannot be fulfilled on {} {:?}: the leader that asks (lease {}/{} at {}) has been followed by {holder:?}",
        target.kind.qualified_resource(),
        target.name,
        fence.namespace,
        fence.name,
        fence.revision,
    );
    Status::failure(409, "Fenced", message).about(target.kind.group, target.kind.resource, &target.name)
}
