//! The conditions and taints of one node.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Node, NodeCondition, Taint},
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::disruption::Pace;

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
const NO_SCHEDULE: &str = "NoSchedule";
const NO_EXECUTE: &str = "NoExecute";
/// Conditions that are bad when true, and their taints.
const PRESSURES: [(&str, &str); 4] = [
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "node.kubernetes.io/network-unavailable"),
];
/// What the kubelet vouches for.
const VOUCHED: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/// What a plan is made from.
#[derive(Debug)]
pub(super) struct Snapshot<'a> {
    pub(super) node: &'a Node,
    pub(super) silent_for: Duration,
    pub(super) grace: Duration,
    pub(super) startup_grace: Duration,
    pub(super) pace: Pace,
    pub(super) now: Timestamp,
}

/// What to write.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan {
    /// The conditions that change.
    pub(super) conditions: Option<Vec<NodeCondition>>,
    /// The whole new list of taints.
    pub(super) taints: Option<Vec<Taint>>,
    /// Whether `taints` adds one that evicts.
    pub(super) evicts: bool,
    /// Whether its pods cannot count as ready.
    pub(super) silence_pods: bool,
    /// When the grace period ends, if the node stays silent.
    pub(super) again: Option<Duration>,
}

fn status_of<'a>(node: &'a Node, kind: &str) -> Option<&'a str> {
    let conditions = node.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|c| c.type_ == kind).map(|c| c.status.as_str())
}

pub(super) fn is_ready(node: &Node) -> bool {
    status_of(node, "Ready") == Some("True")
}

/// Whether nobody vouches for the node.
pub(super) fn is_silent(node: &Node) -> bool {
    status_of(node, "Ready") == Some("Unknown")
}

/// Whether the node's state asks for an evicting taint.
pub(super) fn wants_eviction(node: &Node) -> bool {
    matches!(status_of(node, "Ready"), Some("False" | "Unknown"))
}

/// Whether the node has an evicting taint of ours.
pub(super) fn is_evicting(node: &Node) -> bool {
    taints(node).iter().any(|t| t.effect == NO_EXECUTE && (t.key == NOT_READY || t.key == UNREACHABLE))
}

fn taints(node: &Node) -> &[Taint] {
    node.spec.as_ref().and_then(|s| s.taints.as_deref()).unwrap_or_default()
}

/// Decides what to write about the node.
pub(super) fn plan(snapshot: &Snapshot<'_>) -> Plan {
    let node = snapshot.node;
    let posted = status_of(node, "Ready").is_some();
    let grace = if posted { snapshot.grace } else { snapshot.startup_grace };
    let silent = snapshot.silent_for >= grace;
    let again = (!silent).then(|| grace - snapshot.silent_for);
    if silent {
        let conditions = unknown(node, snapshot.now);
        if !conditions.is_empty() {
            return Plan { conditions: Some(conditions), ..Plan::default() };
        }
    }
    let (wanted, evicts) = wanted_taints(snapshot);
    let changed = wanted != taints(node);
    Plan {
        conditions: None,
        evicts: changed && evicts,
        taints: changed.then_some(wanted),
        silence_pods: is_silent(node),
        again,
    }
}

/// The conditions that a silent node's kubelet no longer vouches for.
fn unknown(node: &Node, now: Timestamp) -> Vec<NodeCondition> {
    let now = Time(Timestamp::from_second(now.as_second()).unwrap_or(now));
    let known = node.status.as_ref().and_then(|s| s.conditions.as_deref()).unwrap_or_default();
    let doubt = |kind: &&str| match known.iter().find(|c| c.type_ == **kind) {
        Some(condition) if condition.status == "Unknown" => None,
        Some(condition) => Some(NodeCondition {
            status: "Unknown".to_owned(),
            reason: Some("NodeStatusUnknown".to_owned()),
            message: Some("Kubelet stopped posting node status.".to_owned()),
            last_transition_time: Some(now.clone()),
            ..condition.clone()
        }),
        None => Some(NodeCondition {
            type_: (*kind).to_owned(),
            status: "Unknown".to_owned(),
            reason: Some("NodeStatusNeverUpdated".to_owned()),
            message: Some("Kubelet never posted node status.".to_owned()),
            last_heartbeat_time: node.metadata.creation_timestamp.clone(),
            last_transition_time: Some(now.clone()),
        }),
    };
    VOUCHED.iter().filter_map(doubt).collect()
}

/// The node's taints as they should be, and whether one that evicts is new. Taints of others stay, where they stand.
fn wanted_taints(snapshot: &Snapshot<'_>) -> (Vec<Taint>, bool) {
    let node = snapshot.node;
    let trouble = match status_of(node, "Ready") {
        Some("False") => Some(NOT_READY),
        Some("Unknown") => Some(UNREACHABLE),
        _ => None,
    };
    let mut wanted: Vec<(&str, &str)> = trouble.map(|key| (key, NO_SCHEDULE)).into_iter().collect();
    let pressed = PRESSURES.iter().filter(|(kind, _)| status_of(node, kind) == Some("True"));
    wanted.extend(pressed.map(|(_, key)| (*key, NO_SCHEDULE)));
    if node.spec.as_ref().and_then(|s| s.unschedulable) == Some(true) {
        wanted.push((UNSCHEDULABLE, NO_SCHEDULE));
    }
    let evicting = is_evicting(node);
    if let Some(key) = trouble
        && (snapshot.pace == Pace::Taint || (snapshot.pace == Pace::Hold && evicting))
    {
        wanted.push((key, NO_EXECUTE));
    }
    // A node that says of itself that it is not ready before its first status is left alone: it registered so.
    let ours = |t: &&Taint| {
        let condition = [NOT_READY, UNREACHABLE, UNSCHEDULABLE].contains(&t.key.as_str())
            || PRESSURES.iter().any(|(_, key)| *key == t.key);
        let executing = t.effect == NO_EXECUTE && (t.key == NOT_READY || t.key == UNREACHABLE);
        (condition && t.effect == NO_SCHEDULE) || executing
    };
    let posted = status_of(node, "Ready").is_some();
    let stays = |t: &&Taint| !ours(t) || !posted || wanted.contains(&(t.key.as_str(), t.effect.as_str()));
    let mut list: Vec<Taint> = taints(node).iter().filter(stays).cloned().collect();
    let mut evicts = false;
    for (key, effect) in wanted {
        if list.iter().all(|t| t.key != key || t.effect != effect) {
            evicts |= effect == NO_EXECUTE && !evicting;
            list.push(Taint {
                key: key.to_owned(),
                effect: effect.to_owned(),
                value: None,
                time_added: Some(Time(Timestamp::from_second(snapshot.now.as_second()).unwrap_or(snapshot.now))),
            });
        }
    }
    (list, evicts)
}
