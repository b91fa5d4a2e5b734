//! Who may do what: certificates, tokens, impersonation, roles, nodes.

use std::sync::Arc;

use gantry_apiserver::testing::{Builder, Pki};
use serde_json::{Value, json};

use crate::support::{Cluster, configmap, pod, request, request_as};

async fn message(
    cluster: &Cluster,
    user: &str,
    groups: &[&str],
    method: &str,
    path: &str,
    body: &Value,
) -> (u16, String) {
    let mut headers = vec![("impersonate-user", user)];
    headers.extend(groups.iter().map(|g| ("impersonate-group", *g)));
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let answer = cluster.rest(method, path, &headers, &body).await;
    let text = answer.json()["message"].as_str().unwrap_or_default().to_owned();
    (answer.code, text)
}

#[tokio::test]
async fn nobody_reads_what_roles_say_and_writes_nothing() {
    let cluster = Cluster::start().await;
    for (path, code) in [
        ("/healthz", 200),
        ("/livez", 200),
        ("/readyz", 200),
        ("/version", 200),
        ("/", 403),
        ("/api", 403),
        ("/apis/apps/v1", 403),
        ("/metrics", 403),
        ("/openapi/v3", 403),
        ("/openid/v1/jwks", 403),
        ("/healthz/etcd", 403),
        ("/api/v1/pods", 403),
        ("/api/v1/nothing", 403),
        ("/apis/nothing.io/v1/things", 403),
        ("/api/v1/namespaces/a/pods/p/nothing", 403),
    ] {
        assert_eq!(cluster.bare("GET", path, &[], "").await.code, code, "{path}");
    }
    let maps = "/api/v1/namespaces/default/configmaps";
    let refused = cluster.bare("GET", maps, &[], "").await.json();
    let anonymous = "User \"system:anonymous\" cannot";
    let expected = format!(
        "configmaps is forbidden: {anonymous} list resource \"configmaps\" in API group \"\" in the namespace \"default\""
    );
    assert_eq!(refused["message"], expected);
    assert_eq!(cluster.bare("GET", "/healthz", &[("authorization", "Bearer wrong")], "").await.code, 401);
    let binding = json!({
        "metadata": {"name": "open"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "system:unauthenticated"}],
    });
    let bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    assert_eq!(cluster.rest("POST", bindings, &[], &binding.to_string()).await.code, 201);
    while cluster.bare("GET", maps, &[], "").await.code != 200 {
        tokio::task::yield_now().await;
    }
    assert_eq!(cluster.bare("GET", "/openid/v1/jwks", &[], "").await.code, 200);
    let made = configmap("a", "1").to_string();
    assert_eq!(cluster.bare("POST", maps, &[], &made).await.code, 403, "whatever is bound to whom");
    let posing = [("impersonate-user", "admin")];
    assert_eq!(cluster.bare("POST", maps, &posing, &made).await.code, 401);
}

#[tokio::test]
async fn strangers_do_not_learn_what_there_is() {
    let cluster = Cluster::start().await;
    for path in
        ["/apis/nope.io/v1/foos", "/api/v1/nothing", "/api/v1/namespaces/a/pods/p/nothing", "/api/v1/pods/p/log/x"]
    {
        let (code, text) = message(&cluster, "alice", &[], "GET", path, &Value::Null).await;
        assert_eq!(code, 403, "{path}: {text}");
        assert_eq!(cluster.rest("GET", path, &[], "").await.code, 404, "{path}");
    }
    let (_, text) = message(&cluster, "alice", &[], "GET", "/apis/nope.io/v1/foos", &Value::Null).await;
    let expected = "foos.nope.io is forbidden: User \"alice\" cannot list resource \"foos\" in API group \"nope.io\" at the cluster scope";
    assert_eq!(text, expected);
}

