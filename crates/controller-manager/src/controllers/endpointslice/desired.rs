//! The endpoints that a service should have.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use k8s_openapi::{
    api::{
        core::v1::{ContainerPort, ObjectReference, Pod, Service, ServicePort},
        discovery::v1::{Endpoint, EndpointConditions, EndpointPort},
    },
    apimachinery::pkg::util::intstr::IntOrString,
};

use crate::pods;

/// Finds a node's zone.
pub(super) type ZoneOf<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Endpoints that share their ports, by pod and address.
#[derive(Debug, Clone, Default)]
pub(super) struct Group {
    pub(super) ports: Vec<EndpointPort>,
    pub(super) endpoints: BTreeMap<String, Endpoint>,
}

/// What tells an endpoint from the others: its pod and address. Another state of it is a change, not a new one.
pub(super) fn identity(endpoint: &Endpoint) -> String {
    let pod = endpoint.target_ref.as_ref().and_then(|r| r.name.as_deref()).unwrap_or("");
    format!("{pod} {}", endpoint.addresses.join(","))
}

/// What tells a group of ports from the others.
pub(in crate::controllers) fn port_key(ports: &[EndpointPort]) -> String {
    let mut keys: Vec<String> = ports
        .iter()
        .map(|p| {
            let app = p.app_protocol.as_deref().unwrap_or("");
            let (name, protocol) = (p.name.as_deref().unwrap_or(""), p.protocol.as_deref().unwrap_or("TCP"));
            format!("{name} {protocol} {} {app}", p.port.unwrap_or(0))
        })
        .collect();
    keys.sort_unstable();
    keys.join(";")
}

/// The address types that the service's families ask for.
pub(in crate::controllers) fn address_types(service: &Service) -> Vec<&'static str> {
    let families = service.spec.as_ref().and_then(|s| s.ip_families.clone()).unwrap_or_default();
    let mut types: Vec<&'static str> = families.iter().map(|f| if f == "IPv6" { "IPv6" } else { "IPv4" }).collect();
    if types.is_empty() {
        types.push("IPv4");
    }
    types
}

/// The endpoints of one address type, grouped by ports: a named target port may differ from pod to pod.
pub(super) fn groups(service: &Service, pods: &[Arc<Pod>], zone_of: ZoneOf<'_>, kind: &str) -> BTreeMap<String, Group> {
    let mut groups: BTreeMap<String, Group> = BTreeMap::new();
    for pod in pods.iter().filter(|p| !pods::is_terminal(p)) {
        let Some(address) = address(pod, kind) else { continue };
        let ports = ports(service, pod);
        let group = groups.entry(port_key(&ports)).or_insert_with(|| Group { ports, endpoints: BTreeMap::new() });
        let endpoint = endpoint(service, pod, address, zone_of);
        group.endpoints.insert(identity(&endpoint), endpoint);
    }
    groups
}

/// The pod's address of a type.
pub(in crate::controllers) fn address(pod: &Pod, kind: &str) -> Option<String> {
    let status = pod.status.as_ref()?;
    let many = status.pod_ips.iter().flatten().map(|ip| ip.ip.as_str());
    let fits = |ip: &&str| ip.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6() == (kind == "IPv6"));
    many.chain(status.pod_ip.as_deref()).find(fits).map(str::to_owned)
}

/// The ports of the service that the pod has.
pub(in crate::controllers) fn ports(service: &Service, pod: &Pod) -> Vec<EndpointPort> {
    let ports = service.spec.as_ref().and_then(|s| s.ports.as_ref());
    let port = |port: &ServicePort| {
        let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
        let number = target(port, &protocol, pod)?;
        Some(EndpointPort {
            name: Some(port.name.clone().unwrap_or_default()),
            port: Some(number),
            protocol: Some(protocol),
            app_protocol: port.app_protocol.clone(),
        })
    };
    ports.into_iter().flatten().filter_map(port).collect()
}

/// The number behind a target port; `None` when the pod has no port of that name.
fn target(port: &ServicePort, protocol: &str, pod: &Pod) -> Option<i32> {
    let name = match &port.target_port {
        None | Some(IntOrString::Int(0)) => return Some(port.port),
        Some(IntOrString::Int(number)) => return Some(*number),
        Some(IntOrString::String(name)) => name,
    };
    let spec = pod.spec.as_ref()?;
    let sidecar = |c: &&k8s_openapi::api::core::v1::Container| c.restart_policy.as_deref() == Some("Always");
    let sidecars = spec.init_containers.iter().flatten().filter(sidecar);
    let fits = |p: &&ContainerPort| p.name.as_ref() == Some(name) && p.protocol.as_deref().unwrap_or("TCP") == protocol;
    spec.containers.iter().chain(sidecars).flat_map(|c| c.ports.iter().flatten()).find(fits).map(|p| p.container_port)
}

fn endpoint(service: &Service, pod: &Pod, address: String, zone_of: ZoneOf<'_>) -> Endpoint {
    let publish = service.spec.as_ref().and_then(|s| s.publish_not_ready_addresses).unwrap_or(false);
    let (serving, terminating) = (pods::is_ready(pod), pods::is_terminating(pod));
    let node = Some(pods::node(pod)).filter(|n| !n.is_empty());
    Endpoint {
        addresses: vec![address],
        conditions: Some(EndpointConditions {
            ready: Some(publish || (serving && !terminating)),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        hostname: hostname(service, pod),
        node_name: node.map(str::to_owned),
        zone: node.and_then(zone_of),
        target_ref: Some(target_ref(pod)),
        ..Endpoint::default()
    }
}

/// The host name of a pod that names a subdomain equal to the service: it gets a DNS name of its own.
pub(in crate::controllers) fn hostname(service: &Service, pod: &Pod) -> Option<String> {
    let spec = pod.spec.as_ref().filter(|s| s.subdomain == service.metadata.name)?;
    spec.hostname.clone().filter(|hostname| !hostname.is_empty())
}

/// A reference to the pod behind an address.
pub(in crate::controllers) fn target_ref(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".to_owned()),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
        ..ObjectReference::default()
    }
}
