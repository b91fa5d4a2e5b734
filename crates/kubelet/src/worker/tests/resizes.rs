//! Pods whose resources change while they run.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::rig::Rig;
use crate::worker::Input;

fn resources(cpu: &str, memory: &str) -> Value {
    json!({"requests": {"cpu": cpu, "memory": memory}, "limits": {"memory": memory}})
}

fn spec(policy: Value) -> Value {
    json!({"containers": [{"name": "app", "image": "web:1", "imagePullPolicy": "IfNotPresent",
        "resources": resources("100m", "64Mi"), "resizePolicy": policy}]})
}

async fn running(policy: Value) -> Rig {
    let rig = Rig::new(spec(policy));
    rig.fake.publish("web:1", "");
    rig.start().await;
    rig.until("Ready", 0).await;
    rig
}

/// What a write of `pods/resize` does.
fn resize(rig: &Rig, cpu: &str, memory: &str) {
    let changed = rig.api.change(|pod| {
        pod.metadata.generation = Some(pod.metadata.generation.unwrap_or(1) + 1);
        let container = &mut pod.spec.as_mut().unwrap().containers[0];
        container.resources = serde_json::from_value(resources(cpu, memory)).unwrap();
    });
    rig.send(Input::Present(Arc::new(changed)));
}

/// The status of the container and the pod's conditions about resizes, as JSON.
fn status(rig: &Rig) -> (Value, Vec<Value>) {
    let status = serde_json::to_value(rig.pod().status.unwrap()).unwrap();
    let conditions = status["conditions"].as_array().unwrap().iter().cloned();
    let conditions = conditions.filter(|c| c["type"].as_str().unwrap().starts_with("PodResize")).collect();
    (status["containerStatuses"][0].clone(), conditions)
}

async fn until(rig: &Rig, holds: impl Fn(&Value, &[Value]) -> bool) {
    for _ in 0..20_000 {
        let (container, conditions) = status(rig);
        if holds(&container, &conditions) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("last {:?}; calls {:?}", status(rig), rig.fake.calls());
}

#[tokio::test(start_paused = true)]
async fn a_running_container_gets_other_resources() {
    let rig = running(Value::Null).await;
    let (container, _) = status(&rig);
    assert_eq!(container["resources"], resources("100m", "64Mi"));
    assert_eq!(container["allocatedResources"], json!({"cpu": "100m", "memory": "64Mi"}));
    resize(&rig, "500m", "128Mi");
    until(&rig, |c, conditions| c["resources"] == resources("500m", "128Mi") && conditions.is_empty()).await;
    assert_eq!((rig.called("update"), rig.called("create app"), rig.called("signal")), (1, 1, 0));
    assert_eq!(rig.shown(), ("Ready".to_owned(), 0));
    // A kubelet that starts again finds nothing to do.
    rig.start().await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!((rig.called("update"), rig.called("create app")), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_container_restarts_where_its_policy_wants_that() {
    let rig = running(json!([{"resourceName": "memory", "restartPolicy": "RestartContainer"}])).await;
    resize(&rig, "200m", "64Mi");
    until(&rig, |c, _| c["resources"] == resources("200m", "64Mi")).await;
    assert_eq!((rig.called("update"), rig.called("create app")), (1, 1), "cpu changes in place");
    resize(&rig, "200m", "128Mi");
    until(&rig, |c, _| c["resources"] == resources("200m", "128Mi") && c["restartCount"] == 1).await;
    assert_eq!((rig.called("update"), rig.called("create app")), (1, 2));
    assert_eq!(rig.said("Killing: Container app resize requires restart"), 1);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_waits() {
    let rig = running(Value::Null).await;
    // The node has 2 CPUs.
    resize(&rig, "3", "64Mi");
    until(&rig, |_, conditions| conditions.first().is_some_and(|c| c["reason"] == "Infeasible")).await;
    let (container, conditions) = status(&rig);
    assert_eq!((&conditions[0]["type"], &conditions[0]["status"]), (&json!("PodResizePending"), &json!("True")));
    assert_eq!(conditions[0]["observedGeneration"], 2);
    assert_eq!(container["resources"], resources("100m", "64Mi"), "it keeps what it had");
    // Also in a kubelet that starts again, and in a container that does.
    rig.start().await;
    rig.fake.exit("app", 1);
    rig.until("Ready", 1).await;
    assert_eq!(status(&rig).0["resources"], resources("100m", "64Mi"));
    assert_eq!(rig.called("update"), 0);
    resize(&rig, "1", "64Mi");
    until(&rig, |c, conditions| c["resources"] == resources("1", "64Mi") && conditions.is_empty()).await;
    assert_eq!(rig.called("update"), 1);
}

#[tokio::test(start_paused = true)]
async fn what_was_asked_for_while_no_kubelet_ran_must_fit_too() {
    let rig = running(Value::Null).await;
    drop(rig.handle.lock().take());
    resize(&rig, "3", "64Mi");
    rig.start().await;
    until(&rig, |_, conditions| conditions.first().is_some_and(|c| c["reason"] == "Infeasible")).await;
    assert_eq!((&status(&rig).0["resources"], rig.called("update")), (&resources("100m", "64Mi"), 0));
    drop(rig.handle.lock().take());
    resize(&rig, "500m", "64Mi");
    rig.start().await;
    until(&rig, |c, conditions| c["resources"] == resources("500m", "64Mi") && conditions.is_empty()).await;
    // Of another pod of the node nothing is running yet.
    let mut other = super::rig::pod(spec(Value::Null));
    other.metadata.uid = Some("other".to_owned());
    other.spec.as_mut().unwrap().containers[0].resources = serde_json::from_value(resources("1600m", "64Mi")).unwrap();
    drop(rig.handle.lock().take());
    rig.deps.grants.begin(&other);
    resize(&rig, "700m", "64Mi");
    rig.start().await;
    until(&rig, |_, conditions| conditions.first().is_some_and(|c| c["reason"] == "Deferred")).await;
}

#[tokio::test(start_paused = true)]
async fn a_rule_restarts_one_container_or_all() {
    let rule = |action: &str, code: i32| json!({"action": action, "exitCodes": {"operator": "In", "values": [code]}});
    let rig = Rig::new(json!({"restartPolicy": "Never",
        "initContainers": [{"name": "first", "image": "web:1", "imagePullPolicy": "IfNotPresent"}],
        "containers": [
            {"name": "app", "image": "web:1", "imagePullPolicy": "IfNotPresent", "restartPolicy": "Never",
                "restartPolicyRules": [rule("Restart", 3), rule("RestartAllContainers", 4)]},
            {"name": "other", "image": "web:1", "imagePullPolicy": "IfNotPresent"}]}));
    rig.fake.publish("web:1", "");
    rig.start().await;
    let init = async |made: usize| {
        while rig.called("create first") < made {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
        rig.fake.exit("first", 0);
    };
    init(1).await;
    rig.until("Ready", 0).await;
    rig.fake.exit("app", 3);
    rig.until("Ready", 1).await;
    assert_eq!((rig.called("create app"), rig.called("create other"), rig.called("create first")), (2, 1, 1));
    rig.fake.exit("app", 4);
    init(2).await;
    rig.until("Ready", 2).await;
    assert_eq!((rig.called("create app"), rig.called("create other"), rig.called("create first")), (3, 2, 2));
    assert_eq!(rig.pod().status.unwrap().phase.as_deref(), Some("Running"));
    rig.fake.exit("app", 5);
    rig.fake.exit("other", 0);
    while rig.pod().status.unwrap().phase.as_deref() != Some("Failed") {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
