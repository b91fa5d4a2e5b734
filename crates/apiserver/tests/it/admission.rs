//! What the cluster adds to objects and refuses of them: limits, quotas, classes, certificates, Pod Security.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gantry_apiserver::testing::Builder;
use gantry_store::Store as _;
use serde_json::{Value, json};

use crate::races::Racing;
use crate::slow::Slow;
use crate::support::{Answer, Cluster, configmap, pod};

const PODS: &str = "/api/v1/namespaces/default/pods";
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const QUOTAS: &str = "/api/v1/namespaces/default/resourcequotas";
const CLAIMS: &str = "/api/v1/namespaces/default/persistentvolumeclaims";
const MERGE: (&str, &str) = ("content-type", "application/merge-patch+json");

async fn post(cluster: &Cluster, path: &str, body: &Value) -> Answer {
    cluster.rest("POST", path, &[], &body.to_string()).await
}

/// Creates what must be let in; the cache knows it afterwards.
async fn create(cluster: &Cluster, path: &str, body: &Value) -> Value {
    let made = post(cluster, path, body).await;
    assert_eq!(made.code, 201, "{}", made.text);
    assert_eq!(cluster.rest("GET", path, &[], "").await.code, 200);
    made.json()
}

fn quota(name: &str, hard: Value) -> Value {
    json!({"metadata": {"name": name}, "spec": {"hard": hard}})
}

async fn used(cluster: &Cluster, name: &str) -> Value {
    cluster.rest("GET", &format!("{QUOTAS}/{name}"), &[], "").await.json()["status"]["used"].clone()
}

#[tokio::test]
async fn limits_complete_and_bound_pods() {
    let cluster = Cluster::start().await;
    cluster.default_account().await;
    let item =
        json!({"type": "Container", "default": {"cpu": "1"}, "defaultRequest": {"cpu": "500m"}, "max": {"cpu": "2"}});
    create(
        &cluster,
        "/api/v1/namespaces/default/limitranges",
        &json!({"metadata": {"name": "l"}, "spec": {"limits": [item]}}),
    )
    .await;
    let made = create(&cluster, PODS, &pod("a")).await;
    assert_eq!(
        made["spec"]["containers"][0]["resources"],
        json!({"limits": {"cpu": "1"}, "requests": {"cpu": "500m"}})
    );
    assert!(made["metadata"]["annotations"]["kubernetes.io/limit-ranger"].is_string());
    let mut large = pod("b");
    large["spec"]["containers"][0]["resources"] = json!({"limits": {"cpu": "3"}});
    let refused = post(&cluster, PODS, &large).await;
    assert_eq!(refused.code, 403);
    assert_eq!(
        refused.json()["message"],
        "pods \"b\" is forbidden: maximum cpu usage per Container is 2, but limit is 3"
    );
}

#[tokio::test]
async fn a_quota_is_exact_among_racing_writers() {
    let cluster = Cluster::with(Builder::default().store(Slow::about("/registry/resourcequotas/"))).await;
    create(&cluster, QUOTAS, &quota("q", json!({"configmaps": "7"}))).await;
    let bodies: Vec<Value> = (0..20).map(|i| configmap(&format!("m{i}"), "1")).collect();
    let answers = futures::future::join_all(bodies.iter().map(|body| post(&cluster, MAPS, body))).await;
    assert_eq!(answers.iter().filter(|a| a.code == 201).count(), 7);
    let refused = answers.iter().find(|a| a.code == 403).expect("some are refused").json();
    let message = refused["message"].as_str().unwrap_or_default();
    assert!(
        message.ends_with(
            "is forbidden: exceeded quota: q, requested: configmaps=1, used: configmaps=7, limited: configmaps=7"
        ),
        "{message}"
    );
    assert_eq!(used(&cluster, "q").await, json!({"configmaps": "7"}));
    let stored = cluster.rest("GET", MAPS, &[], "").await.json();
    assert_eq!(stored["items"].as_array().map(Vec::len), Some(7));
}

