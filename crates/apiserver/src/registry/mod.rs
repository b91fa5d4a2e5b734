//! What is special about each kind: one strategy per kind, everything else is the one pipeline.
//!
//! A strategy is pure: it looks at object values, never at the store, the network or the clock. The pipeline owns the
//! order (default, prepare, admit, validate, store), the metadata system fields, generation and the status split; see
//! each method for what it may count on. To add a kind, write `registry/<kind>.rs` and one line in [`strategy`].

use std::borrow::Cow;

use gantry_api::field::Errors;
use gantry_api::kinds::KindInfo;
use gantry_api::{Value, validation, value};
use jiff::Timestamp;

pub use gantry_api::kinds::Column;

pub use self::service::Family;

mod admission;
pub(crate) mod aggregation;
mod batch;
pub(crate) mod certificate;
pub mod columns;
mod config;
pub(crate) mod definition;
mod devices;
mod event;
mod flow;
mod namespace;
mod network;
mod node;
pub mod pod;
mod rbac;
mod scaling;
pub mod service;
mod sets;
mod small;
pub(crate) mod storage;
mod usage;
pub mod workload;
mod written;

#[cfg(test)]
mod tests;

/// What a strategy may know of the request.
#[derive(Debug, Clone, Copy)]
pub struct Ctx<'a> {
    /// The kind that is written.
    pub kind: &'a KindInfo,
    /// The part of it that is written, `""` for the whole.
    pub subresource: &'a str,
    /// The time of the request.
    pub now: Timestamp,
    /// The user's name.
    pub user: &'a str,
    /// The address families of the cluster's Services, the first one that of those that ask for none.
    pub families: &'a [Family],
}

/// One row of a Table.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Row {
    /// A cell per column.
    pub cells: Vec<Value>,
    /// Row conditions: `{"type": "Completed", "status": "True", ...}`.
    pub conditions: Vec<Value>,
}

/// What a DELETE does to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deletion {
    /// Remove it now; where `metadata.finalizers` remain, mark it (`deletionTimestamp` = now, grace 0) and keep it.
    Remove,
    /// Mark it: `deletionTimestamp` = now + seconds, `deletionGracePeriodSeconds` = seconds; the owner (a kubelet)
    /// removes it later with a second DELETE. For an object that is already marked this shortens its grace:
    /// `deletionTimestamp` = old `deletionTimestamp` - old grace + seconds.
    Graceful {
        /// The grace period in seconds; above 0.
        seconds: i64,
    },
    /// Mark it (now, grace 0) and keep it until [`Strategy::removable`] says yes, whatever `metadata.finalizers` says.
    Finalize,
    /// It is being deleted already and this request changes nothing: answer with the object as it is.
    Pending,
}

/// What is special about one kind. Every method has the default that most kinds take.
pub trait Strategy: Send + Sync {
    /// Changes the object before it is admitted and validated on create: resets what a client may not set, computes
    /// what upstream computes. It is defaulted, has its system metadata, and status is reset if the kind has one.
    fn prepare_create(&self, _ctx: &Ctx<'_>, _object: &mut Value) {}

    /// Texts for `Warning:` headers about what [`Strategy::prepare_create`] is about to bring up to date.
    fn outdated(&self, _object: &Value) -> Vec<String> {
        Vec::new()
    }

    /// Whether `status` is emptied on create for a kind with `/status`.
    fn resets_status(&self) -> bool {
        true
    }

    /// As [`Strategy::prepare_create`] for an update; status is the old one already.
    fn prepare_update(&self, _ctx: &Ctx<'_>, _new: &mut Value, _old: &Value) {}

    /// As [`Strategy::prepare_create`] for a write to `/status`: everything but status and metadata is
    /// the old one already.
    fn prepare_status_update(&self, _ctx: &Ctx<'_>, new: &mut Value, old: &Value) {
        if self.fixes_metadata() {
            keep_metadata(new, old);
        }
    }

    /// Whether a write to `/status` leaves labels, annotations, finalizers and owners as they were.
    fn fixes_metadata(&self) -> bool {
        false
    }

    /// Fields that a write to the object or to one of its subresources cannot set, with all that is below them: nobody
    /// owns them by such a write.
    fn reset_fields(&self, kind: &KindInfo, subresource: &str) -> &'static [&'static str] {
        match subresource {
            "status" if self.fixes_metadata() => &["metadata", "spec"],
            "status" => &["spec"],
            _ if kind.has_status => &["status"],
            _ => &[],
        }
    }

    /// The only fields that a write to a subresource can set, with all that is below them; empty: any. `*` is any element.
    fn settable_fields(&self, _subresource: &str) -> &'static [&'static str] {
        &[]
    }

