//! Storage classes, attachments, drivers, and what nodes and drivers report.

use super::at::{At, Out, same};
use super::claims::{driver_name, volume_spec};
use super::read::{Seen, list, map, number, repeats, some, text};
use super::selector;
use crate::names;
use crate::quantity::Quantity;
use crate::{Object, Value};

const UNSET: Value = Value::Null;
/// The most parameters of a class, and their bytes.
const PARAMETERS: usize = 512;
const PARAMETER_BYTES: usize = 256 * 1024;
/// The longest ID of a node to a driver.
const NODE_ID_BYTES: usize = 256;

fn spec_of(object: &Value) -> &Value {
    some(object, "spec").unwrap_or(&UNSET)
}

fn parameters(out: &mut Out, at: At<'_>, parameters: Option<&Object>) {
    let Some(parameters) = parameters else { return };
    if parameters.len() > PARAMETERS {
        out.too_long(at, PARAMETERS);
        return;
    }
    let mut bytes = 0;
    for (key, value) in parameters {
        if key.is_empty() {
            out.invalid(at, key.as_str(), "field can not be empty.");
        }
        bytes += key.len() + value.as_str().map_or(0, str::len);
    }
    if bytes > PARAMETER_BYTES {
        out.too_long(at, PARAMETER_BYTES);
    }
}

/// A storage class.
pub(super) fn storage_class(out: &mut Out, class: &Value) {
    let provisioner = text(class, "provisioner");
    if provisioner.is_empty() {
        out.required(At::Root("provisioner"), "");
    } else {
        let lower = provisioner.to_ascii_lowercase();
        out.invalid_each(At::Root("provisioner"), provisioner, names::qualified_name(&lower));
    }
    parameters(out, At::Root("parameters"), map(class, "parameters"));
    let policy = text(class, "reclaimPolicy");
    if !policy.is_empty() && !["Delete", "Retain"].contains(&policy) {
        out.not_supported(At::Root("reclaimPolicy"), policy, &["Delete", "Retain"]);
    }
    out.one_of(At::Root("volumeBindingMode"), text(class, "volumeBindingMode"), &["Immediate", "WaitForFirstConsumer"]);
    let at = At::Root("allowedTopologies");
    for (index, term) in list(class, "allowedTopologies").iter().enumerate() {
        let expressions = at.index(index);
        let expressions = expressions.child("matchLabelExpressions");
        let mut keys = Seen::new();
        for (index, requirement) in list(term, "matchLabelExpressions").iter().enumerate() {
            let at = expressions.index(index);
            let key = text(requirement, "key");
            if list(requirement, "values").is_empty() {
                out.required(at.child("values"), "");
            }
            selector::label_name(out, at.child("key"), key);
            if repeats(&mut keys, key) {
                out.duplicate(at.child("key"), key);
            }
        }
    }
}

/// Volumes of a class were made by it as it was.
pub(super) fn storage_class_update(out: &mut Out, new: &Value, old: &Value) {
    for key in ["parameters", "provisioner", "reclaimPolicy"] {
        if !same(new.get(key), old.get(key)) {
            out.forbidden(At::Root(key), &format!("updates to {key} are forbidden."));
        }
    }
    out.immutable(At::Root("volumeBindingMode"), new.get("volumeBindingMode"), old.get("volumeBindingMode"));
}

/// A volume attributes class.
pub(super) fn attributes_class(out: &mut Out, class: &Value) {
    driver_name(out, At::Root("driverName"), text(class, "driverName"));
    let found = map(class, "parameters");
    if found.is_none_or(Object::is_empty) {
        out.required(At::Root("parameters"), "must contain at least one key/value pair");
    }
    parameters(out, At::Root("parameters"), found);
}

/// What a claim was changed to stays what it was.
pub(super) fn attributes_class_update(out: &mut Out, new: &Value, old: &Value) {
    for key in ["driverName", "parameters"] {
        if !same(new.get(key), old.get(key)) {
            out.forbidden(At::Root(key), &format!("updates to {key} are forbidden."));
        }
    }
}

/// An attachment of a volume to a node.
pub(super) fn attachment(out: &mut Out, object: &Value) {
    let (at, spec) = (At::Root("spec"), spec_of(object));
    driver_name(out, at.child("attacher"), text(spec, "attacher"));
    let source_at = at.child("source");
    let source = some(spec, "source").unwrap_or(&UNSET);
    match (some(source, "persistentVolumeName"), some(source, "inlineVolumeSpec")) {
        (None, None) => {
            out.required(source_at, "must specify exactly one of inlineVolumeSpec and persistentVolumeName")
        }
        (Some(_), Some(_)) => {
            out.forbidden(source_at, "must specify exactly one of inlineVolumeSpec and persistentVolumeName");
        }
        (Some(name), None) => {
            let name = name.as_str().unwrap_or_default();
            if name.is_empty() {
                out.required(source_at.child("persistentVolumeName"), "must specify non empty persistentVolumeName");
            } else {
                out.invalid_each(source_at.child("persistentVolumeName"), name, names::dns_subdomain(name));
            }
        }
        (None, Some(inline)) => volume_spec(out, source_at.child("inlineVolumeSpec"), inline, true),
    }
    let node = text(spec, "nodeName");
    out.invalid_each(at.child("nodeName"), node, names::dns_subdomain(node));
}

/// Where a volume is attached does not change.
pub(super) fn attachment_update(out: &mut Out, new: &Value, old: &Value) {
    out.immutable(At::Root("spec"), new.get("spec"), old.get("spec"));
}

