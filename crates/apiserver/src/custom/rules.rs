//! The rules of custom kinds (`x-kubernetes-validations`), written in CEL.
//!
//! They are compiled once for each schema and checked after it: what the schema refuses, no rule is asked about.

mod compile;
mod costs;
mod written;

use std::collections::HashMap;

use gantry_api::Value;
use gantry_api::custom::schema::{Additional, Rule, Schema};
use gantry_api::custom::{Counterparts, Custom};
use gantry_api::field::{Error, ErrorKind, Errors, Path};
use gantry_cel::{Bindings, Budget, EvalError, Program, Scope};
use tokio::time::Instant;

use crate::metrics::cel;

pub(super) use written::definition_errors;

/// The longest message that an expression may make, in bytes; a longer one is not used.
const MAX_MESSAGE_BYTES: usize = 5 << 10;
/// Errors beyond this are not listed.
const MAX_ERRORS: usize = 100;

/// The rules of a schema and of what is below it; parts without rules are left out.
#[derive(Default)]
pub(crate) struct Rules {
    own: Vec<Compiled>,
    properties: HashMap<String, Rules>,
    additional: Option<Box<Rules>>,
    items: Option<Box<Rules>>,
}

/// One rule.
struct Compiled {
    rule: Rule,
    /// `None` where it does not compile: definitions of foreign writers may hold such rules.
    program: Option<Program>,
    message: Option<Program>,
    /// It compares with the value before.
    is_transition: bool,
}

impl Rules {
    fn is_empty(&self) -> bool {
        self.own.is_empty() && self.properties.is_empty() && self.additional.is_none() && self.items.is_none()
    }
}

/// The rules of a kind, compiled when they are first asked for. They live as long as it.
fn of(custom: &Custom) -> Option<&Rules> {
    custom.compiled.get_or_make(|| {
        let began = Instant::now();
        let rules = compile::rules(&custom.schema, &custom.source);
        if !rules.is_empty() {
            cel::compiled(began.elapsed());
        }
        rules
    })
}

/// Whether an error of the schema keeps rules from being asked: they would see what they are not written for.
fn blocks(error: &Error) -> bool {
    matches!(
        error.kind,
        ErrorKind::Required
            | ErrorKind::TooLong
            | ErrorKind::TooMany
            | ErrorKind::TypeInvalid
            | ErrorKind::NotSupported
    )
}

/// Adds what the rules say to the errors of the schema. What they said of the same before is a warning.
pub(super) fn check(
    custom: &Custom,
    (object, old): (&Value, Option<&Value>),
    errors: &mut Errors,
    warnings: &mut Vec<String>,
) {
    let Some(rules) = of(custom).filter(|rules| !rules.is_empty()) else { return };
    if errors.iter().any(blocks) {
        let why = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
        errors.push(Error::invalid(&Path::new("<nil>"), Value::Null, why));
        return;
    }
    let began = Instant::now();
    let (found, kept) = violations(rules, &custom.schema, object, old);
    cel::evaluated(began.elapsed());
    errors.extend(found);
    warnings.extend(kept.iter().map(ToString::to_string));
}

/// What the rules say of a value that its schema lets pass: what is refused, and what was so before.
fn violations(rules: &Rules, schema: &Schema, object: &Value, old: Option<&Value>) -> (Errors, Errors) {
    let mut walk = Walk { errors: Errors::new(), kept: Errors::new(), budget: Budget::rule_set(), ended: false };
    walk.node(&Path::default(), rules, schema, object, Before { own: old, nearest: None });
    (walk.errors, walk.kept)
}

/// What stood before where a value stands now.
#[derive(Clone, Copy)]
struct Before<'v> {
    /// It itself, where that can be told.
    own: Option<&'v Value>,
    /// The nearest value around it of which that can be told, and what stood there before.
    nearest: Option<(&'v Value, &'v Value)>,
}

impl<'v> Before<'v> {
    /// With the value that stands here now.
    fn here(self, value: &'v Value) -> Self {
        let own = self.own.filter(|old| !old.is_null());
        Self { own, nearest: own.map(|old| (value, old)).or(self.nearest) }
    }

    fn below(self, own: Option<&'v Value>) -> Self {
        Self { own, ..self }
    }

    /// Whether all is as it was.
    fn is_same(self) -> bool {
        self.nearest.is_some_and(|(new, old)| new == old)
    }
}

struct Walk {
    errors: Errors,
    /// What was wrong before, and is as it was.
    kept: Errors,
    budget: Budget,
    /// The budget is used up.
    ended: bool,
}

