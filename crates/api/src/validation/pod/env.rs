//! Environment variables and where their values come from.

use super::super::at::{At, Out};
use super::super::formats;
use super::super::read::{some, text};
use super::sources;
use crate::Value;
use crate::names;

const SOURCES: [&str; 5] = ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"];

/// `env` of a container.
pub(super) fn env(out: &mut Out, at: At<'_>, variables: &[Value], volumes: &[Value]) {
    for (index, variable) in variables.iter().enumerate() {
        let at = at.index(index);
        let name = text(variable, "name");
        if name.is_empty() {
            out.required(at.child("name"), "");
        } else {
            out.invalid_each(at.child("name"), name, formats::env_name(name));
        }
        if let Some(source) = some(variable, "valueFrom") {
            let at = at.child("valueFrom");
            value_from(out, at, source, !text(variable, "value").is_empty());
            if let Some(reference) = some(source, "fileKeyRef") {
                file_key(out, at.child("fileKeyRef"), reference, volumes);
            }
        }
    }
}

fn value_from(out: &mut Out, at: At<'_>, source: &Value, has_value: bool) {
    if let Some(field) = some(source, "fieldRef") {
        sources::field_ref(out, at.child("fieldRef"), field, sources::ENV_FIELDS);
    }
    if let Some(resource) = some(source, "resourceFieldRef") {
        sources::resource_ref(out, at.child("resourceFieldRef"), resource, false);
    }
    for key in ["configMapKeyRef", "secretKeyRef"] {
        if let Some(reference) = some(source, key) {
            key_ref(out, at.child(key), reference);
        }
    }
    match SOURCES.iter().filter(|key| some(source, key).is_some()).count() {
        0 => {
            let detail = "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`";
            out.invalid(at, "", detail);
        }
        _ if has_value => out.invalid(at, "", "may not be specified when `value` is not empty"),
        1 => {}
        _ => out.invalid(at, "", "may not have more than one field specified at a time"),
    }
}

/// A variable that stands in a file of an empty directory (KEP-3721).
fn file_key(out: &mut Out, at: At<'_>, reference: &Value, volumes: &[Value]) {
    let (key, volume, path) = (text(reference, "key"), text(reference, "volumeName"), text(reference, "path"));
    match key {
        "" => out.required(at.child("key"), ""),
        key => out.invalid_each(at.child("key"), key, formats::env_name(key)),
    }
    match volume {
        "" => out.required(at.child("volumeName"), ""),
        volume => out.invalid_each(at.child("volumeName"), volume, names::dns_label(volume)),
    }
    if path.is_empty() {
        out.required(at.child("path"), "");
    } else if path.split('/').any(|part| part == "..") {
        out.invalid(at.child("path"), path, "must not contain '..'");
    }
    match volumes.iter().find(|v| text(v, "name") == volume) {
        _ if volume.is_empty() => {}
        None => out.not_found(at.child("volumeName"), volume),
        Some(found) if some(found, "emptyDir").is_none() => {
            out.invalid(at.child("volumeName"), volume, "referenced volume must be of type emptyDir");
        }
        Some(_) => {}
    }
}

fn key_ref(out: &mut Out, at: At<'_>, reference: &Value) {
    let (name, key) = (text(reference, "name"), text(reference, "key"));
    out.invalid_each(at.child("name"), name, names::dns_subdomain(name));
    if key.is_empty() {
        out.required(at.child("key"), "");
    } else {
        out.invalid_each(at.child("key"), key, names::config_key(key));
    }
}

/// `envFrom` of a container.
pub(super) fn env_from(out: &mut Out, at: At<'_>, all: &[Value]) {
    for (index, source) in all.iter().enumerate() {
        let item = at.index(index);
        let prefix = text(source, "prefix");
        if !prefix.is_empty() {
            out.invalid_each(item.child("prefix"), prefix, formats::env_name(prefix));
        }
        let mut count = 0;
        for key in ["configMapRef", "secretRef"] {
            let Some(reference) = some(source, key) else { continue };
            count += 1;
            let at = item.child(key);
            match text(reference, "name") {
                "" => out.required(at.child("name"), ""),
                name => out.invalid_each(at.child("name"), name, names::dns_subdomain(name)),
            }
        }
        match count {
            0 => out.invalid(at, "", "must specify one of: `configMapRef` or `secretRef`"),
            1 => {}
            _ => out.invalid(at, "", "may not have more than one field specified at a time"),
        }
    }
}