    /// What reading an object from its client makes of it, before anybody owns or admits it.
    fn read(&self, _object: &mut Value) {}

    /// The annotation whose value the kind decides in the end. Who writes it owns what they sent, not what the kind makes of it.
    fn decided_annotation(&self) -> Option<&'static str> {
        None
    }

    /// The field errors of a new object.
    fn validate_create(&self, kind: &KindInfo, object: &Value) -> Errors {
        validation::create(kind, object)
    }

    /// The field errors of an update.
    fn validate_update(&self, kind: &KindInfo, new: &Value, old: &Value) -> Errors {
        validation::update(kind, new, old)
    }

    /// The field errors of a status update.
    fn validate_status_update(&self, kind: &KindInfo, new: &Value, old: &Value) -> Errors {
        validation::status_update(kind, new, old)
    }

    /// The field errors of an update of the object, or of its status. What was wrong before and need not be mended is told
    /// in `warnings`.
    fn validate_change(
        &self,
        kind: &KindInfo,
        (new, old): (&Value, &Value),
        is_status: bool,
        _warnings: &mut Vec<String>,
    ) -> Errors {
        if is_status { self.validate_status_update(kind, new, old) } else { self.validate_update(kind, new, old) }
    }

    /// Texts for `Warning:` headers; `old` is absent on create.
    fn warnings(&self, _object: &Value, _old: Option<&Value>) -> Vec<String> {
        Vec::new()
    }

    /// Texts for `Warning:` headers about a write of `/status`.
    fn status_warnings(&self, _object: &Value) -> Vec<String> {
        Vec::new()
    }

    /// What a DELETE with this `gracePeriodSeconds` does to the stored object.
    fn delete(&self, _old: &Value, _grace_period_seconds: Option<i64>) -> Deletion {
        Deletion::Remove
    }

    /// Changes an object that was just marked for deletion (namespaces become `Terminating`).
    fn mark_deleting(&self, _object: &mut Value) {}

    /// Whether an object that is marked for deletion and has no `metadata.finalizers` may be removed from the store.
    fn removable(&self, object: &Value) -> bool {
        value::i64_at(object, "metadata.deletionGracePeriodSeconds").unwrap_or(0) == 0
    }

    /// Whether an update without `resourceVersion` is allowed.
    fn unconditional_update(&self) -> bool {
        true
    }

    /// Whether PUT makes an object that does not exist.
    fn create_on_update(&self) -> bool {
        false
    }

    /// Whether owner references of dependents keep, orphan or remove them (all kinds but Event).
    fn garbage_collected(&self) -> bool {
        true
    }

    /// Group, version and resource of the kind whose object of the same name goes once the object has gone.
    fn takes_along(&self) -> Option<(&'static str, &'static str, &'static str)> {
        None
    }

    /// The value of a selectable field; `None` where the kind has no such field label. Absent fields are `""`.
    fn field_value<'a>(&self, object: &'a Value, path: &str) -> Option<Cow<'a, str>> {
        metadata_field(object, path)
    }

    /// The columns of a Table.
    fn columns(&self) -> &'static [Column] {
        columns::DEFAULT
    }

    /// The columns as the `columnDefinitions` of a Table.
    fn headers(&self) -> Vec<Value> {
        self.columns().iter().map(columns::header).collect()
    }

    /// The cells of one object, one for each of [`Strategy::headers`].
    fn row(&self, object: &Value, _now: Timestamp) -> Row {
        columns::default_row(object)
    }
}

/// Leaves what is at `path` as it was.
fn keep(new: &mut Value, old: &Value, path: &str) {
    match value::get(old, path) {
        Some(kept) => value::set(new, path, kept.clone()),
        None => drop(value::remove(new, path)),
    }
}

/// Leaves what a write of `/status` does not set in metadata as it was; see [`Strategy::fixes_metadata`].
fn keep_metadata(new: &mut Value, old: &Value) {
    for path in ["labels", "annotations", "finalizers", "ownerReferences"] {
        keep(new, old, &format!("metadata.{path}"));
    }
}

/// The field labels that every kind has.
#[must_use]
pub fn metadata_field<'a>(object: &'a Value, path: &str) -> Option<Cow<'a, str>> {
    match path {
        "metadata.name" | "metadata.namespace" => Some(text(object, path)),
        _ => None,
    }
}

/// The string at `path`, or `""`.
fn text<'a>(object: &'a Value, path: &str) -> Cow<'a, str> {
    Cow::Borrowed(value::str_at(object, path).unwrap_or_default())
}

/// The strategy of most kinds.
struct Plain;
impl Strategy for Plain {}

