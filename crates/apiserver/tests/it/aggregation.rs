//! Group versions of other API servers: registered, checked, listed, and passed on in the user's name.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use gantry_apiserver::RequestHeader;
use gantry_apiserver::testing::{Builder, Pki};
use gantry_client::{Client, DeleteParams, ListParams, Patch, ResourceId, View, WriteParams};
use gantry_common::{task, tls};
use http::Response;
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;

use crate::backends::{Behaviour, Node, endpoint, raw, running_pod, service};
use crate::kubectl_documents::{Kubectl, old};
use crate::support::{Cluster, connect, request};

const SERVICES: &str = "/apis/apiregistration.k8s.io/v1/apiservices";
const WIDGETS: &str = "/apis/example.com/v1/namespaces/default/widgets";

/// What the other server was asked, and by whom.
#[derive(Debug, Clone)]
struct Asked {
    method: String,
    uri: String,
    headers: http::HeaderMap,
    /// Whether the connection showed a certificate.
    certified: bool,
}

impl Asked {
    fn all(&self, name: &str) -> Vec<&str> {
        self.headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect()
    }
}

/// A cluster in front of another API server, which is a pod's.
struct World {
    cluster: Cluster,
    front: Arc<Pki>,
    asked: Arc<Mutex<Vec<Asked>>>,
    /// Whether the other server answers nothing but errors.
    ill: Arc<AtomicBool>,
    _node: Node,
    _files: tempfile::TempDir,
}

fn answer(asked: &Asked) -> Response<Full<Bytes>> {
    let json = |value: Value| {
        let response = Response::builder().header("content-type", "application/json");
        response.body(Full::new(Bytes::from(value.to_string()))).expect("a response")
    };
    let path = asked.uri.split('?').next().unwrap_or_default();
    match path {
        "/apis/example.com/v1" | "/apis/metrics.k8s.io/v1beta1" => json(json!({
            "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": path.trim_start_matches("/apis/"),
            "resources": [{"name": "widgets", "singularName": "widget", "namespaced": true, "kind": "Widget", "verbs": ["get", "list"]}],
        })),
        "/openapi/v2" if asked.all("if-none-match") == ["\"W1\""] => {
            Response::builder().status(304).body(Full::default()).expect("a response")
        }
        "/openapi/v2" => {
            let mut response = json(swagger());
            response.headers_mut().insert("etag", http::HeaderValue::from_static("\"W1\""));
            response
        }
        "/openapi/v3" => json(json!({"paths": {"apis/example.com/v1":
            {"serverRelativeURL": "/openapi/v3/apis/example.com/v1?hash=ABC"}}})),
        uri if uri.starts_with("/openapi/v3/apis/example.com/v1") => json(json!({"openapi": "3.0.0"})),
        "/apis/example.com/v1/namespaces/default/widgets/moved" => {
            let response = Response::builder().status(302).header("location", "https://elsewhere.example/");
            response.body(Full::default()).expect("a response")
        }
        _ => json(json!({"kind": "WidgetList", "apiVersion": "example.com/v1", "items": []})),
    }
}

/// What the other server says in version 2: a definition of its own, and one that has a name of ours.
fn swagger() -> Value {
    let widget = json!({"$ref": "#/definitions/com.example.v1.Widget"});
    let kind = json!([{"group": "example.com", "version": "v1", "kind": "Widget"}]);
    json!({
        "swagger": "2.0", "info": {"title": "widgets", "version": "v1"},
        "paths": {
            "/apis/example.com/v1/namespaces/{namespace}/widgets/{name}": {"get": {"operationId": "readWidget",
                "parameters": [{"name": "name", "in": "path", "required": true, "type": "string"}],
                "responses": {"200": {"description": "OK", "schema": widget}}, "x-kubernetes-action": "get",
                "x-kubernetes-group-version-kind": kind[0]}},
            "/healthz": {"get": {}},
        },
        "definitions": {
            "com.example.v1.Widget": {"type": "object", "description": "Widget does things.", "x-kubernetes-group-version-kind": kind,
                "properties": {
                    "apiVersion": {"type": "string"}, "kind": {"type": "string"},
                    "metadata": {"$ref": "#/definitions/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"},
                    "size": {"type": "integer", "format": "int32", "description": "How large it is."}}},
            "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta": {"type": "object", "description": "Another one.",
                "properties": {"name": {"type": "string"}}},
        },
    })
}

