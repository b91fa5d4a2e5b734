//! A pod that names its node fits no other.

use super::{Plugin, Reason};
use crate::pod::PodInfo;
use crate::snapshot::NodeInfo;

pub(super) struct NodeName;

impl Plugin for NodeName {
    fn name(&self) -> &'static str {
        "NodeName"
    }

    fn filter(&self, pod: &PodInfo, node: &NodeInfo) -> Result<(), Vec<Reason>> {
        if pod.node_name.is_empty() || pod.node_name == *node.name {
            return Ok(());
        }
        Err(vec!["node(s) didn't match the requested node name".into()])
    }
}
