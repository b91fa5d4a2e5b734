//! Disruption budgets say what they can spare, and evictions keep to it.

use gantry_client::{Error, Patch, ResourceId, WriteParams};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::Pod,
    policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus},
};
use serde_json::{Value, json};

use crate::support::{World, deployment, key, make, until};

fn budget(spec: &Value) -> Value {
    json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "b", "namespace": "default"}, "spec": spec})
}

async fn evict(world: &World, pod: &str) -> Result<(), Error> {
    let body =
        json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": "default"}});
    world.client.namespaced::<Pod>("default").create_subresource(pod, "eviction", &body).await.map(drop)
}

/// Waits until the budget's status is as wanted.
async fn says(world: &World, what: &str, wanted: impl Fn(&PodDisruptionBudgetStatus) -> bool) {
    let budgets = world.reader::<PodDisruptionBudget>();
    until(&budgets, what, |_| {
        let Some(budget) = budgets.get(&key("b")) else { return false };
        let Some(status) = &budget.status else { return false };
        status.observed_generation == budget.metadata.generation && wanted(status)
    })
    .await;
}

fn numbers(status: &PodDisruptionBudgetStatus) -> [i32; 4] {
    let of = |n: Option<i32>| n.unwrap_or(-1);
    [of(status.expected_pods), of(status.desired_healthy), of(status.current_healthy), of(status.disruptions_allowed)]
}

fn reason(status: &PodDisruptionBudgetStatus) -> &str {
    status.conditions.iter().flatten().find(|c| c.type_ == "DisruptionAllowed").map_or("", |c| &c.reason)
}

#[tokio::test(flavor = "multi_thread")]
async fn disruption_budget_lets_go_one_after_the_other() {
    let world = World::start().await;
    let manager = world.manager(&[]);
    world.ready_for_pods().await;
    world.pretend_node().await;
    let spec = json!({"maxUnavailable": "30%", "selector": {"matchLabels": {"app": "web"}}});
    make::<PodDisruptionBudget>(&world, budget(&spec)).await;
    says(&world, "no pods, nothing to spare", |s| numbers(s) == [0, 0, 0, 0]).await;
    world.client.api::<Deployment>().create(&deployment("web", 3, "img:1")).await.expect("made");
    says(&world, "all are well", |s| numbers(s) == [3, 2, 3, 1] && reason(s) == "SufficientPods").await;
    let pods = world.reader::<Pod>();
    until(&pods, "pods", |pods| pods.len() == 3).await;
    let names: Vec<String> = pods.list().iter().filter_map(|p| p.metadata.name.clone()).collect();
    evict(&world, &names[0]).await.expect("one can be spared");
    until(&pods, "the pod goes", |pods| pods.iter().all(|p| p.metadata.name.as_ref() != Some(&names[0]))).await;
    says(&world, "another stands in for it", |s| numbers(s) == [3, 2, 3, 1] && s.disrupted_pods.is_none()).await;
    world.patch::<Deployment>(&key("web"), json!({"spec": {"replicas": 1}})).await;
    says(&world, "a third of one is one", |s| numbers(s) == [1, 0, 1, 1]).await;
    world.patch::<PodDisruptionBudget>(&key("b"), json!({"spec": {"maxUnavailable": 0}})).await;
    says(&world, "nothing may go", |s| numbers(s) == [1, 1, 1, 0] && reason(s) == "InsufficientPods").await;
    let left =
        pods.list().iter().find(|p| p.metadata.deletion_timestamp.is_none()).and_then(|p| p.metadata.name.clone());
    let refused = evict(&world, &left.expect("one is left")).await.expect_err("it cannot be spared");
    assert_eq!(refused.status().map(|s| s.code), Some(429), "{refused}");
    manager.stop().await;
}

