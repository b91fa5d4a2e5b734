//! Probes against small servers on loopback.

use gantry_common::clock;
use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

use super::*;
use crate::runtime::Fake;

const LIMIT: Duration = Duration::from_secs(5);

async fn serve(answer: &'static str) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    gantry_common::task::spawn("server", async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0u8; 1024];
            drop(stream.read(&mut request).await);
            drop(stream.write_all(answer.as_bytes()).await);
        }
    });
    port
}

async fn ask(probe_json: serde_json::Value) -> Answer {
    let fake = Fake::new(clock::system());
    fake.set_exec("true", 0, "");
    fake.set_exec("false", 1, "no luck\n");
    let spec: Spec =
        serde_json::from_value(json!({"name": "c", "ports": [{"name": "web", "containerPort": 80}]})).unwrap();
    let wanted: Probe = serde_json::from_value(probe_json).unwrap();
    let root = tempfile::tempdir().unwrap();
    let commands = Commands::new(Arc::new(fake), root.path());
    let target = Target { commands: &commands, id: "c1", spec: &spec, ip: Some(Ipv4Addr::LOCALHOST) };
    probe(&target, &wanted, LIMIT).await
}

#[tokio::test]
async fn http_answers_count_by_their_code() {
    let ok = serve("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    assert_eq!(ask(json!({"httpGet": {"port": ok}})).await, Answer::Success);
    let bad = serve("HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n").await;
    let expected = Answer::Failure("HTTP probe failed with statuscode: 503".into());
    assert_eq!(ask(json!({"httpGet": {"port": bad, "path": "x"}})).await, expected);
}

#[tokio::test]
async fn nobody_there_is_a_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    assert_eq!(ask(json!({"tcpSocket": {"port": port}})).await, Answer::Success);
    drop(listener);
    let refused = format!("dial tcp 127.0.0.1:{port}: connect: connection refused");
    assert_eq!(ask(json!({"tcpSocket": {"port": port}})).await, Answer::Failure(refused.clone()));
    let expected = format!("Get \"http://127.0.0.1:{port}/\": {refused}");
    assert_eq!(ask(json!({"httpGet": {"port": port}})).await, Answer::Failure(expected));
}

#[tokio::test]
async fn commands_count_by_their_code() {
    assert_eq!(ask(json!({"exec": {"command": ["true"]}})).await, Answer::Success);
    assert_eq!(ask(json!({"exec": {"command": ["false"]}})).await, Answer::Failure("no luck".into()));
}
