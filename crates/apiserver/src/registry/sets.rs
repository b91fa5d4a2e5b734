//! DaemonSets, StatefulSets, ReplicationControllers, pod templates and controller revisions.

use std::borrow::Cow;

use gantry_api::{Value, kinds, value};

use super::columns::{
    AGE, CONTAINERS, IMAGES, NAME, age, cells, column, containers, labels, name, number, of_field, selector_of,
    selector_or_none, text,
};
use super::pod::template_warnings_at;
use super::storage::claim_fractions;
use super::workload::{TEMPLATE_CONTAINERS, changed_template_warnings, name_warning, replica_cells, replica_columns};
use super::{Column, Ctx, Row, Strategy, metadata_field};

/// The strategy of daemon sets.
pub(super) struct DaemonSet;
/// The strategy of stateful sets.
pub(super) struct StatefulSet;
/// The strategy of replication controllers.
pub(super) struct ReplicationController;
/// The strategy of pod templates.
pub(super) struct PodTemplate;
/// The strategy of controller revisions.
pub(super) struct ControllerRevision;

/// Counts the templates of a daemon set.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

fn template_generation(set: &Value) -> i64 {
    let annotation = value::map_at(set, "metadata.annotations").and_then(|a| a.get(TEMPLATE_GENERATION)?.as_str());
    annotation.and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn set_template_generation(set: &mut Value, generation: i64) {
    if let Some(annotations) = value::object_mut(set, "metadata.annotations") {
        annotations.insert(TEMPLATE_GENERATION.to_owned(), generation.to_string().into());
    }
}

impl Strategy for DaemonSet {
    /// Upstream has it as a number in the spec, which is 0 where the client says nothing, and an annotation to clients.
    fn read(&self, set: &mut Value) {
        if value::map_at(set, "metadata.annotations").is_none_or(|a| !a.contains_key(TEMPLATE_GENERATION)) {
            set_template_generation(set, 0);
        }
    }

    fn decided_annotation(&self) -> Option<&'static str> {
        Some(TEMPLATE_GENERATION)
    }

    fn prepare_status_update(&self, _ctx: &Ctx<'_>, new: &mut Value, old: &Value) {
        set_template_generation(new, template_generation(old));
    }

    fn prepare_create(&self, _ctx: &Ctx<'_>, set: &mut Value) {
        let generation = template_generation(set).max(1);
        set_template_generation(set, generation);
    }

    fn prepare_update(&self, _ctx: &Ctx<'_>, new: &mut Value, old: &Value) {
        let changed = value::get(new, "spec.template") != value::get(old, "spec.template");
        set_template_generation(new, template_generation(old) + i64::from(changed));
    }

    fn warnings(&self, set: &Value, old: Option<&Value>) -> Vec<String> {
        changed_template_warnings(set, old)
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                of_field("Desired", "integer", "apps/v1.DaemonSetStatus", "desiredNumberScheduled"),
                of_field("Current", "integer", "apps/v1.DaemonSetStatus", "currentNumberScheduled"),
                of_field("Ready", "integer", "apps/v1.DaemonSetStatus", "numberReady"),
                of_field("Up-to-date", "integer", "apps/v1.DaemonSetStatus", "updatedNumberScheduled"),
                of_field("Available", "integer", "apps/v1.DaemonSetStatus", "numberAvailable"),
                of_field("Node Selector", "string", "core/v1.PodSpec", "nodeSelector"),
                AGE,
                CONTAINERS,
                IMAGES,
                selector_of("apps/v1.DaemonSetSpec"),
            ]
        }
    }

    fn row(&self, set: &Value, now: jiff::Timestamp) -> Row {
        let (names, images) = containers(set, TEMPLATE_CONTAINERS);
        let count = |key: &str| Value::from(number(set, &format!("status.{key}")));
        cells(vec![
            name(set),
            count("desiredNumberScheduled"),
            count("currentNumberScheduled"),
            count("numberReady"),
            count("updatedNumberScheduled"),
            count("numberAvailable"),
            labels(set, "spec.template.spec.nodeSelector").into(),
            age(set, now),
            names.into(),
            images.into(),
            selector_or_none(set, "spec.selector").into(),
        ])
    }
}