/// A CSI driver.
pub(super) fn csi_driver(out: &mut Out, object: &Value) {
    let name = some(object, "metadata").map_or("", |m| text(m, "name"));
    driver_name(out, At::Root("metadata.name"), name);
    let (at, spec) = (At::Root("spec"), spec_of(object));
    for key in ["attachRequired", "podInfoOnMount", "storageCapacity"] {
        if some(spec, key).is_none() {
            out.required(at.child(key), "");
        }
    }
    let policy = text(spec, "fsGroupPolicy");
    let policies = ["File", "None", "ReadWriteOnceWithFSType"];
    if !policy.is_empty() && !policies.contains(&policy) {
        out.not_supported(at.child("fsGroupPolicy"), policy, &policies);
    }
    for mode in list(spec, "volumeLifecycleModes").iter().filter_map(Value::as_str) {
        if !["Ephemeral", "Persistent"].contains(&mode) {
            out.not_supported(at.child("volumeLifecycleModes"), mode, &["Ephemeral", "Persistent"]);
        }
    }
    let tokens_at = at.child("tokenRequests");
    let mut audiences = Seen::new();
    for (index, token) in list(spec, "tokenRequests").iter().enumerate() {
        let at = tokens_at.index(index);
        let audience = text(token, "audience");
        if repeats(&mut audiences, audience) {
            out.duplicate(at.child("audience"), audience);
        }
        let Some(seconds) = number(token, "expirationSeconds") else { continue };
        if seconds < 600 {
            out.invalid(at.child("expirationSeconds"), seconds, "may not specify a duration less than 10 minutes");
        } else if seconds > 1 << 32 {
            let detail = "may not specify a duration larger than 2^32 seconds";
            out.invalid(at.child("expirationSeconds"), seconds, detail);
        }
    }
    if let Some(seconds) = number(spec, "nodeAllocatableUpdatePeriodSeconds").filter(|s| *s < 10) {
        let detail = "must be greater than or equal to 10 seconds";
        out.invalid(at.child("nodeAllocatableUpdatePeriodSeconds"), seconds, detail);
    }
}

/// How a driver attaches does not change under its volumes.
pub(super) fn csi_driver_update(out: &mut Out, new: &Value, old: &Value) {
    let (spec, before) = (spec_of(new), spec_of(old));
    let at = At::Root("spec");
    for key in ["attachRequired", "volumeLifecycleModes"] {
        out.immutable(at.child(key), spec.get(key), before.get(key));
    }
}

/// The drivers of a node.
pub(super) fn csi_node(out: &mut Out, object: &Value) {
    let at = At::Root("spec.drivers");
    let mut seen = Seen::new();
    for (index, driver) in list(spec_of(object), "drivers").iter().enumerate() {
        let at = at.index(index);
        let (name, id) = (text(driver, "name"), text(driver, "nodeID"));
        driver_name(out, at.child("name"), name);
        if id.is_empty() {
            out.required(at.child("nodeID"), "");
        } else if id.len() > NODE_ID_BYTES {
            out.invalid(at.child("nodeID"), id, "must be 256 characters or less");
        }
        if let Some(allocatable) = some(driver, "allocatable") {
            out.non_negative(at.child("allocatable.count"), number(allocatable, "count"));
        }
        let keys_at = at.child("topologyKeys");
        let mut keys = Seen::new();
        for key in list(driver, "topologyKeys").iter().filter_map(Value::as_str) {
            if key.is_empty() {
                out.required(keys_at, "");
            } else if repeats(&mut keys, key) {
                out.duplicate(keys_at, key);
            }
            out.invalid_each(keys_at, key, names::qualified_name(key));
        }
        if repeats(&mut seen, name) {
            out.duplicate(at.child("name"), name);
        }
    }
}

/// A driver that is there stays as it is, but for how much it can take.
pub(super) fn csi_node_update(out: &mut Out, new: &Value, old: &Value) {
    let plain = |driver: &Value| {
        let mut driver = driver.clone();
        crate::value::remove(&mut driver, "allocatable");
        driver
    };
    let at = At::Root("spec.drivers");
    for before in list(spec_of(old), "drivers") {
        let now = list(spec_of(new), "drivers").iter().find(|d| text(d, "name") == text(before, "name"));
        if let Some(now) = now.filter(|now| plain(now) != plain(before)) {
            out.invalid(at, now.clone(), "field is immutable");
        }
    }
}

/// What a driver can still make.
pub(super) fn storage_capacity(out: &mut Out, object: &Value) {
    let class = text(object, "storageClassName");
    if class.is_empty() {
        out.required(At::Root("storageClassName"), "");
    } else {
        out.invalid_each(At::Root("storageClassName"), class, names::dns_subdomain(class));
    }
    if let Some(topology) = some(object, "nodeTopology") {
        selector::label_selector(out, At::Root("nodeTopology"), topology);
    }
    for key in ["capacity", "maximumVolumeSize"] {
        let amount = text(object, key);
        if Quantity::parse(amount).is_ok_and(|q| q.signum() < 0) {
            out.invalid(At::Root(key), amount, "must be greater than or equal to 0");
        }
    }
}

/// Whom a capacity is about does not change.
pub(super) fn storage_capacity_update(out: &mut Out, new: &Value, old: &Value) {
    for key in ["nodeTopology", "storageClassName"] {
        out.immutable(At::Root(key), new.get(key), old.get(key));
    }
}
