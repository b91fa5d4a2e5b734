//! A leader that was followed by another cannot write.

use gantry_client::{Fence, ResourceId, WriteParams};
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
    assert!(
        maps(&a).delete("one", &gantry_client::DeleteParams::default()).await.expect_err("b leads now").is_fenced()
    );
    let b = client.with_fence(&Fence { lease: "kube-system/sched".to_owned(), revision: revision(&taken) });
    maps(&b).create("", "", &configmap("three", "1"), &write).await.expect("b leads");
}
