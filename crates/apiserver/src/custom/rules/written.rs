//! What is wrong with rules, when they are written.

use gantry_api::Value;
use gantry_api::custom::field_path;
use gantry_api::custom::schema::{Additional, ListKind, MAX_DEPTH, Rule, Schema, SchemaType};
use gantry_api::field::{Error, ErrorKind, Errors, Path, go_escaped, show};
use gantry_api::value::{get, list_at};
use gantry_cel::{ESTIMATED_RULE_LIMIT, Environment, Program, Type};

use super::compile::{ROOT, below, environment, type_of};
use super::costs::{self, Costs};
use crate::expressions::failure;

/// Rules of one schema whose mistakes are reported.
const MAX_ERRORS: usize = 50;
/// Deeper schemas are not looked at for defaults.
const MAX_PATH: usize = 16 << 10;
const REASONS: [&str; 4] = ["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];

/// What is wrong with the rules of a definition. Rules that `old` has as well are not looked at again, nor are those of schemas
/// in which `found` has errors.
pub(in crate::custom) fn definition_errors(definition: &Value, old: Option<&Value>, found: &Errors) -> Errors {
    let versions = list_at(definition, "spec.versions");
    let schema_of = |version: &Value| get(version, "schema.openAPIV3Schema").cloned();
    let same = versions.windows(2).all(|pair| get(&pair[0], "schema") == get(&pair[1], "schema"));
    let before: Vec<Value> =
        old.map_or_else(Vec::new, |old| list_at(old, "spec.versions").iter().filter_map(schema_of).collect());
    let mut errors = Errors::new();
    // More versions than there may be are not looked at.
    if found.iter().any(|error| error.kind == ErrorKind::TooMany && error.path.as_str() == "spec.versions") {
        return errors;
    }
    for (index, version) in versions.iter().enumerate().take(if same { 1 } else { usize::MAX }) {
        let Some(schema) = schema_of(version).filter(|schema| !before.contains(schema)) else { continue };
        let at = if same {
            Path::new("spec.validation.openAPIV3Schema")
        } else {
            Path::new("spec.versions").index(index).child("schema.openAPIV3Schema")
        };
        if found.iter().any(|error| error.path.as_str().starts_with(at.as_str())) {
            continue;
        }
        let parsed = Schema::parse(&schema);
        defaults(&mut errors, &at, &parsed, &schema, ROOT);
        if !errors.is_empty() {
            continue;
        }
        let mut walk = Walk { errors, costs: Costs::default() };
        let root = Place { at, name: ROOT.to_owned(), times: Some(1), uncorrelated: None, depth: 0 };
        walk.node(&root, &parsed, &schema);
        walk.costs.total(&root.at, &mut walk.errors);
        errors = walk.errors;
    }
    errors
}

/// What the rules say of the defaults, but for those below `additionalProperties`, which upstream does not look at.
fn defaults(errors: &mut Errors, at: &Path, schema: &Schema, source: &Value, name: &str) {
    if errors.len() >= MAX_ERRORS || at.as_str().len() > MAX_PATH {
        return;
    }
    if let Some(default) = &schema.default {
        let rules = super::compile::rules_of(schema, source, name);
        let at = at.child("default");
        errors.extend(super::violations(&rules, schema, default, None).0.into_iter().map(|error| Error {
            path: match error.path.as_str() {
                "<nil>" => at.clone(),
                below => at.child(below),
            },
            ..error
        }));
    }
    if let Some(items) = &schema.items {
        defaults(errors, &at.child("items"), items, below(source, "items", ""), &format!("{name}.@idx"));
    }
    for (json, property) in &schema.properties {
        let at = at.child("properties").key(json);
        defaults(errors, &at, property, below(source, "properties", json), &format!("{name}.{json}"));
    }
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
    /// Looks at a schema, what is inside of it first; gives whether all rules there are well formed.
    fn node(&mut self, place: &Place, schema: &Schema, source: &Value) -> bool {
        if self.errors.len() >= MAX_ERRORS || place.depth > MAX_DEPTH {
            return false;
        }
        let mut formed = true;
        let each = each(schema);
        if let Some(Additional::Schema(additional)) = &schema.additional {
            let inner = place.below(place.at.child("additionalProperties"), "@elem", each);
            formed &= self.node(&inner, additional, below(source, "additionalProperties", ""));
        }
        for (json, property) in &schema.properties {
            let mut inner = place.below(place.at.child("properties").key(json), json, each);
            if schema.atomic {
                inner.uncorrelated.get_or_insert_with(|| place.at.clone());
            }
            formed &= self.node(&inner, property, below(source, "properties", json));
        }
        if let Some(items) = &schema.items {
            let mut inner = place.below(place.at.child("items"), "@idx", each);
            if schema.list != ListKind::Map {
                inner.uncorrelated.get_or_insert_with(|| place.at.clone());
            }
            formed &= self.node(&inner, items, below(source, "items", ""));
        }
        let rules_at = place.at.child("x-kubernetes-validations");
        let before = self.errors.len();
        for (index, rule) in schema.rules.iter().enumerate() {
            shape(&mut self.errors, &rules_at.index(index), rule, schema);
        }
        formed &= self.errors.len() == before;
        // Expressions are compiled with the types of all that is inside.
        if formed && !schema.rules.is_empty() {
            self.rules(place, schema, source);
        }
        formed
    }

    fn rules(&mut self, place: &Place, schema: &Schema, source: &Value) {
        let rules_at = place.at.child("x-kubernetes-validations");
        let Some(ty) = type_of(source, &place.name) else {
            let why = "internal error: failed to retrieve type information for x-kubernetes-validations";
            self.errors.push(Error::internal(&rules_at, why));
            return;
        };
        let times = place.times.unwrap_or_else(|| Type::most_in_request(source));
        for (index, rule) in schema.rules.iter().enumerate() {
            let at = rules_at.index(index);
            let environment = environment(rule, &ty);
            if self.rule(&at, rule, &environment, times, place.uncorrelated.as_ref()) {
                self.message(&at, rule, &environment);
            }
        }
    }

    /// An error that shows the rule.
    fn refuse(&mut self, at: &Path, rule: &Rule, why: &str) {
        let body = format!("Invalid value: {}: {why}", shown(rule));
        self.errors.push(Error { kind: ErrorKind::Invalid, path: at.clone(), body });
    }

    /// Whether the rule can be evaluated.
    fn rule(
        &mut self,
        at: &Path,
        rule: &Rule,
        environment: &Environment,
        times: u64,
        uncorrelated: Option<&Path>,
    ) -> bool {
        let here = at.child("rule");
        let program = match environment.compile(&rule.rule) {
            Ok(program) if matches!(program.result_type().plain(), Type::Bool) => program,
            Ok(_) => {
                self.refuse(&here, rule, "cel expression must evaluate to a bool");
                return false;
            }
            Err(error) => {
                self.refuse(&here, rule, &failure(&error));
                return false;
            }
        };
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
        true
    }

    fn message(&mut self, at: &Path, rule: &Rule, environment: &Environment) {
        if rule.message_expression.is_empty() {
            return;
        }
        let here = at.child("messageExpression");
        match environment.compile(&rule.message_expression) {
            Err(error) => self.refuse(&here, rule, &format!("messageExpression {} failed: {error}", error.stage())),
            Ok(program) if !matches!(program.result_type().plain(), Type::String) => {
                self.refuse(&here, rule, "messageExpression must evaluate to a string");
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

/// A rule as upstream prints it: by the names that its fields have in Go, and in their order.
fn shown(rule: &Rule) -> String {
    let text = |text: &str| show(&text.into());
    let reason = if rule.reason.is_empty() { "null".to_owned() } else { text(&rule.reason) };
    let optional = rule.optional_old_self.map_or_else(|| "null".to_owned(), |set| set.to_string());
    let fields = format!(
        "{{\"Rule\":{},\"Message\":{},\"MessageExpression\":{},\"Reason\":{reason},\"FieldPath\":{},\"OptionalOldSelf\":{optional}}}",
        text(&rule.rule),
        text(&rule.message),
        text(&rule.message_expression),
        text(&rule.field_path),
    );
    go_escaped(fields)
}

/// What is wrong with a rule before its expressions are looked at.
fn shape(errors: &mut Errors, at: &Path, rule: &Rule, schema: &Schema) {
    let broken = |text: &str| text.contains(['\n', '\r']);
    let blank = |text: &str| !text.is_empty() && text.trim().is_empty();
    let message = at.child("message");
    if rule.rule.trim().is_empty() {
        errors.push(Error::required(&at.child("rule"), "rule is not specified"));
    } else if blank(&rule.message) {
        errors.push(Error::invalid(&message, rule.message.as_str(), "must be non-empty if specified"));
    } else if broken(rule.message.trim()) {
        errors.push(Error::invalid(&message, rule.message.as_str(), "must not contain line breaks"));
    } else if broken(rule.rule.trim()) && rule.message.trim().is_empty() {
        errors.push(Error::required(&message, "message must be specified if rule contains line breaks"));
    }
    if blank(&rule.message_expression) {
        let why = "messageExpression must be non-empty if specified";
        errors.push(Error::required(&at.child("messageExpression"), why));
    }
    if !rule.reason.is_empty() && !REASONS.contains(&rule.reason.as_str()) {
        errors.push(Error::not_supported(&at.child("reason"), rule.reason.as_str(), &REASONS));
    }
    let path = rule.field_path.as_str();
    let mut wrong = |why: &str| errors.push(Error::invalid(&at.child("fieldPath"), path, why));
    if blank(path) {
        wrong("must be non-empty if specified");
    }
    if broken(path) {
        wrong("must not contain line breaks");
    }
    if !path.is_empty() && field_path(path, schema, true).is_err() {
        wrong("must be a valid path");
    }
}
