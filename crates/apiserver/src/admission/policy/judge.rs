//! What validating policies say of a request.

use std::collections::BTreeMap;

use gantry_api::field::go_escaped;
use gantry_api::status::Status;
use gantry_api::{Value, value};
use gantry_cel::{Bindings, Budget};
use serde::Serialize;
use tokio::time::Instant;

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
        let mut case = Case {
            request,
            policy,
            binding,
            denied: &mut *denied,
            annotations: &mut annotations,
            began: Instant::now(),
        };
        for param in params {
            let asked = |rights| input.bindings(rights, request, param.as_ref(), &policy.variables);
            case.began = Instant::now();
            let views = Views { rules: asked(Some(&rights)), messages: asked(None), annotations: asked(None) };
            case.judge(policy, &views);
        }
    }
    for (key, values) in annotations {
        request.caller.notes.annotate(&format!("{}/{key}", policy.name), &values.join(", "));
    }
}

/// What the three sorts of expressions read. Each works out the policy's variables for itself, and only rules have the
/// authoriser, though the source of an annotation may name it.
struct Views<'a> {
    rules: Bindings<'a>,
    messages: Bindings<'a>,
    annotations: Bindings<'a>,
}

/// A policy and one of its bindings.
struct Case<'c, 'r> {
    request: &'c Request<'r>,
    policy: &'c Definition,
    binding: &'c Binding,
    denied: &'c mut Vec<Denied>,
    annotations: &'c mut BTreeMap<String, Vec<String>>,
    /// When the binding's turn came, with its present parameter.
    began: Instant,
}

