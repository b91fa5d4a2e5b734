//! Attacks through proxies that other orchestrators have known, each under its name.

use http::Response;
use http_body_util::Full;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;

use crate::backends::{Backend, Behaviour, Node, cluster_with_pod, endpoint, node_object, raw, running_pod, service};
use crate::support::{Answer, Cluster, connect};

const POD: &str = "/api/v1/namespaces/default/pods/p/proxy";
const UPGRADE: [(&str, &str); 2] = [("connection", "Upgrade"), ("upgrade", "websocket")];

/// Reads until `text` holds `until` or the other end is done.
async fn read_until(stream: &mut (impl AsyncReadExt + Unpin), until: &str) -> String {
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    while !String::from_utf8_lossy(&text).contains(until) {
        match stream.read(&mut buffer).await {
            Ok(bytes @ 1..) => text.extend_from_slice(&buffer[..bytes]),
            _ => break,
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// A backend that answers the first request with `answer` and reports everything that it is sent, and its end.
async fn reporting(answer: &'static str) -> (std::net::SocketAddr, mpsc::Receiver<String>) {
    let (report, reports) = mpsc::channel(16);
    let address = raw(move |mut stream| {
        let report = report.clone();
        async move {
            let head = read_until(&mut stream, "\r\n\r\n").await;
            report.send(head).await.expect("room");
            drop(stream.write_all(answer.as_bytes()).await);
            let rest = read_until(&mut stream, "never").await;
            report.send(format!("rest: {rest}")).await.expect("room");
        }
    })
    .await;
    (address, reports)
}

#[tokio::test]
async fn cve_2018_1002105_a_refused_upgrade_leaves_no_connection_behind() {
    let (address, mut reports) =
        reporting("HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\nconnection: keep-alive\r\n\r\nno").await;
    let (cluster, _node, _) = cluster_with_pod(address).await;
    let mut client = connect(&cluster.server, Some(&cluster.identity("admin", &["system:masters"]))).await;
    let request = format!("GET {POD}/ws HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n");
    let smuggled = "GET /secret HTTP/1.1\r\nhost: x\r\n\r\n";
    // The second request is meant for the backend, behind the API server's back.
    client.write_all(format!("{request}{smuggled}").as_bytes()).await.expect("sent");
    let answer = read_until(&mut client, "never").await;
    assert!(answer.starts_with("HTTP/1.1 403 Forbidden"), "{answer}");
    assert!(answer.to_lowercase().contains("connection: close") && answer.ends_with("\r\n\r\nno"), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "the client's connection is over: {answer}");
    let head = reports.recv().await.expect("the upgrade");
    assert!(head.starts_with("GET /ws ") && !head.contains("/secret"), "{head}");
    assert_eq!(reports.recv().await.as_deref(), Some("rest: "), "the backend's connection is over, and empty");
}

#[tokio::test]
async fn cve_2020_8559_an_upgrade_is_not_redirected() {
    let (address, mut reports) =
        reporting("HTTP/1.1 302 Found\r\nlocation: http://10.244.1.9:10250/exec\r\ncontent-length: 0\r\n\r\n").await;
    let (cluster, node, _) = cluster_with_pod(address).await;
    let answer = cluster.rest("GET", &format!("{POD}/ws"), &UPGRADE, "").await;
    assert_eq!((answer.code, message(&answer).as_str()), (500, "invalid upgrade response: status code 302"));
    assert!(!answer.headers.contains_key("location"));
    assert!(reports.recv().await.is_some());
    assert_eq!(reports.recv().await.as_deref(), Some("rest: "));
    assert_eq!(node.dialled().len(), 1, "nothing was followed");
}

fn message(answer: &Answer) -> String {
    answer.json()["message"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn cve_2018_1002102_and_cve_2022_3172_redirects_are_passed_on_without_credentials() {
    let backend = Backend::start(|_| {
        let found = Response::builder().status(302).header("location", "http://10.244.1.9/steal");
        found.body(Full::default()).expect("valid")
    })
    .await;
    let (cluster, node, _) = cluster_with_pod(backend.address).await;
    let headers = [
        ("impersonate-user", "alice"),
        ("impersonate-group", "system:masters"),
        ("x-remote-user", "root"),
        ("x-remote-extra-a", "b"),
        ("cookie", "theme=dark"),
    ];
    let answer = cluster.rest("GET", &format!("{POD}/"), &headers, "").await;
    assert_eq!((answer.code, answer.headers["location"].to_str().ok()), (302, Some("http://10.244.1.9/steal")));
    assert_eq!((node.dialled().len(), backend.seen().len()), (1, 1), "nothing was followed");
    let seen = backend.seen().pop().expect("asked");
    for name in ["authorization", "impersonate-user", "impersonate-group", "x-remote-user", "x-remote-extra-a"] {
        assert_eq!(seen.header(name), None, "{name}");
    }
    assert_eq!(seen.header("cookie"), Some("theme=dark"));
}

#[tokio::test]
async fn a_token_goes_no_further_than_the_api_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("tokens.csv");
    std::fs::write(&file, "s3cret,admin,1,\"system:masters\"\n").expect("written");
    let builder = gantry_apiserver::testing::Builder::default();
    let cluster = Cluster::with(builder.configure(move |config| config.token_auth_file = Some(file))).await;
    cluster.default_account().await;
    running_pod(&cluster, "p", "10.244.1.7").await;
    let backend = Backend::saying("hello").await;
    let behaviour = Behaviour { backend: Some(backend.address), ..Behaviour::default() };
    let _node = Node::start(&cluster, "n1", behaviour).await;
    let answer = cluster.bare("GET", &format!("{POD}/"), &[("authorization", "Bearer s3cret")], "").await;
    assert_eq!(answer.code, 200, "{}", answer.text);
    let seen = format!("{:?}", backend.seen());
    assert!(!seen.contains("s3cret") && !seen.to_lowercase().contains("authorization"), "{seen}");
}

#[tokio::test]
async fn cve_2022_3294_a_node_is_a_name_and_never_an_address() {
    let secret = Backend::saying("secret").await;
    let cluster = Cluster::start().await;
    let port = secret.address.port();
    for name in ["127.0.0.1", "169.254.169.254", "localhost", "n1%2F..%2F127.0.0.1"] {
        let answer = cluster.rest("GET", &format!("/api/v1/nodes/{name}:{port}/proxy/"), &[], "").await;
        assert!(matches!(answer.code, 400 | 404), "{name}: {}", answer.text);
    }
    // A node that says it is somewhere where the API server has neighbours.
    node_object(&cluster, "n1", "127.0.0.1").await;
    let node = Node::start(&cluster, "n1", Behaviour::default()).await;
    let answer = cluster.rest("GET", &format!("/api/v1/nodes/n1:{port}/proxy/"), &[], "").await;
    assert_eq!((answer.code, message(&answer).as_str()), (400, "address not allowed"));
    let status = json!({"status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.11"}]}}).to_string();
    let merge = ("content-type", "application/merge-patch+json");
    cluster.rest("PATCH", "/api/v1/nodes/n1/status", &[merge], &status).await;
    let answer = cluster.rest("GET", &format!("/api/v1/nodes/n1:{port}/proxy/"), &[], "").await;
    assert_eq!(answer.code, 503, "the node itself refuses");
    assert_eq!(node.dialled().len(), 1, "asked of the node, not dialled from here");
    assert!(secret.seen().is_empty(), "nothing was ever dialled from the API server's host");
}

#[tokio::test]
async fn cve_2020_8562_and_8554_slices_do_not_aim_the_api_server() {
    let secret = Backend::saying("secret").await;
    let cluster = Cluster::start().await;
    cluster.default_account().await;
    let pod = running_pod(&cluster, "p", "10.244.1.7").await;
    let _node = Node::start(&cluster, "n1", Behaviour::default()).await;
    // Endpoints without a pod, and a pod whose slice names the API server's own neighbours.
    let mut lying = endpoint(&pod, "127.0.0.1");
    lying["addresses"] = json!(["192.0.2.10"]);
    service(&cluster, json!([{"addresses": ["192.0.2.10"]}, lying, {"addresses": ["192.0.2.10"], "nodeName": "n1"}]))
        .await;
    let path = "/api/v1/namespaces/default/services/web/proxy/";
    let answer = cluster.rest("GET", path, &[], "").await;
    assert_eq!((answer.code, message(&answer).as_str()), (503, "no endpoints available for service \"web\""));
    // The pod's own node claims that its address is the loopback.
    let status = json!({"status": {"podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}]}}).to_string();
    let merge = ("content-type", "application/merge-patch+json");
    cluster.rest("PATCH", "/api/v1/namespaces/default/pods/p/status", &[merge], &status).await;
    let path = format!("/api/v1/namespaces/default/pods/p:{}/proxy/", secret.address.port());
    let answer = cluster.rest("GET", &path, &[], "").await;
    assert_eq!((answer.code, message(&answer).as_str()), (400, "address not allowed"));
    assert!(secret.seen().is_empty());
}

#[tokio::test]
async fn cve_2020_8551_nobody_gets_through_without_a_right() {
    let backend = Backend::saying("hello").await;
    let (cluster, node, _) = cluster_with_pod(backend.address).await;
    assert_eq!(cluster.bare("GET", &format!("{POD}/"), &[], "").await.code, 403);
    let role = json!({"metadata": {"name": "reader"}, "rules": [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["*"]},
        {"apiGroups": [""], "resources": ["pods/proxy"], "resourceNames": ["http:p:8080"], "verbs": ["get"]}]});
    let binding = json!({"metadata": {"name": "reader"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "alice"}]});
    for (resource, object) in [("roles", role), ("rolebindings", binding)] {
        let path = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/default/{resource}");
        assert_eq!(cluster.rest("POST", &path, &[], &object.to_string()).await.code, 201);
    }
    let alice = [("impersonate-user", "alice")];
    let named = "/api/v1/namespaces/default/pods/http:p:8080/proxy/";
    let mut answer = cluster.rest("GET", named, &alice, "").await;
    while answer.code == 403 && backend.seen().is_empty() {
        // Roles are read from a watch.
        tokio::task::yield_now().await;
        answer = cluster.rest("GET", named, &alice, "").await;
    }
    assert_eq!(answer.code, 200, "upstream's roles name scheme and port");
    let before = node.dialled().len();
    for (method, path) in [
        ("POST", named.to_owned()),
        ("OPTIONS", named.to_owned()),
        ("GET", format!("{POD}/")),
        ("GET", "/api/v1/namespaces/default/pods/http:p:9090/proxy/".to_owned()),
    ] {
        let refused = cluster.rest(method, &path, &alice, "").await;
        assert_eq!(refused.code, 403, "{method} {path}");
        assert!(message(&refused).contains("\"pods/proxy\""), "{}", refused.text);
    }
    assert_eq!(node.dialled().len(), before);
}
