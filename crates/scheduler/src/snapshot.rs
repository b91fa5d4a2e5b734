//! The world a decision is made over: nodes with the sums of their pods, kept up to date by small steps.
//!
//! A decision borrows the snapshot, so nothing can change under it; between decisions the shell applies what it saw.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use gantry_client::Key;
use k8s_openapi::api::core::v1::{Node, Taint};

use crate::pod::{HostPort, PodInfo, normal_image};
use crate::resources::{Resources, pod_capacity};

/// A node and what its pods take from it.
#[derive(Clone, Debug, Default)]
pub struct NodeInfo {
    /// The node's name.
    pub name: Arc<str>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its taints.
    pub taints: Vec<Taint>,
    /// `spec.unschedulable`.
    pub unschedulable: bool,
    /// What pods may take in all.
    pub allocatable: Resources,
    /// How many pods it takes.
    pub pod_capacity: i64,
    /// Images on the node and their sizes in bytes.
    pub images: HashMap<String, i64>,
    /// Sum of the pods' requests.
    pub requested: Resources,
    /// Sum of the pods' requests with defaults, for scores.
    pub requested_nonzero: Resources,
    /// Host ports in use.
    pub ports: Vec<HostPort>,
    /// The pods counted here.
    pub pods: BTreeMap<Key, Arc<PodInfo>>,
}

impl NodeInfo {
    /// Reads a node object; sums start at zero.
    #[must_use]
    pub fn new(node: &Node) -> Self {
        let status = node.status.as_ref();
        let spec = node.spec.as_ref();
        let empty = BTreeMap::new();
        let allocatable = status.and_then(|s| s.allocatable.as_ref().or(s.capacity.as_ref())).unwrap_or(&empty);
        let images = status.and_then(|s| s.images.as_deref()).unwrap_or_default().iter();
        Self {
            name: Arc::from(node.metadata.name.as_deref().unwrap_or_default()),
            labels: node.metadata.labels.clone().unwrap_or_default(),
            taints: spec.and_then(|s| s.taints.clone()).unwrap_or_default(),
            unschedulable: spec.and_then(|s| s.unschedulable).unwrap_or(false),
            allocatable: Resources::from_list(allocatable),
            pod_capacity: pod_capacity(allocatable),
            images: images
                .flat_map(|i| i.names.iter().flatten().map(|n| (normal_image(n), i.size_bytes.unwrap_or(0))))
                .collect(),
            ..Self::default()
        }
    }

    /// Whether both offer pods the same: what a heartbeat or a new image changes does not count.
    #[must_use]
    pub fn offers_the_same(&self, other: &Self) -> bool {
        self.labels == other.labels
            && self.taints == other.taints
            && self.unschedulable == other.unschedulable
            && self.allocatable == other.allocatable
            && self.pod_capacity == other.pod_capacity
    }

    fn add_pod(&mut self, pod: Arc<PodInfo>) {
        self.requested.add(&pod.requests);
        self.requested_nonzero.add(&pod.requests_nonzero);
        self.ports.extend(pod.host_ports.iter().cloned());
        self.pods.insert(pod.key.clone(), pod);
    }

    fn remove_pod(&mut self, key: &Key) -> Option<Arc<PodInfo>> {
        let pod = self.pods.remove(key)?;
        self.requested.subtract(&pod.requests);
        self.requested_nonzero.subtract(&pod.requests_nonzero);
        for port in &pod.host_ports {
            if let Some(at) = self.ports.iter().position(|p| p == port) {
                self.ports.swap_remove(at);
            }
        }
        Some(pod)
    }
}

/// Every node, in an order that does not depend on hashing.
#[derive(Debug, Default)]
pub struct Snapshot {
    nodes: Vec<NodeInfo>,
    slots: HashMap<Arc<str>, usize>,
    image_nodes: HashMap<String, usize>,
    assigned: HashMap<Key, Arc<str>>,
    /// Pods on nodes that are not (or no longer) known; counted when the node appears.
    homeless: BTreeMap<Arc<str>, BTreeMap<Key, Arc<PodInfo>>>,
}

impl Snapshot {
    /// The nodes, stable between changes of the node set.
    #[must_use]
    pub fn nodes(&self) -> &[NodeInfo] {
        &self.nodes
    }

    /// The node of that name.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<&NodeInfo> {
        self.slots.get(name).map(|slot| &self.nodes[*slot])
    }

    /// How many nodes have the image.
    #[must_use]
    pub fn nodes_with_image(&self, image: &str) -> usize {
        self.image_nodes.get(image).copied().unwrap_or(0)
    }

    /// Where the pod is counted.
    #[must_use]
    pub fn node_of(&self, pod: &Key) -> Option<&str> {
        self.assigned.get(pod).map(|name| &**name)
    }

    /// Adds or replaces a node, keeping the pods counted on it. Returns the node as it was.
    pub fn set_node(&mut self, mut node: NodeInfo) -> Option<NodeInfo> {
        for image in node.images.keys() {
            *self.image_nodes.entry(image.clone()).or_insert(0) += 1;
        }
        let name = Arc::clone(&node.name);
        let Some(slot) = self.slots.get(&name).copied() else {
            for pod in self.homeless.remove(&name).into_iter().flat_map(BTreeMap::into_values) {
                node.add_pod(pod);
            }
            self.slots.insert(name, self.nodes.len());
            self.nodes.push(node);
            return None;
        };
        let old = &mut self.nodes[slot];
        node.requested = old.requested.clone();
        node.requested_nonzero = old.requested_nonzero.clone();
        node.ports = old.ports.clone();
        node.pods = old.pods.clone();
        let old = std::mem::replace(old, node);
        self.forget_images(&old);
        Some(old)
    }

    /// Removes a node; its pods stay known, so that a node that returns finds them counted.
    pub fn remove_node(&mut self, name: &str) {
        let Some(slot) = self.slots.remove(name) else { return };
        let node = self.nodes.swap_remove(slot);
        if let Some(moved) = self.nodes.get(slot) {
            self.slots.insert(Arc::clone(&moved.name), slot);
        }
        self.forget_images(&node);
        if !node.pods.is_empty() {
            self.homeless.insert(Arc::clone(&node.name), node.pods);
        }
    }

    fn forget_images(&mut self, node: &NodeInfo) {
        for image in node.images.keys() {
            if let Some(count) = self.image_nodes.get_mut(image) {
                *count -= 1;
                if *count == 0 {
                    self.image_nodes.remove(image);
                }
            }
        }
    }

    /// Counts the pod on `node`, in place of any earlier count of it.
    pub fn assign(&mut self, pod: Arc<PodInfo>, node: &str) {
        self.unassign(&pod.key);
        let node: Arc<str> = Arc::from(node);
        self.assigned.insert(pod.key.clone(), Arc::clone(&node));
        match self.slots.get(&node) {
            Some(slot) => self.nodes[*slot].add_pod(pod),
            None => {
                self.homeless.entry(node).or_default().insert(pod.key.clone(), pod);
            }
        }
    }

    /// Stops counting the pod and returns it.
    pub fn unassign(&mut self, pod: &Key) -> Option<Arc<PodInfo>> {
        let node = self.assigned.remove(pod)?;
        if let Some(slot) = self.slots.get(&node) {
            return self.nodes[*slot].remove_pod(pod);
        }
        let waiting = self.homeless.get_mut(&node)?;
        let pod = waiting.remove(pod);
        if waiting.is_empty() {
            self.homeless.remove(&node);
        }
        pod
    }
}
