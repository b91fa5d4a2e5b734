//! What `status` holds before anybody has written it: upstream's types print it even then.

use serde_json::json;

use crate::Value;
use crate::kinds::KindInfo;

/// The status of a new object; nothing for kinds that have none or print it only when it is set.
#[must_use]
pub fn empty_status(kind: &KindInfo) -> Option<Value> {
    if !kind.has_status || kind.custom.is_some() {
        return None;
    }
    Some(match (kind.group, kind.kind) {
        ("apiextensions.k8s.io", _) => return None,
        ("", "Service") | ("networking.k8s.io", "Ingress") => json!({"loadBalancer": {}}),
        ("", "Node") => json!({
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 0}},
            "nodeInfo": {
                "machineID": "", "systemUUID": "", "bootID": "", "kernelVersion": "", "osImage": "",
                "containerRuntimeVersion": "", "kubeletVersion": "", "kubeProxyVersion": "", "operatingSystem": "",
                "architecture": "",
            },
        }),
        ("", "ReplicationController") | ("apps", "ReplicaSet") => json!({"replicas": 0}),
        ("apps", "StatefulSet") => json!({"replicas": 0, "availableReplicas": 0}),
        ("apps", "DaemonSet") => json!({
            "currentNumberScheduled": 0, "numberMisscheduled": 0, "desiredNumberScheduled": 0, "numberReady": 0,
        }),
        ("autoscaling", _) => json!({"desiredReplicas": 0}),
        ("policy", _) => json!({
            "disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0,
        }),
        ("storage.k8s.io", _) => json!({"attached": false}),
        _ => json!({}),
    })
}
