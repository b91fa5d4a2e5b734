//! Node and pod affinity.

use std::collections::{HashMap, HashSet};

use super::super::at::{At, Out};
use super::super::read::{list, map, number, some, text};
use super::super::selector;
use crate::Value;
use crate::names;

/// `affinity` of a pod.
pub(super) fn affinity(out: &mut Out, at: At<'_>, affinity: &Value) {
    if let Some(node) = some(affinity, "nodeAffinity") {
        node_affinity(out, at.child("nodeAffinity"), node);
    }
    for key in ["podAffinity", "podAntiAffinity"] {
        let Some(terms) = some(affinity, key) else { continue };
        let at = at.child(key);
        let required = at.child("requiredDuringSchedulingIgnoredDuringExecution");
        for (index, term) in list(terms, "requiredDuringSchedulingIgnoredDuringExecution").iter().enumerate() {
            pod_term(out, required.index(index), term);
        }
        let preferred = at.child("preferredDuringSchedulingIgnoredDuringExecution");
        for (index, weighted) in list(terms, "preferredDuringSchedulingIgnoredDuringExecution").iter().enumerate() {
            let at = preferred.index(index);
            weight(out, at, weighted);
            pod_term(out, at.child("podAffinityTerm"), some(weighted, "podAffinityTerm").unwrap_or(&Value::Null));
        }
    }
}

fn weight(out: &mut Out, at: At<'_>, weighted: &Value) {
    let weight = number(weighted, "weight").unwrap_or(0);
    if !(1..=100).contains(&weight) {
        out.invalid(at.child("weight"), weight, "must be in the range 1-100");
    }
}

fn node_affinity(out: &mut Out, at: At<'_>, node: &Value) {
    if let Some(required) = some(node, "requiredDuringSchedulingIgnoredDuringExecution") {
        selector::node_selector(out, at.child("requiredDuringSchedulingIgnoredDuringExecution"), required);
    }
    let at = at.child("preferredDuringSchedulingIgnoredDuringExecution");
    for (index, term) in list(node, "preferredDuringSchedulingIgnoredDuringExecution").iter().enumerate() {
        let at = at.index(index);
        weight(out, at, term);
        selector::node_selector_term(out, at.child("preference"), some(term, "preference").unwrap_or(&Value::Null));
    }
}

fn pod_term(out: &mut Out, at: At<'_>, term: &Value) {
    for key in ["labelSelector", "namespaceSelector"] {
        if let Some(found) = some(term, key) {
            selector::label_selector(out, at.child(key), found);
        }
    }
    for namespace in list(term, "namespaces").iter().filter_map(Value::as_str) {
        out.invalid_each(at.child("namespace"), namespace, names::dns_label(namespace));
    }
    label_keys(out, at, term);
    let key = text(term, "topologyKey");
    if key.is_empty() {
        out.required(at.child("topologyKey"), "can not be empty");
    }
    selector::label_name(out, at.child("topologyKey"), key);
}

/// Labels whose values a selector takes from the pod: of a term, or of a constraint. The selector of a pod that is made has them
/// already, so it asks about each once more than its owner did.
pub(super) fn label_keys(out: &mut Out, at: At<'_>, owner: &Value) {
    let selector = some(owner, "labelSelector");
    for field in ["matchLabelKeys", "mismatchLabelKeys"] {
        let (keys, at) = (list(owner, field), at.child(field));
        if !keys.is_empty() && selector.is_none() {
            out.forbidden(at, "must not be specified when labelSelector is not set");
            continue;
        }
        for (index, key) in keys.iter().enumerate() {
            selector::label_name(out, at.index(index), key.as_str().unwrap_or_default());
        }
    }
    let keys = list(owner, "matchLabelKeys");
    if let Some(selector) = selector {
        // Of a key that stands twice the last place.
        let places: HashMap<&str, usize> = keys.iter().filter_map(Value::as_str).zip(0..).collect();
        let mut asked: HashSet<&str> =
            map(selector, "matchLabels").into_iter().flatten().map(|(key, _)| key.as_str()).collect();
        for expression in list(selector, "matchExpressions") {
            let key = text(expression, "key");
            if let Some(index) = places.get(key).filter(|_| asked.contains(key)) {
                // Upstream's path leaves out which field the key stands in.
                out.invalid(at.index(*index), key, "exists in both matchLabelKeys and labelSelector");
            }
            asked.insert(key);
        }
    }
    let mismatched: HashSet<&Value> = list(owner, "mismatchLabelKeys").iter().collect();
    let at = at.child("matchLabelKeys");
    for (index, key) in keys.iter().enumerate().filter(|(_, key)| mismatched.contains(key)) {
        out.invalid(at.index(index), key.clone(), "exists in both matchLabelKeys and mismatchLabelKeys");
    }
}
