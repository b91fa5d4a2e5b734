//! Roles and bindings, compiled so that a decision touches only the caller's own grants.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use gantry_api::go::quoted;
use gantry_api::{Value, value};

use super::rule::{Attributes, Rule};
use crate::auth::{SERVICE_ACCOUNT_PREFIX, User};

/// The rules of one role.
type Rules = Arc<Vec<Rule>>;

/// One binding to one subject.
#[derive(Debug, Clone)]
struct Grant {
    rules: Rules,
    /// Upstream's description of it.
    text: Arc<str>,
}

/// A binding's role that is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Missing {
    /// `ClusterRole` or `Role`, and its name.
    Role(&'static str, String),
    /// What refers to neither.
    Kind(String),
}

impl Missing {
    fn of(kind: &str, name: &str) -> Self {
        match kind {
            "ClusterRole" => Self::Role("clusterrole", name.to_owned()),
            "Role" => Self::Role("role", name.to_owned()),
            other => Self::Kind(other.to_owned()),
        }
    }

    /// In upstream's words; `resource`: what its kind is called in them, where that is not the kind's own name.
    pub(crate) fn text(&self, resource: Option<&str>) -> String {
        match self {
            Self::Role(kind, name) => {
                format!("{}.rbac.authorization.k8s.io {} not found", resource.unwrap_or(kind), quoted(name))
            }
            Self::Kind(kind) => format!("unsupported role reference kind: {}", quoted(kind)),
        }
    }
}

/// Several errors as one, as upstream's aggregates are written: each text once.
pub(crate) fn aggregated(mut errors: Vec<String>) -> String {
    let mut known = HashSet::new();
    errors.retain(|error| known.insert(error.clone()));
    match errors.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        all => format!("[{}]", all.join(", ")),
    }
}

/// What one subject was given.
#[derive(Debug, Default, Clone)]
struct Grants {
    cluster: Vec<Grant>,
    /// By namespace.
    local: HashMap<String, Vec<Grant>>,
    /// What could not be given: looked at only where what could be is not enough.
    missing: Vec<Missing>,
    /// The same by namespace.
    locally_missing: HashMap<String, Vec<Missing>>,
}

/// An immutable picture of all roles and bindings.
#[derive(Debug, Default)]
pub(crate) struct Index {
    users: HashMap<String, Grants>,
    groups: HashMap<String, Grants>,
    cluster_roles: BTreeMap<String, Rules>,
    /// By namespace and name.
    roles: BTreeMap<(String, String), Rules>,
}

/// The objects that an index is made of.
#[derive(Debug, Default)]
pub(crate) struct Objects {
    pub(crate) cluster_roles: Vec<Value>,
    pub(crate) roles: Vec<Value>,
    pub(crate) cluster_role_bindings: Vec<Value>,
    pub(crate) role_bindings: Vec<Value>,
}

fn text(object: &Value, path: &str) -> String {
    value::str_at(object, path).unwrap_or_default().to_owned()
}

/// `ClusterRoleBinding "b" of ClusterRole "r" to User "u"`.
fn described(binding: &Value, subject: &Value, namespace: Option<&str>) -> String {
    let (name, role) = (text(binding, "metadata.name"), text(binding, "roleRef.name"));
    let binding = match namespace {
        None => format!("ClusterRoleBinding {name:?} of {} {role:?}", text(binding, "roleRef.kind")),
        Some(n) => format!("RoleBinding {:?} of {} {role:?}", format!("{name}/{n}"), text(binding, "roleRef.kind")),
    };
    let (kind, mut name) = (text(subject, "kind"), text(subject, "name"));
    if kind == "ServiceAccount" {
        let of = text(subject, "namespace");
        let of = if of.is_empty() { namespace.unwrap_or_default() } else { &of };
        name = format!("{name}/{of}");
    }
    format!("{binding} to {kind} {name:?}")
}

impl Index {
    /// Compiles the objects.
    pub(crate) fn new(objects: &Objects) -> Self {
        let mut index = Self::default();
        for role in &objects.cluster_roles {
            index.cluster_roles.insert(text(role, "metadata.name"), Arc::new(Rule::of_role(role)));
        }
        for role in &objects.roles {
            let key = (text(role, "metadata.namespace"), text(role, "metadata.name"));
            index.roles.insert(key, Arc::new(Rule::of_role(role)));
        }
        for binding in &objects.cluster_role_bindings {
            index.bind(binding, None);
        }
        for binding in &objects.role_bindings {
            index.bind(binding, Some(text(binding, "metadata.namespace")));
        }
        index
    }

