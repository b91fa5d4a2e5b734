//! Values against structural schemas, in the words of upstream's validator (kube-openapi).
//!
//! An update does not have to mend what was wrong before: a part that is as it was is not looked at again (KEP-4008).

mod bounds;
mod embedded;
pub mod formats;
mod lists;
mod number;
mod scale;

pub use lists::Counterparts;

use super::Custom;
use super::schema::{Additional, Schema, SchemaType};
use crate::brief::{self, PATH_BYTES_MAX, cut};
use crate::field::{Error, Errors, Path, Room};
use crate::{Object, Value};

/// Errors beyond this are not listed; an object can hold any number of them.
const MAX_ERRORS: usize = 100;

/// The errors of a new object.
#[must_use]
pub fn create(custom: &Custom, object: &Value) -> Errors {
    let mut errors = value(&custom.schema, object, None);
    errors.extend(scale::check(custom, object));
    errors.extend(embedded::check(object, &custom.schema));
    errors.extend(lists::check(object, &custom.schema));
    errors
}

/// The errors of an object that takes the place of `old`.
#[must_use]
pub fn update(custom: &Custom, object: &Value, old: &Value) -> Errors {
    let mut errors = value(&custom.schema, object, Some(old));
    errors.extend(scale::check(custom, object));
    errors.extend(embedded::check(object, &custom.schema));
    errors.extend(new_repeats(custom, object, old));
    errors
}

/// The errors of an object whose status takes the place of that of `old`: nothing else of it is looked at again.
#[must_use]
pub fn status(custom: &Custom, object: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    if let (Some(schema), Some(status)) = (custom.schema.properties.get("status"), object.get("status")) {
        errors = value(schema, status, old.get("status"));
        for error in &mut errors {
            // Upstream validates the status by itself, and says afterwards where it was.
            error.path = match error.path.as_str() {
                "<nil>" => Path::new("status"),
                below if below.starts_with('[') => Path::new(&format!("status{below}")),
                below => Path::new("status").child(below),
            };
        }
    }
    errors.extend(scale::check_status(custom, object));
    errors.extend(new_repeats(custom, object, old));
    errors
}

/// Items that stand twice, if none did before.
fn new_repeats(custom: &Custom, object: &Value, old: &Value) -> Errors {
    let found = lists::check(object, &custom.schema);
    if found.is_empty() || lists::check(old, &custom.schema).is_empty() { found } else { Errors::new() }
}

/// The errors of a value, which may be left out where it is as in `old`.
#[must_use]
pub fn value(schema: &Schema, value: &Value, old: Option<&Value>) -> Errors {
    let mut walk = Walk::default();
    walk.node(&At::Root, schema, value, old);
    walk.errors
}

/// Finds fields that a schema does not have.
pub struct Unknown;

impl Unknown {
    /// Whether pruning would take something out of the value.
    #[must_use]
    pub fn any(value: &Value, schema: &Schema) -> bool {
        match value {
            Value::Object(map) => map.iter().any(|(name, held)| match schema.property(name) {
                Some(below) => Self::any(held, below),
                None => {
                    let open = schema.preserve_unknown || matches!(schema.additional, Some(Additional::Allowed(true)));
                    let implied = schema.embedded && matches!(name.as_str(), "apiVersion" | "kind" | "metadata");
                    !open && !implied
                }
            }),
            Value::Array(list) => {
                schema.items.as_ref().is_some_and(|items| list.iter().any(|item| Self::any(item, items)))
            }
            _ => false,
        }
    }
}

/// Where the walk stands; printed only for an error.
#[derive(Clone, Copy)]
enum At<'a> {
    Root,
    Name(&'a At<'a>, &'a str),
    Index(&'a At<'a>, usize),
}

impl At<'_> {
    fn write(&self, path: &mut brief::Path) {
        match self {
            Self::Root => {}
            Self::Name(parent, name) => {
                parent.write(path);
                if !path.is_empty() {
                    path.push(".");
                }
                path.push(name);
            }
            Self::Index(parent, index) => {
                parent.write(path);
                path.push(&format!("[{index}]"));
            }
        }
    }

    /// `spec.list[0].name`; nothing at the root.
    fn text(&self) -> String {
        let mut path = brief::Path::default();
        self.write(&mut path);
        path.text()
    }

    /// Upstream has no path for the root, and says so.
    fn path(&self) -> Path {
        let text = self.text();
        Path::new(if text.is_empty() { "<nil>" } else { &text })
    }

    /// The beginning of a message about the value.
    fn subject(&self) -> String {
        format!("{} in body", self.text())
    }
}

struct Walk {
    errors: Errors,
    room: Room,
}

impl Default for Walk {
    fn default() -> Self {
        Self { errors: Errors::new(), room: Room::for_errors(MAX_ERRORS) }
    }
}

impl Walk {
    /// Adds an error, which is not even made where there is no room for it.
    fn push(&mut self, make: impl FnOnce() -> Error) {
        if !self.room.is_used_up() {
            let error = make();
            self.room.take(&error);
            self.errors.push(error);
        }
    }

    /// Adds what another walk has found.
    fn extend(&mut self, errors: Errors) {
        errors.into_iter().for_each(|error| self.push(|| error));
    }

    fn invalid(&mut self, at: &At<'_>, value: impl Into<Value>, why: &str) {
        self.push(|| Error::invalid(&at.path(), value, &format!("{} {why}", at.subject())));
    }

