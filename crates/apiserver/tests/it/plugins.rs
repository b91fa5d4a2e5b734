//! Admission plugins that are off unless they are asked for, and what their file tells them.

use gantry_apiserver::testing::Builder;
use serde_json::{Value, json};

use crate::support::{Answer, Cluster, pod, request_as};

const PODS: &str = "/api/v1/namespaces/default/pods";
const MERGE: (&str, &str) = ("content-type", "application/merge-patch+json");
const HEAD: &str = "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins:\n";

/// A server with these plugins on, and what their file says ("" = no file).
async fn with(plugins: &[&str], file: &str) -> Cluster {
    let enable: Vec<String> = plugins.iter().map(|name| (*name).to_owned()).collect();
    let text = if file.is_empty() { String::new() } else { format!("{HEAD}{file}") };
    let cluster = Cluster::with(Builder::default().configure(move |config| {
        config.enable_admission_plugins = enable;
        if !text.is_empty() {
            let path = config.client_ca_file.as_ref().expect("a file").with_file_name("admission.yaml");
            std::fs::write(&path, text).expect("written");
            config.admission_control_config_file = Some(path);
        }
    }))
    .await;
    cluster.default_account().await;
    cluster
}

async fn post(cluster: &Cluster, path: &str, body: &Value) -> Answer {
    cluster.rest("POST", path, &[], &body.to_string()).await
}

async fn annotate(cluster: &Cluster, key: &str, text: &str) {
    let body = json!({"metadata": {"annotations": {key: text}}}).to_string();
    let done = cluster.rest("PATCH", "/api/v1/namespaces/default", &[MERGE], &body).await;
    assert_eq!(done.code, 200, "{}", done.text);
}

fn message(answer: &Answer) -> String {
    answer.json()["message"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn images_are_always_pulled() {
    let cluster = with(&["AlwaysPullImages"], "").await;
    let mut given = pod("p");
    given["spec"]["containers"][0]["imagePullPolicy"] = "Never".into();
    let made = post(&cluster, PODS, &given).await;
    assert_eq!(made.json()["spec"]["containers"][0]["imagePullPolicy"], "Always", "{}", made.text);
}

#[tokio::test]
async fn everything_can_be_refused() {
    let builder =
        Builder::default().configure(|config| config.enable_admission_plugins = vec!["AlwaysDeny".to_owned()]);
    let cluster = Cluster::with(builder).await;
    let refused = post(&cluster, "/api/v1/namespaces", &json!({"metadata": {"name": "n"}})).await;
    assert_eq!(
        (refused.code, message(&refused)),
        (403, "namespaces \"n\" is forbidden: admission control is denying all modifications".to_owned())
    );
    assert_eq!(cluster.rest("GET", "/api/v1/namespaces", &[], "").await.code, 200);
}

#[tokio::test]
async fn a_namespace_comes_by_its_use() {
    let cluster = with(&["NamespaceAutoProvision"], "").await;
    let path = "/api/v1/namespaces/fresh/configmaps";
    let dry = post(&cluster, &format!("{path}?dryRun=All"), &json!({"metadata": {"name": "m"}})).await;
    assert_eq!(dry.code, 404, "{}", dry.text);
    let made = post(&cluster, path, &json!({"metadata": {"name": "m"}})).await;
    assert_eq!(made.code, 201, "{}", made.text);
    assert_eq!(cluster.rest("GET", "/api/v1/namespaces/fresh", &[], "").await.code, 200);
}

#[tokio::test]
async fn pods_spread_over_nodes_alone() {
    let cluster = with(&["LimitPodHardAntiAffinityTopology"], "").await;
    let spread = |key: &str| {
        let mut pod = pod("p");
        pod["spec"]["affinity"] = json!({"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [
            {"topologyKey": key, "labelSelector": {"matchLabels": {"app": "x"}}}]}});
        pod
    };
    let refused = post(&cluster, PODS, &spread("topology.kubernetes.io/zone")).await;
    assert_eq!(
        (refused.code, message(&refused)),
        (
            403,
            "pods \"p\" is forbidden: affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey \
             topology.kubernetes.io/zone but only key kubernetes.io/hostname is allowed"
                .to_owned()
        )
    );
    assert_eq!(post(&cluster, PODS, &spread("kubernetes.io/hostname")).await.code, 201);
}

#[tokio::test]
async fn a_namespaces_pods_select_its_nodes() {
    let file = "- name: PodNodeSelector\n  configuration:\n    podNodeSelectorPluginConfig:\n      \
                clusterDefaultNodeSelector: pool=main\n      default: pool=main,size=s\n";
    let cluster = with(&["PodNodeSelector"], file).await;
    let selecting = |name: &str, selector: Value| {
        let mut pod = pod(name);
        pod["spec"]["nodeSelector"] = selector;
        pod
    };
    let made = post(&cluster, PODS, &selecting("a", json!({"size": "s"}))).await;
    assert_eq!(made.json()["spec"]["nodeSelector"], json!({"pool": "main", "size": "s"}), "{}", made.text);
    let refused = post(&cluster, PODS, &selecting("b", json!({"size": "l"}))).await;
    assert_eq!(
        message(&refused),
        "pods \"b\" is forbidden: pod node label selector labels conflict with its namespace whitelist"
    );
    annotate(&cluster, "scheduler.alpha.kubernetes.io/node-selector", "size=s").await;
    let made = post(&cluster, PODS, &pod("c")).await;
    assert_eq!(made.json()["spec"]["nodeSelector"], json!({"size": "s"}), "{}", made.text);
}

