//! Proxies to pods, Services and nodes: what passes in both directions, and how backends are found.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::Response;
use http_body_util::Full;
use serde_json::{Value, json};

use crate::backends::{Backend, Behaviour, Node, cluster_with_pod, endpoint, node_object, raw, running_pod, service};
use crate::support::{Answer, Cluster};

const POD: &str = "/api/v1/namespaces/default/pods/p/proxy";
const SERVICE: &str = "/api/v1/namespaces/default/services/web/proxy";

fn page(html: &'static str) -> Response<Full<Bytes>> {
    let response = Response::builder().header("content-type", "text/html; charset=utf-8");
    response.body(Full::new(Bytes::from(html))).expect("a response")
}

fn message(answer: &Answer) -> (u16, String) {
    (answer.code, answer.json()["message"].as_str().unwrap_or_default().to_owned())
}

#[tokio::test]
async fn requests_and_answers_pass() {
    let backend = Backend::start(|seen| {
        let response = Response::builder().status(if seen.method == "POST" { 201 } else { 200 });
        let response = response.header("x-answer", "yes").header("connection", "x-hop").header("x-hop", "1");
        response.body(Full::new(Bytes::from(seen.body.clone()))).expect("a response")
    })
    .await;
    let (cluster, node, pod) = cluster_with_pod(backend.address).await;
    let headers =
        [("x-own", "1"), ("x-forwarded-for", "192.0.2.1"), ("keep-alive", "1"), ("accept-encoding", "br, gzip")];
    let raw_path = format!("{POD}/a%2Fb/../c//d%20e?x=1&y=%2F&path=z");
    let answer = cluster.rest("POST", &raw_path, &headers, "the body").await;
    assert_eq!((answer.code, answer.text.as_str()), (201, "the body"));
    assert_eq!(answer.headers["x-answer"], "yes");
    assert!(!answer.headers.contains_key("x-hop"));
    let seen = backend.seen().pop().expect("asked");
    assert_eq!((seen.method.as_str(), seen.uri.as_str()), ("POST", "/a%2Fb/../c//d%20e?x=1&y=%2F&path=z"));
    assert_eq!(
        (seen.header("x-own"), seen.header("keep-alive"), seen.header("host")),
        (Some("1"), None, Some("localhost"))
    );
    assert_eq!(seen.header("x-forwarded-for"), Some("192.0.2.1, 127.0.0.1"));
    assert_eq!(seen.header("x-forwarded-uri"), raw_path.split('?').next());
    assert_eq!((seen.header("x-forwarded-host"), seen.header("x-forwarded-proto")), (Some("localhost"), Some("https")));
    assert_eq!(seen.header("accept-encoding"), Some("gzip"));
    let dialled = node.dialled().pop().expect("dialled");
    assert_eq!(
        (dialled.pod.as_str(), dialled.pod_uid.as_str(), dialled.address.as_str(), dialled.port),
        ("p", pod["metadata"]["uid"].as_str().expect("text"), "10.244.1.7", 8080)
    );
    for (name, port) in [("p:9090", 9090), ("http:p:web", 8080), (":p:80", 80)] {
        let path = format!("/api/v1/namespaces/default/pods/{name}/proxy/");
        assert_eq!(cluster.rest("PUT", &path, &[], "").await.code, 200, "{name}");
        assert_eq!(node.dialled().pop().map(|d| d.port), Some(port), "{name}");
    }
    cluster.rest("DELETE", &format!("{POD}?path=/a%20b"), &[], "").await;
    assert_eq!(backend.seen().pop().map(|s| s.uri), Some("/a%20b?path=/a%20b".to_owned()));
}

#[tokio::test]
async fn large_bodies_stream_through() {
    let backend = Backend::start(|seen| Response::new(Full::new(Bytes::from(seen.body.clone())))).await;
    let (cluster, _node, _) = cluster_with_pod(backend.address).await;
    // More than any body that the API itself takes.
    let body = "0123456789abcdef".repeat(512 * 1024);
    let answer = cluster.rest("PUT", &format!("{POD}/"), &[], &body).await;
    assert_eq!(answer.code, 200);
    assert!(answer.text == body, "{} of {} bytes", answer.text.len(), body.len());
}

