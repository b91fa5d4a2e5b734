//! The scheduler without its wires: takes changes of nodes and pods, hands out attempts, learns how bindings ended.

use std::sync::Arc;

use gantry_client::Key;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use rand::rngs::StdRng;

use crate::decide::{Decider, Decision, Diagnosis};
use crate::plugins::{self, Event};
use crate::pod::PodInfo;
use crate::queue::{Queue, State};
use crate::snapshot::{NodeInfo, Snapshot};

/// The outcome of one attempt, for the shell to carry out.
#[derive(Debug)]
pub enum Attempt {
    /// Bind the pod; its room is already taken in the snapshot.
    Bind {
        /// The pod.
        pod: Arc<PodInfo>,
        /// Its node.
        node: Arc<str>,
    },
    /// Tell the user why it waits.
    Report {
        /// The pod.
        pod: Arc<PodInfo>,
        /// Why, in upstream's words.
        message: String,
    },
}

/// Snapshot, queue and decider, kept consistent with each other.
pub struct Core {
    name: String,
    snapshot: Snapshot,
    queue: Queue,
    decider: Decider,
}

impl Core {
    /// A scheduler that takes the pods whose `spec.schedulerName` is `name`.
    #[must_use]
    pub fn new(name: &str, rng: StdRng) -> Self {
        Self {
            name: name.to_owned(),
            snapshot: Snapshot::default(),
            queue: Queue::default(),
            decider: Decider::new(plugins::all(), rng),
        }
    }

    /// The pods that wait, and for what.
    #[must_use]
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// The nodes and what is on them.
    #[must_use]
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// A node appeared, changed or went (`None`).
    pub fn on_node(&mut self, name: &str, node: Option<&Node>, now: Timestamp) {
        let Some(node) = node else { return self.snapshot.remove_node(name) };
        let old = self.snapshot.set_node(NodeInfo::new(node));
        let Some(new) = self.snapshot.node(name) else { return };
        if old.as_ref().is_some_and(|old| old.offers_the_same(new)) {
            return;
        }
        let event = old.as_ref().map_or(Event::NodeAdded(new), |old| Event::NodeUpdated(old, new));
        self.queue.on_event(event, self.decider.plugins(), now);
    }

    /// A pod appeared, changed or went (`None`).
    pub fn on_pod(&mut self, key: &Key, pod: Option<&Arc<Pod>>, now: Timestamp) {
        let Some(pod) = pod.filter(|p| !is_finished(p)) else {
            self.queue.remove(key);
            return self.free(key, now);
        };
        let info = Arc::new(PodInfo::new(Arc::clone(pod)));
        if self.known_uid(key).is_some_and(|uid| uid != info.uid) {
            // Another incarnation took the name while we looked away.
            self.queue.remove(key);
            self.free(key, now);
        }
        if !info.node_name.is_empty() {
            self.queue.remove(key);
            let node = info.node_name.clone();
            return self.snapshot.assign(info, &node);
        }
        let ours = pod.spec.as_ref().and_then(|s| s.scheduler_name.as_deref()).unwrap_or(DEFAULT_NAME) == self.name;
        if ours && pod.metadata.deletion_timestamp.is_none() {
            self.queue.upsert(info);
        } else {
            self.queue.remove(key);
        }
    }

    fn known_uid(&self, key: &Key) -> Option<&str> {
        let counted = || {
            let node = self.snapshot.node(self.snapshot.node_of(key)?)?;
            node.pods.get(key).map(|pod| pod.uid.as_str())
        };
        self.queue.get(key).map(|(pod, ..)| pod.uid.as_str()).or_else(counted)
    }

    fn free(&mut self, key: &Key, now: Timestamp) {
        let Some(node) = self.snapshot.node_of(key).map(str::to_owned) else { return };
        let Some(gone) = self.snapshot.unassign(key) else { return };
        if let Some(node) = self.snapshot.node(&node) {
            self.queue.on_event(Event::PodRemoved(&gone, node), self.decider.plugins(), now);
        }
    }

    /// Whether [`Core::attempt`] would do something.
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.queue.has_active()
    }

    /// When [`Core::wake`] should next be called.
    #[must_use]
    pub fn next_wake(&self) -> Option<Timestamp> {
        self.queue.next_wake()
    }

    /// Lets pods go on whose back-off is over.
    pub fn wake(&mut self, now: Timestamp) {
        self.queue.wake(now);
    }

    /// Tries the next pod.
    pub fn attempt(&mut self, now: Timestamp) -> Option<Attempt> {
        let pod = self.queue.pop()?;
        Some(match self.decider.decide(&pod, &self.snapshot) {
            Decision::Node(node) => {
                self.snapshot.assign(Arc::clone(&pod), &node);
                Attempt::Bind { pod, node }
            }
            Decision::Unschedulable(diagnosis) => {
                let message = diagnosis.message();
                self.queue.unschedulable(&pod.key, diagnosis, now);
                Attempt::Report { pod, message }
            }
        })
    }

    /// The binding failed: the room is free again, and the pod is tried after a back-off if it still waits.
    pub fn bind_failed(&mut self, pod: &PodInfo, now: Timestamp) {
        let waits =
            |(known, state, _): (&Arc<PodInfo>, &State, u32)| known.uid == pod.uid && matches!(state, State::InFlight);
        if self.queue.get(&pod.key).is_some_and(waits) {
            self.free(&pod.key, now);
            self.queue.failed(&pod.key, now);
        } else if self.known_uid(&pod.key) == Some(&pod.uid) && !self.is_assigned(&pod.key) {
            // It was deleted or handed to another scheduler meanwhile; only the assumption is left.
            self.free(&pod.key, now);
        }
    }

    fn is_assigned(&self, key: &Key) -> bool {
        let counted = || self.snapshot.node(self.snapshot.node_of(key)?)?.pods.get(key);
        counted().is_some_and(|pod| !pod.node_name.is_empty())
    }

    /// Why the pod waits, if an attempt refused it.
    #[must_use]
    pub fn diagnosis(&self, key: &Key) -> Option<Arc<Diagnosis>> {
        match self.queue.get(key)?.1 {
            State::Unschedulable { diagnosis, .. } => Some(Arc::clone(diagnosis)),
            _ => None,
        }
    }
}

/// The scheduler that takes pods which name none.
pub const DEFAULT_NAME: &str = "default-scheduler";

fn is_finished(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or_default();
    phase == "Succeeded" || phase == "Failed"
}

#[cfg(test)]
mod tests;
