//! A deployment's status: counts and conditions, with upstream's reasons and words.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet},
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::rollout::{Bounds, Set, Sets};
use crate::pods::until;

const PROGRESSING: &str = "Progressing";
const AVAILABLE: &str = "Available";
const REPLICA_FAILURE: &str = "ReplicaFailure";
const NEW_AVAILABLE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const PAUSED: &str = "DeploymentPaused";

/// The conditions that a plan starts from and changes.
#[derive(Debug, Clone)]
pub(super) struct Conditions {
    list: Vec<DeploymentCondition>,
    now: Timestamp,
}

impl Conditions {
    pub(super) fn of(deployment: &Deployment, now: Timestamp) -> Self {
        let list = deployment.status.as_ref().and_then(|s| s.conditions.clone()).unwrap_or_default();
        Self { list, now }
    }

    fn get(&self, kind: &str) -> Option<&DeploymentCondition> {
        self.list.iter().find(|c| c.type_ == kind)
    }

    fn reason(&self, kind: &str) -> &str {
        self.get(kind).and_then(|c| c.reason.as_deref()).unwrap_or("")
    }

    /// Sets a condition; one with the same status and reason stays as it is.
    fn set(&mut self, kind: &str, status: &str, reason: &str, message: String) {
        let now = Some(Time(self.now));
        let old = self.get(kind);
        if old.is_some_and(|c| c.status == status && c.reason.as_deref() == Some(reason)) {
            return;
        }
        let since = old.filter(|c| c.status == status).and_then(|c| c.last_transition_time.clone());
        self.list.retain(|c| c.type_ != kind);
        self.list.push(DeploymentCondition {
            type_: kind.to_owned(),
            status: status.to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(message),
            last_transition_time: since.or_else(|| now.clone()),
            last_update_time: now,
        });
    }

    fn remove(&mut self, kind: &str) {
        self.list.retain(|c| c.type_ != kind);
    }

    /// Progress was made: the time of the last update moves even if nothing else changes.
    fn set_progress(&mut self, message: String) {
        let since = self.get(PROGRESSING).filter(|c| c.status == "True").and_then(|c| c.last_transition_time.clone());
        self.remove(PROGRESSING);
        self.set(PROGRESSING, "True", "ReplicaSetUpdated", message);
        if let (Some(since), Some(new)) = (since, self.list.last_mut()) {
            new.last_transition_time = Some(since);
        }
    }

    /// A pause stops the clock of the progress deadline, a resumption starts it.
    pub(super) fn note_pause(&mut self, deployment: &Deployment) {
        let reason = self.reason(PROGRESSING);
        if deadline(deployment).is_none() || reason == TIMED_OUT {
            return;
        }
        let (paused, noted) = (is_paused(deployment), reason == PAUSED);
        if paused && !noted {
            self.set(PROGRESSING, "Unknown", PAUSED, "Deployment is paused".to_owned());
        } else if !paused && noted {
            self.set(PROGRESSING, "Unknown", "DeploymentResumed", "Deployment is resumed".to_owned());
        }
    }

    /// There is a replica set for the template, made now or found.
    pub(super) fn note_new_set(&mut self, deployment: &Deployment, set: &Set) {
        if deadline(deployment).is_none() {
            return;
        }
        if set.fresh {
            let message = format!("Created new replica set \"{}\"", set.name());
            self.set(PROGRESSING, "True", "NewReplicaSetCreated", message);
        } else if self.get(PROGRESSING).is_none() {
            let message = format!("Found new replica set \"{}\"", set.name());
            self.set(PROGRESSING, "True", "FoundNewReplicaSet", message);
        }
    }

    /// The replica set for the template could not be made.
    pub(super) fn note_create_failure(&mut self, name: &str, why: &str) {
        let message = format!("Failed to create new replica set \"{name}\": {why}");
        self.set(PROGRESSING, "False", "ReplicaSetCreateError", message);
    }
}

pub(super) fn is_paused(deployment: &Deployment) -> bool {
    deployment.spec.as_ref().and_then(|s| s.paused).unwrap_or(false)
}

fn deadline(deployment: &Deployment) -> Option<Duration> {
    let seconds = deployment.spec.as_ref()?.progress_deadline_seconds.filter(|s| *s != i32::MAX)?;
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

/// The status of `deployment` as its sets report it; conditions as given, with `Available` judged anew.
pub(super) fn observe(
    deployment: &Deployment,
    sets: &Sets,
    bounds: Bounds,
    mut conditions: Conditions,
) -> DeploymentStatus {
    let sum = |count: fn(&ReplicaSet) -> i32| sets.all().map(|s| count(&s.object)).sum::<i32>();
    let available = sum(|s| s.status.as_ref().and_then(|s| s.available_replicas).unwrap_or(0));
    if available >= bounds.fewest_available() {
        let message = "Deployment has minimum availability.".to_owned();
        conditions.set(AVAILABLE, "True", "MinimumReplicasAvailable", message);
    } else {
        let message = "Deployment does not have minimum availability.".to_owned();
        conditions.set(AVAILABLE, "False", "MinimumReplicasUnavailable", message);
    }
    let updated = sets.new.as_ref().and_then(|n| n.object.status.as_ref()).map_or(0, |s| s.replicas);
    DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: some(sum(|s| s.status.as_ref().map_or(0, |s| s.replicas))),
        updated_replicas: some(updated),
        ready_replicas: some(sum(|s| s.status.as_ref().and_then(|s| s.ready_replicas).unwrap_or(0))),
        available_replicas: some(available),
        unavailable_replicas: some((sets.total() - available).max(0)),
        terminating_replicas: terminating(sets),
        collision_count: deployment.status.as_ref().and_then(|s| s.collision_count),
        conditions: Some(conditions.list),
    }
}

