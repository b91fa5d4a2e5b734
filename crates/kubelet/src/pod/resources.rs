//! Requests and limits in the kernel's units; pure.

use std::collections::BTreeMap;

use gantry_api::quantity::Quantity as Parsed;
use k8s_openapi::{
    api::core::v1::{Container, Pod},
    apimachinery::pkg::api::resource::Quantity,
};

use crate::runtime::{Applied, Resources};

/// The kernel's bounds of CPU weights.
const SHARES: (i64, i64) = (2, 262_144);
/// The smallest CPU quota that the kernel takes, in microseconds per 100 ms.
const MIN_QUOTA: i64 = 1000;
/// How early the kernel kills a guaranteed, best-effort and pause process; upstream's values.
const GUARANTEED_SCORE: i64 = -997;
const BEST_EFFORT_SCORE: i64 = 1000;
/// The pause process holds the pod together.
pub(crate) const SANDBOX_SCORE: i64 = -998;

/// The quality of service that a pod asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Qos {
    /// Requests equal limits everywhere.
    Guaranteed,
    /// Something is requested.
    Burstable,
    /// Nothing is.
    BestEffort,
}

impl Qos {
    /// As in the pod's status.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }
}

type List = BTreeMap<String, Quantity>;

fn parse(list: Option<&List>, name: &str) -> Option<Parsed> {
    list?.get(name).and_then(|q| Parsed::parse(&q.0).ok())
}

fn request(container: &Container, name: &str) -> Option<Parsed> {
    let resources = container.resources.as_ref()?;
    parse(resources.requests.as_ref(), name).or_else(|| parse(resources.limits.as_ref(), name))
}

fn limit(container: &Container, name: &str) -> Option<Parsed> {
    parse(container.resources.as_ref()?.limits.as_ref(), name)
}

/// The requested or limited amount, for `resourceFieldRef`: CPU in thousandths, everything else in whole units.
pub(crate) fn amount(container: &Container, limits: bool, name: &str) -> Option<i64> {
    let found = if limits { limit(container, name) } else { request(container, name) };
    found.map(|q| if name == "cpu" { q.milli() } else { q.value() })
}

/// The pod's quality of service.
pub(crate) fn qos(pod: &Pod) -> Qos {
    let positive = |q: Option<Parsed>| q.filter(|q| q.signum() > 0);
    let mut any = false;
    let mut guaranteed = true;
    for (_, container) in super::containers(pod) {
        for name in ["cpu", "memory"] {
            let (request, limit) = (positive(request(container, name)), positive(limit(container, name)));
            any |= request.is_some() || limit.is_some();
            let equal = match (request, limit) {
                (Some(request), Some(limit)) => request.milli() == limit.milli(),
                _ => false,
            };
            guaranteed &= equal;
        }
    }
    match (any, guaranteed) {
        (false, _) => Qos::BestEffort,
        (true, true) => Qos::Guaranteed,
        (true, false) => Qos::Burstable,
    }
}

/// What of a container's resources can change while it runs.
pub(crate) fn in_use(container: &Container) -> Applied {
    let cpu_request = request(container, "cpu").map_or(0, |q| q.milli());
    let cpu_limit = limit(container, "cpu").map_or(0, |q| q.milli());
    Applied {
        cpu_shares: shares(cpu_request),
        cpu_quota: if cpu_limit > 0 { (cpu_limit * 100).max(MIN_QUOTA) } else { 0 },
        memory_bytes: limit(container, "memory").map_or(0, |q| q.value()),
    }
}

/// A container's limits. `capacity_bytes` is the node's memory.
pub(crate) fn limits(pod: &Pod, container: &Container, cgroup_parent: String, capacity_bytes: i64) -> Resources {
    let Applied { cpu_shares, cpu_quota, memory_bytes } = in_use(container);
    let memory_request = request(container, "memory").map_or(0, |q| q.value());
    Resources {
        cgroup_parent,
        cpu_shares,
        cpu_quota,
        memory_bytes,
        oom_score_adj: match qos(pod) {
            Qos::Guaranteed => GUARANTEED_SCORE,
            Qos::BestEffort => BEST_EFFORT_SCORE,
            Qos::Burstable => burstable_score(memory_request, capacity_bytes),
        },
    }
}

/// Thousandths of a CPU as the kernel's weight.
fn shares(milli: i64) -> i64 {
    (milli * 1024 / 1000).clamp(SHARES.0, SHARES.1)
}

