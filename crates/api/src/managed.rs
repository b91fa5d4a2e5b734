//! Managed fields: who set which field, stamped on every write.
//!
//! The rules are upstream's for plain (non-apply) writes. The manager of a write takes the fields that the write added or changed;
//! every other manager loses those, and all lose what the write removed. A pure function: the time is given.

use jiff::Timestamp;
use serde_json::json;

use crate::decode::time;
use crate::table::TypeTable;
use crate::{Object, Value, value};

mod compare;
mod set;

use set::Set;

/// Update entries beyond this are merged into one.
const MAX_UPDATE_MANAGERS: usize = 10;
/// The manager that stands for those merged.
const ANCIENT: &str = "ancient-changes";
/// Upstream's bound on a manager's name.
const MAX_MANAGER_BYTES: usize = 128;

/// One write, as managed fields record it.
#[derive(Debug, Clone, Copy)]
pub struct Write<'a> {
    /// `fieldManager`, or [`manager_of`] the user agent.
    pub manager: &'a str,
    /// `apps/v1`.
    pub api_version: &'a str,
    /// The type in the table: `apps/v1.Deployment`.
    pub type_name: &'a str,
    /// `status`, `scale`, or empty.
    pub subresource: &'a str,
    /// When.
    pub now: Timestamp,
}

/// The manager's name when the client gives none: the user agent up to its first slash.
#[must_use]
pub fn manager_of(user_agent: &str) -> String {
    let name = user_agent.split('/').next().unwrap_or_default();
    let printable = name.chars().filter(|c| !c.is_control());
    let mut used = 0;
    printable
        .take_while(|c| {
            used += c.len_utf8();
            used <= MAX_MANAGER_BYTES
        })
        .collect()
}

/// Rewrites `new.metadata.managedFields` for a write over `old` (`None`: a create).
///
/// An update of an object that has no managed fields stays without; `[{}]` in `new` clears them, as upstream.
pub fn stamp(old: Option<&Value>, new: &mut Value, write: &Write<'_>) {
    let sent = value::remove(new, "metadata.managedFields");
    let mut entries = before(old, sent, write.subresource);
    if old.is_some() && entries.is_empty() {
        return;
    }
    let Some(ty) = TypeTable::builtin().ty(write.type_name) else { return };
    let empty = Value::Object(Object::new());
    let mut changes = compare::changes(old.unwrap_or(&empty), new, ty);
    changes.set.remove_system_fields();
    changes.removed.remove_system_fields();
    if changes.set.is_empty() && changes.removed.is_empty() {
        return put(new, entries);
    }
    for entry in &mut entries {
        let Some(Value::Object(fields)) = entry.get_mut("fieldsV1") else { continue };
        set::subtract(fields, &changes.set);
        set::subtract(fields, &changes.removed);
    }
    if !changes.set.is_empty() {
        take(&mut entries, &changes.set, write);
    }
    entries.retain(|e| value::map_at(e, "fieldsV1").is_some_and(|f| !f.is_empty()));
    cap(&mut entries);
    sort(&mut entries);
    put(new, entries);
}

/// The entries to start from: those that the client sent, unless it sent none or writes a subresource.
fn before(old: Option<&Value>, sent: Option<Value>, subresource: &str) -> Vec<Value> {
    let live = || old.map_or_else(Vec::new, |o| value::list_at(o, "metadata.managedFields").to_vec());
    match sent {
        Some(Value::Array(list)) if subresource.is_empty() && !list.is_empty() => {
            let reset = list.len() == 1 && list[0].as_object().is_some_and(Object::is_empty);
            if reset {
                Vec::new()
            } else if list.iter().all(is_valid) {
                list
            } else {
                live()
            }
        }
        _ => live(),
    }
}

fn is_valid(entry: &Value) -> bool {
    let known = |path, values: &[&str]| value::str_at(entry, path).is_some_and(|v| values.contains(&v));
    known("operation", &["Update", "Apply"])
        && known("fieldsType", &["FieldsV1"])
        && value::str_at(entry, "apiVersion").is_some_and(|v| !v.is_empty())
        && value::get(entry, "fieldsV1").is_none_or(Value::is_object)
}

fn put(object: &mut Value, entries: Vec<Value>) {
    if !entries.is_empty() {
        value::set(object, "metadata.managedFields", entries);
    }
}

/// Whether an entry is the one that plain writes by this manager go to.
fn is_of(entry: &Value, manager: &str, api_version: &str, subresource: &str) -> bool {
    let is = |path, expected: &str| value::str_at(entry, path).unwrap_or_default() == expected;
    is("manager", manager)
        && is("operation", "Update")
        && is("apiVersion", api_version)
        && is("subresource", subresource)
}

/// Gives the fields to the write's manager.
fn take(entries: &mut Vec<Value>, fields: &Set, write: &Write<'_>) {
    let Write { manager, api_version, subresource, .. } = *write;
    let at = entries.iter().position(|e| is_of(e, manager, api_version, subresource)).unwrap_or_else(|| {
        let mut entry =
            json!({"manager": manager, "operation": "Update", "apiVersion": api_version, "fieldsType": "FieldsV1"});
        if !subresource.is_empty() {
            entry["subresource"] = Value::from(subresource);
        }
        entries.push(entry);
        entries.len() - 1
    });
    value::set(&mut entries[at], "time", time(write.now));
    if let Some(map) = value::object_mut(&mut entries[at], "fieldsV1") {
        set::unite(map, fields);
    }
}

/// Merges the oldest update entries of an API version until few enough are left.
fn cap(entries: &mut Vec<Value>) {
    let is_update = |e: &Value| value::str_at(e, "operation") == Some("Update");
    let mut surplus = entries.iter().filter(|e| is_update(e)).count().saturating_sub(MAX_UPDATE_MANAGERS);
    if surplus == 0 {
        return;
    }
    let (mut updates, mut rest): (Vec<Value>, Vec<Value>) = entries.drain(..).partition(is_update);
    updates.sort_by(|a, b| order(a).cmp(&order(b)));
    let mut first_of: Vec<(String, usize)> = Vec::new();
    let mut kept: Vec<Value> = Vec::new();
    for update in updates {
        let version = value::str_at(&update, "apiVersion").unwrap_or_default().to_owned();
        match first_of.iter().find(|(v, _)| *v == version) {
            Some(&(_, at)) if surplus > 0 => {
                merge_into_ancient(&mut kept[at], &update);
                surplus -= 1;
            }
            _ => {
                first_of.push((version, kept.len()));
                kept.push(update);
            }
        }
    }
    rest.append(&mut kept);
    *entries = rest;
}

fn merge_into_ancient(bucket: &mut Value, update: &Value) {
    value::set(bucket, "manager", ANCIENT);
    value::remove(bucket, "subresource");
    if let Some(at) = value::get(update, "time") {
        value::set(bucket, "time", at.clone());
    }
    if let (Some(map), Some(fields)) = (value::object_mut(bucket, "fieldsV1"), value::map_at(update, "fieldsV1")) {
        set::unite(map, &Set::of(fields));
    }
}

/// Upstream's order: apply before update, then by time, manager, version, subresource.
fn order(entry: &Value) -> [&str; 5] {
    ["operation", "time", "manager", "apiVersion", "subresource"]
        .map(|path| value::str_at(entry, path).unwrap_or_default())
}

fn sort(entries: &mut [Value]) {
    entries.sort_by(|a, b| order(a).cmp(&order(b)));
}

#[cfg(test)]
mod tests;