#[tokio::test]
async fn the_slash_is_redirected_to_and_links_lead_through_the_proxy() {
    let backend = Backend::start(|seen| match seen.uri.as_str() {
        "/moved" => {
            Response::builder().status(302).header("location", "/new?a=b").body(Full::default()).expect("valid")
        }
        "/absolute" => {
            let location = Response::builder().status(307).header("location", "http://10.244.1.7:8080/new");
            location.body(Full::default()).expect("valid")
        }
        "/elsewhere" => {
            let location = Response::builder().status(302).header("location", "http://example.com/");
            location.body(Full::default()).expect("valid")
        }
        "/gzip" => {
            let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
            packer.write_all(b"<a href='/x'>packed</a>").expect("to memory");
            let bytes = Bytes::from(packer.finish().expect("to memory"));
            let response = Response::builder().header("content-type", "text/html").header("content-encoding", "gzip");
            response.body(Full::new(bytes)).expect("valid")
        }
        _ => page("<a href=\"/x\">x</a><img src=rel.png><script>'<a href=\"/x\">'</script>"),
    })
    .await;
    let (cluster, _node, _) = cluster_with_pod(backend.address).await;
    let bare = cluster.rest("GET", &format!("{POD}?a=b"), &[], "").await;
    assert_eq!((bare.code, bare.headers["location"].to_str().expect("text")), (301, format!("{POD}/?a=b").as_str()));
    assert!(backend.seen().is_empty());
    assert_eq!(cluster.rest("POST", POD, &[], "").await.code, 200, "only reads are redirected");
    let location = async |path: &str| {
        let answer = cluster.rest("GET", &format!("{POD}{path}"), &[], "").await;
        (answer.code, answer.headers["location"].to_str().expect("text").to_owned())
    };
    assert_eq!(location("/moved").await, (302, format!("{POD}/new?a=b")));
    assert_eq!(location("/absolute").await, (307, format!("{POD}/new")));
    assert_eq!(location("/elsewhere").await, (302, "http://example.com/".to_owned()));
    let html = cluster.rest("GET", &format!("{POD}/"), &[], "").await;
    assert_eq!(html.text, format!("<a href=\"{POD}/x\">x</a><img src=rel.png><script>'<a href=\"/x\">'</script>"));
    let packed = cluster.rest("GET", &format!("{POD}/gzip"), &[("accept-encoding", "gzip")], "").await;
    assert_eq!(packed.text, format!("<a href='{POD}/x'>packed</a>"));
    assert!(!packed.headers.contains_key("content-encoding"));
}

#[tokio::test]
async fn services_lead_to_ready_endpoints_that_are_what_they_say() {
    let backend = Backend::saying("hello").await;
    let (cluster, node, pod) = cluster_with_pod(backend.address).await;
    let mut waiting = endpoint(&pod, "10.244.1.7");
    waiting["conditions"]["ready"] = false.into();
    service(&cluster, json!([waiting])).await;
    let ask = async |name: &str| {
        message(&cluster.rest("GET", &format!("/api/v1/namespaces/default/services/{name}/proxy/"), &[], "").await)
    };
    let none = |name: &str| (503, format!("no endpoints available for service \"{name}\""));
    assert_eq!(ask("web").await, none("web"));
    assert_eq!(ask("web:81").await, (503, "no service port 81 found for service \"web\"".to_owned()));
    assert_eq!(ask("nope").await, (404, "services \"nope\" not found".to_owned()));
    assert_eq!(ask("ftp:web:21").await, (400, "invalid service request \"ftp:web:21\"".to_owned()));
    let merge = ("content-type", "application/merge-patch+json");
    let set = async |endpoints: Value| {
        let path = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/web-1";
        let answer = cluster.rest("PATCH", path, &[merge], &json!({"endpoints": endpoints}).to_string()).await;
        assert_eq!(answer.code, 200, "{}", answer.text);
    };
    // An address that is not the pod's, another's UID, and an address that is nobody's.
    let mut reborn = endpoint(&pod, "10.244.1.7");
    reborn["targetRef"]["uid"] = "11111111-2222-3333-4444-555555555555".into();
    set(json!([endpoint(&pod, "10.244.1.8"), reborn, {"addresses": ["192.0.2.9"]}])).await;
    assert_eq!(ask("web").await, none("web"));
    assert!(node.dialled().is_empty() && backend.seen().is_empty());
    set(json!([endpoint(&pod, "10.244.1.8"), endpoint(&pod, "10.244.1.7")])).await;
    for name in ["web", "web:80", "web:http", "http:web:"] {
        let path = format!("/api/v1/namespaces/default/services/{name}/proxy/");
        let answer = cluster.rest("GET", &path, &[], "").await;
        assert_eq!((answer.code, answer.text.as_str()), (200, "hello"), "{name}");
    }
    assert!(node.dialled().iter().all(|d| (d.address.as_str(), d.port) == ("10.244.1.7", 8080)));
}

