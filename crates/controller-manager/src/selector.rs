//! Label selectors of typed objects.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

/// Labels as metadata carries them.
pub type Labels = BTreeMap<String, String>;

/// Whether `labels` fulfil every requirement. A selector without any matches all.
#[must_use]
pub fn matches(selector: &LabelSelector, labels: Option<&Labels>) -> bool {
    let value_of = |key: &str| labels.and_then(|l| l.get(key)).map(String::as_str);
    let equal = selector.match_labels.iter().flatten().all(|(k, v)| value_of(k) == Some(v));
    equal && selector.match_expressions.iter().flatten().all(|r| fulfils(r, value_of(&r.key)))
}

fn fulfils(requirement: &LabelSelectorRequirement, value: Option<&str>) -> bool {
    let among = |value: &str| requirement.values.iter().flatten().any(|v| v == value);
    match requirement.operator.as_str() {
        "In" => value.is_some_and(among),
        "NotIn" => !value.is_some_and(among),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        // Validation lets no other through; matching nothing is the harmless reading.
        _ => false,
    }
}

/// Whether `labels` hold every pair of `wanted`; an empty `wanted` matches nothing (a Service without selector).
#[must_use]
pub fn has_all(labels: Option<&Labels>, wanted: Option<&Labels>) -> bool {
    let Some(wanted) = wanted.filter(|w| !w.is_empty()) else { return false };
    wanted.iter().all(|(k, v)| labels.and_then(|l| l.get(k)) == Some(v))
}

/// Whether the selector has no requirement.
#[must_use]
pub fn is_empty(selector: &LabelSelector) -> bool {
    selector.match_labels.as_ref().is_none_or(BTreeMap::is_empty)
        && selector.match_expressions.as_ref().is_none_or(Vec::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn expression(key: &str, operator: &str, values: &[&str]) -> LabelSelector {
        let requirement = LabelSelectorRequirement {
            key: key.to_owned(),
            operator: operator.to_owned(),
            values: Some(values.iter().map(|v| (*v).to_owned()).collect()),
        };
        LabelSelector { match_expressions: Some(vec![requirement]), match_labels: None }
    }

    #[test]
    fn operators() {
        let mine = labels(&[("app", "web"), ("tier", "front")]);
        let check = |selector: LabelSelector, expected| {
            assert_eq!(matches(&selector, Some(&mine)), expected, "{selector:?}");
        };
        check(LabelSelector::default(), true);
        check(LabelSelector { match_labels: Some(labels(&[("app", "web")])), match_expressions: None }, true);
        check(LabelSelector { match_labels: Some(labels(&[("app", "db")])), match_expressions: None }, false);
        check(expression("app", "In", &["db", "web"]), true);
        check(expression("app", "In", &["db"]), false);
        check(expression("app", "NotIn", &["db"]), true);
        check(expression("absent", "NotIn", &["db"]), true);
        check(expression("tier", "Exists", &[]), true);
        check(expression("tier", "DoesNotExist", &[]), false);
        check(expression("app", "Near", &["web"]), false);
    }

    #[test]
    fn a_service_without_selector_selects_nothing() {
        let mine = labels(&[("app", "web")]);
        assert!(has_all(Some(&mine), Some(&mine)));
        assert!(!has_all(Some(&mine), Some(&Labels::new())));
        assert!(!has_all(Some(&mine), None));
        assert!(!has_all(None, Some(&mine)));
    }
}
