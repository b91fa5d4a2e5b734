//! Makes a value tree conform to its type: the one place where canonical form is decided.
//!
//! Unknown fields are pruned and listed, JSON types are checked, quantities, times and base64 brought to their canonical form, and
//! what upstream omits is omitted: nulls, empty lists and maps, and zeros of optional fields that are not pointers upstream. What it
//! cannot omit ([`Field::printed`]) is there even where nobody has set it.

use super::scalars::{canonical_base64, canonical_quantity, canonical_time};
use crate::brief::{self, COMPLAINTS_MAX};
use crate::status::Status;
use crate::table::{Field, FieldType, Type, TypeRef, TypeTable};
use crate::value::go_json_type;
use crate::{Object, Value};

/// Conforms `value` to a type (`apps/v1.Deployment`).
///
/// In types of custom definitions only unknown fields are pruned, and what is of a built-in type (metadata) conformed: JSON types,
/// nulls and zeros are left to the definition's schema.
///
/// Returns the unknown fields as `unknown field "spec.foo"`, no more of them than upstream lists. A second call changes nothing.
///
/// # Errors
/// 400 in upstream's words when a value has the wrong JSON type or cannot be parsed; 500 for a type that is not in the table.
pub fn conform<'a>(value: &mut Value, ty: impl Into<TypeRef<'a>>) -> Result<Vec<String>, Status> {
    let (table, ty) = (TypeTable::builtin(), ty.into().resolve()?);
    let mut walk = Walk { table, unknown: Vec::new(), omits: true };
    walk.object(value, ty, &At::Root).map_err(|why| refuse(ty.name, &why))?;
    Ok(walk.unknown)
}

/// Brings only the scalars of `value` to their canonical form: nulls, empty values and zeros stay, because an applied
/// configuration says something by each of them.
///
/// # Errors
/// As [`conform`].
pub fn scalars<'a>(value: &mut Value, ty: impl Into<TypeRef<'a>>) -> Result<(), Status> {
    let (table, ty) = (TypeTable::builtin(), ty.into().resolve()?);
    let mut walk = Walk { table, unknown: Vec::new(), omits: false };
    walk.object(value, ty, &At::Root).map_err(|why| refuse(ty.name, &why))
}

/// `Deployment in version "v1" cannot be handled as a Deployment: why`.
fn refuse(type_name: &str, why: &str) -> Status {
    let (package, kind) = type_name.rsplit_once('.').unwrap_or(("", type_name));
    let version = package.rsplit_once('/').map_or(package, |(_, v)| v);
    Status::bad_request(format!("{kind} in version \"{version}\" cannot be handled as a {kind}: {why}"))
}

/// Where the walk stands; a path is only built when there is something to say.
enum At<'a> {
    Root,
    Key(&'a At<'a>, &'a str),
    /// An entry of a map.
    Entry(&'a At<'a>, &'a str),
    Index(&'a At<'a>, usize),
}

impl At<'_> {
    fn write(&self, out: &mut brief::Path, whole: bool) {
        match self {
            Self::Root => {}
            // Go's decoder names fields of structs only.
            Self::Entry(parent, _) if !whole => parent.write(out, whole),
            Self::Key(parent, key) | Self::Entry(parent, key) => {
                parent.write(out, whole);
                if !out.is_empty() {
                    out.push(".");
                }
                out.push(key);
            }
            Self::Index(parent, index) => {
                parent.write(out, whole);
                if whole {
                    out.push(&format!("[{index}]"));
                }
            }
        }
    }

    /// `spec.containers[0].name`.
    fn path(&self) -> String {
        let mut out = brief::Path::default();
        self.write(&mut out, true);
        out.text()
    }

    /// As Go's JSON decoder prints it: without indexes and keys of maps.
    fn go_path(&self) -> String {
        let mut out = brief::Path::default();
        self.write(&mut out, false);
        out.text()
    }
}

/// Where a value belongs: the type that has the field, and Go's name of what the value is, where it is not that of the JSON type.
#[derive(Clone, Copy)]
struct Of<'t> {
    parent: &'t Type,
    go: Option<&'t str>,
}

impl<'t> Of<'t> {
    /// The same for what is in a list or map.
    fn items(self) -> Self {
        let item = |go: &'t str| match go.strip_prefix("[]") {
            Some(item) => Some(item),
            None => go.strip_prefix("map[").and_then(|rest| rest.split_once(']')).map(|(_, item)| item),
        };
        Self { go: self.go.and_then(item), ..self }
    }

    /// The Go type, as its JSON decoder names it.
    fn named(self, table: &TypeTable, ty: &FieldType) -> String {
        self.go.map_or_else(|| go_type(table, ty), str::to_owned)
    }
}

struct Walk<'t> {
    table: &'t TypeTable,
    unknown: Vec<String>,
    /// Whether what upstream omits is taken out.
    omits: bool,
}