#[tokio::test]
async fn roles_decide() {
    let cluster = Cluster::start().await;
    let pods = "/api/v1/namespaces/default/pods";
    let (code, text) = message(&cluster, "alice", &[], "GET", pods, &Value::Null).await;
    assert_eq!(code, 403);
    assert_eq!(
        text,
        "pods is forbidden: User \"alice\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\""
    );
    let (_, text) = message(&cluster, "alice", &[], "GET", "/api/v1/namespaces/default/pods/x", &Value::Null).await;
    assert_eq!(
        text,
        "pods \"x\" is forbidden: User \"alice\" cannot get resource \"pods\" in API group \"\" in the namespace \"default\""
    );
    let binding = json!({
        "metadata": {"name": "view"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "alice"}],
    });
    let bindings = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings";
    assert_eq!(cluster.rest("POST", bindings, &[], &binding.to_string()).await.code, 201);
    // The index follows by a watch.
    let mut code = 403;
    while code == 403 {
        (code, _) = message(&cluster, "alice", &[], "GET", pods, &Value::Null).await;
    }
    assert_eq!(code, 200);
    assert_eq!(message(&cluster, "alice", &[], "GET", "/api/v1/pods", &Value::Null).await.0, 403);
    assert_eq!(message(&cluster, "alice", &[], "POST", bindings, &binding).await.0, 403);
}

#[tokio::test]
async fn reviews_answer() {
    let cluster = Cluster::start().await;
    let ask = async |spec: Value| {
        let body = json!({"spec": spec}).to_string();
        let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        let answer = cluster.rest("POST", path, &[], &body).await;
        (answer.code, answer.json()["status"]["allowed"].clone())
    };
    let pods = |verb: &str| json!({"verb": verb, "resource": "pods"});
    assert_eq!(
        ask(json!({"user": "a", "groups": ["system:masters"], "resourceAttributes": pods("get")})).await,
        (201, json!(true))
    );
    assert_eq!(ask(json!({"user": "a", "resourceAttributes": pods("get")})).await, (201, json!(false)));
    assert_eq!(ask(json!({"user": "a"})).await.0, 422);
    let who = cluster.rest("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", &[], "{}").await.json();
    assert_eq!(who["status"]["userInfo"]["username"], "admin");
}

#[tokio::test]
async fn tokens_live_as_long_as_their_pod() {
    let cluster = Cluster::start().await;
    cluster.default_account().await;
    let pods = "/api/v1/namespaces/default/pods";
    let made = cluster.rest("POST", pods, &[], &pod("p").to_string()).await.json();
    let request = json!({"spec": {"expirationSeconds": 3607, "boundObjectRef": {"kind": "Pod", "name": "p", "uid": made["metadata"]["uid"]}}});
    let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let issued = cluster.rest("POST", path, &[], &request.to_string()).await;
    assert_eq!(issued.code, 201, "{}", issued.text);
    let token = issued.json()["status"]["token"].as_str().expect("a token").to_owned();
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str())];
    let who = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let me = cluster.bare("POST", who, &headers, "{}").await.json();
    assert_eq!(me["status"]["userInfo"]["username"], "system:serviceaccount:default:default");
    assert_eq!(me["status"]["userInfo"]["extra"]["authentication.kubernetes.io/pod-name"], json!(["p"]));
    // Of a node that is not there, the name is known.
    let mut placed = pod("placed");
    placed["spec"]["nodeName"] = json!("gone");
    cluster.rest("POST", pods, &[], &placed.to_string()).await;
    let bound = json!({"spec": {"boundObjectRef": {"kind": "Pod", "name": "placed"}}}).to_string();
    let issued = cluster.rest("POST", path, &[], &bound).await;
    let bearer = format!("Bearer {}", issued.json()["status"]["token"].as_str().expect("a token"));
    let other = cluster.bare("POST", who, &[("authorization", bearer.as_str())], "{}").await.json();
    let extra = &other["status"]["userInfo"]["extra"];
    assert_eq!(extra["authentication.kubernetes.io/node-name"], json!(["gone"]));
    assert_eq!(extra["authentication.kubernetes.io/node-uid"], Value::Null);
    let review = json!({"spec": {"token": token}}).to_string();
    let reviews = "/apis/authentication.k8s.io/v1/tokenreviews";
    assert_eq!(cluster.rest("POST", reviews, &[], &review).await.json()["status"]["authenticated"], true);
    let elsewhere = json!({"spec": {"token": token, "audiences": ["vault"]}}).to_string();
    assert!(cluster.rest("POST", reviews, &[], &elsewhere).await.json()["status"].get("authenticated").is_none());
    cluster.rest("DELETE", &format!("{pods}/p"), &[], "").await;
    let mut code = 201;
    while code == 201 {
        code = cluster.bare("POST", who, &headers, "{}").await.code;
    }
    assert_eq!(code, 401, "the pod is gone");
    let mut short = request;
    short["spec"] = json!({"expirationSeconds": 60});
    assert_eq!(cluster.rest("POST", path, &[], &short.to_string()).await.code, 422);
}

