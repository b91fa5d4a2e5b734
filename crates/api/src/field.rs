//! Field errors in upstream's words (k8s.io/apimachinery/pkg/util/validation/field).

use std::fmt;

use crate::Value;
use crate::brief::{self, cut, cut_owned};

/// Bytes of a value, or of what is said about it, that one error shows: more than a whole pod template has.
const SHOWN_BYTES_MAX: usize = 64 * 1024;
/// Errors of one object that are listed.
pub(crate) const ERRORS_MAX: usize = 1_000;
/// Bytes of the text of all errors of one object.
pub(crate) const TEXT_BYTES_MAX: usize = 1024 * 1024;

/// A path to a field, printed as `spec.containers[0].name` or `metadata.labels[a]`. Keys of maps may be as long as a body: what is
/// beyond a KiB is cut off.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Path(String);

impl Path {
    /// A path that starts at `name`.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self::default().with(&[name])
    }

    /// The field `name` below this one.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        if self.0.is_empty() { Self::new(name) } else { self.with(&[".", name]) }
    }

    /// The list item at `index`.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        self.with(&["[", &index.to_string(), "]"])
    }

    /// The map entry under `key`.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        self.with(&["[", key, "]"])
    }

    fn with(&self, parts: &[&str]) -> Self {
        let mut path = brief::Path::from(&self.0);
        parts.iter().for_each(|part| path.push(part));
        Self(path.text())
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
    if detail.is_empty() { head } else { format!("{head}: {}", cut(detail, SHOWN_BYTES_MAX)) }
}

/// Prints a value as upstream does: strings and what is absent quoted, numbers and booleans bare, the rest as JSON. No more of it
/// than an error shows.
#[must_use]
pub fn show(value: &Value) -> String {
    match value {
        Value::Null => "\"null\"".to_owned(),
        Value::String(text) => crate::go::quoted(&cut(text, SHOWN_BYTES_MAX)),
        composed @ (Value::Array(_) | Value::Object(_)) => go_escaped(cut_owned(composed.to_string(), SHOWN_BYTES_MAX)),
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
        let shown = cut(shown, SHOWN_BYTES_MAX);
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
        let shown = cut(shown, SHOWN_BYTES_MAX);
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
        Self::new(ErrorKind::Duplicate, path, format!("Duplicate value: {}", cut(shown, SHOWN_BYTES_MAX)))
    }

    /// `path: Not found: value`
    #[must_use]
    pub fn not_found(path: &Path, value: impl Into<Value>) -> Self {
        Self::not_found_because(path, value, "")
    }

    /// `path: Not found: value: detail`
    #[must_use]
    pub fn not_found_because(path: &Path, value: impl Into<Value>, detail: &str) -> Self {
        Self::new(ErrorKind::NotFound, path, with_detail(format!("Not found: {}", show(&value.into())), detail))
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

/// What the errors of one object may still take: it can be wrong in a million places, and each error repeats a part of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    errors: usize,
    bytes: usize,
}

impl Room {
    /// For so many errors, and [`TEXT_BYTES_MAX`].
    pub(crate) fn for_errors(errors: usize) -> Self {
        Self { errors, bytes: TEXT_BYTES_MAX }
    }

    /// Whether there is none left: then errors need not even be written.
    pub(crate) fn is_used_up(self) -> bool {
        self.errors == 0 || self.bytes == 0
    }

    /// Counts an error.
    pub(crate) fn take(&mut self, error: &Error) {
        self.errors = self.errors.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(error.path.0.len() + error.body.len());
    }
}