impl Case<'_, '_> {
    fn judge<'a>(&mut self, policy: &'a Definition, views: &Views<'a>) {
        match policy.conditions.hold(&views.rules) {
            Ok(true) => {}
            Ok(false) => return,
            Err(_) if policy.ignores_failure => return,
            Err(why) => return self.tell(&[failed(0, why)]),
        }
        let found = violations(policy, views).and_then(|found| Ok((found, annotations(policy, &views.annotations)?)));
        let (violations, annotations) = match found {
            Ok(found) => found,
            // Nothing that was found before counts then, and nothing is noted.
            Err(Exhausted) if policy.ignores_failure => Default::default(),
            Err(Exhausted) => (vec![failed(0, Failure::OutOfBudget.to_string())], Vec::new()),
        };
        if violations.is_empty() {
            self.count("allow", "no_error");
        }
        self.tell(&violations);
        self.annotate(annotations);
    }

    fn count(&self, action: &'static str, error: &'static str) {
        let took = self.began.elapsed();
        let checked = Checked { policy: &self.policy.name, binding: &self.binding.name, action, error, took };
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

    /// Keeps what was made; what failed refuses the request.
    fn annotate(&mut self, made: Vec<Annotation<'_>>) {
        for (key, made) in made {
            match made {
                Ok(text) => {
                    let values = self.annotations.entry(key.to_owned()).or_default();
                    if !values.contains(&text) {
                        values.push(text);
                    }
                }
                Err(why) => {
                    self.denied.push(denied(self.policy, Some(self.binding), &why, ""));
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

/// The expressions have used up what they may cost.
struct Exhausted;

/// An audit annotation: its key, and its text or why there is none.
type Annotation<'a> = (&'a str, Result<String, String>);

/// The rules that do not hold. What goes wrong counts unless the policy forgives it.
///
/// # Errors
/// That the rules used up what they may cost.
fn violations<'a>(policy: &'a Definition, views: &Views<'a>) -> Result<Vec<Violation>, Exhausted> {
    let mut budget = Budget::rule_set();
    let mut outcomes = Vec::with_capacity(policy.rules.len());
    for rule in &policy.rules {
        match rule.expression.evaluate(&views.rules, &mut budget) {
            Err(Failure::OutOfBudget) => return Err(Exhausted),
            Err(Failure::Failed(why)) => outcomes.push(Err(why)),
            Ok(value) => outcomes.push(Ok(value.as_bool() == Some(true))),
        }
    }
    let messages = messages(policy, &views.messages, &mut budget);
    let mut found = Vec::new();
    for (index, (rule, outcome)) in policy.rules.iter().zip(outcomes).enumerate() {
        match (outcome, &messages) {
            (Err(why), _) if !policy.ignores_failure => found.push(failed(index, why)),
            (Ok(_), Err(why)) if !policy.ignores_failure => found.push(failed(index, why.clone())),
            (Ok(false), Ok(messages)) => {
                let message = message(rule, messages[index].as_deref());
                found.push(Violation { index, message, reason: rule.reason.clone(), failed: false });
            }
            _ => {}
        }
    }
    Ok(found)
}

/// The audit annotations that there are, of a budget of their own: empty ones and nulls are none, nor is what goes wrong where
/// the policy forgives it.
///
/// # Errors
/// That they used up what they may cost.
fn annotations<'a>(policy: &'a Definition, bindings: &Bindings<'a>) -> Result<Vec<Annotation<'a>>, Exhausted> {
    let mut budget = Budget::rule_set();
    let mut made = Vec::with_capacity(policy.annotations.len());
    for (key, expression) in &policy.annotations {
        match expression.evaluate(bindings, &mut budget) {
            Err(Failure::OutOfBudget) => return Err(Exhausted),
            Err(Failure::Failed(_)) if policy.ignores_failure => {}
            Err(Failure::Failed(why)) => made.push((key.as_str(), Err(why))),
            Ok(found) => {
                let text = found.as_str().unwrap_or_default().trim();
                let text = &text[..text.floor_char_boundary(ANNOTATION_BYTES_MAX)];
                if !text.is_empty() {
                    made.push((key.as_str(), Ok(text.to_owned())));
                }
            }
        }
    }
    Ok(made)
}

/// What the rules would be told with, whether they hold or not: all of it is made, of what the rules left of the budget.
///
/// # Errors
/// That this was too little. It decides about every rule that gave an answer, even about those that hold.
fn messages<'a>(
    policy: &'a Definition,
    bindings: &Bindings<'a>,
    budget: &mut Budget,
) -> Result<Vec<Option<String>>, String> {
    let make = |rule: &'a Rule, budget: &mut Budget| {
        let Some(expression) = &rule.message_expression else { return Ok(None) };
        match expression.evaluate(bindings, budget) {
            Ok(made) => Ok(made.as_str().map(|text| text.trim().to_owned())),
            Err(Failure::OutOfBudget) => Err(format!("failed messageExpression: {}", Failure::OutOfBudget)),
            Err(Failure::Failed(_)) => Ok(None),
        }
    };
    policy.rules.iter().map(|rule| make(rule, budget)).collect()
}

/// What a violation is told with: what the rule's expression made, its own message, or the rule itself.
fn message(rule: &Rule, made: Option<&str>) -> String {
    let fits = |text: &&str| !text.is_empty() && text.len() <= MESSAGE_BYTES_MAX && !text.contains('\n');
    match made.filter(fits) {
        Some(text) => text.to_owned(),
        None if rule.message.is_empty() => format!("failed expression: {}", rule.expression.source.trim()),
        None => rule.message.clone(),
    }
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
    let kind = &request.target.kind;
    let status = Status::forbidden(kind.group, kind.resource, &name_of(request, object), message);
    Err(Status { reason: reason.to_owned(), code, ..status }.with_cause("", message, ""))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::definition;
    use super::*;

    /// What is found wrong: place, message, and whether it is a failure. `None`: it cost too much.
    fn found(spec: &Value, object: &Value) -> Option<Vec<(usize, String, bool)>> {
        with_views(spec, object, |policy, views| {
            let found = violations(policy, views).ok()?;
            Some(found.into_iter().map(|v| (v.index, v.message, v.failed)).collect())
        })
    }

    fn with_views<T>(spec: &Value, object: &Value, act: impl for<'a> FnOnce(&'a Definition, &Views<'a>) -> T) -> T {
        let policy = definition::policy(&json!({"metadata": {"name": "p"}, "spec": spec}));
        let view = || {
            let bindings = Bindings::new().json("object", object);
            policy.variables.iter().fold(bindings, |bindings, (name, expression)| {
                bindings.compose(name, expression.program().expect("a program"))
            })
        };
        let views = Views { rules: view(), messages: view(), annotations: view() };
        act(&policy, &views)
    }

    /// Most of a million units for a list of 320: what one expression may use, and less than a tenth of what all may.
    const DEAR: &str = "object.all(x, object.all(y, x + y >= 0))";

    #[test]
    fn messages_are_made_for_all_rules_and_can_use_up_the_budget() {
        let list = json!(vec![1; 320]);
        let rule =
            |holds: bool| json!({"expression": holds.to_string(), "messageExpression": format!("{DEAR} ? 'a' : 'b'")});
        let check = |rules: Vec<Value>, policy: &str, expected: &[(usize, &str, bool)]| {
            let found = found(&json!({"failurePolicy": policy, "validations": rules}), &list);
            let expected: Vec<_> =
                expected.iter().map(|(index, text, bad)| (*index, (*text).to_owned(), *bad)).collect();
            assert_eq!(found, Some(expected));
        };
        check(vec![rule(true), rule(false)], "Fail", &[(1, "a", false)]);
        let dear: Vec<Value> = (0..20).map(|_| rule(true)).collect();
        let why = "failed messageExpression: validation failed due to running out of cost budget, no further validation rules will be run";
        let all: Vec<_> = (0..20).map(|index| (index, why, true)).collect();
        check(dear.clone(), "Fail", &all);
        check(dear, "Ignore", &[]);
    }

    #[test]
    fn annotations_that_cost_too_much_are_none() {
        let list = json!(vec![1; 320]);
        let made = |list_of: Vec<Value>, policy: &str| {
            let spec = json!({"failurePolicy": policy, "auditAnnotations": list_of});
            with_views(&spec, &list, |policy, views| {
                let made = annotations(policy, &views.annotations).ok()?;
                Some(made.into_iter().map(|(key, text)| (key.to_owned(), text)).collect::<Vec<_>>())
            })
        };
        let one = |key: &str, value: &str| json!({"key": key, "valueExpression": value});
        let all = vec![one("a", "' x '"), one("empty", "' '"), one("null", "null"), one("bad", "string(object[400])")];
        let text = ("a".to_owned(), Ok("x".to_owned()));
        assert_eq!(made(all.clone(), "Ignore"), Some(vec![text.clone()]));
        let failed = made(all, "Fail").expect("cheap");
        assert_eq!((failed[0].clone(), failed[1].0.as_str(), failed[1].1.is_err()), (text, "bad", true));
        let dear = |key: &str| one(key, &format!("{DEAR} ? 'a' : 'b'"));
        let many = std::iter::once(one("a", "'x'")).chain((0..20).map(|_| dear("b"))).collect();
        assert_eq!(made(many, "Ignore"), None);
    }

    #[test]
    fn rules_that_cost_too_much_find_nothing() {
        let rules = vec![json!({"expression": DEAR}); 20];
        let spec = json!({"failurePolicy": "Fail", "validations": rules});
        assert_eq!(found(&spec, &json!(vec![1; 320])), None);
    }

    #[test]
    fn messages_have_no_authoriser_and_variables_tell_how_they_failed() {
        let spec = json!({"variables": [{"name": "n", "expression": "object.none"}, {"name": "o", "expression": "object"}],
            "validations": [{"expression": "false", "message": "own", "messageExpression": "authorizer.path('/').check('get').reason()"},
                {"expression": "variables.n == 1"}]});
        let why = "expression 'variables.n == 1' resulted in error: composited variable \"n\" fails to evaluate: no such key: none";
        let expected = [(0, "own".to_owned(), false), (1, why.to_owned(), true)];
        assert_eq!(found(&spec, &json!({})), Some(expected.to_vec()));
    }
}