    /// The rules that a role reference means in a namespace.
    pub(crate) fn role_rules(&self, kind: &str, name: &str, namespace: &str) -> Option<Rules> {
        match kind {
            "ClusterRole" => self.cluster_roles.get(name).cloned(),
            "Role" => self.roles.get(&(namespace.to_owned(), name.to_owned())).cloned(),
            _ => None,
        }
    }

    fn bind(&mut self, binding: &Value, namespace: Option<String>) {
        let kind = value::str_at(binding, "roleRef.kind").unwrap_or_default();
        let name = value::str_at(binding, "roleRef.name").unwrap_or_default();
        // A cluster-wide binding cannot refer to a namespace's role: there is none in no namespace.
        let rules = self.role_rules(kind, name, namespace.as_deref().unwrap_or_default());
        let missing = Missing::of(kind, name);
        for subject in value::list_at(binding, "subjects") {
            let name = value::str_at(subject, "name").unwrap_or_default();
            let grants = match value::str_at(subject, "kind").unwrap_or_default() {
                "User" => self.users.entry(name.to_owned()).or_default(),
                "Group" => self.groups.entry(name.to_owned()).or_default(),
                "ServiceAccount" => {
                    let of = value::str_at(subject, "namespace").filter(|n| !n.is_empty()).or(namespace.as_deref());
                    let Some(of) = of else { continue };
                    self.users.entry(format!("{SERVICE_ACCOUNT_PREFIX}{of}:{name}")).or_default()
                }
                _ => continue,
            };
            let Some(rules) = &rules else {
                match &namespace {
                    None => grants.missing.push(missing.clone()),
                    Some(n) => grants.locally_missing.entry(n.clone()).or_default().push(missing.clone()),
                }
                continue;
            };
            let text = described(binding, subject, namespace.as_deref()).into();
            let grant = Grant { rules: rules.clone(), text };
            match &namespace {
                None => grants.cluster.push(grant),
                Some(n) => grants.local.entry(n.clone()).or_default().push(grant),
            }
        }
    }

    fn grants<'a>(&'a self, user: &'a User) -> impl Iterator<Item = &'a Grants> {
        let own = self.users.get(&user.name).into_iter();
        own.chain(user.groups.iter().filter_map(|group| self.groups.get(group)))
    }

    /// Whether a role gives the user what it asks for.
    pub(crate) fn allows(&self, user: &User, request: &Attributes) -> bool {
        let gives = |grant: &Grant| grant.rules.iter().any(|rule| rule.allows(request));
        self.grants(user).any(|grants| {
            let local = grants.local.get(&request.namespace).filter(|_| !request.namespace.is_empty());
            grants.cluster.iter().any(gives) || local.is_some_and(|list| list.iter().any(gives))
        })
    }

