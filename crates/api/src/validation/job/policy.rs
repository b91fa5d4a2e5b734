//! What a job makes of failed pods, and when it has succeeded.

use std::collections::HashSet;

use super::super::at::{At, Out};
use super::super::read::{Seen, list, number, some, text};
use super::is_indexed;
use crate::Value;
use crate::names;

/// The most rules of a policy, and patterns of a rule.
const RULES: usize = 20;
/// The most exit codes of a rule.
const CODES: usize = 255;
/// The longest list of indexes, as text.
const INDEXES_BYTES: usize = 64 * 1024;

pub(super) fn all(out: &mut Out, at: At<'_>, spec: &Value) {
    let failure = some(spec, "podFailurePolicy");
    if let Some(policy) = failure {
        failure_policy(out, at.child("podFailurePolicy"), policy, spec);
    }
    if let Some(policy) = some(spec, "successPolicy") {
        let at = at.child("successPolicy");
        if is_indexed(spec) {
            success_policy(out, at, policy, spec);
        } else {
            out.invalid_of(at, "*batch/v1.SuccessPolicy", policy, "requires indexed completion mode");
        }
    }
    let replacement = text(spec, "podReplacementPolicy");
    let supported: &[&str] = if failure.is_some() { &["Failed"] } else { &["Failed", "TerminatingOrFailed"] };
    if !replacement.is_empty() && !supported.contains(&replacement) {
        out.not_supported(at.child("podReplacementPolicy"), replacement, supported);
    }
}

fn failure_policy(out: &mut Out, at: At<'_>, policy: &Value, spec: &Value) {
    let template = some(spec, "template").and_then(|t| some(t, "spec")).unwrap_or(&Value::Null);
    let named = |list_name| list(template, list_name).iter().map(|c| text(c, "name"));
    let containers: Seen<'_> = named("containers").chain(named("initContainers")).collect();
    let rules = list(policy, "rules");
    let at = at.child("rules");
    if rules.len() > RULES {
        out.too_many(at, rules.len(), RULES);
    }
    for (index, rule) in rules.iter().enumerate() {
        let at = at.index(index);
        action(out, at.child("action"), text(rule, "action"), spec);
        let (codes, conditions) = (some(rule, "onExitCodes"), list(rule, "onPodConditions"));
        if let Some(codes) = codes {
            exit_codes(out, at.child("onExitCodes"), codes, &containers);
        }
        pod_conditions(out, at.child("onPodConditions"), conditions);
        match (codes.is_some(), conditions.is_empty()) {
            (true, false) => {
                out.invalid_unshown(at, "specifying both OnExitCodes and OnPodConditions is not supported");
            }
            (false, true) => {
                out.invalid_unshown(at, "specifying one of OnExitCodes and OnPodConditions is required");
            }
            _ => {}
        }
    }
}

fn action(out: &mut Out, at: At<'_>, action: &str, spec: &Value) {
    let supported = ["Count", "FailIndex", "FailJob", "Ignore"];
    if action == "FailIndex" && number(spec, "backoffLimitPerIndex").is_none() {
        out.invalid(at, action, "requires the backoffLimitPerIndex to be set");
    } else if action.is_empty() {
        out.required(at, "valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]");
    } else if !supported.contains(&action) {
        out.not_supported(at, action, &supported);
    }
}

fn exit_codes(out: &mut Out, at: At<'_>, requirement: &Value, containers: &Seen<'_>) {
    let operator = text(requirement, "operator");
    if operator.is_empty() {
        out.required(at.child("operator"), "valid values: [\"In\" \"NotIn\"]");
    } else if !["In", "NotIn"].contains(&operator) {
        out.not_supported(at.child("operator"), operator, &["In", "NotIn"]);
    }
    if let Some(name) = some(requirement, "containerName").and_then(Value::as_str)
        && !containers.contains(name)
    {
        let detail = "must be one of the container or initContainer names in the pod template";
        out.invalid(at.child("containerName"), name, detail);
    }
    let at = at.child("values");
    let values: Vec<i64> = list(requirement, "values").iter().filter_map(Value::as_i64).collect();
    if values.is_empty() {
        out.invalid(at, Vec::<Value>::new(), "at least one value is required");
    } else if values.len() > CODES {
        out.too_many(at, values.len(), CODES);
    }
    let mut seen = HashSet::new();
    for (index, value) in values.iter().enumerate() {
        if operator == "In" && *value == 0 {
            out.invalid(at.index(index), 0, "must not be 0 for the In operator");
        }
        if !seen.insert(value) {
            out.duplicate(at.index(index), *value);
        }
    }
    if !values.is_sorted() {
        out.invalid(at, values.clone(), "must be ordered");
    }
}

fn pod_conditions(out: &mut Out, at: At<'_>, patterns: &[Value]) {
    if patterns.len() > RULES {
        out.too_many(at, patterns.len(), RULES);
    }
    for (index, pattern) in patterns.iter().enumerate() {
        let at = at.index(index);
        let (kind, status) = (text(pattern, "type"), text(pattern, "status"));
        out.invalid_each(at.child("type"), kind, names::qualified_name(kind));
        if status.is_empty() {
            out.required(at.child("status"), "valid values: [\"False\" \"True\" \"Unknown\"]");
        } else if !["False", "True", "Unknown"].contains(&status) {
            out.not_supported(at.child("status"), status, &["False", "True", "Unknown"]);
        }
    }
}

fn success_policy(out: &mut Out, at: At<'_>, policy: &Value, spec: &Value) {
    let at = at.child("rules");
    let rules = list(policy, "rules");
    if rules.is_empty() {
        out.required(at, "at least one rules must be specified when the successPolicy is specified");
    } else if rules.len() > RULES {
        out.too_many(at, rules.len(), RULES);
    }
    let completions = number(spec, "completions").unwrap_or(0);
    for (index, rule) in rules.iter().enumerate() {
        let at = at.index(index);
        let (count, indexes) = (number(rule, "succeededCount"), some(rule, "succeededIndexes").and_then(Value::as_str));
        if count.is_none() && indexes.is_none() {
            out.required(at, "at least one of succeededCount or succeededIndexes must be specified");
        }
        let mut total = None;
        let indexes_at = at.child("succeededIndexes");
        if let Some(text) = indexes {
            if text.len() > INDEXES_BYTES {
                out.too_long(indexes_at, INDEXES_BYTES);
            }
            match super::status::count_indexes(text, completions) {
                Ok(found) => total = Some(found),
                Err(why) => out.invalid(indexes_at, text, &format!("error parsing succeededIndexes: {why}")),
            }
        }
        let Some(count) = count else { continue };
        let at = at.child("succeededCount");
        out.non_negative(at, Some(count));
        if count > completions {
            let detail = format!("must be less than or equal to {completions} (the number of specified completions)");
            out.invalid(at, count, &detail);
        }
        if let Some(total) = total.filter(|total| count > *total) {
            let detail = format!(
                "must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)"
            );
            out.invalid(at, count, &detail);
        }
    }
}
