//! Attacks on the API server itself that other orchestrators have known, each under its name.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use gantry_apiserver::testing::Builder;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{Answer, Cluster, answer, configmap, connect, http, pod, request_as, send_on};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const YAML: (&str, &str) = ("content-type", "application/yaml");

fn refused(answer: &Answer, code: u16, part: &str) {
    let message = answer.json()["message"].as_str().unwrap_or_default().to_owned();
    assert_eq!(answer.code, code, "{}", answer.text);
    assert!(message.contains(part), "{message}");
}

/// The server still answers others.
async fn lives(cluster: &Cluster) {
    assert_eq!(cluster.rest("GET", MAPS, &[], "").await.code, 200);
}

/// Nine levels of nine aliases each: 387,420,489 leaves from half a kilobyte.
fn laughs() -> String {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..9 {
        let items = vec![format!("*a{}", level - 1); 9].join(", ");
        text.push_str(&format!("a{level}: &a{level} [{items}]\n"));
    }
    format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: x}}\n{text}")
}

#[tokio::test]
async fn cve_2019_11253_aliases_do_not_grow_without_bound() {
    let cluster = Cluster::start().await;
    refused(&cluster.rest("POST", MAPS, &[YAML], &laughs()).await, 400, "");
    let apply = ("content-type", "application/apply-patch+yaml");
    let path = format!("{MAPS}/x?fieldManager=a");
    refused(&cluster.rest("PATCH", &path, &[apply], &laughs()).await, 400, "");
    lives(&cluster).await;
}

/// Runs on a thread with the stack of the daemon's own.
fn as_in_a_daemon<F: Future<Output = ()>>(work: impl FnOnce() -> F + Send + 'static) {
    let thread = std::thread::Builder::new().stack_size(gantry_common::daemon::STACK_BYTES).spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(work());
    });
    thread.expect("a thread").join().expect("the work is done");
}

#[test]
fn cve_2019_11254_depth_is_bounded_in_every_encoding() {
    as_in_a_daemon(depth);
}

async fn depth() {
    let cluster = Cluster::start().await;
    let deep = 100_000;
    let json = format!("{}{}", "{\"a\":".repeat(deep), "1".to_owned() + &"}".repeat(deep));
    refused(&cluster.rest("POST", MAPS, &[], &json).await, 400, "");
    let flow = format!("a: {}{}", "[".repeat(deep), "]".repeat(deep));
    refused(&cluster.rest("POST", MAPS, &[YAML], &flow).await, 400, "");
    let block: String = (0..1_000).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
    refused(&cluster.rest("POST", MAPS, &[YAML], &block).await, 400, "");
    assert_eq!(cluster.rest("POST", MAPS, &[], &configmap("x", "1").to_string()).await.code, 201);
    for form in ["merge-patch+json", "strategic-merge-patch+json", "json-patch+json"] {
        let content = format!("application/{form}");
        let patched = cluster.rest("PATCH", &format!("{MAPS}/x"), &[("content-type", &content)], &json).await;
        refused(&patched, 400, "");
    }
    lives(&cluster).await;
}

#[test]
fn attack_objects_do_not_nest_without_bound() {
    as_in_a_daemon(nesting);
}

fn nested(levels: usize) -> Value {
    (0..levels).fold(json!({}), |inner, _| json!({"f:a": inner}))
}

