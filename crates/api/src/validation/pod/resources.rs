//! Requests and limits.

use serde_json::json;

use super::super::at::{At, Out};
use super::super::quotas;
use super::super::read::{list, map, some, text};
use crate::quantity::Quantity;
use crate::quota;
use crate::{Object, Value};

/// What a pod as a whole can ask for (KEP-2837); huge pages of every size.
const OF_WHOLE_PODS: &[&str] = &["cpu", "hugepages-", "memory"];

/// Whose requests and limits they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Of {
    Container,
    WholePod,
}

/// `resources` of a container.
pub(super) fn requirements(out: &mut Out, at: At<'_>, resources: &Value) {
    checked(out, at, map(resources, "limits"), map(resources, "requests"), Of::Container);
}

/// `resources` of a pod with this spec as a whole.
pub(super) fn of_whole_pod(out: &mut Out, at: At<'_>, spec: &Value) {
    let Some(whole) = some(spec, "resources") else { return };
    if some(spec, "os").is_some_and(|os| text(os, "name") == "windows") {
        out.forbidden(at, "may not be set for a windows pod");
        return;
    }
    if !list(whole, "claims").is_empty() {
        out.forbidden(at.child("claims"), "claims cannot be set for Resources at pod-level");
    }
    let (limits, requests) = (map(whole, "limits"), map(whole, "requests"));
    checked(out, at, limits, requests, Of::WholePod);
    let pod = json!({"spec": spec});
    let amount = |of: Option<&Object>, name: &str| Quantity::parse(of?.get(name)?.as_str()?).ok();
    for (key, stated) in [("requests", requests), ("limits", limits)] {
        let at = at.child(key);
        // Only huge pages are limited together; of everything else each container has its own bound.
        let total = quota::containers_total(&pod, key).into_iter();
        for (name, together) in total.filter(|(name, _)| key == "requests" || is_huge(name)) {
            if let Some(stated) = amount(stated, &name).filter(|stated| together > *stated) {
                let detail = format!("must be greater than or equal to aggregate container {key} of {together}");
                out.invalid(at.key(&name), stated.to_string(), &detail);
            }
        }
    }
    let containers_at = at.child("containers");
    for (index, container) in list(spec, "containers").iter().enumerate() {
        let at = containers_at.index(index);
        let own = some(container, "resources").and_then(|r| map(r, "limits"));
        for name in own.into_iter().flatten().map(|(name, _)| name) {
            if let (Some(own), Some(whole)) = (amount(own, name), amount(limits, name))
                && own > whole
            {
                let detail = format!("must be less than or equal to pod limits of {whole}");
                out.invalid(at.key(name).child("limits"), own.to_string(), &detail);
            }
        }
    }
}

fn checked(out: &mut Out, at: At<'_>, limits: Option<&Object>, requests: Option<&Object>, of: Of) {
    let (limits_at, requests_at) = (at.child("limits"), at.child("requests"));
    let (mut huge, mut plain) = (false, false);
    for (name, amount) in limits.into_iter().flatten() {
        amount_of(out, limits_at.key(name), name, amount, of);
        huge |= is_huge(name);
        plain |= name == "cpu" || name == "memory";
    }
    for (name, amount) in requests.into_iter().flatten() {
        let request = amount_of(out, requests_at.key(name), name, amount, of);
        huge |= is_huge(name);
        plain |= name == "cpu" || name == "memory";
        let limit = limits.and_then(|l| l.get(name)).and_then(Value::as_str);
        let Some(request) = request else { continue };
        match limit {
            Some(text) => {
                let Ok(limit) = Quantity::parse(text) else { continue };
                if !overcommits(name) && request != limit {
                    let detail = format!("must be equal to {name} limit of {limit}");
                    out.invalid(requests_at, request.to_string(), &detail);
                } else if request > limit {
                    let detail = format!("must be less than or equal to {name} limit of {limit}");
                    out.invalid(requests_at, request.to_string(), &detail);
                }
            }
            None if !overcommits(name) => {
                out.required(limits_at, "Limit must be set for non overcommitable resources");
            }
            None => {}
        }
    }
    if huge && !plain {
        out.forbidden(at, "HugePages require cpu or memory");
    }
}

/// What each pod costs its node besides its containers: of a pod, or of a runtime class. It is checked as limits are.
pub(crate) fn overhead(out: &mut Out, at: At<'_>, amounts: &Object) {
    checked(out, at, Some(amounts), None, Of::Container);
}

/// Whether a node may promise more of it than it has.
pub(crate) fn overcommits(name: &str) -> bool {
    (!name.contains('/') || name.contains("kubernetes.io/")) && !is_huge(name)
}

fn is_huge(name: &str) -> bool {
    name.starts_with("hugepages-")
}

/// Checks name and amount of one resource.
fn amount_of(out: &mut Out, at: At<'_>, name: &str, amount: &Value, of: Of) -> Option<Quantity> {
    if !matches!(name, "cpu" | "memory") {
        let before = out.count();
        quotas::resource_name(out, at, name);
        match of {
            Of::Container => quotas::container_name(out, at, name),
            Of::WholePod if out.count() == before && !is_huge(name) => out.not_supported(at, name, OF_WHOLE_PODS),
            Of::WholePod => {}
        }
    }
    let text = amount.as_str().map_or_else(|| amount.to_string(), str::to_owned);
    let Ok(quantity) = Quantity::parse(&text) else {
        let detail = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
        out.invalid(at, text, detail);
        return None;
    };
    quotas::amount(out, at, name, amount);
    if !out.any_huge_pages && has_broken_pages(name, &quantity) {
        let detail = format!("{quantity} is not positive integer multiple of {name}");
        out.invalid(at, quantity.to_string(), &detail);
    }
    Some(quantity)
}

/// Whether it is an amount of huge pages that are not whole ones.
fn has_broken_pages(name: &str, amount: &Quantity) -> bool {
    let Some(size) = name.strip_prefix("hugepages-") else { return false };
    let size = Quantity::parse(size).ok().filter(|size| size.signum() > 0 && size.milli() % 1000 == 0);
    size.is_none_or(|size| amount.value() % size.value() != 0)
}

/// Whether a container of a spec has huge pages that are not whole ones, as those may keep that had them before.
pub(crate) fn has_broken_huge_pages(spec: &Value) -> bool {
    let lists = ["containers", "initContainers", "ephemeralContainers"].into_iter();
    let resources = lists.flat_map(|key| list(spec, key)).filter_map(|container| some(container, "resources"));
    let mut amounts = resources.flat_map(|r| ["limits", "requests"].into_iter().filter_map(move |key| map(r, key)));
    amounts.any(|amounts| {
        let parsed = |amount: &Value| amount.as_str().and_then(|text| Quantity::parse(text).ok());
        amounts.iter().any(|(name, amount)| parsed(amount).is_some_and(|amount| has_broken_pages(name, &amount)))
    })
}
