//! A node must have room for what the pod requests.

use super::{Event, Plugin, Reason};
use crate::pod::PodInfo;
use crate::snapshot::NodeInfo;

pub(super) struct ResourcesFit;

impl Plugin for ResourcesFit {
    fn name(&self) -> &'static str {
        "NodeResourcesFit"
    }

    fn filter(&self, pod: &PodInfo, node: &NodeInfo) -> Result<(), Vec<Reason>> {
        let mut lacking: Vec<Reason> = Vec::new();
        if i64::try_from(node.pods.len()).unwrap_or(i64::MAX) >= node.pod_capacity {
            lacking.push("Too many pods".into());
        }
        let (want, have, used) = (&pod.requests, &node.allocatable, &node.requested);
        let short = |want: i64, have: i64, used: i64| want > 0 && want > have - used;
        if short(want.cpu_milli, have.cpu_milli, used.cpu_milli) {
            lacking.push("Insufficient cpu".into());
        }
        if short(want.memory, have.memory, used.memory) {
            lacking.push("Insufficient memory".into());
        }
        if short(want.ephemeral_storage, have.ephemeral_storage, used.ephemeral_storage) {
            lacking.push("Insufficient ephemeral-storage".into());
        }
        for (name, amount) in &want.extended {
            let of = |list: &crate::resources::Resources| list.extended.get(name).copied().unwrap_or(0);
            if short(*amount, of(have), of(used)) {
                lacking.push(format!("Insufficient {name}").into());
            }
        }
        if lacking.is_empty() { Ok(()) } else { Err(lacking) }
    }

    fn unblocks(&self, pod: &PodInfo, event: Event<'_>) -> bool {
        match event {
            Event::NodeAdded(node) | Event::PodRemoved(_, node) => self.filter(pod, node).is_ok(),
            Event::NodeUpdated(old, new) => {
                let grew = old.allocatable != new.allocatable || old.pod_capacity != new.pod_capacity;
                grew && self.filter(pod, new).is_ok()
            }
        }
    }
}
