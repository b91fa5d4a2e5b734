//! A pod as the scheduler sees it: compiled once when the object arrives, then only read.

use std::collections::BTreeMap;
use std::sync::Arc;

use gantry_client::Key;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{NodeSelectorTerm, Pod, PodSpec, PreferredSchedulingTerm, Toleration};

use crate::resources::{Resources, pod_requests, pod_requests_nonzero};

/// A host port that a container claims on its node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPort {
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// The address it binds; `0.0.0.0` is every address.
    pub address: String,
    /// The port.
    pub port: i32,
}

impl HostPort {
    /// Whether both cannot be bound on one node.
    #[must_use]
    pub fn conflicts(&self, other: &Self) -> bool {
        let same_address =
            self.address == other.address || self.address == EVERY_ADDRESS || other.address == EVERY_ADDRESS;
        self.port == other.port && self.protocol == other.protocol && same_address
    }
}

const EVERY_ADDRESS: &str = "0.0.0.0";

/// The parts of a pod that decide where it may run.
#[derive(Clone, Debug)]
pub struct PodInfo {
    /// Namespace and name.
    pub key: Key,
    /// The identity of this incarnation.
    pub uid: String,
    /// `spec.nodeName`, empty while unassigned.
    pub node_name: String,
    /// Higher goes first.
    pub priority: i32,
    /// Creation time, the second criterion of the order.
    pub created: Timestamp,
    /// Peak requests.
    pub requests: Resources,
    /// Requests with defaults for scores.
    pub requests_nonzero: Resources,
    /// Host ports of all containers.
    pub host_ports: Vec<HostPort>,
    /// Taints it accepts.
    pub tolerations: Vec<Toleration>,
    /// `spec.nodeSelector`.
    pub node_selector: BTreeMap<String, String>,
    /// Required node affinity; `None` where the pod states none.
    pub required_terms: Option<Vec<NodeSelectorTerm>>,
    /// Preferred node affinity.
    pub preferred_terms: Vec<PreferredSchedulingTerm>,
    /// Normalised image names of all containers.
    pub images: Vec<String>,
    /// Names of the scheduling gates that still hold it.
    pub gates: Vec<String>,
    /// The object, for conditions and events.
    pub object: Arc<Pod>,
}

impl PodInfo {
    /// Compiles `object`.
    #[must_use]
    pub fn new(object: Arc<Pod>) -> Self {
        let meta = &object.metadata;
        let empty = PodSpec::default();
        let spec = object.spec.as_ref().unwrap_or(&empty);
        let affinity = spec.affinity.as_ref().and_then(|a| a.node_affinity.clone()).unwrap_or_default();
        Self {
            key: Key::new(meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default()),
            uid: meta.uid.clone().unwrap_or_default(),
            node_name: spec.node_name.clone().unwrap_or_default(),
            priority: spec.priority.unwrap_or(0),
            created: meta.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |t| t.0),
            requests: pod_requests(spec),
            requests_nonzero: pod_requests_nonzero(spec),
            host_ports: host_ports(spec),
            tolerations: spec.tolerations.clone().unwrap_or_default(),
            node_selector: spec.node_selector.clone().unwrap_or_default(),
            required_terms: affinity.required_during_scheduling_ignored_during_execution.map(|s| s.node_selector_terms),
            preferred_terms: affinity.preferred_during_scheduling_ignored_during_execution.unwrap_or_default(),
            images: images(spec),
            gates: spec.scheduling_gates.iter().flatten().map(|g| g.name.clone()).collect(),
            object,
        }
    }
}

fn host_ports(spec: &PodSpec) -> Vec<HostPort> {
    let sidecars = spec.init_containers.iter().flatten().filter(|c| c.restart_policy.as_deref() == Some("Always"));
    let ports = spec.containers.iter().chain(sidecars).flat_map(|c| c.ports.iter().flatten());
    let claimed = ports.filter_map(|p| {
        let port = p.host_port.filter(|port| *port > 0)?;
        let address = p.host_ip.clone().filter(|ip| !ip.is_empty()).unwrap_or_else(|| EVERY_ADDRESS.to_owned());
        Some(HostPort { protocol: p.protocol.clone().unwrap_or_else(|| "TCP".to_owned()), address, port })
    });
    claimed.collect()
}

fn images(spec: &PodSpec) -> Vec<String> {
    let all = spec.init_containers.iter().flatten().chain(&spec.containers);
    all.filter_map(|c| c.image.as_deref()).map(normal_image).collect()
}

/// The name under which nodes report an image: with `:latest` where neither tag nor digest is given.
#[must_use]
pub fn normal_image(name: &str) -> String {
    let last_part = name.rsplit('/').next().unwrap_or(name);
    if last_part.contains(':') || name.contains('@') { name.to_owned() } else { format!("{name}:latest") }
}
