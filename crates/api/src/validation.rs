//! Field validation with upstream's rules, paths and messages (kubernetes-api contract, sections 2.2 and 2.3).
//!
//! It runs on every write, so it looks at borrowed values, uses no regular expressions and builds a path only for an error.

mod admission;
mod aggregation;
mod at;
mod autoscaler;
mod certificate;
mod claims;
mod conditions;
mod config;
mod cron_job;
mod definition;
mod devices;
mod flow;
mod formats;
mod job;
mod meta;
mod network;
mod node;
mod nodes_wanted;
mod pod;
mod quotas;
mod rbac;
mod read;
mod review;
mod selector;
mod service;
mod sets;
mod small;
mod storage;
mod workload;
mod written;

#[cfg(test)]
mod tests;

use crate::Value;
use crate::field::Errors;
use crate::kinds::KindInfo;
use crate::value;
use at::{At, Out};
use certificate::Through;
use meta::NameRule;
use review::About;

pub use definition::{Approval, approval_state, has_no_authority, structural_errors};

const RBAC: &str = "rbac.authorization.k8s.io";
const ADMISSION: &str = "admissionregistration.k8s.io";
const CERTIFICATES: &str = "certificates.k8s.io";
const FLOW: &str = "flowcontrol.apiserver.k8s.io";
const NETWORKING: &str = "networking.k8s.io";
const DEVICES: &str = "resource.k8s.io";
const STORAGE: &str = "storage.k8s.io";
const AGGREGATION: &str = "apiregistration.k8s.io";
const POLICY: &str = "policy";
const EVENTS: &str = "events.k8s.io";

fn name_rule(kind: &KindInfo) -> NameRule {
    match (kind.group, kind.kind) {
        ("", "Namespace") | ("apps", "StatefulSet") => NameRule::Label,
        ("", "Service") => NameRule::Label1035,
        // An address has its own form, which is checked with the rest; old clients name events as they like.
        (RBAC | AGGREGATION | CERTIFICATES | POLICY, _) | (NETWORKING, "IPAddress") | ("", "Event") => {
            NameRule::Segment
        }
        _ => NameRule::Subdomain,
    }
}

/// Whether finalizers of the kind are named as their owners like: these kinds come from other packages of upstream's, or
/// were there before the rule, or upstream looks at their metadata no further than at that of any kind.
fn own_finalizers(kind: &KindInfo) -> bool {
    matches!((kind.group, kind.kind), ("apiextensions.k8s.io" | AGGREGATION | POLICY, _) | ("", "Event"))
}

/// The errors of an object that is created.
#[must_use]
pub fn create(kind: &KindInfo, object: &Value) -> Errors {
    let mut out = Out::default();
    if !kind.create_only() {
        meta::object_meta(&mut out, object, kind.namespaced, name_rule(kind));
    }
    if let Some(custom) = &kind.custom {
        out.extend(crate::custom::validate_new(custom, object));
        return out.into_errors();
    }
    if !kind.create_only() && !own_finalizers(kind) {
        meta::standard_finalizers(&mut out, object);
    }
    match (kind.group, kind.kind) {
        ("apiextensions.k8s.io", _) => definition::create(&mut out, object),
        ("", "Pod") => pod::create(&mut out, object),
        ("batch", "Job") => {
            job::own_labels(&mut out, object);
            content(&mut out, kind, object);
        }
        ("batch", "CronJob") => cron_job::create(&mut out, object),
        (NETWORKING, "Ingress") => {
            content(&mut out, kind, object);
            network::ingress_create(&mut out, object);
        }
        (EVENTS, _) => {
            content(&mut out, kind, object);
            small::new_event(&mut out, object, None);
        }
        (STORAGE, "VolumeAttachment") => storage::attachment_create(&mut out, object),
        ("", "Binding") => review::binding(&mut out, object),
        ("authorization.k8s.io", "SubjectAccessReview") => review::access(&mut out, object, About::User),
        ("authorization.k8s.io", "LocalSubjectAccessReview") => {
            review::access(&mut out, object, About::UserInNamespace);
        }
        ("authorization.k8s.io", "SelfSubjectAccessReview") => review::access(&mut out, object, About::Oneself),
        _ => content(&mut out, kind, object),
    }
    out.extend(nodes_wanted::errors(kind, object, None));
    out.into_errors()
}

