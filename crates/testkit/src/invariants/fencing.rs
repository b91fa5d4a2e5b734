//! Only the leader writes.
//!
//! Each instance of a daemon writes under a field manager of its own, `<component>-<number>`, so managedFields tell who wrote.

use std::collections::BTreeMap;

use gantry_api::value::{self, Value};

use super::Invariant;
use crate::history::{Change, Step, World};
use crate::object::{self, text};

/// Once a component's lease has changed hands, none of its other instances writes anything.
#[derive(Default)]
pub(super) struct Fencing {
    /// The leading instance of each component.
    leaders: BTreeMap<String, String>,
}

impl Invariant for Fencing {
    fn name(&self) -> &'static str {
        "only the leader writes"
    }

    fn step(&mut self, _: &World, step: &Step) -> Vec<String> {
        let Step::Changes { changes, .. } = step else { return Vec::new() };
        let mut found = Vec::new();
        for change in changes {
            for writer in writers(change) {
                let Some(component) = component(writer) else { continue };
                if is_takeover(change, component) {
                    self.leaders.insert(component.to_owned(), writer.to_owned());
                } else if change.kind() != "Lease"
                    && let Some(leader) = self.leaders.get(component)
                    && leader != writer
                {
                    found.push(format!("{writer} wrote {} while {leader} led", object::title(change.newest())));
                }
            }
        }
        found
    }
}

/// `kube-scheduler` of `kube-scheduler-2`; nothing for a manager without a number.
fn component(instance: &str) -> Option<&str> {
    let (component, number) = instance.rsplit_once('-')?;
    number.parse::<u32>().is_ok().then_some(component)
}

fn holder(lease: &Value) -> &str {
    text(lease, "spec.holderIdentity")
}

fn is_takeover(change: &Change, component: &str) -> bool {
    let Some(after) = change.after.as_ref().filter(|_| change.kind() == "Lease") else { return false };
    let before = change.before.as_ref().map_or("", |lease| holder(lease));
    text(after, "metadata.name") == component && !holder(after).is_empty() && holder(after) != before
}

/// The managers that wrote: their entry is new, newer, or has grown. One that only shrinks lost fields to another writer.
fn writers(change: &Change) -> Vec<&str> {
    let Some(after) = &change.after else { return Vec::new() };
    let known = change.before.as_ref().map_or(&[][..], |o| value::list_at(o, "metadata.managedFields"));
    let same = |a: &Value, b: &Value| ["manager", "subresource"].iter().all(|field| text(a, field) == text(b, field));
    let wrote = |entry: &&Value| {
        known
            .iter()
            .find(|old| same(old, entry))
            .is_none_or(|old| text(old, "time") != text(entry, "time") || !covers(&old["fieldsV1"], &entry["fieldsV1"]))
    };
    value::list_at(after, "metadata.managedFields").iter().filter(wrote).map(|e| text(e, "manager")).collect()
}

/// Whether the set of fields `all` has every field of `some`.
fn covers(all: &Value, some: &Value) -> bool {
    let Some(some) = some.as_object() else { return true };
    some.iter().all(|(field, below)| all.get(field).is_some_and(|all| covers(all, below)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::sample::{History, thing, with};
    use super::*;

    fn by(manager: &str, object: Value) -> Value {
        with(object, "metadata.managedFields", json!([{"manager": manager}]))
    }

    #[test]
    fn an_old_leader_that_writes_is_found() {
        let lead = |instance: &str| {
            by(instance, with(thing("Lease", "kube-system", "sched"), "spec.holderIdentity", format!("id-{instance}")))
        };
        let check = |writers: &[&str], count| {
            let start = History::default().put([lead("sched-1")]).put([lead("sched-2")]);
            let write = |history: History, (number, writer): (usize, &&str)| {
                history.put([by(writer, thing("Pod", "a", &number.to_string()))])
            };
            writers.iter().enumerate().fold(start, write).expect(Fencing::default(), count);
        };
        check(&["sched-2", "kubectl", "other-1"], 0);
        check(&["sched-2", "sched-1"], 1);
        // The first one writes while it leads, and its traces stay in what others change later.
        let pod = by("sched-1", thing("Pod", "a", "p"));
        let both = json!([{"manager": "sched-1"}, {"manager": "sched-2"}]);
        let later = with(pod.clone(), "metadata.managedFields", both);
        let fair = History::default().put([lead("sched-1")]).put([pod]).put([lead("sched-2")]).put([later]);
        fair.expect(Fencing::default(), 0);
        // What the new leader takes over is taken from the old one's entry.
        let owns = |fields: Value| {
            let entries = json!([{"manager": "sched-1", "fieldsV1": fields}]);
            with(thing("Pod", "a", "p"), "metadata.managedFields", entries)
        };
        let check = |before: Value, after: Value, count| {
            let led = History::default().put([lead("sched-1")]).put([owns(before)]).put([lead("sched-2")]);
            led.put([owns(after)]).expect(Fencing::default(), count);
        };
        check(json!({"f:a": {"f:b": {}, "f:c": {}}}), json!({"f:a": {"f:b": {}}}), 0);
        check(json!({"f:a": {"f:b": {}}}), json!({"f:a": {"f:b": {}, "f:c": {}}}), 1);
    }
}
