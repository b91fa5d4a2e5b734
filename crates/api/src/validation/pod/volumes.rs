//! Volumes and their sources.

use super::super::at::{At, Out};
use super::super::read::{Seen, list, number, repeats, some, text};
use super::{mounts, sources};
use crate::Value;
use crate::names;
use crate::quantity::Quantity;

const HOST_PATH_TYPES: &[&str] =
    &["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
const MODE: &str = "must be a number between 0 and 0777 (octal), both inclusive";

/// Fields that a source cannot do without; sources with more rules have a function below.
const REQUIRED: &[(&str, &[&str])] = &[
    ("persistentVolumeClaim", &["claimName"]),
    ("nfs", &["server", "path"]),
    ("csi", &["driver"]),
    ("iscsi", &["targetPortal", "iqn"]),
    ("cephfs", &["monitors"]),
    ("rbd", &["monitors", "image"]),
    ("image", &["reference"]),
    ("gcePersistentDisk", &["pdName"]),
    ("awsElasticBlockStore", &["volumeID"]),
    ("azureDisk", &["diskName", "diskURI"]),
    ("azureFile", &["secretName", "shareName"]),
    ("cinder", &["volumeID"]),
    ("flexVolume", &["driver"]),
    ("gitRepo", &["repository"]),
    ("glusterfs", &["endpoints", "path"]),
    ("portworxVolume", &["volumeID"]),
    ("quobyte", &["registry", "volume"]),
    ("vsphereVolume", &["volumePath"]),
];

/// `volumes` of a pod.
pub(super) fn volumes(out: &mut Out, at: At<'_>, volumes: &[Value]) {
    let mut seen = Seen::new();
    for (index, volume) in volumes.iter().enumerate() {
        let at = at.index(index);
        let name = text(volume, "name");
        if name.is_empty() {
            out.required(at.child("name"), "");
        } else {
            out.invalid_each(at.child("name"), name, names::dns_label(name));
            if repeats(&mut seen, name) {
                out.duplicate(at.child("name"), name);
            }
        }
        sources(out, at, volume);
    }
}

fn sources(out: &mut Out, at: At<'_>, volume: &Value) {
    let mut count = 0;
    for (kind, source_value) in volume.as_object().into_iter().flatten() {
        if kind == "name" || source_value.is_null() {
            continue;
        }
        count += 1;
        let at = at.child(kind);
        if count > 1 {
            out.forbidden(at, "may not specify more than 1 volume type");
            continue;
        }
        source(out, at, kind, source_value);
    }
    if count == 0 {
        out.required(at, "must specify a volume type");
    }
}

/// One source of a volume.
pub(in super::super) fn source(out: &mut Out, at: At<'_>, kind: &str, source: &Value) {
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
            downward(out, at, list(source, "items"));
        }
        "projected" => projected(out, at, source),
        "ephemeral" if some(source, "volumeClaimTemplate").is_none() => {
            out.required(at.child("volumeClaimTemplate"), "");
        }
        _ => {
            let fields = REQUIRED.iter().find(|(k, _)| *k == kind).map_or(&[][..], |(_, fields)| fields);
            fields.iter().for_each(|field| require(out, at, source, field));
        }
    }
}

fn require(out: &mut Out, at: At<'_>, source: &Value, field: &str) {
    if some(source, field).is_none_or(super::super::at::empty) {
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
    let medium = text(source, "medium");
    if !matches!(medium, "" | "Memory" | "HugePages") && !medium.starts_with("HugePages-") {
        out.not_supported(at.child("medium"), medium, &["", "HugePages", "Memory"]);
    }
}

fn host_path(out: &mut Out, at: At<'_>, source: &Value) {
    let path = text(source, "path");
    if path.is_empty() {
        out.required(at.child("path"), "");
    } else if path.split('/').any(|part| part == "..") {
        out.invalid(at.child("path"), path, "must not contain '..'");
    }
    let kind = text(source, "type");
    if !HOST_PATH_TYPES.contains(&kind) {
        out.not_supported(at.child("type"), kind, HOST_PATH_TYPES);
    }
}

/// Keys that become files.
fn items(out: &mut Out, at: At<'_>, items: &[Value]) {
    for (index, item) in items.iter().enumerate() {
        let at = at.index(index);
        if text(item, "key").is_empty() {
            out.required(at.child("key"), "");
        }
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
    if path.starts_with("..") && !path.split('/').any(|part| part == "..") {
        out.invalid(at, path, "must not start with '..'");
    }
}

fn downward(out: &mut Out, at: At<'_>, files: &[Value]) {
    for (index, file) in files.iter().enumerate() {
        let list = at.child("items");
        let at = list.index(index);
        file_path(out, at.child("path"), text(file, "path"));
        match (some(file, "fieldRef"), some(file, "resourceFieldRef")) {
            (Some(field), None) => sources::field_ref(out, at.child("fieldRef"), field, sources::FILE_FIELDS),
            (None, Some(resource)) => sources::resource_ref(out, at.child("resourceFieldRef"), resource, true),
            (Some(_), Some(_)) => {
                out.invalid(at, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously");
            }
            (None, None) => out.required(at, "one of fieldRef and resourceFieldRef is required"),
        }
        mode(out, at.child("mode"), number(file, "mode"));
    }
}

fn projected(out: &mut Out, at: At<'_>, source: &Value) {
    mode(out, at.child("defaultMode"), number(source, "defaultMode"));
    let mut paths = Seen::new();
    let sources_at = at.child("sources");
    for (index, part) in list(source, "sources").iter().enumerate() {
        let item = sources_at.index(index);
        let mut count = 0;
        for (kind, projection) in part.as_object().into_iter().flatten().filter(|(_, v)| !v.is_null()) {
            count += 1;
            let at = item.child(kind);
            if count > 1 {
                out.forbidden(at, "may not specify more than 1 volume type per source");
                continue;
            }
            match kind.as_str() {
                "secret" | "configMap" => {
                    require(out, at, projection, "name");
                    items(out, at.child("items"), list(projection, "items"));
                }
                "downwardAPI" => downward(out, at, list(projection, "items")),
                "serviceAccountToken" => token(out, at, projection),
                _ => {}
            }
            let own = Some(text(projection, "path")).filter(|p| !p.is_empty());
            let of_items = list(projection, "items").iter().map(|i| text(i, "path")).filter(|p| !p.is_empty());
            for path in of_items.chain(own) {
                if repeats(&mut paths, path) {
                    out.invalid(at, path, "conflicting duplicate paths");
                }
            }
        }
        if count == 0 {
            out.required(item, "must specify a volume type");
        }
    }
}

fn token(out: &mut Out, at: At<'_>, token: &Value) {
    let seconds = number(token, "expirationSeconds").unwrap_or(0);
    if seconds < 600 {
        out.invalid(at.child("expirationSeconds"), seconds, "may not specify a duration less than 10 minutes");
    } else if seconds > 1 << 32 {
        out.invalid(at.child("expirationSeconds"), seconds, "may not specify a duration larger than 2^32 seconds");
    }
    file_path(out, at.child("path"), text(token, "path"));
}
