use gantry_client::Object;
use k8s_openapi::{
    api::{
        core::v1::{Endpoints, Pod, Service, ServicePort, ServiceSpec},
        discovery::v1::EndpointSlice,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use serde_json::json;

use crate::support::{World, deployment, key, make, until};

#[tokio::test(flavor = "multi_thread")]
async fn slices_follow_the_ready_pods() {
    let world = World::start().await;
    let manager = world.manager(&[]);
    world.pretend_node().await;
    let (slices, pods) = (world.reader::<EndpointSlice>(), world.reader::<Pod>());
    let legacy = world.reader::<Endpoints>();
    let service = Service {
        metadata: ObjectMeta {
            name: Some("web".to_owned()),
            namespace: Some("default".to_owned()),
            ..ObjectMeta::default()
        },
        spec: Some(ServiceSpec {
            selector: Some([("app".to_owned(), "web".to_owned())].into()),
            ports: Some(vec![ServicePort { port: 80, ..ServicePort::default() }]),
            ..ServiceSpec::default()
        }),
        status: None,
    };
    world.client.api().create(&service).await.expect("made");
    let ours = |slices: &[std::sync::Arc<EndpointSlice>]| -> Vec<EndpointSlice> {
        let of_web = |s: &EndpointSlice| {
            s.metadata.labels.as_ref().is_some_and(|l| l.get("kubernetes.io/service-name").is_some_and(|n| n == "web"))
        };
        slices.iter().filter(|s| of_web(s)).map(|s| EndpointSlice::clone(s)).collect()
    };
    let ready = |slices: &[EndpointSlice]| {
        let endpoints = slices.iter().flat_map(|s| s.endpoints.iter().flatten());
        endpoints.filter(|e| e.conditions.as_ref().is_some_and(|c| c.ready == Some(true))).count()
    };
    until(&slices, "an empty slice", |s| ours(s).len() == 1).await;
    world.client.api().create(&deployment("web", 3, "img:1")).await.expect("made");
    until(&slices, "three endpoints", |s| ready(&ours(s)) == 3).await;
    assert_eq!(ours(&slices.list()).len(), 1, "one slice holds them all");
    let addresses = |e: &Endpoints| {
        e.subsets.iter().flatten().flat_map(|s| s.addresses.iter().flatten()).map(|a| a.ip.clone()).collect::<Vec<_>>()
    };
    until(&legacy, "the same as endpoints", |_| legacy.get(&key("web")).is_some_and(|e| addresses(&e).len() == 3))
        .await;
    let endpoint = ours(&slices.list())[0].endpoints.as_ref().expect("endpoints")[0].clone();
    let target = endpoint.target_ref.expect("target").name.expect("name");
    assert!(pods.get(&key(&target)).is_some());
    let victim = pods.list()[0].key();
    world.delete::<Pod>(&victim, "Background").await;
    until(&slices, "replaced", |s| {
        let slices = ours(s);
        let gone = |e: &k8s_openapi::api::discovery::v1::Endpoint| {
            e.target_ref.as_ref().and_then(|t| t.name.as_ref()) != Some(&victim.name)
        };
        ready(&slices) == 3 && slices.iter().flat_map(|s| s.endpoints.iter().flatten()).all(gone)
    })
    .await;
    world.delete::<Service>(&key("web"), "Background").await;
    until(&slices, "slices go with the service", |s| ours(s).is_empty()).await;
    until(&legacy, "and endpoints", |_| legacy.get(&key("web")).is_none()).await;
    manager.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_that_users_write_are_mirrored() {
    let world = World::start().await;
    let manager = world.manager(&[]);
    let (slices, legacy) = (world.reader::<EndpointSlice>(), world.reader::<Endpoints>());
    let mirrored = |slices: &[std::sync::Arc<EndpointSlice>]| -> Vec<(String, Vec<String>)> {
        let is_ours =
            |s: &&std::sync::Arc<EndpointSlice>| s.metadata.name.as_deref().is_some_and(|n| n.starts_with("db-"));
        let all = |s: &EndpointSlice| s.endpoints.iter().flatten().flat_map(|e| e.addresses.clone()).collect();
        slices.iter().filter(is_ours).map(|s| (s.address_type.clone(), all(s))).collect()
    };
    let port = json!([{"port": 5432}]);
    let service = json!({"metadata": {"name": "db", "namespace": "default"}, "spec": {"ports": port}});
    make::<Service>(&world, service).await;
    let subsets = json!([{"addresses": [{"ip": "10.1.2.3"}], "ports": port}]);
    make::<Endpoints>(&world, json!({"metadata": {"name": "db", "namespace": "default"}, "subsets": subsets})).await;
    let wanted = |ip: &str| vec![("IPv4".to_owned(), vec![ip.to_owned()])];
    until(&slices, "a slice", |s| mirrored(s) == wanted("10.1.2.3")).await;
    let subsets = json!([{"addresses": [{"ip": "10.1.2.4"}], "ports": port}]);
    world.patch::<Endpoints>(&key("db"), json!({"subsets": subsets})).await;
    until(&slices, "it follows", |s| mirrored(s) == wanted("10.1.2.4")).await;
    world.delete::<Service>(&key("db"), "Background").await;
    until(&legacy, "endpoints go with the service", |_| legacy.get(&key("db")).is_none()).await;
    until(&slices, "and so does the slice", |s| mirrored(s).is_empty()).await;
    manager.stop().await;
}
