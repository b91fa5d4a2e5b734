//! What is wrong with rules, when they are written.

use gantry_api::Value;
use gantry_api::custom::JsonPath;
use gantry_api::custom::schema::{Additional, ListKind, MAX_DEPTH, Rule, Schema, SchemaType};
use gantry_api::field::{Error, Errors, Path};
use gantry_api::value::{get, list_at};
use gantry_cel::{ESTIMATED_RULE_LIMIT, Environment, Program, Type};
use serde_json::json;

use super::compile::{ROOT, below, environment, type_of};
use super::costs::{self, Costs};

/// Rules of one schema whose mistakes are reported.
const MAX_ERRORS: usize = 50;
const REASONS: [&str; 4] = ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];

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
        let mut walk = Walk { errors, costs: Costs::default() };
        let root = Place { at, name: ROOT.to_owned(), times: Some(1), uncorrelated: None, depth: 0 };
        walk.node(&root, &Schema::parse(&schema), &schema);
        walk.costs.total(&root.at, &mut walk.errors);
        errors = walk.errors;
    }
    errors
}

/// Where a schema stands.
struct Place {
    at: Path,
    name: String,
    /// How often there are values of it at most; `None` where nothing in the schema bounds that.
    times: Option<u64>,
    /// The list around it whose items cannot be told from one another, so that none has a value before.
    uncorrelated: Option<Path>,
    depth: usize,
}

impl Place {
    fn below(&self, at: Path, part: &str, times: Option<u64>) -> Self {
        let times = self.times.zip(times).map(|(here, each)| here.saturating_mul(each));
        let name = format!("{}.{part}", self.name);
        Self { at, name, times, uncorrelated: self.uncorrelated.clone(), depth: self.depth + 1 }
    }
}

struct Walk {
    errors: Errors,
    costs: Costs,
}

impl Walk {
    fn node(&mut self, place: &Place, schema: &Schema, source: &Value) {
        if self.errors.len() >= MAX_ERRORS || place.depth > MAX_DEPTH {
            return;
        }
        if !schema.rules.is_empty() {
            self.rules(place, schema, source);
        }
        let each = each(schema);
        for (json, property) in &schema.properties {
            let inner = place.below(place.at.child("properties").key(json), json, each);
            self.node(&inner, property, below(source, "properties", json));
        }
        if let Some(Additional::Schema(additional)) = &schema.additional {
            let inner = place.below(place.at.child("additionalProperties"), "@elem", each);
            self.node(&inner, additional, below(source, "additionalProperties", ""));
        }
        if let Some(items) = &schema.items {
            let mut inner = place.below(place.at.child("items"), "@idx", each);
            if schema.list != ListKind::Map {
                inner.uncorrelated.get_or_insert_with(|| place.at.clone());
            }
            self.node(&inner, items, below(source, "items", ""));
        }
    }

    fn rules(&mut self, place: &Place, schema: &Schema, source: &Value) {
        let ty = type_of(source, &place.name);
        let times = place.times.unwrap_or_else(|| Type::most_in_request(source));
        for (index, rule) in schema.rules.iter().enumerate() {
            let at = place.at.child("x-kubernetes-validations").index(index);
            let before = self.errors.len();
            shape(&mut self.errors, &at, rule, schema);
            if self.errors.len() > before {
                continue;
            }
            let Some(ty) = &ty else {
                let why = "internal error: failed to construct type information for x-kubernetes-validations rules: unable to convert structural schema to CEL declarations";
                self.errors.push(Error::invalid(&at.child("rule"), shown(rule), why));
                continue;
            };
            let environment = environment(rule, ty);
            self.rule(&at, rule, &environment, times, place.uncorrelated.as_ref());
            self.message(&at, rule, &environment);
        }
    }