#[tokio::test]
async fn a_namespace_bounds_tolerations_and_resources_bring_theirs() {
    let cluster = with(&["PodTolerationRestriction", "ExtendedResourceToleration"], "").await;
    let toleration = |key: &str| json!({"key": key, "operator": "Exists", "effect": "NoSchedule"});
    let key = "scheduler.alpha.kubernetes.io/defaultTolerations";
    annotate(&cluster, key, &json!([toleration("team")]).to_string()).await;
    let mut given = pod("p");
    given["spec"]["containers"][0]["resources"] = json!({"limits": {"example.com/gpu": "1"}});
    let made = post(&cluster, PODS, &given).await;
    let found = made.json()["spec"]["tolerations"].clone();
    for key in ["team", "example.com/gpu"] {
        assert!(found.as_array().is_some_and(|all| all.contains(&toleration(key))), "{key}: {}", made.text);
    }
    let key = "scheduler.alpha.kubernetes.io/tolerationsWhitelist";
    annotate(&cluster, key, &json!([toleration("other")]).to_string()).await;
    let refused = post(&cluster, PODS, &pod("q")).await;
    assert_eq!(refused.code, 500);
    assert!(message(&refused).ends_with("conflict with its namespace whitelist"), "{}", refused.text);
}

#[tokio::test]
async fn too_many_events_must_wait() {
    let file = "- name: EventRateLimit\n  configuration:\n    apiVersion: eventratelimit.admission.k8s.io/v1alpha1\n    \
                kind: Configuration\n    limits:\n    - {type: Namespace, qps: 1, burst: 1}\n";
    let cluster = with(&["EventRateLimit"], file).await;
    let event = |name: &str, namespace: &str| {
        json!({"metadata": {"name": name, "namespace": namespace}, "type": "Normal", "reason": "R", "message": "m",
            "involvedObject": {"kind": "Pod", "name": "p", "namespace": namespace}})
    };
    let path = |namespace: &str| format!("/api/v1/namespaces/{namespace}/events");
    let several = ["a", "b", "c", "d"].map(|name| (name, "default"));
    let mut refused = None;
    for (name, namespace) in several {
        let answer = post(&cluster, &path(namespace), &event(name, namespace)).await;
        if answer.code == 429 {
            refused = Some(message(&answer));
        }
    }
    let expected = "Too many requests: Too many requests: limit reached on type Namespace for key default";
    assert_eq!(refused.as_deref(), Some(expected));
    assert_eq!(post(&cluster, &path("kube-system"), &event("a", "kube-system")).await.code, 201);
}

#[tokio::test]
async fn a_limit_without_its_file_stops_the_server() {
    let folder = tempfile::tempdir().expect("a folder");
    let builder = Builder::default().configure(|config| {
        config.enable_admission_plugins = vec!["EventRateLimit".to_owned()];
    });
    let refused = builder.start(folder.path()).await.map(drop).expect_err("refused").to_string();
    assert!(refused.contains("EventRateLimit: limits: Invalid value: \"null\": must not be empty"), "{refused}");
}

