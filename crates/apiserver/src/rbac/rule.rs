//! One rule of a role and what it covers.

use std::collections::{HashMap, HashSet};

use gantry_api::selector::{FieldSelector, LabelSelector, Operator, Requirement, Term};
use gantry_api::{Value, value};
use serde::{Deserialize, Serialize};

/// What says of pods and device slices which node's they are.
const NODE_NAME: &str = "spec.nodeName";

/// One requirement of a selector, as reviews of access have it.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Required {
    pub(crate) key: String,
    /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
    pub(crate) operator: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) values: Vec<String>,
}

impl Required {
    /// Those of a field selector.
    pub(crate) fn of_fields(selector: &FieldSelector) -> Vec<Self> {
        let one = |term: &Term| Self {
            key: term.path.clone(),
            operator: if term.negated { "NotIn" } else { "In" }.to_owned(),
            values: vec![term.value.clone()],
        };
        selector.terms().iter().map(one).collect()
    }

    /// Those of a label selector. Comparisons of numbers, which reviews do not know, are left out: without them it is wider.
    pub(crate) fn of_labels(selector: &LabelSelector) -> Vec<Self> {
        let one = |required: &Requirement| {
            let operator = match required.operator {
                Operator::In | Operator::Equals => "In",
                Operator::NotIn | Operator::NotEquals => "NotIn",
                Operator::Exists => "Exists",
                Operator::DoesNotExist => "DoesNotExist",
                Operator::GreaterThan | Operator::LessThan => return None,
            };
            let (key, values) = (required.key.clone(), required.values.clone());
            Some(Self { key, operator: operator.to_owned(), values })
        };
        selector.requirements().iter().filter_map(one).collect()
    }
}

/// What a request wants to do; what authorisers decide on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) verb: String,
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) resource: String,
    pub(crate) subresource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
    /// What the field selector of a list, watch or deletion of many requires.
    pub(crate) fields: Vec<Required>,
    /// The same of its label selector.
    pub(crate) labels: Vec<Required>,
    /// Set for requests that are not about a resource; the other fields but the verb are empty then.
    pub(crate) path: Option<String>,
}

impl Attributes {
    /// Whether the field selector lets in what is on this node alone.
    pub(crate) fn is_on(&self, node: &str) -> bool {
        let on_node = |required: &Required| {
            required.key == NODE_NAME
                && required.operator == "In"
                && matches!(&*required.values, [only] if only == node)
        };
        self.fields.iter().any(on_node)
    }

    /// `pods` or `pods/log`.
    pub(crate) fn full_resource(&self) -> String {
        if self.subresource.is_empty() {
            self.resource.clone()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        }
    }

    /// Upstream's sentence for a refusal, without the user's name.
    pub(crate) fn refusal(&self, user: &str) -> String {
        if let Some(path) = &self.path {
            return format!("User \"{user}\" cannot {} path \"{path}\"", self.verb);
        }
        let scope = if self.namespace.is_empty() {
            "at the cluster scope".to_owned()
        } else {
            format!("in the namespace \"{}\"", self.namespace)
        };
        format!(
            "User \"{user}\" cannot {} resource \"{}\" in API group \"{}\" {scope}",
            self.verb,
            self.full_resource(),
            self.group
        )
    }
}

/// A rule, as it stands in a role.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Rule {
    pub(crate) verbs: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) api_groups: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) resources: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) resource_names: Vec<String>,
    #[serde(rename = "nonResourceURLs", skip_serializing_if = "Vec::is_empty")]
    pub(crate) non_resource_urls: Vec<String>,
}

