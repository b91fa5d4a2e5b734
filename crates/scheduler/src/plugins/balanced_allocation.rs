//! Prefers nodes whose CPU and memory would be used in equal shares, so that neither is left stranded.

use super::{MAX_SCORE, Plugin};
use crate::pod::PodInfo;
use crate::snapshot::{NodeInfo, Snapshot};

pub(super) struct BalancedAllocation;

impl Plugin for BalancedAllocation {
    fn name(&self) -> &'static str {
        "NodeResourcesBalancedAllocation"
    }

    fn weight(&self) -> i64 {
        1
    }

    /// A pod that asks for nothing changes no balance.
    fn scores(&self, pod: &PodInfo) -> bool {
        pod.requests.cpu_milli > 0 || pod.requests.memory > 0
    }

    fn score(&self, pod: &PodInfo, node: &NodeInfo, _snapshot: &Snapshot) -> i64 {
        let (capacity, used, want) = (&node.allocatable, &node.requested, &pod.requests);
        let cpu = share(capacity.cpu_milli, used.cpu_milli.saturating_add(want.cpu_milli));
        let memory = share(capacity.memory, used.memory.saturating_add(want.memory));
        let (Some(cpu), Some(memory)) = (cpu, memory) else { return MAX_SCORE };
        let deviation = (cpu - memory).abs() / 2.0;
        #[expect(clippy::cast_possible_truncation, reason = "the value lies in 0..=100")]
        let score = ((1.0 - deviation) * 100.0) as i64;
        score
    }
}

fn share(capacity: i64, used: i64) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "a share needs no more than 52 bits")]
    let share = (capacity > 0).then(|| (used as f64 / capacity as f64).min(1.0));
    share
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::fixture::{node, pod, snapshot};

    #[test]
    fn equal_shares_score_highest() {
        let check = |requests: serde_json::Value, expected: i64| {
            let (pod, node) = (pod("p", requests, json!({})), node("n", "4", "4Gi", json!({})));
            assert_eq!(BalancedAllocation.score(&pod, &node, &snapshot(Vec::new())), expected);
        };
        check(json!({ "cpu": "1", "memory": "1Gi" }), 100);
        check(json!({ "cpu": "4", "memory": "4Gi" }), 100);
        check(json!({ "cpu": "2", "memory": "1Gi" }), 87);
        check(json!({ "cpu": "1", "memory": "3Gi" }), 75);
        check(json!({ "cpu": "4", "memory": "0" }), 50);
        assert!(!BalancedAllocation.scores(&pod("p", json!({}), json!({}))));
    }
}