#[tokio::test]
async fn a_node_reaches_what_its_pods_need() {
    let cluster = Cluster::start().await;
    cluster.default_account().await;
    let secrets = "/api/v1/namespaces/default/secrets";
    for name in ["mine", "other"] {
        cluster.rest("POST", secrets, &[], &json!({"metadata": {"name": name}}).to_string()).await;
    }
    let mut mounting = pod("p");
    mounting["spec"]["nodeName"] = "n1".into();
    mounting["spec"]["volumes"] = json!([{"name": "v", "secret": {"secretName": "mine"}}]);
    assert_eq!(cluster.rest("POST", "/api/v1/namespaces/default/pods", &[], &mounting.to_string()).await.code, 201);
    let node = async |node: &str, method: &str, path: &str, body: Value| {
        let user = format!("system:node:{node}");
        message(&cluster, &user, &["system:nodes"], method, path, &body).await.0
    };
    let get = async |name: &str, path: &str| node(name, "GET", path, Value::Null).await;
    while get("n1", &format!("{secrets}/mine")).await == 403 {}
    assert_eq!(get("n1", &format!("{secrets}/mine")).await, 200);
    assert_eq!(get("n1", &format!("{secrets}/other")).await, 403);
    assert_eq!(get("n2", &format!("{secrets}/mine")).await, 403);
    assert_eq!(get("n1", secrets).await, 403);
    assert_eq!(get("n1", &format!("{secrets}?fieldSelector=metadata.name%3Dmine")).await, 200);
    assert_eq!(node("n1", "POST", "/api/v1/nodes", json!({"metadata": {"name": "n1"}})).await, 201);
    assert_eq!(node("n1", "POST", "/api/v1/nodes", json!({"metadata": {"name": "n2"}})).await, 403);
    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    assert_eq!(node("n1", "POST", leases, json!({"metadata": {"name": "n1"}})).await, 201);
    assert_eq!(node("n1", "POST", leases, json!({"metadata": {"name": "n2"}})).await, 403);
    assert_eq!(node("n2", "DELETE", "/api/v1/namespaces/default/pods/p", Value::Null).await, 403);
}

#[tokio::test]
async fn static_tokens_name_users() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tokens.csv");
    std::fs::write(&path, "s3cret,carol,9,\"ops,system:masters\"\n").expect("written");
    let cluster = Cluster::with(Builder::default().configure(move |config| config.token_auth_file = Some(path))).await;
    let who = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let me = cluster.bare("POST", who, &[("authorization", "Bearer s3cret")], "{}").await.json();
    assert_eq!(me["status"]["userInfo"]["username"], "carol");
    assert_eq!(me["status"]["userInfo"]["groups"], json!(["ops", "system:masters", "system:authenticated"]));
    assert_eq!(cluster.bare("GET", "/api/v1/pods", &[("authorization", "Bearer s3cret")], "").await.code, 200);
    assert_eq!(cluster.bare("GET", "/api/v1/pods", &[("authorization", "Bearer s3cre")], "").await.code, 401);
}

