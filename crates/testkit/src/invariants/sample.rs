//! Histories for the tables.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{Invariant, check};
use crate::history::{Change, Step};
use crate::object;

/// Writes a history, one transaction per call.
#[derive(Default)]
pub(super) struct History {
    objects: BTreeMap<String, Value>,
    steps: Vec<Step>,
    revision: u64,
}

fn key(value: &Value) -> String {
    format!("/registry/{}/{}/{}", object::kind(value), object::namespace(value), object::text(value, "metadata.name"))
}

impl History {
    /// Stores all of these in one transaction.
    pub(super) fn put<const N: usize>(mut self, objects: [Value; N]) -> Self {
        self.revision += 1;
        let changes = objects.map(|object| {
            let before = self.objects.insert(key(&object), object.clone()).map(Arc::new);
            Change { key: key(&object), before, after: Some(Arc::new(object)) }
        });
        self.steps.push(Step::Changes { revision: self.revision, changes: changes.into() });
        self
    }

    /// Removes all of these in one transaction.
    pub(super) fn remove<const N: usize>(mut self, objects: [&Value; N]) -> Self {
        self.revision += 1;
        let changes = objects.map(|object| {
            let before = self.objects.remove(&key(object)).map(Arc::new);
            Change { key: key(object), before, after: None }
        });
        self.steps.push(Step::Changes { revision: self.revision, changes: changes.into() });
        self
    }

    pub(super) fn ambiguous(mut self, now: bool) -> Self {
        self.steps.push(Step::Ambiguous(now));
        self
    }

    /// The steps.
    pub(super) fn steps(self) -> Vec<Step> {
        self.steps
    }

    /// Checks that the invariant finds this many violations.
    pub(super) fn expect(self, invariant: impl Invariant + 'static, count: usize) {
        let found = check(vec![Box::new(invariant)], &self.steps);
        assert_eq!(found.len(), count, "{found:#?}");
    }
}

pub(super) fn thing(kind: &str, namespace: &str, name: &str) -> Value {
    let uid = format!("{kind}/{namespace}/{name}");
    json!({"kind": kind, "metadata": {"namespace": namespace, "name": name, "uid": uid}})
}

/// `thing` with some fields of its own.
pub(super) fn with(mut object: Value, path: &str, value: impl Into<Value>) -> Value {
    gantry_api::value::set(&mut object, path, value);
    object
}

/// Marked for deletion.
pub(super) fn terminating(object: &Value) -> Value {
    with(object.clone(), "metadata.deletionTimestamp", "2026-01-01T00:00:00Z")
}

pub(super) fn owned(object: Value, owner: &Value) -> Value {
    let owner = json!([{"kind": object::kind(owner), "name": object::text(owner, "metadata.name"),
        "uid": object::uid(owner), "controller": true}]);
    with(object, "metadata.ownerReferences", owner)
}

pub(super) fn conditions(object: Value, kind: &str, status: &str) -> Value {
    with(object, "status.conditions", json!([{"type": kind, "status": status}]))
}
