//! Rules: which operations on which resources are meant.

use super::super::at::{At, Out};
use super::super::read::{Seen, list, repeats, some};
use super::{MATCH_POLICIES, label_selector, optional};
use crate::{Value, names};

const OPERATIONS: &[&str] = &["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
const SCOPES: &[&str] = &["*", "Cluster", "Namespaced"];

fn words<'a>(rule: &'a Value, key: &str) -> Vec<&'a str> {
    list(rule, key).iter().map(|w| w.as_str().unwrap_or_default()).collect()
}

/// A `RuleWithOperations`.
pub(super) fn rule(out: &mut Out, at: At<'_>, rule: &Value) {
    let operations = words(rule, "operations");
    not_empty(out, at.child("operations"), rule, "operations", "operations");
    for (index, operation) in operations.iter().enumerate() {
        if !OPERATIONS.contains(operation) {
            out.not_supported(at.child("operations").index(index), *operation, OPERATIONS);
        }
    }
    not_empty(out, at.child("apiGroups"), rule, "apiGroups", "API groups");
    not_empty(out, at.child("apiVersions"), rule, "apiVersions", "API versions");
    for (index, version) in words(rule, "apiVersions").iter().enumerate() {
        if version.is_empty() {
            out.required(at.child("apiVersions").index(index), "");
        }
    }
    resources(out, at.child("resources"), rule);
    optional(out, at.child("scope"), rule, "scope", SCOPES);
}

/// A list that is not empty and in which `*` stands alone.
fn not_empty(out: &mut Out, at: At<'_>, rule: &Value, key: &str, what: &str) {
    let found = list(rule, key);
    if found.is_empty() {
        out.required(at, "");
    } else if found.len() > 1 && found.iter().any(|w| w == "*") {
        out.invalid(at, found.to_vec(), &format!("if '*' is present, must not specify other {what}"));
    }
}

fn resources(out: &mut Out, at: At<'_>, rule: &Value) {
    let found = words(rule, "resources");
    if found.is_empty() {
        out.required(at, "");
    }
    let (mut all_of_resource, mut sub_of_all) = (Seen::new(), Seen::new());
    let mut plain = false;
    for (index, name) in found.iter().enumerate() {
        if name.is_empty() {
            out.required(at.index(index), "");
            continue;
        }
        let Some((resource, sub)) = name.split_once('/') else {
            plain = *name != "*";
            continue;
        };
        if all_of_resource.contains(resource) {
            out.invalid(at.index(index), *name, &format!("if '{resource}/*' is present, must not specify {name}"));
        }
        if sub_of_all.contains(sub) {
            out.invalid(at.index(index), *name, &format!("if '*/{sub}' is present, must not specify {name}"));
        }
        if sub == "*" {
            all_of_resource.insert(resource);
        }
        if resource == "*" {
            sub_of_all.insert(sub);
        }
    }
    let whole = || list(rule, "resources").to_vec();
    if found.len() > 1 && found.contains(&"*/*") {
        out.invalid(at, whole(), "if '*/*' is present, must not specify other resources");
    }
    if found.contains(&"*") && plain {
        out.invalid(at, whole(), "if '*' is present, must not specify other resources without subresources");
    }
}

/// A `MatchResources`.
pub(super) fn criteria(out: &mut Out, at: At<'_>, criteria: &Value) {
    if some(criteria, "matchPolicy").is_none() {
        out.required(at.child("matchPolicy"), "");
    }
    optional(out, at.child("matchPolicy"), criteria, "matchPolicy", MATCH_POLICIES);
    for key in ["namespaceSelector", "objectSelector"] {
        match some(criteria, key) {
            None => out.required(at.child(key), ""),
            Some(selector) => label_selector(out, at.child(key), selector),
        }
    }
    for key in ["resourceRules", "excludeResourceRules"] {
        let rules_at = at.child(key);
        for (index, found) in list(criteria, key).iter().enumerate() {
            named(out, rules_at.index(index), found);
        }
    }
}

/// A `NamedRuleWithOperations`.
fn named(out: &mut Out, at: At<'_>, found: &Value) {
    let names_at = at.child("resourceNames");
    let mut seen = Seen::new();
    for (index, name) in words(found, "resourceNames").into_iter().enumerate() {
        out.invalid_each(names_at.index(index), name, names::path_segment(name));
        if repeats(&mut seen, name) {
            out.duplicate(names_at.index(index), name);
        }
    }
    rule(out, at, found);
}
