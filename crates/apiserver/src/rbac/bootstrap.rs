//! The roles and bindings that a cluster starts with, and how they are kept.
//!
//! Upstream's are facts (`facts/rbac-bootstrap.tsv`). At start each is created where it is absent and completed where
//! rules or subjects are missing, unless it carries `rbac.authorization.kubernetes.io/autoupdate: "false"`: an
//! administrator may add to them, and an upgrade adds what is new.

use std::collections::BTreeMap;

use gantry_api::{Value, value};
use serde_json::json;

use super::rule::{Rule, uncovered};

const FACTS: &str = include_str!("../../facts/rbac-bootstrap.tsv");
const API: &str = "rbac.authorization.k8s.io/v1";
const GROUP: &str = "rbac.authorization.k8s.io";
/// Set to `"false"` on an object that must stay as it is.
const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";
/// The controllers whose roles Gantry's controller manager holds under its own name: it runs them in one process.
const CONTROLLERS: &[&str] = &[
    "deployment-controller",
    "replicaset-controller",
    "replication-controller",
    "endpoint-controller",
    "endpointslice-controller",
    "endpointslicemirroring-controller",
    "ttl-controller",
    "namespace-controller",
    "node-controller",
    "generic-garbage-collector",
    "pod-garbage-collector",
    "service-account-controller",
    "root-ca-cert-publisher",
    "legacy-service-account-token-cleaner",
    "pvc-protection-controller",
    "pv-protection-controller",
    "volumeattributesclass-protection-controller",
    "resourcequota-controller",
    "disruption-controller",
    "certificate-controller",
];

fn words(cell: &str) -> Vec<String> {
    cell.split(',').filter(|w| !w.is_empty()).map(|w| w.trim_matches('"').to_owned()).collect()
}

fn labels(cell: &str) -> Value {
    let pairs = cell.split(',').filter_map(|pair| pair.split_once('='));
    Value::Object(pairs.map(|(k, v)| (k.to_owned(), Value::from(v))).collect())
}

fn rule(groups: &str, resources: &str, names: &str, verbs: &str) -> Option<Rule> {
    if let Some((verbs, urls)) = verbs.split_once(" url:") {
        return Some(Rule { verbs: words(verbs), non_resource_urls: words(urls), ..Rule::default() });
    }
    (!verbs.is_empty()).then(|| Rule {
        verbs: words(verbs),
        api_groups: words(groups),
        resources: words(resources),
        resource_names: words(names),
        non_resource_urls: Vec::new(),
    })
}

fn subject(text: &str) -> Option<Value> {
    let (kind, name) = text.split_once(':')?;
    if kind == "ServiceAccount" {
        let (namespace, name) = name.split_once('/')?;
        return Some(json!({"kind": kind, "namespace": namespace, "name": name}));
    }
    Some(json!({"apiGroup": GROUP, "kind": kind, "name": name}))
}

fn base(kind: &str, namespace: &str, name: &str) -> Value {
    let mut metadata = json!({
        "name": name,
        "annotations": {AUTOUPDATE: "true"},
        "labels": {"kubernetes.io/bootstrapping": "rbac-defaults"},
    });
    if !namespace.is_empty() {
        metadata["namespace"] = namespace.into();
    }
    json!({"apiVersion": API, "kind": kind, "metadata": metadata})
}

fn add_line(objects: &mut BTreeMap<(String, String, String), Value>, line: &str) {
    let mut cells = line.split('\t');
    let mut next = || cells.next().unwrap_or_default();
    let (kind, namespace, name, label, reference) = (next(), next(), next(), next(), next());
    let (groups, resources, names, last) = (next(), next(), next(), next());
    let key = (kind.to_owned(), namespace.to_owned(), name.to_owned());
    let object = objects.entry(key).or_insert_with(|| base(kind, namespace, name));
    if !label.is_empty() {
        object["metadata"]["labels"] = labels(label);
    }
    if let Some((role_kind, role)) = reference.strip_prefix("roleRef:").and_then(|r| r.split_once('/')) {
        object["roleRef"] = json!({"apiGroup": GROUP, "kind": role_kind, "name": role});
        let subjects: Vec<Value> = last.trim_start_matches("subjects:").split(',').filter_map(subject).collect();
        if !subjects.is_empty() {
            object["subjects"] = Value::from(subjects);
        }
        return;
    }
    if let Some(label) = reference.strip_prefix("aggregate:") {
        object["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": labels(label)}]});
    }
    if let Some(rule) = rule(groups, resources, names, last) {
        push(object, "rules", json!(rule));
    }
}

