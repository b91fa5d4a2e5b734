//! Attacks on upgrades: what a client, a node or a lost right must not be able to do.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use gantry_apiserver::testing::Builder;
use gantry_common::clock::Manual;
use gantry_common::tls;
use gantry_proto::v1::open_session::Kind;
use gantry_proto::v1::session_frame::Frame;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::exec::{EXEC, message, success, websocket};
use crate::node::{Node, add_pod, frame, with_pod};
use crate::support::{Cluster, connect};

const V5: &str = "v5.channel.k8s.io";

fn upgrade(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Sec-WebSocket-Protocol: {V5}\r\n\r\n"
    )
}

/// A masked frame with `data` on standard input.
fn masked(data: &[u8]) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let length = u8::try_from(data.len() + 1).expect("short");
    let mut frame = vec![0x82, 0x80 | length];
    frame.extend_from_slice(&mask);
    let payload = std::iter::once(&0).chain(data);
    frame.extend(payload.zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// Binds alice to a role that may exec.
pub(crate) async fn bind_alice(cluster: &Cluster) {
    let role = json!({"metadata": {"name": "exec"}, "rules": [
        {"verbs": ["get", "create"], "apiGroups": [""], "resources": ["pods/exec", "pods/proxy"]},
    ]});
    let binding = json!({
        "metadata": {"name": "exec"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "exec"},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "alice"},
            {"kind": "ServiceAccount", "namespace": "default", "name": "default"}],
    });
    let base = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    assert_eq!(cluster.rest("POST", &format!("{base}/roles"), &[], &role.to_string()).await.code, 201);
    assert_eq!(cluster.rest("POST", &format!("{base}/rolebindings"), &[], &binding.to_string()).await.code, 201);
    let review = json!({"spec": {"user": "alice", "resourceAttributes":
        {"verb": "create", "resource": "pods", "subresource": "exec", "namespace": "default", "name": "p"}}});
    let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    // The index follows by a watch.
    while cluster.rest("POST", path, &[], &review.to_string()).await.json()["status"]["allowed"] != json!(true) {}
}

#[tokio::test]
async fn a_refused_upgrade_leaves_no_way_for_a_second_request() {
    let cluster = with_pod().await;
    let mut node = Node::connect(&cluster, "n1").await;
    let admin = cluster.identity("admin", &["system:masters"]);
    let mut stream = connect(&cluster.server, Some(&admin)).await;
    let smuggled = "GET /api/v1/secrets HTTP/1.1\r\nHost: localhost\r\n\r\n";
    stream.write_all(format!("{}{smuggled}", upgrade(EXEC)).as_bytes()).await.expect("sent");
    let (session, _) = node.opened().await;
    let gone = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 404,
        "reason": "NotFound", "message": "the container is gone"});
    node.refuse(&session, &gone).await;
    let mut answer = Vec::new();
    // An end without close_notify is an end all the same.
    drop(stream.read_to_end(&mut answer).await);
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    assert!(
        answer.to_lowercase().contains("connection: close") && answer.contains("the container is gone"),
        "{answer}"
    );
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "the second request has no answer: {answer}");
    let (frames, receiver) = mpsc::channel(1);
    frames.send(frame(Frame::Hello(session))).await.expect("room");
    let (_, mut nodes) = node.client.nodes().into_iter().next().expect("a server");
    let late = nodes.session(ReceiverStream::new(receiver)).await.expect_err("nothing is open");
    assert_eq!(late.code(), tonic::Code::PermissionDenied);
    let metrics = cluster.rest("GET", "/metrics", &[], "").await.text;
    assert!(metrics.contains("gantry_node_sessions{kind=\"exec\"} 0"), "{metrics}");
}

#[tokio::test]
async fn a_body_cannot_hide_behind_an_upgrade() {
    let cluster = with_pod().await;
    let admin = cluster.identity("admin", &["system:masters"]);
    let mut stream = connect(&cluster.server, Some(&admin)).await;
    let head = upgrade(EXEC).replace("Host: localhost", "Host: localhost\r\nContent-Length: 10");
    stream.write_all(format!("{head}0123456789").as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer).await);
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 400") && answer.contains("cannot have a body"), "{answer}");
}

