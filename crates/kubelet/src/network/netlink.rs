//! Links, addresses, neighbours and routes through rtnetlink: in the node's namespace, and in a pod's on a thread of its own.

use std::{
    fs::File,
    net::{IpAddr, Ipv4Addr},
    os::fd::AsRawFd,
    sync::Arc,
};

use futures::{StreamExt, TryStreamExt};
use gantry_common::task;
use rtnetlink::{
    Handle, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder,
    packet_route::{
        address::AddressAttribute,
        link::{InfoData, InfoVeth, LinkAttribute, LinkMessage},
        neighbour::NeighbourState,
        route::{RouteMessage, RouteScope},
    },
};

use super::Error;

/// The gateway that every pod sees; it exists in no network.
const GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);
/// The kernel's "no such device".
const ENODEV: i32 = 19;

type Result<T> = std::result::Result<T, Error>;

fn failed<E: std::error::Error + Send + Sync + 'static>(what: impl Into<String>) -> impl FnOnce(E) -> Error {
    let what = what.into();
    move |source| Error::Kernel { what, source: Box::new(source) }
}

/// The kernel's network configuration in the namespace that it was opened in.
#[derive(Clone)]
pub(super) struct Netlink {
    handle: Handle,
    /// Held while the kernel lists something: it refuses a second list on one socket ("device or resource busy").
    listing: Arc<tokio::sync::Mutex<()>>,
}

impl Netlink {
    /// Opens a socket in the present namespace. Must be called inside a runtime.
    pub(super) fn open() -> Result<Self> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(failed("open a netlink socket"))?;
        task::spawn("netlink", connection);
        Ok(Self { handle, listing: Arc::default() })
    }

    async fn link(&self, name: &str) -> Result<Option<LinkMessage>> {
        let mut links = self.handle.link().get().match_name(name.to_owned()).execute().boxed();
        match links.try_next().await {
            Ok(link) => Ok(link),
            Err(rtnetlink::Error::NetlinkError(e)) if e.raw_code().abs() == ENODEV => Ok(None),
            Err(error) => Err(failed(format!("look for the link {name}"))(error)),
        }
    }

    async fn existing(&self, name: &str) -> Result<LinkMessage> {
        let found = self.link(name).await?;
        found.ok_or_else(|| failed(format!("find the link {name}"))(std::io::Error::from_raw_os_error(ENODEV)))
    }

    /// Deletes a link (and its other end); one that is gone is no error.
    pub(super) async fn delete_link(&self, name: &str) -> Result<()> {
        match self.link(name).await? {
            Some(link) => {
                let deleted = self.handle.link().del(link.header.index).execute().await;
                deleted.map_err(failed(format!("delete the link {name}")))
            }
            None => Ok(()),
        }
    }

    /// Makes the pair, its other end as `eth0` in the pod's namespace from the start, and returns the hardware address of
    /// the node's end. To move an end there later would make every other change of a network wait for the kernel (20 ms).
    pub(super) async fn create_pair(&self, node_end: &str, namespace: &File, mtu: u32) -> Result<Vec<u8>> {
        let peer = LinkUnspec::new_with_name("eth0").mtu(mtu).setns_by_fd(namespace.as_raw_fd()).build();
        let pair = LinkMessageBuilder::<LinkVeth>::new(node_end, "eth0")
            .mtu(mtu)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
            .build();
        let made = self.handle.link().add(pair).execute().await;
        made.map_err(failed(format!("make the link {node_end} to the pod's namespace")))?;
        let link = self.existing(node_end).await?;
        let address = link.attributes.iter().find_map(|a| match a {
            LinkAttribute::Address(bytes) => Some(bytes.clone()),
            _ => None,
        });
        address.ok_or_else(|| failed(format!("read the hardware address of {node_end}"))(std::io::Error::other("none")))
    }

    async fn up(&self, name: &str) -> Result<u32> {
        let index = self.existing(name).await?.header.index;
        let set = self.handle.link().set(LinkUnspec::new_with_index(index).up().build()).execute().await;
        set.map_err(failed(format!("bring the link {name} up")))?;
        Ok(index)
    }

    async fn replace_route(&self, what: String, route: RouteMessage) -> Result<()> {
        self.handle.route().add(route).replace().execute().await.map_err(failed(what))
    }

    /// Brings the node's end up and leads the pod's address to it.
    pub(super) async fn attach_node_end(&self, name: &str, ip: Ipv4Addr) -> Result<()> {
        let index = self.up(name).await?;
        let route = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(ip, 32)
            .output_interface(index)
            .scope(RouteScope::Link)
            .build();
        self.replace_route(format!("add the route to {ip} through {name}"), route).await
    }

    /// Inside the pod: address, gateway by hand, default route.
    pub(super) async fn attach_pod_end(&self, ip: Ipv4Addr, node_hardware: &[u8]) -> Result<()> {
        self.up("lo").await?;
        let index = self.existing("eth0").await?.header.index;
        let added = self.handle.address().add(index, IpAddr::V4(ip), 32).replace().execute().await;
        added.map_err(failed(format!("give the pod its address {ip}")))?;
        self.up("eth0").await?;
        let neighbour = self.handle.neighbours().add(index, IpAddr::V4(GATEWAY)).state(NeighbourState::Permanent);
        let entered = neighbour.link_layer_address(node_hardware).replace().execute().await;
        entered.map_err(failed("enter the pod's gateway as a neighbour"))?;
        let to_gateway = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(GATEWAY, 32)
            .output_interface(index)
            .scope(RouteScope::Link)
            .build();
        self.replace_route("add the pod's route to its gateway".to_owned(), to_gateway).await?;
        let default = RouteMessageBuilder::<Ipv4Addr>::new().gateway(GATEWAY).output_interface(index).onlink().build();
        self.replace_route("add the pod's default route".to_owned(), default).await
    }

    /// The MTU of the link that has the node's address.
    pub(super) async fn mtu_of(&self, address: Ipv4Addr) -> Result<Option<u32>> {
        let listing = self.listing.lock().await;
        let mut all = self.handle.address().get().set_address_filter(IpAddr::V4(address)).execute().boxed();
        let what = || format!("look for the link with the node's address {address}");
        let holds = |attributes: &[AddressAttribute]| {
            attributes.iter().any(|a| matches!(a, AddressAttribute::Address(IpAddr::V4(ip)) if *ip == address))
        };
        let mut index = None;
        while let Some(message) = all.try_next().await.map_err(failed(what()))? {
            if holds(&message.attributes) {
                index = Some(message.header.index);
            }
        }
        drop(listing);
        let Some(index) = index else { return Ok(None) };
        let mut links = self.handle.link().get().match_index(index).execute().boxed();
        let link = links.try_next().await.map_err(failed(what()))?;
        Ok(link.and_then(|link| {
            link.attributes.iter().find_map(|a| if let LinkAttribute::Mtu(mtu) = a { Some(*mtu) } else { None })
        }))
    }
}

