use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::{ReplicaSet, ReplicaSetSpec, ReplicaSetStatus},
        core::v1::{ContainerStatus, Pod, PodCondition, PodSpec, PodStatus, PodTemplateSpec, ReplicationController},
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use serde_json::json;

use super::{
    kind::Replicas,
    plan::{self, Failure, Snapshot, Step, Went},
    rank,
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_000_000 + second).expect("in range")
}

const NOW: i64 = 100_000;

fn set(replicas: i32, min_ready_seconds: i32) -> ReplicaSet {
    let template = PodTemplateSpec {
        metadata: Some(ObjectMeta {
            labels: Some([("app".to_owned(), "web".to_owned())].into()),
            ..ObjectMeta::default()
        }),
        spec: Some(PodSpec::default()),
    };
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some("web-1".to_owned()),
            namespace: Some("ns".to_owned()),
            uid: Some("set".to_owned()),
            generation: Some(3),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(replicas),
            min_ready_seconds: Some(min_ready_seconds),
            template: Some(template),
            ..ReplicaSetSpec::default()
        }),
        status: None,
    }
}

/// A pod that has run on `n1` and been ready since second 0.
fn pod(name: &str) -> Pod {
    let ready = PodCondition {
        type_: "Ready".to_owned(),
        status: "True".to_owned(),
        last_transition_time: Some(Time(at(0))),
        ..PodCondition::default()
    };
    Pod {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            uid: Some(name.to_owned()),
            creation_timestamp: Some(Time(at(0))),
            labels: Some([("app".to_owned(), "web".to_owned())].into()),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec { node_name: Some("n1".to_owned()), ..PodSpec::default() }),
        status: Some(PodStatus {
            phase: Some("Running".to_owned()),
            conditions: Some(vec![ready]),
            ..PodStatus::default()
        }),
    }
}

fn with(name: &str, change: impl FnOnce(&mut Pod, &mut PodSpec, &mut PodStatus)) -> Arc<Pod> {
    let mut pod = pod(name);
    let (mut spec, mut status) = (pod.spec.take().unwrap_or_default(), pod.status.take().unwrap_or_default());
    change(&mut pod, &mut spec, &mut status);
    Arc::new(Pod { spec: Some(spec), status: Some(status), ..pod })
}

fn unready(name: &str) -> Arc<Pod> {
    with(name, |_, _, status| status.conditions = None)
}

fn ready_since(name: &str, second: i64) -> Arc<Pod> {
    with(name, |_, _, status| {
        status.conditions.as_mut().expect("has one")[0].last_transition_time = Some(Time(at(second)));
    })
}

fn terminating(name: &str) -> Arc<Pod> {
    with(name, |pod, _, _| pod.metadata.deletion_timestamp = Some(Time(at(0))))
}

fn ended(name: &str) -> Arc<Pod> {
    with(name, |_, _, status| status.phase = Some("Failed".to_owned()))
}

#[test]
fn the_cheapest_goes_first() {
    let check = |cheap: Arc<Pod>, dear: Arc<Pod>| {
        let neighbours = BTreeMap::from([("n1".to_owned(), 2), ("n2".to_owned(), 1)]);
        for pods in [[cheap.clone(), dear.clone()], [dear.clone(), cheap.clone()]] {
            let first = rank::cheapest(&pods, 1, &neighbours, at(NOW));
            assert_eq!(first[0].metadata.name, cheap.metadata.name, "kept {:?}", cheap.metadata.name);
        }
    };
    let good = || Arc::new(pod("good"));
    check(with("unassigned", |_, spec, _| spec.node_name = None), good());
    check(with("pending", |_, _, status| status.phase = Some("Pending".to_owned())), good());
    check(unready("unready"), good());
    let cost = |name: &str, cost: &str| {
        let annotation = ("controller.kubernetes.io/pod-deletion-cost".to_owned(), cost.to_owned());
        with(name, |pod, _, _| pod.metadata.annotations = Some([annotation].into()))
    };
    check(cost("cheap", "-5"), good());
    check(good(), cost("dear", "5"));
    check(good(), with("alone", |_, spec, _| spec.node_name = Some("n2".to_owned())));
    check(ready_since("fresh", NOW - 10), good());
    let restarted = |name: &str, restart_count| {
        let container = ContainerStatus { restart_count, ..ContainerStatus::default() };
        with(name, |_, _, status| status.container_statuses = Some(vec![container]))
    };
    check(restarted("restarted", 3), restarted("steady", 1));
    check(with("young", |pod, _, _| pod.metadata.creation_timestamp = Some(Time(at(NOW - 10)))), good());
    // An unassigned pod goes before one that is merely unready, whatever else speaks for it.
    check(with("unassigned", |_, spec, _| spec.node_name = None), unready("unready"));
    // Ages of one magnitude are equal; the uid spreads the choice.
    check(ready_since("a", 900), ready_since("b", 1000));
}

