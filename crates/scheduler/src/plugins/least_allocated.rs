//! Prefers nodes with the largest free share, so that load spreads.

use super::{MAX_SCORE, Plugin};
use crate::pod::PodInfo;
use crate::snapshot::{NodeInfo, Snapshot};

pub(super) struct LeastAllocated;

impl Plugin for LeastAllocated {
    fn name(&self) -> &'static str {
        "LeastAllocated"
    }

    fn weight(&self) -> i64 {
        1
    }

    /// The mean over CPU and memory of the share that stays free with the pod on the node.
    fn score(&self, pod: &PodInfo, node: &NodeInfo, _snapshot: &Snapshot) -> i64 {
        let (capacity, used, want) = (&node.allocatable, &node.requested_nonzero, &pod.requests_nonzero);
        let parts = [
            (capacity.cpu_milli, used.cpu_milli.saturating_add(want.cpu_milli)),
            (capacity.memory, used.memory.saturating_add(want.memory)),
        ];
        let counted: Vec<i64> = parts.iter().filter(|(c, _)| *c > 0).map(|(c, u)| free_share(*c, *u)).collect();
        let count = i64::try_from(counted.len()).unwrap_or(1).max(1);
        counted.iter().sum::<i64>() / count
    }
}

fn free_share(capacity: i64, used: i64) -> i64 {
    if used > capacity {
        return 0;
    }
    let share = i128::from(capacity - used) * i128::from(MAX_SCORE) / i128::from(capacity);
    i64::try_from(share).unwrap_or(0)
}
