//! Addresses and ports have one holder each, and those of services are held exactly as long as the service lives.

use std::collections::{BTreeMap, BTreeSet};

use gantry_api::value::{self, Value};

use super::Invariant;
use crate::history::{Step, World};
use crate::object::{self, Object, text};

/// Two living pods never have the same address.
pub(super) struct PodAddresses;

impl Invariant for PodAddresses {
    fn name(&self) -> &'static str {
        "no two pods share an address"
    }

    fn step(&mut self, world: &World, step: &Step) -> Vec<String> {
        if !touches(step, "Pod") {
            return Vec::new();
        }
        let pods = world.all("Pod").filter(|p| !object::is_finished(p) && !value::bool_at(p, "spec.hostNetwork"));
        shared(pods.map(|p| (object::title(p), text(p, "status.podIP").to_owned())))
    }
}

/// Cluster IPs and node ports are unique, and each cluster IP is recorded as taken in the very same transaction.
pub(super) struct ServiceAddresses;

impl Invariant for ServiceAddresses {
    fn name(&self) -> &'static str {
        "cluster IPs and node ports are unique and do not leak"
    }

    fn step(&mut self, world: &World, step: &Step) -> Vec<String> {
        if !touches(step, "Service") && !touches(step, "IPAddress") {
            return Vec::new();
        }
        let mut found = shared(world.all("Service").flat_map(|s| each(s, cluster_ips(s))));
        found.extend(shared(world.all("Service").flat_map(|s| each(s, node_ports(s)))));
        let held: BTreeSet<String> = world.all("Service").flat_map(|s| cluster_ips(s)).collect();
        let recorded: BTreeSet<String> = world.all("IPAddress").map(|a| text(a, "metadata.name").to_owned()).collect();
        found.extend(held.difference(&recorded).map(|ip| format!("{ip} is held by a service but not recorded")));
        found.extend(recorded.difference(&held).map(|ip| format!("{ip} is recorded but no service holds it")));
        found
    }
}

fn touches(step: &Step, kind: &str) -> bool {
    matches!(step, Step::Changes { changes, .. } if changes.iter().any(|c| c.kind() == kind))
}

fn each(holder: &Object, held: BTreeSet<String>) -> impl Iterator<Item = (String, String)> {
    let title = object::title(holder);
    held.into_iter().map(move |what| (title.clone(), what))
}

/// What has more than one holder. An empty text is held by nobody.
fn shared(held: impl Iterator<Item = (String, String)>) -> Vec<String> {
    let mut holders: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (holder, what) in held.filter(|(_, what)| !what.is_empty()) {
        holders.entry(what).or_default().push(holder);
    }
    let several = holders.into_iter().filter(|(_, all)| all.len() > 1);
    several.map(|(what, all)| format!("{what} is held by {}", all.join(" and "))).collect()
}

fn cluster_ips(service: &Value) -> BTreeSet<String> {
    let all = value::list_at(service, "spec.clusterIPs").iter().filter_map(Value::as_str);
    let all = all.chain([text(service, "spec.clusterIP")]);
    all.filter(|ip| !ip.is_empty() && *ip != "None").map(str::to_owned).collect()
}

/// Node ports with their protocols.
fn node_ports(service: &Value) -> BTreeSet<String> {
    let ports = value::list_at(service, "spec.ports").iter();
    ports
        .filter(|p| object::number(p, "nodePort") > 0)
        .map(|p| format!("node port {}/{}", object::number(p, "nodePort"), text(p, "protocol")))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::sample::{History, thing, with};
    use super::*;

    #[test]
    fn two_pods_with_one_address_are_found() {
        let pod = |name: &str, ip: &str| with(thing("Pod", "a", name), "status.podIP", ip);
        let check = |pods: [Value; 2], count| {
            let [one, two] = pods;
            History::default().put([one]).put([two]).expect(PodAddresses, count);
        };
        check([pod("p", "10.0.0.1"), pod("q", "10.0.0.2")], 0);
        check([pod("p", ""), pod("q", "")], 0);
        check([pod("p", "10.0.0.1"), pod("q", "10.0.0.1")], 1);
        check([with(pod("p", "10.0.0.1"), "status.phase", "Failed"), pod("q", "10.0.0.1")], 0);
    }

    fn service(name: &str, ip: &str, port: i64) -> Value {
        let ports = json!([{"nodePort": port, "protocol": "TCP"}]);
        with(with(thing("Service", "a", name), "spec.clusterIP", ip), "spec.ports", ports)
    }

    #[test]
    fn shared_and_leaked_service_addresses_are_found() {
        let record = |ip: &str| thing("IPAddress", "", ip);
        let one = || service("s", "10.96.0.1", 30000);
        let start = || History::default().put([one(), record("10.96.0.1")]);
        start().expect(ServiceAddresses, 0);
        start().remove([&one(), &record("10.96.0.1")]).expect(ServiceAddresses, 0);
        start().remove([&one()]).expect(ServiceAddresses, 1);
        start().remove([&record("10.96.0.1")]).expect(ServiceAddresses, 1);
        start().put([service("t", "10.96.0.1", 0)]).expect(ServiceAddresses, 1);
        start().put([service("t", "10.96.0.2", 30000), record("10.96.0.2")]).expect(ServiceAddresses, 1);
        start().put([service("t", "None", 0)]).expect(ServiceAddresses, 0);
    }
}
