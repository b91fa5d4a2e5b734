//! Keeps as many pods of a template as a replica set asks for, or a replication controller: the same under an older name.

mod kind;
mod plan;
mod rank;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, marker::PhantomData, sync::Arc};

use async_trait::async_trait;
use futures::future::join_all;
use gantry_client::{
    Batch, Change, Client, DeleteParams, Key, Object, Write,
    events::{EventType, Recorder, reference},
    resource_of,
};
use gantry_controller::{Doing, Error, Outcome, Pending, Reconciler, Runner, owner};
use k8s_openapi::api::{
    apps::v1::{ReplicaSet, ReplicaSetStatus},
    core::v1::{Pod, ReplicationController},
};

use self::{
    kind::Replicas,
    plan::{Failure, Snapshot, Step, Went},
};
use crate::{
    claim::claim,
    context::Context,
    pods,
    readers::{self, Readers},
};

/// Starts the controller of replica sets; resolves when it stopped.
pub(super) async fn run(context: Context) {
    let workers = context.options.concurrent_replicaset_syncs;
    run_for::<ReplicaSet>(context, workers).await;
}

/// Starts the controller of replication controllers; resolves when it stopped.
pub(super) async fn run_for_replication_controllers(context: Context) {
    let workers = context.options.concurrent_rc_syncs;
    run_for::<ReplicationController>(context, workers).await;
}

async fn run_for<K: Replicas>(context: Context, workers: usize) {
    let readers = Arc::clone(&context.readers);
    let runner = Runner::new(K::NAME, workers, context.stop.clone());
    let for_pods = Arc::clone(&readers);
    let runner =
        runner.watch_keys(K::reader(&readers)).watch(&readers.pods, move |change| for_pod::<K>(&for_pods, change));
    let controller = Controller {
        client: context.client.clone(),
        batch: context.client.batch(),
        recorder: context.recorder(K::COMPONENT),
        kind: PhantomData::<K>,
        context,
        pending: Pending::new(),
        statuses: Pending::new(),
    };
    runner.run(Arc::new(controller)).await;
}

/// The sets that a change of a pod concerns: its owners before and after, or for an orphan those that select it.
fn for_pod<K: Replicas>(readers: &Readers, change: &Change<Pod>) -> Vec<Key> {
    let pods = [&change.old, &change.new].into_iter().flatten();
    let mut keys: Vec<Key> = pods.filter_map(|p| owner::controller_key::<K>(&p.metadata)).collect();
    keys.dedup();
    if let Some(orphan) = change.new.as_ref().filter(|p| owner::controller_of(&p.metadata).is_none()) {
        let sets = K::reader(readers).in_namespace(&change.key.namespace);
        keys.extend(sets.iter().filter(|s| s.selects(orphan.metadata.labels.as_ref())).map(|s| s.key()));
    }
    keys
}

struct Controller<K> {
    kind: PhantomData<K>,
    context: Context,
    client: Client,
    batch: Batch,
    recorder: Recorder,
    /// Writes of pods.
    pending: Pending,
    /// Writes of the sets' own statuses.
    statuses: Pending,
}

#[async_trait]
impl<K: Replicas> Reconciler for Controller<K> {
    async fn reconcile(&self, key: &Key) -> Result<Outcome, Error> {
        let readers = &self.context.readers;
        let Some(object) = K::reader(readers).get(key) else {
            self.pending.forget(key);
            self.statuses.forget(key);
            return Ok(Outcome::Done);
        };
        let set = K::as_set(&object);
        let Some(spec) = &set.spec else { return Ok(Outcome::Done) };
        // Neither pods nor status before the last writes are seen: the count would be wrong.
        let seen = self.statuses.settled(key, K::reader(readers));
        if !self.pending.settled(key, &readers.pods) || !seen {
            return Ok(Outcome::After(Pending::LOOK_AGAIN));
        }
        let (ours, others): (Vec<_>, Vec<_>) = readers::owned_and_orphans(&readers.pods, set.uid(), &key.namespace)
            .into_iter()
            .partition(|p| owner::controller_uid(&p.metadata) == set.uid() && !pods::is_active(p));
        let Some(mut owned) = claim(&self.client, &self.pending, &*object, &spec.selector, others).await? else {
            return Ok(Outcome::Done);
        };
        owned.extend(ours);
        let neighbours = self.neighbours(&set);
        let now = self.context.clock.now();
        let snapshot = Snapshot { set: &set, pods: &owned, neighbours: &neighbours, now };
        let (went, error) = match self.take(key, (&*object, &*set), plan::step(&snapshot)).await {
            Ok(()) => (Went::Well, None),
            Err((failure, error)) => (Went::Badly(failure), Some(error)),
        };
        let (status, again) = plan::status(&snapshot, &went);
        if plan::differs(set.status.as_ref(), &status) {
            self.write_status(&object, status).await?;
        }
        error.map_or(Ok(Outcome::after(again)), Err)
    }
}

