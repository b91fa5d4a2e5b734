//! An object of every kind, and what is written to its status.

use base64::Engine as _;
use gantry_api::kinds::{self, KindInfo};
use serde_json::{Value, json};

/// One kind's smallest useful object and what is written to its status.
pub(crate) struct Sample {
    pub(crate) kind: &'static KindInfo,
    /// What it is called; two forms of one kind need two names.
    pub(crate) name: &'static str,
    pub(crate) body: Value,
    pub(crate) status: Value,
}

fn sample(group: &str, kind: &str, rest: Value, status: Value) -> Sample {
    let kind = kinds::all().iter().find(|k| k.group == group && k.kind == kind).expect("a served kind");
    let mut body = json!({"metadata": {"labels": {"a": "b"}}});
    for (key, value) in rest.as_object().into_iter().flatten() {
        body[key] = value.clone();
    }
    Sample { kind, name: "x", body, status }
}

/// A sample of every kind that is stored.
pub(crate) fn samples() -> Vec<Sample> {
    let mut all = basics();
    all.extend(workloads());
    all.extend(limits_and_storage());
    all.extend(classes_and_drivers());
    all.extend(networking());
    all.extend(policies());
    all.extend(devices());
    all.extend(admission());
    all
}

fn admission() -> Vec<Sample> {
    const GROUP: &str = "admissionregistration.k8s.io";
    let none = Value::Null;
    let rule =
        json!({"operations": ["CREATE"], "apiGroups": ["example.com"], "apiVersions": ["v1"], "resources": ["things"]});
    let webhook = json!({"name": "w.example.com", "clientConfig": {"url": "https://example.com/x"}, "rules": [rule],
        "sideEffects": "None", "admissionReviewVersions": ["v1"]});
    let matched = json!({"resourceRules": [rule]});
    let mutation =
        json!({"patchType": "JSONPatch", "jsonPatch": {"expression": "[JSONPatch{op: 'remove', path: '/x'}]"}});
    let condition = json!({"type": "Ready", "status": "True", "reason": "r", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z"});
    vec![
        sample(GROUP, "ValidatingWebhookConfiguration", json!({"webhooks": [webhook]}), none.clone()),
        sample(GROUP, "MutatingWebhookConfiguration", json!({"webhooks": [webhook]}), none.clone()),
        sample(
            GROUP,
            "ValidatingAdmissionPolicy",
            json!({"spec": {"matchConstraints": matched, "validations": [{"expression": "true"}]}}),
            json!({"conditions": [condition]}),
        ),
        sample(
            GROUP,
            "ValidatingAdmissionPolicyBinding",
            json!({"spec": {"policyName": "none", "validationActions": ["Deny"]}}),
            none.clone(),
        ),
        sample(
            GROUP,
            "MutatingAdmissionPolicy",
            json!({"spec": {"matchConstraints": matched, "mutations": [mutation], "reinvocationPolicy": "Never"}}),
            none.clone(),
        ),
        sample(GROUP, "MutatingAdmissionPolicyBinding", json!({"spec": {"policyName": "none"}}), none),
    ]
}

fn limits_and_storage() -> Vec<Sample> {
    let none = Value::Null;
    let quantity = json!({"requests": {"storage": "1Gi"}});
    vec![
        sample(
            "",
            "LimitRange",
            json!({"spec": {"limits": [{"type": "PersistentVolumeClaim", "max": {"storage": "100Ti"}}]}}),
            none.clone(),
        ),
        sample("", "ResourceQuota", json!({"spec": {"hard": {"secrets": "1000"}}}), json!({"used": {"secrets": "1"}})),
        sample(
            "",
            "PersistentVolume",
            json!({"spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}}}),
            json!({"phase": "Available"}),
        ),
        sample(
            "",
            "PersistentVolumeClaim",
            json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": quantity}}),
            json!({"phase": "Lost"}),
        ),
        sample(
            "storage.k8s.io",
            "VolumeAttachment",
            json!({"spec": {"attacher": "a.b", "nodeName": "n", "source": {"persistentVolumeName": "v"}}}),
            json!({"attached": true}),
        ),
        sample(
            "storage.k8s.io",
            "CSIStorageCapacity",
            json!({"storageClassName": "c", "capacity": "5Gi"}),
            none.clone(),
        ),
        Sample {
            // The Endpoints of the service's name would go with it.
            name: "y",
            ..sample(
                "",
                "Endpoints",
                json!({"subsets": [{"addresses": [{"ip": "10.1.2.3"}], "ports": [{"port": 80}]}]}),
                none,
            )
        },
    ]
}

fn classes_and_drivers() -> Vec<Sample> {
    let none = Value::Null;
    vec![
        sample("storage.k8s.io", "StorageClass", json!({"provisioner": "a.b/c"}), none.clone()),
        sample(
            "storage.k8s.io",
            "VolumeAttributesClass",
            json!({"driverName": "a.b", "parameters": {"iops": "100"}}),
            none.clone(),
        ),
        Sample {
            name: "v1.example.com",
            ..sample(
                "apiregistration.k8s.io",
                "APIService",
                json!({"spec": {"group": "example.com", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1,
                    "service": {"namespace": "none", "name": "none"}}}),
                json!({"conditions": [{"type": "Other", "status": "True"}]}),
            )
        },
        sample("storage.k8s.io", "CSIDriver", json!({"spec": {"attachRequired": false}}), none.clone()),
        sample(
            "storage.k8s.io",
            "CSINode",
            json!({"spec": {"drivers": [{"name": "a.b", "nodeID": "1", "topologyKeys": ["zone"]}]}}),
            none.clone(),
        ),
        sample("node.k8s.io", "RuntimeClass", json!({"handler": "runc"}), none.clone()),
        sample("networking.k8s.io", "IngressClass", json!({"spec": {"controller": "a.b/c"}}), none),
    ]
}

fn networking() -> Vec<Sample> {
    let none = Value::Null;
    let backend = json!({"service": {"name": "s", "port": {"number": 80}}});
    vec![
        sample(
            "networking.k8s.io",
            "Ingress",
            json!({"spec": {"defaultBackend": backend}}),
            json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}}),
        ),
        sample("networking.k8s.io", "NetworkPolicy", json!({"spec": {"podSelector": {}}}), none.clone()),
        Sample {
            name: "10.250.0.9",
            ..sample(
                "networking.k8s.io",
                "IPAddress",
                json!({"spec": {"parentRef": {"group": "a.b", "resource": "things", "name": "t"}}}),
                none.clone(),
            )
        },
        sample(
            "networking.k8s.io",
            "ServiceCIDR",
            json!({"spec": {"cidrs": ["10.251.0.0/24"]}}),
            json!({"conditions": [{"type": "Ready", "status": "False", "reason": "R", "message": "m",
                "lastTransitionTime": "2026-01-02T03:04:05Z"}]}),
        ),
        Sample {
            name: "y",
            ..sample(
                "events.k8s.io",
                "Event",
                json!({"eventTime": "2026-01-02T03:04:05.000000Z", "reportingController": "a.b/c", "type": "Normal",
                    "reportingInstance": "i", "action": "A", "reason": "R",
                    "regarding": {"kind": "Pod", "namespace": "default", "name": "p"}}),
                none,
            )
        },
    ]
}

fn policies() -> Vec<Sample> {
    let scaler = json!({"spec": {"maxReplicas": 3, "scaleTargetRef": {"kind": "Deployment", "name": "d"}}});
    let rules = json!([{"subjects": [{"kind": "User", "user": {"name": "u"}}],
        "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": ["/x"]}]}]);
    let condition = |kind: &str| {
        json!({"conditions": [{"type": kind, "status": "True", "reason": "R",
        "lastTransitionTime": "2026-01-02T03:04:05Z"}]})
    };
    let v1 = kinds::by_kind("autoscaling", "v1", "HorizontalPodAutoscaler").expect("served");
    let request = base64::engine::general_purpose::STANDARD.encode(signing_request());
    vec![
        sample("policy", "PodDisruptionBudget", json!({"spec": {"minAvailable": 1}}), json!({"disruptionsAllowed": 2})),
        sample("autoscaling", "HorizontalPodAutoscaler", scaler.clone(), json!({"desiredReplicas": 2})),
        Sample {
            kind: v1,
            name: "y",
            ..sample("autoscaling", "HorizontalPodAutoscaler", scaler, json!({"desiredReplicas": 2}))
        },
        sample(
            "certificates.k8s.io",
            "CertificateSigningRequest",
            json!({"spec": {"request": request, "signerName": "a.b/c", "usages": ["client auth"]}}),
            condition("Failed"),
        ),
        sample(
            "flowcontrol.apiserver.k8s.io",
            "FlowSchema",
            json!({"spec": {"priorityLevelConfiguration": {"name": "workload-low"}, "rules": rules}}),
            condition("Dangling"),
        ),
        sample(
            "flowcontrol.apiserver.k8s.io",
            "PriorityLevelConfiguration",
            json!({"spec": {"type": "Limited", "limited": {"limitResponse": {"type": "Reject"}}}}),
            condition("Dangling"),
        ),
    ]
}

/// A PKCS#10 request, PEM.
fn signing_request() -> String {
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(vec!["x".to_owned()]).expect("a name");
    params.serialize_request(&key).and_then(|request| request.pem()).expect("a request")
}

fn devices() -> Vec<Sample> {
    let none = Value::Null;
    let claim = json!({"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "c"}}]}});
    vec![
        sample("resource.k8s.io", "DeviceClass", json!({"spec": {}}), none.clone()),
        sample(
            "resource.k8s.io",
            "ResourceClaim",
            json!({"spec": claim}),
            json!({"allocation": {"devices": {"results": [{"request": "r", "driver": "a.b", "pool": "p", "device": "d"}]}}}),
        ),
        sample("resource.k8s.io", "ResourceClaimTemplate", json!({"spec": {"spec": claim}}), none.clone()),
        sample(
            "resource.k8s.io",
            "ResourceSlice",
            json!({"spec": {"driver": "a.b", "allNodes": true, "devices": [{"name": "d"}],
                "pool": {"name": "p", "generation": 1, "resourceSliceCount": 1}}}),
            none,
        ),
    ]
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
