//! Where validation stands and what it found: paths that cost nothing until an error needs one.

use crate::Value;
use crate::field::{ERRORS_MAX, Error, ErrorKind, Errors, Path, Room};
use crate::internal;

/// A path to a field, linked through the stack; printed only for an error.
#[derive(Debug, Clone, Copy)]
pub(crate) enum At<'a> {
    /// `spec`, or dotted: `spec.template`.
    Root(&'a str),
    /// A field; dotted names go several levels down.
    Child(&'a At<'a>, &'a str),
    /// A list item.
    Index(&'a At<'a>, usize),
    /// A map entry.
    Key(&'a At<'a>, &'a str),
}

impl At<'_> {
    /// The field `name` below this one; `name` may be dotted.
    pub(crate) fn child<'b>(&'b self, name: &'b str) -> At<'b> {
        At::Child(self, name)
    }

    /// The list item at `index`.
    pub(crate) fn index(&self, index: usize) -> At<'_> {
        At::Index(self, index)
    }

    /// The map entry under `key`.
    pub(crate) fn key<'b>(&'b self, key: &'b str) -> At<'b> {
        At::Key(self, key)
    }

    /// The printed path.
    pub(crate) fn path(&self) -> Path {
        match self {
            At::Root(name) => Path::new(name),
            At::Child(parent, name) => parent.path().child(name),
            At::Index(parent, index) => parent.path().index(*index),
            At::Key(parent, key) => parent.path().key(key),
        }
    }
}

/// The errors found so far. There are only so many, with only so much text: the last one says that there are more.
#[derive(Debug)]
pub(crate) struct Out {
    errors: Errors,
    room: Room,
    full: bool,
    /// Whether pods may have any `seLinuxChangePolicy`, as those may that had one before: the gate `SELinuxMount` is off.
    pub(crate) any_se_linux_policy: bool,
    /// Whether amounts of huge pages may be any, as those may that were before.
    pub(crate) any_huge_pages: bool,
}

impl Default for Out {
    fn default() -> Self {
        Self {
            errors: Errors::new(),
            room: Room::for_errors(ERRORS_MAX),
            full: false,
            any_se_linux_policy: false,
            any_huge_pages: false,
        }
    }
}

