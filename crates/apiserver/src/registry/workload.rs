//! Deployments and ReplicaSets: replica counts, containers and selectors in their cells, and `/scale`.

use std::borrow::Cow;

use gantry_api::field::{Error, Errors, Path};
use gantry_api::kinds::KindInfo;
use gantry_api::{Value, value};
use serde_json::json;

use super::columns::{
    AGE, CONTAINERS, IMAGES, NAME, age, cells, column, containers, labels, name, number, of_field, selector,
    selector_of, selector_or_none, text,
};
use super::pod::template_warnings;
use super::{Column, Ctx, Row, Strategy, metadata_field};

/// The strategy of deployments.
pub(super) struct Deployment;
/// The strategy of replica sets.
pub(super) struct ReplicaSet;

pub(super) const TEMPLATE_CONTAINERS: &str = "spec.template.spec.containers";

impl Strategy for Deployment {
    fn prepare_status_update(&self, _ctx: &Ctx<'_>, new: &mut Value, old: &Value) {
        super::keep(new, old, "metadata.labels");
    }

    fn reset_fields(&self, _kind: &KindInfo, subresource: &str) -> &'static [&'static str] {
        if subresource == "status" { &["spec", "metadata.labels"] } else { &["status"] }
    }

    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        name_warning(object, old).into_iter().chain(changed_template_warnings(object, old)).collect()
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                column("Ready", "string", "Number of the pod with ready state"),
                of_field("Up-to-date", "string", "apps/v1.DeploymentStatus", "updatedReplicas"),
                of_field("Available", "string", "apps/v1.DeploymentStatus", "availableReplicas"),
                AGE,
                CONTAINERS,
                IMAGES,
                selector_of("apps/v1.DeploymentSpec"),
            ]
        }
    }

    fn row(&self, object: &Value, now: jiff::Timestamp) -> Row {
        let (names, images) = containers(object, TEMPLATE_CONTAINERS);
        cells(vec![
            name(object),
            format!("{}/{}", number(object, "status.readyReplicas"), number(object, "spec.replicas")).into(),
            number(object, "status.updatedReplicas").into(),
            number(object, "status.availableReplicas").into(),
            age(object, now),
            names.into(),
            images.into(),
            selector(object, "spec.selector").into(),
        ])
    }
}

impl Strategy for ReplicaSet {
    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        name_warning(object, old).into_iter().chain(changed_template_warnings(object, old)).collect()
    }

    fn field_value<'a>(&self, object: &'a Value, path: &str) -> Option<Cow<'a, str>> {
        match path {
            "status.replicas" => Some(number(object, path).to_string().into()),
            _ => metadata_field(object, path),
        }
    }

    fn columns(&self) -> &'static [Column] {
        const { &replica_columns("apps/v1.ReplicaSetSpec", "apps/v1.ReplicaSetStatus") }
    }

    fn row(&self, object: &Value, now: jiff::Timestamp) -> Row {
        replica_cells(object, selector_or_none(object, "spec.selector"), now)
    }
}

/// The columns of what keeps a number of pods, with spec and status of these types.
pub(super) const fn replica_columns(spec: &'static str, status: &'static str) -> [Column; 8] {
    [
        NAME,
        of_field("Desired", "integer", spec, "replicas"),
        of_field("Current", "integer", status, "replicas"),
        of_field("Ready", "integer", status, "readyReplicas"),
        AGE,
        CONTAINERS,
        IMAGES,
        selector_of(spec),
    ]
}

/// The row of [`replica_columns`].
pub(super) fn replica_cells(object: &Value, selector: String, now: jiff::Timestamp) -> Row {
    let (names, images) = containers(object, TEMPLATE_CONTAINERS);
    cells(vec![
        name(object),
        number(object, "spec.replicas").into(),
        number(object, "status.replicas").into(),
        number(object, "status.readyReplicas").into(),
        age(object, now),
        names.into(),
        images.into(),
        selector.into(),
    ])
}

/// A new workload's name becomes part of host names.
pub(super) fn name_warning(workload: &Value, old: Option<&Value>) -> Option<String> {
    let found = gantry_api::names::dns_label(text(workload, "metadata.name"));
    (old.is_none() && !found.is_empty()).then(|| {
        format!(
            "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; \
             a DNS label is recommended: [{}]",
            found.join(" ")
        )
    })
}

/// Warnings about the template, whatever has changed in the spec.
pub(super) fn changed_template_warnings(object: &Value, old: Option<&Value>) -> Vec<String> {
    if old.is_some_and(|old| !is_newer(object, old)) { Vec::new() } else { template_warnings(object) }
}

/// Whether the spec has changed.
pub(super) fn is_newer(new: &Value, old: &Value) -> bool {
    let generation = |o| value::i64_at(o, "metadata.generation");
    generation(new) != generation(old)
}

/// The autoscaling/v1 `Scale` of a workload.
#[must_use]
pub fn scale(workload: &Value) -> Value {
    let mut metadata = json!({});
    for key in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(found) = value::get(workload, "metadata").and_then(|m| m.get(key)) {
            metadata[key] = found.clone();
        }
    }
    let mut status = json!({"replicas": number(workload, "status.replicas")});
    // A replication controller's selector is a plain map.
    let selector = match text(workload, "kind") {
        "ReplicationController" => labels(workload, "spec.selector"),
        _ => selector(workload, "spec.selector"),
    };
    if !selector.is_empty() {
        status["selector"] = selector.into();
    }
    json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata,
        "spec": {"replicas": number(workload, "spec.replicas")}, "status": status,
    })
}

/// Writes the replicas that a `Scale` asks for into its workload; the caller compares names and resource versions.
///
/// # Errors
/// The field errors of the `Scale`.
pub fn rescale(workload: &mut Value, scale: &Value) -> Result<(), Errors> {
    let replicas = number(scale, "spec.replicas");
    let mut errors = Errors::new();
    if text(scale, "metadata.name") != text(workload, "metadata.name") {
        let path = Path::new("metadata").child("name");
        errors.push(Error::invalid(&path, text(scale, "metadata.name"), "must match the object that is scaled"));
    }
    if replicas < 0 {
        let path = Path::new("spec").child("replicas");
        errors.push(Error::invalid(&path, replicas, "must be greater than or equal to 0"));
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    value::set(workload, "spec.replicas", replicas);
    Ok(())
}
