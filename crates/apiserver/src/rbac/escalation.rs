//! Nobody may hand out more than they hold: the check on writes of roles and bindings.

use gantry_api::kinds::KindInfo;
use gantry_api::status::Status;
use gantry_api::{Value, value};

use super::index::Index;
use super::rule::{Attributes, Rule, compact, merged, uncovered};
use crate::auth::{MASTERS, User};

const GROUP: &str = "rbac.authorization.k8s.io";

/// What a write of a role or binding needs beyond the permission to write it.
pub(crate) struct Check<'a> {
    pub(crate) index: &'a Index,
    pub(crate) user: &'a User,
    /// Whether the user may do something; the whole authoriser, not only the index.
    pub(crate) allowed: &'a dyn Fn(&Attributes) -> bool,
}

impl Check<'_> {
    fn may(&self, verb: &str, resource: &str, namespace: &str, name: &str) -> bool {
        (self.allowed)(&Attributes {
            verb: verb.to_owned(),
            group: GROUP.to_owned(),
            version: "v1".to_owned(),
            resource: resource.to_owned(),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            ..Attributes::default()
        })
    }

    /// Looks at a new state of `object`.
    ///
    /// # Errors
    /// 403 in upstream's words when the write would grant what the user does not hold.
    pub(crate) fn write(&self, kind: &KindInfo, object: &Value, old: Option<&Value>) -> Result<(), Status> {
        if kind.group != GROUP || self.user.in_group(MASTERS) {
            return Ok(());
        }
        let namespace = value::str_at(object, "metadata.namespace").unwrap_or_default();
        let name = value::str_at(object, "metadata.name").unwrap_or_default();
        match kind.kind {
            "Role" | "ClusterRole" => self.role(kind, object, old, (namespace, name)),
            "RoleBinding" | "ClusterRoleBinding" => self.binding(kind, object, old, (namespace, name)),
            _ => Ok(()),
        }
    }

    fn role(&self, kind: &KindInfo, object: &Value, old: Option<&Value>, at: (&str, &str)) -> Result<(), Status> {
        let same = |field: &str| old.is_some_and(|old| old.get(field) == object.get(field));
        if (same("rules") && same("aggregationRule")) || self.may("escalate", kind.resource, at.0, at.1) {
            return Ok(());
        }
        let mut rules = Rule::of_role(object);
        // Whoever aggregates takes up whatever others label: that needs everything.
        if object.get("aggregationRule").is_some_and(Value::is_object) && !same("aggregationRule") {
            rules.push(everything());
        }
        self.covers(kind, at, &rules)
    }

    fn binding(&self, kind: &KindInfo, object: &Value, old: Option<&Value>, at: (&str, &str)) -> Result<(), Status> {
        let same = |field: &str| old.is_some_and(|old| old.get(field) == object.get(field));
        if same("roleRef") && same("subjects") {
            return Ok(());
        }
        let role_kind = value::str_at(object, "roleRef.kind").unwrap_or_default();
        let role_name = value::str_at(object, "roleRef.name").unwrap_or_default();
        let resource = if role_kind == "Role" { "roles" } else { "clusterroles" };
        if self.may("bind", resource, at.0, role_name) {
            return Ok(());
        }
        match self.index.role_rules(role_kind, role_name, at.0) {
            Some(rules) => self.covers(kind, at, &rules),
            None => Err(Status::not_found(GROUP, resource, role_name)),
        }
    }

    fn covers(&self, kind: &KindInfo, (namespace, name): (&str, &str), rules: &[Rule]) -> Result<(), Status> {
        let missing = uncovered(&self.index.rules_of(self.user, namespace), rules);
        if missing.is_empty() {
            return Ok(());
        }
        let mut lines: Vec<String> = merged(missing).iter().map(compact).collect();
        lines.sort();
        lines.dedup();
        let groups: Vec<String> = self.user.groups.iter().map(|g| format!("{g:?}")).collect();
        let why = format!(
            "user {:?} (groups=[{}]) is attempting to grant RBAC permissions not currently held:\n{}",
            self.user.name,
            groups.join(" "),
            lines.join("\n")
        );
        Err(Status::forbidden(kind.group, kind.resource, name, &why))
    }
}

fn everything() -> Rule {
    let all = || vec!["*".to_owned()];
    Rule { verbs: all(), api_groups: all(), resources: all(), resource_names: Vec::new(), non_resource_urls: all() }
}

#[cfg(test)]
mod tests {
    use gantry_api::kinds;
    use serde_json::json;

    use super::*;
    use crate::rbac::index::Objects;

    fn check(resource: &str, object: &Value, verbs: &[&str], message: Option<&str>) {
        let index = Index::new(&Objects {
            cluster_roles: vec![
                json!({"metadata": {"name": "r"}, "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]}),
                json!({"metadata": {"name": "big"}, "rules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]}),
            ],
            cluster_role_bindings: vec![
                json!({"roleRef": {"kind": "ClusterRole", "name": "r"}, "subjects": [{"kind": "User", "name": "alice"}]}),
            ],
            ..Objects::default()
        });
        let user = User::new("alice", &[]);
        let allowed = |request: &Attributes| verbs.contains(&request.verb.as_str());
        let kind = kinds::by_resource(GROUP, "v1", resource).expect("served");
        let result = Check { index: &index, user: &user, allowed: &allowed }.write(kind, object, None);
        assert_eq!(result.err().map(|s| s.message), message.map(str::to_owned));
    }

    #[test]
    fn only_what_is_held_may_be_granted() {
        let role = |verb: &str| json!({"metadata": {"name": "new"}, "rules": [{"verbs": [verb], "apiGroups": [""], "resources": ["pods"]}]});
        check("clusterroles", &role("get"), &[], None);
        check("clusterroles", &role("delete"), &["escalate"], None);
        let several = json!({"metadata": {"name": "new"}, "rules": [
            {"verbs": ["list", "delete"], "apiGroups": [""], "resources": ["pods", "secrets"]},
            {"verbs": ["get"], "nonResourceURLs": ["/x"]}]});
        check(
            "clusterroles",
            &several,
            &[],
            Some(
                "clusterroles.rbac.authorization.k8s.io \"new\" is forbidden: user \"alice\" (groups=[\"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"list\" \"delete\"]}\n{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"list\" \"delete\"]}\n{NonResourceURLs:[\"/x\"], Verbs:[\"get\"]}",
            ),
        );
        check(
            "clusterroles",
            &role("delete"),
            &[],
            Some(
                "clusterroles.rbac.authorization.k8s.io \"new\" is forbidden: user \"alice\" (groups=[\"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"delete\"]}",
            ),
        );
    }

    #[test]
    fn only_what_is_held_may_be_bound() {
        let binding = |role: &str| json!({"metadata": {"name": "b"}, "roleRef": {"kind": "ClusterRole", "name": role}, "subjects": []});
        check("clusterrolebindings", &binding("r"), &[], None);
        check("clusterrolebindings", &binding("big"), &["bind"], None);
        check(
            "clusterrolebindings",
            &binding("big"),
            &[],
            Some(
                "clusterrolebindings.rbac.authorization.k8s.io \"b\" is forbidden: user \"alice\" (groups=[\"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"*\"], Resources:[\"*\"], Verbs:[\"*\"]}",
            ),
        );
    }
}
