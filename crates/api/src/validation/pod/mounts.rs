//! Where a container mounts its volumes.

use super::super::at::{At, Out};
use super::super::read::{list, some, text, truth};
use crate::Value;

/// `volumeMounts` and `volumeDevices` of a container.
pub(super) fn mounts(out: &mut Out, at: At<'_>, container: &Value, volumes: &[Value]) {
    let known = |name: &str| volumes.iter().any(|v| text(v, "name") == name);
    let devices = list(container, "volumeDevices");
    let all = list(container, "volumeMounts");
    let list_at = at.child("volumeMounts");
    for (index, mount) in all.iter().enumerate() {
        let at = list_at.index(index);
        let (name, path) = (text(mount, "name"), text(mount, "mountPath"));
        if name.is_empty() {
            out.required(at.child("name"), "");
        }
        if !known(name) {
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
        sub_paths(out, at, mount);
        propagation(out, at, mount, container);
    }
    let list_at = at.child("volumeDevices");
    for (index, device) in devices.iter().enumerate() {
        let at = list_at.index(index);
        let (name, path) = (text(device, "name"), text(device, "devicePath"));
        if name.is_empty() {
            out.required(at.child("name"), "");
        } else if devices[..index].iter().any(|d| text(d, "name") == name) {
            out.invalid(at.child("name"), name, "must be unique");
        }
        if !known(name) {
            out.not_found(at.child("name"), name);
        }
        if path.is_empty() {
            out.required(at.child("devicePath"), "");
        } else if path.split('/').any(|part| part == "..") {
            out.invalid(at.child("devicePath"), path, "can not contain backsteps ('..')");
        }
    }
}

fn sub_paths(out: &mut Out, at: At<'_>, mount: &Value) {
    let (path, expression) = (text(mount, "subPath"), text(mount, "subPathExpr"));
    if !path.is_empty() {
        descending(out, at.child("subPath"), path);
    }
    if !expression.is_empty() {
        if !path.is_empty() {
            out.invalid(at.child("subPathExpr"), expression, "subPathExpr and subPath are mutually exclusive");
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
