//! The pod network: a routed veth per pod, no bridge and no Docker network.
//!
//! Each pod has one address with a /32 mask; its default route goes to 169.254.1.1, a neighbour that is entered by hand
//! with the hardware address of the veth's other end, so that nothing answers ARP and nothing waits for it. On the node
//! a host route leads to each pod. All of it outlives the kubelet. What depends on other nodes (routes to their ranges,
//! masquerade of what leaves the cluster) is the proxy's: a kubelet may not know them.

mod fake;
mod ipam;
mod netlink;
mod routed;

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

pub use fake::Fake;
pub use routed::Routed;

/// Why a pod has no network.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The node has not been given a range yet.
    #[error("the node has no pod CIDR yet: wait for the controller manager, or give --pod-cidr")]
    NoRange,
    /// Every address is taken.
    #[error("no free address is left in the node's pod CIDR {range}")]
    Exhausted {
        /// The range.
        range: Ipv4Net,
    },
    /// The table of addresses cannot be kept.
    #[error("cannot write the table of pod addresses {path}")]
    Table {
        /// Its file.
        path: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The kernel refused.
    #[error("cannot {what}")]
    Kernel {
        /// What was tried.
        what: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Error {
    fn kernel(what: impl Into<String>) -> impl FnOnce(Box<dyn std::error::Error + Send + Sync>) -> Self {
        let what = what.into();
        move |source| Self::Kernel { what, source }
    }
}

/// Connects pods. The seam for tests, and for other kinds of network.
#[async_trait::async_trait]
pub trait PodNetwork: Send + Sync + 'static {
    /// The address of a pod whose sandbox is connected.
    fn address(&self, uid: &str, sandbox: &str) -> Option<Ipv4Addr>;
    /// Gives the sandbox an address and connects it. Repeating it is harmless.
    async fn connect(&self, uid: &str, sandbox: &str, pid: u32) -> Result<Ipv4Addr, Error>;
    /// Takes the pod's link and address away. Repeating it is harmless.
    async fn disconnect(&self, uid: &str) -> Result<(), Error>;
    /// The pods that hold an address.
    fn holders(&self) -> Vec<String>;
    /// The node's range; pods that hold addresses of another one keep them.
    fn set_range(&self, range: Ipv4Net);
    /// Why no pod can be connected, if so.
    fn problem(&self) -> Option<String>;
}
