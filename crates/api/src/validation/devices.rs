//! Device classes, claims to devices and what drivers offer. Expressions are checked for their size; the server compiles them.

use super::at::{At, Out, same};
use super::claims::driver_name;
use super::read::{Seen, list, map, number, repeats, some, text, truth};
use super::selector;
use crate::Value;
use crate::names;
use crate::quantity::Quantity;

const UNSET: Value = Value::Null;
/// The most selectors, requests, constraints and configurations each.
const ITEMS: usize = 32;
/// The most alternatives of a request.
const ALTERNATIVES: usize = 8;
/// The longest expression.
const EXPRESSION_BYTES: usize = 10 * 1024;
/// The most consumers of a claim.
const CONSUMERS: usize = 256;
/// The most devices of a slice, and of one whose devices have taints or counters.
const DEVICES: usize = 128;
const RICH_DEVICES: usize = 64;

fn spec_of(object: &Value) -> &Value {
    some(object, "spec").unwrap_or(&UNSET)
}

fn at_most(out: &mut Out, at: At<'_>, items: &[Value], max: usize) {
    if items.len() > max {
        out.too_many(at, items.len(), max);
    }
}

/// A device class.
pub(super) fn class(out: &mut Out, object: &Value) {
    let (at, spec) = (At::Root("spec"), spec_of(object));
    selectors(out, at.child("selectors"), spec);
    configurations(out, at.child("config"), list(spec, "config"), &[]);
    let name = text(spec, "extendedResourceName");
    if !name.is_empty() {
        out.invalid_each(at.child("extendedResourceName"), name, names::qualified_name(name));
        if !name.contains('/') {
            out.invalid(at.child("extendedResourceName"), name, "must be a valid extended resource name");
        }
    }
}

fn selectors(out: &mut Out, at: At<'_>, holder: &Value) {
    let found = list(holder, "selectors");
    at_most(out, at, found, ITEMS);
    for (index, selector) in found.iter().enumerate() {
        let at = at.index(index);
        let Some(cel) = some(selector, "cel") else {
            out.required(at.child("cel"), "");
            continue;
        };
        let expression = text(cel, "expression");
        if expression.is_empty() {
            out.required(at.child("cel.expression"), "");
        } else if expression.len() > EXPRESSION_BYTES {
            out.too_long(at.child("cel.expression"), EXPRESSION_BYTES);
        }
    }
}

fn configurations(out: &mut Out, at: At<'_>, found: &[Value], requests: &[&str]) {
    at_most(out, at, found, ITEMS);
    for (index, configuration) in found.iter().enumerate() {
        let at = at.index(index);
        references(out, at.child("requests"), list(configuration, "requests"), requests);
        let Some(opaque) = some(configuration, "opaque") else {
            out.required(at.child("opaque"), "");
            continue;
        };
        driver_name(out, at.child("opaque.driver"), text(opaque, "driver"));
        match some(opaque, "parameters") {
            None => out.required(at.child("opaque.parameters"), ""),
            Some(parameters) if !parameters.is_object() => {
                out.invalid(at.child("opaque.parameters"), "<value omitted>", "must be a JSON object");
            }
            Some(_) => {}
        }
    }
}

fn request_name(out: &mut Out, at: At<'_>, name: &str) {
    if name.is_empty() {
        out.required(at, "");
    } else {
        out.invalid_each(at, name, names::dns_label(name));
    }
}

/// Names of requests that must be there.
fn references(out: &mut Out, at: At<'_>, named: &[Value], requests: &[&str]) {
    let mut seen = Seen::new();
    for (index, name) in named.iter().enumerate() {
        let name = name.as_str().unwrap_or_default();
        let parts: Vec<&str> = name.split('/').collect();
        if parts.len() < 3 {
            parts.iter().for_each(|part| request_name(out, at.index(index), part));
        }
        if !requests.contains(&name) {
            let detail = "must be the name of a request in the claim or the name of a request and a subrequest \
                separated by '/'";
            out.invalid(at.index(index), name, detail);
        }
        if repeats(&mut seen, name) {
            out.duplicate(at.index(index), name);
        }
    }
}

