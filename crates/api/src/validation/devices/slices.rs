//! What drivers offer.

use super::super::at::{At, Out, empty};
use super::super::read::{list, map, number, some, text, truth};
use super::super::selector;
use super::{
    ITEMS, QUALIFIED_BYTES, at_most, attribute_name, driver_name, effect, pool_name, request_name, shares, shown_key,
    unique,
};
use crate::Value;
use crate::names;
use crate::quantity::Quantity;

const UNSET: Value = Value::Null;
/// The most devices of a slice, and of one whose devices have taints or counters.
const DEVICES: usize = 128;
const RICH_DEVICES: usize = 64;
/// The most taints of a device, and bytes of an attribute.
const TAINTS: usize = 16;
const VALUE_BYTES: usize = 64;
const TRUE_OR_UNSET: &str = "must be either unset or set to true";

fn spec_of(object: &Value) -> &Value {
    some(object, "spec").unwrap_or(&UNSET)
}

/// What a driver offers.
pub(in super::super) fn slice(out: &mut Out, object: &Value) {
    let (at, spec) = (At::Root("spec"), spec_of(object));
    driver_name(out, at.child("driver"), text(spec, "driver"));
    pool(out, at.child("pool"), some(spec, "pool").unwrap_or(&UNSET));
    places(out, at, spec);
    if some(spec, "sharedCounters").is_some_and(|c| !empty(c)) && some(spec, "devices").is_some_and(|d| !empty(d)) {
        out.invalid(at, "", "only one of `sharedCounters` or `devices` is allowed");
    }
    let devices_at = at.child("devices");
    let devices = list(spec, "devices");
    let rich = devices.iter().any(|d| !list(d, "taints").is_empty() || !list(d, "consumesCounters").is_empty());
    let devices = at_most(out, devices_at, devices, if rich { RICH_DEVICES } else { DEVICES });
    for (index, found) in devices.iter().enumerate() {
        device(out, devices_at.index(index), found, truth(spec, "perDeviceNodeSelection"));
    }
    unique(out, devices_at, devices.iter().map(|device| text(device, "name")));
    shares::shared_counters(out, at, spec);
}

/// For which nodes the devices are: exactly one way of saying it.
fn places(out: &mut Out, at: At<'_>, spec: &Value) {
    let mut set = by_node(out, at, spec, "must be either unset or set to a non-empty string");
    if let Some(found) = some(spec, "nodeSelector") {
        let terms = list(found, "nodeSelectorTerms");
        if terms.len() != 1 {
            let at = at.child("nodeSelector.nodeSelectorTerms");
            out.invalid_of(
                at,
                "[]core/v1.NodeSelectorTerm",
                found.get("nodeSelectorTerms"),
                "must have exactly one node selector term",
            );
        }
    }
    for (key, shown) in [("allNodes", "`allNodes`"), ("perDeviceNodeSelection", "`perDeviceNodeSelection`")] {
        flag(out, at, spec, key, shown, &mut set);
    }
    let exactly = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    match set.as_slice() {
        [] => out.required(at, exactly),
        [_] => {}
        set => {
            let detail = format!("{exactly}, but multiple fields are set");
            out.invalid(at, format!("{{{}}}", set.join(", ")), &detail);
        }
    }
}

/// The node or the nodes that `holder` names; gives which of the two it does. `unnamed`: what is wrong with an empty name.
fn by_node(out: &mut Out, at: At<'_>, holder: &Value, unnamed: &str) -> Vec<&'static str> {
    let mut set = Vec::new();
    match some(holder, "nodeName").and_then(Value::as_str) {
        Some("") => out.invalid(at.child("nodeName"), "", unnamed),
        Some(node) => {
            set.push("`nodeName`");
            out.invalid_each(at.child("nodeName"), node, names::dns_subdomain(node));
        }
        None => {}
    }
    if let Some(found) = some(holder, "nodeSelector") {
        set.push("`nodeSelector`");
        let at = at.child("nodeSelector");
        selector::node_selector(out, at, found);
        selector::node_label_values(out, at.child("nodeSelectorTerms"), list(found, "nodeSelectorTerms"));
    }
    set
}

/// A flag that is true or absent.
fn flag<'a>(out: &mut Out, at: At<'_>, holder: &Value, key: &str, shown: &'a str, set: &mut Vec<&'a str>) {
    match some(holder, key).and_then(Value::as_bool) {
        Some(true) => set.push(shown),
        Some(false) => out.invalid(at.child(key), false, TRUE_OR_UNSET),
        None => {}
    }
}

fn pool(out: &mut Out, at: At<'_>, pool: &Value) {
    pool_name(out, at.child("name"), text(pool, "name"));
    if let Some(count) = Some(number(pool, "resourceSliceCount").unwrap_or(0)).filter(|n| *n <= 0) {
        out.invalid(at.child("resourceSliceCount"), count, "must be greater than zero");
    }
    if let Some(generation) = number(pool, "generation").filter(|g| *g < 0) {
        out.invalid(at.child("generation"), generation, "must be greater than or equal to zero");
    }
}

