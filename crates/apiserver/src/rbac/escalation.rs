//! Nobody may hand out more than they hold: the check on writes of roles and bindings.

use gantry_api::kinds::KindInfo;
use gantry_api::status::Status;
use gantry_api::{Value, value};

use super::index::{Index, aggregated};
use super::rule::{Attributes, Rule, compact, merged, uncovered};
use crate::auth::{MASTERS, User};

const GROUP: &str = "rbac.authorization.k8s.io";

/// What a write of a role or binding needs beyond the permission to write it.
pub(crate) struct Check<'a> {
    pub(crate) index: &'a Index,
    pub(crate) user: &'a User,
    /// Whether the user may do what [`exempting`] says; the whole authoriser says so, not only the index.
    pub(crate) exempt: bool,
}

/// The right by which a role or binding may be written whatever it grants. `asked`: the object that the request's path
/// names; as upstream, a right to escalate some names is none to create them by POST.
pub(crate) fn exempting(kind: &KindInfo, object: &Value, asked: &str) -> Option<Attributes> {
    let text = |path: &str| value::str_at(object, path).unwrap_or_default();
    let (verb, resource, name) = match (kind.group, kind.kind) {
        (GROUP, "Role" | "ClusterRole") => ("escalate", kind.resource, asked),
        (GROUP, "RoleBinding" | "ClusterRoleBinding") => {
            let resource = if text("roleRef.kind") == "Role" { "roles" } else { "clusterroles" };
            ("bind", resource, text("roleRef.name"))
        }
        _ => return None,
    };
    Some(Attributes {
        verb: verb.to_owned(),
        group: GROUP.to_owned(),
        version: "v1".to_owned(),
        resource: resource.to_owned(),
        namespace: text("metadata.namespace").to_owned(),
        name: name.to_owned(),
        ..Attributes::default()
    })
}

impl Check<'_> {
    /// Looks at a new state of `object`. Everything but what garbage collection needs counts, labels as much as rules: by
    /// its labels a role is taken up by others.
    ///
    /// # Errors
    /// 403 in upstream's words when the write would grant what the user does not hold.
    pub(crate) fn write(&self, kind: &KindInfo, object: &Value, old: Option<&Value>) -> Result<(), Status> {
        if kind.group != GROUP || self.exempt || self.user.in_group(MASTERS) {
            return Ok(());
        }
        if old.is_some_and(|old| same_but_ownership(old, object)) {
            return Ok(());
        }
        let namespace = value::str_at(object, "metadata.namespace").unwrap_or_default();
        let name = value::str_at(object, "metadata.name").unwrap_or_default();
        match kind.kind {
            "Role" | "ClusterRole" => self.role(kind, object, old, (namespace, name)),
            "RoleBinding" | "ClusterRoleBinding" => self.binding(kind, object, (namespace, name)),
            _ => Ok(()),
        }
    }

    fn role(&self, kind: &KindInfo, object: &Value, old: Option<&Value>, at: (&str, &str)) -> Result<(), Status> {
        self.covers(kind, at, &Rule::of_role(object))?;
        // Whoever aggregates takes up whatever others label, and whoever ends that keeps what was taken up: that needs
        // everything.
        let full = || self.covers(kind, at, &Rule::everything()).is_ok();
        if (aggregates(object) || old.is_some_and(aggregates)) && !full() {
            return Err(Status::forbidden(kind.group, kind.resource, at.1, AGGREGATES));
        }
        Ok(())
    }

    fn binding(&self, kind: &KindInfo, object: &Value, at: (&str, &str)) -> Result<(), Status> {
        let role_kind = value::str_at(object, "roleRef.kind").unwrap_or_default();
        let role_name = value::str_at(object, "roleRef.name").unwrap_or_default();
        let resource = if role_kind == "Role" { "roles" } else { "clusterroles" };
        match self.index.role_rules(role_kind, role_name, at.0) {
            Some(rules) => self.covers(kind, at, &rules),
            None => Err(Status::not_found(GROUP, resource, role_name)),
        }
    }

    fn covers(&self, kind: &KindInfo, (namespace, name): (&str, &str), rules: &[Rule]) -> Result<(), Status> {
        let missing = uncovered(&self.index.rules_of(self.user, namespace), rules)
            .map_err(|too_many| Status::forbidden(kind.group, kind.resource, name, &too_many.to_string()))?;
        if missing.is_empty() {
            return Ok(());
        }
        let mut lines: Vec<String> = merged(missing).iter().map(compact).collect();
        lines.sort();
        lines.dedup();
        let groups: Vec<String> = self.user.groups.iter().map(|g| format!("{g:?}")).collect();
        let mut why = format!(
            "user {:?} (groups=[{}]) is attempting to grant RBAC permissions not currently held:\n{}",
            self.user.name,
            groups.join(" "),
            lines.join("\n")
        );
        // Upstream reads them as part of the request, and calls them as what that is about.
        let unresolved = self.index.missing(self.user, namespace);
        if !unresolved.is_empty() {
            let texts = unresolved.iter().map(|missing| missing.text(Some(kind.resource))).collect();
            why = format!("{why}; resolution errors: [{}]", aggregated(texts));
        }
        Err(Status::forbidden(kind.group, kind.resource, name, &why))
    }
}

