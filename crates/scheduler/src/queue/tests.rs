use jiff::ToSpan;
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::json;

use super::*;
use crate::decide::{Decider, Decision};
use crate::fixture::{node, pod, snapshot};
use crate::plugins;
use crate::snapshot::Snapshot;

fn decider() -> Decider {
    Decider::new(plugins::all(), StdRng::seed_from_u64(1))
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + seconds.seconds()
}

/// Runs every attempt that is due, as the shell does; returns the number of attempts.
fn attempt_all(queue: &mut Queue, decider: &mut Decider, snapshot: &mut Snapshot, now: Timestamp) -> usize {
    queue.wake(now);
    let mut attempts = 0;
    while let Some(pod) = queue.pop() {
        attempts += 1;
        match decider.decide(&pod, snapshot) {
            Decision::Node(name) => {
                snapshot.assign(Arc::clone(&pod), &name);
                queue.remove(&pod.key);
            }
            Decision::Unschedulable(diagnosis) => queue.unschedulable(&pod.key, diagnosis, now),
        }
    }
    attempts
}

#[test]
fn an_unschedulable_pod_is_tried_only_when_an_event_can_help() {
    let mut decider = decider();
    let mut world = snapshot(vec![node("small", "1", "1Gi", json!({}))]);
    let mut queue = Queue::default();
    queue.upsert(pod("big", json!({ "cpu": "2" }), json!({})));
    assert_eq!(attempt_all(&mut queue, &mut decider, &mut world, at(0)), 1);

    // Nothing changes, for an hour.
    assert_eq!(attempt_all(&mut queue, &mut decider, &mut world, at(3600)), 0);
    assert_eq!(queue.next_wake(), None);

    // Events that cannot help: a label, a taint, a node that is too small, a status update of the pod itself.
    let labelled = node("small", "1", "1Gi", json!({ "metadata": { "labels": { "a": "b" } } }));
    let old = world.set_node(labelled).expect("it was there");
    let new = world.node("small").expect("just set");
    assert_eq!(queue.on_event(Event::NodeUpdated(&old, new), decider.plugins(), at(3600)), 0);
    world.set_node(node("tiny", "500m", "1Gi", json!({})));
    let tiny = world.node("tiny").expect("just set");
    assert_eq!(queue.on_event(Event::NodeAdded(tiny), decider.plugins(), at(3600)), 0);
    queue.upsert(pod("big", json!({ "cpu": "2" }), json!({})));
    assert_eq!(attempt_all(&mut queue, &mut decider, &mut world, at(7200)), 0);

    // One that helps.
    world.set_node(node("large", "4", "1Gi", json!({})));
    let large = world.node("large").expect("just set");
    assert_eq!(queue.on_event(Event::NodeAdded(large), decider.plugins(), at(7200)), 1);
    assert_eq!(attempt_all(&mut queue, &mut decider, &mut world, at(7200)), 1);
    assert!(queue.is_empty());
    assert_eq!(world.node_of(&Key::new("default", "big")), Some("large"));
}

#[test]
fn a_pod_that_leaves_makes_room() {
    let mut decider = decider();
    let mut world = snapshot(vec![node("n", "1", "1Gi", json!({}))]);
    let mut queue = Queue::default();
    queue.upsert(pod("a", json!({ "cpu": "1" }), json!({})));
    queue.upsert(pod("b", json!({ "cpu": "1" }), json!({})));
    assert_eq!(attempt_all(&mut queue, &mut decider, &mut world, at(0)), 2);
    let gone = world.unassign(&Key::new("default", "a")).expect("the first was placed");
    let event = Event::PodRemoved(&gone, world.node("n").expect("there"));
    assert_eq!(queue.on_event(event, decider.plugins(), at(0)), 1);
    // Its back-off of one second is not over.
    assert_eq!(attempt_all(&mut queue, &mut decider, &mut world, at(0)), 0);
    assert_eq!(queue.next_wake(), Some(at(1)));
    assert_eq!(attempt_all(&mut queue, &mut decider, &mut world, at(1)), 1);
    assert!(queue.is_empty());
}

#[test]
fn the_first_node_wakes_pods_that_saw_none() {
    let mut decider = decider();
    let mut world = Snapshot::default();
    let mut queue = Queue::default();
    queue.upsert(pod("a", json!({}), json!({})));
    assert_eq!(attempt_all(&mut queue, &mut decider, &mut world, at(0)), 1);
    world.set_node(node("n", "1", "1Gi", json!({})));
    assert_eq!(queue.on_event(Event::NodeAdded(world.node("n").expect("set")), decider.plugins(), at(5)), 1);
    assert_eq!(attempt_all(&mut queue, &mut decider, &mut world, at(5)), 1);
}

#[test]
fn turns_go_by_priority_then_age_then_name() {
    let mut queue = Queue::default();
    for (name, priority) in [("c", 0), ("a", 0), ("z", 100)] {
        queue.upsert(pod(name, json!({}), json!({ "priority": priority })));
    }
    let order: Vec<String> = std::iter::from_fn(|| queue.pop()).map(|p| p.key.name.clone()).collect();
    assert_eq!(order, ["z", "a", "c"]);
}

#[test]
fn back_off_doubles_to_its_limit() {
    let mut queue = Queue::default();
    let key = Key::new("default", "a");
    queue.upsert(pod("a", json!({}), json!({})));
    let mut delays = Vec::new();
    for _ in 0..6 {
        queue.pop().expect("active");
        queue.failed(&key, at(0));
        let until = queue.next_wake().expect("backing off");
        delays.push(until.as_second());
        queue.wake(until);
    }
    assert_eq!(delays, [1, 2, 4, 8, 10, 10]);
}

#[test]
fn gates_hold_a_pod_until_they_are_gone() {
    let mut queue = Queue::default();
    queue.upsert(pod("a", json!({}), json!({ "schedulingGates": [{ "name": "wait" }] })));
    assert!(queue.pop().is_none());
    queue.upsert(pod("a", json!({}), json!({})));
    assert!(queue.pop().is_some());
    // An update while the pod is in flight does not hand it out twice.
    queue.upsert(pod("a", json!({}), json!({})));
    assert!(queue.pop().is_none());
}
