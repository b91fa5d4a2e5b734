//! The entries of `metadata.managedFields`: who owns which paths since when.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::json;

use super::set::Set;
use super::{MAX_UPDATE_MANAGERS, Write};
use crate::decode::time;
use crate::{Object, Value, kinds, table, value};

/// The manager that stands for those merged.
const ANCIENT: &str = "ancient-changes";

/// What a write does to its manager's paths.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Apply,
    Update,
}

impl Operation {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// One entry, its paths read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Owner {
    /// The entry without `fieldsV1`.
    pub(super) entry: Value,
    pub(super) paths: Set,
}

impl Owner {
    pub(super) fn new(write: &Write<'_>, operation: Operation, paths: Set) -> Self {
        Self { entry: entry(write, operation), paths }
    }

    /// Reads a stored entry.
    pub(super) fn of(entry: &Value) -> Self {
        let mut entry = entry.clone();
        let fields = value::remove(&mut entry, "fieldsV1");
        let paths = fields.as_ref().and_then(Value::as_object).map(Set::of).unwrap_or_default();
        Self { entry, paths }
    }

    pub(super) fn into_entry(self) -> Value {
        let mut entry = self.entry;
        value::set(&mut entry, "fieldsV1", self.paths.into_fields());
        entry
    }

    /// As conflicts name it.
    pub(super) fn shown(&self) -> String {
        let text = |path| value::str_at(&self.entry, path).unwrap_or_default();
        let mut shown = Value::from(text("manager")).to_string();
        if !text("subresource").is_empty() {
            shown += &format!(" with subresource {}", Value::from(text("subresource")));
        }
        if text("operation") == Operation::Update.name() {
            shown += &format!(" using {}", text("apiVersion"));
        }
        shown
    }
}

/// A new entry for a write, without paths and time.
pub(super) fn entry(write: &Write<'_>, operation: Operation) -> Value {
    let manager = if write.manager.is_empty() { "unknown" } else { write.manager };
    let mut entry = json!({
        "manager": manager, "operation": operation.name(), "apiVersion": write.api_version, "fieldsType": "FieldsV1",
    });
    if !write.subresource.is_empty() {
        entry["subresource"] = Value::from(write.subresource);
    }
    entry
}

pub(super) fn touch(entry: &mut Value, now: Timestamp) {
    value::set(entry, "time", time(now));
}

/// What tells the managers of entries apart. Appliers are the same in every API version.
fn identity(entry: &Value) -> [&str; 4] {
    let text = |path| value::str_at(entry, path).unwrap_or_default();
    let applies = text("operation") == Operation::Apply.name();
    [text("manager"), text("operation"), text("subresource"), if applies { "" } else { text("apiVersion") }]
}

/// Whether two entries are of one manager.
pub(super) fn same(a: &Value, b: &Value) -> bool {
    identity(a) == identity(b)
}

/// The entries that a client sent, in canonical form, of each manager the last one; `None` when one is not valid.
pub(super) fn parse(sent: &[Value]) -> Option<Vec<Value>> {
    let mut entries: BTreeMap<[&str; 4], Value> = BTreeMap::new();
    for given in sent {
        let known = |path, values: &[&str]| value::str_at(given, path).is_some_and(|v| values.contains(&v));
        let valid = known("operation", &["Update", "Apply"])
            && known("fieldsType", &["FieldsV1"])
            && value::str_at(given, "apiVersion").is_some_and(|v| !v.is_empty());
        if !valid {
            return None;
        }
        let paths = match value::get(given, "fieldsV1") {
            None | Some(Value::Null) => Set::default(),
            Some(Value::Object(fields)) => Set::parse(fields).ok()?,
            Some(_) => return None,
        };
        let mut entry = given.clone();
        value::set(&mut entry, "fieldsV1", paths.into_fields());
        entries.insert(identity(given), entry);
    }
    Some(entries.into_values().collect())
}

