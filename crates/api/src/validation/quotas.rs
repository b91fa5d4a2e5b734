//! Limit ranges and resource quotas.

use std::collections::BTreeMap;

use super::at::{At, Out};
use super::pod;
use super::read::{Seen, list, map, repeats, some, text};
use crate::field::Error;
use crate::names;
use crate::quantity::Quantity;
use crate::{Object, Value};

const UNSET: Value = Value::Null;
const POD_SCOPES: &[&str] =
    &["Terminating", "NotTerminating", "BestEffort", "NotBestEffort", "PriorityClass", "CrossNamespacePodAffinity"];
/// What quotas count without `count/` in front.
const STANDARD: &[&str] = &[
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "persistentvolumeclaims",
    "configmaps",
    "services.nodeports",
    "services.loadbalancers",
];
/// What only whole pods can use up.
const COMPUTE: &[&str] = &["pods", "cpu", "memory", "limits.cpu", "limits.memory", "requests.cpu", "requests.memory"];
/// Resources that are counted one by one.
const WHOLE: &[&str] = &[
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];

fn parsed(amount: &Value) -> Option<Quantity> {
    Quantity::parse(amount.as_str()?).ok()
}

/// The amounts under `key` of a limit.
fn amounts(item: &Value, key: &str) -> BTreeMap<String, Quantity> {
    let found = map(item, key).into_iter().flatten();
    found.filter_map(|(name, amount)| Some((name.clone(), parsed(amount)?))).collect()
}

/// A limit range.
pub(super) fn limit_range(out: &mut Out, object: &Value) {
    let at = At::Root("spec.limits");
    let mut types = Seen::new();
    for (index, item) in list(some(object, "spec").unwrap_or(&UNSET), "limits").iter().enumerate() {
        let at = at.index(index);
        let kind = text(item, "type");
        limit_type(out, at.child("type"), kind);
        if repeats(&mut types, kind) {
            out.duplicate(at.child("type"), kind);
        }
        let pod = kind == "Pod";
        for key in ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"] {
            let Some(found) = map(item, key) else { continue };
            if pod && key.starts_with("default") {
                if !found.is_empty() {
                    out.forbidden(at.child(key), "may not be specified when `type` is 'Pod'");
                }
            } else {
                limited_names(out, at.child(key), kind, found);
            }
        }
        let bounds_storage = |key| map(item, key).is_some_and(|m| m.contains_key("storage"));
        if kind == "PersistentVolumeClaim" && !bounds_storage("min") && !bounds_storage("max") {
            let detail = "either minimum or maximum storage value is required, but neither was provided";
            out.required(at.child("limits"), detail);
        }
        limit_order(out, at, item);
    }
}

fn limit_type(out: &mut Out, at: At<'_>, kind: &str) {
    let found = names::qualified_name(kind);
    if !found.is_empty() {
        out.invalid_each(at, kind, found);
    } else if !kind.contains('/') && !["Pod", "Container", "PersistentVolumeClaim"].contains(&kind) {
        out.invalid(at, kind, "must be a standard limit type or fully qualified");
    }
}

fn limited_names(out: &mut Out, at: At<'_>, kind: &str, amounts: &Object) {
    for name in amounts.keys() {
        let at = at.key(name);
        resource_name(out, at, name);
        if matches!(kind, "Pod" | "Container") {
            container_name(out, at, name);
        }
    }
}

/// A name of a resource, for whatever it is counted.
pub(super) fn resource_name(out: &mut Out, at: At<'_>, name: &str) {
    let found = names::qualified_name(name);
    if !found.is_empty() {
        out.invalid_each(at, name, found);
    } else if !name.contains('/') && !is_standard(name) && name != "storage" {
        out.invalid(at, name, "must be a standard resource type or fully qualified");
    }
}

/// What containers can ask for, besides being a name of a resource.
pub(super) fn container_name(out: &mut Out, at: At<'_>, name: &str) {
    let standard = ["cpu", "memory", "ephemeral-storage"].contains(&name) || name.starts_with("hugepages-");
    if !name.contains('/') && !standard {
        out.invalid(at, name, "must be a standard resource for containers");
    } else if name.contains('/') && !name.contains("kubernetes.io/") && name.starts_with("requests.") {
        out.invalid(at, name, "doesn't follow extended resource name standard");
    }
}

