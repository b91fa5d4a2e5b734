//! What a kubelet may read and write: its own Node, its own pods, and what these need.

use serde_json::{Value, json};

use crate::support::{Answer, Cluster, pod};

const PODS: &str = "/api/v1/namespaces/default/pods";
const SLICES: &str = "/apis/resource.k8s.io/v1/resourceslices";

/// A cluster with nodes `n1` and `n2`, and one pod on each.
struct World(Cluster);

impl World {
    async fn new() -> Self {
        let world = Self(Cluster::start().await);
        world.0.default_account().await;
        for (node, name) in [("n1", "mine"), ("n2", "theirs")] {
            world.made("/api/v1/nodes", &json!({"metadata": {"name": node}})).await;
            world.pod(name, node, |_| {}).await;
        }
        world
    }

    async fn made(&self, path: &str, object: &Value) -> Value {
        let made = self.0.rest("POST", path, &[], &object.to_string()).await;
        assert_eq!(made.code, 201, "{}", made.text);
        // The node authoriser knows what the cache does.
        assert_eq!(self.0.rest("GET", path, &[], "").await.code, 200);
        made.json()
    }

    async fn pod(&self, name: &str, node: &str, change: impl FnOnce(&mut Value)) -> Value {
        let mut object = pod(name);
        object["spec"]["nodeName"] = node.into();
        change(&mut object);
        self.made(PODS, &object).await
    }

    /// What node `n1` is answered.
    async fn asks(&self, method: &str, path: &str, body: &Value) -> Answer {
        let headers = [
            ("impersonate-user", "system:node:n1"),
            ("impersonate-group", "system:nodes"),
            ("content-type", if method == "PATCH" { "application/merge-patch+json" } else { "application/json" }),
        ];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.0.rest(method, path, &headers, &body).await
    }

    async fn reads(&self, path: &str) {
        let answer = self.asks("GET", path, &Value::Null).await;
        assert_eq!(answer.code, 200, "{path}: {}", answer.text);
    }

    async fn is_refused(&self, method: &str, path: &str, body: &Value, why: &str) {
        let answer = self.asks(method, path, body).await;
        let message = answer.json()["message"].as_str().unwrap_or_default().to_owned();
        assert!(answer.code == 403 && message.ends_with(why), "{method} {path}: {} {message}", answer.code);
    }

    async fn may_not_read(&self, path: &str, why: &str) {
        self.is_refused("GET", path, &Value::Null, why).await;
    }
}

const UNRELATED: &str = ": no relationship found between node 'n1' and this object";

#[tokio::test]
async fn a_node_reads_its_own_node_and_pods_only() {
    let world = World::new().await;
    world.reads("/api/v1/nodes/n1").await;
    world.reads("/api/v1/nodes?fieldSelector=metadata.name%3Dn1").await;
    world.reads("/api/v1/nodes?fieldSelector=metadata.name%3Dn1&watch=true&timeoutSeconds=1").await;
    let text = "nodes is forbidden: User \"system:node:n1\" cannot list resource \"nodes\" in API group \"\" at the cluster scope: node 'n1' cannot read all nodes, only its own Node object";
    world.may_not_read("/api/v1/nodes", text).await;
    world.may_not_read("/api/v1/nodes?watch=true", "cannot read all nodes, only its own Node object").await;
    let why = "node 'n1' cannot read 'n2', only its own Node object";
    world.may_not_read("/api/v1/nodes/n2", why).await;
    world.may_not_read("/api/v1/nodes?fieldSelector=metadata.name%3Dn2", why).await;
    world
        .may_not_read(
            "/api/v1/nodes?fieldSelector=metadata.name!%3Dn1",
            "cannot read all nodes, only its own Node object",
        )
        .await;

    world.reads("/api/v1/pods?fieldSelector=spec.nodeName%3Dn1").await;
    world.reads(&format!("{PODS}/mine")).await;
    world.reads(&format!("{PODS}?fieldSelector=metadata.name%3Dmine")).await;
    for path in
        [format!("{PODS}/theirs"), format!("{PODS}/none"), format!("{PODS}?fieldSelector=metadata.name%3Dtheirs")]
    {
        world.may_not_read(&path, UNRELATED).await;
    }
    for path in ["/api/v1/pods", "/api/v1/pods?fieldSelector=spec.nodeName%3Dn2"] {
        world.may_not_read(path, ": can only list/watch pods with spec.nodeName field selector").await;
    }
    // Nobody needs it, and upstream's nodes may not.
    world.may_not_read("/api/v1/namespaces/default", "in the namespace \"default\"").await;
}