/// The other server: it serves HTTPS as `web.default.svc` and may be shown certificates of the front proxy's CA.
async fn other_server(
    serving: tls::Identity,
    front_ca: &str,
    asked: Arc<Mutex<Vec<Asked>>>,
    ill: Arc<AtomicBool>,
) -> std::net::SocketAddr {
    let key = tls::certified_key(&serving, "the other server").expect("valid");
    let roots = tls::roots(front_ca.as_bytes(), "the front proxy's CA").expect("valid");
    let resolver = Arc::new(rustls::sign::SingleCertAndKey::from(key));
    let config = tls::server_config(resolver, Some(roots), &[b"http/1.1"]).expect("valid");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    raw(move |stream| {
        let (acceptor, asked, ill) = (acceptor.clone(), asked.clone(), ill.clone());
        async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let certified = stream.get_ref().1.peer_certificates().is_some();
            let service = hyper::service::service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
                let (asked, ill) = (asked.clone(), ill.clone());
                async move {
                    if ill.load(Ordering::Relaxed) {
                        let response = Response::builder().status(500).body(Full::default());
                        return Ok(response.expect("a response"));
                    }
                    let upgrade = request.headers().contains_key("upgrade").then(|| hyper::upgrade::on(&mut request));
                    let seen = Asked {
                        method: request.method().to_string(),
                        uri: request.uri().to_string(),
                        headers: request.headers().clone(),
                        certified,
                    };
                    asked.lock().push(seen.clone());
                    Ok::<_, std::convert::Infallible>(match upgrade {
                        Some(upgrade) => switch(&request, upgrade),
                        None => answer(&seen),
                    })
                }
            });
            let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            drop(connection.with_upgrades().await);
        }
    })
    .await
}

/// Becomes a WebSocket that repeats what it is told.
fn switch(request: &http::Request<hyper::body::Incoming>, upgrade: hyper::upgrade::OnUpgrade) -> Response<Full<Bytes>> {
    let key = request.headers().get("sec-websocket-key").expect("a key").as_bytes().to_vec();
    drop(task::spawn("echo", async move {
        let stream = TokioIo::new(upgrade.await.expect("upgraded"));
        let role = tokio_tungstenite::tungstenite::protocol::Role::Server;
        let mut socket = tokio_tungstenite::WebSocketStream::from_raw_socket(stream, role, None).await;
        while let Some(Ok(message)) = socket.next().await {
            if message.is_text() && socket.send(message).await.is_err() {
                return;
            }
        }
    }));
    Response::builder()
        .status(101)
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-accept", tokio_tungstenite::tungstenite::handshake::derive_accept_key(&key))
        .body(Full::default())
        .expect("a response")
}

impl World {
    async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// The same, with a change to how the server is told to be.
    async fn with(change: impl FnOnce(&mut gantry_apiserver::Config) + Send + 'static) -> Self {
        let files = tempfile::tempdir().expect("a folder");
        let front = Arc::new(Pki::new());
        let client = front.client("front-proxy-client", &[]);
        let write = |name: &str, text: &str| {
            let path = files.path().join(name);
            std::fs::write(&path, text).expect("written");
            path
        };
        let (ca, cert) = (write("front-ca.crt", &front.ca_pem()), write("front.crt", &client.cert_pem));
        let key = write("front.key", &client.key_pem);
        let one = |name: &str| vec![name.to_owned()];
        let builder = Builder::default().configure(move |config| {
            config.proxy_client_cert_file = Some(cert);
            config.proxy_client_key_file = Some(key);
            config.request_header = RequestHeader {
                client_ca_file: Some(ca),
                allowed_names: one("front-proxy-client"),
                username_headers: one("X-Remote-User"),
                uid_headers: one("X-Remote-Uid"),
                group_headers: one("X-Remote-Group"),
                extra_headers_prefix: one("X-Remote-Extra-"),
            };
            change(config);
        });
        let cluster = Cluster::with(builder).await;
        cluster.default_account().await;
        let pod = running_pod(&cluster, "p", "10.244.1.7").await;
        service(&cluster, json!([endpoint(&pod, "10.244.1.7")])).await;
        let identity = cluster.server.serving(&["web.default.svc"]);
        let serving =
            tls::Identity { cert_pem: identity.cert_pem.into_bytes(), key_pem: identity.key_pem.into_bytes() };
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let ill: Arc<AtomicBool> = Arc::default();
        let address = other_server(serving, &front.ca_pem(), asked.clone(), ill.clone()).await;
        let node = Node::start(&cluster, "n1", Behaviour { backend: Some(address), ..Behaviour::default() }).await;
        Self { cluster, front, asked, ill, _node: node, _files: files }
    }

