//! Reads of every kind: pages at one revision, selections, forms, and the story that a watch tells of a selection.

use serde_json::{Value, json};

use crate::client::Client;
use crate::subject::{Subject, stored, world};
use crate::support::Cluster;

const TABLE: &str = "application/json;as=Table;g=meta.k8s.io;v=v1";
const PARTIAL: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
const PARTIAL_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

/// The value of a label that only this kind's objects have: two forms of one kind share a store.
fn mine(subject: &Subject<'_>) -> String {
    let group = subject.kind.group.split('.').next().unwrap_or_default();
    format!("x{group}-{}-{}", subject.kind.version, subject.kind.kind)
}

/// Selects by it.
fn selector(subject: &Subject<'_>) -> String {
    format!("labelSelector=example.com%2Fmine%3D{}", mine(subject))
}

async fn three(subject: &Subject<'_>) -> Vec<String> {
    for turn in 0..3 {
        let mut object = subject.free(turn);
        object["metadata"]["labels"]["example.com/mine"] = mine(subject).into();
        let made = subject.expect(201, "POST", "", &object).await;
        subject.settled(turn, made).await;
    }
    let mut names: Vec<String> = (0..3).map(|turn| subject.name(turn)).collect();
    names.sort();
    names
}

fn names(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().map_or(&[][..], Vec::as_slice);
    items.iter().filter_map(|i| i["metadata"]["name"].as_str()).collect()
}

async fn pages(subject: &Subject<'_>, all: &[String]) {
    let says = subject.says();
    let mine = selector(subject);
    let get = async |query: &str| subject.expect(200, "GET", query, &Value::Null).await;
    let whole = get(&format!("?{mine}")).await;
    assert_eq!(
        (names(&whole), whole["kind"].as_str()),
        (all.iter().map(String::as_str).collect(), Some(&*subject.kind.list_kind()))
    );
    let first = get(&format!("?{mine}&limit=2")).await;
    assert_eq!(names(&first), all[..2], "{says}");
    let token = first["metadata"]["continue"].as_str().unwrap_or_else(|| panic!("{says}: more to come"));
    subject.merge(2, "", &json!({"metadata": {"annotations": {"example.com/later": "1"}}})).await;
    let rest = get(&format!("?{mine}&limit=2&continue={token}")).await;
    assert_eq!(names(&rest), all[2..], "{says}");
    assert_eq!(rest["metadata"]["resourceVersion"], first["metadata"]["resourceVersion"], "{says}: one state");
    assert_eq!(rest["items"][0]["metadata"]["annotations"].get("example.com/later"), None, "{says}: one state");
    assert!(rest["metadata"].get("continue").is_none(), "{says}");
    let exact = format!(
        "?{mine}&resourceVersionMatch=Exact&resourceVersion={}",
        first["metadata"]["resourceVersion"].as_str().expect("one")
    );
    assert_eq!(get(&exact).await["items"], whole["items"], "{says}: what was there at that revision");
    let fields = format!("?{mine}&fieldSelector=metadata.name!%3D{}", all[1]);
    assert_eq!(names(&get(&fields).await), [&all[0], &all[2]], "{says}");
    let unknown = subject.expect(400, "GET", "?fieldSelector=spec.nonsense%3Dx", &Value::Null).await;
    assert!(unknown["message"].as_str().is_some_and(|m| m.contains("spec.nonsense")), "{says}: {unknown}");
}

async fn forms(subject: &Subject<'_>, all: &[String]) {
    let mine = selector(subject);
    let says = subject.says();
    let table = subject.ask("GET", &format!("?{mine}"), &[("accept", TABLE)], "").await.json();
    let columns = table["columnDefinitions"].as_array().map_or(0, Vec::len);
    let rows = table["rows"].as_array().map_or(&[][..], Vec::as_slice);
    assert_eq!((table["kind"].as_str(), rows.len()), (Some("Table"), 3), "{says}");
    assert!(
        rows.iter().all(|r| r["cells"].as_array().map(Vec::len) == Some(columns)),
        "{says}: a cell for each column"
    );
    let partial = subject.ask("GET", &format!("?{mine}"), &[("accept", PARTIAL_LIST)], "").await.json();
    assert_eq!(
        (partial["kind"].as_str(), names(&partial)),
        (Some("PartialObjectMetadataList"), all.iter().map(String::as_str).collect()),
        "{says}"
    );
    let only = |item: &Value| {
        item.as_object().is_some_and(|o| o.keys().all(|k| ["apiVersion", "kind", "metadata"].contains(&k.as_str())))
    };
    assert!(partial["items"].as_array().is_some_and(|all| all.iter().all(only)), "{says}: metadata alone");
    let one = subject.ask("GET", &format!("/{}", all[0]), &[("accept", "application/yaml")], "").await;
    let yaml: Value = serde_saphyr::from_str(&one.text).expect("YAML");
    assert_eq!(yaml, subject.expect(200, "GET", &format!("/{}", all[0]), &Value::Null).await, "{says}");
}

