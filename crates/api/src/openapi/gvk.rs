//! Which group, version and kind a schema stands for.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::Value;
use crate::kinds::{KindInfo, Kinds};

/// The groups and versions that upstream's scheme knows, of which many are not served by default: each has its options and events.
const REGISTERED: &[(&str, &str)] = &[
    ("", "v1"),
    ("admission.k8s.io", "v1 v1beta1"),
    ("admissionregistration.k8s.io", "v1 v1alpha1 v1beta1"),
    ("apiextensions.k8s.io", "v1 v1beta1"),
    ("apiregistration.k8s.io", "v1 v1beta1"),
    ("apps", "v1 v1beta1 v1beta2"),
    ("authentication.k8s.io", "v1 v1alpha1 v1beta1"),
    ("authorization.k8s.io", "v1 v1beta1"),
    ("autoscaling", "v1 v2"),
    ("batch", "v1 v1beta1"),
    ("certificates.k8s.io", "v1 v1alpha1 v1beta1"),
    ("coordination.k8s.io", "v1 v1alpha2 v1beta1"),
    ("discovery.k8s.io", "v1 v1beta1"),
    ("events.k8s.io", "v1 v1beta1"),
    ("extensions", "v1beta1"),
    ("flowcontrol.apiserver.k8s.io", "v1 v1beta1 v1beta2 v1beta3"),
    ("imagepolicy.k8s.io", "v1alpha1"),
    ("internal.apiserver.k8s.io", "v1alpha1"),
    ("networking.k8s.io", "v1 v1beta1"),
    ("node.k8s.io", "v1 v1alpha1 v1beta1"),
    ("policy", "v1 v1beta1"),
    ("rbac.authorization.k8s.io", "v1 v1alpha1 v1beta1"),
    ("resource.k8s.io", "v1 v1alpha3 v1beta1 v1beta2"),
    ("scheduling.k8s.io", "v1 v1alpha2 v1beta1"),
    ("storage.k8s.io", "v1 v1alpha1 v1beta1"),
    ("storagemigration.k8s.io", "v1beta1"),
];

/// Group, version and kind.
type Gvk = (String, String, String);

/// Types of the table and the kinds that are served as them.
pub(super) struct Gvks(BTreeMap<String, BTreeSet<Gvk>>);

impl Gvks {
    /// Those of the given kinds and of what is sent with every kind.
    pub(super) fn new<'k>(all: impl Iterator<Item = &'k KindInfo>) -> Self {
        let mut found = Self(BTreeMap::new());
        for kind in all {
            found.add(&kind.type_name, kind.group, kind.version, kind.kind);
            found.add(&format!("{}List", kind.type_name), kind.group, kind.version, &kind.list_kind());
            for sub in &kind.subresources {
                found.add(&sub.type_name(kind), sub.group, sub.version, sub.kind);
            }
        }
        // Options and events are of every group, as upstream has it.
        let registered =
            REGISTERED.iter().flat_map(|(group, all)| all.split(' ').map(move |version| (*group, version)));
        for (group, version) in registered.chain(Kinds::builtin().group_versions()) {
            for kind in ["DeleteOptions", "WatchEvent"] {
                found.add(&format!("meta/v1.{kind}"), group, version, kind);
            }
        }
        for kind in ["APIGroup", "APIGroupList", "APIResourceList", "APIVersions", "Status"] {
            found.add(&format!("meta/v1.{kind}"), "", "v1", kind);
        }
        found
    }

    fn add(&mut self, ty: &str, group: &str, version: &str, kind: &str) {
        let gvk = (group.to_owned(), version.to_owned(), kind.to_owned());
        self.0.entry(ty.to_owned()).or_default().insert(gvk);
    }

    /// Those of a type, as the extension lists them.
    pub(super) fn of(&self, type_name: &str) -> Vec<Value> {
        self.0.get(type_name).into_iter().flatten().map(|(g, v, k)| value(g, v, k)).collect()
    }
}

/// The extension's form of one.
pub(super) fn value(group: &str, version: &str, kind: &str) -> Value {
    json!({"group": group, "version": version, "kind": kind})
}
