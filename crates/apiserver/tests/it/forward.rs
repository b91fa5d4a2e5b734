//! Port-forwards: over SPDY, over SPDY in a WebSocket, and in the channels of a WebSocket.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use futures::{SinkExt, StreamExt};
use gantry_apiserver::testing::Builder;
use gantry_common::task;
use gantry_proto::v1::SessionEnd;
use gantry_proto::v1::open_session::Kind;
use gantry_proto::v1::session_frame::Frame;
use gantry_spdy::{Connection, Stream};
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::Message;

use crate::exec::{message, success, websocket};
use crate::node::{Node, Served, add_pod, with_pod};
use crate::spdy::{open, read_all, upgrade};
use crate::support::Cluster;

pub(crate) const FORWARD: &str = "/api/v1/namespaces/default/pods/p/portforward";

/// Serves one connection: what comes goes back in upper case; port 81 is closed.
async fn serve(kind: Kind, mut served: Served) {
    let Kind::PortForward(request) = kind else { panic!("a port-forward") };
    assert!(!request.pod_uid.is_empty());
    if request.port == 81 {
        let refused = json!({"metadata": {}, "status": "Failure", "message": "connection refused", "code": 500});
        return served.finish(refused).await;
    }
    loop {
        match served.next().await {
            Some(Frame::Data(bytes)) => served.send(Frame::Data(bytes.to_ascii_uppercase().into())).await,
            Some(Frame::End(_)) => break,
            Some(other) => panic!("{other:?}"),
            None => return,
        }
    }
    served.send(Frame::Data(Bytes::from_static(b"BYE"))).await;
    served.send(Frame::End(SessionEnd {})).await;
    served.finish(success()).await;
}

/// A node that serves port-forwards until it is dropped.
async fn echo(cluster: &Cluster) -> tokio::task::JoinHandle<()> {
    let mut node = Node::connect(cluster, "n1").await;
    task::spawn("node", async move {
        loop {
            let (kind, served) = node.serve().await;
            drop(task::spawn("node-session", serve(kind, served)));
        }
    })
}

pub(crate) async fn connection(connection: &Connection, port: &str, request: &str) -> (Stream, Stream) {
    let label = |kind| [("streamtype", kind), ("port", port), ("requestid", request)];
    let error = open(connection, &label("error")).await;
    error.finish().await.expect("finished");
    (open(connection, &label("data")).await, error)
}

/// Two connections at once, half-closed one after the other; and one to a closed port.
async fn use_it(spdy: &Connection) {
    let (mut first, mut first_error) = connection(spdy, "80", "0").await;
    let (mut second, mut second_error) = connection(spdy, "80", "1").await;
    second.write(Bytes::from_static(b"second")).await.expect("written");
    first.write(Bytes::from_static(b"first")).await.expect("written");
    assert_eq!(first.read().await, Some(Bytes::from_static(b"FIRST")));
    assert_eq!(second.read().await, Some(Bytes::from_static(b"SECOND")));
    first.finish().await.expect("finished");
    assert_eq!(read_all(&mut first).await, "BYE", "the other direction stays open");
    assert_eq!(read_all(&mut first_error).await, "");
    second.write(Bytes::from_static(b"more")).await.expect("written");
    assert_eq!(second.read().await, Some(Bytes::from_static(b"MORE")));
    second.finish().await.expect("finished");
    assert_eq!((read_all(&mut second).await.as_str(), read_all(&mut second_error).await.as_str()), ("BYE", ""));
    let (mut closed, mut error) = connection(spdy, "81", "2").await;
    assert_eq!(read_all(&mut error).await, "error forwarding port 81 to pod p: connection refused");
    assert_eq!(read_all(&mut closed).await, "");
}

#[tokio::test]
async fn connections_are_forwarded_over_spdy() {
    let cluster = with_pod().await;
    let _node = echo(&cluster).await;
    let admin = cluster.identity("admin", &["system:masters"]);
    let upgraded = upgrade(&cluster, &admin, "POST", FORWARD, &["portforward.k8s.io"]).await;
    use_it(&upgraded.expect("upgraded").0).await;
}

/// The client's end of a tunnel.
pub(crate) struct Tunnel<S>(pub(crate) S, pub(crate) Bytes);

impl<S> AsyncRead for Tunnel<S>
where
    S: futures::Stream<Item = Result<Message, tokio_tungstenite::tungstenite::Error>> + Unpin,
{
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        while self.1.is_empty() {
            match ready!(self.0.poll_next_unpin(cx)) {
                Some(Ok(Message::Binary(bytes))) => self.1 = bytes,
                Some(Ok(Message::Close(_)) | Err(_)) | None => return Poll::Ready(Ok(())),
                Some(Ok(_)) => {}
            }
        }
        let taken = self.1.len().min(into.remaining());
        into.put_slice(&self.1[..taken]);
        self.1.advance(taken);
        Poll::Ready(Ok(()))
    }
}

