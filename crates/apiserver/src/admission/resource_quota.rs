//! Resource quotas: what an object uses is reserved in the transaction that stores the object.
//!
//! A reservation compares the quota's revision, so that of racing writers none is counted twice and none gets past the limit.
//! A transaction never writes two objects of one kind: where several quotas are about an object, all but the last are
//! written before it, once, and given back when the write fails (see [`super::reservations`]). What a server that dies in
//! between leaves reserved is found when the quota would refuse, as is what was deleted since a controller last counted.
//! So is a reservation whose answer gets lost: the object is not stored then, and its client may try again at once.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use gantry_api::kinds::{self, KindInfo};
use gantry_api::quota::{self, Scope, Tally, Usage};
use gantry_api::status::Status;
use gantry_api::{Value, canon, managed, value};
use gantry_store::{Txn, TxnOutcome};
use parking_lot::Mutex;
use tokio::time::{Duration, Instant};

use super::first_look::FirstLook;
use super::reservations::{Reservation, Reserved, epoch_key, progress_key};
use super::settings::LimitedResource;
use super::{Operation, Plugin, Request};
use crate::app::App;
use crate::pipeline::commit::{self, Effects};
use crate::pipeline::current::{self, Current, store_failed};
use crate::pipeline::read;
use crate::registry;
use crate::request::Target;

/// Tries against other writers of a quota.
const TRIES: usize = 32;
/// A quota that was counted and found full is not counted again for so long, while nobody writes it.
const COUNTED_FOR: Duration = Duration::from_secs(1);
/// Quotas that are remembered so.
const COUNTED_LEN: usize = 1024;

pub(super) struct ResourceQuota {
    /// What may only be used where a quota speaks of it.
    limited: Vec<LimitedResource>,
    /// Key, revision and time of quotas that were counted and found full.
    counted: Mutex<BTreeMap<String, (u64, Instant)>>,
    first: FirstLook,
}

/// What the request changes.
struct Delta {
    usage: Usage,
    /// Whether it asks for more of anything.
    grows: bool,
}

fn delta(request: &Request<'_>, object: &Value) -> Option<Delta> {
    let (kind, now) = (request.target.kind.hub(), request.app.clock.now().as_second());
    if !kind.namespaced || !(request.target.subresource.is_empty() || request.resizes()) {
        return None;
    }
    let usage = match (request.operation, request.old) {
        (Operation::Create, _) => quota::usage(kind, object, now),
        (Operation::Update, Some(old)) if quota::changes_with_updates(kind) || request.resizes() => {
            quota::difference(&quota::usage(kind, object, now), &quota::usage(kind, old, now))
        }
        _ => return None,
    };
    let grows = usage.values().any(|amount| amount.signum() > 0);
    (!usage.is_empty()).then_some(Delta { usage, grows })
}

/// Whether any quota may be about the request: most namespaces have none, and then nothing need be counted.
fn has_quotas(request: &Request<'_>) -> Result<bool, Status> {
    let quotas = kinds::by_resource("", "v1", "resourcequotas").ok_or_else(Status::no_such_resource)?;
    let view = request.app.view(quotas);
    Ok(!view.is_empty() && view.snapshot().list(Some(&request.target.namespace), None).next().is_some())
}