fn push(object: &mut Value, list: &str, item: Value) {
    if let Some(map) = object.as_object_mut()
        && let Value::Array(items) = map.entry(list).or_insert_with(|| json!([]))
    {
        items.push(item);
    }
}

fn cluster_role(name: &str, rules: &[Value]) -> Value {
    let mut role = base("ClusterRole", "", name);
    role["rules"] = Value::from(rules.to_vec());
    role
}

fn bind_user(name: &str, role: &str, user: &str) -> Value {
    let mut binding = base("ClusterRoleBinding", "", name);
    binding["roleRef"] = json!({"apiGroup": GROUP, "kind": "ClusterRole", "name": role});
    binding["subjects"] = json!([{"apiGroup": GROUP, "kind": "User", "name": user}]);
    binding
}

/// Gantry's own: what its daemons need beyond upstream's roles.
fn own() -> Vec<Value> {
    let rule = |groups: &[&str], resources: &[&str], verbs: &[&str]| json!({"apiGroups": groups, "resources": resources, "verbs": verbs});
    let events = rule(&["", "events.k8s.io"], &["events"], &["create", "patch", "update"]);
    let mut objects = vec![
        cluster_role(
            "system:gantry-dns",
            &[
                rule(&[""], &["services", "namespaces"], &["get", "list", "watch"]),
                rule(
                    &["discovery.k8s.io"],
                    &["endpointslices"],
                    &["create", "delete", "get", "list", "patch", "update", "watch"],
                ),
                rule(&[""], &["nodes"], &["get", "list", "watch"]),
                events,
            ],
        ),
        bind_user("system:gantry-dns", "system:gantry-dns", "system:gantry-dns"),
    ];
    objects.push(metrics_reader());
    for controller in CONTROLLERS {
        objects.push(bind_user(
            &format!("system:gantry-controller-manager:{controller}"),
            &format!("system:controller:{controller}"),
            "system:kube-controller-manager",
        ));
    }
    objects
}

/// Who may see objects may see what they use, as where upstream's metrics server is installed.
fn metrics_reader() -> Value {
    let mut role = cluster_role(
        "system:aggregated-metrics-reader",
        &[json!({"apiGroups": ["metrics.k8s.io"], "resources": ["nodes", "pods"], "verbs": ["get", "list", "watch"]})],
    );
    for to in ["view", "edit", "admin"] {
        role["metadata"]["labels"][format!("rbac.authorization.k8s.io/aggregate-to-{to}")] = "true".into();
    }
    role
}

/// All bootstrap roles and bindings.
pub(crate) fn objects() -> Vec<Value> {
    let mut objects = BTreeMap::new();
    for line in FACTS.lines().skip(1) {
        add_line(&mut objects, line);
    }
    objects.into_values().chain(own()).collect()
}

