//! `pods/resize`: what containers may use, changed while they run.

use serde_json::{Value, json};

use crate::support::{Answer, Cluster, pod};

const PODS: &str = "/api/v1/namespaces/default/pods";
const STRATEGIC: (&str, &str) = ("content-type", "application/strategic-merge-patch+json");

fn resources(cpu: &str, memory: &str) -> Value {
    json!({"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": "1", "memory": "1Gi"}})
}

async fn with_pod(node: Option<Value>) -> Cluster {
    let cluster = Cluster::start().await;
    cluster.default_account().await;
    let mut made = pod("p");
    made["spec"]["containers"][0]["resources"] = resources("100m", "64Mi");
    made["spec"]["initContainers"] = json!([{"name": "i", "image": "i", "resources": resources("50m", "1Mi")}]);
    if let Some(node) = node {
        let answer = cluster.rest("POST", "/api/v1/nodes", &[], &node.to_string()).await;
        assert_eq!(answer.code, 201, "{}", answer.text);
        made["spec"]["nodeName"] = "n".into();
    }
    let answer = cluster.rest("POST", PODS, &[], &made.to_string()).await;
    assert_eq!(answer.code, 201, "{}", answer.text);
    cluster
}

async fn resize(cluster: &Cluster, spec: Value) -> Answer {
    cluster.rest("PATCH", &format!("{PODS}/p/resize"), &[STRATEGIC], &json!({"spec": spec}).to_string()).await
}

fn container(resources: Value) -> Value {
    json!({"containers": [{"name": "c", "resources": resources}]})
}

fn message(answer: &Answer) -> String {
    answer.json()["message"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn resources_change_through_their_own_door() {
    let cluster = with_pod(None).await;
    let listed = cluster.rest("GET", "/api/v1", &[], "").await.json();
    let found = listed["resources"].as_array().expect("a list").iter().find(|r| r["name"] == "pods/resize");
    assert_eq!(found.expect("served")["verbs"], json!(["get", "patch", "update"]));
    let done = resize(&cluster, container(json!({"requests": {"cpu": "200m"}}))).await;
    assert_eq!(done.code, 200, "{}", done.text);
    let made = done.json();
    assert_eq!(made["spec"]["containers"][0]["resources"]["requests"], json!({"cpu": "200m", "memory": "64Mi"}));
    assert_eq!(made["metadata"]["generation"], 2);
    let fields = made["metadata"]["managedFields"].as_array().expect("a list");
    assert!(fields.iter().any(|f| f["subresource"] == "resize"), "{fields:?}");
    // Nothing but resources is taken from a whole pod.
    let mut whole = cluster.rest("GET", &format!("{PODS}/p/resize"), &[], "").await.json();
    whole["spec"]["containers"][0]["image"] = "other".into();
    whole["metadata"]["labels"]["app"] = "other".into();
    whole["spec"]["containers"][0]["resources"]["limits"]["cpu"] = "2".into();
    let put = cluster.rest("PUT", &format!("{PODS}/p/resize"), &[], &whole.to_string()).await;
    assert_eq!(put.code, 200, "{}", put.text);
    let put = put.json();
    assert_eq!(put["spec"]["containers"][0]["image"], "nginx:1");
    assert_eq!(put["metadata"]["labels"]["app"], "x");
    assert_eq!(put["spec"]["containers"][0]["resources"]["limits"]["cpu"], "2");
    // By no other door.
    let patch = json!({"spec": container(json!({"requests": {"cpu": "300m"}}))});
    let main = cluster.rest("PATCH", &format!("{PODS}/p"), &[STRATEGIC], &patch.to_string()).await;
    assert_eq!(main.code, 422, "{}", main.text);
    // An applier of resources owns them.
    let mut spec = container(json!({"requests": {"cpu": "150m"}}));
    spec["containers"][0]["image"] = "nginx:1".into();
    let metadata = json!({"name": "p", "labels": {"mine": "x"}});
    let applied = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec});
    let path = format!("{PODS}/p/resize?fieldManager=vpa&force=true");
    let answer =
        cluster.rest("PATCH", &path, &[("content-type", "application/apply-patch+yaml")], &applied.to_string()).await;
    assert_eq!(answer.code, 200, "{}", answer.text);
    let fields = answer.json()["metadata"]["managedFields"].clone();
    let own = fields.as_array().expect("a list").iter().find(|f| f["manager"] == "vpa").expect("an entry").clone();
    assert_eq!((&own["operation"], &own["subresource"]), (&json!("Apply"), &json!("resize")));
    // Of nothing else: it cannot be set by this door.
    let key = format!("k:{{\"name\":{}}}", spec["containers"][0]["name"]);
    let container = json!({key: {".": {}, "f:resources": {"f:requests": {"f:cpu": {}}}}});
    assert_eq!(own["fieldsV1"], json!({"f:spec": {"f:containers": container}}));
}

