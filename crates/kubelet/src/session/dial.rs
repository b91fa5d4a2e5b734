//! One connection from the node to a pod of its own, or to the node itself.
//!
//! The API server names the address, and the node does not take its word: a pod's address is what this node gave to that
//! very pod, and the node's own ones are those of its links. Loopback is nobody's.

use std::net::{IpAddr, SocketAddr};

use gantry_api::status::Status;
use gantry_proto::v1::DialRequest;
use nix::ifaddrs::getifaddrs;
use tokio::net::TcpStream;

use super::{
    Context, Work,
    answer::{self, Ended},
    link::{Incoming, Outgoing},
    socket::{self, Place},
    target::Target,
};
use crate::pod;

/// An open connection.
pub(super) struct Dial {
    stream: TcpStream,
    address: SocketAddr,
}

/// Whether an address may be dialled at all; pure.
fn allowed(address: IpAddr) -> bool {
    let common = !address.is_loopback() && !address.is_unspecified() && !address.is_multicast();
    common
        && match address {
            IpAddr::V4(v4) => !v4.is_link_local() && !v4.is_broadcast() && v4.octets()[0] != 0,
            IpAddr::V6(v6) => !v6.is_unicast_link_local(),
        }
}

/// The addresses of the node's links.
fn own_addresses() -> Vec<IpAddr> {
    let found = getifaddrs().into_iter().flatten().filter_map(|link| link.address);
    found
        .filter_map(|address| {
            let v4 = address.as_sockaddr_in().map(|a| IpAddr::from(a.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::from(a.ip())))
        })
        .collect()
}

fn forbidden(request: &DialRequest, why: &str) -> Status {
    let (kind, name) = if request.pod.is_empty() { ("nodes", "") } else { ("pods", request.pod.as_str()) };
    Status::forbidden("", kind, name, &format!("cannot dial {}: {why}", request.address))
}

/// The address, if the request is about one that it may be about.
fn checked(context: &Context, request: &DialRequest, target: Option<&Target>) -> Result<IpAddr, Status> {
    let parsed = request.address.parse::<IpAddr>();
    let address = parsed.map_err(|_| Status::bad_request(format!("{:?} is not an address", request.address)))?;
    // An IPv4 address in the dress of an IPv6 one is what it is.
    let address = address.to_canonical();
    if !allowed(address) {
        return Err(forbidden(request, "loopback, link-local, multicast and unspecified addresses are never dialled"));
    }
    let settings = &context.deps.settings;
    let (own, whose) = match target {
        Some(target) if pod::host_network(&target.pod) => {
            (settings.host.ip.parse() == Ok(address), "it is not the address of the node, whose network the pod uses")
        }
        Some(target) => {
            let uid = pod::reference(&target.pod).uid;
            let given = context.deps.network.address(&uid, &target.sandbox.id);
            (given.map(IpAddr::from) == Some(address), "it is not the pod's own address")
        }
        None => (own_addresses().contains(&address), "it is not one of the node's own addresses"),
    };
    if own { Ok(address) } else { Err(forbidden(request, whose)) }
}

/// Opens the connection.
pub(super) async fn prepare(
    context: &Context,
    request: DialRequest,
) -> Result<(Box<dyn Work>, Option<Target>), Status> {
    let port = super::port(request.port)?;
    let target = match request.pod.as_str() {
        "" => None,
        name => {
            let (pods, observed) = (context.pods.as_ref(), &context.deps.observed);
            Some(Target::find(pods, observed, &request.namespace, name, &request.pod_uid)?)
        }
    };
    let address = SocketAddr::from((checked(context, &request, target.as_ref())?, port));
    let stream =
        socket::connect(&Place::Node, address).await.map_err(|error| failed(address, &socket::words(&error)))?;
    Ok((Box::new(Dial { stream, address }), target))
}

fn failed(address: SocketAddr, why: &str) -> Status {
    Status::unavailable(format!("dial tcp {address}: {why}"))
}

#[async_trait::async_trait]
impl Work for Dial {
    async fn run(self: Box<Self>, incoming: &mut Incoming, outgoing: &Outgoing) -> Ended {
        let Self { stream, address } = *self;
        let copied = socket::copy(stream, incoming, outgoing).await;
        socket::ended(copied, |why| answer::failure(&failed(address, why)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobodys_addresses_are_never_dialled() {
        let check = |text: &str, expected: bool| {
            assert_eq!(allowed(text.parse::<IpAddr>().unwrap().to_canonical()), expected, "{text}");
        };
        for address in ["10.0.0.1", "192.168.1.1", "2001:db8::1", "fd00::1", "::ffff:10.0.0.1"] {
            check(address, true);
        }
        let never = [
            "127.0.0.1",
            "127.9.9.9",
            "::1",
            "::ffff:127.0.0.1",
            "0.0.0.0",
            "0.1.2.3",
            "::",
            "169.254.169.254",
            "fe80::1",
            "224.0.0.1",
            "ff02::1",
            "255.255.255.255",
            "::ffff:169.254.1.1",
        ];
        for address in never {
            check(address, false);
        }
    }
}
