//! Tolerations, gates and spread constraints.

use std::collections::HashMap;

use super::super::at::{At, Out};
use super::super::read::{Seen, list, number, repeats, some, text};
use super::super::selector;
use super::affinity;
use crate::Value;
use crate::names;

/// The scheduling rules of a pod spec.
pub(super) fn all(out: &mut Out, at: At<'_>, spec: &Value) {
    for (index, gate) in list(spec, "readinessGates").iter().enumerate() {
        let kind = text(gate, "conditionType");
        let list = at.child("readinessGates");
        out.invalid_each(list.index(index).child("conditionType"), kind, names::qualified_name(kind));
    }
    let gates_at = at.child("schedulingGates");
    let mut seen = Seen::new();
    for (index, gate) in list(spec, "schedulingGates").iter().enumerate() {
        let name = text(gate, "name");
        out.invalid_each(gates_at.index(index), name, names::qualified_name(name));
        if repeats(&mut seen, name) {
            out.duplicate(gates_at.index(index), name);
        }
    }
    spread(out, at.child("topologySpreadConstraints"), list(spec, "topologySpreadConstraints"));
    tolerations(out, at.child("tolerations"), list(spec, "tolerations"));
}

/// Tolerations of a pod, or of the pods of a runtime class.
pub(in super::super) fn tolerations(out: &mut Out, at: At<'_>, tolerations: &[Value]) {
    for (index, item) in tolerations.iter().enumerate() {
        toleration(out, at.index(index), item);
    }
}

fn spread(out: &mut Out, at: At<'_>, constraints: &[Value]) {
    let pair = |constraint| (text(constraint, "topologyKey"), text(constraint, "whenUnsatisfiable"));
    // The last place of each: upstream looks whether another one follows.
    let last: HashMap<_, _> = constraints.iter().map(pair).zip(0..).collect();
    for (index, constraint) in constraints.iter().enumerate() {
        let at = at.index(index);
        let (key, when) = pair(constraint);
        let skew = number(constraint, "maxSkew").unwrap_or(0);
        if skew <= 0 {
            out.invalid(at.child("maxSkew"), skew, "must be greater than zero");
        }
        if key.is_empty() {
            out.required(at.child("topologyKey"), "can not be empty");
        } else {
            selector::label_name(out, at.child("topologyKey"), key);
        }
        let actions = ["DoNotSchedule", "ScheduleAnyway"];
        if !actions.contains(&when) {
            out.not_supported(at.child("whenUnsatisfiable"), when, &actions);
        }
        if last.get(&(key, when)).is_some_and(|last| *last > index) {
            out.duplicate(at.child("{topologyKey, whenUnsatisfiable}"), format!("{{{key}, {when}}}"));
        }
        if let Some(domains) = number(constraint, "minDomains") {
            if domains <= 0 {
                out.invalid(at.child("minDomains"), domains, "must be greater than zero");
            }
            if when != "DoNotSchedule" {
                let detail = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {when}");
                out.invalid(at.child("minDomains"), domains, &detail);
            }
        }
        for policy in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
            let value = text(constraint, policy);
            if !value.is_empty() && !["Honor", "Ignore"].contains(&value) {
                out.not_supported(at.child(policy), value, &["Honor", "Ignore"]);
            }
        }
        affinity::label_keys(out, at, constraint);
        if let Some(found) = some(constraint, "labelSelector") {
            selector::label_selector(out, at.child("labelSelector"), found);
        }
    }
}

fn toleration(out: &mut Out, at: At<'_>, toleration: &Value) {
    let (key, operator) = (text(toleration, "key"), text(toleration, "operator"));
    let (value, effect) = (text(toleration, "value"), text(toleration, "effect"));
    if !key.is_empty() {
        selector::label_name(out, at.child("key"), key);
    } else if operator != "Exists" {
        let detail = "operator must be Exists when `key` is empty, which means \"match all values and all keys\"";
        out.invalid(at.child("operator"), operator, detail);
    }
    if number(toleration, "tolerationSeconds").is_some() && effect != "NoExecute" {
        out.invalid(at.child("effect"), effect, "effect must be 'NoExecute' when `tolerationSeconds` is set");
    }
    match operator {
        "" | "Equal" => {
            let found = names::label_value(value);
            if !found.is_empty() {
                out.invalid(at.child("operator"), value, &found.join(";"));
            }
        }
        "Exists" if !value.is_empty() => {
            out.invalid(at.child("operator"), value, "value must be empty when `operator` is 'Exists'");
        }
        "Exists" => {}
        other => out.not_supported(at.child("operator"), other, &["Equal", "Exists"]),
    }
    if !effect.is_empty() && !selector::EFFECTS.contains(&effect) {
        out.not_supported(at.child("effect"), effect, selector::EFFECTS);
    }
}
