//! What holds once nothing happens any more: the cluster is as its objects declare.

use std::collections::{BTreeMap, BTreeSet};

use gantry_api::value::{self, Value};

use crate::history::World;
use crate::object::{self, Object, number, text};

/// What is not yet, or no longer, as it is declared.
#[must_use]
pub fn faults(world: &World) -> Vec<String> {
    let mut found: Vec<String> = world.all("Deployment").filter_map(|d| deployment(world, d)).collect();
    found.extend(world.all("ReplicaSet").filter_map(|s| replica_set(world, s)));
    found.extend(world.all("Service").filter_map(|s| endpoints(world, s)));
    found.extend(world.objects.values().filter_map(|o| orphan(world, o)));
    let leaving = world.objects.values().filter(|o| object::is_terminating(o));
    found.extend(leaving.map(|o| format!("{} is still being deleted", object::title(o))));
    found
}

fn deployment(world: &World, deployment: &Object) -> Option<String> {
    let title = object::title(deployment);
    if number(deployment, "status.observedGeneration") != number(deployment, "metadata.generation") {
        return Some(format!("{title}: its newest generation was not observed"));
    }
    let mut replicas = number(deployment, "spec.replicas");
    let sets: Vec<_> = world.controlled("ReplicaSet", object::uid(deployment)).collect();
    let mut fields = vec!["status.replicas", "status.readyReplicas", "status.availableReplicas"];
    if value::bool_at(deployment, "spec.paused") {
        // One that was paused in the middle of a rollout stays there: within its bounds, but not at its number.
        let wanted = sets.iter().map(|s| number(s, "spec.replicas")).sum();
        let (most, least) = object::bounds(deployment);
        if wanted < least || wanted > most {
            return Some(format!("{title}: {wanted} replicas are wanted, its bounds are {least} to {most}"));
        }
        replicas = wanted;
    } else {
        fields.push("status.updatedReplicas");
        let template = value::get(deployment, "spec.template.spec.containers");
        let others = sets.iter().filter(|s| value::get(s, "spec.template.spec.containers") != template);
        let stale: i64 = others.map(|s| number(s, "spec.replicas")).sum();
        if stale > 0 {
            return Some(format!("{title}: {stale} replicas of other templates are wanted"));
        }
    }
    let wrong = fields.into_iter().find(|field| number(deployment, field) != replicas)?;
    Some(format!("{title}: {wrong} is {}, not {replicas}", number(deployment, wrong)))
}

fn replica_set(world: &World, set: &Object) -> Option<String> {
    let pods: Vec<_> = world.controlled("Pod", object::uid(set)).collect();
    let ready = pods.iter().filter(|p| object::is_ready(p)).count();
    let replicas = number(set, "spec.replicas");
    let right = [pods.len(), ready].iter().all(|n| i64::try_from(*n) == Ok(replicas))
        && number(set, "status.replicas") == replicas
        && number(set, "status.readyReplicas") == replicas;
    (!right).then(|| {
        let says = number(set, "status.replicas");
        format!(
            "{}: wants {replicas} pods, has {} of which {ready} are ready, says {says}",
            object::title(set),
            pods.len()
        )
    })
}

/// A service's endpoints are its ready pods.
fn endpoints(world: &World, service: &Object) -> Option<String> {
    let selector = object::strings(service, "spec.selector");
    if selector.is_empty() {
        return None;
    }
    let (namespace, name) = (object::namespace(service), text(service, "metadata.name"));
    let selected = |p: &&Object| {
        let labels = object::labels(p);
        object::namespace(p) == namespace && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
    };
    let pods = world.all("Pod").filter(selected).filter(|p| object::is_ready(p));
    let wanted: BTreeSet<&str> = pods.map(|p| text(p, "status.podIP")).collect();
    let of_service = |s: &&Object| {
        object::namespace(s) == namespace && object::labels(s).get("kubernetes.io/service-name") == Some(&name)
    };
    let slices = world.all("EndpointSlice").filter(of_service);
    let entries = slices.flat_map(|s| value::list_at(s, "endpoints")).filter(|e| value::bool_at(e, "conditions.ready"));
    let present: Vec<&str> = entries.flat_map(|e| value::list_at(e, "addresses")).filter_map(Value::as_str).collect();
    let unique: BTreeSet<&str> = present.iter().copied().collect();
    (unique != wanted || unique.len() != present.len())
        .then(|| format!("{}: its endpoints are {present:?}, its ready pods {wanted:?}", object::title(service)))
}

/// What has owners has at least one that lives.
fn orphan(world: &World, object: &Object) -> Option<String> {
    let owners = value::list_at(object, "metadata.ownerReferences");
    if owners.is_empty() || owners.iter().any(|o| world.by_uid(text(o, "uid")).is_some()) {
        return None;
    }
    Some(format!("{} is an orphan: none of its owners lives", object::title(object)))
}

/// What is left that only a service holds: cluster IPs without one, and node ports in the bitmap.
#[must_use]
pub fn leaks(world: &World) -> Vec<String> {
    let services: BTreeMap<&str, String> =
        world.all("Service").map(|s| (text(s, "spec.clusterIP"), object::title(s))).collect();
    let lost = world.all("IPAddress").filter(|a| !services.contains_key(text(a, "metadata.name")));
    let mut found: Vec<String> = lost.map(|a| format!("{} is held by no service", object::title(a))).collect();
    let ports = world.all("Service").flat_map(|s| value::list_at(s, "spec.ports"));
    let held = ports.filter(|p| number(p, "nodePort") > 0).count();
    let taken = world.objects.get("/registry/ranges/servicenodeports").map_or(0, |bitmap| bits(text(bitmap, "data")));
    if taken != held {
        found.push(format!("{taken} node ports are taken, services hold {held}"));
    }
    found
}

/// How many bits of a base64 text are set.
fn bits(base64: &str) -> usize {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let value = |byte: u8| ALPHABET.iter().position(|a| *a == byte).unwrap_or(0);
    base64.bytes().map(|byte| value(byte).count_ones() as usize).sum()
}

#[cfg(test)]
mod tests;
