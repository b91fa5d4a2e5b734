use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("in range")
}

fn budget(spec: &Value, status: &Value) -> PodDisruptionBudget {
    let object = json!({"metadata": {"name": "b", "namespace": "ns", "generation": 2}, "spec": spec, "status": status});
    serde_json::from_value(object).expect("a budget")
}

fn pod(name: &str, ready: &str) -> Arc<Pod> {
    let object = json!({
        "metadata": {"name": name, "namespace": "ns", "uid": name, "labels": {"app": "web"}},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]},
    });
    Arc::new(serde_json::from_value(object).expect("a pod"))
}

#[test]
fn disruption_budgets_expect_what_is_asked_for() {
    let check = |spec: Value, present: usize, scale: i32, pods: i32, healthy: i32| {
        let budget = budget(&spec, &Value::Null);
        assert_eq!(plan::expected(&budget, present, scale), plan::Expected { pods, healthy }, "{spec}");
    };
    check(json!({"maxUnavailable": 1}), 2, 3, 3, 2);
    check(json!({"maxUnavailable": "30%"}), 2, 10, 10, 7);
    check(json!({"maxUnavailable": "25%"}), 2, 3, 3, 2);
    check(json!({"maxUnavailable": 5}), 2, 3, 3, 0);
    check(json!({"minAvailable": 5}), 2, 0, 2, 5);
    check(json!({"minAvailable": "50%"}), 2, 3, 3, 2);
    check(json!({}), 2, 0, 0, 0);
    assert!(!plan::needs_scale(&budget(&json!({"minAvailable": 5}), &Value::Null)));
    assert!(plan::needs_scale(&budget(&json!({"minAvailable": "5%"}), &Value::Null)));
    assert!(plan::needs_scale(&budget(&json!({"maxUnavailable": 5}), &Value::Null)));
}

#[test]
fn disruption_budgets_allow_what_they_can_spare() {
    let check = |pods: &[Arc<Pod>], min: i32, healthy: i32, allowed: i32, reason: &str| {
        let budget = budget(&json!({"minAvailable": min}), &Value::Null);
        let plan = plan::plan(&budget, pods, plan::expected(&budget, pods.len(), 0), at(0));
        let status = plan.status.expect("new");
        let condition = &status.conditions.as_ref().expect("conditions")[0];
        let found = (status.current_healthy, status.disruptions_allowed, condition.reason.as_str());
        assert_eq!(found, (Some(healthy), Some(allowed), reason));
        assert_eq!((status.observed_generation, condition.observed_generation), (Some(2), Some(2)));
    };
    let mut going = Pod::clone(&pod("d", "True"));
    going.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(at(0)));
    let pods = [pod("a", "True"), pod("b", "True"), pod("c", "False"), Arc::new(going)];
    check(&pods, 1, 2, 1, "SufficientPods");
    check(&pods, 2, 2, 0, "InsufficientPods");
    check(&pods, 4, 2, 0, "InsufficientPods");
    check(&[], 0, 0, 0, "InsufficientPods");
}

#[test]
fn disruption_budgets_wait_for_what_they_allowed() {
    let status = json!({"disruptedPods": {"a": "1970-01-01T00:01:40Z", "gone": "1970-01-01T00:01:40Z"}});
    let budget = budget(&json!({"minAvailable": 1}), &status);
    let pods = [pod("a", "True"), pod("b", "True")];
    let check = |now: i64, healthy: i32, kept: &[&str], again: Option<u64>, late: usize| {
        let plan = plan::plan(&budget, &pods, plan::expected(&budget, 2, 0), at(now));
        let status = plan.status.expect("new");
        let names: Vec<String> = status.disrupted_pods.into_iter().flatten().map(|(name, _)| name).collect();
        assert_eq!((status.current_healthy, plan.again), (Some(healthy), again.map(Duration::from_secs)));
        assert_eq!(
            (names.as_slice(), plan.late.len()),
            (kept.iter().map(|k| (*k).to_owned()).collect::<Vec<_>>().as_slice(), late)
        );
    };
    check(130, 1, &["a"], Some(90), 0);
    check(220, 2, &[], None, 1);
}

#[test]
fn disruption_budgets_are_written_when_they_differ() {
    let mut seen = budget(&json!({"minAvailable": 1}), &Value::Null);
    let pods = [pod("a", "True"), pod("b", "True")];
    let plan = |budget: &PodDisruptionBudget, now| plan::plan(budget, &pods, plan::expected(budget, 2, 0), at(now));
    seen.status = plan(&seen, 0).status;
    assert!(plan(&seen, 50).status.is_none());
    let failed = plan::failed(&seen, "why", at(60));
    let condition = &failed.conditions.as_ref().expect("conditions")[0];
    assert_eq!((condition.reason.as_str(), condition.message.as_str()), ("SyncFailed", "why"));
    assert_eq!((failed.disruptions_allowed, failed.expected_pods), (Some(0), Some(2)));
    seen.status = Some(failed);
    assert_eq!(plan::failed(&seen, "why", at(70)), *seen.status.as_ref().expect("set"), "said once");
    let back = plan(&seen, 80).status.expect("it is well again");
    assert_eq!(back.conditions.expect("conditions")[0].last_transition_time.0, at(80));
    seen.metadata.generation = Some(3);
    assert!(plan(&seen, 90).status.is_some());
}

#[test]
fn disruption_budgets_without_owners_are_told_in_upstreams_words() {
    let selector = json!({"selector": {"matchLabels": {"app": "web", "tier": "front"},
        "matchExpressions": [{"key": "a", "operator": "In", "values": ["b", "c"]}]}});
    let message = plan::unmanaged(&budget(&selector, &Value::Null));
    let shown = "(selector: &LabelSelector{MatchLabels:map[string]string{app: web,tier: front,},MatchExpressions:\
        []LabelSelectorRequirement{LabelSelectorRequirement{Key:a,Operator:In,Values:[b c],},},})";
    assert!(message.contains(shown), "{message}");
}

#[test]
fn disruption_budgets_select_pods_by_what_matters() {
    let web = pod("a", "True");
    let check = |selector: Value, expected| {
        assert_eq!(selects(&budget(&json!({"selector": selector}), &Value::Null), &web), expected, "{selector}");
    };
    check(json!({"matchLabels": {"app": "web"}}), true);
    check(json!({"matchLabels": {"app": "db"}}), false);
    check(json!({}), true);
    check(Value::Null, false);
    assert_eq!(facts(&web), facts(&pod("a", "True")));
    assert_ne!(facts(&web), facts(&pod("a", "False")));
}

#[test]
fn disruption_that_did_not_happen_is_taken_back() {
    let check = |status: &str, reason: &str, change: fn(&mut Pod), expected: Option<u64>| {
        let object = json!({"metadata": {"name": "p"}, "status": {"conditions": [{
            "type": "DisruptionTarget", "status": status, "reason": reason, "lastTransitionTime": "1970-01-01T00:00:00Z",
        }]}});
        let mut pod: Pod = serde_json::from_value(object).expect("a pod");
        change(&mut pod);
        assert_eq!(stale::left(&pod, at(50)), expected.map(Duration::from_secs), "{pod:?}");
    };
    check("True", "EvictionByEvictionAPI", |_| {}, Some(70));
    check("False", "EvictionByEvictionAPI", |_| {}, None);
    check("True", "TerminationByKubelet", |_| {}, None);
    check("True", "x", |p| p.status.get_or_insert_default().phase = Some("Failed".to_owned()), None);
    check(
        "True",
        "x",
        |p| p.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(Timestamp::MIN)),
        None,
    );
}
