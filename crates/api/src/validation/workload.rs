//! Deployments and ReplicaSets: selectors against templates, strategies, counts.

use super::at::{At, Out};
use super::read::{map, number, some, text};
use super::{formats, pod, selector};
use crate::Value;

const UNSET: Value = Value::Null;

/// A deployment's spec.
pub(super) fn deployment(out: &mut Out, object: &Value) {
    let at = At::Root("spec");
    let spec = some(object, "spec").unwrap_or(&UNSET);
    common(out, at, spec);
    strategy(out, at.child("strategy"), some(spec, "strategy").unwrap_or(&UNSET));
    out.non_negative(at.child("minReadySeconds"), number(spec, "minReadySeconds"));
    out.non_negative(at.child("revisionHistoryLimit"), number(spec, "revisionHistoryLimit"));
    if let Some(seconds) = number(spec, "progressDeadlineSeconds") {
        out.non_negative(at.child("progressDeadlineSeconds"), Some(seconds));
        if seconds <= number(spec, "minReadySeconds").unwrap_or(0) {
            out.invalid(at.child("progressDeadlineSeconds"), seconds, "must be greater than minReadySeconds");
        }
    }
}

/// A replica set's spec.
pub(super) fn replica_set(out: &mut Out, object: &Value) {
    let at = At::Root("spec");
    let spec = some(object, "spec").unwrap_or(&UNSET);
    common(out, at, spec);
    out.non_negative(at.child("minReadySeconds"), number(spec, "minReadySeconds"));
}

/// Replicas, selector and template.
fn common(out: &mut Out, at: At<'_>, spec: &Value) {
    out.non_negative(at.child("replicas"), number(spec, "replicas"));
    let selector_at = at.child("selector");
    let found = some(spec, "selector");
    match found {
        None => out.required(selector_at, ""),
        Some(found) => {
            selector::label_selector(out, selector_at, found);
            if selector::is_empty(found) {
                // Upstream says "deployment" of replica sets too.
                out.invalid_of(
                    selector_at,
                    "*meta/v1.LabelSelector",
                    found,
                    "empty selector is invalid for deployment",
                );
            }
        }
    }
    let (at, template) = (at.child("template"), some(spec, "template").unwrap_or(&UNSET));
    // Without a selector nothing is selected, which is no match either; an empty one selects everything.
    if found.is_none_or(|s| !selector::is_empty(s) && !selector::matches(s, labels_of(template))) {
        no_match(out, at, template);
    }
    pod::template(out, at, template);
    lasting(out, at, template, "ReplicaSet");
}

/// The labels of a template.
pub(super) fn labels_of(template: &Value) -> Option<&crate::Object> {
    some(template, "metadata").and_then(|m| map(m, "labels"))
}

/// The template's pods would not be the workload's own.
pub(super) fn no_match(out: &mut Out, at: At<'_>, template: &Value) {
    let detail = "`selector` does not match template `labels`";
    let labels = some(template, "metadata").and_then(|m| m.get("labels"));
    out.invalid_of(at.child("metadata.labels"), "map:string", labels, detail);
}

/// Pods of a workload that never ends do not end either.
pub(super) fn lasting(out: &mut Out, at: At<'_>, template: &Value, kind: &str) {
    let spec = some(template, "spec").unwrap_or(&UNSET);
    let policy = text(spec, "restartPolicy");
    if matches!(policy, "OnFailure" | "Never") {
        out.not_supported(at.child("spec.restartPolicy"), policy, &["Always"]);
    }
    if number(spec, "activeDeadlineSeconds").is_some() {
        let detail = format!("activeDeadlineSeconds in {kind} is not Supported");
        out.forbidden(at.child("spec.activeDeadlineSeconds"), &detail);
    }
}