impl<S: futures::Sink<Message> + Unpin> AsyncWrite for Tunnel<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        let broken = |_| std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        ready!(self.0.poll_ready_unpin(cx)).map_err(broken)?;
        // Cut where no frame ends: the messages mean nothing.
        let taken = bytes.len().min(7);
        self.0.start_send_unpin(Message::Binary(Bytes::copy_from_slice(&bytes[..taken]))).map_err(broken)?;
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.0.poll_flush_unpin(cx).map_err(|_| std::io::ErrorKind::BrokenPipe.into())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        self.0.poll_close_unpin(cx).map_err(|_| std::io::ErrorKind::BrokenPipe.into())
    }
}

#[tokio::test]
async fn connections_are_forwarded_through_a_tunnel() {
    let cluster = with_pod().await;
    let _node = echo(&cluster).await;
    let admin = cluster.identity("admin", &["system:masters"]);
    let socket = websocket(&cluster, Some(&admin), FORWARD, "SPDY/3.1+portforward.k8s.io").await;
    let (connection, driver) = gantry_spdy::client(Tunnel(socket.expect("upgraded"), Bytes::new()));
    drop(task::spawn("spdy-client", driver.run()));
    use_it(&connection).await;
}

#[tokio::test]
async fn ports_are_forwarded_in_channels() {
    let cluster = with_pod().await;
    let _node = echo(&cluster).await;
    let admin = cluster.identity("admin", &["system:masters"]);
    let path = format!("{FORWARD}?ports=80&ports=81");
    let mut socket = websocket(&cluster, Some(&admin), &path, "v4.channel.k8s.io").await.expect("upgraded");
    let mut got: Vec<(u8, Bytes)> = Vec::new();
    while got.len() < 5 {
        got.push(message(&mut socket).await);
    }
    got.sort_by_key(|(channel, _)| *channel);
    let [data0, error0, data1, error1, why] = got.as_slice() else { panic!("five messages") };
    for (message, channel, port) in [(data0, 0, 80), (error0, 1, 80), (data1, 2, 81), (error1, 3, 81)] {
        assert_eq!(*message, (channel, Bytes::copy_from_slice(&[port, 0])), "each channel begins with its port");
    }
    assert_eq!(*why, (3, Bytes::from_static(b"error forwarding port 81 to pod p: connection refused")));
    socket.send(Message::Binary(Bytes::from_static(b"\0hello"))).await.expect("sent");
    assert_eq!(message(&mut socket).await, (0, Bytes::from_static(b"HELLO")));
    let (code, body) =
        websocket(&cluster, Some(&admin), FORWARD, "v4.channel.k8s.io").await.map(drop).expect_err("no port");
    assert!(code == 400 && body.contains("query parameter \\\"ports\\\" is required"), "{code} {body}");
}

