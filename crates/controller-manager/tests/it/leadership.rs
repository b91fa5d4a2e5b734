use gantry_client::Key;
use k8s_openapi::api::{coordination::v1::Lease, core::v1::ServiceAccount};
use serde_json::json;

use crate::support::{World, until};

#[tokio::test(flavor = "multi_thread")]
async fn only_the_leader_acts_and_the_next_takes_over_when_it_stops() {
    let world = World::start().await;
    let leases = world.reader::<Lease>();
    let accounts = world.reader::<ServiceAccount>();
    let lease = Key::new("kube-system", "kube-controller-manager");
    let holder = || leases.get(&lease).and_then(|l| l.spec.clone()).and_then(|s| s.holder_identity).unwrap_or_default();
    let first = world.manager(&[]);
    until(&leases, "a leader", |_| !holder().is_empty()).await;
    let leader = holder();
    let second = world.manager(&[]);
    world.namespace("one").await;
    until(&accounts, "the leader acts", |_| accounts.get(&Key::new("one", "default")).is_some()).await;
    assert_eq!(holder(), leader);
    first.stop().await;
    until(&leases, "a takeover", |_| !holder().is_empty() && holder() != leader).await;
    world.namespace("two").await;
    until(&accounts, "the next leader acts", |_| accounts.get(&Key::new("two", "default")).is_some()).await;
    second.stop().await;

    // With nobody left, nothing happens.
    world.namespace("three").await;
    let found = world.client.namespaced::<ServiceAccount>("three").get_opt("default").await.expect("answered");
    assert!(found.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_whose_lease_is_taken_ends() {
    let world = World::start().await;
    let leases = world.reader::<Lease>();
    let lease = Key::new("kube-system", "kube-controller-manager");
    let manager = world.manager(&[]);
    until(&leases, "a leader", |_| leases.get(&lease).is_some()).await;
    // A renewal may come in between; the patch has no precondition and wins in the end.
    world.patch::<Lease>(&lease, json!({"spec": {"holderIdentity": "thief"}})).await;
    let error = manager.ended().await.expect_err("it must say why");
    let text = format!("{error:#}");
    assert!(text.contains("leadership of kube-system/kube-controller-manager was lost"), "{text}");
}