fn strings(value: &Value, path: &str) -> Vec<String> {
    value::list_at(value, path).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn has(list: &[String], wanted: &str) -> bool {
    list.iter().any(|item| item == "*" || item == wanted)
}

/// Whether a resource pattern of a rule (`pods`, `pods/log`, `*`, `*/scale`) covers a resource. Asked for every rule of a user
/// at every request, so it makes no text.
fn covers_resource(pattern: &str, resource: &str, subresource: &str) -> bool {
    let of = |resource: &str| pattern.strip_prefix(resource).and_then(|rest| rest.strip_prefix('/'));
    match subresource {
        "" => pattern == "*" || pattern == resource,
        _ => pattern == "*" || of(resource) == Some(subresource) || of("*") == Some(subresource),
    }
}

fn covers_path(pattern: &str, path: &str) -> bool {
    pattern == "*" || pattern == path || pattern.strip_suffix('*').is_some_and(|prefix| path.starts_with(prefix))
}

impl Rule {
    /// Those that allow everything.
    pub(crate) fn everything() -> [Self; 2] {
        let all = || vec!["*".to_owned()];
        [
            Self { verbs: all(), api_groups: all(), resources: all(), ..Self::default() },
            Self { verbs: all(), non_resource_urls: all(), ..Self::default() },
        ]
    }

    /// Reads a rule of a Role or ClusterRole.
    pub(crate) fn from_value(rule: &Value) -> Self {
        Self {
            verbs: strings(rule, "verbs"),
            api_groups: strings(rule, "apiGroups"),
            resources: strings(rule, "resources"),
            resource_names: strings(rule, "resourceNames"),
            non_resource_urls: strings(rule, "nonResourceURLs"),
        }
    }

    /// The rules of a role.
    pub(crate) fn of_role(role: &Value) -> Vec<Self> {
        value::list_at(role, "rules").iter().map(Self::from_value).collect()
    }

    /// Whether the rule allows the request.
    pub(crate) fn allows(&self, request: &Attributes) -> bool {
        if !has(&self.verbs, &request.verb) {
            return false;
        }
        if let Some(path) = &request.path {
            return self.non_resource_urls.iter().any(|pattern| covers_path(pattern, path));
        }
        has(&self.api_groups, &request.group)
            && self.resources.iter().any(|p| covers_resource(p, &request.resource, &request.subresource))
            && (self.resource_names.is_empty() || self.resource_names.contains(&request.name))
    }

    /// Whether everything that `other` (a simple rule: at most one value per list) allows is allowed by this one.
    fn covers_simple(&self, other: &Self) -> bool {
        let all = |mine: &[String], theirs: &[String], fits: &dyn Fn(&str, &str) -> bool| {
            theirs.iter().all(|t| mine.iter().any(|m| fits(m, t)))
        };
        let same = |m: &str, t: &str| m == "*" || m == t;
        let resource = |m: &str, t: &str| {
            let parts = t.split_once('/').filter(|(_, subresource)| !subresource.is_empty());
            let (resource, subresource) = parts.unwrap_or((t, ""));
            covers_resource(m, resource, subresource)
        };
        let names = self.resource_names.is_empty()
            || (!other.resource_names.is_empty() && all(&self.resource_names, &other.resource_names, &|m, t| m == t));
        let urls = |m: &str, t: &str| m == t || covers_path(m, t);
        all(&self.verbs, &other.verbs, &same)
            && all(&self.api_groups, &other.api_groups, &same)
            && all(&self.resources, &other.resources, &resource)
            && names
            && all(&self.non_resource_urls, &other.non_resource_urls, &urls)
    }

    /// The number of its words, and one.
    fn word_count(&self) -> usize {
        let lists = [&self.verbs, &self.api_groups, &self.resources, &self.resource_names, &self.non_resource_urls];
        1 + lists.into_iter().map(Vec::len).sum::<usize>()
    }

    /// The bytes of all words of its simple rules, or more.
    fn simple_bytes(&self) -> usize {
        let longest = |list: &[String]| list.iter().map(String::len).max().unwrap_or(0);
        let lists = [&self.verbs, &self.api_groups, &self.resources, &self.resource_names, &self.non_resource_urls];
        lists.into_iter().map(|list| longest(list)).sum::<usize>().saturating_mul(self.simple_count())
    }

    /// The number of simple rules that it says in one.
    fn simple_count(&self) -> usize {
        let named = self.resource_names.len().max(1);
        let resources = [self.api_groups.len(), self.resources.len(), named];
        let each = resources.into_iter().fold(1_usize, usize::saturating_mul);
        each.saturating_add(self.non_resource_urls.len()).saturating_mul(self.verbs.len())
    }

    /// The rule with each word once.
    fn deduplicated(&self) -> Self {
        let once = |list: &[String]| {
            let mut known = HashSet::new();
            list.iter().filter(|word| known.insert(word.as_str())).cloned().collect()
        };
        Self {
            verbs: once(&self.verbs),
            api_groups: once(&self.api_groups),
            resources: once(&self.resources),
            resource_names: once(&self.resource_names),
            non_resource_urls: once(&self.non_resource_urls),
        }
    }

    /// The rule as simple rules: one verb, group, resource and name each.
    fn simple(&self) -> Vec<Self> {
        let mut out = Vec::new();
        let names: Vec<Vec<String>> = if self.resource_names.is_empty() {
            vec![Vec::new()]
        } else {
            self.resource_names.iter().map(|n| vec![n.clone()]).collect()
        };
        for verb in &self.verbs {
            let verbs = vec![verb.clone()];
            for group in &self.api_groups {
                for resource in &self.resources {
                    for resource_names in &names {
                        out.push(Self {
                            verbs: verbs.clone(),
                            api_groups: vec![group.clone()],
                            resources: vec![resource.clone()],
                            resource_names: resource_names.clone(),
                            non_resource_urls: Vec::new(),
                        });
                    }
                }
            }
            for url in &self.non_resource_urls {
                out.push(Self { verbs: verbs.clone(), non_resource_urls: vec![url.clone()], ..Self::default() });
            }
        }
        out
    }
}

/// Simple rules that are looked at for one role. A rule of a few kilobytes can say more than any memory holds.
const SIMPLE_MAX: usize = 50_000;
/// The bytes of their words: each simple rule has its own, however long they are.
const SIMPLE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Pairs of simple rules and held rules that are compared for one role.
const COMPARED_MAX: usize = 10_000_000;

/// Pairs of words of the wanted and the held rules. Whether one rule covers another is found by looking at each.
const WORDS_MAX: usize = 100_000_000;

/// A role says too much to be looked at one permission at a time.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the rules combine their verbs, groups, resources and names to {said} single permissions, more than can be compared with what the user holds; use \"*\", or split the role"
)]
pub(crate) struct TooMany {
    said: usize,
}

