use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};

use super::state::State;
use crate::Key;

fn object(name: &str, revision: u64, tier: &str) -> Arc<ConfigMap> {
    let metadata = ObjectMeta {
        namespace: Some("ns".to_owned()),
        name: Some(name.to_owned()),
        resource_version: Some(revision.to_string()),
        labels: Some(BTreeMap::from([("tier".to_owned(), tier.to_owned())])),
        ..ObjectMeta::default()
    };
    Arc::new(ConfigMap { metadata, ..ConfigMap::default() })
}

fn state() -> State<ConfigMap> {
    let by_tier = |c: &ConfigMap| c.metadata.labels.iter().flat_map(|l| l.values().cloned()).collect();
    State::new(vec![("tier", Box::new(by_tier))])
}

fn names(objects: &[Arc<ConfigMap>]) -> Vec<&str> {
    objects.iter().filter_map(|o| o.metadata.name.as_deref()).collect()
}

#[test]
fn indexes_follow_the_objects() {
    let s = state();
    s.upsert(object("a", 1, "web"));
    s.upsert(object("b", 2, "web"));
    assert_eq!(names(&s.by_index("tier", "web")), ["a", "b"]);
    s.upsert(object("a", 3, "db"));
    assert_eq!(names(&s.by_index("tier", "web")), ["b"]);
    assert_eq!(names(&s.by_index("tier", "db")), ["a"]);
    s.remove(&Key::new("ns", "b"));
    assert!(s.by_index("tier", "web").is_empty());
}

#[test]
fn a_subscriber_gets_merged_changes_and_nothing_that_came_and_went() {
    let s = state();
    s.upsert(object("a", 1, "web"));
    let mut sub = s.subscribe();
    s.upsert(object("a", 2, "web"));
    s.upsert(object("b", 3, "web"));
    s.remove(&Key::new("ns", "b"));
    let change = sub.try_next().expect("a is new to the subscriber");
    assert!(change.old.is_none());
    assert_eq!(change.new.expect("it exists").metadata.resource_version.as_deref(), Some("2"));
    assert!(sub.try_next().is_none(), "b came and went");
}

#[test]
fn a_relist_tells_only_the_difference() {
    let s = state();
    s.upsert(object("a", 1, "web"));
    s.upsert(object("b", 2, "web"));
    let mut sub = s.subscribe();
    while sub.try_next().is_some() {}
    s.replace(vec![object("b", 2, "web"), object("c", 5, "web")]);
    let mut seen = Vec::new();
    while let Some(c) = sub.try_next() {
        seen.push((c.key.name, c.new.is_some()));
    }
    assert_eq!(seen, [("a".to_owned(), false), ("c".to_owned(), true)]);
    assert_eq!(names(&s.in_namespace("ns")), ["b", "c"]);
}
