//! Notices nodes that fall silent: marks them, taints them, tells their pods' readers.
//!
//! A node is heard through its Lease and its status. Clocks of nodes do not matter: silence is counted from when *we* last
//! saw a heartbeat change. One timer per node; nothing is polled.

mod disruption;
mod health;
mod plan;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use gantry_client::{
    Change, Client, Key, Object, Patch,
    events::{EventType, Recorder, reference},
};
use gantry_controller::{Doing, Error, Failures, Outcome, Reconciler, Runner};
use jiff::Timestamp;
use k8s_openapi::api::{
    coordination::v1::Lease,
    core::v1::{Node, Pod},
};
use parking_lot::Mutex;
use serde_json::json;
use tokio::time::Instant;

use self::{
    disruption::{Pace, State},
    health::Health,
    plan::{Plan, Snapshot, plan},
};
use crate::{
    context::Context,
    pods,
    readers::{self, Readers},
};

/// Starts the controller; resolves when it stopped.
pub(super) async fn run(context: Context) {
    let readers = Arc::clone(&context.readers);
    let health = Arc::new(Health::default());
    let all_silent = AtomicBool::new(false);
    let (by_node, by_lease, by_pod) = (Arc::clone(&health), Arc::clone(&health), Arc::clone(&readers));
    let for_nodes = Arc::clone(&readers);
    let runner = Runner::new("node-lifecycle", 4, context.stop.clone())
        .watch(&readers.nodes, move |change| {
            by_node.see_node(change);
            for_node(&for_nodes, &all_silent, change)
        })
        .watch(&readers.node_leases, move |change: &Change<Lease>| {
            by_lease.see_lease(change);
            Vec::new()
        })
        .watch(&readers.pods, move |change| for_pod(&by_pod, change));
    let controller = Controller {
        client: context.client.clone(),
        recorder: context.recorder("node-controller"),
        context,
        health,
        tainted: Mutex::default(),
        registered: Mutex::default(),
    };
    runner.run(Arc::new(controller)).await;
}

/// The node itself, and all nodes when the last one falls silent or the first one comes back.
fn for_node(readers: &Readers, all_silent: &AtomicBool, change: &Change<Node>) -> Vec<Key> {
    let nodes = readers.nodes.list();
    let now = !nodes.is_empty() && nodes.iter().all(|n| !plan::is_ready(n));
    if all_silent.swap(now, Ordering::Relaxed) != now {
        return nodes.iter().map(|n| n.key()).collect();
    }
    vec![change.key.clone()]
}

/// A pod that becomes ready on a silent node cannot be: its kubelet's last words arrived late.
fn for_pod(readers: &Readers, change: &Change<Pod>) -> Vec<Key> {
    let Some(pod) = change.new.as_ref().filter(|p| pods::is_ready(p)) else { return Vec::new() };
    let node = Key::cluster(pods::node(pod));
    let silent = readers.nodes.get(&node).is_some_and(|n| plan::is_silent(&n));
    silent.then_some(node).into_iter().collect()
}

struct Controller {
    context: Context,
    client: Client,
    recorder: Recorder,
    health: Arc<Health>,
    /// When a node of each zone was last given an evicting taint.
    tainted: Mutex<BTreeMap<String, Instant>>,
    /// Nodes whose registration was told, by uid.
    registered: Mutex<BTreeMap<String, String>>,
}

#[async_trait]
impl Reconciler for Controller {
    async fn reconcile(&self, key: &Key) -> Result<Outcome, Error> {
        let readers = &self.context.readers;
        let Some(node) = readers.nodes.get(key) else {
            self.health.forget(&key.name);
            self.tell_removed(key);
            return Ok(Outcome::Done);
        };
        self.tell_registered(&node);
        let options = &self.context.options;
        let nodes = readers.nodes.list();
        let (pace, wait) = self.pace(&node, &nodes);
        let plan = plan(&Snapshot {
            node: &node,
            silent_for: self.health.silent_for(&key.name),
            grace: options.node_monitor_grace_period,
            startup_grace: options.node_startup_grace_period,
            pace,
            now: self.context.clock.now(),
        });
        let again = plan.again;
        let evicting = plan.evicts;
        self.execute(&node, plan).await?;
        if evicting {
            self.tainted.lock().insert(disruption::zone(&node), Instant::now());
        }
        // Whichever comes first: the end of the grace period or this zone's turn for a taint.
        Ok(Outcome::after([again, wait].into_iter().flatten().min()))
    }
}