/// The more of the node's memory was asked for, the later a process is killed.
fn burstable_score(request_bytes: i64, capacity_bytes: i64) -> i64 {
    let share = request_bytes.saturating_mul(1000) / capacity_bytes.max(1);
    (1000 - share).clamp(1000 + GUARANTEED_SCORE, BEST_EFFORT_SCORE - 1)
}

/// The control group of a pod under the node's: by quality of service, as upstream.
pub(crate) fn cgroup_parent(root: &str, pod: &Pod, systemd: bool) -> String {
    cgroup_of(root, &super::reference(pod).uid, qos(pod), systemd)
}

/// Where a pod's control group may be, for a pod whose spec is not known any more.
pub(crate) fn cgroup_parents(root: &str, uid: &str, systemd: bool) -> Vec<String> {
    let classes = [Qos::Guaranteed, Qos::Burstable, Qos::BestEffort];
    classes.into_iter().map(|class| cgroup_of(root, uid, class, systemd)).collect()
}

fn cgroup_of(root: &str, uid: &str, class: Qos, systemd: bool) -> String {
    let class = match class {
        Qos::Guaranteed => "",
        Qos::Burstable => "burstable",
        Qos::BestEffort => "besteffort",
    };
    let parts = [root.trim_matches('/'), "kubepods", class].into_iter().filter(|part| !part.is_empty());
    if systemd {
        // In slice names a dash is the separator of levels.
        let mut name: Vec<String> = parts.map(|part| part.replace(['/', '-'], "_")).collect();
        name.push(format!("pod{}", uid.replace('-', "_")));
        return format!("{}.slice", name.join("-"));
    }
    let mut path: Vec<&str> = parts.collect();
    let leaf = format!("pod{uid}");
    path.push(&leaf);
    format!("/{}", path.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(containers: &[(&str, &str, &str, &str)]) -> Pod {
        let list = |cpu: &str, memory: &str| {
            let mut map = serde_json::Map::new();
            for (name, value) in [("cpu", cpu), ("memory", memory)] {
                if !value.is_empty() {
                    map.insert(name.into(), value.into());
                }
            }
            map
        };
        let containers: Vec<_> = containers
            .iter()
            .map(|(rc, rm, lc, lm)| {
                serde_json::json!({"name": "c", "image": "i", "resources": {"requests": list(rc, rm), "limits": list(lc, lm)}})
            })
            .collect();
        serde_json::from_value(serde_json::json!({"metadata": {"uid": "u-1"}, "spec": {"containers": containers}}))
            .unwrap()
    }

    #[test]
    fn quality_of_service_follows_requests_and_limits() {
        let check = |containers: &[(&str, &str, &str, &str)], expected| assert_eq!(qos(&pod(containers)), expected);
        check(&[("", "", "", "")], Qos::BestEffort);
        check(&[("100m", "", "", "")], Qos::Burstable);
        check(&[("100m", "1Gi", "0.1", "1024Mi")], Qos::Guaranteed);
        check(&[("", "", "1", "1Gi")], Qos::Guaranteed);
        check(&[("100m", "1Gi", "100m", "1Gi"), ("", "", "", "")], Qos::Burstable);
        check(&[("0", "0", "", "")], Qos::BestEffort);
    }

    #[test]
    fn limits_become_kernel_units() {
        let pod = pod(&[("250m", "64Mi", "500m", "128Mi")]);
        let found = limits(&pod, &super::super::spec(&pod).containers[0], "/x".into(), 1 << 30);
        assert_eq!((found.cpu_shares, found.cpu_quota, found.memory_bytes), (256, 50_000, 128 << 20));
        assert_eq!(found.oom_score_adj, 1000 - 62);
        assert_eq!((shares(0), shares(1_000_000)), (2, 262_144));
        assert_eq!(burstable_score(1 << 30, 1 << 30), 3);
    }

    #[test]
    fn the_control_group_tells_the_class() {
        assert_eq!(cgroup_parent("/node-a", &pod(&[("", "", "", "")]), false), "/node-a/kubepods/besteffort/podu-1");
        assert_eq!(cgroup_parent("", &pod(&[("1", "1", "1", "1")]), false), "/kubepods/podu-1");
        assert_eq!(cgroup_parent("node-a", &pod(&[("1", "", "", "")]), true), "node_a-kubepods-burstable-podu_1.slice");
    }
}
