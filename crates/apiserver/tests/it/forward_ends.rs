//! A port-forward ends with its pod and with the right to it, also while no connection is open in it.

use bytes::Bytes;
use gantry_apiserver::testing::Builder;
use gantry_common::task;
use gantry_proto::v1::open_session::Kind;
use gantry_proto::v1::session_frame::Frame;
use gantry_proto::v1::{OpenSession, PortForwardRequest, SessionFrame};
use gantry_spdy::Connection;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::ends::until_closed;
use crate::exec::websocket;
use crate::forward::{FORWARD, Tunnel, connection};
use crate::node::{Node, PATIENCE, add_pod, frame, with_pod};
use crate::spdy::{read_all, upgrade};
use crate::support::Cluster;

const POD: &str = "/api/v1/namespaces/default/pods/p";
const BINDING: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings/forward";

/// Where each user may have so many sessions.
async fn cluster(places: usize) -> Cluster {
    let cluster =
        Cluster::with(Builder::default().configure(move |config| config.max_sessions_per_user = places)).await;
    add_pod(&cluster, "p", |_| {}).await;
    cluster
}

async fn delete(cluster: &Cluster) {
    let gone = cluster.rest("DELETE", &format!("{POD}?gracePeriodSeconds=0"), &[], "").await;
    assert_eq!(gone.code, 200, "{}", gone.text);
}

async fn replace(cluster: &Cluster) {
    delete(cluster).await;
    add_pod(cluster, "p", |_| {}).await;
}

async fn end(cluster: &Cluster) {
    let patch = json!({"status": {"phase": "Succeeded"}}).to_string();
    let path = format!("{POD}/status");
    let kind = [("content-type", "application/merge-patch+json")];
    assert_eq!(cluster.rest("PATCH", &path, &kind, &patch).await.code, 200);
}

/// Lets alice forward ports.
async fn bind(cluster: &Cluster) {
    let rule = json!({"metadata": {"name": "forward"}, "rules": [
        {"verbs": ["get", "create"], "apiGroups": [""], "resources": ["pods/portforward"]}]});
    let binding = json!({"metadata": {"name": "forward"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "forward"},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "alice"}]});
    let base = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    // It may be there from before.
    cluster.rest("POST", &format!("{base}/roles"), &[], &rule.to_string()).await;
    assert_eq!(cluster.rest("POST", &format!("{base}/rolebindings"), &[], &binding.to_string()).await.code, 201);
    let review = json!({"spec": {"user": "alice", "resourceAttributes":
        {"verb": "create", "resource": "pods", "subresource": "portforward", "namespace": "default", "name": "p"}}});
    let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    // The index follows by a watch.
    while cluster.rest("POST", path, &[], &review.to_string()).await.json()["status"]["allowed"] != json!(true) {}
}

async fn over_spdy(cluster: &Cluster) -> Connection {
    let alice = cluster.identity("alice", &[]);
    upgrade(cluster, &alice, "POST", FORWARD, &["portforward.k8s.io"]).await.expect("upgraded").0
}

async fn in_a_tunnel(cluster: &Cluster) -> Connection {
    let alice = cluster.identity("alice", &[]);
    let socket = websocket(cluster, Some(&alice), FORWARD, "SPDY/3.1+portforward.k8s.io").await.expect("upgraded");
    let (connection, driver) = gantry_spdy::client(Tunnel(socket, Bytes::new()));
    drop(task::spawn("spdy-client", driver.run()));
    connection
}

/// Waits until the server has closed the connection, and has forgotten it.
async fn closed(cluster: &Cluster, mut spdy: Connection) {
    let end = async { while spdy.accept().await.is_some() {} };
    tokio::time::timeout(PATIENCE, end).await.expect("the connection is closed");
    until_closed(cluster, "port_forward").await;
}

#[tokio::test]
async fn a_port_forward_that_nobody_uses_ends_with_its_pod() {
    let cluster = cluster(1).await;
    bind(&cluster).await;
    let _node = Node::connect(&cluster, "n1").await;
    let spdy = over_spdy(&cluster).await;
    delete(&cluster).await;
    closed(&cluster, spdy).await;
    // Its place is free: there is one.
    add_pod(&cluster, "p", |_| {}).await;
    let tunnel = in_a_tunnel(&cluster).await;
    replace(&cluster).await;
    closed(&cluster, tunnel).await;
    let spdy = over_spdy(&cluster).await;
    end(&cluster).await;
    closed(&cluster, spdy).await;
}

#[tokio::test]
async fn a_port_forward_that_nobody_uses_ends_with_the_right_to_it() {
    let cluster = cluster(1).await;
    bind(&cluster).await;
    let _node = Node::connect(&cluster, "n1").await;
    let spdy = over_spdy(&cluster).await;
    assert_eq!(cluster.rest("DELETE", BINDING, &[], "").await.code, 200);
    closed(&cluster, spdy).await;
    let refused = upgrade(&cluster, &cluster.identity("alice", &[]), "POST", FORWARD, &["portforward.k8s.io"]).await;
    let refused = refused.map(drop).expect_err("no right, and no place is taken");
    assert!(refused.starts_with("HTTP/1.1 403"), "{refused}");
}

