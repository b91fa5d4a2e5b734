//! Between the forms of a kind that is stored once and served in several: versions of horizontal pod autoscalers, and events
//! of the core group and of `events.k8s.io`.
//!
//! The pipeline works on the stored form (the hub); an object is converted when it comes in and when it goes out.

mod autoscaler;
mod event;
pub mod older;

#[cfg(test)]
mod tests;

use crate::Value;
use crate::kinds::KindInfo;
use crate::value::str_at;

/// Brings an object in the form of `kind` to the form in which it is stored; any other is left alone.
pub fn to_hub(kind: &KindInfo, object: &mut Value) {
    if !kind.is_converted() || str_at(object, "apiVersion") != Some(&kind.api_version) {
        return;
    }
    match kind.group {
        "events.k8s.io" => event::to_core(object),
        _ => autoscaler::to_v2(object),
    }
    set_version(object, kind.hub());
}

/// Brings an object in the form in which it is stored to that of `kind`.
pub fn from_hub(kind: &KindInfo, object: &mut Value) {
    if !kind.is_converted() || str_at(object, "apiVersion") != Some(&kind.hub().api_version) {
        return;
    }
    match kind.group {
        "events.k8s.io" => event::from_core(object),
        _ => autoscaler::to_v1(object),
    }
    set_version(object, kind);
}

fn set_version(object: &mut Value, kind: &KindInfo) {
    crate::value::set(object, "apiVersion", kind.api_version.as_str());
}

/// The name in the stored form of a field that `kind` is selected by.
#[must_use]
pub fn hub_field(kind: &KindInfo, path: &str) -> String {
    if kind.group == "events.k8s.io" { event::core_field(path) } else { path.to_owned() }
}
