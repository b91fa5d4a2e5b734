//! What only REST has: discovery, OpenAPI, health, version, headers, other encodings.

use bytes::Bytes;
use gantry_apiserver::testing::Builder;
use serde_json::{Value, json};

use crate::slow::Slow;
use crate::support::{Cluster, configmap};

const V2: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

#[tokio::test]
async fn discovery_has_two_forms() {
    let cluster = Cluster::start().await;
    let accept = format!("{V2},application/json");
    let aggregated = cluster.rest("GET", "/apis", &[("accept", &accept)], "").await;
    assert_eq!(aggregated.headers["content-type"], V2);
    assert_eq!(aggregated.json()["kind"], "APIGroupDiscoveryList");
    let etag = aggregated.headers["etag"].to_str().expect("text").to_owned();
    let same = cluster.rest("GET", "/apis", &[("accept", &accept), ("if-none-match", &etag)], "").await;
    assert_eq!((same.code, same.text.as_str()), (304, ""));
    let plain = cluster.rest("GET", "/apis", &[("accept", "application/json")], "").await.json();
    assert_eq!(plain["kind"], "APIGroupList");
    assert_eq!(cluster.rest("GET", "/api", &[], "").await.json()["kind"], "APIVersions");
    assert_eq!(cluster.rest("GET", "/api/v1", &[], "").await.json()["kind"], "APIResourceList");
    assert_eq!(cluster.rest("GET", "/apis/apps/", &[], "").await.json()["kind"], "APIGroup");
    assert_eq!(cluster.rest("GET", "/apis/none", &[], "").await.code, 404);
}

