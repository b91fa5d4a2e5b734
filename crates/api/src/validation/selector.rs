//! Label selectors of objects, node selectors, tolerations' and taints' effects.

use super::at::{At, Out};
use super::meta;
use super::read::{list, map, text};
use crate::names;
use crate::{Object, Value};

const IN_NEEDS_VALUES: &str = "must be specified when `operator` is 'In' or 'NotIn'";
const EXISTS_HAS_NONE: &str = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
const BAD_OPERATOR: &str = "not a valid selector operator";

/// What a taint does.
pub(crate) const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];

/// A label key at `at`.
pub(crate) fn label_name(out: &mut Out, at: At<'_>, name: &str) {
    out.invalid_each(at, name, names::qualified_name(name));
}

/// A `LabelSelector`.
pub(crate) fn label_selector(out: &mut Out, at: At<'_>, selector: &Value) {
    known_label_selector(out, at, selector, false);
}

/// As [`label_selector`]; `any_value`: the values of its expressions need not be those of labels.
pub(crate) fn known_label_selector(out: &mut Out, at: At<'_>, selector: &Value, any_value: bool) {
    if let Some(labels) = map(selector, "matchLabels") {
        meta::labels(out, at.child("matchLabels"), labels);
    }
    let expressions = at.child("matchExpressions");
    for (index, requirement) in list(selector, "matchExpressions").iter().enumerate() {
        let at = expressions.index(index);
        let values = list(requirement, "values");
        match text(requirement, "operator") {
            "In" | "NotIn" if values.is_empty() => out.required(at.child("values"), IN_NEEDS_VALUES),
            "Exists" | "DoesNotExist" if !values.is_empty() => out.forbidden(at.child("values"), EXISTS_HAS_NONE),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => out.invalid(at.child("operator"), other, BAD_OPERATOR),
        }
        label_name(out, at.child("key"), text(requirement, "key"));
        let at = at.child("values");
        for (index, value) in values.iter().enumerate().filter(|_| !any_value) {
            let value = value.as_str().unwrap_or_default();
            out.invalid_each(at.index(index), value, names::label_value(value));
        }
    }
}

/// Whether a `LabelSelector` has no requirement.
pub(crate) fn is_empty(selector: &Value) -> bool {
    map(selector, "matchLabels").is_none_or(Object::is_empty) && list(selector, "matchExpressions").is_empty()
}

/// Whether a `LabelSelector` matches `labels`.
pub(crate) fn matches(selector: &Value, labels: Option<&Object>) -> bool {
    let get = |key: &str| labels.and_then(|l| l.get(key));
    map(selector, "matchLabels").into_iter().flatten().all(|(key, value)| get(key) == Some(value))
        && list(selector, "matchExpressions").iter().all(|requirement| {
            let found = get(text(requirement, "key"));
            let named = found.is_some_and(|v| list(requirement, "values").contains(v));
            match text(requirement, "operator") {
                "In" => named,
                "NotIn" => !named,
                "Exists" => found.is_some(),
                "DoesNotExist" => found.is_none(),
                _ => false,
            }
        })
}

/// A node selector, which has at least one term.
pub(crate) fn node_selector(out: &mut Out, at: At<'_>, selector: &Value) {
    let at = at.child("nodeSelectorTerms");
    let terms = list(selector, "nodeSelectorTerms");
    if terms.is_empty() {
        out.required(at, "must have at least one node selector term");
    }
    for (index, term) in terms.iter().enumerate() {
        node_selector_term(out, at.index(index), term);
    }
}

/// The values that terms of a node selector compare labels with, which must be such of labels.
pub(crate) fn node_label_values(out: &mut Out, at: At<'_>, terms: &[Value]) {
    for (index, term) in terms.iter().enumerate() {
        let at = at.index(index);
        let at = at.child("matchExpressions");
        for (index, requirement) in list(term, "matchExpressions").iter().enumerate() {
            let at = at.index(index);
            let at = at.child("values");
            for (index, value) in list(requirement, "values").iter().enumerate() {
                let value = value.as_str().unwrap_or_default();
                out.invalid_each(at.index(index), value, names::label_value(value));
            }
        }
    }
}

/// One term of a node selector.
pub(crate) fn node_selector_term(out: &mut Out, at: At<'_>, term: &Value) {
    let expressions = at.child("matchExpressions");
    for (index, requirement) in list(term, "matchExpressions").iter().enumerate() {
        node_requirement(out, expressions.index(index), requirement);
    }
    let fields = at.child("matchFields");
    for (index, requirement) in list(term, "matchFields").iter().enumerate() {
        let at = fields.index(index);
        match text(requirement, "operator") {
            "In" | "NotIn" if list(requirement, "values").len() != 1 => {
                let detail = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector";
                out.required(at.child("values"), detail);
            }
            "In" | "NotIn" => {}
            other => out.invalid(at.child("operator"), other, BAD_OPERATOR),
        }
        if text(requirement, "key") != "metadata.name" {
            out.invalid(at.child("key"), text(requirement, "key"), "not a valid field selector key");
            continue;
        }
        let at = at.child("values");
        for (index, value) in list(requirement, "values").iter().enumerate() {
            let value = value.as_str().unwrap_or_default();
            out.invalid_each(at.index(index), value, names::dns_subdomain(value));
        }
    }
}

fn node_requirement(out: &mut Out, at: At<'_>, requirement: &Value) {
    let values = list(requirement, "values");
    match text(requirement, "operator") {
        "In" | "NotIn" if values.is_empty() => out.required(at.child("values"), IN_NEEDS_VALUES),
        "Exists" | "DoesNotExist" if !values.is_empty() => out.forbidden(at.child("values"), EXISTS_HAS_NONE),
        "Gt" | "Lt" if values.len() != 1 => {
            out.required(at.child("values"), "must be specified single value when `operator` is 'Lt' or 'Gt'");
        }
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        other => out.invalid(at.child("operator"), other, BAD_OPERATOR),
    }
    label_name(out, at.child("key"), text(requirement, "key"));
}
