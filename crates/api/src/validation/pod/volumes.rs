//! Volumes: which source they have, and the sources that every node knows.

mod projected;
mod remote;

use std::collections::HashMap;

use super::super::at::{At, Out, empty};
use super::super::claims;
use super::super::read::{list, number, some, text};
use super::{mounts, sources};
use crate::Value;
use crate::names;
use crate::quantity::Quantity;

const HOST_PATH_TYPES: &[&str] =
    &["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
const MODE: &str = "must be a number between 0 and 0777 (octal), both inclusive";
/// The sources in upstream's order: of several, the first counts and the others are too many.
const ORDER: &[&str] = &[
    "emptyDir",
    "hostPath",
    "gitRepo",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "flocker",
    "persistentVolumeClaim",
    "rbd",
    "cinder",
    "cephfs",
    "quobyte",
    "downwardAPI",
    "fc",
    "flexVolume",
    "configMap",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "storageos",
    "projected",
    "scaleIO",
    "csi",
    "ephemeral",
    "image",
];

/// Whose source it is; persistent volumes live in no namespace, so theirs say more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Of {
    /// A pod, or a template of one.
    Pod,
    /// A persistent volume.
    Volume,
}

/// The volumes of a pod that can be mounted, by name.
pub(super) type Mountable<'a> = HashMap<&'a str, &'a Value>;

/// Checks `volumes` of a pod; returns those without an error, which alone can be mounted.
pub(super) fn volumes<'a>(out: &mut Out, at: At<'_>, volumes: &'a [Value]) -> Mountable<'a> {
    let mut fine = Mountable::with_capacity(volumes.len());
    for (index, volume) in volumes.iter().enumerate() {
        let at = at.index(index);
        let name = text(volume, "name");
        let before = out.count();
        one(out, at, volume);
        if name.is_empty() {
            out.required(at.child("name"), "");
        } else {
            out.invalid_each(at.child("name"), name, names::dns_label(name));
        }
        if fine.contains_key(name) {
            out.duplicate(at.child("name"), name);
        }
        if out.count() == before {
            fine.insert(name, volume);
        }
    }
    fine
}

fn one(out: &mut Out, at: At<'_>, volume: &Value) {
    // A volume has few fields: to look for theirs takes less than to look for all thirty.
    let fields = volume.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    let mut given: Vec<_> =
        fields.filter_map(|(key, value)| Some((ORDER.iter().position(|kind| kind == key)?, value))).collect();
    given.sort_unstable_by_key(|(place, _)| *place);
    let Some(&(place, value)) = given.first() else {
        out.required(at, "must specify a volume type");
        return;
    };
    source(out, at.child(shown(ORDER[place])), ORDER[place], value, Of::Pod);
    for (place, _) in &given[1..] {
        out.forbidden(at.child(ORDER[*place]), "may not specify more than 1 volume type");
    }
}

/// The name that paths of errors have for a source.
pub(in super::super) fn shown(kind: &str) -> &str {
    if kind == "gcePersistentDisk" { "persistentDisk" } else { kind }
}

/// One source of a volume.
pub(in super::super) fn source(out: &mut Out, at: At<'_>, kind: &str, source: &Value, of: Of) {
    match kind {
        "emptyDir" => empty_dir(out, at, source),
        "hostPath" => host_path(out, at, source),
        "secret" => {
            require(out, at, source, "secretName");
            mode(out, at.child("defaultMode"), number(source, "defaultMode"));
            items(out, at.child("items"), list(source, "items"));
        }
        "configMap" => {
            require(out, at, source, "name");
            mode(out, at.child("defaultMode"), number(source, "defaultMode"));
            items(out, at.child("items"), list(source, "items"));
        }
        "downwardAPI" => {
            mode(out, at.child("defaultMode"), number(source, "defaultMode"));
            list(source, "items").iter().for_each(|file| projected::downward(out, at, file));
        }
        "projected" => projected::projected(out, at, source),
        "persistentVolumeClaim" => require(out, at, source, "claimName"),
        "ephemeral" => ephemeral(out, at.child("volumeClaimTemplate"), some(source, "volumeClaimTemplate")),
        "image" => {
            let policy = text(source, "pullPolicy");
            out.one_of(at.child("pullPolicy"), policy, &["Always", "Never", "IfNotPresent"]);
        }
        _ => remote::source(out, at, kind, source, of),
    }
}

fn require(out: &mut Out, at: At<'_>, source: &Value, field: &str) {
    if some(source, field).is_none_or(empty) {
        out.required(at.child(field), "");
    }
}

fn mode(out: &mut Out, at: At<'_>, mode: Option<i64>) {
    if let Some(mode) = mode.filter(|m| !(0..=0o777).contains(m)) {
        out.invalid(at, mode, MODE);
    }
}

fn empty_dir(out: &mut Out, at: At<'_>, source: &Value) {
    let limit = text(source, "sizeLimit");
    if !limit.is_empty() && !Quantity::parse(limit).is_ok_and(|q| q.signum() >= 0) {
        out.forbidden(at.child("sizeLimit"), "SizeLimit field must be a valid resource quantity");
    }
}

fn host_path(out: &mut Out, at: At<'_>, source: &Value) {
    let path = text(source, "path");
    if path.is_empty() {
        out.required(at.child("path"), "");
        return;
    }
    if path.split('/').any(|part| part == "..") {
        out.invalid(at.child("path"), path, "must not contain '..'");
    }
    let kind = text(source, "type");
    if !HOST_PATH_TYPES.contains(&kind) {
        out.not_supported(at.child("type"), kind, HOST_PATH_TYPES);
    }
}

/// The template of a claim that lives and dies with its pod; of its metadata only labels and annotations are used.
fn ephemeral(out: &mut Out, at: At<'_>, template: Option<&Value>) {
    let Some(template) = template else {
        out.required(at, "");
        return;
    };
    let metadata = some(template, "metadata");
    super::meta::of_template(out, at.child("metadata"), metadata);
    for (key, value) in metadata.and_then(Value::as_object).into_iter().flatten() {
        if !["labels", "annotations"].contains(&key.as_str()) && !empty(value) {
            out.forbidden(at.child("metadata").child(key), "cannot be set");
        }
    }
    claims::claim_spec(out, at.child("spec"), some(template, "spec").unwrap_or(&Value::Null));
}

/// Keys that become files.
fn items(out: &mut Out, at: At<'_>, items: &[Value]) {
    for (index, item) in items.iter().enumerate() {
        let at = at.index(index);
        require(out, at, item, "key");
        file_path(out, at.child("path"), text(item, "path"));
        mode(out, at.child("mode"), number(item, "mode"));
    }
}

/// A path below the volume; names that begin with two dots are the kubelet's own.
fn file_path(out: &mut Out, at: At<'_>, path: &str) {
    if path.is_empty() {
        out.required(at, "");
        return;
    }
    mounts::descending(out, at, path);
    if path.starts_with("..") && !path.starts_with("../") {
        // `..` alone breaks both rules, and upstream says both.
        out.invalid(at, path, "must not start with '..'");
    }
}
