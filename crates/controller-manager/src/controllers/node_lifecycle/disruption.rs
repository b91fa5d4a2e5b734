//! How fast nodes are emptied: slowly, and not at all when it is rather us who are cut off.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::Node;

use super::plan::is_ready;
use crate::options::Options;

/// What may happen to evicting taints now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// One may be added.
    Taint,
    /// None may be added; those that are there stay.
    Hold,
    /// None may be added, and those that are there go.
    Retract,
}

/// How a zone is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// No node of the cluster is ready: more likely nobody can reach us than everybody died.
    AllSilent,
    /// Too much of a small zone is down.
    Halted,
    /// One node may be emptied per this time.
    Every(Duration),
}

/// The zone that a node is in; "" without labels.
pub(super) fn zone(node: &Node) -> String {
    let label = |key: &str| node.metadata.labels.as_ref().and_then(|l| l.get(key)).map_or("", String::as_str);
    let (region, zone) = (label("topology.kubernetes.io/region"), label("topology.kubernetes.io/zone"));
    if region.is_empty() && zone.is_empty() { String::new() } else { format!("{region}:{zone}") }
}

fn every(rate_per_second: f64) -> State {
    if rate_per_second > 0.0 { State::Every(Duration::from_secs_f64(1.0 / rate_per_second)) } else { State::Halted }
}

/// Judges the zone `name` by the ready nodes in it and in the others.
pub(super) fn state(nodes: &[Arc<Node>], name: &str, options: &Options) -> State {
    if nodes.iter().all(|n| !is_ready(n)) {
        return State::AllSilent;
    }
    let members: Vec<&Arc<Node>> = nodes.iter().filter(|n| zone(n) == name).collect();
    let down = members.iter().filter(|n| !is_ready(n)).count();
    #[expect(clippy::cast_precision_loss, reason = "counts of nodes")]
    let share = down as f64 / members.len().max(1) as f64;
    // A zone that is down as a whole is emptied at the normal rate: others can take its pods.
    let partial = down > 2 && down < members.len() && share >= options.unhealthy_zone_threshold;
    match (partial, members.len() > options.large_cluster_size_threshold) {
        (false, _) => every(options.node_eviction_rate),
        (true, true) => every(options.secondary_node_eviction_rate),
        (true, false) => State::Halted,
    }
}