impl<'t> Walk<'t> {
    fn object(&mut self, value: &mut Value, ty: &'t Type, at: &At<'_>) -> Result<(), String> {
        let map = match value {
            Value::Object(map) => map,
            _ if ty.is_custom() && !matches!(at, At::Root) => return Ok(()),
            Value::Null if !self.omits => return Ok(()),
            Value::Null => {
                *value = Value::Object(Object::new());
                return self.object(value, ty, at);
            }
            other => {
                let go = format!("{}.{}", ty.package(), ty.short_name());
                return Err(mismatch(other, ty, at, &go));
            }
        };
        if self.omits {
            show(map, ty);
        }
        let mut drop: Vec<&'static str> = Vec::new();
        let (before, mut prunes) = (self.unknown.len(), false);
        for (name, item) in map.iter_mut() {
            let Some(field) = ty.fields.get(name.as_str()) else {
                prunes |= !ty.is_open();
                continue;
            };
            if item.is_null() {
                if self.omits && !ty.is_custom() && field.printed.is_none() {
                    drop.push(field.name);
                }
                continue;
            }
            self.value(item, &field.ty, Of { parent: ty, go: field.go }, &At::Key(at, name))?;
            if self.omits && !ty.is_custom() && omitted(field, item) {
                drop.push(field.name);
            }
        }
        for name in drop {
            map.remove(name);
        }
        if prunes {
            // They are told before those that are deeper.
            let room = COMPLAINTS_MAX.saturating_sub(before);
            self.unknown.splice(before..before, pruned(map, ty, at, room));
            self.unknown.truncate(COMPLAINTS_MAX);
        }
        Ok(())
    }

    fn value(&mut self, value: &mut Value, ty: &'t FieldType, of: Of<'t>, at: &At<'_>) -> Result<(), String> {
        match ty {
            FieldType::Any | FieldType::Open | FieldType::Raw => Ok(()),
            FieldType::Struct(id) => match value {
                Value::Object(_) | Value::Null => self.object(value, self.table.get(id), at),
                _ if self.table.get(id).is_custom() => Ok(()),
                other => Err(mismatch(other, of.parent, at, &of.named(self.table, ty))),
            },
            FieldType::List(item) => match value {
                Value::Array(list) => {
                    for (index, entry) in list.iter_mut().enumerate() {
                        self.item(entry, item, of.items(), &At::Index(at, index))?;
                    }
                    Ok(())
                }
                _ if of.parent.is_custom() => Ok(()),
                other => Err(mismatch(other, of.parent, at, &of.named(self.table, ty))),
            },
            FieldType::Map(item) => match value {
                Value::Object(map) => {
                    for (key, entry) in map.iter_mut() {
                        self.item(entry, item, of.items(), &At::Entry(at, key))?;
                    }
                    Ok(())
                }
                _ if of.parent.is_custom() => Ok(()),
                other => Err(mismatch(other, of.parent, at, &of.named(self.table, ty))),
            },
            FieldType::Merged(field) => self.value(value, &field.ty, of, at),
            _ if of.parent.is_custom() => Ok(()),
            scalar => leaf(value, scalar, of, at),
        }
    }

    /// An item of a list or map: null becomes the zero value, as in Go.
    fn item(&mut self, value: &mut Value, ty: &'t FieldType, of: Of<'t>, at: &At<'_>) -> Result<(), String> {
        if value.is_null() {
            if of.parent.is_custom() {
                return Ok(());
            }
            *value = zero(ty);
            if value.is_null() {
                return Ok(());
            }
        }
        self.value(value, ty, of, at)
    }
}

/// Puts in what is printed even where nobody has set it.
fn show(map: &mut Object, ty: &Type) {
    for name in &ty.printed {
        if map.get(*name).is_none_or(Value::is_null)
            && let Some(empty) = ty.fields.get(name).and_then(|field| field.printed.as_ref())
        {
            map.insert((*name).to_owned(), empty.clone());
        }
    }
}

/// Takes out the fields that a type does not have. Returns what to say about the first `room` of them.
fn pruned(map: &mut Object, ty: &Type, at: &At<'_>, room: usize) -> Vec<String> {
    let mut unknown = Vec::new();
    map.retain(|name, _| {
        let known = ty.fields.contains_key(name);
        if !known && unknown.len() < room {
            unknown.push(format!("unknown field \"{}\"", At::Key(at, name).path()));
        }
        known
    });
    unknown
}

fn zero(ty: &FieldType) -> Value {
    match ty {
        FieldType::String | FieldType::Bytes => Value::from(""),
        FieldType::Bool => Value::from(false),
        FieldType::Int32 | FieldType::Int64 | FieldType::Double | FieldType::IntOrString => Value::from(0),
        FieldType::Quantity => Value::from("0"),
        FieldType::Struct(_) | FieldType::Map(_) => Value::Object(Object::new()),
        FieldType::List(_) => Value::Array(Vec::new()),
        FieldType::Merged(field) => zero(&field.ty),
        FieldType::Time | FieldType::MicroTime | FieldType::Raw | FieldType::Any | FieldType::Open => Value::Null,
    }
}