impl<K: Replicas> Controller<K> {
    /// How many active pods of sets with the same owner each node has.
    fn neighbours(&self, set: &ReplicaSet) -> BTreeMap<String, usize> {
        let readers = &self.context.readers;
        let by = owner::controller_uid(&set.metadata);
        let mut uids: Vec<String> =
            K::reader(readers).by_index(readers::OWNER, by).iter().map(|s| s.uid().to_owned()).collect();
        if uids.is_empty() {
            uids.push(set.uid().to_owned());
        }
        let mut counts = BTreeMap::new();
        for pod in uids.iter().flat_map(|uid| readers.pods.by_index(readers::OWNER, uid)) {
            if pods::is_active(&pod) {
                *counts.entry(pods::node(&pod).to_owned()).or_insert(0) += 1;
            }
        }
        counts
    }

    /// Takes the step for an object, which is this set.
    async fn take(&self, key: &Key, (object, set): (&K, &ReplicaSet), step: Step) -> Result<(), (Failure, Error)> {
        let (reason, result) = match step {
            Step::Keep => return Ok(()),
            Step::Create(count) => {
                let pod = plan::pod(set, owner::reference(object));
                ("FailedCreate", self.create(key, object, &pod, count).await)
            }
            Step::Delete(pods) => ("FailedDelete", self.delete(key, object, pods).await),
        };
        result.map_err(|error| {
            let message = error.call().map_or_else(|| error.to_string(), |e| gantry_common::error_chain(e));
            (Failure { reason, message }, error)
        })
    }

    /// Makes pods, first one, then twice as many each time while all succeed: a template that is refused costs one call.
    async fn create(&self, key: &Key, object: &K, pod: &Pod, count: usize) -> Result<(), Error> {
        let (mut left, mut size) = (count, 1);
        while left > 0 {
            let together = size.min(left);
            let results = join_all((0..together).map(|_| self.create_one(key, object, pod))).await;
            results.into_iter().collect::<Result<(), Error>>()?;
            left -= together;
            size *= 2;
        }
        Ok(())
    }

    async fn create_one(&self, key: &Key, object: &K, pod: &Pod) -> Result<(), Error> {
        let doing = || format!("create a pod for {} {key}", K::WORDS);
        let made = match self.batch.submit(Write::create(pod).doing(doing)?).await {
            Ok(value) => value,
            // Nothing can be made there any more; the namespace takes the set with it.
            Err(error) if error.is_namespace_terminating() => return Ok(()),
            Err(error) => {
                let message = format!("Error creating: {}", gantry_common::error_chain(&error));
                self.recorder.event(&reference(object), EventType::Warning, "FailedCreate", message);
                return Err(error).doing(doing);
            }
        };
        let made: Pod = serde_json::from_value(made)
            .map_err(|error| Error::Refused(format!("the pod made for {} {key} is unreadable: {error}", K::WORDS)))?;
        self.pending.wrote(key, &made);
        let message = format!("Created pod: {}", made.key().name);
        self.recorder.event(&reference(object), EventType::Normal, "SuccessfulCreate", message);
        Ok(())
    }

    async fn delete(&self, key: &Key, object: &K, pods: Vec<Arc<Pod>>) -> Result<(), Error> {
        let results = join_all(pods.iter().map(|pod| self.delete_one(key, object, pod))).await;
        results.into_iter().collect()
    }

    async fn delete_one(&self, key: &Key, object: &K, pod: &Arc<Pod>) -> Result<(), Error> {
        let write = Write::Delete {
            resource: resource_of::<Pod>(),
            key: pod.key(),
            params: DeleteParams::default().uid(pod.uid()),
        };
        match self.batch.submit(write).await {
            Ok(_) => {
                self.pending.deleted(key, &**pod);
                let message = format!("Deleted pod: {}", pod.key().name);
                self.recorder.event(&reference(object), EventType::Normal, "SuccessfulDelete", message);
                Ok(())
            }
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => {
                let message = format!("Error deleting: {}", gantry_common::error_chain(&error));
                self.recorder.event(&reference(object), EventType::Warning, "FailedDelete", message);
                Err(error).doing(|| format!("delete pod {} of {} {key}", pod.key(), K::WORDS))
            }
        }
    }

    async fn write_status(&self, object: &K, status: ReplicaSetStatus) -> Result<(), Error> {
        let key = object.key();
        match self.client.api::<K>().update_status(&object.with_status(status)).await {
            Ok(written) => self.statuses.wrote(&key, &written),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error).doing(|| format!("write the status of {} {key}", K::WORDS)),
        }
        Ok(())
    }
}
