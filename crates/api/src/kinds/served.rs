//! The other served kinds, by API group.

use super::{Generation, Served, plain};

const STATUS: &[&str] = &["status"];
const SCALE: &[&str] = &["scale", "status"];

/// A kind with a generation that follows its spec.
const fn tracked(group: &'static str, resource: &'static str, subresources: &'static [&'static str]) -> Served {
    Served { generation: Generation::Spec, subresources, ..plain(group, resource) }
}

pub(super) const SERVED: &[Served] = &[
    Served { generation: Generation::Content, ..plain("", "podtemplates") },
    Served { storage: "controllers", fields: &["status.replicas"], ..tracked("", "replicationcontrollers", SCALE) },
    plain("apps", "controllerrevisions"),
    tracked("apps", "daemonsets", STATUS),
    tracked("apps", "statefulsets", SCALE),
    tracked("batch", "cronjobs", STATUS),
    Served { fields: &["status.successful"], ..tracked("batch", "jobs", STATUS) },
];