#[tokio::test]
async fn a_pod_that_closes_ends_its_channel() {
    let cluster = with_pod().await;
    let mut node = Node::connect(&cluster, "n1").await;
    let admin = cluster.identity("admin", &["system:masters"]);
    let path = format!("{FORWARD}?ports=80");
    let (socket, (_, mut served)) =
        tokio::join!(websocket(&cluster, Some(&admin), &path, "v4.channel.k8s.io"), node.serve());
    let mut socket = socket.expect("upgraded");
    served.send(Frame::End(SessionEnd {})).await;
    assert_eq!(served.next().await, Some(Frame::End(SessionEnd {})), "the client cannot close its side by itself");
    served.finish(success()).await;
    loop {
        match socket.next().await {
            Some(Ok(Message::Close(_))) | None => break,
            Some(Ok(_)) => {}
            Some(Err(error)) => panic!("{error}"),
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_ends_every_connection() {
    let cluster = with_pod().await;
    let mut node = Node::connect(&cluster, "n1").await;
    let admin = cluster.identity("admin", &["system:masters"]);
    let (spdy, _) = upgrade(&cluster, &admin, "POST", FORWARD, &["portforward.k8s.io"]).await.expect("upgraded");
    let mut kept = Vec::new();
    for request in ["0", "1"] {
        let (streams, (_, served)) = tokio::join!(connection(&spdy, "80", request), node.serve());
        kept.push((streams, served));
    }
    let (streams, mut served): (Vec<_>, Vec<Served>) = kept.into_iter().unzip();
    drop((streams, spdy));
    for one in &mut served {
        one.ended().await;
    }
    let metrics = async || cluster.rest("GET", "/metrics", &[], "").await.text;
    while !metrics().await.contains("gantry_node_sessions{kind=\"port_forward\"} 0") {}
}

#[tokio::test]
async fn a_node_without_a_stream_is_known_before_the_upgrade() {
    let cluster = with_pod().await;
    let admin = cluster.identity("admin", &["system:masters"]);
    let refused = upgrade(&cluster, &admin, "POST", FORWARD, &["portforward.k8s.io"]).await.map(drop);
    assert!(refused.expect_err("refused").starts_with("HTTP/1.1 500"));
}

#[tokio::test]
async fn a_port_forward_ends_with_the_right_to_it() {
    let cluster = with_pod().await;
    let rule = json!({"metadata": {"name": "forward"}, "rules": [
        {"verbs": ["create"], "apiGroups": [""], "resources": ["pods/portforward"]}]});
    let binding = json!({
        "metadata": {"name": "forward"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "forward"},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "alice"}]});
    let base = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    cluster.rest("POST", &format!("{base}/roles"), &[], &rule.to_string()).await;
    cluster.rest("POST", &format!("{base}/rolebindings"), &[], &binding.to_string()).await;
    let mut node = Node::connect(&cluster, "n1").await;
    let alice = cluster.identity("alice", &[]);
    let spdy = loop {
        // The index of roles follows by a watch.
        if let Ok((spdy, _)) = upgrade(&cluster, &alice, "POST", FORWARD, &["portforward.k8s.io"]).await {
            break spdy;
        }
    };
    let ((_data, mut error), (_, mut served)) = tokio::join!(connection(&spdy, "80", "0"), node.serve());
    assert_eq!(cluster.rest("DELETE", &format!("{base}/rolebindings/forward"), &[], "").await.code, 200);
    let text = read_all(&mut error).await;
    assert!(text.contains("User \"alice\" cannot create resource \"pods/portforward\""), "{text}");
    served.ended().await;
}

#[tokio::test]
async fn a_slow_pod_holds_its_client_back_and_nobody_else() {
    let cluster = with_pod().await;
    let mut node = Node::connect(&cluster, "n1").await;
    let admin = cluster.identity("admin", &["system:masters"]);
    let path = format!("{FORWARD}?ports=80");
    let (slow, (_, slow_served)) =
        tokio::join!(websocket(&cluster, Some(&admin), &path, "v4.channel.k8s.io"), node.serve());
    let mut slow = slow.expect("upgraded");
    // 64 MiB is far more than windows and channels hold together.
    let flood = async {
        let mut data = vec![b'x'; 1 << 20];
        data[0] = 0;
        for _ in 0..64 {
            if slow.send(Message::Binary(Bytes::from(data.clone()))).await.is_err() {
                return;
            }
        }
    };
    let (quick, (kind, quick_served)) =
        tokio::join!(websocket(&cluster, Some(&admin), &path, "v4.channel.k8s.io"), node.serve());
    let mut quick = quick.expect("upgraded");
    let serving = task::spawn("node-session", serve(kind, quick_served));
    let work = async {
        for _ in 0..2 {
            message(&mut quick).await;
        }
        quick.send(Message::Binary(Bytes::from_static(b"\0hello"))).await.expect("sent");
        assert_eq!(message(&mut quick).await, (0, Bytes::from_static(b"HELLO")));
    };
    tokio::select! {
        () = flood => panic!("nothing held the client back"),
        () = work => {}
    }
    drop(slow_served);
    serving.abort();
}

#[tokio::test]
async fn the_connections_of_a_port_forward_are_bounded() {
    let cluster = Cluster::with(Builder::default().configure(|config| config.max_sessions_per_user = 2000)).await;
    add_pod(&cluster, "p", |_| {}).await;
    let mut node = Node::connect(&cluster, "n1").await;
    let admin = cluster.identity("admin", &["system:masters"]);
    let (spdy, _) = upgrade(&cluster, &admin, "POST", FORWARD, &["portforward.k8s.io"]).await.expect("upgraded");
    let (mut kept, mut served) = (Vec::new(), Vec::new());
    for request in 0..512 {
        kept.push(connection(&spdy, "80", &request.to_string()).await);
        // One that the node does not answer would make room again.
        served.push(node.serve().await);
    }
    let (_data, mut error) = connection(&spdy, "80", "512").await;
    let why = "error forwarding port 80 to pod p: this port-forward has 512 connections already";
    assert_eq!(read_all(&mut error).await, why);
}
