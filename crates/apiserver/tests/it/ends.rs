//! Ends come in bounded time, whatever the reader does; and nothing begins before its client is ready.

use std::time::Duration;

use bytes::Bytes;
use gantry_apiserver::testing::Builder;
use gantry_proto::v1::session_frame::Frame;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use crate::backends::{cluster_with_pod, raw, running_pod};
use crate::exec::{EXEC, message, success, websocket};
use crate::node::{Node, PATIENCE, Served, add_pod, with_pod};
use crate::spdy::{open, read_all, upgrade};
use crate::support::{Cluster, connect};
use crate::upgrades::bind_alice;

const LOG: &str = "/api/v1/namespaces/default/pods/p/log?follow=true";
const PROXY: &str = "/api/v1/namespaces/default/pods/p/proxy/";

fn gone() -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "reason": "NotFound", "code": 404,
        "message": "the session has ended because pod \"p\" is gone: it was deleted"})
}

pub(crate) async fn until_closed(cluster: &Cluster, kind: &str) {
    let gauge = format!("gantry_node_sessions{{kind=\"{kind}\"}} 0\n");
    let closed = async { while !cluster.rest("GET", "/metrics", &[], "").await.text.contains(&gauge) {} };
    tokio::time::timeout(PATIENCE, closed).await.expect("the session is closed");
}

/// Whoever does not read loses its session when the node says so past the full stream: its place, and the node's stream.
#[tokio::test]
async fn what_a_node_has_ended_is_not_held_by_its_reader() {
    let cluster = Cluster::with(Builder::default().configure(|config| config.max_sessions_per_user = 1)).await;
    add_pod(&cluster, "p", |_| {}).await;
    let mut node = Node::connect(&cluster, "n1").await;
    cluster.make_mighty("ops").await;
    let admin = cluster.identity("admin", &["ops"]);
    let (socket, (session, served)) =
        tokio::join!(websocket(&cluster, Some(&admin), EXEC, "v5.channel.k8s.io"), node.serve_named());
    let mut socket = socket.expect("upgraded");
    served.fill().await;
    let full = websocket(&cluster, Some(&admin), EXEC, "v5.channel.k8s.io").await.map(drop).expect_err("no place");
    assert_eq!(full.0, 429);
    node.over(&session, &gone()).await;
    served.dropped().await;
    // It is told once it reads.
    let last = loop {
        let (channel, bytes) = message(&mut socket).await;
        if channel == 3 {
            break serde_json::from_slice::<Value>(&bytes).expect("JSON");
        }
    };
    assert_eq!(last["message"], gone()["message"]);
    until_closed(&cluster, "exec").await;
}

