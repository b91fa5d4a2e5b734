//! What devices share: counters of their pool (KEP-4815), capacity that several claims take parts of (KEP-5075), and conditions that
//! a binding waits for (KEP-5007).

use super::super::at::{At, Out};
use super::super::read::{Seen, list, map, some, text};
use super::super::selector;
use super::{COUNTER_BYTES, at_most, request_name, shown_key, unique};
use crate::Value;
use crate::quantity::Quantity;

/// The most sets of counters of a slice, sets that a device consumes of, and counters of one set.
const SETS: usize = 8;
const CONSUMED_SETS: usize = 2;
const COUNTERS: usize = 32;
/// The most amounts that a policy lists, and conditions of a binding.
const AMOUNTS: usize = 10;
const CONDITIONS: usize = 4;

/// The counters that a slice offers to the devices of its pool.
pub(super) fn shared_counters(out: &mut Out, at: At<'_>, spec: &Value) {
    counter_sets(out, at.child("sharedCounters"), list(spec, "sharedCounters"), ("name", SETS));
}

/// The counters that a device takes from.
pub(super) fn consumed_counters(out: &mut Out, at: At<'_>, device: &Value) {
    counter_sets(out, at.child("consumesCounters"), list(device, "consumesCounters"), ("counterSet", CONSUMED_SETS));
}

fn counter_sets(out: &mut Out, at: At<'_>, sets: &[Value], (key, max): (&str, usize)) {
    let sets = at_most(out, at, sets, max);
    for (index, set) in sets.iter().enumerate() {
        let at = at.index(index);
        request_name(out, at.child(key), text(set, key));
        let counters_at = at.child("counters");
        match map(set, "counters").filter(|counters| !counters.is_empty()) {
            None => out.required(counters_at, ""),
            Some(counters) if counters.len() > COUNTERS => out.too_many(counters_at, counters.len(), COUNTERS),
            Some(counters) => {
                let at = counters_at;
                counters.keys().for_each(|name| request_name(out, at.key(&shown_key(name, COUNTER_BYTES)), name));
            }
        }
    }
    unique(out, at, sets.iter().map(|set| text(set, key)));
}

/// How much of a capacity may be asked for; `shared`: several claims may have parts of the device.
pub(super) fn request_policy(out: &mut Out, at: At<'_>, capacity: &Value, shared: bool) {
    let Some(policy) = some(capacity, "requestPolicy") else { return };
    let at = at.child("requestPolicy");
    if !shared {
        out.forbidden(at, "allowMultipleAllocations must be true");
        return;
    }
    let Ok(whole) = Quantity::parse(text(capacity, "value")) else { return };
    let default = Quantity::parse(text(policy, "default")).ok();
    let values = list(policy, "validValues");
    match (values.is_empty(), some(policy, "validRange"), default) {
        (false, Some(_), _) => {
            let detail = "exactly one policy can be specified, cannot specify \"validValues\" and \"validRange\" at the \
                same time";
            out.forbidden(at, detail);
        }
        (false, None, None) => out.required(at.child("default"), "required when validValues is defined"),
        (false, None, Some(default)) => valid_values(out, at.child("validValues"), values, (default, whole)),
        (true, Some(_), None) => out.required(at.child("default"), "required when validRange is defined"),
        (true, Some(range), Some(default)) => valid_range(out, at.child("validRange"), range, (default, whole)),
        (true, None, _) => {}
    }
}

fn valid_values(out: &mut Out, at: At<'_>, values: &[Value], (default, whole): (Quantity, Quantity)) {
    let values: Vec<Quantity> =
        values.iter().filter_map(|value| Quantity::parse(value.as_str().unwrap_or_default()).ok()).collect();
    for (index, pair) in values.windows(2).enumerate() {
        if pair[0] > pair[1] {
            out.invalid(at.index(index + 1), pair[1].to_string(), "values must be sorted in ascending order");
        }
    }
    if values.len() > AMOUNTS {
        out.too_many(at, values.len(), AMOUNTS);
    } else {
        for (index, value) in values.iter().enumerate().filter(|(_, value)| **value > whole) {
            out.invalid(at.index(index), value.to_string(), &format!("option is larger than capacity value: {whole}"));
        }
        let shown: Vec<String> = values.iter().map(|value| value.value().to_string()).collect();
        unique(out, at, shown.iter().map(String::as_str));
    }
    if values.len() > AMOUNTS || !values.contains(&default) {
        out.invalid(at, default.to_string(), "default value is not valid according to the requestPolicy");
    }
}

fn valid_range(out: &mut Out, at: At<'_>, range: &Value, (default, whole): (Quantity, Quantity)) {
    let amount = |key| Quantity::parse(text(range, key)).ok();
    let Some(min) = amount("min") else {
        out.required(at.child("min"), "required when validRange is defined");
        return;
    };
    if min > whole {
        out.invalid(at.child("min"), min.to_string(), &format!("min is larger than capacity value: {whole}"));
    }
    if default < min {
        out.invalid(at.child("min"), default.to_string(), &format!("default is less than min: {min}"));
    }
    let max = amount("max");
    if let Some(max) = max {
        let at = at.child("max");
        if min > max {
            out.invalid(at, min.to_string(), &format!("min is larger than max: {max}"));
        }
        if max > whole {
            out.invalid(at, max.to_string(), &format!("max is larger than capacity value: {whole}"));
        }
        if default > max {
            out.invalid(at, default.to_string(), &format!("default is more than max: {max}"));
        }
    }
    let Some(step) = amount("step") else { return };
    let at = at.child("step");
    let one = min.plus(step);
    if one > whole {
        out.invalid(at, step.to_string(), &format!("one step {one} is larger than capacity value: {whole}"));
    }
    for value in [Some(default), max].into_iter().flatten() {
        // Upstream divides, and does not survive a step of nothing.
        let fits = value.value().checked_sub(min.value()).and_then(|over| over.checked_rem(step.value())) == Some(0);
        if !fits {
            let detail = format!("value is not a multiple of a given step ({step}) from ({min})");
            out.invalid(at, value.to_string(), &detail);
        }
    }
}

/// The conditions that a binding waits for, and those that end it.
pub(super) fn binding(out: &mut Out, at: At<'_>, holder: &Value) {
    let (waits, fails) = ("bindingConditions", "bindingFailureConditions");
    let names = |key| -> Vec<&str> { list(holder, key).iter().filter_map(Value::as_str).collect() };
    let (waited, failing) = (names(waits), names(fails));
    for (key, names) in [(waits, &waited), (fails, &failing)] {
        let at = at.child(key);
        if names.len() > CONDITIONS {
            out.too_many(at, names.len(), CONDITIONS);
            continue;
        }
        for (index, name) in names.iter().enumerate() {
            selector::label_name(out, at.index(index), name);
        }
    }
    unique(out, at.child(waits), waited.iter().copied());
    unique(out, at.child(fails), failing.iter().copied());
    let waits_for: Seen<'_> = waited.iter().copied().collect();
    for (index, name) in failing.iter().enumerate().filter(|(_, name)| waits_for.contains(*name)) {
        let detail = "bindingFailureConditions must not overlap with bindingConditions";
        out.invalid(at.child(fails).index(index), *name, detail);
    }
    match (waited.is_empty(), failing.is_empty()) {
        (true, false) => {
            let detail = "bindingConditions are required to use bindingFailureConditions";
            out.invalid_as(at.child(waits), "null", detail);
        }
        (false, true) => {
            let detail = "bindingFailureConditions are required to use bindingConditions";
            out.invalid_as(at.child(fails), "null", detail);
        }
        _ => {}
    }
}
