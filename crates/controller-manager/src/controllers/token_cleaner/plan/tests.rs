use serde_json::{Value, json};

use super::*;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

/// A year without a use ends on 2026-03-09.
fn period() -> Period {
    Period::new(at("2026-03-09T12:00:00Z"), DAY * 365, at("2024-01-01T00:00:00Z")).expect("tracked for long")
}

fn typed<K: serde::de::DeserializeOwned>(value: Value) -> K {
    serde_json::from_value(value).expect("of its type")
}

fn check(labels: Value, change: fn(&mut Value), pods: &[Value], expected: Option<Step>) {
    let mut secret = json!({"type": "kubernetes.io/service-account-token", "metadata": {
        "name": "s", "namespace": "a", "uid": "s-1", "creationTimestamp": "2024-05-01T00:00:00Z", "labels": labels,
        "annotations": {"kubernetes.io/service-account.name": "web", "kubernetes.io/service-account.uid": "sa-1"},
    }});
    change(&mut secret);
    let account =
        typed(json!({"metadata": {"name": "web", "namespace": "a", "uid": "sa-1"}, "secrets": [{"name": "s"}]}));
    let pods: Vec<Arc<Pod>> = pods.iter().map(|pod| Arc::new(typed(pod.clone()))).collect();
    assert_eq!(period().step(&typed(secret.clone()), &account, &pods), expected, "{secret}");
}

#[test]
fn token_cleaner_waits_until_uses_have_been_noted_for_long_enough() {
    let tracked = |since: &str| Period::new(at("2026-03-09T12:00:00Z"), DAY * 10, at(since)).is_some();
    assert!(tracked("2026-02-26T00:00:00Z"));
    assert!(!tracked("2026-02-27T00:00:00Z"), "the first day is not known as a whole");
}

#[test]
fn token_cleaner_marks_what_is_unused_and_deletes_what_nobody_missed() {
    let mark = || Some(Step::Mark("2026-03-09".to_owned()));
    let (used, invalid) = (LAST_USED, INVALID_SINCE);
    let same = |_: &mut Value| {};
    check(json!({}), same, &[], mark());
    check(json!({used: "2025-03-08"}), same, &[], mark());
    check(json!({used: "2025-03-09"}), same, &[], None);
    check(json!({used: "long ago"}), same, &[], None);
    check(json!({invalid: "rubbish"}), same, &[], mark());
    check(json!({invalid: "2025-03-09"}), same, &[], None);
    check(json!({invalid: "2025-03-08"}), same, &[], Some(Step::Delete));
    check(json!({invalid: "2025-03-08", used: "2026-03-01"}), same, &[], None);
}

#[test]
fn token_cleaner_leaves_alone_what_is_young_going_or_not_the_accounts() {
    check(json!({}), |s| s["metadata"]["creationTimestamp"] = "2025-03-09T12:00:00Z".into(), &[], None);
    check(json!({}), |s| s["metadata"]["deletionTimestamp"] = "2026-03-09T12:00:00Z".into(), &[], None);
    check(json!({}), |s| s["metadata"]["name"] = "made-by-hand".into(), &[], None);
    check(json!({}), |s| s["metadata"]["annotations"][ACCOUNT_UID] = "sa-0".into(), &[], None);
}

#[test]
fn token_cleaner_leaves_alone_what_a_pod_names() {
    let container = |env: Value| json!({"name": "c", "env": [{"name": "X", "valueFrom": env}]});
    let key_ref = || container(json!({"secretKeyRef": {"name": "s", "key": "token"}}));
    for spec in [
        json!({"containers": [], "imagePullSecrets": [{"name": "s"}]}),
        json!({"containers": [key_ref()]}),
        json!({"containers": [], "initContainers": [key_ref()]}),
        json!({"containers": [], "ephemeralContainers": [key_ref()]}),
        json!({"containers": [{"name": "c", "envFrom": [{"secretRef": {"name": "s"}}]}]}),
        json!({"containers": [], "volumes": [{"name": "v", "secret": {"secretName": "s"}}]}),
        json!({"containers": [], "volumes": [{"name": "v", "projected": {"sources": [{"secret": {"name": "s"}}]}}]}),
        json!({"containers": [], "volumes": [{"name": "v", "csi": {"driver": "d", "nodePublishSecretRef": {"name": "s"}}}]}),
    ] {
        check(json!({}), |_| {}, &[json!({"spec": spec})], None);
    }
    let other = json!({"spec": {"containers": [], "volumes": [{"name": "v", "secret": {"secretName": "other"}}]}});
    check(json!({}), |_| {}, &[other], Some(Step::Mark("2026-03-09".to_owned())));
}