#[tokio::test]
async fn a_log_that_nobody_takes_ends_with_its_pod() {
    let cluster = with_pod().await;
    let mut node = Node::connect(&cluster, "n1").await;
    let admin = cluster.identity("admin", &["system:masters"]);
    let mut reader = connect(&cluster.server, Some(&admin)).await;
    let request = format!("GET {LOG} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    reader.write_all(request.as_bytes()).await.expect("sent");
    let (session, served) = node.serve_named().await;
    served.fill().await;
    node.over(&session, &gone()).await;
    served.dropped().await;
    until_closed(&cluster, "log").await;
    drop(reader);
}

/// Another node's word ends nothing.
#[tokio::test]
async fn only_its_own_node_ends_a_session() {
    let cluster = with_pod().await;
    let mut node = Node::connect(&cluster, "n1").await;
    let other = Node::connect(&cluster, "n2").await;
    let admin = cluster.identity("admin", &["system:masters"]);
    let (socket, (session, mut served)) =
        tokio::join!(websocket(&cluster, Some(&admin), EXEC, "v5.channel.k8s.io"), node.serve_named());
    let mut socket = socket.expect("upgraded");
    other.over(&session, &gone()).await;
    other.refuse(&session, &gone()).await;
    served.send(Frame::Data(Bytes::from_static(b"still here"))).await;
    assert_eq!(message(&mut socket).await.0, 1);
    assert_eq!(message(&mut socket).await, (1, Bytes::from_static(b"still here")));
    node.over(&session, &gone()).await;
    assert_eq!(message(&mut socket).await.0, 3);
    served.ended().await;
}

/// A backend that asks for its right, in a request by alice: whether the backend's connection ended.
async fn proxied(answer: &'static [u8]) {
    let (seen, mut events) = mpsc::channel(4);
    let backend = raw(move |mut stream| {
        let seen = seen.clone();
        async move {
            let mut head = [0; 4096];
            drop(stream.read(&mut head).await);
            seen.send("asked").await.expect("the test waits");
            drop(stream.write_all(answer).await);
            let full = vec![b'x'; 1 << 20];
            // An answer that begins goes on without an end.
            while !answer.is_empty() && stream.write_all(&full).await.is_ok() {}
            while matches!(stream.read(&mut head).await, Ok(1..)) {}
            seen.send("left").await.expect("the test waits");
        }
    })
    .await;
    let (cluster, _node, _) = cluster_with_pod(backend).await;
    bind_alice(&cluster).await;
    let alice = cluster.identity("alice", &[]);
    let mut reader = connect(&cluster.server, Some(&alice)).await;
    reader.write_all(format!("GET {PROXY} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).await.expect("sent");
    assert_eq!(events.recv().await, Some("asked"));
    if !answer.is_empty() {
        // What nobody takes comes to a stand.
        assert!(tokio::time::timeout(Duration::from_secs(1), events.recv()).await.is_err());
    }
    let binding = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings/exec";
    assert_eq!(cluster.rest("DELETE", binding, &[], "").await.code, 200);
    let left = tokio::time::timeout(PATIENCE, events.recv()).await.expect("the backend's connection ends");
    assert_eq!(left, Some("left"));
    until_closed(&cluster, "proxy").await;
    if answer.is_empty() {
        let mut head = [0; 4096];
        let read = reader.read(&mut head).await.expect("an answer");
        let head = String::from_utf8_lossy(&head[..read]).into_owned();
        assert!(head.starts_with("HTTP/1.1 403") && head.contains("pods/proxy"), "{head}");
    }
}

#[tokio::test]
async fn a_proxied_request_ends_with_the_right_to_it_before_the_backend_answers() {
    proxied(b"").await;
}

#[tokio::test]
async fn a_proxied_answer_that_nobody_takes_ends_with_the_right_to_it() {
    proxied(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n").await;
}

#[tokio::test]
async fn a_proxied_answer_that_nobody_takes_ends_with_its_pod() {
    let cluster = Cluster::start().await;
    cluster.default_account().await;
    running_pod(&cluster, "p", "10.244.1.7").await;
    let mut node = Node::connect(&cluster, "n1").await;
    let admin = cluster.identity("admin", &["system:masters"]);
    let mut reader = connect(&cluster.server, Some(&admin)).await;
    reader.write_all(format!("GET {PROXY} HTTP/1.1\r\nHost: localhost\r\n\r\n").as_bytes()).await.expect("sent");
    let (session, mut served) = node.serve_named().await;
    assert!(matches!(served.next().await, Some(Frame::Data(head)) if head.starts_with(b"GET / ")));
    served.send(Frame::Data(Bytes::from_static(b"HTTP/1.1 200 OK\r\n\r\n"))).await;
    served.fill().await;
    node.over(&session, &gone()).await;
    served.dropped().await;
    until_closed(&cluster, "proxy").await;
    drop(reader);
}

#[tokio::test]
async fn a_proxied_answer_that_breaks_off_is_no_whole_one() {
    let backend = raw(|mut stream| async move {
        let mut head = [0; 4096];
        drop(stream.read(&mut head).await);
        let half = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n";
        drop(stream.write_all(half).await);
    })
    .await;
    let (cluster, _node, _) = cluster_with_pod(backend).await;
    let admin = cluster.identity("admin", &["system:masters"]);
    let mut reader = connect(&cluster.server, Some(&admin)).await;
    let request = format!("GET {PROXY} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    reader.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    drop(reader.read_to_end(&mut answer).await);
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.contains("half") && !answer.contains("\r\n0\r\n"), "{answer}");
}

/// A SPDY client with an error stream and no more, of alice.
async fn half_open(
    cluster: &Cluster,
    node: &mut Node,
) -> (gantry_spdy::Connection, gantry_spdy::Stream, String, Served) {
    bind_alice(cluster).await;
    let alice = cluster.identity("alice", &[]);
    let (upgraded, (session, served)) =
        tokio::join!(upgrade(cluster, &alice, "POST", EXEC, &["v4.channel.k8s.io"]), node.serve_named());
    assert!(node.deferred, "the node waits for the client's streams");
    let (connection, _) = upgraded.expect("upgraded");
    let error = open(&connection, &[("streamtype", "error")]).await;
    (connection, error, session, served)
}

#[tokio::test]
async fn a_command_over_spdy_starts_when_its_streams_are_there() {
    let cluster = with_pod().await;
    let mut node = Node::connect(&cluster, "n1").await;
    let (connection, _error, _, mut served) = half_open(&cluster, &mut node).await;
    let stream = async |name: &str| open(&connection, &[("streamtype", name)]).await;
    let (_stdout, stdin) = (stream("stdout").await, stream("stdin").await);
    stdin.write(Bytes::from_static(b"early")).await.expect("written");
    assert!(
        tokio::time::timeout(Duration::from_millis(500), served.back.message()).await.is_err(),
        "one stream is missing"
    );
    let _stderr = stream("stderr").await;
    assert!(matches!(served.next().await, Some(Frame::Start(_))));
    assert_eq!(served.next().await, Some(Frame::Data(Bytes::from_static(b"early"))));
    let admin = cluster.identity("admin", &["system:masters"]);
    let (socket, (_, other)) =
        tokio::join!(websocket(&cluster, Some(&admin), EXEC, "v5.channel.k8s.io"), node.serve_named());
    drop(socket.expect("upgraded"));
    assert!(!node.deferred, "a WebSocket is its own stream");
    drop(other);
    served.finish(success()).await;
}

#[tokio::test]
async fn a_right_is_watched_while_streams_are_opened() {
    let cluster = with_pod().await;
    let mut node = Node::connect(&cluster, "n1").await;
    let (_connection, mut error, _, mut served) = half_open(&cluster, &mut node).await;
    let binding = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings/exec";
    assert_eq!(cluster.rest("DELETE", binding, &[], "").await.code, 200);
    let status: Value = serde_json::from_str(&read_all(&mut error).await).expect("JSON");
    assert_eq!((&status["code"], &status["reason"]), (&json!(403), &json!("Forbidden")));
    assert_eq!(served.next().await, None, "it never started");
    until_closed(&cluster, "exec").await;
}

#[tokio::test]
async fn a_session_that_its_node_ends_before_it_starts_is_refused() {
    let cluster = with_pod().await;
    let mut node = Node::connect(&cluster, "n1").await;
    let (_connection, mut error, session, served) = half_open(&cluster, &mut node).await;
    node.over(&session, &gone()).await;
    let status: Value = serde_json::from_str(&read_all(&mut error).await).expect("JSON");
    assert_eq!(status["message"], gone()["message"]);
    served.dropped().await;
    until_closed(&cluster, "exec").await;
}

/// Each port of a port-forward is named as soon as it is used, and all at the end.
#[tokio::test]
async fn the_ports_of_a_port_forward_are_audited() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("audit.log");
    let log = path.clone();
    let cluster = Cluster::with(Builder::default().configure(move |config| config.audit_log_path = Some(log))).await;
    add_pod(&cluster, "p", |_| {}).await;
    let mut node = Node::connect(&cluster, "n1").await;
    let admin = cluster.identity("admin", &["system:masters"]);
    let forward = "/api/v1/namespaces/default/pods/p/portforward";
    let (spdy, _) = upgrade(&cluster, &admin, "POST", forward, &["portforward.k8s.io"]).await.expect("upgraded");
    let mut kept = Vec::new();
    for (request, port) in ["80", "81", "80", "443"].iter().enumerate() {
        let request = request.to_string();
        let label = |kind| [("streamtype", kind), ("port", *port), ("requestid", request.as_str())];
        let streams = (open(&spdy, &label("error")).await, open(&spdy, &label("data")).await);
        kept.push((streams, node.serve_named().await));
    }
    let events = || -> Vec<Value> {
        let text = std::fs::read_to_string(&path).expect("written");
        let all = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        all.filter(|event| event["objectRef"]["subresource"] == "portforward").collect()
    };
    let named = |events: &[Value]| -> Vec<String> {
        let ports = events.iter().filter_map(|event| event["annotations"]["gantry.dev/port"].as_str());
        ports.map(str::to_owned).collect()
    };
    assert_eq!(named(&events()), ["80", "81", "443"], "while it goes on");
    drop((kept, spdy));
    until_closed(&cluster, "port_forward").await;
    let events = events();
    let last = events.last().expect("its end");
    assert_eq!(
        (&last["stage"], &last["annotations"]["gantry.dev/ports"]),
        (&json!("ResponseComplete"), &json!("80-81,443"))
    );
    assert!(events.iter().all(|event| event["auditID"] == last["auditID"]), "one session");
}
