//! What containers may use, changed while they run; pure.
//!
//! The API's object says what is wanted. The worker works with a pod whose resources are those that the node has granted: until a
//! resize is granted, the pod keeps what it had. What a running container has is what the runtime says.

use k8s_openapi::api::core::v1::{Container as Spec, Pod, PodCondition, ResourceRequirements};

use super::{
    Kind, containers,
    resources::{amount, in_use},
    state::{Local, Snapshot},
};
use crate::runtime::Container;

/// The condition of a pod whose resize waits.
pub(crate) const PENDING: &str = "PodResizePending";
/// The condition of a pod whose containers do not have yet what they were granted.
pub(crate) const IN_PROGRESS: &str = "PodResizeInProgress";

/// Why a resize waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// `Deferred` or `Infeasible`.
    pub(crate) reason: &'static str,
    /// In words.
    pub(crate) message: String,
}

/// How a running container gets what it was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// While it runs.
    InPlace,
    /// By another container, as its resize policy wants.
    Restart,
}

/// What is to happen to a container that was made with other resources.
pub(crate) fn change(spec: &Spec, container: &Container) -> Option<Change> {
    let (wanted, has) = (in_use(spec), container.applied);
    if wanted == has {
        return None;
    }
    let restarts = |name: &str| {
        let mut policies = spec.resize_policy.iter().flatten();
        policies.any(|p| p.resource_name == name && p.restart_policy == "RestartContainer")
    };
    let cpu = (wanted.cpu_shares, wanted.cpu_quota) != (has.cpu_shares, has.cpu_quota);
    let memory = wanted.memory_bytes != has.memory_bytes;
    let restart = (cpu && restarts("cpu")) || (memory && restarts("memory"));
    Some(if restart { Change::Restart } else { Change::InPlace })
}

/// Whether both pods' containers may use the same.
pub(crate) fn same(a: &Pod, b: &Pod) -> bool {
    containers(a).map(|(_, spec)| &spec.resources).eq(containers(b).map(|(_, spec)| &spec.resources))
}

/// The pod with the resources that `of` gives for its containers, by name.
fn with(pod: &Pod, of: impl Fn(&str) -> Option<ResourceRequirements>) -> Pod {
    let mut pod = pod.clone();
    if let Some(spec) = &mut pod.spec {
        for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
            if let Some(resources) = of(&container.name) {
                let claims = container.resources.take().and_then(|own| own.claims);
                container.resources = Some(ResourceRequirements { claims, ..resources });
            }
        }
    }
    pod
}

/// The pod as it is to be, with what `granted` may use.
pub(crate) fn keep(pod: &Pod, granted: &Pod) -> Pod {
    let of = |name: &str| containers(granted).find(|(_, c)| c.name == name).and_then(|(_, c)| c.resources.clone());
    with(pod, of)
}

/// What a pod was granted whose resize waited when a kubelet ended, or came while none ran: what its status says of its
/// containers.
pub(crate) fn granted(pod: &Pod) -> Option<Pod> {
    let status = pod.status.as_ref()?;
    let waits = status.conditions.iter().flatten().any(|c| c.type_ == PENDING && c.status == "True");
    let known = || [&status.container_statuses, &status.init_container_statuses].into_iter().flatten().flatten();
    let is_unseen = known().any(|known| {
        let spec = containers(pod).find(|(_, c)| c.name == known.name);
        let asked = spec.and_then(|(_, c)| c.resources.as_ref()?.requests.as_ref());
        known.allocated_resources.is_some() && known.allocated_resources.as_ref() != asked
    });
    let of = |name: &str| known().find(|c| c.name == name).and_then(|c| c.resources.clone());
    (waits || is_unseen).then(|| with(pod, of))
}

/// CPU in thousandths and bytes of memory that the pod asks for, as a scheduler counts them.
pub(crate) fn requests(pod: &Pod) -> (i64, i64) {
    let of = |spec: &Spec| (amount(spec, false, "cpu").unwrap_or(0), amount(spec, false, "memory").unwrap_or(0));
    let add = |a: (i64, i64), b: (i64, i64)| (a.0.saturating_add(b.0), a.1.saturating_add(b.1));
    let (mut running, mut sidecars, mut starting) = ((0, 0), (0, 0), (0_i64, 0_i64));
    for (kind, spec) in containers(pod) {
        let own = of(spec);
        if kind != Kind::Init {
            running = add(running, own);
        }
        if kind != Kind::App {
            let peak = add(sidecars, own);
            starting = (starting.0.max(peak.0), starting.1.max(peak.1));
        }
        if kind == Kind::Sidecar {
            sidecars = add(sidecars, own);
        }
    }
    (running.0.max(starting.0), running.1.max(starting.1))
}

/// What the status of a running container says of its resources.
pub(crate) fn reported(spec: &Spec) -> ResourceRequirements {
    let stated = spec.resources.clone().unwrap_or_default();
    ResourceRequirements { claims: None, ..stated }
}

