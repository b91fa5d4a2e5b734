//! Endpoints, ingresses and their classes, network policies, addresses and ranges of them.

use std::collections::BTreeSet;

use gantry_api::{Value, value};

use super::columns::{AGE, NAME, age, cells, column, name, number, of_field, selector_or_none, text, text_or};
use super::{Column, Row, Strategy, written};

/// The strategy of endpoints.
pub(super) struct Endpoints;
/// The strategy of ingresses.
pub(super) struct Ingress;
/// The strategy of ingress classes.
pub(super) struct IngressClass;
/// The strategy of network policies.
pub(super) struct NetworkPolicy;
/// The strategy of addresses.
pub(super) struct IpAddress;
/// The strategy of ranges of addresses.
pub(super) struct ServiceCidr;

const SHOWN: usize = 3;

/// The first three of `count` items, and how many more; `none` for none.
fn some_of(first: &[String], count: usize, none: &str) -> String {
    match count {
        0 => none.to_owned(),
        few if few <= SHOWN => first.join(","),
        many => format!("{} + {} more...", first[..SHOWN].join(","), many - SHOWN),
    }
}

/// An address and, if there is one, a port.
fn reached_at(ip: &str, port: Option<i64>) -> String {
    match port {
        None => ip.to_owned(),
        Some(port) if ip.contains(':') => format!("[{ip}]:{port}"),
        Some(port) => format!("{ip}:{port}"),
    }
}

impl Strategy for Endpoints {
    fn warnings(&self, endpoints: &Value, _old: Option<&Value>) -> Vec<String> {
        let labels = value::map_at(endpoints, "metadata.labels");
        let manager = labels.and_then(|labels| labels.get("endpoints.kubernetes.io/managed-by")?.as_str());
        if manager == Some("endpoint-controller") {
            return Vec::new();
        }
        let mut out = Vec::new();
        for (i, subset) in value::list_at(endpoints, "subsets").iter().enumerate() {
            for list in ["addresses", "notReadyAddresses"] {
                let addresses = value::list_at(subset, list).iter().enumerate();
                out.extend(addresses.filter_map(|(j, address)| {
                    written::ip(&format!("subsets[{i}].{list}[{j}].ip"), text(address, "ip"))
                }));
            }
        }
        out
    }

    fn create_on_update(&self) -> bool {
        true
    }

    fn columns(&self) -> &'static [Column] {
        const { &[NAME, of_field("Endpoints", "string", "core/v1.Endpoints", "subsets"), AGE] }
    }

    fn row(&self, endpoints: &Value, now: jiff::Timestamp) -> Row {
        // Each address goes with each port of its subset: those that are not shown are counted, not made.
        let (mut shown, mut count) = (Vec::new(), 0);
        for subset in value::list_at(endpoints, "subsets") {
            let (addresses, ports) = (value::list_at(subset, "addresses"), value::list_at(subset, "ports"));
            count += addresses.len() * ports.len().max(1);
            let with = |port: Option<i64>| addresses.iter().map(move |address| reached_at(text(address, "ip"), port));
            let bare = ports.is_empty().then_some(None).into_iter();
            let all = bare.chain(ports.iter().map(|port| Some(number(port, "port")))).flat_map(with);
            shown.extend(all.take(SHOWN - shown.len()));
        }
        cells(vec![name(endpoints), some_of(&shown, count, "<none>").into(), age(endpoints, now)])
    }
}

impl Strategy for Ingress {
    fn warnings(&self, ingress: &Value, old: Option<&Value>) -> Vec<String> {
        let annotated = value::map_at(ingress, "metadata.annotations")
            .is_some_and(|a| a.contains_key("kubernetes.io/ingress.class"));
        if old.is_none() && annotated {
            return vec![
                "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead"
                    .to_owned(),
            ];
        }
        Vec::new()
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                column(
                    "Class",
                    "string",
                    "The name of the IngressClass resource that should be used for additional configuration",
                ),
                column("Hosts", "string", "Hosts that incoming requests are matched against before the ingress rule"),
                column("Address", "string", "Address is a list containing ingress points for the load-balancer"),
                column("Ports", "string", "Ports of TLS configurations that open"),
                AGE,
            ]
        }
    }

    fn row(&self, ingress: &Value, now: jiff::Timestamp) -> Row {
        let rules = value::list_at(ingress, "spec.rules").iter();
        let hosts: Vec<String> = rules.map(|r| text(r, "host").to_owned()).filter(|h| !h.is_empty()).collect();
        let published = value::list_at(ingress, "status.loadBalancer.ingress").iter();
        let addresses: BTreeSet<&str> =
            published.map(|i| text_or(i, "ip", text(i, "hostname"))).filter(|a| !a.is_empty()).collect();
        let addresses: Vec<&str> = addresses.into_iter().collect();
        let ports = if value::list_at(ingress, "spec.tls").is_empty() { "80" } else { "80, 443" };
        cells(vec![
            name(ingress),
            text_or(ingress, "spec.ingressClassName", "<none>").into(),
            some_of(&hosts, hosts.len(), "*").into(),
            addresses.join(",").into(),
            ports.into(),
            age(ingress, now),
        ])
    }
}

