//! exec and attach: over WebSocket, over gRPC, and what is refused before anything is opened.

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use gantry_apiserver::testing::Builder;
use gantry_common::tls;
use gantry_proto::v1::open_session::Kind;
use gantry_proto::v1::session_frame::Frame;
use gantry_proto::v1::{
    ExecRequest, KubeletRequest, OpenSession, SessionEnd, SessionFrame, StatsRequest, TerminalSize,
};
use http::Request;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::client::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::node::{Node, PATIENCE, Served, add_pod, frame, with_pod};
use crate::support::{Cluster, connect};

type Socket = WebSocketStream<TlsStream<TcpStream>>;

pub(crate) const EXEC: &str =
    "/api/v1/namespaces/default/pods/p/exec?command=sh&command=-c&stdin=true&stdout=true&stderr=true";

pub(crate) fn success() -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 200})
}

/// Opens a WebSocket; the answer's code and body where it is refused.
pub(crate) async fn websocket(
    cluster: &Cluster,
    identity: Option<&tls::Identity>,
    path: &str,
    protocols: &str,
) -> Result<Socket, (u16, String)> {
    let stream = connect(&cluster.server, identity).await;
    let mut request: Request<()> = format!("wss://localhost{path}").into_client_request().expect("a request");
    if !protocols.is_empty() {
        request.headers_mut().insert("sec-websocket-protocol", protocols.parse().expect("valid"));
    }
    match tokio_tungstenite::client_async(request, stream).await {
        Ok((socket, _)) => Ok(socket),
        Err(Error::Http(response)) => {
            let body = response.body().clone().unwrap_or_default();
            Err((response.status().as_u16(), String::from_utf8_lossy(&body).into_owned()))
        }
        Err(other) => panic!("no answer: {other}"),
    }
}

/// An administrator's session that the node has accepted.
async fn session(cluster: &Cluster, node: &mut Node, path: &str, protocol: &str) -> (Socket, Kind, Served) {
    let admin = cluster.identity("admin", &["system:masters"]);
    let (socket, (kind, served)) = tokio::join!(websocket(cluster, Some(&admin), path, protocol), node.serve());
    (socket.expect("upgraded"), kind, served)
}

/// The next message with a channel.
pub(crate) async fn message(socket: &mut Socket) -> (u8, Bytes) {
    loop {
        let next = tokio::time::timeout(PATIENCE, socket.next()).await.expect("in time");
        match next.expect("not closed").expect("a message") {
            Message::Binary(bytes) => return (bytes[0], bytes.slice(1..)),
            Message::Close(_) => panic!("closed without a last word"),
            _ => {}
        }
    }
}

fn text(channel: u8, text: &'static str) -> (u8, Bytes) {
    (channel, Bytes::from_static(text.as_bytes()))
}

async fn put(socket: &mut Socket, bytes: &'static [u8]) {
    socket.send(Message::Binary(Bytes::from_static(bytes))).await.expect("sent");
}

#[tokio::test]
async fn a_command_runs_over_a_websocket() {
    let cluster = with_pod().await;
    let mut node = Node::connect(&cluster, "n1").await;
    let (mut socket, kind, mut served) = session(&cluster, &mut node, EXEC, "v5.channel.k8s.io").await;
    let Kind::Exec(request) = kind else { panic!("an exec") };
    assert_eq!((request.command, request.container.as_str()), (vec!["sh".to_owned(), "-c".to_owned()], "c"));
    assert!(request.stdin && request.stdout && request.stderr && !request.tty && !request.pod_uid.is_empty());
    assert_eq!(message(&mut socket).await, text(1, ""), "the session is there");
    put(&mut socket, b"\0one").await;
    put(&mut socket, b"\x04{\"Width\":80,\"Height\":24}").await;
    put(&mut socket, b"\x01nobody reads this").await;
    put(&mut socket, b"\xff\0").await;
    assert_eq!(served.next().await, Some(Frame::Data(Bytes::from_static(b"one"))));
    assert_eq!(served.next().await, Some(Frame::Resize(TerminalSize { width: 80, height: 24 })));
    assert_eq!(served.next().await, Some(Frame::End(SessionEnd {})));
    served.send(Frame::Data(Bytes::from_static(b"out"))).await;
    served.send(Frame::Stderr(Bytes::from_static(b"err"))).await;
    assert_eq!(message(&mut socket).await, text(1, "out"));
    assert_eq!(message(&mut socket).await, text(2, "err"));
    let failed = json!({"metadata": {}, "status": "Failure", "message": "exit code 3", "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": "3"}]}});
    let (last, ()) = tokio::join!(message(&mut socket), served.finish(failed.clone()));
    assert_eq!((last.0, serde_json::from_slice::<Value>(&last.1).expect("JSON")), (3, failed));
    assert!(matches!(socket.next().await, Some(Ok(Message::Close(Some(frame)))) if frame.code == 1000.into()));
}

