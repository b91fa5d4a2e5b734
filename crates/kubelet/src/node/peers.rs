//! Keeps routes and packet rules as the cluster's nodes are.

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use gantry_client::Reader;
use gantry_common::backoff::Backoff;
use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::Node;
use tokio::sync::Notify;

use crate::network::{Peer, PodNetwork};

const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// Follows the Node objects for ever; `changed` is told when the own range became known.
pub(crate) async fn follow(
    nodes: Reader<Node>,
    own_name: String,
    fixed: Option<Ipv4Net>,
    network: Arc<dyn PodNetwork>,
    changed: Arc<Notify>,
) {
    let mut subscription = nodes.subscribe();
    nodes.synced().await;
    let mut backoff = Backoff::new(RETRY_MIN, RETRY_MAX);
    let mut applied: Option<Vec<Peer>> = None;
    let mut own_range = None;
    loop {
        let all = nodes.list();
        let range = fixed.or_else(|| all.iter().find(|n| name(n) == own_name).and_then(|n| self::range(n)));
        if let Some(range) = range.filter(|range| own_range != Some(*range)) {
            network.set_range(range);
            own_range = Some(range);
            applied = None;
            changed.notify_one();
        }
        let wanted = peers(&all);
        if applied.as_ref() == Some(&wanted) {
            subscription.next().await;
            continue;
        }
        match network.set_peers(&wanted).await {
            Ok(()) => {
                applied = Some(wanted);
                backoff.reset();
            }
            Err(error) => {
                tracing::warn!(
                    error = gantry_common::error_chain(&error),
                    "routes to other nodes are incomplete, trying again"
                );
                tokio::select! {
                    () = tokio::time::sleep(backoff.next()) => {}
                    _ = subscription.next() => {}
                }
            }
        }
    }
}

fn name(node: &Node) -> &str {
    node.metadata.name.as_deref().unwrap_or_default()
}

fn range(node: &Node) -> Option<Ipv4Net> {
    node.spec.as_ref()?.pod_cidr.as_ref()?.parse().ok()
}

fn address(node: &Node) -> Option<Ipv4Addr> {
    let addresses = node.status.as_ref()?.addresses.as_ref()?;
    addresses.iter().find(|a| a.type_ == "InternalIP")?.address.parse().ok()
}

/// The nodes that can be routed to, sorted; pure.
fn peers(nodes: &[Arc<Node>]) -> Vec<Peer> {
    let mut all: Vec<Peer> =
        nodes.iter().filter_map(|node| Some(Peer { address: address(node)?, range: range(node) })).collect();
    all.sort();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nodes_become_peers() {
        let node = |name: &str, ip: &str, cidr: &str| {
            let node: Node = serde_json::from_value(json!({
                "metadata": {"name": name}, "spec": {"podCIDR": cidr},
                "status": {"addresses": [{"type": "Hostname", "address": name}, {"type": "InternalIP", "address": ip}]},
            }))
            .unwrap();
            Arc::new(node)
        };
        let found =
            peers(&[node("b", "10.0.0.2", "10.244.2.0/24"), node("a", "10.0.0.1", ""), node("c", "", "10.244.3.0/24")]);
        assert_eq!(
            found,
            [
                Peer { address: [10, 0, 0, 1].into(), range: None },
                Peer { address: [10, 0, 0, 2].into(), range: "10.244.2.0/24".parse().ok() },
            ]
        );
    }
}
