//! A site from its creation to its end, and the kind's own end.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::api::events::v1::Event;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::discovery::{Discovery, Scope, verbs};
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};

use crate::hooks::SERVERS;
use crate::program::{DIRECTORY, FINALIZER, HOLD};
use crate::schema;
use crate::site::{GROUP, KIND, Site, Tier, old_version};
use crate::world::World;

fn merge(patch: &Value) -> Patch<&Value> {
    Patch::Merge(patch)
}

fn plain() -> PatchParams {
    PatchParams::default()
}

impl World {
    async fn entry(&self, name: &str) -> Option<String> {
        let directory = self.namespaced::<ConfigMap>().get_opt(DIRECTORY).await.expect("it answers")?;
        directory.data.unwrap_or_default().get(name).cloned()
    }
}

#[tokio::test]
async fn a_kind_with_versions_and_subresources_is_discovered() {
    let world = World::start().await;
    let old = Discovery::new(world.client.clone()).filter(&[GROUP]).run().await.expect("it is discovered");
    let new = Discovery::new(world.client.clone()).filter(&[GROUP]).run_aggregated().await.expect("it is discovered");
    for discovery in [old, new] {
        let group = discovery.get(GROUP).expect("the group is there");
        assert_eq!(group.versions().collect::<Vec<_>>(), ["v1", "v1alpha1"]);
        assert_eq!(group.preferred_version_or_latest(), "v1");
        let (resource, capabilities) = group.recommended_kind(KIND).expect("the kind is there");
        assert_eq!((resource.plural.as_str(), capabilities.scope), ("sites", Scope::Namespaced));
        for verb in [verbs::GET, verbs::LIST, verbs::WATCH, verbs::CREATE, verbs::PATCH, verbs::DELETE] {
            assert!(capabilities.operations.iter().any(|o| o == verb), "{verb}");
        }
        let mut parts: Vec<&str> = capabilities.subresources.iter().map(|(part, _)| part.plural.as_str()).collect();
        parts.sort_unstable();
        assert_eq!(parts, ["scale", "status"]);
    }
}

#[tokio::test]
async fn a_site_is_made_changed_repaired_and_removed() {
    let world = World::start().await;
    let instance = world.instance("one").await;
    let made = world.create(&Site::new("home", "hello")).await;
    assert_eq!(
        (made.spec.replicas, made.spec.tier),
        (Some(SERVERS), Tier::Small),
        "the webhook and the schema fill in"
    );
    let site = world.available("home").await;
    assert_eq!(site.finalizers(), [FINALIZER]);
    check_children(&world, &site).await;
    check_versions(&world).await;
    check_scale(&world).await;
    check_repair(&world).await;
    check_removal(&world).await;
    instance.stop();
    assert!(world.journal.conflicts().is_empty());
}

async fn check_children(world: &World, site: &Site) {
    let map = world.namespaced::<ConfigMap>().get("home-page").await.expect("the page is there");
    assert_eq!(map.owner_references(), [site.controller_owner_ref(&()).expect("a site has a uid")]);
    assert_eq!(map.data.expect("data")["index.html"], "hello");
    let servers = world.namespaced::<Deployment>().get("home").await.expect("the servers are there");
    assert_eq!(servers.status.expect("a status").ready_replicas, Some(SERVERS));
    assert_eq!(world.entry("home").await.as_deref(), Some("5"));
    let events: Api<Event> = world.namespaced();
    let selector = ListParams::default().fields(&format!("regarding.uid={}", site.uid().expect("a uid")));
    let event = world.found("an event", async || events.list(&selector).await.ok()?.items.pop()).await;
    assert_eq!((event.reason.as_deref(), event.reporting_instance.as_deref()), (Some("Published"), Some("one")));
}

/// The other version shows the same site, and what is written in it arrives.
async fn check_versions(world: &World) {
    let old: Api<DynamicObject> = Api::namespaced_with(world.client.clone(), "default", &old_version());
    let seen = old.get("home").await.expect("it is shown");
    assert_eq!(seen.types.expect("types").api_version, "web.example.com/v1alpha1");
    assert_eq!(seen.data["spec"], json!({"text": "hello", "size": SERVERS, "tier": "Small"}));
    let changed = old.patch("home", &plain(), &merge(&json!({"spec": {"text": "good bye"}}))).await;
    assert_eq!(changed.expect("it is taken").data["spec"]["text"], "good bye");
    let site = world.available("home").await;
    assert_eq!((site.spec.page.as_str(), site.metadata.generation), ("good bye", Some(2)));
    let is = |map: Option<&ConfigMap>| map.and_then(|m| m.data.as_ref()).is_some_and(|d| d["index.html"] == "good bye");
    world.until(world.namespaced::<ConfigMap>(), "home-page", "shows the new text", is).await;
    assert_eq!(world.entry("home").await.as_deref(), Some("8"));
}

