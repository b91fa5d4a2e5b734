//! Which pods must go.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Node, Pod};

use crate::pods;

const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// What is known of a pod's node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NodeState {
    /// The informer does not show it.
    Unseen,
    /// An administrator declared it shut down, and it is not ready.
    OutOfService,
    /// It is there.
    There,
}

impl NodeState {
    pub(super) fn of(node: Option<&Node>) -> Self {
        let Some(node) = node else { return Self::Unseen };
        let taints = node.spec.as_ref().and_then(|s| s.taints.as_ref());
        let tainted = taints.into_iter().flatten().any(|t| t.key == OUT_OF_SERVICE);
        let conditions = node.status.as_ref().and_then(|s| s.conditions.as_ref());
        let ready = conditions.into_iter().flatten().any(|c| c.type_ == "Ready" && c.status == "True");
        if tainted && !ready { Self::OutOfService } else { Self::There }
    }
}

/// What to do with a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judgement {
    /// Nothing.
    Keep,
    /// Delete it at once; says why.
    Delete(&'static str),
    /// Delete it once it is sure that the node is gone.
    Orphaned,
}

pub(super) fn judge(pod: &Pod, node: NodeState) -> Judgement {
    let terminating = pods::is_terminating(pod);
    match (pods::node(pod).is_empty(), node) {
        (true, _) if terminating => Judgement::Delete("it was asked to go before it got a node"),
        (true, _) | (false, NodeState::There) => Judgement::Keep,
        (false, NodeState::OutOfService) if terminating => Judgement::Delete("its node is out of service"),
        (false, NodeState::OutOfService) => Judgement::Keep,
        (false, NodeState::Unseen) => Judgement::Orphaned,
    }
}

/// The ended pods beyond `threshold`, oldest first.
pub(super) fn surplus(mut ended: Vec<Arc<Pod>>, threshold: usize) -> Vec<Arc<Pod>> {
    let count = ended.len().saturating_sub(threshold);
    ended.sort_by_key(|p| (p.metadata.creation_timestamp.clone(), p.metadata.name.clone()));
    ended.truncate(count);
    ended
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use k8s_openapi::{
        api::core::v1::{NodeCondition, NodeSpec, NodeStatus, PodSpec, Taint},
        apimachinery::pkg::apis::meta::v1::Time,
    };

    use super::*;

    fn pod(node: &str, terminating: bool) -> Pod {
        let mut pod = Pod {
            spec: Some(PodSpec { node_name: Some(node.to_owned()).filter(|n| !n.is_empty()), ..PodSpec::default() }),
            ..Pod::default()
        };
        pod.metadata.deletion_timestamp = terminating.then_some(Time(Timestamp::UNIX_EPOCH));
        pod
    }

    #[test]
    fn judgements() {
        let check = |node: &str, terminating, state, expected: Judgement| {
            let got = judge(&pod(node, terminating), state);
            assert_eq!(
                std::mem::discriminant(&got),
                std::mem::discriminant(&expected),
                "{node} {terminating} {state:?}"
            );
        };
        check("", false, NodeState::Unseen, Judgement::Keep);
        check("", true, NodeState::Unseen, Judgement::Delete(""));
        check("n1", false, NodeState::There, Judgement::Keep);
        check("n1", true, NodeState::There, Judgement::Keep);
        check("n1", false, NodeState::Unseen, Judgement::Orphaned);
        check("n1", true, NodeState::Unseen, Judgement::Orphaned);
        check("n1", false, NodeState::OutOfService, Judgement::Keep);
        check("n1", true, NodeState::OutOfService, Judgement::Delete(""));
    }

    #[test]
    fn a_node_is_out_of_service_only_while_it_is_not_ready() {
        let check = |tainted: bool, ready: &str, expected| {
            let taint = Taint { key: OUT_OF_SERVICE.to_owned(), effect: "NoExecute".to_owned(), ..Taint::default() };
            let condition =
                NodeCondition { type_: "Ready".to_owned(), status: ready.to_owned(), ..NodeCondition::default() };
            let node = Node {
                spec: Some(NodeSpec { taints: tainted.then(|| vec![taint]), ..NodeSpec::default() }),
                status: Some(NodeStatus { conditions: Some(vec![condition]), ..NodeStatus::default() }),
                ..Node::default()
            };
            assert_eq!(NodeState::of(Some(&node)), expected, "{tainted} {ready}");
        };
        check(true, "Unknown", NodeState::OutOfService);
        check(true, "True", NodeState::There);
        check(false, "False", NodeState::There);
        assert_eq!(NodeState::of(None), NodeState::Unseen);
    }

    #[test]
    fn the_oldest_ended_pods_go_first() {
        let at = |second: i64| {
            let mut pod = Pod::default();
            pod.metadata.creation_timestamp = Some(Time(Timestamp::from_second(second).expect("in range")));
            Arc::new(pod)
        };
        let gone = surplus(vec![at(3), at(1), at(2)], 1);
        assert_eq!(gone, [at(1), at(2)]);
        assert!(surplus(vec![at(1)], 5).is_empty());
    }
}
