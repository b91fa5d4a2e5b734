//! Storage classes, attachments, drivers, and what nodes and drivers report.

use std::collections::{BTreeMap, BTreeSet};

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
/// The most bytes of what a driver says of an attachment, and of one of its errors.
const METADATA_BYTES: usize = 256 * 1024;
const ERROR_BYTES: usize = 1024;
/// What upstream calls `attachRequired` in messages.
const ATTACH: &str = "attachedRequired";

/// The values that a term of topologies has for each key.
type Topology<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

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

/// Who makes volumes or knows their attributes; upstream shows the name as it compares it, in lower case.
fn provisioner(out: &mut Out, at: At<'_>, name: &str) {
    if name.is_empty() {
        out.required(at, "");
    } else {
        let lower = name.to_lowercase();
        out.invalid_each(at, &lower, names::qualified_name(&lower));
    }
}

/// A storage class.
pub(super) fn storage_class(out: &mut Out, class: &Value) {
    provisioner(out, At::Root("provisioner"), text(class, "provisioner"));
    parameters(out, At::Root("parameters"), map(class, "parameters"));
    let policy = text(class, "reclaimPolicy");
    if !policy.is_empty() && !["Delete", "Retain"].contains(&policy) {
        out.not_supported(At::Root("reclaimPolicy"), policy, &["Delete", "Retain"]);
    }
    out.one_of(At::Root("volumeBindingMode"), text(class, "volumeBindingMode"), &["Immediate", "WaitForFirstConsumer"]);
    topologies(out, At::Root("allowedTopologies"), list(class, "allowedTopologies"));
}

/// Terms of topologies, each of which may stand once. Upstream compares each term with as many empty ones as there are
/// terms first, so an empty one is told of as often.
fn topologies(out: &mut Out, at: At<'_>, terms: &[Value]) {
    // How often each was seen.
    let mut seen: BTreeMap<Topology<'_>, usize> = BTreeMap::from([(Topology::new(), terms.len())]);
    for (index, term) in terms.iter().enumerate() {
        let at = at.index(index);
        let at = at.child("matchLabelExpressions");
        let found = topology(out, at, list(term, "matchLabelExpressions"));
        let times = seen.entry(found).or_default();
        for _ in 0..*times {
            if out.is_full() {
                return;
            }
            out.duplicate(at, "");
        }
        *times += 1;
    }
}

fn topology<'a>(out: &mut Out, expressions: At<'_>, requirements: &'a [Value]) -> Topology<'a> {
    let mut found = Topology::new();
    for (index, requirement) in requirements.iter().enumerate() {
        let at = expressions.index(index);
        let key = text(requirement, "key");
        let values_at = at.child("values");
        let mut values = BTreeSet::new();
        if list(requirement, "values").is_empty() {
            out.required(values_at, "");
        }
        for (index, value) in list(requirement, "values").iter().filter_map(Value::as_str).enumerate() {
            if !values.insert(value) {
                out.duplicate(values_at.index(index), value);
            }
        }
        selector::label_name(out, at.child("key"), key);
        if found.insert(key, values).is_some() {
            out.duplicate(at.child("key"), key);
        }
    }
    found
}

/// Volumes of a class were made by it as it was.
pub(super) fn storage_class_update(out: &mut Out, new: &Value, old: &Value) {
    for key in ["parameters", "provisioner", "reclaimPolicy"] {
        if !same(new.get(key), old.get(key)) {
            out.forbidden(At::Root(key), &format!("updates to {key} are forbidden."));
        }
    }
    out.immutable(At::Root("volumeBindingMode"), "*string", new.get("volumeBindingMode"), old.get("volumeBindingMode"));
}

/// A volume attributes class.
pub(super) fn attributes_class(out: &mut Out, class: &Value) {
    provisioner(out, At::Root("driverName"), text(class, "driverName"));
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

/// A new attachment of a volume to a node.
pub(super) fn attachment_create(out: &mut Out, object: &Value) {
    attachment(out, object);
    let (at, spec) = (At::Root("spec"), spec_of(object));
    driver_name(out, at.child("attacher"), text(spec, "attacher"));
    if let Some(name) = some(spec, "source").and_then(|s| some(s, "persistentVolumeName")?.as_str()) {
        out.invalid_each(at.child("source.persistentVolumeName"), name, names::dns_subdomain(name));
    }
}

/// An attachment, new or changed.
pub(super) fn attachment(out: &mut Out, object: &Value) {
    let (at, spec) = (At::Root("spec"), spec_of(object));
    if text(spec, "attacher").is_empty() {
        out.required(at.child("attacher"), "");
    }
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
            if name == "" {
                out.required(source_at.child("persistentVolumeName"), "must specify non empty persistentVolumeName");
            }
        }
        (None, Some(inline)) => volume_spec(out, source_at.child("inlineVolumeSpec"), inline, true),
    }
    let node = text(spec, "nodeName");
    out.invalid_each(at.child("nodeName"), node, names::dns_subdomain(node));
    attachment_status(out, some(object, "status").unwrap_or(&UNSET));
}

fn attachment_status(out: &mut Out, status: &Value) {
    let at = At::Root("status");
    let entries = map(status, "attachmentMetadata").into_iter().flatten();
    if entries.map(|(key, value)| key.len() + value.as_str().map_or(0, str::len)).sum::<usize>() > METADATA_BYTES {
        out.too_long(at.child("attachmentMetadata"), METADATA_BYTES);
    }
    for key in ["attachError", "detachError"] {
        let Some(error) = some(status, key) else { continue };
        let at = at.child(key);
        if text(error, "message").len() > ERROR_BYTES {
            // Upstream names the limit of the metadata here.
            out.too_long(at.child("message"), METADATA_BYTES);
        }
        if let Some(code) = number(error, "errorCode").filter(|c| *c < 0) {
            out.invalid(at.child("errorCode"), code, "must be between 0 and 2147483647, inclusive");
        }
    }
}

