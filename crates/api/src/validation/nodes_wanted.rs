//! The labels of nodes that pods and volumes demand: their values must be such that labels can have. What is stored with others
//! may keep them.

use super::at::{At, Out};
use super::selector;
use crate::Value;
use crate::field::Errors;
use crate::kinds::KindInfo;
use crate::value::list_at;

const POD: &str = "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms";
const VOLUME: &str = "spec.nodeAffinity.required.nodeSelectorTerms";

/// The errors of `new`; `old` is absent on create.
pub(super) fn errors(kind: &KindInfo, new: &Value, old: Option<&Value>) -> Errors {
    if kind.is("", "PersistentVolume") {
        return of(VOLUME, new, old);
    }
    let Some(pods) = kind.pods_at() else { return Errors::new() };
    of(&format!("{pods}.{POD}"), new, old)
}

fn of(path: &str, new: &Value, old: Option<&Value>) -> Errors {
    let errors = |object| {
        let mut out = Out::default();
        selector::node_label_values(&mut out, At::Root(path), list_at(object, path));
        out.into_errors()
    };
    if old.is_some_and(|old| !errors(old).is_empty()) { Errors::new() } else { errors(new) }
}
