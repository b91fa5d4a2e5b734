//! From the rules of a schema to programs, and what is wrong with them.

use gantry_api::Value;
use gantry_api::custom::schema::{Additional, Rule, Schema};
use gantry_api::field::{Error, Errors, Path};
use gantry_api::value::{get, list_at};
use gantry_cel::{Environment, Program, Type};
use serde_json::json;

use super::{Compiled, Rules, types};

/// What one rule may be estimated to cost (upstream's `StaticEstimatedCostLimit`).
const MAX_ESTIMATE: u64 = 10_000_000;
/// Rules of one schema whose mistakes are reported.
const MAX_ERRORS: usize = 50;
const REASONS: [&str; 4] = ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];

/// The rules of a schema.
pub(super) fn rules(schema: &Schema) -> Rules {
    node(schema, "selfType", true, 0)
}

fn node(schema: &Schema, name: &str, root: bool, depth: usize) -> Rules {
    let mut found = Rules::default();
    if depth > gantry_api::custom::schema::MAX_DEPTH {
        return found;
    }
    if !schema.rules.is_empty()
        && let Some(ty) = types::of(schema, name, root)
    {
        found.own = schema.rules.iter().map(|rule| compiled(rule, &ty)).collect();
    }
    for (json, property) in &schema.properties {
        let below = node(property, &format!("{name}.{json}"), false, depth + 1);
        if !below.is_empty() {
            found.properties.insert(json.clone(), below);
        }
    }
    let part = |schema: &Schema, part: &str| {
        let below = node(schema, &format!("{name}.{part}"), false, depth + 1);
        (!below.is_empty()).then(|| Box::new(below))
    };
    if let Some(Additional::Schema(additional)) = &schema.additional {
        found.additional = part(additional, "@elem");
    }
    found.items = schema.items.as_ref().and_then(|items| part(items, "@idx"));
    found
}

fn environment(rule: &Rule, ty: &Type) -> Environment {
    let old = if rule.optional_old_self == Some(true) { Type::optional(ty.clone()) } else { ty.clone() };
    Environment::new().variable("self", ty.clone()).variable("oldSelf", old)
}

fn compiled(rule: &Rule, ty: &Type) -> Compiled {
    let environment = environment(rule, ty);
    let program = environment.compile(&rule.rule).ok();
    let message = Some(&rule.message_expression).filter(|m| !m.is_empty()).and_then(|m| environment.compile(m).ok());
    let uses = |program: &Option<Program>| program.as_ref().is_some_and(|p| p.uses("oldSelf"));
    Compiled { is_transition: uses(&program), rule: rule.clone(), program, message }
}

/// What is wrong with the rules of a definition. Rules that `old` has as well are not looked at again.
pub(in crate::custom) fn definition_errors(definition: &Value, old: Option<&Value>) -> Errors {
    let versions = list_at(definition, "spec.versions");
    let schema_of = |version: &Value| get(version, "schema.openAPIV3Schema").cloned();
    let same = versions.windows(2).all(|pair| schema_of(&pair[0]) == schema_of(&pair[1]));
    let before: Vec<Value> =
        old.map_or_else(Vec::new, |old| list_at(old, "spec.versions").iter().filter_map(schema_of).collect());
    let mut errors = Errors::new();
    for (index, version) in versions.iter().enumerate().take(if same { 1 } else { usize::MAX }) {
        let Some(schema) = schema_of(version).filter(|schema| !before.contains(schema)) else { continue };
        let at = if same {
            Path::new("spec.validation.openAPIV3Schema")
        } else {
            Path::new("spec.versions").index(index).child("schema.openAPIV3Schema")
        };
        walk(&mut errors, &at, &Schema::parse(&schema), "selfType", true, Some(1), 0);
    }
    errors
}