#[tokio::test]
async fn bootstrap_tokens_are_as_good_as_their_secret() {
    const SECRETS: &str = "/api/v1/namespaces/kube-system/secrets";
    let cluster = Cluster::with(Builder::default().configure(|config| config.enable_bootstrap_token_auth = true)).await;
    let whoami = async || cluster.bare("POST", WHO, &[("authorization", "Bearer abcdef.0123456789abcdef")], "{}").await;
    assert_eq!(whoami().await.code, 401, "there is none yet");
    let data = json!({"token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true",
        "auth-extra-groups": "system:bootstrappers:workers"});
    let secret = json!({"metadata": {"name": "bootstrap-token-abcdef"}, "type": "bootstrap.kubernetes.io/token", "stringData": data});
    assert_eq!(cluster.rest("POST", SECRETS, &[], &secret.to_string()).await.code, 201);
    let mut me = whoami().await;
    while me.code == 401 {
        tokio::task::yield_now().await;
        me = whoami().await;
    }
    let user = &me.json()["status"]["userInfo"];
    assert_eq!(user["username"], "system:bootstrap:abcdef");
    assert_eq!(user["groups"], json!(["system:bootstrappers", "system:bootstrappers:workers", "system:authenticated"]));
    assert_eq!(cluster.rest("DELETE", &format!("{SECRETS}/bootstrap-token-abcdef"), &[], "").await.code, 200);
    while whoami().await.code != 401 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_server_that_starts_refuses_nobody_by_mistake() {
    let store = gantry_store::MemoryStore::new();
    let first = Cluster::with(Builder::default().store(Arc::new(store.clone()))).await;
    let binding = json!({
        "metadata": {"name": "all-view"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "alice"}],
    });
    let bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    assert_eq!(first.rest("POST", bindings, &[], &binding.to_string()).await.code, 201);
    // The second server takes its time to read what is stored.
    store.faults().delay(std::time::Duration::from_millis(200));
    let second = Cluster::now(Builder::default().store(Arc::new(store.clone()))).await;
    let maps = second.client("alice", &[]).namespaced::<k8s_openapi::api::core::v1::ConfigMap>("default");
    assert!(maps.list(&gantry_client::ListParams::default()).await.is_ok());
    store.faults().delay(std::time::Duration::ZERO);
}

/// Binds a role with these rules to a user.
async fn allow(cluster: &Cluster, user: &str, rules: Value) {
    let role = json!({"metadata": {"name": user}, "rules": rules});
    let binding = json!({
        "metadata": {"name": user}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": user},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user}],
    });
    let group = "/apis/rbac.authorization.k8s.io/v1";
    for (resource, object) in [("clusterroles", role), ("clusterrolebindings", binding)] {
        assert_eq!(cluster.rest("POST", &format!("{group}/{resource}"), &[], &object.to_string()).await.code, 201);
    }
}