/// The strategy of `kind`.
#[must_use]
pub fn strategy(kind: &KindInfo) -> &dyn Strategy {
    if let Some(custom) = &kind.custom {
        return &**custom;
    }
    match (kind.group, kind.kind) {
        ("", "ConfigMap") => &config::ConfigMap,
        ("" | "events.k8s.io", "Event") => &event::Event,
        ("", "Namespace") => &namespace::Namespace,
        ("", "Node") => &node::Node,
        ("", "Pod") => &pod::Pod,
        ("", "Secret") => &config::Secret,
        ("", "Service") => &service::Service,
        ("", "ServiceAccount") => &config::ServiceAccount,
        ("", "PodTemplate") => &sets::PodTemplate,
        ("", "ReplicationController") => &sets::ReplicationController,
        ("apps", "ControllerRevision") => &sets::ControllerRevision,
        ("apps", "DaemonSet") => &sets::DaemonSet,
        ("apps", "StatefulSet") => &sets::StatefulSet,
        ("batch", "CronJob") => &batch::CronJob,
        ("batch", "Job") => &batch::Job,
        ("apps", "Deployment") => &workload::Deployment,
        ("apps", "ReplicaSet") => &workload::ReplicaSet,
        ("coordination.k8s.io", "Lease") => &small::Lease,
        ("discovery.k8s.io", "EndpointSlice") => &small::EndpointSlice,
        ("metrics.k8s.io", "NodeMetrics") => &usage::NodeMetrics,
        ("metrics.k8s.io", "PodMetrics") => &usage::PodMetrics,
        ("rbac.authorization.k8s.io", "Role" | "ClusterRole") => &rbac::Role,
        ("rbac.authorization.k8s.io", "RoleBinding") => &rbac::ROLE_BINDING,
        ("rbac.authorization.k8s.io", "ClusterRoleBinding") => &rbac::CLUSTER_ROLE_BINDING,
        ("scheduling.k8s.io", "PriorityClass") => &small::PriorityClass,
        ("", "ComponentStatus") => &usage::ComponentStatus,
        ("", "Endpoints") => &network::Endpoints,
        ("", "LimitRange") => &scaling::LimitRange,
        ("", "PersistentVolume") => &storage::PersistentVolume,
        ("", "PersistentVolumeClaim") => &storage::PersistentVolumeClaim,
        ("", "ResourceQuota") => &scaling::ResourceQuota,
        ("apiextensions.k8s.io", _) => &definition::CustomResourceDefinition,
        ("apiregistration.k8s.io", _) => &aggregation::ApiService,
        ("autoscaling", _) => &scaling::HorizontalPodAutoscaler,
        ("certificates.k8s.io", _) => &certificate::CertificateSigningRequest,
        ("node.k8s.io", _) => &scaling::RuntimeClass,
        ("policy", _) => &scaling::PodDisruptionBudget,
        ("flowcontrol.apiserver.k8s.io", "FlowSchema") => &flow::FlowSchema,
        ("flowcontrol.apiserver.k8s.io", _) => &flow::PriorityLevelConfiguration,
        ("admissionregistration.k8s.io" | "networking.k8s.io" | "resource.k8s.io" | "storage.k8s.io", name) => {
            of_group(kind.group, name)
        }
        _ => &Plain,
    }
}

fn of_group(group: &str, kind: &str) -> &'static dyn Strategy {
    match (group, kind) {
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy") => &admission::VALIDATING,
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicy") => &admission::MUTATING,
        ("admissionregistration.k8s.io", name) if name.ends_with("Binding") => &admission::PolicyBinding,
        ("admissionregistration.k8s.io", _) => &admission::Webhooks,
        ("networking.k8s.io", "Ingress") => &network::Ingress,
        ("networking.k8s.io", "IngressClass") => &network::IngressClass,
        ("networking.k8s.io", "IPAddress") => &network::IpAddress,
        ("networking.k8s.io", "NetworkPolicy") => &network::NetworkPolicy,
        ("networking.k8s.io", "ServiceCIDR") => &network::ServiceCidr,
        ("resource.k8s.io", "DeviceClass" | "ResourceClaimTemplate") => &devices::NameAndAge,
        ("resource.k8s.io", "ResourceClaim") => &devices::ResourceClaim,
        ("resource.k8s.io", "ResourceSlice") => &devices::ResourceSlice,
        ("storage.k8s.io", "CSIDriver") => &storage::CsiDriver,
        ("storage.k8s.io", "CSINode") => &storage::CsiNode,
        ("storage.k8s.io", "CSIStorageCapacity") => &storage::CsiStorageCapacity,
        ("storage.k8s.io", "StorageClass") => &storage::StorageClass,
        ("storage.k8s.io", "VolumeAttachment") => &storage::VolumeAttachment,
        ("storage.k8s.io", "VolumeAttributesClass") => &storage::VolumeAttributesClass,
        _ => &Plain,
    }
}
