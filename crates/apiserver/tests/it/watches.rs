//! WATCH over REST: initial events, selectors, expiry, the forms of its events.

use bytes::Buf;
use gantry_common::tls;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::support::{Cluster, configmap, send};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// An open watch.
struct Lines {
    body: hyper::body::Incoming,
    buffer: Vec<u8>,
}

impl Lines {
    async fn open(cluster: &Cluster, query: &str, accept: &str) -> Self {
        let identity = cluster.server.identity("admin", &["system:masters"]);
        let identity =
            tls::Identity { cert_pem: identity.cert_pem.into_bytes(), key_pem: identity.key_pem.into_bytes() };
        let path = format!("{MAPS}?watch=true&{query}");
        let response = send(&cluster.server, Some(&identity), "GET", &path, &[("accept", accept)], "").await;
        assert_eq!(response.status(), 200);
        Self { body: response.into_body(), buffer: Vec::new() }
    }

    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(end) = self.buffer.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.buffer.drain(..=end).collect();
                return Some(serde_json::from_slice(&line).expect("a line of JSON"));
            }
            let frame = self.body.frame().await?.expect("a whole body");
            let mut data = frame.into_data().expect("data");
            while data.has_remaining() {
                let chunk = data.chunk().to_vec();
                self.buffer.extend(&chunk);
                data.advance(chunk.len());
            }
        }
    }

    async fn brief(&mut self) -> (String, String) {
        let event = self.next().await.expect("an event");
        let name = event["object"]["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        (event["type"].as_str().unwrap_or_default().to_owned(), name)
    }
}

fn is(event: (String, String), kind: &str, name: &str) {
    assert_eq!(event, (kind.to_owned(), name.to_owned()));
}

async fn version(cluster: &Cluster) -> String {
    let list = cluster.rest("GET", MAPS, &[], "").await.json();
    list["metadata"]["resourceVersion"].as_str().expect("a version").to_owned()
}

#[tokio::test]
async fn events_follow_a_version() {
    let cluster = Cluster::start().await;
    let from = version(&cluster).await;
    cluster.rest("POST", MAPS, &[], &configmap("a", "1").to_string()).await;
    let mut watch = Lines::open(&cluster, &format!("resourceVersion={from}"), "").await;
    is(watch.brief().await, "ADDED", "a");
    cluster.rest("DELETE", &format!("{MAPS}/a"), &[], "").await;
    let gone = watch.next().await.expect("an event");
    assert_eq!(gone["type"], "DELETED");
    let deleted: u64 =
        gone["object"]["metadata"]["resourceVersion"].as_str().and_then(|v| v.parse().ok()).expect("a version");
    assert!(deleted > from.parse().expect("a number"));
}

#[tokio::test]
async fn a_selection_has_its_own_story() {
    let cluster = Cluster::start().await;
    let from = version(&cluster).await;
    let mut watch = Lines::open(&cluster, &format!("resourceVersion={from}&labelSelector=a%3Db"), "").await;
    cluster.rest("POST", MAPS, &[], &configmap("x", "1").to_string()).await;
    let patch = async |labels: Value| {
        let body = json!({"metadata": {"labels": labels}}).to_string();
        cluster.rest("PATCH", &format!("{MAPS}/x"), &[("content-type", "application/merge-patch+json")], &body).await;
    };
    patch(json!({"a": "b"})).await;
    is(watch.brief().await, "ADDED", "x");
    patch(json!({"c": "d"})).await;
    is(watch.brief().await, "MODIFIED", "x");
    patch(json!({"a": null})).await;
    is(watch.brief().await, "DELETED", "x");
}