#[tokio::test]
async fn bytes_before_the_answer_belong_to_the_session() {
    let cluster = with_pod().await;
    let mut node = Node::connect(&cluster, "n1").await;
    let admin = cluster.identity("admin", &["system:masters"]);
    let mut stream = connect(&cluster.server, Some(&admin)).await;
    let early = b"GET /api/v1/secrets HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut sent = upgrade(EXEC).into_bytes();
    sent.extend(masked(early));
    stream.write_all(&sent).await.expect("sent");
    let (_, mut served) = node.serve().await;
    assert_eq!(served.next().await, Some(Frame::Data(Bytes::from_static(early))));
    served.finish(success()).await;
    let mut answer = Vec::new();
    drop(stream.read_to_end(&mut answer).await);
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
}

#[tokio::test]
async fn only_who_may_gets_a_session() {
    let cluster = with_pod().await;
    let _node = Node::connect(&cluster, "n1").await;
    let refused = async |identity: Option<tls::Identity>, protocols: &str| {
        websocket(&cluster, identity.as_ref(), EXEC, protocols).await.map(drop).expect_err("refused").0
    };
    assert_eq!(refused(None, V5).await, 403);
    assert_eq!(refused(Some(cluster.identity("alice", &[])), V5).await, 403);
    // Whoever may only read must not come in by a GET.
    let role = json!({"metadata": {"name": "read"}, "rules": [
        {"verbs": ["get"], "apiGroups": [""], "resources": ["pods/exec", "pods"]}]});
    let binding = json!({
        "metadata": {"name": "read"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "read"},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "bob"}]});
    let base = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    cluster.rest("POST", &format!("{base}/roles"), &[], &role.to_string()).await;
    cluster.rest("POST", &format!("{base}/rolebindings"), &[], &binding.to_string()).await;
    let bob = || cluster.identity("bob", &[]);
    let pod = "/api/v1/namespaces/default/pods/p";
    while crate::support::send(&cluster.server, Some(&bob()), "GET", pod, &[], "").await.status() != 200 {}
    let (code, body) = websocket(&cluster, Some(&bob()), EXEC, V5).await.map(drop).expect_err("refused");
    assert!(code == 403 && body.contains("cannot create resource \\\"pods/exec\\\""), "{code} {body}");
    assert_eq!(refused(None, &format!("base64url.bearer.authorization.k8s.io.eA, {V5}")).await, 401);
}

#[tokio::test]
async fn a_right_that_is_taken_away_ends_the_session() {
    let cluster = with_pod().await;
    bind_alice(&cluster).await;
    let mut node = Node::connect(&cluster, "n1").await;
    let alice = cluster.identity("alice", &[]);
    let (socket, (_, mut served)) = tokio::join!(websocket(&cluster, Some(&alice), EXEC, V5), node.serve());
    let mut socket = socket.expect("upgraded");
    assert_eq!(message(&mut socket).await.0, 1);
    let binding = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings/exec";
    assert_eq!(cluster.rest("DELETE", binding, &[], "").await.code, 200);
    let (channel, last) = message(&mut socket).await;
    let status: Value = serde_json::from_slice(&last).expect("JSON");
    assert_eq!((channel, &status["code"], &status["reason"]), (3, &json!(403), &json!("Forbidden")));
    served.ended().await;
}

#[tokio::test]
async fn a_right_that_is_taken_away_ends_a_session_that_nobody_reads() {
    let cluster = with_pod().await;
    bind_alice(&cluster).await;
    let mut node = Node::connect(&cluster, "n1").await;
    let alice = cluster.identity("alice", &[]);
    let (socket, (_, served)) = tokio::join!(websocket(&cluster, Some(&alice), EXEC, V5), node.serve());
    let _socket = socket.expect("upgraded");
    // The client does not read.
    served.fill().await;
    let crate::node::Served { frames, mut back } = served;
    let binding = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings/exec";
    assert_eq!(cluster.rest("DELETE", binding, &[], "").await.code, 200);
    while let Ok(Some(_)) = back.message().await {}
    frames.closed().await;
}

