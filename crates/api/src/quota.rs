//! What objects use up of a resource quota: pure sums over object values, for the API server that reserves and for a
//! controller that recalculates.

mod pods;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::kinds::KindInfo;
use crate::quantity::{Format, Quantity};
use crate::value::{get, i64_at, list_at, map_at, str_at};
use crate::{Object, Value};

/// Amounts by the names that quotas give them.
pub type Usage = BTreeMap<String, Quantity>;

/// Core kinds that quotas also count by their bare name.
const BARE: &[&str] = &["configmaps", "replicationcontrollers", "resourcequotas", "secrets"];
const BY_CLASS: &str = ".storageclass.storage.k8s.io/";
/// Where a claim named its class before there was a field for it; it is still heeded first.
pub(crate) const CLASS_ANNOTATION: &str = "volume.beta.kubernetes.io/storage-class";
const BY_DEVICE: &str = ".deviceclass.resource.k8s.io/devices";
/// Devices of a request for all that there are.
const ALL_DEVICES: i64 = 32;

fn count(n: i64) -> Quantity {
    Quantity::from_value(n, Format::DecimalSi)
}

/// A map of quantities, as usage.
#[must_use]
pub fn amounts(map: Option<&Object>) -> Usage {
    let parse = |(name, amount): (&String, &Value)| Some((name.clone(), Quantity::parse(amount.as_str()?).ok()?));
    map.into_iter().flatten().filter_map(parse).collect()
}

/// Usage as a map of quantities.
#[must_use]
pub fn object(usage: &Usage) -> Object {
    usage.iter().map(|(name, amount)| (name.clone(), amount.to_string().into())).collect()
}

/// Adds `other`.
pub fn add(usage: &mut Usage, other: &Usage) {
    for (name, amount) in other {
        let sum = usage.get(name).map_or(*amount, |known| known.plus(*amount));
        usage.insert(name.clone(), sum);
    }
}

/// `new` without `old`; what is equal is left out.
#[must_use]
pub fn difference(new: &Usage, old: &Usage) -> Usage {
    let mut all = new.clone();
    for (name, amount) in old {
        let rest = all.get(name).copied().unwrap_or(Quantity::ZERO).minus(*amount);
        all.insert(name.clone(), rest);
    }
    all.retain(|_, amount| amount.signum() != 0);
    all
}

/// `count/deployments.apps`
fn counted(kind: &KindInfo) -> String {
    format!("count/{}", kind.qualified_resource())
}

/// Whether objects of `kind` can use up `resource`.
#[must_use]
pub fn concerns(kind: &KindInfo, resource: &str) -> bool {
    // Events come and go by themselves: no quota holds them up.
    if !kind.namespaced || kind.create_only() || kind.is_converted() || kind.is("", "Event") {
        return false;
    }
    if resource == counted(kind) {
        return true;
    }
    match (kind.group, kind.resource) {
        ("", "pods") => pods::concerns(resource),
        ("", "persistentvolumeclaims") => {
            matches!(resource, "persistentvolumeclaims" | "requests.storage") || resource.contains(BY_CLASS)
        }
        ("", "services") => matches!(resource, "services" | "services.nodeports" | "services.loadbalancers"),
        ("", bare) => BARE.contains(&bare) && resource == bare,
        ("resource.k8s.io", "resourceclaims") => resource.ends_with(BY_DEVICE),
        _ => false,
    }
}

/// Whether an update of `kind` may change what its object uses.
#[must_use]
pub fn changes_with_updates(kind: &KindInfo) -> bool {
    kind.group.is_empty() && matches!(kind.resource, "persistentvolumeclaims" | "services")
}

/// What the object uses, its own count included. `now` is in seconds of Unix time.
#[must_use]
pub fn usage(kind: &KindInfo, object: &Value, now: i64) -> Usage {
    let mut usage = Usage::from([(counted(kind), count(1))]);
    match (kind.group, kind.resource) {
        ("", "pods") => add(&mut usage, &pods::usage(object, now)),
        ("", "persistentvolumeclaims") => claim(&mut usage, object),
        ("", "services") => service(&mut usage, object),
        ("", bare) if BARE.contains(&bare) => drop(usage.insert(bare.to_owned(), count(1))),
        ("resource.k8s.io", "resourceclaims") => devices(&mut usage, object),
        _ => {}
    }
    usage
}

