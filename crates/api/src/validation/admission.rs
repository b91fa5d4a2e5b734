//! `admissionregistration.k8s.io`: webhook configurations, admission policies and their bindings.
//!
//! Expressions are not compiled here: the API server does that, with the types that it serves.

pub(super) mod client;
pub(super) mod policy;
mod rules;

use super::at::{At, Out};
use super::read::{Seen, list, number, repeats, some, text};
use super::selector::{known_label_selector, label_selector};
use crate::{Value, names};

/// Versions of `AdmissionReview` that this server and its predecessor speak.
const REVIEW_VERSIONS: &[&str] = &["v1", "v1beta1"];
const FAILURE_POLICIES: &[&str] = &["Fail", "Ignore"];
const MATCH_POLICIES: &[&str] = &["Equivalent", "Exact"];
const REINVOCATION_POLICIES: &[&str] = &["IfNeeded", "Never"];
const NO_SIDE_EFFECTS: &[&str] = &["None", "NoneOnDryRun"];
const SIDE_EFFECTS: &[&str] = &["None", "NoneOnDryRun", "Some", "Unknown"];
const SELECTORS: [&str; 2] = ["namespaceSelector", "objectSelector"];
/// The most conditions of one webhook or policy.
const CONDITIONS: usize = 64;

/// A configuration, policy or binding; `old` is there on an update, and what was allowed once is not refused then.
pub(super) fn registration(out: &mut Out, kind: &str, object: &Value, old: Option<&Value>) {
    match kind {
        "ValidatingWebhookConfiguration" => configuration(out, object, old, false),
        "MutatingWebhookConfiguration" => configuration(out, object, old, true),
        "ValidatingAdmissionPolicy" => policy::validating(out, object, old),
        "MutatingAdmissionPolicy" => policy::mutating(out, object, old),
        "ValidatingAdmissionPolicyBinding" => policy::binding(out, object, true),
        "MutatingAdmissionPolicyBinding" => policy::binding(out, object, false),
        _ => {}
    }
}

/// What an update need not mend.
struct Known {
    side_effects: bool,
    versions: bool,
    names: bool,
    conditions: bool,
    /// Values in selectors that no label can have: upstream took them once.
    values: bool,
}

/// Whether a selector of the webhook is wrong.
fn selects_wrongly(hook: &Value) -> bool {
    let mut out = Out::default();
    for found in SELECTORS.iter().filter_map(|selector| some(hook, selector)) {
        label_selector(&mut out, At::Root(""), found);
    }
    out.count() > 0
}

impl Known {
    fn of(new: &Value, old: Option<&Value>) -> Self {
        let Some(old) = old else {
            return Self { side_effects: false, versions: false, names: false, conditions: false, values: false };
        };
        let hooks = list(old, "webhooks");
        let mut seen = Seen::new();
        let unchanged = |(old, new): (&Value, &Value)| list(old, "matchConditions") == list(new, "matchConditions");
        let fresh = list(new, "webhooks");
        Self {
            side_effects: hooks.iter().any(|h| !NO_SIDE_EFFECTS.contains(&text(h, "sideEffects"))),
            versions: hooks.iter().any(|h| !list(h, "admissionReviewVersions").is_empty() && !recognised(h)),
            names: hooks.iter().any(|h| repeats(&mut seen, text(h, "name"))),
            conditions: hooks.len() == fresh.len() && hooks.iter().zip(fresh).all(unchanged),
            values: hooks.iter().any(selects_wrongly),
        }
    }
}

fn recognised(hook: &Value) -> bool {
    list(hook, "admissionReviewVersions").iter().any(|v| v.as_str().is_some_and(|v| REVIEW_VERSIONS.contains(&v)))
}

fn configuration(out: &mut Out, object: &Value, old: Option<&Value>, mutating: bool) {
    let known = Known::of(object, old);
    let root = At::Root("webhooks");
    let mut seen = Seen::new();
    for (index, hook) in list(object, "webhooks").iter().enumerate() {
        let at = root.index(index);
        webhook(out, at, hook, &known, mutating);
        versions(out, at.child("admissionReviewVersions"), hook, &known);
        let name = text(hook, "name");
        if !known.names && !name.is_empty() && repeats(&mut seen, name) {
            out.duplicate(at.child("name"), name);
        }
    }
}

