//! Says of each disruption budget how many of its pods are well, and how many may be evicted.

mod owners;
mod plan;
mod stale;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use gantry_client::{
    Change, Client, Key, Object, Reader,
    events::{EventType, Recorder, reference},
};
use gantry_common::clock::SharedClock;
use gantry_controller::{Doing, Error, Outcome, Reconciler, Runner, owner};
use k8s_openapi::api::{
    core::v1::Pod,
    policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus},
};

use self::{owners::Owners, plan::Plan};
use crate::{context::Context, pods, readers::Readers, selector};

/// Starts the controller; resolves when it stopped.
pub(super) async fn run(context: Context) {
    context.catalog.synced().await;
    let readers = Arc::clone(&context.readers);
    let recorder = context.recorder("controllermanager");
    let (for_pods, told) = (readers.budgets.clone(), recorder.clone());
    let budgets = || readers.budgets.clone();
    let runner = Runner::new("disruption", 1, context.stop.clone())
        .watch_keys(&readers.budgets)
        .watch(&readers.pods, move |change| for_pod(&for_pods, &told, change));
    let runner = scaled(runner, &readers.deployments, budgets(), |o| o.spec.as_ref().and_then(|s| s.replicas));
    let runner = scaled(runner, &readers.replica_sets, budgets(), |o| o.spec.as_ref().and_then(|s| s.replicas));
    let runner = scaled(runner, &readers.stateful_sets, budgets(), |o| o.spec.as_ref().and_then(|s| s.replicas));
    let controllers = &readers.replication_controllers;
    let runner = scaled(runner, controllers, budgets(), |o| o.spec.as_ref().and_then(|s| s.replicas));
    let controller = Controller {
        client: context.client.clone(),
        owners: Owners::new(&context),
        clock: Arc::clone(&context.clock),
        readers,
        recorder,
    };
    tokio::join!(runner.run(Arc::new(controller)), stale::run(&context));
}

/// Also looks when one of the reader's objects is there for another number of pods than before.
fn scaled<K: Object>(
    runner: Runner,
    reader: &Reader<K>,
    budgets: Reader<PodDisruptionBudget>,
    replicas: fn(&K) -> Option<i32>,
) -> Runner {
    runner.watch(reader, move |change: &Change<K>| {
        if change.old.as_deref().map(replicas) == change.new.as_deref().map(replicas) {
            return Vec::new();
        }
        budgets.in_namespace(&change.key.namespace).iter().map(|b| b.key()).collect()
    })
}

fn selects(budget: &PodDisruptionBudget, pod: &Pod) -> bool {
    let selector = budget.spec.as_ref().and_then(|s| s.selector.as_ref());
    selector.is_some_and(|selector| selector::matches(selector, pod.metadata.labels.as_ref()))
}

/// What matters of a pod to a budget.
fn facts(pod: &Pod) -> (&str, Option<&selector::Labels>, &str, bool, bool) {
    let meta = &pod.metadata;
    (pod.uid(), meta.labels.as_ref(), owner::controller_uid(meta), pods::is_terminating(pod), pods::is_ready(pod))
}

/// The budgets that select the pod, as it was or as it is.
fn for_pod(budgets: &Reader<PodDisruptionBudget>, recorder: &Recorder, change: &Change<Pod>) -> Vec<Key> {
    let (old, new) = (change.old.as_deref(), change.new.as_deref());
    if old.map(facts) == new.map(facts) {
        return Vec::new();
    }
    let budgets = budgets.in_namespace(&change.key.namespace);
    let of = |pod: Option<&Pod>| -> Vec<Key> {
        budgets.iter().filter(|b| pod.is_some_and(|pod| selects(b, pod))).map(|b| b.key()).collect()
    };
    let (mut keys, before) = (of(new), of(old));
    if let (Some(pod), [first, _, ..]) = (new, keys.as_slice()) {
        let Key { namespace, name } = &change.key;
        let message = format!(
            "Pod \"{namespace}\"/\"{name}\" matches multiple PodDisruptionBudgets.  Chose \"{}\" arbitrarily.",
            first.name
        );
        recorder.event(&reference(pod), EventType::Warning, "MultiplePodDisruptionBudgets", message);
    }
    keys.extend(before);
    keys
}

struct Controller {
    client: Client,
    readers: Arc<Readers>,
    owners: Owners,
    clock: SharedClock,
    recorder: Recorder,
}

#[async_trait]
impl Reconciler for Controller {
    async fn reconcile(&self, key: &Key) -> Result<Outcome, Error> {
        let Some(budget) = self.readers.budgets.get(key) else { return Ok(Outcome::Done) };
        let mut pods = self.readers.pods.in_namespace(&key.namespace);
        pods.retain(|pod| selects(&budget, pod));
        let plan = match self.plan(&budget, &pods).await {
            Ok(plan) => plan,
            Err(error) => return self.close(&budget, error).await,
        };
        for pod in &plan.late {
            let namespace = &key.namespace;
            let message = format!("Pod was expected by PDB {namespace}/{namespace} to be deleted but it wasn't");
            self.recorder.event(&reference(&**pod), EventType::Warning, "NotDeleted", message);
        }
        if let Some(status) = plan.status {
            self.write(&budget, status).await?;
        }
        Ok(Outcome::after(plan.again))
    }
}

impl Controller {
    async fn plan(&self, budget: &PodDisruptionBudget, pods: &[Arc<Pod>]) -> Result<Plan, Error> {
        let tell = |kind, reason, message: String| self.recorder.event(&reference(budget), kind, reason, message);
        if pods.is_empty() {
            tell(EventType::Normal, "NoPods", "No matching pods found".to_owned());
        }
        let scale = if plan::needs_scale(budget) {
            let found = self.owners.scale(pods).await.inspect_err(|error| {
                let message = format!("Failed to calculate the number of expected pods: {}", text(error));
                tell(EventType::Warning, "CalculateExpectedPodCountFailed", message);
            })?;
            if found.unmanaged {
                tell(EventType::Warning, "UnmanagedPods", plan::unmanaged(budget));
            }
            found.replicas
        } else {
            0
        };
        Ok(plan::plan(budget, pods, plan::expected(budget, pods.len(), scale), self.clock.now()))
    }

    /// Lets nothing be evicted, as it is not known how many pods there should be. What may pass by itself is tried again.
    async fn close(&self, budget: &PodDisruptionBudget, error: Error) -> Result<Outcome, Error> {
        let status = plan::failed(budget, &text(&error), self.clock.now());
        if budget.status.as_ref() != Some(&status) {
            self.write(budget, status).await?;
        }
        match error {
            Error::Refused(why) => {
                tracing::debug!(budget = %budget.key(), why, "cannot say how many pods are expected");
                Ok(Outcome::Done)
            }
            error @ Error::Call { .. } => Err(error),
        }
    }

    async fn write(&self, budget: &PodDisruptionBudget, status: PodDisruptionBudgetStatus) -> Result<(), Error> {
        let changed = PodDisruptionBudget { status: Some(status), ..budget.clone() };
        match self.client.api::<PodDisruptionBudget>().update_status(&changed).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error).doing(|| format!("write the status of pod disruption budget {}", budget.key())),
        }
    }
}

/// What upstream says of an error: the cause without what was being done.
fn text(error: &Error) -> String {
    error.call().map_or_else(|| error.to_string(), |e| gantry_common::error_chain(e))
}