fn claim(usage: &mut Usage, claim: &Value) {
    // Quotas count whole bytes.
    let amount = |path: &str| Some(Quantity::parse(str_at(claim, path)?).ok()?.rounded_up());
    usage.insert("persistentvolumeclaims".to_owned(), count(1));
    let wanted = amount("spec.resources.requests.storage");
    // What is being given counts where it is more than what is asked for.
    let storage = wanted.map(|wanted| amount("status.allocatedResources.storage").map_or(wanted, |a| wanted.max(a)));
    if let Some(storage) = storage {
        usage.insert("requests.storage".to_owned(), storage);
    }
    let annotations = map_at(claim, "metadata.annotations");
    let of_old = annotations.and_then(|a| a.get(CLASS_ANNOTATION)).and_then(Value::as_str);
    let class = of_old.or_else(|| str_at(claim, "spec.storageClassName")).unwrap_or_default();
    if !class.is_empty() {
        usage.insert(format!("{class}{BY_CLASS}persistentvolumeclaims"), count(1));
        if let Some(storage) = storage {
            usage.insert(format!("{class}{BY_CLASS}requests.storage"), storage);
        }
    }
}

fn service(usage: &mut Usage, service: &Value) {
    let ports = i64::try_from(list_at(service, "spec.ports").len()).unwrap_or(i64::MAX);
    let kind = str_at(service, "spec.type").unwrap_or_default();
    let with_ports = get(service, "spec.allocateLoadBalancerNodePorts") != Some(&Value::Bool(false));
    usage.insert("services".to_owned(), count(1));
    usage.insert("services.loadbalancers".to_owned(), count(i64::from(kind == "LoadBalancer")));
    let node_ports = kind == "NodePort" || (kind == "LoadBalancer" && with_ports);
    usage.insert("services.nodeports".to_owned(), count(if node_ports { ports } else { 0 }));
}

fn devices(usage: &mut Usage, claim: &Value) {
    let wanted = |request: &Value| match str_at(request, "allocationMode") {
        Some("All") => ALL_DEVICES,
        _ => i64_at(request, "count").unwrap_or(1),
    };
    for request in list_at(claim, "spec.devices.requests") {
        let mut by_class: BTreeMap<String, i64> = BTreeMap::new();
        let alternatives = list_at(request, "firstAvailable");
        for one in get(request, "exactly").into_iter().chain(alternatives) {
            let class = str_at(one, "deviceClassName").unwrap_or_default();
            // Of alternatives one is taken: the largest of each class is held back.
            let most = by_class.entry(format!("{class}{BY_DEVICE}")).or_default();
            *most = (*most).max(wanted(one));
        }
        add(usage, &by_class.into_iter().map(|(name, n)| (name, count(n))).collect());
    }
}

/// Requests or limits (`part`) of a pod's containers together, without what is stated for the pod.
#[must_use]
pub fn containers_total(pod: &Value, part: &str) -> Usage {
    pods::of_containers(pod, part)
}

/// `requests` or `limits` of a whole pod, as a scheduler counts them: the most of starting and running, and its overhead.
#[must_use]
pub fn pod_total(pod: &Value, part: &str) -> Usage {
    pods::total(pod, part)
}

/// A scope that objects may be in, as a quota or the server's configuration selects it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope<'a> {
    /// `PriorityClass`, `Terminating`, ...
    pub name: &'a str,
    /// `In`, `NotIn`, `Exists`, `DoesNotExist`.
    pub operator: &'a str,
    values: &'a [Value],
}

impl<'a> Scope<'a> {
    /// Reads a ScopedResourceSelectorRequirement.
    #[must_use]
    pub fn of(requirement: &'a Value) -> Self {
        let text = |key| str_at(requirement, key).unwrap_or_default();
        Self { name: text("scopeName"), operator: text("operator"), values: list_at(requirement, "values") }
    }

    /// The scopes of a quota's spec.
    pub fn all(spec: &'a Value) -> impl Iterator<Item = Self> {
        let plain = list_at(spec, "scopes").iter().filter_map(Value::as_str);
        let plain = plain.map(|name| Self { name, operator: "Exists", values: &[] });
        plain.chain(list_at(spec, "scopeSelector.matchExpressions").iter().map(Self::of))
    }

    /// Whether the object is in it.
    #[must_use]
    pub fn holds(&self, kind: &KindInfo, object: &Value) -> bool {
        match (kind.group, kind.resource) {
            ("", "pods") => pods::in_scope(object, self.name, self.operator, self.values),
            ("", "persistentvolumeclaims") if self.name == "VolumeAttributesClass" => {
                let classes = attributes_classes(object);
                let holds = |class: &&str| named(class, self.operator, self.values);
                if classes.is_empty() { holds(&"") } else { classes.iter().any(holds) }
            }
            _ => false,
        }
    }
}

impl std::fmt::Display for Scope<'_> {
    /// As Go prints the structure: `{PriorityClass In [a b]}`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let values: Vec<&str> = self.values.iter().filter_map(Value::as_str).collect();
        write!(f, "{{{} {} [{}]}}", self.name, self.operator, values.join(" "))
    }
}

/// Whether a quota with this spec is about the object.
#[must_use]
pub fn matches(spec: &Value, kind: &KindInfo, object: &Value) -> bool {
    let hard = map_at(spec, "hard");
    let about = hard.into_iter().flatten().any(|(name, _)| concerns(kind, name));
    about && Scope::all(spec).all(|scope| scope.holds(kind, object))
}

