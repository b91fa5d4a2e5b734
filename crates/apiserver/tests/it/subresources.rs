//! Evictions, approvals and scales of the kinds that have them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gantry_apiserver::testing::Builder;
use serde_json::{Value, json};

use crate::races::Racing;
use crate::slow::Slow;
use crate::support::{Cluster, pod};

const PODS: &str = "/api/v1/namespaces/default/pods";
const BUDGETS: &str = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";
const MERGE: (&str, &str) = ("content-type", "application/merge-patch+json");

/// A pod that runs and is ready.
async fn running(cluster: &Cluster, name: &str) {
    let made = cluster.rest("POST", PODS, &[], &pod(name).to_string()).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let status = json!({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}});
    let written = cluster.rest("PATCH", &format!("{PODS}/{name}/status"), &[MERGE], &status.to_string()).await;
    assert_eq!(written.code, 200, "{}", written.text);
}

async fn evict(cluster: &Cluster, name: &str, version: &str) -> crate::support::Answer {
    let body = json!({"apiVersion": version, "kind": "Eviction", "metadata": {"name": name, "namespace": "default"}});
    cluster.rest("POST", &format!("{PODS}/{name}/eviction"), &[], &body.to_string()).await
}

async fn budget(cluster: &Cluster, allowed: i64) {
    let body =
        json!({"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "x"}}}});
    cluster.rest("POST", BUDGETS, &[], &body.to_string()).await;
    let status = json!({"status": {"observedGeneration": 1, "disruptionsAllowed": allowed, "desiredHealthy": 1,
        "currentHealthy": 1 + allowed, "expectedPods": 2}});
    let written = cluster.rest("PATCH", &format!("{BUDGETS}/b/status"), &[MERGE], &status.to_string()).await;
    assert_eq!(written.code, 200, "{}", written.text);
}

#[tokio::test]
async fn evictions_count_against_the_budget() {
    let cluster = Cluster::start().await;
    cluster.default_account().await;
    for name in ["a", "b"] {
        running(&cluster, name).await;
    }
    budget(&cluster, 1).await;
    let dry = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "a"}, "deleteOptions": {"dryRun": ["All"]}});
    let dry = cluster.rest("POST", &format!("{PODS}/a/eviction"), &[], &dry.to_string()).await;
    assert_eq!(dry.code, 201, "{}", dry.text);
    assert_eq!(
        cluster.rest("GET", &format!("{PODS}/a"), &[], "").await.json()["metadata"].get("deletionTimestamp"),
        None
    );
    let evicted = evict(&cluster, "a", "policy/v1").await;
    assert_eq!((evicted.code, evicted.json()["status"].as_str()), (201, Some("Success")), "{}", evicted.text);
    assert_eq!(cluster.rest("GET", &format!("{PODS}/a"), &[], "").await.code, 404, "a pod without a node goes at once");
    let status = cluster.rest("GET", &format!("{BUDGETS}/b"), &[], "").await.json()["status"].clone();
    assert_eq!(status["disruptionsAllowed"], 0);
    assert!(status["disruptedPods"]["a"].is_string(), "{status}");
    let blocked = evict(&cluster, "b", "policy/v1beta1").await;
    assert_eq!(blocked.code, 429);
    let status = blocked.json();
    assert_eq!(status["message"], "Cannot evict pod as it would violate the pod's disruption budget.");
    assert_eq!(status["details"]["causes"][0]["reason"], "DisruptionBudget");
    assert_eq!(blocked.headers.get("retry-after").and_then(|v| v.to_str().ok()), Some("10"));
    let unready = json!({"status": {"conditions": [{"type": "Ready", "status": "False"}]}}).to_string();
    cluster.rest("PATCH", &format!("{PODS}/b/status"), &[MERGE], &unready).await;
    assert_eq!(evict(&cluster, "b", "policy/v1").await.code, 201, "the budget is met without it");
    assert_eq!(evict(&cluster, "c", "policy/v1").await.code, 404);
}

