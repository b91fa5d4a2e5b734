//! A server per test and two ways to talk to it.

use std::sync::Arc;

use bytes::Bytes;
use gantry_apiserver::testing::{Builder, TestServer};
use gantry_client::{Client, Config, ResourceId};
use gantry_common::tls;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// What [`Cluster::start`] starts.
pub(crate) fn usual() -> Builder {
    Builder::default().configure(|config| {
        config.disable_admission_plugins = vec!["StorageObjectInUseProtection".to_owned()];
    })
}

/// A server and its folder.
pub(crate) struct Cluster {
    pub(crate) server: TestServer,
    _folder: tempfile::TempDir,
}

impl Cluster {
    /// A server as most tests want it. No controller runs here that would let go of what is protected while it is used.
    pub(crate) async fn start() -> Self {
        Self::with(usual()).await
    }

    pub(crate) async fn with(builder: Builder) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let server = builder.start(folder.path()).await.expect("the server starts");
        Self { server, _folder: folder }
    }

    /// A server that may not serve yet.
    pub(crate) async fn now(builder: Builder) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let server = builder.start_now(folder.path()).await.expect("the server starts");
        Self { server, _folder: folder }
    }

    /// The server, and the folder that must outlive it.
    pub(crate) fn into_parts(self) -> (TestServer, tempfile::TempDir) {
        (self.server, self._folder)
    }

    /// Where the server's files are.
    pub(crate) fn folder(&self) -> &std::path::Path {
        self._folder.path()
    }

    pub(crate) fn client_config(&self, user: &str, groups: &[&str]) -> Config {
        let identity = self.server.identity(user, groups);
        Config {
            servers: vec![self.server.url()],
            ca_pem: self.server.ca_pem().into_bytes(),
            tls_server_name: None,
            identity: Some(tls::Identity {
                cert_pem: identity.cert_pem.into_bytes(),
                key_pem: identity.key_pem.into_bytes(),
            }),
            token: None,
            user_agent: "test/1".to_owned(),
        }
    }

    pub(crate) fn client(&self, user: &str, groups: &[&str]) -> Client {
        Client::new(&self.client_config(user, groups)).expect("a client")
    }

    pub(crate) fn admin(&self) -> Client {
        self.client("admin", &["system:masters"])
    }

    /// A user's client certificate, for REST.
    pub(crate) fn identity(&self, user: &str, groups: &[&str]) -> tls::Identity {
        let identity = self.server.identity(user, groups);
        tls::Identity { cert_pem: identity.cert_pem.into_bytes(), key_pem: identity.key_pem.into_bytes() }
    }

    /// The service account that pods of `default` run as.
    pub(crate) async fn default_account(&self) {
        let accounts = self.admin().dynamic(ResourceId::new("", "v1", "serviceaccounts"), "default");
        accounts
            .create("", "", &json!({"metadata": {"name": "default"}}), &gantry_client::WriteParams::default())
            .await
            .expect("created");
    }

    /// Lets the members of a group do everything by a role, which unlike system:masters exempts from no bound.
    pub(crate) async fn make_mighty(&self, group: &str) {
        let rbac = "rbac.authorization.k8s.io";
        let binding = json!({"metadata": {"name": group}, "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name":
            "cluster-admin"}, "subjects": [{"apiGroup": rbac, "kind": "Group", "name": group}]});
        let made = self.rest("POST", &format!("/apis/{rbac}/v1/clusterrolebindings"), &[], &binding.to_string()).await;
        assert_eq!(made.code, 201, "{}", made.text);
        let review = json!({"spec": {"groups": [group], "nonResourceAttributes": {"verb": "get", "path": "/"}}});
        let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        // The index follows by a watch.
        while self.rest("POST", path, &[], &review.to_string()).await.json()["status"]["allowed"] != json!(true) {}
    }

    /// A connection with an administrator's certificate.
    pub(crate) async fn connection(&self) -> SendRequest<Full<Bytes>> {
        let identity = self.server.identity("admin", &["system:masters"]);
        let identity =
            tls::Identity { cert_pem: identity.cert_pem.into_bytes(), key_pem: identity.key_pem.into_bytes() };
        http(connect(&self.server, Some(&identity)).await).await
    }

    /// The same, for HTTP/2.
    pub(crate) async fn http2<B>(&self) -> http2::SendRequest<B>
    where
        B: hyper::body::Body<Data = Bytes, Error = std::convert::Infallible> + Send + Unpin + 'static,
    {
        self.http2_as(Some(&self.identity("admin", &["system:masters"]))).await
    }

    /// The same, with somebody's certificate or none.
    pub(crate) async fn http2_as<B>(&self, identity: Option<&tls::Identity>) -> http2::SendRequest<B>
    where
        B: hyper::body::Body<Data = Bytes, Error = std::convert::Infallible> + Send + Unpin + 'static,
    {
        let stream = shake_hands(&self.server, identity, b"h2").await;
        let io = TokioIo::new(stream);
        let (sender, connection) = http2::handshake(TokioExecutor::new(), io).await.expect("speaks HTTP/2");
        drop(gantry_common::task::spawn("client", connection));
        sender
    }

    /// A REST request with an administrator's certificate.
    pub(crate) async fn rest(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let identity = self.server.identity("admin", &["system:masters"]);
        let identity =
            tls::Identity { cert_pem: identity.cert_pem.into_bytes(), key_pem: identity.key_pem.into_bytes() };
        request(&self.server, Some(&identity), method, path, headers, body).await
    }

    /// A REST request without a certificate.
    pub(crate) async fn bare(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        request(&self.server, None, method, path, headers, body).await
    }
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) code: u16,
    pub(crate) headers: http::HeaderMap,
    pub(crate) text: String,
    pub(crate) bytes: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|e| panic!("no JSON ({e}): {}", self.text))
    }
}