/// `times`: how often the rules here are asked at most; `None` where nothing bounds that.
fn walk(errors: &mut Errors, at: &Path, schema: &Schema, name: &str, root: bool, times: Option<u64>, depth: usize) {
    if errors.len() >= MAX_ERRORS || depth > gantry_api::custom::schema::MAX_DEPTH {
        return;
    }
    let ty = types::of(schema, name, root);
    for (index, rule) in schema.rules.iter().enumerate() {
        let at = at.child("x-kubernetes-validations").index(index);
        check(errors, &at, rule, ty.as_ref(), times);
    }
    for (json, property) in &schema.properties {
        walk(errors, &at.child("properties").key(json), property, &format!("{name}.{json}"), false, times, depth + 1);
    }
    let many = |count: Option<i64>| times?.checked_mul(u64::try_from(count?).ok()?);
    if let Some(Additional::Schema(additional)) = &schema.additional {
        let times = many(schema.bounds.max_properties);
        walk(errors, &at.child("additionalProperties"), additional, &format!("{name}.@elem"), false, times, depth + 1);
    }
    if let Some(items) = &schema.items {
        let times = many(schema.bounds.max_items);
        walk(errors, &at.child("items"), items, &format!("{name}.@idx"), false, times, depth + 1);
    }
}

fn shown(rule: &Rule) -> Value {
    let mut shown = json!({"rule": rule.rule});
    for (name, text) in [("message", &rule.message), ("messageExpression", &rule.message_expression)] {
        if !text.is_empty() {
            shown[name] = text.as_str().into();
        }
    }
    shown
}

fn check(errors: &mut Errors, at: &Path, rule: &Rule, ty: Option<&Type>, times: Option<u64>) {
    let mut invalid = |name: &str, value: Value, why: &str| errors.push(Error::invalid(&at.child(name), value, why));
    if rule.message.contains('\n') {
        invalid("message", rule.message.as_str().into(), "message must not contain line breaks");
    } else if rule.rule.trim().contains('\n') && rule.message.is_empty() {
        errors.push(Error::required(&at.child("message"), "message must be specified if rule contains line breaks"));
        return;
    }
    if !rule.reason.is_empty() && !REASONS.contains(&rule.reason.as_str()) {
        errors.push(Error::not_supported(&at.child("reason"), rule.reason.as_str(), &REASONS));
    }
    if rule.rule.trim().is_empty() {
        errors.push(Error::required(&at.child("rule"), "rule is not specified"));
        return;
    }
    let Some(ty) = ty else {
        let why = "rules are not supported on values without a type or with x-kubernetes-preserve-unknown-fields alone";
        errors.push(Error::invalid(&at.child("rule"), shown(rule), why));
        return;
    };
    let environment = environment(rule, ty);
    match environment.compile(&rule.rule) {
        Err(error) => {
            let why = format!("compilation failed: {error}");
            errors.push(Error::invalid(&at.child("rule"), shown(rule), &why));
        }
        Ok(program) if !matches!(program.result_type().plain(), Type::Bool | Type::Dyn) => {
            errors.push(Error::invalid(&at.child("rule"), shown(rule), "must evaluate to a bool"));
        }
        Ok(program) => {
            if rule.optional_old_self.is_some() && !program.uses("oldSelf") {
                let why = "may not be set if oldSelf is not used in rule";
                errors.push(Error::invalid(&at.child("optionalOldSelf"), rule.optional_old_self, why));
            }
            estimate(errors, at, &program, times);
        }
    }
    if rule.message_expression.is_empty() {
        return;
    }
    match environment.compile(&rule.message_expression) {
        Err(error) => {
            let why = format!("messageExpression compilation failed: {error}");
            errors.push(Error::invalid(&at.child("messageExpression"), shown(rule), &why));
        }
        Ok(program) if !matches!(program.result_type().plain(), Type::String | Type::Dyn) => {
            let why = "messageExpression must evaluate to a string";
            errors.push(Error::invalid(&at.child("messageExpression"), shown(rule), why));
        }
        Ok(_) => {}
    }
}

/// A rule that may cost too much is refused when it is written.
#[allow(clippy::cast_precision_loss, reason = "the factor is shown with one digit")]
fn estimate(errors: &mut Errors, at: &Path, program: &Program, times: Option<u64>) {
    let Some(times) = times else { return };
    let cost = program.estimated_cost().max.saturating_mul(times);
    if cost > MAX_ESTIMATE {
        let factor = cost as f64 / MAX_ESTIMATE as f64;
        let factor = if factor > 100.0 { "more than 100x".to_owned() } else { format!("{factor:.1}x") };
        let why = format!(
            "estimated rule cost exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
        );
        errors.push(Error::forbidden(&at.child("rule"), &why));
    }
}
