use gantry_apiserver::testing::Builder;
use gantry_client::{Key, ListParams, Object, ResourceId, View};
use k8s_openapi::{
    api::core::v1::{ConfigMap, Namespace},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};

use crate::support::{World, key, until};

async fn map(world: &World, name: &str, owner: Option<&ConfigMap>) -> ConfigMap {
    let reference = |owner: &ConfigMap| OwnerReference {
        api_version: "v1".to_owned(),
        kind: "ConfigMap".to_owned(),
        name: owner.key().name,
        uid: owner.uid().to_owned(),
        block_owner_deletion: Some(true),
        controller: None,
    };
    let meta = ObjectMeta {
        name: Some(name.to_owned()),
        namespace: Some("default".to_owned()),
        labels: Some([("test".to_owned(), "garbage".to_owned())].into()),
        owner_references: owner.map(|o| vec![reference(o)]),
        ..ObjectMeta::default()
    };
    world.client.api().create(&ConfigMap { metadata: meta, ..ConfigMap::default() }).await.expect("made")
}

/// Makes a chain a <- b <- c, deletes a so, and waits for what shall be left.
async fn check(policy: &str, left: &[&str]) {
    let world = World::start().await;
    let manager = world.manager(&[]);
    let a = map(&world, "a", None).await;
    let b = map(&world, "b", Some(&a)).await;
    map(&world, "c", Some(&b)).await;
    let maps = world.reader::<ConfigMap>();
    world.delete::<ConfigMap>(&key("a"), policy).await;
    until(&maps, policy, |maps| {
        let ours = maps.iter().filter(|m| m.metadata.labels.is_some());
        ours.map(|m| m.key().name).collect::<Vec<_>>() == left
    })
    .await;
    if policy == "Orphan" {
        let freed = maps.get(&key("b")).expect("left");
        assert!(freed.metadata.owner_references.as_ref().is_none_or(Vec::is_empty), "{freed:?}");
    }
    manager.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn background_deletion_takes_the_dependents_along() {
    check("Background", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn foreground_deletion_waits_for_the_dependents() {
    check("Foreground", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orphaning_leaves_the_dependents() {
    check("Orphan", &["b", "c"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_orphaned_while_nobody_looked_is_found() {
    let world = World::start().await;
    let a = map(&world, "a", None).await;
    map(&world, "b", Some(&a)).await;
    world.delete::<ConfigMap>(&key("a"), "Background").await;
    let manager = world.manager(&[]);
    let maps = world.reader::<ConfigMap>();
    until(&maps, "b goes", |maps| maps.iter().all(|m| m.metadata.labels.is_none())).await;
    manager.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_served_holds_up_nothing_and_loses_nothing() {
    check_without("node.k8s.io/v1=false").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_definitions_that_are_not_served() {
    check_without("apiextensions.k8s.io/v1=false").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_needs_nothing_of_what_is_not_served_works() {
    check_without("apps/v1=false").await;
}

/// Lets the collector and a namespace do their work on a server that does not serve everything.
async fn check_without(off: &str) {
    let off = vec![off.to_owned()];
    let world = World::with(Builder::default().configure(|config| config.runtime_config = off)).await;
    // Where its kind is not served, nobody can say whether its owner is there.
    let classes = world.client.dynamic(ResourceId::new("node.k8s.io", "v1", "runtimeclasses"), "");
    let is_served = classes.list(&ListParams::default(), View::Metadata).await.is_ok();
    let owner = OwnerReference {
        api_version: "node.k8s.io/v1".to_owned(),
        kind: "RuntimeClass".to_owned(),
        name: "sandboxed".to_owned(),
        uid: "uid".to_owned(),
        ..OwnerReference::default()
    };
    let meta = ObjectMeta {
        name: Some("kept".to_owned()),
        namespace: Some("default".to_owned()),
        owner_references: Some(vec![owner]),
        ..ObjectMeta::default()
    };
    world.client.api().create(&ConfigMap { metadata: meta, ..ConfigMap::default() }).await.expect("made");
    let a = map(&world, "a", None).await;
    map(&world, "b", Some(&a)).await;
    let manager = world.manager(&[]);
    let (maps, namespaces) = (world.reader::<ConfigMap>(), world.reader::<Namespace>());
    world.delete::<ConfigMap>(&key("a"), "Background").await;
    until(&maps, "b goes", |maps| maps.iter().all(|m| m.metadata.labels.is_none())).await;
    world.namespace("team").await;
    until(&namespaces, "the namespace comes", |_| namespaces.get(&Key::cluster("team")).is_some()).await;
    world.delete::<Namespace>(&Key::cluster("team"), "Background").await;
    until(&namespaces, "the namespace goes", |_| namespaces.get(&Key::cluster("team")).is_none()).await;
    assert!(is_served || maps.get(&key("kept")).is_some());
    manager.stop().await;
}
