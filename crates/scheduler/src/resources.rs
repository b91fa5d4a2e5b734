//! What a pod asks for and what a node offers, as integers.

use std::collections::BTreeMap;

use gantry_api::quantity::Quantity;
use k8s_openapi::api::core::v1::{Container, PodSpec, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

/// CPU assumed by the scores for a container that asks for none, so that such pods still spread (upstream's value).
const DEFAULT_CPU_MILLI: i64 = 100;
/// Memory assumed by the scores for a container that asks for none (upstream's value), in bytes.
const DEFAULT_MEMORY_BYTES: i64 = 200 * 1024 * 1024;

/// An amount of each resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// CPU in thousandths of a core.
    pub cpu_milli: i64,
    /// Memory in bytes.
    pub memory: i64,
    /// Local storage in bytes.
    pub ephemeral_storage: i64,
    /// Everything else by name: extended resources and huge pages.
    pub extended: BTreeMap<String, i64>,
}

impl Resources {
    /// Reads a resource list such as `requests` or `allocatable`; what cannot be parsed counts as zero, because the API
    /// server refuses it anyway. `pods` is read by [`pod_capacity`].
    #[must_use]
    pub fn from_list(list: &BTreeMap<String, Text>) -> Self {
        let mut out = Self::default();
        for (name, text) in list {
            match name.as_str() {
                "cpu" => out.cpu_milli = milli(text),
                "memory" => out.memory = whole(text),
                "ephemeral-storage" => out.ephemeral_storage = whole(text),
                "pods" => {}
                other => {
                    out.extended.insert(other.to_owned(), whole(text));
                }
            }
        }
        out
    }

    /// Whether nothing is asked for.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.cpu_milli == 0
            && self.memory == 0
            && self.ephemeral_storage == 0
            && self.extended.values().all(|v| *v == 0)
    }

    /// Adds `other`.
    pub fn add(&mut self, other: &Self) {
        self.combine(other, |a, b| a.saturating_add(b));
    }

    /// Subtracts `other`, which was added before.
    pub fn subtract(&mut self, other: &Self) {
        self.combine(other, |a, b| a.saturating_sub(b));
    }

    /// Raises each amount to at least that of `other`.
    pub fn raise_to(&mut self, other: &Self) {
        self.combine(other, i64::max);
    }

    fn combine(&mut self, other: &Self, op: impl Fn(i64, i64) -> i64) {
        self.cpu_milli = op(self.cpu_milli, other.cpu_milli);
        self.memory = op(self.memory, other.memory);
        self.ephemeral_storage = op(self.ephemeral_storage, other.ephemeral_storage);
        for (name, amount) in &other.extended {
            let slot = self.extended.entry(name.clone()).or_insert(0);
            *slot = op(*slot, *amount);
        }
    }
}

/// The `pods` entry of a resource list: how many pods a node takes.
#[must_use]
pub fn pod_capacity(list: &BTreeMap<String, Text>) -> i64 {
    list.get("pods").map_or(0, whole)
}

/// What the pod needs at its peak: the containers together, or the largest init container with the sidecars started
/// before it, whichever is more; plus overhead.
#[must_use]
pub fn pod_requests(spec: &PodSpec) -> Resources {
    sum_pod(spec, |container| requests(container.resources.as_ref()))
}

/// As [`pod_requests`], with a small amount assumed where a container asks for no CPU or memory. Used by scores only.
#[must_use]
pub fn pod_requests_nonzero(spec: &PodSpec) -> Resources {
    sum_pod(spec, |container| {
        let mut amount = requests(container.resources.as_ref());
        let asked = |name: &str| {
            let list = container.resources.as_ref().and_then(|r| r.requests.as_ref());
            list.is_some_and(|list| list.contains_key(name))
        };
        if !asked("cpu") {
            amount.cpu_milli = DEFAULT_CPU_MILLI;
        }
        if !asked("memory") {
            amount.memory = DEFAULT_MEMORY_BYTES;
        }
        amount
    })
}

fn sum_pod(spec: &PodSpec, of: impl Fn(&Container) -> Resources) -> Resources {
    let mut total = Resources::default();
    for container in &spec.containers {
        total.add(&of(container));
    }
    let mut sidecars = Resources::default();
    let mut init_peak = Resources::default();
    for container in spec.init_containers.iter().flatten() {
        let amount = of(container);
        let mut at_this_step = sidecars.clone();
        at_this_step.add(&amount);
        init_peak.raise_to(&at_this_step);
        if container.restart_policy.as_deref() == Some("Always") {
            sidecars.add(&amount);
        }
    }
    total.add(&sidecars);
    total.raise_to(&init_peak);
    if let Some(overhead) = &spec.overhead {
        total.add(&Resources::from_list(overhead));
    }
    total
}

fn requests(resources: Option<&ResourceRequirements>) -> Resources {
    resources.and_then(|r| r.requests.as_ref()).map(Resources::from_list).unwrap_or_default()
}

fn whole(text: &Text) -> i64 {
    text.0.parse::<Quantity>().map_or(0, |q| q.value())
}

fn milli(text: &Text) -> i64 {
    text.0.parse::<Quantity>().map_or(0, |q| q.milli())
}
