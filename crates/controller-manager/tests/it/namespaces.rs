use gantry_client::{DeleteParams, Key, ResourceId, WriteParams};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Namespace, Pod, ServiceAccount},
};
use serde_json::json;

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

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_stays_while_nobody_can_say_what_others_keep_in_it() {
    let world = World::start().await;
    let manager = world.manager(&[]);
    let namespaces = world.reader::<Namespace>();
    let services = world.client.dynamic(ResourceId::new("apiregistration.k8s.io", "v1", "apiservices"), "");
    let away = json!({"metadata": {"name": "v1.away.example.com"}, "spec": {"group": "away.example.com", "version": "v1",
        "groupPriorityMinimum": 100, "versionPriority": 1, "insecureSkipTLSVerify": true,
        "service": {"namespace": "default", "name": "away", "port": 443}}});
    services.create("", "", &away, &WriteParams::default()).await.expect("registered");
    let stale = async || {
        let list = world.client.resources().await.expect("answered");
        let groups = list["items"].as_array().expect("groups").clone();
        groups.iter().any(|group| group["metadata"]["name"] == "away.example.com")
    };
    while !stale().await {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let team = Key::cluster("team");
    world.namespace("team").await;
    world.delete::<Namespace>(&team, "Background").await;
    let condition = || {
        let namespace = namespaces.get(&team).expect("it stays");
        let conditions = namespace.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
        let found = conditions.into_iter().find(|c| c.type_ == "NamespaceDeletionDiscoveryFailure");
        found.map(|c| (c.status, c.message.unwrap_or_default())).unwrap_or_default()
    };
    until(&namespaces, "it says why it stays", |_| condition().0 == "True").await;
    let why = "Discovery failed for some groups, 1 failing: unable to retrieve the complete list of server APIs: \
               away.example.com/v1: stale GroupVersion discovery: away.example.com/v1";
    assert_eq!(condition().1, why);
    services.delete("v1.away.example.com", &DeleteParams::default()).await.expect("taken back");
    until(&namespaces, "the namespace goes", |_| namespaces.get(&team).is_none()).await;
    manager.stop().await;
}
