//! Answers at the edges of what is served: where a request is refused, and in which words.

use gantry_apiserver::testing::Builder;
use serde_json::{Value, json};

use crate::support::Cluster;

/// A binding, an eviction and a request for a token, for a pod `p` and an account `default`.
fn unstored(namespace: &str) -> [(String, Value, &'static str); 4] {
    let base = format!("/api/v1/namespaces/{namespace}");
    let binding = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}});
    [
        (format!("{base}/serviceaccounts/default/token"), json!({}), "serviceaccounts \"default\""),
        (
            format!("{base}/pods/p/eviction"),
            json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}),
            "pods \"p\"",
        ),
        (format!("{base}/pods/p/binding"), binding.clone(), "pods \"p\""),
        (format!("{base}/bindings"), binding, "bindings \"p\""),
    ]
}

#[tokio::test]
async fn nothing_at_all_begins_in_a_namespace_that_ends_or_is_not() {
    let cluster = Cluster::start().await;
    let post = async |path: &str, body: &Value| cluster.rest("POST", path, &[], &body.to_string()).await;
    let made = post("/api/v1/namespaces", &json!({"metadata": {"name": "x"}})).await;
    assert_eq!(made.code, 201, "{}", made.text);
    assert_eq!(cluster.rest("DELETE", "/api/v1/namespaces/x", &[], "").await.code, 200);
    for (path, body, object) in unstored("x") {
        let refused = post(&path, &body).await;
        let status = refused.json();
        let why = "unable to create new content in namespace x because it is being terminated";
        assert_eq!(status["message"], format!("{object} is forbidden: {why}"), "{path}");
        let cause = json!({"reason": "NamespaceTerminating", "message": "namespace x is being terminated",
            "field": "metadata.namespace"});
        assert_eq!((refused.code, &status["details"]["causes"][0]), (403, &cause), "{path}");
    }
    for (path, body, _) in unstored("none") {
        let refused = post(&path, &body).await;
        assert_eq!(
            (refused.code, &refused.json()["message"]),
            (404, &json!("namespaces \"none\" not found")),
            "{path}"
        );
    }
    let review = json!({"metadata": {"namespace": "none"}, "spec": {"user": "u", "resourceAttributes":
        {"namespace": "none", "verb": "get", "resource": "pods"}}});
    let path = "/apis/authorization.k8s.io/v1/namespaces/none/localsubjectaccessreviews";
    let asked = post(path, &review).await;
    assert_eq!(asked.code, 201, "who asks for a right does not learn what there is: {}", asked.text);
}

#[tokio::test]
async fn a_namespace_comes_by_whatever_is_asked_for_in_it() {
    let enable =
        Builder::default().configure(|config| config.enable_admission_plugins = vec!["NamespaceAutoProvision".into()]);
    let cluster = Cluster::with(enable).await;
    for (at, (path, body, _)) in unstored("ns").into_iter().enumerate() {
        let path = path.replace("/ns/", &format!("/ns{at}/"));
        let answer = cluster.rest("POST", &path, &[], &body.to_string()).await;
        assert_eq!(answer.code, 404, "neither account nor pod is there: {}", answer.text);
        assert_eq!(cluster.rest("GET", &format!("/api/v1/namespaces/ns{at}"), &[], "").await.code, 200, "{path}");
    }
}