/// Which amounts may not be above which.
fn limit_order(out: &mut Out, at: At<'_>, item: &Value) {
    let keys = ["min", "max", "default", "defaultRequest", "maxLimitRequestRatio"];
    let [min, max, default, request, ratio] = keys.map(|key| amounts(item, key));
    let names: std::collections::BTreeSet<&String> =
        [&min, &max, &default, &request, &ratio].into_iter().flat_map(BTreeMap::keys).collect();
    for name in names {
        let [min, max, default, request, ratio] = [&min, &max, &default, &request, &ratio].map(|m| m.get(name));
        let mut above =
            |a: Option<&Quantity>, b: Option<&Quantity>, field: &str, shown: Option<&Quantity>, what: [&str; 2]| {
                if let (Some(a), Some(b), Some(shown)) = (a, b, shown)
                    && a > b
                {
                    let detail = format!("{} value {a} is greater than {} value {b}", what[0], what[1]);
                    out.invalid(at.child(field).key(name), shown.to_string(), &detail);
                }
            };
        above(min, max, "min", min, ["min", "max"]);
        above(min, request, "defaultRequest", request, ["min", "default request"]);
        above(request, max, "defaultRequest", request, ["default request", "max"]);
        above(request, default, "defaultRequest", request, ["default request", "default limit"]);
        above(min, default, "default", min, ["min", "default"]);
        above(default, max, "default", max, ["default", "max"]);
        ratios(out, at.child("maxLimitRequestRatio").key(name), ratio, min, max);
        if let (Some(default), Some(request)) = (default, request)
            && !pod::overcommits(name)
            && default != request
        {
            let detail = format!("default value {default} must equal to defaultRequest value {request} in {name}");
            out.invalid(at.child("defaultRequest").key(name), request.to_string(), &detail);
        }
    }
}

fn ratios(out: &mut Out, at: At<'_>, ratio: Option<&Quantity>, min: Option<&Quantity>, max: Option<&Quantity>) {
    let Some(ratio) = ratio else { return };
    if ratio.milli() < 1000 {
        out.invalid(at, ratio.to_string(), &format!("ratio {ratio} is less than 1"));
    }
    let (Some(min), Some(max)) = (min, max) else { return };
    #[expect(clippy::cast_precision_loss, reason = "upstream compares floating-point numbers, and prints one")]
    let (most, wanted) = (max.milli() as f64 / min.milli() as f64, ratio.milli() as f64 / 1000.0);
    if most < wanted {
        out.invalid(at, ratio.to_string(), &format!("ratio {ratio} is greater than max/min = {most:.6}"));
    }
}

/// A resource quota.
pub(super) fn resource_quota(out: &mut Out, object: &Value) {
    let spec = some(object, "spec").unwrap_or(&UNSET);
    let at = At::Root("spec");
    hard(out, at.child("hard"), map(spec, "hard"));
    let mut names: Vec<&str> = map(spec, "hard").into_iter().flatten().map(|(name, _)| name.as_str()).collect();
    // Every scope covers the others.
    names.retain(|name| is_standard(name));
    let scopes: Vec<&str> = list(spec, "scopes").iter().filter_map(Value::as_str).collect();
    let scopes_at = at.child("scopes");
    let shown = || spec.get("scopes").cloned().unwrap_or_default();
    for scope in &scopes {
        if !is_scope(scope) {
            out.add(|| Error::invalid(&scopes_at.path(), shown(), "unsupported scope"));
        }
        for _ in names.iter().filter(|name| !covers(scope, name)) {
            out.add(|| Error::invalid(&scopes_at.path(), shown(), "unsupported scope applied to resource"));
        }
        if out.is_full() {
            return;
        }
    }
    for pair in [["BestEffort", "NotBestEffort"], ["Terminating", "NotTerminating"]] {
        if pair.iter().all(|scope| scopes.contains(scope)) {
            out.invalid(scopes_at, shown(), "conflicting scopes");
        }
    }
    if let Some(selector) = some(spec, "scopeSelector") {
        scope_selector(out, at.child("scopeSelector"), selector, &names);
    }
}

