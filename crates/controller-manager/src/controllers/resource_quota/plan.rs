//! The status that a quota should have.

use std::collections::BTreeMap;

use gantry_api::{quantity::Quantity, quota::Usage};
use k8s_openapi::{
    api::core::v1::{Pod, ResourceQuota, ResourceQuotaStatus},
    apimachinery::pkg::api::resource::Quantity as Text,
};

use super::reservations::Reservations;

/// As the type names it.
pub(super) type Status = ResourceQuotaStatus;
/// Amounts as the API's types carry them.
pub(super) type Amounts = BTreeMap<String, Text>;

/// What there is of one kind.
pub(super) struct Count {
    /// What the quota limits that the kind's objects can use up.
    pub(super) names: Vec<String>,
    /// What they use.
    pub(super) used: Usage,
    /// The revision up to which they are known.
    pub(super) revision: u64,
}

/// What is to be done.
pub(super) struct Plan {
    /// What is to be written, if anything.
    pub(super) status: Option<Status>,
    /// Whether something looks like less, but may only not have been seen yet.
    pub(super) behind: bool,
}

fn parsed(amounts: Option<&Amounts>) -> Usage {
    let parse = |(name, text): (&String, &Text)| Some((name.clone(), Quantity::parse(&text.0).ok()?));
    amounts.into_iter().flatten().filter_map(parse).collect()
}

fn texts(usage: &Usage) -> Amounts {
    usage.iter().map(|(name, amount)| (name.clone(), Text(amount.to_string()))).collect()
}

/// What the quota's status says is used.
pub(super) fn stated(quota: &ResourceQuota) -> Usage {
    parsed(quota.status.as_ref().and_then(|s| s.used.as_ref()))
}

/// The status of the quota by what was counted. What was reserved stands for an object that may not be among those that were
/// counted up to an older revision.
pub(super) fn status(quota: &ResourceQuota, counts: &[Count], reserved: &Reservations) -> Plan {
    let hard = parsed(quota.spec.as_ref().and_then(|s| s.hard.as_ref()));
    let old = quota.status.as_ref();
    let old_hard = parsed(old.and_then(|s| s.hard.as_ref()));
    let old_used = stated(quota);
    let (used, behind) = used(&hard, &old_used, counts, reserved);
    let has_usage = old.is_some_and(|s| s.used.is_some() || used.is_empty());
    let same = has_usage && hard == old_hard && used == old_used;
    let status = (!same).then(|| Status { hard: Some(texts(&hard)), used: Some(texts(&used)) });
    Plan { status, behind }
}

/// The amounts that are used of what is limited. What no kind that there is can use up stays as it was stated.
fn used(hard: &Usage, old: &Usage, counts: &[Count], reserved: &Reservations) -> (Usage, bool) {
    let (mut used, mut behind) = (Usage::new(), false);
    for name in hard.keys() {
        let known = old.get(name).copied();
        let mut found: Option<Quantity> = None;
        let mut seen = u64::MAX;
        for count in counts.iter().filter(|count| count.names.contains(name)) {
            let part = count.used.get(name).copied().unwrap_or(Quantity::ZERO);
            found = Some(found.unwrap_or(Quantity::ZERO).plus(part));
            seen = seen.min(count.revision);
        }
        let less = found.zip(known).is_some_and(|(found, known)| found < known);
        let amount = if less && seen < reserved.revision_of(name) {
            behind = true;
            known
        } else {
            found.or(known)
        };
        used.extend(amount.map(|amount| (name.clone(), amount)));
    }
    (used, behind)
}

/// When a pod that was asked to go counts no more, though it may still be there; in seconds of Unix time.
pub(super) fn end(pod: &Pod) -> Option<i64> {
    let meta = &pod.metadata;
    Some(meta.deletion_timestamp.as_ref()?.0.as_second() + meta.deletion_grace_period_seconds?)
}
