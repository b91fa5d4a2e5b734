//! Where a container mounts its volumes.

use super::super::at::{At, Out};
use super::super::read::{Seen, list, repeats, some, text, truth};
use super::volumes::Mountable;
use crate::Value;

/// What the items of a list say under a key.
fn said<'a>(items: &'a [Value], key: &str) -> Seen<'a> {
    items.iter().map(|item| text(item, key)).collect()
}

/// `volumeMounts` and `volumeDevices` of a container; `volumes` are those that can be mounted.
pub(super) fn mounts(out: &mut Out, at: At<'_>, container: &Value, volumes: &Mountable<'_>) {
    let (all, devices) = (list(container, "volumeMounts"), list(container, "volumeDevices"));
    let (device_names, device_paths) = (said(devices, "name"), said(devices, "devicePath"));
    let mut paths = Seen::new();
    let list_at = at.child("volumeMounts");
    for (index, mount) in all.iter().enumerate() {
        let at = list_at.index(index);
        let (name, path) = (text(mount, "name"), text(mount, "mountPath"));
        if name.is_empty() {
            out.required(at.child("name"), "");
        }
        if !volumes.contains_key(name) {
            out.not_found(at.child("name"), name);
        }
        if path.is_empty() {
            out.required(at.child("mountPath"), "");
        }
        if repeats(&mut paths, path) {
            out.invalid(at.child("mountPath"), path, "must be unique");
        }
        if device_names.contains(name) {
            out.invalid(at.child("name"), name, "must not already exist in volumeDevices");
        }
        if device_paths.contains(path) {
            out.invalid(at.child("mountPath"), path, "must not already exist as a path in volumeDevices");
        }
        // Upstream's paths of the rest do not say which mount.
        sub_paths(out, list_at, at, mount);
        propagation(out, list_at, mount, container);
        recursively_read_only(out, list_at.child("recursiveReadOnly"), mount);
    }
    block_devices(out, at.child("volumeDevices"), devices, all, volumes);
}

/// `volumeDevices` of a container whose `volumeMounts` are `all`.
fn block_devices(out: &mut Out, at: At<'_>, devices: &[Value], all: &[Value], volumes: &Mountable<'_>) {
    let (mounted_names, mounted_paths) = (said(all, "name"), said(all, "mountPath"));
    let (mut names, mut paths) = (Seen::new(), Seen::new());
    for (index, device) in devices.iter().enumerate() {
        let at = at.index(index);
        let (name, path) = (text(device, "name"), text(device, "devicePath"));
        let repeated = repeats(&mut names, name);
        if name.is_empty() {
            out.required(at.child("name"), "");
        } else if repeated {
            out.invalid(at.child("name"), name, "must be unique");
        }
        match volumes.get(name) {
            None => out.not_found(at.child("name"), name),
            Some(volume) if ["persistentVolumeClaim", "ephemeral"].iter().all(|kind| some(volume, kind).is_none()) => {
                let detail = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode";
                out.invalid(at.child("name"), name, detail);
            }
            Some(_) => {}
        }
        if path.is_empty() {
            out.required(at.child("devicePath"), "");
        }
        if repeats(&mut paths, path) {
            out.invalid(at.child("devicePath"), path, "must be unique");
        }
        if path.split('/').any(|part| part == "..") {
            out.invalid(at.child("devicePath"), path, "can not contain backsteps ('..')");
        }
        if mounted_names.contains(name) {
            out.invalid(at.child("name"), name, "must not already exist in volumeMounts");
        }
        if mounted_paths.contains(path) {
            out.invalid(at.child("devicePath"), path, "must not already exist as a path in volumeMounts");
        }
    }
}

/// `at` is the list, `mount_at` the mount in it.
fn sub_paths(out: &mut Out, at: At<'_>, mount_at: At<'_>, mount: &Value) {
    let (path, expression) = (text(mount, "subPath"), text(mount, "subPathExpr"));
    if !path.is_empty() {
        descending(out, at.child("subPath"), path);
    }
    if !expression.is_empty() {
        if !path.is_empty() {
            out.invalid(mount_at.child("subPathExpr"), expression, "subPathExpr and subPath are mutually exclusive");
        }
        descending(out, at.child("subPathExpr"), expression);
    }
}

/// A relative path that stays below where it starts.
pub(super) fn descending(out: &mut Out, at: At<'_>, path: &str) {
    if path.starts_with('/') {
        out.invalid(at, path, "must be a relative path");
    }
    if path.split('/').any(|part| part == "..") {
        out.invalid(at, path, "must not contain '..'");
    }
}

fn recursively_read_only(out: &mut Out, at: At<'_>, mount: &Value) {
    match text(mount, "recursiveReadOnly") {
        "" | "Disabled" => {}
        "Enabled" | "IfPossible" => {
            if !truth(mount, "readOnly") {
                out.forbidden(at, "may only be specified when readOnly is true");
            }
            if !matches!(text(mount, "mountPropagation"), "" | "None") {
                out.forbidden(at, "may only be specified when mountPropagation is None or not specified");
            }
        }
        other => out.not_supported(at, other, &["Disabled", "Enabled", "IfPossible"]),
    }
}

fn propagation(out: &mut Out, at: At<'_>, mount: &Value, container: &Value) {
    let mode = text(mount, "mountPropagation");
    let modes = ["None", "HostToContainer", "Bidirectional"];
    if mode.is_empty() {
        return;
    }
    if !modes.contains(&mode) {
        out.not_supported(at.child("mountPropagation"), mode, &modes);
    }
    let privileged = some(container, "securityContext").is_some_and(|c| truth(c, "privileged"));
    if mode == "Bidirectional" && !privileged {
        let detail = "Bidirectional mount propagation is available only to privileged containers";
        out.forbidden(at.child("mountPropagation"), detail);
    }
}
