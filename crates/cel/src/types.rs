//! Types of expressions: what the checker reasons about, and how a JSON document is read.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The type of an expression or a variable.
#[derive(Debug, Clone)]
pub enum Type {
    /// Anything; checked when evaluated.
    Dyn,
    /// The type of `null`.
    Null,
    /// `true` or `false`.
    Bool,
    /// A signed number of 64 bits.
    Int,
    /// An unsigned number of 64 bits.
    Uint,
    /// A floating-point number (IEEE 754, 64 bits).
    Double,
    /// Unicode text.
    String,
    /// A sequence of bytes; base64 in JSON.
    Bytes,
    /// A point in time; RFC 3339 in JSON.
    Timestamp,
    /// A signed span of time in nanoseconds; Go's notation (`1h30m`) in JSON.
    Duration,
    /// A sequence of one type.
    List(Arc<Type>),
    /// Keys and values.
    Map(Arc<Type>, Arc<Type>),
    /// An object with declared fields.
    Object(Arc<ObjectType>),
    /// A value that may be absent.
    Optional(Arc<Type>),
    /// A type itself; `None` when it is not known of what.
    Type(Option<Arc<Type>>),
    /// A type that only its own functions look into, by name (`kubernetes.Quantity`).
    Opaque(&'static str),
    /// A type with what is known of the values beyond it. Nothing but the estimate of costs and the reading of JSON looks at that.
    Annotated(Arc<Annotated>),
    /// A type variable of the checker.
    Param(u32),
    /// The type of what did not check; assignable to all, so that one mistake is reported once.
    Error,
}

/// An object's type: equal to another by name.
#[derive(Debug)]
pub struct ObjectType {
    /// Name, unique in an environment.
    pub name: String,
    /// Fields by the name that expressions use (see [`crate::escape`]).
    pub fields: BTreeMap<String, Field>,
    /// Whether fields that are not declared may be selected and set as `dyn`.
    pub open: bool,
}

/// A field of an object.
#[derive(Debug, Clone)]
pub struct Field {
    /// Type.
    pub ty: Type,
    /// Name in JSON, not escaped.
    pub json: String,
}

/// How a list is compared and joined (`x-kubernetes-list-type`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListKind {
    /// By position.
    Atomic,
    /// Order does not matter, `+` leaves duplicates out.
    Set,
    /// Elements are told apart by these JSON fields; `+` replaces what has the same keys.
    Map(Vec<String>),
}

/// A type with bounds.
#[derive(Debug)]
pub struct Annotated {
    /// Type.
    pub ty: Type,
    /// The most elements (list, map), code points (string) or bytes that a value has.
    pub max_elements: Option<u64>,
    /// Kind of a list.
    pub list: ListKind,
}

impl ObjectType {
    /// A closed object type whose fields are named as in JSON, escaped where expressions need it.
    #[must_use]
    pub fn new<'a>(name: impl Into<String>, fields: impl IntoIterator<Item = (&'a str, Type)>) -> Arc<Self> {
        let fields = fields
            .into_iter()
            .filter_map(|(json, ty)| Some((crate::escape::escape(json)?, Field { ty, json: json.to_owned() })))
            .collect();
        Arc::new(Self { name: name.into(), fields, open: false })
    }
}

impl Type {
    /// A list of `element`.
    #[must_use]
    pub fn list(element: Type) -> Self {
        Self::List(Arc::new(element))
    }

    /// A map.
    #[must_use]
    pub fn map(key: Type, value: Type) -> Self {
        Self::Map(Arc::new(key), Arc::new(value))
    }

    /// A value that may be absent.
    #[must_use]
    pub fn optional(of: Type) -> Self {
        Self::Optional(Arc::new(of))
    }

    /// This type with a bound on the size of its values.
    #[must_use]
    pub fn at_most(self, max_elements: u64) -> Self {
        Self::Annotated(Arc::new(Annotated { ty: self, max_elements: Some(max_elements), list: ListKind::Atomic }))
    }

    /// This type without its annotation.
    #[must_use]
    pub fn plain(&self) -> &Self {
        let mut ty = self;
        while let Self::Annotated(annotated) = ty {
            ty = &annotated.ty;
        }
        ty
    }

    /// The bound on the size of its values, if there is one: elements, code points or bytes.
    #[must_use]
    pub fn max_elements(&self) -> Option<u64> {
        match self {
            Self::Annotated(annotated) => annotated.max_elements.or_else(|| annotated.ty.max_elements()),
            _ => None,
        }
    }

    /// Whether the checker leaves the decision to the evaluation.
    pub(crate) fn is_dyn(&self) -> bool {
        matches!(self.plain(), Self::Dyn | Self::Error)
    }

    /// The name as cel-go's types tell it of themselves: what is missing is `null_type`, not `null`.
    #[must_use]
    pub fn declared_name(&self) -> String {
        let name = self.runtime_name();
        match self.plain() {
            Self::List(of) | Self::Optional(of) | Self::Type(Some(of)) => format!("{name}({})", of.declared_name()),
            Self::Map(key, value) => format!("{name}({}, {})", key.declared_name(), value.declared_name()),
            _ => name.to_owned(),
        }
    }

    /// Name of the type at run time, as `type(x)` shows it.
    pub(crate) fn runtime_name(&self) -> &str {
        match self.plain() {
            Self::Dyn | Self::Param(_) | Self::Annotated(_) => "dyn",
            Self::Null => "null_type",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Double => "double",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::Timestamp => "google.protobuf.Timestamp",
            Self::Duration => "google.protobuf.Duration",
            Self::List(_) => "list",
            Self::Map(..) => "map",
            Self::Object(object) => &object.name,
            Self::Optional(_) => "optional_type",
            Self::Type(_) => "type",
            Self::Opaque(name) => name,
            Self::Error => "error",
        }
    }
}

impl PartialEq for Type {
    fn eq(&self, other: &Self) -> bool {
        match (self.plain(), other.plain()) {
            (Self::List(a), Self::List(b)) | (Self::Optional(a), Self::Optional(b)) => a == b,
            (Self::Map(ak, av), Self::Map(bk, bv)) => ak == bk && av == bv,
            (Self::Object(a), Self::Object(b)) => a.name == b.name,
            (Self::Type(a), Self::Type(b)) => a == b,
            (Self::Opaque(a), Self::Opaque(b)) => a == b,
            (Self::Param(a), Self::Param(b)) => a == b,
            (a, b) => std::mem::discriminant(a) == std::mem::discriminant(b),
        }
    }
}

/// As messages show a type.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.plain() {
            Self::Null => f.write_str("null"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::Duration => f.write_str("duration"),
            Self::List(element) => write!(f, "list({element})"),
            Self::Map(key, value) => write!(f, "map({key}, {value})"),
            Self::Optional(of) => write!(f, "optional_type({of})"),
            Self::Type(Some(of)) => write!(f, "type({of})"),
            Self::Type(None) => f.write_str("type"),
            Self::Error => f.write_str("!error!"),
            Self::Param(id) => write!(f, "_var{id}"),
            other => f.write_str(other.runtime_name()),
        }
    }
}
