//! Counts what objects use of resource quotas, so that what was deleted, has ended or asks for less counts no more.
//!
//! The API server adds to the same status what it admits, in the transaction that stores the object. So a status is written
//! only over the revision that was read, and no amount becomes less before the objects that it stands for have been seen up
//! to the last reservation that changed it.

mod memo;
mod plan;
mod reservations;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use gantry_api::{
    Value,
    kinds::{self, KindInfo},
    quantity::{Format, Quantity},
    quota::{self, Tally},
};
use gantry_client::{Change, Client, Key, Object, Reader};
use gantry_common::clock::SharedClock;
use gantry_controller::{Doing, Error, Outcome, Reconciler, Runner};
use k8s_openapi::{
    Resource,
    api::core::v1::{Pod, ResourceQuota},
};
use parking_lot::Mutex;

use self::{
    memo::Memo,
    plan::{Count, status},
    reservations::Reservations,
};
use crate::{
    catalog::{Catalog, Id},
    context::Context,
    readers::Readers,
};

/// When to look again at a quota whose objects are not all seen yet.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Starts the controller; resolves when it stopped.
pub(super) async fn run(context: Context) {
    context.catalog.synced().await;
    let readers = Arc::clone(&context.readers);
    let runner = Runner::new("resourcequota", context.options.concurrent_resource_quota_syncs, context.stop.clone());
    let (queue, others) =
        (runner.queue(), Others { readers: Arc::clone(&readers), catalog: Arc::clone(&context.catalog) });
    let changes = context.catalog.subscribe().follow(move |id, _| {
        others.quotas(id).into_iter().for_each(|key| queue.add(key));
    });
    let runner = runner.watch(&readers.quotas, for_quota).feed(changes);
    let runner = whole(runner, &context, "", "pods", &readers.pods);
    let runner = whole(runner, &context, "", "services", &readers.services);
    let runner = whole(runner, &context, "", "persistentvolumeclaims", &readers.claims);
    let runner = whole(runner, &context, "resource.k8s.io", "resourceclaims", &readers.resource_claims);
    let controller = Controller {
        client: context.client.clone(),
        catalog: Arc::clone(&context.catalog),
        clock: Arc::clone(&context.clock),
        period: context.options.resource_quota_sync_period,
        readers,
        known: Mutex::default(),
    };
    runner.run(Arc::new(controller)).await;
}

/// A quota whose limits are not those of its status; what else becomes of statuses is the API server's and our own doing.
fn for_quota(change: &Change<ResourceQuota>) -> Vec<Key> {
    let wants = match (&change.old, &change.new) {
        (Some(old), Some(new)) => {
            let stated = new.status.as_ref().and_then(|s| s.hard.as_ref());
            old.spec != new.spec || old.metadata.uid != new.metadata.uid || stated != limits(new)
        }
        _ => true,
    };
    wants.then(|| change.key.clone()).into_iter().collect()
}

fn limits(quota: &ResourceQuota) -> Option<&plan::Amounts> {
    quota.spec.as_ref().and_then(|s| s.hard.as_ref())
}

fn spec_of(quota: &ResourceQuota) -> Value {
    serde_json::to_value(&quota.spec).unwrap_or_default()
}

/// Watches objects of which more matters than that they are there.
fn whole<K: Object>(
    runner: Runner,
    context: &Context,
    group: &'static str,
    resource: &'static str,
    reader: &Reader<K>,
) -> Runner {
    let Some(kind) = kinds::by_resource(group, "v1", resource) else { return runner };
    let (quotas, clock) = (context.readers.quotas.clone(), Arc::clone(&context.clock));
    runner.watch(reader, move |change| {
        let quotas = quotas.in_namespace(&change.key.namespace);
        if quotas.is_empty() {
            return Vec::new();
        }
        let value = |object: &Option<Arc<K>>| object.as_deref().and_then(|o| serde_json::to_value(o).ok());
        concerned(&quotas, kind, value(&change.old).as_ref(), value(&change.new).as_ref(), clock.now().as_second())
    })
}

/// The quotas of which an object uses something else than before.
fn concerned(
    quotas: &[Arc<ResourceQuota>],
    kind: &KindInfo,
    old: Option<&Value>,
    new: Option<&Value>,
    now: i64,
) -> Vec<Key> {
    let differs = |quota: &&Arc<ResourceQuota>| {
        let spec = spec_of(quota);
        let tally = Tally::new(&spec);
        let used = |object: Option<&Value>| object.map(|o| tally.of(kind, o, now)).unwrap_or_default();
        !quota::difference(&used(new), &used(old)).is_empty()
    };
    quotas.iter().filter(differs).map(|quota| quota.key()).collect()
}

/// Finds the quotas that a change of an object concerns which only counts.
struct Others {
    readers: Arc<Readers>,
    catalog: Arc<Catalog>,
}