impl Walk {
    fn node<'v>(&mut self, at: &Path, rules: &Rules, schema: &Schema, value: &'v Value, before: Before<'v>) {
        if self.ended || value.is_null() || self.errors.len() + self.kept.len() >= MAX_ERRORS {
            return;
        }
        let here = before.here(value);
        let old = here.own;
        for rule in &rules.own {
            self.rule(at, rule, schema, value, here);
            if self.ended {
                return;
            }
        }
        match value {
            Value::Object(map) => {
                for (name, held) in map {
                    let before = here.below(old.and_then(Value::as_object).and_then(|old| old.get(name)));
                    if let (Some(rules), Some(below)) = (rules.properties.get(name), schema.properties.get(name)) {
                        self.node(&at.child(name), rules, below, held, before);
                    } else if let (Some(rules), Some(Additional::Schema(below))) =
                        (&rules.additional, &schema.additional)
                    {
                        self.node(&at.key(name), rules, below, held, before);
                    }
                }
            }
            Value::Array(list) => {
                let (Some(rules), Some(items)) = (&rules.items, &schema.items) else { return };
                let known = Counterparts::new(schema, old);
                for (index, item) in list.iter().enumerate() {
                    self.node(&at.index(index), rules, items, item, here.below(known.of(item)));
                }
            }
            _ => {}
        }
    }

    fn rule<'a>(&mut self, at: &Path, compiled: &'a Compiled, schema: &Schema, value: &'a Value, before: Before<'a>) {
        let Some(program) = &compiled.program else { return };
        let old = before.own;
        let optional = compiled.rule.optional_old_self == Some(true);
        if compiled.is_transition && old.is_none() && !optional {
            return;
        }
        let mut bindings = Bindings::new().json("self", value);
        if optional {
            bindings = bindings.optional_json("oldSelf", old);
        } else if let Some(old) = old {
            bindings = bindings.json("oldSelf", old);
        }
        let ty = Value::from(schema.ty.name());
        match program.evaluate(&bindings, &mut self.budget) {
            Ok(result) if result.as_bool() == Some(true) => {}
            Ok(_) => {
                let error = self.violation(at, compiled, &ty, &bindings);
                // What was wrong before and is as it was need not be mended.
                let is_kept = !compiled.is_transition && before.is_same();
                if is_kept { &mut self.kept } else { &mut self.errors }.push(error);
            }
            Err(error) => {
                let detail = self.failed(&error, &compiled.rule);
                self.errors.push(Error::invalid(&place(at, ""), ty, &detail));
            }
        }
    }

    fn violation<'a>(&mut self, at: &Path, compiled: &'a Compiled, ty: &Value, bindings: &Bindings<'a>) -> Error {
        let at = place(at, &compiled.rule.field_path);
        let detail = match self.message(compiled, bindings) {
            Ok(detail) => detail,
            Err(why) => return Error::invalid(&at, ty.clone(), &why),
        };
        match compiled.rule.reason.as_str() {
            "FieldValueForbidden" => Error::forbidden(&at, &detail),
            "FieldValueRequired" => Error::required(&at, &detail),
            "FieldValueDuplicate" => Error::duplicate(&at, ty.clone()),
            _ => Error::invalid(&at, ty.clone(), &detail),
        }
    }

    /// The message of a violation, or why there is no budget for it.
    fn message<'a>(&mut self, compiled: &'a Compiled, bindings: &Bindings<'a>) -> Result<String, String> {
        let made = compiled.message.as_ref().map(|program| program.evaluate(bindings, &mut self.budget));
        match made {
            Some(Err(EvalError::OverBudget(scope))) => {
                self.ended = true;
                return Err(match scope {
                    Scope::Call => format!(
                        "no further validation rules will be run due to call cost exceeds limit for messageExpression: {:?}",
                        compiled.rule.message_expression
                    ),
                    Scope::Set => "messageExpression evaluation failed due to running out of cost budget, no further validation rules will be run".to_owned(),
                });
            }
            Some(Ok(made)) => {
                let text = made.as_str().map_or("", str::trim);
                if !text.is_empty() && text.len() <= MAX_MESSAGE_BYTES && !text.contains('\n') {
                    return Ok(text.to_owned());
                }
            }
            Some(Err(_)) | None => {}
        }
        Ok(match compiled.rule.message.as_str() {
            "" => format!("failed rule: {}", compiled.rule.rule.trim()),
            message => message.trim().to_owned(),
        })
    }

    /// Why an evaluation ended without a result, as upstream puts it.
    fn failed(&mut self, error: &EvalError, rule: &Rule) -> String {
        let said = if rule.message.is_empty() { rule.rule.trim() } else { rule.message.trim() };
        match error {
            EvalError::OverBudget(scope) => {
                self.ended = true;
                match scope {
                    Scope::Call => format!(
                        "'{error}': no further validation rules will be run due to call cost exceeds limit for rule: {said}"
                    ),
                    Scope::Set => {
                        "validation failed due to running out of cost budget, no further validation rules will be run"
                            .to_owned()
                    }
                }
            }
            EvalError::NoSuchOverload => {
                format!(
                    "'{error}': call arguments did not match a supported operator, function or macro signature for rule: {said}"
                )
            }
            _ => format!("{error} evaluating rule: {said}"),
        }
    }
}

/// Where a violation is reported: the root has no path upstream.
fn place(at: &Path, below: &str) -> Path {
    let text = format!("{}{below}", at.as_str());
    match text.trim_start_matches('.') {
        "" => Path::new("<nil>"),
        text => Path::new(text),
    }
}

#[cfg(test)]
mod tests;
