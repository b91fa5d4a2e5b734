//! CRUD, status, scale, batches and lists over gRPC with client certificates.

use gantry_client::watch::EventKind;
use gantry_client::{DeleteParams, ListParams, Patch, ResourceId, View, Write, WriteParams};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::json;

use crate::support::{Cluster, configmap, pod};

#[tokio::test]
async fn an_object_lives_and_dies() {
    let cluster = Cluster::start().await;
    let api = cluster.admin().namespaced::<ConfigMap>("default");
    let new: ConfigMap = serde_json::from_value(configmap("c", "1")).expect("typed");
    let created = api.create(&new).await.expect("created");
    assert!(created.metadata.uid.is_some() && created.metadata.resource_version.is_some());
    assert!(api.create(&new).await.expect_err("twice").is_already_exists());

    let mut changed = created.clone();
    changed.data.get_or_insert_default().insert("a".to_owned(), "2".to_owned());
    let updated = api.update(&changed).await.expect("updated");
    assert_ne!(updated.metadata.resource_version, created.metadata.resource_version);
    assert!(api.update(&changed).await.expect_err("stale").is_conflict());

    let patched = api.patch("c", &Patch::Merge(json!({"data": {"b": "3"}})), None).await.expect("patched");
    assert_eq!(patched.data.as_ref().map(|d| d.len()), Some(2));
    let again = api.patch("c", &Patch::Merge(json!({"data": {"b": "3"}})), None).await.expect("nothing to do");
    assert_eq!(again.metadata.resource_version, patched.metadata.resource_version, "a no-op is not stored");

    api.delete("c", &DeleteParams::default()).await.expect("deleted");
    assert!(api.get("c").await.expect_err("gone").is_not_found());
}

#[tokio::test]
async fn a_watch_tells_everything_in_order() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    let api = client.namespaced::<ConfigMap>("default");
    let make = |name: &str, v: &str| serde_json::from_value::<ConfigMap>(configmap(name, v)).expect("typed");
    api.create(&make("before", "1")).await.expect("created");
    let mut watch = api.watch(&ListParams::default(), true).await.expect("watches");
    let first = watch.next().await.expect("alive").expect("an event");
    assert_eq!(first.kind, EventKind::Added);
    let end = watch.next().await.expect("alive").expect("an event");
    assert_eq!(end.kind, EventKind::Bookmark { initial_events_end: true });

    api.create(&make("live", "1")).await.expect("created");
    api.patch("live", &Patch::Merge(json!({"data": {"a": "2"}})), None).await.expect("patched");
    api.delete("live", &DeleteParams::default()).await.expect("deleted");
    let mut last = end.revision;
    for expected in [EventKind::Added, EventKind::Modified, EventKind::Deleted] {
        let event = watch.next().await.expect("alive").expect("an event");
        assert_eq!(event.kind, expected);
        assert!(event.revision > last, "revisions rise");
        last = event.revision;
        let object: serde_json::Value = serde_json::from_slice(&event.object).expect("JSON");
        assert_eq!(object["metadata"]["resourceVersion"], event.revision.to_string());
    }
}

#[tokio::test]
async fn status_and_scale_are_their_own() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    let api = client.namespaced::<Deployment>("default");
    let deployment = json!({
        "metadata": {"name": "d"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"a": "b"}}, "template": {
            "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]},
        }},
        "status": {"replicas": 7},
    });
    let created = api.create(&serde_json::from_value(deployment).expect("typed")).await.expect("created");
    assert_eq!(created.metadata.generation, Some(1));
    assert_eq!(created.status.as_ref().and_then(|s| s.replicas), None, "status is not the client's to create");

    let mut reported = created.clone();
    reported.status.get_or_insert_default().replicas = Some(2);
    reported.spec.as_mut().expect("a spec").replicas = Some(9);
    let reported = api.update_status(&reported).await.expect("updated");
    assert_eq!(reported.spec.as_ref().and_then(|s| s.replicas), Some(2), "spec is not written through status");
    assert_eq!((reported.metadata.generation, reported.status.and_then(|s| s.replicas)), (Some(1), Some(2)));

    let scales = client.dynamic(ResourceId::new("apps", "v1", "deployments"), "default");
    let patch = Patch::Merge(json!({"spec": {"replicas": 5}}));
    let scale = scales.patch("d", "scale", &patch, &WriteParams::default()).await.expect("scaled").object;
    assert_eq!((scale["kind"].as_str(), scale["spec"]["replicas"].as_i64()), (Some("Scale"), Some(5)));
    assert_eq!(scale["status"]["selector"], "a=b");
    let after = api.get("d").await.expect("there");
    assert_eq!((after.metadata.generation, after.spec.and_then(|s| s.replicas)), (Some(2), Some(5)));
}

#[tokio::test]
async fn a_batch_answers_each_item() {
    let cluster = Cluster::start().await;
    let client = cluster.admin();
    let batch = client.batch();
    let write = |i: usize| {
        let mut object = configmap(&format!("c{i}"), "1");
        object["metadata"]["namespace"] = "default".into();
        Write::create(&serde_json::from_value::<ConfigMap>(object).expect("typed")).expect("a write")
    };
    let results = futures::future::join_all((0..300).map(|i| batch.submit(write(i)))).await;
    assert!(results.iter().all(Result::is_ok), "{:?}", results.iter().find(|r| r.is_err()));
    assert!(batch.submit(write(7)).await.expect_err("twice").is_already_exists());
    let api = client.namespaced::<ConfigMap>("default");
    let params = ListParams { limit: 100, ..ListParams::default() };
    assert_eq!(api.list(&params).await.expect("listed").items.len(), 100);
    assert_eq!(api.list(&ListParams::default()).await.expect("listed").items.len(), 300);
}

#[tokio::test]
async fn a_pod_is_bound_and_stops_gracefully() {
    let cluster = Cluster::start().await;
    cluster.default_account().await;
    let client = cluster.admin();
    let pods = client.dynamic(ResourceId::new("", "v1", "pods"), "default");
    let write = WriteParams::default();
    pods.create("", "", &pod("p"), &write).await.expect("created");
    let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n1"}});
    pods.create("p", "binding", &binding, &write).await.expect("bound");
    assert!(pods.create("p", "binding", &binding, &write).await.expect_err("twice").is_conflict());
    let bound = pods.get("p", "", View::Full).await.expect("there");
    assert_eq!(bound["spec"]["nodeName"], "n1");
    assert_eq!(bound["status"]["conditions"][0]["type"], "PodScheduled");

    let on_node = pods.list(&ListParams::fields("spec.nodeName=n1"), View::Full).await.expect("listed");
    assert_eq!(on_node.items.len(), 1);

    let dying = pods.delete("p", &DeleteParams::default()).await.expect("marked").object;
    assert_eq!(dying["metadata"]["deletionGracePeriodSeconds"], 30);
    pods.delete("p", &DeleteParams::default().grace(0)).await.expect("removed");
    assert!(pods.get("p", "", View::Full).await.expect_err("gone").is_not_found());
}
