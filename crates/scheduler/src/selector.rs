//! Node selectors: the terms of `spec.nodeSelector` and of node affinity, matched against a node.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{NodeSelectorRequirement, NodeSelectorTerm};

/// What a term is matched against.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The node's name, the only field that `matchFields` knows.
    pub name: &'a str,
    /// The node's labels.
    pub labels: &'a BTreeMap<String, String>,
}

/// Whether any of the alternative terms matches. No terms match nothing, as upstream.
#[must_use]
pub fn any_term(terms: &[NodeSelectorTerm], subject: Subject<'_>) -> bool {
    terms.iter().any(|term| term_matches(term, subject))
}

/// Whether every requirement of the term holds. An empty term matches nothing, as upstream.
#[must_use]
pub fn term_matches(term: &NodeSelectorTerm, subject: Subject<'_>) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    if expressions.is_empty() && fields.is_empty() {
        return false;
    }
    let field = |key: &str| (key == "metadata.name").then_some(subject.name);
    expressions.iter().all(|r| requirement_matches(r, subject.labels.get(&r.key).map(String::as_str)))
        && fields.iter().all(|r| requirement_matches(r, field(&r.key)))
}

fn requirement_matches(requirement: &NodeSelectorRequirement, actual: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    match requirement.operator.as_str() {
        "In" => actual.is_some_and(|a| values.iter().any(|v| v == a)),
        "NotIn" => !actual.is_some_and(|a| values.iter().any(|v| v == a)),
        "Exists" => actual.is_some(),
        "DoesNotExist" => actual.is_none(),
        "Gt" => compare(actual, values).is_some_and(|(a, v)| a > v),
        "Lt" => compare(actual, values).is_some_and(|(a, v)| a < v),
        _ => false,
    }
}

fn compare(actual: Option<&str>, values: &[String]) -> Option<(i64, i64)> {
    Some((actual?.parse().ok()?, values.first()?.parse().ok()?))
}