impl Strategy for IngressClass {
    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                column("Controller", "string", "Controller that is responsible for handling this class"),
                column("Parameters", "string", "A reference to a resource with additional parameters"),
                AGE,
            ]
        }
    }

    fn row(&self, class: &Value, now: jiff::Timestamp) -> Row {
        let parameters = match value::get(class, "spec.parameters").filter(|p| !p.is_null()) {
            None => "<none>".to_owned(),
            Some(p) => match text(p, "apiGroup") {
                "" => format!("{}/{}", text(p, "kind"), text(p, "name")),
                group => format!("{}.{group}/{}", text(p, "kind"), text(p, "name")),
            },
        };
        cells(vec![name(class), text(class, "spec.controller").into(), parameters.into(), age(class, now)])
    }
}

impl Strategy for NetworkPolicy {
    fn warnings(&self, policy: &Value, _old: Option<&Value>) -> Vec<String> {
        let mut out = Vec::new();
        for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
            for (i, rule) in value::list_at(policy, &format!("spec.{direction}")).iter().enumerate() {
                for (j, peer) in value::list_at(rule, peers).iter().enumerate() {
                    let path = format!("spec.{direction}[{i}].{peers}[{j}].ipBlock");
                    out.extend(written::cidr(&format!("{path}.cidr"), text(peer, "ipBlock.cidr")));
                    let except = value::list_at(peer, "ipBlock.except").iter().enumerate();
                    out.extend(except.filter_map(|(k, range)| {
                        written::cidr(&format!("{path}.except[{k}]"), range.as_str().unwrap_or_default())
                    }));
                }
            }
        }
        out
    }

    fn columns(&self) -> &'static [Column] {
        const { &[NAME, of_field("Pod-Selector", "string", "networking/v1.NetworkPolicySpec", "podSelector"), AGE] }
    }

    fn row(&self, policy: &Value, now: jiff::Timestamp) -> Row {
        cells(vec![name(policy), selector_or_none(policy, "spec.podSelector").into(), age(policy, now)])
    }
}

impl Strategy for IpAddress {
    fn columns(&self) -> &'static [Column] {
        const { &[NAME, of_field("ParentRef", "string", "networking/v1.IPAddressSpec", "parentRef")] }
    }

    fn row(&self, address: &Value, _now: jiff::Timestamp) -> Row {
        let parent = match value::get(address, "spec.parentRef").filter(|p| !p.is_null()) {
            None => "<none>".to_owned(),
            Some(parent) => {
                let resource = match text(parent, "group") {
                    "" => text(parent, "resource").to_owned(),
                    group => format!("{}.{group}", text(parent, "resource")),
                };
                match text(parent, "namespace") {
                    "" => format!("{resource}/{}", text(parent, "name")),
                    namespace => format!("{resource}/{namespace}/{}", text(parent, "name")),
                }
            }
        };
        cells(vec![name(address), parent.into()])
    }
}

impl Strategy for ServiceCidr {
    fn fixes_metadata(&self) -> bool {
        true
    }

    fn columns(&self) -> &'static [Column] {
        const { &[NAME, of_field("CIDRs", "string", "networking/v1.ServiceCIDRSpec", "cidrs"), AGE] }
    }

    fn row(&self, range: &Value, now: jiff::Timestamp) -> Row {
        let ranges: Vec<&str> = value::list_at(range, "spec.cidrs").iter().filter_map(Value::as_str).collect();
        cells(vec![name(range), ranges.join(",").into(), age(range, now)])
    }
}