/// The classes of attributes that a claim asks for, has, and is being given.
fn attributes_classes(claim: &Value) -> Vec<&str> {
    let paths = [
        "spec.volumeAttributesClassName",
        "status.currentVolumeAttributesClassName",
        "status.modifyVolumeStatus.targetVolumeAttributesClassName",
    ];
    paths.into_iter().filter_map(|path| str_at(claim, path)).filter(|class| !class.is_empty()).collect()
}

/// What one quota counts, and how.
#[derive(Debug, Clone)]
pub struct Tally<'a> {
    spec: &'a Value,
    /// The limits.
    pub hard: Usage,
}

impl<'a> Tally<'a> {
    /// The tally of a quota with this spec.
    #[must_use]
    pub fn new(spec: &'a Value) -> Self {
        Self { spec, hard: amounts(map_at(spec, "hard")) }
    }

    /// What it limits that objects of `kind` can use up.
    pub fn limited_of<'k>(&'k self, kind: &'k KindInfo) -> impl Iterator<Item = &'k String> {
        self.hard.keys().filter(move |name| concerns(kind, name))
    }

    /// What the object uses of that; nothing where the quota is not about it. `now` is in seconds of Unix time.
    #[must_use]
    pub fn of(&self, kind: &KindInfo, object: &Value, now: i64) -> Usage {
        if !matches(self.spec, kind, object) {
            return Usage::new();
        }
        let mut used = usage(kind, object, now);
        used.retain(|name, _| self.hard.contains_key(name));
        used
    }
}

/// Whether objects of `kind` count one each, whatever they say.
#[must_use]
pub fn counts_alike(kind: &KindInfo) -> bool {
    !matches!(
        (kind.group, kind.resource),
        ("", "pods" | "persistentvolumeclaims" | "services") | ("resource.k8s.io", "resourceclaims")
    )
}

/// Whether a name is what a scope's selector asks for.
fn named(name: &str, operator: &str, values: &[Value]) -> bool {
    let listed = values.iter().any(|v| v == name);
    match operator {
        "Exists" => !name.is_empty(),
        "DoesNotExist" => name.is_empty(),
        "In" => listed,
        "NotIn" => !listed,
        _ => false,
    }
}

/// What an object must say so that a quota can count it: `must specify limits.cpu for: a,b; requests.memory for: a`.
///
/// # Errors
/// That text.
pub fn constraints(kind: &KindInfo, object: &Value, hard: &Usage) -> Result<(), String> {
    if (kind.group, kind.resource) == ("", "pods") { pods::constraints(object, hard) } else { Ok(()) }
}

/// `pods=1,requests.cpu=500m`
#[must_use]
pub fn shown(usage: &Usage) -> String {
    usage.iter().map(|(name, amount)| format!("{name}={amount}")).collect::<Vec<_>>().join(",")
}

/// The usage of the quota `name` after `delta`, of which only what the quota limits counts.
///
/// # Errors
/// Upstream's text when it would be more than `hard` allows.
pub fn charge(name: &str, hard: &Usage, used: &Usage, delta: &Usage) -> Result<Usage, String> {
    let requested: Usage = delta.iter().filter(|(n, _)| hard.contains_key(*n)).map(|(n, a)| (n.clone(), *a)).collect();
    let mut next = used.clone();
    next.retain(|name, _| hard.contains_key(name));
    add(&mut next, &requested);
    let beyond = |name: &String| requested[name].signum() > 0 && next[name] > hard[name];
    let exceeded: Vec<&String> = requested.keys().filter(|name| beyond(name)).collect();
    if exceeded.is_empty() {
        return Ok(next);
    }
    let of = |usage: &Usage| {
        let zero = |name: &&String| (**name).clone();
        shown(&exceeded.iter().map(|n| (zero(n), usage.get(*n).copied().unwrap_or(Quantity::ZERO))).collect())
    };
    Err(format!("exceeded quota: {name}, requested: {}, used: {}, limited: {}", of(&requested), of(used), of(hard)))
}

/// Whether the pod's kind of service asks for nothing.
#[must_use]
pub fn is_best_effort(pod: &Value) -> bool {
    let asks = |container: &Value| {
        ["resources.requests", "resources.limits"].iter().any(|path| {
            let named = map_at(container, path).into_iter().flatten();
            named.into_iter().any(|(name, amount)| {
                matches!(name.as_str(), "cpu" | "memory") && amount.as_str().is_some_and(|a| a != "0")
            })
        })
    };
    let containers = ["spec.containers", "spec.initContainers"].into_iter().flat_map(|path| list_at(pod, path));
    !containers.into_iter().any(asks) && !get(pod, "spec").is_some_and(asks)
}

/// Whether something is said at `path`.
fn is_set(object: &Value, path: &str) -> bool {
    get(object, path).is_some_and(|v| !v.is_null())
}
