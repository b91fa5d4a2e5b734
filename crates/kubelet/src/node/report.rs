//! The Node object and its status; pure.

use std::collections::BTreeMap;

use gantry_api::quantity::Quantity as Parsed;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::core::v1::{ContainerImage, Node, NodeAddress, NodeCondition, NodeStatus},
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{ObjectMeta, Time},
    },
};

use super::Machine;
use crate::{
    pod::status::whole_seconds,
    runtime::{Image, Info},
};

/// An unchanged status is still reported this often.
const REPORT_EVERY: SignedDuration = SignedDuration::from_mins(5);
/// Images named in the status, the biggest first.
const IMAGES_MAX: usize = 50;
const NAMES_MAX: usize = 5;

/// What is known at the moment of a report.
pub(super) struct Facts<'a> {
    pub(super) name: &'a str,
    pub(super) address: &'a str,
    pub(super) machine: &'a Machine,
    pub(super) runtime: Option<&'a Info>,
    pub(super) images: &'a [Image],
    /// What keeps the node from running pods, each a sentence.
    pub(super) problems: &'a [String],
    pub(super) now: Timestamp,
}

/// The labels that every node has, and the configured ones over them.
pub(super) fn labels(name: &str, own: &[(String, String)]) -> BTreeMap<String, String> {
    let common = [
        ("kubernetes.io/hostname", name),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", "amd64"),
        ("beta.kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/arch", "amd64"),
    ];
    let common = common.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned()));
    common.chain(own.iter().cloned()).collect()
}

/// The object that the kubelet registers.
pub(super) fn object(facts: &Facts<'_>, own: &[(String, String)]) -> Node {
    Node {
        metadata: ObjectMeta {
            name: Some(facts.name.to_owned()),
            labels: Some(labels(facts.name, own)),
            ..ObjectMeta::default()
        },
        status: Some(status(facts, None)),
        spec: None,
    }
}

/// The status; times of conditions that did not change are kept from `old`.
pub(super) fn status(facts: &Facts<'_>, old: Option<&NodeStatus>) -> NodeStatus {
    let address = |kind: &str, text: &str| NodeAddress { type_: kind.to_owned(), address: text.to_owned() };
    NodeStatus {
        addresses: Some(vec![address("InternalIP", facts.address), address("Hostname", facts.name)]),
        capacity: Some(quantities(&facts.machine.capacity)),
        allocatable: Some(quantities(&facts.machine.allocatable)),
        conditions: Some(conditions(facts, old)),
        images: Some(images(facts.images)).filter(|list| !list.is_empty()),
        node_info: Some(facts.machine.info(facts.runtime)),
        ..NodeStatus::default()
    }
}

fn quantities(map: &BTreeMap<String, Parsed>) -> BTreeMap<String, Quantity> {
    map.iter().map(|(name, value)| (name.clone(), Quantity(value.to_string()))).collect()
}

fn images(all: &[Image]) -> Vec<ContainerImage> {
    let mut all: Vec<&Image> = all.iter().filter(|i| !i.tags.is_empty() || !i.digests.is_empty()).collect();
    all.sort_by(|a, b| b.size_bytes.cmp(&a.size_bytes).then_with(|| a.id.cmp(&b.id)));
    let named = all.into_iter().take(IMAGES_MAX).map(|image| ContainerImage {
        names: Some(image.digests.iter().chain(&image.tags).take(NAMES_MAX).cloned().collect()),
        size_bytes: Some(image.size_bytes),
    });
    named.collect()
}