#[tokio::test]
async fn what_is_no_resize_is_refused() {
    let cluster = with_pod(None).await;
    let check = async |spec: Value, expected: &str| {
        let refused = resize(&cluster, spec).await;
        assert_eq!(refused.code, 422, "{}", refused.text);
        assert!(message(&refused).contains(expected), "{}", refused.text);
    };
    check(
        container(json!({"requests": {"memory": null}, "limits": {"memory": null}})),
        "spec.containers[0].resources.limits: Forbidden: resource limits cannot be removed",
    )
    .await;
    check(
        json!({"initContainers": [{"name": "i", "resources": {"requests": {"cpu": "60m"}}}]}),
        "spec.initContainers[0].resources: Forbidden: resources for non-sidecar init containers are immutable",
    )
    .await;
    check(
        container(json!({"limits": {"ephemeral-storage": "1Gi"}})),
        "spec: Forbidden: only cpu and memory resources are mutable\n",
    )
    .await;
    check(
        json!({"containers": [{"name": "other", "image": "i"}]}),
        "spec.containers: Forbidden: containers may not be added or removed on resize",
    )
    .await;
    check(container(json!({"requests": {"cpu": "5"}})), "must be less than or equal to cpu limit of 1").await;
}

#[tokio::test]
async fn a_resize_stays_within_class_node_limits_and_quota() {
    let node = json!({"metadata": {"name": "n", "labels": {"kubernetes.io/os": "linux"}},
        "status": {"allocatable": {"cpu": "500m", "memory": "1Gi", "pods": "9"}}});
    let cluster = with_pod(Some(node)).await;
    let beyond = resize(&cluster, container(json!({"requests": {"cpu": "600m"}}))).await;
    assert_eq!(
        (beyond.code, message(&beyond)),
        (
            403,
            "pods \"p\" is forbidden: node didn't have enough allocatable resources: cpu, requested: 600, allocatable: 500"
                .to_owned()
        )
    );
    let bare = json!({"metadata": {"name": "q"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    assert_eq!(cluster.rest("POST", PODS, &[], &bare.to_string()).await.code, 201);
    let patch = json!({"spec": container(json!({"requests": {"cpu": "1m"}}))});
    let class = cluster.rest("PATCH", &format!("{PODS}/q/resize"), &[STRATEGIC], &patch.to_string()).await;
    assert_eq!(
        message(&class),
        "Pod \"q\" is invalid: spec: Invalid value: \"BestEffort\": Pod QOS Class may not change as a result of resizing"
    );
    let limits = json!({"metadata": {"name": "l"}, "spec": {"limits": [{"type": "Container", "max": {"cpu": "1"}}]}});
    let path = "/api/v1/namespaces/default/limitranges";
    assert_eq!(cluster.rest("POST", path, &[], &limits.to_string()).await.code, 201);
    assert_eq!(cluster.rest("GET", path, &[], "").await.code, 200);
    let refused = resize(&cluster, container(json!({"limits": {"cpu": "2"}}))).await;
    assert!(message(&refused).contains("maximum cpu usage per Container is 1, but limit is 2"), "{}", refused.text);
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": {"requests.cpu": "250m"}}});
    let path = "/api/v1/namespaces/default/resourcequotas";
    assert_eq!(cluster.rest("POST", path, &[], &quota.to_string()).await.code, 201);
    assert_eq!(cluster.rest("GET", path, &[], "").await.code, 200);
    let refused = resize(&cluster, container(json!({"requests": {"cpu": "300m"}}))).await;
    assert!(message(&refused).contains("exceeded quota: q, requested: requests.cpu=200m"), "{}", refused.text);
    assert_eq!(resize(&cluster, container(json!({"requests": {"cpu": "200m"}}))).await.code, 200);
    let used = cluster.rest("GET", &format!("{path}/q"), &[], "").await.json()["status"]["used"].clone();
    assert_eq!(used, json!({"requests.cpu": "200m"}));
}

#[tokio::test]
async fn a_running_pod_is_resized_where_its_kubelet_can() {
    let cluster = with_pod(None).await;
    let report = async |status: Value| {
        let merge = ("content-type", "application/merge-patch+json");
        let body = json!({"status": {"containerStatuses": [status]}}).to_string();
        assert_eq!(cluster.rest("PATCH", &format!("{PODS}/p/status"), &[merge], &body).await.code, 200);
    };
    let mut status = json!({"name": "c", "image": "i", "imageID": "", "ready": true, "restartCount": 0,
        "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}});
    report(status.clone()).await;
    let change = || container(json!({"requests": {"cpu": "200m"}}));
    let refused = resize(&cluster, change()).await;
    assert!(message(&refused).contains("Pod running on node without support for resize"), "{}", refused.text);
    status["resources"] = resources("100m", "64Mi");
    report(status).await;
    assert_eq!(resize(&cluster, change()).await.code, 200);
}
