//! The resources that a cluster serves, and what users call them.

use anyhow::{Result, anyhow, bail};
use gantry_api::decode::nearest;
use gantry_api::value::{Value, bool_at, list_at, str_at};
use gantry_client::ResourceId;

/// One served resource.
#[derive(Debug, Clone)]
pub(crate) struct Resource {
    /// Group, version, plural.
    pub(crate) id: ResourceId,
    /// `Deployment`.
    pub(crate) kind: String,
    /// `deployment`.
    pub(crate) singular: String,
    /// `deploy`.
    pub(crate) short_names: Vec<String>,
    /// `all`.
    pub(crate) categories: Vec<String>,
    /// Whether its objects live in namespaces.
    pub(crate) namespaced: bool,
}

impl Resource {
    /// `deployment.apps`, `pod`: how kubectl names the type of an object in messages.
    #[must_use]
    pub(crate) fn display(&self) -> String {
        if self.id.group.is_empty() { self.singular.clone() } else { format!("{}.{}", self.singular, self.id.group) }
    }

    /// `apps/v1`.
    #[must_use]
    pub(crate) fn api_version(&self) -> String {
        gantry_api::kinds::api_version(&self.id.group, &self.id.version)
    }

    fn is_called(&self, word: &str) -> bool {
        let (name, group) = word.split_once('.').map_or((word, None), |(n, g)| (n, Some(g)));
        let group_fits = group.is_none_or(|g| {
            let versioned = format!("{}.{}", self.id.version, self.id.group);
            g == self.id.group || g == versioned
        });
        group_fits
            && (name == self.id.resource
                || name == self.singular
                || name.eq_ignore_ascii_case(&self.kind)
                || self.short_names.iter().any(|s| s == name))
    }
}

/// All served resources, in discovery order.
#[derive(Debug, Clone, Default)]
pub(crate) struct Catalogue(Vec<Resource>);

fn strings(value: &Value, path: &str) -> Vec<String> {
    list_at(value, path).iter().filter_map(|v| v.as_str().map(str::to_owned)).collect()
}

impl Catalogue {
    /// From an `APIGroupDiscoveryList`.
    #[must_use]
    pub(crate) fn from_discovery(groups: &Value) -> Self {
        let mut all = Vec::new();
        for group in list_at(groups, "items") {
            let name = str_at(group, "metadata.name").unwrap_or("");
            // The first version is the preferred one.
            for version in list_at(group, "versions").iter().take(1) {
                let v = str_at(version, "version").unwrap_or("v1");
                all.extend(list_at(version, "resources").iter().map(|r| resource(name, v, r)));
            }
        }
        Self(all)
    }

    /// The resource that a user means.
    ///
    /// # Errors
    /// When there is none; names the nearest.
    pub(crate) fn find(&self, word: &str) -> Result<&Resource> {
        let lower = word.to_ascii_lowercase();
        self.0.iter().find(|r| r.is_called(&lower)).ok_or_else(|| {
            let names = self.0.iter().flat_map(|r| {
                [r.id.resource.as_str(), r.singular.as_str()]
                    .into_iter()
                    .chain(r.short_names.iter().map(String::as_str))
            });
            let hint = nearest(&lower, names).map(|n| format!(" (did you mean {n:?}?)")).unwrap_or_default();
            anyhow!("the server doesn't have a resource type {word:?}{hint}")
        })
    }

    /// The resource of objects with this apiVersion and kind.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn by_kind(&self, api_version: &str, kind: &str) -> Result<&Resource> {
        let found = self.0.iter().find(|r| r.kind == kind && r.api_version() == api_version);
        match found {
            Some(r) => Ok(r),
            None => {
                let elsewhere = self.0.iter().find(|r| r.kind == kind).map(Resource::api_version);
                let hint = match elsewhere {
                    Some(v) => format!("; this cluster serves {kind} as apiVersion {v:?}"),
                    None => nearest(kind, self.0.iter().map(|r| r.kind.as_str()))
                        .map(|n| format!("; did you mean kind {n:?}?"))
                        .unwrap_or_default(),
                };
                bail!("no matches for kind {kind:?} in version {api_version:?}{hint}")
            }
        }
    }

    /// Resolves one comma-separated word of `get`: types, or a category such as `all`.
    ///
    /// # Errors
    /// When a word is neither.
    pub(crate) fn find_many(&self, words: &str) -> Result<Vec<&Resource>> {
        let mut out = Vec::new();
        for word in words.split(',').filter(|w| !w.is_empty()) {
            let of_category: Vec<_> = self.0.iter().filter(|r| r.categories.iter().any(|c| c == word)).collect();
            if of_category.is_empty() {
                out.push(self.find(word)?);
            } else {
                out.extend(of_category);
            }
        }
        Ok(out)
    }
}

fn resource(group: &str, version: &str, r: &Value) -> Resource {
    let plural = str_at(r, "resource").unwrap_or("");
    let kind = str_at(r, "responseKind.kind").unwrap_or("");
    let singular = str_at(r, "singularResource").filter(|s| !s.is_empty());
    Resource {
        id: ResourceId::new(group, version, plural),
        kind: kind.to_owned(),
        singular: singular.map_or_else(|| kind.to_ascii_lowercase(), str::to_owned),
        short_names: strings(r, "shortNames"),
        categories: strings(r, "categories"),
        namespaced: str_at(r, "scope") == Some("Namespaced") || bool_at(r, "namespaced"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn catalogue() -> Catalogue {
        Catalogue::from_discovery(&json!({"items": [
            {"versions": [{"version": "v1", "resources": [
                {"resource": "pods", "singularResource": "pod", "shortNames": ["po"], "scope": "Namespaced",
                 "categories": ["all"], "responseKind": {"kind": "Pod"}, "verbs": ["get"]},
                {"resource": "nodes", "singularResource": "node", "scope": "Cluster", "responseKind": {"kind": "Node"}}]}]},
            {"metadata": {"name": "apps"}, "versions": [{"version": "v1", "resources": [
                {"resource": "deployments", "singularResource": "deployment", "shortNames": ["deploy"],
                 "scope": "Namespaced", "categories": ["all"], "responseKind": {"kind": "Deployment"}}]}]}]}))
    }

    #[test]
    fn words_find_resources() {
        let c = catalogue();
        for (word, expected) in [
            ("po", "pods"),
            ("Pod", "pods"),
            ("deploy", "deployments"),
            ("deployments.apps", "deployments"),
            ("deployment.v1.apps", "deployments"),
            ("node", "nodes"),
        ] {
            assert_eq!(c.find(word).expect(word).id.resource, expected, "{word}");
        }
        assert!(c.find("deployments.batch").is_err());
        let many: Vec<_> = c.find_many("all").expect("a category").iter().map(|r| r.id.resource.clone()).collect();
        assert_eq!(many, ["pods", "deployments"]);
    }

    #[test]
    fn a_misspelt_word_is_answered_with_the_nearest() {
        let error = catalogue().find("deplyment").expect_err("misspelt");
        assert_eq!(
            error.to_string(),
            "the server doesn't have a resource type \"deplyment\" (did you mean \"deployment\"?)"
        );
        let error = catalogue().by_kind("extensions/v1beta1", "Deployment").expect_err("old group");
        assert!(error.to_string().ends_with("this cluster serves Deployment as apiVersion \"apps/v1\""), "{error}");
    }
}