/// What is wrong with entries that somebody else than their owners has changed.
///
/// # Errors
/// In the words of upstream's `DecodeManagedFields`.
pub fn check(entries: &[Value]) -> Result<(), String> {
    for (at, entry) in entries.iter().enumerate() {
        let text = |path| value::str_at(entry, path).unwrap_or_default();
        if !matches!(text("operation"), "Apply" | "Update") {
            return Err("operation must be `Apply` or `Update`".to_owned());
        }
        if text("apiVersion").is_empty() {
            return Err("apiVersion must not be empty".to_owned());
        }
        match text("fieldsType") {
            "FieldsV1" => {}
            "" => return Err(format!("missing fieldsType in managed fields entry {at}")),
            other => return Err(format!("invalid fieldsType {other:?} in managed fields entry {at}")),
        }
        if parse(std::slice::from_ref(entry)).is_none() {
            return Err(format!("error decoding versioned set from {entry}: fieldsV1 does not hold paths"));
        }
    }
    Ok(())
}

/// Leaves out entries that own nothing, or in a version that the kind is not known in.
pub(super) fn retain_meaningful(entries: &mut Vec<Value>, write: &Write<'_>) {
    entries.retain(|e| {
        let version = value::str_at(e, "apiVersion").unwrap_or_default();
        value::map_at(e, "fieldsV1").is_some_and(|f| !f.is_empty())
            && (version == write.api_version || is_known(version, write.ty))
    });
}

fn is_known(api_version: &str, ty: table::TypeRef<'_>) -> bool {
    if let table::TypeRef::Type(table::Type { custom: Some(custom), .. }) = ty {
        return custom.api_versions.iter().any(|known| known == api_version);
    }
    let kind = ty.name().rsplit_once('.').map_or_else(|| ty.name(), |(_, kind)| kind);
    let (group, version) = kinds::split_api_version(api_version);
    table::TypeTable::builtin().ty(&kinds::type_name(group, version, kind)).is_some()
}

/// Merges the oldest update entries of an API version until few enough are left.
pub(super) fn cap(entries: &mut Vec<Value>) {
    let is_update = |e: &Value| value::str_at(e, "operation") == Some(Operation::Update.name());
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
        super::set::unite(map, &Set::of(fields));
    }
}

/// Upstream's order: apply before update, then by time, manager, version, subresource.
fn order(entry: &Value) -> [&str; 5] {
    ["operation", "time", "manager", "apiVersion", "subresource"]
        .map(|path| value::str_at(entry, path).unwrap_or_default())
}

/// Writes the entries into the object, in upstream's order.
pub(super) fn put(object: &mut Value, mut entries: Vec<Value>) {
    entries.sort_by(|a, b| order(a).cmp(&order(b)));
    if entries.is_empty() {
        value::remove(object, "metadata.managedFields");
    } else {
        value::set(object, "metadata.managedFields", entries);
    }
}

/// Takes the entries of `old` back where `new` differs from it by nothing but their times. An apply whose configuration says less than
/// the server makes of it (defaults in lists that are set as a whole) looks like a change until it is stored: upstream does not.
pub fn keep_times(old: &Value, new: &mut Value) {
    let timeless = |object: &Value| -> Vec<Value> {
        let mut entries = entries_of(object).to_vec();
        entries.iter_mut().for_each(|entry| drop(value::remove(entry, "time")));
        entries
    };
    let kept = entries_of(old);
    if kept.is_empty() || kept == entries_of(new) || timeless(old) != timeless(new) {
        return;
    }
    let touched = value::remove(new, "metadata.managedFields").unwrap_or_default();
    value::set(new, "metadata.managedFields", kept.to_vec());
    if new != old {
        value::set(new, "metadata.managedFields", touched);
    }
}

/// The entries of an object.
pub(super) fn entries_of(object: &Value) -> &[Value] {
    value::list_at(object, "metadata.managedFields")
}

/// `metadata.managedFields: []` asks for a reset, which the canonical form, where empty lists are absent, cannot say.
/// To be called on what a client sent before it is conformed.
pub fn keep_reset(object: &mut Value) {
    let list = value::get_mut(object, "metadata").and_then(|m| m.as_object_mut()?.get_mut("managedFields"));
    if let Some(Value::Array(list)) = list
        && list.is_empty()
    {
        list.push(Value::Object(Object::new()));
    }
}
