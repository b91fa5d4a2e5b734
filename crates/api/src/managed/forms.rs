//! The forms of a kind that is served in several (versions of autoscalers, events of two groups): an entry owns fields of the form
//! that its writer spoke, while the pipeline works on the stored one. What changed is found in each of them.

use std::borrow::Cow;

use super::Write;
use super::compare::{self, Changes};
use crate::kinds::{self, KindInfo};
use crate::{Value, convert, value};

/// The kind in the form of `api_version`, if that is another form of what `write` writes.
fn other(api_version: &str, write: &Write<'_>) -> Option<&'static KindInfo> {
    if api_version == write.api_version {
        return None;
    }
    let kind = write.ty.resolve().ok()?.short_name();
    let (theirs, ours) = (kinds::by_api_version(api_version, kind)?, kinds::by_api_version(write.api_version, kind)?);
    std::ptr::eq(theirs.hub(), ours.hub()).then_some(theirs)
}

/// The form that `write` speaks, where it is not the stored one.
fn spoken(write: &Write<'_>) -> Option<&'static KindInfo> {
    let kind = write.ty.resolve().ok()?.short_name();
    kinds::by_api_version(write.api_version, kind).filter(|kind| kind.is_converted())
}

/// A stored object in the form that `write` speaks.
pub(super) fn shown<'a>(stored: &'a Value, write: &Write<'_>) -> Cow<'a, Value> {
    spoken(write).map_or(Cow::Borrowed(stored), |kind| Cow::Owned(as_kind(stored, kind, write)))
}

/// Brings an object in the form that `write` speaks to the stored one.
pub(super) fn store(object: &mut Value, write: &Write<'_>) {
    if let Some(kind) = spoken(write) {
        convert::to_hub(kind, object);
    }
}

/// An object in the form of `kind`, from the stored one or that of `write`.
fn as_kind(object: &Value, kind: &KindInfo, write: &Write<'_>) -> Value {
    let mut object = object.clone();
    store(&mut object, write);
    convert::from_hub(kind, &mut object);
    object
}

/// What a write changes, as the owners see it that wrote in another form.
pub(super) struct Elsewhere<'a> {
    old: &'a Value,
    new: &'a Value,
    write: &'a Write<'a>,
    found: Vec<(String, Changes)>,
}

impl<'a> Elsewhere<'a> {
    /// `old` and `new` are stored objects, or in the form that the write speaks.
    pub(super) fn new(old: &'a Value, new: &'a Value, write: &'a Write<'a>) -> Self {
        Self { old, new, write, found: Vec::new() }
    }

    /// The changes in the form of an entry; `None`: that of the write.
    pub(super) fn changes(&mut self, entry: &Value) -> Option<&Changes> {
        let version = value::str_at(entry, "apiVersion").unwrap_or_default();
        let kind = other(version, self.write)?;
        let at = match self.found.iter().position(|(known, _)| known == version) {
            Some(at) => at,
            None => {
                let ty = crate::table::TypeRef::from(kind).resolve().ok()?;
                let mut changes =
                    compare::changes(&as_kind(self.old, kind, self.write), &as_kind(self.new, kind, self.write), ty);
                changes.limit(self.write);
                changes.set.remove_system_fields();
                changes.removed.remove_system_fields();
                self.found.push((version.to_owned(), changes));
                self.found.len() - 1
            }
        };
        self.found.get(at).map(|(_, changes)| changes)
    }
}
