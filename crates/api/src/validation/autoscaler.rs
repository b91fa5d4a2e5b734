//! Horizontal pod autoscalers (version 2, in which they are stored), and disruption budgets.

use super::at::{At, Out};
use super::conditions::conditions;
use super::read::{list, number, some, text};
use super::selector;
use super::workload::amount_or_share;
use crate::Value;
use crate::names;
use crate::quantity::Quantity;

const UNSET: Value = Value::Null;
/// The longest stabilisation window and period, in seconds.
const WINDOW_SECONDS: i64 = 3600;
const PERIOD_SECONDS: i64 = 1800;

/// Sources of metrics: type, field; in the order in which they are looked at.
const SOURCES: [(&str, &str); 5] = [
    ("Object", "object"),
    ("External", "external"),
    ("Pods", "pods"),
    ("Resource", "resource"),
    ("ContainerResource", "containerResource"),
];

/// An autoscaler.
pub(super) fn autoscaler(out: &mut Out, object: &Value) {
    let (at, spec) = (At::Root("spec"), some(object, "spec").unwrap_or(&UNSET));
    let (least, most) = (number(spec, "minReplicas"), number(spec, "maxReplicas").unwrap_or(0));
    if let Some(least) = least.filter(|n| *n < 1) {
        out.invalid(at.child("minReplicas"), least, "must be greater than or equal to 1");
    }
    if most < 1 {
        out.invalid(at.child("maxReplicas"), most, "must be greater than 0");
    }
    if least.is_some_and(|least| most < least) {
        out.invalid(at.child("maxReplicas"), most, "must be greater than or equal to `minReplicas`");
    }
    reference(out, at.child("scaleTargetRef"), some(spec, "scaleTargetRef").unwrap_or(&UNSET));
    let metrics_at = at.child("metrics");
    for (index, found) in list(spec, "metrics").iter().enumerate() {
        metric(out, metrics_at.index(index), found);
    }
    if let Some(behavior) = some(spec, "behavior") {
        for direction in ["scaleUp", "scaleDown"] {
            if let Some(rules) = some(behavior, direction) {
                scaling_rules(out, at.child("behavior").child(direction), rules);
            }
        }
    }
}

fn reference(out: &mut Out, at: At<'_>, reference: &Value) {
    for key in ["kind", "name"] {
        match text(reference, key) {
            "" => out.required(at.child(key), ""),
            found => out.invalid_each(at.child(key), found, names::path_segment(found)),
        }
    }
}

fn metric(out: &mut Out, at: At<'_>, metric: &Value) {
    let kind = text(metric, "type");
    if kind.is_empty() {
        out.required(at.child("type"), "must specify a metric source type");
    }
    let types: Vec<&str> = SOURCES.iter().map(|(kind, _)| *kind).collect();
    let expected = SOURCES.iter().find(|(name, _)| *name == kind).map(|(_, field)| *field);
    if expected.is_none() {
        out.not_supported(at.child("type"), kind, &types);
    }
    let present: Vec<&str> =
        SOURCES.iter().map(|(_, field)| *field).filter(|field| some(metric, field).is_some()).collect();
    // Only the first is looked into.
    if let Some((field, found)) = present.first().and_then(|field| Some((*field, some(metric, field)?))) {
        source(out, at.child(field), field, found);
    }
    match expected {
        Some(field) if !present.contains(&field) => {
            out.required(at.child(field), "must populate information for the given metric source");
        }
        Some(_) => {}
        // Upstream says it again.
        None => out.not_supported(at.child("type"), kind, &types),
    }
    for field in present.iter().filter(|field| present.len() > 1 && Some(**field) != expected) {
        out.forbidden(at.child(field), "must populate the given metric source only");
    }
}

fn source(out: &mut Out, at: At<'_>, field: &str, source: &Value) {
    let target = some(source, "target").unwrap_or(&UNSET);
    let target_at = at.child("target");
    if field == "object" {
        reference(out, at.child("describedObject"), some(source, "describedObject").unwrap_or(&UNSET));
    }
    if matches!(field, "object" | "pods" | "external") {
        let metric = some(source, "metric").unwrap_or(&UNSET);
        match text(metric, "name") {
            "" => out.required(at.child("metric.name"), "must specify a metric name"),
            name => out.invalid_each(at.child("metric.name"), name, names::path_segment(name)),
        }
    } else {
        if text(source, "name").is_empty() {
            out.required(at.child("name"), "must specify a resource name");
        }
        if field == "containerResource" && text(source, "container").is_empty() {
            out.required(at.child("container"), "must specify a container");
        }
    }
    self::target(out, target_at, target);
    let has = |key| some(target, key).is_some();
    match field {
        "pods" if !has("averageValue") => {
            out.required(target_at.child("averageValue"), "must specify a positive target averageValue");
        }
        "object" | "external" => match (has("value"), has("averageValue")) {
            (false, false) => {
                let detail = if field == "object" {
                    "must set either a target value or averageValue"
                } else {
                    "must set either a target value for metric or a per-pod target"
                };
                out.required(target_at.child("averageValue"), detail);
            }
            (true, true) if field == "external" => {
                let detail = "may not set both a target value for metric and a per-pod target";
                out.forbidden(target_at.child("value"), detail);
            }
            _ => {}
        },
        "resource" | "containerResource" => match (has("averageUtilization"), has("averageValue")) {
            (false, false) => {
                let detail = "must set either a target raw value or a target utilization";
                out.required(target_at.child("averageUtilization"), detail);
            }
            (true, true) => {
                let detail = "may not set both a target raw value and a target utilization";
                out.forbidden(target_at.child("averageValue"), detail);
            }
            _ => {}
        },
        _ => {}
    }
}

