//! Gives each node its part of the pod address range.

mod ranges;

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use gantry_client::{
    Client, Key, ListParams, Object, Patch,
    events::{EventType, Recorder, reference},
};
use gantry_controller::{Doing, Error, Outcome, Reconciler, Runner};
use ipnet::IpNet;
use k8s_openapi::api::core::v1::Node;
use parking_lot::Mutex;
use serde_json::json;

use self::ranges::Ranges;
use crate::context::Context;

/// Starts the controller; resolves when it stopped. Without `--cluster-cidr` it has nothing to do.
pub(super) async fn run(context: Context) {
    let options = &context.options;
    let Some(cluster) = options.cluster_cidr else {
        tracing::warn!("--cluster-cidr is not given, so nodes get no pod addresses from here");
        return context.stop.cancelled().await;
    };
    let ranges = Ranges::new(cluster, options.node_cidr_mask_size, options.service_cluster_ip_range);
    // One worker: two allocations must not choose at once.
    let runner = Runner::new("node-ipam", 1, context.stop.clone());
    let readers = Arc::clone(&context.readers);
    let runner = runner.watch_keys(&context.readers.nodes).watch(&context.readers.nodes, move |change| {
        // A node that goes gives back its range: others may wait for one.
        let waiting = |n: &Arc<Node>| change.new.is_none() && ranges_of(n).is_empty();
        readers.nodes.list().into_iter().filter(waiting).map(|n| n.key()).collect()
    });
    let controller = Controller {
        client: context.client.clone(),
        recorder: context.recorder("cidrAllocator"),
        context,
        state: Mutex::new(State { ranges, taken: BTreeMap::new() }),
        seeded: tokio::sync::OnceCell::new(),
    };
    runner.run(Arc::new(controller)).await;
}

struct State {
    ranges: Ranges,
    /// Per node its uid and ranges, written or about to be.
    taken: BTreeMap<String, (String, Vec<IpNet>)>,
}

struct Controller {
    context: Context,
    client: Client,
    recorder: Recorder,
    state: Mutex<State>,
    seeded: tokio::sync::OnceCell<()>,
}

/// The ranges that a node has.
fn ranges_of(node: &Node) -> Vec<IpNet> {
    let spec = node.spec.as_ref();
    let many = spec.and_then(|s| s.pod_cidrs.clone()).unwrap_or_default();
    let one = spec.and_then(|s| s.pod_cidr.clone());
    many.iter().chain(&one).filter_map(|cidr| cidr.parse().ok()).collect()
}

#[async_trait]
impl Reconciler for Controller {
    async fn reconcile(&self, key: &Key) -> Result<Outcome, Error> {
        self.seeded.get_or_try_init(|| self.seed()).await?;
        let Some(node) = self.context.readers.nodes.get(key) else {
            self.state.lock().taken.remove(&key.name);
            return Ok(Outcome::Done);
        };
        let has = ranges_of(&node);
        if !has.is_empty() {
            self.state.lock().taken.insert(key.name.clone(), (node.uid().to_owned(), has));
            return Ok(Outcome::Done);
        }
        let Some(range) = self.state.lock().choose(&node) else {
            let message = format!("Node {} status is now: CIDRNotAvailable", key.name);
            self.recorder.event(&reference(&*node), EventType::Normal, "CIDRNotAvailable", message);
            return Err(Error::Refused(format!("no range of --cluster-cidr is left for node {}", key.name)));
        };
        let cidr = range.to_string();
        let patch = json!({"metadata": {"uid": node.uid()}, "spec": {"podCIDR": cidr, "podCIDRs": [cidr]}});
        // Whether or not an answer comes, the range stays taken until the node is seen with another or gone.
        match self.client.api::<Node>().patch(&key.name, &Patch::Strategic(patch), None).await {
            Ok(_) => Ok(Outcome::Done),
            Err(error) if error.is_not_found() => Ok(Outcome::Done),
            Err(error) => Err(error).doing(|| format!("give node {} the range {cidr}", key.name)),
        }
    }
}

impl Controller {
    /// Reads, once per reign, what the leader before gave out last: the informer may not show it yet.
    async fn seed(&self) -> Result<(), Error> {
        let nodes = self.client.api::<Node>().list(&ListParams::default()).await;
        let nodes = nodes.doing(|| "read which ranges nodes have".to_owned())?;
        let taken = nodes.items.iter().filter(|n| !ranges_of(n).is_empty());
        let taken = taken.map(|n| (n.key().name, (n.uid().to_owned(), ranges_of(n))));
        self.state.lock().taken.extend(taken);
        Ok(())
    }
}

impl State {
    /// The node's range: the one chosen before, or a free one.
    fn choose(&mut self, node: &Node) -> Option<IpNet> {
        let name = node.key().name;
        if let Some((uid, ranges)) = self.taken.get(&name)
            && uid == node.uid()
        {
            return ranges.first().copied();
        }
        // A namesake of an earlier node: that one's range is free again.
        self.taken.remove(&name);
        let taken: Vec<IpNet> = self.taken.values().flat_map(|(_, ranges)| ranges.clone()).collect();
        let range = self.ranges.next_free(&taken)?;
        self.taken.insert(name, (node.uid().to_owned(), vec![range]));
        Some(range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, uid: &str) -> Node {
        let mut node = Node::default();
        node.metadata.name = Some(name.to_owned());
        node.metadata.uid = Some(uid.to_owned());
        node
    }

    #[test]
    fn a_node_keeps_its_range_and_a_namesake_gets_its_own() {
        let cluster = "10.244.0.0/16".parse().expect("valid");
        let mut state = State { ranges: Ranges::new(cluster, 24, None), taken: BTreeMap::new() };
        let mut check = |name: &str, uid: &str, expected: &str| {
            let range = state.choose(&node(name, uid)).expect("free");
            assert_eq!(range.to_string(), expected, "{name} {uid}");
        };
        check("a", "1", "10.244.0.0/24");
        check("b", "2", "10.244.1.0/24");
        check("a", "1", "10.244.0.0/24");
        check("a", "3", "10.244.2.0/24");
        check("c", "4", "10.244.3.0/24");
    }
}
