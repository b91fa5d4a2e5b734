use gantry_client::Key;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Namespace, Pod, ServiceAccount},
};

use crate::support::{World, deployment, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_gets_its_account_and_ca_and_is_emptied_when_it_goes() {
    let world = World::start().await;
    let manager = world.manager(&[]);
    world.pretend_node().await;
    let (accounts, maps) = (world.reader::<ServiceAccount>(), world.reader::<ConfigMap>());
    let (namespaces, pods) = (world.reader::<Namespace>(), world.reader::<Pod>());
    world.namespace("team").await;
    let account = Key::new("team", "default");
    until(&accounts, "account", |_| accounts.get(&account).is_some()).await;
    let ca = Key::new("team", "kube-root-ca.crt");
    until(&maps, "root CA", |_| maps.get(&ca).is_some()).await;
    let published = maps.get(&ca).and_then(|m| m.data.clone()).expect("data");
    assert_eq!(published["ca.crt"], world.server.ca_pem());
    // Taken away, it comes back.
    let before = accounts.get(&account).map(|a| a.metadata.uid.clone());
    world.delete::<ServiceAccount>(&account, "Background").await;
    until(&accounts, "account again", |_| {
        accounts.get(&account).is_some_and(|a| Some(a.metadata.uid.clone()) != before)
    })
    .await;

    let mut web = deployment("web", 2, "img:1");
    web.metadata.namespace = Some("team".to_owned());
    world.client.api::<Deployment>().create(&web).await.expect("made");
    until(&pods, "pods", |p| p.len() == 2).await;
    world.delete::<Namespace>(&Key::cluster("team"), "Background").await;
    until(&namespaces, "the namespace goes", |_| namespaces.get(&Key::cluster("team")).is_none()).await;
    assert!(pods.in_namespace("team").is_empty());
    assert!(world.client.namespaced::<Deployment>("team").get_opt("web").await.expect("answered").is_none());
    manager.stop().await;
}
