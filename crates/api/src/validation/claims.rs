//! Persistent volumes and the claims to them.

use super::at::{At, Out, empty, same};
use super::read::{list, map, some, text};
use super::{pod, selector};
use crate::names;
use crate::quantity::Quantity;
use crate::quota::CLASS_ANNOTATION;
use crate::{Object, Value, internal};

const UNSET: Value = Value::Null;
/// The sources in upstream's order: of several, the first counts and the others are too many.
const SOURCES: &[&str] = &[
    "hostPath",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "glusterfs",
    "flocker",
    "nfs",
    "rbd",
    "quobyte",
    "cephfs",
    "iscsi",
    "cinder",
    "fc",
    "flexVolume",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "scaleIO",
    "local",
    "storageos",
    "csi",
];
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
    let pod = modes.contains(&"ReadWriteOncePod");
    if pod && modes.iter().any(|m| *m != "ReadWriteOncePod" && ACCESS_MODES.contains(m)) {
        out.forbidden(at, "may not use ReadWriteOncePod with other access modes");
    }
}

fn class_name(out: &mut Out, at: At<'_>, name: &str) {
    if !name.is_empty() {
        out.invalid_each(at, name, names::dns_subdomain(name));
    }
}

fn volume_mode(out: &mut Out, at: At<'_>, spec: &Value) {
    if let Some(mode) = some(spec, "volumeMode").and_then(Value::as_str).filter(|m| !VOLUME_MODES.contains(m)) {
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
    if inline {
        alone(out, at, spec);
    }
    access_modes(out, at, spec, "");
    let policy = text(spec, "persistentVolumeReclaimPolicy");
    let policy_at = at.child("persistentVolumeReclaimPolicy");
    if !inline {
        capacity(out, at.child("capacity"), spec);
        let policies = ["Delete", "Recycle", "Retain"];
        if !policy.is_empty() && !policies.contains(&policy) {
            out.not_supported(policy_at, policy, &policies);
        }
        node_affinity(out, at.child("nodeAffinity"), spec);
    } else if !matches!(policy, "" | "Retain") {
        out.forbidden(policy_at, "may only be Retain in the context of inline volumes");
    }
    source(out, at, spec, policy);
    if !inline {
        class_name(out, at.child("storageClassName"), text(spec, "storageClassName"));
        volume_mode(out, at, spec);
    }
    if let Some(class) = some(spec, "volumeAttributesClassName").and_then(Value::as_str) {
        if class.is_empty() {
            out.required(at.child("volumeAttributesClassName"), "an empty string is disallowed");
        }
        class_name(out, at.child("volumeAttributesClassName"), class);
        if some(spec, "csi").is_none() {
            out.required(at.child("csi"), "has to be specified when using volumeAttributesClassName");
        }
    }
}

/// What a volume cannot have that belongs to one attachment.
fn alone(out: &mut Out, at: At<'_>, spec: &Value) {
    const DETAIL: &str = "may not be specified in the context of inline volumes";
    for key in ["claimRef", "capacity", "nodeAffinity", "storageClassName"] {
        if some(spec, key).is_some_and(|value| !empty(value)) {
            out.forbidden(at.child(key), DETAIL);
        }
    }
    if some(spec, "csi").is_none() {
        out.required(at.child("csi"), "has to be specified in the context of inline volumes");
    }
    if !matches!(text(spec, "volumeMode"), "" | "Filesystem") {
        let detail = "may not specify volumeMode other than Filesystem in the context of inline volumes";
        out.forbidden(at.child("volumeMode"), detail);
    }
}

fn capacity(out: &mut Out, at: At<'_>, spec: &Value) {
    let found = spec.get("capacity");
    let Some(amounts) = map(spec, "capacity").filter(|c| !c.is_empty()) else {
        out.required(at, "");
        out.not_listed_of(at, "map:quantity", found, &["storage"]);
        return;
    };
    if !amounts.contains_key("storage") || amounts.len() > 1 {
        out.not_listed_of(at, "map:quantity", found, &["storage"]);
    }
    for (name, amount) in amounts {
        positive(out, at.key(name), amount);
    }
}

fn node_affinity(out: &mut Out, at: At<'_>, spec: &Value) {
    let Some(affinity) = some(spec, "nodeAffinity") else { return };
    match some(affinity, "required") {
        None => out.required(at.child("required"), "must specify required node constraints"),
        Some(required) => selector::node_selector(out, at.child("required"), required),
    }
}

fn source(out: &mut Out, at: At<'_>, spec: &Value, policy: &str) {
    let mut given = SOURCES.iter().filter_map(|kind| Some((*kind, some(spec, kind)?)));
    match given.next() {
        None => out.required(at, "must specify a volume type"),
        Some(("local", source)) => {
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
        Some(("csi", source)) => csi(out, at.child("csi"), source),
        Some((kind, source)) => {
            pod::volume_source(out, at.child(pod::volume_shown(kind)), kind, source, pod::VolumeOf::Volume);
        }
    }
    for (kind, _) in given {
        out.forbidden(at.child(kind), "may not specify more than 1 volume type");
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
    // Upstream does not look at the one of staging.
    for key in
        ["controllerPublishSecretRef", "controllerExpandSecretRef", "nodePublishSecretRef", "nodeExpandSecretRef"]
    {
        let Some(secret) = some(source, key) else { continue };
        let at = at.child(key);
        type Check = fn(&str) -> Vec<String>;
        let checks: [(&str, Check); 2] = [("name", names::dns_subdomain), ("namespace", names::dns_label)];
        for (part, check) in checks {
            match text(secret, part) {
                "" => out.required(at.child(part), ""),
                name => out.invalid_each(at.child(part), name, check(name)),
            }
        }
    }
}

/// The name of a CSI driver.
pub(super) fn driver_name(out: &mut Out, at: At<'_>, name: &str) {
    if name.is_empty() {
        // What is missing is malformed too: upstream says both.
        out.required(at, "");
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
    // A CSI volume that has none may get the secret of a later expansion.
    let expansion = "controllerExpandSecretRef";
    let mut then = some(before, "csi").cloned().unwrap_or_default();
    let mut now = some(spec, "csi").cloned().unwrap_or_default();
    if some(&then, expansion).is_none() {
        crate::value::remove(&mut now, expansion);
        crate::value::remove(&mut then, expansion);
    }
    let at = At::Root("spec");
    if sources(spec) != sources(before) || now != then {
        let changes = internal::changes("core/v1.PersistentVolumeSource", before, spec);
        let detail = format!("spec.persistentvolumesource is immutable after creation\n{changes}");
        out.forbidden(at.child("persistentvolumesource"), &detail);
    }
    // Upstream's paths of these two leave `spec` out.
    out.immutable(At::Root("volumeMode"), "*string", spec.get("volumeMode"), before.get("volumeMode"));
    let affinity = "nodeAffinity";
    if some(before, affinity).is_some() && !same(spec.get(affinity), before.get(affinity)) {
        let detail = "field is immutable, except for updating from beta label to GA";
        out.invalid_of(At::Root(affinity), "*core/v1.VolumeNodeAffinity", spec.get(affinity), detail);
    }
    let class = "volumeAttributesClassName";
    if some(before, class).is_some() && some(spec, class).is_none() {
        out.forbidden(at.child(class), "update from non-nil value to nil is forbidden");
    }
}

/// A claim.
pub(super) fn claim(out: &mut Out, object: &Value) {
    claim_spec(out, At::Root("spec"), spec_of(object));
}

/// The spec of a claim, or of one that a template makes.
pub(super) fn claim_spec(out: &mut Out, at: At<'_>, spec: &Value) {
    access_modes(out, at, spec, "at least 1 access mode is required");
    if let Some(found) = some(spec, "selector") {
        selector::label_selector(out, at.child("selector"), found);
    }
    let requests = some(spec, "resources").and_then(|r| map(r, "requests"));
    match requests.and_then(|r| r.get("storage")) {
        None => out.required(at.child("resources").key("storage"), ""),
        Some(amount) => positive(out, at.child("resources").key("storage"), amount),
    }
    class_name(out, at.child("storageClassName"), text(spec, "storageClassName"));
    volume_mode(out, at, spec);
    let (source, reference) = (some(spec, "dataSource"), some(spec, "dataSourceRef"));
    for (key, source) in [("dataSource", source), ("dataSourceRef", reference)] {
        if let Some(source) = source {
            data_source(out, at.child(key), source);
        }
    }
    let elsewhere = reference.map_or("", |r| text(r, "namespace"));
    if !elsewhere.is_empty() {
        out.invalid_each(at.child("dataSourceRef.namespace"), elsewhere, names::dns_label(elsewhere));
    }
    if let (Some(source), Some(reference)) = (source, reference) {
        let path = at.child("dataSource").path().to_string();
        if !elsewhere.is_empty() {
            out.invalid(at, path, "may not be specified when dataSourceRef.namespace is specified");
        } else if ["apiGroup", "kind", "name"].iter().any(|key| text(source, key) != text(reference, key)) {
            out.invalid(at, path, "must match dataSourceRef");
        }
    }
    class_name(out, at.child("volumeAttributesClassName"), text(spec, "volumeAttributesClassName"));
}

fn data_source(out: &mut Out, at: At<'_>, source: &Value) {
    for key in ["name", "kind"] {
        if text(source, key).is_empty() {
            out.required(at.child(key), "");
        }
    }
    let (group, kind) = (text(source, "apiGroup"), text(source, "kind"));
    if group.is_empty() && kind != "PersistentVolumeClaim" {
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
    let (mut now, mut then) = (spec.clone(), before.clone());
    let bound = some(new, "status").is_some_and(|s| text(s, "phase") == "Bound");
    if text(before, "volumeName").is_empty() {
        copy(&mut then, spec, "volumeName");
    }
    if may_get_class(out, new, old) {
        copy(&mut now, before, "storageClassName");
    }
    let amount = "resources.requests.storage";
    if bound && crate::value::get(spec, amount).is_some() {
        copy(&mut now, before, amount);
    }
    if bound && some(spec, "volumeAttributesClassName").is_some() {
        copy(&mut now, before, "volumeAttributesClassName");
    }
    let at = At::Root("spec");
    let same_fields = |a: &Value, b: &Value| a.as_object().into_iter().flatten().all(|(k, v)| same(Some(v), b.get(k)));
    if !same_fields(&now, &then) || !same_fields(&then, &now) {
        let changes = internal::changes("core/v1.PersistentVolumeClaimSpec", &then, &now);
        let detail =
            "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
        out.forbidden(at, &format!("{detail}\n{changes}"));
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
    out.immutable(At::Root("volumeMode"), "*string", spec.get("volumeMode"), before.get("volumeMode"));
    let class = |spec| some(spec, "volumeAttributesClassName").filter(|c| !empty(c));
    if class(before).is_some() && class(spec).is_none() {
        let to = if some(spec, "volumeAttributesClassName").is_some() { "an empty string" } else { "nil" };
        let detail = format!("update from non-nil value to {to} is forbidden");
        out.forbidden(at.child("volumeAttributesClassName"), &detail);
    }
}

/// Whether a claim may get the class that it has now: where it had none, or the same by an annotation, which has to stay otherwise.
fn may_get_class(out: &mut Out, new: &Value, old: &Value) -> bool {
    let by_annotation =
        |claim| some(claim, "metadata").and_then(|m| map(m, "annotations")?.get(CLASS_ANNOTATION)?.as_str());
    let by_field = |claim| some(spec_of(claim), "storageClassName").and_then(Value::as_str);
    let (class, before) = (by_annotation(new), by_annotation(old));
    let had_none = by_field(old).is_none();
    if had_none && before.is_some() && by_field(new) == before && class.is_none_or(|class| Some(class) == before) {
        return true;
    }
    if class.unwrap_or_default() != before.unwrap_or_default() {
        // Upstream's path has the key as if it were a field.
        let at = At::Root("metadata.annotations");
        out.invalid(at.child(CLASS_ANNOTATION), class.unwrap_or_default(), "field is immutable");
    }
    had_none && before.is_none()
}

/// What a claim's resize can be at.
const RESIZES: &[&str] = &[
    "ControllerResizeInProgress",
    "ControllerResizeInfeasible",
    "NodeResizePending",
    "NodeResizeInProgress",
    "NodeResizeInfeasible",
];

/// What is said of a claim: what it has, and how far a resize got.
pub(super) fn claim_status(out: &mut Out, new: &Value) {
    let status = some(new, "status").unwrap_or(&UNSET);
    let at = At::Root("status");
    amounts(out, at.child("capacity"), map(status, "capacity"));
    // Upstream's path has one of it.
    let resizes_at = at.child("allocatedResourceStatus");
    for (name, resize) in map(status, "allocatedResourceStatuses").into_iter().flatten() {
        resized_name(out, resizes_at, name);
        if !RESIZES.contains(&resize.as_str().unwrap_or_default()) {
            out.not_supported(resizes_at, name.as_str(), RESIZES);
        }
    }
    let allocated_at = at.child("allocatedResources");
    for (name, amount) in map(status, "allocatedResources").into_iter().flatten() {
        if resized_name(out, allocated_at, name) {
            one_amount(out, allocated_at.key(name), amount);
        }
    }
}

fn amounts(out: &mut Out, at: At<'_>, amounts: Option<&Object>) {
    for (name, amount) in amounts.into_iter().flatten() {
        one_amount(out, at.key(name), amount);
    }
}

fn one_amount(out: &mut Out, at: At<'_>, amount: &Value) {
    let parsed = amount.as_str().and_then(|text| Quantity::parse(text).ok());
    if let Some(amount) = parsed.filter(|amount| amount.signum() < 0) {
        // Upstream shows whole units.
        out.invalid(at, amount.value(), "must be a valid resource quantity");
    }
}

/// A resource of a claim; of those that are not somebody's own there is only storage.
fn resized_name(out: &mut Out, at: At<'_>, name: &str) -> bool {
    let found = names::qualified_name(name);
    let native = !name.contains('/') || name.contains("kubernetes.io/");
    match (found.is_empty(), native && name != "storage") {
        (false, _) => out.invalid_each(at, name, found),
        (true, true) => out.not_supported(at, name, &["storage"]),
        (true, false) => return true,
    }
    false
}

fn copy(to: &mut Value, from: &Value, key: &str) {
    match crate::value::get(from, key).filter(|value| !value.is_null()) {
        Some(value) => crate::value::set(to, key, value.clone()),
        None => drop(crate::value::remove(to, key)),
    }
}