#[async_trait]
impl Plugin for ResourceQuota {
    fn name(&self) -> &'static str {
        "ResourceQuota"
    }

    async fn effects(&self, request: &Request<'_>, object: &Value) -> Result<Effects, Status> {
        let mut effects = Effects::default();
        if !request.target.kind.hub().namespaced {
            return Ok(effects);
        }
        let known = has_quotas(request)? || (self.first.settle(request).await? && has_quotas(request)?);
        if self.limited.is_empty() && !known {
            return Ok(effects);
        }
        let Some(delta) = delta(request, object) else { return Ok(effects) };
        let quotas = kinds::by_resource("", "v1", "resourcequotas").ok_or_else(Status::no_such_resource)?;
        let kind = request.target.kind.hub();
        let about = |q: &Value| value::get(q, "spec").is_some_and(|spec| quota::matches(spec, kind, object));
        let found = request.in_namespace("", "resourcequotas")?;
        let asked: Vec<&Value> = found.iter().filter(|q| about(q)).collect();
        let uncovered = self.uncovered(kind, &delta.usage, &asked);
        if !uncovered.is_empty() {
            return Err(request.forbidden(&format!("insufficient quota to consume: {}", uncovered.join(","))));
        }
        let scopes = if delta.grows { self.uncovered_scopes(kind, object, &found) } else { Vec::new() };
        if !scopes.is_empty() {
            // As upstream, an error that is none of the API's own.
            let why = format!("insufficient quota to match these scopes: [{}]", scopes.join(" "));
            return Err(Status::failure(500, "", why));
        }
        let names: Vec<&str> = asked.iter().filter_map(|q| value::str_at(q, "metadata.name")).collect();
        for (at, name) in names.iter().enumerate() {
            let target = Target::new(quotas, &request.target.namespace, name);
            // A quota and the quota that counts it are of one kind.
            if at + 1 == names.len() && !kind.is("", "ResourceQuota") {
                if let Some(charged) = self.charge(request, object, &target, &delta).await? {
                    effects.conditions.push((target.key(), charged.next.revision));
                    effects.puts.push((target.key(), commit::canonical(&charged.next.value)));
                    if let Some(progress) = charged.counted {
                        effects.conditions.push((progress_key(&target), progress));
                        effects.merge(recounts(&target));
                    }
                }
            } else if request.dry_run {
                self.charge(request, object, &target, &delta).await?;
            } else if let Some(epoch) = self.hold(request, object, &target, &delta).await? {
                effects.conditions.push((epoch_key(&target), epoch));
                effects.puts.push((progress_key(&target), Bytes::new()));
            }
        }
        Ok(effects)
    }

    async fn abandon(&self, app: &App, reserved: &Reserved) {
        for reservation in reserved.take() {
            // What cannot be given back is found by the next count.
            if let Err(status) = release(app, &reservation).await {
                tracing::warn!(quota = reservation.quota.key(), %status, "a reservation could not be given back");
            }
        }
    }
}

impl ResourceQuota {
    pub(super) fn new(limited: Vec<LimitedResource>) -> Self {
        Self { limited, counted: Mutex::default(), first: FirstLook::default() }
    }

    /// The names of what the request uses more of, may only use under a quota, and that none of `quotas` speaks of.
    fn uncovered(&self, kind: &KindInfo, usage: &Usage, quotas: &[&Value]) -> Vec<String> {
        let about = self.limited.iter().filter(|l| l.api_group == kind.group && l.resource == kind.resource);
        let parts: Vec<&String> = about.flat_map(|limited| &limited.match_contains).collect();
        let covered =
            |name: &str| quotas.iter().any(|q| value::map_at(q, "spec.hard").is_some_and(|h| h.contains_key(name)));
        let used = usage.iter().filter(|(_, amount)| amount.signum() > 0).map(|(name, _)| name);
        let limited = used.filter(|name| parts.iter().any(|part| name.contains(part.as_str())));
        limited.filter(|name| !covered(name)).cloned().collect()
    }

    /// The scopes that the object is in, that may only be used under a quota, and that no quota selects for it; whatever
    /// resource they were listed with, as upstream.
    fn uncovered_scopes(&self, kind: &KindInfo, object: &Value, quotas: &[Value]) -> Vec<String> {
        let specs = quotas.iter().filter_map(|quota| value::get(quota, "spec"));
        let selected: Vec<&str> =
            specs.flat_map(Scope::all).filter(|scope| scope.holds(kind, object)).map(|scope| scope.name).collect();
        let limited = self.limited.iter().flat_map(|limited| &limited.match_scopes).map(Scope::of);
        let bare = limited.filter(|scope| scope.holds(kind, object) && !selected.contains(&scope.name));
        bare.map(|scope| scope.to_string()).collect()
    }

