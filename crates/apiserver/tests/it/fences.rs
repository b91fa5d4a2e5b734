//! A leader that was followed by another cannot write.

use std::sync::Arc;

use gantry_apiserver::testing::Builder;
use gantry_client::{DeleteParams, Fence, ResourceId, View, WriteParams};
use gantry_store::{MemoryStore, Store};
use serde_json::json;

use crate::support::{Cluster, configmap};

#[tokio::test]
async fn the_old_leader_is_fenced_off() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    let leases = client.dynamic(ResourceId::new("coordination.k8s.io", "v1", "leases"), "kube-system");
    let write = WriteParams::default();
    let lease = |holder: &str| {
        json!({
            "metadata": {"name": "sched", "annotations": {"gantry.dev/fenced": "true"}},
            "spec": {"holderIdentity": holder, "leaseDurationSeconds": 15},
        })
    };
    let revision = |object: &serde_json::Value| {
        object["metadata"]["resourceVersion"].as_str().and_then(|v| v.parse::<u64>().ok()).expect("a version")
    };
    let first = leases.create("", "", &lease("a"), &write).await.expect("created").object;
    let a = client.with_fence(&Fence { lease: "kube-system/sched".to_owned(), revision: revision(&first) });
    let maps = |client: &gantry_client::Client| client.dynamic(ResourceId::new("", "v1", "configmaps"), "default");
    maps(&a).create("", "", &configmap("one", "1"), &write).await.expect("a leads");

    let mut renewed = first.clone();
    renewed["spec"]["leaseTransitions"] = 1.into();
    let renewed = leases.update("sched", "", &renewed, &write).await.expect("renewed").object;
    maps(&a).create("", "", &configmap("two", "1"), &write).await.expect("a renewal fences nobody off");

    let mut taken = renewed;
    taken["spec"]["holderIdentity"] = "b".into();
    let taken = leases.update("sched", "", &taken, &write).await.expect("taken over").object;
    let refused = maps(&a).create("", "", &configmap("three", "1"), &write).await.expect_err("b leads now");
    assert!(refused.is_fenced(), "{refused}");
    assert!(maps(&a).delete("one", &DeleteParams::default()).await.expect_err("b leads now").is_fenced());
    let b = client.with_fence(&Fence { lease: "kube-system/sched".to_owned(), revision: revision(&taken) });
    maps(&b).create("", "", &configmap("three", "1"), &write).await.expect("b leads");
}

#[tokio::test]
async fn a_fence_goes_with_its_lease_and_lets_nobody_through() {
    let store = Arc::new(MemoryStore::new());
    let cluster = Cluster::with(Builder::default().store(store.clone())).await;
    let client = cluster.admin();
    let leases = client.dynamic(ResourceId::new("coordination.k8s.io", "v1", "leases"), "kube-system");
    let key = "/registry/gantry.dev/fences/kube-system/sched";
    let write = WriteParams::default();
    let made = async || {
        let lease = json!({
            "metadata": {"name": "sched", "annotations": {"gantry.dev/fenced": "true"}, "finalizers": ["example.com/hold"]},
            "spec": {"holderIdentity": "a", "leaseDurationSeconds": 15},
        });
        let made = leases.create("", "", &lease, &write).await.expect("created").object;
        let revision = store.get(key).await.expect("read").expect("a fence").mod_revision;
        let fence = Fence { lease: "kube-system/sched".to_owned(), revision };
        (made, client.with_fence(&fence).dynamic(ResourceId::new("", "v1", "configmaps"), "default"))
    };
    let gone = async || store.get(key).await.expect("read").is_none();
    // A Lease that is fenced no more.
    let (mut lease, leader) = made().await;
    leader.create("", "", &configmap("one", "1"), &write).await.expect("a leads");
    lease["metadata"]["annotations"] = json!({});
    lease["metadata"]["finalizers"] = json!([]);
    leases.update("sched", "", &lease, &write).await.expect("updated");
    assert!(gone().await);
    assert!(leader.create("", "", &configmap("two", "1"), &write).await.expect_err("no fence").is_fenced());
    leases.delete("sched", &DeleteParams::default()).await.expect("deleted");
    // One that goes with its last finalizer.
    let (_, leader) = made().await;
    leases.delete("sched", &DeleteParams::default()).await.expect("marked");
    leader.create("", "", &configmap("two", "1"), &write).await.expect("a still leads");
    let mut held = leases.get("sched", "", View::Full).await.expect("it is held");
    held["metadata"]["finalizers"] = json!([]);
    leases.update("sched", "", &held, &write).await.expect("freed");
    assert!(gone().await);
    assert!(leader.create("", "", &configmap("three", "1"), &write).await.expect_err("no lease").is_fenced());
}