#[tokio::test]
async fn older_protocols_have_their_own_last_words() {
    let cluster = with_pod().await;
    let mut node = Node::connect(&cluster, "n1").await;
    for protocol in ["v4.channel.k8s.io", "channel.k8s.io", ""] {
        let (mut socket, _, served) = session(&cluster, &mut node, EXEC, protocol).await;
        assert_eq!(message(&mut socket).await, text(1, ""), "{protocol}");
        let (last, ()) = tokio::join!(
            message(&mut socket),
            served.finish(json!({"status": "Failure", "reason": "NonZeroExitCode", "message": "exit code 1"}))
        );
        let expected = match protocol {
            "v4.channel.k8s.io" => {
                r#"{"message":"exit code 1","metadata":{},"reason":"NonZeroExitCode","status":"Failure"}"#
            }
            _ => "exit code 1",
        };
        assert_eq!(last, text(3, expected), "{protocol}");
    }
    let (mut socket, _, mut served) = session(&cluster, &mut node, EXEC, "base64.channel.k8s.io").await;
    assert_eq!(socket.next().await.expect("open").expect("a message"), Message::text("1"));
    socket.send(Message::text("0bHMK")).await.expect("sent");
    assert_eq!(served.next().await, Some(Frame::Data(Bytes::from_static(b"ls\n"))));
    served.send(Frame::Data(Bytes::from_static(b"x"))).await;
    assert_eq!(socket.next().await.expect("open").expect("a message"), Message::text("1eA=="));
}

