//! Persistent volumes and the claims to them.

use super::at::{At, Out, empty, same};
use super::read::{list, map, some, text};
use super::{pod, selector};
use crate::names;
use crate::quantity::Quantity;
use crate::{Object, Value};

const UNSET: Value = Value::Null;
const ACCESS_MODES: &[&str] = &["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];
const VOLUME_MODES: &[&str] = &["Block", "Filesystem"];
/// Fields of a volume's spec that are no source.
const NOT_SOURCES: &[&str] = &[
    "accessModes",
    "capacity",
    "claimRef",
    "mountOptions",
    "nodeAffinity",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "volumeAttributesClassName",
    "volumeMode",
];

fn spec_of(object: &Value) -> &Value {
    some(object, "spec").unwrap_or(&UNSET)
}

fn access_modes(out: &mut Out, at: At<'_>, spec: &Value, detail: &str) {
    let at = at.child("accessModes");
    let modes: Vec<&str> = list(spec, "accessModes").iter().filter_map(Value::as_str).collect();
    if modes.is_empty() {
        out.required(at, detail);
    }
    for mode in modes.iter().filter(|m| !ACCESS_MODES.contains(m)) {
        out.not_supported(at, *mode, ACCESS_MODES);
    }
    if modes.contains(&"ReadWriteOncePod") && modes.len() > 1 {
        out.forbidden(at, "may not use ReadWriteOncePod with other access modes");
    }
}

fn class_names(out: &mut Out, at: At<'_>, spec: &Value) {
    for key in ["storageClassName", "volumeAttributesClassName"] {
        let name = text(spec, key);
        if !name.is_empty() {
            out.invalid_each(at.child(key), name, names::dns_subdomain(name));
        }
    }
    let mode = text(spec, "volumeMode");
    if !mode.is_empty() && !VOLUME_MODES.contains(&mode) {
        out.not_supported(at.child("volumeMode"), mode, VOLUME_MODES);
    }
}

fn positive(out: &mut Out, at: At<'_>, amount: &Value) {
    let text = amount.as_str().unwrap_or_default();
    if Quantity::parse(text).is_ok_and(|q| q.signum() <= 0) {
        out.invalid(at, text, "must be greater than zero");
    }
}

/// A persistent volume.
pub(super) fn volume(out: &mut Out, object: &Value) {
    volume_spec(out, At::Root("spec"), spec_of(object), false);
}

/// The spec of a volume, or of one that an attachment brings along.
pub(super) fn volume_spec(out: &mut Out, at: At<'_>, spec: &Value, inline: bool) {
    access_modes(out, at, spec, "");
    let capacity_at = at.child("capacity");
    let capacity = map(spec, "capacity").filter(|c| !c.is_empty());
    match capacity {
        Some(_) if inline => {}
        None if !inline => out.required(capacity_at, ""),
        Some(amounts) if !amounts.contains_key("storage") || amounts.len() > 1 => {
            out.not_supported(capacity_at, Value::Object(amounts.clone()), &["storage"]);
        }
        _ => {}
    }
    for (name, amount) in capacity.into_iter().flatten() {
        positive(out, capacity_at.key(name), amount);
    }
    let policy = text(spec, "persistentVolumeReclaimPolicy");
    let policies = ["Delete", "Recycle", "Retain"];
    if !policy.is_empty() && inline {
        out.forbidden(
            at.child("persistentVolumeReclaimPolicy"),
            "may not be specified in the context of inline volumes",
        );
    } else if !policy.is_empty() && !policies.contains(&policy) {
        out.not_supported(at.child("persistentVolumeReclaimPolicy"), policy, &policies);
    }
    node_affinity(out, at.child("nodeAffinity"), spec);
    source(out, at, spec, policy);
    class_names(out, at, spec);
    if !text(spec, "volumeAttributesClassName").is_empty() && some(spec, "csi").is_none() {
        out.required(at.child("csi"), "has to be specified when using volumeAttributesClassName");
    }
}

fn node_affinity(out: &mut Out, at: At<'_>, spec: &Value) {
    let Some(affinity) = some(spec, "nodeAffinity") else { return };
    match some(affinity, "required") {
        None => out.required(at.child("required"), "must specify required node constraints"),
        Some(required) => {
            let at = at.child("required.nodeSelectorTerms");
            let terms = list(required, "nodeSelectorTerms");
            if terms.is_empty() {
                out.required(at, "must have at least one node selector term");
            }
            for (index, term) in terms.iter().enumerate() {
                selector::node_selector_term(out, at.index(index), term);
            }
        }
    }
}

fn source(out: &mut Out, at: At<'_>, spec: &Value, policy: &str) {
    let mut count = 0;
    for (kind, source) in spec.as_object().into_iter().flatten() {
        if source.is_null() || NOT_SOURCES.contains(&kind.as_str()) {
            continue;
        }
        count += 1;
        if count > 1 {
            out.forbidden(at.child(kind), "may not specify more than 1 volume type");
            continue;
        }
        match kind.as_str() {
            "local" => {
                let path = text(source, "path");
                if path.is_empty() {
                    out.required(at.child("local.path"), "");
                } else if path.split('/').any(|part| part == "..") {
                    out.invalid(at.child("local.path"), path, "must not contain '..'");
                }
                if some(spec, "nodeAffinity").is_none() {
                    out.required(at.child("nodeAffinity"), "Local volume requires node affinity");
                }
            }
            "csi" => csi(out, at.child("csi"), source),
            _ => pod::volume_source(out, at.child(kind), kind, source),
        }
    }
    if count == 0 {
        out.required(at, "must specify a volume type");
    }
    let path = some(spec, "hostPath").map_or("", |p| text(p, "path"));
    let root = path.starts_with('/') && path.split('/').all(|part| part.is_empty() || part == ".");
    if root && policy == "Recycle" {
        let detail = "may not be 'recycle' for a hostPath mount of '/'";
        out.forbidden(at.child("persistentVolumeReclaimPolicy"), detail);
    }
}

fn csi(out: &mut Out, at: At<'_>, source: &Value) {
    driver_name(out, at.child("driver"), text(source, "driver"));
    if text(source, "volumeHandle").is_empty() {
        out.required(at.child("volumeHandle"), "");
    }
    for key in [
        "controllerPublishSecretRef",
        "controllerExpandSecretRef",
        "nodePublishSecretRef",
        "nodeStageSecretRef",
        "nodeExpandSecretRef",
    ] {
        let Some(secret) = some(source, key) else { continue };
        for part in ["name", "namespace"] {
            if text(secret, part).is_empty() {
                out.required(at.child(key).child(part), "");
            }
        }
    }
}

/// The name of a CSI driver.
pub(super) fn driver_name(out: &mut Out, at: At<'_>, name: &str) {
    if name.is_empty() {
        out.required(at, "");
        return;
    }
    if name.len() > 63 {
        out.too_long(at, 63);
    }
    out.invalid_each(at, name, names::dns_subdomain(&name.to_ascii_lowercase()));
}

/// What an update of a volume may not do.
pub(super) fn volume_update(out: &mut Out, new: &Value, old: &Value) {
    let (spec, before) = (spec_of(new), spec_of(old));
    let sources = |spec: &Value| -> Object {
        let all = spec.as_object().into_iter().flatten();
        let of = all.filter(|(key, value)| !value.is_null() && !NOT_SOURCES.contains(&key.as_str()));
        of.filter(|(key, _)| *key != "csi").map(|(key, value)| (key.clone(), value.clone())).collect()
    };
    // A CSI volume may get the secrets of a later expansion.
    let plain = |spec: &Value| {
        let mut csi = some(spec, "csi").cloned().unwrap_or_default();
        for secret in ["controllerExpandSecretRef", "nodeExpandSecretRef"] {
            crate::value::remove(&mut csi, secret);
        }
        csi
    };
    let at = At::Root("spec");
    if sources(spec) != sources(before) || plain(spec) != plain(before) {
        out.forbidden(at.child("persistentvolumesource"), "spec.persistentvolumesource is immutable after creation");
    }
    out.immutable(at.child("volumeMode"), spec.get("volumeMode"), before.get("volumeMode"));
    if some(before, "nodeAffinity").is_some() {
        out.immutable(at.child("nodeAffinity"), spec.get("nodeAffinity"), before.get("nodeAffinity"));
    }
}

/// A claim.
pub(super) fn claim(out: &mut Out, object: &Value) {
    claim_spec(out, At::Root("spec"), spec_of(object));
}

fn claim_spec(out: &mut Out, at: At<'_>, spec: &Value) {
    access_modes(out, at, spec, "at least 1 access mode is required");
    if let Some(found) = some(spec, "selector") {
        selector::label_selector(out, at.child("selector"), found);
    }
    let requests = some(spec, "resources").and_then(|r| map(r, "requests"));
    match requests.and_then(|r| r.get("storage")) {
        None => out.required(at.child("resources").key("storage"), ""),
        Some(amount) => positive(out, at.child("resources").key("storage"), amount),
    }
    class_names(out, at, spec);
    for key in ["dataSource", "dataSourceRef"] {
        if let Some(source) = some(spec, key) {
            data_source(out, at.child(key), source);
        }
    }
}

fn data_source(out: &mut Out, at: At<'_>, source: &Value) {
    for key in ["name", "kind"] {
        if text(source, key).is_empty() {
            out.required(at.child(key), "");
        }
    }
    let (group, kind) = (text(source, "apiGroup"), text(source, "kind"));
    if group.is_empty() && !kind.is_empty() && kind != "PersistentVolumeClaim" {
        out.invalid(at, kind, "must be 'PersistentVolumeClaim' when referencing the default apiGroup");
    }
    if !group.is_empty() {
        out.invalid_each(at.child("apiGroup"), group, names::dns_subdomain(group));
    }
}

fn storage(spec: &Value) -> Option<Quantity> {
    let requests = some(spec, "resources").and_then(|r| map(r, "requests"))?;
    Quantity::parse(requests.get("storage")?.as_str()?).ok()
}

/// What an update of a claim may not do.
pub(super) fn claim_update(out: &mut Out, new: &Value, old: &Value) {
    let (spec, before) = (spec_of(new), spec_of(old));
    let mut then = before.clone();
    let bound = some(new, "status").is_some_and(|s| text(s, "phase") == "Bound");
    if text(before, "volumeName").is_empty() {
        copy(&mut then, spec, "volumeName");
    }
    if some(before, "storageClassName").is_none() {
        copy(&mut then, spec, "storageClassName");
    }
    if bound && let Some(amount) = spec.get("resources").and_then(|r| r.get("requests")?.get("storage")) {
        crate::value::set(&mut then, "resources.requests.storage", amount.clone());
    }
    copy(&mut then, spec, "volumeAttributesClassName");
    let at = At::Root("spec");
    let same_fields = |a: &Value, b: &Value| a.as_object().into_iter().flatten().all(|(k, v)| same(Some(v), b.get(k)));
    if !same_fields(spec, &then) || !same_fields(&then, spec) {
        let detail =
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
        out.forbidden(at, detail);
    }
    let size_at = at.child("resources.requests.storage");
    if let (Some(size), Some(size_before)) = (storage(spec), storage(before))
        && size < size_before
    {
        let capacity = some(new, "status").and_then(|s| map(s, "capacity")?.get("storage")?.as_str());
        let capacity = capacity.and_then(|c| Quantity::parse(c).ok()).unwrap_or(Quantity::ZERO);
        if size <= capacity {
            out.forbidden(size_at, "field can not be less than status.capacity");
        }
    }
    let class = |spec| some(spec, "volumeAttributesClassName").filter(|c| !empty(c));
    if class(before).is_some() && class(spec).is_none() {
        let to = if some(spec, "volumeAttributesClassName").is_some() { "an empty string" } else { "nil" };
        let detail = format!("update from non-nil value to {to} is forbidden");
        out.forbidden(at.child("volumeAttributesClassName"), &detail);
    }
}

fn copy(to: &mut Value, from: &Value, key: &str) {
    match some(from, key) {
        Some(value) => crate::value::set(to, key, value.clone()),
        None => drop(crate::value::remove(to, key)),
    }
}