/// The simple parts of `wanted` that none of `held` covers; empty when everything is held.
///
/// # Errors
/// [`TooMany`] where rules that no single held rule covers say too much.
pub(crate) fn uncovered(held: &[Rule], wanted: &[Rule]) -> Result<Vec<Rule>, TooMany> {
    let words = |rules: &[Rule]| rules.iter().map(Rule::word_count).fold(0, usize::saturating_add);
    if words(held).saturating_mul(words(wanted)) > WORDS_MAX {
        return Err(TooMany { said: wanted.iter().map(Rule::simple_count).fold(0, usize::saturating_add) });
    }
    // What one held rule covers as a whole need not be taken apart.
    let open: Vec<Rule> =
        wanted.iter().filter(|rule| !held.iter().any(|h| h.covers_simple(rule))).map(Rule::deduplicated).collect();
    let said = open.iter().map(Rule::simple_count).fold(0, usize::saturating_add);
    let bytes = open.iter().map(Rule::simple_bytes).fold(0, usize::saturating_add);
    if said > SIMPLE_MAX || bytes > SIMPLE_BYTES_MAX || said.saturating_mul(held.len()) > COMPARED_MAX {
        return Err(TooMany { said });
    }
    let parts = open.iter().flat_map(Rule::simple);
    Ok(parts.filter(|part| !held.iter().any(|rule| rule.covers_simple(part))).collect())
}

/// Rules that say the same of one resource but for verbs, made into one, as upstream's escalation message has them.
pub(crate) fn merged(rules: Vec<Rule>) -> Vec<Rule> {
    let mut out: Vec<Rule> = Vec::with_capacity(rules.len());
    let mut places = HashMap::new();
    for rule in rules {
        let single = rule.api_groups.len() == 1 && rule.resources.len() == 1 && rule.resource_names.len() <= 1;
        if !single || rule.verbs.is_empty() || !rule.non_resource_urls.is_empty() {
            out.push(rule);
            continue;
        }
        let said = (rule.api_groups.clone(), rule.resources.clone(), rule.resource_names.clone());
        let place = *places.entry(said).or_insert(out.len());
        match out.get_mut(place) {
            Some(known) => known.verbs.extend(rule.verbs),
            None => out.push(rule),
        }
    }
    out
}