fn conditions(facts: &Facts<'_>, old: Option<&NodeStatus>) -> Vec<NodeCondition> {
    let fixed = [
        ("MemoryPressure", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ("DiskPressure", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ("PIDPressure", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ];
    let mut all: Vec<(&str, &str, &str, String)> =
        fixed.into_iter().map(|(kind, reason, message)| (kind, "False", reason, message.to_owned())).collect();
    all.push(match facts.problems {
        [] => ("Ready", "True", "KubeletReady", "kubelet is posting ready status".to_owned()),
        [one] => ("Ready", "False", "KubeletNotReady", one.clone()),
        many => ("Ready", "False", "KubeletNotReady", format!("[{}]", many.join(", "))),
    });
    let now = Some(Time(whole_seconds(facts.now)));
    let before = |kind: &str| old.and_then(|s| s.conditions.as_ref()).and_then(|c| c.iter().find(|c| c.type_ == kind));
    all.into_iter()
        .map(|(kind, status, reason, message)| NodeCondition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message),
            last_heartbeat_time: now.clone(),
            last_transition_time: before(kind)
                .filter(|c| c.status == status)
                .and_then(|c| c.last_transition_time.clone())
                .or_else(|| now.clone()),
        })
        .collect()
}

/// Whether a status must be written: something but the heartbeat differs, or the last report is old.
pub(super) fn due(old: &NodeStatus, new: &NodeStatus) -> bool {
    let heartbeat = |status: &NodeStatus| {
        status.conditions.iter().flatten().filter_map(|c| c.last_heartbeat_time.as_ref().map(|t| t.0)).max()
    };
    let stale = match (heartbeat(old), heartbeat(new)) {
        (Some(old), Some(new)) => new.duration_since(old) >= REPORT_EVERY,
        _ => true,
    };
    stale || without_heartbeat(old) != without_heartbeat(new)
}

/// What of a status is the kubelet's, without times that move by themselves.
fn without_heartbeat(status: &NodeStatus) -> NodeStatus {
    let ours = ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"];
    let mut conditions = status.conditions.clone().unwrap_or_default();
    conditions.retain(|c| ours.contains(&c.type_.as_str()));
    for condition in &mut conditions {
        condition.last_heartbeat_time = None;
    }
    NodeStatus {
        conditions: Some(conditions),
        addresses: status.addresses.clone(),
        capacity: status.capacity.clone(),
        allocatable: status.allocatable.clone(),
        images: status.images.clone(),
        node_info: status.node_info.clone(),
        ..NodeStatus::default()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::Config;

    fn facts<'a>(machine: &'a Machine, problems: &'a [String], second: i64) -> Facts<'a> {
        let now = Timestamp::from_second(1_000_000 + second).unwrap();
        Facts { name: "n1", address: "10.200.0.11", machine, runtime: None, images: &[], problems, now }
    }

    fn ready(status: &NodeStatus) -> NodeCondition {
        status.conditions.as_ref().unwrap().iter().find(|c| c.type_ == "Ready").unwrap().clone()
    }

    #[test]
    fn a_status_is_written_when_it_changed_or_is_old() {
        let machine = Machine::read(&Config::parse_from(["k", "--root-dir=/"]));
        let first = status(&facts(&machine, &[], 0), None);
        let check = |problems: &[String], second, expected| {
            let next = status(&facts(&machine, problems, second), Some(&first));
            assert_eq!(due(&first, &next), expected, "{problems:?} after {second}s");
        };
        check(&[], 10, false);
        check(&[], 300, true);
        check(&["dockerd is down".into()], 10, true);
    }

    #[test]
    fn problems_are_named_and_times_kept() {
        let machine = Machine::read(&Config::parse_from(["k", "--root-dir=/"]));
        let first = status(&facts(&machine, &[], 0), None);
        assert_eq!(ready(&first).reason.as_deref(), Some("KubeletReady"));
        let later = status(&facts(&machine, &[], 100), Some(&first));
        assert_eq!(ready(&later).last_transition_time, ready(&first).last_transition_time);
        let broken = status(&facts(&machine, &["a".into(), "b".into()], 100), Some(&first));
        assert_eq!((ready(&broken).status.as_str(), ready(&broken).message.as_deref()), ("False", Some("[a, b]")));
        assert_ne!(ready(&broken).last_transition_time, ready(&first).last_transition_time);
    }

    #[test]
    fn own_labels_win() {
        let found = labels("n1", &[("kubernetes.io/hostname".into(), "x".into()), ("a".into(), "b".into())]);
        assert_eq!((found["kubernetes.io/hostname"].as_str(), found["a"].as_str()), ("x", "b"));
        assert_eq!(found["kubernetes.io/arch"], "amd64");
    }
}
