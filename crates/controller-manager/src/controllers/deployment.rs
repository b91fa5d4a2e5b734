//! Rolls deployments out: keeps a replica set per template and moves replicas from the old ones to the new.

mod plan;
mod revision;
mod rollout;
mod status;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use gantry_client::{
    Change, Client, DeleteParams, Key, Object, Patch,
    events::{EventType, Recorder, reference},
};
use gantry_controller::{Doing, Error, Outcome, Pending, Reconciler, Runner, owner};
use k8s_openapi::api::{
    apps::v1::{Deployment, DeploymentStatus, ReplicaSet},
    core::v1::Pod,
};
use serde_json::json;

use self::{
    plan::{Action, Plan, Snapshot},
    rollout::Set,
    status::Conditions,
};
use crate::{
    claim::claim,
    context::Context,
    readers::{self, Readers},
    selector,
};

/// Starts the controller; resolves when it stopped.
pub(super) async fn run(context: Context) {
    let readers = Arc::clone(&context.readers);
    let runner = Runner::new("deployment", context.options.concurrent_deployment_syncs, context.stop.clone());
    let (for_sets, for_pods) = (Arc::clone(&readers), Arc::clone(&readers));
    let runner = runner
        .watch_keys(&readers.deployments)
        .watch(&readers.replica_sets, move |change| for_set(&for_sets, change))
        .watch(&readers.pods, move |change| for_pod(&for_pods, change));
    let controller = Controller {
        client: context.client.clone(),
        recorder: context.recorder("deployment-controller"),
        context,
        pending: Pending::new(),
        statuses: Pending::new(),
    };
    runner.run(Arc::new(controller)).await;
}

/// The deployments that a change of a set concerns: its owner, or for an orphan those that select it.
fn for_set(readers: &Readers, change: &Change<ReplicaSet>) -> Vec<Key> {
    let owners = [&change.old, &change.new].into_iter().flatten();
    let mut keys: Vec<Key> = owners.filter_map(|s| owner::controller_key::<Deployment>(&s.metadata)).collect();
    if let Some(orphan) = change.new.as_ref().filter(|s| owner::controller_of(&s.metadata).is_none()) {
        let selects = |d: &Arc<Deployment>| {
            d.spec.as_ref().is_some_and(|s| selector::matches(&s.selector, orphan.metadata.labels.as_ref()))
        };
        keys.extend(
            readers.deployments.in_namespace(&change.key.namespace).iter().filter(|d| selects(d)).map(|d| d.key()),
        );
    }
    keys
}

/// A pod that is gone may have been the last that a recreation waited for.
fn for_pod(readers: &Readers, change: &Change<Pod>) -> Vec<Key> {
    let gone = change.new.as_deref().is_none_or(crate::pods::is_terminal);
    let set = change.old.as_ref().filter(|_| gone).and_then(|p| owner::controller_key::<ReplicaSet>(&p.metadata));
    let set = set.and_then(|key| readers.replica_sets.get(&key));
    let deployment = set.and_then(|s| owner::controller_key::<Deployment>(&s.metadata));
    let recreates = |key: &Key| readers.deployments.get(key).is_some_and(|d| !rollout::is_rolling(&d));
    deployment.into_iter().filter(recreates).collect()
}

struct Controller {
    context: Context,
    client: Client,
    recorder: Recorder,
    /// Writes of replica sets.
    pending: Pending,
    /// Writes of the deployments' own statuses.
    statuses: Pending,
}

#[async_trait]
impl Reconciler for Controller {
    async fn reconcile(&self, key: &Key) -> Result<Outcome, Error> {
        let readers = &self.context.readers;
        let Some(deployment) = readers.deployments.get(key) else {
            self.pending.forget(key);
            self.statuses.forget(key);
            return Ok(Outcome::Done);
        };
        let seen = self.statuses.settled(key, &readers.deployments);
        if !self.pending.settled(key, &readers.replica_sets) || !seen {
            return Ok(Outcome::After(Pending::LOOK_AGAIN));
        }
        let Some(spec) = &deployment.spec else { return Ok(Outcome::Done) };
        if selector::is_empty(&spec.selector) {
            let why = "This deployment is selecting all pods. A non-empty selector is required.";
            self.recorder.event(&reference(&*deployment), EventType::Warning, "SelectingAll", why);
            return Ok(Outcome::Done);
        }
        let candidates = readers::owned_and_orphans(&readers.replica_sets, deployment.uid(), &key.namespace);
        let sets = claim(&self.client, &self.pending, &*deployment, &spec.selector, candidates).await?;
        let Some(sets) = sets else { return Ok(Outcome::Done) };
        let pods: Vec<Arc<Pod>> = sets.iter().flat_map(|s| readers.pods.by_index(readers::OWNER, s.uid())).collect();
        let now = self.context.clock.now();
        let plan = plan::plan(&Snapshot { deployment: &deployment, sets: &sets, pods: &pods, now });
        self.execute(key, &deployment, plan).await
    }
}

