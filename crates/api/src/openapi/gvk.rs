//! Which group, version and kind a schema stands for.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::Value;
use crate::kinds::{KindInfo, Kinds};

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
        for (group, version) in Kinds::builtin().group_versions().into_iter().chain([("", "v1")]) {
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
