//! What a node says of the use of its CPU and memory: the JSON of a `Stats` session.

use serde::{Deserialize, Serialize};

/// A node and the pods that run on it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeStats {
    /// The node as a whole.
    pub node: Usage,
    /// Its pods, each with the containers that run.
    #[serde(default)]
    pub pods: Vec<PodStats>,
}

/// One pod.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PodStats {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.uid`.
    pub uid: String,
    /// Its running containers.
    #[serde(default)]
    pub containers: Vec<Usage>,
}

/// What a node or a container uses.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// The node's or the container's name.
    pub name: String,
    /// When it was read (RFC 3339).
    pub time: String,
    /// The time between the two readings that the CPU rate was computed from, in seconds.
    pub window_seconds: f64,
    /// The CPU rate in billionths of a core.
    pub cpu_nano_cores: u64,
    /// CPU time since the start.
    pub cpu_usage_core_nanoseconds: u64,
    /// All memory that is charged, page cache included.
    pub memory_usage_bytes: u64,
    /// The memory that cannot be given up at once.
    pub memory_working_set_bytes: u64,
}
