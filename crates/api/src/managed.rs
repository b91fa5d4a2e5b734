//! Managed fields: who set which field, stamped on every write, and server-side apply, which is built on them.
//!
//! The rules are upstream's. The manager of a plain write takes the fields that the write added or changed; every other manager
//! loses those, and all lose what the write removed. What an apply does stands in [`apply()`]. Pure functions: the time is given.

use jiff::Timestamp;

use crate::table::TypeRef;
use crate::{Object, Value, value};

mod added;
mod apply;
mod check;
mod compare;
mod conflict;
mod element;
mod fields;
mod forms;
mod merge;
mod overlay;
mod owners;
mod rule;
mod scale;
mod set;

pub use apply::apply;
pub use overlay::overlay;
pub use owners::{check, keep_reset, keep_times};
pub use scale::{to_scale, to_workload};

use owners::Operation;
use set::Set;

/// Where they are.
const MANAGED_FIELDS: &str = "metadata.managedFields";
/// Update entries beyond this are merged into one.
const MAX_UPDATE_MANAGERS: usize = 10;
/// Upstream's bound on a manager's name.
const MAX_MANAGER_BYTES: usize = 128;

/// One write, as managed fields record it.
#[derive(Debug, Clone, Copy)]
pub struct Write<'a> {
    /// `fieldManager`, or [`manager_of`] the user agent.
    pub manager: &'a str,
    /// `apps/v1`.
    pub api_version: &'a str,
    /// The object's type: `apps/v1.Deployment`.
    pub ty: TypeRef<'a>,
    /// `status`, `scale`, or empty.
    pub subresource: &'a str,
    /// Fields (`status`, `metadata.labels`) that writes of this kind cannot set, with all that is below them: nobody owns them by
    /// such a write.
    pub reset: &'a [&'a str],
    /// The only fields that writes of this kind can set, with all that is below them; `*` stands for any element. Empty: any.
    pub settable: &'a [&'a str],
    /// When.
    pub now: Timestamp,
}

fn paths_of(dotted: &[&str]) -> Set {
    let mut paths = Set::default();
    for path in dotted {
        paths.unite(&Set::path(path));
    }
    paths
}

impl Write<'_> {
    /// Takes out what such a write cannot set.
    fn limit(&self, set: &mut Set) {
        set.cut(&paths_of(self.reset));
        if !self.settable.is_empty() {
            set.confine(&paths_of(self.settable));
        }
    }
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
    if old.is_none() {
        if let Some(stamp) = stamp_new(new, write) {
            value::set(new, MANAGED_FIELDS, stamp.value());
        }
        return;
    }
    let sent = value::remove(new, MANAGED_FIELDS);
    let entries = before(old, sent, write.subresource);
    if !entries.is_empty() {
        restamp(old, new, entries, write);
    }
}

/// The `metadata.managedFields` of a new object, as JSON text: the tree of them would be as large as the object's own.
#[derive(Debug, Clone)]
pub struct Stamp(Vec<u8>);

impl Stamp {
    /// Of the one writer of these `fieldsV1`.
    fn new(write: &Write<'_>, fields: &[u8]) -> Self {
        let mut entry = owners::entry(write, Operation::Update);
        owners::touch(&mut entry, write.now);
        value::set(&mut entry, "fieldsV1", Value::Null);
        let mut text = Vec::with_capacity(fields.len() + 256);
        text.extend_from_slice(b"[{");
        for (name, value) in entry.as_object().into_iter().flatten() {
            element::json(name, &mut text);
            text.push(b':');
            match value {
                Value::Null => text.extend_from_slice(fields),
                value => element::json(value, &mut text),
            }
            text.push(b',');
        }
        text.pop();
        text.extend_from_slice(b"}]");
        Self(text)
    }

    /// A JSON list, compact, names in byte order.
    #[must_use]
    pub fn json(&self) -> &[u8] {
        &self.0
    }

    /// The same as a value.
    #[must_use]
    pub fn value(&self) -> Value {
        serde_json::from_slice(&self.0).unwrap_or_default()
    }
}

/// As [`stamp`] of a new object, but where its writer sent no managed fields (or `[{}]`) they are returned, and are not in `new`.
pub fn stamp_new(new: &mut Value, write: &Write<'_>) -> Option<Stamp> {
    let sent = value::remove(new, MANAGED_FIELDS);
    let entries = before(None, sent, write.subresource);
    if !entries.is_empty() {
        restamp(None, new, entries, write);
        return None;
    }
    let ty = write.ty.resolve().ok()?;
    let mut fields = Vec::with_capacity(1 << 10);
    added::write_fields(&forms::shown(new, write), ty, &paths_of(write.reset), &mut fields)
        .then(|| Stamp::new(write, &fields))
}

/// The part of [`stamp`] that starts from entries.
fn restamp(old: Option<&Value>, new: &mut Value, mut entries: Vec<Value>, write: &Write<'_>) {
    let Ok(ty) = write.ty.resolve() else { return };
    let empty = Value::Object(Object::new());
    let old = old.unwrap_or(&empty);
    let mut changes = compare::changes(&forms::shown(old, write), &forms::shown(new, write), ty);
    changes.limit(write);
    changes.set.remove_system_fields();
    changes.removed.remove_system_fields();
    let mut elsewhere = forms::Elsewhere::new(old, new, write);
    for entry in &mut entries {
        let changes = elsewhere.changes(entry).unwrap_or(&changes);
        let Some(Value::Object(fields)) = entry.get_mut("fieldsV1") else { continue };
        set::subtract(fields, &changes.set);
        set::subtract(fields, &changes.removed);
    }
    if !changes.set.is_empty() {
        take(&mut entries, changes.set, write);
    }
    owners::retain_meaningful(&mut entries, write);
    owners::cap(&mut entries);
    owners::put(new, entries);
}

/// The entries to start from: those that the client sent, unless it sent none or writes a subresource.
fn before(old: Option<&Value>, sent: Option<Value>, subresource: &str) -> Vec<Value> {
    let live = || old.map_or_else(Vec::new, |o| owners::entries_of(o).to_vec());
    match sent {
        Some(Value::Array(list)) if subresource.is_empty() && !list.is_empty() => {
            let reset = list.len() == 1 && list[0].as_object().is_some_and(Object::is_empty);
            if reset {
                Vec::new()
            } else if old.is_some_and(|o| owners::entries_of(o) == list) {
                list
            } else {
                owners::parse(&list).unwrap_or_else(live)
            }
        }
        _ => live(),
    }
}

/// Gives the fields to the write's manager.
fn take(entries: &mut Vec<Value>, fields: Set, write: &Write<'_>) {
    let mut own = owners::entry(write, Operation::Update);
    if let Some(entry) = entries.iter_mut().find(|e| owners::same(e, &own)) {
        owners::touch(entry, write.now);
        if let Some(map) = value::object_mut(entry, "fieldsV1") {
            set::unite(map, &fields);
        }
        return;
    }
    owners::touch(&mut own, write.now);
    value::set(&mut own, "fieldsV1", fields.into_fields());
    entries.push(own);
}

#[cfg(test)]
mod tests;