impl Others {
    fn quotas(&self, id: &Id) -> Vec<Key> {
        if id.key.namespace.is_empty() {
            return Vec::new();
        }
        let quotas = self.readers.quotas.in_namespace(&id.key.namespace);
        if quotas.is_empty() {
            return Vec::new();
        }
        let kinds = self.catalog.kinds();
        let Some(kind) = kinds.distinct().find(|k| k.type_name == id.type_name) else { return Vec::new() };
        let counts = |quota: &&Arc<ResourceQuota>| {
            limits(quota).into_iter().flatten().any(|(name, _)| quota::concerns(kind, name))
        };
        let alike = quota::counts_alike(kind);
        quotas.iter().filter(|quota| alike && counts(quota)).map(|quota| quota.key()).collect()
    }
}

/// What is remembered of a quota.
#[derive(Default)]
struct Known {
    memo: Memo,
    reservations: Reservations,
}

struct Controller {
    client: Client,
    readers: Arc<Readers>,
    catalog: Arc<Catalog>,
    clock: SharedClock,
    period: Duration,
    /// One entry per quota.
    known: Mutex<BTreeMap<Key, Known>>,
}

#[async_trait]
impl Reconciler for Controller {
    async fn reconcile(&self, key: &Key) -> Result<Outcome, Error> {
        let mut known = self.known.lock().remove(key).unwrap_or_default();
        let Some(quota) = self.readers.quotas.get(key) else { return Ok(Outcome::Done) };
        let now = self.clock.now().as_second();
        let counts = self.count(&mut known.memo, &quota, now);
        known.reservations.saw(&plan::stated(&quota), quota.revision());
        let planned = status(&quota, &counts, &known.reservations);
        let written = match planned.status {
            Some(status) => self.write(&quota, status).await,
            None => Ok(None),
        };
        if let Ok(Some(written)) = &written {
            known.reservations.wrote(plan::stated(written), written.revision());
        }
        self.known.lock().insert(key.clone(), known);
        written?;
        let ends = self.next_end(&key.namespace, now);
        let again = planned.behind.then_some(LOOK_AGAIN).into_iter().chain(ends).fold(self.period, Duration::min);
        Ok(Outcome::After(again))
    }
}

impl Controller {
    /// What there is of each kind that the quota limits.
    fn count(&self, memo: &mut Memo, quota: &ResourceQuota, now: i64) -> Vec<Count> {
        let spec = spec_of(quota);
        memo.begin(&spec);
        let tally = Tally::new(&spec);
        let namespace = quota.metadata.namespace.as_deref().unwrap_or("");
        let mut counts = Vec::new();
        for kind in self.catalog.kinds().distinct() {
            let names: Vec<String> = tally.limited_of(kind).cloned().collect();
            if names.is_empty() {
                continue;
            }
            // The revision is read first: the objects may be newer than that, never older.
            let counted = match (kind.group, kind.resource) {
                ("", "pods") => memo.count(&tally, kind, &self.readers.pods, namespace, now),
                ("", "services") => memo.count(&tally, kind, &self.readers.services, namespace, now),
                ("", "persistentvolumeclaims") => memo.count(&tally, kind, &self.readers.claims, namespace, now),
                ("resource.k8s.io", "resourceclaims") => {
                    memo.count(&tally, kind, &self.readers.resource_claims, namespace, now)
                }
                _ => self.catalog.revision(&kind.type_name).map(|revision| {
                    let number = i64::try_from(self.catalog.count(kind.name(), namespace)).unwrap_or(i64::MAX);
                    let of_each = tally.of(kind, &Value::Null, now).into_keys();
                    let used = of_each.map(|name| (name, Quantity::from_value(number, Format::DecimalSi))).collect();
                    (used, revision)
                }),
            };
            if let Some((used, revision)) = counted {
                counts.push(Count { names, used, revision });
            }
        }
        counts
    }

    /// The time until the next of the namespace's pods that were asked to go counts no more, even if it is still there.
    fn next_end(&self, namespace: &str, now: i64) -> Option<Duration> {
        let pods = self.readers.pods.in_namespace(namespace);
        let left = pods.iter().filter_map(|pod| plan::end(pod)).map(|end| end - now).filter(|left| *left >= 0);
        left.min().and_then(|left| u64::try_from(left).ok()).map(|left| Duration::from_secs(left + 1))
    }

    /// Writes the status; returns the quota as it is then, or nothing where it is gone.
    async fn write(&self, quota: &ResourceQuota, status: plan::Status) -> Result<Option<ResourceQuota>, Error> {
        let changed = ResourceQuota { status: Some(status), ..quota.clone() };
        match self.client.api::<ResourceQuota>().update_status(&changed).await {
            Ok(written) => Ok(Some(written)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error).doing(|| format!("write the status of resource quota {}", quota.key())),
        }
    }
}

/// Whether the object's usage changes by itself, with time.
fn is_fleeting<K: Object>(object: &K) -> bool {
    K::KIND == Pod::KIND && object.metadata().deletion_timestamp.is_some()
}
