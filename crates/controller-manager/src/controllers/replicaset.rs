//! Keeps as many pods of a template as a replica set asks for.

mod plan;
mod rank;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

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
    core::v1::Pod,
};

use self::plan::{Failure, Snapshot, Step, Went};
use crate::{
    claim::claim,
    context::Context,
    pods,
    readers::{self, Readers},
    selector,
};

/// Starts the controller; resolves when it stopped.
pub(super) async fn run(context: Context) {
    let readers = Arc::clone(&context.readers);
    let runner = Runner::new("replicaset", context.options.concurrent_replicaset_syncs, context.stop.clone());
    let for_pods = Arc::clone(&readers);
    let runner =
        runner.watch_keys(&readers.replica_sets).watch(&readers.pods, move |change| for_pod(&for_pods, change));
    let controller = Controller {
        client: context.client.clone(),
        batch: context.client.batch(),
        recorder: context.recorder("replicaset-controller"),
        context,
        pending: Pending::new(),
        statuses: Pending::new(),
    };
    runner.run(Arc::new(controller)).await;
}

/// The sets that a change of a pod concerns: its owners before and after, or for an orphan those that select it.
fn for_pod(readers: &Readers, change: &Change<Pod>) -> Vec<Key> {
    let pods = [&change.old, &change.new].into_iter().flatten();
    let mut keys: Vec<Key> = pods.filter_map(|p| owner::controller_key::<ReplicaSet>(&p.metadata)).collect();
    keys.dedup();
    if let Some(orphan) = change.new.as_ref().filter(|p| owner::controller_of(&p.metadata).is_none()) {
        let selects = |s: &Arc<ReplicaSet>| {
            s.spec.as_ref().is_some_and(|spec| selector::matches(&spec.selector, orphan.metadata.labels.as_ref()))
        };
        let sets = readers.replica_sets.in_namespace(&change.key.namespace);
        keys.extend(sets.iter().filter(|s| selects(s)).map(|s| s.key()));
    }
    keys
}

