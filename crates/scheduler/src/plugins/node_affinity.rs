//! `nodeSelector` and node affinity: what the pod requires of a node's labels, and what it prefers.

use super::{Plugin, Reason, scale};
use crate::pod::PodInfo;
use crate::selector::{Subject, any_term, term_matches};
use crate::snapshot::{NodeInfo, Snapshot};

pub(super) struct NodeAffinity;

impl Plugin for NodeAffinity {
    fn name(&self) -> &'static str {
        "NodeAffinity"
    }

    fn filter(&self, pod: &PodInfo, node: &NodeInfo) -> Result<(), Vec<Reason>> {
        let selected = pod.node_selector.iter().all(|(key, value)| node.labels.get(key) == Some(value));
        let affine = pod.required_terms.as_ref().is_none_or(|terms| any_term(terms, subject(node)));
        if selected && affine {
            return Ok(());
        }
        Err(vec!["node(s) didn't match Pod's node affinity/selector".into()])
    }

    fn weight(&self) -> i64 {
        2
    }

    fn scores(&self, pod: &PodInfo) -> bool {
        !pod.preferred_terms.is_empty()
    }

    fn score(&self, pod: &PodInfo, node: &NodeInfo, _snapshot: &Snapshot) -> i64 {
        let matching = pod.preferred_terms.iter().filter(|t| term_matches(&t.preference, subject(node)));
        matching.map(|t| i64::from(t.weight)).sum()
    }

    fn normalise(&self, scores: &mut [i64]) {
        scale(scores, false);
    }
}

fn subject(node: &NodeInfo) -> Subject<'_> {
    Subject { name: &node.name, labels: &node.labels }
}
