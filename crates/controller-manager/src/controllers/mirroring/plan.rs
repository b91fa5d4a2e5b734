//! The slices that endpoints are mirrored to: of each subset one per address family.
//!
//! Rules: k8s.io/kubernetes pkg/controller/endpointslicemirroring.

use std::{collections::BTreeMap, net::IpAddr, sync::Arc};

use k8s_openapi::{
    api::{
        core::v1::{self, EndpointAddress, EndpointSubset, Endpoints},
        discovery::v1::{Endpoint, EndpointConditions, EndpointPort, EndpointSlice},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use crate::{
    controllers::{
        endpoints,
        endpointslice::{Plan, desired},
    },
    readers::SERVICE_LABEL,
    selector::Labels,
};

pub(super) const MANAGER: &str = "endpointslicemirroring-controller.k8s.io";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const SKIP: &str = "endpointslice.kubernetes.io/skip-mirror";
/// Annotations that stay with the endpoints.
const NOT_MIRRORED: [&str; 2] =
    ["endpoints.kubernetes.io/last-change-trigger-time", "kubectl.kubernetes.io/last-applied-configuration"];

/// Whether endpoints are to be mirrored, as far as they say it themselves.
pub(super) fn is_mirrored(endpoints: &Endpoints) -> bool {
    let skips = endpoints.metadata.labels.as_ref().and_then(|l| l.get(SKIP)).is_some_and(|skip| skip == "true");
    !skips && !endpoints::is_lease(endpoints)
}

/// Address type and ports.
type GroupKey = (&'static str, String);

#[derive(Debug, Default)]
struct Group {
    ports: Vec<EndpointPort>,
    /// By address: each is there once, and the first one counts.
    endpoints: BTreeMap<String, Endpoint>,
}

/// What slices should hold.
#[derive(Debug, Default)]
pub(super) struct Mirrored {
    groups: BTreeMap<GroupKey, Group>,
    /// Addresses that are none.
    pub(super) invalid: usize,
    /// Those, and addresses beyond what a subset may have.
    pub(super) skipped: usize,
}

/// Reads endpoints, of each subset `most` addresses.
pub(super) fn mirrored(endpoints: &Endpoints, most: usize) -> Mirrored {
    let mut found = Mirrored::default();
    for subset in endpoints.subsets.iter().flatten() {
        let (ports, mut taken) = (ports(subset), 0);
        let ready = subset.addresses.iter().flatten().map(|a| (a, true));
        let all = ready.chain(subset.not_ready_addresses.iter().flatten().map(|a| (a, false)));
        for (address, is_ready) in all {
            if taken >= most {
                found.skipped += 1;
                continue;
            }
            let Ok(ip) = address.ip.parse::<IpAddr>() else {
                found.invalid += 1;
                found.skipped += 1;
                continue;
            };
            taken += 1;
            let kind = if ip.is_ipv6() { "IPv6" } else { "IPv4" };
            let group = found.groups.entry((kind, desired::port_key(&ports))).or_default();
            group.ports.clone_from(&ports);
            group.endpoints.entry(ip.to_string()).or_insert_with(|| endpoint(address, ip, is_ready));
        }
    }
    found
}

fn endpoint(address: &EndpointAddress, ip: IpAddr, is_ready: bool) -> Endpoint {
    Endpoint {
        addresses: vec![ip.to_string()],
        conditions: Some(EndpointConditions { ready: Some(is_ready), ..EndpointConditions::default() }),
        hostname: address.hostname.clone().filter(|hostname| !hostname.is_empty()),
        node_name: address.node_name.clone(),
        target_ref: address.target_ref.clone(),
        ..Endpoint::default()
    }
}

fn ports(subset: &EndpointSubset) -> Vec<EndpointPort> {
    let port = |port: &v1::EndpointPort| EndpointPort {
        name: Some(port.name.clone().unwrap_or_default()),
        port: Some(port.port),
        protocol: Some(port.protocol.clone().unwrap_or_else(|| "TCP".to_owned())),
        app_protocol: port.app_protocol.clone(),
    };
    subset.ports.iter().flatten().map(port).collect()
}

/// Decides the writes that turn `slices`, the endpoints' own, into what they should be. Without endpoints there should be none.
pub(super) fn plan(endpoints: Option<&Endpoints>, mirrored: &Mirrored, slices: &[Arc<EndpointSlice>]) -> Plan {
    let mut plan = Plan::default();
    let mut present: BTreeMap<(String, String), Vec<Arc<EndpointSlice>>> = BTreeMap::new();
    for slice in slices {
        let key = (slice.address_type.clone(), desired::port_key(slice.ports.as_deref().unwrap_or_default()));
        present.entry(key).or_default().push(Arc::clone(slice));
    }
    let mut missing = Vec::new();
    for ((kind, ports), group) in endpoints.is_some().then_some(&mirrored.groups).into_iter().flatten() {
        let mut of_group = present.remove(&((*kind).to_owned(), ports.clone())).unwrap_or_default();
        let kept = (!of_group.is_empty()).then(|| of_group.remove(0));
        plan.delete.extend(of_group);
        missing.push((*kind, group, kept));
    }
    plan.delete.extend(present.into_values().flatten());
    let Some(endpoints) = endpoints else { return plan };
    for (kind, group, kept) in missing {
        // Changing a slice that would go anyway is one write instead of two.
        let from = kept.or_else(|| {
            let spare = plan.delete.iter().position(|s| s.address_type == kind)?;
            Some(plan.delete.remove(spare))
        });
        let wanted = slice(endpoints, kind, group, from.as_deref());
        match from {
            None => plan.create.push(wanted),
            Some(old) if *old != wanted => plan.update.push(wanted),
            Some(_) => {}
        }
    }
    plan
}

/// The slice of a group; `from` is what it is now.
fn slice(endpoints: &Endpoints, kind: &str, group: &Group, from: Option<&EndpointSlice>) -> EndpointSlice {
    let name = endpoints.metadata.name.clone().unwrap_or_default();
    let new = || ObjectMeta {
        generate_name: Some(format!("{name}-")),
        namespace: endpoints.metadata.namespace.clone(),
        ..ObjectMeta::default()
    };
    let mut metadata = from.map_or_else(new, |slice| slice.metadata.clone());
    let mut labels: Labels = endpoints.metadata.labels.clone().unwrap_or_default();
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    labels.insert(SERVICE_LABEL.to_owned(), name);
    metadata.labels = Some(labels);
    let mut annotations = endpoints.metadata.annotations.clone().unwrap_or_default();
    annotations.retain(|key, _| !NOT_MIRRORED.contains(&key.as_str()));
    metadata.annotations = Some(annotations).filter(|a| !a.is_empty());
    metadata.owner_references = Some(vec![gantry_controller::owner::reference(endpoints)]);
    let same_ports = from.filter(|slice| {
        desired::port_key(slice.ports.as_deref().unwrap_or_default()) == desired::port_key(&group.ports)
    });
    EndpointSlice {
        metadata,
        address_type: kind.to_owned(),
        endpoints: Some(group.endpoints.values().cloned().collect()),
        ports: same_ports.map_or_else(|| Some(group.ports.clone()), |slice| slice.ports.clone()),
    }
}
