//! Roles, bindings and their subjects.

use super::at::{At, Out, same};
use super::read::{list, some, text};
use super::selector;
use crate::Value;
use crate::names;

const GROUP: &str = "rbac.authorization.k8s.io";
const UNSET: Value = Value::Null;

/// A role or cluster role.
pub(super) fn role(out: &mut Out, role: &Value, namespaced: bool) {
    let at = At::Root("rules");
    for (index, rule) in list(role, "rules").iter().enumerate() {
        policy_rule(out, at.index(index), rule, namespaced);
    }
    let Some(aggregation) = some(role, "aggregationRule") else { return };
    let at = At::Root("aggregationRule.clusterRoleSelectors");
    let selectors = list(aggregation, "clusterRoleSelectors");
    if selectors.is_empty() {
        out.required(at, "at least one clusterRoleSelector required if aggregationRule is non-nil");
    }
    for (index, found) in selectors.iter().enumerate() {
        let before = out.count();
        selector::label_selector(out, at.index(index), found);
        if out.count() > before {
            out.invalid(at.index(index), Value::Null, "invalid label selector.");
        }
    }
}

fn policy_rule(out: &mut Out, at: At<'_>, rule: &Value, namespaced: bool) {
    if list(rule, "verbs").is_empty() {
        out.required(at.child("verbs"), "verbs must contain at least one value");
    }
    let urls = list(rule, "nonResourceURLs");
    if !urls.is_empty() {
        let at = at.child("nonResourceURLs");
        if namespaced {
            out.invalid(at, urls.to_vec(), "namespaced rules cannot apply to non-resource URLs");
        }
        if ["apiGroups", "resources", "resourceNames"].iter().any(|key| !list(rule, key).is_empty()) {
            out.invalid(at, urls.to_vec(), "rules cannot apply to both regular resources and non-resource URLs");
        }
        return;
    }
    if list(rule, "apiGroups").is_empty() {
        out.required(at.child("apiGroups"), "resource rules must supply at least one api group");
    }
    if list(rule, "resources").is_empty() {
        out.required(at.child("resources"), "resource rules must supply at least one resource");
    }
}

/// A role binding or cluster role binding.
pub(super) fn binding(out: &mut Out, binding: &Value, namespaced: bool) {
    let role = some(binding, "roleRef").unwrap_or(&UNSET);
    let at = At::Root("roleRef");
    if text(role, "apiGroup") != GROUP {
        out.not_supported(at.child("apiGroup"), text(role, "apiGroup"), &[GROUP]);
    }
    let kinds: &[&str] = if namespaced { &["Role", "ClusterRole"] } else { &["ClusterRole"] };
    if !kinds.contains(&text(role, "kind")) {
        out.not_supported(at.child("kind"), text(role, "kind"), kinds);
    }
    match text(role, "name") {
        "" => out.required(at.child("name"), ""),
        name => out.invalid_each(at.child("name"), name, names::path_segment(name)),
    }
    let at = At::Root("subjects");
    for (index, found) in list(binding, "subjects").iter().enumerate() {
        subject(out, at.index(index), found, namespaced);
    }
}

fn subject(out: &mut Out, at: At<'_>, subject: &Value, namespaced: bool) {
    let (name, group) = (text(subject, "name"), text(subject, "apiGroup"));
    if name.is_empty() {
        out.required(at.child("name"), "");
    }
    match text(subject, "kind") {
        "ServiceAccount" => {
            if !name.is_empty() {
                out.invalid_each(at.child("name"), name, names::dns_subdomain(name));
            }
            if !group.is_empty() {
                out.not_supported(at.child("apiGroup"), group, &[""]);
            }
            // In a namespace, an account without one is of that namespace.
            if !namespaced && text(subject, "namespace").is_empty() {
                out.required(at.child("namespace"), "");
            }
        }
        "User" | "Group" => {
            if group != GROUP {
                out.not_supported(at.child("apiGroup"), group, &[GROUP]);
            }
        }
        other => out.not_supported(at.child("kind"), other, &["ServiceAccount", "User", "Group"]),
    }
}

/// What a binding grants stays; only to whom may change.
pub(super) fn role_unchanged(out: &mut Out, new: &Value, old: &Value) {
    if !same(new.get("roleRef"), old.get("roleRef")) {
        out.invalid_of(At::Root("roleRef"), "rbac/v1.RoleRef", new.get("roleRef"), "cannot change roleRef");
    }
}