struct Controller {
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
impl Reconciler for Controller {
    async fn reconcile(&self, key: &Key) -> Result<Outcome, Error> {
        let readers = &self.context.readers;
        let Some(set) = readers.replica_sets.get(key) else {
            self.pending.forget(key);
            self.statuses.forget(key);
            return Ok(Outcome::Done);
        };
        let Some(spec) = &set.spec else { return Ok(Outcome::Done) };
        // Neither pods nor status before the last writes are seen: the count would be wrong.
        let seen = self.statuses.settled(key, &readers.replica_sets);
        if !self.pending.settled(key, &readers.pods) || !seen {
            return Ok(Outcome::After(Pending::LOOK_AGAIN));
        }
        let (ours, others): (Vec<_>, Vec<_>) = readers::owned_and_orphans(&readers.pods, set.uid(), &key.namespace)
            .into_iter()
            .partition(|p| owner::controller_uid(&p.metadata) == set.uid() && !pods::is_active(p));
        let Some(mut owned) = claim(&self.client, &self.pending, &*set, &spec.selector, others).await? else {
            return Ok(Outcome::Done);
        };
        owned.extend(ours);
        let neighbours = self.neighbours(&set);
        let now = self.context.clock.now();
        let snapshot = Snapshot { set: &set, pods: &owned, neighbours: &neighbours, now };
        let (went, error) = match self.take(key, &set, plan::step(&snapshot)).await {
            Ok(()) => (Went::Well, None),
            Err((failure, error)) => (Went::Badly(failure), Some(error)),
        };
        let (status, again) = plan::status(&snapshot, &went);
        self.write_status(&set, status).await?;
        error.map_or(Ok(Outcome::after(again)), Err)
    }
}

impl Controller {
    /// How many active pods of sets with the same owner each node has.
    fn neighbours(&self, set: &ReplicaSet) -> BTreeMap<String, usize> {
        let readers = &self.context.readers;
        let by = owner::controller_uid(&set.metadata);
        let mut uids: Vec<String> =
            readers.replica_sets.by_index(readers::OWNER, by).iter().map(|s| s.uid().to_owned()).collect();
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

    async fn take(&self, key: &Key, set: &Arc<ReplicaSet>, step: Step) -> Result<(), (Failure, Error)> {
        let (reason, result) = match step {
            Step::Keep => return Ok(()),
            Step::Create(count) => ("FailedCreate", self.create(key, set, count).await),
            Step::Delete(pods) => ("FailedDelete", self.delete(key, set, pods).await),
        };
        result.map_err(|error| {
            let message = error.call().map_or_else(|| error.to_string(), |e| gantry_common::error_chain(e));
            (Failure { reason, message }, error)
        })
    }

    /// Makes pods, first one, then twice as many each time while all succeed: a template that is refused costs one call.
    async fn create(&self, key: &Key, set: &Arc<ReplicaSet>, count: usize) -> Result<(), Error> {
        let pod = plan::pod(set);
        let (mut left, mut size) = (count, 1);
        while left > 0 {
            let together = size.min(left);
            let results = join_all((0..together).map(|_| self.create_one(key, set, &pod))).await;
            results.into_iter().collect::<Result<(), Error>>()?;
            left -= together;
            size *= 2;
        }
        Ok(())
    }

    async fn create_one(&self, key: &Key, set: &Arc<ReplicaSet>, pod: &Pod) -> Result<(), Error> {
        let doing = || format!("create a pod for replica set {key}");
        let made = match self.batch.submit(Write::create(pod).doing(doing)?).await {
            Ok(value) => value,
            // Nothing can be made there any more; the namespace takes the set with it.
            Err(error) if error.is_namespace_terminating() => return Ok(()),
            Err(error) => {
                let message = format!("Error creating: {}", gantry_common::error_chain(&error));
                self.recorder.event(&reference(&**set), EventType::Warning, "FailedCreate", message);
                return Err(error).doing(doing);
            }
        };
        let made: Pod = serde_json::from_value(made)
            .map_err(|error| Error::Refused(format!("the pod made for replica set {key} is unreadable: {error}")))?;
        self.pending.wrote(key, &made);
        let message = format!("Created pod: {}", made.key().name);
        self.recorder.event(&reference(&**set), EventType::Normal, "SuccessfulCreate", message);
        Ok(())
    }

    async fn delete(&self, key: &Key, set: &Arc<ReplicaSet>, pods: Vec<Arc<Pod>>) -> Result<(), Error> {
        let results = join_all(pods.iter().map(|pod| self.delete_one(key, set, pod))).await;
        results.into_iter().collect()
    }

    async fn delete_one(&self, key: &Key, set: &Arc<ReplicaSet>, pod: &Arc<Pod>) -> Result<(), Error> {
        let write = Write::Delete {
            resource: resource_of::<Pod>(),
            key: pod.key(),
            params: DeleteParams::default().uid(pod.uid()),
        };
        match self.batch.submit(write).await {
            Ok(_) => {
                self.pending.deleted(key, &**pod);
                let message = format!("Deleted pod: {}", pod.key().name);
                self.recorder.event(&reference(&**set), EventType::Normal, "SuccessfulDelete", message);
                Ok(())
            }
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => {
                let message = format!("Error deleting: {}", gantry_common::error_chain(&error));
                self.recorder.event(&reference(&**set), EventType::Warning, "FailedDelete", message);
                Err(error).doing(|| format!("delete pod {} of replica set {key}", pod.key()))
            }
        }
    }

    async fn write_status(&self, set: &ReplicaSet, status: ReplicaSetStatus) -> Result<(), Error> {
        if !plan::differs(set.status.as_ref(), &status) {
            return Ok(());
        }
        let changed = ReplicaSet { status: Some(status), ..set.clone() };
        match self.client.api::<ReplicaSet>().update_status(&changed).await {
            Ok(written) => self.statuses.wrote(&set.key(), &written),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error).doing(|| format!("write the status of replica set {}", set.key())),
        }
        Ok(())
    }
}
