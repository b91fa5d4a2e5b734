//! The way between nodes: a route to the pods of each other node, and masquerade of what this node's pods send out of the
//! cluster.
//!
//! Who is a node, with which address and which range, is read from the Node objects, which a kubelet may not list. What
//! has to be follows from them alone ([`plan`]); it is compared with the kernel at start, at each change and every few
//! minutes, and only the difference is made ([`bring`]). Nothing is removed when the daemon stops.

mod masquerade;
mod routes;

use std::{collections::BTreeMap, net::Ipv4Addr, sync::Arc, time::Duration};

use gantry_client::{Reader, Subscription};
use gantry_common::backoff::Backoff;
use ipnet::Ipv4Net;
use k8s_openapi::api::core::v1::{Node, NodeSpec, NodeStatus};

pub use routes::Route;

/// How often the kernel is compared with what has to be though no node changed.
const AUDIT_INTERVAL: Duration = Duration::from_secs(300);
/// Delays between attempts after the kernel refused something.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Why the way between nodes could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused a route.
    #[error("cannot {what}")]
    Route {
        /// What was tried.
        what: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The packet rules could not be read or written.
    #[error("cannot bring the masquerade of pods up to date")]
    Rules(#[from] crate::kernel::Error),
}

/// What has to be on this node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The addresses of this node's pods.
    pub own: Option<Ipv4Net>,
    /// Routes to all ranges, the own one too, sorted.
    pub routes: Vec<Route>,
    /// The cluster's nodes and pods, sorted, none within another: what goes there keeps the pod's address.
    pub inside: Vec<Ipv4Net>,
    /// The nodes whose ranges are not routed to.
    pub refused: Vec<String>,
}

/// Which node this is.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The name of its Node object.
    pub(crate) name: String,
    /// Its range, if the Node object does not decide.
    pub(crate) range: Option<Ipv4Net>,
    /// The addresses of all pods, where that is known: no node has others.
    pub(crate) cluster: Option<Ipv4Net>,
}

/// Takes away what is not looked at: there may be thousands of nodes, and what they report is long.
pub(crate) fn trim(node: &mut Node) {
    if let Some(spec) = node.spec.take() {
        node.spec = Some(NodeSpec { pod_cidr: spec.pod_cidr, ..NodeSpec::default() });
    }
    if let Some(status) = node.status.take() {
        node.status = Some(NodeStatus { addresses: status.addresses, ..NodeStatus::default() });
    }
    node.metadata.managed_fields = None;
}

/// Follows the Node objects for ever.
pub(crate) async fn follow(nodes: Reader<Node>, place: Place) {
    let mut changes = nodes.subscribe();
    // Before that every node looks as if it were gone.
    nodes.synced().await;
    let mut backoff = Backoff::new(RETRY.0, RETRY.1);
    let mut audit = tokio::time::interval_at(tokio::time::Instant::now() + AUDIT_INTERVAL, AUDIT_INTERVAL);
    let mut known = place.range;
    let mut brought = None;
    let mut refused = Vec::new();
    loop {
        let wanted = plan(&nodes.list(), &place.name, place.range, known, place.cluster);
        if !wanted.refused.is_empty() && refused != wanted.refused {
            tracing::warn!(
                nodes = wanted.refused.join(", "),
                "no routes to the ranges of these nodes: they are not the cluster's, or another node has them"
            );
        }
        refused.clone_from(&wanted.refused);
        // A node whose object was deleted has pods all the same, and will register again.
        known = wanted.own;
        if brought.as_ref() != Some(&wanted) {
            if let Err(error) = bring(&wanted).await {
                tracing::warn!(
                    error = gantry_common::error_chain(&error),
                    "the way to other nodes is incomplete, trying again"
                );
                brought = None;
                tokio::select! {
                    () = tokio::time::sleep(backoff.next()) => {}
                    _ = changes.next() => {}
                }
                continue;
            }
            backoff.reset();
            brought = Some(wanted);
        }
        tokio::select! {
            _ = changes.next() => drain(&mut changes),
            _ = audit.tick() => brought = None,
        }
    }
}

