//! What pods use up, by requests and limits of all their containers.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Usage, add, amounts, count, is_best_effort, is_set, named};
use crate::Value;
use crate::quantity::Quantity;
use crate::value::{get, i64_at, list_at, map_at, str_at};

/// What a quota can force containers to state.
const STATED: &[&str] = &["cpu", "limits.cpu", "limits.memory", "memory", "requests.cpu", "requests.memory"];

/// Names of devices of a class that has no name as a resource, or has one besides (KEP-5004).
const IMPLICIT: &str = "deviceclass.resource.kubernetes.io/";

pub(super) fn concerns(resource: &str) -> bool {
    let plain = |name: &str| matches!(name, "cpu" | "memory" | "ephemeral-storage");
    match resource.split_once('.') {
        Some(("limits", name)) => plain(name),
        Some(("requests", name)) if plain(name) || name.starts_with("hugepages-") => true,
        // Upstream takes the prefix for a part of the name.
        Some(("requests", name)) => is_extended(resource) || name.starts_with(IMPLICIT),
        _ => resource == "pods" || plain(resource) || resource.starts_with("hugepages-"),
    }
}

/// Whether a resource is none of Kubernetes' own, as `example.com/gpu`.
fn is_extended(name: &str) -> bool {
    name.contains('/') && !name.contains("kubernetes.io/")
}

/// Whether a resource can be stated for a pod as a whole.
fn is_of_pods(name: &str) -> bool {
    matches!(name, "cpu" | "memory") || name.starts_with("hugepages-")
}

/// What is stated for the whole pod.
fn stated(pod: &Value, part: &str) -> Usage {
    let mut stated = amounts(map_at(pod, &format!("spec.resources.{part}")));
    stated.retain(|name, _| is_of_pods(name));
    stated
}

/// The larger of each amount.
fn largest(a: &mut Usage, b: &Usage) {
    for (name, amount) in b {
        if a.get(name).is_none_or(|known| known < amount) {
            a.insert(name.clone(), *amount);
        }
    }
}

fn wanted(container: &Value, part: &str) -> Usage {
    amounts(map_at(container, &format!("resources.{part}")))
}

/// Requests or limits (`part`) of a pod's containers together: of those that run at once, whenever that is most.
pub(super) fn of_containers(pod: &Value, part: &str) -> Usage {
    together(pod, part, &|container| wanted(container, part))
}

/// Requests or limits (`part`) of the whole pod, as a scheduler counts them.
pub(super) fn total(pod: &Value, part: &str) -> Usage {
    whole(pod, part, of_containers(pod, part), stated(pod, part))
}

/// As [`total`], with what containers still hold while they are resized: a pod cannot give back what it has by asking for less.
fn held(pod: &Value, part: &str) -> Usage {
    let conditions = list_at(pod, "status.conditions");
    let pending = conditions.iter().find(|c| str_at(c, "type") == Some("PodResizePending"));
    let never = pending.is_some_and(|condition| str_at(condition, "reason") == Some("Infeasible"));
    let statuses: HashMap<_, _> = ["status.initContainerStatuses", "status.containerStatuses"]
        .into_iter()
        .flat_map(|path| list_at(pod, path))
        .filter(|status| is_set(status, "resources"))
        .map(|status| (str_at(status, "name"), status))
        .collect();
    let of = |container: &Value| {
        let wanted = wanted(container, part);
        let Some(status) = statuses.get(&str_at(container, "name")) else { return wanted };
        let mut held = amounts(map_at(status, &format!("resources.{part}")));
        if part == "requests" {
            largest(&mut held, &amounts(map_at(status, "allocatedResources")));
        }
        // What no node can give is not waited for.
        if !never {
            largest(&mut held, &wanted);
        }
        held
    };
    let mut own = stated(pod, part);
    if is_set(pod, "status.resources") {
        let mut held = amounts(map_at(pod, &format!("status.resources.{part}")));
        if part == "requests" {
            largest(&mut held, &amounts(map_at(pod, "status.allocatedResources")));
        }
        for (name, amount) in &mut own {
            let known = held.get(name).copied().unwrap_or(Quantity::ZERO);
            *amount = if never { known } else { known.max(*amount) };
        }
    }
    whole(pod, part, together(pod, part, &of), own)
}

/// What containers come to; `of` says what one that runs on counts.
fn together(pod: &Value, part: &str, of: &dyn Fn(&Value) -> Usage) -> Usage {
    let mut running = Usage::new();
    list_at(pod, "spec.containers").iter().for_each(|c| add(&mut running, &of(c)));
    let (mut sidecars, mut starting) = (Usage::new(), Usage::new());
    for container in list_at(pod, "spec.initContainers") {
        let runs_on = str_at(container, "restartPolicy") == Some("Always");
        let mut own = if runs_on { of(container) } else { wanted(container, part) };
        if runs_on {
            add(&mut running, &own);
            add(&mut sidecars, &own);
            own = sidecars.clone();
        } else {
            add(&mut own, &sidecars);
        }
        largest(&mut starting, &own);
    }
    largest(&mut running, &starting);
    running
}

