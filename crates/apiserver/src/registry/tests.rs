//! Golden headers and cells of every kind, over several states, and what strategies prepare.

mod objects;
mod warnings;
mod workloads;

use gantry_api::{Value, kinds};
use serde_json::json;

use super::{Ctx, Deletion, strategy};

const NOW: &str = "2026-01-02T03:04:05Z";

pub(super) fn now() -> jiff::Timestamp {
    NOW.parse().expect("a valid time")
}

pub(super) fn kind(group: &str, kind: &str) -> &'static kinds::KindInfo {
    kinds::all().iter().find(|k| k.group == group && k.kind == kind).expect("a served kind")
}

pub(super) fn ctx(kind: &'static kinds::KindInfo) -> Ctx<'static> {
    Ctx { kind, subresource: "", now: now(), user: "test", families: &[super::Family::V4] }
}

/// The row as `-o wide` prints it.
pub(super) fn check(group: &str, name: &str, object: &Value, expected: &Value) {
    let strategy = strategy(kind(group, name));
    let row = strategy.row(object, now());
    assert_eq!(Value::Array(row.cells.clone()), *expected, "{object}");
    assert_eq!(row.cells.len(), strategy.columns().len());
}

pub(super) fn meta(name: &str) -> Value {
    json!({"name": name, "namespace": "ns", "creationTimestamp": "2026-01-02T03:00:00Z"})
}

/// Headers as kubectl shows them; those of `-o wide` carry a star.
pub(super) fn headers(group: &str, name: &str) -> String {
    let columns = strategy(kind(group, name)).columns();
    let shown = columns.iter().map(|c| if c.priority > 0 { format!("{}*", c.name) } else { c.name.to_owned() });
    shown.collect::<Vec<_>>().join("|")
}

#[test]
fn golden_headers() {
    for (group, kind, expected) in [
        ("", "Pod", "Name|Ready|Status|Restarts|Age|IP*|Node*|Nominated Node*|Readiness Gates*"),
        ("apps", "Deployment", "Name|Ready|Up-to-date|Available|Age|Containers*|Images*|Selector*"),
        ("apps", "ReplicaSet", "Name|Desired|Current|Ready|Age|Containers*|Images*|Selector*"),
        ("", "Service", "Name|Type|Cluster-IP|External-IP|Port(s)|Age|Selector*"),
        (
            "",
            "Node",
            "Name|Status|Roles|Age|Version|Internal-IP*|External-IP*|OS-Image*|Kernel-Version*|Container-Runtime*",
        ),
        ("", "Event", "Last Seen|Type|Reason|Object|Subobject*|Source*|Message|First Seen*|Count*|Name*"),
        ("", "Namespace", "Name|Status|Age"),
        ("", "Secret", "Name|Type|Data|Age"),
        ("", "ConfigMap", "Name|Data|Age"),
        ("", "ServiceAccount", "Name|Age"),
        ("coordination.k8s.io", "Lease", "Name|Holder|Age"),
        ("discovery.k8s.io", "EndpointSlice", "Name|AddressType|Ports|Endpoints|Age"),
        ("rbac.authorization.k8s.io", "Role", "Name|Created At"),
        ("rbac.authorization.k8s.io", "ClusterRole", "Name|Created At"),
        ("rbac.authorization.k8s.io", "RoleBinding", "Name|Role|Age|Users*|Groups*|ServiceAccounts*"),
        ("rbac.authorization.k8s.io", "ClusterRoleBinding", "Name|Role|Age|Users*|Groups*|ServiceAccounts*"),
        ("scheduling.k8s.io", "PriorityClass", "Name|Value|Global-Default|Age|PreemptionPolicy"),
    ] {
        assert_eq!(headers(group, kind), expected, "{kind}");
    }
}

#[test]
fn deployments_and_replica_sets() {
    let template = json!({"spec": {"containers": [{"name": "a", "image": "i:1"}, {"name": "b", "image": "j"}]}});
    let selector = json!({"matchLabels": {"app": "x"}, "matchExpressions": [
        {"key": "zone", "operator": "In", "values": ["b", "a"]}, {"key": "old", "operator": "DoesNotExist"}]});
    let spec = json!({"replicas": 3, "template": template, "selector": selector});
    check(
        "apps",
        "Deployment",
        &json!({"metadata": meta("d"), "spec": spec}),
        &json!(["d", "0/3", 0, 0, "4m5s", "a,b", "i:1,j", "app=x,!old,zone in (a,b)"]),
    );
    check(
        "apps",
        "Deployment",
        &json!({"metadata": meta("d"), "spec": spec, "status": {"readyReplicas": 2, "updatedReplicas": 3,
            "availableReplicas": 1}}),
        &json!(["d", "2/3", 3, 1, "4m5s", "a,b", "i:1,j", "app=x,!old,zone in (a,b)"]),
    );
    check(
        "apps",
        "ReplicaSet",
        &json!({"metadata": meta("r"), "spec": {"replicas": 3, "template": template, "selector": {}},
            "status": {"replicas": 2, "readyReplicas": 1}}),
        &json!(["r", 3, 2, 1, "4m5s", "a,b", "i:1,j", "<none>"]),
    );
    check(
        "apps",
        "ReplicaSet",
        &json!({"metadata": meta("r"), "spec": {"replicas": 0, "template": template, "selector": selector}}),
        &json!(["r", 0, 0, 0, "4m5s", "a,b", "i:1,j", "app=x,!old,zone in (a,b)"]),
    );
}

#[test]
fn nodes() {
    let info = json!({"kubeletVersion": "v1.36.0", "osImage": "Debian", "kernelVersion": "6.1",
        "containerRuntimeVersion": "docker://20.10.24"});
    check(
        "",
        "Node",
        &json!({"metadata": {"name": "n"}}),
        &json!(["n", "Unknown", "<none>", "<unknown>", "", "<none>", "<none>", "<unknown>", "<unknown>", "<unknown>"]),
    );
    let labels = json!({"node-role.kubernetes.io/worker": "", "node-role.kubernetes.io/edge": "",
        "kubernetes.io/role": "worker"});
    let mut node = json!({"metadata": {"name": "n", "labels": labels, "creationTimestamp": "2025-12-01T00:00:00Z"},
        "spec": {"unschedulable": true}, "status": {"nodeInfo": info,
        "conditions": [{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": "True"}],
        "addresses": [{"type": "Hostname", "address": "n"}, {"type": "InternalIP", "address": "10.200.0.11"}]}});
    check(
        "",
        "Node",
        &node,
        &json!([
            "n",
            "Ready,SchedulingDisabled",
            "edge,worker",
            "32d",
            "v1.36.0",
            "10.200.0.11",
            "<none>",
            "Debian",
            "6.1",
            "docker://20.10.24"
        ]),
    );
    node["status"]["conditions"][1]["status"] = "Unknown".into();
    node["spec"] = json!({});
    check(
        "",
        "Node",
        &node,
        &json!([
            "n",
            "NotReady",
            "edge,worker",
            "32d",
            "v1.36.0",
            "10.200.0.11",
            "<none>",
            "Debian",
            "6.1",
            "docker://20.10.24"
        ]),
    );
}

#[test]
fn events() {
    let object = json!({"kind": "Pod", "name": "p", "fieldPath": "spec.containers{c}"});
    let name = json!({"name": "e.1"});
    check(
        "",
        "Event",
        &json!({"metadata": name, "involvedObject": object, "type": "Normal", "reason": "Pulled", "message": " ok \n",
            "source": {"component": "kubelet", "host": "n1"}, "count": 3,
            "firstTimestamp": "2026-01-02T02:04:05Z", "lastTimestamp": "2026-01-02T03:03:05Z"}),
        &json!(["60s", "Normal", "Pulled", "pod/p", "spec.containers{c}", "kubelet, n1", "ok", "60m", 3, "e.1"]),
    );
    check(
        "",
        "Event",
        &json!({"metadata": name, "involvedObject": {"kind": "Node"}, "type": "Warning", "reason": "R", "message": "m",
            "reportingComponent": "default-scheduler", "eventTime": "2026-01-02T03:04:00.000000Z"}),
        &json!(["5s", "Warning", "R", "node", "", "default-scheduler", "m", "5s", 1, "e.1"]),
    );
    check(
        "",
        "Event",
        &json!({"metadata": name, "involvedObject": object, "eventTime": "2026-01-02T03:00:05.000000Z",
            "reportingComponent": "c", "reportingInstance": "i",
            "series": {"count": 9, "lastObservedTime": "2026-01-02T03:04:04.500000Z"}}),
        &json!(["1s", "", "", "pod/p", "spec.containers{c}", "c, i", "", "4m", 9, "e.1"]),
    );
}

#[test]
fn configuration() {
    check(
        "",
        "Namespace",
        &json!({"metadata": meta("n"), "status": {"phase": "Active"}}),
        &json!(["n", "Active", "4m5s"]),
    );
    check(
        "",
        "Namespace",
        &json!({"metadata": meta("n"), "status": {"phase": "Terminating"}}),
        &json!(["n", "Terminating", "4m5s"]),
    );
    check("", "ConfigMap", &json!({"metadata": meta("c")}), &json!(["c", 0, "4m5s"]));
    check(
        "",
        "ConfigMap",
        &json!({"metadata": meta("c"), "data": {"a": "1"}, "binaryData": {"b": "AA=="}}),
        &json!(["c", 2, "4m5s"]),
    );
    check(
        "",
        "Secret",
        &json!({"metadata": meta("s"), "type": "Opaque", "data": {"a": "AA=="}}),
        &json!(["s", "Opaque", 1, "4m5s"]),
    );
    check(
        "",
        "Secret",
        &json!({"metadata": {"name": "s"}, "type": "kubernetes.io/tls"}),
        &json!(["s", "kubernetes.io/tls", 0, "<unknown>"]),
    );
    check("", "ServiceAccount", &json!({"metadata": meta("a"), "secrets": [{"name": "x"}]}), &json!(["a", "4m5s"]));
}

#[test]
fn roles_and_bindings() {
    check(
        "rbac.authorization.k8s.io",
        "ClusterRole",
        &json!({"metadata": meta("r")}),
        &json!(["r", "2026-01-02T03:00:00Z"]),
    );
    check("rbac.authorization.k8s.io", "Role", &json!({"metadata": meta("s")}), &json!(["s", "2026-01-02T03:00:00Z"]));
    let binding = json!({"metadata": meta("b"), "roleRef": {"kind": "Role", "name": "r"}, "subjects": [
        {"kind": "User", "name": "u"}, {"kind": "User", "name": "v"}, {"kind": "Group", "name": "g"},
        {"kind": "ServiceAccount", "name": "s", "namespace": "n"}]});
    check("rbac.authorization.k8s.io", "RoleBinding", &binding, &json!(["b", "Role/r", "4m5s", "u, v", "g", "n/s"]));
    check(
        "rbac.authorization.k8s.io",
        "ClusterRoleBinding",
        &json!({"metadata": meta("b"), "roleRef": {"kind": "ClusterRole", "name": "r"}}),
        &json!(["b", "ClusterRole/r", "4m5s", "", "", ""]),
    );
}

#[test]
fn leases_slices_and_priorities() {
    check("coordination.k8s.io", "Lease", &json!({"metadata": meta("l")}), &json!(["l", "", "4m5s"]));
    check(
        "coordination.k8s.io",
        "Lease",
        &json!({"metadata": meta("l"), "spec": {"holderIdentity": "h"}}),
        &json!(["l", "h", "4m5s"]),
    );
    check(
        "discovery.k8s.io",
        "EndpointSlice",
        &json!({"metadata": meta("e"), "addressType": "IPv4"}),
        &json!(["e", "IPv4", "<unset>", "<unset>", "4m5s"]),
    );
    check(
        "discovery.k8s.io",
        "EndpointSlice",
        &json!({"metadata": meta("e"), "addressType": "IPv4", "ports": [{"port": 80}, {"name": "x"}, {}],
            "endpoints": [{"addresses": ["1", "2"]}, {"addresses": ["3"]}, {"addresses": ["4", "5"]}]}),
        &json!(["e", "IPv4", "80,x,*", "1,2,3 + 2 more...", "4m5s"]),
    );
    check(
        "scheduling.k8s.io",
        "PriorityClass",
        &json!({"metadata": meta("p"), "value": 1000, "globalDefault": true, "preemptionPolicy": "Never"}),
        &json!(["p", 1000, true, "4m5s", "Never"]),
    );
}

#[test]
fn namespaces_wait_for_their_finalizers() {
    let kind = kind("", "Namespace");
    let strategy = strategy(kind);
    let mut object = json!({"metadata": {"name": "n"}});
    strategy.prepare_create(&ctx(kind), &mut object);
    assert_eq!(
        object,
        json!({"metadata": {"name": "n", "labels": {"kubernetes.io/metadata.name": "n"}},
            "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"}})
    );
    let mut changed = json!({"metadata": {"name": "n"}, "spec": {"finalizers": []}});
    strategy.prepare_update(&ctx(kind), &mut changed, &object);
    assert_eq!(changed["spec"], json!({"finalizers": ["kubernetes"]}));
    assert_eq!(strategy.delete(&object, None), Deletion::Finalize);
    object["metadata"]["deletionTimestamp"] = NOW.into();
    strategy.mark_deleting(&mut object);
    assert_eq!(object["status"]["phase"], "Terminating");
    assert_eq!((strategy.delete(&object, None), strategy.removable(&object)), (Deletion::Pending, false));
    object["spec"] = json!({});
    assert_eq!((strategy.delete(&object, None), strategy.removable(&object)), (Deletion::Remove, true));
}

#[test]
fn scale_maps_both_ways() {
    let mut object = json!({"metadata": {"name": "d", "namespace": "ns", "uid": "u", "labels": {"a": "b"}},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "x"}}}, "status": {"replicas": 1}});
    let scale = super::workload::scale(&object);
    assert_eq!(
        scale,
        json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": {"name": "d", "namespace": "ns", "uid": "u"},
            "spec": {"replicas": 2}, "status": {"replicas": 1, "selector": "app=x"}})
    );
    let mut wanted = scale;
    wanted["spec"]["replicas"] = 5.into();
    super::workload::rescale(&mut object, &wanted).expect("valid");
    assert_eq!(object["spec"]["replicas"], 5);
    wanted["spec"]["replicas"] = (-1).into();
    let errors = super::workload::rescale(&mut object, &wanted).expect_err("negative");
    assert_eq!(errors[0].to_string(), "spec.replicas: Invalid value: -1: must be greater than or equal to 0");
}

