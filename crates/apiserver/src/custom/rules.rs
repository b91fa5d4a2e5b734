//! The rules of custom kinds (`x-kubernetes-validations`), written in CEL.
//!
//! They are compiled once for each schema and checked after it: what the schema refuses, no rule is asked about.

mod compile;
mod costs;
mod written;

use std::collections::HashMap;

use gantry_api::Value;
use gantry_api::custom::schema::{Additional, Rule, Schema};
use gantry_api::custom::{Custom, counterpart};
use gantry_api::field::{Error, ErrorKind, Errors, Path};
use gantry_cel::{Bindings, Budget, EvalError, Program, Scope};
use parking_lot::Mutex;

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

/// The rules of a kind, compiled when they are first asked for. Kinds live for ever, so do these.
fn of(custom: &'static Custom) -> &'static Rules {
    static KNOWN: Mutex<Option<HashMap<usize, &'static Rules>>> = Mutex::new(None);
    let key = std::ptr::from_ref(custom).addr();
    let mut known = KNOWN.lock();
    let known = known.get_or_insert_default();
    known.entry(key).or_insert_with(|| Box::leak(Box::new(compile::rules(&custom.schema, &custom.source))))
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

/// Adds what the rules say to the errors of the schema.
pub(super) fn check(custom: &'static Custom, object: &Value, old: Option<&Value>, errors: &mut Errors) {
    let rules = of(custom);
    if rules.is_empty() {
        return;
    }
    if errors.iter().any(blocks) {
        let why = "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation";
        errors.push(Error::invalid(&Path::new("<nil>"), Value::Null, why));
        return;
    }
    errors.extend(violations(rules, &custom.schema, object, old));
}

/// What the rules say of a value that its schema lets pass.
fn violations(rules: &Rules, schema: &Schema, object: &Value, old: Option<&Value>) -> Errors {
    let mut walk = Walk { errors: Errors::new(), budget: Budget::rule_set(), ended: false };
    walk.node(&Path::default(), rules, schema, object, old);
    walk.errors
}

struct Walk {
    errors: Errors,
    budget: Budget,
    /// The budget is used up.
    ended: bool,
}

impl Walk {
    fn node(&mut self, at: &Path, rules: &Rules, schema: &Schema, value: &Value, old: Option<&Value>) {
        if self.ended || value.is_null() || self.errors.len() >= MAX_ERRORS {
            return;
        }
        let old = old.filter(|old| !old.is_null());
        for rule in &rules.own {
            self.rule(at, rule, schema, value, old);
            if self.ended {
                return;
            }
        }
        match value {
            Value::Object(map) => {
                for (name, held) in map {
                    let before = old.and_then(Value::as_object).and_then(|old| old.get(name));
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
                for (index, item) in list.iter().enumerate() {
                    self.node(&at.index(index), rules, items, item, counterpart(schema, item, old));
                }
            }
            _ => {}
        }
    }

    fn rule<'a>(
        &mut self,
        at: &Path,
        compiled: &'a Compiled,
        schema: &Schema,
        value: &'a Value,
        old: Option<&'a Value>,
    ) {
        let Some(program) = &compiled.program else { return };
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
        let detail = match program.evaluate(&bindings, &mut self.budget) {
            Ok(result) if result.as_bool() == Some(true) => return,
            // What was wrong before and is as it was need not be mended.
            Ok(_) if !compiled.is_transition && old == Some(value) => return,
            Ok(_) => self.message(compiled, &bindings),
            Err(error) => {
                let detail = self.failed(&error, &compiled.rule);
                self.errors.push(Error::invalid(&place(at, ""), ty, &detail));
                return;
            }
        };
        let at = place(at, &compiled.rule.field_path);
        self.errors.push(match compiled.rule.reason.as_str() {
            "FieldValueForbidden" => Error::forbidden(&at, &detail),
            "FieldValueRequired" => Error::required(&at, &detail),
            "FieldValueDuplicate" => Error::duplicate(&at, ty),
            _ => Error::invalid(&at, ty, &detail),
        });
    }

    fn message<'a>(&mut self, compiled: &'a Compiled, bindings: &Bindings<'a>) -> String {
        if let Some(program) = &compiled.message
            && let Ok(made) = program.evaluate(bindings, &mut self.budget)
            && let Some(text) = made.as_str().map(str::trim)
            && !text.is_empty()
            && text.len() <= MAX_MESSAGE_BYTES
            && !text.contains('\n')
        {
            return text.to_owned();
        }
        match compiled.rule.message.trim() {
            "" => format!("failed rule: {}", compiled.rule.rule.trim()),
            message => message.to_owned(),
        }
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
