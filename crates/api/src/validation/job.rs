//! Jobs: counts that fit their completion mode, policies, labels of their own, and what may change while they run.

mod policy;
pub(super) mod status;

use super::at::{At, Out, same};
use super::read::{list, map, number, some, text, truth};
use super::workload::{labels_of, no_match};
use super::{formats, pod, selector};
use crate::{Value, names, value};

const UNSET: Value = Value::Null;
/// The most pods at a time of a job that counts indexes.
const PARALLELISM: i64 = 100_000;
/// The most indexes that may fail, and the number of completions above which that must be said.
const FAILED_INDEXES: i64 = 100_000;
/// The most pods at a time and failed indexes above that number.
const MANY: i64 = 10_000;

/// What labels of a job's pods must say: the old names and the new.
const LABELS: [(&str, &str); 4] = [
    ("controller-uid", "uid"),
    ("job-name", "name"),
    ("batch.kubernetes.io/controller-uid", "uid"),
    ("batch.kubernetes.io/job-name", "name"),
];

fn spec_of(object: &Value) -> &Value {
    some(object, "spec").unwrap_or(&UNSET)
}

fn is_indexed(spec: &Value) -> bool {
    text(spec, "completionMode") == "Indexed"
}

/// A selector that was generated selects the job's own pods.
pub(super) fn own_labels(out: &mut Out, job: &Value) {
    let spec = spec_of(job);
    let Some(found) = some(spec, "selector").filter(|_| !truth(spec, "manualSelector")) else { return };
    let metadata = some(job, "metadata").unwrap_or(&UNSET);
    let labels = some(spec, "template").and_then(labels_of);
    let at = At::Root("spec.template.metadata.labels");
    let mut expected = crate::Object::new();
    for (label, of) in LABELS {
        let wanted = text(metadata, of);
        let detail = format!("must be '{wanted}'");
        match labels.map(|all| (all, all.get(label))) {
            Some((_, Some(actual))) if actual == wanted => {}
            Some((all, Some(_))) => out.invalid(at.key(label), Value::Object(all.clone()), &detail),
            _ => out.required(at.key(label), &detail),
        }
        expected.insert(label.to_owned(), wanted.into());
    }
    if !selector::matches(found, Some(&expected)) {
        out.invalid_of(At::Root("spec.selector"), "*meta/v1.LabelSelector", found, "`selector` not auto-generated");
    }
}

/// A job.
pub(super) fn job(out: &mut Out, job: &Value) {
    let at = At::Root("spec");
    let content = spec_of(job);
    spec(out, at, content);
    let selector_at = at.child("selector");
    let template = some(content, "template").unwrap_or(&UNSET);
    match some(content, "selector") {
        None => out.required(selector_at, ""),
        Some(found) => {
            selector::label_selector(out, selector_at, found);
            if !selector::matches(found, labels_of(template)) {
                no_match(out, at.child("template"), template);
            }
        }
    }
    let name = some(job, "metadata").map_or("", |m| text(m, "name"));
    if let Some(completions) = number(content, "completions").filter(|c| *c > 0 && is_indexed(content)) {
        // Pods of a job with indexes have host names: the job's name and their index.
        let longest = format!("{name}-{}", completions - 1);
        if !names::dns_label(&longest).is_empty() {
            let detail = format!("will not able to create pod with invalid DNS label: {longest}");
            out.invalid(At::Root("metadata.name"), name, &detail);
        }
    }
}

/// A job's spec, or that of a cron job's template: all but the selector.
pub(super) fn spec(out: &mut Out, at: At<'_>, spec: &Value) {
    for key in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ] {
        out.non_negative(at.child(key), number(spec, key));
    }
    let failed_indexes = number(spec, "maxFailedIndexes");
    if failed_indexes.is_some() && number(spec, "backoffLimitPerIndex").is_none() {
        out.required(at.child("backoffLimitPerIndex"), "when maxFailedIndexes is specified");
    }
    if let Some(manager) = some(spec, "managedBy").and_then(Value::as_str) {
        managed_by(out, at.child("managedBy"), manager);
    }
    let mode = text(spec, "completionMode");
    if !matches!(mode, "" | "NonIndexed" | "Indexed") {
        out.not_listed(at.child("completionMode"), mode, &["NonIndexed", "Indexed"]);
    }
    if is_indexed(spec) {
        indexed(out, at, spec);
    } else if matches!(mode, "" | "NonIndexed") {
        for key in ["backoffLimitPerIndex", "maxFailedIndexes"] {
            if let Some(count) = number(spec, key) {
                out.invalid(at.child(key), count, "requires indexed completion mode");
            }
        }
    }
    policy::all(out, at, spec);
    let template = some(spec, "template").unwrap_or(&UNSET);
    pod::template(out, at.child("template"), template);
    let restart_at = at.child("template.spec.restartPolicy");
    match some(template, "spec").map_or("", |s| text(s, "restartPolicy")) {
        "" | "Always" => out.required(restart_at, "valid values: \"OnFailure\", \"Never\""),
        "Never" => {}
        policy @ "OnFailure" => {
            if some(spec, "podFailurePolicy").is_some() {
                out.invalid(restart_at, policy, "only \"Never\" is supported when podFailurePolicy is specified");
            }
        }
        other => out.not_listed(restart_at, other, &["OnFailure", "Never"]),
    }
}

fn managed_by(out: &mut Out, at: At<'_>, manager: &str) {
    formats::domain_prefixed_path(out, at, manager);
    if manager.len() > 63 {
        out.too_long(at, 63);
    }
}

