//! Values as upstream's errors show them: the JSON of its internal structures, which have Go's names, no tags, and every field.
//!
//! A type is written as in `facts/internal.tsv`: `core/v1.Taint`, `[]string`, `*meta/v1.LabelSelector`, `map:quantity`.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::OnceLock;

use crate::Value;
use crate::field::{go_escaped, show};
use crate::table::TypeTable;

mod diff;
mod unified;

pub use diff::changes;

const FACTS: &str = include_str!("../facts/internal.tsv");
/// What the wire says of a pod and the internal structure says of its security context.
const OF_THE_HOST: [&str; 5] = ["hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace", "hostUsers"];

/// A field of an internal structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    go: &'static str,
    /// The name on the wire; empty where the fields of an embedded structure stand in the same object.
    json: &'static str,
    ty: &'static str,
}

impl Part {
    /// The structure that is embedded here, whose fields count as the outer one's.
    fn embedded(&self) -> Option<&'static str> {
        self.ty.strip_prefix('^')
    }

    /// What `object` has for it.
    fn of<'a>(&self, object: &'a Value) -> &'a Value {
        if self.json.is_empty() { object } else { object.get(self.json).unwrap_or(&Value::Null) }
    }
}

type Structures = HashMap<&'static str, Vec<Part>>;

fn structures() -> &'static Structures {
    static ALL: OnceLock<Structures> = OnceLock::new();
    ALL.get_or_init(|| {
        let mut all = Structures::new();
        for line in FACTS.lines().skip(1).filter(|line| !line.starts_with('#')) {
            let mut cells = line.split('\t');
            let mut next = || cells.next().unwrap_or_default();
            let (name, part) = (next(), Part { go: next(), json: next(), ty: next() });
            let parts = all.entry(name).or_default();
            if !part.go.is_empty() {
                parts.push(part);
            }
        }
        all
    })
}

fn parts(name: &str) -> Option<&'static [Part]> {
    structures().get(name).map(Vec::as_slice)
}

/// Whether upstream uses the structure of the wire itself, tags and all.
fn tagged(name: &str) -> bool {
    name.starts_with("meta/v1.")
}

/// `value` as an error shows it. Absent is `"null"` for a pointer, `null` for a slice or a map, and else what Go has where nothing is set.
#[must_use]
pub fn shown(ty: &str, value: &Value) -> String {
    match ty.strip_prefix('*') {
        Some(_) if value.is_null() => show(value),
        target => shown_target(target.unwrap_or(ty), value),
    }
}

fn shown_target(ty: &str, value: &Value) -> String {
    if ty == "string" { show(&Value::from(value.as_str().unwrap_or_default())) } else { go_escaped(json(ty, value)) }
}

fn json(ty: &str, value: &Value) -> String {
    if let Some(item) = ty.strip_prefix("[]") {
        let Some(items) = value.as_array() else { return "null".to_owned() };
        return format!("[{}]", joined(items.iter().map(|value| json(item, value))));
    }
    if let Some(item) = ty.strip_prefix("map:") {
        let Some(map) = value.as_object() else { return "null".to_owned() };
        let mut entries: Vec<_> = map.iter().collect();
        entries.sort_by_key(|(name, _)| *name);
        return braced(entries.into_iter().map(|(name, value)| entry(name, &json(item, value))));
    }
    if let Some(target) = ty.strip_prefix('*') {
        return if value.is_null() { "null".to_owned() } else { json(target, value) };
    }
    match parts(ty) {
        Some(_) => braced(fields(ty, value).into_iter()),
        None if value.is_null() => zero(ty).to_owned(),
        None => value.to_string(),
    }
}

/// What Go has where nothing is set.
fn zero(ty: &str) -> &'static str {
    match ty {
        "string" => "\"\"",
        "bool" => "false",
        "int" | "intstr" => "0",
        "quantity" => "\"0\"",
        _ => "null",
    }
}

fn fields(ty: &str, value: &Value) -> Vec<String> {
    let mut all = Vec::new();
    let value = internal_form(ty, value);
    for part in parts(ty).unwrap_or_default() {
        let found = part.of(&value);
        if let Some(inner) = part.embedded() {
            all.extend(fields(inner, found));
        } else if !tagged(ty) {
            all.push(entry(part.go, &json(part.ty, found)));
        } else if !found.is_null() || required(ty, part.json) {
            all.push(entry(part.json, &json(part.ty, found)));
        }
    }
    all
}

/// Whether a field of the wire's structure is written even where it is empty.
fn required(ty: &str, field: &str) -> bool {
    TypeTable::builtin().ty(ty).and_then(|ty| ty.fields.get(field)).is_some_and(|field| field.required)
}

/// The object with its fields where the internal structure has them.
fn internal_form<'a>(ty: &str, value: &'a Value) -> Cow<'a, Value> {
    let named = |key: &&str| value.get(*key).is_some_and(|v| !v.is_null());
    if ty != "core/v1.PodSpec" || !OF_THE_HOST.iter().any(named) {
        return Cow::Borrowed(value);
    }
    let mut moved = value.clone();
    for key in OF_THE_HOST {
        let Some(found) = crate::value::remove(&mut moved, key) else { continue };
        if let Some(context) = crate::value::object_mut(&mut moved, "securityContext") {
            context.insert(key.to_owned(), found);
        }
    }
    Cow::Owned(moved)
}

fn entry(name: &str, shown: &str) -> String {
    format!("{}:{shown}", Value::from(name))
}

fn braced(entries: impl Iterator<Item = String>) -> String {
    format!("{{{}}}", joined(entries))
}

fn joined(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests;
