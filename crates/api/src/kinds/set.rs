//! The kinds that a server serves at one moment: the built-in ones, and those that custom definitions add.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Kind, KindInfo, all, split_api_version};
use crate::custom::Definition;

/// Built-in kinds that a server does not serve, as its operator wants it.
#[derive(Debug, Clone, Default)]
pub struct Unserved(Vec<(&'static str, &'static str, &'static str)>);

impl Unserved {
    /// These kinds.
    #[must_use]
    pub fn new(kinds: &[&KindInfo]) -> Self {
        Self(kinds.iter().map(|kind| path(kind)).collect())
    }

    /// Whether a kind is served.
    #[must_use]
    pub fn serves(&self, kind: &KindInfo) -> bool {
        !self.0.contains(&path(kind))
    }
}

/// A set of kinds. It does not change: whoever serves it replaces it as a whole.
#[derive(Debug, Clone, Default)]
pub struct Kinds {
    /// By storage prefix.
    definitions: Vec<Arc<Definition>>,
    /// The served kinds of the definitions, in discovery's order.
    custom: Vec<Kind>,
    /// The same by group, version and resource.
    by_resource: Vec<Kind>,
    unserved: Unserved,
}

fn path(kind: &KindInfo) -> (&'static str, &'static str, &'static str) {
    (kind.group, kind.version, kind.resource)
}

impl Kinds {
    /// The built-in kinds.
    #[must_use]
    pub fn builtin() -> Self {
        Self::default()
    }

    /// The built-in kinds and those of the definitions.
    #[must_use]
    pub fn with(mut definitions: Vec<Arc<Definition>>) -> Self {
        definitions.sort_by(|a, b| a.storage_prefix.cmp(&b.storage_prefix));
        Self { definitions, ..Self::default() }.settled()
    }

    /// With the custom kinds that are served: a group version with built-in kinds has no others, as upstream's.
    fn settled(mut self) -> Self {
        let served = all().iter().filter(|kind| self.unserved.serves(kind));
        let built_in: BTreeSet<(&str, &str)> = served.map(|kind| (kind.group, kind.version)).collect();
        let apart = self.definitions.iter().filter(|definition| !definition.is_over_built_in());
        let custom = apart.flat_map(|definition| definition.served());
        let custom = custom.filter(|kind| !built_in.contains(&(kind.group, kind.version)));
        self.custom = custom.map(KindInfo::held).collect();
        self.custom.sort_by(|a, b| {
            let (precedes, of) = (crate::names::version_order, |k: &KindInfo| (k.group, k.resource));
            a.group.cmp(b.group).then_with(|| precedes(a.version, b.version)).then_with(|| of(a).cmp(&of(b)))
        });
        self.by_resource = self.custom.clone();
        self.by_resource.sort_by_key(|kind| path(kind));
        self
    }

    /// The set without some of the built-in kinds. Their objects stay where they are.
    #[must_use]
    pub fn without(mut self, unserved: Unserved) -> Self {
        self.unserved = unserved;
        self.settled()
    }

    /// Every served kind: the built-in groups in discovery's order (core first), then the custom ones by name; versions as
    /// clients prefer them, resources by name.
    pub fn all(&self) -> impl Iterator<Item = &KindInfo> {
        all().iter().filter(|kind| self.unserved.serves(kind)).chain(self.custom.iter().map(|kind| &**kind))
    }

    /// The kinds of which each stored object is seen exactly once, whatever forms and versions it is served in, if any.
    pub fn distinct(&self) -> impl Iterator<Item = &KindInfo> {
        let builtin = all().iter().filter(|kind| kind.stored() && !kind.is_converted());
        builtin.chain(self.definitions.iter().filter_map(|definition| {
            let mut versions = definition.canonical().into_iter().chain(definition.served());
            versions.find(|kind| self.custom_by_resource(&path(kind)).is_some())
        }))
    }

    /// The definitions behind the custom kinds.
    #[must_use]
    pub fn definitions(&self) -> &[Arc<Definition>] {
        &self.definitions
    }

    /// The kind behind a REST path.
    #[must_use]
    pub fn by_resource(&self, group: &str, version: &str, resource: &str) -> Option<Kind> {
        let builtin = super::by_resource(group, version, resource).filter(|kind| self.unserved.serves(kind));
        builtin.map(KindInfo::held).or_else(|| self.custom_by_resource(&(group, version, resource)))
    }

    fn custom_by_resource(&self, wanted: &(&str, &str, &str)) -> Option<Kind> {
        let at = self.by_resource.binary_search_by(|kind| path(kind).cmp(wanted)).ok()?;
        self.by_resource.get(at).cloned()
    }

    /// The kind that an object names.
    #[must_use]
    pub fn by_kind(&self, group: &str, version: &str, kind: &str) -> Option<Kind> {
        let custom = || self.custom.iter().find(|k| k.kind == kind && k.group == group && k.version == version);
        let builtin = super::by_kind(group, version, kind).filter(|kind| self.unserved.serves(kind));
        builtin.map(KindInfo::held).or_else(|| custom().cloned())
    }

    /// As [`Kinds::by_kind`], for an `apiVersion` string.
    #[must_use]
    pub fn by_api_version(&self, api_version: &str, kind: &str) -> Option<Kind> {
        let (group, version) = split_api_version(api_version);
        self.by_kind(group, version, kind)
    }

    /// The custom definition whose objects have this etcd key.
    #[must_use]
    pub fn definition_of(&self, key: &str) -> Option<&Arc<Definition>> {
        // No prefix is a prefix of another.
        let after = self.definitions.partition_point(|definition| definition.storage_prefix.as_str() <= key);
        let found = self.definitions.get(after.checked_sub(1)?)?;
        key.starts_with(&found.storage_prefix).then_some(found)
    }

    /// The served group-versions (`("", "v1")`, `("apps", "v1")`), in discovery's order, each once.
    #[must_use]
    pub fn group_versions(&self) -> Vec<(&'static str, &'static str)> {
        let mut found: Vec<(&str, &str)> = Vec::new();
        for kind in self.all() {
            if !found.contains(&(kind.group, kind.version)) {
                found.push((kind.group, kind.version));
            }
        }
        found
    }

    /// The kinds of a group and version.
    pub fn of<'s>(&'s self, group: &'s str, version: &'s str) -> impl Iterator<Item = &'s KindInfo> {
        self.all().filter(move |k| k.group == group && k.version == version)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn built_in_group_versions_have_no_custom_kinds() {
        let served = |versions: &[&str], unserved: &[&'static KindInfo]| {
            let versions: Vec<_> =
                versions.iter().map(|v| json!({"name": v, "served": true, "storage": *v == "v1"})).collect();
            let definition = json!({
                "spec": {"group": "networking.k8s.io", "scope": "Cluster", "versions": versions},
                "status": {"acceptedNames": {"plural": "foos", "singular": "foo", "kind": "Foo", "listKind": "FooList"}},
            });
            let definition = crate::custom::definition(&definition).expect("a whole definition");
            let kinds = Kinds::with(vec![definition]).without(Unserved::new(unserved));
            let found: Vec<&str> = kinds.all().filter(|kind| kind.kind == "Foo").map(|kind| kind.version).collect();
            for version in versions.iter().filter_map(|v| v["name"].as_str()) {
                let is_served = found.contains(&version);
                assert_eq!(kinds.by_resource("networking.k8s.io", version, "foos").is_some(), is_served, "{version}");
                assert_eq!(kinds.by_kind("networking.k8s.io", version, "Foo").is_some(), is_served, "{version}");
            }
            let seen_once: Vec<&str> = kinds.distinct().filter(|k| k.kind == "Foo").map(|k| k.version).collect();
            assert_eq!(seen_once.first(), found.first(), "of each object one form is seen, if any is");
            found
        };
        assert_eq!(served(&["v1"], &[]), [""; 0]);
        assert_eq!(served(&["v1", "v9"], &[]), ["v9"]);
        let group: Vec<&'static KindInfo> =
            all().iter().filter(|k| (k.group, k.version) == ("networking.k8s.io", "v1")).collect();
        assert_eq!(served(&["v1"], &group), ["v1"], "where it is switched off, the version is free");
    }
}
