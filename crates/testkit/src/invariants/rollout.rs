//! Deployments and replica sets keep their numbers of pods.
//!
//! From the moment at which a deployment is complete, its rolling updates stay within maxSurge and maxUnavailable at every
//! revision, until something else takes pods away (a crash, a lost node, a user) or its numbers are changed; then it is
//! watched again once it is complete again. All of that is read from the history itself.

use std::collections::{BTreeMap, BTreeSet};

use gantry_api::value::{self, Value};

use super::Invariant;
use crate::history::{Change, Step, World};
use crate::object::{self, Object, number, text};

/// A user's deletion of a pod is announced by this annotation, so that it can be told from a controller's.
pub const BY_USER: &str = "gantry.dev/deleted-by-user";

/// Bounds of a rolling update.
#[derive(Default)]
pub(super) struct Bounds {
    /// Deployments that are watched, by uid.
    watched: BTreeSet<String>,
}

impl Invariant for Bounds {
    fn name(&self) -> &'static str {
        "rolling updates keep their bounds"
    }

    fn step(&mut self, world: &World, step: &Step) -> Vec<String> {
        let Step::Changes { changes, .. } = step else {
            self.watched.clear();
            return Vec::new();
        };
        if changes.iter().all(|c| !matches!(c.kind(), "Pod" | "ReplicaSet" | "Deployment" | "Node")) {
            return Vec::new();
        }
        for deployment in changes.iter().filter_map(|change| disturbed(world, change)) {
            self.watched.remove(&deployment);
        }
        let mut found = Vec::new();
        for deployment in world.all("Deployment") {
            let uid = object::uid(deployment);
            // With its namespace everything in it goes, in whatever order.
            if world.find("Namespace", "", object::namespace(deployment)).is_some_and(|ns| object::is_terminating(ns)) {
                self.watched.remove(uid);
                continue;
            }
            let counts = Counts::of(world, deployment);
            if !self.watched.contains(uid) {
                if counts.is_complete(deployment) && !world.ambiguous {
                    self.watched.insert(uid.to_owned());
                }
                continue;
            }
            found.extend(counts.faults(deployment));
        }
        found
    }
}

/// The pods of a deployment.
struct Counts {
    active: i64,
    ready: i64,
    wanted: i64,
}

impl Counts {
    fn of(world: &World, deployment: &Value) -> Self {
        let sets: Vec<_> = world.controlled("ReplicaSet", object::uid(deployment)).collect();
        let pods = || sets.iter().flat_map(|set| world.controlled("Pod", object::uid(set)));
        let count = |test: fn(&Value) -> bool| i64::try_from(pods().filter(|p| test(p)).count()).unwrap_or(i64::MAX);
        Self {
            active: count(object::is_active),
            ready: count(object::is_ready),
            wanted: sets.iter().map(|set| number(set, "spec.replicas")).sum(),
        }
    }

    fn is_complete(&self, deployment: &Value) -> bool {
        let replicas = number(deployment, "spec.replicas");
        let observed = number(deployment, "status.observedGeneration") == number(deployment, "metadata.generation");
        let rolling = text(deployment, "spec.strategy.type") == "RollingUpdate";
        let all = self.active == replicas && self.ready == replicas && self.wanted == replicas;
        rolling && observed && all && !object::is_terminating(deployment)
    }

    fn faults(&self, deployment: &Value) -> Vec<String> {
        let (most, least) = object::bounds(deployment);
        let title = object::title(deployment);
        let mut found = Vec::new();
        if self.active > most {
            found.push(format!("{title} has {} pods, more than {most}", self.active));
        }
        if self.ready < least {
            found.push(format!("{title} has {} ready pods, less than {least}", self.ready));
        }
        found
    }
}

/// The deployment of a pod as it was, through its replica set.
fn deployment_of(world: &World, pod: &Value) -> Option<String> {
    let owner = object::controller(pod);
    let set = world.by_uid(owner)?;
    Some(object::controller(set).to_owned())
}

