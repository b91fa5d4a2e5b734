//! The replica sets of a rollout as a plan changes them, and the sizes that a rolling update allows.
//!
//! Rules: k8s.io/kubernetes pkg/controller/deployment (rolling.go, sync.go, util/deployment_util.go).

use std::{cmp::Reverse, sync::Arc};

use gantry_client::Object;
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};

use crate::portion::scaled;

/// What a deployment allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) replicas: i32,
    pub(super) max_surge: i32,
    pub(super) max_unavailable: i32,
}

impl Bounds {
    pub(super) fn of(deployment: &Deployment) -> Self {
        let replicas = replicas(deployment);
        let (mut max_surge, mut max_unavailable) = (0, 0);
        if is_rolling(deployment) {
            let rolling = deployment.spec.as_ref().and_then(|s| s.strategy.as_ref()?.rolling_update.clone());
            let rolling = rolling.unwrap_or_default();
            max_surge = scaled(rolling.max_surge.as_ref(), replicas, true);
            max_unavailable = scaled(rolling.max_unavailable.as_ref(), replicas, false);
            if max_surge == 0 && max_unavailable == 0 {
                // Neither would ever allow a step.
                max_unavailable = 1;
            }
            max_unavailable = max_unavailable.min(replicas);
        }
        Self { replicas, max_surge, max_unavailable }
    }

    /// The most pods that may exist.
    pub(super) fn most(self) -> i32 {
        self.replicas + self.max_surge
    }

    /// The fewest pods that must be available.
    pub(super) fn fewest_available(self) -> i32 {
        self.replicas - self.max_unavailable
    }
}

pub(super) fn replicas(deployment: &Deployment) -> i32 {
    deployment.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)
}

pub(super) fn is_rolling(deployment: &Deployment) -> bool {
    let strategy = deployment.spec.as_ref().and_then(|s| s.strategy.as_ref());
    strategy.and_then(|s| s.type_.as_deref()).unwrap_or("RollingUpdate") == "RollingUpdate"
}

/// A replica set and what the plan makes of it.
#[derive(Debug, Clone)]
pub(super) struct Set {
    /// As the informer shows it, or as it shall be created.
    pub(super) object: Arc<ReplicaSet>,
    /// Whether it must be created.
    pub(super) fresh: bool,
    /// The planned `spec.replicas`.
    pub(super) replicas: i32,
    /// The planned annotations.
    pub(super) annotations: crate::selector::Labels,
    /// The planned `spec.minReadySeconds`.
    pub(super) min_ready_seconds: i32,
}

impl Set {
    pub(super) fn new(object: Arc<ReplicaSet>) -> Self {
        let spec = object.spec.as_ref();
        Self {
            replicas: spec.and_then(|s| s.replicas).unwrap_or(1),
            min_ready_seconds: spec.and_then(|s| s.min_ready_seconds).unwrap_or(0),
            annotations: object.metadata.annotations.clone().unwrap_or_default(),
            fresh: object.metadata.uid.is_none(),
            object,
        }
    }

    pub(super) fn name(&self) -> &str {
        self.object.metadata.name.as_deref().unwrap_or("")
    }

    /// `spec.replicas` before the plan.
    pub(super) fn replicas_before(&self) -> i32 {
        if self.fresh { 0 } else { self.object.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1) }
    }

    /// `spec.minReadySeconds` before the plan.
    pub(super) fn min_ready_seconds_before(&self) -> i32 {
        self.object.spec.as_ref().and_then(|s| s.min_ready_seconds).unwrap_or(0)
    }

    /// How many of its pods are surely available: a status may lag behind a scale-down.
    pub(super) fn available(&self) -> i32 {
        let reported = self.object.status.as_ref().and_then(|s| s.available_replicas).unwrap_or(0);
        reported.min(self.replicas_before())
    }

    /// How many pods it may have now: those that are asked for, or, until a scale-down is done, those that are still there.
    fn pods_at_most(&self) -> i32 {
        self.object.status.as_ref().map_or(0, |s| s.replicas).max(self.replicas)
    }

    /// Whether its status speaks of its present size.
    fn is_observed(&self) -> bool {
        let observed = self.object.status.as_ref().and_then(|s| s.observed_generation).unwrap_or(0);
        self.fresh || observed >= self.object.metadata.generation.unwrap_or(0)
    }

    fn created(&self) -> (Option<jiff::Timestamp>, &str) {
        (self.object.metadata.creation_timestamp.as_ref().map(|t| t.0), self.name())
    }

    pub(super) fn is_deleting(&self) -> bool {
        self.object.metadata.deletion_timestamp.is_some()
    }
}

/// The replica sets of one deployment: the one with its template, and the others, oldest first.
#[derive(Debug, Clone, Default)]
pub(super) struct Sets {
    pub(super) new: Option<Set>,
    pub(super) old: Vec<Set>,
}