/// A rule as upstream's escalation message prints it: `{APIGroups:[""], Resources:["pods"], Verbs:["get"]}`.
pub(crate) fn compact(rule: &Rule) -> String {
    let list = |items: &[String]| items.iter().map(|i| format!("{i:?}")).collect::<Vec<_>>().join(" ");
    let mut parts = Vec::new();
    for (name, items) in [
        ("NonResourceURLs", &rule.non_resource_urls),
        ("APIGroups", &rule.api_groups),
        ("Resources", &rule.resources),
        ("ResourceNames", &rule.resource_names),
        ("Verbs", &rule.verbs),
    ] {
        if !items.is_empty() {
            parts.push(format!("{name}:[{}]", list(items)));
        }
    }
    format!("{{{}}}", parts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(verbs: &[&str], groups: &[&str], resources: &[&str], names: &[&str]) -> Rule {
        let own = |l: &[&str]| l.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        Rule {
            verbs: own(verbs),
            api_groups: own(groups),
            resources: own(resources),
            resource_names: own(names),
            non_resource_urls: Vec::new(),
        }
    }

    fn request(verb: &str, group: &str, resource: &str, name: &str) -> Attributes {
        let (resource, sub) = resource.split_once('/').unwrap_or((resource, ""));
        Attributes {
            verb: verb.to_owned(),
            group: group.to_owned(),
            resource: resource.to_owned(),
            subresource: sub.to_owned(),
            name: name.to_owned(),
            ..Attributes::default()
        }
    }

    #[test]
    fn rules_allow_what_they_name() {
        let check = |rule: &Rule, request: &Attributes, expected| {
            assert_eq!(rule.allows(request), expected, "{rule:?} on {request:?}");
        };
        let reader = rule(&["get", "list"], &[""], &["pods"], &[]);
        check(&reader, &request("get", "", "pods", "x"), true);
        check(&reader, &request("watch", "", "pods", ""), false);
        check(&reader, &request("get", "apps", "pods", "x"), false);
        check(&reader, &request("get", "", "pods/log", "x"), false);
        check(&rule(&["get"], &[""], &["pods/log"], &[]), &request("get", "", "pods/log", "x"), true);
        check(
            &rule(&["update"], &["apps"], &["*/scale"], &[]),
            &request("update", "apps", "deployments/scale", "d"),
            true,
        );
        check(&rule(&["update"], &["apps"], &["*/scale"], &[]), &request("update", "apps", "deployments", "d"), false);
        check(&rule(&["*"], &["*"], &["*"], &[]), &request("delete", "apps", "deployments/scale", "d"), true);
        let named = rule(&["get"], &[""], &["secrets"], &["one"]);
        check(&named, &request("get", "", "secrets", "one"), true);
        check(&named, &request("get", "", "secrets", "two"), false);
        check(&named, &request("get", "", "secrets", ""), false);
    }

    #[test]
    fn paths_match_by_prefix() {
        let rule = Rule {
            verbs: vec!["get".to_owned()],
            non_resource_urls: vec!["/healthz".to_owned(), "/apis/*".to_owned()],
            ..Rule::default()
        };
        let check = |verb: &str, path: &str, expected| {
            let request = Attributes { verb: verb.to_owned(), path: Some(path.to_owned()), ..Attributes::default() };
            assert_eq!(rule.allows(&request), expected, "{verb} {path}");
        };
        check("get", "/healthz", true);
        check("get", "/healthz/etcd", false);
        check("get", "/apis/apps/v1", true);
        check("post", "/apis/apps/v1", false);
    }

    #[test]
    fn what_is_not_held_is_found() {
        let held = [rule(&["get", "list"], &[""], &["pods", "services"], &[]), rule(&["*"], &["apps"], &["*"], &[])];
        let check = |wanted: Rule, missing: &[&str]| {
            let found: Vec<String> = uncovered(&held, &[wanted]).expect("few").iter().map(compact).collect();
            assert_eq!(found, missing);
        };
        check(rule(&["get"], &[""], &["pods"], &["only"]), &[]);
        check(rule(&["delete"], &["apps"], &["deployments/scale"], &[]), &[]);
        check(
            rule(&["get", "watch"], &[""], &["pods"], &[]),
            &["{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"watch\"]}"],
        );
        check(rule(&["*"], &["*"], &["*"], &[]), &["{APIGroups:[\"*\"], Resources:[\"*\"], Verbs:[\"*\"]}"]);
        check(
            rule(&["watch", "watch"], &[""], &["pods", "pods"], &[]),
            &["{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"watch\"]}"],
        );
    }

    #[test]
    fn what_says_too_much_is_not_taken_apart() {
        let many: Vec<String> = (0..1_000).map(|n| format!("w{n}")).collect();
        let vast = Rule {
            verbs: many.clone(),
            api_groups: many.clone(),
            resources: many.clone(),
            resource_names: many,
            ..Rule::default()
        };
        assert_eq!(uncovered(&[], std::slice::from_ref(&vast)), Err(TooMany { said: 1_000_000_000_000 }));
        assert_eq!(uncovered(&[rule(&["*"], &["*"], &["*"], &[])], &[vast]), Ok(Vec::new()));
        // Nor are long words repeated.
        let long = Rule {
            verbs: (0..40_000).map(|n| n.to_string()).collect(),
            resources: vec!["r".repeat(1 << 20)],
            ..rule(&[], &["g"], &[], &[])
        };
        assert_eq!(uncovered(&[], &[long]), Err(TooMany { said: 40_000 }));
        // Nor are very many words compared with very many others.
        let verbs = |head: &str| Rule {
            verbs: (0..100_000).map(|n| format!("{head}{n}")).collect(),
            ..rule(&[], &["g"], &["r"], &[])
        };
        assert_eq!(uncovered(&[verbs("a")], &[verbs("a")]), Err(TooMany { said: 100_000 }));
    }
}