/// What has changed meanwhile is looked at once, not one by one.
fn drain(changes: &mut Subscription<Node>) {
    while changes.try_next().is_some() {}
}

/// Makes the kernel be as planned, by difference. A node that cannot be reached directly fails alone.
///
/// # Errors
/// When the kernel refuses something; the rest is done.
pub async fn bring(plan: &Plan) -> Result<(), Error> {
    let routed = routes::bring(&plan.routes).await;
    masquerade::bring(plan).await?;
    routed
}

/// What has to be on the node of this name, among these nodes; pure. Its range is `fixed`, or what its object says, or the
/// one that was `known` before.
///
/// A kubelet may say its own range when it makes its Node: one outside of the `cluster`'s addresses, or that overlaps this
/// node's or an older node's, gets no route, as it would draw what is meant for others.
#[must_use]
pub fn plan(
    nodes: &[Arc<Node>],
    name: &str,
    fixed: Option<Ipv4Net>,
    known: Option<Ipv4Net>,
    cluster: Option<Ipv4Net>,
) -> Plan {
    let own_node = nodes.iter().find(|node| node.metadata.name.as_deref() == Some(name));
    let own = fixed.or_else(|| own_node.and_then(|node| range(node))).or(known);
    let own_address = own_node.and_then(|node| address(node));
    let mut others: Vec<(&Node, Ipv4Net, Ipv4Addr)> = nodes
        .iter()
        .filter_map(|node| Some((&**node, range(node)?, address(node)?)))
        .filter(|(node, _, via)| node.metadata.name.as_deref() != Some(name) && Some(*via) != own_address)
        .collect();
    let age = |node: &Node| node.metadata.creation_timestamp.as_ref().map(|time| time.0);
    others.sort_by(|(a, ..), (b, ..)| age(a).cmp(&age(b)).then_with(|| a.metadata.name.cmp(&b.metadata.name)));
    let mut taken = Taken::default();
    let mut routes: Vec<Route> = own.map(|to| Route { to, via: None }).into_iter().collect();
    if let Some(own) = own {
        taken.take(own);
    }
    let mut refused = Vec::new();
    for (node, to, via) in others {
        if cluster.is_none_or(|cluster| cluster.contains(&to)) && taken.take(to) {
            routes.push(Route { to, via: Some(via) });
        } else {
            refused.extend(node.metadata.name.clone());
        }
    }
    routes.sort();
    let hosts = nodes.iter().filter_map(|node| address(node)).map(Ipv4Net::from);
    let inside = Ipv4Net::aggregate(&hosts.chain(routes.iter().map(|route| route.to)).collect());
    Plan { own, routes, inside, refused }
}

/// Ranges that do not overlap, by their first address.
#[derive(Default)]
struct Taken(BTreeMap<Ipv4Addr, Ipv4Addr>);

impl Taken {
    /// Takes a range, if nothing of it is taken.
    fn take(&mut self, range: Ipv4Net) -> bool {
        let (first, last) = (range.network(), range.broadcast());
        let before = self.0.range(..=last).next_back();
        let is_free = before.is_none_or(|(_, end)| *end < first);
        if is_free {
            self.0.insert(first, last);
        }
        is_free
    }
}

fn range(node: &Node) -> Option<Ipv4Net> {
    let range: Ipv4Net = node.spec.as_ref()?.pod_cidr.as_ref()?.parse().ok()?;
    Some(range.trunc())
}

fn address(node: &Node) -> Option<Ipv4Addr> {
    let addresses = node.status.as_ref()?.addresses.as_ref()?;
    addresses.iter().filter(|a| a.type_ == "InternalIP").find_map(|a| a.address.parse().ok())
}

#[cfg(test)]
mod tests;
