//! Refused objects and the exact words; each case changes one thing of a valid object.

mod admission;
mod cluster;
mod definitions;
mod devices;
mod ephemeral;
mod floods;
mod networking;
mod objects;
mod pods;
mod resources;
mod security;
mod services;
mod volumes;
mod workloads;
mod written;

use serde_json::json;

use super::{create, status_update, token_request, update};
use crate::field::Errors;
use crate::kinds::{self, KindInfo};
use crate::{Value, defaults};

/// The kind with this name; names are unique over the served groups.
fn kind(name: &str) -> &'static KindInfo {
    kinds::all().iter().find(|k| k.kind == name).expect("a served kind")
}

fn texts(errors: &Errors) -> Vec<String> {
    errors.iter().map(ToString::to_string).collect()
}

/// A valid, defaulted object of the kind with `spec` and the like from `content`.
fn object(name: &str, content: Value) -> Value {
    let mut object = content;
    if object.get("metadata").is_none() {
        object["metadata"] = json!({"name": "x"});
        if kind(name).namespaced {
            object["metadata"]["namespace"] = "default".into();
        }
    }
    defaults::apply(kind(name), &mut object).expect("of a usual size");
    object
}

/// The errors of creating the object.
fn check(name: &str, content: Value, expected: &[&str]) {
    let object = object(name, content);
    assert_eq!(texts(&create(kind(name), &object)), expected, "{object}");
}

/// The errors of replacing `old` by `new`.
fn check_update(name: &str, new: Value, old: Value, expected: &[&str]) {
    let (new, old) = (object(name, new), object(name, old));
    assert_eq!(texts(&update(kind(name), &new, &old)), expected, "{new}");
}

const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must \
    start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', \
    and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

#[test]
fn names() {
    let meta = |name: &str| json!({"metadata": {"name": name, "namespace": "ns"}});
    check("ConfigMap", meta("a.b-c"), &[]);
    check("ConfigMap", meta("A"), &[&format!("metadata.name: Invalid value: \"A\": {SUBDOMAIN}")]);
    check("ConfigMap", meta(""), &["metadata.name: Required value: name or generateName is required"]);
    check("ConfigMap", json!({"metadata": {"name": "x"}}), &["metadata.namespace: Required value"]);
    check(
        "Namespace",
        json!({"metadata": {"name": "a.b"}}),
        &["metadata.name: Invalid value: \"a.b\": must not contain dots"],
    );
    check("Namespace", meta("a"), &["metadata.namespace: Forbidden: not allowed on this type"]);
    check("Role", meta("system:a.B"), &[]);
    check("Role", meta("a/b"), &["metadata.name: Invalid value: \"a/b\": may not contain '/'"]);
    let service = |name: &str, expected: &[&str]| {
        let meta = json!({"name": name, "namespace": "ns"});
        check("Service", json!({"metadata": meta, "spec": {"ports": [{"port": 80}]}}), expected);
    };
    let refused = create(
        kind("Service"),
        &object("Service", json!({"metadata": {"name": "1a", "namespace": "ns"}, "spec": {"ports": [{"port": 80}]}})),
    );
    assert!(texts(&refused)[0].starts_with("metadata.name: Invalid value: \"1a\": a DNS-1035 label must"));
    service("a1", &[]);
    check("ConfigMap", json!({"metadata": {"generateName": "web-", "name": "web-x7k2p", "namespace": "ns"}}), &[]);
    // Neither the dash that ends the beginning of a name counts nor what stands before it.
    let long = format!("{}-", "a".repeat(63));
    let name = format!("{}12345", "a".repeat(58));
    for base in ["web.-", long.as_str()] {
        let meta = json!({"generateName": base, "name": name, "namespace": "ns"});
        let service = object("Service", json!({"metadata": meta, "spec": {"ports": [{"port": 80}]}}));
        assert_eq!(texts(&create(kind("Service"), &service)), Vec::<String>::new(), "{base}");
    }
}

