use jiff::ToSpan;
use rand::SeedableRng;
use serde_json::{Value, json};

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::UNIX_EPOCH + seconds.seconds()
}

fn core() -> Core {
    Core::new(DEFAULT_NAME, StdRng::seed_from_u64(3))
}

fn node(name: &str, cpu: &str) -> Node {
    let value = json!({ "metadata": { "name": name }, "status": { "allocatable": { "cpu": cpu, "memory": "1Gi", "pods": "9" } } });
    serde_json::from_value(value).expect("a node")
}

fn pod(uid: &str, change: impl FnOnce(&mut Value)) -> Arc<Pod> {
    let mut value = json!({
        "metadata": { "namespace": "ns", "name": "p", "uid": uid },
        "spec": { "containers": [{ "name": "c", "resources": { "requests": { "cpu": "1" } } }] },
    });
    change(&mut value);
    Arc::new(serde_json::from_value(value).expect("a pod"))
}

fn key() -> Key {
    Key::new("ns", "p")
}

fn used(core: &Core) -> i64 {
    core.snapshot().node("n").map_or(0, |n| n.requested.cpu_milli)
}

fn bound(core: &mut Core, now: Timestamp) -> Arc<PodInfo> {
    match core.attempt(now) {
        Some(Attempt::Bind { pod, .. }) => pod,
        other => panic!("expected a binding, got {other:?}"),
    }
}

#[test]
fn an_assumed_pod_takes_its_room_until_the_binding_fails() {
    let mut core = core();
    core.on_node("n", Some(&node("n", "1")), at(0));
    core.on_pod(&key(), Some(&pod("1", |_| {})), at(0));
    let assumed = bound(&mut core, at(0));
    assert_eq!(used(&core), 1000);
    core.bind_failed(&assumed, at(0));
    assert_eq!(used(&core), 0);
    assert!(!core.has_work());
    core.wake(at(1));
    assert!(core.has_work(), "it is tried again after its back-off");
}

#[test]
fn a_confirmed_pod_is_counted_once_and_a_late_failure_changes_nothing() {
    let mut core = core();
    core.on_node("n", Some(&node("n", "2")), at(0));
    core.on_pod(&key(), Some(&pod("1", |_| {})), at(0));
    let assumed = bound(&mut core, at(0));
    core.on_pod(&key(), Some(&pod("1", |p| p["spec"]["nodeName"] = json!("n"))), at(0));
    core.bind_failed(&assumed, at(0));
    assert_eq!(used(&core), 1000);
    assert!(core.queue().is_empty());
    core.on_pod(
        &key(),
        Some(&pod("1", |p| {
            p["spec"]["nodeName"] = json!("n");
            p["status"] = json!({ "phase": "Succeeded" });
        })),
        at(0),
    );
    assert_eq!(used(&core), 0);
}

#[test]
fn a_pod_deleted_while_it_is_bound_leaves_nothing_behind() {
    let mut core = core();
    core.on_node("n", Some(&node("n", "1")), at(0));
    core.on_pod(&key(), Some(&pod("1", |_| {})), at(0));
    let assumed = bound(&mut core, at(0));
    core.on_pod(&key(), Some(&pod("1", |p| p["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z"))), at(0));
    core.bind_failed(&assumed, at(0));
    assert_eq!(used(&core), 0);
    assert!(core.queue().is_empty());
}

#[test]
fn a_new_incarnation_is_another_pod() {
    let mut core = core();
    core.on_node("n", Some(&node("n", "1")), at(0));
    core.on_pod(&key(), Some(&pod("1", |_| {})), at(0));
    let first = bound(&mut core, at(0));
    core.on_pod(&key(), Some(&pod("2", |_| {})), at(0));
    let second = bound(&mut core, at(0));
    assert_eq!(second.uid, "2");
    core.bind_failed(&first, at(0));
    assert_eq!(used(&core), 1000, "the failure of the first does not touch the second");
}

#[test]
fn others_pods_and_pods_on_their_way_out_are_left_alone() {
    let mut core = core();
    core.on_pod(&key(), Some(&pod("1", |p| p["spec"]["schedulerName"] = json!("mine"))), at(0));
    assert!(!core.has_work());
    core.on_pod(&key(), Some(&pod("1", |_| {})), at(0));
    assert!(core.has_work());
    core.on_pod(&key(), Some(&pod("1", |p| p["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z"))), at(0));
    assert!(!core.has_work());
}

#[test]
fn attempts_of_an_unschedulable_pod_none_without_a_change_one_after_a_node() {
    let mut core = core();
    core.on_pod(&key(), Some(&pod("1", |_| {})), at(0));
    let Some(Attempt::Report { message, .. }) = core.attempt(at(0)) else { panic!("there is no node") };
    assert_eq!(message, "no nodes available to schedule pods");
    let count = |core: &mut Core, now| std::iter::from_fn(|| core.attempt(now)).count();
    core.wake(at(86_400));
    assert_eq!(count(&mut core, at(86_400)), 0);
    core.on_node("n", Some(&node("n", "1")), at(86_400));
    assert_eq!(count(&mut core, at(86_400)), 1);
}
