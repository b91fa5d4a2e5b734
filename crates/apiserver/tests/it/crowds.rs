//! Many who watch the same: each is told everything, once and in order, whatever the others do.

use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use gantry_common::task;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::support::Cluster;

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// More than are told one by one.
const WATCHERS: usize = 48;
const OBJECTS: usize = 160;
/// All of them are more than the kernel keeps for a client that does not read.
const OBJECT_BYTES: usize = 48 << 10;

/// One way to send requests one after the other.
enum Sender {
    Http1(hyper::client::conn::http1::SendRequest<Full<Bytes>>),
    Http2(hyper::client::conn::http2::SendRequest<Full<Bytes>>),
}

impl Sender {
    async fn get(&mut self, path: &str) -> Incoming {
        let uri = format!("https://localhost{path}");
        let request = http::Request::get(uri).header("host", "localhost").body(Full::default()).expect("a request");
        let response = match self {
            Self::Http1(sender) => {
                sender.ready().await.expect("the server keeps the connection");
                sender.send_request(request).await
            }
            Self::Http2(sender) => sender.send_request(request).await,
        };
        let response = response.expect("answers");
        assert_eq!(response.status(), 200);
        response.into_body()
    }
}

/// A client that watches until it has seen all objects.
struct Watcher {
    sender: Sender,
    /// More of the query.
    query: &'static str,
    /// Where the next watch starts.
    from: u64,
    seen: Vec<String>,
}

impl Watcher {
    fn new(sender: Sender, query: &'static str, from: u64) -> Self {
        Self { sender, query, from, seen: Vec::new() }
    }

    fn take(&mut self, line: &[u8]) {
        let event: Value = serde_json::from_slice(line).expect("a line of JSON");
        let metadata = &event["object"]["metadata"];
        let revision = metadata["resourceVersion"].as_str().and_then(|text| text.parse().ok()).expect("a version");
        match event["type"].as_str() {
            Some("BOOKMARK") => assert!(revision >= self.from, "a bookmark at {revision} after {}", self.from),
            Some("ADDED") => {
                assert!(revision > self.from, "an event of {revision} after {}", self.from);
                self.seen.push(metadata["name"].as_str().expect("a name").to_owned());
            }
            other => panic!("{other:?}: {event}"),
        }
        self.from = revision;
    }

    /// Watches until the server ends it or everything was seen. `go`: nothing is read before it is true.
    async fn watch(&mut self, go: &mut watch::Receiver<bool>) {
        let path = format!("{MAPS}?watch=true&resourceVersion={}{}", self.from, self.query);
        let mut body = self.sender.get(&path).await;
        go.wait_for(|go| *go).await.expect("the test goes on");
        let mut buffer = Vec::new();
        while self.seen.len() < OBJECTS
            && let Some(frame) = body.frame().await
        {
            buffer.extend_from_slice(frame.expect("a whole body").data_ref().map_or(&[], |data| data));
            while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
                let rest = buffer.split_off(end + 1);
                self.take(&buffer);
                buffer = rest;
            }
        }
    }

    async fn run(mut self, mut go: watch::Receiver<bool>) -> Vec<String> {
        while self.seen.len() < OBJECTS {
            self.watch(&mut go).await;
        }
        self.seen
    }
}

async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let waiting = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap_or_else(|_| panic!("not within 30 s: {what}"));
}

async fn metric(cluster: &Cluster, name: &str) -> usize {
    let text = cluster.rest("GET", "/metrics", &[], "").await.text;
    let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("a metric");
    line.trim().parse().expect("a number")
}

async fn write(cluster: &Cluster, number: usize) {
    let object = json!({"metadata": {"name": format!("m{number:04}")}, "data": {"x": "x".repeat(OBJECT_BYTES)}});
    assert_eq!(cluster.rest("POST", MAPS, &[], &object.to_string()).await.code, 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everybody_hears_everything_once_and_in_order() {
    let cluster = Cluster::start().await;
    let list = cluster.rest("GET", MAPS, &[], "").await.json();
    let from = list["metadata"]["resourceVersion"].as_str().and_then(|text| text.parse().ok()).expect("a version");
    let shared = cluster.http2().await;
    let (read, go) = watch::channel(true);
    let (read_late, go_late) = watch::channel(false);
    let mut watching = Vec::new();
    for number in 0..WATCHERS {
        let (query, go) = match number % 8 {
            // Watches that end, and begin again on the same connection, where the last event or bookmark says.
            0 => ("&timeoutSeconds=1", &go),
            4 => ("&timeoutSeconds=3&allowWatchBookmarks=true", &go),
            // Clients that do not read for a long time.
            1 | 5 => ("", &go_late),
            _ => ("", &go),
        };
        let sender =
            if number % 4 == 2 { Sender::Http2(shared.clone()) } else { Sender::Http1(cluster.connection().await) };
        let watcher = Watcher::new(sender, query, from);
        watching.push(task::spawn("watcher", watcher.run(go.clone())));
    }
    // Some are between two watches.
    let watch = async || metric(&cluster, "gantry_watches ").await > WATCHERS - WATCHERS / 4;
    until("they watch", watch).await;
    write(&cluster, 0).await;
    let seated = async || metric(&cluster, "gantry_watch_seats ").await;
    until("most are told together", async || seated().await > WATCHERS / 2).await;
    assert!(metric(&cluster, "gantry_cache_watchers ").await < WATCHERS, "one subscription for many");
    futures::stream::iter(1..OBJECTS).for_each_concurrent(8, |number| write(&cluster, number)).await;
    read_late.send_replace(true);
    let all: Vec<String> = (0..OBJECTS).map(|number| format!("m{number:04}")).collect();
    for (number, watcher) in watching.into_iter().enumerate() {
        let mut seen = watcher.await.expect("it sees everything");
        seen.sort_unstable();
        assert_eq!(seen, all, "watcher {number}");
    }
    drop((read, shared));
    until("all have left", async || seated().await == 0).await;
}