#[test]
fn metadata() {
    let meta = |mut extra: Value| {
        extra["name"] = "x".into();
        extra["namespace"] = "ns".into();
        json!({"metadata": extra})
    };
    let errors = create(kind("ConfigMap"), &meta(json!({"labels": {"a b": "c", "k": "-"}})));
    assert_eq!(errors.len(), 2);
    assert!(errors[0].to_string().starts_with("metadata.labels: Invalid value: \"a b\": name part must consist of"));
    assert!(errors[1].to_string().starts_with("metadata.labels: Invalid value: \"-\": a valid label must be an empty"));
    check(
        "ConfigMap",
        meta(json!({"annotations": {"big": "x".repeat(262_144)}})),
        &["metadata.annotations: Too long: may not be more than 262144 bytes"],
    );
    check("ConfigMap", meta(json!({"annotations": {"Upper.io/Case": ""}})), &[]);
    check(
        "ConfigMap",
        meta(json!({"finalizers": ["mine", "a.b/c"]})),
        &[
            "metadata.finalizers[0]: Invalid value: \"mine\": name is neither a standard finalizer name nor is it fully qualified",
        ],
    );
    let owner = |name: &str| json!({"apiVersion": "v1", "kind": "Pod", "name": name, "uid": "u", "controller": true});
    let errors = create(kind("ConfigMap"), &meta(json!({"ownerReferences": [owner("a"), owner("b")]})));
    assert!(errors[0].body.ends_with(
        "Only one reference can have Controller set to true. Found \"true\" in references for Pod/a and Pod/b"
    ));
    check(
        "ConfigMap",
        meta(json!({"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p"}]})),
        &["metadata.ownerReferences[0].uid: Invalid value: \"\": must not be empty"],
    );
}