/// The deployment from which this change takes something away that is not the rollout's doing.
fn disturbed(world: &World, change: &Change) -> Option<String> {
    match change.kind() {
        "Deployment" => {
            let Some((before, after)) = change.updated() else { return Some(object::uid(change.newest()).to_owned()) };
            let numbers = |o: &Object| (number(o, "spec.replicas"), value::get(o, "spec.strategy").cloned());
            let changed = numbers(before) != numbers(after) || object::is_terminating(after);
            changed.then(|| object::uid(after).to_owned())
        }
        // A replica set that is gone or given away takes its pods with it.
        "ReplicaSet" => {
            let before = change.before.as_ref()?;
            let kept = change.after.as_ref().is_some_and(|after| {
                object::controller(after) == object::controller(before) && !object::is_terminating(after)
            });
            (!kept).then(|| object::controller(before).to_owned())
        }
        "Pod" => {
            let before = change.before.as_ref().filter(|p| object::is_active(p))?;
            let foreign = match change.after.as_ref() {
                Some(after) if object::is_active(after) => {
                    (object::is_ready(before) && !object::is_ready(after))
                        || object::controller(before) != object::controller(after)
                }
                _ => !is_scaled_down(world, before),
            };
            if foreign { deployment_of(world, before) } else { None }
        }
        _ => None,
    }
}

/// Whether a pod went because its replica set wants fewer: not a user's deletion, nor an eviction from a lost node.
fn is_scaled_down(world: &World, pod: &Value) -> bool {
    let by_user = object::strings(pod, "metadata.annotations").contains_key(BY_USER);
    let healthy = world.find("Node", "", text(pod, "spec.nodeName")).is_some_and(|node| {
        object::condition(node, "Ready") == "True" && value::list_at(node, "spec.taints").is_empty()
    });
    let bound = !text(pod, "spec.nodeName").is_empty();
    !by_user && (healthy || !bound)
}

/// A replica set never makes more pods than any of the numbers that it may have seen.
#[derive(Default)]
pub(super) struct Exactness {
    /// Per replica set: generation and number of pods, from the last observed generation on.
    seen: BTreeMap<String, Vec<(i64, i64)>>,
    /// Replica sets that may have one pod too many, see [`Step::Ambiguous`].
    loose: BTreeSet<String>,
}

impl Invariant for Exactness {
    fn name(&self) -> &'static str {
        "a replica set makes no pod too many"
    }

    fn step(&mut self, world: &World, step: &Step) -> Vec<String> {
        let Step::Changes { changes, .. } = step else {
            self.loose = self.seen.keys().cloned().collect();
            return Vec::new();
        };
        for set in changes.iter().filter(|c| c.kind() == "ReplicaSet").filter_map(|c| c.after.as_ref()) {
            self.see(world, set);
        }
        let made = changes.iter().filter_map(Change::created).filter(|o| object::kind(o) == "Pod");
        made.filter_map(|pod| self.judge(world, object::controller(pod))).collect()
    }
}

impl Exactness {
    fn see(&mut self, world: &World, set: &Value) {
        let uid = object::uid(set);
        let seen = self.seen.entry(uid.to_owned()).or_default();
        let now = (number(set, "metadata.generation"), number(set, "spec.replicas"));
        if seen.last() != Some(&now) {
            seen.push(now);
        }
        let observed = number(set, "status.observedGeneration");
        seen.retain(|(generation, _)| *generation >= observed);
        let status = number(set, "status.replicas");
        if world.ambiguous {
            self.loose.insert(uid.to_owned());
        } else if observed == now.0 && status == now.1 && active(world, uid) == now.1 {
            self.loose.remove(uid);
        }
    }

    fn judge(&self, world: &World, owner: &str) -> Option<String> {
        let most = self.seen.get(owner)?.iter().map(|(_, replicas)| *replicas).max()?;
        let (count, set) = (active(world, owner), world.by_uid(owner)?);
        let too_many = count > most && !world.ambiguous && !self.loose.contains(owner);
        too_many.then(|| format!("{} has {count} pods, wants {most}", object::title(set)))
    }
}

fn active(world: &World, set: &str) -> i64 {
    let pods = world.controlled("Pod", set).filter(|p| object::is_active(p));
    i64::try_from(pods.count()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
