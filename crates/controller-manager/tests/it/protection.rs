//! What is in use is not deleted, and goes once nobody uses it.

use gantry_client::{DeleteParams, Key, Object, Patch};
use k8s_openapi::api::{
    core::v1::{PersistentVolume, PersistentVolumeClaim, Pod},
    storage::v1::VolumeAttributesClass,
};
use serde_json::{Value, json};

use crate::support::{World, key, make, until};

fn claim(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name, "namespace": "default"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
            "volumeAttributesClassName": "gold"},
    })
}

/// A pod on the node n1, with these volumes.
fn pod(name: &str, volumes: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default"},
        "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}], "volumes": volumes},
    })
}

fn using(claim: &str) -> Value {
    json!([{"name": "v", "persistentVolumeClaim": {"claimName": claim}}])
}

async fn take_away(world: &World, pod: &str) {
    let now = DeleteParams::default().grace(0);
    world.client.namespaced::<Pod>("default").delete(pod, &now).await.expect("the pod goes");
}

#[tokio::test(flavor = "multi_thread")]
async fn protection_holds_claims_and_classes_while_they_are_used() {
    let world = World::start().await;
    let manager = world.manager(&[]);
    world.node("n1").await;
    world.ready_for_pods().await;
    let class = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttributesClass", "metadata": {"name": "gold"},
        "driverName": "example.com", "parameters": {"iops": "1"},
    });
    make::<VolumeAttributesClass>(&world, class).await;
    for name in ["used", "shared", "free"] {
        make::<PersistentVolumeClaim>(&world, claim(name)).await;
    }
    // Begun only now, the readers have seen all of them.
    let (claims, classes) = (world.reader::<PersistentVolumeClaim>(), world.reader::<VolumeAttributesClass>());
    for (name, claim) in [("a", "used"), ("b", "shared"), ("c", "shared")] {
        make::<Pod>(&world, pod(name, &using(claim))).await;
    }
    world.delete::<VolumeAttributesClass>(&Key::cluster("gold"), "Background").await;
    for name in ["used", "shared", "free"] {
        world.delete::<PersistentVolumeClaim>(&key(name), "Background").await;
    }
    until(&claims, "nobody uses it", |_| claims.get(&key("free")).is_none()).await;
    take_away(&world, "b").await;
    take_away(&world, "a").await;
    until(&claims, "its pod is gone", |_| claims.get(&key("used")).is_none()).await;
    assert!(claims.get(&key("shared")).is_some(), "the other pod uses it");
    assert!(classes.get(&Key::cluster("gold")).is_some(), "a claim names it");
    take_away(&world, "c").await;
    until(&claims, "both pods are gone", <[_]>::is_empty).await;
    until(&classes, "no claim names it", <[_]>::is_empty).await;
    manager.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn protection_goes_on_where_a_leader_left_off() {
    let world = World::start().await;
    world.node("n1").await;
    let first = world.manager(&[]);
    world.ready_for_pods().await;
    make::<PersistentVolumeClaim>(&world, claim("before")).await;
    make::<PersistentVolumeClaim>(&world, claim("after")).await;
    make::<Pod>(&world, pod("a", &using("before"))).await;
    let owner = make::<Pod>(
        &world,
        pod(
            "b",
            &json!([{"name": "v", "ephemeral": {"volumeClaimTemplate": {"spec": {
                "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}},
            }}}}]),
        ),
    )
    .await;
    let mut ephemeral = claim("b-v");
    ephemeral["metadata"]["ownerReferences"] = json!([
        {"apiVersion": "v1", "kind": "Pod", "name": "b", "uid": owner.uid(), "controller": true},
    ]);
    make::<PersistentVolumeClaim>(&world, ephemeral).await;
    let claims = world.reader::<PersistentVolumeClaim>();
    for name in ["before", "after", "b-v"] {
        world.delete::<PersistentVolumeClaim>(&key(name), "Background").await;
    }
    until(&claims, "nobody uses it", |_| claims.get(&key("after")).is_none()).await;
    first.stop().await;
    // Nobody is told of this.
    take_away(&world, "a").await;
    let second = world.manager(&[]);
    until(&claims, "its pod went while nobody led", |_| claims.get(&key("before")).is_none()).await;
    assert!(claims.get(&key("b-v")).is_some(), "it was made for a pod that runs");
    // A finalizer keeps the pod, but nothing of it runs any more.
    let held = json!({"metadata": {"finalizers": ["example.com/waits"]}});
    world.patch::<Pod>(&key("b"), held).await;
    take_away(&world, "b").await;
    until(&claims, "its pod is shut down", <[_]>::is_empty).await;
    second.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn protection_holds_volumes_that_are_bound() {
    let world = World::start().await;
    let manager = world.manager(&[]);
    for name in ["bound", "free"] {
        let volume = json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name},
            "spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/x"}},
        });
        make::<PersistentVolume>(&world, volume).await;
    }
    let volumes = world.reader::<PersistentVolume>();
    let phase = async |phase: &str| {
        let patch = Patch::Merge(json!({"status": {"phase": phase}}));
        let api = world.client.api::<PersistentVolume>();
        api.patch("bound", &patch, Some("status")).await.expect("the phase is taken");
    };
    phase("Bound").await;
    for name in ["bound", "free"] {
        world.delete::<PersistentVolume>(&Key::cluster(name), "Background").await;
    }
    until(&volumes, "it was never bound", |_| volumes.get(&Key::cluster("free")).is_none()).await;
    assert!(volumes.get(&Key::cluster("bound")).is_some(), "a claim has it");
    phase("Released").await;
    until(&volumes, "its claim is gone", <[_]>::is_empty).await;
    manager.stop().await;
}
