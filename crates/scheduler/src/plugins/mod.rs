//! The checks and scores, one file each; this list is their order.

use std::borrow::Cow;

use crate::pod::PodInfo;
use crate::snapshot::{NodeInfo, Snapshot};

pub mod balanced_allocation;
pub mod image_locality;
pub mod least_allocated;
pub mod node_affinity;
pub mod node_name;
pub mod node_ports;
pub mod node_unschedulable;
pub mod resources_fit;
pub mod taint_toleration;

/// The highest score a plugin gives a node after normalisation (upstream's value).
pub const MAX_SCORE: i64 = 100;

/// Why a node was refused, in upstream's words; equal texts are counted together.
pub type Reason = Cow<'static, str>;

/// Something that happened to the cluster and may let a waiting pod run.
#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// A node appeared.
    NodeAdded(&'a NodeInfo),
    /// A node changed from the first to the second.
    NodeUpdated(&'a NodeInfo, &'a NodeInfo),
    /// A pod left the node it was counted on: deleted, finished, or its binding failed. The node is as it is now.
    PodRemoved(&'a PodInfo, &'a NodeInfo),
}

/// A check and/or score of one aspect.
pub trait Plugin: Send + Sync {
    /// Upstream's plugin name.
    fn name(&self) -> &'static str;

    /// Refuses the node with every reason that holds, or accepts it. Pure.
    fn filter(&self, _pod: &PodInfo, _node: &NodeInfo) -> Result<(), Vec<Reason>> {
        Ok(())
    }

    /// Whether `event` may turn a refusal of `pod` by this plugin into an acceptance. Never a false "no".
    ///
    /// The default suits a check that reads only the node: an event helps when the node passes now and did not before.
    fn unblocks(&self, pod: &PodInfo, event: Event<'_>) -> bool {
        match event {
            Event::NodeAdded(node) => self.filter(pod, node).is_ok(),
            Event::NodeUpdated(old, new) => self.filter(pod, new).is_ok() && self.filter(pod, old).is_err(),
            Event::PodRemoved(..) => false,
        }
    }

    /// How much one point of this plugin's normalised score counts; zero: it does not score.
    fn weight(&self) -> i64 {
        0
    }

    /// Whether scoring this pod can distinguish nodes at all; `false` skips the plugin.
    fn scores(&self, _pod: &PodInfo) -> bool {
        self.weight() != 0
    }

    /// The raw score of a node. Pure.
    fn score(&self, _pod: &PodInfo, _node: &NodeInfo, _snapshot: &Snapshot) -> i64 {
        0
    }

    /// Brings the raw scores of all candidates into 0..=[`MAX_SCORE`].
    fn normalise(&self, _scores: &mut [i64]) {}
}

/// The plugins in the order in which they are asked: cheap and most likely to refuse first, as upstream.
#[must_use]
pub fn all() -> Vec<Box<dyn Plugin>> {
    vec![
        Box::new(node_unschedulable::NodeUnschedulable),
        Box::new(node_name::NodeName),
        Box::new(taint_toleration::TaintToleration),
        Box::new(node_affinity::NodeAffinity),
        Box::new(node_ports::NodePorts),
        Box::new(resources_fit::ResourcesFit),
        Box::new(least_allocated::LeastAllocated),
        Box::new(balanced_allocation::BalancedAllocation),
        Box::new(image_locality::ImageLocality),
    ]
}

/// Scales so that the highest becomes [`MAX_SCORE`]; `reverse` turns high into low. All zero: all equal.
fn scale(scores: &mut [i64], reverse: bool) {
    let highest = scores.iter().copied().max().unwrap_or(0);
    for score in scores {
        let scaled = if highest == 0 { 0 } else { MAX_SCORE * *score / highest };
        *score = if reverse { MAX_SCORE - scaled } else { scaled };
    }
}