    fn rule(&mut self, at: &Path, rule: &Rule, environment: &Environment, times: u64, uncorrelated: Option<&Path>) {
        let here = at.child("rule");
        let program = match environment.compile(&rule.rule) {
            Ok(program) => program,
            Err(error) => {
                let why = format!("compilation failed: {error}");
                self.errors.push(Error::invalid(&here, shown(rule), &why));
                return;
            }
        };
        if !matches!(program.result_type().plain(), Type::Bool | Type::Dyn) {
            self.errors.push(Error::invalid(&here, shown(rule), "must evaluate to a bool"));
            return;
        }
        self.cost(&here, "estimated rule cost", &program, times);
        if program.uses("oldSelf") {
            if let Some(list) = uncorrelated {
                let why = format!("oldSelf cannot be used on the uncorrelatable portion of the schema within {list}");
                self.errors.push(Error::invalid(&here, rule.rule.as_str(), &why));
            }
        } else if rule.optional_old_self.is_some() {
            let why = "may not be set if oldSelf is not used in rule";
            self.errors.push(Error::invalid(&at.child("optionalOldSelf"), rule.optional_old_self, why));
        }
    }

    fn message(&mut self, at: &Path, rule: &Rule, environment: &Environment) {
        if rule.message_expression.is_empty() {
            return;
        }
        let here = at.child("messageExpression");
        match environment.compile(&rule.message_expression) {
            Err(error) => {
                let why = format!("messageExpression compilation failed: {error}");
                self.errors.push(Error::invalid(&here, shown(rule), &why));
            }
            Ok(program) if !matches!(program.result_type().plain(), Type::String | Type::Dyn) => {
                self.errors.push(Error::invalid(&here, shown(rule), "messageExpression must evaluate to a string"));
            }
            // A message is made once, however many values break the rule: after it nothing is asked.
            Ok(program) => self.cost(&here, "estimated messageExpression cost", &program, 1),
        }
    }

    /// What may cost too much is refused when it is written.
    fn cost(&mut self, at: &Path, what: &str, program: &Program, times: u64) {
        let cost = program.estimated_cost().max.saturating_mul(times);
        if cost > ESTIMATED_RULE_LIMIT {
            self.errors.push(Error::forbidden(at, &costs::exceeds(what, cost, ESTIMATED_RULE_LIMIT)));
        }
        self.costs.add(at, cost);
    }
}

/// How many values a value of the schema holds at most, if it says so.
fn each(schema: &Schema) -> Option<u64> {
    let count = |bound: Option<i64>| bound.map(|n| n.max(0).unsigned_abs());
    match schema.ty {
        SchemaType::Array => count(schema.bounds.max_items),
        SchemaType::Object if schema.additional.is_some() => count(schema.bounds.max_properties),
        _ => Some(1),
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

/// What is wrong with a rule before its expressions are looked at.
fn shape(errors: &mut Errors, at: &Path, rule: &Rule, schema: &Schema) {
    let broken = |text: &str| text.contains(['\n', '\r']);
    let blank = |text: &str| !text.is_empty() && text.trim().is_empty();
    let message = at.child("message");
    if rule.rule.trim().is_empty() {
        errors.push(Error::required(&at.child("rule"), "rule is not specified"));
    } else if blank(&rule.message) {
        errors.push(Error::invalid(&message, rule.message.as_str(), "message must be non-empty if specified"));
    } else if broken(rule.message.trim()) {
        errors.push(Error::invalid(&message, rule.message.as_str(), "message must not contain line breaks"));
    } else if broken(rule.rule.trim()) && rule.message.is_empty() {
        errors.push(Error::required(&message, "message must be specified if rule contains line breaks"));
    }
    if blank(&rule.message_expression) {
        let why = "messageExpression must be non-empty if specified";
        errors.push(Error::invalid(&at.child("messageExpression"), rule.message_expression.as_str(), why));
    }
    if !rule.reason.is_empty() && !REASONS.contains(&rule.reason.as_str()) {
        errors.push(Error::not_supported(&at.child("reason"), rule.reason.as_str(), &REASONS));
    }
    let path = rule.field_path.as_str();
    let mut wrong = |why: &str| errors.push(Error::invalid(&at.child("fieldPath"), path, why));
    if blank(path) {
        wrong("fieldPath must be non-empty if specified");
    }
    if broken(path) {
        wrong("fieldPath must not contain line breaks");
    }
    if !path.is_empty() && !leads_somewhere(path, schema) {
        wrong("fieldPath must be a valid path");
    }
}

/// Whether a path names something in the schema.
fn leads_somewhere(path: &str, schema: &Schema) -> bool {
    let Some(path) = JsonPath::parse(path).ok().filter(JsonPath::is_plain) else { return false };
    path.names().try_fold(schema, |schema, name| schema.property(name)).is_some()
}
