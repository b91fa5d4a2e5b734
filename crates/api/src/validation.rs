//! Field validation with upstream's rules, paths and messages (kubernetes-api contract, sections 2.2 and 2.3).
//!
//! It runs on every write, so it looks at borrowed values, uses no regular expressions and builds a path only for an error.

mod at;
mod config;
mod formats;
mod meta;
mod node;
mod pod;
mod rbac;
mod read;
mod review;
mod selector;
mod service;
mod small;
mod workload;

#[cfg(test)]
mod tests;

use crate::Value;
use crate::field::Errors;
use crate::kinds::KindInfo;
use at::{At, Out};
use meta::NameRule;
use review::About;

const RBAC: &str = "rbac.authorization.k8s.io";

fn name_rule(kind: &KindInfo) -> NameRule {
    match (kind.group, kind.kind) {
        ("", "Namespace") => NameRule::Label,
        ("", "Service") => NameRule::Label1035,
        (RBAC, _) => NameRule::Segment,
        _ => NameRule::Subdomain,
    }
}

/// The errors of an object that is created.
#[must_use]
pub fn create(kind: &KindInfo, object: &Value) -> Errors {
    let mut out = Out::default();
    if !kind.create_only() {
        meta::object_meta(&mut out, object, kind.namespaced, name_rule(kind));
    }
    match (kind.group, kind.kind) {
        ("", "Pod") => pod::create(&mut out, object),
        ("", "Binding") => review::binding(&mut out, object),
        ("authorization.k8s.io", "SubjectAccessReview") => review::access(&mut out, object, About::User),
        ("authorization.k8s.io", "LocalSubjectAccessReview") => {
            review::access(&mut out, object, About::UserInNamespace);
        }
        ("authorization.k8s.io", "SelfSubjectAccessReview") => review::access(&mut out, object, About::Oneself),
        _ => content(&mut out, kind, object),
    }
    out.errors
}

/// What holds for new and changed objects alike.
fn content(out: &mut Out, kind: &KindInfo, object: &Value) {
    match (kind.group, kind.kind) {
        ("", "ConfigMap") => config::config_map(out, object),
        ("", "Secret") => config::secret(out, object),
        ("", "Event") => small::event(out, object),
        ("", "Namespace") => node::namespace(out, object),
        ("", "Node") => node::node(out, object),
        ("", "Service") => service::service(out, object),
        ("apps", "Deployment") => workload::deployment(out, object),
        ("apps", "ReplicaSet") => workload::replica_set(out, object),
        ("coordination.k8s.io", "Lease") => small::lease(out, object),
        ("discovery.k8s.io", "EndpointSlice") => small::endpoint_slice(out, object),
        ("scheduling.k8s.io", "PriorityClass") => small::priority_class(out, object),
        (RBAC, "Role" | "ClusterRole") => rbac::role(out, object, kind.namespaced),
        (RBAC, "RoleBinding" | "ClusterRoleBinding") => rbac::binding(out, object, kind.namespaced),
        _ => {}
    }
}

/// The errors of an update of the main resource.
#[must_use]
pub fn update(kind: &KindInfo, new: &Value, old: &Value) -> Errors {
    let mut out = Out::default();
    meta::object_meta_update(&mut out, new, old);
    match (kind.group, kind.kind) {
        ("", "Pod") => pod::update::update(&mut out, new, old),
        ("", "Service") => service::update(&mut out, new, old),
        ("", "Node") => node::node_update(&mut out, new, old),
        ("", "ConfigMap") => {
            config::immutable(&mut out, new, old, &["data", "binaryData"]);
            content(&mut out, kind, new);
        }
        ("", "Secret") => {
            out.immutable(At::Root("type"), new.get("type"), old.get("type"));
            config::immutable(&mut out, new, old, &["data"]);
            content(&mut out, kind, new);
        }
        ("scheduling.k8s.io", "PriorityClass") => small::priority_class_update(&mut out, new, old),
        _ => {
            content(&mut out, kind, new);
            match (kind.group, kind.kind) {
                ("apps", _) => workload::selector_unchanged(&mut out, new, old),
                (RBAC, "RoleBinding" | "ClusterRoleBinding") => rbac::role_unchanged(&mut out, new, old),
                ("discovery.k8s.io", _) => {
                    out.immutable(At::Root("addressType"), new.get("addressType"), old.get("addressType"));
                }
                _ => {}
            }
        }
    }
    out.errors
}

/// The errors of an update of `/status`.
#[must_use]
pub fn status_update(kind: &KindInfo, new: &Value, old: &Value) -> Errors {
    let mut out = Out::default();
    meta::object_meta_update(&mut out, new, old);
    match (kind.group, kind.kind) {
        ("", "Pod") => pod::status::status_update(&mut out, new, old),
        ("", "Service") => service::status_update(&mut out, new),
        ("", "Node") => node::node_update(&mut out, new, old),
        ("", "Namespace") => node::namespace_status(&mut out, new),
        ("apps", _) => workload::status(&mut out, new, old),
        _ => {}
    }
    out.errors
}

/// The errors of a write of `pods/ephemeralcontainers`; everything else in `new` is as it was.
#[must_use]
pub fn ephemeral_containers(new: &Value, old: &Value) -> Errors {
    let mut out = Out::default();
    meta::object_meta_update(&mut out, new, old);
    pod::ephemeral::changed(&mut out, new, old);
    out.errors
}

/// The errors of a `TokenRequest`, which is a subresource and no kind of its own.
#[must_use]
pub fn token_request(request: &Value) -> Errors {
    let mut out = Out::default();
    review::token_request(&mut out, request);
    out.errors
}
