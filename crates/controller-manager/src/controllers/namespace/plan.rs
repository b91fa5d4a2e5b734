//! What to delete next, and what to say about what remains.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use gantry_api::kinds::Kind;
use jiff::Timestamp;
use k8s_openapi::{api::core::v1::NamespaceCondition, apimachinery::pkg::apis::meta::v1::Time};

use super::others::Left;
use crate::catalog::Meta;

/// What a round came upon.
#[derive(Debug, Default)]
pub(super) struct Found<'a> {
    /// What the catalog shows.
    pub(super) content: &'a [Arc<Meta>],
    /// What is left of others.
    pub(super) others: &'a [Left],
    /// Why it is not known what else there may be.
    pub(super) undiscovered: Option<String>,
    /// What could not be deleted, and why.
    pub(super) failures: Vec<String>,
}

/// Whether pods are left.
pub(super) fn has_pods(content: &[Arc<Meta>]) -> bool {
    content.iter().any(|m| m.kind.is("", "Pod"))
}

/// The kinds of which something has not been asked to go yet. Pods come first and alone: they may still need their secrets,
/// accounts and policies until they have ended.
pub(super) fn to_delete(content: &[Arc<Meta>]) -> Vec<Kind> {
    let pods_remain = has_pods(content);
    let mut seen = BTreeSet::new();
    let wanted = content.iter().filter(|m| !m.deleting && (!pods_remain || m.kind.is("", "Pod")));
    wanted.map(|m| &m.kind).filter(|k| seen.insert(k.name())).cloned().collect()
}

/// The conditions after a round: five, each with upstream's reason and words.
pub(super) fn conditions(old: &[NamespaceCondition], found: &Found<'_>, now: Timestamp) -> Vec<NamespaceCondition> {
    let failure = (!found.failures.is_empty()).then(|| found.failures.join(", "));
    let wanted = [
        (
            "NamespaceDeletionDiscoveryFailure",
            found.undiscovered.clone(),
            ("DiscoveryFailed", "ResourcesDiscovered", "All resources successfully discovered"),
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure",
            None,
            ("", "ParsedGroupVersions", "All legacy kube types successfully parsed"),
        ),
        (
            "NamespaceDeletionContentFailure",
            failure,
            (
                "ContentDeletionFailed",
                "ContentDeleted",
                "All content successfully deleted, may be waiting on finalization",
            ),
        ),
        (
            "NamespaceContentRemaining",
            remaining(found),
            ("SomeResourcesRemain", "ContentRemoved", "All content successfully removed"),
        ),
        (
            "NamespaceFinalizersRemaining",
            finalizers(found),
            ("SomeFinalizersRemain", "ContentHasNoFinalizers", "All content-preserving finalizers finished"),
        ),
    ];
    let condition = |(kind, trouble, (bad, good, fine)): (&str, Option<String>, (&str, &str, &str))| {
        let (status, reason) = if trouble.is_some() { ("True", bad) } else { ("False", good) };
        let since = old.iter().find(|c| c.type_ == kind && c.status == status);
        NamespaceCondition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(trouble.unwrap_or_else(|| fine.to_owned())),
            last_transition_time: since.and_then(|c| c.last_transition_time.clone()).or_else(|| Some(seconds(now))),
        }
    };
    let known: BTreeSet<&str> = wanted.iter().map(|(kind, ..)| *kind).collect();
    let foreign = old.iter().filter(|c| !known.contains(c.type_.as_str())).cloned();
    foreign.chain(wanted.clone().into_iter().map(condition)).collect()
}

/// Times of conditions have no fractions: what is written must equal what is read back.
fn seconds(now: Timestamp) -> Time {
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}

fn remaining(found: &Found<'_>) -> Option<String> {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for meta in found.content {
        *counts.entry(format!("{}.{}", meta.kind.resource, meta.kind.group)).or_default() += 1;
    }
    for left in found.others {
        *counts.entry(left.what.clone()).or_default() += left.count;
    }
    let parts: Vec<String> =
        counts.iter().map(|(what, count)| format!("{what} has {count} resource instances")).collect();
    (!parts.is_empty()).then(|| format!("Some resources are remaining: {}", parts.join(", ")))
}