#[tokio::test]
async fn racing_evictions_take_no_more_than_the_budget_allows() {
    let cluster = Cluster::with(Builder::default().store(Slow::about("/registry/pods/"))).await;
    cluster.default_account().await;
    let names: Vec<String> = (0..8).map(|i| format!("p{i}")).collect();
    for name in &names {
        running(&cluster, name).await;
    }
    budget(&cluster, 3).await;
    let answers = futures::future::join_all(names.iter().map(|name| evict(&cluster, name, "policy/v1"))).await;
    let mut codes: Vec<u16> = answers.iter().map(|a| a.code).collect();
    codes.sort_unstable();
    assert_eq!(codes, [201, 201, 201, 429, 429, 429, 429, 429]);
}

/// The pod as the kubelet reports it next: the budget has paid, and the pod is not what was judged.
#[tokio::test]
async fn evictions_are_paid_for_once_whoever_writes_the_pod_meanwhile() {
    let key = "/registry/pods/default/a";
    let store = Racing::about(key);
    let cluster = Cluster::with(Builder::default().store(store.clone())).await;
    cluster.default_account().await;
    running(&cluster, "a").await;
    budget(&cluster, 2).await;
    // The writes of an eviction: the budget's, the pod's condition, the pod's end. The kubelet writes before the last.
    store.always(|kv| {
        let mut pod: Value = serde_json::from_slice(&kv.value).expect("JSON");
        pod["status"]["message"] = format!("after {}", kv.mod_revision).into();
        kv.value.windows(16).any(|part| part == b"DisruptionTarget").then(|| pod.to_string().into())
    });
    let evicted = evict(&cluster, "a", "policy/v1").await;
    assert_eq!(evicted.code, 201, "{}", evicted.text);
    let status = cluster.rest("GET", &format!("{BUDGETS}/b"), &[], "").await.json()["status"].clone();
    assert_eq!(status["disruptionsAllowed"], 1, "{status}");
    assert!(store.interfered() > 0, "the kubelet has written");
    assert_eq!(cluster.rest("GET", &format!("{PODS}/a"), &[], "").await.code, 404);
}

#[tokio::test]
async fn an_eviction_of_one_version_of_a_pod_finds_that_version() {
    let cluster = Cluster::start().await;
    cluster.default_account().await;
    running(&cluster, "a").await;
    let ask = async |version: &str| {
        let body = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "a"},
            "deleteOptions": {"preconditions": {"resourceVersion": version}}});
        cluster.rest("POST", &format!("{PODS}/a/eviction"), &[], &body.to_string()).await.code
    };
    let pod = cluster.rest("GET", &format!("{PODS}/a"), &[], "").await.json();
    assert_eq!(ask("1").await, 409);
    assert_eq!(ask(pod["metadata"]["resourceVersion"].as_str().expect("a version")).await, 201);
}

#[tokio::test]
async fn two_budgets_of_one_pod_are_too_many() {
    let cluster = Cluster::start().await;
    cluster.default_account().await;
    running(&cluster, "a").await;
    for name in ["b", "c"] {
        let body = json!({"metadata": {"name": name}, "spec": {"selector": {}}});
        cluster.rest("POST", BUDGETS, &[], &body.to_string()).await;
    }
    let refused = evict(&cluster, "a", "policy/v1").await;
    assert_eq!(refused.code, 500);
    assert!(refused.json()["message"].as_str().is_some_and(|m| m.contains("more than one PodDisruptionBudget")));
}

fn request() -> Value {
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(vec!["x".to_owned()]).expect("a name");
    let pem = params.serialize_request(&key).and_then(|r| r.pem()).expect("a request");
    json!({"metadata": {"name": "r"}, "spec": {"request": STANDARD.encode(pem), "usages": ["client auth"],
        "signerName": "example.com/signer", "username": "somebody", "groups": ["system:masters"]}})
}

/// A request that was changed after it was signed.
fn forged(change: impl FnOnce(&mut Vec<u8>)) -> Value {
    let mut made = request();
    let pem = STANDARD.decode(made["spec"]["request"].as_str().expect("base64")).expect("base64");
    let pem = String::from_utf8(pem).expect("PEM");
    let body: String = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let mut der = STANDARD.decode(body).expect("base64");
    change(&mut der);
    let pem =
        format!("-----BEGIN CERTIFICATE REQUEST-----\n{}\n-----END CERTIFICATE REQUEST-----\n", STANDARD.encode(der));
    made["spec"]["request"] = STANDARD.encode(pem).into();
    made
}