/// Whoever may act as somebody for some verbs only, may not for others.
#[tokio::test]
async fn impersonation_can_be_constrained() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tokens.csv");
    std::fs::write(&path, "cleo-token,cleo,1\n").expect("written");
    let cluster = Cluster::with(Builder::default().configure(|c| c.token_auth_file = Some(path))).await;
    allow(
        &cluster,
        "cleo",
        json!([
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["impersonate-on:user-info:list", "impersonate-on:arbitrary-node:list"]},
            {"apiGroups": ["authentication.k8s.io"], "resources": ["users"], "resourceNames": ["alice"], "verbs": ["impersonate:user-info"]},
            {"apiGroups": ["authentication.k8s.io"], "resources": ["nodes"], "resourceNames": ["n1"], "verbs": ["impersonate:arbitrary-node"]},
        ]),
    )
    .await;
    allow(&cluster, "alice", json!([{"apiGroups": [""], "resources": ["pods"], "verbs": ["list", "get"]}])).await;
    let pods = "/api/v1/namespaces/default/pods";
    let check = async |user: &str, path: &str, code: u16, expected: &str| {
        let headers = [("authorization", "Bearer cleo-token"), ("impersonate-user", user)];
        let mut answer = cluster.bare("GET", path, &headers, "").await;
        // The index of roles follows by a watch.
        while answer.code != code {
            answer = cluster.bare("GET", path, &headers, "").await;
        }
        let text =
            if code == 200 { String::new() } else { answer.json()["message"].as_str().unwrap_or_default().to_owned() };
        assert_eq!(text, expected, "{user} {path}");
    };
    check("alice", pods, 200, "").await;
    check(
        "alice",
        &format!("{pods}/x"),
        403,
        "pods \"x\" is forbidden: User \"cleo\" cannot impersonate-on:user-info:get resource \"pods\" in API group \"\" in the namespace \"default\"",
    )
    .await;
    check(
        "bob",
        pods,
        403,
        "users.authentication.k8s.io \"bob\" is forbidden: User \"cleo\" cannot impersonate:user-info resource \"users\" in API group \"authentication.k8s.io\" at the cluster scope",
    )
    .await;
    // A node by another name is what it takes another permission for; as n1 one may list its own pods.
    check("system:node:n1", "/api/v1/pods?fieldSelector=spec.nodeName%3Dn1", 200, "").await;
    check(
        "system:node:n2",
        "/api/v1/pods?fieldSelector=spec.nodeName%3Dn2",
        403,
        "nodes.authentication.k8s.io \"n2\" is forbidden: User \"cleo\" cannot impersonate:arbitrary-node resource \"nodes\" in API group \"authentication.k8s.io\" at the cluster scope",
    )
    .await;
}

const WHO: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";

#[tokio::test]
async fn impersonation_is_never_dropped_because_of_its_letters() {
    let cluster = Cluster::start().await;
    let me = cluster.rest("POST", WHO, &[("impersonate-user", "müller")], "{}").await;
    assert_eq!(me.json()["status"]["userInfo"]["username"], "müller", "{}", me.text);
    let mut sender = cluster.connection().await;
    for (name, value) in [("impersonate-user", &b"m\xfcller"[..]), ("impersonate-group", b"\xff")] {
        let request = http::Request::builder().method("POST").uri(WHO).header("host", "localhost");
        let request = request.header("impersonate-user", "alice").header(name, value);
        let body = http_body_util::Full::new(bytes::Bytes::from_static(b"{}"));
        sender.ready().await.expect("the server keeps the connection");
        let answer = sender.send_request(request.body(body).expect("a request")).await.expect("answers");
        // The first of two users counts, and both are text or refused.
        assert_eq!(answer.status().as_u16(), 400, "{name}");
        drop(crate::support::answer(answer).await);
    }
}

#[tokio::test]
async fn a_certificate_comes_before_a_token() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tokens.csv");
    std::fs::write(&path, "s3cret,carol,9\n").expect("written");
    let cluster = Cluster::with(Builder::default().configure(move |config| config.token_auth_file = Some(path))).await;
    for token in ["Bearer junk", "Bearer s3cret", "Bearer a.b.c"] {
        let me = cluster.rest("POST", WHO, &[("authorization", token)], "{}").await;
        assert_eq!((me.code, &me.json()["status"]["userInfo"]["username"]), (201, &json!("admin")), "{token}");
    }
    assert_eq!(cluster.bare("POST", WHO, &[("authorization", "Bearer junk")], "{}").await.code, 401);
}