async fn nesting() {
    let cluster = Cluster::start().await;
    assert_eq!(cluster.rest("POST", MAPS, &[], &configmap("x", "1").to_string()).await.code, 201);
    let patch = async |operations: Value| {
        let headers = [("content-type", "application/json-patch+json")];
        cluster.rest("PATCH", &format!("{MAPS}/x"), &headers, &operations.to_string()).await
    };
    let open = "/metadata/managedFields/0/fieldsV1/f:a";
    let bottom = |levels: usize| format!("{open}{}", "/f:a".repeat(levels));
    let add = |levels: usize| json!({"op": "add", "path": open, "value": nested(levels)});
    // Each copy would double the depth, a move adds one level to another without a byte.
    let copies = json!([add(100), {"op": "copy", "from": open, "path": bottom(101)}]);
    let moves = json!([add(60), {"op": "add", "path": "/data", "value": nested(60)},
        {"op": "move", "from": "/data", "path": bottom(61)}]);
    for operations in [copies, moves, json!([add(116)])] {
        let answer = patch(operations).await;
        assert_eq!(answer.code, 422, "{}", answer.text);
        assert!(answer.text.contains("nest deeper than 120 levels"), "{}", answer.text);
    }
    // What is taken can be read, changed and removed.
    let revisions = "/apis/apps/v1/namespaces/default/controllerrevisions";
    let revision = |levels| {
        let meta = json!({"name": "x", "finalizers": ["a.b/c"]});
        json!({"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": meta, "revision": 1, "data": nested(levels)})
    };
    refused(
        &cluster.rest("POST", revisions, &[], &revision(116).to_string()).await,
        400,
        "nests deeper than 115 levels",
    );
    let made = cluster.rest("POST", revisions, &[], &revision(113).to_string()).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let merge = [("content-type", "application/merge-patch+json")];
    let one = format!("{revisions}/x");
    for change in [json!({"metadata": {"labels": {"a": "b"}}}), json!({"metadata": {"finalizers": null}})] {
        let changed = cluster.rest("PATCH", &one, &merge, &change.to_string()).await;
        assert_eq!(changed.code, 200, "{}", changed.text);
    }
    assert_eq!(cluster.rest("DELETE", &one, &[], "").await.code, 200);
    assert_eq!(cluster.rest("GET", &one, &[], "").await.code, 404);
    lives(&cluster).await;
}

#[tokio::test]
async fn cve_2020_8552_bodies_beyond_the_bound_are_refused() {
    let cluster = Cluster::start().await;
    let large = configmap("x", &"a".repeat(4 * 1024 * 1024)).to_string();
    let answer = cluster.rest("POST", MAPS, &[], &large).await;
    refused(&answer, 413, "Request entity too large: limit is 3145728");
    assert_eq!(answer.json()["reason"], "RequestEntityTooLarge");
    let nothing = cluster.rest("GET", &format!("{MAPS}/x"), &[], "").await;
    assert_eq!(nothing.code, 404);
    lives(&cluster).await;
}

#[tokio::test]
async fn attack_patches_do_not_grow_objects_without_bound() {
    let cluster = Cluster::start().await;
    assert_eq!(cluster.rest("POST", MAPS, &[], &configmap("x", &"a".repeat(1_000)).to_string()).await.code, 201);
    let patch = ("content-type", "application/json-patch+json");
    // Each copy holds all that was there before it.
    let copies: Vec<Value> =
        (0..60).map(|n| json!({"op": "copy", "from": "/data", "path": format!("/data/n{n}")})).collect();
    let grown = cluster.rest("PATCH", &format!("{MAPS}/x"), &[patch], &json!(copies).to_string()).await;
    assert!(matches!(grown.code, 413 | 422), "{}", grown.text);
    let many: Vec<Value> = (0..10_001).map(|_| json!({"op": "test", "path": "/kind", "value": "ConfigMap"})).collect();
    let many = cluster.rest("PATCH", &format!("{MAPS}/x"), &[patch], &json!(many).to_string()).await;
    refused(&many, 413, "Request entity too large: The allowed maximum operations in a JSON patch is 10000, got 10001");
    lives(&cluster).await;
}

