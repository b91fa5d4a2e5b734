//! The records of one service, taken from its objects; the names follow "Kubernetes DNS-Based Service Discovery" 1.1.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::{Endpoint, EndpointSlice};

/// A named port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Port {
    /// The port's name, the first label of SRV names.
    pub name: String,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
    /// The number.
    pub number: u16,
}

/// One ready endpoint of a headless service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    /// The label before the service's name: the endpoint's hostname, or its address with dashes.
    pub label: String,
    /// Its address.
    pub address: IpAddr,
    /// Its named ports.
    pub ports: Vec<Port>,
}

/// What a service name answers with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Records {
    /// A service with cluster addresses.
    Cluster {
        /// The addresses.
        addresses: Vec<IpAddr>,
        /// The named ports.
        ports: Vec<Port>,
    },
    /// A headless service: its ready endpoints.
    Headless {
        /// In the order of their addresses.
        members: Vec<Member>,
    },
    /// An alias of a name outside.
    External {
        /// That name, without the final dot.
        target: String,
    },
}

/// The records of `service`.
#[must_use]
pub fn records(service: &Service, slices: &[Arc<EndpointSlice>]) -> Records {
    let empty = k8s_openapi::api::core::v1::ServiceSpec::default();
    let spec = service.spec.as_ref().unwrap_or(&empty);
    if spec.type_.as_deref() == Some("ExternalName") {
        let target = spec.external_name.as_deref().unwrap_or_default();
        return Records::External { target: target.trim_end_matches('.').to_ascii_lowercase() };
    }
    let listed = spec.cluster_ips.as_deref().unwrap_or_default().iter().chain(&spec.cluster_ip);
    let addresses: BTreeSet<IpAddr> = listed.filter_map(|ip| ip.parse().ok()).collect();
    if addresses.is_empty() {
        return Records::Headless { members: members(slices) };
    }
    let ports = spec.ports.iter().flatten();
    let named = ports.filter_map(|p| port(p.name.as_deref()?, p.protocol.as_deref(), p.port));
    Records::Cluster { addresses: addresses.into_iter().collect(), ports: named.collect() }
}

fn port(name: &str, protocol: Option<&str>, number: i32) -> Option<Port> {
    let number = u16::try_from(number).ok()?;
    let protocol = protocol.unwrap_or("TCP").to_ascii_lowercase();
    (!name.is_empty()).then(|| Port { name: name.to_ascii_lowercase(), protocol, number })
}

fn members(slices: &[Arc<EndpointSlice>]) -> Vec<Member> {
    let mut found = BTreeSet::new();
    for slice in slices {
        let ports: Vec<Port> = slice
            .ports
            .iter()
            .flatten()
            .filter_map(|p| port(p.name.as_deref()?, p.protocol.as_deref(), p.port?))
            .collect();
        let ready = slice.endpoints.iter().flatten().filter(|e| is_ready(e));
        found.extend(ready.flat_map(|endpoint| {
            let addresses = endpoint.addresses.iter().filter_map(|a| a.parse::<IpAddr>().ok());
            addresses.map(|address| Member { label: label(endpoint, address), address, ports: ports.clone() })
        }));
    }
    let mut members: Vec<Member> = found.into_iter().collect();
    members.sort_by_key(|m| m.address);
    members
}

fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|c| c.ready).unwrap_or(true)
}

fn label(endpoint: &Endpoint, address: IpAddr) -> String {
    match endpoint.hostname.as_deref() {
        Some(name) if !name.is_empty() => name.to_ascii_lowercase(),
        _ => address.to_string().replace(['.', ':'], "-"),
    }
}

/// The address that a pod's name spells: `10-244-1-5` is 10.244.1.5.
#[must_use]
pub fn pod_address(label: &str) -> Option<Ipv4Addr> {
    let parts: Vec<&str> = label.split('-').collect();
    let canonical = |p: &&str| !p.is_empty() && (p.len() == 1 || !p.starts_with('0'));
    (parts.len() == 4 && parts.iter().all(canonical)).then(|| parts.join(".").parse().ok()).flatten()
}
