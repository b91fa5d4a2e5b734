//! How much CPU and memory a node and its containers use: what a kubelet answers to a `StatsRequest`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The use of one thing: a node or a container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// The node's or container's name.
    pub name: String,
    /// When it was measured.
    pub time: Timestamp,
    /// Seconds over which `cpu_nano_cores` is an average; 0 where there is only one measurement.
    pub window_seconds: f64,
    /// CPU in billionths of a core.
    pub cpu_nano_cores: u64,
    /// All CPU time since the start, in nanoseconds.
    pub cpu_usage_core_nanoseconds: u64,
    /// Memory, file caches and all.
    pub memory_usage_bytes: u64,
    /// Memory that cannot be given back at once: without file caches that nobody uses.
    pub memory_working_set_bytes: u64,
}

/// A pod's containers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PodStats {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub name: String,
    /// The pod's UID.
    pub uid: String,
    /// Its running containers.
    pub containers: Vec<Usage>,
}

/// A node and its pods.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeStats {
    /// The node.
    pub node: Usage,
    /// Its pods.
    pub pods: Vec<PodStats>,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_form_is_fixed() {
        let usage = |name: &str| {
            json!({
                "name": name, "time": "2026-01-02T03:04:05Z", "window_seconds": 1.5, "cpu_nano_cores": 1,
                "cpu_usage_core_nanoseconds": 2, "memory_usage_bytes": 3, "memory_working_set_bytes": 4,
            })
        };
        let pod = json!({"namespace": "ns", "name": "p", "uid": "u", "containers": [usage("c")]});
        let text = json!({"node": usage("n"), "pods": [pod]});
        let stats: NodeStats = serde_json::from_value(text.clone()).unwrap();
        assert_eq!(serde_json::to_value(&stats).unwrap(), text);
    }
}