fn target(out: &mut Out, at: At<'_>, target: &Value) {
    let kind = text(target, "type");
    if kind.is_empty() {
        out.required(at.child("type"), "must specify a metric target type");
    }
    if !["AverageValue", "Utilization", "Value"].contains(&kind) {
        out.invalid(at.child("type"), kind, "must be either Utilization, Value, or AverageValue");
    }
    for key in ["value", "averageValue"] {
        let amount = text(target, key);
        if Quantity::parse(amount).is_ok_and(|q| q.signum() <= 0) {
            out.invalid(at.child(key), amount, "must be positive");
        }
    }
    if let Some(share) = number(target, "averageUtilization").filter(|n| *n < 1) {
        out.invalid(at.child("averageUtilization"), share, "must be greater than 0");
    }
}

fn scaling_rules(out: &mut Out, at: At<'_>, rules: &Value) {
    if let Some(seconds) = number(rules, "stabilizationWindowSeconds") {
        let at = at.child("stabilizationWindowSeconds");
        if seconds < 0 {
            out.invalid(at, seconds, "must be greater than or equal to zero");
        } else if seconds > WINDOW_SECONDS {
            out.invalid(at, seconds, "must be less than or equal to 3600");
        }
    }
    let policy = text(rules, "selectPolicy");
    if !policy.is_empty() && !["Disabled", "Max", "Min"].contains(&policy) {
        out.not_supported(at.child("selectPolicy"), policy, &["Disabled", "Max", "Min"]);
    }
    let tolerance = text(rules, "tolerance");
    if Quantity::parse(tolerance).is_ok_and(|q| q.signum() < 0) {
        out.invalid(at.child("tolerance"), tolerance, "must be greater than or equal to 0");
    }
    let policies_at = at.child("policies");
    if list(rules, "policies").is_empty() {
        out.required(policies_at, "must specify at least one Policy");
    }
    for (index, policy) in list(rules, "policies").iter().enumerate() {
        let at = policies_at.index(index);
        let kind = text(policy, "type");
        if !["Percent", "Pods"].contains(&kind) {
            out.not_supported(at.child("type"), kind, &["Percent", "Pods"]);
        }
        for (key, highest) in [("value", i64::MAX), ("periodSeconds", PERIOD_SECONDS)] {
            let value = number(policy, key).unwrap_or(0);
            if value <= 0 {
                out.invalid(at.child(key), value, "must be greater than zero");
            } else if value > highest {
                out.invalid(at.child(key), value, &format!("must be less than or equal to {highest}"));
            }
        }
    }
}

/// An autoscaler's counts.
pub(super) fn autoscaler_status(out: &mut Out, new: &Value) {
    let status = some(new, "status").unwrap_or(&UNSET);
    for key in ["currentReplicas", "desiredReplicas"] {
        out.non_negative(At::Root("status").child(key), number(status, key));
    }
}

/// A disruption budget.
pub(super) fn budget(out: &mut Out, object: &Value) {
    let (at, spec) = (At::Root("spec"), some(object, "spec").unwrap_or(&UNSET));
    let (least, most) = (some(spec, "minAvailable"), some(spec, "maxUnavailable"));
    if least.is_some() && most.is_some() {
        out.invalid_of(
            at,
            "policy/v1.PodDisruptionBudgetSpec",
            spec,
            "minAvailable and maxUnavailable cannot be both set",
        );
    }
    for (key, amount) in [("minAvailable", least), ("maxUnavailable", most)] {
        amount_or_share(out, at.child(key), amount);
    }
    if let Some(found) = some(spec, "selector") {
        selector::label_selector(out, at.child("selector"), found);
    }
    let policy = text(spec, "unhealthyPodEvictionPolicy");
    if !policy.is_empty() && !["AlwaysAllow", "IfHealthyBudget"].contains(&policy) {
        out.not_supported(at.child("unhealthyPodEvictionPolicy"), policy, &["AlwaysAllow", "IfHealthyBudget"]);
    }
}

/// A budget's counts and conditions.
pub(super) fn budget_status(out: &mut Out, new: &Value) {
    let status = some(new, "status").unwrap_or(&UNSET);
    let at = At::Root("status");
    conditions(out, at.child("conditions"), list(status, "conditions"));
    for key in ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"] {
        out.non_negative(at.child(key), number(status, key));
    }
}