fn hard(out: &mut Out, at: At<'_>, amounts: Option<&Object>) {
    for (name, amount) in amounts.into_iter().flatten() {
        let at = at.key(name);
        resource_name(out, at, name);
        if !name.contains('/') && !is_standard(name) {
            out.invalid(at, name.as_str(), "must be a standard resource for quota");
        }
        self::amount(out, at, name, amount);
    }
}

/// An amount of a resource: none is negative, and some are counted one by one.
pub(super) fn amount(out: &mut Out, at: At<'_>, name: &str, amount: &Value) {
    let Some(quantity) = parsed(amount) else { return };
    if quantity.signum() < 0 {
        out.invalid(at, quantity.to_string(), "must be greater than or equal to 0");
    }
    let extended = name.contains('/') && !name.contains("kubernetes.io/") && !name.starts_with("requests.");
    if (WHOLE.contains(&name) || extended) && quantity.milli() % 1000 != 0 {
        out.invalid(at, quantity.to_string(), "must be an integer");
    }
}

fn is_standard(name: &str) -> bool {
    STANDARD.contains(&name) || name.starts_with("hugepages-") || name.starts_with("requests.hugepages-")
}

fn is_scope(scope: &str) -> bool {
    POD_SCOPES.contains(&scope) || scope == "VolumeAttributesClass"
}

/// Whether a scope makes sense for a resource; names that are not standard are anybody's.
fn covers(scope: &str, name: &str) -> bool {
    match scope {
        _ if !is_standard(name) => true,
        "BestEffort" => name == "pods",
        "VolumeAttributesClass" => matches!(name, "persistentvolumeclaims" | "requests.storage"),
        _ if POD_SCOPES.contains(&scope) => COMPUTE.contains(&name),
        _ => true,
    }
}

fn scope_selector(out: &mut Out, at: At<'_>, selector: &Value, names: &[&str]) {
    let expressions = at.child("matchExpressions");
    for requirement in list(selector, "matchExpressions") {
        let at = expressions;
        let (scope, operator) = (text(requirement, "scopeName"), text(requirement, "operator"));
        if !is_scope(scope) {
            out.invalid(at.child("scopeName"), scope, "unsupported scope");
        }
        for _ in names.iter().filter(|name| !covers(scope, name)) {
            if out.is_full() {
                return;
            }
            out.invalid_of(at, "*core/v1.ScopeSelector", selector, "unsupported scope applied to resource");
        }
        let flag = POD_SCOPES.contains(&scope) && scope != "PriorityClass";
        if flag && operator != "Exists" {
            let detail = "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, \
                ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or \
                ResourceQuotaScopeCrossNamespacePodAffinity";
            out.invalid(at.child("operator"), operator, detail);
        }
        let values = list(requirement, "values");
        match operator {
            "In" | "NotIn" if values.is_empty() => {
                let detail = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
                out.required(at.child("values"), detail);
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let detail = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector";
                out.invalid(at.child("values"), values.to_vec(), detail);
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => out.invalid(at.child("operator"), other, "not a valid selector operator"),
        }
    }
}

/// The scopes of a quota stay: what it has counted would mean something else.
pub(super) fn resource_quota_update(out: &mut Out, new: &Value, old: &Value) {
    let spec = |object| some(object, "spec").unwrap_or(&UNSET);
    let sorted = |object| {
        let mut scopes: Vec<String> = list(spec(object), "scopes").iter().map(ToString::to_string).collect();
        scopes.sort_unstable();
        scopes
    };
    if sorted(new) != sorted(old) {
        out.invalid_of(At::Root("scopes"), "[]string", spec(new).get("scopes"), "field is immutable");
    }
    let selector = |object| spec(object).get("scopeSelector");
    out.immutable(At::Root("scopeSelector"), "*core/v1.ScopeSelector", selector(new), selector(old));
}

/// What a quota counts.
pub(super) fn resource_quota_status(out: &mut Out, new: &Value) {
    let status = some(new, "status").unwrap_or(&UNSET);
    let at = At::Root("status");
    hard(out, at.child("hard"), map(status, "hard"));
    hard(out, at.child("used"), map(status, "used"));
}
