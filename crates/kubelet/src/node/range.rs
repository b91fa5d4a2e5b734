//! Takes the range of the pods' addresses from the node's object.

use std::sync::Arc;

use gantry_client::{Key, Reader};
use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::Node;
use tokio::sync::Notify;

use crate::network::PodNetwork;

/// Follows the node's object for ever; `changed` is told when a range became known.
pub(crate) async fn follow(node: Reader<Node>, name: String, network: Arc<dyn PodNetwork>, changed: Arc<Notify>) {
    let key = Key::cluster(&name);
    let mut subscription = node.subscribe();
    node.synced().await;
    let mut known = None;
    loop {
        // An object that is gone has said nothing else: the pods are still there.
        let range = node.get(&key).and_then(|node| range(&node));
        if let Some(range) = range.filter(|range| known != Some(*range)) {
            network.set_range(range);
            known = Some(range);
            changed.notify_one();
        }
        subscription.next().await;
    }
}

fn range(node: &Node) -> Option<Ipv4Net> {
    node.spec.as_ref()?.pod_cidr.as_ref()?.parse().ok()
}
