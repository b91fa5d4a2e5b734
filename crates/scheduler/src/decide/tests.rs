use rand::SeedableRng;
use serde_json::{Value, json};

use super::*;
use crate::fixture::{node, pod, snapshot};
use crate::plugins;

fn decide(pod: &PodInfo, snapshot: &Snapshot) -> Decision {
    Decider::new(plugins::all(), StdRng::seed_from_u64(7)).decide(pod, snapshot)
}

/// The node the pod goes to, or the message.
fn check(requests: Value, spec: Value, nodes: Vec<NodeInfo>, expected: &str) {
    let outcome = match decide(&pod("p", requests, spec), &snapshot(nodes)) {
        Decision::Node(name) => name.to_string(),
        Decision::Unschedulable(diagnosis) => diagnosis.message(),
    };
    assert_eq!(outcome, expected);
}

fn plain(name: &str) -> NodeInfo {
    node(name, "2", "4Gi", json!({}))
}

fn tainted(name: &str, effect: &str) -> NodeInfo {
    node(name, "2", "4Gi", json!({ "spec": { "taints": [{ "key": "k", "value": "v", "effect": effect }] } }))
}

#[test]
fn reasons_are_counted_in_upstreams_form() {
    check(json!({}), json!({}), vec![], "no nodes available to schedule pods");
    check(json!({ "cpu": "3" }), json!({}), vec![plain("a")], "0/1 nodes are available: 1 Insufficient cpu.");
    check(
        json!({ "cpu": "3", "memory": "5Gi" }),
        json!({}),
        vec![plain("a"), tainted("b", "NoSchedule"), tainted("c", "NoExecute")],
        "0/3 nodes are available: 1 Insufficient cpu, 1 Insufficient memory, 2 node(s) had untolerated taint {k: v}.",
    );
    let cordoned = node("a", "2", "4Gi", json!({ "spec": { "unschedulable": true } }));
    check(json!({}), json!({}), vec![cordoned], "0/1 nodes are available: 1 node(s) were unschedulable.");
    check(
        json!({}),
        json!({ "nodeSelector": { "disk": "ssd" } }),
        vec![plain("a")],
        "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.",
    );
    check(json!({ "x.y/gpu": "1" }), json!({}), vec![plain("a")], "0/1 nodes are available: 1 Insufficient x.y/gpu.");
}

#[test]
fn tolerations_and_taints() {
    let tolerate = |t: Value| json!({ "tolerations": [t] });
    let b = || vec![tainted("b", "NoSchedule")];
    let refused = "0/1 nodes are available: 1 node(s) had untolerated taint {k: v}.";
    check(json!({}), tolerate(json!({ "operator": "Exists" })), b(), "b");
    check(json!({}), tolerate(json!({ "key": "k", "value": "v", "effect": "NoSchedule" })), b(), "b");
    check(json!({}), tolerate(json!({ "key": "k", "operator": "Exists" })), b(), "b");
    check(json!({}), tolerate(json!({ "key": "k", "value": "w" })), b(), refused);
    check(json!({}), tolerate(json!({ "key": "k", "operator": "Exists", "effect": "NoExecute" })), b(), refused);
    // A soft taint only repels while there is another node.
    check(json!({}), json!({}), vec![tainted("b", "PreferNoSchedule")], "b");
    check(json!({}), json!({}), vec![tainted("b", "PreferNoSchedule"), plain("a")], "a");
}

#[test]
fn node_affinity() {
    let labelled =
        |name: &str, value: &str| node(name, "2", "4Gi", json!({ "metadata": { "labels": { "n": value } } }));
    let required = |expression: Value| {
        json!({ "affinity": { "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution":
            { "nodeSelectorTerms": [{ "matchExpressions": [expression] }] } } } })
    };
    let both = || vec![labelled("one", "1"), labelled("two", "2")];
    check(json!({}), required(json!({ "key": "n", "operator": "In", "values": ["2", "3"] })), both(), "two");
    check(json!({}), required(json!({ "key": "n", "operator": "NotIn", "values": ["2"] })), both(), "one");
    check(json!({}), required(json!({ "key": "n", "operator": "Gt", "values": ["1"] })), both(), "two");
    check(json!({}), required(json!({ "key": "n", "operator": "Lt", "values": ["2"] })), both(), "one");
    let absent = "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector.";
    check(json!({}), required(json!({ "key": "m", "operator": "Exists" })), both(), absent);
    let by_field = json!({ "affinity": { "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution":
        { "nodeSelectorTerms": [{ "matchFields": [{ "key": "metadata.name", "operator": "In", "values": ["one"] }] }] } } } });
    check(json!({}), by_field, both(), "one");
    let preferred = json!({ "affinity": { "nodeAffinity": { "preferredDuringSchedulingIgnoredDuringExecution":
        [{ "weight": 10, "preference": { "matchExpressions": [{ "key": "n", "operator": "In", "values": ["2"] }] } }] } } });
    check(json!({}), preferred, both(), "two");
}