/// What a pod comes to whose containers are `running`; what is its `own` stands above them.
fn whole(pod: &Value, part: &str, mut running: Usage, own: Usage) -> Usage {
    running.extend(own);
    for (name, amount) in amounts(map_at(pod, "spec.overhead")) {
        let known = running.get(&name).copied();
        if part == "requests" || known.is_some_and(|k| k.signum() > 0) {
            running.insert(name, known.unwrap_or(Quantity::ZERO).plus(amount));
        }
    }
    running
}

/// Names of quotas for requests and limits.
fn by_quota(requests: &Usage, limits: &Usage) -> Usage {
    let mut usage = Usage::new();
    for (name, amount) in requests {
        let plain = matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-");
        if plain {
            usage.insert(name.clone(), *amount);
        }
        if plain || is_extended(name) || name.starts_with(IMPLICIT) {
            usage.insert(format!("requests.{name}"), *amount);
        }
    }
    for (name, amount) in limits.iter().filter(|(n, _)| matches!(n.as_str(), "cpu" | "memory" | "ephemeral-storage")) {
        usage.insert(format!("limits.{name}"), *amount);
    }
    usage
}

/// Whether the pod still holds anything.
fn lives(pod: &Value, now: i64) -> bool {
    let deadline = str_at(pod, "metadata.deletionTimestamp").and_then(|t| t.parse::<jiff::Timestamp>().ok());
    let grace = i64_at(pod, "metadata.deletionGracePeriodSeconds");
    let gone = deadline.zip(grace).is_some_and(|(at, grace)| now > at.as_second() + grace);
    !gone && !matches!(str_at(pod, "status.phase"), Some("Failed" | "Succeeded"))
}

pub(super) fn usage(pod: &Value, now: i64) -> Usage {
    if !lives(pod, now) {
        return Usage::new();
    }
    let mut usage = by_quota(&held(pod, "requests"), &held(pod, "limits"));
    usage.insert("pods".to_owned(), count(1));
    usage
}

pub(super) fn constraints(pod: &Value, hard: &Usage) -> Result<(), String> {
    // A pod that states anything as a whole leaves its containers free to say nothing.
    if ["requests", "limits"].iter().any(|part| !stated(pod, part).is_empty()) {
        return Ok(());
    }
    let required: Vec<&str> = STATED.iter().copied().filter(|name| hard.contains_key(*name)).collect();
    let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for container in list_at(pod, "spec.containers").iter().chain(list_at(pod, "spec.initContainers")) {
        let part = |part: &str| amounts(map_at(container, &format!("resources.{part}")));
        let said = by_quota(&part("requests"), &part("limits"));
        for name in required.iter().filter(|n| !said.contains_key(**n)) {
            missing.entry(name).or_default().insert(str_at(container, "name").unwrap_or_default());
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    let one = |(name, containers): (&&str, &BTreeSet<&str>)| {
        format!("{name} for: {}", containers.iter().copied().collect::<Vec<_>>().join(","))
    };
    Err(format!("must specify {}", missing.iter().map(one).collect::<Vec<_>>().join("; ")))
}

pub(super) fn in_scope(pod: &Value, scope: &str, operator: &str, values: &[Value]) -> bool {
    match scope {
        "Terminating" => is_set(pod, "spec.activeDeadlineSeconds"),
        "NotTerminating" => !is_set(pod, "spec.activeDeadlineSeconds"),
        "BestEffort" => is_best_effort(pod),
        "NotBestEffort" => !is_best_effort(pod),
        "PriorityClass" => named(str_at(pod, "spec.priorityClassName").unwrap_or_default(), operator, values),
        "CrossNamespacePodAffinity" => reaches_other_namespaces(pod),
        _ => false,
    }
}

/// Whether an affinity of the pod looks at pods of other namespaces.
fn reaches_other_namespaces(pod: &Value) -> bool {
    let term = |term: &Value| !list_at(term, "namespaces").is_empty() || is_set(term, "namespaceSelector");
    ["podAffinity", "podAntiAffinity"].iter().any(|kind| {
        let Some(affinity) = get(pod, "spec.affinity").and_then(|a| a.get(kind)) else { return false };
        list_at(affinity, "requiredDuringSchedulingIgnoredDuringExecution").iter().any(term)
            || list_at(affinity, "preferredDuringSchedulingIgnoredDuringExecution")
                .iter()
                .any(|p| p.get("podAffinityTerm").is_some_and(term))
    })
}