#[tokio::test]
async fn owners_are_set_by_those_who_may_end_them() {
    let cluster = with(&["OwnerReferencesPermissionEnforcement"], "").await;
    let rules = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create", "get", "delete"]}]);
    let role = json!({"metadata": {"name": "r"}, "rules": rules});
    let roles = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
    assert_eq!(post(&cluster, roles, &role).await.code, 201);
    let binding = json!({"metadata": {"name": "r"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
        "name": "r"}, "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "u"}]});
    assert_eq!(post(&cluster, "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", &binding).await.code, 201);
    let user = cluster.identity("u", &[]);
    let maps = "/api/v1/namespaces/default/configmaps";
    let owned = |name: &str, blocks: bool| {
        json!({"metadata": {"name": name, "ownerReferences": [{"apiVersion": "v1", "kind": "Secret", "name": "s", "uid": "1",
            "blockOwnerDeletion": blocks}]}})
    };
    let write = async |name: &str, blocks: bool| {
        request_as(&cluster, &user, "POST", maps, &[], &owned(name, blocks).to_string()).await
    };
    // The rights are known a moment after they were written.
    while write("a", false).await.code != 201 {
        tokio::task::yield_now().await;
    }
    let refused = write("b", true).await;
    assert_eq!(
        (refused.code, message(&refused)),
        (
            403,
            "configmaps \"b\" is forbidden: cannot set blockOwnerDeletion if an ownerReference refers to a resource you \
             can't set finalizers on: , <nil>"
                .to_owned()
        )
    );
}

#[tokio::test]
async fn a_bound_pod_carries_the_place_of_its_node() {
    let cluster = with(&[], "").await;
    let labels = json!({"topology.kubernetes.io/zone": "z", "topology.kubernetes.io/region": "r", "a": "b"});
    let node = json!({"metadata": {"name": "n", "labels": labels}});
    assert_eq!(post(&cluster, "/api/v1/nodes", &node).await.code, 201);
    assert_eq!(cluster.rest("GET", "/api/v1/nodes", &[], "").await.code, 200);
    assert_eq!(post(&cluster, PODS, &pod("p")).await.code, 201);
    let binding = json!({"metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}});
    let bound = post(&cluster, &format!("{PODS}/p/binding"), &binding).await;
    assert_eq!(bound.code, 201, "{}", bound.text);
    let found = cluster.rest("GET", &format!("{PODS}/p"), &[], "").await.json()["metadata"]["labels"].clone();
    let expected = json!({"app": "x", "topology.kubernetes.io/zone": "z", "topology.kubernetes.io/region": "r"});
    assert_eq!(found, expected);
}

#[tokio::test]
async fn pod_security_takes_its_defaults_and_exemptions() {
    let file = "- name: PodSecurity\n  configuration:\n    apiVersion: pod-security.admission.config.k8s.io/v1\n    \
                kind: PodSecurityConfiguration\n    defaults: {enforce: baseline}\n    exemptions:\n      \
                namespaces: [kube-system]\n      runtimeClasses: [isolated]\n";
    let cluster = with(&[], file).await;
    let mut host = pod("p");
    host["spec"]["hostNetwork"] = true.into();
    let refused = post(&cluster, PODS, &host).await;
    assert!(
        message(&refused).contains("violates PodSecurity \"baseline:latest\": host namespaces"),
        "{}",
        refused.text
    );
    let class = json!({"metadata": {"name": "isolated"}, "handler": "h"});
    assert_eq!(post(&cluster, "/apis/node.k8s.io/v1/runtimeclasses", &class).await.code, 201);
    host["spec"]["runtimeClassName"] = "isolated".into();
    assert_eq!(post(&cluster, PODS, &host).await.code, 201);
}

#[tokio::test]
async fn limited_resources_need_a_quota() {
    let file = "- name: ResourceQuota\n  configuration:\n    apiVersion: apiserver.config.k8s.io/v1\n    \
                kind: ResourceQuotaConfiguration\n    limitedResources:\n    - {resource: pods, matchContains: [requests.cpu]}\n";
    let cluster = with(&[], file).await;
    let mut asking = pod("p");
    asking["spec"]["containers"][0]["resources"] = json!({"requests": {"cpu": "1"}});
    let refused = post(&cluster, PODS, &asking).await;
    assert_eq!(message(&refused), "pods \"p\" is forbidden: insufficient quota to consume: requests.cpu");
    let quota = json!({"metadata": {"name": "q"}, "spec": {"hard": {"requests.cpu": "2"}}});
    let path = "/api/v1/namespaces/default/resourcequotas";
    assert_eq!(post(&cluster, path, &quota).await.code, 201);
    assert_eq!(cluster.rest("GET", path, &[], "").await.code, 200);
    assert_eq!(post(&cluster, PODS, &asking).await.code, 201);
}

#[tokio::test]
async fn limited_scopes_need_a_quota_that_selects_them() {
    let file = "- name: ResourceQuota\n  configuration:\n    apiVersion: apiserver.config.k8s.io/v1\n    \
                kind: ResourceQuotaConfiguration\n    limitedResources:\n    - resource: pods\n      matchScopes:\n      \
                - {scopeName: PriorityClass, operator: In, values: [system-node-critical, system-cluster-critical]}\n";
    let cluster = with(&[], file).await;
    assert_eq!(post(&cluster, PODS, &pod("plain")).await.code, 201);
    let mut critical = pod("critical");
    critical["spec"]["priorityClassName"] = "system-cluster-critical".into();
    let quotas = "/api/v1/namespaces/default/resourcequotas";
    let selecting = |name: &str, class: &str| {
        json!({"metadata": {"name": name}, "spec": {"hard": {"pods": "5"}, "scopeSelector": {"matchExpressions": [
            {"scopeName": "PriorityClass", "operator": "In", "values": [class]}]}}})
    };
    assert_eq!(post(&cluster, quotas, &selecting("other", "system-node-critical")).await.code, 201);
    assert_eq!(cluster.rest("GET", quotas, &[], "").await.code, 200);
    let refused = post(&cluster, PODS, &critical).await;
    let why = "insufficient quota to match these scopes: \
               [{PriorityClass In [system-node-critical system-cluster-critical]}]";
    assert_eq!((refused.code, message(&refused)), (500, why.to_owned()));
    assert_eq!(post(&cluster, quotas, &selecting("mine", "system-cluster-critical")).await.code, 201);
    assert_eq!(cluster.rest("GET", quotas, &[], "").await.code, 200);
    let made = post(&cluster, PODS, &critical).await;
    assert_eq!(made.code, 201, "{}", made.text);
}
