use std::{sync::Arc, time::Duration};

use clap::Parser;
use gantry_client::{Change, Key};
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        coordination::v1::{Lease, LeaseSpec},
        core::v1::{Node, NodeCondition, NodeSpec, NodeStatus, Taint},
    },
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta, Time},
};

use super::{
    disruption::{self, Pace, State},
    health::Health,
    plan::{Plan, Snapshot, plan},
};
use crate::options::Options;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("in range")
}

/// A node with conditions given as `Ready=True`.
fn node(name: &str, conditions: &[&str]) -> Node {
    let condition = |text: &&str| {
        let (kind, status) = text.split_once('=').expect("kind=status");
        NodeCondition { type_: kind.to_owned(), status: status.to_owned(), ..NodeCondition::default() }
    };
    Node {
        metadata: ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() },
        spec: Some(NodeSpec::default()),
        status: Some(NodeStatus {
            conditions: Some(conditions.iter().map(condition).collect()),
            ..NodeStatus::default()
        }),
    }
}

/// Taints given as `key:Effect`, the key without its domain where it is ours.
fn tainted(mut node: Node, taints: &[&str]) -> Node {
    let taint = |text: &&str| {
        let (key, effect) = text.split_once(':').expect("key:effect");
        let key = if key.contains('/') { key.to_owned() } else { format!("node.kubernetes.io/{key}") };
        Taint { key, effect: effect.to_owned(), value: None, time_added: Some(Time(at(1))) }
    };
    node.spec.get_or_insert_default().taints = Some(taints.iter().map(taint).collect());
    node
}

fn plan_for(node: &Node, silent_for: u64, pace: Pace) -> Plan {
    plan(&Snapshot {
        node,
        silent_for: Duration::from_secs(silent_for),
        grace: Duration::from_secs(50),
        startup_grace: Duration::from_secs(60),
        pace,
        now: at(1000),
    })
}

fn show_taints(plan: &Plan) -> Option<String> {
    let show = |t: &Taint| format!("{}:{}", t.key.trim_start_matches("node.kubernetes.io/"), t.effect);
    plan.taints.as_ref().map(|taints| taints.iter().map(show).collect::<Vec<_>>().join(" "))
}

#[test]
fn a_silent_node_is_marked_after_the_grace_period() {
    let live = node("n", &["Ready=True", "MemoryPressure=False", "DiskPressure=False", "PIDPressure=False"]);
    let early = plan_for(&live, 20, Pace::Taint);
    assert_eq!((early.conditions.as_ref(), early.again), (None, Some(Duration::from_secs(30))));
    let late = plan_for(&live, 50, Pace::Taint);
    let conditions = late.conditions.expect("marked");
    assert_eq!(conditions.len(), 4);
    for condition in &conditions {
        assert_eq!(condition.status, "Unknown");
        assert_eq!(condition.reason.as_deref(), Some("NodeStatusUnknown"));
        assert_eq!(condition.message.as_deref(), Some("Kubelet stopped posting node status."));
        assert_eq!(condition.last_transition_time, Some(Time(at(1000))));
    }
    let marked = node("n", &["Ready=Unknown", "MemoryPressure=Unknown", "DiskPressure=Unknown", "PIDPressure=Unknown"]);
    let settled = plan_for(&marked, 500, Pace::Taint);
    assert_eq!((settled.conditions.as_ref(), settled.again, settled.silence_pods), (None, None, true));
}

#[test]
fn a_node_that_never_posted_gets_the_longer_grace_period() {
    let fresh = node("n", &[]);
    assert_eq!(plan_for(&fresh, 55, Pace::Taint).conditions, None);
    let conditions = plan_for(&fresh, 60, Pace::Taint).conditions.expect("marked");
    assert_eq!(conditions[0].reason.as_deref(), Some("NodeStatusNeverUpdated"));
    assert_eq!(conditions[0].message.as_deref(), Some("Kubelet never posted node status."));
}

#[test]
fn taints_follow_conditions() {
    let check = |node: Node, pace, expected: Option<&str>| {
        assert_eq!(show_taints(&plan_for(&node, 0, pace)).as_deref(), expected, "{node:?}");
    };
    let ready = || node("n", &["Ready=True"]);
    check(ready(), Pace::Taint, None);
    check(node("n", &["Ready=False"]), Pace::Taint, Some("not-ready:NoSchedule not-ready:NoExecute"));
    check(node("n", &["Ready=Unknown"]), Pace::Taint, Some("unreachable:NoSchedule unreachable:NoExecute"));
    check(node("n", &["Ready=Unknown"]), Pace::Hold, Some("unreachable:NoSchedule"));
    check(node("n", &["Ready=Unknown"]), Pace::Retract, Some("unreachable:NoSchedule"));
    let pressed = node("n", &["Ready=True", "MemoryPressure=True", "DiskPressure=True", "PIDPressure=Unknown"]);
    check(pressed, Pace::Taint, Some("memory-pressure:NoSchedule disk-pressure:NoSchedule"));
    check(node("n", &["Ready=True", "NetworkUnavailable=True"]), Pace::Taint, Some("network-unavailable:NoSchedule"));
    let mut cordoned = ready();
    cordoned.spec.get_or_insert_default().unschedulable = Some(true);
    check(cordoned, Pace::Taint, Some("unschedulable:NoSchedule"));
    // What is over goes; what others put there stays.
    let recovered =
        tainted(ready(), &["unreachable:NoSchedule", "example.com/mine:NoExecute", "unreachable:NoExecute"]);
    check(recovered, Pace::Taint, Some("example.com/mine:NoExecute"));
    // From unreachable to not ready: the evicting taint moves, whoever's turn it is.
    let back = tainted(node("n", &["Ready=False"]), &["unreachable:NoSchedule", "unreachable:NoExecute"]);
    check(back, Pace::Hold, Some("not-ready:NoSchedule not-ready:NoExecute"));
    let evicting = || tainted(node("n", &["Ready=Unknown"]), &["unreachable:NoSchedule", "unreachable:NoExecute"]);
    check(evicting(), Pace::Hold, None);
    check(evicting(), Pace::Retract, Some("unreachable:NoSchedule"));
    // A node registers with a not-ready taint and keeps it until its first status.
    check(tainted(node("n", &[]), &["not-ready:NoSchedule"]), Pace::Taint, None);
    check(tainted(ready(), &["not-ready:NoSchedule"]), Pace::Taint, Some(""));
}