#[tokio::test]
async fn initial_events_end_with_a_bookmark() {
    let cluster = Cluster::start().await;
    cluster.rest("POST", MAPS, &[], &configmap("a", "1").to_string()).await;
    let query = "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
    let mut watch = Lines::open(&cluster, query, "").await;
    is(watch.brief().await, "ADDED", "a");
    let end = watch.next().await.expect("a bookmark");
    assert_eq!(end["type"], "BOOKMARK");
    assert_eq!(end["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!(end["object"]["kind"], "ConfigMap");
    cluster.rest("POST", MAPS, &[], &configmap("b", "1").to_string()).await;
    is(watch.brief().await, "ADDED", "b");
    // What is there is streamed as objects only: whoever also takes those gets them.
    let path = format!("{MAPS}?watch=true&timeoutSeconds=1&{query}");
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    for (accept, expected) in [
        (table.to_owned(), (406, "application/json")),
        (format!("{table},application/json"), (200, "application/json")),
        (
            format!("{table},application/vnd.kubernetes.protobuf"),
            (200, "application/vnd.kubernetes.protobuf;stream=watch"),
        ),
    ] {
        let answer = cluster.rest("GET", &path, &[("accept", &accept)], "").await;
        let content_type = answer.headers["content-type"].to_str().unwrap_or_default();
        assert_eq!((answer.code, content_type), expected, "{accept}");
    }
    let bad = cluster.rest("GET", &format!("{MAPS}?watch=true&sendInitialEvents=true"), &[], "").await;
    assert_eq!(bad.code, 422);
    let bad = cluster.rest("GET", &format!("{MAPS}?sendInitialEvents=true"), &[], "").await;
    assert_eq!(bad.code, 422);
}

#[tokio::test]
async fn a_start_in_the_future_is_waited_for() {
    let cluster = Cluster::start().await;
    let start: u64 = version(&cluster).await.parse().expect("a number");
    let start = start + 5;
    let mut watch = Lines::open(&cluster, &format!("resourceVersion={start}"), "").await;
    let mut number = 0;
    let later = loop {
        let name = format!("map-{number}");
        let created = cluster.rest("POST", MAPS, &[], &configmap(&name, "1").to_string()).await.json();
        let at: u64 = created["metadata"]["resourceVersion"].as_str().and_then(|v| v.parse().ok()).expect("a version");
        if at > start {
            break name;
        }
        number += 1;
    };
    assert!(number > 0, "nothing was written before the start");
    is(watch.brief().await, "ADDED", &later);
}

#[tokio::test]
async fn initial_events_of_a_future_state_fail_as_an_event() {
    let cluster = Cluster::start().await;
    let start: u64 = version(&cluster).await.parse().expect("a number");
    let start = start + 1_000_000;
    let query = format!("sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion={start}");
    let mut watch = Lines::open(&cluster, &query, "").await;
    let event = watch.next().await.expect("an event");
    assert_eq!((event["type"].as_str(), event["object"]["code"].as_i64()), (Some("ERROR"), Some(504)), "{event}");
    assert_eq!(event["object"]["details"]["causes"][0]["reason"], "ResourceVersionTooLarge");
    assert_eq!(watch.next().await, None);
}

#[tokio::test]
async fn bookmarks_tell_an_idle_watch_how_far_it_is() {
    let cluster = Cluster::start().await;
    let from = version(&cluster).await;
    let query = format!("resourceVersion={from}&labelSelector=a%3Db&allowWatchBookmarks=true&timeoutSeconds=3");
    // Before the watch, however long it takes: the bookmark comes at its time.
    let other = cluster.rest("POST", MAPS, &[], &configmap("other", "1").to_string()).await.json();
    let mut watch = Lines::open(&cluster, &query, "").await;
    let number = |object: &Value| -> u64 {
        object["metadata"]["resourceVersion"].as_str().and_then(|v| v.parse().ok()).expect("a version")
    };
    // Every minute, and once more two seconds before the end.
    let mark = watch.next().await.expect("a bookmark");
    assert_eq!((mark["type"].as_str(), mark["object"]["kind"].as_str()), (Some("BOOKMARK"), Some("ConfigMap")));
    assert!(number(&mark["object"]) >= number(&other), "{mark}");
    assert!(mark["object"]["metadata"].get("annotations").is_none(), "{mark}");
    assert_eq!(watch.next().await, None);
}

#[tokio::test]
async fn a_timeout_ends_in_good_order() {
    let cluster = Cluster::start().await;
    let from = version(&cluster).await;
    let mut watch = Lines::open(&cluster, &format!("resourceVersion={from}&timeoutSeconds=1"), "").await;
    assert_eq!(watch.next().await, None);
}

#[tokio::test]
async fn tables_name_their_columns_once() {
    let cluster = Cluster::start().await;
    let from = version(&cluster).await;
    let accept = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let mut watch = Lines::open(&cluster, &format!("resourceVersion={from}"), accept).await;
    cluster.rest("POST", MAPS, &[], &configmap("a", "1").to_string()).await;
    cluster.rest("POST", MAPS, &[], &configmap("b", "1").to_string()).await;
    let columns = |event: &Value| event["object"]["columnDefinitions"].as_array().map_or(0, Vec::len);
    let first = watch.next().await.expect("an event");
    assert_eq!((columns(&first), first["object"]["rows"][0]["cells"][0].as_str()), (3, Some("a")));
    let second = watch.next().await.expect("an event");
    assert_eq!((columns(&second), second["object"]["rows"][0]["cells"][0].as_str()), (0, Some("b")));
}

#[tokio::test]
async fn stopping_the_server_ends_watches() {
    let cluster = Cluster::start().await;
    let from = version(&cluster).await;
    let mut watch = Lines::open(&cluster, &format!("resourceVersion={from}"), "").await;
    let Cluster { server, .. } = cluster;
    server.stop().await;
    assert_eq!(watch.next().await, None);
}

#[tokio::test]
async fn a_bookmark_comes_before_the_end() {
    let cluster = Cluster::start().await;
    let from = version(&cluster).await;
    let query = format!("resourceVersion={from}&timeoutSeconds=3&allowWatchBookmarks=true");
    let other = "/api/v1/namespaces/default/secrets";
    let made = cluster.rest("POST", other, &[], &json!({"metadata": {"name": "s"}}).to_string()).await.json();
    let mut watch = Lines::open(&cluster, &query, "").await;
    let bookmark = watch.next().await.expect("a bookmark");
    assert_eq!(bookmark["type"], "BOOKMARK");
    let number = |object: &Value| object["metadata"]["resourceVersion"].as_str().and_then(|v| v.parse::<u64>().ok());
    assert!(number(&bookmark["object"]) >= number(&made), "a bookmark moves on with other kinds' writes");
    assert_eq!(watch.next().await, None);
}
