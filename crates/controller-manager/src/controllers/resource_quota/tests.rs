use gantry_api::quota::{Usage, amounts, shown};
use serde_json::json;

use super::*;

fn kind(name: &str) -> &'static KindInfo {
    kinds::by_kind("", "v1", name).expect("served")
}

fn quota(hard: &Value, status: &Value) -> ResourceQuota {
    let object = json!({"metadata": {"name": "q", "namespace": "ns", "uid": "q", "resourceVersion": "10"},
        "spec": {"hard": hard}, "status": status});
    serde_json::from_value(object).expect("a quota")
}

fn usage(json: &Value) -> Usage {
    amounts(json.as_object())
}

fn pod(name: &str, revision: &str, cpu: &str, phase: &str) -> Arc<Pod> {
    let object = json!({
        "metadata": {"name": name, "namespace": "ns", "uid": name, "resourceVersion": revision},
        "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]},
        "status": {"phase": phase},
    });
    Arc::new(serde_json::from_value(object).expect("a pod"))
}

/// The plan for a quota with this status when this is counted: what is used then (empty when nothing is written), and
/// whether objects may be missing.
fn check(hard: &Value, status_is: &Value, counts: &[(&[&str], Value, u64)], expected: &str, behind: bool) {
    let count = |(names, used, revision): &(&[&str], Value, u64)| Count {
        names: names.iter().map(|n| (*n).to_owned()).collect(),
        used: usage(used),
        revision: *revision,
    };
    let counts: Vec<Count> = counts.iter().map(count).collect();
    let quota = quota(hard, status_is);
    let mut reserved = Reservations::default();
    reserved.saw(&plan::stated(&quota), quota.revision());
    let plan = status(&quota, &counts, &reserved);
    let used = plan.status.map(|s| usage(&json!(s.used))).map(|used| shown(&used));
    assert_eq!((used.as_deref().unwrap_or_default(), plan.behind), (expected, behind), "{hard} {status_is}");
}

#[test]
fn resource_quota_status_follows_what_is_counted() {
    let hard = json!({"pods": "5", "requests.memory": "4Gi"});
    let names: &[&str] = &["pods", "requests.memory"];
    let two = json!({"pods": "2", "requests.memory": "2Gi"});
    check(&hard, &Value::Null, &[(names, two.clone(), 3)], "pods=2,requests.memory=2Gi", false);
    check(&hard, &Value::Null, &[(names, json!({}), 3)], "pods=0,requests.memory=0", false);
    let stated = json!({"hard": hard, "used": two});
    check(&hard, &stated, &[(names, json!({"pods": "2", "requests.memory": "2048Mi"}), 3)], "", false);
    // More is written at once, less only when all that was reserved has been seen.
    check(
        &hard,
        &stated,
        &[(names, json!({"pods": "3", "requests.memory": "1Gi"}), 9)],
        "pods=3,requests.memory=2Gi",
        true,
    );
    check(
        &hard,
        &stated,
        &[(names, json!({"pods": "3", "requests.memory": "1Gi"}), 10)],
        "pods=3,requests.memory=1Gi",
        false,
    );
    check(&hard, &stated, &[(names, json!({"pods": "2", "requests.memory": "1Gi"}), 9)], "", true);
    // What is limited no more goes, what nobody can count stays.
    let other = json!({"pods": "5", "count/things.example.com": "3"});
    check(&other, &stated, &[(&["pods"], json!({"pods": "2"}), 10)], "pods=2", false);
    let known = json!({"hard": other, "used": {"pods": "2", "count/things.example.com": "1"}});
    check(&other, &known, &[(&["pods"], json!({"pods": "1"}), 10)], "count/things.example.com=1,pods=1", false);
    check(&json!({}), &json!({"hard": {}, "used": {}}), &[], "", false);
}

