//! The flow schemas and priority levels that every cluster has, as upstream ships them.

use serde_json::json;

use crate::Value;

/// The version of the group.
const API_VERSION: &str = "flowcontrol.apiserver.k8s.io/v1";
const MASTERS: &str = "system:masters";
const AUTHENTICATED: &str = "system:authenticated";
const UNAUTHENTICATED: &str = "system:unauthenticated";
const NODES: &str = "system:nodes";

fn group(name: &str) -> Value {
    json!({"kind": "Group", "group": {"name": name}})
}

fn user(name: &str) -> Value {
    json!({"kind": "User", "user": {"name": name}})
}

fn account(name: &str) -> Value {
    json!({"kind": "ServiceAccount", "serviceAccount": {"namespace": "kube-system", "name": name}})
}

fn on(verbs: &[&str], groups: &[&str], resources: &[&str], namespaces: &[&str], cluster: bool) -> Value {
    let mut rule = json!({"verbs": verbs, "apiGroups": groups, "resources": resources, "namespaces": namespaces});
    if cluster {
        rule["clusterScope"] = true.into();
    }
    rule
}

fn everything() -> (Value, Value) {
    (json!([on(&["*"], &["*"], &["*"], &["*"], true)]), json!([{"verbs": ["*"], "nonResourceURLs": ["*"]}]))
}

fn rule(subjects: &[Value], resources: &Value, others: &Value) -> Value {
    let mut rule = json!({"subjects": subjects});
    for (key, rules) in [("resourceRules", resources), ("nonResourceRules", others)] {
        if rules.as_array().is_some_and(|l| !l.is_empty()) {
            rule[key] = rules.clone();
        }
    }
    rule
}

fn all_of(subjects: &[Value]) -> Value {
    let (resources, others) = everything();
    json!([rule(subjects, &resources, &others)])
}

fn schema(name: &str, level: &str, precedence: i64, distinguisher: &str, rules: Value) -> Value {
    let mut spec = json!({
        "priorityLevelConfiguration": {"name": level}, "matchingPrecedence": precedence, "rules": rules,
    });
    if !distinguisher.is_empty() {
        spec["distinguisherMethod"] = json!({"type": distinguisher});
    }
    json!({"apiVersion": API_VERSION, "kind": "FlowSchema", "metadata": {"name": name}, "spec": spec})
}

fn level(name: &str, spec: Value) -> Value {
    json!({"apiVersion": API_VERSION, "kind": "PriorityLevelConfiguration", "metadata": {"name": name}, "spec": spec})
}

fn limited(shares: i64, lendable: i64, response: Value) -> Value {
    let limited = json!({"nominalConcurrencyShares": shares, "lendablePercent": lendable, "limitResponse": response});
    json!({"type": "Limited", "limited": limited})
}

fn queue(queues: i64, hand: i64) -> Value {
    json!({"type": "Queue", "queuing": {"queues": queues, "handSize": hand, "queueLengthLimit": 50}})
}

/// The two of each kind whose spec nobody may change.
#[must_use]
pub fn mandatory() -> Vec<Value> {
    vec![
        level("exempt", json!({"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}})),
        level("catch-all", limited(5, 0, json!({"type": "Reject"}))),
        schema("exempt", "exempt", 1, "", all_of(&[group(MASTERS)])),
        schema("catch-all", "catch-all", 10_000, "ByUser", all_of(&[group(UNAUTHENTICATED), group(AUTHENTICATED)])),
    ]
}

/// What a cluster starts with besides; an administrator may change it.
#[must_use]
pub fn suggested() -> Vec<Value> {
    let mut all = levels();
    all.extend(system_schemas());
    all.extend(workload_schemas());
    all
}

fn levels() -> Vec<Value> {
    vec![
        level("system", limited(30, 33, queue(64, 6))),
        level("node-high", limited(40, 25, queue(64, 6))),
        level("leader-election", limited(10, 0, queue(16, 4))),
        level("workload-high", limited(40, 50, queue(128, 6))),
        level("workload-low", limited(100, 90, queue(128, 6))),
        level("global-default", limited(20, 50, queue(128, 6))),
    ]
}

fn leases(subjects: &[Value], namespaces: &[&str], verbs: &[&str]) -> Value {
    json!([rule(subjects, &json!([on(verbs, &["coordination.k8s.io"], &["leases"], namespaces, false)]), &json!([]))])
}

fn system_schemas() -> Vec<Value> {
    let (resources, others) = everything();
    let nodes = [group(NODES)];
    let statuses = json!([
        on(&["*"], &[""], &["nodes", "nodes/status"], &["*"], true),
        on(&["*"], &["coordination.k8s.io"], &["leases"], &["*"], false),
    ]);
    let probes = json!([{"verbs": ["get"], "nonResourceURLs": ["/healthz", "/readyz", "/livez"]}]);
    let elected = [
        user("system:kube-controller-manager"),
        user("system:kube-scheduler"),
        group("system:serviceaccounts:kube-system"),
    ];
    vec![
        schema("system-nodes", "system", 500, "ByUser", json!([rule(&nodes, &resources, &others)])),
        schema("system-node-high", "node-high", 400, "ByUser", json!([rule(&nodes, &statuses, &json!([]))])),
        schema(
            "probes",
            "exempt",
            2,
            "",
            json!([rule(&[group(UNAUTHENTICATED), group(AUTHENTICATED)], &json!([]), &probes)]),
        ),
        schema(
            "system-leader-election",
            "leader-election",
            100,
            "ByUser",
            leases(&elected, &["*"], &["get", "create", "update"]),
        ),
    ]
}

fn workload_schemas() -> Vec<Value> {
    let (resources, others) = everything();
    let endpoints = json!([on(&["get", "create", "update"], &[""], &["endpoints"], &["*"], false)]);
    let endpoint_subjects = [
        user("system:kube-controller-manager"),
        account("endpoint-controller"),
        account("endpointslicemirroring-controller"),
    ];
    vec![
        schema(
            "workload-leader-election",
            "leader-election",
            200,
            "ByUser",
            leases(&[account("*")], &["*"], &["get", "create", "update"]),
        ),
        schema(
            "endpoint-controller",
            "workload-high",
            150,
            "ByUser",
            json!([rule(&endpoint_subjects, &endpoints, &json!([]))]),
        ),
        schema(
            "kube-controller-manager",
            "workload-high",
            800,
            "ByNamespace",
            json!([rule(&[user("system:kube-controller-manager")], &resources, &others)]),
        ),
        schema(
            "kube-scheduler",
            "workload-high",
            800,
            "ByNamespace",
            json!([rule(&[user("system:kube-scheduler")], &resources, &others)]),
        ),
        schema("kube-system-service-accounts", "workload-high", 900, "ByNamespace", all_of(&[account("*")])),
        schema("service-accounts", "workload-low", 9000, "ByUser", all_of(&[group("system:serviceaccounts")])),
        schema(
            "global-default",
            "global-default",
            9900,
            "ByUser",
            all_of(&[group(UNAUTHENTICATED), group(AUTHENTICATED)]),
        ),
    ]
}

/// The fixed spec of a mandatory object.
#[must_use]
pub fn fixed_spec(kind: &str, name: &str) -> Option<Value> {
    mandatory().into_iter().find(|o| o["kind"] == kind && o["metadata"]["name"] == name).map(|mut o| o["spec"].take())
}
