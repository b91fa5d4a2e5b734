//! Requests and limits.

use super::super::at::{At, Out};
use super::super::read::map;
use crate::names;
use crate::quantity::Quantity;
use crate::{Object, Value};

/// `resources` of a container.
pub(super) fn requirements(out: &mut Out, at: At<'_>, resources: &Value) {
    let (limits_at, requests_at) = (at.child("limits"), at.child("requests"));
    let limits = map(resources, "limits");
    let requests = map(resources, "requests");
    let (mut huge, mut plain) = (false, false);
    for (name, amount) in limits.into_iter().flatten() {
        amount_of(out, limits_at.key(name), name, amount);
        huge |= name.starts_with("hugepages-");
        plain |= name == "cpu" || name == "memory";
    }
    for (name, amount) in requests.into_iter().flatten() {
        let request = amount_of(out, requests_at.key(name), name, amount);
        huge |= name.starts_with("hugepages-");
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

/// Amounts of what containers use: the overhead of a pod or of a runtime class.
pub(crate) fn resource_list(out: &mut Out, at: At<'_>, amounts: &Object) {
    for (name, amount) in amounts {
        amount_of(out, at.key(name), name, amount);
    }
}

/// Whether a node may promise more of it than it has.
pub(crate) fn overcommits(name: &str) -> bool {
    is_native(name) && !name.starts_with("hugepages-")
}

fn is_native(name: &str) -> bool {
    !name.contains('/') || name.split('/').next().is_some_and(|p| p == "kubernetes.io" || p.ends_with(".kubernetes.io"))
}

/// Checks name and amount of one resource.
fn amount_of(out: &mut Out, at: At<'_>, name: &str, amount: &Value) -> Option<Quantity> {
    if !matches!(name, "cpu" | "memory" | "ephemeral-storage") {
        resource_name(out, at, name);
    }
    let text = amount.as_str().map_or_else(|| amount.to_string(), str::to_owned);
    let Ok(quantity) = Quantity::parse(&text) else {
        let detail = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'";
        out.invalid(at, text, detail);
        return None;
    };
    if quantity.signum() < 0 {
        out.invalid(at, quantity.to_string(), "must be greater than or equal to 0");
    } else if !is_native(name) && quantity.milli() % 1000 != 0 {
        out.invalid(at, quantity.to_string(), "must be an integer");
    }
    Some(quantity)
}

fn resource_name(out: &mut Out, at: At<'_>, name: &str) {
    let found = names::qualified_name(name);
    if !found.is_empty() {
        out.invalid_each(at, name, found);
        return;
    }
    if !name.contains('/') && !name.starts_with("hugepages-") {
        out.invalid(at, name, "must be a standard resource for containers");
    } else if !is_native(name) && name.starts_with("requests.") {
        out.invalid(at, name, "doesn't follow extended resource name standard");
    }
}
