//! The fewest changes that turn the slices that are there into the slices that should be.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{
    api::{
        core::v1::{Pod, Service},
        discovery::v1::{Endpoint, EndpointPort, EndpointSlice},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::desired::{self, Group, ZoneOf};
use crate::{readers::SERVICE_LABEL, selector::Labels};

pub(super) const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
pub(super) const MANAGER: &str = "endpointslice-controller.k8s.io";
const HEADLESS: &str = "service.kubernetes.io/headless";

/// What a plan is made from.
pub(super) struct Snapshot<'a> {
    pub(super) service: &'a Service,
    /// The pods that the service selects.
    pub(super) pods: &'a [Arc<Pod>],
    /// The slices of the service that this controller made.
    pub(super) slices: &'a [Arc<EndpointSlice>],
    pub(super) zone_of: ZoneOf<'a>,
    /// Endpoints per slice at most.
    pub(super) slice_len_max: usize,
}

/// The writes.
#[derive(Debug, Default)]
pub(in crate::controllers) struct Plan {
    pub(in crate::controllers) create: Vec<EndpointSlice>,
    pub(in crate::controllers) update: Vec<EndpointSlice>,
    pub(in crate::controllers) delete: Vec<Arc<EndpointSlice>>,
}

/// A slice in the making.
struct Draft {
    /// What it is now; `None` for a new one.
    from: Option<Arc<EndpointSlice>>,
    ports: Vec<EndpointPort>,
    endpoints: Vec<Endpoint>,
}

/// Decides the writes.
pub(super) fn plan(snapshot: &Snapshot<'_>) -> Plan {
    let mut plan = Plan::default();
    let types = desired::address_types(snapshot.service);
    for kind in &types {
        let slices = snapshot.slices.iter().filter(|s| s.address_type == *kind).cloned().collect();
        plan_type(snapshot, kind, slices, &mut plan);
    }
    plan.delete.extend(snapshot.slices.iter().filter(|s| !types.contains(&s.address_type.as_str())).cloned());
    plan
}

fn plan_type(snapshot: &Snapshot<'_>, kind: &str, slices: Vec<Arc<EndpointSlice>>, plan: &mut Plan) {
    let groups = desired::groups(snapshot.service, snapshot.pods, snapshot.zone_of, kind);
    let mut by_ports: BTreeMap<String, Vec<Arc<EndpointSlice>>> = BTreeMap::new();
    for slice in slices {
        let key = desired::port_key(slice.ports.as_deref().unwrap_or_default());
        by_ports.entry(key).or_default().push(slice);
    }
    let mut drafts = Vec::new();
    for (key, group) in groups {
        let slices = by_ports.remove(&key).unwrap_or_default();
        drafts.extend(fill(group, slices, snapshot.slice_len_max));
    }
    let mut spare: Vec<Arc<EndpointSlice>> = by_ports.into_values().flatten().collect();
    let (mut kept, emptied): (Vec<Draft>, Vec<Draft>) = drafts.into_iter().partition(|d| !d.endpoints.is_empty());
    spare.extend(emptied.into_iter().filter_map(|d| d.from));
    if kept.is_empty() {
        // A service without endpoints has one empty slice: readers can tell "none" from "not yet looked at".
        kept.push(Draft { from: None, ports: Vec::new(), endpoints: Vec::new() });
    }
    for mut draft in kept {
        if draft.from.is_none() {
            // Changing a slice that would go anyway is one write instead of two.
            draft.from = spare.pop();
        }
        write(snapshot.service, kind, draft, plan);
    }
    plan.delete.extend(spare);
}

/// Keeps endpoints where they are, drops those that are gone and puts new ones where something changes anyway, then into
/// the one slice with just enough room, then into new slices.
fn fill(group: Group, slices: Vec<Arc<EndpointSlice>>, len_max: usize) -> Vec<Draft> {
    let mut missing = group.endpoints;
    let ports = group.ports;
    let mut drafts: Vec<Draft> = Vec::new();
    let mut changed = Vec::new();
    for slice in slices {
        let old = slice.endpoints.clone().unwrap_or_default();
        let endpoints: Vec<Endpoint> = old.iter().filter_map(|e| missing.remove(&desired::identity(e))).collect();
        changed.push(endpoints != old);
        drafts.push(Draft { ports: slice.ports.clone().unwrap_or_default(), from: Some(slice), endpoints });
    }
    let mut missing: Vec<Endpoint> = missing.into_values().collect();
    for (draft, _) in drafts.iter_mut().zip(&changed).filter(|(_, changed)| **changed) {
        let room = len_max.saturating_sub(draft.endpoints.len()).min(missing.len());
        draft.endpoints.extend(missing.drain(..room));
    }
    if !missing.is_empty() && missing.len() < len_max {
        let fits = |d: &&mut Draft| d.endpoints.len() + missing.len() <= len_max;
        if let Some(fullest) = drafts.iter_mut().filter(fits).max_by_key(|d| d.endpoints.len()) {
            fullest.endpoints.append(&mut missing);
        }
    }
    while !missing.is_empty() {
        let rest = missing.split_off(len_max.min(missing.len()));
        let endpoints = std::mem::replace(&mut missing, rest);
        drafts.push(Draft { from: None, ports: ports.clone(), endpoints });
    }
    drafts
}

fn labels(service: &Service) -> Labels {
    let mut labels = service.metadata.labels.clone().unwrap_or_default();
    for reserved in [MANAGED_BY, SERVICE_LABEL, HEADLESS] {
        labels.remove(reserved);
    }
    labels.insert(MANAGED_BY.to_owned(), MANAGER.to_owned());
    labels.insert(SERVICE_LABEL.to_owned(), service.metadata.name.clone().unwrap_or_default());
    if service.spec.as_ref().and_then(|s| s.cluster_ip.as_deref()) == Some("None") {
        labels.insert(HEADLESS.to_owned(), String::new());
    }
    labels
}

fn write(service: &Service, kind: &str, draft: Draft, plan: &mut Plan) {
    let labels = labels(service);
    let Some(old) = draft.from else {
        let name = service.metadata.name.as_deref().unwrap_or("");
        plan.create.push(EndpointSlice {
            metadata: ObjectMeta {
                generate_name: Some(format!("{name}-")),
                namespace: service.metadata.namespace.clone(),
                labels: Some(labels),
                owner_references: Some(vec![gantry_controller::owner::reference(service)]),
                ..ObjectMeta::default()
            },
            address_type: kind.to_owned(),
            endpoints: Some(draft.endpoints),
            ports: Some(draft.ports),
        });
        return;
    };
    let same = old.metadata.labels.as_ref() == Some(&labels)
        && old.endpoints.as_deref().unwrap_or_default() == draft.endpoints
        && old.ports.as_deref().unwrap_or_default() == draft.ports;
    if !same {
        let mut new = EndpointSlice::clone(&old);
        new.metadata.labels = Some(labels);
        new.endpoints = Some(draft.endpoints);
        new.ports = Some(draft.ports);
        plan.update.push(new);
    }
}
