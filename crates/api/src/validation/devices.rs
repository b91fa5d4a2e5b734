//! Device classes, claims to devices and what drivers offer. Expressions are checked for their size; the server compiles them.

mod shares;
mod slices;
mod status;

pub(super) use slices::{slice, slice_update};
pub(super) use status::claim_status;

use std::borrow::Cow;

use super::at::{At, Out};
use super::claims::driver_name;
use super::read::{Seen, list, number, repeats, some, text};
use super::selector;
use crate::Value;
use crate::brief::cut;
use crate::names;

const UNSET: Value = Value::Null;
/// Names of requests and their alternatives that are looked at, and bytes of one: more than there may be.
const NAMES: usize = 1_000;
const NAME_BYTES: usize = 253;
/// The most selectors, requests, constraints and configurations each.
const ITEMS: usize = 32;
/// The most alternatives of a request.
const ALTERNATIVES: usize = 8;
/// The longest expression.
const EXPRESSION_BYTES: usize = 10 * 1024;
/// The longest name of an attribute without its domain, and of a pool.
const ID_BYTES: usize = 32;
const POOL_BYTES: usize = 253;
/// The longest name of an attribute or capacity, and of a counter: paths show no more of it.
const QUALIFIED_BYTES: usize = 63 + 1 + ID_BYTES;
const COUNTER_BYTES: usize = 63;
/// The longest parameters of a driver.
const PARAMETER_BYTES: usize = 10 * 1024;

fn spec_of(object: &Value) -> &Value {
    some(object, "spec").unwrap_or(&UNSET)
}

/// The items of a list, unless there are so many that upstream looks at none of them.
fn at_most<'a>(out: &mut Out, at: At<'_>, items: &'a [Value], max: usize) -> &'a [Value] {
    if items.len() > max {
        out.too_many(at, items.len(), max);
        return &[];
    }
    items
}

/// Tells of each item whose key another one before it has.
fn unique<'a>(out: &mut Out, at: At<'_>, keys: impl Iterator<Item = &'a str>) {
    let mut seen = Seen::new();
    for (index, key) in keys.enumerate() {
        if repeats(&mut seen, key) {
            out.duplicate(at.index(index), key);
        }
    }
}

/// A device class.
pub(super) fn class(out: &mut Out, object: &Value) {
    let (at, spec) = (At::Root("spec"), spec_of(object));
    selectors(out, at.child("selectors"), spec);
    configurations(out, at.child("config"), list(spec, "config"), &[]);
    let name = text(spec, "extendedResourceName");
    let native = !name.contains('/') || name.contains("kubernetes.io/") || name.starts_with("requests.");
    if !name.is_empty() && (native || !names::qualified_name(&format!("requests.{name}")).is_empty()) {
        out.invalid(at.child("extendedResourceName"), name, "must be a valid extended resource name");
    }
}

fn selectors(out: &mut Out, at: At<'_>, holder: &Value) {
    let found = at_most(out, at, list(holder, "selectors"), ITEMS);
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
    for (index, configuration) in at_most(out, at, found, ITEMS).iter().enumerate() {
        let at = at.index(index);
        references(out, at.child("requests"), list(configuration, "requests"), requests);
        opaque(out, at.child("opaque"), configuration);
    }
}

fn opaque(out: &mut Out, at: At<'_>, configuration: &Value) {
    let Some(opaque) = some(configuration, "opaque") else {
        out.required(at, "");
        return;
    };
    driver_name(out, at.child("driver"), text(opaque, "driver"));
    raw(out, at.child("parameters"), some(opaque, "parameters"));
}

