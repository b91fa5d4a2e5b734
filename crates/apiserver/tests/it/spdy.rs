//! exec over SPDY, as kubectl up to 1.30 does it; and the connection that port-forwards use too.

use bytes::Bytes;
use gantry_common::{task, tls};
use gantry_proto::v1::session_frame::Frame;
use gantry_proto::v1::{SessionEnd, TerminalSize};
use gantry_spdy::{Connection, Headers, Stream};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::exec::EXEC;
use crate::node::{Node, with_pod};
use crate::support::{Cluster, connect};

/// Reads up to the end of an answer's head.
async fn head(stream: &mut TlsStream<TcpStream>) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("an answer"));
    }
    String::from_utf8(head).expect("text")
}

/// Asks for SPDY; gives the answer's head where it is refused.
pub(crate) async fn upgrade(
    cluster: &Cluster,
    identity: &tls::Identity,
    method: &str,
    path: &str,
    versions: &[&str],
) -> Result<(Connection, String), String> {
    let mut stream = connect(&cluster.server, Some(identity)).await;
    let versions: String = versions.iter().map(|v| format!("X-Stream-Protocol-Version: {v}\r\n")).collect();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n{versions}\r\n"
    );
    stream.write_all(request.as_bytes()).await.expect("sent");
    let head = head(&mut stream).await;
    if !head.starts_with("HTTP/1.1 101") {
        return Err(head);
    }
    let (connection, driver) = gantry_spdy::client(stream);
    drop(task::spawn("spdy-client", driver.run()));
    Ok((connection, head))
}

pub(crate) async fn open(connection: &Connection, pairs: &[(&str, &str)]) -> Stream {
    let mut headers = Headers::new();
    for (name, value) in pairs {
        headers.insert(name, *value);
    }
    connection.open(headers, false).await.expect("opened")
}

/// Reads a stream to its end.
pub(crate) async fn read_all(stream: &mut Stream) -> String {
    let mut all = Vec::new();
    while let Some(bytes) = stream.read().await {
        all.extend_from_slice(&bytes);
    }
    assert!(!stream.was_reset(), "a clean end");
    String::from_utf8(all).expect("text")
}

#[tokio::test]
async fn a_command_runs_over_spdy() {
    let cluster = with_pod().await;
    let mut node = Node::connect(&cluster, "n1").await;
    let admin = cluster.identity("admin", &["system:masters"]);
    let path = EXEC.replace("stderr=true", "tty=true");
    let versions = ["v9.channel.k8s.io", "v4.channel.k8s.io", "channel.k8s.io"];
    let (upgraded, (_, mut served)) = tokio::join!(upgrade(&cluster, &admin, "POST", &path, &versions), node.serve());
    let (connection, head) = upgraded.expect("upgraded");
    assert!(head.to_lowercase().contains("x-stream-protocol-version: v4.channel.k8s.io\r\n"), "{head}");
    let stream = async |name: &str| open(&connection, &[("streamtype", name)]).await;
    let mut error = stream("error").await;
    let stdin = stream("stdin").await;
    let mut stdout = stream("stdout").await;
    let resize = stream("resize").await;
    resize.write(Bytes::from_static(b"{\"Width\":80,\"Height\":24}\n")).await.expect("written");
    assert!(matches!(served.next().await, Some(Frame::Start(_))));
    assert_eq!(served.next().await, Some(Frame::Resize(TerminalSize { width: 80, height: 24 })));
    stdin.write(Bytes::from_static(b"one")).await.expect("written");
    assert_eq!(served.next().await, Some(Frame::Data(Bytes::from_static(b"one"))));
    stdin.finish().await.expect("finished");
    assert_eq!(served.next().await, Some(Frame::End(SessionEnd {})));
    served.send(Frame::Data(Bytes::from_static(b"out"))).await;
    assert_eq!(stdout.read().await, Some(Bytes::from_static(b"out")));
    let failed = json!({"metadata": {}, "status": "Failure", "message": "exit code 3", "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": "3"}]}});
    let (last, rest, ()) = tokio::join!(read_all(&mut error), read_all(&mut stdout), served.finish(failed.clone()));
    assert_eq!((serde_json::from_str::<Value>(&last).expect("JSON"), rest.as_str()), (failed, ""));
}

#[tokio::test]
async fn version_one_of_spdy_has_plain_errors() {
    let cluster = with_pod().await;
    let mut node = Node::connect(&cluster, "n1").await;
    let admin = cluster.identity("admin", &["system:masters"]);
    let path = "/api/v1/namespaces/default/pods/p/exec?command=a&stdout=1";
    let (upgraded, (_, served)) =
        tokio::join!(upgrade(&cluster, &admin, "GET", path, &["channel.k8s.io"]), node.serve());
    let (connection, _) = upgraded.expect("upgraded");
    let mut error = open(&connection, &[("streamType", "error")]).await;
    let _stdout = open(&connection, &[("streamType", "stdout")]).await;
    let failed = json!({"status": "Failure", "reason": "NonZeroExitCode", "message": "exit code 1"});
    let (last, ()) = tokio::join!(read_all(&mut error), served.finish(failed));
    assert_eq!(last, "exit code 1");
}

#[tokio::test]
async fn a_spdy_client_that_leaves_ends_the_nodes_stream() {
    let cluster = with_pod().await;
    let mut node = Node::connect(&cluster, "n1").await;
    let admin = cluster.identity("admin", &["system:masters"]);
    let (upgraded, (_, mut served)) =
        tokio::join!(upgrade(&cluster, &admin, "POST", EXEC, &["v4.channel.k8s.io"]), node.serve());
    let (connection, _) = upgraded.expect("upgraded");
    let stream = async |name: &str| open(&connection, &[("streamtype", name)]).await;
    let streams = [stream("error").await, stream("stdin").await, stream("stdout").await, stream("stderr").await];
    streams[1].write(Bytes::from_static(b"one")).await.expect("written");
    assert!(matches!(served.next().await, Some(Frame::Start(_))));
    assert_eq!(served.next().await, Some(Frame::Data(Bytes::from_static(b"one"))));
    drop(streams);
    drop(connection);
    served.ended().await;
}

#[tokio::test]
async fn versions_are_agreed_on_or_refused() {
    let cluster = with_pod().await;
    let _node = Node::connect(&cluster, "n1").await;
    let admin = cluster.identity("admin", &["system:masters"]);
    let refused = upgrade(&cluster, &admin, "POST", EXEC, &["v9.channel.k8s.io"]).await.map(drop).expect_err("refused");
    assert!(refused.starts_with("HTTP/1.1 403"), "{refused}");
    assert_eq!(refused.to_lowercase().matches("x-accepted-stream-protocol-versions: ").count(), 5, "{refused}");
    let refused = upgrade(&cluster, &admin, "POST", EXEC, &[]).await.map(drop).expect_err("refused");
    assert!(refused.starts_with("HTTP/1.1 400"), "{refused}");
}
