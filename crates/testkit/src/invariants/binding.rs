//! A pod is bound once, and only where there is room.

use gantry_api::value;

use super::Invariant;
use crate::history::{Step, World};
use crate::object::{self, Object, text};

/// `spec.nodeName` is set once and stays.
pub(super) struct Once;

impl Invariant for Once {
    fn name(&self) -> &'static str {
        "a pod is bound at most once"
    }

    fn step(&mut self, _: &World, step: &Step) -> Vec<String> {
        let Step::Changes { changes, .. } = step else { return Vec::new() };
        let moved = |(before, after): (&Object, &Object)| {
            let (from, to) = (text(before, "spec.nodeName"), text(after, "spec.nodeName"));
            (object::kind(after) == "Pod" && !from.is_empty() && from != to)
                .then(|| format!("{} moved from node {from} to {to:?}", object::title(after)))
        };
        changes.iter().filter_map(|c| c.updated()).filter_map(moved).collect()
    }
}

/// The requests of a node's pods never exceed what it offers.
pub(super) struct Room;

impl Invariant for Room {
    fn name(&self) -> &'static str {
        "no pod is bound to a node without room"
    }

    fn step(&mut self, world: &World, step: &Step) -> Vec<String> {
        let Step::Changes { changes, .. } = step else { return Vec::new() };
        let node_of = |o: &Object| text(o, "spec.nodeName").to_owned();
        let bound = changes.iter().filter(|c| c.kind() == "Pod").filter_map(|change| {
            let node = node_of(change.after.as_ref()?);
            let before = change.before.as_ref().map(node_of).unwrap_or_default();
            (!node.is_empty() && node != before).then_some(node)
        });
        bound.filter_map(|node| overfull(world, &node)).collect()
    }
}

fn overfull(world: &World, name: &str) -> Option<String> {
    // A node that goes away at this very moment offers nothing and promises nothing.
    let node = world.find("Node", "", name)?;
    let pods: Vec<_> =
        world.all("Pod").filter(|p| text(p, "spec.nodeName") == name && !object::is_finished(p)).collect();
    let offered = |resource: &str| value::map_at(node, "status.allocatable").and_then(|a| a.get(resource));
    for resource in ["cpu", "memory"] {
        let wanted: i64 = pods.iter().map(|p| object::requested(p, resource)).sum();
        if offered(resource).is_some_and(|q| wanted > object::milli(q)) {
            return Some(format!("node {name}: {} pods request {wanted} thousandths of {resource}", pods.len()));
        }
    }
    let count = i64::try_from(pods.len()).unwrap_or(i64::MAX);
    let full = offered("pods").is_some_and(|q| count * 1000 > object::milli(q));
    full.then(|| format!("node {name} has {count} pods"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::sample::{History, terminating, thing, with};
    use super::*;

    fn pod(name: &str, node: &str, cpu: &str) -> Value {
        let containers = json!([{"resources": {"requests": {"cpu": cpu}}}]);
        with(with(thing("Pod", "a", name), "spec.nodeName", node), "spec.containers", containers)
    }

    fn node() -> Value {
        with(thing("Node", "", "n1"), "status.allocatable", json!({"cpu": "1", "pods": "3"}))
    }

    #[test]
    fn a_pod_is_bound_once() {
        let check = |nodes: &[&str], count| {
            let put = |history: History, node: &&str| history.put([pod("p", node, "1")]);
            nodes.iter().fold(History::default(), put).expect(Once, count);
        };
        check(&["", "n1", "n1"], 0);
        check(&["", "n1", "n2"], 1);
        check(&["n1", ""], 1);
    }

    #[test]
    fn a_node_is_not_overfilled() {
        let check = |pods: Vec<Value>, count| {
            let put = |history: History, pod: Value| history.put([pod]);
            pods.into_iter().fold(History::default().put([node()]), put).expect(Room, count);
        };
        check(vec![pod("p", "n1", "500m"), pod("q", "n1", "500m")], 0);
        check(vec![pod("p", "n1", "500m"), pod("q", "n1", "501m")], 1);
        check(vec![pod("p", "n1", "0"), pod("q", "n1", "0"), pod("r", "n1", "0"), pod("s", "n1", "0")], 1);
        // A terminating pod still takes its room, one that has ended does not.
        check(vec![terminating(&pod("p", "n1", "1")), pod("q", "n1", "1")], 1);
        check(vec![with(pod("p", "n1", "1"), "status.phase", "Failed"), pod("q", "n1", "1")], 0);
        check(vec![pod("p", "n2", "5")], 0);
    }
}