impl Sets {
    /// Sorts out which set has the deployment's template. Of several (which a hash collision can leave) the oldest.
    pub(super) fn sort(deployment: &Deployment, sets: &[Arc<ReplicaSet>]) -> Self {
        let mut all: Vec<Set> = sets.iter().map(|s| Set::new(Arc::clone(s))).collect();
        all.sort_by(|a, b| a.created().cmp(&b.created()));
        let template = deployment.spec.as_ref().map(|s| &s.template);
        let new = all.iter().position(|s| super::revision::same_template(template, s.object.spec.as_ref()));
        let new = new.map(|index| all.remove(index));
        Self { new, old: all }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &Set> {
        self.old.iter().chain(&self.new)
    }

    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = &mut Set> {
        self.old.iter_mut().chain(&mut self.new)
    }

    /// The pods that exist or are asked for.
    pub(super) fn total(&self) -> i32 {
        self.all().map(|s| s.replicas).sum()
    }
}

/// Grows or shrinks the new set as far as the bounds allow now. Returns whether it changed.
///
/// Upstream counts what the sets ask for; we count the pods that may still be there too and wait until every set has taken
/// note of its size, so that there are never more pods than allowed.
pub(super) fn scale_new(sets: &mut Sets, bounds: Bounds, rolling: bool) -> bool {
    let total: i32 = sets.all().map(Set::pods_at_most).sum();
    let known = sets.all().all(Set::is_observed);
    let Some(new) = &mut sets.new else { return false };
    let size = if !rolling || new.replicas >= bounds.replicas {
        bounds.replicas
    } else {
        let room = if known { (bounds.most() - total).max(0) } else { 0 };
        new.replicas + room.min(bounds.replicas - new.replicas)
    };
    let changed = size != new.replicas;
    new.replicas = size;
    changed
}

/// Shrinks old sets as far as the bounds allow now: first pods that are not available anyway, then available ones, oldest
/// set first. Returns whether anything changed.
pub(super) fn scale_down_old(sets: &mut Sets, bounds: Bounds) -> bool {
    if sets.old.iter().all(|s| s.replicas == 0) {
        return false;
    }
    let not_yet_available = sets.new.as_ref().map_or(0, |n| n.replicas - n.available().min(n.replicas));
    let mut budget = sets.total() - bounds.fewest_available() - not_yet_available;
    let before = budget;
    for set in &mut sets.old {
        let idle = (set.replicas - set.available()).clamp(0, budget.max(0));
        set.replicas -= idle;
        budget -= idle;
    }
    let available: i32 = sets.all().map(Set::available).sum();
    let mut spare = (available - bounds.fewest_available()).min(budget);
    for set in &mut sets.old {
        let step = set.replicas.clamp(0, spare.max(0));
        set.replicas -= step;
        spare -= step;
        budget -= step;
    }
    budget != before
}

/// The one set that a change of `spec.replicas` is for, when there is one: the only one with pods, or without any the newest.
fn only_active(sets: &mut Sets) -> Option<&mut Set> {
    match sets.all().filter(|s| s.replicas > 0).count() {
        0 if sets.new.is_some() => sets.new.as_mut(),
        0 => sets.old.last_mut(),
        1 => sets.all_mut().find(|s| s.replicas > 0),
        _ => None,
    }
}

/// Spreads a change of `spec.replicas` over the sets in proportion to their size, so that a rollout in progress keeps its shape.
pub(super) fn scale_proportionally(sets: &mut Sets, bounds: Bounds, rolling: bool, status_replicas: i32) {
    if let Some(set) = only_active(sets) {
        set.replicas = bounds.replicas;
        return;
    }
    if sets.new.as_ref().is_some_and(|n| is_saturated(n, bounds.replicas)) {
        sets.old.iter_mut().for_each(|s| s.replicas = 0);
        return;
    }
    if !rolling {
        return;
    }
    let allowed = if bounds.replicas > 0 { bounds.most() } else { 0 };
    let to_add = allowed - sets.total();
    if to_add == 0 {
        return;
    }
    let mut active: Vec<&mut Set> = sets.all_mut().filter(|s| s.replicas > 0).collect();
    // The biggest first; of equals the newest when growing, the oldest when shrinking.
    active.sort_by(|a, b| b.replicas.cmp(&a.replicas).then_with(|| a.created().cmp(&b.created())));
    if to_add > 0 {
        active.sort_by_key(|s| (Reverse(s.replicas), Reverse(s.object.metadata.creation_timestamp.clone())));
    }
    let mut added = 0;
    for set in &mut active {
        let share = proportion(set, bounds, to_add - added, status_replicas);
        set.replicas += share;
        added += share;
    }
    if let Some(biggest) = active.first_mut() {
        biggest.replicas = (biggest.replicas + to_add - added).max(0);
    }
}

/// The set's share of `left`, which is negative when shrinking.
fn proportion(set: &Set, bounds: Bounds, left: i32, status_replicas: i32) -> i32 {
    if left == 0 {
        return 0;
    }
    let fraction = if bounds.replicas == 0 {
        -set.replicas
    } else {
        let noted = super::revision::number(&set.annotations, super::revision::MAX_REPLICAS).filter(|n| *n > 0);
        let before = noted.unwrap_or(status_replicas);
        if before <= 0 {
            return 0;
        }
        let exact = f64::from(set.replicas) * f64::from(bounds.most()) / f64::from(before);
        #[expect(clippy::cast_possible_truncation, reason = "a ratio of replica counts, rounded")]
        let size = exact.round() as i32;
        size - set.replicas
    };
    if left > 0 { fraction.min(left) } else { fraction.max(left) }
}

/// Whether the set alone is all that the deployment wants, and works.
fn is_saturated(set: &Set, wanted: i32) -> bool {
    let desired = super::revision::number(&set.annotations, super::revision::DESIRED_REPLICAS);
    set.replicas == wanted && desired == Some(wanted) && set.available() == wanted
}

/// Whether `spec.replicas` was changed since the sets were last sized.
pub(super) fn is_scaling(sets: &Sets, wanted: i32) -> bool {
    let desired = |s: &Set| super::revision::number(&s.annotations, super::revision::DESIRED_REPLICAS);
    sets.all().filter(|s| s.replicas > 0).any(|s| desired(s).is_some_and(|d| d != wanted))
}

/// The uid of the new set, or "".
pub(super) fn new_uid(sets: &Sets) -> &str {
    sets.new.as_ref().map_or("", |s| s.object.uid())
}
