//! What validating policies say of a request.

use std::collections::BTreeMap;

use gantry_api::field::go_escaped;
use gantry_api::status::Status;
use gantry_api::{Value, value};
use gantry_cel::{Bindings, Budget, Value as Result_};
use serde::Serialize;

use super::definition::{Binding, Definition, Rule};
use super::{Bound, Unusable};
use crate::admission::Request;
use crate::expressions::Failure;
use crate::expressions::input::{Input, Rights};
use crate::metrics::policies::Checked;

/// Bytes of a message that an expression makes.
const MESSAGE_BYTES_MAX: usize = 5 * 1024;
/// Bytes of the value of an audit annotation.
const ANNOTATION_BYTES_MAX: usize = 10 * 1024;
/// Where a violation that is only audited is noted.
const VIOLATION: &str = "validation.policy.admission.k8s.io/validation_failure";

/// One refusal.
pub(super) struct Denied {
    message: String,
    reason: String,
}

/// A rule that does not hold, or gave no answer.
struct Violation {
    /// The rule's place among all.
    index: usize,
    message: String,
    reason: String,
    failed: bool,
}

/// Refusals for what cannot be used; what a policy forgives is none.
pub(super) fn unusable(unusable: Vec<Unusable>) -> Vec<Denied> {
    let refused = unusable.into_iter().filter(|u| !u.policy.ignores_failure);
    refused.map(|u| denied(&u.policy, u.binding.as_deref(), &u.why, "")).collect()
}

fn denied(policy: &Definition, binding: Option<&Binding>, why: &str, reason: &str) -> Denied {
    let by = binding.map_or_else(String::new, |binding| format!(" with binding '{}'", binding.name));
    let message = format!("ValidatingAdmissionPolicy '{}'{by} denied request: {why}", policy.name);
    Denied { message, reason: reason.to_owned() }
}

/// Judges by one policy and all of its bindings.
pub(super) fn policy(request: &Request<'_>, bound: &Bound, input: &Input, denied: &mut Vec<Denied>) {
    let mut annotations: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let rights = Rights::of(request);
    let policy = &*bound.policy;
    for (binding, params) in &bound.bindings {
        let mut case = Case { request, policy, binding, denied: &mut *denied, annotations: &mut annotations };
        for param in params {
            let bindings = input.bindings(&rights, request, param.as_ref(), &policy.variables);
            case.judge(policy, &bindings);
        }
    }
    for (key, values) in annotations {
        request.caller.notes.annotate(&format!("{}/{key}", policy.name), &values.join(", "));
    }
}

/// A policy and one of its bindings.
struct Case<'c, 'r> {
    request: &'c Request<'r>,
    policy: &'c Definition,
    binding: &'c Binding,
    denied: &'c mut Vec<Denied>,
    annotations: &'c mut BTreeMap<String, Vec<String>>,
}

impl Case<'_, '_> {
    fn judge<'a>(&mut self, policy: &'a Definition, bindings: &Bindings<'a>) {
        match policy.conditions.hold(bindings) {
            Ok(true) => {}
            Ok(false) => return,
            Err(_) if policy.ignores_failure => return,
            Err(why) => return self.tell(&[failed(0, why)]),
        }
        let violations = violations(policy, bindings);
        if violations.is_empty() {
            self.count("allow", "no_error");
        }
        self.tell(&violations);
        self.annotate(policy, bindings);
    }

    fn count(&self, action: &'static str, error: &'static str) {
        let checked = Checked { policy: &self.policy.name, binding: &self.binding.name, action, error };
        self.request.app.metrics.policies.checked(&checked);
    }

    /// Does what the binding says about violations.
    fn tell(&mut self, violations: &[Violation]) {
        for violation in violations {
            let error = if violation.failed { "invalid_error" } else { "no_error" };
            for action in &self.binding.actions {
                match action.as_str() {
                    "Deny" => {
                        let reason = if violation.failed { "" } else { &violation.reason };
                        self.denied.push(denied(self.policy, Some(self.binding), &violation.message, reason));
                        self.count("deny", error);
                    }
                    "Warn" => {
                        let text = format!(
                            "Validation failed for ValidatingAdmissionPolicy '{}' with binding '{}': {}",
                            self.policy.name, self.binding.name, violation.message
                        );
                        self.request.caller.notes.warn(&text);
                        self.count("warn", error);
                    }
                    _ => {
                        self.request.caller.notes.annotate(VIOLATION, &audited(self.binding, violation));
                        self.count("audit", error);
                    }
                }
            }
        }
    }

    fn annotate<'a>(&mut self, policy: &'a Definition, bindings: &Bindings<'a>) {
        let mut budget = Budget::rule_set();
        for (key, expression) in &policy.annotations {
            match expression.evaluate(bindings, &mut budget) {
                Ok(Result_::Null) => {}
                Ok(found) => {
                    let text = found.as_str().unwrap_or_default().trim();
                    let text = &text[..text.floor_char_boundary(ANNOTATION_BYTES_MAX)];
                    let values = self.annotations.entry(key.clone()).or_default();
                    if !text.is_empty() && !values.iter().any(|known| known == text) {
                        values.push(text.to_owned());
                    }
                }
                Err(_) if policy.ignores_failure => {}
                Err(why) => {
                    self.denied.push(denied(self.policy, Some(self.binding), &why.to_string(), ""));
                    self.count("deny", "invalid_error");
                }
            }
        }
    }
}

