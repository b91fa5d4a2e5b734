use std::collections::BTreeSet;

use gantry_client::{Key, Patch, ResourceId, WriteParams};
use k8s_openapi::api::core::v1::{Node, Pod, ServiceAccount};
use serde_json::json;

use crate::support::{World, deployment, until};

#[tokio::test(flavor = "multi_thread")]
async fn each_node_gets_a_range_of_its_own_and_keeps_it() {
    let world = World::start().await;
    let manager = world.manager(&[]);
    for i in 0..5 {
        world.node(&format!("n{i}")).await;
    }
    let nodes = world.reader::<Node>();
    let range = |n: &Node| n.spec.as_ref().and_then(|s| s.pod_cidr.clone());
    until(&nodes, "ranges", |n| n.len() == 5 && n.iter().all(|n| range(n).is_some())).await;
    let given: BTreeSet<_> = nodes.list().iter().filter_map(|n| range(n)).collect();
    assert_eq!(given.len(), 5);
    let ttl = |n: &Node| n.metadata.annotations.as_ref().and_then(|a| a.get("node.alpha.kubernetes.io/ttl")).cloned();
    until(&nodes, "how long kubelets may keep what they read", |n| n.iter().all(|n| ttl(n).as_deref() == Some("0")))
        .await;
    manager.stop().await;

    // Another leader knows what the first gave out.
    let manager = world.manager(&[]);
    world.node("late").await;
    let late = Key::cluster("late");
    until(&nodes, "a range for the late one", |_| nodes.get(&late).is_some_and(|n| range(&n).is_some())).await;
    let all: BTreeSet<_> = nodes.list().iter().filter_map(|n| range(n)).collect();
    assert_eq!(all.len(), 6);
    manager.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_leave_a_silent_node_while_another_is_well() {
    let world = World::start().await;
    let manager = world.manager(&["--node-monitor-grace-period=2s"]);
    world.pretend_node().await;
    let (nodes, pods) = (world.reader::<Node>(), world.reader::<Pod>());
    let mut web = deployment("web", 1, "img:1");
    let tolerations = json!([
        {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0},
        {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0},
    ]);
    let spec = web.spec.get_or_insert_default().template.spec.get_or_insert_default();
    spec.tolerations = serde_json::from_value(tolerations).expect("tolerations");
    world.client.api().create(&web).await.expect("made");
    until(&pods, "a pod", |p| {
        p.len() == 1 && p[0].status.as_ref().is_some_and(|s| s.phase.as_deref() == Some("Running"))
    })
    .await;
    let first = pods.list()[0].metadata.uid.clone();
    // n2 posts its status all the time, n1 once.
    world.node("n2").await;
    let client = world.client.clone();
    let beat = move |name: &'static str, client: gantry_client::Client| async move {
        let now = jiff::Timestamp::from_second(jiff::Timestamp::now().as_second()).expect("in range").to_string();
        let ready = json!({"type": "Ready", "status": "True", "lastHeartbeatTime": now, "lastTransitionTime": now});
        let status = Patch::Strategic(json!({"status": {"conditions": [ready]}}));
        client.api::<Node>().patch(name, &status, Some("status")).await.expect("posted");
    };
    beat("n1", client.clone()).await;
    world.group.spawn("n2", gantry_common::task::OnExit::Ignore, async move {
        let mut tick = tokio::time::interval(std::time::Duration::from_millis(500));
        loop {
            tick.tick().await;
            beat("n2", client.clone()).await;
        }
    });
    let tainted = |name: &str, effect: &str| {
        let node = nodes.get(&Key::cluster(name));
        let taints = node.and_then(|n| n.spec.clone()).and_then(|s| s.taints).unwrap_or_default();
        taints.iter().any(|t| t.key == "node.kubernetes.io/unreachable" && t.effect == effect)
    };
    until(&nodes, "n1 is tainted", |_| tainted("n1", "NoSchedule") && tainted("n1", "NoExecute")).await;
    assert!(!tainted("n2", "NoSchedule"));
    until(&pods, "the pod is replaced", |p| p.iter().all(|p| p.metadata.uid != first)).await;
    manager.stop().await;
}

/// Refuses to change the status of the pod `held`; resolves once that is so.
async fn hold_status(world: &World) {
    let make = async |resource: &str, spec: serde_json::Value| {
        let api = world.client.dynamic(ResourceId::new("admissionregistration.k8s.io", "v1", resource), "");
        let object = json!({"metadata": {"name": "held"}, "spec": spec});
        api.create("", "", &object, &WriteParams::default()).await.expect("made");
    };
    let rules = json!({"matchConstraints": {"resourceRules": [
            {"operations": ["UPDATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods/status"]}]},
        "validations": [{"expression": "object.metadata.name != 'held'"}]});
    make("validatingadmissionpolicies", rules).await;
    let binding = json!({"policyName": "held", "validationActions": ["Deny"]});
    make("validatingadmissionpolicybindings", binding).await;
    let pods = world.client.namespaced::<Pod>("default");
    for number in 0_u32.. {
        let change = Patch::Merge(json!({"status": {"message": number.to_string()}}));
        if pods.patch("held", &change, Some("status")).await.is_err() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_pod_that_is_refused_does_not_keep_the_others_of_a_silent_node_ready() {
    let world = World::start().await;
    let account = json!({"metadata": {"name": "default", "namespace": "default"}});
    let account: ServiceAccount = serde_json::from_value(account).expect("an account");
    world.client.api().create(&account).await.expect("made");
    world.node("n1").await;
    let ready = Patch::Strategic(json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}}));
    world.client.api::<Node>().patch("n1", &ready, Some("status")).await.expect("posted");
    let api = world.client.namespaced::<Pod>("default");
    for name in ["a", "held", "z"] {
        let pod = json!({"metadata": {"name": name, "namespace": "default"},
            "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "img:1"}]}});
        let pod: Pod = serde_json::from_value(pod).expect("a pod");
        api.create(&pod).await.expect("made");
        api.patch(name, &ready, Some("status")).await.expect("posted");
    }
    hold_status(&world).await;
    let pods = world.reader::<Pod>();
    let is_ready = |name: &str| {
        let pod = pods.get(&Key::new("default", name)).expect("it stays");
        let conditions = pod.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
        conditions.iter().any(|c| c.type_ == "Ready" && c.status == "True")
    };
    until(&pods, "all are ready", |_| ["a", "held", "z"].into_iter().all(is_ready)).await;
    let manager = world.manager(&["--node-monitor-grace-period=2s"]);
    until(&pods, "two are not ready", |_| !is_ready("a") && !is_ready("z")).await;
    assert!(is_ready("held"), "its status cannot be changed");
    manager.stop().await;
}
