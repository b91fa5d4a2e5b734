//! Admission policies and what binds them to requests.

use super::super::at::{At, Out};
use super::super::conditions;
use super::super::read::{Seen, list, repeats, some, text};
use super::rules::criteria;
use super::{FAILURE_POLICIES, REINVOCATION_POLICIES, conditions as match_conditions, label_selector, optional};
use crate::{Value, kinds, names};

const UNSET: Value = Value::Null;
const REASONS: &[&str] = &["Forbidden", "Invalid", "RequestEntityTooLarge"];
const ACTIONS: &[&str] = &["Audit", "Deny", "Warn"];
const NOT_FOUND_ACTIONS: &[&str] = &["Deny", "Allow"];
const PATCH_TYPES: &[&str] = &["ApplyConfiguration", "JSONPatch"];
/// All but a delete, which leaves nothing to change.
const MUTABLE: &[&str] = &["*", "CONNECT", "CREATE", "UPDATE"];
/// The most audit annotations of one policy.
const ANNOTATIONS: usize = 20;
/// Bytes of the expression of an audit annotation.
const ANNOTATION_BYTES: usize = 5 * 1024;

fn spec_of(object: &Value) -> &Value {
    some(object, "spec").unwrap_or(&UNSET)
}

/// What both sorts of policies have; `mutating`: it may not be about deletes.
fn common(out: &mut Out, object: &Value, old: Option<&Value>, mutating: bool) {
    let (at, spec) = (At::Root("spec"), spec_of(object));
    if some(spec, "failurePolicy").is_none() {
        out.required(at.child("failurePolicy"), "");
    }
    optional(out, at.child("failurePolicy"), spec, "failurePolicy", FAILURE_POLICIES);
    if let Some(kind) = some(spec, "paramKind") {
        param_kind(out, at.child("paramKind"), kind);
    }
    match some(spec, "matchConstraints") {
        None => out.required(at.child("matchConstraints"), ""),
        Some(found) => {
            criteria(out, at.child("matchConstraints"), found);
            if list(found, "resourceRules").is_empty() {
                out.required(at.child("matchConstraints.resourceRules"), "");
            }
            if mutating {
                mutable(out, at.child("matchConstraints.resourceRules.operations"), found);
            }
        }
    }
    let unchanged = |key| old.is_some_and(|old| some(spec_of(old), key) == some(spec, key));
    if !(unchanged("paramKind") && unchanged("matchConditions")) {
        match_conditions(out, at.child("matchConditions"), list(spec, "matchConditions"));
    }
    let variables_at = at.child("variables");
    for (index, found) in list(spec, "variables").iter().enumerate() {
        variable(out, variables_at.index(index), found);
    }
}

fn mutable(out: &mut Out, at: At<'_>, criteria: &Value) {
    for operation in list(criteria, "resourceRules").iter().flat_map(|rule| list(rule, "operations")) {
        if !operation.as_str().is_some_and(|o| MUTABLE.contains(&o)) {
            out.not_supported(at, operation.clone(), MUTABLE);
        }
    }
}

fn param_kind(out: &mut Out, at: At<'_>, kind: &Value) {
    let (version_at, api_version) = (at.child("apiVersion"), text(kind, "apiVersion"));
    let (group, version) = kinds::split_api_version(api_version);
    if api_version.is_empty() {
        out.required(version_at, "");
    } else if api_version.matches('/').count() > 1 {
        out.invalid(version_at, api_version, &format!("unexpected GroupVersion string: {api_version}"));
    } else {
        let wrong = if group.is_empty() { Vec::new() } else { names::dns_subdomain(group) };
        if !wrong.is_empty() {
            out.invalid(version_at, group, &wrong.join(","));
        }
        let wrong = names::dns_1035_label(version);
        if version.is_empty() {
            out.invalid(version_at, api_version, "version must be specified");
        } else if !wrong.is_empty() {
            out.invalid(version_at, version, &wrong.join(","));
        }
    }
    let name = text(kind, "kind");
    let wrong = names::dns_1035_label(&name.to_ascii_lowercase());
    if name.is_empty() {
        out.required(at.child("kind"), "");
    } else if !wrong.is_empty() {
        let detail = format!("may have mixed case, but should otherwise match: {}", wrong.join(","));
        out.invalid(at.child("kind"), name, &detail);
    }
}