#[test]
fn scores_choose_the_emptier_the_balanced_and_the_one_with_the_image() {
    let mut world = snapshot(vec![plain("a"), plain("b")]);
    world.assign(pod("other", json!({ "cpu": "1" }), json!({})), "a");
    assert_eq!(decide(&pod("p", json!({ "cpu": "100m" }), json!({})), &world), Decision::Node("b".into()));
    let image = json!({ "status": { "images": [{ "names": ["app:latest"], "sizeBytes": 1_000_000_000 }] } });
    check(json!({}), json!({}), vec![plain("a"), node("b", "2", "4Gi", image)], "b");
}

#[test]
fn host_ports_conflict_per_address_and_protocol() {
    let with_port =
        |name: &str, port: Value| pod(name, json!({}), json!({ "containers": [{ "name": "c", "ports": [port] }] }));
    let mut world = snapshot(vec![plain("a")]);
    world.assign(with_port("holder", json!({ "containerPort": 1, "hostPort": 80, "hostIP": "10.0.0.1" })), "a");
    let outcome = |port: Value| matches!(decide(&with_port("p", port), &world), Decision::Node(_));
    assert!(!outcome(json!({ "containerPort": 1, "hostPort": 80 })));
    assert!(!outcome(json!({ "containerPort": 1, "hostPort": 80, "hostIP": "10.0.0.1" })));
    assert!(outcome(json!({ "containerPort": 1, "hostPort": 80, "hostIP": "10.0.0.2" })));
    assert!(outcome(json!({ "containerPort": 1, "hostPort": 80, "protocol": "UDP" })));
    assert!(outcome(json!({ "containerPort": 1, "hostPort": 81 })));
}

#[test]
fn init_containers_count_by_their_peak_and_sidecars_stay() {
    let spec = json!({ "initContainers": [
        { "name": "side", "restartPolicy": "Always", "resources": { "requests": { "cpu": "300m" } } },
        { "name": "init", "resources": { "requests": { "cpu": "900m" } } },
    ], "overhead": { "cpu": "50m" } });
    assert_eq!(pod("p", json!({ "cpu": "500m" }), spec).requests.cpu_milli, 1250);
}

#[test]
fn the_pod_limit_of_a_node_counts() {
    let mut world = snapshot(vec![node("a", "2", "4Gi", json!({ "status": { "allocatable": { "pods": "1" } } }))]);
    world.assign(pod("one", json!({}), json!({})), "a");
    let Decision::Unschedulable(diagnosis) = decide(&pod("two", json!({}), json!({})), &world) else {
        panic!("the node is full");
    };
    assert_eq!(diagnosis.message(), "0/1 nodes are available: 1 Too many pods.");
    let expected = Rejection { node: "a".into(), plugin: "NodeResourcesFit", reasons: vec!["Too many pods".into()] };
    assert_eq!(diagnosis.rejections, [expected]);
}

#[test]
fn a_snapshot_counts_a_pod_once_and_forgets_it_wholly() {
    let mut world = snapshot(vec![plain("a"), plain("b")]);
    let p = pod("p", json!({ "cpu": "1" }), json!({}));
    world.assign(Arc::clone(&p), "a");
    world.assign(Arc::clone(&p), "b");
    assert_eq!(world.node("a").map(|n| n.requested.cpu_milli), Some(0));
    assert_eq!(world.node("b").map(|n| n.requested.cpu_milli), Some(1000));
    // A node that goes and comes back finds its pods counted.
    world.remove_node("b");
    world.set_node(plain("b"));
    assert_eq!(world.node("b").map(|n| n.requested.cpu_milli), Some(1000));
    world.unassign(&p.key);
    assert_eq!(world.node("b").map(|n| (n.requested.cpu_milli, n.pods.len())), Some((0, 0)));
}

#[test]
fn large_clusters_are_looked_at_in_part() {
    for (nodes, expected) in [(1, 1), (99, 99), (100, 100), (1000, 420), (5000, 500), (10_000, 500)] {
        assert_eq!(feasible_to_find(nodes), expected, "{nodes} nodes");
    }
}