/// A violation as it is noted, with its fields in upstream's order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Audited<'a> {
    message: &'a str,
    policy: &'a str,
    binding: &'a str,
    expression_index: usize,
    validation_actions: &'a [String],
}

fn audited(binding: &Binding, violation: &Violation) -> String {
    let told = Audited {
        message: &violation.message,
        policy: &binding.policy,
        binding: &binding.name,
        expression_index: violation.index,
        validation_actions: &binding.actions,
    };
    go_escaped(serde_json::to_string(&[told]).expect("texts and a number are JSON"))
}

fn failed(index: usize, message: String) -> Violation {
    Violation { index, message, reason: String::new(), failed: true }
}

/// The rules that do not hold. What goes wrong counts unless the policy forgives it.
fn violations<'a>(policy: &'a Definition, bindings: &Bindings<'a>) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut budget = Budget::rule_set();
    for (index, rule) in policy.rules.iter().enumerate() {
        match rule.expression.evaluate(bindings, &mut budget) {
            Ok(value) if value.as_bool() == Some(true) => {}
            Ok(_) => match message(rule, bindings, &mut budget) {
                Ok(message) => found.push(Violation { index, message, reason: rule.reason.clone(), failed: false }),
                Err(why) if !policy.ignores_failure => found.push(failed(index, why)),
                Err(_) => {}
            },
            Err(_) if policy.ignores_failure => {}
            // Nothing that was found before counts then.
            Err(Failure::OutOfBudget) => return vec![failed(0, Failure::OutOfBudget.to_string())],
            Err(Failure::Failed(why)) => found.push(failed(index, why)),
        }
    }
    found
}

/// What a violation is told with: what the rule's expression makes, its own message, or the rule itself.
fn message<'a>(rule: &'a Rule, bindings: &Bindings<'a>, budget: &mut Budget) -> Result<String, String> {
    if let Some(expression) = &rule.message_expression {
        match expression.evaluate(bindings, budget) {
            Ok(made) => {
                let text = made.as_str().unwrap_or_default().trim();
                if !text.is_empty() && text.len() <= MESSAGE_BYTES_MAX && !text.contains('\n') {
                    return Ok(text.to_owned());
                }
            }
            Err(Failure::OutOfBudget) => return Err(format!("failed messageExpression: {}", Failure::OutOfBudget)),
            Err(Failure::Failed(_)) => {}
        }
    }
    if rule.message.is_empty() {
        return Ok(format!("failed expression: {}", rule.expression.source.trim()));
    }
    Ok(rule.message.clone())
}

/// The name of the object in a refusal.
pub(super) fn name_of(request: &Request<'_>, object: &Value) -> String {
    if !request.nameless && !request.target.name.is_empty() {
        return request.target.name.clone();
    }
    let base = value::str_at(object, "metadata.generateName").unwrap_or_default();
    if base.is_empty() { "Unknown".to_owned() } else { base.to_owned() }
}

/// The first refusal, with upstream's code for its reason.
///
/// # Errors
/// That refusal.
pub(super) fn verdict(request: &Request<'_>, object: &Value, denied: &[Denied]) -> Result<(), Status> {
    let Some(Denied { message, reason }) = denied.first() else { return Ok(()) };
    let (reason, code) = match reason.as_str() {
        "Forbidden" => ("Forbidden", 403),
        "Unauthorized" => ("Unauthorized", 401),
        "RequestEntityTooLarge" => ("RequestEntityTooLarge", 413),
        _ => ("Invalid", 422),
    };
    let kind = request.target.kind;
    let status = Status::forbidden(kind.group, kind.resource, &name_of(request, object), message);
    Err(Status { reason: reason.to_owned(), code, ..status }.with_cause("", message, ""))
}