#[tokio::test]
async fn a_node_reaches_what_lies_behind_its_pods_claims() {
    let world = World::new().await;
    for (name, namespace) in [("of-volume", "other"), ("of-attacher", "other"), ("of-driver", "default")] {
        if namespace == "other" && name == "of-volume" {
            world.made("/api/v1/namespaces", &json!({"metadata": {"name": "other"}})).await;
        }
        let secret = json!({"metadata": {"name": name}});
        world.made(&format!("/api/v1/namespaces/{namespace}/secrets"), &secret).await;
    }
    let volume = json!({
        "metadata": {"name": "v"},
        "spec": {
            "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
            "claimRef": {"namespace": "default", "name": "data"},
            "csi": {
                "driver": "d", "volumeHandle": "h",
                "nodeStageSecretRef": {"namespace": "other", "name": "of-volume"},
                "controllerPublishSecretRef": {"namespace": "other", "name": "of-attacher"},
            },
        },
    });
    world.made("/api/v1/persistentvolumes", &volume).await;
    let claim = json!({
        "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "volumeName": "v"},
    });
    let claims = "/api/v1/namespaces/default/persistentvolumeclaims";
    world.made(claims, &claim).await;
    let behind = [
        "/api/v1/persistentvolumes/v".to_owned(),
        format!("{claims}/data"),
        "/api/v1/namespaces/other/secrets/of-volume".to_owned(),
        "/api/v1/namespaces/default/secrets/of-driver".to_owned(),
    ];
    for path in &behind {
        world.may_not_read(path, UNRELATED).await;
    }
    let inline = json!({"name": "i", "csi": {"driver": "d", "nodePublishSecretRef": {"name": "of-driver"}}});
    let using = json!([{"name": "d", "persistentVolumeClaim": {"claimName": "data"}}, inline]);
    world.pod("using", "n1", |pod| pod["spec"]["volumes"] = using).await;
    for path in &behind {
        world.reads(path).await;
    }
    world.may_not_read("/api/v1/namespaces/other/secrets/of-attacher", UNRELATED).await;
    let resized = json!({"status": {"capacity": {"storage": "1Gi"}}});
    assert_eq!(world.asks("PATCH", &format!("{claims}/data/status"), &resized).await.code, 200);
    let lost = json!({"status": {"phase": "Lost"}});
    let why =
        "node \"n1\" is not allowed to update fields other than status.quantity and status.conditions: status.phase";
    world.is_refused("PATCH", &format!("{claims}/data/status"), &lost, why).await;

    let attachments = "/apis/storage.k8s.io/v1/volumeattachments";
    for (name, node) in [("here", "n1"), ("there", "n2")] {
        let source = json!({"persistentVolumeName": "v"});
        let spec = json!({"attacher": "d", "nodeName": node, "source": source});
        world.made(attachments, &json!({"metadata": {"name": name}, "spec": spec})).await;
    }
    world.reads(&format!("{attachments}/here")).await;
    world.may_not_read(&format!("{attachments}/there"), UNRELATED).await;
    world.may_not_read(attachments, ": can only get individual resources of this type").await;
}

#[tokio::test]
async fn a_node_ends_its_own_pods_only() {
    let world = World::new().await;
    let eviction = |name: &str| json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}});
    let why = "pods \"theirs\" is forbidden: node n1 can only evict pods with spec.nodeName set to itself";
    world.is_refused("POST", &format!("{PODS}/theirs/eviction"), &eviction("theirs"), why).await;
    let why = "pods \"theirs\" is forbidden: node \"n1\" can only delete pods with spec.nodeName set to itself";
    world.is_refused("DELETE", &format!("{PODS}/theirs"), &Value::Null, why).await;
    let why = "node \"n1\" can only update pod status for pods with spec.nodeName set to itself";
    let status = json!({"status": {"phase": "Failed"}});
    world.is_refused("PATCH", &format!("{PODS}/theirs/status"), &status, why).await;
    assert_eq!(world.asks("DELETE", &format!("{PODS}/none"), &Value::Null).await.code, 404);
    assert_eq!(
        world.asks("PATCH", &format!("{PODS}/mine/status"), &json!({"status": {"phase": "Running"}})).await.code,
        200
    );
    let evicted = world.asks("POST", &format!("{PODS}/mine/eviction"), &eviction("mine")).await;
    assert_eq!(evicted.code, 201, "{}", evicted.text);
}