fn is_identifier(name: &str) -> bool {
    name.bytes().all(|b| b == b'_' || b.is_ascii_alphanumeric())
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && !names::is_expression_word(name)
}

fn variable(out: &mut Out, at: At<'_>, variable: &Value) {
    let name = text(variable, "name");
    if name.trim().is_empty() {
        out.required(at.child("name"), "name is not specified");
    } else if !is_identifier(name) {
        out.invalid(at.child("name"), name, "must be a valid CEL identifier");
    }
    if text(variable, "expression").trim().is_empty() {
        out.required(at.child("expression"), "expression is not specified");
    }
}

/// A `ValidatingAdmissionPolicy`.
pub(super) fn validating(out: &mut Out, object: &Value, old: Option<&Value>) {
    common(out, object, old, false);
    let (at, spec) = (At::Root("spec"), spec_of(object));
    let (validations, annotations) = (list(spec, "validations"), list(spec, "auditAnnotations"));
    let (validations_at, annotations_at) = (at.child("validations"), at.child("auditAnnotations"));
    if validations.is_empty() && annotations.is_empty() {
        let detail = "validations or auditAnnotations must contain at least one item";
        out.required(validations_at, detail);
        out.required(annotations_at, detail);
        return;
    }
    for (index, found) in validations.iter().enumerate() {
        validation(out, validations_at.index(index), found);
    }
    if annotations.len() > ANNOTATIONS {
        let detail = format!("must not have more than {ANNOTATIONS} auditAnnotations");
        out.invalid_of(
            annotations_at,
            "[]admissionregistration/v1.AuditAnnotation",
            spec.get("auditAnnotations"),
            &detail,
        );
    }
    let policy = some(object, "metadata").map_or("", |m| text(m, "name"));
    let mut seen = Seen::new();
    for (index, found) in annotations.iter().enumerate() {
        if out.is_full() {
            return;
        }
        let at = annotations_at.index(index);
        annotation(out, at, policy, found);
        if repeats(&mut seen, text(found, "key")) {
            out.duplicate(at.child("key"), text(found, "key"));
        }
    }
}

fn validation(out: &mut Out, at: At<'_>, found: &Value) {
    if text(found, "expression").trim().is_empty() {
        out.required(at.child("expression"), "expression is not specified");
    }
    let by_expression = text(found, "messageExpression");
    if !by_expression.is_empty() && by_expression.trim().is_empty() {
        out.invalid(at.child("messageExpression"), by_expression, "must be non-empty if specified");
    }
    let message = text(found, "message");
    if !message.is_empty() && message.trim().is_empty() {
        out.invalid(at.child("message"), message, "must be non-empty if specified");
    } else if message.trim().contains(['\n', '\r']) {
        out.invalid(at.child("message"), message, "must not contain line breaks");
    }
    optional(out, at.child("reason"), found, "reason", REASONS);
}

fn annotation(out: &mut Out, at: At<'_>, policy: &str, found: &Value) {
    let key = text(found, "key");
    if policy.is_empty() {
        out.invalid(at.child("key"), key, "requires metadata.name be non-empty");
    } else {
        let whole = format!("{policy}/{key}");
        out.invalid_each(at.child("key"), &whole, names::qualified_name(&whole));
    }
    let expression = text(found, "valueExpression").trim();
    if expression.is_empty() {
        out.required(at.child("valueExpression"), "valueExpression is not specified");
    } else if expression.len() > ANNOTATION_BYTES {
        let detail = format!("must not exceed {ANNOTATION_BYTES} bytes in length");
        out.required(at.child("valueExpression"), &detail);
    }
}

/// A `MutatingAdmissionPolicy`.
pub(super) fn mutating(out: &mut Out, object: &Value, old: Option<&Value>) {
    common(out, object, old, true);
    let (at, spec) = (At::Root("spec"), spec_of(object));
    let mutations_at = at.child("mutations");
    if list(spec, "mutations").is_empty() {
        out.required(mutations_at, "mutations must contain at least one item");
    }
    for (index, found) in list(spec, "mutations").iter().enumerate() {
        mutation(out, mutations_at.index(index), found);
    }
    out.one_of(at.child("reinvocationPolicy"), text(spec, "reinvocationPolicy"), REINVOCATION_POLICIES);
}

