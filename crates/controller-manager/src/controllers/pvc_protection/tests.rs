use serde_json::{Value, json};

use super::*;

fn pod(uid: &str, node: &str, volumes: &Value) -> Pod {
    let object = json!({
        "metadata": {"name": "p", "namespace": "ns", "uid": uid},
        "spec": {"containers": [], "nodeName": node, "volumes": volumes},
    });
    serde_json::from_value(object).expect("a pod")
}

fn claim(name: &str, owner: Option<&str>) -> PersistentVolumeClaim {
    let owners: Vec<Value> = owner
        .map(|uid| json!({"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": uid, "controller": true}))
        .into_iter()
        .collect();
    let object = json!({"metadata": {"name": name, "namespace": "ns", "ownerReferences": owners}});
    serde_json::from_value(object).expect("a claim")
}

fn shut_down(mut pod: Pod) -> Pod {
    pod.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(jiff::Timestamp::MIN));
    pod.metadata.deletion_grace_period_seconds = Some(0);
    pod
}

#[test]
fn pvc_protection_knows_who_uses_a_claim() {
    let check = |pod: &Pod, claim: &PersistentVolumeClaim, expected| {
        assert_eq!(usage::uses(pod, claim), expected, "{pod:?} {claim:?}");
    };
    let named = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]);
    check(&pod("u", "n1", &named), &claim("c", None), true);
    check(&pod("u", "n1", &named), &claim("d", None), false);
    check(&pod("u", "", &named), &claim("c", None), false);
    // A pod that ended keeps its claims: it may still be mounted.
    check(&shut_down(pod("u", "n1", &named)), &claim("c", None), true);
    let mut elsewhere = claim("c", None);
    elsewhere.metadata.namespace = Some("other".to_owned());
    check(&pod("u", "n1", &named), &elsewhere, false);

    let ephemeral = json!([{"name": "v", "ephemeral": {}}]);
    check(&pod("u", "n1", &ephemeral), &claim("p-v", Some("u")), true);
    check(&pod("u", "n1", &ephemeral), &claim("p-v", Some("namesake")), false);
    check(&pod("u", "n1", &ephemeral), &claim("p-v", None), false);
    check(&shut_down(pod("u", "n1", &ephemeral)), &claim("p-v", Some("u")), false);
}

#[test]
fn pvc_protection_looks_when_a_pod_lets_go() {
    let named = |claim: &str| json!([{"name": "v", "persistentVolumeClaim": {"claimName": claim}}]);
    let check = |old: Option<Pod>, new: Option<Pod>, expected: &[&str]| {
        let change = Change { key: Key::new("ns", "p"), old: old.map(Arc::new), new: new.map(Arc::new) };
        let names: Vec<String> = for_pod(&change).into_iter().map(|k| k.name).collect();
        assert_eq!(names, expected, "{change:?}");
    };
    let running = || pod("u", "n1", &named("c"));
    let ended = || {
        let mut pod = running();
        pod.status.get_or_insert_default().phase = Some("Succeeded".to_owned());
        pod
    };
    check(None, Some(running()), &[]);
    check(Some(running()), Some(ended()), &["c"]);
    check(Some(running()), Some(shut_down(running())), &["c"]);
    check(None, Some(pod("u", "", &named("c"))), &["c"]);
    check(Some(running()), None, &["c"]);
    check(Some(running()), Some(pod("namesake", "n1", &named("d"))), &["c"]);
}
