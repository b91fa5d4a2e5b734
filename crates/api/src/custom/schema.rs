//! Structural schemas: the part of OpenAPI 3 in which custom objects are described, read from a definition.

use std::collections::{BTreeMap, HashSet};
use std::sync::OnceLock;

use regex::Regex;

use crate::Value;
use crate::regexp;
use crate::value::{bool_at, i64_at, list_at, str_at};

/// How deep schemas may nest; deeper ones are cut, and refused when they are written.
pub const MAX_DEPTH: usize = 64;

/// The JSON type that a schema asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SchemaType {
    /// None is stated.
    #[default]
    Any,
    /// `object`.
    Object,
    /// `array`.
    Array,
    /// `string`.
    String,
    /// `integer`.
    Integer,
    /// `number`.
    Number,
    /// `boolean`.
    Boolean,
}

impl SchemaType {
    fn parse(text: &str) -> Self {
        match text {
            "object" => Self::Object,
            "array" => Self::Array,
            "string" => Self::String,
            "integer" => Self::Integer,
            "number" => Self::Number,
            "boolean" => Self::Boolean,
            _ => Self::Any,
        }
    }

    /// As the schema writes it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Any => "",
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }
}

/// What may stand under keys that `properties` does not name.
#[derive(Debug, Clone)]
pub enum Additional {
    /// Anything, or nothing.
    Allowed(bool),
    /// Values of this schema.
    Schema(Box<Schema>),
}

/// How a list merges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ListKind {
    /// As a whole.
    #[default]
    Atomic,
    /// As a set.
    Set,
    /// By keys.
    Map,
}

/// A regular expression, compiled when it is first used.
#[derive(Debug, Clone)]
pub struct Pattern {
    /// As written.
    pub source: String,
    compiled: OnceLock<Result<Regex, String>>,
}

impl Pattern {
    /// Takes the source.
    #[must_use]
    pub fn new(source: &str) -> Self {
        Self { source: source.to_owned(), compiled: OnceLock::new() }
    }

    /// The expression.
    ///
    /// # Errors
    /// Go's message for one that is broken; that it is too large.
    pub fn regex(&self) -> Result<&Regex, &str> {
        self.compiled.get_or_init(|| regexp::compile(&self.source)).as_ref().map_err(String::as_str)
    }
}

/// What a value may be, if that is listed.
#[derive(Debug, Clone, Default)]
pub struct Choices {
    /// In the order of the schema; empty: anything.
    pub listed: Vec<Value>,
    /// The same, for many, when they are first asked for.
    found: OnceLock<HashSet<Value>>,
}

impl Choices {
    /// So many are looked through one by one.
    const FEW: usize = 16;

    /// Takes the list of a schema.
    #[must_use]
    pub fn new(listed: Vec<Value>) -> Self {
        Self { listed, found: OnceLock::new() }
    }

    /// Whether a value may be.
    #[must_use]
    pub fn allow(&self, value: &Value) -> bool {
        match self.listed.len() {
            0 => true,
            len if len <= Self::FEW => self.listed.contains(value),
            _ => self.found.get_or_init(|| self.listed.iter().cloned().collect()).contains(value),
        }
    }
}

/// The bounds of a value.
#[derive(Debug, Clone, Default)]
pub struct Bounds {
    /// `minimum`, and whether it is excluded.
    pub minimum: Option<(f64, bool)>,
    /// `maximum`, and whether it is excluded.
    pub maximum: Option<(f64, bool)>,
    /// `multipleOf`.
    pub multiple_of: Option<f64>,
    /// `minLength`, in characters.
    pub min_length: Option<i64>,
    /// `maxLength`, in characters.
    pub max_length: Option<i64>,
    /// `pattern`.
    pub pattern: Option<Pattern>,
    /// `minItems`.
    pub min_items: Option<i64>,
    /// `maxItems`.
    pub max_items: Option<i64>,
    /// `uniqueItems`.
    pub unique_items: bool,
    /// `minProperties`.
    pub min_properties: Option<i64>,
    /// `maxProperties`.
    pub max_properties: Option<i64>,
    /// `enum`.
    pub choices: Choices,
    /// `format`.
    pub format: String,
}

/// One rule of `x-kubernetes-validations`, as written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rule {
    /// The expression.
    pub rule: String,
    /// The message of a violation.
    pub message: String,
    /// An expression that makes the message.
    pub message_expression: String,
    /// `FieldValueInvalid`, ...; empty: that.
    pub reason: String,
    /// Where the violation is reported, below the place of the rule.
    pub field_path: String,
    /// Whether `oldSelf` is an optional, so that the rule also holds where there is no old value.
    pub optional_old_self: Option<bool>,
}