#[tokio::test]
async fn what_is_gone_no_longer_counts() {
    let cluster = Cluster::start().await;
    create(&cluster, MAPS, &configmap("before", "1")).await;
    create(&cluster, QUOTAS, &quota("q", json!({"configmaps": "2"}))).await;
    create(&cluster, MAPS, &configmap("a", "1")).await;
    assert_eq!(used(&cluster, "q").await, json!({"configmaps": "2"}), "what was there before the quota counts");
    let dry = cluster.rest("DELETE", &format!("{MAPS}/a"), &[], "").await;
    assert_eq!(dry.code, 200);
    let dry = post(&cluster, &format!("{MAPS}?dryRun=All"), &configmap("b", "1")).await;
    assert_eq!(dry.code, 201, "{}", dry.text);
    create(&cluster, MAPS, &configmap("b", "1")).await;
    assert_eq!(post(&cluster, &format!("{MAPS}?dryRun=All"), &configmap("c", "1")).await.code, 403);
    assert_eq!(used(&cluster, "q").await, json!({"configmaps": "2"}));
}

#[tokio::test]
async fn several_quotas_hold_together() {
    let cluster = Cluster::start().await;
    cluster.default_account().await;
    create(&cluster, QUOTAS, &quota("a", json!({"pods": "2"}))).await;
    create(&cluster, QUOTAS, &quota("b", json!({"count/pods": "5", "requests.cpu": "1"}))).await;
    let refused = post(&cluster, PODS, &pod("p")).await;
    assert!(refused.text.contains("failed quota: b: must specify requests.cpu for: c"), "{}", refused.text);
    let sized = |name: &str, cpu: &str| {
        let mut pod = pod(name);
        pod["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": cpu}});
        pod
    };
    create(&cluster, PODS, &sized("p", "600m")).await;
    let refused = post(&cluster, PODS, &sized("q", "600m")).await.json();
    assert_eq!(
        refused["message"],
        "pods \"q\" is forbidden: exceeded quota: b, requested: requests.cpu=600m, used: requests.cpu=600m, limited: requests.cpu=1"
    );
    create(&cluster, PODS, &sized("q", "400m")).await;
    let refused = post(&cluster, PODS, &sized("r", "0")).await;
    assert!(
        refused.text.contains("exceeded quota: a, requested: pods=1, used: pods=2, limited: pods=2"),
        "{}",
        refused.text
    );
}

