//! DaemonSets, StatefulSets, ReplicationControllers, pod templates and controller revisions.

use std::collections::HashSet;

use serde_json::json;

use super::at::{At, Out, same};
use super::read::{list, map, number, some, text};
use super::workload::{amount_or_share, collisions, labels_of, lasting, no_match};
use super::{pod, selector};
use crate::Value;

const UNSET: Value = Value::Null;

/// A daemon set's spec.
pub(super) fn daemon_set(out: &mut Out, object: &Value) {
    let at = At::Root("spec");
    let spec = some(object, "spec").unwrap_or(&UNSET);
    let found = some(spec, "selector").unwrap_or(&UNSET);
    let selector_at = at.child("selector");
    selector::label_selector(out, selector_at, found);
    let (template_at, template) = (at.child("template"), some(spec, "template").unwrap_or(&UNSET));
    // Without a selector nothing is selected, which is no match either.
    if found.is_null() || !selector::matches(found, labels_of(template)) {
        no_match(out, template_at, template);
    }
    if !found.is_null() && selector::is_empty(found) {
        out.invalid_of(selector_at, "*meta/v1.LabelSelector", found, "empty selector is invalid for daemonset");
    }
    pod::template(out, template_at, template);
    lasting(out, template_at, template, "DaemonSet");
    out.non_negative(at.child("minReadySeconds"), number(spec, "minReadySeconds"));
    daemon_set_strategy(out, at.child("updateStrategy"), some(spec, "updateStrategy").unwrap_or(&UNSET));
    out.non_negative(at.child("revisionHistoryLimit"), number(spec, "revisionHistoryLimit"));
}

fn daemon_set_strategy(out: &mut Out, at: At<'_>, strategy: &Value) {
    match (text(strategy, "type"), some(strategy, "rollingUpdate")) {
        ("OnDelete", _) => {}
        ("RollingUpdate", None) => out.required(at.child("rollingUpdate"), ""),
        ("RollingUpdate", Some(rolling)) => {
            let at = at.child("rollingUpdate");
            let (surge_at, surge) = (at.child("maxSurge"), rolling.get("maxSurge"));
            let none_unavailable = amount_or_share(out, at.child("maxUnavailable"), rolling.get("maxUnavailable"));
            let no_surge = amount_or_share(out, surge_at, surge);
            match (none_unavailable, no_surge) {
                (false, false) => {
                    let detail = "may not be set when maxUnavailable is non-zero";
                    out.invalid(surge_at, surge.cloned().unwrap_or_default(), detail);
                }
                (true, true) => out.required(at.child("maxUnavailable"), "cannot be 0 when maxSurge is 0"),
                _ => {}
            }
        }
        _ => out.not_listed_of(at, "apps/v1.DaemonSetUpdateStrategy", strategy, &["RollingUpdate", "OnDelete"]),
    }
}

/// A daemon set's counts.
pub(super) fn daemon_set_status(out: &mut Out, new: &Value, old: &Value) {
    let at = At::Root("status");
    let status = some(new, "status").unwrap_or(&UNSET);
    for key in [
        "currentNumberScheduled",
        "numberMisscheduled",
        "desiredNumberScheduled",
        "numberReady",
        "observedGeneration",
        "updatedNumberScheduled",
        "numberAvailable",
        "numberUnavailable",
        "collisionCount",
    ] {
        out.non_negative(at.child(key), number(status, key));
    }
    collisions(out, new, old);
}

/// A stateful set's spec.
pub(super) fn stateful_set(out: &mut Out, object: &Value) {
    let at = At::Root("spec");
    let spec = some(object, "spec").unwrap_or(&UNSET);
    match text(spec, "podManagementPolicy") {
        "" => out.required(at.child("podManagementPolicy"), ""),
        "OrderedReady" | "Parallel" => {}
        other => out.invalid(at.child("podManagementPolicy"), other, "must be 'OrderedReady' or 'Parallel'"),
    }
    stateful_set_strategy(out, at.child("updateStrategy"), some(spec, "updateStrategy").unwrap_or(&UNSET));
    let retention_at = at.child("persistentVolumeClaimRetentionPolicy");
    if let Some(policy) = some(spec, "persistentVolumeClaimRetentionPolicy") {
        for key in ["whenDeleted", "whenScaled"] {
            let value = text(policy, key);
            if !["Delete", "Retain"].contains(&value) {
                out.not_listed(retention_at.child(key), value, &["Retain", "Delete"]);
            }
        }
    }
    // A negative revisionHistoryLimit keeps all: there is a warning, and no error.
    for key in ["replicas", "minReadySeconds"] {
        out.non_negative(at.child(key), number(spec, key));
    }
    if let Some(ordinals) = some(spec, "ordinals") {
        out.non_negative(at.child("ordinals.start"), number(ordinals, "start"));
    }
    let selector_at = at.child("selector");
    let found = some(spec, "selector");
    match found {
        None => out.required(selector_at, ""),
        Some(found) => {
            selector::label_selector(out, selector_at, found);
            if selector::is_empty(found) {
                out.invalid_of(
                    selector_at,
                    "*meta/v1.LabelSelector",
                    found,
                    "empty selector is invalid for statefulset",
                );
            }
        }
    }
    let (template_at, template) = (at.child("template"), some(spec, "template").unwrap_or(&UNSET));
    if found.is_none_or(|s| !selector::is_empty(s) && !selector::matches(s, labels_of(template))) {
        no_match(out, template_at, template);
    }
    pod::template(out, template_at, &with_claims(template, list(spec, "volumeClaimTemplates")));
    lasting(out, template_at, template, "StatefulSet");
}

