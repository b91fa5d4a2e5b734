use serde_json::{Value, json};

use super::super::sample::{History, conditions, owned, terminating, thing, with};
use super::*;

/// A deployment of two pods that may have one more and none less.
fn deployment() -> Value {
    let spec = json!({"replicas": 2, "strategy": {"type": "RollingUpdate",
        "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}});
    let object = with(thing("Deployment", "a", "d"), "spec", spec);
    with(with(object, "metadata.generation", 1), "status.observedGeneration", 1)
}

fn set(name: &str, replicas: i64) -> Value {
    with(owned(thing("ReplicaSet", "a", name), &deployment()), "spec.replicas", replicas)
}

fn pod(name: &str, of: &str) -> Value {
    let pod = with(owned(thing("Pod", "a", name), &set(of, 0)), "spec.nodeName", "n1");
    conditions(pod, "Ready", "True")
}

fn unready(pod: &Value) -> Value {
    conditions(pod.clone(), "Ready", "False")
}

fn complete() -> History {
    let node = conditions(thing("Node", "", "n1"), "Ready", "True");
    History::default().put([node, deployment(), set("old", 2), pod("p", "old"), pod("q", "old")])
}

#[test]
fn a_rollout_within_its_bounds_is_fine() {
    let rolled = complete()
        .put([set("new", 1)])
        .put([unready(&pod("r", "new"))])
        .put([pod("r", "new")])
        .put([set("old", 1)])
        .put([terminating(&pod("p", "old"))])
        .remove([&pod("p", "old")]);
    rolled.expect(Bounds::default(), 0);
}

#[test]
fn a_pod_too_many_is_found() {
    complete().put([pod("r", "new"), set("new", 2)]).put([pod("s", "new")]).expect(Bounds::default(), 1);
}

#[test]
fn a_pod_too_few_is_found() {
    complete().put([set("old", 1)]).put([terminating(&pod("p", "old"))]).expect(Bounds::default(), 1);
    complete().put([set("old", 1)]).remove([&pod("p", "old")]).expect(Bounds::default(), 1);
}

#[test]
fn what_others_take_away_is_excused() {
    complete().put([unready(&pod("p", "old"))]).expect(Bounds::default(), 0);
    let by_user = with(pod("p", "old"), "metadata.annotations", json!({BY_USER: "true"}));
    complete().put([by_user.clone()]).put([terminating(&by_user)]).expect(Bounds::default(), 0);
    let lost = conditions(thing("Node", "", "n1"), "Ready", "Unknown");
    complete().put([lost]).put([terminating(&pod("p", "old"))]).expect(Bounds::default(), 0);
    let leaving = terminating(&thing("Namespace", "", "a"));
    complete().put([leaving]).put([terminating(&pod("p", "old"))]).expect(Bounds::default(), 0);
    let smaller = with(deployment(), "spec.replicas", 1);
    complete().put([smaller]).put([set("old", 1)]).put([terminating(&pod("p", "old"))]).expect(Bounds::default(), 0);
    complete().ambiguous(true).put([pod("r", "old")]).put([pod("s", "old")]).expect(Bounds::default(), 0);
}

#[test]
fn it_is_watched_again_once_it_is_complete_again() {
    let healed = || complete().put([unready(&pod("p", "old"))]).put([pod("p", "old")]);
    healed().expect(Bounds::default(), 0);
    healed().put([terminating(&pod("q", "old"))]).expect(Bounds::default(), 1);
}

/// A replica set at `generation` that wants `replicas` and has acted on `observed`.
fn sized(generation: i64, replicas: i64, observed: i64, status: i64) -> Value {
    let set = with(with(set("s", replicas), "metadata.generation", generation), "status.observedGeneration", observed);
    with(set, "status.replicas", status)
}

#[test]
fn a_replica_set_makes_no_pod_too_many() {
    let start = || History::default().put([sized(1, 2, 1, 2)]).put([pod("p", "s")]).put([pod("q", "s")]);
    start().expect(Exactness::default(), 0);
    start().put([pod("r", "s")]).expect(Exactness::default(), 1);
    start().put([terminating(&pod("q", "s"))]).put([pod("r", "s")]).expect(Exactness::default(), 0);
    // It may act on the old number until it has seen the new one, and on the new one before it says so.
    let fewer = || start().remove([&pod("q", "s")]).put([sized(2, 1, 1, 1)]);
    fewer().put([pod("r", "s")]).expect(Exactness::default(), 0);
    fewer().put([sized(2, 1, 2, 1)]).put([pod("r", "s")]).expect(Exactness::default(), 1);
    start().put([sized(2, 3, 1, 2)]).put([pod("r", "s")]).expect(Exactness::default(), 0);
    // Who was told that a write failed may repeat it.
    start().ambiguous(true).put([pod("r", "s")]).expect(Exactness::default(), 0);
    let again = start().ambiguous(true).ambiguous(false).put([sized(1, 2, 1, 2)]).put([pod("r", "s")]);
    again.expect(Exactness::default(), 1);
}