/// Where a volume is attached does not change.
pub(super) fn attachment_update(out: &mut Out, new: &Value, old: &Value) {
    out.immutable(At::Root("spec"), "storage/v1.VolumeAttachmentSpec", new.get("spec"), old.get("spec"));
}

/// A CSI driver.
pub(super) fn csi_driver(out: &mut Out, object: &Value) {
    let (at, spec) = (At::Root("spec"), spec_of(object));
    for (key, shown) in
        [("attachRequired", ATTACH), ("podInfoOnMount", "podInfoOnMount"), ("storageCapacity", "storageCapacity")]
    {
        if some(spec, key).is_none() {
            out.required(at.child(shown), "");
        }
    }
    let policies = ["File", "None", "ReadWriteOnceWithFSType"];
    if let Some(policy) = some(spec, "fsGroupPolicy").and_then(Value::as_str).filter(|p| !policies.contains(p)) {
        out.not_supported(at.child("fsGroupPolicy"), policy, &policies);
    }
    token_requests(out, at.child("tokenRequests"), list(spec, "tokenRequests"));
    for mode in list(spec, "volumeLifecycleModes").iter().filter_map(Value::as_str) {
        if !["Ephemeral", "Persistent"].contains(&mode) {
            out.not_supported(at.child("volumeLifecycleModes"), mode, &["Ephemeral", "Persistent"]);
        }
    }
    let tokens = list(spec, "tokenRequests");
    if let Some(secret) = some(spec, "serviceAccountTokenInSecrets").filter(|_| tokens.is_empty()) {
        let detail = "serviceAccountTokenInSecrets is set but no tokenRequests are specified";
        out.invalid(at.child("serviceAccountTokenInSecrets"), secret.clone(), detail);
    }
    if let Some(seconds) = number(spec, "nodeAllocatableUpdatePeriodSeconds").filter(|s| *s < 10) {
        let detail = "must be greater than or equal to 10 seconds";
        out.invalid(at.child("nodeAllocatableUpdatePeriodSeconds"), seconds, detail);
    }
}

fn token_requests(out: &mut Out, tokens_at: At<'_>, tokens: &[Value]) {
    let mut audiences = Seen::new();
    for (index, token) in tokens.iter().enumerate() {
        let at = tokens_at.index(index);
        let audience = text(token, "audience");
        if repeats(&mut audiences, audience) {
            out.duplicate(at.child("audience"), audience);
            continue;
        }
        let Some(seconds) = number(token, "expirationSeconds") else { continue };
        if seconds < 600 {
            out.invalid(at.child("expirationSeconds"), seconds, "may not specify a duration less than 10 minutes");
        } else if seconds > 1 << 32 {
            let detail = "may not specify a duration larger than 2^32 seconds";
            out.invalid(at.child("expirationSeconds"), seconds, detail);
        }
    }
}

/// How a driver attaches does not change under its volumes.
pub(super) fn csi_driver_update(out: &mut Out, new: &Value, old: &Value) {
    let (spec, before) = (spec_of(new), spec_of(old));
    let at = At::Root("spec");
    for (key, shown, ty) in
        [("attachRequired", ATTACH, "*bool"), ("volumeLifecycleModes", "volumeLifecycleModes", "[]string")]
    {
        out.immutable(at.child(shown), ty, spec.get(key), before.get(key));
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
        if repeats(&mut seen, name) {
            out.duplicate(at.child("name"), name);
        }
        // What is wrong with a key is told of the driver.
        let mut keys = Seen::new();
        for key in list(driver, "topologyKeys").iter().filter_map(Value::as_str) {
            if key.is_empty() {
                out.required(at, "");
            }
            if repeats(&mut keys, key) {
                out.duplicate(at, key);
            }
            out.invalid_each(at, key, names::qualified_name(key));
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
    let mut drivers = BTreeMap::new();
    for driver in list(spec_of(new), "drivers") {
        drivers.entry(text(driver, "name")).or_insert(driver);
    }
    for before in list(spec_of(old), "drivers") {
        let now = drivers.get(text(before, "name")).copied();
        if let Some(now) = now.filter(|now| plain(now) != plain(before)) {
            out.invalid_of(at, "storage/v1.CSINodeDriver", now, "field is immutable");
        }
    }
}

/// What a driver can still make.
pub(super) fn storage_capacity(out: &mut Out, object: &Value) {
    if let Some(topology) = some(object, "nodeTopology") {
        selector::label_selector(out, At::Root("nodeTopology"), topology);
    }
    let class = text(object, "storageClassName");
    out.invalid_each(At::Root("storageClassName"), class, names::dns_subdomain(class));
    let amount = text(object, "capacity");
    if Quantity::parse(amount).is_ok_and(|q| q.signum() < 0) {
        out.invalid(At::Root("capacity"), amount, "must be greater than or equal to 0");
    }
}

/// Whom a capacity is about does not change.
pub(super) fn storage_capacity_update(out: &mut Out, new: &Value, old: &Value) {
    for (key, ty) in [("nodeTopology", "*meta/v1.LabelSelector"), ("storageClassName", "string")] {
        out.immutable(At::Root(key), ty, new.get(key), old.get(key));
    }
}