/// Zero counts are left out, as upstream's encoder does.
fn some(count: i32) -> Option<i32> {
    Some(count).filter(|c| *c != 0)
}

/// The pods on their way out; unknown while a set does not say.
fn terminating(sets: &Sets) -> Option<i32> {
    let of = |s: &Set| s.object.status.as_ref().map_or(Some(0), |s| s.terminating_replicas);
    sets.all().map(of).sum()
}

/// Judges the rollout: complete, progressing or stuck. Returns when to judge again.
pub(super) fn judge_progress(
    deployment: &Deployment,
    sets: &Sets,
    status: &mut DeploymentStatus,
    now: Timestamp,
) -> Option<Duration> {
    let mut conditions = Conditions { list: status.conditions.take().unwrap_or_default(), now };
    let limit = deadline(deployment);
    if limit.is_none() {
        conditions.remove(PROGRESSING);
    }
    let name = deployment.metadata.name.as_deref().unwrap_or("");
    let subject = sets
        .new
        .as_ref()
        .map_or_else(|| format!("Deployment \"{name}\""), |set| format!("ReplicaSet \"{}\"", set.name()));
    let was = conditions.reason(PROGRESSING).to_owned();
    let all_updated = status.replicas == status.updated_replicas;
    let complete = is_complete(deployment, status);
    if limit.is_some() && !(all_updated && was == NEW_AVAILABLE) {
        if complete {
            let message = format!("{subject} has successfully progressed.");
            conditions.set(PROGRESSING, "True", NEW_AVAILABLE, message);
        } else if has_progressed(deployment.status.as_ref(), status) {
            conditions.set_progress(format!("{subject} is progressing."));
        } else if time_left(&conditions, limit, now).is_some_and(|left| left.is_zero()) {
            let message = format!("{subject} has timed out progressing.");
            conditions.set(PROGRESSING, "False", TIMED_OUT, message);
        }
    }
    match replica_failure(sets) {
        Some(failure) => conditions.set(
            REPLICA_FAILURE,
            &failure.status,
            failure.reason.as_deref().unwrap_or(""),
            failure.message.clone().unwrap_or_default(),
        ),
        None => conditions.remove(REPLICA_FAILURE),
    }
    let again = if complete { None } else { time_left(&conditions, limit, now) };
    status.conditions = Some(conditions.list);
    // A second more, so that the deadline is surely past.
    again.map(|left| left + Duration::from_secs(1))
}

/// Whether every replica is updated and available, and none is left over.
pub(super) fn is_complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let wanted = some(super::rollout::replicas(deployment));
    status.updated_replicas == wanted
        && status.replicas == wanted
        && status.available_replicas == wanted
        && status.observed_generation >= deployment.metadata.generation
}

fn has_progressed(old: Option<&DeploymentStatus>, new: &DeploymentStatus) -> bool {
    let old = old.cloned().unwrap_or_default();
    let n = |count: Option<i32>| count.unwrap_or(0);
    n(new.updated_replicas) > n(old.updated_replicas)
        || n(new.replicas) - n(new.updated_replicas) < n(old.replicas) - n(old.updated_replicas)
        || n(new.ready_replicas) > n(old.ready_replicas)
        || n(new.available_replicas) > n(old.available_replicas)
}

/// How long the rollout may still go without progress; `None` when no clock runs.
fn time_left(conditions: &Conditions, limit: Option<Duration>, now: Timestamp) -> Option<Duration> {
    let progressing = conditions.get(PROGRESSING)?;
    let reason = progressing.reason.as_deref().unwrap_or("");
    if matches!(reason, NEW_AVAILABLE | TIMED_OUT | PAUSED) {
        return None;
    }
    let since = progressing.last_update_time.as_ref()?.0;
    Some(until(now, since, limit?))
}

/// What keeps the sets from making pods, the new one's trouble first.
fn replica_failure(sets: &Sets) -> Option<&k8s_openapi::api::apps::v1::ReplicaSetCondition> {
    let failure = |set: &'_ Set| {
        let conditions = set.object.status.as_ref().and_then(|s| s.conditions.as_ref());
        conditions.and_then(|c| c.iter().position(|c| c.type_ == REPLICA_FAILURE))
    };
    let set = sets.new.iter().chain(&sets.old).find(|s| failure(s).is_some())?;
    set.object.status.as_ref()?.conditions.as_ref()?.iter().find(|c| c.type_ == REPLICA_FAILURE)
}

/// Whether writing `new` would change anything.
pub(super) fn differs(old: Option<&DeploymentStatus>, new: &DeploymentStatus) -> bool {
    let zero_is_none = |s: &DeploymentStatus| DeploymentStatus {
        replicas: s.replicas.filter(|n| *n != 0),
        updated_replicas: s.updated_replicas.filter(|n| *n != 0),
        ready_replicas: s.ready_replicas.filter(|n| *n != 0),
        available_replicas: s.available_replicas.filter(|n| *n != 0),
        unavailable_replicas: s.unavailable_replicas.filter(|n| *n != 0),
        terminating_replicas: s.terminating_replicas.filter(|n| *n != 0),
        conditions: s.conditions.clone().filter(|c| !c.is_empty()),
        ..s.clone()
    };
    old.map(zero_is_none).unwrap_or_default() != zero_is_none(new)
}