/// What holds for new and changed objects alike.
fn content(out: &mut Out, kind: &KindInfo, object: &Value) {
    match (kind.group, kind.kind) {
        ("", "ConfigMap") => config::config_map(out, object),
        ("", "Secret") => config::secret(out, object),
        ("", "Event") => small::event(out, object, false),
        (EVENTS, _) => small::event(out, object, true),
        ("", "Namespace") => node::namespace(out, object),
        ("", "Node") => node::node(out, object),
        ("", "Service") => service::service(out, object, None),
        ("", "PodTemplate") => sets::pod_template(out, object),
        ("", "ReplicationController") => sets::replication_controller(out, object),
        ("apps", "ControllerRevision") => sets::controller_revision(out, object),
        ("apps", "DaemonSet") => sets::daemon_set(out, object),
        ("apps", "StatefulSet") => sets::stateful_set(out, object),
        ("batch", "Job") => job::job(out, object),
        ("apps", "Deployment") => workload::deployment(out, object),
        ("apps", "ReplicaSet") => workload::replica_set(out, object),
        ("coordination.k8s.io", "Lease") => small::lease(out, object),
        ("discovery.k8s.io", "EndpointSlice") => small::endpoint_slice(out, object),
        ("scheduling.k8s.io", "PriorityClass") => small::priority_class(out, object),
        (RBAC, "Role" | "ClusterRole") => rbac::role(out, object, kind.namespaced),
        (RBAC, "RoleBinding" | "ClusterRoleBinding") => rbac::binding(out, object, kind.namespaced),
        ("", "Endpoints") => network::endpoints(out, object, None),
        ("", "LimitRange") => quotas::limit_range(out, object),
        ("", "ResourceQuota") => quotas::resource_quota(out, object),
        ("", "PersistentVolume") => claims::volume(out, object),
        ("", "PersistentVolumeClaim") => claims::claim(out, object),
        ("autoscaling", _) => autoscaler::autoscaler(out, object),
        ("policy", "PodDisruptionBudget") => autoscaler::budget(out, object),
        ("node.k8s.io", "RuntimeClass") => small::runtime_class(out, object),
        (ADMISSION, name) => admission::registration(out, name, object, None),
        (CERTIFICATES, _) => certificate::request(out, object),
        (AGGREGATION, _) => aggregation::api_service(out, object),
        (FLOW, "FlowSchema") => flow::schema(out, object),
        (FLOW, _) => flow::level(out, object),
        (NETWORKING, _) => networking(out, kind.kind, object),
        (STORAGE, _) => storage(out, kind.kind, object),
        (DEVICES, _) => devices(out, kind.kind, object),
        _ => {}
    }
}

fn networking(out: &mut Out, kind: &str, object: &Value) {
    match kind {
        "Ingress" => network::ingress(out, object),
        "IngressClass" => network::ingress_class(out, object),
        "NetworkPolicy" => network::network_policy(out, object, None),
        "IPAddress" => network::ip_address(out, object),
        "ServiceCIDR" => network::service_cidr(out, object),
        _ => {}
    }
}

fn storage(out: &mut Out, kind: &str, object: &Value) {
    match kind {
        "StorageClass" => storage::storage_class(out, object),
        "VolumeAttributesClass" => storage::attributes_class(out, object),
        "VolumeAttachment" => storage::attachment(out, object),
        "CSIDriver" => storage::csi_driver(out, object),
        "CSINode" => storage::csi_node(out, object),
        "CSIStorageCapacity" => storage::storage_capacity(out, object),
        _ => {}
    }
}

fn devices(out: &mut Out, kind: &str, object: &Value) {
    match kind {
        "DeviceClass" => devices::class(out, object),
        "ResourceClaim" => devices::claim(out, object),
        "ResourceClaimTemplate" => devices::claim_template(out, object),
        "ResourceSlice" => devices::slice(out, object),
        _ => {}
    }
}