#[tokio::test]
async fn who_cannot_be_reached_is_said_in_upstreams_words() {
    let cluster = Cluster::start().await;
    cluster.default_account().await;
    running_pod(&cluster, "p", "10.244.1.7").await;
    let gone = cluster.rest("GET", &format!("{POD}/"), &[], "").await;
    assert_eq!((gone.code, gone.headers.contains_key("retry-after")), (503, false));
    assert!(
        message(&gone).1.starts_with("error trying to reach service: node \"n1\" cannot be reached"),
        "{}",
        gone.text
    );
    let _node = Node::start(&cluster, "n1", Behaviour::default()).await;
    let refused = message(&cluster.rest("GET", &format!("{POD}/"), &[], "").await);
    assert_eq!(refused, (503, "error trying to reach service: connect: connection refused".to_owned()));
    let missing = message(&cluster.rest("GET", "/api/v1/namespaces/default/pods/q/proxy/", &[], "").await);
    assert_eq!(missing, (404, "pods \"q\" not found".to_owned()));
    let trace = cluster.rest("TRACE", &format!("{POD}/"), &[], "").await;
    assert_eq!(trace.code, 405);
}

#[tokio::test]
async fn a_backend_that_breaks_off_is_no_hang() {
    let address = raw(|stream| async move { drop(stream) }).await;
    let (cluster, _node, _) = cluster_with_pod(address).await;
    let (code, text) = message(&cluster.rest("GET", &format!("{POD}/"), &[], "").await);
    assert_eq!(code, 503);
    assert!(text.starts_with("error trying to reach service: no HTTP"), "{text}");
}

#[tokio::test]
async fn nodes_lead_to_their_kubelet_or_to_a_port() {
    let (kubelet, backend) = (Backend::saying("kubelet").await, Backend::saying("port").await);
    let cluster = Cluster::start().await;
    node_object(&cluster, "n1", "192.0.2.11").await;
    let behaviour = Behaviour { backend: Some(backend.address), kubelet: Some(kubelet.address), stats: None };
    let node = Node::start(&cluster, "n1", behaviour).await;
    for name in ["n1", "n1:10250", "https:n1:10250"] {
        let answer = cluster.rest("GET", &format!("/api/v1/nodes/{name}/proxy/healthz"), &[], "").await;
        assert_eq!((answer.code, answer.text.as_str()), (200, "kubelet"), "{name}");
    }
    assert_eq!(kubelet.seen().pop().map(|s| s.uri), Some("/healthz".to_owned()));
    assert!(node.dialled().is_empty());
    let answer = cluster.rest("GET", "/api/v1/nodes/n1:9100/proxy/metrics", &[], "").await;
    assert_eq!((answer.code, answer.text.as_str()), (200, "port"));
    let dialled = node.dialled().pop().expect("dialled");
    assert_eq!((dialled.pod.as_str(), dialled.address.as_str(), dialled.port), ("", "192.0.2.11", 9100));
}