#[test]
fn resource_quota_remembers_who_changed_what_it_states() {
    let mut reservations = Reservations::default();
    let of = |pods: &str, secrets: &str| usage(&json!({"pods": pods, "secrets": secrets}));
    let check = |reservations: &Reservations, pods: u64, secrets: u64| {
        let found = [reservations.revision_of("pods"), reservations.revision_of("secrets")];
        assert_eq!(found, [pods, secrets]);
    };
    reservations.saw(&of("1", "1"), 10);
    check(&reservations, 10, 10);
    reservations.saw(&of("1", "2"), 12);
    check(&reservations, 10, 12);
    reservations.wrote(of("0", "2"), 14);
    // The informer shows the time before our write, then the write, then what somebody reserved on top.
    reservations.saw(&of("1", "2"), 12);
    reservations.saw(&of("0", "2"), 14);
    check(&reservations, 10, 12);
    reservations.saw(&of("1", "2"), 15);
    check(&reservations, 15, 12);
}

#[test]
fn resource_quota_counts_each_object_as_it_is() {
    let spec = json!({"hard": {"pods": "5", "requests.cpu": "5"}});
    let tally = Tally::new(&spec);
    let mut memo = Memo::default();
    let mut check = |pods: &[Arc<Pod>], now: i64, expected: &str| {
        assert_eq!(shown(&memo.sum(&tally, kind("Pod"), pods, now)), expected);
    };
    let (a, b) = (pod("a", "1", "1", "Running"), pod("b", "2", "500m", "Running"));
    check(&[Arc::clone(&a), Arc::clone(&b)], 0, "pods=2,requests.cpu=1500m");
    check(&[Arc::clone(&a), pod("b", "3", "250m", "Running")], 0, "pods=2,requests.cpu=1250m");
    check(&[pod("a", "4", "1", "Succeeded"), Arc::clone(&b)], 0, "pods=1,requests.cpu=500m");
    let mut going = Pod::clone(&b);
    let at = jiff::Timestamp::from_second(100).expect("in range");
    going.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at));
    going.metadata.deletion_grace_period_seconds = Some(30);
    let going = Arc::new(going);
    assert_eq!(plan::end(&going), Some(130));
    check(&[Arc::clone(&going)], 130, "pods=1,requests.cpu=500m");
    // It has not changed, but its time is over.
    check(&[going], 131, "");
    check(&[], 131, "");
}

#[test]
fn resource_quota_looks_when_an_object_uses_something_else() {
    let hard = json!({"pods": "5", "requests.cpu": "5", "services.nodeports": "1"});
    let quotas = [Arc::new(quota(&hard, &Value::Null))];
    let check = |name: &str, old: Option<Value>, new: Option<Value>, expected: bool| {
        let found = concerned(&quotas, kind(name), old.as_ref(), new.as_ref(), 0);
        assert_eq!(!found.is_empty(), expected, "{old:?} {new:?}");
    };
    let pod = |revision: &str, phase: &str| serde_json::to_value(&*pod("a", revision, "1", phase)).ok();
    check("Pod", None, pod("1", "Pending"), true);
    check("Pod", pod("1", "Pending"), pod("2", "Running"), false);
    check("Pod", pod("2", "Running"), pod("3", "Failed"), true);
    check("Pod", pod("3", "Failed"), None, false);
    let service = |kind: &str| Some(json!({"spec": {"type": kind, "ports": [{"port": 1}]}}));
    check("Service", service("NodePort"), service("ClusterIP"), true);
    check("Service", service("ClusterIP"), None, false);
    let change = |old: Option<ResourceQuota>, new| {
        for_quota(&Change { key: Key::new("ns", "q"), old: old.map(Arc::new), new: Some(Arc::new(new)) })
    };
    let settled = |used: &str| quota(&hard, &json!({"hard": hard, "used": {"pods": used}}));
    assert!(!change(None, settled("1")).is_empty());
    assert!(change(Some(settled("1")), settled("2")).is_empty(), "the API server reserved");
    assert!(!change(Some(settled("1")), quota(&json!({"pods": "1"}), &json!({"hard": hard}))).is_empty());
}
