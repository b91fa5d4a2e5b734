//! Ownership of replicas, seen from a workload and from its Scale.
//!
//! A Scale has no entries of its own: those of the workload that own its replicas are shown as entries of the Scale, and what an
//! apply of the Scale makes of them is carried back.

use super::owners::{self, Owner};
use super::set::Set;
use crate::{Value, value};

const SCALE_VERSION: &str = "autoscaling/v1";
/// The replicas of a Scale; those of a workload are elsewhere where a custom kind says so.
const REPLICAS: &str = "spec.replicas";

fn owners_in(object: &Value) -> Vec<Owner> {
    owners::parse(owners::entries_of(object)).unwrap_or_default().iter().map(Owner::of).collect()
}

fn owns(owner: &Owner, replicas: &str) -> bool {
    !owner.paths.common(&Set::path(replicas)).is_empty()
}

/// Gives `scale` the entries of `workload` that own its replicas, which are at the path `replicas` (`spec.replicas`).
pub fn to_scale(workload: &Value, replicas: &str, scale: &mut Value) {
    let mut entries = Vec::new();
    for mut owner in owners_in(workload).into_iter().filter(|owner| owns(owner, replicas)) {
        value::set(&mut owner.entry, "apiVersion", SCALE_VERSION);
        owner.paths = Set::path(REPLICAS);
        entries.push(owner.into_entry());
    }
    owners::put(scale, entries);
}

/// Carries the entries of `scale` back into `workload`, whose objects are of `api_version` and have their replicas at the path `replicas`.
pub fn to_workload(scale: &Value, workload: &mut Value, api_version: &str, replicas: &str) {
    let mut of_scale: Vec<Owner> = owners_in(scale).into_iter().filter(|owner| owns(owner, REPLICAS)).collect();
    let mut entries = Vec::new();
    for mut owner in owners_in(workload) {
        if owns(&owner, replicas) {
            let mut seen = owner.entry.clone();
            value::set(&mut seen, "apiVersion", SCALE_VERSION);
            let kept = of_scale.iter().position(|o| owners::same(&o.entry, &seen));
            match kept {
                Some(at) => {
                    let scaled = of_scale.remove(at);
                    if let Some(time) = value::get(&scaled.entry, "time") {
                        value::set(&mut owner.entry, "time", time.clone());
                    }
                }
                None => owner.paths.subtract(&Set::path(replicas)),
            }
        }
        if !owner.paths.is_empty() {
            entries.push(owner.into_entry());
        }
    }
    for mut owner in of_scale {
        value::set(&mut owner.entry, "apiVersion", api_version);
        owner.paths = Set::path(replicas);
        entries.push(owner.into_entry());
    }
    owners::put(workload, entries);
}
