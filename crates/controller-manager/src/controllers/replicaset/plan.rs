//! How many pods a replica set lacks or has too many of, and what its status is.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time},
};

use super::rank;
use crate::pods::{self, Availability};

/// The most pods that one reconciliation makes or deletes.
const BURST: usize = 500;
const FAILURE: &str = "ReplicaFailure";

/// What a plan is made from.
#[derive(Debug)]
pub(super) struct Snapshot<'a> {
    pub(super) set: &'a ReplicaSet,
    /// The pods that the set owns, ended and terminating ones too.
    pub(super) pods: &'a [Arc<Pod>],
    /// The active pods per node of all sets with the same owner.
    pub(super) neighbours: &'a BTreeMap<String, usize>,
    pub(super) now: Timestamp,
}

/// What to do about the number of pods.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// It is right.
    Keep,
    /// Make so many.
    Create(usize),
    /// Delete these.
    Delete(Vec<Arc<Pod>>),
}

/// What kept the set from making or deleting pods.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    /// `FailedCreate` or `FailedDelete`.
    pub(super) reason: &'static str,
    pub(super) message: String,
}

/// How the step went, as far as the status tells it.
#[derive(Debug, Clone)]
pub(super) enum Went {
    Well,
    Badly(Failure),
}

/// Decides the step.
pub(super) fn step(snapshot: &Snapshot<'_>) -> Step {
    if snapshot.set.metadata.deletion_timestamp.is_some() {
        return Step::Keep;
    }
    let wanted = snapshot.set.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1);
    let wanted = usize::try_from(wanted).unwrap_or(0);
    let active: Vec<Arc<Pod>> = snapshot.pods.iter().filter(|p| pods::is_active(p)).cloned().collect();
    if active.len() < wanted {
        return Step::Create((wanted - active.len()).min(BURST));
    }
    match (active.len() - wanted).min(BURST) {
        0 => Step::Keep,
        surplus => Step::Delete(rank::cheapest(&active, surplus, snapshot.neighbours, snapshot.now)),
    }
}

/// A pod from the set's template, which `owner` owns.
pub(super) fn pod(set: &ReplicaSet, owner: OwnerReference) -> Pod {
    let template = set.spec.as_ref().and_then(|s| s.template.clone()).unwrap_or_default();
    let meta = template.metadata.unwrap_or_default();
    let name = set.metadata.name.as_deref().unwrap_or("");
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{name}-")),
            namespace: set.metadata.namespace.clone(),
            labels: meta.labels,
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![owner]),
            ..ObjectMeta::default()
        },
        spec: template.spec,
        status: None,
    }
}

/// The set's status, and when a pod will become available just by staying ready.
pub(super) fn status(snapshot: &Snapshot<'_>, went: &Went) -> (ReplicaSetStatus, Option<Duration>) {
    let spec = snapshot.set.spec.clone().unwrap_or_default();
    let min_ready_seconds = spec.min_ready_seconds.unwrap_or(0);
    let template_labels = spec.template.and_then(|t| t.metadata).and_then(|m| m.labels).unwrap_or_default();
    let (mut replicas, mut labelled, mut ready, mut available, mut terminating) = (0, 0, 0, 0, 0);
    let mut again: Option<Duration> = None;
    for pod in snapshot.pods {
        if pods::is_terminal(pod) {
            continue;
        }
        if pods::is_terminating(pod) {
            terminating += 1;
            continue;
        }
        replicas += 1;
        let has = |(k, v): (&String, &String)| pod.metadata.labels.as_ref().and_then(|l| l.get(k)) == Some(v);
        labelled += i32::from(template_labels.iter().all(has));
        ready += i32::from(pods::is_ready(pod));
        match pods::availability(pod, min_ready_seconds, snapshot.now) {
            Availability::Now => available += 1,
            Availability::In(left) => again = Some(again.map_or(left, |a| a.min(left))),
            Availability::No => {}
        }
    }
    let some = |count: i32| Some(count).filter(|c| *c != 0);
    let status = ReplicaSetStatus {
        replicas,
        fully_labeled_replicas: some(labelled),
        ready_replicas: some(ready),
        available_replicas: some(available),
        terminating_replicas: Some(terminating),
        observed_generation: snapshot.set.metadata.generation,
        conditions: conditions(snapshot, went),
    };
    (status, again)
}

fn conditions(snapshot: &Snapshot<'_>, went: &Went) -> Option<Vec<ReplicaSetCondition>> {
    let mut conditions = snapshot.set.status.as_ref().and_then(|s| s.conditions.clone()).unwrap_or_default();
    match went {
        Went::Well => conditions.retain(|c| c.type_ != FAILURE),
        Went::Badly(failure) => {
            // The first trouble stays until it is over; a message per attempt would be a write per attempt.
            if !conditions.iter().any(|c| c.type_ == FAILURE) {
                conditions.push(ReplicaSetCondition {
                    type_: FAILURE.to_owned(),
                    status: "True".to_owned(),
                    reason: Some(failure.reason.to_owned()),
                    message: Some(failure.message.clone()),
                    last_transition_time: Some(Time(snapshot.now)),
                });
            }
        }
    }
    Some(conditions).filter(|c| !c.is_empty())
}

/// Whether writing `new` would change anything.
pub(super) fn differs(old: Option<&ReplicaSetStatus>, new: &ReplicaSetStatus) -> bool {
    let normal = |s: &ReplicaSetStatus| ReplicaSetStatus {
        fully_labeled_replicas: s.fully_labeled_replicas.filter(|n| *n != 0),
        ready_replicas: s.ready_replicas.filter(|n| *n != 0),
        available_replicas: s.available_replicas.filter(|n| *n != 0),
        terminating_replicas: s.terminating_replicas.filter(|n| *n != 0),
        conditions: s.conditions.clone().filter(|c| !c.is_empty()),
        ..s.clone()
    };
    old.is_none_or(|old| normal(old) != normal(new))
}