/// What upstream says to those who may not touch aggregated roles.
const AGGREGATES: &str = "must have cluster-admin privileges to use the aggregationRule";

fn aggregates(role: &Value) -> bool {
    !value::list_at(role, "aggregationRule.clusterRoleSelectors").is_empty()
}

/// Whether two states differ in nothing but what the garbage collector and the server itself write.
fn same_but_ownership(old: &Value, new: &Value) -> bool {
    let rest = |object: &Value| {
        let mut rest = object.clone();
        for field in ["finalizers", "generation", "managedFields", "ownerReferences", "resourceVersion"] {
            value::remove(&mut rest, &format!("metadata.{field}"));
        }
        rest
    };
    rest(old) == rest(new)
}

#[cfg(test)]
mod tests {
    use gantry_api::kinds;
    use serde_json::json;

    use super::*;
    use crate::rbac::index::Objects;

    fn check(resource: &str, object: &Value, verbs: &[&str], message: Option<&str>) {
        check_change(resource, object, None, verbs, message);
    }

    fn check_change(resource: &str, object: &Value, old: Option<&Value>, verbs: &[&str], message: Option<&str>) {
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
        let kind = kinds::by_resource(GROUP, "v1", resource).expect("served");
        let exempt = exempting(kind, object, "").is_some_and(|needed| verbs.contains(&needed.verb.as_str()));
        let result = Check { index: &index, user: &user, exempt }.write(kind, object, old);
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
    fn a_right_to_some_names_is_none_to_create_them() {
        let kind = kinds::by_resource(GROUP, "v1", "clusterroles").expect("served");
        let role = json!({"metadata": {"name": "new"}, "rules": []});
        let name = |asked| exempting(kind, &role, asked).expect("a role").name;
        assert_eq!(name(""), "", "POST .../clusterroles names none");
        assert_eq!(name("new"), "new", "PATCH .../clusterroles/new does");
    }

    #[test]
    fn a_refusal_names_roles_that_are_not_there() {
        let bound = |name: &str| json!({"roleRef": {"kind": "ClusterRole", "name": name}, "subjects": [{"kind": "User", "name": "alice"}]});
        let index = Index::new(&Objects { cluster_role_bindings: vec![bound("x")], ..Objects::default() });
        let user = User::new("alice", &[]);
        let kind = kinds::by_resource(GROUP, "v1", "clusterroles").expect("served");
        let role = json!({"metadata": {"name": "new"}, "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]});
        let check = Check { index: &index, user: &user, exempt: false };
        let why = check.write(kind, &role, None).expect_err("not held").message;
        let errors = "Verbs:[\"get\"]}; resolution errors: [clusterroles.rbac.authorization.k8s.io \"x\" not found]";
        assert!(why.ends_with(errors), "{why}");
    }

    #[test]
    fn what_others_take_up_needs_as_much_as_what_is_granted() {
        let role = |labels: Value, verb: &str| json!({"metadata": {"name": "x", "labels": labels}, "rules": [{"verbs": [verb], "apiGroups": [""], "resources": ["pods"]}]});
        let change = |new: &Value, old: &Value, message: Option<&str>| {
            check_change("clusterroles", new, Some(old), &[], message);
        };
        let refused = "clusterroles.rbac.authorization.k8s.io \"x\" is forbidden: user \"alice\" (groups=[\"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"delete\"]}";
        change(&role(json!({"to-view": "true"}), "delete"), &role(json!({}), "delete"), Some(refused));
        change(&role(json!({"to-view": "true"}), "get"), &role(json!({}), "get"), None);
        let mut owned = role(json!({}), "delete");
        owned["metadata"]["ownerReferences"] = json!([{"name": "o"}]);
        owned["metadata"]["finalizers"] = json!(["a/b"]);
        change(&owned, &role(json!({}), "delete"), None);
        let mut gathers = role(json!({}), "get");
        gathers["aggregationRule"] = json!({"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]});
        let full = "clusterroles.rbac.authorization.k8s.io \"x\" is forbidden: must have cluster-admin privileges to use the aggregationRule";
        check("clusterroles", &gathers, &[], Some(full));
        change(&role(json!({}), "get"), &gathers, Some(full));
        change(&gathers, &role(json!({}), "get"), Some(full));
        let binding = |labels: Value| json!({"metadata": {"name": "b", "labels": labels}, "roleRef": {"kind": "ClusterRole", "name": "r"}, "subjects": []});
        check_change("clusterrolebindings", &binding(json!({"a": "b"})), Some(&binding(json!({}))), &[], None);
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
