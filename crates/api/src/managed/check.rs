//! Whether an applied configuration is of its type, in upstream's words.

use super::element;
use super::rule::Rule;
use crate::table::{FieldType, Type, TypeTable};
use crate::{Value, go, value};

/// Errors beyond this are not listed; a configuration can hold any number of them.
const MAX_ERRORS: usize = 32;
/// Longer errors are cut: they quote what the client sent.
const MAX_ERROR_BYTES: usize = 1024;

/// Checks field names, JSON types, and that lists with keys have them, each once.
///
/// # Errors
/// What is wrong, with the paths.
pub(super) fn typed(config: &Value, ty: &Type) -> Result<(), String> {
    let mut walk = Walk { errors: Vec::new(), at: Vec::new() };
    walk.structure(config, ty);
    match walk.errors.as_slice() {
        [] => Ok(()),
        [only] => Err(only.clone()),
        many => Err(format!("errors:\n  {}", many.join("\n  "))),
    }
}

struct Walk {
    errors: Vec<String>,
    /// The path, printed.
    at: Vec<String>,
}

impl Walk {
    fn refuse(&mut self, why: &str) {
        if self.errors.len() < MAX_ERRORS {
            let path = self.at.concat();
            let mut error = if path.is_empty() { why.to_owned() } else { format!("{path}: {why}") };
            if error.len() > MAX_ERROR_BYTES {
                error.truncate(error.floor_char_boundary(MAX_ERROR_BYTES));
                error.push_str("...");
            }
            self.errors.push(error);
        }
    }

    fn below(&mut self, element: String, visit: impl FnOnce(&mut Self)) {
        self.at.push(element);
        visit(self);
        self.at.pop();
    }

    fn structure(&mut self, value: &Value, ty: &Type) {
        let Some(map) = self.map(value) else { return };
        for (name, value) in map {
            let Some(field) = ty.fields.get(name.as_str()) else {
                if ty.is_open() {
                    continue;
                }
                self.below(format!(".{name}"), |w| w.refuse("field not declared in schema"));
                return;
            };
            self.below(format!(".{name}"), |w| w.value(value, &field.ty, Rule::of(field)));
        }
    }

    fn map<'v>(&mut self, value: &'v Value) -> Option<&'v crate::Object> {
        if !value.is_object() && !value.is_null() {
            self.refuse(&format!("expected map, got &{{{}}}", go::shown(value)));
        }
        value.as_object()
    }

    fn value(&mut self, value: &Value, ty: &FieldType, rule: Rule<'_>) {
        match ty {
            FieldType::Any | FieldType::Open | FieldType::Raw => {}
            FieldType::Struct(id) => self.structure(value, TypeTable::builtin().get(id)),
            FieldType::Map(item) => {
                for (name, value) in self.map(value).into_iter().flatten() {
                    self.below(format!(".{name}"), |w| w.value(value, item, Rule::plain(item)));
                }
            }
            FieldType::List(item) => self.list(value, item, rule),
            FieldType::Merged(field) => self.value(value, &field.ty, rule),
            scalar => self.scalar(value, scalar),
        }
    }

    fn list(&mut self, value: &Value, item: &FieldType, rule: Rule<'_>) {
        let list = match value {
            Value::Array(list) => list,
            Value::Null => return,
            other => return self.refuse(&format!("expected list, got &{{{}}}", go::shown(other))),
        };
        let mut seen = std::collections::BTreeSet::new();
        for (at, entry) in list.iter().enumerate() {
            let shown = if let Rule::Set | Rule::Keyed(..) = rule {
                let element = match rule.element(entry) {
                    Ok(element) => element,
                    Err(why) => return self.refuse(&format!("element {at}: {why}")),
                };
                let shown = element::shown(&element);
                if !seen.insert(element) {
                    self.refuse(&format!("duplicate entries for key {shown}"));
                }
                shown
            } else {
                format!("[{at}]")
            };
            self.below(shown, |w| w.value(entry, item, Rule::plain(item)));
        }
    }

    fn scalar(&mut self, value: &Value, ty: &FieldType) {
        let why = match (ty, value) {
            (_, Value::Null)
            | (FieldType::String | FieldType::Bytes, Value::String(_))
            | (FieldType::Bool, Value::Bool(_))
            | (FieldType::Int32 | FieldType::Int64 | FieldType::Double, Value::Number(_)) => return,
            (FieldType::String | FieldType::Bytes, other) => {
                format!("expected string, got &value.valueUnstructured{{Value:{}}}", go_syntax(other))
            }
            (FieldType::Bool, other) => format!("expected boolean, got &{{{}}}", go::shown(other)),
            (FieldType::Int32 | FieldType::Int64 | FieldType::Double, other) => {
                format!("expected numeric (int or float), got {}", value::go_type(other))
            }
            (_, Value::Object(_) | Value::Array(_)) => format!("expected any scalar, got &{{{}}}", go::shown(value)),
            _ => return,
        };
        self.refuse(&why);
    }
}

/// A value in Go's syntax.
fn go_syntax(value: &Value) -> String {
    match value {
        Value::Null => "interface {}(nil)".to_owned(),
        Value::Array(list) => {
            format!("[]interface {{}}{{{}}}", list.iter().map(go_syntax).collect::<Vec<_>>().join(", "))
        }
        Value::Object(map) => {
            let pairs: Vec<String> = map.iter().map(|(name, value)| format!("{name:?}:{}", go_syntax(value))).collect();
            format!("map[string]interface {{}}{{{}}}", pairs.join(", "))
        }
        scalar => scalar.to_string(),
    }
}
