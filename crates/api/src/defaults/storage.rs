//! Defaults of volumes, claims, classes and drivers.

use serde_json::json;

use super::{fill, fill_object, fill_text, object_in, volume};
use crate::value::object_mut;
use crate::{Object, Value};

fn pending(object: &mut Object) {
    fill_object(object, "status");
    if let Some(status) = object_in(object, "status") {
        fill_text(status, "phase", "Pending");
    }
}

pub(super) fn persistent_volume(object: &mut Value) {
    let Some(volume) = object.as_object_mut() else { return };
    pending(volume);
    let Some(spec) = object_mut(object, "spec") else { return };
    fill_text(spec, "persistentVolumeReclaimPolicy", "Retain");
    fill(spec, "volumeMode", "Filesystem");
    volume::sources(spec);
}

pub(super) fn persistent_volume_claim(object: &mut Value) {
    object.as_object_mut().into_iter().for_each(claim);
}

/// A claim, or a template of one.
pub(super) fn claim(claim: &mut Object) {
    pending(claim);
    fill_object(claim, "spec");
    if let Some(spec) = object_in(claim, "spec") {
        fill(spec, "volumeMode", "Filesystem");
    }
}

pub(super) fn storage_class(object: &mut Value) {
    let Some(class) = object.as_object_mut() else { return };
    fill(class, "reclaimPolicy", "Delete");
    fill(class, "volumeBindingMode", "Immediate");
}

pub(super) fn csi_driver(object: &mut Value) {
    let Some(spec) = object_mut(object, "spec") else { return };
    fill(spec, "attachRequired", true);
    for key in ["podInfoOnMount", "storageCapacity", "requiresRepublish", "seLinuxMount"] {
        fill(spec, key, false);
    }
    fill(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
    if spec.get("volumeLifecycleModes").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        spec.insert("volumeLifecycleModes".to_owned(), json!(["Persistent"]));
    }
}
