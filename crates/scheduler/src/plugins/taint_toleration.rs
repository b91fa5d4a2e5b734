//! Taints repel pods that do not tolerate them.

use k8s_openapi::api::core::v1::{Taint, Toleration};

use super::{Plugin, Reason, scale};
use crate::pod::PodInfo;
use crate::snapshot::{NodeInfo, Snapshot};

pub(super) struct TaintToleration;

impl Plugin for TaintToleration {
    fn name(&self) -> &'static str {
        "TaintToleration"
    }

    fn filter(&self, pod: &PodInfo, node: &NodeInfo) -> Result<(), Vec<Reason>> {
        let hard = |t: &&Taint| t.effect == "NoSchedule" || t.effect == "NoExecute";
        let refusing = node.taints.iter().filter(hard).find(|t| !tolerated(&pod.tolerations, t));
        refusing.map_or(Ok(()), |taint| {
            let value = taint.value.as_deref().unwrap_or_default();
            Err(vec![format!("node(s) had untolerated taint {{{}: {value}}}", taint.key).into()])
        })
    }

    fn weight(&self) -> i64 {
        3
    }

    /// Counts the soft taints that the pod does not tolerate.
    fn score(&self, pod: &PodInfo, node: &NodeInfo, _snapshot: &Snapshot) -> i64 {
        let soft = node.taints.iter().filter(|t| t.effect == "PreferNoSchedule");
        let relevant = |t: &&Toleration| matches!(t.effect.as_deref().unwrap_or_default(), "" | "PreferNoSchedule");
        let untolerated = soft.filter(|taint| !pod.tolerations.iter().filter(relevant).any(|t| accepts(t, taint)));
        untolerated.map(|_| 1).sum()
    }

    fn normalise(&self, scores: &mut [i64]) {
        scale(scores, true);
    }
}

/// Whether any of the tolerations accepts the taint.
pub(crate) fn tolerated(tolerations: &[Toleration], taint: &Taint) -> bool {
    tolerations.iter().any(|t| accepts(t, taint))
}

fn accepts(toleration: &Toleration, taint: &Taint) -> bool {
    let key = toleration.key.as_deref().unwrap_or_default();
    let effect = toleration.effect.as_deref().unwrap_or_default();
    let value = toleration.value.as_deref().unwrap_or_default();
    if !effect.is_empty() && effect != taint.effect || !key.is_empty() && key != taint.key {
        return false;
    }
    match toleration.operator.as_deref().unwrap_or_default() {
        "" | "Equal" => value == taint.value.as_deref().unwrap_or_default(),
        "Exists" => true,
        _ => false,
    }
}