/// A device; `placed`: each says for which nodes it is.
fn device(out: &mut Out, at: At<'_>, device: &Value, placed: bool) {
    request_name(out, at.child("name"), text(device, "name"));
    let attributes = map(device, "attributes");
    let capacity = map(device, "capacity");
    let count = |m: Option<&crate::Object>| m.map_or(0, serde_json::Map::len);
    if count(attributes) + count(capacity) > ITEMS {
        let detail = format!("the total number of attributes and capacities must not exceed {ITEMS}");
        out.invalid(at, i64::try_from(count(attributes) + count(capacity)).unwrap_or(i64::MAX), &detail);
    }
    for (name, found) in attributes.into_iter().flatten() {
        let (at, key) = (at.child("attributes"), shown_key(name, QUALIFIED_BYTES));
        let at = at.key(&key);
        attribute_name(out, at, name, false);
        attribute(out, at, found);
    }
    for (name, found) in capacity.into_iter().flatten() {
        let (at, key) = (at.child("capacity"), shown_key(name, QUALIFIED_BYTES));
        let at = at.key(&key);
        attribute_name(out, at, name, false);
        let amount = text(found, "value");
        if Quantity::parse(amount).is_err() {
            out.required(at.child("value"), "");
        }
        shares::request_policy(out, at, found, truth(device, "allowMultipleAllocations"));
    }
    let taints_at = at.child("taints");
    for (index, taint) in at_most(out, taints_at, list(device, "taints"), TAINTS).iter().enumerate() {
        let (at, value) = (taints_at.index(index), text(taint, "value"));
        selector::label_name(out, at.child("key"), text(taint, "key"));
        out.invalid_each(at.child("value"), value, names::label_value(value));
        effect(out, at.child("effect"), text(taint, "effect"), false);
    }
    shares::consumed_counters(out, at, device);
    if placed {
        place(out, at, device);
    } else if ["nodeName", "nodeSelector", "allNodes"].iter().any(|key| some(device, key).is_some()) {
        let detail = "`nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to \
            true in the ResourceSlice spec";
        out.invalid(at, Value::Null, detail);
    }
    shares::binding(out, at, device);
}

fn attribute(out: &mut Out, at: At<'_>, attribute: &Value) {
    let too_long = |key| text(attribute, key).len() > VALUE_BYTES;
    if too_long("string") {
        out.too_long(at.child("string"), VALUE_BYTES);
    }
    if let Some(version) = some(attribute, "version").and_then(Value::as_str).filter(|v| !is_semantic(v)) {
        out.invalid(at.child("version"), version, "must be a string compatible with semver.org spec 2.0.0");
    }
    if too_long("version") {
        out.too_long(at.child("version"), VALUE_BYTES);
    }
    let detail = "exactly one value must be specified";
    match attribute.as_object().map_or(0, |a| a.values().filter(|v| !v.is_null()).count()) {
        0 => out.invalid(at, "", detail),
        1 => {}
        _ => out.invalid_of(at, "resource/v1.DeviceAttribute", attribute, detail),
    }
}

/// Whether it is three numbers, perhaps with identifiers after `-` and after `+`.
fn is_semantic(version: &str) -> bool {
    let (rest, build) = version.split_once('+').map_or((version, None), |(rest, build)| (rest, Some(build)));
    let (core, pre) = rest.split_once('-').map_or((rest, None), |(core, pre)| (core, Some(pre)));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    let plain = |part: &str| part == "0" || !part.starts_with('0');
    let word = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let numbers: Vec<&str> = core.split('.').collect();
    numbers.len() == 3
        && numbers.iter().all(|part| digits(part) && plain(part))
        && pre.is_none_or(|pre| pre.split('.').all(|part| word(part) && (!digits(part) || plain(part))))
        && build.is_none_or(|build| build.split('.').all(word))
}

/// For which nodes one device is.
fn place(out: &mut Out, at: At<'_>, device: &Value) {
    let mut set = by_node(out, at, device, "must not be empty");
    flag(out, at, device, "allNodes", "`allNodes`", &mut set);
    let exactly = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is \
        set to true in the ResourceSlice spec";
    match set.as_slice() {
        [] => out.required(at, exactly),
        [_] => {}
        set => out.invalid(at, format!("{{{}}}", set.join(", ")), exactly),
    }
}

/// A slice stays with its driver, pool and node.
pub(in super::super) fn slice_update(out: &mut Out, new: &Value, old: &Value) {
    let (spec, before) = (spec_of(new), spec_of(old));
    let at = At::Root("spec");
    let pool = |spec| some(spec, "pool").and_then(|p| p.get("name"));
    out.immutable(at.child("pool.name"), "string", pool(spec), pool(before));
    for (key, ty) in [("driver", "string"), ("nodeName", "*string")] {
        out.immutable(at.child(key), ty, spec.get(key), before.get(key));
    }
}