/// Binds a ClusterRole to a user in a namespace, and waits until that counts.
async fn bind_in(cluster: &Cluster, namespace: &str, role: &str, user: &str) {
    let binding = json!({
        "metadata": {"name": user}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": user}],
    });
    let path = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/rolebindings");
    assert_eq!(cluster.rest("POST", &path, &[], &binding.to_string()).await.code, 201);
    let pods = format!("/api/v1/namespaces/{namespace}/pods");
    while message(cluster, user, &[], "GET", &pods, &Value::Null).await.0 != 200 {}
}

#[tokio::test]
async fn a_namespace_is_in_itself() {
    let cluster = Cluster::start().await;
    for name in ["foo", "bar"] {
        let made = json!({"metadata": {"name": name}}).to_string();
        assert_eq!(cluster.rest("POST", "/api/v1/namespaces", &[], &made).await.code, 201);
    }
    bind_in(&cluster, "foo", "view", "alice").await;
    let get = async |path: &str| message(&cluster, "alice", &[], "GET", path, &Value::Null).await;
    let alice = cluster.client("alice", &[]);
    let namespaces = alice.api::<k8s_openapi::api::core::v1::Namespace>();
    assert_eq!(get("/api/v1/namespaces/foo").await.0, 200);
    assert!(namespaces.get("foo").await.is_ok());
    let refused = "namespaces \"bar\" is forbidden: User \"alice\" cannot get resource \"namespaces\" in API group \"\" in the namespace \"bar\"";
    assert_eq!(get("/api/v1/namespaces/bar").await, (403, refused.to_owned()));
    assert!(namespaces.get("bar").await.is_err_and(|error| error.to_string().contains("in the namespace")));
    let (code, text) = message(&cluster, "alice", &[], "PUT", "/api/v1/namespaces/foo/finalize", &json!({})).await;
    assert_eq!(code, 403);
    assert!(text.contains("\"namespaces/finalize\" in API group \"\" in the namespace \"foo\""), "{text}");
    let (code, text) = get("/api/v1/namespaces").await;
    assert_eq!(code, 403);
    assert!(text.ends_with("cannot list resource \"namespaces\" in API group \"\" at the cluster scope"), "{text}");
    // A review is about what it says, no more.
    for (namespace, expected) in [("foo", true), ("", false)] {
        let asked = json!({"spec": {"resourceAttributes": {"verb": "get", "resource": "namespaces", "name": "foo", "namespace": namespace}}});
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let review = cluster.rest("POST", path, &[("impersonate-user", "alice")], &asked.to_string()).await.json();
        assert_eq!(review["status"]["allowed"], expected, "{review}");
    }
}