impl Controller {
    /// Whether the node may get an evicting taint now, and if not, when its zone's turn is.
    fn pace(&self, node: &Node, nodes: &[Arc<Node>]) -> (Pace, Option<Duration>) {
        let zone = disruption::zone(node);
        let state = disruption::state(nodes, &zone, &self.context.options);
        let interval = match state {
            State::AllSilent => return (Pace::Retract, None),
            State::Halted => return (Pace::Hold, None),
            State::Every(interval) => interval,
        };
        let last = self.tainted.lock().get(&zone).copied();
        let left = last.map_or(Duration::ZERO, |at| interval.saturating_sub(at.elapsed()));
        if left.is_zero() {
            return (Pace::Taint, None);
        }
        let needs_turn = plan::wants_eviction(node) && !plan::is_evicting(node);
        (Pace::Hold, needs_turn.then_some(left))
    }

    fn tell_registered(&self, node: &Arc<Node>) {
        let name = node.key().name;
        let known = self.registered.lock().insert(name.clone(), node.uid().to_owned());
        if known.as_deref() != Some(node.uid()) {
            let message = format!("Node {name} event: Registered Node {name} in Controller");
            self.recorder.event(&reference(&**node), EventType::Normal, "RegisteredNode", message);
        }
    }

    fn tell_removed(&self, key: &Key) {
        let Some(uid) = self.registered.lock().remove(&key.name) else { return };
        let about = k8s_openapi::api::core::v1::ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Node".to_owned()),
            name: Some(key.name.clone()),
            uid: Some(uid),
            ..Default::default()
        };
        let message = format!("Node {0} event: Removing Node {0} from Controller", key.name);
        self.recorder.event(&about, EventType::Normal, "RemovingNode", message);
    }

    async fn execute(&self, node: &Arc<Node>, plan: Plan) -> Result<(), Error> {
        let key = node.key();
        let api = self.client.api::<Node>();
        if let Some(conditions) = plan.conditions {
            // The resource version makes a conflict of a heartbeat that arrived meanwhile.
            let version = &node.metadata.resource_version;
            let patch = json!({"metadata": {"resourceVersion": version}, "status": {"conditions": conditions}});
            let written = api.patch(&key.name, &Patch::Strategic(patch), Some("status")).await;
            written.doing(|| format!("mark node {key} as silent"))?;
            let message = format!("Node {key} status is now: NodeNotReady");
            self.recorder.event(&reference(&**node), EventType::Normal, "NodeNotReady", message);
            // The change brings the key back; taints follow from the conditions then.
            return Ok(());
        }
        if let Some(taints) = plan.taints {
            let patch =
                json!({"metadata": {"resourceVersion": node.metadata.resource_version}, "spec": {"taints": taints}});
            // The list is written as a whole.
            let written = api.patch(&key.name, &Patch::Merge(patch), None).await;
            written.doing(|| format!("taint node {key}"))?;
        }
        if plan.silence_pods {
            self.silence_pods(node).await?;
        }
        Ok(())
    }

    /// Nobody vouches for the pods of a silent node any more: traffic must not go there.
    async fn silence_pods(&self, node: &Arc<Node>) -> Result<(), Error> {
        let now = Timestamp::from_second(self.context.clock.now().as_second()).unwrap_or_default();
        let mut failures = Failures::default();
        for pod in self.context.readers.pods.by_index(readers::NODE, &node.key().name) {
            if pods::is_ready(&pod) {
                failures.note(self.silence(&pod, now).await)?;
            }
        }
        failures.first()
    }

    async fn silence(&self, pod: &Pod, now: Timestamp) -> Result<(), Error> {
        let key = pod.key();
        let condition = json!({"type": "Ready", "status": "False", "lastTransitionTime": now.to_string()});
        let patch = json!({"metadata": {"uid": pod.uid()}, "status": {"conditions": [condition]}});
        let api = self.client.namespaced::<Pod>(&key.namespace);
        match api.patch(&key.name, &Patch::Strategic(patch), Some("status")).await {
            Ok(_) => {
                self.recorder.event(&reference(pod), EventType::Warning, "NodeNotReady", "Node is not ready");
                Ok(())
            }
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error).doing(|| format!("mark pod {key} of a silent node as not ready")),
        }
    }
}