#[tokio::test]
async fn https_is_verified_from_end_to_end() {
    let backend = async |cluster: &Cluster, names: &[&str]| {
        let identity = cluster.server.serving(names);
        let pem = gantry_common::tls::Identity {
            cert_pem: identity.cert_pem.into_bytes(),
            key_pem: identity.key_pem.into_bytes(),
        };
        let key = gantry_common::tls::certified_key(&pem, "the backend").expect("valid");
        let resolver = std::sync::Arc::new(rustls::sign::SingleCertAndKey::from(key));
        let config = gantry_common::tls::server_config(resolver, None, &[b"http/1.1"]).expect("valid");
        let acceptor = tokio_rustls::TlsAcceptor::from(std::sync::Arc::new(config));
        raw(move |stream| {
            let acceptor = acceptor.clone();
            async move {
                use tokio::io::{AsyncReadExt, AsyncWriteExt};
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut head = [0; 1024];
                drop(stream.read(&mut head).await);
                drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecret").await);
                drop(stream.shutdown().await);
            }
        })
        .await
    };
    let cluster = Cluster::start().await;
    cluster.default_account().await;
    let pod = running_pod(&cluster, "p", "10.244.1.7").await;
    service(&cluster, json!([endpoint(&pod, "10.244.1.7")])).await;
    let address = backend(&cluster, &["web.default.svc"]).await;
    let behaviour = Behaviour { backend: Some(address), ..Behaviour::default() };
    let _node = Node::start(&cluster, "n1", behaviour).await;
    let path = |name: &str| format!("/api/v1/namespaces/default/{name}/proxy/");
    let good = cluster.rest("GET", &path("services/https:web:80"), &[], "").await;
    assert_eq!((good.code, good.text.as_str()), (200, "secret"));
    // The pod's certificate would have to bear its address.
    let (code, text) = message(&cluster.rest("GET", &path("pods/https:p:443"), &[], "").await);
    assert_eq!(code, 503);
    assert!(text.contains("10.244.1.7") && text.contains("--proxy-ca-file"), "{text}");
    assert!(text.starts_with("error trying to reach service: tls: "), "{text}");
    // Plain text is no way around it.
    let (code, _) = message(&cluster.rest("GET", &path("services/web"), &[], "").await);
    assert_eq!(code, 503);
}

#[tokio::test]
async fn what_is_not_there_is_not_redirected_to_its_slash() {
    let cluster = Cluster::start().await;
    cluster.default_account().await;
    let bare = async |path: &str| {
        let answer = cluster.rest("GET", path, &[], "").await;
        let text = if answer.code == 301 { String::new() } else { message(&answer).1 };
        (answer.code, text)
    };
    let node = "/api/v1/nodes/n1/proxy";
    for (path, what) in [(POD, r#"pods "p""#), (SERVICE, r#"services "web""#), (node, r#"nodes "n1""#)] {
        assert_eq!(bare(path).await, (404, format!("{what} not found")));
    }
    let pod = running_pod(&cluster, "p", "10.244.1.7").await;
    service(&cluster, json!([])).await;
    let none = "no endpoints available for service \"web\"".to_owned();
    assert_eq!(bare(SERVICE).await, (503, none));
    let slice = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/web-1";
    let ready = json!({"endpoints": [endpoint(&pod, "10.244.1.7")]}).to_string();
    let merge = ("content-type", "application/merge-patch+json");
    assert_eq!(cluster.rest("PATCH", slice, &[merge], &ready).await.code, 200);
    node_object(&cluster, "n1", "10.0.0.1").await;
    for path in [POD, SERVICE, node] {
        assert_eq!(bare(path).await.0, 301, "{path}: nobody is connected to");
    }
}

#[tokio::test]
async fn discovery_and_service_paths_know_proxies() {
    let cluster = Cluster::start().await;
    let list = cluster.rest("GET", "/api/v1", &[], "").await.json();
    let found = |name: &str| list["resources"].as_array().expect("a list").iter().find(|r| r["name"] == name).cloned();
    for (name, kind) in [
        ("pods/proxy", "PodProxyOptions"),
        ("services/proxy", "ServiceProxyOptions"),
        ("nodes/proxy", "NodeProxyOptions"),
    ] {
        let entry = found(name).expect(name);
        assert_eq!(entry["kind"], kind);
        assert_eq!(entry["verbs"], json!(["create", "delete", "get", "patch", "update"]));
    }
    let elsewhere = cluster.rest("GET", "/api/v1/namespaces/default/pods/p/status/more", &[], "").await;
    assert_eq!(elsewhere.code, 404, "other subresources end where they end");
}