impl Controller {
    async fn execute(&self, key: &Key, deployment: &Arc<Deployment>, plan: Plan) -> Result<Outcome, Error> {
        for action in plan.actions {
            match action {
                Action::Create(set) => self.create(key, deployment, &set).await?,
                Action::Update(set) => self.update(key, deployment, &set).await?,
                Action::Delete(set) => self.delete(key, &set).await?,
            }
        }
        if let Some(status) = plan.status {
            self.write_status(deployment, status, plan.revision).await?;
        }
        Ok(Outcome::after(plan.again))
    }

    async fn write_status(
        &self,
        deployment: &Deployment,
        status: DeploymentStatus,
        revision: Option<String>,
    ) -> Result<(), Error> {
        let mut changed = deployment.clone();
        changed.status = Some(status);
        if let Some(revision) = revision {
            changed.metadata.annotations.get_or_insert_default().insert(revision::REVISION.to_owned(), revision);
        }
        match self.client.api::<Deployment>().update_status(&changed).await {
            Ok(written) => self.statuses.wrote(&deployment.key(), &written),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error).doing(|| format!("write the status of deployment {}", deployment.key())),
        }
        Ok(())
    }

    async fn create(&self, key: &Key, deployment: &Arc<Deployment>, set: &Set) -> Result<(), Error> {
        let mut object = ReplicaSet::clone(&set.object);
        object.metadata.annotations = Some(set.annotations.clone());
        let spec = object.spec.get_or_insert_default();
        spec.replicas = Some(set.replicas);
        match self.client.api::<ReplicaSet>().create(&object).await {
            Ok(created) => {
                self.pending.wrote(key, &created);
                self.say_scaled(deployment, set);
                Ok(())
            }
            Err(error) if error.is_already_exists() => self.collide(deployment, set).await,
            // Nothing can be made there any more; the namespace takes the deployment with it.
            Err(error) if error.is_namespace_terminating() => Ok(()),
            Err(error) => {
                let why = gantry_common::error_chain(&error);
                let message = format!("Failed to create new replica set \"{}\": {why}", set.name());
                self.recorder.event(&reference(&**deployment), EventType::Warning, "ReplicaSetCreateError", message);
                let mut conditions = Conditions::of(deployment, self.context.clock.now());
                conditions.note_create_failure(set.name(), &why);
                let sets = rollout::Sets::default();
                let bounds = rollout::Bounds::of(deployment);
                let observed = status::observe(deployment, &sets, bounds, conditions);
                let old = deployment.status.clone().unwrap_or_default();
                let status = DeploymentStatus { conditions: observed.conditions, ..old };
                self.write_status(deployment, status, None).await?;
                Err(error).doing(|| format!("create replica set {}/{}", key.namespace, set.name()))
            }
        }
    }

    /// The name is taken: by our own set that the informer does not show yet, or by one whose template has the same hash.
    async fn collide(&self, deployment: &Arc<Deployment>, set: &Set) -> Result<(), Error> {
        let namespace = deployment.key().namespace;
        let found = self.client.namespaced::<ReplicaSet>(&namespace).get(set.name()).await;
        let found = found.doing(|| format!("read replica set {namespace}/{}", set.name()))?;
        let template = deployment.spec.as_ref().map(|s| &s.template);
        let ours = owner::controller_uid(&found.metadata) == deployment.uid();
        if ours && revision::same_template(template, found.spec.as_ref()) {
            self.pending.wrote(&deployment.key(), &found);
            return Ok(());
        }
        let mut status = deployment.status.clone().unwrap_or_default();
        status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
        self.write_status(deployment, status, None).await?;
        Err(Error::Refused(format!("the name of replica set {namespace}/{} is taken, trying another", set.name())))
    }

    async fn update(&self, key: &Key, deployment: &Arc<Deployment>, set: &Set) -> Result<(), Error> {
        // The resource version makes a conflict of a stale view.
        let mut patch = json!({
            "metadata": {"annotations": set.annotations, "resourceVersion": set.object.metadata.resource_version},
        });
        if set.replicas != set.replicas_before() {
            patch["spec"]["replicas"] = set.replicas.into();
        }
        if set.min_ready_seconds != set.min_ready_seconds_before() {
            patch["spec"]["minReadySeconds"] = set.min_ready_seconds.into();
        }
        let api = self.client.namespaced::<ReplicaSet>(&key.namespace);
        let updated = api.patch(set.name(), &Patch::Merge(patch), None).await;
        let updated = updated.doing(|| format!("update replica set {}", set.object.key()))?;
        self.pending.wrote(key, &updated);
        self.say_scaled(deployment, set);
        Ok(())
    }

    async fn delete(&self, key: &Key, set: &Arc<ReplicaSet>) -> Result<(), Error> {
        let api = self.client.namespaced::<ReplicaSet>(&key.namespace);
        match api.delete(&set.key().name, &DeleteParams::default().uid(set.uid())).await {
            Ok(()) => self.pending.deleted(key, &**set),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error).doing(|| format!("delete replica set {}", set.key())),
        }
        Ok(())
    }

    fn say_scaled(&self, deployment: &Arc<Deployment>, set: &Set) {
        let (from, to) = (set.replicas_before(), set.replicas);
        if from != to {
            let direction = if to > from { "up" } else { "down" };
            let message = format!("Scaled {direction} replica set {} from {from} to {to}", set.name());
            self.recorder.event(&reference(&**deployment), EventType::Normal, "ScalingReplicaSet", message);
        }
    }
}
