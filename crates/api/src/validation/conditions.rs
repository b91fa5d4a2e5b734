//! Conditions of the common shape (meta/v1), as many kinds have them in their status.

use super::at::{At, Out};
use super::read::{Seen, number, repeats, text};
use crate::Value;
use crate::names;

/// The longest reason and message.
const REASON_BYTES: usize = 1024;
const MESSAGE_BYTES: usize = 32 * 1024;
const STATUSES: &[&str] = &["False", "True", "Unknown"];

/// All conditions of one list.
pub(super) fn conditions(out: &mut Out, at: At<'_>, conditions: &[Value]) {
    let mut seen = Seen::new();
    for (index, condition) in conditions.iter().enumerate() {
        let (at, kind) = (at.index(index), text(condition, "type"));
        if repeats(&mut seen, kind) {
            out.duplicate(at.child("type"), kind);
        }
        one(out, at, condition);
    }
}

fn one(out: &mut Out, at: At<'_>, condition: &Value) {
    let (kind, status) = (text(condition, "type"), text(condition, "status"));
    out.invalid_each(at.child("type"), kind, names::qualified_name(kind));
    if !STATUSES.contains(&status) {
        out.not_supported(at.child("status"), status, STATUSES);
    }
    if let Some(generation) = number(condition, "observedGeneration").filter(|generation| *generation < 0) {
        out.invalid(at.child("observedGeneration"), generation, "must be greater than or equal to zero");
    }
    if text(condition, "lastTransitionTime").is_empty() {
        out.required(at.child("lastTransitionTime"), "must be set");
    }
    let reason = text(condition, "reason");
    if reason.is_empty() {
        out.required(at.child("reason"), "must be set");
    } else {
        out.invalid_each(at.child("reason"), reason, names::condition_reason(reason));
        if reason.len() > REASON_BYTES {
            out.too_long(at.child("reason"), REASON_BYTES);
        }
    }
    if text(condition, "message").len() > MESSAGE_BYTES {
        out.too_long(at.child("message"), MESSAGE_BYTES);
    }
}
