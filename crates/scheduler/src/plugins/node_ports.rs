//! Two pods cannot bind the same host port on one node.

use super::{Event, Plugin, Reason};
use crate::pod::PodInfo;
use crate::snapshot::NodeInfo;

pub(super) struct NodePorts;

impl Plugin for NodePorts {
    fn name(&self) -> &'static str {
        "NodePorts"
    }

    fn filter(&self, pod: &PodInfo, node: &NodeInfo) -> Result<(), Vec<Reason>> {
        if !pod.host_ports.iter().any(|wanted| node.ports.iter().any(|used| wanted.conflicts(used))) {
            return Ok(());
        }
        Err(vec!["node(s) didn't have free ports for the requested pod ports".into()])
    }

    fn unblocks(&self, pod: &PodInfo, event: Event<'_>) -> bool {
        match event {
            Event::NodeAdded(node) => self.filter(pod, node).is_ok(),
            Event::NodeUpdated(..) => false,
            Event::PodRemoved(gone, node) => {
                let freed = pod.host_ports.iter().any(|wanted| gone.host_ports.iter().any(|p| wanted.conflicts(p)));
                freed && self.filter(pod, node).is_ok()
            }
        }
    }
}