#[test]
fn only_a_new_evicting_taint_takes_a_turn() {
    let check = |node: Node, expected| {
        assert_eq!(plan_for(&node, 0, Pace::Taint).evicts, expected, "{node:?}");
    };
    check(node("n", &["Ready=Unknown"]), true);
    check(tainted(node("n", &["Ready=False"]), &["unreachable:NoExecute"]), false);
    check(tainted(node("n", &["Ready=True"]), &["unreachable:NoExecute"]), false);
}

#[test]
fn taints_keep_the_time_at_which_they_were_added() {
    let waiting = tainted(node("n", &["Ready=Unknown"]), &["unreachable:NoExecute"]);
    let taints = plan_for(&waiting, 0, Pace::Taint).taints.expect("one is missing");
    let times: Vec<_> = taints.iter().map(|t| t.time_added.clone().map(|t| t.0.as_second())).collect();
    assert_eq!(times, [Some(1), Some(1000)]);
}

#[derive(Debug, Parser)]
struct Command {
    #[command(flatten)]
    options: Options,
}

#[test]
fn eviction_slows_down_and_stops_with_the_share_of_nodes_that_are_down() {
    let options = Command::parse_from(["manager"]).options;
    let check = |zones: &[(&str, usize, usize)], zone: &str, expected: State| {
        let mut nodes = Vec::new();
        for (zone, up, down) in zones {
            for (count, status) in [(*up, "Ready=True"), (*down, "Ready=Unknown")] {
                for _ in 0..count {
                    let mut node = node("n", &[status]);
                    let label = ("topology.kubernetes.io/zone".to_owned(), (*zone).to_owned());
                    node.metadata.labels = Some([label].into());
                    nodes.push(Arc::new(node));
                }
            }
        }
        assert_eq!(disruption::state(&nodes, zone, &options), expected, "{zones:?}");
    };
    let normal = State::Every(Duration::from_secs(10));
    let slow = State::Every(Duration::from_secs(100));
    check(&[("a", 2, 1)], ":a", normal);
    check(&[("a", 1, 2)], ":a", normal);
    check(&[("a", 2, 3)], ":a", State::Halted);
    check(&[("a", 20, 40)], ":a", slow);
    check(&[("a", 0, 3), ("b", 1, 0)], ":a", normal);
    check(&[("a", 0, 1)], ":a", State::AllSilent);
    check(&[("a", 0, 3), ("b", 0, 2)], ":b", State::AllSilent);
}

fn heartbeat(second: i64) -> Arc<Node> {
    let mut node = node("n", &["Ready=True"]);
    let status = node.status.get_or_insert_default();
    status.conditions.get_or_insert_default()[0].last_heartbeat_time = Some(Time(at(second)));
    Arc::new(node)
}

#[tokio::test(start_paused = true)]
async fn silence_is_counted_from_the_last_change_that_we_saw() {
    let health = Health::default();
    let key = || Key::cluster("n");
    let see = |node: Arc<Node>| health.see_node(&Change { key: key(), old: None, new: Some(node) });
    let renew = |second: i64| {
        let spec = LeaseSpec { renew_time: Some(MicroTime(at(second))), ..LeaseSpec::default() };
        let lease = Lease { spec: Some(spec), ..Lease::default() };
        health.see_lease(&Change { key: key(), old: None, new: Some(Arc::new(lease)) });
    };
    let pass = |seconds| tokio::time::advance(Duration::from_secs(seconds));
    assert_eq!(health.silent_for("n"), Duration::ZERO);
    // However old the node's own time is.
    see(heartbeat(5));
    assert_eq!(health.silent_for("n"), Duration::ZERO);
    pass(30).await;
    see(heartbeat(5));
    assert_eq!(health.silent_for("n").as_secs(), 30, "the same heartbeat is none");
    renew(1);
    assert_eq!(health.silent_for("n").as_secs(), 0);
    pass(10).await;
    health.see_lease(&Change { key: key(), old: None, new: None });
    assert_eq!(health.silent_for("n").as_secs(), 10);
    see(heartbeat(6));
    assert_eq!(health.silent_for("n").as_secs(), 0);
    health.forget("n");
    assert_eq!(health.silent_for("n"), Duration::ZERO);
}
