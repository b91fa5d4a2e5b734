//! Label and field selectors: parsing, matching, printing, with upstream's messages.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use crate::brief::{PATH_BYTES_MAX, cut};
use crate::field::show;
use crate::{Object, Value, meta, names, value};

mod field;
mod parse;

pub use field::{FieldSelector, Term};

/// Bad values of a requirement that are told of: each takes a long sentence.
const BAD_MAX: usize = 100;

/// How a requirement compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operator {
    /// The value is one of those given.
    In,
    /// The value is none of those given, or absent.
    NotIn,
    /// The key is there.
    Exists,
    /// The key is not there.
    DoesNotExist,
    /// The value is the one given.
    Equals,
    /// The value is another, or absent.
    NotEquals,
    /// The value is a larger integer.
    GreaterThan,
    /// The value is a smaller integer.
    LessThan,
}

/// One condition on a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// The label's key.
    pub key: String,
    /// The comparison.
    pub operator: Operator,
    /// What to compare with, sorted.
    pub values: Vec<String>,
}

/// Something that has labels.
pub trait Labels {
    /// The value of the label `key`.
    fn label(&self, key: &str) -> Option<&str>;
}

impl Labels for Object {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }
}

impl Labels for BTreeMap<String, String> {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key).map(String::as_str)
    }
}

impl Labels for HashMap<String, String> {
    fn label(&self, key: &str) -> Option<&str> {
        self.get(key).map(String::as_str)
    }
}

impl Labels for meta::Labels<'_> {
    fn label(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| &**k == key).map(|(_, v)| &**v)
    }
}

impl<L: Labels> Labels for Option<L> {
    fn label(&self, key: &str) -> Option<&str> {
        self.as_ref()?.label(key)
    }
}

impl<L: Labels + ?Sized> Labels for &L {
    fn label(&self, key: &str) -> Option<&str> {
        (**self).label(key)
    }
}

/// A conjunction of requirements, or the selector that selects nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LabelSelector {
    nothing: bool,
    requirements: Vec<Requirement>,
}

impl LabelSelector {
    /// Selects every object.
    #[must_use]
    pub fn everything() -> Self {
        Self::default()
    }

    /// Selects no object.
    #[must_use]
    pub fn nothing() -> Self {
        Self { nothing: true, requirements: Vec::new() }
    }

    /// Parses `a=b,c in (d,e),!f`.
    ///
    /// # Errors
    /// Upstream's message; the caller makes a 400 of it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut requirements = parse::requirements(text)?;
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Self { nothing: false, requirements })
    }

    /// From a `LabelSelector` object; an absent (null) one selects nothing, an empty one everything.
    ///
    /// # Errors
    /// Upstream's message for an unknown operator or a bad value.
    pub fn from_value(selector: &Value) -> Result<Self, String> {
        if selector.is_null() {
            return Ok(Self::nothing());
        }
        let mut requirements = Vec::new();
        for (key, item) in value::map_at(selector, "matchLabels").into_iter().flatten() {
            let values = vec![item.as_str().unwrap_or_default().to_owned()];
            requirements.push(Requirement::new(key, Operator::Equals, values)?);
        }
        for expression in value::list_at(selector, "matchExpressions") {
            let operator = match value::str_at(expression, "operator").unwrap_or_default() {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => return Err(format!("{other:?} is not a valid label selector operator")),
            };
            let values = value::list_at(expression, "values").iter().filter_map(|v| v.as_str().map(str::to_owned));
            requirements.push(Requirement::new(
                value::str_at(expression, "key").unwrap_or_default(),
                operator,
                values.collect(),
            )?);
        }
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Self { nothing: false, requirements })
    }

    /// From the plain map of a Service or replication controller; an empty one selects nothing, as Services do.
    #[must_use]
    pub fn from_map(labels: &Object) -> Self {
        let equals = |(key, v): (&String, &Value)| Requirement {
            key: key.clone(),
            operator: Operator::Equals,
            values: vec![v.as_str().unwrap_or_default().to_owned()],
        };
        Self { nothing: labels.is_empty(), requirements: labels.iter().map(equals).collect() }
    }

    /// Whether every object is selected.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        !self.nothing && self.requirements.is_empty()
    }

    /// The requirements, by key.
    #[must_use]
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// Whether an object with these labels is selected.
    pub fn matches(&self, labels: &impl Labels) -> bool {
        !self.nothing && self.requirements.iter().all(|r| r.matches(labels.label(&r.key)))
    }
}