fn strategy(out: &mut Out, at: At<'_>, strategy: &Value) {
    let rolling = some(strategy, "rollingUpdate");
    match (text(strategy, "type"), rolling) {
        ("Recreate", Some(_)) => {
            out.forbidden(at.child("rollingUpdate"), "may not be specified when strategy `type` is 'Recreate'");
        }
        ("Recreate", None) => {}
        ("RollingUpdate", None) => {
            out.required(at.child("rollingUpdate"), "this should be defaulted and never be nil");
        }
        ("RollingUpdate", Some(rolling)) => {
            let at = at.child("rollingUpdate");
            let unavailable = amount(out, at.child("maxUnavailable"), rolling.get("maxUnavailable"));
            let surge = amount(out, at.child("maxSurge"), rolling.get("maxSurge"));
            let shown = || rolling.get("maxUnavailable").cloned().unwrap_or_default();
            if unavailable.as_ref().is_some_and(Amount::is_zero) {
                if surge.is_some_and(|s| s.is_zero()) {
                    out.invalid(at.child("maxUnavailable"), shown(), "may not be 0 when `maxSurge` is 0");
                }
            } else if matches!(unavailable, Some(Amount::Percent(n)) if n > 100) {
                out.invalid(at.child("maxUnavailable"), shown(), "must not be greater than 100%");
            }
        }
        _ => out.not_listed_of(at, "apps/v1.DeploymentStrategy", strategy, &["Recreate", "RollingUpdate"]),
    }
}

/// A count or a share of the replicas.
#[derive(Debug, PartialEq, Eq)]
enum Amount {
    Number(i64),
    Percent(i64),
}

impl Amount {
    fn is_zero(&self) -> bool {
        matches!(self, Self::Number(0) | Self::Percent(0))
    }
}

fn amount(out: &mut Out, at: At<'_>, value: Option<&Value>) -> Option<Amount> {
    match value? {
        Value::String(text) => {
            let percent = formats::percent(text);
            if percent.is_none() {
                let detail = "a valid percent string must be a numeric string followed by an ending '%' \
                    (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')";
                out.invalid(at, text.as_str(), detail);
            }
            percent.map(Amount::Percent)
        }
        other => {
            let number = other.as_i64()?;
            out.non_negative(at, Some(number));
            Some(Amount::Number(number))
        }
    }
}

/// A count, or a share of at most 100%; says whether it is none.
pub(super) fn amount_or_share(out: &mut Out, at: At<'_>, value: Option<&Value>) -> bool {
    let found = amount(out, at, value);
    if matches!(found, Some(Amount::Percent(n)) if n > 100) {
        out.invalid(at, value.cloned().unwrap_or_default(), "must not be greater than 100%");
    }
    found.is_none_or(|a| a.is_zero())
}

/// The selector says which pods are the workload's own: it stays.
pub(super) fn selector_unchanged(out: &mut Out, new: &Value, old: &Value) {
    let of = |object| some(object, "spec").and_then(|s| s.get("selector"));
    out.immutable(At::Root("spec.selector"), "*meta/v1.LabelSelector", of(new), of(old));
}

/// Counts that are not negative, and none above what it is a part of.
pub(super) fn status(out: &mut Out, new: &Value, old: &Value) {
    let at = At::Root("status");
    let Some(status) = some(new, "status") else { return };
    for key in [
        "observedGeneration",
        "replicas",
        "updatedReplicas",
        "fullyLabeledReplicas",
        "readyReplicas",
        "availableReplicas",
        "unavailableReplicas",
        "terminatingReplicas",
        "collisionCount",
    ] {
        out.non_negative(at.child(key), number(status, key));
    }
    let count = |key| number(status, key).unwrap_or(0);
    for key in ["updatedReplicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas"] {
        if count(key) > count("replicas") {
            out.invalid(at.child(key), count(key), "cannot be greater than status.replicas");
        }
    }
    if count("availableReplicas") > count("readyReplicas") {
        out.invalid(at.child("availableReplicas"), count("availableReplicas"), "cannot be greater than readyReplicas");
    }
    collisions(out, new, old);
}

/// A name that collided once is never tried again.
pub(super) fn collisions(out: &mut Out, new: &Value, old: &Value) {
    let count = |object| some(object, "status").and_then(|s| number(s, "collisionCount")).unwrap_or(0);
    if count(new) < count(old) {
        out.invalid(At::Root("status.collisionCount"), count(new), "cannot be decremented");
    }
}