/// Defines a kind of `example.com`, with a scale or without, and makes an object of it; returns a reference to that.
async fn owner(world: &World, plural: &str, kind: &str, subresources: Value) -> Value {
    let integer = json!({"type": "object", "properties": {"replicas": {"type": "integer"}}});
    let schema = json!({"type": "object", "properties": {"spec": integer, "status": integer}});
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.example.com")},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": plural, "kind": kind},
            "versions": [{"name": "v1", "served": true, "storage": true, "subresources": subresources,
                "schema": {"openAPIV3Schema": schema}}]},
    });
    let definitions = ResourceId::new("apiextensions.k8s.io", "v1", "customresourcedefinitions");
    let params = WriteParams::default();
    world.client.dynamic(definitions, "").create("", "", &definition, &params).await.expect("defined");
    let object =
        json!({"apiVersion": "example.com/v1", "kind": kind, "metadata": {"name": "o"}, "spec": {"replicas": 4}});
    let api = world.client.dynamic(ResourceId::new("example.com", "v1", plural), "default");
    crate::custom::wait("the kind is served", || async {
        api.get("o", "", gantry_client::View::Full).await.is_ok() || api.create("", "", &object, &params).await.is_ok()
    })
    .await;
    let made = api.get("o", "", gantry_client::View::Full).await.expect("made");
    json!([{"apiVersion": "example.com/v1", "kind": kind, "name": "o", "uid": made["metadata"]["uid"], "controller": true}])
}

#[tokio::test(flavor = "multi_thread")]
async fn disruption_budget_closes_while_nobody_knows_how_many_pods_there_should_be() {
    let world = World::start().await;
    let first = world.manager(&[]);
    world.ready_for_pods().await;
    world.pretend_node().await;
    let scale = json!({"scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}, "status": {}});
    let (packs, heaps) = (owner(&world, "packs", "Pack", scale).await, owner(&world, "heaps", "Heap", json!({})).await);
    let pod = |name: &str, owners: &Value| {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "default", "labels": {"app": "web"}, "ownerReferences": owners},
            "spec": {"containers": [{"name": "c", "image": "i"}]},
        })
    };
    for name in ["a", "b", "c"] {
        make::<Pod>(&world, pod(name, &packs)).await;
    }
    let spec = json!({"maxUnavailable": 2, "selector": {"matchLabels": {"app": "web"}}});
    make::<PodDisruptionBudget>(&world, budget(&spec)).await;
    says(&world, "the owner's scale counts", |s| numbers(s) == [4, 2, 3, 1]).await;

    make::<Pod>(&world, pod("d", &heaps)).await;
    says(&world, "one owner has no scale", |s| reason(s) == "SyncFailed" && s.disruptions_allowed == Some(0)).await;
    let refused = evict(&world, "a").await.expect_err("nothing is spared");
    assert_eq!(refused.status().map(|s| s.code), Some(429), "{refused}");
    first.stop().await;
    // What an eviction left behind that did not happen, a long time ago.
    let left = json!({"status": {"disruptedPods": {"a": "2020-01-01T00:00:00Z"}}});
    let api = world.client.namespaced::<PodDisruptionBudget>("default");
    api.patch("b", &Patch::Merge(left), Some("status")).await.expect("taken");
    let said = json!({"status": {"conditions": [{
        "type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting",
        "lastTransitionTime": "2020-01-01T00:00:00Z",
    }]}});
    let pods = world.client.namespaced::<Pod>("default");
    pods.patch("a", &Patch::Strategic(said), Some("status")).await.expect("taken");
    let other = json!({"spec": {"maxUnavailable": null, "minAvailable": 3}});
    api.patch("b", &Patch::Merge(other), None).await.expect("taken");
    let second = world.manager(&[]);
    says(&world, "the next leader counts", |s| numbers(s) == [4, 3, 4, 1] && s.disrupted_pods.is_none()).await;
    let pods = world.reader::<Pod>();
    let target = |pod: &Pod| {
        let conditions = pod.status.as_ref().and_then(|s| s.conditions.clone()).unwrap_or_default();
        conditions.into_iter().find(|c| c.type_ == "DisruptionTarget").map(|c| (c.status, c.reason))
    };
    until(&pods, "the pod is no target any more", |_| {
        pods.get(&key("a")).and_then(|p| target(&p)) == Some(("False".to_owned(), None))
    })
    .await;
    second.stop().await;
}
