use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{api::core::v1::ConfigMap, apimachinery::pkg::apis::meta::v1::ObjectMeta};

use super::state::State;
use super::{Event, EventKind, Shared};
use crate::{Error, Key};

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
    s.replace(vec![object("b", 2, "web"), object("c", 5, "web")], false);
    let mut seen = Vec::new();
    while let Some(c) = sub.try_next() {
        seen.push((c.key.name, c.new.is_some()));
    }
    assert_eq!(seen, [("a".to_owned(), false), ("c".to_owned(), true)]);
    assert_eq!(names(&s.in_namespace("ns")), ["b", "c"]);
}

fn event(kind: EventKind, revision: u64, object: &str) -> Event {
    Event { kind, revision, object: object.to_owned().into_bytes().into() }
}

#[test]
fn an_object_that_cannot_be_read_holds_up_no_other() {
    let shared: Shared<ConfigMap> = Shared::new(Vec::new(), None);
    let live = |kind, revision, object: &str| shared.live_event(&event(kind, revision, object)).expect("goes on");
    live(EventKind::Added, 1, r#"{"metadata":{"namespace":"ns","name":"a"}}"#);
    assert_eq!(names(&shared.state.list()), ["a"]);
    let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let fields = format!(r#"[{{"fieldsV1":{{"f:a":{deep}}}}}]"#);
    let unreadable = format!(r#"{{"metadata":{{"namespace":"ns","name":"a","managedFields":{fields}}}}}"#);
    live(EventKind::Modified, 2, &unreadable);
    assert!(shared.state.list().is_empty(), "what was known of it is no longer true");
    live(EventKind::Added, 3, r#"{"metadata":{"namespace":"ns","name":"b"}}"#);
    live(EventKind::Deleted, 4, &unreadable);
    assert_eq!(names(&shared.state.list()), ["b"]);
    assert_eq!(*shared.revision.borrow(), 4);
}

#[test]
fn a_store_that_was_set_back_is_another_history() {
    let shared: Shared<ConfigMap> = Shared::new(Vec::new(), None);
    shared.replace(vec![object("a", 5, "web")], 9);
    shared.replace(vec![object("a", 5, "db")], 9);
    let tier = || shared.state.list()[0].metadata.labels.as_ref().expect("labels")["tier"].clone();
    assert_eq!(tier(), "web", "the same revision is the same object");
    shared.replace(vec![object("a", 5, "db")], 7);
    assert_eq!((tier().as_str(), *shared.revision.borrow()), ("db", 7));
}

#[test]
fn a_server_that_is_behind_is_told_from_one_that_is_slow() {
    let error = |cause: &str| {
        let json = serde_json::json!({"kind": "Status", "code": 504, "reason": "Timeout", "details": {"causes": [{"reason": cause}]}});
        Error::Api(Box::new(serde_json::from_value(json).expect("a Status")))
    };
    assert!(error("ResourceVersionTooLarge").is_ahead());
    assert!(!error("Other").is_ahead());
}