#[tokio::test]
async fn another_node_cannot_answer_for_a_command() {
    let cluster = with_pod().await;
    let mut node = Node::connect(&cluster, "n1").await;
    let thief = Node::connect(&cluster, "n2").await;
    let admin = cluster.identity("admin", &["system:masters"]);
    let stealing = async {
        let (session, kind) = node.opened().await;
        assert!(matches!(kind, Kind::Exec(_)));
        let (frames, receiver) = mpsc::channel(1);
        frames.send(frame(Frame::Hello(session.clone()))).await.expect("room");
        let (_, mut nodes) = thief.client.nodes().into_iter().next().expect("a server");
        let refused = nodes.session(ReceiverStream::new(receiver)).await.expect_err("not its session");
        assert_eq!(refused.code(), tonic::Code::PermissionDenied);
        node.answer(&session).await
    };
    let (socket, (frames, _back)) = tokio::join!(websocket(&cluster, Some(&admin), EXEC, V5), stealing);
    let mut socket = socket.expect("upgraded");
    assert_eq!(message(&mut socket).await.0, 1);
    frames.send(frame(Frame::Data(Bytes::from_static(b"mine")))).await.expect("room");
    assert_eq!(message(&mut socket).await, (1, Bytes::from_static(b"mine")));
}

#[tokio::test]
async fn a_token_that_is_revoked_ends_the_session() {
    let builder = Builder::default().configure(|config| config.session_check_period = Duration::from_millis(100));
    let cluster = Cluster::with(builder).await;
    add_pod(&cluster, "p", |_| {}).await;
    bind_alice(&cluster).await;
    let mut node = Node::connect(&cluster, "n1").await;
    let path = "/api/v1/namespaces/default/serviceaccounts/default";
    let issued = cluster.rest("POST", &format!("{path}/token"), &[], "{\"spec\":{}}").await.json();
    let token = issued["status"]["token"].as_str().expect("a token");
    let encoded = URL_SAFE_NO_PAD.encode(token);
    let protocols = format!("base64url.bearer.authorization.k8s.io.{encoded}, {V5}");
    let (socket, (_, mut served)) = tokio::join!(websocket(&cluster, None, EXEC, &protocols), node.serve());
    let mut socket = socket.expect("a browser's token is taken");
    assert_eq!(message(&mut socket).await.0, 1);
    assert_eq!(cluster.rest("DELETE", path, &[], "").await.code, 200);
    let (channel, last) = message(&mut socket).await;
    let status: Value = serde_json::from_slice(&last).expect("JSON");
    assert_eq!((channel, &status["code"]), (3, &json!(401)));
    served.ended().await;
}

#[tokio::test]
async fn a_credential_that_expires_ends_the_session() {
    let clock = Manual::new(jiff::Timestamp::now());
    let builder = Builder::default()
        .clock(clock.clone())
        .configure(|config| config.session_check_period = Duration::from_millis(100));
    let cluster = Cluster::with(builder).await;
    add_pod(&cluster, "p", |_| {}).await;
    bind_alice(&cluster).await;
    let mut node = Node::connect(&cluster, "n1").await;
    let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let issued = cluster.rest("POST", path, &[], "{\"spec\":{\"expirationSeconds\":600}}").await.json();
    let token = URL_SAFE_NO_PAD.encode(issued["status"]["token"].as_str().expect("a token"));
    let protocols = format!("{V5}, base64url.bearer.authorization.k8s.io.{token}");
    let alice = cluster.identity("alice", &[]);
    let (by_token, (_, mut first)) = tokio::join!(websocket(&cluster, None, EXEC, &protocols), node.serve());
    let (by_certificate, (_, mut second)) = tokio::join!(websocket(&cluster, Some(&alice), EXEC, V5), node.serve());
    let (mut by_token, mut by_certificate) = (by_token.expect("upgraded"), by_certificate.expect("upgraded"));
    assert_eq!((message(&mut by_token).await.0, message(&mut by_certificate).await.0), (1, 1));
    clock.advance(Duration::from_secs(700));
    let last = message(&mut by_token).await;
    assert_eq!((last.0, &serde_json::from_slice::<Value>(&last.1).expect("JSON")["code"]), (3, &json!(401)));
    first.ended().await;
    second.send(Frame::Data(Bytes::from_static(b"still here"))).await;
    assert_eq!(message(&mut by_certificate).await, (1, Bytes::from_static(b"still here")));
    // Test certificates end in the year 4096.
    clock.set("5000-01-01T00:00:00Z".parse().expect("a time"));
    let last = message(&mut by_certificate).await;
    assert_eq!((last.0, &serde_json::from_slice::<Value>(&last.1).expect("JSON")["code"]), (3, &json!(401)));
    second.ended().await;
}

