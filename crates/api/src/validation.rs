//! Field validation with upstream's rules, paths and messages (kubernetes-api contract, sections 2.2 and 2.3).
//!
//! It runs on every write, so it looks at borrowed values, uses no regular expressions and builds a path only for an error.

mod at;
mod formats;
mod meta;

use crate::Value;
use crate::field::Errors;
use crate::kinds::KindInfo;
use at::Out;
use meta::NameRule;

fn name_rule(kind: &KindInfo) -> NameRule {
    match (kind.group, kind.kind) {
        ("", "Namespace") => NameRule::Label,
        ("", "Service") => NameRule::Label1035,
        ("rbac.authorization.k8s.io", _) => NameRule::Segment,
        _ => NameRule::Subdomain,
    }
}

/// The errors of an object that is created.
#[must_use]
pub fn create(kind: &KindInfo, object: &Value) -> Errors {
    let mut out = Out::default();
    if !kind.create_only() {
        meta::object_meta(&mut out, object, kind.namespaced, name_rule(kind));
    }
    out.errors
}

/// The errors of an update of the main resource.
#[must_use]
pub fn update(_kind: &KindInfo, new: &Value, old: &Value) -> Errors {
    let mut out = Out::default();
    meta::object_meta_update(&mut out, new, old);
    out.errors
}

/// The errors of an update of `/status`.
#[must_use]
pub fn status_update(_kind: &KindInfo, new: &Value, old: &Value) -> Errors {
    let mut out = Out::default();
    meta::object_meta_update(&mut out, new, old);
    out.errors
}