/// Upstream's tests of kubectl look for these without a JSON parser.
#[tokio::test]
async fn discovery_and_version_have_upstreams_order() {
    let advertised = |config: &mut gantry_apiserver::Config| config.advertise_address = Some([192, 0, 2, 7].into());
    let cluster = Cluster::with(Builder::default().configure(advertised)).await;
    let check = async |path: &str, accept: &str, start: &str| {
        let answer = cluster.rest("GET", path, &[("accept", accept)], "").await;
        assert!(answer.text.starts_with(start), "{path}: {}", answer.text);
    };
    check(
        "/api",
        "application/json",
        r#"{"kind":"APIVersions","versions":["v1"],"serverAddressByClientCIDRs":[{"clientCIDR":"0.0.0.0/0","serverAddress":"192.0.2.7:"#,
    )
    .await;
    check("/api/v1", "application/json", r#"{"kind":"APIResourceList","groupVersion":"v1","resources":[{"name":""#)
        .await;
    check("/apis", "application/json", r#"{"kind":"APIGroupList","apiVersion":"v1","groups":[{"name":""#).await;
    check("/apis/apps", "application/json", r#"{"kind":"APIGroup","apiVersion":"v1","name":"apps","versions":["#).await;
    check("/apis", V2, r#"{"kind":"APIGroupDiscoveryList","apiVersion":"apidiscovery.k8s.io/v2","metadata":{},"#).await;
    check("/version", "application/json", "{\n  \"major\": \"1\",\n  \"minor\": ").await;
}

#[tokio::test]
async fn openapi_is_linked_by_hash() {
    let cluster = Cluster::start().await;
    let index = cluster.rest("GET", "/openapi/v3", &[], "").await.json();
    let link = index["paths"]["apis/apps/v1"]["serverRelativeURL"].as_str().expect("a link").to_owned();
    let document = cluster.rest("GET", &link, &[], "").await;
    assert_eq!(document.headers["cache-control"], "public, immutable");
    assert!(document.headers["expires"].to_str().is_ok_and(|date| date.ends_with(" GMT")));
    assert!(document.json()["components"]["schemas"].is_object());
    let etag = document.headers["etag"].to_str().expect("text").to_owned();
    let same = cluster.rest("GET", &link, &[("if-none-match", &etag)], "").await;
    assert_eq!((same.code, same.text.as_str()), (304, ""));
    let plain = cluster.rest("GET", "/openapi/v3/apis/apps/v1", &[], "").await;
    assert_eq!((plain.code, plain.headers["cache-control"].to_str().ok()), (200, Some("no-cache, private")));
    let old = cluster.rest("GET", "/openapi/v3/apis/apps/v1?hash=00", &[], "").await;
    assert_eq!((old.code, old.headers["location"].to_str().ok()), (301, Some(link.as_str())));
    assert_eq!(cluster.rest("GET", "/openapi/v3/apis/nope/v1", &[], "").await.code, 404);
    assert_eq!(cluster.rest("POST", "/openapi/v3/api/v1", &[], "").await.code, 405);
    assert_eq!(cluster.bare("GET", "/openapi/v3", &[], "").await.code, 403);
}

#[tokio::test]
async fn openapi_comes_as_json_and_protobuf() {
    let cluster = Cluster::start().await;
    assert_eq!(cluster.rest("GET", "/openapi/v2", &[], "").await.json()["swagger"], "2.0");
    let second = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    let third = "application/com.github.proto-openapi.spec.v3@v1.0+protobuf";
    let check = async |path: &str, accept: &str, code: u16, content_type: &str, start: &str| {
        let answer = cluster.rest("GET", path, &[("accept", accept)], "").await;
        assert_eq!((answer.code, answer.headers["content-type"].to_str().ok()), (code, Some(content_type)), "{path}");
        assert!(answer.text.starts_with(start), "{path} begins with {:?}", answer.text.get(..8));
    };
    // The first field of both is the version of OpenAPI.
    check("/openapi/v2", second, 200, "application/com.github.proto-openapi.spec.v2.v1.0+protobuf", "\n\u{3}2.0").await;
    check(
        "/openapi/v3/api/v1",
        third,
        200,
        "application/com.github.proto-openapi.spec.v3.v1.0+protobuf",
        "\n\u{5}3.0.0",
    )
    .await;
    check("/openapi/v3/api/v1", second, 406, "application/json", "{").await;
    let index = cluster.rest("GET", "/openapi/v3", &[], "").await.json();
    let link = index["paths"]["api/v1"]["serverRelativeURL"].as_str().expect("a link").to_owned();
    let packed = cluster.rest("GET", &link, &[("accept", third)], "").await;
    assert_eq!((packed.code, packed.headers["cache-control"].to_str().ok()), (200, Some("public, immutable")));
}

#[tokio::test]
async fn answers_come_as_yaml_too() {
    let cluster = Cluster::start().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    let yaml = ("accept", "application/yaml");
    let made = cluster.rest("POST", maps, &[yaml], &configmap("a", "1").to_string()).await;
    assert_eq!((made.code, made.headers["content-type"].to_str().ok()), (201, Some("application/yaml")));
    let (read, _) = gantry_api::decode::yaml(made.text.as_bytes()).expect("YAML");
    assert_eq!(read["data"]["a"], "1", "a string stays one");
    let listed = cluster.rest("GET", maps, &[yaml], "").await;
    let (listed, _) = gantry_api::decode::yaml(listed.text.as_bytes()).expect("YAML");
    assert_eq!(listed["items"][0]["metadata"]["name"], "a");
    assert_eq!(cluster.rest("GET", &format!("{maps}?watch=true"), &[yaml], "").await.code, 406);
}

#[tokio::test]
async fn questions_have_no_rows_and_need_content() {
    let cluster = Cluster::start().await;
    let table = ("accept", "application/json;as=Table;g=meta.k8s.io;v=v1");
    let reviews = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    assert_eq!(cluster.rest("POST", reviews, &[table], "{}").await.code, 406);
    assert_eq!(cluster.rest("POST", reviews, &[], "{}").await.code, 201);
    let empty = cluster.rest("POST", "/apis/authentication.k8s.io/v1/tokenreviews", &[], "{}").await;
    assert_eq!(empty.code, 400);
    assert_eq!(empty.json()["message"], "token is required for TokenReview in authentication");
    cluster.default_account().await;
    let request = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let token = cluster.rest("POST", request, &[], "{}").await.json()["status"]["token"].clone();
    let elsewhere = "[invalid bearer token, token audiences [\"https://kubernetes.default.svc.cluster.local\"] is invalid for \
                     the target audiences [\"x\"]]";
    let (signed, signature) = token.as_str().and_then(|token| token.rsplit_once('.')).expect("a signature");
    let forged = format!("{signed}.{}", signature.chars().rev().collect::<String>());
    let nobodys_key = "[invalid bearer token, go-jose/go-jose: error in cryptographic primitive]";
    let cases = [
        (json!({"token": "nobodys"}), "invalid bearer token"),
        (json!({"token": forged}), nobodys_key),
        (json!({"token": token, "audiences": ["x"]}), elsewhere),
    ];
    for (spec, error) in cases {
        let body = json!({"spec": spec}).to_string();
        let review = cluster.rest("POST", "/apis/authentication.k8s.io/v1/tokenreviews", &[], &body).await.json();
        assert_eq!(review["status"], json!({"user": {}, "error": error}));
    }
}

#[tokio::test]
async fn health_version_and_metrics() {
    let cluster = Cluster::start().await;
    assert_eq!(cluster.rest("GET", "/healthz", &[], "").await.text, "ok");
    let verbose = cluster.rest("GET", "/readyz?verbose", &[], "").await.text;
    assert!(verbose.contains("[+]etcd ok\n") && verbose.ends_with("readyz check passed\n"), "{verbose}");
    assert_eq!(cluster.rest("GET", "/livez/etcd", &[], "").await.text, "ok");
    assert_eq!(cluster.rest("GET", "/version", &[], "").await.json()["minor"], "36");
    cluster.rest("GET", "/api/v1/namespaces/default/configmaps", &[], "").await;
    let metrics = cluster.rest("GET", "/metrics", &[], "").await.text;
    let counted = r#"apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="configmaps",scope="namespace",subresource="",verb="LIST",version="v1"}"#;
    assert!(metrics.contains(counted), "{metrics}");
    let openid = cluster.rest("GET", "/.well-known/openid-configuration", &[], "").await.json();
    assert_eq!(openid["issuer"], "https://kubernetes.default.svc.cluster.local");
    // Whoever checks tokens from outside may not know the issuer's name.
    let keys = openid["jwks_uri"].as_str().unwrap_or_default();
    assert_eq!(keys, "https://localhost/openid/v1/jwks");
    assert_eq!(cluster.rest("GET", "/openid/v1/jwks", &[], "").await.json()["keys"][0]["alg"], "ES256");
}

#[tokio::test]
async fn pages_tell_what_the_server_is_and_how_it_was_started() {
    let cluster = Cluster::start().await;
    let get = async |path: &str, accept: &str| cluster.rest("GET", path, &[("accept", accept)], "").await;
    for (path, kind, words) in
        [("/statusz", "Statusz", "Emulation version: 1.36\n"), ("/flagz", "Flagz", "secure-port=0\n")]
    {
        for accept in ["", "*/*", "application/json, text/plain"] {
            let text = get(path, accept).await;
            let begins =
                text.text.starts_with("\nkube-apiserver ") && text.text.contains("not meant to be machine parseable");
            assert!(text.code == 200 && begins && text.text.contains(words), "{path} {accept}: {}", text.text);
        }
        for version in ["v1beta1", "v1alpha1"] {
            let page = get(path, &format!("application/json;v={version};g=config.k8s.io;as={kind}")).await.json();
            assert_eq!((&page["kind"], &page["metadata"]["name"]), (&json!(kind), &json!("kube-apiserver")), "{page}");
            assert_eq!(page["apiVersion"], format!("config.k8s.io/{version}"));
            let (up, port) = (page["uptimeSeconds"].as_i64(), page["flags"]["secure-port"].as_str());
            assert!(up.is_some_and(|up| up >= 0) || port == Some("0"), "{page}");
        }
        assert_eq!(get(path, "application/json").await.code, 406, "{path}");
        let stranger = cluster.rest("GET", path, &[("impersonate-user", "nobody")], "").await;
        assert_eq!(stranger.code, 403, "{path}: {}", stranger.text);
    }
}

#[tokio::test]
async fn questions_say_who_asked_what() {
    let cluster = Cluster::start().await;
    let account = json!({"metadata": {"name": "a"}}).to_string();
    assert_eq!(cluster.rest("POST", "/api/v1/namespaces/default/serviceaccounts", &[], &account).await.code, 201);
    let access = json!({"spec": {"nonResourceAttributes": {"path": "/", "verb": "get"}}});
    let nobody = json!({"f:spec": {"f:token": {}}});
    for (path, body, expected) in [
        (
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            access,
            json!({"f:spec": {"f:nonResourceAttributes": {".": {}, "f:path": {}, "f:verb": {}}}}),
        ),
        ("/apis/authentication.k8s.io/v1/tokenreviews", json!({"spec": {"token": "x"}}), nobody),
        (
            "/api/v1/namespaces/default/serviceaccounts/a/token",
            json!({}),
            json!({"f:spec": {"f:expirationSeconds": {}}}),
        ),
        ("/apis/authentication.k8s.io/v1/selfsubjectreviews", json!({}), Value::Null),
    ] {
        let answer = cluster.rest("POST", &format!("{path}?fieldManager=m"), &[], &body.to_string()).await;
        let entry = &answer.json()["metadata"]["managedFields"][0];
        assert_eq!(entry["fieldsV1"], expected, "{path}: {}", answer.text);
        let manager = if expected.is_null() { Value::Null } else { json!("m") };
        assert_eq!(entry["manager"], manager, "{path}");
    }
}

#[tokio::test]
async fn people_get_pretty_json_and_everyone_an_audit_id() {
    let cluster = Cluster::start().await;
    let pretty = cluster.rest("GET", "/version", &[("user-agent", "curl/8")], "").await;
    assert!(pretty.text.starts_with("{\n  \""), "{}", pretty.text);
    assert!(pretty.headers.contains_key("audit-id"));
    assert!(!cluster.rest("GET", "/api", &[], "").await.text.contains('\n'));
    let packed = cluster.rest("GET", "/openapi/v2", &[("accept-encoding", "gzip")], "").await;
    assert_eq!(packed.headers["content-encoding"], "gzip");
}

#[tokio::test]
async fn yaml_and_impersonation_and_create_on_put() {
    let cluster = Cluster::start().await;
    let maps = "/api/v1/namespaces/default/configmaps";
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: yam\ndata:\n  a: b\n";
    let made = cluster.rest("POST", maps, &[("content-type", "application/yaml")], yaml).await;
    assert_eq!((made.code, made.json()["data"]["a"].as_str()), (201, Some("b")));
    let broken = cluster.rest("POST", maps, &[("content-type", "application/yaml")], "a: [1\nb: {").await.json();
    assert!(broken["message"].as_str().is_some_and(|m| m.contains("line")), "{broken}");
    let missing = cluster.rest("PUT", &format!("{maps}/none"), &[], &configmap("none", "1").to_string()).await;
    assert_eq!(missing.code, 404);
    let leases = "/apis/coordination.k8s.io/v1/namespaces/default/leases/l";
    let lease = r#"{"metadata":{"name":"l"}}"#;
    assert_eq!(cluster.rest("PUT", leases, &[], lease).await.code, 201);
    let as_nobody = cluster.rest("GET", maps, &[("impersonate-group", "x")], "").await;
    assert_eq!(as_nobody.code, 400);
}

#[tokio::test]
async fn attack_health_checks_of_everybody_ask_the_store_once_for_all() {
    let store = Slow::new("/none");
    let cluster = Cluster::with(Builder::default().store(store.clone())).await;
    let sender = cluster.http2_as::<http_body_util::Empty<Bytes>>(None).await;
    let before = store.revisions();
    let asked = (0..100).map(|_| {
        let request = http::Request::get("https://localhost/livez").body(http_body_util::Empty::new());
        sender.clone().send_request(request.expect("a request"))
    });
    let answers = futures::future::join_all(asked).await;
    assert!(answers.iter().all(|answer| answer.as_ref().is_ok_and(|answer| answer.status() == 200)));
    let reads = store.revisions() - before;
    assert!(reads < 20, "{reads} reads for 100 questions");
}