#[tokio::test]
async fn sessions_are_audited_by_name_and_without_content() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("audit.log");
    let log = path.clone();
    let cluster = Cluster::with(Builder::default().configure(move |config| config.audit_log_path = Some(log))).await;
    add_pod(&cluster, "p", |_| {}).await;
    let mut node = Node::connect(&cluster, "n1").await;
    let admin = cluster.identity("admin", &["system:masters"]);
    let (socket, (_, mut served)) = tokio::join!(websocket(&cluster, Some(&admin), EXEC, V5), node.serve());
    let mut socket = socket.expect("upgraded");
    futures::SinkExt::send(
        &mut socket,
        tokio_tungstenite::tungstenite::Message::Binary(Bytes::from_static(b"\0geheim")),
    )
    .await
    .expect("sent");
    assert_eq!(served.next().await, Some(Frame::Data(Bytes::from_static(b"geheim"))));
    served.finish(success()).await;
    while let Some(Ok(_)) = futures::StreamExt::next(&mut socket).await {}
    drop(socket);
    let alice = cluster.identity("alice", &[]);
    assert!(websocket(&cluster, Some(&alice), EXEC, V5).await.is_err());
    let as_alice = [("impersonate-user", "alice"), ("impersonate-group", "dev")];
    assert_eq!(cluster.rest("GET", EXEC, &as_alice, "").await.code, 403);
    let Cluster { server, .. } = cluster;
    server.stop().await;
    let text = std::fs::read_to_string(&path).expect("written");
    assert!(!text.contains("geheim"), "never the content");
    let events = text.lines().map(|l| serde_json::from_str::<Value>(l).expect("JSON"));
    let mut events: Vec<Value> = events.filter(|event| event["objectRef"]["subresource"] == "exec").collect();
    // One session's end and another one's refusal come in any order.
    events.sort_by_key(|event| event["user"]["username"] == "alice");
    let impersonated = events.iter().position(|e| e.get("impersonatedUser").is_some()).map(|at| events.remove(at));
    let impersonated = impersonated.expect("the event of the impersonation");
    assert_eq!(impersonated["user"]["username"], "admin");
    assert_eq!(impersonated["impersonatedUser"]["username"], "alice");
    assert_eq!(impersonated["impersonatedUser"]["groups"], json!(["dev", "system:authenticated"]));
    assert_eq!(impersonated["responseStatus"]["code"], 403);
    let [begin, end, refused] = events.as_slice() else { panic!("{text}") };
    assert_eq!((&begin["stage"], &begin["responseStatus"]["code"]), (&json!("ResponseStarted"), &json!(101)));
    assert_eq!((&end["stage"], &end["responseStatus"]["code"]), (&json!("ResponseComplete"), &json!(200)));
    for event in [begin, end] {
        assert_eq!((&event["apiVersion"], &event["kind"]), (&json!("audit.k8s.io/v1"), &json!("Event")));
        assert_eq!(event["user"]["username"], "admin");
        assert_eq!(event["user"]["groups"], json!(["system:masters", "system:authenticated"]));
        assert_eq!(event["sourceIPs"], json!(["127.0.0.1"]));
        let about = &event["objectRef"];
        assert_eq!(
            (&about["resource"], &about["subresource"], &about["name"]),
            (&json!("pods"), &json!("exec"), &json!("p"))
        );
        assert_eq!(event["annotations"]["gantry.dev/command"], r#"["sh","-c"]"#);
        assert_eq!(event["annotations"]["gantry.dev/container"], "c");
        assert_eq!(event["annotations"]["gantry.dev/session"], begin["annotations"]["gantry.dev/session"]);
        assert_eq!(event["auditID"], begin["auditID"]);
    }
    assert_eq!(end["annotations"]["gantry.dev/bytes-to-node"], "6");
    assert_eq!((&refused["user"]["username"], &refused["responseStatus"]["code"]), (&json!("alice"), &json!(403)));
}