#[tokio::test]
async fn a_namespace_is_the_namespace_of_what_is_asked_about_it() {
    let cluster = Cluster::start().await;
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let rules = json!([{"verbs": ["update", "patch", "get", "mark"], "apiGroups": [""], "resources": ["namespaces"]}]);
    let role = json!({"metadata": {"name": "own"}, "rules": rules});
    let binding = json!({"metadata": {"name": "own"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role",
        "name": "own"}, "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "alice"}]});
    for (kind, body) in [("roles", role), ("rolebindings", binding)] {
        let made = cluster.rest("POST", &format!("{rbac}/namespaces/default/{kind}"), &[], &body.to_string()).await;
        assert_eq!(made.code, 201, "{}", made.text);
    }
    let spec = json!({"failurePolicy": "Fail",
        "matchConstraints": {"resourceRules": [{"operations": ["UPDATE"], "apiGroups": [""], "apiVersions": ["v1"],
            "resources": ["namespaces"]}]},
        "validations": [{"expression": "authorizer.requestResource.check('mark').allowed()", "message": "no mark"}]});
    let group = "/apis/admissionregistration.k8s.io/v1";
    for (kind, spec) in [
        ("validatingadmissionpolicies", spec),
        ("validatingadmissionpolicybindings", json!({"policyName": "mark", "validationActions": ["Deny"]})),
    ] {
        let body = json!({"metadata": {"name": "mark"}, "spec": spec}).to_string();
        let made = cluster.rest("POST", &format!("{group}/{kind}"), &[], &body).await;
        assert_eq!(made.code, 201, "{}", made.text);
        // A consistent read: the server knows it from now on.
        assert_eq!(cluster.rest("GET", &format!("{group}/{kind}"), &[], "").await.code, 200);
    }
    let merge = ("content-type", "application/merge-patch+json");
    let alice = [merge, ("impersonate-user", "alice")];
    let patch = json!({"metadata": {"labels": {"a": "b"}}}).to_string();
    let path = "/api/v1/namespaces/default";
    while cluster.rest("GET", path, &alice, "").await.code == 403 {}
    let marked = cluster.rest("PATCH", path, &alice, &patch).await;
    assert_eq!(marked.code, 200, "{}", marked.text);
}

#[tokio::test]
async fn a_refusal_names_the_roles_that_are_not_there() {
    let cluster = Cluster::start().await;
    let rbac = "rbac.authorization.k8s.io";
    let binding = json!({"metadata": {"name": "lost"}, "roleRef": {"apiGroup": rbac, "kind": "ClusterRole", "name": "x"},
        "subjects": [{"kind": "User", "apiGroup": rbac, "name": "alice"}]});
    let path = format!("/apis/{rbac}/v1/clusterrolebindings");
    assert_eq!(cluster.rest("POST", &path, &[], &binding.to_string()).await.code, 201);
    let why = "RBAC: clusterrole.rbac.authorization.k8s.io \"x\" not found";
    let review =
        json!({"spec": {"user": "alice", "resourceAttributes": {"verb": "list", "resource": "nodes"}}}).to_string();
    let reviews = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
    // The index follows by a watch.
    let asked = loop {
        let asked = cluster.rest("POST", reviews, &[], &review).await.json();
        if asked["status"]["reason"].is_string() {
            break asked;
        }
    };
    assert_eq!(asked["status"], json!({"allowed": false, "reason": why}));
    let refused = cluster.rest("GET", "/api/v1/nodes", &[("impersonate-user", "alice")], "").await;
    let message = refused.json()["message"].as_str().unwrap_or_default().to_owned();
    assert!(refused.code == 403 && message.ends_with(&format!("at the cluster scope: {why}")), "{message}");
}

#[tokio::test]
async fn paths_are_what_upstreams_router_takes_them_for() {
    let cluster = Cluster::start().await;
    for (path, code) in [
        ("/healthz", 200),
        ("/healthz/", 404),
        ("/healthz/ping", 200),
        ("/version/", 200),
        ("/apis/", 200),
        ("/api/v1/", 200),
        ("/api/v1/pods/", 200),
        ("//api/v1/pods", 404),
        ("/api//v1/pods", 404),
        ("/apis//v1/pods", 404),
        ("/api/v1/namespaces//pods", 404),
        ("/api/v1//pods", 404),
    ] {
        let answer = cluster.rest("GET", path, &[], "").await;
        assert_eq!(answer.code, code, "{path}: {}", answer.text);
    }
}

#[tokio::test]
async fn long_heads_are_read() {
    let cluster = Cluster::start().await;
    let many: Vec<(String, String)> = (0..300).map(|n| (format!("x-{n}"), "y".repeat(1000))).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let answer = cluster.rest("GET", "/version", &many, "").await;
    assert_eq!(answer.code, 200, "300 headers of 300 kB over HTTP/1.1: {}", answer.text);
    let mut sender = cluster.http2::<http_body_util::Empty<bytes::Bytes>>().await;
    let mut request = http::Request::builder().uri("https://localhost/version");
    for (name, value) in &many {
        request = request.header(*name, *value);
    }
    let answer = sender.send_request(request.body(http_body_util::Empty::new()).expect("a request")).await;
    assert_eq!(answer.expect("an answer").status(), 200, "and over HTTP/2");
}

#[tokio::test]
async fn a_space_too_many_before_a_token_is_warned_of() {
    let cluster = Cluster::start().await;
    let answer = cluster.bare("GET", "/version", &[("authorization", "Bearer  token")], "").await;
    let warning = answer.headers.get("warning").and_then(|text| text.to_str().ok()).unwrap_or_default();
    let why = "the provided Authorization header contains extra space before the bearer token, and is ignored";
    assert_eq!((answer.code, warning), (200, format!("299 - \"{why}\"").as_str()), "{}", answer.text);
    let none = cluster.bare("GET", "/version", &[("authorization", "Bearer")], "").await;
    assert_eq!((none.code, none.headers.contains_key("warning")), (200, false));
}