    /// Registers the other server for a group version.
    async fn register(&self, group: &str, version: &str, more: Value) {
        use base64::Engine;
        let bundle = base64::engine::general_purpose::STANDARD.encode(self.cluster.server.ca_pem());
        let mut spec = json!({"group": group, "version": version, "groupPriorityMinimum": 2000, "versionPriority": 15,
            "caBundle": bundle, "service": {"namespace": "default", "name": "web", "port": 80}});
        for (key, value) in more.as_object().expect("a map") {
            spec[key] = value.clone();
        }
        let name = format!("{version}.{group}");
        let object = json!({"metadata": {"name": name}, "spec": spec}).to_string();
        let answer = self.cluster.rest("POST", SERVICES, &[], &object).await;
        if answer.code == 409 {
            let path = format!("{SERVICES}/{name}");
            let merge = [("content-type", "application/merge-patch+json")];
            let answer = self.cluster.rest("PATCH", &path, &merge, &json!({"spec": spec}).to_string()).await;
            assert_eq!(answer.code, 200, "{}", answer.text);
        } else {
            assert_eq!(answer.code, 201, "{}", answer.text);
        }
    }

    /// What was asked about widgets: what else is asked, this server asks by the clock.
    fn about_widgets(&self) -> Vec<Asked> {
        self.asked.lock().iter().filter(|asked| asked.uri.contains("/widgets")).cloned().collect()
    }

