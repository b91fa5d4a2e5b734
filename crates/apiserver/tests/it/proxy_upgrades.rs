//! Upgrades through a proxy: WebSockets with data both ways, and each direction's end.

use futures::{SinkExt, StreamExt};
use gantry_common::task;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;

use crate::backends::{cluster_with_pod, endpoint, raw, service};
use crate::support::connect;

#[tokio::test]
async fn websockets_pass_through_a_service() {
    let address = raw(|stream| async move {
        let mut socket = tokio_tungstenite::accept_async(stream).await.expect("a WebSocket");
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() || message.is_binary() {
                socket.send(message).await.expect("sent");
            }
        }
    })
    .await;
    let (cluster, _node, pod) = cluster_with_pod(address).await;
    service(&cluster, serde_json::json!([endpoint(&pod, "10.244.1.7")])).await;
    let stream = connect(&cluster.server, Some(&cluster.identity("admin", &["system:masters"]))).await;
    let request = http::Request::builder()
        .uri("wss://localhost/api/v1/namespaces/default/services/web/proxy/chat")
        .header("host", "localhost")
        .header("connection", "keep-alive, Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", generate_key())
        .body(())
        .expect("a request");
    let (mut socket, response) = tokio_tungstenite::client_async(request, stream).await.expect("switched");
    assert_eq!(response.status(), 101);
    let large = Message::binary(vec![7_u8; 1 << 20]);
    for message in [Message::text("hello"), large.clone(), Message::text("again")] {
        socket.send(message.clone()).await.expect("sent");
        assert_eq!(socket.next().await.expect("open").expect("a message"), message);
    }
    socket.close(None).await.expect("closed");
    assert!(matches!(socket.next().await, Some(Ok(Message::Close(_))) | None));
}

#[tokio::test]
async fn what_is_sent_before_the_switch_is_not_lost_and_each_end_is_kept() {
    let address = raw(|mut stream| async move {
        let mut all = Vec::new();
        let mut buffer = [0; 1024];
        // The client's half-close ends this, the answer goes out after it.
        while !all.windows(4).any(|w| w == b"\r\n\r\n") {
            let bytes = stream.read(&mut buffer).await.expect("a head");
            all.extend_from_slice(&buffer[..bytes]);
        }
        stream
            .write_all(b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: Own/1\r\n\r\n")
            .await
            .expect("sent");
        stream.read_to_end(&mut all).await.expect("an end");
        let at = all.windows(4).position(|w| w == b"\r\n\r\n").expect("a head") + 4;
        stream.write_all(b"you said ").await.expect("sent");
        stream.write_all(&all[at..]).await.expect("sent");
    })
    .await;
    let (cluster, _node, _) = cluster_with_pod(address).await;
    let mut client = connect(&cluster.server, Some(&cluster.identity("admin", &["system:masters"]))).await;
    let head = "GET /api/v1/namespaces/default/pods/p/proxy/x HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: own/1\r\n\r\n";
    client.write_all(format!("{head}early ").as_bytes()).await.expect("sent");
    client.write_all(b"late").await.expect("sent");
    client.shutdown().await.expect("a half-close");
    let reading = task::spawn("reading", async move {
        let mut text = String::new();
        client.read_to_string(&mut text).await.expect("an answer");
        text
    });
    let text = reading.await.expect("no panic");
    assert!(text.starts_with("HTTP/1.1 101 Switching Protocols"), "{text}");
    assert!(text.ends_with("\r\n\r\nyou said early late"), "{text}");
}

#[tokio::test]
async fn another_protocol_than_the_one_asked_for_is_refused() {
    let answer = async |head: &'static str, upgrade: bool| {
        let address = raw(move |mut stream| async move {
            let mut buffer = [0; 4096];
            drop(stream.read(&mut buffer).await);
            drop(stream.write_all(head.as_bytes()).await);
            drop(stream.read(&mut buffer).await);
        })
        .await;
        let (cluster, _node, _) = cluster_with_pod(address).await;
        let headers: &[(&str, &str)] =
            if upgrade { &[("connection", "Upgrade"), ("upgrade", "websocket")] } else { &[] };
        cluster.rest("GET", "/api/v1/namespaces/default/pods/p/proxy/", headers, "").await.code
    };
    let other = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n";
    assert_eq!(answer(other, true).await, 502);
    assert_eq!(answer(other, false).await, 502, "nobody asked");
    assert_eq!(answer("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", true).await, 500);
}

#[tokio::test]
async fn a_stream_ends_with_the_right_to_it() {
    let address = raw(|mut stream| async move {
        let mut buffer = [0; 4096];
        drop(stream.read(&mut buffer).await);
        drop(stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nfirst").await);
        drop(stream.read(&mut buffer).await);
    })
    .await;
    let (cluster, _node, _) = cluster_with_pod(address).await;
    let role = serde_json::json!({"metadata": {"name": "r"}, "rules": [{"apiGroups": [""], "resources": ["pods/proxy"], "verbs": ["get"]}]});
    let binding = serde_json::json!({"metadata": {"name": "r"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "alice"}]});
    let base = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    for (resource, object) in [("roles", role), ("rolebindings", binding)] {
        assert_eq!(cluster.rest("POST", &format!("{base}/{resource}"), &[], &object.to_string()).await.code, 201);
    }
    let path = "/api/v1/namespaces/default/pods/p/proxy/";
    let alice = cluster.identity("alice", &[]);
    let mut response = crate::support::send(&cluster.server, Some(&alice), "GET", path, &[], "").await;
    while response.status() == 403 {
        // Roles are read from a watch.
        tokio::task::yield_now().await;
        response = crate::support::send(&cluster.server, Some(&alice), "GET", path, &[], "").await;
    }
    assert_eq!(response.status(), 200);
    let mut body = response.into_body();
    let first = http_body_util::BodyExt::frame(&mut body).await.expect("open").expect("a piece");
    assert_eq!(first.into_data().expect("data"), "first");
    assert_eq!(cluster.rest("DELETE", &format!("{base}/rolebindings/r"), &[], "").await.code, 200);
    assert!(http_body_util::BodyExt::frame(&mut body).await.is_none_or(|f| f.is_err()), "the stream broke off");
}
