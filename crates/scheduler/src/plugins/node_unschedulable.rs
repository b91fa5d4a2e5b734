//! A cordoned node takes only pods that tolerate it.

use k8s_openapi::api::core::v1::Taint;

use super::taint_toleration::tolerated;
use super::{Plugin, Reason};
use crate::pod::PodInfo;
use crate::snapshot::NodeInfo;

const TAINT: &str = "node.kubernetes.io/unschedulable";

pub(super) struct NodeUnschedulable;

impl Plugin for NodeUnschedulable {
    fn name(&self) -> &'static str {
        "NodeUnschedulable"
    }

    fn filter(&self, pod: &PodInfo, node: &NodeInfo) -> Result<(), Vec<Reason>> {
        if !node.unschedulable {
            return Ok(());
        }
        let taint = Taint { key: TAINT.to_owned(), effect: "NoSchedule".to_owned(), ..Taint::default() };
        if tolerated(&pod.tolerations, &taint) {
            return Ok(());
        }
        Err(vec!["node(s) were unschedulable".into()])
    }
}
