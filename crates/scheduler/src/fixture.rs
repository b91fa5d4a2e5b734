//! Short ways to write nodes and pods in tests.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};

use crate::pod::PodInfo;
use crate::snapshot::{NodeInfo, Snapshot};

/// A node with the given CPU and memory and room for 10 pods; `extra` is merged over it.
pub(crate) fn node(name: &str, cpu: &str, memory: &str, extra: Value) -> NodeInfo {
    let mut value = json!({
        "metadata": { "name": name, "labels": { "kubernetes.io/hostname": name } },
        "spec": {},
        "status": { "allocatable": { "cpu": cpu, "memory": memory, "pods": "10", "ephemeral-storage": "10Gi" } },
    });
    merge(&mut value, extra);
    let node: Node = serde_json::from_value(value).expect("a node");
    NodeInfo::new(&node)
}

/// A pod with one container that requests this; `spec` is merged over its spec.
pub(crate) fn pod(name: &str, requests: Value, spec: Value) -> Arc<PodInfo> {
    let mut value = json!({
        "metadata": { "name": name, "namespace": "default", "uid": name, "creationTimestamp": "2026-01-01T00:00:00Z" },
        "spec": { "containers": [{ "name": "c", "image": "app", "resources": { "requests": requests } }] },
    });
    merge(&mut value["spec"], spec);
    let pod: Pod = serde_json::from_value(value).expect("a pod");
    Arc::new(PodInfo::new(Arc::new(pod)))
}

/// A snapshot of these nodes.
pub(crate) fn snapshot(nodes: Vec<NodeInfo>) -> Snapshot {
    let mut snapshot = Snapshot::default();
    for node in nodes {
        snapshot.set_node(node);
    }
    snapshot
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (_, Value::Null) => {}
        (into, from) => *into = from,
    }
}
