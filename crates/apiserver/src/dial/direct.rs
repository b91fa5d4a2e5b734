//! Connections from the API server's own host, for addresses that belong to no node.
//!
//! The API server stands where much trusts it, so it must not be talked into connecting to its own neighbours: an address is
//! looked at before it is dialled. A name is resolved once and what was looked at is what is dialled (CVE-2020-8562).

use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use gantry_api::kinds;
use gantry_api::status::Status;
use gantry_api::{Value, value};
use ipnet::IpNet;
use tokio::net::TcpStream;

use crate::app::App;

/// How long resolving and connecting may take, each.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Why nothing may connect to this address, whoever has it.
pub(super) fn refusal(ip: IpAddr) -> Option<&'static str> {
    let why = match ip.to_canonical() {
        ip if ip.is_unspecified() => "is unspecified",
        ip if ip.is_loopback() => "is a loopback address",
        ip if ip.is_multicast() => "is a multicast address",
        IpAddr::V4(ip) if ip.is_link_local() => "is link-local",
        IpAddr::V4(ip) if ip.is_broadcast() => "is the broadcast address",
        // 0.0.0.0/8 is this host, 240.0.0.0/4 nobody's.
        IpAddr::V4(ip) if ip.octets()[0] == 0 || ip.octets()[0] >= 240 => "is reserved",
        IpAddr::V6(ip) if ip.is_unicast_link_local() => "is link-local",
        // ::/96 and 64:ff9b::/96 and 2002::/16 hold IPv4 addresses in other words.
        IpAddr::V6(ip) if ip.segments()[..6] == [0; 6] => "is an IPv4 address in disguise",
        IpAddr::V6(ip) if ip.segments()[..2] == [0x64, 0xff9b] || ip.segments()[0] == 0x2002 => {
            "is an IPv4 address in disguise"
        }
        _ => return None,
    };
    Some(why)
}

/// What is forbidden in this cluster besides: etcd, this host, nodes, and what belongs to pods and Services.
#[derive(Debug, Default)]
struct Forbidden {
    etcd: Vec<SocketAddr>,
    networks: Vec<IpNet>,
    /// Addresses of nodes and of this host.
    hosts: Vec<IpAddr>,
    /// What the operator allows nevertheless (`--webhook-allowed-cidrs`); etcd stays forbidden.
    allowed: Vec<IpNet>,
}

/// The addresses of this host's interfaces.
fn own() -> Vec<IpAddr> {
    let interfaces = match nix::ifaddrs::getifaddrs() {
        Ok(interfaces) => interfaces,
        Err(error) => {
            tracing::warn!(%error, "the host's own addresses are not known and cannot be refused");
            return Vec::new();
        }
    };
    let ip = |address: nix::sys::socket::SockaddrStorage| {
        let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
    };
    interfaces.filter_map(|interface| ip(interface.address?)).collect()
}

impl Forbidden {
    async fn of(app: &App) -> Self {
        let mut etcd = Vec::new();
        for server in &app.config.etcd_servers {
            let authority = server.split_once("://").map_or(server.as_str(), |(_, rest)| rest);
            let authority = authority.split('/').next().unwrap_or_default();
            if let Ok(found) = tokio::net::lookup_host(authority).await {
                etcd.extend(found);
            }
        }
        let mut networks = app.config.service_cluster_ip_range.all().to_vec();
        let mut hosts = own();
        let nodes = kinds::by_resource("", "v1", "nodes").map(|kind| app.view(kind).snapshot());
        for node in nodes.iter().flat_map(|nodes| nodes.list(None, None)) {
            let Ok(node) = serde_json::from_slice::<Value>(node.json()) else { continue };
            let many = value::list_at(&node, "spec.podCIDRs").iter().filter_map(Value::as_str);
            let all = many.chain(value::str_at(&node, "spec.podCIDR"));
            networks.extend(all.filter_map(|network| network.parse::<IpNet>().ok()));
            let addresses = value::list_at(&node, "status.addresses").iter().filter_map(|a| a["address"].as_str());
            hosts.extend(addresses.filter_map(|address| address.parse::<IpAddr>().ok()));
        }
        Self { etcd, networks, hosts, allowed: app.config.webhook_allowed_cidrs.clone() }
    }

    fn refusal(&self, address: SocketAddr) -> Option<&'static str> {
        let ip = address.ip().to_canonical();
        if self.etcd.iter().any(|etcd| etcd.ip().to_canonical() == ip && etcd.port() == address.port()) {
            return Some("is etcd's");
        }
        if self.allowed.iter().any(|network| network.contains(&ip)) {
            return None;
        }
        if let Some(why) = refusal(address.ip()) {
            return Some(why);
        }
        if self.hosts.iter().any(|host| host.to_canonical() == ip) {
            return Some("is an address of a node or of the API server's own host");
        }
        let inside = self.networks.iter().any(|network| network.contains(&ip));
        inside.then_some("belongs to a pod or a Service, which must be named")
    }
}

/// Connects to an address or a name outside of the cluster.
///
/// # Errors
/// 403 for addresses that nobody may make the API server connect to, 503 when nobody answers.
pub(super) async fn connect(app: &App, host: &str, port: u16) -> Result<TcpStream, Status> {
    let forbidden = Forbidden::of(app).await;
    let address = checked(host, port, &forbidden, resolve).await?;
    connected(&format!("{host}:{port} ({})", address.ip()), TcpStream::connect(address)).await
}

/// Connects wherever it is: the host is named by somebody who may.
///
/// # Errors
/// 503 when nobody answers.
pub(super) async fn connect_freely(host: &str, port: u16) -> Result<TcpStream, Status> {
    connected(&format!("{host}:{port}"), TcpStream::connect((host, port))).await
}

