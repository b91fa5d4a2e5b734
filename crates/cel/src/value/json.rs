//! Values from JSON and back.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map as JsonMap, Number, Value as Json};

use super::{Key, List, Map, Object, Text, Value};
use crate::error::EvalError;
use crate::library::time;
use crate::types::{ListKind, Type};

/// The type of an element or a value that has none.
static DYN: Type = Type::Dyn;
static ATOMIC: ListKind = ListKind::Atomic;

impl<'a> Value<'a> {
    /// Reads a document by its type: text of the type `timestamp` becomes a point in time. Only the top is looked at.
    ///
    /// # Errors
    /// When the document is of another type.
    pub fn from_json(json: &'a Json, ty: &'a Type) -> Result<Self, EvalError> {
        let (plain, kind) = annotated(ty);
        Ok(match (json, plain) {
            (_, Type::Optional(of)) => Self::Optional(Some(Self::from_json(json, of)?.into())),
            (Json::Null, _) => Self::Null,
            (Json::Bool(b), Type::Bool | Type::Dyn) => Self::Bool(*b),
            (Json::Number(n), Type::Int | Type::Uint | Type::Double | Type::Dyn) => number(n, plain)?,
            (Json::String(text), Type::String | Type::Dyn) => Self::String(Text::Borrowed(text)),
            (Json::String(text), Type::Bytes) => {
                let bytes = STANDARD.decode(text).map_err(|_| EvalError::new("invalid data, expected base64"))?;
                Self::Bytes(bytes.into())
            }
            (Json::String(text), Type::Timestamp) => {
                let time = time::parse_timestamp(text).or_else(|| time::parse_date(text));
                Self::Timestamp(time.ok_or_else(|| invalid("a date or time", json))?)
            }
            (Json::String(text), Type::Duration) => {
                Self::Duration(time::parse_duration(text).ok_or_else(|| invalid("a duration", json))?)
            }
            (Json::Array(items), Type::List(element)) => Self::List(List::Json { items, element, kind }),
            (Json::Array(items), Type::Dyn) => Self::List(List::Json { items, element: &DYN, kind }),
            (Json::Object(entries), Type::Map(_, value)) => Self::Map(Map::Json { entries, value }),
            (Json::Object(entries), Type::Dyn) => Self::Map(Map::Json { entries, value: &DYN }),
            (Json::Object(fields), Type::Object(ty)) => Self::Object(Object::Json { fields, ty }),
            _ => return Err(invalid(plain.runtime_name(), json)),
        })
    }

    /// This value as JSON. Times are RFC 3339, durations Go's notation, bytes base64; an absent optional is `null`.
    ///
    /// # Errors
    /// When something in it has no form in JSON (a type, a key that is no text, an infinite number).
    pub fn to_json(&self) -> Result<Json, EvalError> {
        Ok(match self {
            Self::Null | Self::Optional(None) => Json::Null,
            Self::Bool(b) => Json::Bool(*b),
            Self::Int(n) => Json::from(*n),
            Self::Uint(n) => Json::from(*n),
            Self::Double(n) => Json::Number(Number::from_f64(*n).ok_or_else(|| no_json("an infinite number"))?),
            Self::String(text) => Json::String(text.to_string()),
            Self::Bytes(bytes) => Json::String(STANDARD.encode(bytes)),
            Self::Timestamp(t) => Json::String(time::show_timestamp(*t)),
            Self::Duration(d) => Json::String(time::show_go_duration(*d)),
            Self::List(List::Json { items, .. }) => Json::Array(items.to_vec()),
            Self::List(list) => Json::Array(list.iter().map(|v| v?.to_json()).collect::<Result<_, _>>()?),
            Self::Map(Map::Json { entries, .. }) => Json::Object((*entries).clone()),
            Self::Map(Map::Owned(entries)) => {
                let mut out = JsonMap::new();
                for (key, value) in &**entries {
                    let Key::String(name) = key else { return Err(no_json("a key that is no text")) };
                    out.insert(name.to_string(), value.to_json()?);
                }
                Json::Object(out)
            }
            Self::Object(Object::Json { fields, .. }) => Json::Object((*fields).clone()),
            Self::Object(object) => {
                let mut out = JsonMap::new();
                for (name, value) in object.entries() {
                    out.insert(name, value?.to_json()?);
                }
                Json::Object(out)
            }
            Self::Optional(Some(value)) => value.to_json()?,
            Self::Opaque(opaque) => Json::String(opaque.to_string()),
            other => return Err(no_json(other.type_name())),
        })
    }
}

/// A type without its annotation, and what kind of list it says.
fn annotated(ty: &Type) -> (&Type, &ListKind) {
    match ty {
        Type::Annotated(annotated) => (annotated.ty.plain(), &annotated.list),
        other => (other, &ATOMIC),
    }
}

fn number<'a>(n: &Number, ty: &Type) -> Result<Value<'a>, EvalError> {
    let whole = n.as_i64().or_else(|| {
        let float = n.as_f64().filter(|f| f.fract() == 0.0 && f.abs() < 9.2e18)?;
        matches!(ty, Type::Int).then_some(float as i64)
    });
    match ty {
        Type::Double => n.as_f64().map(Value::Double),
        Type::Uint => n.as_u64().map(Value::Uint),
        Type::Int => whole.map(Value::Int),
        _ => whole.map(Value::Int).or_else(|| n.as_f64().map(Value::Double)),
    }
    .ok_or_else(|| invalid(ty.runtime_name(), &Json::Number(n.clone())))
}

fn invalid(expected: &str, json: &Json) -> EvalError {
    let found = match json {
        Json::Null => "null",
        Json::Bool(_) => "a boolean",
        Json::Number(_) => "a number",
        Json::String(_) => "a string",
        Json::Array(_) => "an array",
        Json::Object(_) => "an object",
    };
    EvalError::new(format!("invalid data, expected {expected} but found {found}"))
}

fn no_json(what: &str) -> EvalError {
    EvalError::new(format!("{what} cannot be converted to JSON"))
}
