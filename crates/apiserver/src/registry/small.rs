//! Kinds of which only a rule or a column is special: leases, endpoint slices, priority classes.

use std::collections::HashSet;

use gantry_api::{Value, value};

use super::columns::{AGE, NAME, age, cells, first_three, name, number, of_field, text};
use super::{Column, Ctx, Row, Strategy, written};

/// The strategy of leases.
pub(super) struct Lease;
/// The strategy of endpoint slices.
pub(super) struct EndpointSlice;
/// The strategy of priority classes.
pub(super) struct PriorityClass;

/// Who keeps a slice, and those whose addresses need no second look.
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const OWN_MANAGERS: [&str; 2] = ["endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io"];

impl Strategy for Lease {
    // A holder renews what it read: a blind write could take a lease from its new holder.
    fn unconditional_update(&self) -> bool {
        false
    }

    fn create_on_update(&self) -> bool {
        true
    }

    fn columns(&self) -> &'static [Column] {
        const { &[NAME, of_field("Holder", "string", "coordination/v1.LeaseSpec", "holderIdentity"), AGE] }
    }

    fn row(&self, lease: &Value, now: jiff::Timestamp) -> Row {
        cells(vec![name(lease), text(lease, "spec.holderIdentity").into(), age(lease, now)])
    }
}

const TOPOLOGY: &str = "deprecatedTopology";

/// The node that an endpoint was on, as it was said before there was a field.
fn old_node(endpoint: &Value) -> Option<&str> {
    endpoint.get(TOPOLOGY)?.get("kubernetes.io/hostname")?.as_str().filter(|name| !name.is_empty())
}

/// What old versions said of an endpoint's place is only read: a write that changes endpoints drops it. A node that was
/// known by it before gets into the field.
fn drop_topology(slice: &mut Value, old: Option<&Value>) {
    let before = old.map_or(&[][..], |old| value::list_at(old, "endpoints"));
    if old.is_some() && value::list_at(slice, "endpoints") == before {
        return;
    }
    let known: HashSet<&str> = before.iter().filter_map(old_node).collect();
    let endpoints = value::get_mut(slice, "endpoints").and_then(Value::as_array_mut);
    for endpoint in endpoints.into_iter().flatten() {
        let node = old_node(endpoint).filter(|node| known.contains(node)).map(str::to_owned);
        let Some(endpoint) = endpoint.as_object_mut() else { continue };
        endpoint.remove(TOPOLOGY);
        if let Some(node) = node.filter(|node| gantry_api::names::dns_subdomain(node).is_empty()) {
            endpoint.entry("nodeName").or_insert_with(|| node.into());
        }
    }
}

impl Strategy for EndpointSlice {
    fn prepare_create(&self, _ctx: &Ctx<'_>, slice: &mut Value) {
        drop_topology(slice, None);
    }

    fn prepare_update(&self, _ctx: &Ctx<'_>, new: &mut Value, old: &Value) {
        drop_topology(new, Some(old));
    }

    fn warnings(&self, slice: &Value, old: Option<&Value>) -> Vec<String> {
        let mut out = Vec::new();
        if old.is_none() && text(slice, "addressType") == "FQDN" {
            out.push("spec.addressType: FQDN endpoints are deprecated".to_owned());
        }
        let manager = value::map_at(slice, "metadata.labels").and_then(|l| l.get(MANAGED_BY)?.as_str());
        if manager.is_some_and(|manager| OWN_MANAGERS.contains(&manager)) {
            return out;
        }
        for (i, endpoint) in value::list_at(slice, "endpoints").iter().enumerate() {
            let addresses = value::list_at(endpoint, "addresses").iter().enumerate();
            out.extend(addresses.filter_map(|(j, address)| {
                written::ip(&format!("endpoints[{i}].addresses[{j}]"), address.as_str().unwrap_or_default())
            }));
        }
        out
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                of_field("AddressType", "string", "discovery/v1.EndpointSlice", "addressType"),
                of_field("Ports", "string", "discovery/v1.EndpointSlice", "ports"),
                of_field("Endpoints", "string", "discovery/v1.EndpointSlice", "endpoints"),
                AGE,
            ]
        }
    }

    fn row(&self, slice: &Value, now: jiff::Timestamp) -> Row {
        let port = |p: &Value| match (value::i64_at(p, "port"), value::str_at(p, "name")) {
            (Some(number), _) => number.to_string(),
            (None, Some(name)) => name.to_owned(),
            (None, None) => "*".to_owned(),
        };
        let ports: Vec<String> = value::list_at(slice, "ports").iter().map(port).collect();
        let endpoints = value::list_at(slice, "endpoints").iter().flat_map(|e| value::list_at(e, "addresses"));
        let addresses: Vec<String> = endpoints.filter_map(Value::as_str).map(str::to_owned).collect();
        cells(vec![
            name(slice),
            text(slice, "addressType").into(),
            first_three(&ports).into(),
            first_three(&addresses).into(),
            age(slice, now),
        ])
    }
}

impl Strategy for PriorityClass {
    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                of_field("Value", "integer", "scheduling/v1.PriorityClass", "value"),
                of_field("Global-Default", "boolean", "scheduling/v1.PriorityClass", "globalDefault"),
                AGE,
                of_field("PreemptionPolicy", "string", "scheduling/v1.PriorityClass", "preemptionPolicy"),
            ]
        }
    }

    fn row(&self, class: &Value, now: jiff::Timestamp) -> Row {
        cells(vec![
            name(class),
            number(class, "value").into(),
            value::bool_at(class, "globalDefault").into(),
            age(class, now),
            text(class, "preemptionPolicy").into(),
        ])
    }
}