/// What the server says to raw bytes, up to the end of the connection.
async fn says(cluster: &Cluster, head: &str) -> String {
    let mut stream = connect(&cluster.server, Some(&cluster.identity("admin", &["system:masters"]))).await;
    // It may hang up before all is sent.
    drop(stream.write_all(head.as_bytes()).await);
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(bytes @ 1..) = stream.read(&mut buffer).await {
        text.extend_from_slice(&buffer[..bytes]);
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test]
async fn attack_a_request_has_one_length() {
    let cluster = Cluster::start().await;
    let inner = format!("GET {MAPS}/smuggled HTTP/1.1\r\nhost: x\r\n\r\n");
    let body = format!("0\r\n\r\n{inner}");
    let length = body.len();
    for lengths in [
        format!("content-length: {length}\r\ncontent-length: 5"),
        format!("content-length: {length}\r\ntransfer-encoding: chunked"),
        format!("transfer-encoding: chunked\r\ntransfer-encoding: identity\r\ncontent-length: {length}"),
    ] {
        let head = format!("POST {MAPS} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{lengths}\r\n\r\n{body}");
        let answer = says(&cluster, &head).await;
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{lengths}: one request, one answer: {answer}");
        assert!(!answer.contains("smuggled"), "{lengths}: {answer}");
    }
}

#[tokio::test]
async fn attack_heads_are_bounded() {
    let cluster = Cluster::start().await;
    let one = format!("GET {MAPS} HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "a".repeat(2 * 1024 * 1024));
    let answer = says(&cluster, &one).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    let many: String = (0..5_000).map(|n| format!("x{n}: y\r\n")).collect();
    let answer = says(&cluster, &format!("GET {MAPS} HTTP/1.1\r\nhost: x\r\n{many}\r\n")).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    lives(&cluster).await;
}

#[tokio::test]
async fn attack_a_body_is_not_taken_from_who_has_no_right() {
    let cluster = Cluster::start().await;
    let eve = cluster.identity("eve", &[]);
    for (method, path) in [("POST", MAPS.to_owned()), ("PUT", format!("{MAPS}/x")), ("PATCH", format!("{MAPS}/x"))] {
        let mut stream = connect(&cluster.server, Some(&eve)).await;
        // The head alone: who waits for the body does not answer.
        let head = format!("{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 3000000\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("sent");
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.expect("an answer");
        assert_eq!(std::str::from_utf8(&answer), Ok("HTTP/1.1 403"), "{method}");
    }
    let strange = request_as(&cluster, &eve, "POST", MAPS, &[("content-type", "text/strange")], "x").await;
    refused(&strange, 403, "User \"eve\" cannot create resource \"configmaps\"");
}

#[tokio::test]
async fn attack_names_do_not_lead_out_of_their_resource() {
    let cluster = Cluster::start().await;
    let mut connection =
        http(connect(&cluster.server, Some(&cluster.identity("admin", &["system:masters"]))).await).await;
    for path in [
        "/api/v1/namespaces/%2e%2e/secrets",
        "/api/v1/namespaces/..%2fsecrets%2fkube-system/configmaps",
        "/api/v1/namespaces/default/configmaps/..%2f..%2fsecrets%2fdefault%2fs",
        "/api/v1/namespaces/default/configmaps/%2e%2e",
        "/api/v1/namespaces/default%00/configmaps",
        "/api/v1/namespaces/default/configmaps/a%00b",
        "/api/v1/namespaces/default/configmaps/%2e",
    ] {
        let found = answer(send_on(&mut connection, "GET", path, &[], "").await).await;
        assert!(matches!(found.code, 400 | 404), "{path}: {} {}", found.code, found.text);
    }
    let mut traversal = configmap("x", "1");
    for name in ["../secrets/x", "a/b", "..", ".", "a\u{0}b", ""] {
        traversal["metadata"]["name"] = name.into();
        let made = cluster.rest("POST", MAPS, &[], &traversal.to_string()).await;
        assert_eq!(made.code, 422, "{name:?}: {}", made.text);
    }
    traversal["metadata"] = json!({"name": "x", "namespace": "kube-system"});
    let elsewhere = cluster.rest("POST", MAPS, &[], &traversal.to_string()).await;
    refused(&elsewhere, 400, "the namespace of the provided object does not match the namespace sent on the request");
}

#[tokio::test]
async fn attack_continue_tokens_do_not_lead_to_other_resources() {
    let cluster = Cluster::start().await;
    let secret = json!({"metadata": {"name": "hidden"}, "stringData": {"k": "v"}});
    assert_eq!(cluster.rest("POST", "/api/v1/namespaces/default/secrets", &[], &secret.to_string()).await.code, 201);
    for start in ["../../secrets/default/\0", "/registry/secrets/\0", "\0", "zzz/zzz\0", "default/../../secrets/a\0"] {
        for rv in [-1, 1, i64::MAX] {
            let token = URL_SAFE_NO_PAD.encode(json!({"v": "meta.k8s.io/v1", "rv": rv, "start": start}).to_string());
            let listed = cluster.rest("GET", &format!("{MAPS}?limit=1&continue={token}"), &[], "").await;
            assert!(!listed.text.contains("hidden"), "{start:?} {rv}: {}", listed.text);
            assert!(matches!(listed.code, 200 | 400 | 410 | 504), "{start:?} {rv}: {}", listed.text);
        }
    }
    for token in ["x", "e30", "bnVsbA", "eyJ2IjoibWV0YS5rOHMuaW8vdjIifQ"] {
        refused(
            &cluster.rest("GET", &format!("{MAPS}?continue={token}"), &[], "").await,
            400,
            "continue key is not valid",
        );
    }
}

/// A node that has registered itself, and its identity.
async fn node(cluster: &Cluster) -> gantry_common::tls::Identity {
    let identity = cluster.identity("system:node:n", &["system:nodes"]);
    let object = json!({"metadata": {"name": "n", "labels": {"kubernetes.io/hostname": "n"}}});
    let made = request_as(cluster, &identity, "POST", "/api/v1/nodes", &[], &object.to_string()).await;
    assert_eq!(made.code, 201, "{}", made.text);
    identity
}

#[tokio::test]
async fn cve_2025_5187_a_node_gives_itself_no_owner_taint_or_label_of_trust() {
    let cluster = Cluster::start().await;
    let node = node(&cluster).await;
    let merge = ("content-type", "application/merge-patch+json");
    let patch =
        async |path: &str, patch: Value| request_as(&cluster, &node, "PATCH", path, &[merge], &patch.to_string()).await;
    // An owner that is not there has the collector delete the node, which may then come back without its taints.
    let owner = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "none", "uid": "u"}]);
    refused(&patch("/api/v1/nodes/n", json!({"metadata": {"ownerReferences": owner}})).await, 403, "owner");
    refused(&patch("/api/v1/nodes/n", json!({"spec": {"taints": null}})).await, 403, "not allowed to modify taints");
    for label in ["node-restriction.kubernetes.io/trusted", "node-role.kubernetes.io/control-plane", "sub.k8s.io/x"] {
        let labels = json!({"metadata": {"labels": {label: "true"}}});
        for path in ["/api/v1/nodes/n", "/api/v1/nodes/n/status"] {
            refused(&patch(path, labels.clone()).await, 403, &format!("is not allowed to modify labels: {label}"));
        }
    }
    for label in ["kubernetes.io/arch", "topology.kubernetes.io/zone", "node.kubernetes.io/x", "example.com/own"] {
        let own = patch("/api/v1/nodes/n", json!({"metadata": {"labels": {label: "a"}}})).await;
        assert_eq!(own.code, 200, "{label}: {}", own.text);
    }
    let other = cluster.identity("system:node:m", &["system:nodes"]);
    let labelled = json!({"metadata": {"name": "m", "labels": {"node-role.kubernetes.io/x": ""}}});
    let made = request_as(&cluster, &other, "POST", "/api/v1/nodes", &[], &labelled.to_string()).await;
    refused(&made, 403, "is not allowed to set the following labels: node-role.kubernetes.io/x");
}

