//! Which pods a scale-down deletes first: those that are worth least.
//!
//! Order: k8s.io/kubernetes pkg/controller/controller_utils.go, `ActivePodsWithRanks`.

use std::{
    cmp::{Ordering, Reverse},
    collections::BTreeMap,
    sync::Arc,
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use crate::pods;

/// The annotation with which a user makes a pod cheaper or dearer to delete.
const DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";

/// Everything but age, cheapest first.
type Worth = (bool, u8, bool, i32, Reverse<usize>);

fn worth(pod: &Pod, neighbours: &BTreeMap<String, usize>) -> Worth {
    let phase = match pods::phase(pod) {
        "Pending" => 0,
        "Unknown" => 1,
        _ => 2,
    };
    let cost = pod.metadata.annotations.as_ref().and_then(|a| a.get(DELETION_COST)).and_then(|c| c.parse().ok());
    let node = pods::node(pod);
    let crowd = neighbours.get(node).copied().unwrap_or(0);
    (!node.is_empty(), phase, pods::is_ready(pod), cost.unwrap_or(0), Reverse(crowd))
}

/// Younger first, but only if it differs by a factor of two: among pods of like age the choice is spread by uid, so that
/// one failure domain that was filled last is not emptied first.
fn younger(a: Option<Timestamp>, b: Option<Timestamp>, uids: (&str, &str), now: Timestamp) -> Ordering {
    match (a, b) {
        (Some(a), Some(b)) if a == b => Ordering::Equal,
        (Some(a), Some(b)) => magnitude(a, now).cmp(&magnitude(b, now)).then_with(|| uids.0.cmp(uids.1)),
        // Without a time it is as young as can be.
        (None, Some(_)) => Ordering::Less,
        (Some(_), None) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    }
}

/// The binary logarithm of the age.
fn magnitude(since: Timestamp, now: Timestamp) -> i32 {
    let nanoseconds = now.duration_since(since).as_nanos();
    u128::try_from(nanoseconds)
        .ok()
        .and_then(u128::checked_ilog2)
        .map_or(-1, |log| i32::try_from(log).unwrap_or(i32::MAX))
}

fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.as_ref().and_then(|s| s.container_statuses.as_ref());
    statuses.into_iter().flatten().map(|c| c.restart_count).max().unwrap_or(0)
}

fn compare(a: &Pod, b: &Pod, neighbours: &BTreeMap<String, usize>, now: Timestamp) -> Ordering {
    let uid = |pod: &Pod| pod.metadata.uid.clone().unwrap_or_default();
    let created = |pod: &Pod| pod.metadata.creation_timestamp.as_ref().map(|t| t.0);
    let (uid_a, uid_b) = (uid(a), uid(b));
    let uids = (uid_a.as_str(), uid_b.as_str());
    let ready = || match pods::is_ready(a) && pods::is_ready(b) {
        true => younger(pods::ready_since(a), pods::ready_since(b), uids, now),
        false => Ordering::Equal,
    };
    worth(a, neighbours)
        .cmp(&worth(b, neighbours))
        .then_with(ready)
        .then_with(|| restarts(b).cmp(&restarts(a)))
        .then_with(|| younger(created(a), created(b), uids, now))
        .then_with(|| uids.0.cmp(uids.1))
}

/// The `count` cheapest of `active`; `neighbours` counts the related active pods per node.
pub(super) fn cheapest(
    active: &[Arc<Pod>],
    count: usize,
    neighbours: &BTreeMap<String, usize>,
    now: Timestamp,
) -> Vec<Arc<Pod>> {
    let mut pods = active.to_vec();
    if count < pods.len() {
        pods.sort_by(|a, b| compare(a, b, neighbours, now));
        pods.truncate(count);
    }
    pods
}