/// What `stored` must become so that it holds all that `wanted` does; `None` when nothing is missing, or when it must not
/// be touched.
pub(crate) fn reconciled(stored: &Value, wanted: &Value) -> Option<Value> {
    let annotations = value::map_at(stored, "metadata.annotations");
    if annotations.and_then(|a| a.get(AUTOUPDATE)).is_some_and(|v| v == "false") {
        return None;
    }
    let mut next = stored.clone();
    for list in ["labels", "annotations"] {
        for (key, value) in value::map_at(wanted, &format!("metadata.{list}")).into_iter().flatten() {
            if let Some(map) = value::object_mut(&mut next, &format!("metadata.{list}")) {
                map.entry(key.clone()).or_insert_with(|| value.clone());
            }
        }
    }
    if let Some(aggregation) = wanted.get("aggregationRule") {
        next["aggregationRule"] = aggregation.clone();
    } else {
        // A stored role with more than can be compared is as its owners want it.
        for rule in uncovered(&Rule::of_role(stored), &Rule::of_role(wanted)).unwrap_or_default() {
            push(&mut next, "rules", json!(rule));
        }
    }
    let has = |subject: &Value| {
        let same = |key: &str, other: &Value| value::str_at(subject, key) == value::str_at(other, key);
        value::list_at(stored, "subjects").iter().any(|s| ["kind", "namespace", "name"].iter().all(|key| same(key, s)))
    };
    for subject in value::list_at(wanted, "subjects").iter().filter(|s| !has(s)) {
        push(&mut next, "subjects", subject.clone());
    }
    (next != *stored).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::User;
    use crate::rbac::index::{Index, Objects};
    use crate::rbac::rule::Attributes;

    fn of_kind(kind: &str) -> Vec<Value> {
        objects().into_iter().filter(|o| o["kind"] == kind).collect()
    }

    fn index() -> Index {
        Index::new(&Objects {
            cluster_roles: of_kind("ClusterRole"),
            roles: of_kind("Role"),
            cluster_role_bindings: of_kind("ClusterRoleBinding"),
            role_bindings: of_kind("RoleBinding"),
        })
    }

    #[test]
    fn every_binding_has_its_role() {
        let index = index();
        for binding in of_kind("ClusterRoleBinding").iter().chain(&of_kind("RoleBinding")) {
            let at = |path| value::str_at(binding, path).unwrap_or_default();
            let found = index.role_rules(at("roleRef.kind"), at("roleRef.name"), at("metadata.namespace"));
            assert!(found.is_some(), "{} refers to {}", at("metadata.name"), at("roleRef.name"));
        }
    }

    #[test]
    fn daemons_may_do_their_work() {
        let index = index();
        let check = |user: &str, verb: &str, group: &str, resource: &str, expected| {
            let (resource, sub) = resource.split_once('/').unwrap_or((resource, ""));
            let request = Attributes {
                verb: verb.to_owned(),
                group: group.to_owned(),
                resource: resource.to_owned(),
                subresource: sub.to_owned(),
                namespace: "a".to_owned(),
                ..Attributes::default()
            };
            assert_eq!(index.allows(&User::new(user, &[]), &request), expected, "{user} {verb} {resource}/{sub}");
        };
        check("system:kube-scheduler", "create", "", "pods/binding", true);
        check("system:kube-scheduler", "get", "", "secrets", false);
        check("system:kube-controller-manager", "create", "", "pods", true);
        check("system:kube-controller-manager", "update", "apps", "deployments/status", true);
        check("system:kube-controller-manager", "create", "discovery.k8s.io", "endpointslices", true);
        check("system:kube-controller-manager", "create", "", "endpoints", true);
        check("system:kube-proxy", "watch", "discovery.k8s.io", "endpointslices", true);
        check("system:gantry-dns", "update", "discovery.k8s.io", "endpointslices", true);
        check("system:gantry-dns", "get", "", "secrets", false);
        check("alice", "get", "", "pods", false);
        check("alice", "create", "authorization.k8s.io", "selfsubjectaccessreviews", true);
    }

    #[test]
    fn what_is_missing_is_added_and_what_was_added_stays() {
        let wanted = cluster_role("r", &[json!({"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]})]);
        assert_eq!(reconciled(&wanted, &wanted), None);
        let mut stored = wanted.clone();
        stored["rules"] = json!([{"apiGroups": [""], "resources": ["pods", "secrets"], "verbs": ["get"]}]);
        let next = reconciled(&stored, &wanted).expect("list is missing");
        assert_eq!(next["rules"].as_array().map(Vec::len), Some(2));
        assert_eq!(next["rules"][0], stored["rules"][0]);
        stored["metadata"]["annotations"][AUTOUPDATE] = "false".into();
        assert_eq!(reconciled(&stored, &wanted), None);
    }
}