#[tokio::test]
async fn lists_of_every_kind_show_one_state_in_every_form() {
    let cluster = world().await;
    let client = Client::admin(&cluster).await;
    for kind in stored() {
        let subject = Subject::new(kind, &client);
        let all = three(&subject).await;
        pages(&subject, &all).await;
        forms(&subject, &all).await;
    }
}

/// What a watch says between a revision and now, as type, name and kind; it ends after a second.
async fn story(subject: &Subject<'_>, from: &str, query: &str, accept: &str) -> Vec<(String, String, String)> {
    let path = format!("?watch=true&timeoutSeconds=1&resourceVersion={from}&{query}");
    let answer = subject.ask("GET", &path, &[("accept", accept)], "").await;
    let event = |line: &str| {
        let event: Value = serde_json::from_str(line).expect("a line of JSON");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&event["type"]), text(&event["object"]["metadata"]["name"]), text(&event["object"]["kind"]))
    };
    answer.text.lines().map(event).collect()
}

async fn change(subject: &Subject<'_>) -> String {
    let mut from = subject.revision().await;
    let made = subject.create(0).await;
    if subject.is_acted_upon() {
        // What the server says of it is no part of the story.
        made["metadata"]["resourceVersion"].as_str().expect("a version").clone_into(&mut from);
    }
    let label = async |value: Value| {
        subject.merge(0, "", &json!({"metadata": {"labels": {"example.com/mine": value}}})).await;
    };
    label(mine(subject).into()).await;
    label("no".into()).await;
    label(mine(subject).into()).await;
    subject.merge(0, "", &json!({"metadata": {"annotations": {"example.com/x": "1"}}})).await;
    subject.expect(200, "DELETE", &format!("/{}?gracePeriodSeconds=0", subject.name(0)), &Value::Null).await;
    if subject.is_acted_upon() {
        subject.gone(0).await;
    }
    from
}

/// Watches every kind: they all wait at the same time.
pub(crate) async fn watch(cluster: &Cluster) {
    let kinds: Vec<_> = stored().collect();
    let tell = async |kind| {
        let client = Client::admin(cluster).await;
        let subject = Subject::new(kind, &client);
        let from = change(&subject).await;
        let end = if subject.kind.kind == "Namespace" { "MODIFIED" } else { "DELETED" };
        let types = |story: &[(String, String, String)]| {
            let mut types: Vec<String> = story.iter().map(|e| e.0.clone()).collect();
            if subject.is_acted_upon() {
                // How often the server writes until the object goes does not matter.
                types.dedup();
            }
            types
        };
        let mine = story(&subject, &from, &selector(&subject), "").await;
        assert_eq!(types(&mine), ["ADDED", "DELETED", "ADDED", "MODIFIED", end], "{}", subject.says());
        assert!(
            mine.iter().all(|e| e.1 == subject.name(0) && e.2 == subject.kind.kind),
            "{}: {mine:?}",
            subject.says()
        );
        let named = format!("fieldSelector=metadata.name%3D{}", subject.name(0));
        let partial = story(&subject, &from, &named, PARTIAL).await;
        let all = ["ADDED", "MODIFIED", "MODIFIED", "MODIFIED", "MODIFIED", end];
        let all = if subject.is_acted_upon() { &all[4..] } else { &all[..] };
        assert_eq!(types(&partial), all, "{}", subject.says());
        assert!(partial.iter().all(|e| e.2 == "PartialObjectMetadata"), "{}: {partial:?}", subject.says());
        let others = story(&subject, &from, "fieldSelector=metadata.name%3Dother", "").await;
        assert_eq!(others, [], "{}", subject.says());
    };
    futures::future::join_all(kinds.into_iter().map(tell)).await;
}

#[tokio::test]
async fn watches_of_every_kind_tell_what_enters_and_leaves_a_selection() {
    watch(&world().await).await;
}
