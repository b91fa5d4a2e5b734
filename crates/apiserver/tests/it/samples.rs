//! An object of every kind, and what is written to its status.

use gantry_api::kinds::{self, KindInfo};
use serde_json::{Value, json};

/// One kind's smallest useful object and what is written to its status.
pub(crate) struct Sample {
    pub(crate) kind: &'static KindInfo,
    pub(crate) body: Value,
    pub(crate) status: Value,
}

fn sample(group: &str, kind: &str, rest: Value, status: Value) -> Sample {
    let kind = kinds::all().iter().find(|k| k.group == group && k.kind == kind).expect("a served kind");
    let mut body = json!({"metadata": {"name": "x", "labels": {"a": "b"}}});
    for (key, value) in rest.as_object().into_iter().flatten() {
        body[key] = value.clone();
    }
    Sample { kind, body, status }
}

/// A sample of every kind that is stored.
pub(crate) fn samples() -> Vec<Sample> {
    let mut all = basics();
    all.extend(workloads());
    all
}

fn workloads() -> Vec<Sample> {
    let template = |policy: &str| {
        let spec = json!({"restartPolicy": policy, "containers": [{"name": "c", "image": "i"}]});
        json!({"metadata": {"labels": {"a": "b"}}, "spec": spec})
    };
    let selected = || json!({"spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template("Always")}});
    let job = json!({"template": template("Never")});
    let none = Value::Null;
    vec![
        sample("", "PodTemplate", json!({"template": template("Always")}), none.clone()),
        sample("", "ReplicationController", json!({"spec": {"template": template("Always")}}), json!({"replicas": 1})),
        sample("apps", "ControllerRevision", json!({"revision": 3, "data": {"spec": {"a": [1]}}}), none),
        sample("apps", "DaemonSet", selected(), json!({"numberReady": 2})),
        sample("apps", "StatefulSet", selected(), json!({"replicas": 1, "currentReplicas": 1})),
        sample("batch", "Job", json!({"spec": job}), json!({"active": 1})),
        sample(
            "batch",
            "CronJob",
            json!({"spec": {"schedule": "@hourly", "jobTemplate": {"spec": job}}}),
            json!({"lastScheduleTime": "2026-01-02T03:04:05Z"}),
        ),
    ]
}

fn basics() -> Vec<Sample> {
    let spec = json!({"containers": [{"name": "c", "image": "i"}]});
    let workload = json!({"spec": {"selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": spec}}});
    let ready = json!({"conditions": [{"type": "Ready", "status": "True"}]});
    let role = json!({"rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]});
    let binding = json!({"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "u"}]});
    let rbac = "rbac.authorization.k8s.io";
    let load_balancer = json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}});
    let service = json!({"spec": {"type": "LoadBalancer", "ports": [{"port": 80}], "selector": {"a": "b"}}});
    let slice = json!({"addressType": "IPv4", "endpoints": [{"addresses": ["10.244.0.2"]}], "ports": [{"port": 80}]});
    let event = json!({"involvedObject": {"kind": "Pod", "namespace": "default", "name": "p"}, "reason": "R", "type": "Normal"});
    let none = Value::Null;
    vec![
        sample(
            "",
            "Namespace",
            json!({}),
            json!({"conditions": [{"type": "NamespaceContentRemaining", "status": "False"}]}),
        ),
        sample("", "Node", json!({}), ready.clone()),
        sample("", "Pod", json!({"spec": spec}), json!({"phase": "Running"})),
        sample("", "Service", service, load_balancer),
        sample("", "ConfigMap", json!({"data": {"k": "v"}}), none.clone()),
        sample("", "Secret", json!({"data": {"k": "AA=="}}), none.clone()),
        sample("", "ServiceAccount", json!({}), none.clone()),
        sample("", "Event", event, none.clone()),
        sample("discovery.k8s.io", "EndpointSlice", slice, none.clone()),
        sample("coordination.k8s.io", "Lease", json!({"spec": {"holderIdentity": "h"}}), none.clone()),
        sample("apps", "Deployment", workload.clone(), json!({"replicas": 1, "updatedReplicas": 1})),
        sample("apps", "ReplicaSet", workload, json!({"replicas": 1})),
        sample(rbac, "Role", role.clone(), none.clone()),
        sample(rbac, "ClusterRole", role, none.clone()),
        sample(rbac, "RoleBinding", binding.clone(), none.clone()),
        sample(rbac, "ClusterRoleBinding", binding, none.clone()),
        sample("scheduling.k8s.io", "PriorityClass", json!({"value": 5}), none),
    ]
}
