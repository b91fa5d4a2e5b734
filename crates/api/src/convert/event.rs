//! Events: most fields have another name in the newer API.

use crate::{Object, Value};

/// `events.k8s.io`, core.
const NAMES: &[(&str, &str)] = &[
    ("deprecatedCount", "count"),
    ("deprecatedFirstTimestamp", "firstTimestamp"),
    ("deprecatedLastTimestamp", "lastTimestamp"),
    ("deprecatedSource", "source"),
    ("note", "message"),
    ("regarding", "involvedObject"),
    ("reportingController", "reportingComponent"),
];

fn rename(event: &mut Object, from: &str, to: &str) {
    if let Some(value) = event.remove(from) {
        event.insert(to.to_owned(), value);
    }
}

pub(super) fn to_core(event: &mut Value) {
    let Some(event) = event.as_object_mut() else { return };
    NAMES.iter().for_each(|(new, core)| rename(event, new, core));
}

pub(super) fn from_core(event: &mut Value) {
    let Some(event) = event.as_object_mut() else { return };
    NAMES.iter().for_each(|(new, core)| rename(event, core, new));
    // Printed in the other form only.
    for name in ["reportingController", "reportingInstance"] {
        if event.get(name).is_some_and(|value| value == "") {
            event.remove(name);
        }
    }
    // Always there in this form, even where an old client gave none.
    event.entry("eventTime").or_insert(Value::Null);
}

pub(super) fn core_field(path: &str) -> String {
    let (first, rest) = path.split_once('.').map_or((path, None), |(first, rest)| (first, Some(rest)));
    let first = NAMES.iter().find(|(new, _)| *new == first).map_or(first, |(_, core)| core);
    rest.map_or_else(|| first.to_owned(), |rest| format!("{first}.{rest}"))
}