#[tokio::test]
async fn a_node_shows_what_it_runs_by_itself() {
    let world = World::new().await;
    let node = world.0.rest("GET", "/api/v1/nodes/n1", &[], "").await.json();
    let mut mirror = pod("mirror");
    mirror["metadata"]["annotations"] = json!({"kubernetes.io/config.mirror": "x"});
    mirror["spec"]["nodeName"] = "n1".into();
    let owner = json!({"apiVersion": "v1", "kind": "Node", "name": "n1", "controller": true, "uid": "other"});
    mirror["metadata"]["ownerReferences"] = json!([owner]);
    let uid = node["metadata"]["uid"].clone();
    let there = uid.as_str().expect("a uid");
    world.is_refused("POST", PODS, &mirror, &format!("node n1 UID mismatch: expected other got {there}")).await;
    mirror["metadata"]["ownerReferences"][0]["uid"] = uid.clone();
    let mut needy = mirror.clone();
    needy["spec"]["volumes"] = json!([{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]);
    let why = "pods \"mirror\" is forbidden: node \"n1\" can not create pods that reference persistentvolumeclaims";
    world.is_refused("POST", PODS, &needy, why).await;
    let made = world.asks("POST", PODS, &mirror).await;
    assert_eq!(made.code, 201, "{}", made.text);
    let why = "pod does not have \"kubernetes.io/config.mirror\" annotation, node \"n1\" can only create mirror pods";
    world.is_refused("POST", PODS, &pod("plain"), why).await;
}

#[tokio::test]
async fn a_node_has_the_slices_that_name_it() {
    let world = World::new().await;
    let slice = |name: &str, node: &str| {
        let pool = json!({"name": node, "generation": 1, "resourceSliceCount": 1});
        json!({"metadata": {"name": name}, "spec": {"driver": "d.example.com", "nodeName": node, "pool": pool}})
    };
    world.made(SLICES, &slice("theirs", "n2")).await;
    let why = "can only create ResourceSlice with the same NodeName as the requesting node";
    world.is_refused("POST", SLICES, &slice("x", "n2"), why).await;
    assert_eq!(world.asks("POST", SLICES, &slice("mine", "n1")).await.code, 201);
    assert_eq!(world.0.rest("GET", SLICES, &[], "").await.code, 200);
    world.reads(&format!("{SLICES}/mine")).await;
    world.may_not_read(&format!("{SLICES}/theirs"), UNRELATED).await;
    world.reads(&format!("{SLICES}?fieldSelector=spec.nodeName%3Dn1")).await;
    let why = ": can only list/watch/deletecollection resourceslices with nodeName field selector";
    world.may_not_read(SLICES, why).await;
    world.is_refused("DELETE", SLICES, &Value::Null, why).await;
    let own = format!("{SLICES}?fieldSelector=spec.nodeName%3Dn1");
    assert_eq!(world.asks("DELETE", &own, &Value::Null).await.code, 200);
    assert_eq!(world.0.rest("GET", &format!("{SLICES}/mine"), &[], "").await.code, 404);
    assert_eq!(world.0.rest("GET", &format!("{SLICES}/theirs"), &[], "").await.code, 200);
}

#[tokio::test]
async fn a_review_of_a_nodes_rights_may_name_its_selector() {
    let world = World::new().await;
    let review = async |selector: Value| {
        let asked = json!({"verb": "list", "resource": "pods", "fieldSelector": selector});
        let body = json!({"spec": {"user": "system:node:n1", "groups": ["system:nodes"], "resourceAttributes": asked}});
        let path = "/apis/authorization.k8s.io/v1/subjectaccessreviews";
        world.0.rest("POST", path, &[], &body.to_string()).await.json()["status"].clone()
    };
    let required = |operator: &str, values: Value| json!({"requirements": [{"key": "spec.nodeName", "operator": operator, "values": values}]});
    let yes = json!({"allowed": true});
    assert_eq!(review(json!({"rawSelector": "status.phase!=Failed,spec.nodeName=n1"})).await, yes);
    assert_eq!(review(required("In", json!(["n1"]))).await, yes);
    let no = json!({"allowed": false, "reason": "can only list/watch pods with spec.nodeName field selector"});
    for selector in [
        json!({"rawSelector": "spec.nodeName=n2"}),
        json!({"rawSelector": "spec.nodeName!=n1"}),
        json!({"rawSelector": "=,="}),
        required("In", json!(["n1", "n2"])),
        required("NotIn", json!(["n1"])),
    ] {
        assert_eq!(review(selector.clone()).await, no, "{selector}");
    }
    let path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let rules = world.asks("POST", path, &json!({"spec": {"namespace": "default"}})).await.json()["status"].clone();
    assert_eq!(rules["incomplete"], true);
    assert_eq!(rules["evaluationError"], "node authorizer does not support user rule resolution");
}