#[test]
fn missing_pods_are_made_and_surplus_ones_deleted() {
    let check = |replicas, pods: &[Arc<Pod>], expected: Step| {
        let set = set(replicas, 0);
        let snapshot = Snapshot { set: &set, pods, neighbours: &BTreeMap::new(), now: at(NOW) };
        assert_eq!(plan::step(&snapshot), expected);
    };
    let good = Arc::new(pod("good"));
    check(3, std::slice::from_ref(&good), Step::Create(2));
    check(1, std::slice::from_ref(&good), Step::Keep);
    check(1, &[ended("e"), terminating("t")], Step::Create(1));
    check(1, &[good.clone(), unready("u"), terminating("t")], Step::Delete(vec![unready("u")]));
    check(0, std::slice::from_ref(&good), Step::Delete(vec![good.clone()]));
    check(2000, &[], Step::Create(500));
}

#[test]
fn a_set_on_its_way_out_makes_no_pods() {
    let mut leaving = set(3, 0);
    leaving.metadata.deletion_timestamp = Some(Time(at(0)));
    let snapshot = Snapshot { set: &leaving, pods: &[], neighbours: &BTreeMap::new(), now: at(NOW) };
    assert_eq!(plan::step(&snapshot), Step::Keep);
}

#[test]
fn pods_come_from_the_template() {
    let set = set(1, 0);
    let made = plan::pod(&set, gantry_controller::owner::reference(&set));
    assert_eq!(made.metadata.generate_name.as_deref(), Some("web-1-"));
    assert_eq!(made.metadata.namespace.as_deref(), Some("ns"));
    assert_eq!(made.metadata.labels.expect("labels")["app"], "web");
    let owner = &made.metadata.owner_references.expect("owner")[0];
    assert_eq!((owner.kind.as_str(), owner.uid.as_str()), ("ReplicaSet", "set"));
    assert_eq!((owner.controller, owner.block_owner_deletion), (Some(true), Some(true)));
}

#[test]
fn the_status_counts() {
    let set = set(4, 60);
    let unlabelled = with("x", |pod, _, _| pod.metadata.labels = None);
    let pods = [unlabelled, ready_since("fresh", NOW - 20), unready("u"), terminating("t"), ended("e"), ended("f")];
    let snapshot = Snapshot { set: &set, pods: &pods, neighbours: &BTreeMap::new(), now: at(NOW) };
    let (status, again) = plan::status(&snapshot, &Went::Well);
    assert_eq!(status.replicas, 3);
    assert_eq!(status.fully_labeled_replicas, Some(2));
    assert_eq!(status.ready_replicas, Some(2));
    assert_eq!(status.available_replicas, Some(1));
    assert_eq!(status.terminating_replicas, Some(1));
    assert_eq!(status.observed_generation, Some(3));
    assert_eq!(again, Some(Duration::from_secs(40)));
    assert!(plan::differs(None, &status));
    assert!(!plan::differs(Some(&status.clone()), &status));
}

#[test]
fn trouble_is_a_condition_until_it_is_over() {
    let mut set = set(1, 0);
    let mut after = |went: Went| {
        let snapshot = Snapshot { set: &set, pods: &[], neighbours: &BTreeMap::new(), now: at(NOW) };
        let (status, _) = plan::status(&snapshot, &went);
        let says = status.conditions.as_ref().map(|c| c[0].message.clone().unwrap_or_default());
        set.status = Some(status);
        says
    };
    let failure = |message: &str| Failure { reason: "FailedCreate", message: message.to_owned() };
    assert_eq!(after(Went::Well), None);
    assert_eq!(after(Went::Badly(failure("quota"))).as_deref(), Some("quota"));
    assert_eq!(after(Went::Badly(failure("another"))).as_deref(), Some("quota"));
    assert_eq!(after(Went::Well), None);
}

#[test]
fn a_replication_controller_is_a_replica_set_by_another_name() {
    let condition = json!({"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "no"});
    let status = json!({"replicas": 3, "readyReplicas": 2, "observedGeneration": 4, "conditions": [condition]});
    let controller = json!({
        "metadata": {"name": "web", "namespace": "ns", "uid": "rc"},
        "spec": {"replicas": 3, "minReadySeconds": 5, "selector": {"app": "web"}, "template": {"metadata": {"labels": {"app": "web"}}}},
        "status": status,
    });
    let controller: Arc<ReplicationController> = Arc::new(serde_json::from_value(controller).expect("well formed"));
    let set = ReplicationController::as_set(&controller);
    let expected = json!({
        "replicas": 3, "minReadySeconds": 5, "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}},
    });
    assert_eq!(json!(set.spec), expected);
    assert_eq!(json!(set.status), status);
    let seen = ReplicaSetStatus { terminating_replicas: Some(1), ..set.status.clone().unwrap_or_default() };
    assert_eq!(json!(controller.with_status(seen).status), status, "it does not tell those that end");
    let labels = |value: &str| [("app".to_owned(), value.to_owned())].into();
    assert!(controller.selects(Some(&labels("web"))) && !controller.selects(Some(&labels("db"))));
    let pod = plan::pod(&set, gantry_controller::owner::reference(&*controller));
    let owner = &pod.metadata.owner_references.expect("an owner")[0];
    assert_eq!((owner.api_version.as_str(), owner.kind.as_str()), ("v1", "ReplicationController"));
}
