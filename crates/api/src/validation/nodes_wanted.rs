//! The labels of nodes that pods and volumes demand: their values must be such that labels can have. What is stored with others
//! may keep them.

use super::at::{At, Out};
use super::selector;
use crate::Value;
use crate::field::Errors;
use crate::kinds::KindInfo;
use crate::value::list_at;

const POD: &str = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms";
const VOLUME: &str = "spec.nodeAffinity.required.nodeSelectorTerms";

/// The errors of `new`; `old` is absent on create.
pub(super) fn errors(kind: &KindInfo, new: &Value, old: Option<&Value>) -> Errors {
    let template = match (kind.group, kind.kind) {
        ("", "PersistentVolume") => return of(VOLUME, new, old),
        ("", "Pod") => "",
        ("", "PodTemplate") => "template.",
        ("batch", "CronJob") => "spec.jobTemplate.spec.template.",
        ("", "ReplicationController") | ("apps" | "batch", _) => "spec.template.",
        _ => return Errors::new(),
    };
    of(&format!("{template}{POD}"), new, old)
}

fn of(path: &str, new: &Value, old: Option<&Value>) -> Errors {
    let errors = |object| {
        let mut out = Out::default();
        selector::node_label_values(&mut out, At::Root(path), list_at(object, path));
        out.into_errors()
    };
    if old.is_some_and(|old| !errors(old).is_empty()) { Errors::new() } else { errors(new) }
}