#[test]
fn metadata_updates() {
    let meta = |extra: Value| {
        let mut meta = json!({"name": "x", "namespace": "ns", "uid": "u"});
        meta.as_object_mut().expect("a map").extend(extra.as_object().expect("a map").clone());
        json!({"metadata": meta})
    };
    check_update("ConfigMap", meta(json!({"labels": {"a": "b"}})), meta(json!({})), &[]);
    check_update(
        "ConfigMap",
        meta(json!({"uid": "v"})),
        meta(json!({})),
        &["metadata.uid: Invalid value: \"v\": field is immutable"],
    );
    let deleting = json!({"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["a/b"]});
    let mut more = deleting.clone();
    more["finalizers"] = json!(["a/b", "c/d"]);
    check_update(
        "ConfigMap",
        meta(more),
        meta(deleting.clone()),
        &["metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, \
           found new finalizers []string{\"c/d\"}"],
    );
    let mut none = deleting.clone();
    none["finalizers"] = json!([]);
    check_update("ConfigMap", meta(none), meta(deleting), &[]);
}

#[test]
fn config_maps_and_secrets() {
    check("ConfigMap", json!({"data": {"a.b-c_D": "1"}, "binaryData": {"x": "AA=="}}), &[]);
    check(
        "ConfigMap",
        json!({"data": {"..": "1", "x": ""}, "binaryData": {"x": "AA=="}}),
        &[
            "data[..]: Invalid value: \"..\": must not be '..'",
            "data[x]: Invalid value: \"x\": duplicate of key present in binaryData",
        ],
    );
    check(
        "ConfigMap",
        json!({"data": {"x": "x".repeat(1_048_577)}}),
        &["[]: Too long: may not be more than 1048576 bytes"],
    );
    let frozen = |value: &str, immutable: bool| json!({"data": {"x": value}, "immutable": immutable});
    check_update(
        "ConfigMap",
        frozen("2", false),
        frozen("1", true),
        &[
            "immutable: Forbidden: field is immutable when `immutable` is set",
            "data: Forbidden: field is immutable when `immutable` is set",
        ],
    );
    check_update("ConfigMap", frozen("1", true), frozen("1", false), &[]);
    check(
        "Secret",
        json!({"type": "kubernetes.io/tls", "data": {"tls.crt": "AA=="}}),
        &["data[tls.key]: Required value"],
    );
    check(
        "Secret",
        json!({"type": "kubernetes.io/service-account-token"}),
        &["metadata.annotations[kubernetes.io/service-account.name]: Required value"],
    );
    check("Secret", json!({"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "e30="}}), &[]);
    let errors = create(
        kind("Secret"),
        &object("Secret", json!({"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "e30"}})),
    );
    assert!(
        errors[0].to_string().starts_with("data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": ")
    );
    check_update("Secret", json!({"type": "a"}), json!({}), &["type: Invalid value: \"a\": field is immutable"]);
}

/// A service with one port whose spec has `extra`.
fn with_port(extra: Value) -> Value {
    let mut spec = json!({"ports": [{"port": 80}], "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"]});
    spec.as_object_mut().expect("a map").extend(extra.as_object().expect("a map").clone());
    json!({"spec": spec})
}

#[test]
fn services() {
    check("Service", with_port(json!({})), &[]);
    check("Service", with_port(json!({"ports": []})), &["spec.ports: Required value"]);
    check(
        "Service",
        with_port(
            json!({"ports": [{"port": 80}, {"port": 80, "name": "B"}, {"port": 0, "name": "c", "protocol": "X"}]}),
        ),
        &[
            "spec.ports[0].name: Required value",
            &format!("spec.ports[1].name: Invalid value: \"B\": {LABEL}"),
            "spec.ports[2].port: Invalid value: 0: must be between 1 and 65535, inclusive",
            "spec.ports[2].protocol: Unsupported value: \"X\": supported values: \"SCTP\", \"TCP\", \"UDP\"",
            "spec.ports[2].targetPort: Invalid value: 0: must be between 1 and 65535, inclusive",
            "spec.ports[1]: Duplicate value: {\"Name\":\"\",\"Protocol\":\"TCP\",\"AppProtocol\":null,\"Port\":80,\"TargetPort\":0,\"NodePort\":0}",
        ],
    );
    check(
        "Service",
        with_port(json!({"ports": [{"port": 80, "nodePort": 30000}]})),
        &["spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"],
    );
    check(
        "Service",
        with_port(json!({"type": "Nope"})),
        &[
            "spec.type: Unsupported value: \"Nope\": supported values: \"ClusterIP\", \"ExternalName\", \"LoadBalancer\", \
           \"NodePort\"",
        ],
    );
}

#[test]
fn service_addresses() {
    check(
        "Service",
        with_port(json!({"type": "NodePort", "clusterIP": "None", "clusterIPs": ["None"]})),
        &["spec.clusterIPs[0]: Invalid value: \"None\": may not be set to 'None' for NodePort services"],
    );
    check(
        "Service",
        json!({"spec": {"type": "ExternalName", "clusterIP": "10.96.0.9", "clusterIPs": ["10.96.0.9"]}}),
        &["spec.clusterIPs: Forbidden: may not be set for ExternalName services", "spec.externalName: Required value"],
    );
    check(
        "Service",
        with_port(json!({"clusterIPs": ["10.96.0.8"]})),
        &["spec.clusterIPs: Invalid value: [\"10.96.0.8\"]: first value must match `clusterIP`"],
    );
    check(
        "Service",
        with_port(
            json!({"externalIPs": ["127.0.0.1", "x"], "externalTrafficPolicy": "Local", "healthCheckNodePort": 5}),
        ),
        &[
            "spec.externalIPs[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
            "spec.externalIPs[1]: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
            "spec.healthCheckNodePort: Invalid value: 5: may only be set when `type` is 'LoadBalancer' and \
             `externalTrafficPolicy` is 'Local'",
        ],
    );
    check(
        "Service",
        with_port(json!({"externalTrafficPolicy": "Local"})),
        &["spec.externalTrafficPolicy: Invalid value: \"Local\": may only be set for externally-accessible services"],
    );
    check(
        "Service",
        with_port(
            json!({"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 86401}}}),
        ),
        &["spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 86401: must be greater than 0 and less \
           than 86400"],
    );
    check_update(
        "Service",
        with_port(json!({"clusterIP": "10.96.0.10", "clusterIPs": ["10.96.0.10"]})),
        with_port(json!({})),
        &["spec.clusterIPs[0]: Invalid value: [\"10.96.0.10\"]: may not change once set"],
    );
}

#[test]
fn families_and_addresses_of_a_service_stay() {
    let service = |families: &[&str], ips: &[&str]| {
        let policy = if families.len() == 2 { "PreferDualStack" } else { "SingleStack" };
        with_port(json!({
            "clusterIP": ips[0], "clusterIPs": ips, "ipFamilies": families, "ipFamilyPolicy": policy, "selector": {"a": "b"},
        }))
    };
    let two = service(&["IPv4", "IPv6"], &["10.0.0.7", "fd00::7"]);
    let one = service(&["IPv4"], &["10.0.0.7"]);
    check_update("Service", two.clone(), one.clone(), &[]);
    check_update("Service", one, two.clone(), &[]);
    let other = service(&["IPv4", "IPv6"], &["10.0.0.7", "fd00::8"]);
    let stays = "may not change once set";
    let shown = "Invalid value: [\"10.0.0.7\",\"fd00::8\"]";
    check_update("Service", other, two.clone(), &[&format!("spec.clusterIPs[1]: {shown}: {stays}")]);
    let turned = service(&["IPv6", "IPv4"], &["fd00::7", "10.0.0.7"]);
    let (ips, families) = ("[\"fd00::7\",\"10.0.0.7\"]", "[\"IPv6\",\"IPv4\"]");
    let expected = [
        format!("spec.clusterIPs[0]: Invalid value: {ips}: {stays}"),
        format!("spec.clusterIPs[1]: Invalid value: {ips}: {stays}"),
        format!("spec.ipFamilies[0]: Invalid value: {families}: {stays}"),
        format!("spec.ipFamilies[0]: Invalid value: {families}: {stays}"),
    ];
    check_update("Service", turned, two, &expected.each_ref().map(String::as_str));
    let headless = |families: &[&str]| service(families, &["None"]);
    check_update("Service", headless(&["IPv6"]), headless(&["IPv4"]), &[]);
}

fn workload(extra: Value) -> Value {
    let mut spec = json!({
        "selector": {"matchLabels": {"app": "x"}},
        "template": {"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
    });
    spec.as_object_mut().expect("a map").extend(extra.as_object().expect("a map").clone());
    json!({"spec": spec})
}

#[test]
fn workloads() {
    check("Deployment", workload(json!({})), &[]);
    check("ReplicaSet", workload(json!({})), &[]);
    check(
        "Deployment",
        workload(json!({"selector": {"matchLabels": {"app": "y"}}})),
        &["spec.template.metadata.labels: Invalid value: {\"app\":\"x\"}: `selector` does not match template `labels`"],
    );
    check(
        "ReplicaSet",
        workload(json!({"selector": {}, "replicas": -1})),
        &[
            "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
            "spec.selector: Invalid value: {}: empty selector is invalid for deployment",
        ],
    );
    check(
        "Deployment",
        json!({"spec": {}}),
        &[
            "spec.selector: Required value",
            "spec.template.metadata.labels: Invalid value: null: `selector` does not match template `labels`",
            "spec.template.spec.containers: Required value",
        ],
    );
    let template = json!({"metadata": {"labels": {"app": "x"}}, "spec": {"restartPolicy": "Never",
        "containers": [{"name": "c"}]}});
    check(
        "Deployment",
        workload(json!({"template": template})),
        &[
            "spec.template.spec.containers[0].image: Required value",
            "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"",
        ],
    );
    check(
        "Deployment",
        workload(json!({"strategy": {"type": "Recreate", "rollingUpdate": {}}, "progressDeadlineSeconds": 5,
            "minReadySeconds": 5})),
        &[
            "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
            "spec.progressDeadlineSeconds: Invalid value: 5: must be greater than minReadySeconds",
        ],
    );
    check(
        "Deployment",
        workload(json!({"strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": "0%"}}})),
        &["spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"],
    );
    check(
        "Deployment",
        workload(json!({"strategy": {"rollingUpdate": {"maxUnavailable": "101%"}}})),
        &["spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"101%\": must not be greater than 100%"],
    );
    let relabelled = workload(json!({"selector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]}}));
    check_update(
        "Deployment",
        relabelled,
        workload(json!({})),
        &["spec.selector: Invalid value: {\"matchExpressions\":[{\"key\":\"app\",\"operator\":\"Exists\"}]}: \
           field is immutable"],
    );
}

#[test]
fn workload_statuses() {
    let status = |status: Value| {
        let mut object = object("ReplicaSet", workload(json!({})));
        object["status"] = status;
        object
    };
    let errors = status_update(
        kind("ReplicaSet"),
        &status(json!({"replicas": 1, "readyReplicas": 2, "availableReplicas": 3})),
        &status(json!({})),
    );
    assert_eq!(
        texts(&errors),
        [
            "status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas",
            "status.availableReplicas: Invalid value: 3: cannot be greater than status.replicas",
            "status.availableReplicas: Invalid value: 3: cannot be greater than readyReplicas",
        ]
    );
}

#[test]
fn nodes_and_namespaces() {
    let taint = json!({"key": "k", "value": "v", "effect": "NoSchedule"});
    check("Node", json!({"spec": {"taints": [taint]}, "status": {"capacity": {"cpu": "2", "pods": "110"}}}), &[]);
    check(
        "Node",
        json!({"spec": {"taints": [taint, taint, {"key": "k", "effect": "Maybe"}]}}),
        &[
            "metadata.taints[1]: Duplicate value: {\"Key\":\"k\",\"Value\":\"v\",\"Effect\":\"NoSchedule\",\"TimeAdded\":null}: taints must be \
             unique by key and effect pair",
            "metadata.taints[2].effect: Unsupported value: \"Maybe\": supported values: \"NoExecute\", \"NoSchedule\", \
             \"PreferNoSchedule\"",
        ],
    );
    let cidr = |cidr: &str| json!({"spec": {"podCIDR": cidr, "podCIDRs": [cidr]}});
    check_update("Node", cidr("10.244.1.0/24"), json!({}), &[]);
    check_update(
        "Node",
        cidr("10.244.1.0/24"),
        cidr("10.244.0.0/24"),
        &["spec.podCIDRs: Forbidden: node updates may not change podCIDR except from \"\" to valid"],
    );
    check(
        "Node",
        cidr("10.244.1.0"),
        &["spec.podCIDRs[0]: Invalid value: \"10.244.1.0\": must be a valid CIDR value, (e.g. 10.9.8.0/24 or \
           2001:db8::/64)"],
    );
    let namespace = object("Namespace", json!({"status": {"phase": "Terminating"}}));
    assert_eq!(
        texts(&status_update(kind("Namespace"), &namespace, &namespace)),
        ["status.Phase: Invalid value: \"Terminating\": may only be 'Active' if `deletionTimestamp` is empty"]
    );
}

#[test]
fn roles_and_bindings() {
    check(
        "Role",
        json!({"rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}, {},
            {"verbs": ["get"], "nonResourceURLs": ["/x"]}]}),
        &[
            "rules[1].verbs: Required value: verbs must contain at least one value",
            "rules[1].apiGroups: Required value: resource rules must supply at least one api group",
            "rules[1].resources: Required value: resource rules must supply at least one resource",
            "rules[2].nonResourceURLs: Invalid value: [\"/x\"]: namespaced rules cannot apply to non-resource URLs",
        ],
    );
    check(
        "ClusterRole",
        json!({"rules": [{"verbs": ["get"], "nonResourceURLs": ["/x"], "resources": ["pods"]}], "aggregationRule": {}}),
        &[
            "rules[0].nonResourceURLs: Invalid value: [\"/x\"]: rules cannot apply to both regular resources and \
             non-resource URLs",
            "aggregationRule.clusterRoleSelectors: Required value: at least one clusterRoleSelector required if \
             aggregationRule is non-nil",
        ],
    );
    let binding =
        |role: &str, subjects: Value| json!({"roleRef": {"kind": "ClusterRole", "name": role}, "subjects": subjects});
    check("RoleBinding", binding("r", json!([{"kind": "User", "name": "u"}])), &[]);
    check(
        "ClusterRoleBinding",
        binding("r", json!([{"kind": "ServiceAccount", "name": "S"}, {"kind": "Dog", "name": "d"}])),
        &[
            &format!("subjects[0].name: Invalid value: \"S\": {SUBDOMAIN}"),
            "subjects[0].namespace: Required value",
            "subjects[1].kind: Unsupported value: \"Dog\": supported values: \"Group\", \"ServiceAccount\", \"User\"",
        ],
    );
    check_update(
        "RoleBinding",
        binding("s", json!([])),
        binding("r", json!([])),
        &[
            "roleRef: Invalid value: {\"APIGroup\":\"rbac.authorization.k8s.io\",\"Kind\":\"ClusterRole\",\"Name\":\"s\"}: \
           cannot change roleRef",
        ],
    );
}

#[test]
fn small_kinds() {
    check(
        "EndpointSlice",
        json!({"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}, {"addresses": []},
            {"addresses": ["a", "127.0.0.1"]}], "ports": [{"port": 80}, {"port": 70000}]}),
        &[
            "endpoints[1].addresses: Required value: must contain at least 1 address",
            "endpoints[2].addresses[0]: Invalid value: \"a\": must be a valid IPv4 address",
            "endpoints[2].addresses[1]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, \
             ::1/128)",
            "ports[1].name: Duplicate value: \"\"",
            "ports[1].port: Invalid value: 70000: must be between 1 and 65535, inclusive",
        ],
    );
    check("EndpointSlice", json!({}), &["addressType: Required value"]);
    check_update(
        "EndpointSlice",
        json!({"addressType": "IPv6"}),
        json!({"addressType": "IPv4"}),
        &["addressType: Invalid value: \"IPv6\": field is immutable"],
    );
    check(
        "Lease",
        json!({"spec": {"leaseDurationSeconds": 0, "leaseTransitions": -1}}),
        &[
            "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
            "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0",
        ],
    );
    check("Lease", json!({"spec": {"strategy": "example.com/Mine", "preferredHolder": "a"}}), &[]);
    check(
        "Lease",
        json!({"spec": {"strategy": "Newest"}}),
        &["spec.strategy.strategy: Unsupported value: \"Newest\": supported values: \"OldestEmulationVersion\""],
    );
    check(
        "Lease",
        json!({"spec": {"preferredHolder": "a"}}),
        &["spec.preferredHolder: Forbidden: may only be specified if `strategy` is defined"],
    );
    check("Event", json!({"involvedObject": {"kind": "Node"}}), &[]);
    check(
        "Event",
        json!({"involvedObject": {"namespace": "other"}}),
        &["involvedObject.namespace: Invalid value: \"other\": does not match event.namespace"],
    );
    check(
        "PriorityClass",
        json!({"metadata": {"name": "system-x"}, "value": 1}),
        &[
            "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: \
           system-x is not a known system priority class",
        ],
    );
    check("PriorityClass", json!({"metadata": {"name": "system-node-critical"}, "value": 2_000_001_000}), &[]);
    check(
        "PriorityClass",
        json!({"value": 1_000_000_001}),
        &["value: Forbidden: maximum allowed value of a user defined priority is 1000000000"],
    );
    check_update(
        "PriorityClass",
        json!({"value": 2}),
        json!({"value": 1}),
        &["value: Forbidden: may not be changed in an update."],
    );
}

#[test]
fn reviews_and_requests() {
    let attributes = json!({"verb": "get", "resource": "pods"});
    let review = |spec: Value| json!({"metadata": {}, "spec": spec});
    check("SelfSubjectAccessReview", review(json!({"resourceAttributes": attributes})), &[]);
    check(
        "SelfSubjectAccessReview",
        review(json!({})),
        &[
            "spec.resourceAttributes: Invalid value: \"null\": exactly one of nonResourceAttributes or resourceAttributes \
           must be specified",
        ],
    );
    check(
        "SubjectAccessReview",
        review(json!({"resourceAttributes": attributes})),
        &["spec.user: Invalid value: \"\": at least one of user or group must be specified"],
    );
    check(
        "LocalSubjectAccessReview",
        json!({"metadata": {"namespace": "a"}, "spec": {"user": "u", "resourceAttributes": {"namespace": "b"}}}),
        &["spec.resourceAttributes.namespace: Invalid value: \"b\": must match metadata.namespace"],
    );
    check("Binding", json!({"target": {"name": "n"}}), &[]);
    check("Binding", json!({"target": {}}), &["target.name: Required value"]);
    assert_eq!(
        texts(&token_request(&json!({"spec": {"expirationSeconds": 599}}))),
        ["spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 10 minutes"]
    );
}
