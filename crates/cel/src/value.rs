//! Values. What comes from a JSON document stays there: a value points into it, and only what an expression touches is read.

mod compare;
mod json;
mod key;
mod list;
mod map;
mod moment;
mod text;

use std::sync::Arc;

pub(crate) use compare::same_keys;
pub use key::Key;
pub use list::List;
pub use map::{Map, Object, Struct};
pub use moment::Moment;
pub use text::Text;

use crate::host::Check;
use crate::library::opaque::Opaque;

/// A value of the language. `'a` is the life of the JSON documents and programs that it may point into.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Value<'a> {
    /// `null`.
    Null,
    /// A truth value.
    Bool(bool),
    /// A signed number.
    Int(i64),
    /// An unsigned number.
    Uint(u64),
    /// A floating-point number.
    Double(f64),
    /// Text.
    String(Text<'a>),
    /// Bytes.
    Bytes(Arc<[u8]>),
    /// A point in time between the years 1 and 9999.
    Timestamp(Moment),
    /// A span of time in nanoseconds.
    Duration(i64),
    /// A list.
    List(List<'a>),
    /// A map.
    Map(Map<'a>),
    /// An object with declared fields.
    Object(Object<'a>),
    /// A value or its absence.
    Optional(Option<Arc<Value<'a>>>),
    /// A type, by its name.
    Type(Arc<str>),
    /// A value that only its own functions look into.
    Opaque(Arc<Opaque>),
    /// A question to the authoriser that is being put together, or its answer.
    Authorizer(Arc<Check>),
    /// The variables that are worked out when asked for.
    Variables,
}

impl<'a> Value<'a> {
    /// Text of one's own.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::String(Text::from(text.to_owned()))
    }

    /// A list of values.
    #[must_use]
    pub fn list(items: Vec<Self>) -> Self {
        Self::List(List::from(items))
    }

    /// The truth value, if it is one.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(b) => Some(*b),
            _ => None,
        }
    }

    /// The text, if it is one.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// Name of its type, as `type(x)` gives it.
    #[must_use]
    pub fn type_name(&self) -> &str {
        match self {
            Self::Null => "null_type",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) => "double",
            Self::String(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::Timestamp(_) => "google.protobuf.Timestamp",
            Self::Duration(_) => "google.protobuf.Duration",
            Self::List(_) => "list",
            Self::Map(_) => "map",
            Self::Object(object) => object.type_name(),
            Self::Optional(_) => "optional_type",
            Self::Type(_) => "type",
            Self::Opaque(opaque) => opaque.type_name(),
            Self::Authorizer(check) => check.type_name(),
            Self::Variables => "kubernetes.variables",
        }
    }

    /// What `size()` gives and costs count: code points, bytes or elements; 1 for all else.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::String(text) => text.code_points(),
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::List(list) => list.len() as u64,
            Self::Map(map) => map.len() as u64,
            Self::Opaque(opaque) => opaque.size(),
            _ => 1,
        }
    }

    /// Whether it is what its type has when nothing is set.
    pub(crate) fn is_zero(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Bool(b) => !b,
            Self::Int(n) | Self::Duration(n) => *n == 0,
            Self::Uint(n) => *n == 0,
            Self::Double(n) => *n == 0.0,
            Self::String(text) => text.is_empty(),
            Self::Bytes(bytes) => bytes.is_empty(),
            Self::Timestamp(time) => *time == Moment::EPOCH,
            Self::List(list) => list.is_empty(),
            Self::Map(map) => map.is_empty(),
            Self::Object(object) => object.is_empty(),
            Self::Optional(held) => held.is_none(),
            _ => false,
        }
    }
}
