//! Logs from a node that dialled out: order, refusal, cancellation.

use bytes::Bytes;
use futures::StreamExt;
use gantry_apiserver::testing::Builder;
use gantry_client::ResourceId;
use gantry_common::tls;
use gantry_proto::v1::ControlReport;
use gantry_proto::v1::session_frame::Frame;
use http_body_util::BodyExt;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_tungstenite::tungstenite::Message;

use crate::exec::{success, websocket};
use crate::node::{Node, PATIENCE, add_pod, frame, with_pod};
use crate::support::{Cluster, send};

async fn open_log(cluster: &Cluster, query: &str) -> http::Response<hyper::body::Incoming> {
    let identity = cluster.server.identity("admin", &["system:masters"]);
    let identity = tls::Identity { cert_pem: identity.cert_pem.into_bytes(), key_pem: identity.key_pem.into_bytes() };
    let path = format!("/api/v1/namespaces/default/pods/p/log?{query}");
    send(&cluster.server, Some(&identity), "GET", &path, &[], "").await
}

#[tokio::test]
async fn a_log_arrives_in_order() {
    let cluster = with_pod().await;
    let mut node = Node::connect(&cluster, "n1").await;
    let serving = async {
        let (session, log) = node.opened_log().await;
        assert_eq!((log.container.as_str(), log.tail_lines, log.follow), ("c", Some(5), true));
        assert!(!log.pod_uid.is_empty());
        let (frames, _back) = node.answer(&session).await;
        for line in ["one\n", "two\n"] {
            frames.send(frame(Frame::Data(Bytes::from(line)))).await.expect("room");
        }
        let success = br#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Success","code":200}"#;
        frames.send(frame(Frame::Status(Bytes::from_static(success)))).await.expect("room");
        frames.closed().await;
    };
    let reading = async {
        let response = open_log(&cluster, "tailLines=5&follow=true").await;
        assert_eq!(response.headers()["content-type"], "text/plain");
        response.into_body().collect().await.expect("a body").to_bytes()
    };
    let ((), text) = tokio::join!(serving, reading);
    assert_eq!(text, "one\ntwo\n");
}

#[tokio::test]
async fn a_log_arrives_over_a_websocket() {
    let cluster = with_pod().await;
    let admin = cluster.identity("admin", &["system:masters"]);
    let mut node = Node::connect(&cluster, "n1").await;
    for (protocol, expected) in [
        ("binary.k8s.io", ["", "one\n", "two\n"].map(|text| Message::Binary(text.into()))),
        ("", ["", "one\n", "two\n"].map(|text| Message::Binary(text.into()))),
        ("base64.binary.k8s.io", ["", "b25lCg==", "dHdvCg=="].map(Message::text)),
    ] {
        let serving = async {
            let (session, _) = node.opened_log().await;
            let (frames, _back) = node.answer(&session).await;
            for line in ["one\n", "two\n"] {
                frames.send(frame(Frame::Data(Bytes::from(line)))).await.expect("room");
            }
            let success = Bytes::from(success().to_string());
            frames.send(frame(Frame::Status(success))).await.expect("room");
            frames.closed().await;
        };
        let reading = async {
            let path = "/api/v1/namespaces/default/pods/p/log?container=c";
            let mut socket = websocket(&cluster, Some(&admin), path, protocol).await.expect("upgraded");
            let mut messages = Vec::new();
            while let Some(Ok(message)) = socket.next().await {
                messages.push(message);
            }
            messages
        };
        let ((), messages) = tokio::join!(serving, reading);
        let (last, text) = messages.split_last().expect("a goodbye");
        assert_eq!(text, expected, "{protocol}");
        assert!(matches!(last, Message::Close(Some(frame)) if frame.code == 1000.into()), "{last:?}");
    }
    let path = "/api/v1/namespaces/default/pods/none/log";
    let (code, _) = websocket(&cluster, Some(&admin), path, "binary.k8s.io").await.expect_err("no such pod");
    assert_eq!(code, 404);
}

