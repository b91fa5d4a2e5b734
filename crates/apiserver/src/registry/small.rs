//! Kinds of which only a rule or a column is special: leases, endpoint slices, priority classes.

use gantry_api::{Value, value};

use super::columns::{AGE, NAME, age, cells, column, first_three, name, number, text};
use super::{Column, Row, Strategy};

/// The strategy of leases.
pub(super) struct Lease;
/// The strategy of endpoint slices.
pub(super) struct EndpointSlice;
/// The strategy of priority classes.
pub(super) struct PriorityClass;

impl Strategy for Lease {
    // A holder renews what it read: a blind write could take a lease from its new holder.
    fn unconditional_update(&self) -> bool {
        false
    }

    fn create_on_update(&self) -> bool {
        true
    }

    fn columns(&self) -> &'static [Column] {
        const { &[NAME, column("Holder", "string", "Who holds the lease"), AGE] }
    }

    fn row(&self, lease: &Value, now: jiff::Timestamp) -> Row {
        cells(vec![name(lease), text(lease, "spec.holderIdentity").into(), age(lease, now)])
    }
}

impl Strategy for EndpointSlice {
    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                column("AddressType", "string", "IPv4, IPv6 or FQDN"),
                column("Ports", "string", "Ports of the endpoints"),
                column("Endpoints", "string", "Addresses of the endpoints"),
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
                column("Value", "integer", "Priority of pods of this class"),
                column("Global-Default", "boolean", "Whether pods without a class get this one"),
                AGE,
                column("PreemptionPolicy", "string", "Whether its pods may displace others"),
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