/// A claim.
pub(super) fn claim(out: &mut Out, object: &Value) {
    claim_spec(out, At::Root("spec"), spec_of(object));
}

/// A template of claims.
pub(super) fn claim_template(out: &mut Out, object: &Value) {
    let spec = spec_of(object);
    super::meta::of_template(out, At::Root("spec.metadata"), some(spec, "metadata"));
    claim_spec(out, At::Root("spec.spec"), some(spec, "spec").unwrap_or(&UNSET));
}

/// What is claimed does not change.
pub(super) fn unchanged_spec(out: &mut Out, new: &Value, old: &Value) {
    out.immutable(At::Root("spec"), new.get("spec"), old.get("spec"));
}

fn claim_spec(out: &mut Out, at: At<'_>, spec: &Value) {
    let at = at.child("devices");
    let devices = some(spec, "devices").unwrap_or(&UNSET);
    let requests_at = at.child("requests");
    let requests = list(devices, "requests");
    at_most(out, requests_at, requests, ITEMS);
    let mut names_seen = Seen::new();
    let mut full_names: Vec<String> = Vec::new();
    for (index, request) in requests.iter().enumerate() {
        let at = requests_at.index(index);
        let name = text(request, "name");
        request_name(out, at.child("name"), name);
        if repeats(&mut names_seen, name) {
            out.duplicate(at.child("name"), name);
        }
        full_names.push(name.to_owned());
        let alternatives = list(request, "firstAvailable");
        full_names.extend(alternatives.iter().map(|a| format!("{name}/{}", text(a, "name"))));
        match (some(request, "exactly"), alternatives.is_empty()) {
            (Some(_), false) => {
                let detail = "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set";
                out.invalid(at, Value::Null, detail);
            }
            (None, true) => out.required(at, "exactly one of `exactly` or `firstAvailable` is required"),
            (Some(exactly), true) => device_request(out, at.child("exactly"), exactly),
            (None, false) => alternative_requests(out, at.child("firstAvailable"), alternatives),
        }
    }
    let full_names: Vec<&str> = full_names.iter().map(String::as_str).collect();
    let constraints_at = at.child("constraints");
    let constraints = list(devices, "constraints");
    at_most(out, constraints_at, constraints, ITEMS);
    for (index, constraint) in constraints.iter().enumerate() {
        let at = constraints_at.index(index);
        references(out, at.child("requests"), list(constraint, "requests"), &full_names);
        let set = ["matchAttribute", "distinctAttribute"].into_iter().filter(|k| some(constraint, k).is_some());
        let set: Vec<&str> = set.collect();
        if set.is_empty() {
            out.required(at.child("matchAttribute"), "");
        }
        for key in set {
            attribute_name(out, at.child(key), text(constraint, key), true);
        }
    }
    configurations(out, at.child("config"), list(devices, "config"), &full_names);
}

fn alternative_requests(out: &mut Out, at: At<'_>, alternatives: &[Value]) {
    at_most(out, at, alternatives, ALTERNATIVES);
    let mut seen = Seen::new();
    for (index, alternative) in alternatives.iter().enumerate() {
        let at = at.index(index);
        let name = text(alternative, "name");
        request_name(out, at.child("name"), name);
        if repeats(&mut seen, name) {
            out.duplicate(at.child("name"), name);
        }
        device_request(out, at, alternative);
    }
}

fn device_request(out: &mut Out, at: At<'_>, request: &Value) {
    let class = text(request, "deviceClassName");
    if class.is_empty() {
        out.required(at.child("deviceClassName"), "");
    } else {
        out.invalid_each(at.child("deviceClassName"), class, names::dns_subdomain(class));
    }
    selectors(out, at.child("selectors"), request);
    let count = number(request, "count").unwrap_or(0);
    match text(request, "allocationMode") {
        "All" if count != 0 => {
            out.invalid(at.child("count"), count, "must not be specified when allocationMode is 'All'");
        }
        "All" => {}
        "ExactCount" if count <= 0 => out.invalid(at.child("count"), count, "must be greater than zero"),
        "ExactCount" => {}
        other => out.not_supported(at.child("allocationMode"), other, &["All", "ExactCount"]),
    }
    let tolerations_at = at.child("tolerations");
    for (index, toleration) in list(request, "tolerations").iter().enumerate() {
        let at = tolerations_at.index(index);
        let (key, operator) = (text(toleration, "key"), text(toleration, "operator"));
        if !key.is_empty() {
            selector::label_name(out, at.child("key"), key);
        } else if operator != "Exists" {
            out.required(at.child("key"), "must be specified when operator is not \"Exists\"");
        }
        match operator {
            "Exists" if !text(toleration, "value").is_empty() => {
                out.invalid(at.child("value"), text(toleration, "value"), "must be empty for operator `Exists`");
            }
            "Exists" | "Equal" => {}
            other => out.not_supported(at.child("operator"), other, &["Equal", "Exists"]),
        }
        effect(out, at.child("effect"), text(toleration, "effect"), true);
    }
}

