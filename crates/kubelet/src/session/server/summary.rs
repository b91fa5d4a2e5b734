//! `/stats/summary` (stats.k8s.io's Summary) and `/runningpods/`; pure but for reading what is known.

use gantry_api::stats::{NodeStats, Usage};
use serde_json::{Value, json};

use crate::{
    pod,
    runtime::{Role, State},
    session::Context,
};

fn cpu(usage: &Usage) -> Value {
    json!({
        "time": usage.time,
        "usageNanoCores": usage.cpu_nano_cores,
        "usageCoreNanoSeconds": usage.cpu_usage_core_nanoseconds,
    })
}

fn memory(usage: &Usage) -> Value {
    json!({
        "time": usage.time,
        "usageBytes": usage.memory_usage_bytes,
        "workingSetBytes": usage.memory_working_set_bytes,
    })
}

/// When it was measured.
pub(super) fn at(usage: &Usage) -> Option<jiff::Timestamp> {
    usage.time.parse().ok()
}

/// A pod's use is that of its containers together.
pub(super) fn together(name: &str, containers: &[Usage]) -> Option<Usage> {
    let latest = containers.iter().max_by_key(|usage| at(usage))?;
    let sum = |of: fn(&Usage) -> u64| containers.iter().map(of).sum();
    Some(Usage {
        name: name.to_owned(),
        cpu_nano_cores: sum(|u| u.cpu_nano_cores),
        cpu_usage_core_nanoseconds: sum(|u| u.cpu_usage_core_nanoseconds),
        memory_usage_bytes: sum(|u| u.memory_usage_bytes),
        memory_working_set_bytes: sum(|u| u.memory_working_set_bytes),
        ..latest.clone()
    })
}

/// When a pod's container of that name started.
pub(super) fn started(context: &Context, uid: &str, name: &str) -> Option<jiff::Timestamp> {
    let containers = context.deps.observed.of(uid);
    containers.into_iter().filter(|c| c.role == Role::Container && c.name == name).find_map(|c| match c.state {
        State::Running { started } => Some(started),
        _ => None,
    })
}

/// The summary.
pub(super) fn summary(stats: &NodeStats, context: &Context) -> Value {
    let capacity = u64::try_from(context.deps.settings.memory_bytes).unwrap_or(0);
    let mut node_memory = memory(&stats.node);
    node_memory["availableBytes"] = capacity.saturating_sub(stats.node.memory_working_set_bytes).into();
    let pods: Vec<Value> = stats
        .pods
        .iter()
        .map(|pod| {
            let containers: Vec<Value> = pod
                .containers
                .iter()
                .map(|usage| {
                    let start = started(context, &pod.uid, &usage.name);
                    json!({"name": usage.name, "startTime": start, "cpu": cpu(usage), "memory": memory(usage)})
                })
                .collect();
            let start = context.pods.get(&pod.namespace, &pod.name).and_then(|found| pod::start_time(&found));
            let mut value = json!({
                "podRef": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid},
                "startTime": start,
                "containers": containers,
            });
            if let Some(usage) = together(&pod.name, &pod.containers) {
                value["cpu"] = cpu(&usage);
                value["memory"] = memory(&usage);
            }
            value
        })
        .collect();
    json!({
        "node": {"nodeName": stats.node.name, "cpu": cpu(&stats.node), "memory": node_memory},
        "pods": pods,
    })
}

/// The pods of which something runs, as upstream's runtime knows them: names and images.
pub(super) fn running_pods(context: &Context) -> Value {
    let observed = &context.deps.observed;
    let items = observed.uids().into_iter().filter_map(|uid| {
        let running: Vec<_> =
            observed.of(&uid).into_iter().filter(|c| c.role == Role::Container && c.running()).collect();
        let reference = running.first()?.pod.clone();
        let containers: Vec<Value> = running.iter().map(|c| json!({"name": c.name, "image": c.image})).collect();
        Some(json!({
            "metadata": {"name": reference.name, "namespace": reference.namespace, "uid": reference.uid},
            "spec": {"containers": containers},
            "status": {},
        }))
    });
    super::pod_list(items.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_uses_what_its_containers_use() {
        let usage = |second: i64, n: u64| Usage {
            name: "c".into(),
            time: jiff::Timestamp::from_second(second).unwrap().to_string(),
            window_seconds: 1.0,
            cpu_nano_cores: n,
            cpu_usage_core_nanoseconds: n * 10,
            memory_usage_bytes: n * 100,
            memory_working_set_bytes: n * 1000,
        };
        assert_eq!(together("p", &[]), None);
        let sum = together("p", &[usage(5, 1), usage(4, 2)]).unwrap();
        assert_eq!((sum.name.as_str(), at(&sum).unwrap().as_second(), sum.cpu_nano_cores), ("p", 5, 3));
        assert_eq!(
            (sum.cpu_usage_core_nanoseconds, sum.memory_usage_bytes, sum.memory_working_set_bytes),
            (30, 300, 3000)
        );
    }
}