#[tokio::test]
async fn requests_are_approved_then_signed() {
    let cluster = Cluster::start().await;
    let path = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let mut broken = request();
    broken["spec"]["request"] = STANDARD.encode("nonsense").into();
    let refused = cluster.rest("POST", path, &[], &broken.to_string()).await;
    assert!(refused.text.contains("PEM block type must be CERTIFICATE REQUEST"), "{}", refused.text);
    for (broken, why) in [
        // Another key than the one that signed; the signature is the last thing in it.
        (forged(|der| *der.last_mut().expect("bytes") ^= 1), "x509: ECDSA verification failure"),
        (forged(|der| der.push(0)), "asn1: syntax error: trailing data"),
    ] {
        let refused = cluster.rest("POST", path, &[], &broken.to_string()).await;
        assert_eq!((refused.code, refused.text.contains(why)), (422, true), "{why}: {}", refused.text);
    }
    let made = cluster.rest("POST", path, &[], &request().to_string()).await.json();
    assert_eq!((&made["spec"]["username"], &made["spec"]["groups"][0]), (&json!("admin"), &json!("system:masters")));
    let condition =
        |kind: &str| json!({"status": {"conditions": [{"type": kind, "status": "True", "reason": "R"}]}}).to_string();
    let through_status = cluster.rest("PATCH", &format!("{path}/r/status"), &[MERGE], &condition("Approved")).await;
    assert_eq!(through_status.code, 422, "{}", through_status.text);
    let approved = cluster.rest("PATCH", &format!("{path}/r/approval"), &[MERGE], &condition("Approved")).await;
    assert_eq!(approved.code, 200, "{}", approved.text);
    assert!(approved.json()["status"]["conditions"][0]["lastUpdateTime"].is_string());
    let pem = cluster.server.identity("x", &[]).cert_pem;
    let with_header = STANDARD.encode(pem.replacen("-----\n", "-----\nA: b\n\n", 1));
    let body = json!({"status": {"certificate": with_header}}).to_string();
    let refused = cluster.rest("PATCH", &format!("{path}/r/status"), &[MERGE], &body).await;
    assert_eq!(refused.code, 422, "{}", refused.text);
    let certificate = STANDARD.encode(pem);
    let signed = json!({"status": {"certificate": certificate}}).to_string();
    let early = cluster.rest("PATCH", &format!("{path}/r/approval"), &[MERGE], &signed).await;
    assert!(early.text.contains("updates may not set certificate content"), "{}", early.text);
    let done = cluster.rest("PATCH", &format!("{path}/r/status"), &[MERGE], &signed).await;
    assert_eq!((done.code, &done.json()["status"]["certificate"]), (200, &json!(certificate)), "{}", done.text);
    let spec = json!({"spec": {"username": "other"}}).to_string();
    let kept = cluster.rest("PATCH", &format!("{path}/r"), &[MERGE], &spec).await.json();
    assert_eq!(kept["spec"]["username"], "admin", "the requester stays who asked");
    let found = cluster
        .rest("GET", &format!("{path}?fieldSelector=spec.signerName%3Dexample.com/signer"), &[], "")
        .await
        .json();
    assert_eq!(found["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn sets_and_controllers_scale() {
    let cluster = Cluster::start().await;
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let set =
        json!({"metadata": {"name": "s"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}});
    let controller = json!({"metadata": {"name": "s"}, "spec": {"template": template}});
    for (path, body) in [
        ("/apis/apps/v1/namespaces/default/statefulsets", set),
        ("/api/v1/namespaces/default/replicationcontrollers", controller),
    ] {
        assert_eq!(cluster.rest("POST", path, &[], &body.to_string()).await.code, 201, "{path}");
        let scaled = cluster.rest("PATCH", &format!("{path}/s/scale"), &[MERGE], r#"{"spec":{"replicas":4}}"#).await;
        let scale = scaled.json();
        assert_eq!(
            (&scale["kind"], &scale["spec"]["replicas"], &scale["status"]["selector"]),
            (&json!("Scale"), &json!(4), &json!("a=b"))
        );
        let object = cluster.rest("GET", &format!("{path}/s"), &[], "").await.json();
        assert_eq!((&object["spec"]["replicas"], &object["metadata"]["generation"]), (&json!(4), &json!(2)));
        let table = ("accept", "application/json;as=Table;g=meta.k8s.io;v=v1");
        let mut four = scale;
        four["metadata"]["resourceVersion"] = "".into();
        let requests =
            [("PATCH", json!({"spec": {"replicas": 5}}), vec![table, MERGE], 5), ("PUT", four, vec![table], 4)];
        for (method, body, headers, replicas) in requests {
            let shown = cluster.rest(method, &format!("{path}/s/scale"), &headers, &body.to_string()).await.json();
            assert_eq!((&shown["kind"], &shown["rows"][0]["cells"][1]), (&json!("Table"), &json!(replicas)), "{shown}");
        }
    }
}

#[tokio::test]
async fn ranges_of_addresses_are_objects() {
    let cluster = Cluster::start().await;
    let ranges = "/apis/networking.k8s.io/v1/servicecidrs";
    let own = cluster.rest("GET", &format!("{ranges}/kubernetes"), &[], "").await.json();
    assert_eq!(
        (&own["spec"]["cidrs"], &own["status"]["conditions"][0]["status"]),
        (&json!(["10.96.0.0/16"]), &json!("True"))
    );
    let services = "/api/v1/namespaces/default/services";
    let chosen =
        json!({"metadata": {"name": "s"}, "spec": {"clusterIP": "10.77.0.5", "ports": [{"port": 80}]}}).to_string();
    assert_eq!(cluster.rest("POST", services, &[], &chosen).await.code, 422, "no range has this address");
    let range = json!({"metadata": {"name": "more"}, "spec": {"cidrs": ["10.77.0.0/28"]}});
    assert_eq!(cluster.rest("POST", ranges, &[], &range.to_string()).await.code, 201);
    // A consistent read: the cache has the range from now on.
    assert_eq!(cluster.rest("GET", ranges, &[], "").await.code, 200);
    let made = cluster.rest("POST", services, &[], &chosen).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let address = cluster.rest("GET", "/apis/networking.k8s.io/v1/ipaddresses/10.77.0.5", &[], "").await.json();
    assert_eq!(
        address["spec"]["parentRef"],
        json!({"group": "", "resource": "services", "namespace": "default", "name": "s"})
    );
}

#[tokio::test]
async fn who_asks_for_a_certificate_who_approves_and_who_issues_own_a_part_each() {
    let cluster = Cluster::start().await;
    let path = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let mut asked = request();
    asked["metadata"]["labels"] = json!({"a": "b"});
    let made = cluster.rest("POST", &format!("{path}?fieldManager=asks"), &[], &asked.to_string()).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let fields = |object: &Value, manager: &str| {
        let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
        entries.into_iter().find(|entry| entry["manager"] == manager).map(|entry| entry["fieldsV1"].clone())
    };
    let labels = json!({"f:metadata": {"f:labels": {".": {}, "f:a": {}}}});
    assert_eq!(fields(&made.json(), "asks"), Some(labels), "nobody owns the spec");
    let write = async |part: &str, manager: &str, status: Value| {
        let body = json!({"status": status}).to_string();
        let answer = cluster.rest("PATCH", &format!("{path}/r/{part}?fieldManager={manager}"), &[MERGE], &body).await;
        assert_eq!(answer.code, 200, "{}", answer.text);
        answer.json()
    };
    let approved = json!({"type": "Approved", "status": "True", "reason": "r", "message": "m"});
    let object = write("approval", "approves", json!({"conditions": [approved]})).await;
    let owned = fields(&object, "approves").expect("an owner");
    assert!(owned["f:status"]["f:conditions"]["k:{\"type\":\"Approved\"}"].is_object(), "{owned}");
    let failed = json!({"type": "Failed", "status": "True"});
    let object = write("status", "issues", json!({"conditions": [approved, failed]})).await;
    assert_eq!(fields(&object, "issues"), None, "conditions are the approval's");
}
