//! Objects of kinds that are defined at run time: collected with their owners, deleted with their namespace.

use std::time::Duration;

use gantry_client::{DeleteParams, DynApi, Key, ListParams, ResourceId, View, WriteParams};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace};
use serde_json::{Value, json};

use crate::support::{World, until};

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": "things", "singular": "thing", "kind": "Thing"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]},
    })
}

pub(crate) fn things(world: &World, namespace: &str) -> DynApi {
    world.client.dynamic(ResourceId::new("example.com", "v1", "things"), namespace)
}

pub(crate) async fn define(world: &World) {
    let definitions =
        world.client.dynamic(ResourceId::new("apiextensions.k8s.io", "v1", "customresourcedefinitions"), "");
    definitions.create("", "", &definition(), &WriteParams::default()).await.expect("the definition is taken");
    let served = || async { things(world, "").list(&ListParams::default(), View::Metadata).await.is_ok() };
    wait("the kind is served", served).await;
}

pub(crate) async fn wait<F: Future<Output = bool>>(what: &str, done: impl Fn() -> F) {
    let ask = async {
        while !done().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, ask).await.unwrap_or_else(|_| panic!("{what}: not so after {PATIENCE:?}"));
}

async fn create(world: &World, resource: ResourceId, namespace: &str, object: &Value) -> String {
    let api = world.client.dynamic(resource, namespace);
    let made = api.create("", "", object, &WriteParams::default()).await.expect("made");
    made.object["metadata"]["uid"].as_str().expect("a uid").to_owned()
}

fn thing(name: &str, owner: &Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": name, "ownerReferences": owner}})
}

fn map(name: &str, owner: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "ownerReferences": owner}})
}

#[tokio::test(flavor = "multi_thread")]
async fn custom_objects_own_and_are_owned() {
    let world = World::start().await;
    define(&world).await;
    let manager = world.manager(&[]);
    let (maps, configmaps) = (world.reader::<ConfigMap>(), || ResourceId::new("", "v1", "configmaps"));
    let custom = || ResourceId::new("example.com", "v1", "things");
    let owner = |api: &str, kind: &str, name: &str, uid: &str| json!([{"apiVersion": api, "kind": kind, "name": name, "uid": uid}]);
    let none = json!([]);
    let uid = create(&world, custom(), "default", &thing("top", &none)).await;
    let uid =
        create(&world, configmaps(), "default", &map("middle", &owner("example.com/v1", "Thing", "top", &uid))).await;
    let mut two = owner("v1", "ConfigMap", "middle", &uid);
    create(&world, custom(), "default", &thing("bottom", &two)).await;
    // One more owner stays: the object stays, without the one that goes.
    let uid = create(&world, configmaps(), "default", &map("stays", &none)).await;
    two.as_array_mut()
        .expect("a list")
        .extend(owner("v1", "ConfigMap", "stays", &uid).as_array().expect("a list").clone());
    create(&world, custom(), "default", &thing("kept", &two)).await;
    things(&world, "default").delete("top", &DeleteParams::default().propagation("Background")).await.expect("taken");
    until(&maps, "what the custom object owned", |_| maps.get(&Key::new("default", "middle")).is_none()).await;
    let gone = || async { things(&world, "default").get("bottom", "", View::Metadata).await.is_err() };
    wait("the custom object that was owned", gone).await;
    let struck = || async {
        let kept = things(&world, "default").get("kept", "", View::Metadata).await.expect("it stays");
        kept["metadata"]["ownerReferences"].as_array().map(Vec::len) == Some(1)
    };
    wait("the owner that is gone is struck out", struck).await;
    manager.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn custom_objects_go_with_their_namespace() {
    let world = World::start().await;
    let manager = world.manager(&[]);
    world.namespace("team").await;
    // The kind comes while the manager runs.
    define(&world).await;
    let custom = || ResourceId::new("example.com", "v1", "things");
    create(&world, custom(), "team", &thing("a", &json!([]))).await;
    create(&world, custom(), "default", &thing("b", &json!([]))).await;
    let namespaces = world.reader::<Namespace>();
    world.delete::<Namespace>(&Key::cluster("team"), "Background").await;
    until(&namespaces, "the namespace goes", |_| namespaces.get(&Key::cluster("team")).is_none()).await;
    assert!(things(&world, "team").get("a", "", View::Metadata).await.is_err());
    assert!(things(&world, "default").get("b", "", View::Metadata).await.is_ok());
    manager.stop().await;
}