/// A TLS connection for HTTP/1.1, with nothing sent on it.
pub(crate) async fn connect(server: &TestServer, identity: Option<&tls::Identity>) -> TlsStream<TcpStream> {
    shake_hands(server, identity, b"http/1.1").await
}

async fn shake_hands(
    server: &TestServer,
    identity: Option<&tls::Identity>,
    protocol: &'static [u8],
) -> TlsStream<TcpStream> {
    let address = server.url().trim_start_matches("https://").to_owned();
    let stream = TcpStream::connect(&address).await.expect("connects");
    shake_hands_on(stream, server, identity, protocol).await
}

/// TLS on a connection that is there.
pub(crate) async fn shake_hands_on(
    stream: TcpStream,
    server: &TestServer,
    identity: Option<&tls::Identity>,
    protocol: &'static [u8],
) -> TlsStream<TcpStream> {
    let config = tls::client_config(server.ca_pem().as_bytes(), identity, &[protocol]).expect("valid");
    let name = "localhost".try_into().expect("a name");
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.expect("shakes hands")
}

/// Sends a request; the answer's body is not read yet.
pub(crate) async fn send(
    server: &TestServer,
    identity: Option<&tls::Identity>,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> http::Response<Incoming> {
    send_on(&mut http(connect(server, identity).await).await, method, path, headers, body).await
}

/// HTTP/1.1 on a connection: requests can follow each other.
pub(crate) async fn http(stream: TlsStream<TcpStream>) -> SendRequest<Full<Bytes>> {
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.expect("speaks HTTP");
    drop(gantry_common::task::spawn("client", connection));
    sender
}

/// Sends a request on a connection; the answer's body is not read yet.
pub(crate) async fn send_on(
    sender: &mut SendRequest<Full<Bytes>>,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> http::Response<Incoming> {
    let mut request = http::Request::builder().method(method).uri(path).header("host", "localhost");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(Bytes::from(body.to_owned()))).expect("a request");
    sender.ready().await.expect("the server keeps the connection");
    sender.send_request(request).await.expect("answers")
}

/// Sends a request and reads its answer.
pub(crate) async fn request(
    server: &TestServer,
    identity: Option<&tls::Identity>,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    answer(send(server, identity, method, path, headers, body).await).await
}

/// A REST request with somebody's certificate.
pub(crate) async fn request_as(
    cluster: &Cluster,
    identity: &tls::Identity,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    request(&cluster.server, Some(identity), method, path, headers, body).await
}

/// Reads an answer to its end.
pub(crate) async fn answer(response: http::Response<Incoming>) -> Answer {
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.expect("a body").to_bytes();
    Answer {
        code: parts.status.as_u16(),
        headers: parts.headers,
        text: String::from_utf8_lossy(&bytes).into_owned(),
        bytes,
    }
}

pub(crate) fn configmap(name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"a": value}})
}

pub(crate) fn pod(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": "x"}},
        "spec": {"containers": [{"name": "c", "image": "nginx:1"}]},
    })
}

/// Says why a test shows nothing here: `cargo xtask test` prints what is in the file named by `GANTRY_SKIPS`.
pub(crate) fn skip(why: &str) {
    let line = format!("{}: {why}", std::thread::current().name().unwrap_or("a test"));
    eprintln!("skipped: {line}");
    if let Some(path) = std::env::var_os("GANTRY_SKIPS") {
        let mut file = std::fs::File::options().append(true).open(path).expect("the file of skips is there");
        std::io::Write::write_all(&mut file, format!("{line}\n").as_bytes()).expect("it can be written");
    }
}