async fn connected(
    shown: &str,
    connecting: impl Future<Output = std::io::Result<TcpStream>>,
) -> Result<TcpStream, Status> {
    let failed = |why: String| Status::unavailable(format!("cannot connect to {shown}: {why}"));
    match tokio::time::timeout(TIMEOUT, connecting).await {
        Ok(Ok(stream)) => {
            stream.set_nodelay(true).map_err(|error| failed(error.to_string()))?;
            Ok(stream)
        }
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(failed(format!("no answer within {TIMEOUT:?}"))),
    }
}

async fn resolve(host: String, port: u16) -> std::io::Result<Vec<SocketAddr>> {
    Ok(tokio::net::lookup_host((host, port)).await?.collect())
}

/// The one address to dial.
async fn checked<F>(
    host: &str,
    port: u16,
    forbidden: &Forbidden,
    resolve: impl FnOnce(String, u16) -> F,
) -> Result<SocketAddr, Status>
where
    F: Future<Output = std::io::Result<Vec<SocketAddr>>>,
{
    let found = match host.parse::<IpAddr>() {
        Ok(ip) => vec![SocketAddr::new(ip, port)],
        Err(_) => {
            let failed = |why: String| Status::unavailable(format!("cannot resolve {host:?}: {why}"));
            match tokio::time::timeout(TIMEOUT, resolve(host.to_owned(), port)).await {
                Ok(Ok(found)) => found,
                Ok(Err(error)) => return Err(failed(error.to_string())),
                Err(_) => return Err(failed(format!("no answer within {TIMEOUT:?}"))),
            }
        }
    };
    let first = *found.first().ok_or_else(|| Status::unavailable(format!("{host:?} has no address")))?;
    // One bad address spoils the name: which of them is dialled must not depend on luck.
    for address in &found {
        if let Some(why) = forbidden.refusal(*address) {
            let text = format!("the API server does not connect to {host}:{port}: {} {why}", address.ip());
            return Err(Status::forbidden("", "", "", &text));
        }
    }
    Ok(first)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn addresses_of_the_host_and_its_neighbours_are_refused() {
        let check = |ip: &str, expected: bool| {
            assert_eq!(refusal(ip.parse().expect(ip)).is_none(), expected, "{ip}");
        };
        for bad in [
            "0.0.0.0",
            "0.1.2.3",
            "127.0.0.1",
            "127.255.0.1",
            "169.254.169.254",
            "169.254.1.1",
            "224.0.0.1",
            "239.1.1.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
        ] {
            check(bad, false);
        }
        for good in ["10.0.0.1", "192.168.1.1", "203.0.113.9", "2001:db8::1", "fd00::1", "::ffff:203.0.113.9"] {
            check(good, true);
        }
    }

    fn forbidden() -> Forbidden {
        Forbidden {
            etcd: vec!["192.0.2.10:2379".parse().expect("valid")],
            networks: vec!["10.96.0.0/16".parse().expect("valid"), "10.244.1.0/24".parse().expect("valid")],
            hosts: vec!["192.0.2.20".parse().expect("valid"), "::ffff:192.0.2.21".parse().expect("valid")],
            allowed: Vec::new(),
        }
    }

    #[test]
    fn etcd_pods_and_services_are_not_outside() {
        let check = |address: &str, expected: bool| {
            let address = address.parse().expect("an address");
            assert_eq!(forbidden().refusal(address).is_none(), expected, "{address}");
        };
        check("192.0.2.10:2379", false);
        check("[::ffff:192.0.2.10]:2379", false);
        check("192.0.2.10:443", true);
        check("10.96.0.1:443", false);
        check("10.244.1.7:80", false);
        check("[::ffff:10.244.1.7]:80", false);
        check("10.244.2.7:80", true);
        check("192.0.2.20:22", false);
        check("[::ffff:192.0.2.20]:22", false);
        check("192.0.2.21:22", false);
        assert!(own().iter().any(IpAddr::is_loopback), "this host has addresses");
    }

    #[test]
    fn what_the_operator_allows_is_allowed_but_for_etcd() {
        let allowed = ["127.0.0.0/8", "192.0.2.0/24"].map(|n| n.parse().expect("valid")).to_vec();
        let forbidden = Forbidden { allowed, ..forbidden() };
        let check = |address: &str, expected: bool| {
            let address = address.parse().expect("an address");
            assert_eq!(forbidden.refusal(address).is_none(), expected, "{address}");
        };
        check("127.0.0.1:8443", true);
        check("192.0.2.20:443", true);
        check("192.0.2.10:2379", false);
        check("169.254.169.254:80", false);
    }

    #[tokio::test]
    async fn cve_2020_8562_a_name_is_resolved_once_and_that_address_is_dialled() {
        let asked = Cell::new(0);
        let resolver = |_: String, port: u16| {
            asked.set(asked.get() + 1);
            // A second question would be answered otherwise.
            let ip: IpAddr = if asked.get() == 1 { "203.0.113.9" } else { "127.0.0.1" }.parse().expect("valid");
            async move { Ok(vec![SocketAddr::new(ip, port)]) }
        };
        let address = checked("evil.example", 443, &forbidden(), resolver).await.expect("allowed");
        assert_eq!((address.to_string().as_str(), asked.get()), ("203.0.113.9:443", 1));
        let mixed = |_: String, port: u16| async move {
            let ip = |text: &str| SocketAddr::new(text.parse().expect("valid"), port);
            Ok(vec![ip("203.0.113.9"), ip("127.0.0.1")])
        };
        let refused = checked("evil.example", 443, &forbidden(), mixed).await.expect_err("one is bad");
        assert_eq!(refused.code, 403);
        assert!(refused.message.contains("127.0.0.1 is a loopback address"), "{refused}");
    }
}
