//! What the endpoints of a service should be.
//!
//! Rules: k8s.io/kubernetes pkg/controller/endpoint, and pkg/api/v1/endpoints for the form: addresses with the same ports together.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints, Pod, Service},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use crate::{controllers::endpointslice::desired, pods};

const MANAGED_BY: &str = "endpoints.kubernetes.io/managed-by";
const MANAGER: &str = "endpoint-controller";
const HEADLESS: &str = "service.kubernetes.io/headless";
const OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
/// When what the endpoints follow happened.
const TRIGGERED: &str = "endpoints.kubernetes.io/last-change-trigger-time";
/// By this annotation old components lead.
const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
/// The most addresses that one object holds.
const ADDRESSES_MAX: usize = 1000;

/// Whether they were made here.
pub(super) fn is_ours(endpoints: &Endpoints) -> bool {
    endpoints.metadata.labels.as_ref().and_then(|l| l.get(MANAGED_BY)).is_some_and(|by| by == MANAGER)
}

/// Whether they are no endpoints but what somebody leads by.
pub(in crate::controllers) fn is_lease(endpoints: &Endpoints) -> bool {
    endpoints.metadata.annotations.as_ref().is_some_and(|a| a.contains_key(LEADER))
}

/// What the endpoints must become; nothing where they are right. `changed`: when what they follow happened.
pub(super) fn plan(
    service: &Service,
    pods: &[Arc<Pod>],
    present: Option<&Endpoints>,
    changed: Option<Timestamp>,
) -> Option<Endpoints> {
    let mut subsets = subsets(service, pods);
    let is_cut = truncate(&mut subsets);
    let new = || Endpoints {
        metadata: ObjectMeta {
            name: service.metadata.name.clone(),
            namespace: service.metadata.namespace.clone(),
            ..ObjectMeta::default()
        },
        subsets: None,
    };
    let mut wanted = present.cloned().unwrap_or_else(new);
    wanted.subsets = Some(subsets).filter(|s| !s.is_empty());
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    labels.remove(HEADLESS);
    let address = service.spec.as_ref().and_then(|s| s.cluster_ip.as_deref()).unwrap_or_default();
    if matches!(address, "" | "None") {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    wanted.metadata.labels = Some(labels);
    let mut annotations = wanted.metadata.annotations.take().unwrap_or_default();
    annotations.remove(OVER_CAPACITY);
    if is_cut {
        annotations.insert(OVER_CAPACITY.to_owned(), "truncated".to_owned());
    }
    wanted.metadata.annotations = Some(annotations).filter(|a| !a.is_empty());
    if present == Some(&wanted) {
        return None;
    }
    // What it says alone is no reason to write.
    let mut annotations = wanted.metadata.annotations.take().unwrap_or_default();
    annotations.remove(TRIGGERED);
    annotations.extend(changed.map(|at| (TRIGGERED.to_owned(), at.to_string())));
    wanted.metadata.annotations = Some(annotations).filter(|a| !a.is_empty());
    Some(wanted)
}

/// What tells an address from the others: IP and the pod's uid.
type Host = (String, String);

/// Which hosts have a port, and which of them are ready.
type Hosts = BTreeMap<Host, (bool, EndpointAddress)>;

fn subsets(service: &Service, pods: &[Arc<Pod>]) -> Vec<EndpointSubset> {
    let spec = service.spec.as_ref();
    let publish = spec.and_then(|s| s.publish_not_ready_addresses).unwrap_or(false);
    let has_ports = spec.and_then(|s| s.ports.as_ref()).is_some_and(|ports| !ports.is_empty());
    let is_headless = spec.and_then(|s| s.cluster_ip.as_deref()) == Some("None");
    let kind = desired::address_types(service)[0];
    // By what tells ports apart. No port at all is one, too: a headless service need not have any.
    let mut ports: BTreeMap<String, (Option<EndpointPort>, Hosts)> = BTreeMap::new();
    for pod in pods.iter().filter(|p| !pods::is_terminal(p) && (publish || !pods::is_terminating(p))) {
        let Some(ip) = desired::address(pod, kind) else { continue };
        let host = (ip.clone(), pod.metadata.uid.clone().unwrap_or_default());
        let address = address(service, pod, ip);
        let found: Vec<Option<EndpointPort>> = match has_ports {
            true => desired::ports(service, pod).into_iter().map(|p| Some(port(p))).collect(),
            false if is_headless => vec![None],
            false => Vec::new(),
        };
        for port in found {
            let (_, hosts) = ports.entry(format!("{port:?}")).or_insert_with(|| (port, Hosts::new()));
            hosts.insert(host.clone(), (publish || pods::is_ready(pod), address.clone()));
        }
    }
    // Ports that the same hosts have are one subset.
    let mut together: BTreeMap<Vec<Host>, (Vec<EndpointPort>, Hosts)> = BTreeMap::new();
    for (port, hosts) in ports.into_values() {
        let key = hosts.keys().cloned().collect();
        together.entry(key).or_insert_with(|| (Vec::new(), hosts)).0.extend(port);
    }
    together.into_values().map(|(ports, hosts)| subset(ports, hosts)).collect()
}

fn subset(ports: Vec<EndpointPort>, hosts: Hosts) -> EndpointSubset {
    let (ready, rest): (Vec<_>, Vec<_>) = hosts.into_values().partition(|(is_ready, _)| *is_ready);
    let list = |of: Vec<(bool, EndpointAddress)>| -> Option<Vec<EndpointAddress>> {
        Some(of.into_iter().map(|(_, address)| address).collect()).filter(|l: &Vec<_>| !l.is_empty())
    };
    EndpointSubset {
        addresses: list(ready),
        not_ready_addresses: list(rest),
        ports: Some(ports).filter(|p| !p.is_empty()),
    }
}

fn address(service: &Service, pod: &Pod, ip: String) -> EndpointAddress {
    EndpointAddress {
        ip,
        hostname: desired::hostname(service, pod),
        node_name: Some(pods::node(pod).to_owned()).filter(|n| !n.is_empty()),
        target_ref: Some(desired::target_ref(pod)),
    }
}

fn port(port: k8s_openapi::api::discovery::v1::EndpointPort) -> EndpointPort {
    EndpointPort {
        name: port.name.filter(|name| !name.is_empty()),
        port: port.port.unwrap_or_default(),
        protocol: port.protocol,
        app_protocol: port.app_protocol,
    }
}

fn len(list: &Option<Vec<EndpointAddress>>) -> usize {
    list.iter().flatten().count()
}

/// Leaves as many addresses as one object holds, ready ones rather than others, of each subset its share; whether some had to go.
fn truncate(subsets: &mut Vec<EndpointSubset>) -> bool {
    let ready: usize = subsets.iter().map(|s| len(&s.addresses)).sum();
    let rest: usize = subsets.iter().map(|s| len(&s.not_ready_addresses)).sum();
    if ready + rest <= ADDRESSES_MAX {
        return false;
    }
    let cuts_ready = ready > ADDRESSES_MAX;
    let (room, total) = if cuts_ready { (ADDRESSES_MAX, ready) } else { (ADDRESSES_MAX - ready, rest) };
    let mut left = room;
    for subset in &mut *subsets {
        let list = if cuts_ready { &mut subset.addresses } else { &mut subset.not_ready_addresses };
        let share = (len(list) * room).div_ceil(total).min(left);
        left -= share.min(len(list));
        if let Some(addresses) = list {
            addresses.truncate(share);
        }
        if share == 0 {
            *list = None;
        }
        if cuts_ready {
            subset.not_ready_addresses = None;
        }
    }
    subsets.retain(|s| len(&s.addresses) + len(&s.not_ready_addresses) > 0);
    true
}
