//! A job's status: what its controller may not write, so that a finished job stays finished.

use std::collections::HashSet;

use super::super::at::{At, Out, same};
use super::super::read::{list, number, some, text, truth};
use super::{UNSET, is_indexed, spec_of};
use crate::Value;

fn condition(status: &Value, kind: &str) -> bool {
    list(status, "conditions").iter().any(|c| text(c, "type") == kind && text(c, "status") == "True")
}

fn counts_uncounted(status: &Value) -> bool {
    let pods = some(status, "uncountedTerminatedPods").unwrap_or(&UNSET);
    !list(pods, "succeeded").is_empty() || !list(pods, "failed").is_empty()
}

/// An update of the status.
pub(in super::super) fn update(out: &mut Out, new: &Value, old: &Value) {
    let at = At::Root("status");
    let (status, before) = (some(new, "status").unwrap_or(&UNSET), some(old, "status").unwrap_or(&UNSET));
    for key in ["active", "succeeded", "failed", "ready", "terminating"] {
        out.non_negative(at.child(key), number(status, key));
    }
    uncounted(out, at.child("uncountedTerminatedPods"), status);
    let count = |status, key| number(status, key).unwrap_or(0);
    if count(status, "ready") > count(status, "active") {
        out.invalid(at.child("ready"), count(status, "ready"), "cannot set more ready pods than active");
    }
    indexes(out, at, new);
    conditions(out, at.child("conditions"), status, before);
    times(out, at, new, status, before);
    if condition(status, "Complete") || condition(status, "Failed") {
        finished(out, at, status);
    }
    for (key, detail) in
        [("succeeded", "cannot decrease the succeeded counter"), ("failed", "cannot decrease the failed counter")]
    {
        // An elastic job that is scaled down counts fewer indexes.
        let elastic = key == "succeeded" && is_indexed(spec_of(new));
        if count(status, key) < count(before, key) && !elastic {
            out.invalid(at.child(key), count(status, key), detail);
        }
    }
}

fn uncounted(out: &mut Out, at: At<'_>, status: &Value) {
    let Some(pods) = some(status, "uncountedTerminatedPods") else { return };
    let mut seen: HashSet<&str> = HashSet::new();
    for key in ["succeeded", "failed"] {
        let at = at.child(key);
        for (index, uid) in list(pods, key).iter().enumerate() {
            match uid.as_str() {
                None | Some("") => out.invalid(at.index(index), uid.clone(), "must not be empty"),
                Some(text) if seen.insert(text) => {}
                Some(text) => out.duplicate(at.index(index), text),
            }
        }
    }
}

fn conditions(out: &mut Out, at: At<'_>, status: &Value, before: &Value) {
    let both = |a: &str, b: &str| condition(status, a) && condition(status, b);
    if both("Complete", "Failed") {
        out.invalid_unshown(at, "cannot set Complete=True and Failed=true conditions");
    }
    if both("Complete", "FailureTarget") {
        out.invalid_unshown(at, "cannot set Complete=True and FailureTarget=true conditions");
    }
    if both("Failed", "SuccessCriteriaMet") {
        out.invalid_unshown(at, "cannot set Failed=True and SuccessCriteriaMet=true conditions");
    }
    if both("FailureTarget", "SuccessCriteriaMet") {
        out.invalid_unshown(at, "cannot set FailureTarget=True and SuccessCriteriaMet=true conditions");
    }
    for kind in ["Complete", "Failed", "FailureTarget", "SuccessCriteriaMet"] {
        if condition(before, kind) && !condition(status, kind) {
            let sort = if matches!(kind, "Complete" | "Failed") { "terminal " } else { "" };
            out.invalid_unshown(at, &format!("cannot disable the {sort}{kind}=True condition"));
        }
    }
}

fn times(out: &mut Out, at: At<'_>, new: &Value, status: &Value, before: &Value) {
    let (start, completion) = (some(status, "startTime"), some(status, "completionTime"));
    let complete = condition(status, "Complete");
    let at_completion = at.child("completionTime");
    match completion {
        Some(time) => {
            if !complete {
                let detail = "cannot set completionTime when there is no Complete=True condition";
                out.invalid(at_completion, time.clone(), detail);
            }
            // Canonical times in UTC sort as text.
            if start.and_then(Value::as_str) > time.as_str() {
                out.invalid(at_completion, time.clone(), "completionTime cannot be set before startTime");
            }
        }
        None if complete => out.required(at_completion, "completionTime is required for Complete jobs"),
        None => {}
    }
    if some(before, "completionTime").is_some() && !same(completion, before.get("completionTime")) {
        out.invalid(at_completion, completion.cloned().unwrap_or_default(), "completionTime cannot be mutated");
    }
    let (at_start, suspended) = (at.child("startTime"), truth(spec_of(new), "suspend"));
    if let Some(started) = some(before, "startTime").filter(|_| !suspended) {
        match start {
            None => out.required(at_start, "startTime cannot be removed for unsuspended job"),
            Some(time) if time != started => {
                out.required(at_start, "startTime cannot be modified for unsuspended job");
            }
            Some(_) => {}
        }
    }
}