fn indexed(out: &mut Out, at: At<'_>, spec: &Value) {
    let (completions, parallelism) = (number(spec, "completions"), number(spec, "parallelism"));
    let failed = number(spec, "maxFailedIndexes");
    if completions.is_none() {
        out.required(at.child("completions"), "when completion mode is Indexed");
    }
    if let Some(count) = parallelism.filter(|p| *p > PARALLELISM) {
        let detail = format!("must be less than or equal to {PARALLELISM} when completion mode is Indexed");
        out.invalid(at.child("parallelism"), count, &detail);
    }
    if let (Some(failed), Some(completions)) = (failed, completions)
        && failed > completions
    {
        out.invalid(at.child("maxFailedIndexes"), failed, "must be less than or equal to completions");
    }
    if let Some(failed) = failed.filter(|f| *f > FAILED_INDEXES) {
        out.invalid(at.child("maxFailedIndexes"), failed, "must be less than or equal to 100000");
    }
    if number(spec, "backoffLimitPerIndex").is_none() || completions.is_none_or(|c| c <= FAILED_INDEXES) {
        return;
    }
    if failed.is_none() {
        out.required(at.child("maxFailedIndexes"), "must be specified when completions is above 100000");
    }
    let detail =
        "must be less than or equal to 10000 when completions are above 100000 and used with backoff limit per index";
    for (key, count) in [("parallelism", parallelism), ("maxFailedIndexes", failed)] {
        if let Some(count) = count.filter(|c| *c > MANY) {
            out.invalid(at.child(key), count, detail);
        }
    }
}

/// What an update of a job may not do.
pub(super) fn update(out: &mut Out, new: &Value, old: &Value) {
    let at = At::Root("spec");
    let (spec, before) = (spec_of(new), spec_of(old));
    completions(out, at.child("completions"), spec, before);
    out.immutable(at.child("selector"), "*meta/v1.LabelSelector", spec.get("selector"), before.get("selector"));
    let mut template = before.get("template").cloned().unwrap_or_default();
    if rests(old) {
        let new = spec.get("template").unwrap_or(&UNSET);
        take_scheduling(&mut template, new);
        take_resources(&mut template, new);
    }
    if !same(spec.get("template"), Some(&template)) {
        out.invalid_of(at.child("template"), "*core/v1.PodTemplateSpec", spec.get("template"), "field is immutable");
    }
    for (key, ty) in [
        ("completionMode", "*string"),
        ("podFailurePolicy", "*batch/v1.PodFailurePolicy"),
        ("backoffLimitPerIndex", "*int"),
        ("managedBy", "*string"),
        ("successPolicy", "*batch/v1.SuccessPolicy"),
    ] {
        out.immutable(at.child(key), ty, spec.get(key), before.get(key));
    }
}

/// The number of indexes may follow the number of pods.
fn completions(out: &mut Out, at: At<'_>, spec: &Value, before: &Value) {
    if !is_indexed(spec) {
        out.immutable(at, "*int", spec.get("completions"), before.get("completions"));
        return;
    }
    let count = number(spec, "completions");
    if count.is_some() && count != number(before, "completions") && count != number(spec, "parallelism") {
        out.invalid(at, count, "can only be modified in tandem with spec.parallelism");
    }
}

/// Whether a job is suspended and none of its pods are left: it never started, or has come to rest since.
fn rests(job: &Value) -> bool {
    let status = some(job, "status").unwrap_or(&UNSET);
    let is_suspended =
        |condition: &Value| text(condition, "type") == "Suspended" && text(condition, "status") == "True";
    let idle = some(status, "startTime").is_none() || list(status, "conditions").iter().any(is_suspended);
    truth(spec_of(job), "suspend") && idle && number(status, "active").unwrap_or(0) == 0
}

/// What the pods of a job that rests will ask for may still be decided.
fn take_resources(template: &mut Value, new: &Value) {
    for path in ["spec.containers", "spec.initContainers"] {
        let Some(Value::Array(containers)) = value::get_mut(template, path) else { continue };
        for (container, new) in containers.iter_mut().zip(value::list_at(new, path)) {
            let Some(container) = container.as_object_mut() else { continue };
            match some(new, "resources") {
                Some(resources) => drop(container.insert("resources".to_owned(), resources.clone())),
                None => drop(container.remove("resources")),
            }
        }
    }
}

/// Where the pods of a job that rests will run may still be decided.
fn take_scheduling(template: &mut Value, new: &Value) {
    let copy = |to: &mut Value, from: &Value, part: &str, keys: &[&str]| {
        let from = from.get(part).unwrap_or(&UNSET);
        let Some(to) = value::object_mut(to, part) else { return };
        for key in keys {
            match some(from, key) {
                Some(value) => drop(to.insert((*key).to_owned(), value.clone())),
                None => drop(to.remove(*key)),
            }
        }
    };
    copy(template, new, "metadata", &["annotations", "labels"]);
    copy(template, new, "spec", &["nodeSelector", "tolerations", "schedulingGates"]);
    let (Some(old_spec), Some(new_spec)) = (template.get_mut("spec"), new.get("spec")) else { return };
    let affinity = some(new_spec, "affinity").unwrap_or(&UNSET);
    copy(old_spec, new_spec, "affinity", &["nodeAffinity"]);
    let empty = map(old_spec, "affinity").is_none_or(serde_json::Map::is_empty);
    if affinity.is_null() && empty {
        value::remove(old_spec, "affinity");
    }
}