fn effect(out: &mut Out, at: At<'_>, effect: &str, optional: bool) {
    let known = ["NoExecute", "NoSchedule", "None"];
    if effect.is_empty() && !optional {
        out.required(at, "");
    } else if !effect.is_empty() && !known.contains(&effect) {
        out.not_supported(at, effect, &known);
    }
}

fn attribute_name(out: &mut Out, at: At<'_>, name: &str, with_domain: bool) {
    let (domain, identifier) = match name.split_once('/') {
        Some((domain, identifier)) => (Some(domain), identifier),
        None => (None, name),
    };
    if let Some(domain) = domain {
        out.invalid_each(at, name, names::dns_subdomain(domain));
    } else if with_domain {
        out.invalid(at, name, "must include a domain");
    }
    let mut letters = identifier.bytes();
    let fine = letters.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && letters.all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !fine {
        out.invalid(at, name, "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*')");
    } else if identifier.len() > 32 {
        out.too_long(at, 32);
    }
}

/// The status of a claim: who uses what was allocated.
pub(super) fn claim_status(out: &mut Out, new: &Value, old: &Value) {
    let status = |object| some(object, "status").unwrap_or(&UNSET);
    let at = At::Root("status");
    let consumers = list(status(new), "reservedFor");
    let consumers_at = at.child("reservedFor");
    at_most(out, consumers_at, consumers, CONSUMERS);
    let mut seen = Seen::new();
    for (index, consumer) in consumers.iter().enumerate() {
        let at = consumers_at.index(index);
        for key in ["resource", "name", "uid"] {
            if text(consumer, key).is_empty() {
                out.required(at.child(key), "");
            }
        }
        if repeats(&mut seen, text(consumer, "uid")) {
            out.duplicate(at, text(consumer, "uid"));
        }
    }
    let (now, before) = (some(status(new), "allocation"), some(status(old), "allocation"));
    let added = consumers.iter().any(|c| !list(status(old), "reservedFor").contains(c));
    if now.is_none() && !consumers.is_empty() {
        out.forbidden(consumers_at, "may not be specified when `allocated` is not set");
    } else if added && some(new, "metadata").is_some_and(|m| some(m, "deletionTimestamp").is_some()) {
        out.forbidden(
            consumers_at,
            "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set",
        );
    }
    // What was allocated may be given back, not exchanged.
    if before.is_some() && now.is_some() && !same(now, before) {
        out.invalid(at.child("allocation"), now.cloned().unwrap_or_default(), "field is immutable");
    }
}