    /// Makes sure that the request has reserved what it uses, in the quota's present epoch, which it returns; nothing where
    /// the quota does not change.
    async fn hold(
        &self,
        request: &Request<'_>,
        object: &Value,
        target: &Target,
        delta: &Delta,
    ) -> Result<Option<u64>, Status> {
        if let Some(known) = request.reserved.of(target) {
            if known.usage == delta.usage && revision(request.app, &epoch_key(target)).await? == known.epoch {
                return Ok(Some(known.epoch));
            }
            // Counted meanwhile, or this try uses something else than the last.
            request.reserved.forget(target);
            release(request.app, &known).await?;
        }
        self.reserve(request, object, target, delta).await
    }

    /// Reserves in a transaction of its own.
    async fn reserve(
        &self,
        request: &Request<'_>,
        object: &Value,
        target: &Target,
        delta: &Delta,
    ) -> Result<Option<u64>, Status> {
        for _ in 0..TRIES {
            let epoch = revision(request.app, &epoch_key(target)).await?;
            let Some(charged) = self.charge(request, object, target, delta).await? else { return Ok(None) };
            let mut txn = with_quota(target, epoch, &charged.next);
            if let Some(progress) = charged.counted {
                txn = txn.if_unchanged(progress_key(target), progress).put(epoch_key(target), Bytes::new());
            }
            // Not `write_failed`: whatever has become of it, the object was not written, which is what the client asks for.
            if let TxnOutcome::Committed { revision } = request.app.store.txn(txn).await.map_err(store_failed)? {
                let epoch = if charged.counted.is_some() { revision } else { epoch };
                request.reserved.note(Reservation { quota: target.clone(), epoch, usage: delta.usage.clone() });
                return Ok(Some(epoch));
            }
        }
        Err(target.stale())
    }

    /// The quota as it is to be after the request; nothing where it is gone or does not change.
    async fn charge(
        &self,
        request: &Request<'_>,
        object: &Value,
        target: &Target,
        delta: &Delta,
    ) -> Result<Option<Charged>, Status> {
        let app = request.app;
        let Some(present) = current::reload(app, target).await? else { return Ok(None) };
        let spec = value::get(&present.value, "spec").cloned().unwrap_or_default();
        let hard = quota::amounts(value::map_at(&spec, "hard"));
        if delta.grows {
            quota::constraints(request.target.kind.hub(), object, &hard)
                .map_err(|why| request.forbidden(&format!("failed quota: {}: {why}", target.name)))?;
        }
        let stated = quota::amounts(value::map_at(&present.value, "status.hard"));
        let mut used = quota::amounts(value::map_at(&present.value, "status.used"));
        let mut counted = None;
        if stated != hard || !hard.keys().all(|name| used.contains_key(name)) {
            let (all, progress) = count(app, &present, &spec, target).await?;
            (used, counted) = (all, Some(progress));
        }
        let mut result = quota::charge(&target.name, &hard, &used, &delta.usage);
        if result.is_err() && counted.is_none() && self.may_count(target, present.revision) {
            // What is stored may be too much: objects were deleted, writes failed.
            let (used, progress) = count(app, &present, &spec, target).await?;
            result = quota::charge(&target.name, &hard, &used, &delta.usage);
            counted = Some(progress);
            if result.is_err() {
                self.remember(target, present.revision);
            }
        }
        let next_used = result.map_err(|why| request.forbidden(&why))?;
        let mut next = present.clone();
        value::set(&mut next.value, "status.hard", quota::object(&hard));
        value::set(&mut next.value, "status.used", quota::object(&next_used));
        stamp(app, &mut next.value, &present.value, &target.kind)?;
        let changes = counted.is_some() || !canon::unchanged(&present.value, &next.value);
        Ok(changes.then_some(Charged { next, counted }))
    }

    /// Whether a full quota is counted now: not for a while after it was and was full indeed. Nobody makes the server
    /// count all the time.
    fn may_count(&self, target: &Target, revision: u64) -> bool {
        let mut counted = self.counted.lock();
        counted.retain(|_, (_, at)| at.elapsed() < COUNTED_FOR);
        counted.get(&target.key()).is_none_or(|(known, _)| *known != revision)
    }