impl fmt::Display for LabelSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, requirement) in self.requirements.iter().enumerate() {
            if at > 0 {
                f.write_str(",")?;
            }
            write!(f, "{requirement}")?;
        }
        Ok(())
    }
}

impl Requirement {
    /// A requirement, checked as upstream does.
    ///
    /// # Errors
    /// Upstream's message.
    pub fn new(key: &str, operator: Operator, mut values: Vec<String>) -> Result<Self, String> {
        let mut errors = Vec::new();
        let bad_key = names::qualified_name(key);
        if !bad_key.is_empty() {
            errors.push(format!("key: Invalid value: {key:?}: {}", bad_key.join("; ")));
        }
        // A slice that is not there.
        let shown = || if values.is_empty() { "null".to_owned() } else { show(&Value::from(values.clone())) };
        match operator {
            Operator::In | Operator::NotIn if values.is_empty() => {
                errors.push(format!(
                    "values: Invalid value: {}: for 'in', 'notin' operators, values set can't be empty",
                    shown()
                ));
            }
            Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
                errors.push(format!(
                    "values: Invalid value: {}: values set must be empty for exists and does not exist",
                    shown()
                ));
            }
            Operator::GreaterThan | Operator::LessThan => {
                for (at, text) in values.iter().enumerate().filter(|(_, v)| v.parse::<i64>().is_err()).take(BAD_MAX) {
                    errors.push(format!(
                        "values[{at}]: Invalid value: {text:?}: for 'Gt', 'Lt' operators, the value must be an integer"
                    ));
                }
            }
            _ => {}
        }
        for (at, text) in values.iter().enumerate() {
            if errors.len() > BAD_MAX {
                break;
            }
            let bad = names::label_value(text);
            if !bad.is_empty() {
                let text = cut(text, PATH_BYTES_MAX);
                errors.push(format!("values[{at}][{key}]: Invalid value: {text:?}: {}", bad.join("; ")));
            }
        }
        values.sort();
        match errors.as_slice() {
            [] => Ok(Self { key: key.to_owned(), operator, values }),
            [one] => Err(one.clone()),
            many => Err(format!("[{}]", many.join(", "))),
        }
    }

    /// Whether a label with this value (or none) fulfils it.
    #[must_use]
    pub fn matches(&self, label: Option<&str>) -> bool {
        let listed = |label: &str| self.values.binary_search_by(|value| value.as_str().cmp(label)).is_ok();
        let compared = |test: fn(i64, i64) -> bool| {
            let number = |text: Option<&str>| text.and_then(|t| t.parse().ok());
            matches!((number(label), number(self.values.first().map(String::as_str))), (Some(a), Some(b)) if test(a, b))
        };
        match self.operator {
            Operator::In | Operator::Equals => label.is_some_and(listed),
            Operator::NotIn | Operator::NotEquals => !label.is_some_and(listed),
            Operator::Exists => label.is_some(),
            Operator::DoesNotExist => label.is_none(),
            Operator::GreaterThan => compared(|a, b| a > b),
            Operator::LessThan => compared(|a, b| a < b),
        }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, values, .. } = self;
        let first = values.first().map_or("", String::as_str);
        match self.operator {
            Operator::In => write!(f, "{key} in ({})", values.join(",")),
            Operator::NotIn => write!(f, "{key} notin ({})", values.join(",")),
            Operator::Exists => f.write_str(key),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::Equals => write!(f, "{key}={first}"),
            Operator::NotEquals => write!(f, "{key}!={first}"),
            Operator::GreaterThan => write!(f, "{key}>{first}"),
            Operator::LessThan => write!(f, "{key}<{first}"),
        }
    }
}

#[cfg(test)]
mod tests;
