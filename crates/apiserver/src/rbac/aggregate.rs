//! Aggregated ClusterRoles: the rules of `admin`, `edit`, `view` and their like are the rules of the roles they select.

use std::collections::HashSet;

use gantry_api::selector::LabelSelector;
use gantry_api::{Value, value};

use super::rule::Rule;

fn selectors(role: &Value) -> Vec<LabelSelector> {
    let all = value::list_at(role, "aggregationRule.clusterRoleSelectors");
    all.iter().filter_map(|s| LabelSelector::from_value(s).ok()).collect()
}

fn selects(selectors: &[LabelSelector], role: &Value) -> bool {
    let labels = value::map_at(role, "metadata.labels");
    selectors.iter().any(|s| s.matches(&labels))
}

/// The roles whose rules have to change, with their new rules, given all ClusterRoles sorted by name.
///
/// One pass; a role that aggregates aggregated roles (`admin` takes up `edit`) settles when this is repeated.
pub(crate) fn changes(roles: &[Value]) -> Vec<(String, Vec<Rule>)> {
    let mut changed = Vec::new();
    for role in roles.iter().filter(|r| r.get("aggregationRule").is_some_and(Value::is_object)) {
        let name = value::str_at(role, "metadata.name").unwrap_or_default();
        let selectors = selectors(role);
        let (mut rules, mut known): (Vec<Rule>, HashSet<Rule>) = Default::default();
        for other in roles.iter().filter(|o| selects(&selectors, o)) {
            if value::str_at(other, "metadata.name") == Some(name) {
                continue;
            }
            for rule in Rule::of_role(other) {
                if known.insert(rule.clone()) {
                    rules.push(rule);
                }
            }
        }
        if rules != Rule::of_role(role) {
            changed.push((name.to_owned(), rules));
        }
    }
    changed
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn selected_rules_are_taken_up_until_nothing_changes() {
        let label = |l: &str| json!({"matchLabels": {l: "true"}});
        let mut roles = vec![
            json!({"metadata": {"name": "admin"}, "aggregationRule": {"clusterRoleSelectors": [label("to-admin")]}}),
            json!({"metadata": {"name": "edit", "labels": {"to-admin": "true"}}, "aggregationRule": {"clusterRoleSelectors": [label("to-edit")]}}),
            json!({"metadata": {"name": "pods", "labels": {"to-edit": "true"}}, "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]}),
        ];
        let names = |roles: &[Value]| changes(roles).into_iter().map(|(n, _)| n).collect::<Vec<_>>();
        assert_eq!(names(&roles), ["edit"]);
        roles[1]["rules"] = roles[2]["rules"].clone();
        assert_eq!(names(&roles), ["admin"]);
        roles[0]["rules"] = roles[2]["rules"].clone();
        assert_eq!(names(&roles), Vec::<String>::new());
    }
}