impl Out {
    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.errors.len()
    }

    /// In the order found.
    pub(crate) fn into_errors(self) -> Errors {
        self.errors
    }

    /// Whether no more are listed. Loops over what the client sent can end then.
    pub(crate) fn is_full(&self) -> bool {
        self.full
    }

    /// Forgets what was found.
    pub(crate) fn clear(&mut self) {
        let (any_se_linux_policy, any_huge_pages) = (self.any_se_linux_policy, self.any_huge_pages);
        *self = Self { any_se_linux_policy, any_huge_pages, ..Self::default() };
    }

    /// Adds the error, which is not even made where there is no room for it.
    pub(crate) fn add(&mut self, make: impl FnOnce() -> Error) {
        if !self.room.is_used_up() {
            let error = make();
            self.room.take(&error);
            self.errors.push(error);
        } else if !self.full {
            self.full = true;
            let body = "there are more errors, which are not listed: mend these first".to_owned();
            self.errors.push(Error { kind: ErrorKind::Invalid, path: Path::default(), body });
        }
    }

    /// Adds errors that were found elsewhere.
    pub(crate) fn extend(&mut self, errors: Errors) {
        for error in errors {
            self.add(|| error);
        }
    }

    /// A required value is missing.
    pub(crate) fn required(&mut self, at: At<'_>, detail: &str) {
        self.add(|| Error::required(&at.path(), detail));
    }

    /// The value is malformed.
    pub(crate) fn invalid(&mut self, at: At<'_>, value: impl Into<Value>, detail: &str) {
        self.add(|| Error::invalid(&at.path(), value, detail));
    }

    /// The value is malformed, and Go shows it as `shown`.
    pub(crate) fn invalid_as(&mut self, at: At<'_>, shown: &str, detail: &str) {
        self.add(|| Error::invalid_as(&at.path(), shown, detail));
    }

    /// The value, of a type that is written as [`internal`] says, is malformed.
    pub(crate) fn invalid_of<'v>(&mut self, at: At<'_>, ty: &str, value: impl Into<Option<&'v Value>>, detail: &str) {
        let value = value.into().unwrap_or(&Value::Null);
        self.add(|| Error::invalid_as(&at.path(), &internal::shown(ty, value), detail));
    }

    /// One [`Out::invalid`] for each message.
    pub(crate) fn invalid_each(&mut self, at: At<'_>, value: &str, details: Vec<String>) {
        for detail in details {
            self.add(|| Error::invalid(&at.path(), value, &detail));
        }
    }

    /// The value is not one of `supported`.
    pub(crate) fn not_supported(&mut self, at: At<'_>, value: impl Into<Value>, supported: &[&str]) {
        self.add(|| Error::not_supported(&at.path(), value, supported));
    }

    /// As [`Out::not_supported`], with `supported` in the order given.
    pub(crate) fn not_listed(&mut self, at: At<'_>, value: impl Into<Value>, supported: &[&str]) {
        self.add(|| Error::not_listed(&at.path(), value, supported));
    }

    /// As [`Out::not_listed`], of a type that is written as [`internal`] says.
    pub(crate) fn not_listed_of<'v>(
        &mut self,
        at: At<'_>,
        ty: &str,
        value: impl Into<Option<&'v Value>>,
        supported: &[&str],
    ) {
        let value = value.into().unwrap_or(&Value::Null);
        self.add(|| Error::not_listed_as(&at.path(), &internal::shown(ty, value), supported));
    }

    /// The value is malformed, and not shown.
    pub(crate) fn invalid_unshown(&mut self, at: At<'_>, detail: &str) {
        self.add(|| Error::invalid_unshown(&at.path(), detail));
    }

    /// The value may not be set.
    pub(crate) fn forbidden(&mut self, at: At<'_>, detail: &str) {
        self.add(|| Error::forbidden(&at.path(), detail));
    }

    /// The value stands twice.
    pub(crate) fn duplicate(&mut self, at: At<'_>, value: impl Into<Value>) {
        self.add(|| Error::duplicate(&at.path(), value));
    }

    /// The value stands twice, and Go shows it as `shown`.
    pub(crate) fn duplicate_as(&mut self, at: At<'_>, shown: &str) {
        self.add(|| Error::duplicate_as(&at.path(), shown));
    }

    /// The value, of a type that is written as [`internal`] says, stands twice.
    pub(crate) fn duplicate_of(&mut self, at: At<'_>, ty: &str, value: &Value) {
        self.add(|| Error::duplicate_as(&at.path(), &internal::shown(ty, value)));
    }

    /// What the value names is not there.
    pub(crate) fn not_found(&mut self, at: At<'_>, value: impl Into<Value>) {
        self.add(|| Error::not_found(&at.path(), value));
    }

    /// More than `max` bytes.
    pub(crate) fn too_long(&mut self, at: At<'_>, max: usize) {
        self.add(|| Error::too_long(&at.path(), max));
    }

    /// More than `max` items.
    pub(crate) fn too_many(&mut self, at: At<'_>, actual: usize, max: usize) {
        self.add(|| Error::too_many(&at.path(), actual, max));
    }

    /// A string that must be there and be one of `supported`; absent is `Required`.
    pub(crate) fn one_of(&mut self, at: At<'_>, value: &str, supported: &[&str]) {
        if value.is_empty() {
            self.required(at, "");
        } else if !supported.contains(&value) {
            self.not_supported(at, value, supported);
        }
    }

    /// A number that may not be negative.
    pub(crate) fn non_negative(&mut self, at: At<'_>, value: Option<i64>) {
        if let Some(n) = value.filter(|n| *n < 0) {
            self.invalid(at, n, "must be greater than or equal to 0");
        }
    }

    /// A field that an update may not change, of a type that is written as [`internal`] says; absent and null are the same.
    pub(crate) fn immutable(&mut self, at: At<'_>, ty: &str, new: Option<&Value>, old: Option<&Value>) {
        if !same(new, old) {
            self.invalid_of(at, ty, new, "field is immutable");
        }
    }
}

/// Whether two optional fields are equal, where null, `""`, `[]`, `{}` and absent are one.
pub(crate) fn same(a: Option<&Value>, b: Option<&Value>) -> bool {
    match (a.filter(|v| !empty(v)), b.filter(|v| !empty(v))) {
        (None, None) => true,
        (Some(a), Some(b)) => a == b,
        _ => false,
    }
}

/// Whether a value says nothing: null, `""`, `[]`, `{}`.
pub(crate) fn empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(s) => s.is_empty(),
        Value::Array(a) => a.is_empty(),
        Value::Object(o) => o.is_empty(),
        _ => false,
    }
}