#[tokio::test]
async fn a_reader_that_leaves_ends_the_nodes_stream() {
    let cluster = with_pod().await;
    let mut node = Node::connect(&cluster, "n1").await;
    let reading = open_log(&cluster, "follow=true");
    let opening = async {
        let (session, _) = node.opened_log().await;
        node.answer(&session).await
    };
    let (response, (frames, mut back)) = tokio::join!(reading, opening);
    frames.send(frame(Frame::Data(Bytes::from_static(b"line\n")))).await.expect("room");
    drop(response);
    assert!(matches!(back.message().await, Ok(None) | Err(_)), "the node is told that nobody reads");
}

#[tokio::test]
async fn without_a_stream_the_node_is_unavailable() {
    let cluster = with_pod().await;
    let response = open_log(&cluster, "").await;
    assert_eq!(response.status(), 500);
    assert!(!response.headers().contains_key("retry-after"), "clients would try again instead of telling their user");
}

#[tokio::test]
async fn options_of_a_log_are_looked_at_before_its_pod() {
    let cluster = Cluster::start().await;
    let none = async |query: &str| {
        let answer = cluster.rest("GET", &format!("/api/v1/namespaces/default/pods/none/log?{query}"), &[], "").await;
        (answer.code, answer.json()["message"].as_str().unwrap_or_default().to_owned())
    };
    let why = "PodLogOptions \"none\" is invalid: limitBytes: Invalid value: 0: must be greater than 0";
    assert_eq!(none("limitBytes=0").await, (422, why.to_owned()));
    assert_eq!(none("limitBytes=1").await, (404, "pods \"none\" not found".to_owned()));
}

#[tokio::test]
async fn another_node_cannot_answer() {
    let cluster = with_pod().await;
    let mut node = Node::connect(&cluster, "n1").await;
    let thief = Node::connect(&cluster, "n2").await;
    let reading = open_log(&cluster, "");
    let stealing = async {
        let (session, _) = node.opened_log().await;
        let (frames, receiver) = mpsc::channel(1);
        frames.send(frame(Frame::Hello(session.clone()))).await.expect("room");
        let (_, mut nodes) = thief.client.nodes().into_iter().next().expect("a server");
        let refused = nodes.session(ReceiverStream::new(receiver)).await.expect_err("not its session");
        assert_eq!(refused.code(), tonic::Code::PermissionDenied);
        let (frames, _back) = node.answer(&session).await;
        let failure =
            br#"{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"gone","code":400}"#;
        frames.send(frame(Frame::Status(Bytes::from_static(failure)))).await.expect("room");
        frames.closed().await;
    };
    let (response, ()) = tokio::join!(reading, stealing);
    assert_eq!(response.into_body().collect().await.expect("a body").to_bytes(), "gone\n");
}

#[tokio::test]
async fn only_kubelets_open_streams() {
    let cluster = Cluster::start().await;
    let client = cluster.client("alice", &[]);
    let (_reports, receiver) = mpsc::channel::<ControlReport>(1);
    let (_, mut nodes) = client.nodes().into_iter().next().expect("a server");
    let refused = nodes.control(ReceiverStream::new(receiver)).await.expect_err("no kubelet");
    assert_eq!(refused.code(), tonic::Code::PermissionDenied);
}

#[tokio::test]
async fn a_server_that_stops_waits_for_no_stream() {
    let patient = |config: &mut gantry_apiserver::Config| config.shutdown_grace = 2 * PATIENCE;
    let cluster = Cluster::with(Builder::default().configure(patient)).await;
    add_pod(&cluster, "p", |_| {}).await;
    let mut node = Node::connect(&cluster, "n1").await;
    let batch = cluster.admin().batch();
    let missing = gantry_client::Write::Delete {
        resource: ResourceId::new("", "v1", "configmaps"),
        key: gantry_client::Key::new("default", "none"),
        params: gantry_client::DeleteParams::default(),
    };
    batch.submit(missing).await.expect_err("there is none");
    let opening = async {
        let (session, _) = node.opened_log().await;
        node.answer(&session).await
    };
    let (response, (_frames, _back)) = tokio::join!(open_log(&cluster, "follow=true"), opening);
    let Cluster { server, .. } = cluster;
    // Without open streams there is nothing to wait for.
    let stopped = tokio::time::timeout(PATIENCE, server.stop()).await;
    assert!(stopped.is_ok(), "a stream held the server up");
    assert!(response.into_body().collect().await.is_ok(), "the log ends in good order");
}