fn mutation(out: &mut Out, at: At<'_>, mutation: &Value) {
    let patch_type = text(mutation, "patchType");
    let (wanted, other) = match patch_type {
        "JSONPatch" => ("jsonPatch", "applyConfiguration"),
        "ApplyConfiguration" => ("applyConfiguration", "jsonPatch"),
        _ => return out.one_of(at.child("patchType"), patch_type, PATCH_TYPES),
    };
    match some(mutation, wanted) {
        None => out.required(at.child(wanted), &format!("must be specified when patchType is {patch_type}")),
        Some(found) if text(found, "expression").trim().is_empty() => {
            out.required(at.child(wanted).child("expression"), "");
        }
        Some(_) => {}
    }
    if some(mutation, other).is_some() {
        let detail = format!("must not be specified when patchType is {patch_type}");
        out.invalid(at.child(other), format!("{{{other}}}"), &detail);
    }
}

/// A binding; `validating`: it says what to do about violations.
pub(super) fn binding(out: &mut Out, object: &Value, validating: bool) {
    let (at, spec) = (At::Root("spec"), spec_of(object));
    match text(spec, "policyName") {
        "" => out.required(at.child("policyName"), ""),
        name => out.invalid_each(at.child("policyName"), name, names::dns_subdomain(name)),
    }
    if let Some(found) = some(spec, "paramRef") {
        param_ref(out, at.child("paramRef"), found);
    }
    if let Some(found) = some(spec, "matchResources") {
        criteria(out, at.child("matchResources"), found);
        if !validating {
            mutable(out, at.child("matchResources.resourceRules.operations"), found);
        }
    }
    if validating {
        actions(out, at.child("validationActions"), list(spec, "validationActions"));
    }
}

fn param_ref(out: &mut Out, at: At<'_>, found: &Value) {
    const EXCLUSIVE: &str = "name and selector are mutually exclusive";
    let (name, selector) = (text(found, "name"), some(found, "selector"));
    if !name.is_empty() {
        out.invalid_each(at.child("name"), name, names::path_segment(name));
        if selector.is_some() {
            out.forbidden(at.child("name"), EXCLUSIVE);
        }
    }
    if let Some(selector) = selector {
        label_selector(out, at.child("selector"), selector);
        if !name.is_empty() {
            out.forbidden(at.child("selector"), EXCLUSIVE);
        }
    }
    if name.is_empty() && selector.is_none() {
        out.required(at, "one of name or selector must be specified");
    }
    let (at, action) = (at.child("parameterNotFoundAction"), text(found, "parameterNotFoundAction"));
    if action.is_empty() {
        out.required(at, "");
    } else if !NOT_FOUND_ACTIONS.contains(&action) {
        out.not_listed(at, action, NOT_FOUND_ACTIONS);
    }
}

fn actions(out: &mut Out, at: At<'_>, actions: &[Value]) {
    let mut seen = Seen::new();
    for (index, action) in actions.iter().enumerate() {
        let action = action.as_str().unwrap_or_default();
        if !ACTIONS.contains(&action) {
            out.not_supported(at.index(index), action, ACTIONS);
        }
        if repeats(&mut seen, action) {
            out.duplicate(at.index(index), action);
        }
    }
    if seen.contains("Deny") && seen.contains("Warn") {
        let detail = "must not contain both Deny and Warn (repeating the same validation failure information in the API \
                      response and headers serves no purpose)";
        out.invalid(at, actions.to_vec(), detail);
    }
    if seen.is_empty() {
        out.required(at, "at least one validation action is required");
    }
}

/// The status of a `ValidatingAdmissionPolicy`.
pub(in crate::validation) fn status(out: &mut Out, object: &Value) {
    let status = some(object, "status").unwrap_or(&UNSET);
    let at = At::Root("status.typeChecking.expressionWarnings");
    let checking = some(status, "typeChecking").unwrap_or(&UNSET);
    for (index, warning) in list(checking, "expressionWarnings").iter().enumerate() {
        if text(warning, "warning").is_empty() {
            out.required(at.index(index).child("warning"), "");
        }
        if text(warning, "fieldRef").trim().is_empty() {
            out.required(at.index(index).child("fieldRef"), "");
        }
    }
    conditions::conditions(out, At::Root("status.conditions"), list(status, "conditions"));
}
