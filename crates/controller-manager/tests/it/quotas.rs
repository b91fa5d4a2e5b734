//! What is used of resource quotas falls with what is deleted, ends, or asks for less.

use gantry_client::{DeleteParams, Key, Patch, ResourceId, WriteParams};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, ResourceQuota, Service};
use serde_json::{Value, json};

use crate::{
    custom::{define, things},
    support::{World, key, make, until},
};

fn quota(hard: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q", "namespace": "default"}, "spec": {"hard": hard}})
}

fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
        "spec": {"containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": "500m"}}}]},
    })
}

fn map(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}})
}

/// Waits until the quota says that this is used.
async fn uses(world: &World, what: &str, expected: &Value) {
    let quotas = world.reader::<ResourceQuota>();
    until(&quotas, what, |_| {
        let status = quotas.get(&key("q")).and_then(|q| q.status.clone());
        let used = status.and_then(|s| s.used).unwrap_or_default();
        let wanted = expected.as_object().expect("a map").iter();
        wanted.into_iter().all(|(name, amount)| used.get(name).is_some_and(|u| *amount == u.0))
    })
    .await;
}

async fn delete<K: gantry_client::Object>(world: &World, name: &str) {
    let now = DeleteParams::default().grace(0);
    world.client.namespaced::<K>("default").delete(name, &now).await.expect("deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn resource_quota_falls_with_what_goes() {
    let world = World::start().await;
    let manager = world.manager(&[]);
    world.ready_for_pods().await;
    define(&world).await;
    for name in ["a", "b"] {
        make::<Pod>(&world, pod(name)).await;
    }
    let hard = json!({"pods": "9", "requests.cpu": "9", "services.nodeports": "9", "count/things.example.com": "9"});
    make::<ResourceQuota>(&world, quota(&hard)).await;
    uses(&world, "what was there is counted", &json!({"pods": "2", "requests.cpu": "1", "services.nodeports": "0"}))
        .await;
    let thing = json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "t"}});
    things(&world, "default").create("", "", &thing, &WriteParams::default()).await.expect("made");
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": "default"},
        "spec": {"type": "NodePort", "ports": [{"port": 80}]},
    });
    make::<Service>(&world, service).await;
    make::<Pod>(&world, pod("c")).await;
    let all = json!({"pods": "3", "requests.cpu": "1500m", "services.nodeports": "1", "count/things.example.com": "1"});
    uses(&world, "what comes is counted", &all).await;

    let ended = Patch::Merge(json!({"status": {"phase": "Succeeded"}}));
    world.client.namespaced::<Pod>("default").patch("a", &ended, Some("status")).await.expect("it ends");
    uses(&world, "what ended counts no more", &json!({"pods": "2", "requests.cpu": "1"})).await;
    delete::<Pod>(&world, "b").await;
    world.patch::<Service>(&key("s"), json!({"spec": {"type": "ClusterIP"}})).await;
    things(&world, "default").delete("t", &DeleteParams::default()).await.expect("deleted");
    let less = json!({"pods": "1", "requests.cpu": "500m", "services.nodeports": "0", "count/things.example.com": "0"});
    uses(&world, "what went counts no more", &less).await;
    let hard = json!({"spec": {"hard": {"secrets": "4", "requests.cpu": null}}});
    let patched = world.client.namespaced::<ResourceQuota>("default").patch("q", &Patch::Merge(hard), None).await;
    patched.expect("changed");
    uses(&world, "what is limited now is counted", &json!({"secrets": "0", "pods": "1"})).await;
    manager.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn resource_quota_loses_nothing_among_writers_and_leaders() {
    let world = World::start().await;
    let first = world.manager(&["--resource-quota-sync-period=1s"]);
    let names = |range: std::ops::Range<usize>| range.map(|n| format!("m{n}"));
    make::<ResourceQuota>(&world, quota(&json!({"count/configmaps": "100"}))).await;
    uses(&world, "counted", &json!({"count/configmaps": "1"})).await;
    // Makers and deleters race for the quota with the controller.
    futures::future::join_all(names(0..20).map(async |name| {
        make::<ConfigMap>(&world, map(&name)).await;
    }))
    .await;
    let deleting = futures::future::join_all(names(0..15).map(async |name| delete::<ConfigMap>(&world, &name).await));
    let making =
        futures::future::join_all(names(20..30).map(async |name| drop(make::<ConfigMap>(&world, map(&name)).await)));
    tokio::join!(deleting, making);
    uses(&world, "all that is there counts", &json!({"count/configmaps": "16"})).await;
    first.stop().await;
    // Nobody is told of this, and the status is wrong beside.
    for name in names(20..25) {
        delete::<ConfigMap>(&world, &name).await;
    }
    let wrong = json!({"status": {"used": {"count/configmaps": "70"}}});
    let quotas = ResourceId::new("", "v1", "resourcequotas");
    let api = world.client.dynamic(quotas, &Key::new("default", "q").namespace);
    api.patch("q", "status", &Patch::Merge(wrong), &WriteParams::default()).await.expect("taken");
    let second = world.manager(&[]);
    uses(&world, "the next leader counts", &json!({"count/configmaps": "11"})).await;
    second.stop().await;
}
