//! Where a container mounts its volumes.

use super::super::at::{At, Out};
use super::super::read::{list, some, text, truth};
use crate::Value;

/// `volumeMounts` and `volumeDevices` of a container; `volumes` are those that can be mounted.
pub(super) fn mounts(out: &mut Out, at: At<'_>, container: &Value, volumes: &[&Value]) {
    let (all, devices) = (list(container, "volumeMounts"), list(container, "volumeDevices"));
    let list_at = at.child("volumeMounts");
    for (index, mount) in all.iter().enumerate() {
        let at = list_at.index(index);
        let (name, path) = (text(mount, "name"), text(mount, "mountPath"));
        if name.is_empty() {
            out.required(at.child("name"), "");
        }
        if !volumes.iter().any(|v| text(v, "name") == name) {
            out.not_found(at.child("name"), name);
        }
        if path.is_empty() {
            out.required(at.child("mountPath"), "");
        }
        if all[..index].iter().any(|m| text(m, "mountPath") == path) {
            out.invalid(at.child("mountPath"), path, "must be unique");
        }
        if devices.iter().any(|d| text(d, "name") == name) {
            out.invalid(at.child("name"), name, "must not already exist in volumeDevices");
        }
        if devices.iter().any(|d| text(d, "devicePath") == path) {
            out.invalid(at.child("mountPath"), path, "must not already exist as a path in volumeDevices");
        }
        // Upstream's paths of the rest do not say which mount.
        sub_paths(out, list_at, at, mount);
        propagation(out, list_at, mount, container);
        recursively_read_only(out, list_at.child("recursiveReadOnly"), mount);
    }
    let list_at = at.child("volumeDevices");
    for index in 0..devices.len() {
        device(out, list_at.index(index), &devices[..=index], all, volumes);
    }
}

/// The last of `devices`; the others come before it.
fn device(out: &mut Out, at: At<'_>, devices: &[Value], all: &[Value], volumes: &[&Value]) {
    let Some((device, others)) = devices.split_last() else { return };
    let (name, path) = (text(device, "name"), text(device, "devicePath"));
    if name.is_empty() {
        out.required(at.child("name"), "");
    } else if others.iter().any(|d| text(d, "name") == name) {
        out.invalid(at.child("name"), name, "must be unique");
    }
    match volumes.iter().find(|v| text(v, "name") == name) {
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
    if others.iter().any(|d| text(d, "devicePath") == path) {
        out.invalid(at.child("devicePath"), path, "must be unique");
    }
    if path.split('/').any(|part| part == "..") {
        out.invalid(at.child("devicePath"), path, "can not contain backsteps ('..')");
    }
    if all.iter().any(|m| text(m, "name") == name) {
        out.invalid(at.child("name"), name, "must not already exist in volumeMounts");
    }
    if all.iter().any(|m| text(m, "mountPath") == path) {
        out.invalid(at.child("devicePath"), path, "must not already exist as a path in volumeMounts");
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