#[test]
fn every_selectable_field_has_a_value() {
    for kind in kinds::all() {
        for field in &kind.selectable_fields {
            let stored = gantry_api::convert::hub_field(kind, field);
            assert!(strategy(kind).field_value(&json!({}), &stored).is_some(), "{} {field}", kind.kind);
        }
        assert_eq!(strategy(kind).field_value(&json!({}), "spec.nonsense"), None);
    }
}

#[test]
fn update_rules() {
    let rules = |group, name| {
        let strategy = strategy(kind(group, name));
        (strategy.unconditional_update(), strategy.create_on_update())
    };
    assert_eq!(rules("coordination.k8s.io", "Lease"), (false, true));
    assert_eq!(rules("", "Pod"), (true, false));
    assert_eq!(rules("", "Service"), (true, true));
    assert_eq!(rules("rbac.authorization.k8s.io", "Role"), (true, true));
}

#[test]
fn the_status_of_some_kinds_is_written_without_metadata() {
    const FIXED: [&str; 7] = [
        "APIService",
        "FlowSchema",
        "PriorityLevelConfiguration",
        "ResourceClaim",
        "ServiceCIDR",
        "ValidatingAdmissionPolicy",
        "VolumeAttachment",
    ];
    for kind in kinds::all().iter().filter(|kind| kind.has_status) {
        let labelled = |text: &str| json!({"metadata": {"labels": {"a": text}}, "status": {}});
        let (old, mut new) = (labelled("old"), labelled("new"));
        strategy(kind).prepare_status_update(&ctx(kind), &mut new, &old);
        let is_fixed = FIXED.contains(&kind.kind);
        let kept = new["metadata"]["labels"] == old["metadata"]["labels"];
        assert_eq!(kept, is_fixed || kind.kind == "Deployment", "{}", kind.kind);
        let nobodys = strategy(kind).reset_fields(kind, "status").contains(&"metadata");
        // Definitions write metadata, but their writer does not own it.
        assert_eq!(nobodys, is_fixed || kind.kind == "CustomResourceDefinition", "{}", kind.kind);
    }
}