/// Whether upstream leaves the field out of what it prints.
fn omitted(field: &Field, value: &Value) -> bool {
    // A zero that the API states as the default is printed too.
    if field.required || field.printed.is_some() || field.default.as_ref() == Some(value) {
        return false;
    }
    match (&field.ty, value) {
        (FieldType::List(_), Value::Array(list)) => list.is_empty(),
        (FieldType::Map(_), Value::Object(map)) => map.is_empty(),
        (FieldType::String | FieldType::Bytes, Value::String(s)) => s.is_empty() && !field.pointer,
        (FieldType::Bool, Value::Bool(b)) => !*b && !field.pointer,
        (FieldType::Int32 | FieldType::Int64, Value::Number(n)) => n.as_i64() == Some(0) && !field.pointer,
        (FieldType::Double, Value::Number(n)) => n.as_f64() == Some(0.0) && !field.pointer,
        _ => false,
    }
}

/// Checks a scalar and brings it to its canonical form.
fn leaf(value: &mut Value, ty: &FieldType, of: Of<'_>, at: &At<'_>) -> Result<(), String> {
    let go = match ty {
        FieldType::Bool => "bool",
        FieldType::Int32 => "int32",
        FieldType::Int64 => "int64",
        FieldType::Double => "float64",
        FieldType::Bytes => "[]uint8",
        _ => of.go.unwrap_or("string"),
    };
    let canonical = match (ty, &*value) {
        (FieldType::String, Value::String(_))
        | (FieldType::Bool, Value::Bool(_))
        | (FieldType::Double, Value::Number(_))
        | (FieldType::IntOrString, Value::String(_)) => None,
        (FieldType::Int32 | FieldType::Int64 | FieldType::IntOrString, Value::Number(n)) => {
            let fits = n.as_i64().is_some_and(|n| *ty == FieldType::Int64 || i32::try_from(n).is_ok());
            if !fits {
                let go = if *ty == FieldType::Int64 { "int64" } else { "int32" };
                return Err(format!("json: cannot unmarshal number {n} into {} of type {go}", place(of.parent, at)));
            }
            None
        }
        (FieldType::IntOrString, other) => return Err(mismatch(other, of.parent, at, "int32")),
        (FieldType::Quantity, Value::String(s)) => canonical_quantity(s)?,
        (FieldType::Quantity, Value::Number(n)) => {
            let text = n.to_string();
            Some(canonical_quantity(&text)?.unwrap_or(text))
        }
        (FieldType::Quantity, other) => canonical_quantity(&other.to_string())?,
        (FieldType::Time, Value::String(s)) => canonical_time(s, false)?,
        (FieldType::MicroTime, Value::String(s)) => canonical_time(s, true)?,
        (FieldType::Bytes, Value::String(s)) => canonical_base64(s)?,
        (_, other) => return Err(mismatch(other, of.parent, at, go)),
    };
    if let Some(text) = canonical {
        *value = Value::String(text);
    }
    Ok(())
}

fn place(parent: &Type, at: &At<'_>) -> String {
    format!("Go struct field {}.{}", parent.short_name(), at.go_path())
}

/// Go's message for a value of the wrong JSON type.
fn mismatch(value: &Value, parent: &Type, at: &At<'_>, go: &str) -> String {
    let found = go_json_type(value);
    match at {
        At::Root => format!("json: cannot unmarshal {found} into Go value of type {go}"),
        _ => format!("json: cannot unmarshal {found} into {} of type {go}", place(parent, at)),
    }
}

/// The Go type, as its JSON decoder names it.
fn go_type(table: &TypeTable, ty: &FieldType) -> String {
    match ty {
        FieldType::Struct(id) => {
            let ty = table.get(id);
            format!("{}.{}", ty.package(), ty.short_name())
        }
        FieldType::List(item) => format!("[]{}", go_type(table, item)),
        FieldType::Map(item) => format!("map[string]{}", go_type(table, item)),
        FieldType::Merged(field) => go_type(table, &field.ty),
        FieldType::Bytes => "[]uint8".to_owned(),
        FieldType::Bool => "bool".to_owned(),
        FieldType::Int32 => "int32".to_owned(),
        FieldType::Int64 => "int64".to_owned(),
        FieldType::Double => "float64".to_owned(),
        FieldType::Quantity => "resource.Quantity".to_owned(),
        FieldType::IntOrString => "intstr.IntOrString".to_owned(),
        FieldType::Time => "v1.Time".to_owned(),
        FieldType::MicroTime => "v1.MicroTime".to_owned(),
        FieldType::String => "string".to_owned(),
        FieldType::Raw | FieldType::Any | FieldType::Open => "interface {}".to_owned(),
    }
}
