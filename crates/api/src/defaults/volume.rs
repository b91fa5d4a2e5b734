//! Defaults of pod volumes.

use super::container::field_ref;
use super::image::pull_policy;
use super::{fill, fill_object, fill_text, object_in, objects_in};
use crate::{Object, Value};

/// File mode 0644, the default of files that come from the API.
const FILE_MODE: i64 = 0o644;

/// Text defaults of the sources that only have such: source, field, value.
const TEXTS: &[(&str, &str, &str)] = &[
    ("azureDisk", "cachingMode", "ReadWrite"),
    ("azureDisk", "kind", "Shared"),
    ("azureDisk", "fsType", "ext4"),
    ("iscsi", "iscsiInterface", "default"),
    ("rbd", "pool", "rbd"),
    ("rbd", "user", "admin"),
    ("rbd", "keyring", "/etc/ceph/keyring"),
    ("scaleIO", "storageMode", "ThinProvisioned"),
    ("scaleIO", "fsType", "xfs"),
];

/// Defaults of one volume; one without a source is an `emptyDir`.
pub(super) fn volume(volume: &mut Object) {
    if volume.iter().all(|(key, value)| key == "name" || value.is_null()) {
        fill_object(volume, "emptyDir");
        return;
    }
    for source in ["configMap", "secret", "downwardAPI", "projected"] {
        if let Some(source) = object_in(volume, source) {
            fill(source, "defaultMode", FILE_MODE);
        }
    }
    if let Some(source) = object_in(volume, "downwardAPI") {
        objects_in(source, "items").for_each(field_ref);
    }
    if let Some(source) = object_in(volume, "projected") {
        objects_in(source, "sources").for_each(projection);
    }
    sources(volume);
    if let Some(claim) = object_in(volume, "ephemeral")
        .and_then(|e| object_in(e, "volumeClaimTemplate"))
        .and_then(|t| object_in(t, "spec"))
    {
        fill_text(claim, "volumeMode", "Filesystem");
    }
    if let Some(image) = object_in(volume, "image") {
        let policy = pull_policy(image.get("reference").and_then(Value::as_str).unwrap_or_default());
        fill_text(image, "pullPolicy", policy);
    }
}

/// Defaults of the sources that persistent volumes have too.
pub(super) fn sources(volume: &mut Object) {
    if let Some(path) = object_in(volume, "hostPath") {
        fill(path, "type", "");
    }
    for (source, key, text) in TEXTS {
        if let Some(source) = object_in(volume, source) {
            fill_text(source, key, text);
        }
    }
    if let Some(disk) = object_in(volume, "azureDisk") {
        fill(disk, "readOnly", false);
    }
}

fn projection(source: &mut Object) {
    if let Some(token) = object_in(source, "serviceAccountToken") {
        fill(token, "expirationSeconds", 3600);
    }
    if let Some(downward) = object_in(source, "downwardAPI") {
        objects_in(downward, "items").for_each(field_ref);
    }
}