/// What a driver offers.
pub(super) fn slice(out: &mut Out, object: &Value) {
    let (at, spec) = (At::Root("spec"), spec_of(object));
    driver_name(out, at.child("driver"), text(spec, "driver"));
    pool(out, at.child("pool"), some(spec, "pool").unwrap_or(&UNSET));
    let places =
        ["nodeName", "nodeSelector"].into_iter().filter(|k| some(spec, k).is_some_and(|v| !super::at::empty(v)));
    let places = places.count() + ["allNodes", "perDeviceNodeSelection"].iter().filter(|k| truth(spec, k)).count();
    let exactly = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    match places {
        1 => {}
        0 if !list(spec, "sharedCounters").is_empty() => {}
        0 => out.required(at, exactly),
        _ => out.invalid(at, spec.clone(), &format!("{exactly}, but multiple fields are set")),
    }
    let node = text(spec, "nodeName");
    if !node.is_empty() {
        out.invalid_each(at.child("nodeName"), node, names::dns_subdomain(node));
    }
    if let Some(found) = some(spec, "nodeSelector") {
        let terms_at = at.child("nodeSelector.nodeSelectorTerms");
        let terms = list(found, "nodeSelectorTerms");
        if terms.len() != 1 {
            out.invalid(terms_at, terms.to_vec(), "must have exactly one node selector term");
        }
        for (index, term) in terms.iter().enumerate() {
            selector::node_selector_term(out, terms_at.index(index), term);
        }
    }
    let devices_at = at.child("devices");
    let devices = list(spec, "devices");
    let rich = devices.iter().any(|d| !list(d, "taints").is_empty() || !list(d, "consumesCounters").is_empty());
    at_most(out, devices_at, devices, if rich { RICH_DEVICES } else { DEVICES });
    let mut seen = Seen::new();
    for (index, found) in devices.iter().enumerate() {
        let name = text(found, "name");
        device(out, devices_at.index(index), found);
        if repeats(&mut seen, name) {
            out.duplicate(devices_at.index(index).child("name"), name);
        }
    }
}

fn pool(out: &mut Out, at: At<'_>, pool: &Value) {
    let name = text(pool, "name");
    if name.is_empty() {
        out.required(at.child("name"), "");
    } else if name.len() > 253 {
        out.too_long(at.child("name"), 253);
    } else {
        for part in name.split('/') {
            out.invalid_each(at.child("name"), part, names::dns_subdomain(part));
        }
    }
    if let Some(count) = Some(number(pool, "resourceSliceCount").unwrap_or(0)).filter(|n| *n <= 0) {
        out.invalid(at.child("resourceSliceCount"), count, "must be greater than zero");
    }
    out.non_negative(at.child("generation"), number(pool, "generation"));
}

fn device(out: &mut Out, at: At<'_>, device: &Value) {
    let name = text(device, "name");
    if name.is_empty() {
        out.required(at.child("name"), "");
    } else {
        out.invalid_each(at.child("name"), name, names::dns_label(name));
    }
    let attributes = map(device, "attributes");
    let capacity = map(device, "capacity");
    let count = |m: Option<&crate::Object>| m.map_or(0, serde_json::Map::len);
    if count(attributes) + count(capacity) > ITEMS {
        let detail = format!("the total number of attributes and capacities must not exceed {ITEMS}");
        out.invalid(at, i64::try_from(count(attributes) + count(capacity)).unwrap_or(i64::MAX), &detail);
    }
    for (name, attribute) in attributes.into_iter().flatten() {
        let at = at.child("attributes");
        attribute_name(out, at.key(name), name, false);
        let set = attribute.as_object().map_or(0, |a| a.values().filter(|v| !v.is_null()).count());
        if set != 1 {
            let detail = "exactly one value must be specified";
            if set == 0 {
                out.required(at.key(name), detail);
            } else {
                out.invalid(at.key(name), attribute.clone(), detail);
            }
        }
    }
    for (name, found) in capacity.into_iter().flatten() {
        let at = at.child("capacity");
        attribute_name(out, at.key(name), name, false);
        let amount = text(found, "value");
        if Quantity::parse(amount).is_err() {
            out.required(at.key(name).child("value"), "");
        }
    }
    let taints_at = at.child("taints");
    at_most(out, taints_at, list(device, "taints"), 16);
    for (index, taint) in list(device, "taints").iter().enumerate() {
        let at = taints_at.index(index);
        selector::label_name(out, at.child("key"), text(taint, "key"));
        effect(out, at.child("effect"), text(taint, "effect"), false);
    }
}

/// A slice stays with its driver, pool and node.
pub(super) fn slice_update(out: &mut Out, new: &Value, old: &Value) {
    let (spec, before) = (spec_of(new), spec_of(old));
    let at = At::Root("spec");
    let pool = |spec| some(spec, "pool").and_then(|p| p.get("name"));
    out.immutable(at.child("pool.name"), pool(spec), pool(before));
    for key in ["driver", "nodeName"] {
        out.immutable(at.child(key), spec.get(key), before.get(key));
    }
}