    fn remember(&self, target: &Target, revision: u64) {
        let mut counted = self.counted.lock();
        if counted.len() < COUNTED_LEN {
            counted.insert(target.key(), (revision, Instant::now()));
        }
    }
}

/// A quota after a request.
struct Charged {
    /// With the revision from which it was made.
    next: Current,
    /// Where all that uses it was counted for that: the progress up to which it was.
    counted: Option<u64>,
}

/// What goes with a write that says anew what is used: whatever was reserved before must be reserved again.
pub(crate) fn recounts(quota: &Target) -> Effects {
    Effects { puts: vec![(epoch_key(quota), Bytes::new())], ..Effects::default() }
}

/// The revision of a key; 0: there is none.
async fn revision(app: &App, key: &str) -> Result<u64, Status> {
    let found = app.store.get(key).await.map_err(store_failed)?;
    Ok(found.map_or(0, |kv| kv.mod_revision))
}

/// A write of the quota in an epoch.
fn with_quota(quota: &Target, epoch: u64, next: &Current) -> Txn {
    let key = quota.key();
    let unchanged = Txn::new().if_unchanged(key.clone(), next.revision).if_unchanged(epoch_key(quota), epoch);
    unchanged.put(key, commit::canonical(&next.value))
}

/// Gives back what was reserved, if it has not been counted away.
async fn release(app: &App, reservation: &Reservation) -> Result<(), Status> {
    let quota = &reservation.quota;
    let nothing = Usage::new();
    for _ in 0..TRIES {
        if revision(app, &epoch_key(quota)).await? != reservation.epoch {
            return Ok(());
        }
        let Some(present) = current::reload(app, quota).await? else { return Ok(()) };
        let mut used = quota::amounts(value::map_at(&present.value, "status.used"));
        let mut back = quota::difference(&nothing, &reservation.usage);
        back.retain(|name, _| used.contains_key(name));
        quota::add(&mut used, &back);
        let mut next = present.clone();
        value::set(&mut next.value, "status.used", quota::object(&used));
        stamp(app, &mut next.value, &present.value, &quota.kind)?;
        let txn = with_quota(quota, reservation.epoch, &next);
        if let TxnOutcome::Committed { .. } = app.store.txn(txn).await.map_err(store_failed)? {
            return Ok(());
        }
    }
    Err(quota.stale())
}

fn stamp(app: &App, object: &mut Value, old: &Value, kind: &KindInfo) -> Result<(), Status> {
    canon::canonical(object, kind)?;
    let write = managed::Write {
        manager: "gantry-apiserver",
        api_version: &kind.api_version,
        ty: kind.into(),
        subresource: "status",
        reset: registry::strategy(kind).reset_fields(kind, "status"),
        settable: &[],
        now: app.clock.now(),
    };
    managed::stamp(Some(old), object, &write);
    Ok(())
}

/// Counts what the objects of the namespace use, as of the quota's revision and progress or later: whoever reserves after
/// that changes the revision, and whoever stores what was reserved before changes the progress, which is returned.
async fn count(app: &App, quota: &Current, spec: &Value, target: &Target) -> Result<(Usage, u64), Status> {
    let progress = revision(app, &progress_key(target)).await?;
    app.cache.wait_for(quota.revision.max(progress)).await.map_err(read::cache_failed)?;
    let now = app.clock.now().as_second();
    let tally = Tally::new(spec);
    let mut used: Usage = tally.hard.keys().map(|name| (name.clone(), gantry_api::quantity::Quantity::ZERO)).collect();
    for kind in app.kinds.kinds().distinct().filter(|kind| tally.limited_of(kind).next().is_some()) {
        for stored in app.view(kind).snapshot().list(Some(&target.namespace), None) {
            quota::add(&mut used, &tally.of(kind, &Current::from_object(stored)?.value, now));
        }
    }
    Ok((used, progress))
}