#[tokio::test]
async fn a_pod_that_is_being_deleted_can_be_used_to_its_end() {
    let cluster = with_pod().await;
    let mut node = Node::connect(&cluster, "n1").await;
    let admin = cluster.identity("admin", &["system:masters"]);
    let (spdy, _) = upgrade(&cluster, &admin, "POST", FORWARD, &["portforward.k8s.io"]).await.expect("upgraded");
    assert_eq!(cluster.rest("DELETE", POD, &[], "").await.code, 200);
    let ((mut data, mut error), (session, served)) = tokio::join!(connection(&spdy, "80", "0"), node.serve_named());
    served.send(Frame::Data(Bytes::from_static(b"still"))).await;
    assert_eq!(data.read().await, Some(Bytes::from_static(b"still")));
    delete(&cluster).await;
    // What is on its way arrives; the node says when nothing is.
    served.send(Frame::Data(Bytes::from_static(b"last"))).await;
    assert_eq!(data.read().await, Some(Bytes::from_static(b"last")));
    let gone = json!({"metadata": {}, "status": "Failure", "message": "the pod is gone", "code": 404});
    node.over(&session, &gone).await;
    assert_eq!(read_all(&mut error).await, "error forwarding port 80 to pod p: the pod is gone");
    drop((data, error));
    closed(&cluster, spdy).await;
}

/// Neither the node nor the client does anything.
#[tokio::test]
async fn a_port_forward_that_is_stuck_ends_with_its_pod() {
    let cluster = cluster(2).await;
    bind(&cluster).await;
    let mut node = Node::connect(&cluster, "n1").await;
    let alice = cluster.identity("alice", &[]);
    let path = format!("{FORWARD}?ports=80");
    let (socket, (_, served)) =
        tokio::join!(websocket(&cluster, Some(&alice), &path, "v4.channel.k8s.io"), node.serve());
    let socket = socket.expect("upgraded");
    served.fill().await;
    delete(&cluster).await;
    served.dropped().await;
    until_closed(&cluster, "port_forward").await;
    drop(socket);
}

type Answers = tonic::Streaming<SessionFrame>;

/// The port-forward as such, over gRPC.
async fn hold(cluster: &Cluster, uid: &str) -> Result<(mpsc::Sender<SessionFrame>, Answers), tonic::Status> {
    let request =
        PortForwardRequest { namespace: "default".to_owned(), pod: "p".to_owned(), pod_uid: uid.to_owned(), port: 0 };
    let (frames, receiver) = mpsc::channel(1);
    let open = OpenSession { kind: Some(Kind::PortForward(request)), ..OpenSession::default() };
    frames.send(frame(Frame::Open(open))).await.expect("room");
    let mut sessions = cluster.client("alice", &[]).sessions();
    let mut answers = sessions.open(ReceiverStream::new(receiver)).await?.into_inner();
    let hello = answers.message().await?.and_then(|f| f.frame);
    assert!(matches!(hello, Some(Frame::Hello(_))), "{hello:?}");
    Ok((frames, answers))
}

async fn last_word(answers: &mut Answers) -> Value {
    let frame = tokio::time::timeout(PATIENCE, answers.message()).await.expect("in time").expect("alive");
    let Some(Frame::Status(status)) = frame.and_then(|f| f.frame) else { panic!("a status") };
    serde_json::from_slice(&status).expect("JSON")
}

#[tokio::test]
async fn a_port_forward_as_such_says_when_nothing_can_be_forwarded() {
    let cluster = cluster(2).await;
    bind(&cluster).await;
    let unreachable = hold(&cluster, "").await.map(drop).expect_err("no node");
    assert_eq!(unreachable.code(), tonic::Code::Unavailable);
    let mut node = Node::connect(&cluster, "n1").await;
    let uid = cluster.rest("GET", POD, &[], "").await.json()["metadata"]["uid"].as_str().expect("a UID").to_owned();
    let other = hold(&cluster, "another").await.map(drop).expect_err("no such pod");
    assert_eq!((other.code(), other.message()), (tonic::Code::NotFound, "pods \"p\" not found"));
    let (frames, mut answers) = hold(&cluster, &uid).await.expect("held");
    let second = hold(&cluster, &uid).await.expect("held");
    let full = hold(&cluster, &uid).await.map(drop).expect_err("two sessions each");
    assert_eq!(full.code(), tonic::Code::ResourceExhausted);
    drop(second);
    delete(&cluster).await;
    let why = "the session has ended because pod \"p\" is gone: it was deleted";
    let said = last_word(&mut answers).await;
    assert_eq!((&said["code"], &said["reason"], &said["message"]), (&json!(404), &json!("NotFound"), &json!(why)));
    until_closed(&cluster, "port_forward").await;
    drop(frames);

    add_pod(&cluster, "p", |_| {}).await;
    let (_frames, mut answers) = hold(&cluster, "").await.expect("held");
    assert_eq!(cluster.rest("DELETE", BINDING, &[], "").await.code, 200);
    let said = last_word(&mut answers).await;
    assert_eq!((&said["code"], &said["reason"]), (&json!(403), &json!("Forbidden")));
    until_closed(&cluster, "port_forward").await;

    // Whoever leaves frees the place.
    bind(&cluster).await;
    drop(hold(&cluster, "").await.expect("held"));
    until_closed(&cluster, "port_forward").await;
    // The first that the node hears of is a connection.
    let spdy = over_spdy(&cluster).await;
    let (_streams, (_, kind)) = tokio::join!(connection(&spdy, "80", "0"), node.opened());
    assert!(matches!(kind, Kind::PortForward(request) if request.port == 80));
}