#[tokio::test]
async fn attack_nobody_labels_a_role_into_one_that_they_hold() {
    let cluster = Cluster::start().await;
    allow(
        &cluster,
        "eve",
        json!([
            {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles", "clusterrolebindings"], "verbs": ["get", "patch"]},
            {"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]},
        ]),
    )
    .await;
    while message(&cluster, "eve", &[], "GET", "/api/v1/pods", &Value::Null).await.0 != 200 {}
    let group = "/apis/rbac.authorization.k8s.io/v1";
    let eve = cluster.identity("eve", &[]);
    let patch = async |path: &str, body: Value| {
        let merge = [("content-type", "application/merge-patch+json")];
        request_as(&cluster, &eve, "PATCH", &format!("{group}/{path}"), &merge, &body.to_string()).await
    };
    let label = |key: &str| json!({"metadata": {"labels": {key: "true"}}});
    let taken = patch("clusterroles/cluster-admin", label("rbac.authorization.k8s.io/aggregate-to-view")).await;
    assert_eq!(taken.code, 403, "{}", taken.text);
    assert!(taken.text.contains("is attempting to grant RBAC permissions not currently held"), "{}", taken.text);
    let kept = patch("clusterroles/view", json!({"aggregationRule": null})).await;
    assert_eq!(kept.code, 403, "{}", kept.text);
    let own = patch("clusterroles/eve", label("a")).await;
    assert_eq!(own.code, 200, "what is held may be labelled: {}", own.text);
    let bound = patch("clusterrolebindings/cluster-admin", label("a")).await;
    assert_eq!(bound.code, 403, "{}", bound.text);
}

/// What one API server has just made is known to the others, even before their watches have told them.
#[tokio::test]
async fn a_token_is_good_where_its_account_is_news() {
    let (store, pki) = (gantry_store::MemoryStore::new(), Arc::new(Pki::default()));
    let builder = || Builder::default().store(Arc::new(store.clone())).pki(pki.clone());
    let (first, second) = (Cluster::with(builder()).await, Cluster::with(builder()).await);
    store.faults().silence_watches(true);
    let core = "/api/v1/namespaces/default";
    for resource in ["serviceaccounts", "secrets"] {
        let made = first.rest("POST", &format!("{core}/{resource}"), &[], r#"{"metadata": {"name": "new"}}"#).await;
        assert_eq!(made.code, 201, "{resource}");
    }
    let reference = json!({"kind": "Secret", "apiVersion": "v1", "name": "new"});
    let mut tokens = Vec::new();
    for spec in [json!({}), json!({"boundObjectRef": reference})] {
        let path = format!("{core}/serviceaccounts/new/token");
        let made = first.rest("POST", &path, &[], &json!({"spec": spec}).to_string()).await;
        tokens.push(format!("Bearer {}", made.json()["status"]["token"].as_str().expect("a token")));
    }
    let check = async |expected: [u16; 2], when: &str| {
        for (token, code) in tokens.iter().zip(expected) {
            let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
            let who = second.bare("POST", path, &[("authorization", token)], "{}").await;
            assert_eq!(who.code, code, "{when}: {}", who.json());
        }
    };
    check([201, 201], "made").await;
    assert_eq!(first.rest("DELETE", &format!("{core}/secrets/new"), &[], "").await.code, 200);
    check([201, 401], "without its Secret").await;
    assert_eq!(first.rest("DELETE", &format!("{core}/serviceaccounts/new"), &[], "").await.code, 200);
    check([401, 401], "gone").await;
}

/// A path that says `watch` is about what it names, and watches.
#[tokio::test]
async fn a_watch_by_path_is_allowed_where_its_object_is() {
    let cluster = Cluster::start().await;
    let group = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
    let role = json!({"metadata": {"name": "w"}, "rules": [{"apiGroups": [""], "resources": ["namespaces"], "verbs": ["watch"]}]});
    let binding = json!({
        "metadata": {"name": "w"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "w"},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "wanda"}],
    });
    for (resource, object) in [("roles", role), ("rolebindings", binding)] {
        assert_eq!(cluster.rest("POST", &format!("{group}/{resource}"), &[], &object.to_string()).await.code, 201);
    }
    let identity = cluster.identity("wanda", &[]);
    let ask = async |method: &str, path: &str| {
        let path = format!("/api/v1/watch/{path}?timeoutSeconds=1");
        request(&cluster.server, Some(&identity), method, &path, &[], "").await.code
    };
    // The index follows by a watch.
    while ask("GET", "namespaces/default").await == 403 {}
    assert_eq!(ask("GET", "namespaces/default").await, 200);
    for (method, path, code) in [
        ("GET", "namespaces/kube-system", 403),
        ("GET", "namespaces", 403),
        ("POST", "namespaces/default", 405),
        ("DELETE", "namespaces/default", 405),
        ("POST", "namespaces/default/configmaps", 403),
    ] {
        assert_eq!(ask(method, path).await, code, "{method} {path}");
    }
    let map = configmap("m", "1").to_string();
    let maps = "/api/v1/watch/namespaces/default/configmaps";
    assert_eq!(cluster.rest("POST", maps, &[], &map).await.code, 405, "it watches, it does not create");
    let exec = "/api/v1/watch/namespaces/default/pods/p/exec?command=x";
    assert_eq!(cluster.rest("POST", exec, &[], "").await.code, 404);
}