fn finished(out: &mut Out, at: At<'_>, status: &Value) {
    for key in ["active", "terminating"] {
        if let Some(count) = number(status, key).filter(|n| *n > 0) {
            out.invalid(at.child(key), count, &format!("{key}>0 is invalid for finished job"));
        }
    }
    if some(status, "startTime").is_none() {
        out.required(at.child("startTime"), "startTime is required for finished job");
    }
    if counts_uncounted(status) {
        let (key, detail) = ("uncountedTerminatedPods", "uncountedTerminatedPods needs to be empty for finished job");
        out.invalid_of(at.child(key), "*batch/v1.UncountedTerminatedPods", status.get(key), detail);
    }
}

fn indexes(out: &mut Out, at: At<'_>, job: &Value) {
    let (spec, status) = (spec_of(job), some(job, "status").unwrap_or(&UNSET));
    let completions = number(spec, "completions").unwrap_or(0);
    let mut found: Vec<Vec<(i64, i64)>> = Vec::new();
    for key in ["completedIndexes", "failedIndexes"] {
        let value = text(status, key);
        if value.is_empty() {
            continue;
        }
        if !is_indexed(spec) {
            out.invalid(at.child(key), value, &format!("cannot set non-empty {key} when non-indexed completion mode"));
            continue;
        }
        match ranges(value, completions) {
            Ok(ranges) => found.push(ranges),
            Err(why) => out.invalid(at.child(key), value, &format!("error parsing {key}: {why}")),
        }
    }
    if let [completed, failed] = found.as_slice()
        && let Some(index) = overlap(completed, failed)
    {
        let detail = format!("failedIndexes and completedIndexes overlap at index: {index}");
        out.invalid(at.child("failedIndexes"), text(status, "failedIndexes"), &detail);
    }
}

fn overlap(a: &[(i64, i64)], b: &[(i64, i64)]) -> Option<i64> {
    let (mut i, mut j) = (0, 0);
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        let start = x.0.max(y.0);
        if start <= x.1.min(y.1) {
            return Some(start);
        }
        if x.1 < y.1 {
            i += 1;
        } else {
            j += 1;
        }
    }
    None
}

/// How many indexes `1,3-5` names.
pub(super) fn count_indexes(text: &str, completions: i64) -> Result<i64, String> {
    Ok(ranges(text, completions)?.iter().map(|(first, last)| last - first + 1).sum())
}

/// The ranges that `1,3-5` names, ascending and below `completions`.
fn ranges(text: &str, completions: i64) -> Result<Vec<(i64, i64)>, String> {
    let mut found: Vec<(i64, i64)> = Vec::new();
    if text.is_empty() {
        return Ok(found);
    }
    let number = |text: &str| -> Result<i64, String> {
        text.parse().map_err(|_| format!("cannot convert string to integer for index: {text:?}"))
    };
    for part in text.split(',') {
        let limits: Vec<&str> = part.split('-').collect();
        let (first, last) = match limits.as_slice() {
            [one] => (number(one)?, number(one)?),
            [first, last] => (number(first)?, number(last)?),
            _ => {
                return Err(format!(
                    "the fragment {part:?} violates the requirement that an index interval can have at most two parts separated by '-'"
                ));
            }
        };
        for index in [first, last] {
            if index >= completions {
                return Err(format!("too large index: {:?}", index.to_string()));
            }
        }
        if found.last().is_some_and(|(_, before)| *before >= first) {
            return Err(format!("non-increasing order, previous: {}, current: {first}", found[found.len() - 1].1));
        }
        if limits.len() == 2 && last <= first {
            return Err(format!("non-increasing order, previous: {first}, current: {last}"));
        }
        found.push((first, last));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indexes_are_ascending_ranges() {
        assert_eq!(ranges("1,3-5,7", 8), Ok(vec![(1, 1), (3, 5), (7, 7)]));
        assert_eq!(count_indexes("0-4,9", 10), Ok(6));
        for bad in ["x", "1,1", "3-1", "1-2-3", "8", "", ","] {
            assert_eq!(ranges(bad, 8).is_err(), !bad.is_empty(), "{bad}");
        }
        assert_eq!(overlap(&[(0, 2), (5, 9)], &[(3, 4), (9, 9)]), Some(9));
        assert_eq!(overlap(&[(0, 2)], &[(3, 4)]), None);
    }
}
