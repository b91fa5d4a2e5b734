//! Table cells: the helpers that the printers of several kinds share, and the default columns.

use gantry_api::{Value, value};

use super::{Column, Row};

/// A string column that is always shown.
pub(crate) const fn column(name: &'static str, kind: &'static str, description: &'static str) -> Column {
    Column { name, kind, format: "", description, priority: 0 }
}

/// A column that only `-o wide` shows.
pub(crate) const fn wide(name: &'static str, kind: &'static str, description: &'static str) -> Column {
    Column { name, kind, format: "", description, priority: 1 }
}

/// The name column.
pub(crate) const NAME: Column = Column {
    name: "Name",
    kind: "string",
    format: "name",
    description: "Name of the object, unique in its namespace for its kind",
    priority: 0,
};

/// The age column.
pub(crate) const AGE: Column = column("Age", "string", "Time since the object was created");

/// The columns of kinds without a printer of their own.
pub const DEFAULT: &[Column] = &[NAME, column("Created At", "date", "When the object was created (RFC 3339, UTC)")];

/// The row for [`DEFAULT`].
pub fn default_row(object: &Value) -> Row {
    let at = |path| Value::from(value::str_at(object, path).unwrap_or_default());
    Row { cells: vec![at("metadata.name"), at("metadata.creationTimestamp")], conditions: Vec::new() }
}