#[tokio::test]
async fn a_large_message_is_cut_into_frames() {
    let cluster = with_pod().await;
    let mut node = Node::connect(&cluster, "n1").await;
    let (mut socket, _, mut served) = session(&cluster, &mut node, EXEC, "v4.channel.k8s.io").await;
    let mut sent: Vec<u8> = (0..200_000_u32).map(|n| n.to_le_bytes()[0]).collect();
    sent.insert(0, 0);
    let sending = socket.send(Message::Binary(Bytes::from(sent.clone())));
    let receiving = async {
        let mut got = Vec::new();
        while got.len() < sent.len() - 1 {
            let Some(Frame::Data(bytes)) = served.next().await else { panic!("data") };
            assert!(bytes.len() <= 64 * 1024);
            got.extend_from_slice(&bytes);
        }
        got
    };
    let (sending, got) = tokio::join!(sending, receiving);
    sending.expect("sent");
    assert!(got == sent[1..], "what arrives is what was sent");
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_nodes_stream() {
    let cluster = with_pod().await;
    let mut node = Node::connect(&cluster, "n1").await;
    let (socket, _, mut served) = session(&cluster, &mut node, EXEC, "v5.channel.k8s.io").await;
    drop(socket);
    served.ended().await;
}

#[tokio::test]
async fn attach_joins_the_streams() {
    let cluster = with_pod().await;
    let mut node = Node::connect(&cluster, "n1").await;
    let path = "/api/v1/namespaces/default/pods/p/attach?stdin=1&stdout=1&stderr=1&tty=1&container=c";
    let (mut socket, kind, served) = session(&cluster, &mut node, path, "v5.channel.k8s.io").await;
    let Kind::Attach(request) = kind else { panic!("an attach") };
    assert!(request.tty && request.stdin && request.stdout && !request.stderr, "a terminal has one output");
    assert_eq!(message(&mut socket).await, text(1, ""));
    let (last, ()) = tokio::join!(message(&mut socket), served.finish(success()));
    assert_eq!(last, text(3, r#"{"metadata":{},"status":"Success"}"#));
}

/// Opens a session over gRPC.
async fn open(
    cluster: &Cluster,
    user: &str,
    groups: &[&str],
    kind: Kind,
) -> Result<(mpsc::Sender<SessionFrame>, tonic::Streaming<SessionFrame>), tonic::Status> {
    let client = cluster.client(user, groups);
    let (frames, receiver) = mpsc::channel(4);
    let open = OpenSession { session: "mine".to_owned(), kind: Some(kind), deferred: false };
    frames.send(frame(Frame::Open(open))).await.expect("room");
    let mut sessions = client.sessions();
    let answers = sessions.open(ReceiverStream::new(receiver)).await?.into_inner();
    Ok((frames, answers))
}

fn exec() -> ExecRequest {
    ExecRequest {
        namespace: "default".to_owned(),
        pod: "p".to_owned(),
        command: vec!["cat".to_owned()],
        stdin: true,
        stdout: true,
        ..ExecRequest::default()
    }
}

#[tokio::test]
async fn a_session_over_grpc_passes_frames() {
    let cluster = with_pod().await;
    let mut node = Node::connect(&cluster, "n1").await;
    let (opened, (kind, mut served)) =
        tokio::join!(open(&cluster, "admin", &["system:masters"], Kind::Exec(exec())), node.serve());
    let (frames, mut answers) = opened.expect("opened");
    let Kind::Exec(request) = kind else { panic!("an exec") };
    assert!(!request.pod_uid.is_empty());
    assert_eq!(request.container, "c");
    let hello = answers.message().await.expect("alive").expect("a frame").frame;
    assert!(matches!(hello, Some(Frame::Hello(id)) if id != "mine"));
    frames.send(frame(Frame::Data(Bytes::from_static(b"in")))).await.expect("room");
    frames.send(frame(Frame::End(SessionEnd {}))).await.expect("room");
    assert_eq!(served.next().await, Some(Frame::Data(Bytes::from_static(b"in"))));
    assert_eq!(served.next().await, Some(Frame::End(SessionEnd {})));
    served.send(Frame::Stderr(Bytes::from_static(b"err"))).await;
    let answer = answers.message().await.expect("alive").expect("a frame").frame;
    assert_eq!(answer, Some(Frame::Stderr(Bytes::from_static(b"err"))));
    served.finish(success()).await;
    let Some(Frame::Status(last)) = answers.message().await.expect("alive").expect("a frame").frame else {
        panic!("a status")
    };
    assert_eq!(serde_json::from_slice::<Value>(&last).expect("JSON")["status"], "Success");
    assert!(answers.message().await.expect("a good end").is_none());
}

#[tokio::test]
async fn a_session_over_grpc_has_its_rules() {
    let cluster = with_pod().await;
    let mut node = Node::connect(&cluster, "n1").await;
    let code =
        async |user: &str, kind: Kind| open(&cluster, user, &[], kind).await.map(drop).expect_err("refused").code();
    assert_eq!(code("alice", Kind::Exec(exec())).await, tonic::Code::PermissionDenied);
    let masters = &["system:masters"];
    let forged = ExecRequest { pod_uid: "forged".to_owned(), ..exec() };
    let refused = open(&cluster, "admin", masters, Kind::Exec(forged)).await.map(drop).expect_err("another pod");
    assert_eq!((refused.code(), refused.message()), (tonic::Code::NotFound, "pods \"p\" not found"));
    let kubelet = Kind::Kubelet(KubeletRequest { node: "n1".to_owned() });
    let refused = open(&cluster, "admin", masters, kubelet).await.map(drop).expect_err("not for clients");
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    let (opened, (_, mut served)) = tokio::join!(open(&cluster, "admin", masters, Kind::Exec(exec())), node.serve());
    let (frames, mut answers) = opened.expect("opened");
    frames.send(frame(Frame::Data(Bytes::from(vec![0; 64 * 1024 + 1])))).await.expect("room");
    answers.message().await.expect("alive").expect("hello");
    let Some(Frame::Status(last)) = answers.message().await.expect("alive").expect("a frame").frame else {
        panic!("a status")
    };
    assert_eq!(serde_json::from_slice::<Value>(&last).expect("JSON")["code"], 400);
    served.ended().await;
}

#[tokio::test]
async fn the_use_of_a_node_is_a_session_too() {
    let cluster = with_pod().await;
    let mut node = Node::connect(&cluster, "n1").await;
    let stats = |node: &str| Kind::Stats(StatsRequest { node: node.to_owned() });
    let masters = &["system:masters"];
    let missing = open(&cluster, "admin", masters, stats("n1")).await.map(drop).expect_err("there is no Node");
    assert_eq!(missing.code(), tonic::Code::NotFound);
    let object = json!({"metadata": {"name": "n1"}}).to_string();
    assert_eq!(cluster.rest("POST", "/api/v1/nodes", &[], &object).await.code, 201);
    let refused = open(&cluster, "alice", &[], stats("n1")).await.map(drop).expect_err("refused");
    assert!(refused.message().contains("cannot get resource \"nodes/stats\""), "{}", refused.message());
    let (opened, (kind, served)) = tokio::join!(open(&cluster, "admin", masters, stats("n1")), node.serve());
    let (frames, mut answers) = opened.expect("opened");
    assert_eq!(kind, stats("n1"));
    // A client that has nothing to say may end its side.
    drop(frames);
    answers.message().await.expect("alive").expect("hello");
    served.send(Frame::Data(Bytes::from_static(b"{}"))).await;
    let answer = answers.message().await.expect("alive").expect("a frame").frame;
    assert_eq!(answer, Some(Frame::Data(Bytes::from_static(b"{}"))));
    served.finish(success()).await;
}

#[tokio::test]
async fn what_cannot_be_is_refused_before_the_upgrade() {
    let cluster = with_pod().await;
    let node = Node::connect(&cluster, "n1").await;
    let two = |pod: &mut Value| {
        pod["spec"]["containers"] = json!([{"name": "a", "image": "x"}, {"name": "b", "image": "x"}]);
    };
    add_pod(&cluster, "two", two).await;
    let loose = |pod: &mut Value| drop(pod["spec"].as_object_mut().map(|s| s.remove("nodeName")));
    add_pod(&cluster, "loose", loose).await;
    add_pod(&cluster, "done", |_| {}).await;
    let done = json!({"status": {"phase": "Succeeded"}}).to_string();
    let merge = [("content-type", "application/merge-patch+json")];
    let path = "/api/v1/namespaces/default/pods/done/status";
    assert_eq!(cluster.rest("PATCH", path, &merge, &done).await.code, 200);
    let admin = cluster.identity("admin", &["system:masters"]);
    let check = async |rest: &str, code: u16, message: &str| {
        let path = format!("/api/v1/namespaces/default/pods/{rest}");
        let refused = websocket(&cluster, Some(&admin), &path, "v5.channel.k8s.io").await.map(drop);
        let (got, body) = refused.expect_err("refused");
        let status: Value = serde_json::from_str(&body).expect("a Status");
        assert_eq!((got, status["message"].as_str().unwrap_or_default()), (code, message), "{rest}");
    };
    check("none/exec?command=a&stdout=1", 404, "pods \"none\" not found").await;
    check("p/exec?command=a", 400, "you must specify at least 1 of stdin, stdout, stderr").await;
    check("p/exec?command=a&tty=1&stderr=1", 400, "you must specify at least 1 of stdin, stdout, stderr").await;
    check("p/exec?stdout=1", 400, "you must specify at least one command for the container").await;
    check("two/exec?command=a&stdout=1&container=x", 400, "container x is not valid for pod two out of: a, b").await;
    let choose = "a container name must be specified for pod two, choose one of: [a b]";
    check("two/attach?stdout=1", 400, choose).await;
    check("loose/exec?command=a&stdout=1", 400, "pod loose does not have a host assigned").await;
    let over = "cannot exec into a container in a completed pod; current phase is Succeeded";
    check("done/exec?command=a&stdout=1", 400, over).await;
    drop(node);
    let plain = cluster.rest("GET", EXEC, &[], "").await;
    assert_eq!((plain.code, plain.json()["message"].as_str()), (400, Some("Upgrade request required")));
    for method in ["PUT", "PATCH", "DELETE"] {
        let body = json!({"metadata": {"name": "p"}}).to_string();
        let answer = cluster.rest(method, "/api/v1/namespaces/default/pods/p/exec", &merge, &body).await;
        assert_eq!(answer.code, 405, "{method}: {}", answer.text);
    }
}

#[tokio::test]
async fn sessions_are_bounded_per_user_and_altogether() {
    let cluster = Cluster::with(Builder::default().configure(|config| {
        config.max_sessions_per_user = 1;
        config.max_sessions = 2;
    }))
    .await;
    add_pod(&cluster, "p", |_| {}).await;
    let mut node = Node::connect(&cluster, "n1").await;
    // Who may everything is not counted.
    cluster.make_mighty("ops").await;
    let names = ["a", "b", "c"].map(|user| cluster.identity(user, &["ops"]));
    let mut kept = Vec::new();
    for identity in &names[..2] {
        let (socket, (_, served)) =
            tokio::join!(websocket(&cluster, Some(identity), EXEC, "v5.channel.k8s.io"), node.serve());
        kept.push((socket.expect("upgraded"), served));
    }
    for (identity, bound) in [(&names[0], "--max-sessions-per-user"), (&names[2], "--max-sessions is 2")] {
        let refused = websocket(&cluster, Some(identity), EXEC, "v5.channel.k8s.io").await.map(drop);
        let (code, body) = refused.expect_err("no place");
        assert!(code == 429 && body.contains(bound), "{code} {body}");
    }
    let (socket, mut served) = kept.remove(0);
    drop(socket);
    served.ended().await;
    let metrics = cluster.rest("GET", "/metrics", &[], "").await.text;
    assert!(metrics.contains("gantry_node_sessions_opened_total{kind=\"exec\"} 2"), "{metrics}");
    assert!(metrics.contains("gantry_node_sessions_refused_total{kind=\"exec\"} 2"), "{metrics}");
    let (socket, (_, _served)) =
        tokio::join!(websocket(&cluster, Some(&names[2]), EXEC, "v5.channel.k8s.io"), node.serve());
    assert!(socket.is_ok(), "a place is free again");
}

#[tokio::test]
async fn a_server_that_stops_says_so() {
    let cluster = with_pod().await;
    let mut node = Node::connect(&cluster, "n1").await;
    let (mut socket, _, _served) = session(&cluster, &mut node, EXEC, "v5.channel.k8s.io").await;
    assert_eq!(message(&mut socket).await, text(1, ""));
    let Cluster { server, .. } = cluster;
    let last = async {
        let last = message(&mut socket).await;
        while let Some(Ok(_)) = socket.next().await {}
        last
    };
    let (last, ()) = tokio::join!(last, server.stop());
    let status: Value = serde_json::from_slice(&last.1).expect("JSON");
    assert_eq!((last.0, &status["code"]), (3, &json!(503)));
}
