//! The kinds that a server serves at one moment: the built-in ones, and those that custom definitions add.

use super::{KindInfo, all, split_api_version};
use crate::custom::Definition;

/// Built-in kinds that a server does not serve, as its operator wants it.
#[derive(Debug, Clone, Default)]
pub struct Unserved(Vec<(&'static str, &'static str, &'static str)>);

impl Unserved {
    /// These kinds.
    #[must_use]
    pub fn new(kinds: &[&'static KindInfo]) -> Self {
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
    definitions: Vec<&'static Definition>,
    /// The served kinds of the definitions, in discovery's order.
    custom: Vec<&'static KindInfo>,
    /// The same by group, version and resource.
    by_resource: Vec<&'static KindInfo>,
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
    pub fn with(mut definitions: Vec<&'static Definition>) -> Self {
        definitions.sort_by_key(|definition| definition.storage_prefix.as_str());
        let mut custom: Vec<&'static KindInfo> = definitions.iter().flat_map(|d| d.served()).collect();
        custom.sort_by(|a, b| {
            let (precedes, of) = (crate::names::version_order, |k: &KindInfo| (k.group, k.resource));
            a.group.cmp(b.group).then_with(|| precedes(a.version, b.version)).then_with(|| of(a).cmp(&of(b)))
        });
        let mut by_resource = custom.clone();
        by_resource.sort_by_key(|kind| path(kind));
        Self { definitions, custom, by_resource, unserved: Unserved::default() }
    }

    /// The set without some of the built-in kinds. Their objects stay where they are.
    #[must_use]
    pub fn without(mut self, unserved: Unserved) -> Self {
        self.unserved = unserved;
        self
    }

    /// Every served kind: the built-in groups in discovery's order (core first), then the custom ones by name; versions as
    /// clients prefer them, resources by name.
    pub fn all(&self) -> impl Iterator<Item = &'static KindInfo> + '_ {
        all().iter().filter(|kind| self.unserved.serves(kind)).chain(self.custom.iter().copied())
    }

    /// The kinds of which each stored object is seen exactly once, whatever forms and versions it is served in, if any.
    pub fn distinct(&self) -> impl Iterator<Item = &'static KindInfo> + '_ {
        let builtin = all().iter().filter(|kind| kind.stored() && !kind.is_converted());
        builtin.chain(self.definitions.iter().filter_map(|definition| definition.canonical()))
    }

    /// The definitions behind the custom kinds.
    #[must_use]
    pub fn definitions(&self) -> &[&'static Definition] {
        &self.definitions
    }

    /// The kind behind a REST path.
    #[must_use]
    pub fn by_resource(&self, group: &str, version: &str, resource: &str) -> Option<&'static KindInfo> {
        super::by_resource(group, version, resource).filter(|kind| self.unserved.serves(kind)).or_else(|| {
            let at = self.by_resource.binary_search_by(|kind| path(kind).cmp(&(group, version, resource))).ok()?;
            self.by_resource.get(at).copied()
        })
    }

    /// The kind that an object names.
    #[must_use]
    pub fn by_kind(&self, group: &str, version: &str, kind: &str) -> Option<&'static KindInfo> {
        let custom = || self.custom.iter().find(|k| k.kind == kind && k.group == group && k.version == version);
        super::by_kind(group, version, kind).filter(|kind| self.unserved.serves(kind)).or_else(|| custom().copied())
    }

    /// As [`Kinds::by_kind`], for an `apiVersion` string.
    #[must_use]
    pub fn by_api_version(&self, api_version: &str, kind: &str) -> Option<&'static KindInfo> {
        let (group, version) = split_api_version(api_version);
        self.by_kind(group, version, kind)
    }

    /// The custom definition whose objects have this etcd key.
    #[must_use]
    pub fn definition_of(&self, key: &str) -> Option<&'static Definition> {
        // No prefix is a prefix of another.
        let after = self.definitions.partition_point(|definition| definition.storage_prefix.as_str() <= key);
        let found = *self.definitions.get(after.checked_sub(1)?)?;
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
    pub fn of<'s>(&'s self, group: &'s str, version: &'s str) -> impl Iterator<Item = &'static KindInfo> + 's {
        self.all().filter(move |k| k.group == group && k.version == version)
    }
}