async fn check_scale(world: &World) {
    let sites = world.sites();
    let scale = sites.get_scale("home").await.expect("it has a scale");
    let status = scale.status.expect("a status");
    assert_eq!((status.replicas, status.selector.as_deref()), (SERVERS, Some("site=home")));
    sites.patch_scale("home", &plain(), &merge(&json!({"spec": {"replicas": 3}}))).await.expect("it is scaled");
    let three = |site: Option<&Site>| {
        site.is_some_and(|s| s.is_available() && s.status.as_ref().is_some_and(|status| status.ready == 3))
    };
    let site = world.until(sites, "home", "has three servers", three).await.expect("it is there");
    assert_eq!((site.spec.replicas, site.metadata.generation), (Some(3), Some(3)), "a status is no new generation");
}

/// What others do to the children is undone.
async fn check_repair(world: &World) {
    let maps = world.namespaced::<ConfigMap>();
    let old = maps.get("home-page").await.expect("it is there").uid();
    maps.delete("home-page", &DeleteParams::default()).await.expect("it is deleted");
    let new = |map: Option<&ConfigMap>| map.is_some_and(|m| m.uid() != old);
    world.until(maps, "home-page", "is made again", new).await;
    let deployments = world.namespaced::<Deployment>();
    let params = PatchParams { field_manager: Some("somebody".to_owned()), ..PatchParams::default() };
    let changed = deployments.patch("home", &params, &merge(&json!({"spec": {"replicas": 7}}))).await;
    assert_eq!(changed.expect("it is changed").spec.expect("a spec").replicas, Some(7));
    let three = |found: Option<&Deployment>| {
        let wanted = found.and_then(|d| d.spec.as_ref()).and_then(|s| s.replicas);
        wanted == Some(3)
    };
    world.until(deployments, "home", "has three servers again", three).await;
    world.available("home").await;
}

/// The end waits for the finalizer; then everything that the site owned goes.
async fn check_removal(world: &World) {
    let sites = world.sites();
    let hold = json!({"metadata": {"annotations": {HOLD: "yes"}}});
    sites.patch("home", &plain(), &merge(&hold)).await.expect("it is held");
    let going = sites.delete("home", &DeleteParams::default()).await.expect("it is deleted").left().expect("the site");
    assert!(going.metadata.deletion_timestamp.is_some());
    // An attempt that is refused shows that the end was tried.
    let turns = world.journal.turns("home");
    world.found("two more attempts", async || (world.journal.turns("home") > turns + 1).then_some(())).await;
    let held = sites.get("home").await.expect("it is held");
    assert_eq!((held.finalizers(), world.entry("home").await.as_deref()), (&[FINALIZER.to_owned()][..], Some("8")));
    assert!(world.namespaced::<ConfigMap>().get_opt("home-page").await.expect("it answers").is_some());
    let release = json!({"metadata": {"annotations": {HOLD: null}}});
    sites.patch("home", &plain(), &merge(&release)).await.expect("it is released");
    world.until(sites, "home", "is gone", |site: Option<&Site>| site.is_none()).await;
    assert_eq!(world.entry("home").await, None, "the finalizer has done its work before");
    world.until(world.namespaced(), "home-page", "is gone", |map: Option<&ConfigMap>| map.is_none()).await;
    world.until(world.namespaced(), "home", "is gone", |found: Option<&Deployment>| found.is_none()).await;
}

#[tokio::test]
async fn with_the_kind_go_its_objects_each_cleaned_up() {
    let world = World::start().await;
    let instance = world.instance("one").await;
    for name in ["a", "b"] {
        world.create(&Site::new(name, "hello")).await;
        world.available(name).await;
    }
    let definitions: Api<CustomResourceDefinition> = Api::all(world.client.clone());
    definitions.delete(schema::NAME, &DeleteParams::default()).await.expect("it is deleted");
    let gone = |found: Option<&CustomResourceDefinition>| found.is_none();
    world.until(definitions, schema::NAME, "is gone", gone).await;
    assert_eq!((world.entry("a").await, world.entry("b").await), (None, None));
    let unserved = async || match world.sites().list(&ListParams::default()).await {
        Err(kube::Error::Api(status)) => (status.code == 404).then_some(()),
        _ => None,
    };
    world.found("the kind is not served", unserved).await;
    instance.stop();
}
