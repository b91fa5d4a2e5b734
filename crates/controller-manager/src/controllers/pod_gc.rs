//! Deletes pods that nobody else will: on nodes that are gone, asked to go before they got a node, and ended ones beyond a
//! number.

mod judge;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use gantry_client::{Change, Client, DeleteParams, Key, Object, Patch};
use gantry_controller::{Doing, Error, Failures, Outcome, Reconciler, Runner};
use k8s_openapi::api::core::v1::{Node, Pod};
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::Instant;

use self::judge::{Judgement, NodeState, judge, surplus};
use crate::{
    context::Context,
    pods,
    readers::{self, Readers},
};

/// A node that is not seen for this long is looked for at the API server.
const QUARANTINE: Duration = Duration::from_secs(40);

/// Starts the controller; resolves when it stopped.
pub(super) async fn run(context: Context) {
    let readers = Arc::clone(&context.readers);
    let (for_pods, for_nodes) = (Arc::clone(&readers), Arc::clone(&readers));
    let threshold = context.options.terminated_pod_gc_threshold;
    let runner = Runner::new("pod-gc", 4, context.stop.clone())
        .watch(&readers.pods, move |change| for_pod(&for_pods, threshold, change))
        .watch(&readers.nodes, move |change| for_node(&for_nodes, change));
    let controller = Controller { client: context.client.clone(), context, unseen: Mutex::default() };
    runner.run(Arc::new(controller)).await;
}

/// Stands for all ended pods together.
fn all_ended() -> Key {
    Key::default()
}

fn for_pod(readers: &Readers, threshold: usize, change: &Change<Pod>) -> Vec<Key> {
    let Some(pod) = &change.new else { return Vec::new() };
    let mut keys = Vec::new();
    let node = pods::node(pod);
    if pods::is_terminating(pod) || (!node.is_empty() && readers.nodes.get(&Key::cluster(node)).is_none()) {
        keys.push(change.key.clone());
    }
    let just_ended = pods::is_terminal(pod) && !change.old.as_deref().is_some_and(pods::is_terminal);
    if just_ended && threshold > 0 {
        keys.push(all_ended());
    }
    keys
}

fn for_node(readers: &Readers, change: &Change<Node>) -> Vec<Key> {
    let state = |node: &Option<Arc<Node>>| NodeState::of(node.as_deref());
    if state(&change.old) == state(&change.new) {
        return Vec::new();
    }
    readers.pods.by_index(readers::NODE, &change.key.name).iter().map(|p| p.key()).collect()
}

struct Controller {
    context: Context,
    client: Client,
    /// Since when nodes that pods name have not been seen. One entry per such node.
    unseen: Mutex<BTreeMap<String, Instant>>,
}

#[async_trait]
impl Reconciler for Controller {
    async fn reconcile(&self, key: &Key) -> Result<Outcome, Error> {
        let readers = &self.context.readers;
        if *key == all_ended() {
            let ended = readers.pods.by_index(readers::PHASE, readers::ENDED);
            let mut failures = Failures::default();
            for pod in surplus(ended, self.context.options.terminated_pod_gc_threshold) {
                failures.note(self.delete(&pod, "it is one of too many that have ended").await)?;
            }
            return failures.first().map(|()| Outcome::Done);
        }
        let Some(pod) = readers.pods.get(key) else { return Ok(Outcome::Done) };
        let node = readers.nodes.get(&Key::cluster(pods::node(&pod)));
        if node.is_some() {
            self.unseen.lock().remove(pods::node(&pod));
        }
        match judge(&pod, NodeState::of(node.as_deref())) {
            Judgement::Keep => Ok(Outcome::Done),
            Judgement::Delete(why) => self.delete(&pod, why).await.map(|()| Outcome::Done),
            Judgement::Orphaned => self.orphaned(&pod).await,
        }
    }
}

impl Controller {
    /// The pod's node is not there: makes sure, tells, deletes.
    async fn orphaned(&self, pod: &Arc<Pod>) -> Result<Outcome, Error> {
        let node = pods::node(pod);
        let unseen_for = self.unseen.lock().entry(node.to_owned()).or_insert_with(Instant::now).elapsed();
        if unseen_for < QUARANTINE {
            return Ok(Outcome::After(QUARANTINE - unseen_for));
        }
        let live = self.client.api::<Node>().get_opt(node).await;
        if live.doing(|| format!("look for node {node} of pod {}", pod.key()))?.is_some() {
            self.unseen.lock().remove(node);
            return Ok(Outcome::Done);
        }
        if !pods::is_terminal(pod) {
            self.mark_failed(pod).await?;
        }
        self.delete(pod, "its node is gone").await?;
        self.unseen.lock().retain(|name, _| !self.context.readers.pods.by_index(readers::NODE, name).is_empty());
        Ok(Outcome::Done)
    }

    async fn mark_failed(&self, pod: &Pod) -> Result<(), Error> {
        let key = pod.key();
        let now = jiff::Timestamp::from_second(self.context.clock.now().as_second()).unwrap_or_default();
        let patch = json!({"metadata": {"uid": pod.uid()}, "status": {"phase": "Failed", "conditions": [{
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "DeletionByPodGC",
            "message": "PodGC: node no longer exists",
            "lastTransitionTime": now.to_string(),
        }]}});
        let api = self.client.namespaced::<Pod>(&key.namespace);
        match api.patch(&key.name, &Patch::Strategic(patch), Some("status")).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error).doing(|| format!("mark pod {key} as failed")),
        }
    }

    async fn delete(&self, pod: &Arc<Pod>, why: &str) -> Result<(), Error> {
        let key = pod.key();
        tracing::info!(pod = %key, why, "deleting pod");
        let api = self.client.namespaced::<Pod>(&key.namespace);
        match api.delete(&key.name, &DeleteParams::default().grace(0).uid(pod.uid())).await {
            Ok(()) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error).doing(|| format!("delete pod {key}, because {why}")),
        }
    }
}
