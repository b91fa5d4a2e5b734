//! Definitions of custom kinds.

use gantry_api::field::Errors;
use gantry_api::kinds::KindInfo;
use gantry_api::value::{bool_at, get, list_at, set, set_default, str_at};
use gantry_api::{Value, validation};
use serde_json::json;

use crate::custom;

use super::columns::{NAME, cells, column, name, text};
use super::{Column, Ctx, Deletion, Row, Strategy, keep};

/// Holds a definition until its objects are gone.
pub(crate) const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

/// The strategy of `CustomResourceDefinition`.
pub(super) struct CustomResourceDefinition;

/// The name of the version in which objects are stored.
fn storage_version(definition: &Value) -> Option<&str> {
    list_at(definition, "spec.versions").iter().find(|v| bool_at(v, "storage")).and_then(|v| str_at(v, "name"))
}

/// What is stored may be in this version from now on.
fn add_stored_version(definition: &mut Value) {
    let Some(version) = storage_version(definition).map(Value::from) else { return };
    let mut stored = list_at(definition, "status.storedVersions").to_vec();
    if !stored.contains(&version) {
        stored.push(version);
        set(definition, "status.storedVersions", stored);
    }
}

impl Strategy for CustomResourceDefinition {
    fn prepare_create(&self, _ctx: &Ctx<'_>, definition: &mut Value) {
        set(
            definition,
            "status",
            json!({"acceptedNames": {"kind": "", "plural": ""}, "conditions": null, "storedVersions": null}),
        );
        add_stored_version(definition);
    }

    fn prepare_update(&self, _ctx: &Ctx<'_>, new: &mut Value, old: &Value) {
        keep(new, old, "status");
        add_stored_version(new);
    }

    /// As upstream, which wants to keep the metadata and does not.
    fn prepare_status_update(&self, _ctx: &Ctx<'_>, new: &mut Value, _old: &Value) {
        if list_at(new, "status.storedVersions").is_empty() {
            add_stored_version(new);
        }
    }

    fn reset_fields(&self, _kind: &KindInfo, subresource: &str) -> &'static [&'static str] {
        if subresource == "status" { &["metadata", "spec"] } else { &["status"] }
    }

    fn delete(&self, old: &Value, _grace_period_seconds: Option<i64>) -> Deletion {
        match str_at(old, "metadata.deletionTimestamp") {
            None => Deletion::Finalize,
            Some(_) => Deletion::Pending,
        }
    }

    fn mark_deleting(&self, definition: &mut Value) {
        let mut finalizers = list_at(definition, "metadata.finalizers").to_vec();
        if !finalizers.iter().any(|f| f == FINALIZER) {
            finalizers.push(FINALIZER.into());
            set(definition, "metadata.finalizers", finalizers);
        }
        let since = get(definition, "metadata.deletionTimestamp").cloned().unwrap_or_default();
        let mut conditions = list_at(definition, "status.conditions").to_vec();
        conditions.retain(|c| str_at(c, "type") != Some("Terminating"));
        conditions.push(json!({
            "type": "Terminating", "status": "True", "lastTransitionTime": since, "reason": "InstanceDeletionPending",
            "message": "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
        }));
        set(definition, "status.conditions", conditions);
        set_default(definition, "status.acceptedNames", json!({"kind": "", "plural": ""}));
    }

    fn validate_create(&self, kind: &KindInfo, definition: &Value) -> Errors {
        let mut errors = validation::create(kind, definition);
        errors.extend(custom::rule_errors(definition, None, &errors));
        errors
    }

    fn validate_update(&self, kind: &KindInfo, new: &Value, old: &Value) -> Errors {
        let mut errors = validation::update(kind, new, old);
        errors.extend(custom::rule_errors(new, Some(old), &errors));
        errors
    }

    fn unconditional_update(&self) -> bool {
        false
    }

    fn columns(&self) -> &'static [Column] {
        const { &[NAME, column("Created At", "date", Column::CREATED_TEXT)] }
    }

    fn row(&self, definition: &Value, _now: jiff::Timestamp) -> Row {
        cells(vec![name(definition), text(definition, "metadata.creationTimestamp").into()])
    }

    fn warnings(&self, definition: &Value, old: Option<&Value>) -> Vec<String> {
        gantry_api::validation::definition_warnings(definition, old)
    }
}