/// Runs `work` with a socket inside another network namespace. Only a thread that ends afterwards may change its
/// namespace: one of the runtime's threads would take other tasks along.
pub(super) async fn inside<F, Fut>(namespace: File, work: F) -> Result<()>
where
    F: FnOnce(Netlink) -> Fut + Send + 'static,
    Fut: Future<Output = Result<()>>,
{
    let (done, result) = tokio::sync::oneshot::channel();
    let body = move || {
        nix::sched::setns(&namespace, nix::sched::CloneFlags::CLONE_NEWNET)
            .map_err(failed("enter the pod's network namespace"))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(failed("start a runtime in the pod's network namespace"))?;
        runtime.block_on(async { work(Netlink::open()?).await })
    };
    let spawned = std::thread::Builder::new().name("pod-netns".to_owned()).spawn(move || {
        // The caller may have been cancelled; the work is done all the same.
        drop(done.send(body()));
    });
    spawned.map_err(failed("start a thread for the pod's network namespace"))?;
    match result.await {
        Ok(result) => result,
        Err(error) => Err(failed("configure the pod's network namespace")(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn many_pods_may_ask_at_once() {
        let netlink = Netlink::open().expect("a socket");
        let all = (0..50).map(|_| netlink.mtu_of(Ipv4Addr::LOCALHOST));
        let all = futures::future::try_join_all(all).await.expect("none is refused");
        assert!(all.iter().all(Option::is_some), "{all:?}");
    }
}
