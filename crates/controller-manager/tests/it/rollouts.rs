use std::sync::Arc;

use gantry_client::{ListParams, Object, Reader};
use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::{Event, Pod, ReplicationController},
};
use serde_json::json;

use crate::support::{World, deployment, key, make, until};

fn image(object: &Option<k8s_openapi::api::core::v1::PodSpec>) -> String {
    object.as_ref().and_then(|s| s.containers[0].image.clone()).unwrap_or_default()
}

/// Whether the rollout of all deployments is complete, as `kubectl rollout status` judges.
fn rolled_out(deployments: &[Arc<Deployment>]) -> bool {
    let done = |d: &Arc<Deployment>| {
        let wanted = d.spec.as_ref().and_then(|s| s.replicas);
        d.status.as_ref().is_some_and(|s| {
            s.observed_generation >= d.metadata.generation
                && s.updated_replicas == wanted
                && s.replicas == wanted
                && s.available_replicas == wanted
        })
    };
    !deployments.is_empty() && deployments.iter().all(done)
}

fn revision(deployments: &Reader<Deployment>) -> String {
    let web = deployments.get(&key("web")).expect("exists");
    let annotations = web.metadata.annotations.clone().unwrap_or_default();
    annotations.get("deployment.kubernetes.io/revision").cloned().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_rolls_out_updates_rolls_back_and_scales() {
    let world = World::start().await;
    let manager = world.manager(&[]);
    world.pretend_node().await;
    let (deployments, sets, pods) = (world.reader::<Deployment>(), world.reader::<ReplicaSet>(), world.reader::<Pod>());
    world.client.api().create(&deployment("web", 3, "img:1")).await.expect("made");
    until(&deployments, "first rollout", rolled_out).await;
    until(&pods, "three pods", |p| p.len() == 3).await;
    assert_eq!(revision(&deployments), "1");

    let template =
        |image: &str| json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": image}]}}}});
    world.patch::<Deployment>(&key("web"), template("img:2")).await;
    until(&deployments, "update", |d| {
        rolled_out(d) && image(&d[0].spec.as_ref().expect("spec").template.spec) == "img:2"
    })
    .await;
    until(&pods, "only new pods", |p| p.len() == 3 && p.iter().all(|p| image(&p.spec) == "img:2")).await;
    assert_eq!(revision(&deployments), "2");
    assert_eq!(sets.len(), 2, "the old set is kept for a rollback");

    world.patch::<Deployment>(&key("web"), template("img:1")).await;
    until(&pods, "old pods again", |p| p.len() == 3 && p.iter().all(|p| image(&p.spec) == "img:1")).await;
    until(&deployments, "rollback", rolled_out).await;
    assert_eq!(revision(&deployments), "3");
    assert_eq!(sets.len(), 2, "the first set is used again");

    world.patch::<Deployment>(&key("web"), json!({"spec": {"replicas": 5}})).await;
    until(&deployments, "scaled up", |d| rolled_out(d) && d[0].status.as_ref().expect("status").replicas == Some(5))
        .await;
    world.patch::<Deployment>(&key("web"), json!({"spec": {"replicas": 1}})).await;
    until(&pods, "scaled down", |p| p.len() == 1).await;

    let events = world.client.namespaced::<Event>("default").list(&ListParams::default()).await.expect("events");
    let told = |reason: &str, text: &str| {
        events
            .items
            .iter()
            .any(|e| e.reason.as_deref() == Some(reason) && e.message.as_deref().is_some_and(|m| m.contains(text)))
    };
    assert!(told("ScalingReplicaSet", "Scaled up replica set web-"), "{:?}", events.items);
    assert!(told("SuccessfulCreate", "Created pod: web-"));
    assert!(told("SuccessfulDelete", "Deleted pod: web-"));

    world.delete::<Deployment>(&key("web"), "Background").await;
    until(&sets, "sets go with their owner", <[_]>::is_empty).await;
    until(&pods, "pods go with their owner", <[_]>::is_empty).await;
    manager.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_pod_is_replaced_and_an_orphan_adopted() {
    let world = World::start().await;
    let manager = world.manager(&[]);
    world.pretend_node().await;
    let (deployments, pods) = (world.reader::<Deployment>(), world.reader::<Pod>());
    world.client.api().create(&deployment("web", 2, "img:1")).await.expect("made");
    until(&deployments, "rollout", rolled_out).await;
    let victim = pods.list()[0].clone();
    world.delete::<Pod>(&victim.key(), "Background").await;
    let name = victim.metadata.name.clone();
    until(&pods, "replaced", |p| p.len() == 2 && p.iter().all(|p| p.metadata.name != name)).await;
    until(&deployments, "available again", rolled_out).await;

    // Let go by its labels, a pod lives on without an owner and another takes its place.
    let freed = pods.list()[0].clone();
    world.patch::<Pod>(&freed.key(), json!({"metadata": {"labels": {"app": "other"}}})).await;
    until(&pods, "freed and replaced", |p| {
        let owned = p.iter().filter(|p| p.metadata.owner_references.as_ref().is_some_and(|o| !o.is_empty()));
        p.len() == 3 && owned.count() == 2
    })
    .await;
    manager.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_survives_any_number_of_kills_within_its_bounds() {
    let world = World::start().await;
    let first = world.manager(&[]);
    world.pretend_node().await;
    let (deployments, pods) = (world.reader::<Deployment>(), world.reader::<Pod>());
    world.client.api().create(&deployment("web", 4, "img:1")).await.expect("made");
    until(&deployments, "rollout", rolled_out).await;
    first.stop().await;

    let active = |pods: &[Arc<Pod>]| pods.iter().filter(|p| p.metadata.deletion_timestamp.is_none()).count();
    let template = json!({"spec": {"template": {"spec": {"containers": [{"name": "c", "image": "img:2"}]}}}});
    world.patch::<Deployment>(&key("web"), template).await;
    let mut manager = world.mortal();
    let mut changes = pods.subscribe();
    let mut seen = 0;
    while !(rolled_out(&deployments.list()) && pods.list().iter().all(|p| image(&p.spec) == "img:2")) {
        let next = tokio::time::timeout(std::time::Duration::from_secs(60), changes.next()).await;
        next.expect("the rollout must go on after a kill");
        let now = active(&pods.list());
        assert!((3..=5).contains(&now), "{now} pods of 4, at most 1 more and 1 less are allowed");
        seen += 1;
        // A kill in the middle of things, each time elsewhere.
        if seen % 5 == 0 && seen < 40 {
            manager.kill();
            manager = world.mortal();
        }
        if pods.list().iter().all(|p| image(&p.spec) == "img:2") {
            until(&deployments, "complete", rolled_out).await;
        }
    }
    until(&pods, "four pods", |p| p.len() == 4).await;
    manager.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replication_controller_keeps_its_pods() {
    let world = World::start().await;
    let manager = world.manager(&[]);
    world.pretend_node().await;
    world.ready_for_pods().await;
    let (controllers, pods) = (world.reader::<ReplicationController>(), world.reader::<Pod>());
    let template =
        json!({"metadata": {"labels": {"app": "old"}}, "spec": {"containers": [{"name": "c", "image": "img:1"}]}});
    let controller = json!({
        "metadata": {"name": "old", "namespace": "default"},
        "spec": {"replicas": 2, "selector": {"app": "old"}, "template": template},
    });
    make::<ReplicationController>(&world, controller).await;
    let ready = |n: i32| {
        move |c: &[Arc<ReplicationController>]| {
            c.iter().any(|c| c.status.as_ref().is_some_and(|s| (s.replicas, s.ready_replicas) == (n, Some(n))))
        }
    };
    until(&controllers, "two pods are ready", ready(2)).await;
    let owner = |p: &Pod| p.metadata.owner_references.as_ref().map(|o| (o[0].api_version.clone(), o[0].kind.clone()));
    let expected = Some(("v1".to_owned(), "ReplicationController".to_owned()));
    assert!(pods.list().iter().all(|p| owner(p) == expected));
    world.patch::<ReplicationController>(&key("old"), json!({"spec": {"replicas": 1}})).await;
    until(&controllers, "one is left", ready(1)).await;
    manager.stop().await;
}
