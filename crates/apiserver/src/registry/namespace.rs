//! Namespaces: they stay until their content is gone and `spec.finalizers` is empty.

use std::borrow::Cow;

use gantry_api::{Value, value};
use serde_json::json;

use super::columns::{AGE, NAME, age, cells, column, name, text};
use super::{Column, Ctx, Deletion, Row, Strategy, metadata_field};

/// The strategy of namespaces.
pub(super) struct Namespace;

/// The finalizer that the namespace controller removes once the content is gone.
const FINALIZER: &str = "kubernetes";
/// Carries the name as a label, so that selectors can name a namespace.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

impl Strategy for Namespace {
    fn prepare_create(&self, _ctx: &Ctx<'_>, namespace: &mut Value) {
        value::set(namespace, "status", json!({"phase": "Active"}));
        let known = value::list_at(namespace, "spec.finalizers");
        if !known.iter().any(|f| f == FINALIZER) {
            let list: Vec<Value> = known.iter().cloned().chain([FINALIZER.into()]).collect();
            value::set(namespace, "spec.finalizers", list);
        }
        label(namespace);
    }

    fn prepare_update(&self, _ctx: &Ctx<'_>, new: &mut Value, old: &Value) {
        // Only `/finalize` changes them.
        match value::get(old, "spec.finalizers") {
            Some(finalizers) => value::set(new, "spec.finalizers", finalizers.clone()),
            None => drop(value::remove(new, "spec.finalizers")),
        }
        label(new);
    }

    fn delete(&self, old: &Value, _grace_period_seconds: Option<i64>) -> Deletion {
        match (value::str_at(old, "metadata.deletionTimestamp"), self.removable(old)) {
            (None, _) => Deletion::Finalize,
            (Some(_), true) => Deletion::Remove,
            (Some(_), false) => Deletion::Pending,
        }
    }

    fn mark_deleting(&self, namespace: &mut Value) {
        value::set(namespace, "status.phase", "Terminating");
        // Namespaces have no grace, not even one of 0.
        value::remove(namespace, "metadata.deletionGracePeriodSeconds");
    }

    fn removable(&self, namespace: &Value) -> bool {
        value::list_at(namespace, "spec.finalizers").is_empty()
    }

    fn field_value<'a>(&self, namespace: &'a Value, path: &str) -> Option<Cow<'a, str>> {
        match path {
            "status.phase" => Some(text(namespace, path).into()),
            "name" => Some(text(namespace, "metadata.name").into()),
            _ => metadata_field(namespace, path),
        }
    }

    fn columns(&self) -> &'static [Column] {
        const { &[NAME, column("Status", "string", "The status of the namespace"), AGE] }
    }

    fn row(&self, namespace: &Value, now: jiff::Timestamp) -> Row {
        cells(vec![name(namespace), text(namespace, "status.phase").into(), age(namespace, now)])
    }
}

fn label(namespace: &mut Value) {
    let name = text(namespace, "metadata.name").to_owned();
    if let Some(labels) = value::object_mut(namespace, "metadata.labels").filter(|_| !name.is_empty()) {
        labels.insert(NAME_LABEL.to_owned(), name.into());
    }
}
