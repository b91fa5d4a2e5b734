//! WebSockets through proxies, by clients that know nothing of Kubernetes: tungstenite and curl.

use std::sync::Arc;
use std::time::Duration;

use futures::{SinkExt, StreamExt};
use gantry_common::tls;
use gantry_tests::cluster::{Cluster, cluster};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::tungstenite::Message;

use super::{NS, fixture};

fn paths() -> [String; 3] {
    ["services/server:web", "services/http:server:80", "pods/server:8000"]
        .map(|target| format!("/api/v1/namespaces/{NS}/{target}/proxy/ws"))
}

/// Sends texts of all lengths and gets them back.
async fn echoed(c: &Cluster, path: &str) {
    let pki = c.state().join("pki");
    let read = |name: &str| tls::read(&pki.join(name)).expect("it is there");
    let identity = tls::Identity { cert_pem: read("admin.crt"), key_pem: read("admin.key") };
    let config = tls::client_config(&read("ca.crt"), Some(&identity), &[b"http/1.1"]).expect("a configuration");
    let server = c.server();
    let address = server.trim_start_matches("https://");
    let host = address.split(':').next().expect("a host").to_owned();
    let stream = TcpStream::connect(address).await.expect("it answers");
    let name = rustls::pki_types::ServerName::try_from(host).expect("an address");
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("a handshake");
    let (mut socket, answer) =
        tokio_tungstenite::client_async(format!("wss://{address}{path}"), stream).await.expect("101");
    assert_eq!(answer.status(), 101);
    for length in [1, 125, 126, 5000, 60_000] {
        let text = "x".repeat(length);
        socket.send(Message::text(text.clone())).await.expect("it is sent");
        let back = socket.next().await.expect("an answer").expect("a message");
        assert!(back == Message::text(text), "{path}, {length} bytes: {} came back", back.len());
    }
    socket.close(None).await.expect("it is told");
    while let Some(Ok(_)) = socket.next().await {}
}

#[test]
fn e2e_session_websockets_pass_through_proxies() {
    let Some(c) = cluster() else { return };
    fixture(&c);
    tls::install_provider();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let all = async {
        for path in paths() {
            echoed(&c, &path).await;
        }
    };
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(60), all).await.expect("in time") });
}

#[test]
fn e2e_session_curl_is_switched_to_a_websocket() {
    let Some(c) = cluster() else { return };
    fixture(&c);
    for path in paths() {
        let asked = [
            "-H",
            "Connection: Upgrade",
            "-H",
            "Upgrade: websocket",
            "-H",
            "Sec-WebSocket-Version: 13",
            "-H",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ];
        // It says nothing after the head, and nobody says anything to it.
        let said = super::proxy::ask_for(&c, &asked, &path, 2).stdout;
        assert!(said.starts_with("HTTP/1.1 101"), "{path}: {said}");
        // The server's proof for that key (RFC 6455, section 1.3).
        assert!(said.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{path}: {said}");
    }
}
