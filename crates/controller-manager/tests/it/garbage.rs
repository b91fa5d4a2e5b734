use gantry_client::Object;
use k8s_openapi::{
    api::core::v1::ConfigMap,
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