fn webhook(out: &mut Out, at: At<'_>, hook: &Value, known: &Known, mutating: bool) {
    full_name(out, at.child("name"), text(hook, "name"));
    let rules_at = at.child("rules");
    for (index, rule) in list(hook, "rules").iter().enumerate() {
        rules::rule(out, rules_at.index(index), rule);
    }
    optional(out, at.child("failurePolicy"), hook, "failurePolicy", FAILURE_POLICIES);
    optional(out, at.child("matchPolicy"), hook, "matchPolicy", MATCH_POLICIES);
    let allowed = if known.side_effects { SIDE_EFFECTS } else { NO_SIDE_EFFECTS };
    if some(hook, "sideEffects").is_none() {
        out.required(at.child("sideEffects"), &format!("must specify one of {}", allowed.join(", ")));
    }
    optional(out, at.child("sideEffects"), hook, "sideEffects", allowed);
    if let Some(seconds) = number(hook, "timeoutSeconds").filter(|s| !(1..=30).contains(s)) {
        out.invalid(at.child("timeoutSeconds"), seconds, "the timeout value must be between 1 and 30 seconds");
    }
    for selector in SELECTORS {
        if let Some(found) = some(hook, selector) {
            known_label_selector(out, at.child(selector), found, known.values);
        }
    }
    if mutating {
        optional(out, at.child("reinvocationPolicy"), hook, "reinvocationPolicy", REINVOCATION_POLICIES);
    }
    client::config(out, at.child("clientConfig"), some(hook, "clientConfig").unwrap_or(&Value::Null));
    if !known.conditions {
        conditions(out, at.child("matchConditions"), list(hook, "matchConditions"));
    }
}

/// A value that is one of `supported` where it is there at all.
fn optional(out: &mut Out, at: At<'_>, object: &Value, key: &str, supported: &[&str]) {
    if let Some(found) = some(object, key).filter(|v| !v.as_str().is_some_and(|v| supported.contains(&v))) {
        out.not_supported(at, found.clone(), supported);
    }
}

/// A name with at least two dots.
fn full_name(out: &mut Out, at: At<'_>, name: &str) {
    if name.is_empty() {
        out.required(at, "");
        return;
    }
    let wrong = names::dns_subdomain(name);
    if !wrong.is_empty() {
        out.invalid(at, name, &wrong.join(","));
    } else if name.split('.').count() < 3 {
        out.invalid(at, name, "should be a domain with at least three segments separated by dots");
    }
}

fn versions(out: &mut Out, at: At<'_>, hook: &Value, known: &Known) {
    let found = list(hook, "admissionReviewVersions");
    if found.is_empty() {
        out.required(at, &format!("must specify one of {}", REVIEW_VERSIONS.join(", ")));
        return;
    }
    let mut seen = Seen::new();
    for (index, version) in found.iter().enumerate() {
        let version = version.as_str().unwrap_or_default();
        if repeats(&mut seen, version) {
            out.invalid(at.index(index), version, "duplicate version");
            continue;
        }
        out.invalid_each(at.index(index), version, names::dns_1035_label(version));
    }
    if !known.versions && !recognised(hook) {
        out.invalid(at, found.to_vec(), &format!("must include at least one of {}", REVIEW_VERSIONS.join(", ")));
    }
}

/// Match conditions: their names, and that each says something.
fn conditions(out: &mut Out, at: At<'_>, conditions: &[Value]) {
    if conditions.len() > CONDITIONS {
        out.too_many(at, conditions.len(), CONDITIONS);
    }
    let mut seen = Seen::new();
    for (index, condition) in conditions.iter().enumerate() {
        let at = at.index(index);
        if text(condition, "expression").trim().is_empty() {
            out.required(at.child("expression"), "");
        }
        let name = text(condition, "name");
        if name.is_empty() {
            out.required(at.child("name"), "");
            continue;
        }
        out.invalid_each(at.child("name"), name, names::qualified_name(name));
        if repeats(&mut seen, name) {
            out.duplicate(at.child("name"), name);
        }
    }
}
