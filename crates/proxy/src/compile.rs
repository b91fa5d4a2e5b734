//! From a Service and its EndpointSlices to the elements that serve it.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::api::discovery::v1::EndpointSlice;

use crate::backends::{Backend, Policy, candidates, choose, ring, slots};
use crate::element::{Data, Elements, Frontend, Key, Protocol};
use crate::rules::{EXACT_SLOTS, RING_SLOTS, WIDE_SLOTS};

/// Services with this label are handled by another proxy.
const OTHER_PROXY_LABEL: &str = "service.kubernetes.io/service-proxy-name";
/// Asks for the endpoint on the client's own node while it is ready; the same as `trafficDistribution: PreferSameNode`.
pub const PREFER_LOCAL_ANNOTATION: &str = "gantry.dev/prefer-local";

/// What a compilation reads besides the objects.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// This node's name.
    pub node: &'a str,
    /// Endpoints on this node that do not answer; a preference for the node skips them.
    pub silent: &'a BTreeSet<Backend>,
    /// The elements there are now; endpoints keep their slots.
    pub present: &'a Elements,
}

/// The elements of one service. Empty for one that has no cluster address or is not ours.
#[must_use]
pub fn compile(service: &Service, slices: &[Arc<EndpointSlice>], view: View<'_>) -> Elements {
    let mut elements = Elements::new();
    let Some(spec) = service.spec.as_ref().filter(|_| is_ours(service)) else { return elements };
    let Some(address) = cluster_ip(spec) else { return elements };
    elements.insert(Key::ClusterIp(address), Data::Member);
    let sticky = spec.session_affinity.as_deref() == Some("ClientIP");
    let internal = internal_policy(service, spec);
    for port in spec.ports.iter().flatten() {
        let Some((protocol, number)) = protocol_and_port(port) else { continue };
        let mut endpoints = candidates(port, slices, view.node);
        for endpoint in endpoints.iter().filter(|e| e.local) {
            elements.insert(Key::Hairpin(endpoint.backend.0), Data::Member);
        }
        for endpoint in &mut endpoints {
            endpoint.silent = endpoint.local && view.silent.contains(&endpoint.backend);
        }
        let external_choice = choose(&endpoints, external_policy(spec));
        let chosen = choose(&endpoints, internal);
        serve(&mut elements, Frontend::Service(address, protocol, number), &chosen, sticky, view.present);
        if let Some(node_port) = node_port(spec, port) {
            let frontend = Frontend::NodePort(protocol, node_port);
            if external_choice.is_empty() {
                let refusal = if endpoints.iter().any(|e| e.ready) { Data::Drop } else { Data::Refuse };
                elements.insert(Key::Refused(protocol, node_port), refusal);
            } else if external_policy(spec) == Policy::Cluster {
                elements.insert(Key::Masquerade(protocol, node_port), Data::Member);
            }
            serve(&mut elements, frontend, &external_choice, sticky, view.present);
        }
    }
    elements
}

fn is_ours(service: &Service) -> bool {
    let labelled = service.metadata.labels.as_ref().is_some_and(|l| l.contains_key(OTHER_PROXY_LABEL));
    let external = service.spec.as_ref().is_some_and(|s| s.type_.as_deref() == Some("ExternalName"));
    !labelled && !external
}

fn cluster_ip(spec: &ServiceSpec) -> Option<Ipv4Addr> {
    let listed = spec.cluster_ips.iter().flatten().chain(&spec.cluster_ip);
    listed.filter_map(|ip| ip.parse().ok()).next()
}

fn protocol_and_port(port: &ServicePort) -> Option<(Protocol, u16)> {
    Some((Protocol::from_api(port.protocol.as_deref())?, u16::try_from(port.port).ok()?))
}

fn node_port(spec: &ServiceSpec, port: &ServicePort) -> Option<u16> {
    let exposed = matches!(spec.type_.as_deref(), Some("NodePort" | "LoadBalancer"));
    port.node_port.filter(|_| exposed).and_then(|n| u16::try_from(n).ok()).filter(|n| *n > 0)
}

/// Whether the service asks for the client's own node.
pub(crate) fn prefers_local(service: &Service) -> bool {
    let annotated = service.metadata.annotations.as_ref().and_then(|a| a.get(PREFER_LOCAL_ANNOTATION));
    let distribution = service.spec.as_ref().and_then(|s| s.traffic_distribution.as_deref());
    annotated.is_some_and(|v| v == "true") || distribution == Some("PreferSameNode")
}

fn internal_policy(service: &Service, spec: &ServiceSpec) -> Policy {
    if spec.internal_traffic_policy.as_deref() == Some("Local") {
        Policy::Local
    } else if prefers_local(service) {
        Policy::PreferLocal
    } else {
        Policy::Cluster
    }
}

fn external_policy(spec: &ServiceSpec) -> Policy {
    if spec.external_traffic_policy.as_deref() == Some("Local") { Policy::Local } else { Policy::Cluster }
}

fn serve(elements: &mut Elements, frontend: Frontend, chosen: &BTreeSet<Backend>, sticky: bool, present: &Elements) {
    if chosen.is_empty() {
        return;
    }
    let count = u32::try_from(chosen.len()).unwrap_or(u32::MAX);
    let (spread, placed) = if sticky {
        (Data::Sticky, ring(chosen, RING_SLOTS))
    } else if count <= EXACT_SLOTS {
        (Data::Random(count), slots(&present_slots(frontend, present), chosen))
    } else {
        (Data::Random(WIDE_SLOTS), ring(chosen, WIDE_SLOTS))
    };
    elements.insert(Key::Spread(frontend), spread);
    for (slot, (ip, port)) in (0..).zip(placed) {
        elements.insert(Key::Slot(frontend, slot), Data::Endpoint(ip, port));
    }
}

fn present_slots(frontend: Frontend, present: &Elements) -> Vec<Backend> {
    let backend = |slot| match present.get(&Key::Slot(frontend, slot)) {
        Some(Data::Endpoint(ip, port)) => Some((*ip, *port)),
        _ => None,
    };
    (0..EXACT_SLOTS).map_while(backend).collect()
}

#[cfg(test)]
mod tests;