/// The errors of an update of the main resource.
#[must_use]
pub fn update(kind: &KindInfo, new: &Value, old: &Value) -> Errors {
    let mut out = Out::default();
    let pods = kind.pods_at().and_then(|at| value::get(old, at));
    out.any_se_linux_policy = pods.is_some_and(pod::has_se_linux_policy);
    out.any_huge_pages = pods.is_some_and(pod::has_broken_huge_pages);
    meta::object_meta_update(&mut out, new, old);
    if let Some(custom) = &kind.custom {
        out.extend(crate::custom::validate_changed(custom, new, old));
        return out.into_errors();
    }
    if !own_finalizers(kind) {
        meta::standard_finalizers(&mut out, new);
    }
    match (kind.group, kind.kind) {
        ("", "Pod") => pod::update::update(&mut out, new, old),
        ("", "Service") => service::update(&mut out, new, old),
        ("", "Node") => node::node_update(&mut out, new, old),
        ("", "ConfigMap") => {
            config::immutable(&mut out, new, old, &["data", "binaryData"]);
            content(&mut out, kind, new);
        }
        ("", "Secret") => {
            out.immutable(At::Root("type"), "string", new.get("type"), old.get("type"));
            config::immutable(&mut out, new, old, &["data"]);
            content(&mut out, kind, new);
        }
        ("scheduling.k8s.io", "PriorityClass") => small::priority_class_update(&mut out, new, old),
        ("", "Endpoints") => network::endpoints(&mut out, new, Some(old)),
        (NETWORKING, "NetworkPolicy") => network::network_policy(&mut out, new, Some(old)),
        (NETWORKING, "IPAddress") => network::ip_address_update(&mut out, new, old),
        (NETWORKING, "ServiceCIDR") => network::service_cidr_update(&mut out, new, old),
        (NETWORKING, "IngressClass") => {
            network::ingress_class_update(&mut out, new, old);
            content(&mut out, kind, new);
        }
        ("batch", "CronJob") => cron_job::update(&mut out, new, old),
        (ADMISSION, name) => admission::registration(&mut out, name, new, Some(old)),
        (DEVICES, name @ ("ResourceClaim" | "ResourceClaimTemplate")) => {
            devices::unchanged_spec(&mut out, name, new, old);
        }
        _ => {
            content(&mut out, kind, new);
            unchanged(&mut out, kind, new, old);
        }
    }
    out.extend(nodes_wanted::errors(kind, new, Some(old)));
    out.into_errors()
}

/// What an update leaves alone, besides being right in itself.
fn unchanged(out: &mut Out, kind: &KindInfo, new: &Value, old: &Value) {
    match (kind.group, kind.kind) {
        ("apps", "ControllerRevision") => out.immutable(At::Root("data"), "raw", new.get("data"), old.get("data")),
        ("apps", "StatefulSet") => sets::stateful_set_update(out, new, old),
        ("apiextensions.k8s.io", _) => definition::update(out, new, old),
        ("apps", _) => workload::selector_unchanged(out, new, old),
        ("batch", "Job") => job::update(out, new, old),
        (RBAC, "RoleBinding" | "ClusterRoleBinding") => rbac::role_unchanged(out, new, old),
        ("", "PersistentVolume") => claims::volume_update(out, new, old),
        ("", "PersistentVolumeClaim") => claims::claim_update(out, new, old),
        ("", "ResourceQuota") => quotas::resource_quota_update(out, new, old),
        (EVENTS, _) => small::new_event(out, new, Some(old)),
        ("node.k8s.io", _) => out.immutable(At::Root("handler"), "string", new.get("handler"), old.get("handler")),
        (DEVICES, "ResourceSlice") => devices::slice_update(out, new, old),
        (STORAGE, "StorageClass") => storage::storage_class_update(out, new, old),
        (STORAGE, "VolumeAttributesClass") => storage::attributes_class_update(out, new, old),
        (STORAGE, "VolumeAttachment") => storage::attachment_update(out, new, old),
        (STORAGE, "CSIDriver") => storage::csi_driver_update(out, new, old),
        (STORAGE, "CSINode") => storage::csi_node_update(out, new, old),
        (STORAGE, "CSIStorageCapacity") => storage::storage_capacity_update(out, new, old),
        ("discovery.k8s.io", _) => {
            out.immutable(At::Root("addressType"), "string", new.get("addressType"), old.get("addressType"));
        }
        _ => {}
    }
}

