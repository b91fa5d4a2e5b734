//! What is wrong with a site, and who says so: its schema, its rules, the operator's webhook.

use kube::ResourceExt;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use crate::hooks::{PROTECTED, SERVERS};
use crate::site::{Site, Tier, old_version};
use crate::world::{World, refusal};

#[tokio::test]
async fn what_is_wrong_with_a_site_is_said() {
    let world = World::start().await;
    let sites = world.sites();
    let create = async |change: fn(&mut Site)| {
        let mut site = Site::new("wrong", "hello");
        change(&mut site);
        refusal(sites.create(&PostParams::default(), &site).await)
    };
    let head = "Site.web.example.com \"wrong\" is invalid: ";
    let many = create(|site| site.spec.replicas = Some(4)).await;
    let rule = "spec: Invalid value: \"object\": only large sites have more than 3 servers";
    assert_eq!(many, (422, format!("{head}{rule}")));
    let too_many = create(|site| (site.spec.replicas, site.spec.tier) = (Some(11), Tier::Large)).await;
    let range = "spec.replicas: Invalid value: 11: spec.replicas in body should be less than or equal to 10";
    assert_eq!(too_many, (422, format!("{head}{range}")));
    let empty = create(|site| site.spec.page = String::new()).await;
    let length = "spec.page: Invalid value: \"\": spec.page in body should be at least 1 chars long";
    assert_eq!(empty, (422, format!("{head}{length}")));
    let banned = create(|site| site.spec.page = "lorem ipsum".to_owned()).await;
    let denied = "admission webhook \"validate.web.example.com\" denied the request: ";
    assert_eq!(banned, (400, format!("{denied}admin may not say \"lorem\"")));
    assert!(sites.get_opt("wrong").await.expect("it answers").is_none());
}

#[tokio::test]
async fn the_webhook_judges_changes_dry_runs_and_deletions() {
    let world = World::start().await;
    let sites = world.sites();
    let denied = "admission webhook \"validate.web.example.com\" denied the request: ";
    let banned = (400, format!("{denied}admin may not say \"lorem\""));
    let dry = PostParams { dry_run: true, ..PostParams::default() };
    assert_eq!(refusal(sites.create(&dry, &Site::new("dry", "lorem")).await), banned);
    world.create(&Site::new("wrong", "fine")).await;
    let change = async |patch: Value| sites.patch("wrong", &PatchParams::default(), &Patch::Merge(patch)).await;
    assert_eq!(refusal(change(json!({"spec": {"page": "lorem"}})).await), banned);
    change(json!({"spec": {"tier": "Large"}})).await.expect("it may grow");
    let (code, said) = refusal(change(json!({"spec": {"tier": "Small"}})).await);
    assert_eq!(
        (code, said.ends_with("spec: Invalid value: \"object\": a large site stays large")),
        (422, true),
        "{said}"
    );
    change(json!({"metadata": {"labels": {PROTECTED: "yes"}}})).await.expect("it is labelled");
    let kept = (400, format!("{denied}wrong is protected"));
    assert_eq!(refusal(sites.delete("wrong", &DeleteParams::default()).await), kept);
    change(json!({"metadata": {"labels": {PROTECTED: null}}})).await.expect("it is labelled");
    let gone = sites.delete("wrong", &DeleteParams::default()).await.expect("it may go");
    assert!(gone.is_right() || gone.left().is_some_and(|s| s.finalizers().is_empty()));
}

/// The rules of the webhooks name `v1` alone.
#[tokio::test]
async fn the_webhooks_see_what_is_written_in_the_older_version() {
    let world = World::start().await;
    let old: Api<DynamicObject> = Api::namespaced_with(world.client.clone(), "default", &old_version());
    let denied = "admission webhook \"validate.web.example.com\" denied the request: ";
    let banned = (400, format!("{denied}admin may not say \"lorem\""));
    let site = |text: &str| DynamicObject::new("old", &old_version()).data(json!({"spec": {"text": text}}));
    assert_eq!(refusal(old.create(&PostParams::default(), &site("lorem")).await), banned);
    let made = old.create(&PostParams::default(), &site("fine")).await.expect("it is fine");
    assert_eq!(made.data["spec"], json!({"text": "fine", "size": SERVERS, "tier": "Small"}));
    let change = async |patch: Value| old.patch("old", &PatchParams::default(), &Patch::Merge(patch)).await;
    assert_eq!(refusal(change(json!({"spec": {"text": "lorem"}})).await), banned);
    change(json!({"metadata": {"labels": {PROTECTED: "yes"}}})).await.expect("it is labelled");
    let kept = (400, format!("{denied}old is protected"));
    assert_eq!(refusal(old.delete("old", &DeleteParams::default()).await), kept);
}