    /// What is said of the range of a number carries no path either.
    fn out_of_range(&mut self, at: &At<'_>, ty: &str, format: &str) {
        self.push(|| {
            let why = format!("Checked value must be of type {ty} with format {format} in {}", at.text());
            Error::invalid(&Path::new("<nil>"), "", &why)
        });
    }

    /// What is said of a value as a whole carries no path.
    fn whole(&mut self, at: &At<'_>, why: &str) {
        self.push(|| Error::invalid(&Path::new("<nil>"), "", &format!("{:?} {why}", at.text())));
    }

    fn node(&mut self, at: &At<'_>, schema: &Schema, value: &Value, old: Option<&Value>) {
        if self.room.is_used_up() || old == Some(value) {
            return;
        }
        if !self.of_type(at, schema, value) {
            return;
        }
        if !(value.is_null() && schema.nullable) {
            bounds::check(self, at, schema, value);
        }
        match value {
            Value::Object(map) => self.object(at, schema, map, old),
            Value::Array(list) => {
                let known = Counterparts::new(schema, old);
                for (index, item) in list.iter().enumerate() {
                    let Some(items) = &schema.items else { break };
                    self.node(&At::Index(at, index), items, item, known.of(item));
                }
            }
            _ => {}
        }
        self.quantified(at, schema, value, old);
    }

    /// Whether the JSON type is as the schema wants it; says so if not.
    fn of_type(&mut self, at: &At<'_>, schema: &Schema, value: &Value) -> bool {
        if value.is_null() && schema.nullable {
            return true;
        }
        let (wanted, fits) = if schema.int_or_string {
            ("integer,string", value.is_string() || number::is_whole(value))
        } else {
            let fits = match schema.ty {
                SchemaType::Any => true,
                SchemaType::Object => value.is_object(),
                SchemaType::Array => value.is_array(),
                SchemaType::String => value.is_string(),
                SchemaType::Integer => number::is_whole(value),
                SchemaType::Number => value.is_number(),
                SchemaType::Boolean => value.is_boolean(),
            };
            (schema.ty.name(), fits)
        };
        if !fits {
            let found = type_of(value);
            self.push(|| {
                let why = format!("{} must be of type {wanted}: {found:?}", at.subject());
                Error::type_invalid(&at.path(), found, &why)
            });
        }
        fits
    }

    fn object(&mut self, at: &At<'_>, schema: &Schema, map: &crate::Object, old: Option<&Value>) {
        for name in schema.required.iter().filter(|name| !map.contains_key(*name)) {
            self.push(|| Error::required(&At::Name(at, name).path(), ""));
        }
        for (name, held) in map {
            let Some(below) = schema.property(name) else {
                if matches!(schema.additional, Some(Additional::Allowed(false))) && !schema.preserve_unknown {
                    self.whole(at, &format!("is a forbidden property: {}", cut(name, PATH_BYTES_MAX)));
                }
                continue;
            };
            let before = old.and_then(Value::as_object).and_then(|old| old.get(name));
            self.node(&At::Name(at, name), below, held, before);
        }
    }

    /// `allOf`, `anyOf`, `oneOf` and `not`.
    fn quantified(&mut self, at: &At<'_>, schema: &Schema, value: &Value, old: Option<&Value>) {
        let errors_of = |one: &Schema| {
            let mut walk = Self::default();
            walk.node(at, one, value, old);
            walk.errors
        };
        for one in &schema.all_of {
            let errors = errors_of(one);
            if !errors.is_empty() {
                self.whole(at, "must validate all the schemas (allOf)");
                self.extend(errors);
            }
        }
        if !schema.any_of.is_empty() {
            let mut all: Vec<Errors> = schema.any_of.iter().map(errors_of).collect();
            if all.iter().all(|errors| !errors.is_empty()) {
                self.whole(at, "must validate at least one schema (anyOf)");
                // The alternative that comes closest says why.
                all.sort_by_key(Vec::len);
                self.extend(all.swap_remove(0));
            }
        }
        if !schema.one_of.is_empty() {
            let mut all: Vec<Errors> = schema.one_of.iter().map(errors_of).collect();
            match all.iter().filter(|errors| errors.is_empty()).count() {
                1 => {}
                0 => {
                    self.whole(at, "must validate one and only one schema (oneOf). Found none valid");
                    all.sort_by_key(Vec::len);
                    self.extend(all.swap_remove(0));
                }
                many => {
                    let why = format!("must validate one and only one schema (oneOf). Found {many} valid alternatives");
                    self.whole(at, &why);
                }
            }
        }
        if schema.not.as_ref().is_some_and(|not| errors_of(not).is_empty()) {
            self.whole(at, "must not validate the schema (not)");
        }
    }
}

/// As upstream names the types of values.
fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) if number::is_whole(value) => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The entries of a map that the schema describes, each with its place and its schema.
fn entries<'v>(at: &Path, map: &'v Object, schema: &'v Schema) -> impl Iterator<Item = (Path, &'v Value, &'v Schema)> {
    map.iter().filter_map(move |(name, held)| {
        let at = if schema.properties.contains_key(name) { at.child(name) } else { at.key(name) };
        Some((at, held, schema.property(name)?))
    })
}

#[cfg(test)]
mod tests;