impl Strategy for StatefulSet {
    fn warnings(&self, set: &Value, old: Option<&Value>) -> Vec<String> {
        let mut out = changed_template_warnings(set, old);
        // Upstream's paths differ.
        let below = if old.is_some() { ".Spec" } else { "" };
        for (index, claim) in value::list_at(set, "spec.volumeClaimTemplates").iter().enumerate() {
            out.extend(claim_fractions(&format!("spec.volumeClaimTemplates[{index}]{below}"), claim));
        }
        if number(set, "spec.revisionHistoryLimit") < 0 {
            out.push(
                "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended"
                    .to_owned(),
            );
        }
        out
    }

    fn columns(&self) -> &'static [Column] {
        const { &[NAME, column("Ready", "string", "Number of the pod with ready state"), AGE, CONTAINERS, IMAGES] }
    }

    fn row(&self, set: &Value, now: jiff::Timestamp) -> Row {
        let (names, images) = containers(set, TEMPLATE_CONTAINERS);
        cells(vec![
            name(set),
            format!("{}/{}", number(set, "status.readyReplicas"), number(set, "spec.replicas")).into(),
            age(set, now),
            names.into(),
            images.into(),
        ])
    }
}

impl Strategy for ReplicationController {
    fn warnings(&self, controller: &Value, old: Option<&Value>) -> Vec<String> {
        name_warning(controller, old).into_iter().chain(changed_template_warnings(controller, old)).collect()
    }

    fn field_value<'a>(&self, object: &'a Value, path: &str) -> Option<Cow<'a, str>> {
        match path {
            "status.replicas" => Some(number(object, path).to_string().into()),
            _ => metadata_field(object, path),
        }
    }

    fn columns(&self) -> &'static [Column] {
        const { &replica_columns("core/v1.ReplicationControllerSpec", "core/v1.ReplicationControllerStatus") }
    }

    fn row(&self, controller: &Value, now: jiff::Timestamp) -> Row {
        replica_cells(controller, labels(controller, "spec.selector"), now)
    }
}

impl Strategy for PodTemplate {
    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        let template = |o| value::get(o, "template");
        let is_new = old.is_none_or(|old| template(old) != template(object));
        if is_new { template_warnings_at("template", object) } else { Vec::new() }
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                column("Containers", "string", "Names of each container in the template."),
                column("Images", "string", "Images referenced by each container in the template."),
                column("Pod Labels", "string", "The labels for the pod template."),
            ]
        }
    }

    fn row(&self, object: &Value, _now: jiff::Timestamp) -> Row {
        let (names, images) = containers(object, "template.spec.containers");
        cells(vec![name(object), names.into(), images.into(), labels(object, "template.metadata.labels").into()])
    }
}

impl Strategy for ControllerRevision {
    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                column("Controller", "string", "Controller of the object"),
                of_field("Revision", "string", "apps/v1.ControllerRevision", "revision"),
                AGE,
            ]
        }
    }

    fn row(&self, revision: &Value, now: jiff::Timestamp) -> Row {
        cells(vec![
            name(revision),
            controller(revision).into(),
            number(revision, "revision").into(),
            age(revision, now),
        ])
    }
}

/// `statefulset.apps/web`: the owner that controls an object.
fn controller(object: &Value) -> String {
    let owners = value::list_at(object, "metadata.ownerReferences");
    let Some(owner) = owners.iter().find(|o| value::bool_at(o, "controller")) else { return "<none>".to_owned() };
    let kind = text(owner, "kind").to_lowercase();
    match kinds::split_api_version(text(owner, "apiVersion")).0 {
        "" => format!("{kind}/{}", text(owner, "name")),
        group => format!("{kind}.{group}/{}", text(owner, "name")),
    }
}
