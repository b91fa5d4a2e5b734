//! Field errors in upstream's words (k8s.io/apimachinery/pkg/util/validation/field).

use std::fmt;

use crate::Value;

/// A path to a field, printed as `spec.containers[0].name` or `metadata.labels[a]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Path(String);

impl Path {
    /// A path that starts at `name`.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.to_owned())
    }

    /// The field `name` below this one.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        if self.0.is_empty() { Self(name.to_owned()) } else { Self(format!("{}.{name}", self.0)) }
    }

    /// The list item at `index`.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    /// The map entry under `key`.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        Self(format!("{}[{key}]", self.0))
    }

    /// The printed path.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a field was refused; the name is the `reason` of the cause in the Status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// A required value is missing.
    Required,
    /// The value is malformed or out of range.
    Invalid,
    /// The value is not one of those supported.
    NotSupported,
    /// The value may not be set here.
    Forbidden,
    /// The value stands twice in a list that holds each once.
    Duplicate,
    /// What the value names does not exist.
    NotFound,
    /// The value has too many bytes.
    TooLong,
    /// The list has too many items.
    TooMany,
    /// The value has the wrong JSON type.
    TypeInvalid,
    /// It could not be told.
    Internal,
}

impl ErrorKind {
    /// The machine-readable cause (`FieldValueRequired`, ...).
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::Duplicate => "FieldValueDuplicate",
            Self::NotFound => "FieldValueNotFound",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::Internal => "InternalError",
        }
    }
}

/// One refused field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What is wrong.
    pub kind: ErrorKind,
    /// Where.
    pub path: Path,
    /// The message without the path: `Required value: name or generateName is required`.
    pub body: String,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.0.is_empty() { f.write_str(&self.body) } else { write!(f, "{}: {}", self.path, self.body) }
    }
}

fn with_detail(head: String, detail: &str) -> String {
    if detail.is_empty() { head } else { format!("{head}: {detail}") }
}

/// Prints a value as upstream does: strings and what is absent quoted, numbers and booleans bare, the rest as JSON.
#[must_use]
pub fn show(value: &Value) -> String {
    match value {
        Value::Null => "\"null\"".to_owned(),
        Value::String(text) => crate::go::quoted(text),
        composed @ (Value::Array(_) | Value::Object(_)) => go_escaped(composed.to_string()),
        other => other.to_string(),
    }
}

/// JSON as Go writes it: three characters that mean something in HTML are escaped.
#[must_use]
pub fn go_escaped(json: String) -> String {
    if json.contains(['<', '>', '&']) {
        json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
    } else {
        json
    }
}

impl Error {
    fn new(kind: ErrorKind, path: &Path, body: String) -> Self {
        Self { kind, path: path.clone(), body }
    }

    /// `path: Required value: detail`
    #[must_use]
    pub fn required(path: &Path, detail: &str) -> Self {
        Self::new(ErrorKind::Required, path, with_detail("Required value".to_owned(), detail))
    }

    /// `path: Invalid value: value: detail`
    #[must_use]
    pub fn invalid(path: &Path, value: impl Into<Value>, detail: &str) -> Self {
        Self::new(ErrorKind::Invalid, path, with_detail(format!("Invalid value: {}", show(&value.into())), detail))
    }

    /// `path: Invalid value: shown: detail`, where Go shows something else than a value of JSON.
    #[must_use]
    pub fn invalid_as(path: &Path, shown: &str, detail: &str) -> Self {
        Self::new(ErrorKind::Invalid, path, with_detail(format!("Invalid value: {shown}"), detail))
    }

    /// `path: Invalid value: detail`, where upstream does not show the value.
    #[must_use]
    pub fn invalid_unshown(path: &Path, detail: &str) -> Self {
        Self::new(ErrorKind::Invalid, path, with_detail("Invalid value".to_owned(), detail))
    }

    /// `path: Unsupported value: "value": supported values: "a", "b"`
    #[must_use]
    pub fn not_supported(path: &Path, value: impl Into<Value>, supported: &[&str]) -> Self {
        let mut sorted = supported.to_vec();
        sorted.sort_unstable();
        Self::not_listed(path, value, &sorted)
    }

    /// As [`Error::not_supported`], where upstream lists the values in an order of its own.
    #[must_use]
    pub fn not_listed(path: &Path, value: impl Into<Value>, supported: &[&str]) -> Self {
        Self::not_listed_as(path, &show(&value.into()), supported)
    }

    /// As [`Error::not_listed`], where Go shows something else than a value of JSON.
    #[must_use]
    pub fn not_listed_as(path: &Path, shown: &str, supported: &[&str]) -> Self {
        let names: Vec<String> = supported.iter().map(|s| format!("{s:?}")).collect();
        let detail = if names.is_empty() { String::new() } else { format!("supported values: {}", names.join(", ")) };
        Self::new(ErrorKind::NotSupported, path, with_detail(format!("Unsupported value: {shown}"), &detail))
    }

    /// `path: Forbidden: detail`
    #[must_use]
    pub fn forbidden(path: &Path, detail: &str) -> Self {
        Self::new(ErrorKind::Forbidden, path, with_detail("Forbidden".to_owned(), detail))
    }

    /// `path: Internal error: detail`
    #[must_use]
    pub fn internal(path: &Path, detail: &str) -> Self {
        Self::new(ErrorKind::Internal, path, with_detail("Internal error".to_owned(), detail))
    }

    /// `path: Duplicate value: value`
    #[must_use]
    pub fn duplicate(path: &Path, value: impl Into<Value>) -> Self {
        Self::new(ErrorKind::Duplicate, path, format!("Duplicate value: {}", show(&value.into())))
    }

    /// `path: Duplicate value: shown`, where Go shows something else than a value of JSON.
    #[must_use]
    pub fn duplicate_as(path: &Path, shown: &str) -> Self {
        Self::new(ErrorKind::Duplicate, path, format!("Duplicate value: {shown}"))
    }

    /// `path: Not found: value`
    #[must_use]
    pub fn not_found(path: &Path, value: impl Into<Value>) -> Self {
        Self::new(ErrorKind::NotFound, path, format!("Not found: {}", show(&value.into())))
    }

    /// `path: Too long: may not be more than max bytes`
    #[must_use]
    pub fn too_long(path: &Path, max: usize) -> Self {
        Self::new(ErrorKind::TooLong, path, format!("Too long: may not be more than {max} bytes"))
    }

    /// `path: Too many: actual: must have at most max items`
    #[must_use]
    pub fn too_many(path: &Path, actual: usize, max: usize) -> Self {
        Self::new(ErrorKind::TooMany, path, format!("Too many: {actual}: must have at most {max} items"))
    }

    /// `path: Invalid value: "type": detail` for a value of the wrong JSON type.
    #[must_use]
    pub fn type_invalid(path: &Path, value: impl Into<Value>, detail: &str) -> Self {
        Self::new(ErrorKind::TypeInvalid, path, with_detail(format!("Invalid value: {}", show(&value.into())), detail))
    }
}

/// The errors of one object, in the order found.
pub type Errors = Vec<Error>;
