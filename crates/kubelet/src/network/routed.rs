//! The real network: the address table and the kernel's links, put together.

use std::{fs::File, net::Ipv4Addr, path::Path};

use ipnet::Ipv4Net;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::{
    Error, PodNetwork,
    ipam::Ipam,
    netlink::{self, Netlink},
};

/// Used where the node's link does not tell.
const DEFAULT_MTU: u32 = 1500;

/// A routed veth per pod.
pub struct Routed {
    node: Ipv4Addr,
    kernel: Netlink,
    ipam: Mutex<Ipam>,
}

impl Routed {
    /// The network of the node with this address; the table of addresses lies in `root`. Must be called inside a runtime.
    ///
    /// # Errors
    /// When the kernel's settings cannot be made.
    pub fn open(root: &Path, node: Ipv4Addr) -> Result<Self, Error> {
        settings()?;
        let ipam = Ipam::open(&root.join("pod-addresses.json"));
        Ok(Self { node, kernel: Netlink::open()?, ipam: Mutex::new(ipam) })
    }

    async fn build(&self, uid: &str, ip: Ipv4Addr, pid: u32) -> Result<(), Error> {
        let node_end = node_end(uid);
        let path = format!("/proc/{pid}/ns/net");
        let namespace = File::open(&path)
            .map_err(|e| Error::kernel(format!("open the pod's network namespace {path}"))(Box::new(e)))?;
        refuse_the_nodes(&path, &namespace)?;
        // Left over from an earlier sandbox, or from an attempt that did not come to its end.
        self.kernel.delete_link(&node_end).await?;
        let mtu = self.kernel.mtu_of(self.node).await?.unwrap_or(DEFAULT_MTU);
        let hardware = self.kernel.create_pair(&node_end, &namespace, mtu).await?;
        netlink::inside(namespace, move |inside| async move { inside.attach_pod_end(ip, &hardware).await }).await?;
        self.kernel.attach_node_end(&node_end, ip).await
    }
}

/// A sandbox that shares the node's network must not be connected: that would change the node's own addresses and routes.
fn refuse_the_nodes(path: &str, namespace: &File) -> Result<(), Error> {
    use std::os::unix::fs::MetadataExt;
    let what = || Error::kernel(format!("tell the pod's network namespace {path} from the node's"));
    let own = std::fs::metadata("/proc/self/ns/net").map_err(|e| what()(Box::new(e)))?;
    let pods = namespace.metadata().map_err(|e| what()(Box::new(e)))?;
    if (own.dev(), own.ino()) == (pods.dev(), pods.ino()) {
        return Err(what()("the sandbox has no network namespace of its own".into()));
    }
    Ok(())
}

/// The name of the node's end: from the UID, so that it is found again.
fn node_end(uid: &str) -> String {
    let digest: String = Sha256::digest(uid.as_bytes()).iter().take(5).map(|byte| format!("{byte:02x}")).collect();
    format!("gtp{digest}")
}

/// What the node's namespace needs for routing pods. `all` and `default` are set explicitly: distributions differ.
fn settings() -> Result<(), Error> {
    let base = "/proc/sys/net/ipv4";
    for (name, value) in [
        ("ip_forward", "1"),
        ("conf/all/rp_filter", "0"),
        ("conf/default/rp_filter", "0"),
        ("conf/all/send_redirects", "0"),
    ] {
        let path = format!("{base}/{name}");
        let present = std::fs::read_to_string(&path).unwrap_or_default();
        if present.trim() != value {
            std::fs::write(&path, value).map_err(|e| Error::kernel(format!("set {path} to {value}"))(Box::new(e)))?;
        }
    }
    Ok(())
}

#[async_trait::async_trait]
impl PodNetwork for Routed {
    fn address(&self, uid: &str, sandbox: &str) -> Option<Ipv4Addr> {
        self.ipam.lock().get(uid).filter(|lease| lease.sandbox == sandbox).map(|lease| lease.ip)
    }

    async fn connect(&self, uid: &str, sandbox: &str, pid: u32) -> Result<Ipv4Addr, Error> {
        let ip = self.ipam.lock().reserve(uid)?;
        self.build(uid, ip, pid).await?;
        self.ipam.lock().connected(uid, sandbox)?;
        Ok(ip)
    }

    async fn disconnect(&self, uid: &str) -> Result<(), Error> {
        self.kernel.delete_link(&node_end(uid)).await?;
        self.ipam.lock().release(uid)
    }

    fn holders(&self) -> Vec<String> {
        self.ipam.lock().holders()
    }

    fn set_range(&self, range: Ipv4Net) {
        self.ipam.lock().range = Some(range);
    }

    fn problem(&self) -> Option<String> {
        self.ipam.lock().range.is_none().then(|| Error::NoRange.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_the_kernel_and_differ() {
        assert!(node_end("0f3c1a9e-1111-2222-3333-444444444444").len() <= 15);
        assert_ne!(node_end("x"), node_end("y"));
    }

    #[test]
    fn the_nodes_own_namespace_is_refused() {
        let path = "/proc/self/ns/net";
        let error = refuse_the_nodes(path, &File::open(path).unwrap()).unwrap_err();
        assert!(gantry_common::error_chain(&error).contains("no network namespace of its own"), "{error:?}");
    }
}