/// What only a driver understands.
fn raw(out: &mut Out, at: At<'_>, value: Option<&Value>) {
    match value {
        None => out.required(at, ""),
        Some(value) if value.to_string().len() > PARAMETER_BYTES => out.too_long(at, PARAMETER_BYTES),
        Some(value) if !value.is_object() => out.invalid(at, "<value omitted>", "must be a valid JSON object"),
        Some(_) => {}
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
    let named: Vec<&str> = at_most(out, at, named, ITEMS).iter().map(|n| n.as_str().unwrap_or_default()).collect();
    for (index, name) in named.iter().enumerate() {
        reference(out, at.index(index), name, requests);
    }
    unique(out, at, named.into_iter());
}

/// The name of a request, or of one of its alternatives.
fn reference(out: &mut Out, at: At<'_>, name: &str, requests: &[&str]) {
    let parts: Vec<&str> = name.split('/').collect();
    if parts.len() < 3 {
        parts.iter().for_each(|part| request_name(out, at, part));
    }
    if !requests.contains(&name) {
        let detail = "must be the name of a request in the claim or the name of a request and a subrequest separated \
            by '/'";
        out.invalid(at, name, detail);
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
pub(super) fn unchanged_spec(out: &mut Out, kind: &str, new: &Value, old: &Value) {
    let ty =
        if kind == "ResourceClaim" { "resource/v1.ResourceClaimSpec" } else { "resource/v1.ResourceClaimTemplateSpec" };
    out.immutable(At::Root("spec"), ty, new.get("spec"), old.get("spec"));
}

fn claim_spec(out: &mut Out, at: At<'_>, spec: &Value) {
    let at = at.child("devices");
    let devices = some(spec, "devices").unwrap_or(&UNSET);
    let requests_at = at.child("requests");
    let requests = at_most(out, requests_at, list(devices, "requests"), ITEMS);
    for (index, request) in requests.iter().enumerate() {
        let at = requests_at.index(index);
        request_name(out, at.child("name"), text(request, "name"));
        let alternatives = list(request, "firstAvailable");
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
    unique(out, requests_at, requests.iter().map(|request| text(request, "name")));
    let full_names = request_names(devices);
    let full_names: Vec<&str> = full_names.iter().map(String::as_str).collect();
    let constraints_at = at.child("constraints");
    let constraints = at_most(out, constraints_at, list(devices, "constraints"), ITEMS);
    for (index, constraint) in constraints.iter().enumerate() {
        let at = constraints_at.index(index);
        references(out, at.child("requests"), list(constraint, "requests"), &full_names);
        match ["matchAttribute", "distinctAttribute"].into_iter().find(|k| some(constraint, k).is_some()) {
            // Upstream's words, though none is set.
            None => out.required(
                at,
                "exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, but multiple fields are set",
            ),
            Some(key) => attribute_name(out, at.child(key), text(constraint, key), true),
        }
    }
    configurations(out, at.child("config"), list(devices, "config"), &full_names);
}

/// The names that a claim's requests and their alternatives go by. Of a claim that is refused for their number or length there
/// may be more: the name of a request stands in those of all its alternatives.
fn request_names(devices: &Value) -> Vec<String> {
    let mut names = Vec::new();
    for request in list(devices, "requests").iter().take(NAMES) {
        let name = short_name(request);
        let alternatives = list(request, "firstAvailable").iter();
        names.push(name.clone().into_owned());
        names.extend(alternatives.map(|a| format!("{name}/{}", short_name(a))).take(NAMES - names.len().min(NAMES)));
    }
    names
}

fn short_name(request: &Value) -> Cow<'_, str> {
    cut(text(request, "name"), NAME_BYTES)
}

fn alternative_requests(out: &mut Out, at: At<'_>, alternatives: &[Value]) {
    let list_at = at;
    let alternatives = at_most(out, at, alternatives, ALTERNATIVES);
    for (index, alternative) in alternatives.iter().enumerate() {
        let at = at.index(index);
        request_name(out, at.child("name"), text(alternative, "name"));
        device_request(out, at, alternative);
    }
    unique(out, list_at, alternatives.iter().map(|alternative| text(alternative, "name")));
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
        }
        let value = text(toleration, "value");
        match operator {
            "Exists" if !value.is_empty() => {
                out.invalid(at.child("value"), value, "must be empty for operator `Exists`");
            }
            "Exists" => {}
            "Equal" => out.invalid_each(at.child("value"), value, names::label_value(value)),
            "" => out.required(at.child("operator"), ""),
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
    match name.split('/').collect::<Vec<_>>().as_slice() {
        [identifier] => c_identifier(out, at, identifier),
        [domain, identifier] => {
            match *domain {
                "" => out.invalid(at, "", "the domain must not be empty"),
                domain => driver_name(out, at, domain),
            }
            match *identifier {
                "" => out.invalid(at, "", "the name must not be empty"),
                identifier => c_identifier(out, at, identifier),
            }
        }
        // Upstream says nothing of more parts.
        _ => {}
    }
    if with_domain && !name.contains('/') {
        out.invalid(at, name, "a fully qualified name must be a domain and a name separated by a slash");
    }
}

fn c_identifier(out: &mut Out, at: At<'_>, identifier: &str) {
    if identifier.len() > ID_BYTES {
        out.too_long(at, ID_BYTES);
    }
    let mut letters = identifier.bytes();
    let fine = letters.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && letters.all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !fine {
        let detail = "a valid C identifier must start with alphabetic character or '_', followed by a string of \
            alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is \
            '[A-Za-z_][A-Za-z0-9_]*')";
        out.invalid(at, identifier, detail);
    }
}

/// The name of a pool: subdomains with slashes between.
fn pool_name(out: &mut Out, at: At<'_>, name: &str) {
    if name.is_empty() {
        out.required(at, "");
        return;
    }
    if name.len() > POOL_BYTES {
        out.too_long(at, POOL_BYTES);
    }
    for part in name.split('/') {
        out.invalid_each(at, part, names::dns_subdomain(part));
    }
}

/// A key in a path: what is longer than keys may be loses its middle.
fn shown_key(key: &str, max: usize) -> Cow<'_, str> {
    if key.len() <= max {
        return key.into();
    }
    let remaining = max - "...".len();
    let (head, tail) = (remaining.div_ceil(2), key.len() - remaining / 2);
    format!("{}...{}", &key[..key.floor_char_boundary(head)], &key[key.ceil_char_boundary(tail)..]).into()
}
