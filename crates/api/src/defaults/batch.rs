//! Defaults of jobs and cron jobs.

use super::{fill, fill_text, object_in, objects_in, pod};
use crate::value::{map_at, object_mut, set};
use crate::{Object, Value};

/// Retries of a job that counts its failures per index: as good as none.
const UNLIMITED: i64 = i32::MAX as i64;

fn absent(spec: &Object, key: &str) -> bool {
    spec.get(key).is_none_or(Value::is_null)
}

pub(super) fn job(object: &mut Value) {
    let labels = map_at(object, "spec.template.metadata.labels").filter(|l| !l.is_empty()).cloned();
    if let Some(labels) = labels
        && map_at(object, "metadata.labels").is_none_or(Object::is_empty)
    {
        set(object, "metadata.labels", Value::Object(labels));
    }
    let Some(spec) = object_mut(object, "spec") else { return };
    if absent(spec, "completions") && absent(spec, "parallelism") {
        fill(spec, "completions", 1);
    }
    fill(spec, "parallelism", 1);
    let retries = if absent(spec, "backoffLimitPerIndex") { 6 } else { UNLIMITED };
    fill(spec, "backoffLimit", retries);
    fill(spec, "completionMode", "NonIndexed");
    fill(spec, "suspend", false);
    fill(spec, "manualSelector", false);
    let replacement = if absent(spec, "podFailurePolicy") { "TerminatingOrFailed" } else { "Failed" };
    fill(spec, "podReplacementPolicy", replacement);
    job_spec(spec);
}

/// What the job of a cron job gets, too.
fn job_spec(spec: &mut Object) {
    if let Some(policy) = object_in(spec, "podFailurePolicy") {
        for rule in objects_in(policy, "rules") {
            objects_in(rule, "onPodConditions").for_each(|condition| fill_text(condition, "status", "True"));
        }
    }
    pod::template(spec);
}

pub(super) fn cron_job(object: &mut Value) {
    let Some(spec) = object_mut(object, "spec") else { return };
    fill_text(spec, "concurrencyPolicy", "Allow");
    fill(spec, "suspend", false);
    fill(spec, "successfulJobsHistoryLimit", 3);
    fill(spec, "failedJobsHistoryLimit", 1);
    // The rest of the job is defaulted when it is made.
    if let Some(job) = object_in(spec, "jobTemplate").and_then(|t| object_in(t, "spec")) {
        job_spec(job);
    }
}