fn finalizers(found: &Found<'_>) -> Option<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let others = found.others.iter().flat_map(|left| &left.finalizers);
    for finalizer in found.content.iter().flat_map(|m| &m.finalizers).chain(others) {
        *counts.entry(finalizer).or_default() += 1;
    }
    let parts: Vec<String> =
        counts.iter().map(|(what, count)| format!("{what} in {count} resource instances")).collect();
    (!parts.is_empty()).then(|| format!("Some content in the namespace has finalizers remaining: {}", parts.join(", ")))
}

#[cfg(test)]
mod tests {
    use gantry_api::kinds;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

    use super::*;

    fn meta(group: &str, kind: &str, name: &str, deleting: bool, finalizers: &[&str]) -> Arc<Meta> {
        let kind = kinds::by_kind(group, "v1", kind).expect("served");
        let meta = ObjectMeta {
            name: Some(name.to_owned()),
            finalizers: Some(finalizers.iter().map(|f| (*f).to_owned()).collect()),
            deletion_timestamp: deleting.then_some(Time(Timestamp::UNIX_EPOCH)),
            ..ObjectMeta::default()
        };
        Arc::new(Meta::new(kind, meta))
    }

    #[test]
    fn pods_go_first() {
        let check = |content: &[Arc<Meta>], expected: &[&str]| {
            let kinds: Vec<_> = to_delete(content).iter().map(|k| k.resource).collect();
            assert_eq!(kinds, expected);
        };
        let pod = |deleting| meta("", "Pod", "p", deleting, &[]);
        let secret = |name, deleting| meta("", "Secret", name, deleting, &[]);
        check(&[pod(false), secret("a", false)], &["pods"]);
        check(&[pod(true), secret("a", false)], &[]);
        check(
            &[secret("a", false), secret("b", false), meta("apps", "Deployment", "d", false, &[])],
            &["secrets", "deployments"],
        );
        check(&[secret("a", true)], &[]);
        check(&[], &[]);
    }

    #[test]
    fn conditions_name_what_remains() {
        let at = |s| Timestamp::from_second(s).expect("in range");
        let content = [
            meta("", "Pod", "p", true, &["example.com/a"]),
            meta("", "Pod", "q", true, &[]),
            meta("apps", "Deployment", "d", true, &["example.com/a"]),
        ];
        let show = |conditions: &[NamespaceCondition]| -> Vec<String> {
            let one = |c: &NamespaceCondition| {
                format!(
                    "{} {} {}",
                    c.status,
                    c.reason.clone().unwrap_or_default(),
                    c.message.clone().unwrap_or_default()
                )
            };
            conditions.iter().skip(2).map(one).collect()
        };
        let widgets = Left { what: "widgets.a.b".to_owned(), count: 3, finalizers: vec!["example.com/a".to_owned()] };
        let found = Found {
            content: &content,
            others: &[widgets],
            undiscovered: Some("stale".to_owned()),
            failures: vec!["boom".to_owned()],
        };
        let first = conditions(&[], &found, at(1));
        let expected = [
            "True ContentDeletionFailed boom",
            "True SomeResourcesRemain Some resources are remaining: deployments.apps has 1 resource instances, pods. has 2 resource instances, widgets.a.b has 3 resource instances",
            "True SomeFinalizersRemain Some content in the namespace has finalizers remaining: example.com/a in 3 resource instances",
        ];
        assert_eq!(show(&first), expected);
        let discovery = |conditions: &[NamespaceCondition]| {
            format!("{} {}", conditions[0].status, conditions[0].reason.clone().unwrap_or_default())
        };
        assert_eq!(discovery(&first), "True DiscoveryFailed");
        let second = conditions(&first, &Found { undiscovered: Some("stale".to_owned()), ..Found::default() }, at(9));
        let expected = [
            "False ContentDeleted All content successfully deleted, may be waiting on finalization",
            "False ContentRemoved All content successfully removed",
            "False ContentHasNoFinalizers All content-preserving finalizers finished",
        ];
        assert_eq!(show(&second), expected);
        assert_eq!(second[0], first[0], "what did not change keeps its time");
        assert_eq!(second[3].last_transition_time, Some(Time(at(9))));
        let third = conditions(&second, &Found::default(), at(99));
        assert_eq!((discovery(&third).as_str(), &third[1..]), ("False ResourcesDiscovered", &second[1..]));
    }
}