/// Labels of the old Node must not be what a webhook decides by where the new one is stored.
#[tokio::test]
async fn cve_2021_25735_a_webhook_sees_both_states_of_a_node_as_they_are() {
    let cluster = crate::hooks::cluster().await;
    let object = json!({"metadata": {"name": "n", "labels": {"changeAllowed": "false"}}});
    assert_eq!(cluster.rest("POST", "/api/v1/nodes", &[], &object.to_string()).await.code, 201);
    let hook = crate::hooks::Hook::start(&cluster, |request| {
        let allowed = request["oldObject"]["metadata"]["labels"]["changeAllowed"] == "true";
        json!({"allowed": allowed, "status": {"message": "the node may not be changed"}})
    })
    .await;
    let rules = json!([{"operations": ["UPDATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["nodes"]}]);
    let webhook = hook.config(&cluster, "nodes", json!({"rules": rules}));
    crate::hooks::register(&cluster, crate::hooks::VALIDATING, "nodes", &[webhook]).await;
    let merge = ("content-type", "application/merge-patch+json");
    let change = json!({"metadata": {"labels": {"changeAllowed": "true"}}}).to_string();
    let patched = cluster.rest("PATCH", "/api/v1/nodes/n", &[merge], &change).await;
    assert!(patched.code >= 400 && patched.text.contains("the node may not be changed"), "{}", patched.text);
    let (old, new) = (hook.last()["oldObject"].clone(), hook.last()["object"].clone());
    assert_eq!(old["metadata"]["labels"]["changeAllowed"], "false", "the stored state, not what was sent");
    assert_eq!(new["metadata"]["labels"]["changeAllowed"], "true");
    let kept = cluster.rest("GET", "/api/v1/nodes/n", &[], "").await.json();
    assert_eq!(kept["metadata"]["labels"]["changeAllowed"], "false");
}

#[tokio::test]
async fn cve_2025_4563_a_node_makes_no_pods_that_reach_what_is_not_its_own() {
    let cluster = Cluster::start().await;
    cluster.default_account().await;
    let node = node(&cluster).await;
    let mut mirror = pod("mirror");
    mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
    mirror["spec"]["nodeName"] = "n".into();
    let uid = cluster.rest("GET", "/api/v1/nodes/n", &[], "").await.json()["metadata"]["uid"].clone();
    let owner = json!([{"apiVersion": "v1", "kind": "Node", "name": "n", "uid": uid, "controller": true}]);
    let make = async |owner: &Value, extra: Value| {
        let mut body = mirror.clone();
        body["metadata"]["ownerReferences"] = owner.clone();
        for (key, value) in extra.as_object().into_iter().flatten() {
            body["spec"][key] = value.clone();
        }
        request_as(&cluster, &node, "POST", "/api/v1/namespaces/default/pods", &[], &body.to_string()).await
    };
    for (extra, what) in [
        (json!({"resourceClaims": [{"name": "c", "resourceClaimName": "others"}]}), "resourceclaims"),
        (json!({"volumes": [{"name": "v", "secret": {"secretName": "s"}}]}), "secrets"),
        (json!({"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]}), "persistentvolumeclaims"),
        (json!({"serviceAccountName": "default"}), "serviceaccounts"),
    ] {
        let made = make(&owner, extra).await;
        refused(&made, 403, "can not create pods that reference");
        assert!(made.text.contains(what), "{what}: {}", made.text);
    }
    refused(&make(&json!([]), json!({})).await, 403, "owner reference set to itself");
    let made = make(&owner, json!({})).await;
    assert_eq!(made.code, 201, "what reaches nothing is let in: {}", made.text);
}

#[tokio::test]
async fn cve_2023_2727_cve_2024_3177_no_sort_of_container_gets_secrets_that_the_account_does_not_name() {
    let cluster = Cluster::start().await;
    cluster.default_account().await;
    let limited = json!({"metadata": {"annotations": {"kubernetes.io/enforce-mountable-secrets": "true"}},
        "secrets": [{"name": "allowed"}]});
    let merge = ("content-type", "application/merge-patch+json");
    let account = "/api/v1/namespaces/default/serviceaccounts/default";
    assert_eq!(cluster.rest("PATCH", account, &[merge], &limited.to_string()).await.code, 200);
    let ways = |secret: &str| {
        [
            ("env", json!([{"name": "S", "valueFrom": {"secretKeyRef": {"name": secret, "key": "k"}}}])),
            ("envFrom", json!([{"secretRef": {"name": secret}}])),
        ]
    };
    for list in ["containers", "initContainers"] {
        for secret in ["allowed", "other"] {
            for (key, value) in ways(secret) {
                let mut body = pod(&format!("{}-{}-{secret}", list.to_lowercase(), key.to_lowercase()));
                body["spec"][list] = json!([{"name": "d", "image": "i", key: value}]);
                let made = cluster.rest("POST", "/api/v1/namespaces/default/pods", &[], &body.to_string()).await;
                assert_eq!(made.code, if secret == "allowed" { 201 } else { 403 }, "{list} {key}: {}", made.text);
            }
        }
    }
}

#[tokio::test]
async fn cve_2020_8554_only_controllers_say_where_a_load_balancer_is() {
    let cluster = Cluster::with(Builder::default().configure(|config| {
        config.enable_admission_plugins = vec!["DenyServiceExternalIPs".to_owned()];
    }))
    .await;
    let services = "/api/v1/namespaces/default/services";
    let mut service = json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}], "type": "LoadBalancer"},
        "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}});
    let made = cluster.rest("POST", services, &[], &service.to_string()).await;
    assert_eq!((made.code, made.json()["status"]["loadBalancer"].get("ingress")), (201, None), "{}", made.text);
    service["metadata"]["name"] = "t".into();
    service["spec"]["externalIPs"] = json!(["192.0.2.1"]);
    let refusal = "Use of external IPs is denied by admission control";
    refused(&cluster.rest("POST", services, &[], &service.to_string()).await, 403, refusal);
    let merge = ("content-type", "application/merge-patch+json");
    let patch = json!({"spec": {"externalIPs": ["192.0.2.1"]}}).to_string();
    refused(&cluster.rest("PATCH", &format!("{services}/s"), &[merge], &patch).await, 403, refusal);
}

#[tokio::test]
async fn attack_a_node_gets_tokens_only_for_whom_its_pods_name() {
    let cluster = Cluster::start().await;
    cluster.default_account().await;
    let node = node(&cluster).await;
    let driver = json!({"metadata": {"name": "d.example.com"}, "spec": {"tokenRequests": [{"audience": "driver"}]}});
    let made = cluster.rest("POST", "/apis/storage.k8s.io/v1/csidrivers", &[], &driver.to_string()).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let mut body = pod("p");
    body["spec"]["nodeName"] = "n".into();
    body["spec"]["volumes"] = json!([
        {"name": "vault", "projected": {"sources": [{"serviceAccountToken": {"path": "t", "audience": "vault"}}]}},
        {"name": "driver", "csi": {"driver": "d.example.com"}},
    ]);
    let pods = "/api/v1/namespaces/default/pods";
    let made = cluster.rest("POST", pods, &[], &body.to_string()).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let uid = made.json()["metadata"]["uid"].clone();
    // The node authoriser knows the pod once the cache does.
    assert_eq!(cluster.rest("GET", pods, &[], "").await.code, 200);
    let ask = async |audiences: Value, uid: &Value| {
        let bound = json!({"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": uid});
        let body = json!({"spec": {"audiences": audiences, "boundObjectRef": bound}}).to_string();
        let path = "/api/v1/namespaces/default/serviceaccounts/default/token";
        request_as(&cluster, &node, "POST", path, &[], &body).await
    };
    for audiences in [json!([]), json!(["vault"]), json!(["driver"])] {
        let given = ask(audiences.clone(), &uid).await;
        assert_eq!(given.code, 201, "{audiences}: {}", given.text);
    }
    let foreign = "serviceaccounts \"default\" is forbidden: audience \"other\" not found in pod spec volume, system:node:n is not authorized to request tokens for this audience";
    refused(&ask(json!(["other"]), &uid).await, 403, foreign);
    refused(&ask(json!(["vault", "driver"]), &uid).await, 403, "node may only request 0 or 1 audiences");
    refused(&ask(json!(["vault"]), &Value::Null).await, 403, "node requested token with a pod binding without a uid");
    let other = "serviceaccounts \"default\" is forbidden: the UID in the bound object reference (other) does not match the UID in record.";
    refused(&ask(json!(["vault"]), &json!("other")).await, 403, other);
    let rule = json!({"apiGroups": [""], "resources": ["other"], "resourceNames": ["default"],
        "verbs": ["request-serviceaccounts-token-audience"]});
    let role = json!({"metadata": {"name": "others"}, "rules": [rule]});
    let binding = json!({"metadata": {"name": "others"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "others"},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "system:node:n"}]});
    for (resource, object) in [("clusterroles", role), ("clusterrolebindings", binding)] {
        let path = format!("/apis/rbac.authorization.k8s.io/v1/{resource}");
        assert_eq!(cluster.rest("POST", &path, &[], &object.to_string()).await.code, 201);
    }
    // The index of roles follows by a watch.
    while ask(json!(["other"]), &uid).await.code != 201 {}
}

#[tokio::test]
async fn attack_an_annotation_does_not_get_a_pod_around_its_account() {
    let cluster = Cluster::start().await;
    cluster.default_account().await;
    for (extra, why) in [
        (json!({"serviceAccountName": "default"}), "a mirror pod may not reference service accounts"),
        (json!({"volumes": [{"name": "v", "secret": {"secretName": "s"}}]}), "a mirror pod may not reference secrets"),
        (json!({"imagePullSecrets": [{"name": "s"}]}), "a mirror pod may not reference secrets"),
        (json!({"volumes": [{"name": "v", "configMap": {"name": "m"}}]}), "a mirror pod may not reference configmaps"),
    ] {
        let mut body = pod("mirror");
        body["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
        body["spec"]["nodeName"] = "n".into();
        for (key, value) in extra.as_object().into_iter().flatten() {
            body["spec"][key] = value.clone();
        }
        refused(&cluster.rest("POST", "/api/v1/namespaces/default/pods", &[], &body.to_string()).await, 403, why);
    }
}

/// Work that grows with the square of what a request holds would keep the server from everybody else.
#[tokio::test]
async fn attack_long_lists_take_no_more_than_their_length() {
    let cluster = Cluster::start().await;
    cluster.default_account().await;
    let some = |length, make: &dyn Fn(usize) -> Value| Value::from((0..length).map(make).collect::<Vec<_>>());
    let many = |make: &dyn Fn(usize) -> Value| some(10_000, make);
    let mut owned = configmap("owned", "1");
    owned["metadata"]["ownerReferences"] =
        many(&|n| json!({"apiVersion": "v1", "kind": "A", "name": "a", "uid": n.to_string()}));
    let made = cluster.rest("POST", MAPS, &[], &owned.to_string()).await;
    assert_eq!(made.code, 201, "{}", &made.text[..made.text.len().min(500)]);
    let mut mounting = pod("mounting");
    mounting["spec"]["volumes"] = json!([{"name": "v", "emptyDir": {}}]);
    mounting["spec"]["containers"][0]["volumeMounts"] = many(&|n| json!({"name": "v", "mountPath": format!("/{n}")}));
    let pods = "/api/v1/namespaces/default/pods";
    let made = cluster.rest("POST", pods, &[], &mounting.to_string()).await;
    assert_eq!(made.code, 201, "{}", &made.text[..made.text.len().min(500)]);
    assert_eq!(cluster.rest("POST", pods, &[], &pod("p").to_string()).await.code, 201);
    // Fewer: etcd takes no more than 1.5 MiB, and who owns them is as long as they are.
    let conditions = some(4_000, &|n| json!({"type": format!("t{n}"), "status": "True"}));
    let conditions = json!({"status": {"conditions": conditions}});
    let merge = ("content-type", "application/merge-patch+json");
    for _ in 0..2 {
        let written = cluster.rest("PATCH", &format!("{pods}/p/status"), &[merge], &conditions.to_string()).await;
        assert_eq!(written.code, 200, "{}", &written.text[..written.text.len().min(500)]);
    }
    patches(&cluster, &format!("{pods}/mounting")).await;
    lives(&cluster).await;
}

/// Patches that name one item again and again, or that move all of a long list each time; none of them needs to be taken.
async fn patches(cluster: &Cluster, pod: &str) {
    let some = |length, make: &dyn Fn(usize) -> Value| Value::from((0..length).map(make).collect::<Vec<_>>());
    let again = some(30_000, &|n| json!({"name": "c", "volumeMounts": [{"mountPath": format!("/{}", n % 10_000)}]}));
    let keys = some(100_000, &|n| format!("k{n}").into());
    let strategic = [json!({"spec": {"containers": again}}), json!({"spec": {"$retainKeys": keys}})];
    let mut moves = vec![json!({"op": "add", "path": "/metadata/x", "value": vec![1; 500_000]})];
    moves.extend((0..9_999).map(|_| json!({"op": "remove", "path": "/metadata/x/0"})));
    let selectors = some(100_000, &|n| format!("l{n}").into());
    let expression = json!({"key": "a", "operator": "In", "values": selectors});
    let merge = json!({"spec": {"affinity": {"podAffinity": {"x": [expression]}}}});
    for (form, patch) in [
        ("strategic-merge-patch", &strategic[0]),
        ("strategic-merge-patch", &strategic[1]),
        ("json-patch", &Value::from(moves)),
        ("merge-patch", &merge),
    ] {
        let content = format!("application/{form}+json");
        let answer = cluster.rest("PATCH", pod, &[("content-type", &content)], &patch.to_string()).await;
        assert!((200..600).contains(&answer.code), "{form}: {}", &answer.text[..answer.text.len().min(500)]);
    }
}

/// One long text that is told again for each of many small faults would take more memory than there is.
#[tokio::test]
async fn attack_answers_do_not_repeat_what_was_sent_without_bound() {
    let cluster = Cluster::start().await;
    cluster.default_account().await;
    let again = format!("{}\"aaaa\":1", "\"aaaa\":1,".repeat(90_000));
    let spec = json!({"nonResourceAttributes": {"path": "/", "verb": "get"}});
    let review = format!("{{\"spec\":{spec},\"{}\":{{{again}}}}}", "k".repeat(1 << 20));
    let reviews = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews?fieldValidation=";
    for (validation, code) in [("Ignore", 201), ("Warn", 201), ("Strict", 400)] {
        let answer = cluster.rest("POST", &format!("{reviews}{validation}"), &[], &review).await;
        assert_eq!((answer.code, answer.text.len() < 64 * 1024), (code, true), "{validation}");
    }
    let owner =
        |n: usize| json!({"apiVersion": "v1", "kind": "A", "name": "a", "uid": n.to_string(), "controller": true});
    let mut owned = configmap("owned", "1");
    owned["metadata"]["ownerReferences"] = (0..20_000).map(owner).collect();
    let answer = cluster.rest("POST", MAPS, &[], &owned.to_string()).await;
    assert_eq!((answer.code, answer.text.len() < 4 << 20), (422, true), "{}", answer.text.len());
    let pods = "/api/v1/namespaces/default/pods?dryRun=All";
    let mut alike = pod("alike");
    alike["spec"]["containers"][0]["ports"] = (0..50_000).map(|_| json!({"containerPort": 80})).collect();
    let answer = cluster.rest("POST", pods, &[], &alike.to_string()).await;
    assert!(matches!(answer.code, 201 | 413), "{}", answer.code);
    let mut keyed = pod("keyed");
    keyed["metadata"]["labels"] = json!({"a": "v".repeat(1 << 20)});
    let keys = vec!["a"; 100_000];
    keyed["spec"]["topologySpreadConstraints"] = json!([{"maxSkew": 1, "topologyKey": "t",
        "whenUnsatisfiable": "ScheduleAnyway", "labelSelector": {}, "matchLabelKeys": keys}]);
    assert_eq!(cluster.rest("POST", pods, &[], &keyed.to_string()).await.code, 422);
    lives(&cluster).await;
}

#[tokio::test]
async fn attack_a_rule_is_not_multiplied_out_without_bound() {
    let cluster = Cluster::start().await;
    let roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
    let group = "rbac.authorization.k8s.io";
    let role = json!({"metadata": {"name": "eve"},
        "rules": [{"apiGroups": [group], "resources": ["clusterroles"], "verbs": ["create"]}]});
    let binding = json!({"metadata": {"name": "eve"}, "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "eve"},
        "subjects": [{"kind": "User", "apiGroup": group, "name": "eve"}]});
    assert_eq!(cluster.rest("POST", roles, &[], &role.to_string()).await.code, 201);
    let bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    assert_eq!(cluster.rest("POST", bindings, &[], &binding.to_string()).await.code, 201);
    let words: Vec<String> = (0..1_000).map(|n| format!("w{n}")).collect();
    let rule = json!({"verbs": words, "apiGroups": words, "resources": words, "resourceNames": words});
    let vast = json!({"metadata": {"name": "vast"}, "rules": [rule]}).to_string();
    let eve = cluster.identity("eve", &[]);
    let mut answer = request_as(&cluster, &eve, "POST", roles, &[], &vast).await;
    // The index of roles follows by a watch.
    while answer.text.contains("cannot create resource") {
        answer = request_as(&cluster, &eve, "POST", roles, &[], &vast).await;
    }
    refused(&answer, 403, "to 1000000000000 single permissions");
    lives(&cluster).await;
}