    /// Waits until the condition `Available` has this reason; gives it.
    async fn condition(&self, name: &str, reason: &str) -> Value {
        loop {
            let object = self.cluster.rest("GET", &format!("{SERVICES}/{name}"), &[], "").await.json();
            let condition = object["status"]["conditions"][0].clone();
            if condition["reason"] == reason {
                return condition;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// Waits until requests about widgets are passed on.
    async fn served(&self) {
        self.condition("v1.example.com", "Passed").await;
        while self.cluster.rest("GET", WIDGETS, &[], "").await.code != 200 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn what_is_served_here_is_registered() {
    let cluster = Cluster::start().await;
    let names = loop {
        let list = cluster.rest("GET", SERVICES, &[], "").await.json();
        let items = list["items"].as_array().expect("a list").clone();
        let is_there = |name: &str| items.iter().any(|item| item["metadata"]["name"] == name);
        // They are judged after they were made.
        let judged = items.iter().filter(|item| item["status"]["conditions"].is_array()).count();
        if judged > 15 && judged == items.len() && is_there("v1beta1.metrics.k8s.io") {
            break items;
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    let named = |name: &str| names.iter().find(|item| item["metadata"]["name"] == name).expect(name);
    assert_eq!(named("v1.")["spec"]["groupPriorityMinimum"], 18_000);
    let apps = named("v1.apps");
    assert_eq!(apps["metadata"]["labels"]["kube-aggregator.kubernetes.io/automanaged"], "onstart");
    let condition = &apps["status"]["conditions"][0];
    assert_eq!(
        (&condition["type"], &condition["status"], &condition["reason"]),
        (&json!("Available"), &json!("True"), &json!("Local"))
    );
    assert_eq!(named("v1beta1.metrics.k8s.io")["metadata"].get("labels"), None);
    let path = format!("{SERVICES}/v1beta1.metrics.k8s.io");
    assert_eq!(cluster.rest("DELETE", &path, &[], "").await.code, 200);
    while cluster.rest("GET", &path, &[], "").await.code != 200 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn requests_are_passed_on_in_the_users_name() {
    let world = World::start().await;
    world.register("example.com", "v1", json!({})).await;
    world.served().await;
    let cluster = &world.cluster;
    let forged = [("x-remote-user", "root"), ("x-remote-group", "system:masters"), ("x-remote-extra-a", "b")];
    let answer = cluster.rest("GET", &format!("{WIDGETS}?limit=5"), &forged, "").await;
    assert_eq!((answer.code, &answer.json()["kind"]), (200, &json!("WidgetList")));
    let seen = world.about_widgets().pop().expect("asked");
    assert_eq!((seen.method.as_str(), seen.uri), ("GET", format!("{WIDGETS}?limit=5")));
    assert!(seen.certified, "this server shows its certificate as a front proxy");
    let all = |name: &str| seen.headers.get_all(name).iter().filter_map(|v| v.to_str().ok()).collect::<Vec<_>>();
    assert_eq!(all("x-remote-user"), ["admin"]);
    assert_eq!(all("x-remote-group"), ["system:masters", "system:authenticated"]);
    assert!(all("x-remote-extra-a").is_empty());
    // Impersonation ends here, and what is passed on is who is acted as.
    let acting = [("impersonate-user", "bob"), ("impersonate-group", "system:masters")];
    assert_eq!(cluster.rest("DELETE", &format!("{WIDGETS}/w"), &acting, "").await.code, 200);
    let seen = world.about_widgets().pop().expect("asked");
    assert_eq!((seen.all("x-remote-user"), seen.all("impersonate-user").len()), (vec!["bob"], 0));
    let alice = cluster.identity("alice", &[]);
    let count = world.about_widgets().len();
    let refused = request(&cluster.server, Some(&alice), "GET", WIDGETS, &[], "").await;
    assert_eq!(refused.code, 403);
    assert!(
        refused.text.contains("cannot list resource \\\"widgets\\\" in API group \\\"example.com\\\""),
        "{}",
        refused.text
    );
    assert_eq!(cluster.bare("GET", WIDGETS, &[], "").await.code, 403);
    assert_eq!(world.about_widgets().len(), count, "who may not is not passed on");
}

#[tokio::test]
async fn cve_2022_3172_another_server_sends_nobody_elsewhere() {
    let world = World::start().await;
    world.register("example.com", "v1", json!({})).await;
    world.served().await;
    let moved = world.cluster.rest("GET", &format!("{WIDGETS}/moved"), &[], "").await;
    assert_eq!((moved.code, moved.headers.contains_key("location")), (502, false), "{}", moved.text);
}

#[tokio::test]
async fn what_is_asked_for_is_what_is_sent() {
    // Only what lasts needs a place among the sessions.
    let world = World::with(|config| config.max_sessions = 0).await;
    world.register("example.com", "v1", json!({})).await;
    world.served().await;
    let cluster = &world.cluster;
    let rules = json!([{"verbs": ["get"], "apiGroups": ["example.com"], "resources": ["widgets"]},
        {"verbs": ["list", "watch"], "apiGroups": ["example.com"], "resources": ["widgets"], "resourceNames": ["mine"]}]);
    let rbac = "rbac.authorization.k8s.io";
    let role = json!({"metadata": {"name": "widgets"}, "rules": rules});
    let binding = json!({"metadata": {"name": "widgets"}, "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name":
        "widgets"}, "subjects": [{"kind": "User", "apiGroup": rbac, "name": "alice"}]});
    for (kind, body) in [("clusterroles", role), ("clusterrolebindings", binding)] {
        let made = cluster.rest("POST", &format!("/apis/{rbac}/v1/{kind}"), &[], &body.to_string()).await;
        assert_eq!(made.code, 201, "{}", made.text);
    }
    let alice = cluster.identity("alice", &[]);
    let ask = async |path: &str| request(&cluster.server, Some(&alice), "GET", path, &[], "").await.code;
    // The index follows by a watch.
    while ask(&format!("{WIDGETS}/w")).await == 403 {}
    // The server asks for discovery itself.
    let passed = || world.asked.lock().iter().filter(|asked| asked.uri.contains("widgets")).count();
    let count = passed();
    let base = WIDGETS.rsplit_once('/').expect("a path").0;
    for (path, code) in [
        (format!("{WIDGETS}/w?watch=1"), 200),
        (format!("{WIDGETS}?fieldSelector=metadata.name%3Dmine"), 200),
        (format!("{WIDGETS}?watch=1&fieldSelector=metadata.name%3Dmine"), 429),
        (format!("{WIDGETS}?watch=1"), 403),
        (WIDGETS.to_owned(), 403),
        (format!("{base}//widgets/w"), 403),
        (format!("{WIDGETS}//w"), 403),
    ] {
        assert_eq!(ask(&path).await, code, "{path}");
    }
    assert_eq!(passed(), count + 2, "what may not be asked for is not passed on");
}

#[tokio::test]
async fn upgrades_pass() {
    let world = World::start().await;
    world.register("example.com", "v1", json!({})).await;
    world.served().await;
    let admin = world.cluster.identity("admin", &["system:masters"]);
    let stream = connect(&world.cluster.server, Some(&admin)).await;
    let request = http::Request::builder()
        .uri(format!("wss://localhost{WIDGETS}/w/exec"))
        .header("host", "localhost")
        .header("connection", "Upgrade")
        .header("upgrade", "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", generate_key())
        .body(())
        .expect("a request");
    let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await.expect("switched");
    socket.send(Message::text("hello")).await.expect("sent");
    assert_eq!(socket.next().await.expect("open").expect("a message"), Message::text("hello"));
}

#[tokio::test]
async fn discovery_and_openapi_hold_what_others_serve() {
    let world = World::start().await;
    world.register("example.com", "v1", json!({})).await;
    world.served().await;
    let cluster = &world.cluster;
    let accept = [("accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")];
    let all = cluster.rest("GET", "/apis", &accept, "").await;
    let found = all.json()["items"]
        .as_array()
        .expect("a list")
        .iter()
        .find(|g| g["metadata"]["name"] == "example.com")
        .cloned();
    let version = found.expect("listed")["versions"][0].clone();
    assert_eq!((&version["version"], &version["freshness"]), (&json!("v1"), &json!("Current")));
    assert_eq!(
        version["resources"][0]["responseKind"],
        json!({"group": "example.com", "version": "v1", "kind": "Widget"})
    );
    let etag = all.headers["etag"].to_str().expect("text").to_owned();
    let same = cluster.rest("GET", "/apis", &[accept[0], ("if-none-match", &etag)], "").await;
    assert_eq!(same.code, 304);
    let old = cluster.rest("GET", "/apis", &[], "").await.json();
    let named = |g: &&Value| g["name"] == "example.com";
    let group = old["groups"].as_array().expect("a list").iter().find(named).cloned().expect("listed");
    assert_eq!(group["preferredVersion"]["groupVersion"], "example.com/v1");
    assert_eq!(cluster.rest("GET", "/apis/example.com", &[], "").await.json()["kind"], "APIGroup");
    assert_eq!(cluster.rest("GET", "/apis/example.com/v1", &[], "").await.json()["resources"][0]["name"], "widgets");
    let index = cluster.rest("GET", "/openapi/v3", &[], "").await.json();
    let link = index["paths"]["apis/example.com/v1"]["serverRelativeURL"].as_str().expect("a link").to_owned();
    assert_eq!(cluster.rest("GET", &link, &[], "").await.json()["openapi"], "3.0.0");
}

#[tokio::test]
async fn version_2_of_openapi_holds_what_others_serve() {
    let world = World::start().await;
    let cluster = &world.cluster;
    let before = cluster.rest("GET", "/openapi/v2", &[], "").await;
    world.register("example.com", "v1", json!({})).await;
    world.served().await;
    let after = cluster.rest("GET", "/openapi/v2", &[], "").await;
    assert_ne!(before.headers["etag"], after.headers["etag"]);
    let etag = after.headers["etag"].to_str().expect("text").to_owned();
    let same = cluster.rest("GET", "/openapi/v2", &[("if-none-match", &etag)], "").await;
    assert_eq!(same.code, 304);
    let (before, after) = (before.json(), after.json());
    let paths = |document: &Value| document["paths"].as_object().expect("a map").len();
    assert_eq!(paths(&after), paths(&before) + 1);
    const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";
    let definitions = &after["definitions"];
    assert_eq!(definitions[META], before["definitions"][META]);
    assert_eq!(definitions[format!("{META}_v2")]["description"], "Another one.");
    let metadata = &definitions["com.example.v1.Widget"]["properties"]["metadata"]["$ref"];
    assert_eq!(metadata, &json!(format!("#/definitions/{META}_v2")));
    // It is not fetched again as long as it is what it was.
    let asked = || world.asked.lock().iter().filter(|asked| asked.uri == "/openapi/v2").cloned().collect::<Vec<_>>();
    let count = asked().len();
    world.register("example.com", "v1", json!({"versionPriority": 16})).await;
    while asked().len() == count {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(asked()[count].all("if-none-match"), ["\"W1\""]);
    let now = cluster.rest("GET", "/openapi/v2", &[], "").await;
    assert_eq!(now.headers["etag"].as_bytes(), etag.as_bytes());
    // An old kubectl knows no other version.
    let Some(kubectl) = Kubectl::new(cluster, old()).await else { return };
    let explained = ["KIND:     Widget", "VERSION:  example.com/v1", "Widget does things.", "size\t<integer>"];
    kubectl.prints("explain widgets", 0, &explained).await;
    kubectl.prints("explain widgets.metadata", 0, &["Another one."]).await;
    kubectl.prints("explain deployments.spec", 0, &["Number of desired pods."]).await;
}

/// Those of custom kinds come and go with their definitions.
#[tokio::test]
async fn custom_groups_are_registered_while_the_server_runs() {
    let cluster = Cluster::start().await;
    let definition = |version: &str| {
        json!({"metadata": {"name": "things.late.example.com"}, "spec": {"group": "late.example.com", "scope": "Namespaced",
            "names": {"plural": "things", "kind": "Thing"},
            "versions": [{"name": version, "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]}})
    };
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let made = cluster.rest("POST", definitions, &[], &definition("v1beta1").to_string()).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let service = |version: &str| format!("{SERVICES}/{version}.late.example.com");
    let until = async |path: String, fine: &dyn Fn(&crate::support::Answer) -> bool| {
        loop {
            let answer = cluster.rest("GET", &path, &[], "").await;
            if fine(&answer) {
                return answer.json();
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let is_local = |a: &crate::support::Answer| a.json()["status"]["conditions"][0]["reason"] == "Local";
    let found = until(service("v1beta1"), &is_local).await;
    assert_eq!(
        found["spec"],
        json!({"group": "late.example.com", "version": "v1beta1", "groupPriorityMinimum": 1000, "versionPriority": 100})
    );
    assert_eq!(found["metadata"]["labels"], json!({"kube-aggregator.kubernetes.io/automanaged": "true"}));
    // It is kept as it should be.
    let merge = [("content-type", "application/merge-patch+json")];
    let changed = cluster.rest("PATCH", &service("v1beta1"), &merge, r#"{"spec": {"versionPriority": 1}}"#).await;
    assert_eq!(changed.code, 200, "{}", changed.text);
    until(service("v1beta1"), &|a| a.json()["spec"]["versionPriority"] == 100).await;
    assert_eq!(cluster.rest("DELETE", &service("v1beta1"), &[], "").await.code, 200);
    until(service("v1beta1"), &is_local).await;
    // One that its owner has taken over is left alone; the others go with their definition.
    let add = r#"[{"op": "add", "path": "/spec/versions/-", "value": {"name": "v1", "served": true, "storage": false, "schema": {"openAPIV3Schema": {"type": "object"}}}}]"#;
    let json_patch = [("content-type", "application/json-patch+json")];
    let path = format!("{definitions}/things.late.example.com");
    assert_eq!(cluster.rest("PATCH", &path, &json_patch, add).await.code, 200);
    until(service("v1"), &is_local).await;
    let own = r#"{"metadata": {"labels": {"kube-aggregator.kubernetes.io/automanaged": null}}}"#;
    assert_eq!(cluster.rest("PATCH", &service("v1"), &merge, own).await.code, 200);
    assert_eq!(cluster.rest("DELETE", &path, &[], "").await.code, 200);
    until(service("v1beta1"), &|a| a.code == 404).await;
    assert_eq!(cluster.rest("GET", &service("v1"), &[], "").await.code, 200);
}

#[tokio::test]
async fn what_is_wrong_with_a_server_is_its_condition() {
    let world = World::start().await;
    let path = "/apis/example.com/v1/namespaces/default/widgets";
    let service = |name: &str, port: u16| json!({"service": {"namespace": "default", "name": name, "port": port}});
    world.register("example.com", "v1", service("nobody", 443)).await;
    let missing = world.condition("v1.example.com", "ServiceNotFound").await;
    assert_eq!(
        (&missing["status"], &missing["message"]),
        (&json!("False"), &json!("service/nobody in \"default\" is not present"))
    );
    let unavailable = world.cluster.rest("GET", path, &[], "").await;
    assert_eq!((unavailable.code, unavailable.text.as_str()), (503, "service unavailable\n"));
    world.register("example.com", "v1", service("web", 81)).await;
    let port = world.condition("v1.example.com", "ServicePortError").await;
    assert_eq!(port["message"], "service/web in \"default\" is not listening on port 81");
    // The CA of the front proxy has not signed the other server's certificate.
    use base64::Engine;
    let wrong = base64::engine::general_purpose::STANDARD.encode(world.front.ca_pem());
    let mut spec = service("web", 80);
    spec["caBundle"] = wrong.into();
    world.register("example.com", "v1", spec).await;
    let failed = world.condition("v1.example.com", "FailedDiscoveryCheck").await;
    assert!(
        failed["message"].as_str().is_some_and(|m| m.starts_with("failing or missing response from https://")),
        "{failed}"
    );
    let mut spec = service("web", 80);
    spec["caBundle"] = Value::Null;
    spec["insecureSkipTLSVerify"] = true.into();
    world.register("example.com", "v1", spec).await;
    world.served().await;
    let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/web-1";
    let merge = [("content-type", "application/merge-patch+json")];
    assert_eq!(world.cluster.rest("PATCH", slices, &merge, &json!({"endpoints": []}).to_string()).await.code, 200);
    let none = world.condition("v1.example.com", "MissingEndpoints").await;
    assert_eq!(none["message"], "endpoints for service/web in \"default\" have no addresses with port name \"http\"");
    assert_eq!(world.cluster.rest("DELETE", &format!("{SERVICES}/v1.example.com"), &[], "").await.code, 200);
    while world.cluster.rest("GET", path, &[], "").await.code != 404 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_server_that_recovers_is_noticed_without_an_event() {
    let world = World::start().await;
    world.ill.store(true, Ordering::Relaxed);
    world.register("example.com", "v1", json!({})).await;
    let failed = world.condition("v1.example.com", "FailedDiscoveryCheck").await;
    let message = failed["message"].as_str().unwrap_or_default();
    assert!(
        message.starts_with("failing or missing response from https://10.244.1.7:8080/apis/example.com/v1: bad status"),
        "{message}"
    );
    world.ill.store(false, Ordering::Relaxed);
    // Long before everybody is asked again.
    let soon = std::time::Duration::from_secs(20);
    tokio::time::timeout(soon, world.served()).await.expect("it is asked again soon");
}

#[tokio::test]
async fn a_metrics_server_takes_over_from_this_one() {
    let world = World::start().await;
    world.condition("v1beta1.metrics.k8s.io", "Local").await;
    world.register("metrics.k8s.io", "v1beta1", json!({"groupPriorityMinimum": 100, "versionPriority": 100})).await;
    world.condition("v1beta1.metrics.k8s.io", "Passed").await;
    let path = "/apis/metrics.k8s.io/v1beta1/nodes";
    while !world.cluster.rest("GET", path, &[], "").await.text.contains("WidgetList") {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(world.cluster.rest("DELETE", &format!("{SERVICES}/v1beta1.metrics.k8s.io"), &[], "").await.code, 200);
    world.condition("v1beta1.metrics.k8s.io", "Local").await;
    while !world.cluster.rest("GET", path, &[], "").await.text.contains("NodeMetricsList") {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn other_servers_learn_whom_to_believe() {
    let world = World::start().await;
    let path = "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication";
    let map = loop {
        let answer = world.cluster.rest("GET", path, &[], "").await;
        if answer.code == 200 {
            break answer.json();
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    let data = &map["data"];
    assert_eq!(data["requestheader-allowed-names"], "[\"front-proxy-client\"]");
    assert_eq!(data["requestheader-username-headers"], "[\"X-Remote-User\"]");
    assert_eq!(data["requestheader-extra-headers-prefix"], "[\"X-Remote-Extra-\"]");
    let squeezed = |text: &str| text.split_whitespace().collect::<String>();
    let text = |key: &str| squeezed(data[key].as_str().unwrap_or_default());
    assert_eq!(text("requestheader-client-ca-file"), squeezed(&world.front.ca_pem()));
    assert_eq!(text("client-ca-file"), squeezed(&world.cluster.server.ca_pem()));
    // The Role that lets them read it.
    let role =
        "/apis/rbac.authorization.k8s.io/v1/namespaces/kube-system/roles/extension-apiserver-authentication-reader";
    assert_eq!(world.cluster.rest("GET", role, &[], "").await.code, 200);
}

#[tokio::test]
async fn calls_of_grpc_are_passed_on_in_the_users_name() {
    let world = World::start().await;
    world.register("example.com", "v1", json!({})).await;
    world.served().await;
    let widgets = |client: &Client| client.dynamic(ResourceId::new("example.com", "v1", "widgets"), "default");
    let last = || {
        let last = world.about_widgets().pop().expect("asked");
        (format!("{} {}", last.method, last.uri), last.all("x-remote-user").join(","), last.certified)
    };
    let admin = world.cluster.admin();
    let named = |asked: &str| (asked.to_owned(), "admin".to_owned(), true);
    let listed = widgets(&admin).list(&ListParams::labels("a=b"), View::Metadata).await.expect("listed");
    assert_eq!((listed.items.len(), &listed.list["kind"]), (0, &json!("WidgetList")));
    assert_eq!(last(), named(&format!("GET {WIDGETS}?labelSelector=a%3Db")));
    let params = DeleteParams::default();
    widgets(&admin).delete_collection(&ListParams::default(), &params).await.expect("deleted");
    assert_eq!(last(), named(&format!("DELETE {WIDGETS}")));
    widgets(&admin).delete("x", &params).await.expect("deleted");
    assert_eq!(last(), named(&format!("DELETE {WIDGETS}/x")));
    assert_eq!(widgets(&admin).get("y", "", View::Full).await.expect("read")["kind"], "WidgetList");
    assert_eq!(last(), named(&format!("GET {WIDGETS}/y")));
    let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    let write = WriteParams { field_manager: "me".to_owned(), ..WriteParams::default() };
    widgets(&admin).patch("x", "", &patch, &write).await.expect("patched");
    assert_eq!(last(), named(&format!("PATCH {WIDGETS}/x?fieldManager=me")));
    let patched = world.about_widgets().pop().expect("asked");
    assert_eq!(patched.all("content-type"), ["application/merge-patch+json"]);
    // What the caller may not do, the other server is not asked.
    let before = world.about_widgets().len();
    let bob = world.cluster.client("bob", &[]);
    let refused = widgets(&bob).delete("x", &params).await.expect_err("bob may not");
    assert!(refused.is_forbidden(), "{refused}");
    assert_eq!(world.about_widgets().len(), before);
    // A redirection is followed nowhere.
    let moved = widgets(&admin).get("moved", "", View::Full).await.expect_err("it is elsewhere");
    assert_eq!(moved.status().map(|status| status.code), Some(302), "{moved}");
    // Discovery has what others serve, and says when it cannot be known.
    let version = async || {
        let list = admin.resources().await.expect("answered");
        let groups = list["items"].as_array().expect("groups").clone();
        let group = groups.into_iter().find(|group| group["metadata"]["name"] == "example.com").expect("listed");
        group["versions"][0].clone()
    };
    let known = version().await;
    assert_eq!((&known["freshness"], &known["resources"][0]["resource"]), (&json!("Current"), &json!("widgets")));
    world.ill.store(true, Ordering::Relaxed);
    world.condition("v1.example.com", "FailedDiscoveryCheck").await;
    while version().await["freshness"] != "Stale" {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let away = widgets(&admin).list(&ListParams::default(), View::Full).await.expect_err("it does not answer");
    assert_eq!(away.status().map(|status| status.code), Some(503), "{away}");
}