#[tokio::test]
async fn updates_are_charged_too() {
    let cluster = Cluster::start().await;
    create(&cluster, QUOTAS, &quota("q", json!({"services.nodeports": "1", "services": "2", "resourcequotas": "2"})))
        .await;
    let services = "/api/v1/namespaces/default/services";
    let service = json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}});
    create(&cluster, services, &service).await;
    let to_node_port = json!({"spec": {"type": "NodePort"}}).to_string();
    let changed = cluster.rest("PATCH", &format!("{services}/s"), &[MERGE], &to_node_port).await;
    assert_eq!(changed.code, 200, "{}", changed.text);
    assert_eq!(used(&cluster, "q").await["services.nodeports"], "1");
    let more = json!({"spec": {"ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81}]}}).to_string();
    let refused = cluster.rest("PATCH", &format!("{services}/s"), &[MERGE], &more).await;
    assert_eq!(refused.code, 403, "{}", refused.text);
    create(&cluster, QUOTAS, &quota("r", json!({"pods": "1"}))).await;
    assert_eq!(post(&cluster, QUOTAS, &quota("t", json!({"pods": "1"}))).await.code, 403, "quotas count quotas");
}

#[tokio::test]
async fn claims_get_the_default_class_and_grow_where_it_lets_them() {
    let cluster = Cluster::with(Builder::default()).await;
    let class = json!({"metadata": {"name": "fast", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": "a.b/c"});
    create(&cluster, "/apis/storage.k8s.io/v1/storageclasses", &class).await;
    let claim = json!({"metadata": {"name": "c"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    let made = create(&cluster, CLAIMS, &claim).await;
    assert_eq!(made["spec"]["storageClassName"], "fast");
    assert_eq!(made["metadata"]["finalizers"], json!(["kubernetes.io/pvc-protection"]));
    let status = json!({"status": {"phase": "Bound", "capacity": {"storage": "1Gi"}}}).to_string();
    cluster.rest("PATCH", &format!("{CLAIMS}/c/status"), &[MERGE], &status).await;
    let grow = json!({"spec": {"resources": {"requests": {"storage": "2Gi"}}}}).to_string();
    let refused = cluster.rest("PATCH", &format!("{CLAIMS}/c"), &[MERGE], &grow).await;
    assert!(refused.text.contains("only dynamically provisioned pvc can be resized"), "{}", refused.text);
    cluster
        .rest("PATCH", "/apis/storage.k8s.io/v1/storageclasses/fast", &[MERGE], r#"{"allowVolumeExpansion":true}"#)
        .await;
    let grown = cluster.rest("PATCH", &format!("{CLAIMS}/c"), &[MERGE], &grow).await;
    assert_eq!(grown.code, 200, "{}", grown.text);
}

#[tokio::test]
async fn classes_add_to_pods_and_ingresses() {
    let cluster = Cluster::start().await;
    cluster.default_account().await;
    let mut ran = pod("a");
    ran["spec"]["runtimeClassName"] = "vm".into();
    let refused = post(&cluster, PODS, &ran).await;
    assert_eq!(refused.json()["message"], "pods \"a\" is forbidden: pod rejected: RuntimeClass \"vm\" not found");
    let class = json!({"metadata": {"name": "vm"}, "handler": "vm", "overhead": {"podFixed": {"memory": "64Mi"}}});
    create(&cluster, "/apis/node.k8s.io/v1/runtimeclasses", &class).await;
    assert_eq!(create(&cluster, PODS, &ran).await["spec"]["overhead"], json!({"memory": "64Mi"}));
    let mut alone = pod("b");
    alone["spec"]["overhead"] = json!({"memory": "1Mi"});
    assert!(post(&cluster, PODS, &alone).await.text.contains("without corresponding RuntimeClass"));
    let class = json!({"metadata": {"name": "web", "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}},
        "spec": {"controller": "a.b/c"}});
    create(&cluster, "/apis/networking.k8s.io/v1/ingressclasses", &class).await;
    let ingress = json!({"metadata": {"name": "i"}, "spec": {"defaultBackend": {"service": {"name": "s", "port": {"number": 80}}}}});
    let made = create(&cluster, "/apis/networking.k8s.io/v1/namespaces/default/ingresses", &ingress).await;
    assert_eq!(made["spec"]["ingressClassName"], "web");
}

#[tokio::test]
async fn only_who_may_approves_and_signs() {
    let cluster = Cluster::start().await;
    let requests = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    let request = |signer: &str, organisation: &str| {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params = rcgen::CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(rcgen::DnType::OrganizationName, organisation);
        let pem = params.serialize_request(&key).and_then(|r| r.pem()).expect("a request");
        json!({"metadata": {"name": "r"}, "spec": {"request": STANDARD.encode(pem), "usages": ["client auth"], "signerName": signer}})
    };
    let refused = post(&cluster, requests, &request("kubernetes.io/kube-apiserver-client", "system:masters")).await;
    assert!(refused.text.contains("signer with system:masters group is not allowed"), "{}", refused.text);
    create(&cluster, requests, &request("example.com/a", "somebody")).await;
    let rules = json!([{"verbs": ["patch", "get"], "apiGroups": ["certificates.k8s.io"],
        "resources": ["certificatesigningrequests/approval", "certificatesigningrequests/status"]},
        {"verbs": ["approve"], "apiGroups": ["certificates.k8s.io"], "resources": ["signers"], "resourceNames": ["example.com/*"]}]);
    let roles = "/apis/rbac.authorization.k8s.io/v1";
    create(&cluster, &format!("{roles}/clusterroles"), &json!({"metadata": {"name": "approver"}, "rules": rules}))
        .await;
    let binding = json!({"metadata": {"name": "approver"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "approver"},
        "subjects": [{"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "carol"}]});
    create(&cluster, &format!("{roles}/clusterrolebindings"), &binding).await;
    let as_carol = [MERGE, ("impersonate-user", "carol")];
    let failed = json!({"status": {"conditions": [{"type": "Failed", "status": "True"}]}}).to_string();
    let signed = loop {
        let answer = cluster.rest("PATCH", &format!("{requests}/r/status"), &as_carol, &failed).await;
        // Roles are taken up a moment after they are written.
        if !answer.text.contains("cannot patch resource") {
            break answer;
        }
        tokio::task::yield_now().await;
    };
    assert!(
        signed.text.contains("user not permitted to sign requests with signerName \\\"example.com/a\\\""),
        "{}",
        signed.text
    );
    let approve = json!({"status": {"conditions": [{"type": "Approved", "status": "True"}]}}).to_string();
    let approved = cluster.rest("PATCH", &format!("{requests}/r/approval"), &as_carol, &approve).await;
    assert_eq!(approved.code, 200, "{}", approved.text);
}

#[tokio::test]
async fn namespaces_ask_for_pod_security() {
    let cluster = Cluster::start().await;
    cluster.default_account().await;
    let namespace = "/api/v1/namespaces/default";
    let mut host = pod("host");
    host["spec"]["hostNetwork"] = true.into();
    create(&cluster, PODS, &host).await;
    let label = async |labels: Value| {
        let body = json!({"metadata": {"labels": labels}}).to_string();
        let answer = cluster.rest("PATCH", namespace, &[MERGE], &body).await;
        cluster.rest("GET", namespace, &[], "").await;
        answer
    };
    let wrong = label(json!({"pod-security.kubernetes.io/enforce": "strict"})).await;
    assert_eq!(wrong.code, 422, "{}", wrong.text);
    let stricter = label(
        json!({"pod-security.kubernetes.io/enforce": "baseline", "pod-security.kubernetes.io/warn": "restricted"}),
    )
    .await;
    let warnings: Vec<&str> = stricter.headers.get_all("warning").iter().filter_map(|w| w.to_str().ok()).collect();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[1].contains("host: host namespaces"), "{warnings:?}");
    host["metadata"]["name"] = "other".into();
    let refused = post(&cluster, PODS, &host).await;
    assert_eq!(refused.code, 403);
    assert_eq!(
        refused.json()["message"],
        "pods \"other\" is forbidden: violates PodSecurity \"baseline:latest\": host namespaces (hostNetwork=true)"
    );
    let warned = post(&cluster, PODS, &pod("plain")).await;
    let warning = warned.headers.get("warning").and_then(|w| w.to_str().ok()).unwrap_or_default();
    assert!(
        warned.code == 201
            && warning
                .contains("would violate PodSecurity \\\"restricted:latest\\\": allowPrivilegeEscalation != false"),
        "{warning}"
    );
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": {"hostPID": true, "containers": [{"name": "c", "image": "i"}]}});
    let set =
        json!({"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}});
    let made = post(&cluster, "/apis/apps/v1/namespaces/default/deployments", &set).await;
    assert_eq!(made.code, 201, "a template is not refused: {}", made.text);
    assert!(made.headers.get("warning").and_then(|w| w.to_str().ok()).is_some_and(|w| w.contains("host namespaces")));
}

#[tokio::test]
async fn an_address_in_use_stays() {
    let cluster = Cluster::start().await;
    let service = json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}});
    let made = create(&cluster, "/api/v1/namespaces/default/services", &service).await;
    let address =
        format!("/apis/networking.k8s.io/v1/ipaddresses/{}", made["spec"]["clusterIP"].as_str().unwrap_or_default());
    let refused = cluster.rest("DELETE", &address, &[], "").await;
    assert!(refused.code == 403 && refused.text.contains("it is the address of service default/s"), "{}", refused.text);
    cluster.rest("DELETE", "/api/v1/namespaces/default/services/s", &[], "").await;
    assert_eq!(cluster.rest("GET", &address, &[], "").await.code, 404);
}

#[tokio::test]
async fn devices_of_others_need_a_marked_namespace() {
    let cluster = Cluster::start().await;
    let claims = "/apis/resource.k8s.io/v1/namespaces/default/resourceclaims";
    let claim = json!({"metadata": {"name": "c"}, "spec": {"devices": {"requests": [
        {"name": "r", "exactly": {"deviceClassName": "gpu", "adminAccess": true}}]}}});
    let refused = post(&cluster, claims, &claim).await;
    let why = "spec.devices.requests[0].adminAccess: Forbidden: admin access to devices requires the \
               `resource.kubernetes.io/admin-access: true` label on the containing namespace";
    assert!(refused.code == 422 && refused.text.contains(why), "{}", refused.text);
    let mut plain = claim.clone();
    plain["metadata"]["name"] = json!("plain");
    plain["spec"]["devices"]["requests"][0]["exactly"]["adminAccess"] = json!(false);
    create(&cluster, claims, &plain).await;
    let allocation = json!({"status": {"allocation": {"devices": {"results": [
        {"request": "r", "driver": "gpu.example", "pool": "p", "device": "d", "adminAccess": true}]}}}});
    let refused = cluster.rest("PATCH", &format!("{claims}/plain/status"), &[MERGE], &allocation.to_string()).await;
    let why = "status.allocation.devices.results[0].adminAccess: Forbidden: admin access to devices requires";
    assert!(refused.code == 422 && refused.text.contains(why), "{}", refused.text);
    let label = json!({"metadata": {"labels": {"resource.kubernetes.io/admin-access": "true"}}}).to_string();
    cluster.rest("PATCH", "/api/v1/namespaces/default", &[MERGE], &label).await;
    cluster.rest("GET", "/api/v1/namespaces/default", &[], "").await;
    assert_eq!(post(&cluster, claims, &claim).await.code, 201);
}

#[tokio::test]
async fn parts_of_a_claims_status_need_rights_of_their_own() {
    let cluster = Cluster::start().await;
    let claims = "/apis/resource.k8s.io/v1/namespaces/default/resourceclaims";
    let claim = json!({"metadata": {"name": "c"}, "spec": {"devices": {"requests": [
        {"name": "r", "exactly": {"deviceClassName": "gpu"}}]}}});
    create(&cluster, claims, &claim).await;
    let path = format!("{claims}/c/status");
    let allow = async |user: &str, rules: Value| {
        let roles = "/apis/rbac.authorization.k8s.io/v1";
        let group = "rbac.authorization.k8s.io";
        create(&cluster, &format!("{roles}/clusterroles"), &json!({"metadata": {"name": user}, "rules": rules})).await;
        let binding = json!({"metadata": {"name": user}, "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": user},
            "subjects": [{"kind": "User", "apiGroup": group, "name": user}]});
        create(&cluster, &format!("{roles}/clusterrolebindings"), &binding).await;
    };
    let rule = |resource: &str, verbs: &[&str]| json!({"apiGroups": ["resource.k8s.io"], "resources": [resource], "verbs": verbs});
    let status = rule("resourceclaims/status", &["patch"]);
    allow("binder", json!([status, rule("resourceclaims/binding", &["patch"])])).await;
    let mut own = rule("resourceclaims/driver", &["arbitrary-node:patch"]);
    own["resourceNames"] = json!(["gpu.example"]);
    allow("driver", json!([status, own])).await;
    allow("third", json!([status])).await;
    let patch = async |user: &str, body: &Value| loop {
        let answer = cluster.rest("PATCH", &path, &[MERGE, ("impersonate-user", user)], &body.to_string()).await;
        // Roles are taken up a moment after they are written.
        if !answer.text.contains("cannot patch resource \\\"resourceclaims/status\\\"") {
            break answer;
        }
        tokio::task::yield_now().await;
    };
    let allocation = json!({"status": {"allocation": {"devices": {"results": [
        {"request": "r", "driver": "gpu.example", "pool": "p", "device": "d"}]}}}});
    let devices = json!({"status": {"devices": [{"driver": "gpu.example", "pool": "p", "device": "d"}]}});
    let refused = patch("third", &allocation).await;
    let why = "ResourceClaim.resource.k8s.io \"c\" is invalid: status: Forbidden: changing status.allocation or \
               status.reservedFor requires resource=\"resourceclaims/binding\", verb=\"patch\" permission: \
               resourceclaims.resource.k8s.io is forbidden: User \"third\" cannot patch resource \
               \"resourceclaims/binding\" in API group \"resource.k8s.io\" at the cluster scope";
    assert_eq!((refused.code, refused.json()["message"].as_str()), (422, Some(why)));
    assert_eq!(patch("driver", &allocation).await.code, 422);
    let allocated = patch("binder", &allocation).await;
    assert_eq!(allocated.code, 200, "{}", allocated.text);
    let refused = patch("binder", &devices).await;
    let why = "status.devices: Forbidden: changing status.devices requires resource=\"resourceclaims/driver\", \
               verb=\"[arbitrary-node:patch]\" permission: resourceclaims.resource.k8s.io \"gpu.example\" is forbidden: \
               User \"binder\" cannot arbitrary-node:patch resource \"resourceclaims/driver\"";
    let message = refused.json()["message"].as_str().unwrap_or_default().to_owned();
    assert!(refused.code == 422 && message.contains(why), "{message}");
    let told = patch("driver", &devices).await;
    assert_eq!(told.code, 200, "{}", told.text);
}

#[tokio::test]
async fn a_namespace_that_this_replica_has_not_heard_of_is_looked_up() {
    let store = gantry_store::MemoryStore::new();
    let off = ["LimitRanger", "ResourceQuota", "ServiceAccount"].map(str::to_owned).to_vec();
    let builder = Builder::default().store(std::sync::Arc::new(store.clone()));
    let cluster = Cluster::with(builder.configure(move |config| config.disable_admission_plugins = off)).await;
    store.faults().silence_watches(true);
    let labels = json!({"pod-security.kubernetes.io/enforce": "restricted"});
    let made = post(&cluster, "/api/v1/namespaces", &json!({"metadata": {"name": "strict", "labels": labels}})).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let refused = post(&cluster, "/api/v1/namespaces/strict/pods", &pod("p")).await;
    assert_eq!(refused.code, 403, "{}", refused.text);
    assert!(refused.text.contains("violates PodSecurity"), "{}", refused.text);
    store.faults().silence_watches(false);
}

/// Another replica makes a namespace and a quota in it, and this one has heard of neither.
#[tokio::test]
async fn what_stands_in_a_young_namespace_is_waited_for() {
    let store = gantry_store::MemoryStore::new();
    let cluster = Cluster::with(Builder::default().store(std::sync::Arc::new(store.clone()))).await;
    store.faults().silence_watches(true);
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let meta = |name: &str| json!({"name": name, "uid": name, "creationTimestamp": now});
    let mut full = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta("q"), "spec": {"hard": {"configmaps": "0"}}});
    full["metadata"]["namespace"] = "young".into();
    for (key, object) in [
        ("/registry/namespaces/young", json!({"apiVersion": "v1", "kind": "Namespace", "metadata": meta("young")})),
        ("/registry/resourcequotas/young/q", full),
    ] {
        store.txn(gantry_store::Txn::create(key, object.to_string().into())).await.expect("written");
    }
    let maps = "/api/v1/namespaces/young/configmaps";
    let body = configmap("a", "1");
    let hear = async {
        // A server that does not wait answers in this time.
        for _ in 0..20_000 {
            tokio::task::yield_now().await;
        }
        store.faults().silence_watches(false);
        store.faults().drop_watches();
    };
    let (refused, ()) = tokio::join!(post(&cluster, maps, &body), hear);
    assert_eq!(refused.code, 403, "{}", refused.text);
    assert!(refused.text.contains("exceeded quota: q"), "{}", refused.text);
}

/// What is stored at a key.
async fn stored(cluster: &Cluster, key: &str) -> Value {
    let found = cluster.server.store().get(key).await.expect("read").expect("there");
    serde_json::from_slice(&found.value).expect("JSON")
}

/// Quotas `a`, with room for one, and `b`, with more. What a request uses of `a` is written before the object is.
async fn two_quotas() -> (std::sync::Arc<Racing>, Cluster) {
    quotas("/registry/configmaps/default/x", &[("a", "1"), ("b", "5")]).await
}

/// Quotas with room for so many, of which nothing is used. What a request uses of all but the last is written before the object
/// is.
async fn quotas(key: &'static str, rooms: &[(&str, &str)]) -> (std::sync::Arc<Racing>, Cluster) {
    let store = Racing::about(key);
    let cluster = Cluster::with(Builder::default().store(store.clone())).await;
    for (name, room) in rooms {
        create(&cluster, QUOTAS, &quota(name, json!({"configmaps": room}))).await;
    }
    // From now on all say what is used.
    create(&cluster, MAPS, &configmap("first", "1")).await;
    assert_eq!(cluster.rest("DELETE", &format!("{MAPS}/first"), &[], "").await.code, 200);
    for (name, room) in rooms {
        let none = json!({"status": {"hard": {"configmaps": room}, "used": {"configmaps": "0"}}});
        let written = cluster.rest("PATCH", &format!("{QUOTAS}/{name}/status"), &[MERGE], &none.to_string()).await;
        assert_eq!(written.code, 200, "{}", written.text);
    }
    (store, cluster)
}

#[tokio::test]
async fn a_quota_that_is_counted_between_reservation_and_write_is_reserved_anew() {
    let (store, cluster) = two_quotas().await;
    let (a, epoch) = ("/registry/resourcequotas/default/a", "/registry/gantry.dev/quota-epochs/default/a");
    // Another replica counts: the object is not there yet.
    let counted = stored(&cluster, a).await.to_string();
    store.before(gantry_store::Txn::new().put(a, counted.into()).put(epoch, "".into()));
    assert_eq!(post(&cluster, MAPS, &configmap("x", "1")).await.code, 201);
    assert_eq!(used(&cluster, "a").await, json!({"configmaps": "1"}));
    assert_eq!(used(&cluster, "b").await, json!({"configmaps": "1"}));
    let beyond = post(&cluster, MAPS, &configmap("y", "1")).await;
    assert!(beyond.text.contains("exceeded quota: a"), "{}", beyond.text);
}

#[tokio::test]
async fn what_is_tried_again_is_charged_once_and_what_fails_is_given_back() {
    let (store, cluster) = two_quotas().await;
    let b = "/registry/resourcequotas/default/b";
    // Somebody else writes the quota that goes with the object.
    let same = stored(&cluster, b).await.to_string();
    store.before(gantry_store::Txn::new().put(b, same.into()));
    assert_eq!(post(&cluster, MAPS, &configmap("x", "1")).await.code, 201, "there was room for one");
    assert_eq!(used(&cluster, "a").await, json!({"configmaps": "1"}));
    assert_eq!(cluster.rest("DELETE", &format!("{MAPS}/x"), &[], "").await.code, 200);
    let none = json!({"status": {"used": {"configmaps": "0"}}}).to_string();
    assert_eq!(cluster.rest("PATCH", &format!("{QUOTAS}/a/status"), &[MERGE], &none).await.code, 200);
    // The name is taken at the last moment.
    let theirs = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "namespace": "default",
        "uid": "u", "creationTimestamp": "2026-01-02T03:04:05Z"}});
    store.before(gantry_store::Txn::create("/registry/configmaps/default/x", theirs.to_string().into()));
    assert_eq!(post(&cluster, MAPS, &configmap("x", "1")).await.code, 409);
    assert_eq!(used(&cluster, "a").await, json!({"configmaps": "0"}));
    // The store will not have it: that is certain, though the server is to blame.
    store.refuse_next();
    assert_eq!(post(&cluster, MAPS, &configmap("x", "1")).await.code, 500);
    assert_eq!(used(&cluster, "a").await, json!({"configmaps": "0"}));
}

/// The object was not written, so whoever wants it may try again at once, and nothing else stays reserved for it.
#[tokio::test]
async fn a_reservation_of_unknown_outcome_may_be_tried_again() {
    let rooms = [("a", "1"), ("b", "1"), ("c", "5")];
    let (store, cluster) = quotas("/registry/resourcequotas/default/b", &rooms).await;
    let all_used = async || {
        let mut all = Vec::new();
        for (name, _) in rooms {
            all.push(used(&cluster, name).await["configmaps"].as_str().unwrap_or_default().to_owned());
        }
        all
    };
    store.lose_next();
    let lost = post(&cluster, MAPS, &configmap("x", "1")).await;
    assert_eq!((lost.code, lost.json()["reason"].as_str()), (504, Some("Timeout")), "{}", lost.text);
    assert_eq!(lost.headers.get("retry-after").map(|value| value.as_bytes()), Some(&b"1"[..]));
    assert_eq!(cluster.rest("GET", &format!("{MAPS}/x"), &[], "").await.code, 404);
    assert_eq!(all_used().await, ["0", "1", "0"], "what is certain is given back");
    create(&cluster, MAPS, &configmap("x", "1")).await;
    assert_eq!(all_used().await, ["1", "1", "1"], "the quota was counted");
    assert_eq!(post(&cluster, MAPS, &configmap("y", "1")).await.code, 403);
}

#[tokio::test]
async fn a_quota_leaves_nothing_behind() {
    let (store, cluster) = two_quotas().await;
    assert_eq!(post(&cluster, MAPS, &configmap("x", "1")).await.code, 201);
    let left = async || {
        let mut keys = Vec::new();
        for of in ["epochs", "progress"] {
            let range = gantry_store::Range::prefix(format!("/registry/gantry.dev/quota-{of}/")).keys_only();
            keys.extend(store.range(range).await.expect("read").kvs.into_iter().map(|kv| kv.key));
        }
        keys
    };
    assert_eq!(left().await.len(), 3, "{:?}", left().await);
    assert_eq!(cluster.rest("DELETE", &format!("{QUOTAS}/a"), &[], "").await.code, 200);
    assert_eq!(left().await, ["/registry/gantry.dev/quota-epochs/default/b"]);
    // Another one of the same name begins anew.
    create(&cluster, QUOTAS, &quota("a", json!({"configmaps": "2"}))).await;
    assert_eq!(post(&cluster, MAPS, &configmap("y", "1")).await.code, 201);
    assert_eq!(used(&cluster, "a").await, json!({"configmaps": "2"}));
    let beyond = post(&cluster, MAPS, &configmap("z", "1")).await;
    assert!(beyond.text.contains("exceeded quota: a"), "{}", beyond.text);
    for name in ["a", "b"] {
        assert_eq!(cluster.rest("DELETE", &format!("{QUOTAS}/{name}"), &[], "").await.code, 200);
    }
    assert_eq!(left().await, [""; 0]);
}