/// The errors of an update of `/status`.
#[must_use]
pub fn status_update(kind: &KindInfo, new: &Value, old: &Value) -> Errors {
    let mut out = Out::default();
    meta::object_meta_update(&mut out, new, old);
    if let Some(custom) = &kind.custom {
        out.extend(crate::custom::validate_status(custom, new, old));
        return out.into_errors();
    }
    if !own_finalizers(kind) {
        meta::standard_finalizers(&mut out, new);
    }
    match (kind.group, kind.kind) {
        ("apiextensions.k8s.io", _) => definition::status(&mut out, new),
        ("", "Pod") => pod::status::status_update(&mut out, new, old),
        ("", "Service") => service::status_update(&mut out, new, old),
        ("", "Node") => node::node_status(&mut out, new, old),
        ("", "Namespace") => node::namespace_status(&mut out, new),
        ("apps", "DaemonSet") => sets::daemon_set_status(&mut out, new, old),
        ("apps", "StatefulSet") => sets::stateful_set_status(&mut out, new, old),
        ("apps", _) | ("", "ReplicationController") => workload::status(&mut out, new, old),
        ("batch", "Job") => job::status::update(&mut out, new, old),
        ("", "ResourceQuota") => quotas::resource_quota_status(&mut out, new),
        ("", "PersistentVolumeClaim") => claims::claim_status(&mut out, new),
        ("autoscaling", _) => autoscaler::autoscaler_status(&mut out, new),
        ("policy", _) => autoscaler::budget_status(&mut out, new),
        (ADMISSION, _) => admission::policy::status(&mut out, new),
        (CERTIFICATES, _) => certificate::update(&mut out, new, old, Through::Status),
        (FLOW, _) => flow::status(&mut out, new),
        (AGGREGATION, _) => aggregation::api_service_status(&mut out, new),
        (NETWORKING, "Ingress") => network::ingress_status(&mut out, new, old),
        (DEVICES, "ResourceClaim") => devices::claim_status(&mut out, new, old),
        (STORAGE, "VolumeAttachment") => storage::attachment(&mut out, new),
        _ => {}
    }
    out.into_errors()
}

/// The errors of a write of `pods/ephemeralcontainers`; everything else in `new` is as it was.
#[must_use]
pub fn ephemeral_containers(new: &Value, old: &Value) -> Errors {
    // Only what is there already is said of it.
    let mut out = Out::default();
    out.any_se_linux_policy = true;
    out.any_huge_pages = value::get(old, "spec").is_some_and(pod::has_broken_huge_pages);
    meta::object_meta_update(&mut out, new, old);
    pod::ephemeral::changed(&mut out, new, old);
    out.into_errors()
}

/// The errors of a write of `pods/resize`; everything but resources is as it was. The classes of service are those that the
/// requests and limits of both say.
#[must_use]
pub fn pod_resize(new: &Value, old: &Value, old_class: &str, new_class: &str) -> Errors {
    // Only what is there already is said of it.
    let mut out = Out::default();
    out.any_se_linux_policy = true;
    out.any_huge_pages = value::get(old, "spec").is_some_and(pod::has_broken_huge_pages);
    meta::object_meta_update(&mut out, new, old);
    pod::resize::resized(&mut out, new, old, (old_class, new_class));
    out.into_errors()
}

/// The errors of an update of a signing request's `/approval`.
#[must_use]
pub fn approval_update(new: &Value, old: &Value) -> Errors {
    let mut out = Out::default();
    meta::object_meta_update(&mut out, new, old);
    certificate::update(&mut out, new, old, Through::Approval);
    out.into_errors()
}

/// The errors of an update of a namespace's `/finalize`.
#[must_use]
pub fn finalize(new: &Value, old: &Value) -> Errors {
    let mut out = Out::default();
    meta::object_meta_update(&mut out, new, old);
    node::finalizers(&mut out, new);
    out.into_errors()
}

/// The errors of a `TokenRequest`, which is a subresource and no kind of its own.
#[must_use]
pub fn token_request(request: &Value) -> Errors {
    let mut out = Out::default();
    review::token_request(&mut out, request);
    out.into_errors()
}

/// The errors of the metadata of an object that stands in another one; it needs no name.
pub(crate) fn embedded_metadata(object: &Value) -> Errors {
    let mut out = Out::default();
    let Some(mut metadata) = crate::value::map_at(object, "metadata").cloned() else { return out.into_errors() };
    let is_empty = |key: &str| metadata.get(key).and_then(Value::as_str).is_none_or(str::is_empty);
    let (nameless, placeless) = (is_empty("name"), is_empty("namespace"));
    if nameless {
        metadata.insert("name".to_owned(), "fakename".into());
    }
    let object = serde_json::json!({"metadata": metadata});
    meta::object_meta(&mut out, &object, !placeless, NameRule::Segment);
    out.into_errors()
}

/// The errors of labels (`is_labels`) or annotations that somebody else than their owner set.
#[must_use]
pub fn labels_or_annotations(map: &crate::Object, is_labels: bool) -> Errors {
    let mut out = Out::default();
    if is_labels {
        meta::labels(&mut out, At::Root("metadata.labels"), map);
    } else {
        // As upstream spells it.
        meta::annotations(&mut out, At::Root("metadata.annotation"), map);
    }
    out.into_errors()
}

/// What the writer of a definition of a custom kind should know; `old` is what it takes the place of.
#[must_use]
pub fn definition_warnings(definition: &Value, old: Option<&Value>) -> Vec<String> {
    definition::warnings(definition, old)
}
