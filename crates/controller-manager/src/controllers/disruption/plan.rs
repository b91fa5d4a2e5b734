//! The status that a disruption budget should have.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        core::v1::Pod,
        policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus},
    },
    apimachinery::pkg::{
        apis::meta::v1::{Condition, LabelSelector, Time},
        util::intstr::IntOrString,
    },
};

use crate::{pods, portion::scaled};

/// How long an eviction that was allowed may take to be seen; after that the pod counts again.
const DELETION_TIMEOUT: Duration = Duration::from_secs(120);
const CONDITION: &str = "DisruptionAllowed";

/// How many pods there should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Expected {
    /// In all.
    pub(super) pods: i32,
    /// Of them, healthy.
    pub(super) healthy: i32,
}

/// What is to be done.
#[derive(Debug)]
pub(super) struct Plan {
    /// What is to be written, if anything.
    pub(super) status: Option<PodDisruptionBudgetStatus>,
    /// When to look again.
    pub(super) again: Option<Duration>,
    /// Pods that should have been gone by now.
    pub(super) late: Vec<Arc<Pod>>,
}

fn stated(budget: &PodDisruptionBudget) -> (Option<&IntOrString>, Option<&IntOrString>) {
    let spec = budget.spec.as_ref();
    (spec.and_then(|s| s.max_unavailable.as_ref()), spec.and_then(|s| s.min_available.as_ref()))
}

/// Whether it matters how many pods their owners ask for.
pub(super) fn needs_scale(budget: &PodDisruptionBudget) -> bool {
    matches!(stated(budget), (Some(_), _) | (None, Some(IntOrString::String(_))))
}

/// How many pods the budget expects, of `present` ones whose owners ask for `scale`.
pub(super) fn expected(budget: &PodDisruptionBudget, present: usize, scale: i32) -> Expected {
    match stated(budget) {
        (Some(max), _) => Expected { pods: scale, healthy: (scale - scaled(Some(max), scale, true)).max(0) },
        (None, Some(IntOrString::Int(min))) => {
            Expected { pods: i32::try_from(present).unwrap_or(i32::MAX), healthy: *min }
        }
        (None, Some(min)) => Expected { pods: scale, healthy: scaled(Some(min), scale, true) },
        (None, None) => Expected { pods: 0, healthy: 0 },
    }
}

pub(super) fn plan(budget: &PodDisruptionBudget, pods: &[Arc<Pod>], expected: Expected, now: Timestamp) -> Plan {
    let old = budget.status.clone().unwrap_or_default();
    let disrupted = old.disrupted_pods.clone().unwrap_or_default();
    let (mut kept, mut late, mut again) = (BTreeMap::new(), Vec::new(), None::<Duration>);
    let mut healthy = 0i32;
    for pod in pods.iter().filter(|pod| !pods::is_terminating(pod)) {
        let name = pod.metadata.name.clone().unwrap_or_default();
        let since = disrupted.get(&name);
        let left = since.map(|since| pods::until(now, since.0, DELETION_TIMEOUT)).filter(|left| !left.is_zero());
        match (since, left) {
            (Some(since), Some(left)) => {
                kept.insert(name, since.clone());
                again = Some(again.map_or(left, |known| known.min(left)));
                continue;
            }
            (Some(_), None) => late.push(Arc::clone(pod)),
            (None, _) => {}
        }
        healthy += i32::from(pods::is_ready(pod));
    }
    let spare = healthy.saturating_sub(expected.healthy);
    // A budget that matched nothing when it was last looked at allows nothing: its first pods may just have come.
    let allowed = if expected.pods <= 0 { 0 } else { spare.max(0) };
    let generation = budget.metadata.generation;
    let (is, reason) = if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    let status = PodDisruptionBudgetStatus {
        current_healthy: Some(healthy),
        desired_healthy: Some(expected.healthy),
        expected_pods: Some(expected.pods),
        disruptions_allowed: Some(allowed),
        disrupted_pods: Some(kept).filter(|kept| !kept.is_empty()),
        observed_generation: generation,
        conditions: Some(with_condition(&old, is, reason, "", generation, now)),
    };
    Plan { status: differs(&old, &status).then_some(status), again, late }
}

fn differs(old: &PodDisruptionBudgetStatus, new: &PodDisruptionBudgetStatus) -> bool {
    let numbers = |s: &PodDisruptionBudgetStatus| {
        let or_zero = |n: Option<i32>| n.unwrap_or(0);
        [s.current_healthy, s.desired_healthy, s.expected_pods, s.disruptions_allowed].map(or_zero)
    };
    let disrupted = |s: &PodDisruptionBudgetStatus| s.disrupted_pods.clone().unwrap_or_default();
    let condition = |s: &PodDisruptionBudgetStatus| {
        let found = s.conditions.iter().flatten().find(|c| c.type_ == CONDITION);
        found.map(|c| (c.status.clone(), c.reason.clone()))
    };
    numbers(old) != numbers(new)
        || disrupted(old) != disrupted(new)
        || old.observed_generation != new.observed_generation
        || condition(old) != condition(new)
}

/// The status of a budget of which nobody can say how many pods there should be: nothing may be evicted.
pub(super) fn failed(budget: &PodDisruptionBudget, why: &str, now: Timestamp) -> PodDisruptionBudgetStatus {
    let old = budget.status.clone().unwrap_or_default();
    let generation = old.observed_generation;
    let conditions = with_condition(&old, "False", "SyncFailed", why, generation, now);
    PodDisruptionBudgetStatus { disruptions_allowed: Some(0), conditions: Some(conditions), ..old }
}

/// The conditions with this one, which keeps its time while its status stays.
fn with_condition(
    old: &PodDisruptionBudgetStatus,
    status: &str,
    reason: &str,
    message: &str,
    observed_generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    let mut conditions = old.conditions.clone().unwrap_or_default();
    let known = conditions.iter_mut().find(|c| c.type_ == CONDITION);
    let since = known.as_ref().filter(|c| c.status == status).map(|c| c.last_transition_time.clone());
    let condition = Condition {
        type_: CONDITION.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        observed_generation,
        last_transition_time: since
            .unwrap_or_else(|| Time(Timestamp::from_second(now.as_second()).unwrap_or_default())),
    };
    match known {
        Some(known) => *known = condition,
        None => conditions.push(condition),
    }
    conditions
}

/// What is said of a budget that selects pods without an owner.
pub(super) fn unmanaged(budget: &PodDisruptionBudget) -> String {
    let selector = budget.spec.as_ref().and_then(|s| s.selector.as_ref());
    let selector = selector.map_or_else(|| "nil".to_owned(), shown);
    format!(
        "Pods selected by this PodDisruptionBudget (selector: {selector}) were found to be unmanaged. As a result, the status of \
         the PDB cannot be calculated correctly, which may result in undefined behavior. To account for these pods please set \
         \".spec.minAvailable\" field of the PDB to an integer value."
    )
}

/// As Go prints the structure.
fn shown(selector: &LabelSelector) -> String {
    let labels: String = selector.match_labels.iter().flatten().map(|(k, v)| format!("{k}: {v},")).collect();
    let requirement = |r: &k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement| {
        let values = r.values.iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" ");
        format!("LabelSelectorRequirement{{Key:{},Operator:{},Values:[{values}],}},", r.key, r.operator)
    };
    let expressions: String = selector.match_expressions.iter().flatten().map(requirement).collect();
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{labels}}},\
         MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"
    )
}