    /// The binding that gives the user what it asks for, as upstream describes it: bindings of the cluster come first.
    pub(crate) fn reason(&self, user: &User, request: &Attributes) -> Option<Arc<str>> {
        let gives = |grant: &&Grant| grant.rules.iter().any(|rule| rule.allows(request));
        let local = |grants: &'_ Grants| {
            let list = grants.local.get(&request.namespace).filter(|_| !request.namespace.is_empty());
            list.and_then(|list| list.iter().find(gives)).map(|grant| grant.text.clone())
        };
        let cluster = |grants: &'_ Grants| grants.cluster.iter().find(gives).map(|grant| grant.text.clone());
        self.grants(user).find_map(cluster).or_else(|| self.grants(user).find_map(local))
    }

    /// The roles that the user is bound to in a namespace (empty: cluster-wide only) and that are not there.
    pub(crate) fn missing<'a>(&'a self, user: &'a User, namespace: &str) -> Vec<&'a Missing> {
        let cluster = self.grants(user).flat_map(|grants| &grants.missing);
        let mut found: Vec<&Missing> = cluster.collect();
        found.extend(self.grants(user).filter_map(|grants| grants.locally_missing.get(namespace)).flatten());
        found
    }

    /// All rules that the user holds in a namespace (empty: cluster-wide ones only).
    pub(crate) fn rules_of(&self, user: &User, namespace: &str) -> Vec<Rule> {
        let mut found = Vec::new();
        for grants in self.grants(user) {
            let local = grants.local.get(namespace).into_iter().flatten();
            for grant in grants.cluster.iter().chain(local) {
                found.extend(grant.rules.iter().cloned());
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn index() -> Index {
        Index::new(&Objects {
            cluster_roles: vec![
                json!({"metadata": {"name": "reader"}, "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]}),
                json!({"metadata": {"name": "health"}, "rules": [{"verbs": ["get"], "nonResourceURLs": ["/healthz"]}]}),
            ],
            roles: vec![
                json!({"metadata": {"name": "local", "namespace": "a"}, "rules": [{"verbs": ["delete"], "apiGroups": [""], "resources": ["pods"]}]}),
            ],
            cluster_role_bindings: vec![
                json!({"roleRef": {"kind": "ClusterRole", "name": "reader"}, "subjects": [{"kind": "User", "name": "alice"}]}),
                json!({"roleRef": {"kind": "ClusterRole", "name": "health"}, "subjects": [{"kind": "Group", "name": "system:authenticated"}]}),
                json!({"roleRef": {"kind": "Role", "name": "local"}, "subjects": [{"kind": "User", "name": "mallory"}]}),
                json!({"roleRef": {"kind": "ClusterRole", "name": "lost"}, "subjects": [{"kind": "Group", "name": "lost"}]}),
            ],
            role_bindings: vec![
                json!({"metadata": {"namespace": "a"}, "roleRef": {"kind": "ClusterRole", "name": "reader"}, "subjects": [{"kind": "Group", "name": "dev"}]}),
                json!({"metadata": {"namespace": "a"}, "roleRef": {"kind": "Role", "name": "local"}, "subjects": [{"kind": "ServiceAccount", "name": "bot"}]}),
                json!({"metadata": {"namespace": "a"}, "roleRef": {"kind": "Role", "name": "gone"}, "subjects": [{"kind": "User", "name": "bob"}]}),
            ],
        })
    }

    fn check(user: &User, verb: &str, namespace: &str, expected: bool) {
        let request = Attributes {
            verb: verb.to_owned(),
            resource: "pods".to_owned(),
            namespace: namespace.to_owned(),
            ..Attributes::default()
        };
        assert_eq!(index().allows(user, &request), expected, "{} {verb} in {namespace:?}", user.name);
    }

    #[test]
    fn grants_reach_as_far_as_their_binding() {
        let alice = User::new("alice", &[]);
        check(&alice, "get", "a", true);
        check(&alice, "get", "", true);
        check(&alice, "delete", "a", false);
        let bob = User::new("bob", &["dev"]);
        check(&bob, "get", "a", true);
        check(&bob, "get", "b", false);
        check(&bob, "get", "", false);
        let bot = User::service_account("a", "bot", "u");
        check(&bot, "delete", "a", true);
        check(&bot, "delete", "b", false);
        check(&User::new("mallory", &[]), "delete", "a", false);
    }

    #[test]
    fn roles_that_are_not_there_are_named() {
        let check = |user: &User, namespace: &str, expected: &str| {
            let index = index();
            let found = index.missing(user, namespace);
            let texts = found.iter().chain(&found).map(|missing| missing.text(None)).collect();
            assert_eq!(aggregated(texts), expected, "{} in {namespace:?}", user.name);
        };
        let gone = "role.rbac.authorization.k8s.io \"gone\" not found";
        check(&User::new("bob", &[]), "a", gone);
        check(&User::new("bob", &[]), "b", "");
        check(
            &User::new("bob", &["lost"]),
            "a",
            &format!("[clusterrole.rbac.authorization.k8s.io \"lost\" not found, {gone}]"),
        );
        check(&User::new("mallory", &[]), "b", "role.rbac.authorization.k8s.io \"local\" not found");
        assert_eq!(Missing::of("X", "n").text(None), "unsupported role reference kind: \"X\"");
        let shown = Missing::of("Role", "n").text(Some("rolebindings"));
        assert_eq!(shown, "rolebindings.rbac.authorization.k8s.io \"n\" not found");
    }

    #[test]
    fn bindings_of_the_cluster_are_told_first() {
        let pods = json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]);
        let index = Index::new(&Objects {
            cluster_roles: vec![json!({"metadata": {"name": "r"}, "rules": pods})],
            cluster_role_bindings: vec![
                json!({"metadata": {"name": "wide"}, "roleRef": {"kind": "ClusterRole", "name": "r"},
                "subjects": [{"kind": "Group", "name": "system:authenticated"}]}),
            ],
            role_bindings: vec![
                json!({"metadata": {"name": "near", "namespace": "a"}, "roleRef": {"kind": "ClusterRole",
                "name": "r"}, "subjects": [{"kind": "User", "name": "alice"}]}),
            ],
            ..Objects::default()
        });
        let (verb, resource, namespace) = ("get".to_owned(), "pods".to_owned(), "a".to_owned());
        let request = Attributes { verb, resource, namespace, ..Attributes::default() };
        let reason = index.reason(&User::new("alice", &[]), &request).expect("allowed");
        assert!(reason.starts_with("ClusterRoleBinding \"wide\""), "{reason}");
    }

    #[test]
    fn paths_need_a_cluster_wide_grant() {
        let request = Attributes { verb: "get".to_owned(), path: Some("/healthz".to_owned()), ..Attributes::default() };
        assert!(index().allows(&User::new("bob", &[]), &request));
        assert!(!index().allows(&User::anonymous(), &request));
    }
}