/// A schema.
#[derive(Debug, Clone, Default)]
pub struct Schema {
    /// `type`.
    pub ty: SchemaType,
    /// `properties`.
    pub properties: BTreeMap<String, Schema>,
    /// `additionalProperties`.
    pub additional: Option<Additional>,
    /// `items`.
    pub items: Option<Box<Schema>>,
    /// `required`.
    pub required: Vec<String>,
    /// `nullable`.
    pub nullable: bool,
    /// `default`.
    pub default: Option<Value>,
    /// `x-kubernetes-preserve-unknown-fields`.
    pub preserve_unknown: bool,
    /// `x-kubernetes-embedded-resource`.
    pub embedded: bool,
    /// `x-kubernetes-int-or-string`.
    pub int_or_string: bool,
    /// `x-kubernetes-list-type`.
    pub list: ListKind,
    /// `x-kubernetes-list-map-keys`.
    pub list_keys: Vec<String>,
    /// `x-kubernetes-map-type: atomic`.
    pub atomic: bool,
    /// What values must keep to.
    pub bounds: Bounds,
    /// `allOf`.
    pub all_of: Vec<Schema>,
    /// `anyOf`.
    pub any_of: Vec<Schema>,
    /// `oneOf`.
    pub one_of: Vec<Schema>,
    /// `not`.
    pub not: Option<Box<Schema>>,
    /// `x-kubernetes-validations`.
    pub rules: Vec<Rule>,
}

impl Schema {
    /// Reads a schema; what is not understood is left out, a definition that is written has been validated.
    #[must_use]
    pub fn parse(json: &Value) -> Self {
        parse(json, 0)
    }

    /// Whether a null here stands for nothing: it is dropped or replaced by the default.
    #[must_use]
    pub fn refuses_null(&self) -> bool {
        !self.nullable
    }

    /// The schema of what stands under `name`.
    #[must_use]
    pub fn property(&self, name: &str) -> Option<&Self> {
        match (self.properties.get(name), &self.additional) {
            (Some(found), _) => Some(found),
            (None, Some(Additional::Schema(schema))) => Some(schema),
            _ => None,
        }
    }
}

fn parse(json: &Value, depth: usize) -> Schema {
    if depth > MAX_DEPTH || !json.is_object() {
        return Schema { preserve_unknown: true, ..Schema::default() };
    }
    let text = |name: &str| str_at(json, name).unwrap_or_default();
    let below = |schema: &Value| parse(schema, depth + 1);
    let list = |name: &str| list_at(json, name).iter().map(below).collect();
    let texts = |name: &str| list_at(json, name).iter().filter_map(Value::as_str).map(str::to_owned).collect();
    let properties = json.get("properties").and_then(Value::as_object);
    Schema {
        ty: SchemaType::parse(text("type")),
        properties: properties.into_iter().flatten().map(|(name, schema)| (name.clone(), below(schema))).collect(),
        additional: match json.get("additionalProperties") {
            Some(Value::Bool(allowed)) => Some(Additional::Allowed(*allowed)),
            Some(schema @ Value::Object(_)) => Some(Additional::Schema(Box::new(below(schema)))),
            _ => None,
        },
        items: json.get("items").filter(|items| items.is_object()).map(|items| Box::new(below(items))),
        required: texts("required"),
        nullable: bool_at(json, "nullable"),
        default: json.get("default").filter(|default| !default.is_null()).cloned(),
        preserve_unknown: bool_at(json, "x-kubernetes-preserve-unknown-fields"),
        embedded: bool_at(json, "x-kubernetes-embedded-resource"),
        int_or_string: bool_at(json, "x-kubernetes-int-or-string"),
        list: match text("x-kubernetes-list-type") {
            "set" => ListKind::Set,
            "map" => ListKind::Map,
            _ => ListKind::Atomic,
        },
        list_keys: texts("x-kubernetes-list-map-keys"),
        atomic: text("x-kubernetes-map-type") == "atomic",
        bounds: bounds(json),
        all_of: list("allOf"),
        any_of: list("anyOf"),
        one_of: list("oneOf"),
        not: json.get("not").map(|not| Box::new(below(not))),
        rules: list_at(json, "x-kubernetes-validations").iter().map(rule).collect(),
    }
}

fn bounds(json: &Value) -> Bounds {
    let number = |name: &str| json.get(name).and_then(Value::as_f64);
    let count = |name: &str| i64_at(json, name);
    Bounds {
        minimum: number("minimum").map(|n| (n, bool_at(json, "exclusiveMinimum"))),
        maximum: number("maximum").map(|n| (n, bool_at(json, "exclusiveMaximum"))),
        multiple_of: number("multipleOf"),
        min_length: count("minLength"),
        max_length: count("maxLength"),
        pattern: str_at(json, "pattern").filter(|p| !p.is_empty()).map(Pattern::new),
        min_items: count("minItems"),
        max_items: count("maxItems"),
        unique_items: bool_at(json, "uniqueItems"),
        min_properties: count("minProperties"),
        max_properties: count("maxProperties"),
        choices: Choices::new(list_at(json, "enum").to_vec()),
        format: str_at(json, "format").unwrap_or_default().to_owned(),
    }
}

fn rule(json: &Value) -> Rule {
    let text = |name: &str| str_at(json, name).unwrap_or_default().to_owned();
    Rule {
        rule: text("rule"),
        message: text("message"),
        message_expression: text("messageExpression"),
        reason: text("reason"),
        field_path: text("fieldPath"),
        optional_old_self: json.get("optionalOldSelf").and_then(Value::as_bool),
    }
}