/// The conditions of a resize that waits, and of one that is being carried out, with their reasons and messages.
pub(crate) fn conditions(s: &Snapshot<'_>) -> Vec<(&'static str, Option<&'static str>, Option<String>)> {
    let mut found = Vec::new();
    if let Some(waiting) = &s.local.waiting {
        found.push((PENDING, Some(waiting.reason), Some(waiting.message.clone())));
    }
    let open = containers(s.pod).filter(|(kind, _)| *kind != Kind::Init).find_map(|(_, spec)| {
        let latest = s.latest(&spec.name).filter(|c| c.running())?;
        change(spec, latest).map(|_| latest)
    });
    if let Some(container) = open {
        let failure = s.local.resizes.get(&container.id);
        found.push((IN_PROGRESS, failure.map(|f| f.reason), failure.map(|f| f.message.clone())));
    }
    found
}

/// The conditions among `old` that [`conditions`] speaks of.
pub(crate) fn is_ours(condition: &PodCondition) -> bool {
    matches!(condition.type_.as_str(), PENDING | IN_PROGRESS)
}

/// Whether the attempt at a container has failed lately.
pub(crate) fn failed(local: &Local, container: &Container) -> Option<jiff::Timestamp> {
    local.resizes.get(&container.id).map(|failure| failure.retry_at)
}

/// Whether what is asked for fits beside what others have, on a node of this size; if not, why it waits.
pub(crate) fn judge(asked: (i64, i64), others: (i64, i64), node: (i64, i64)) -> Option<Waiting> {
    let units = [("cpu", asked.0, others.0, node.0), ("memory", asked.1, others.1, node.1)];
    for (name, asked, _, node) in units {
        if asked > node {
            let message = format!("Node didn't have enough capacity: {name}, requested: {asked}, capacity: {node}");
            return Some(Waiting { reason: "Infeasible", message });
        }
    }
    let short: Vec<String> = units
        .into_iter()
        .filter(|(_, asked, others, node)| asked.saturating_add(*others) > *node)
        .map(|(name, asked, others, node)| {
            format!("Node didn't have enough resource: {name}, requested: {asked}, used: {others}, capacity: {node}")
        })
        .collect();
    (!short.is_empty()).then(|| Waiting { reason: "Deferred", message: short.join("; ") })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::plan::tests::pod;
    use super::*;

    fn container(name: &str, cpu: &str, memory: &str) -> serde_json::Value {
        json!({"name": name, "image": "i", "resources": {"requests": {"cpu": cpu, "memory": memory}}})
    }

    #[test]
    fn a_resize_must_fit() {
        let check = |asked, others, expected: Option<&str>| {
            assert_eq!(judge(asked, others, (1000, 100)).map(|w| w.reason), expected);
        };
        check((500, 50), (500, 50), None);
        check((500, 51), (500, 50), Some("Deferred"));
        check((1001, 1), (0, 0), Some("Infeasible"));
        let waiting = judge((600, 10), (500, 10), (1000, 100)).expect("too much");
        assert_eq!(waiting.message, "Node didn't have enough resource: cpu, requested: 600, used: 500, capacity: 1000");
    }

    #[test]
    fn a_pod_asks_for_the_most_of_starting_and_running() {
        let mut side = container("s", "100m", "10");
        side["restartPolicy"] = "Always".into();
        let pod = pod(json!({"containers": [container("a", "200m", "10"), container("b", "200m", "10")],
            "initContainers": [side, container("i", "1", "5")]}));
        assert_eq!(requests(&pod), (1100, 30));
    }

    #[test]
    fn what_waits_keeps_what_it_had() {
        let old = pod(json!({"containers": [container("a", "100m", "10")]}));
        let new = pod(json!({"containers": [container("a", "200m", "10")]}));
        assert!(!same(&old, &new) && same(&old, &keep(&new, &old)));
        let mut after = new.clone();
        let reported = json!({"requests": {"cpu": "100m", "memory": "10"}});
        after.status = serde_json::from_value(json!({"conditions": [{"type": PENDING, "status": "True"}],
            "containerStatuses": [{"name": "a", "image": "i", "imageID": "", "ready": true, "restartCount": 0, "resources": reported}]})).ok();
        assert!(same(&old, &granted(&after).expect("it waits")));
        assert!(granted(&new).is_none());
        let status = after.status.as_mut().expect("a status");
        status.conditions = None;
        let container = &mut status.container_statuses.as_mut().expect("containers")[0];
        container.allocated_resources = old.spec.as_ref().and_then(|s| s.containers[0].resources.clone()?.requests);
        assert!(same(&old, &granted(&after).expect("no kubelet has seen it")));
        let mut seen = old.clone();
        seen.status.clone_from(&after.status);
        assert!(granted(&seen).is_none());
        assert_eq!(in_use(&super::super::spec(&new).containers[0]).cpu_shares, 204);
    }
}