/// The template as its pods will be: each claim is a volume.
fn with_claims(template: &Value, claims: &[Value]) -> Value {
    let mut whole = template.clone();
    let Some(spec) = whole.get_mut("spec").and_then(Value::as_object_mut) else { return whole };
    let volumes = spec.entry("volumes").or_insert_with(|| json!([]));
    if volumes.is_null() {
        *volumes = json!([]);
    }
    let Some(volumes) = volumes.as_array_mut() else { return whole };
    let mut named: HashSet<String> = volumes.iter().map(|v| text(v, "name").to_owned()).collect();
    for claim in claims {
        let name = some(claim, "metadata").map_or("", |m| text(m, "name"));
        if !name.is_empty() && named.insert(name.to_owned()) {
            volumes.push(json!({"name": name, "emptyDir": {}}));
        }
    }
    whole
}

const STRATEGY: &str = "apps/v1.StatefulSetUpdateStrategy";
const ROLLING: &str = "apps/v1.RollingUpdateStatefulSetStrategy";

fn stateful_set_strategy(out: &mut Out, at: At<'_>, strategy: &Value) {
    let rolling = some(strategy, "rollingUpdate");
    let rolling_at = at.child("rollingUpdate");
    match (text(strategy, "type"), rolling) {
        ("", _) => out.required(at, ""),
        ("OnDelete", Some(rolling)) => {
            out.invalid_of(rolling_at, ROLLING, rolling, "only allowed for updateStrategy 'RollingUpdate'");
        }
        ("RollingUpdate", Some(rolling)) => {
            out.non_negative(rolling_at.child("partition"), number(rolling, "partition"));
            if let Some(most) = some(rolling, "maxUnavailable")
                && amount_or_share(out, rolling_at.child("maxUnavailable"), Some(most))
            {
                out.invalid(rolling_at.child("maxUnavailable"), most.clone(), "cannot be 0");
            }
        }
        ("OnDelete" | "RollingUpdate", None) => {}
        _ => out.invalid_of(at, STRATEGY, strategy, "must be 'RollingUpdate' or 'OnDelete'"),
    }
}

/// What may change of a stateful set, whose pods and claims have identities.
pub(super) fn stateful_set_update(out: &mut Out, new: &Value, old: &Value) {
    const MUTABLE: &[&str] = &[
        "replicas",
        "ordinals",
        "template",
        "updateStrategy",
        "revisionHistoryLimit",
        "persistentVolumeClaimRetentionPolicy",
        "minReadySeconds",
    ];
    let (spec, before) = (map(new, "spec"), map(old, "spec"));
    let fixed = |map: Option<&crate::Object>, other: Option<&crate::Object>| {
        map.into_iter()
            .flatten()
            .filter(|(key, _)| !MUTABLE.contains(&key.as_str()))
            .all(|(key, value)| same(Some(value), other.and_then(|o| o.get(key))))
    };
    if !fixed(spec, before) || !fixed(before, spec) {
        let detail = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
            'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' \
            are forbidden";
        out.forbidden(At::Root("spec"), detail);
    }
}

/// A stateful set's counts.
pub(super) fn stateful_set_status(out: &mut Out, new: &Value, old: &Value) {
    let at = At::Root("status");
    let status = some(new, "status").unwrap_or(&UNSET);
    let parts = ["readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"];
    for key in ["replicas", "observedGeneration", "collisionCount"].iter().chain(&parts) {
        out.non_negative(at.child(key), number(status, key));
    }
    let count = |key| number(status, key).unwrap_or(0);
    for key in parts.into_iter().filter(|key| count(key) > count("replicas")) {
        out.invalid(at.child(key), count(key), "cannot be greater than status.replicas");
    }
    if count("availableReplicas") > count("readyReplicas") {
        let detail = "cannot be greater than status.readyReplicas";
        out.invalid(at.child("availableReplicas"), count("availableReplicas"), detail);
    }
    collisions(out, new, old);
}

/// A replication controller's spec; its selector is a plain map.
pub(super) fn replication_controller(out: &mut Out, object: &Value) {
    let at = At::Root("spec");
    let spec = some(object, "spec").unwrap_or(&UNSET);
    out.non_negative(at.child("minReadySeconds"), number(spec, "minReadySeconds"));
    let wanted = map(spec, "selector").filter(|s| !s.is_empty());
    if wanted.is_none() {
        out.required(at.child("selector"), "");
    }
    match number(spec, "replicas") {
        None => out.required(at.child("replicas"), ""),
        count => out.non_negative(at.child("replicas"), count),
    }
    let template_at = at.child("template");
    let Some(template) = some(spec, "template") else {
        out.required(template_at, "");
        return;
    };
    let labels = labels_of(template);
    let has = |(key, value): (&String, &Value)| labels.is_some_and(|l| l.get(key) == Some(value));
    if !wanted.into_iter().flatten().all(has) {
        no_match(out, template_at, template);
    }
    pod::template(out, template_at, template);
    lasting(out, template_at, template, "ReplicationController");
}

/// A pod template of its own.
pub(super) fn pod_template(out: &mut Out, object: &Value) {
    pod::template(out, At::Root("template"), some(object, "template").unwrap_or(&UNSET));
}

/// A revision of a daemon or stateful set.
pub(super) fn controller_revision(out: &mut Out, revision: &Value) {
    if some(revision, "data").is_none() {
        out.required(At::Root("data"), "data is mandatory");
    }
    out.non_negative(At::Root("revision"), number(revision, "revision"));
}
