//! What to do about one deployment, decided over a snapshot.

use std::{sync::Arc, time::Duration};

use gantry_controller::owner;
use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::{Deployment, DeploymentStatus, ReplicaSet},
    core::v1::Pod,
};

use super::{
    revision,
    rollout::{self, Bounds, Set, Sets},
    status::{self, Conditions},
};
use crate::pods;

/// What a plan is made from.
#[derive(Debug)]
pub(super) struct Snapshot<'a> {
    pub(super) deployment: &'a Deployment,
    /// The sets that the deployment owns.
    pub(super) sets: &'a [Arc<ReplicaSet>],
    /// The pods of those sets.
    pub(super) pods: &'a [Arc<Pod>],
    pub(super) now: Timestamp,
}

/// One write.
#[derive(Debug, Clone)]
pub(super) enum Action {
    /// Make the set.
    Create(Set),
    /// Change its size, annotations or minReadySeconds.
    Update(Set),
    /// The history limit no longer keeps it.
    Delete(Arc<ReplicaSet>),
}

/// What to do, in order; the status last.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) actions: Vec<Action>,
    /// The status to write, if it changes.
    pub(super) status: Option<DeploymentStatus>,
    /// The revision annotation to write with it.
    pub(super) revision: Option<String>,
    /// When to plan again though nothing changed.
    pub(super) again: Option<Duration>,
}

/// Decides what to do.
pub(super) fn plan(snapshot: &Snapshot<'_>) -> Plan {
    let deployment = snapshot.deployment;
    let bounds = Bounds::of(deployment);
    let mut sets = Sets::sort(deployment, snapshot.sets);
    let mut conditions = Conditions::of(deployment, snapshot.now);
    if deployment.metadata.deletion_timestamp.is_some() {
        let observed = status::observe(deployment, &sets, bounds, conditions);
        return finish(deployment, Vec::new(), observed, None, None);
    }
    conditions.note_pause(deployment);
    let paused = status::is_paused(deployment);
    let rolling = rollout::is_rolling(deployment);
    if paused || rollout::is_scaling(&sets, bounds.replicas) {
        let revision = revision::stamp_new(deployment, &mut sets, bounds);
        let replicas = deployment.status.as_ref().and_then(|s| s.replicas).unwrap_or(0);
        rollout::scale_proportionally(&mut sets, bounds, rolling, replicas);
        sets.all_mut().filter(|s| s.replicas > 0).for_each(|s| revision::note_sizes(&mut s.annotations, bounds));
        let surplus = if paused { revision::surplus(deployment, &sets) } else { Vec::new() };
        let observed = status::observe(deployment, &sets, bounds, conditions);
        let actions = actions(sets, bounds, surplus);
        return finish(deployment, actions, observed, revision, None);
    }
    let revision = if rolling {
        roll(deployment, &mut sets, bounds, &mut conditions)
    } else {
        recreate(snapshot, &mut sets, bounds, &mut conditions)
    };
    let mut observed = status::observe(deployment, &sets, bounds, conditions);
    let surplus =
        if status::is_complete(deployment, &observed) { revision::surplus(deployment, &sets) } else { Vec::new() };
    let again = status::judge_progress(deployment, &sets, &mut observed, snapshot.now);
    finish(deployment, actions(sets, bounds, surplus), observed, revision, again)
}

/// One step of a rolling update: up with the new, or else down with the old.
fn roll(deployment: &Deployment, sets: &mut Sets, bounds: Bounds, conditions: &mut Conditions) -> Option<String> {
    let revision = ensure_new(deployment, sets, bounds, conditions);
    if !rollout::scale_new(sets, bounds, true) {
        rollout::scale_down_old(sets, bounds);
    }
    revision
}

/// One step of a recreation: the old down, then, when none of their pods is left, the new up.
fn recreate(snapshot: &Snapshot<'_>, sets: &mut Sets, bounds: Bounds, conditions: &mut Conditions) -> Option<String> {
    let mut revision = revision::stamp_new(snapshot.deployment, sets, bounds);
    if let Some(set) = &sets.new {
        conditions.note_new_set(snapshot.deployment, set);
    }
    let running = sets.old.iter().any(|s| s.replicas > 0) || old_pods_run(snapshot.pods, sets);
    if running {
        sets.old.iter_mut().for_each(|s| s.replicas = 0);
        return revision;
    }
    if sets.new.is_none() {
        revision = ensure_new(snapshot.deployment, sets, bounds, conditions);
    }
    rollout::scale_new(sets, bounds, false);
    revision
}

/// Whether a pod of another template may still run: only one that has ended for good surely does not.
fn old_pods_run(pods: &[Arc<Pod>], sets: &Sets) -> bool {
    let reported = sets.old.iter().any(|s| s.object.status.as_ref().is_some_and(|s| s.replicas > 0));
    let new = rollout::new_uid(sets);
    reported || pods.iter().any(|p| owner::controller_uid(&p.metadata) != new && !pods::is_terminal(p))
}

fn ensure_new(deployment: &Deployment, sets: &mut Sets, bounds: Bounds, conditions: &mut Conditions) -> Option<String> {
    let set = sets.new.get_or_insert_with(|| revision::fresh_set(deployment));
    conditions.note_new_set(deployment, set);
    revision::stamp_new(deployment, sets, bounds)
}

/// The writes that turn the sets as they are into the sets as planned.
fn actions(sets: Sets, bounds: Bounds, surplus: Vec<Arc<ReplicaSet>>) -> Vec<Action> {
    let changed = |set: &Set| {
        set.fresh
            || set.replicas != set.replicas_before()
            || Some(&set.annotations) != set.object.metadata.annotations.as_ref() && !set.annotations.is_empty()
            || set.min_ready_seconds != set.min_ready_seconds_before()
    };
    let write = |mut set: Set| {
        if set.replicas != set.replicas_before() {
            revision::note_sizes(&mut set.annotations, bounds);
        }
        if set.fresh { Action::Create(set) } else { Action::Update(set) }
    };
    let mut actions: Vec<Action> =
        sets.new.into_iter().chain(sets.old).filter(|s| changed(s) && !s.is_deleting()).map(write).collect();
    actions.extend(surplus.into_iter().map(Action::Delete));
    actions
}

fn finish(
    deployment: &Deployment,
    actions: Vec<Action>,
    observed: DeploymentStatus,
    revision: Option<String>,
    again: Option<Duration>,
) -> Plan {
    let noted = deployment.metadata.annotations.as_ref().and_then(|a| a.get(revision::REVISION));
    let revision = revision.filter(|r| Some(r) != noted);
    let write = revision.is_some() || status::differs(deployment.status.as_ref(), &observed);
    Plan { actions, status: write.then_some(observed), revision, again }
}
