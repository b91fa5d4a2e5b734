//! The operator's kind: a page, and how many servers show it. Version `v1` is stored, `v1alpha1` calls things otherwise.

use std::borrow::Cow;

use k8s_openapi::NamespaceResourceScope;
use kube::api::{ApiResource, GroupVersionKind, ObjectMeta, TypeMeta};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) const GROUP: &str = "web.example.com";
pub(crate) const KIND: &str = "Site";
pub(crate) const PLURAL: &str = "sites";

/// How much a site may take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) enum Tier {
    #[default]
    Small,
    Large,
}

/// What a site is to be.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = [
    {"rule": "!has(self.replicas) || self.replicas <= 3 || self.tier == 'Large'", "message": "only large sites have more than 3 servers"},
    {"rule": "oldSelf.tier != 'Large' || self.tier == 'Large'", "message": "a large site stays large"},
]))]
pub(crate) struct SiteSpec {
    /// What the page says.
    #[schemars(length(min = 1))]
    pub(crate) page: String,
    /// Servers that show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 10))]
    pub(crate) replicas: Option<i32>,
    /// How much it may take.
    #[serde(default)]
    pub(crate) tier: Tier,
}

/// As [`SiteSpec`], in the words of the first version.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct OldSpec {
    /// What the page says.
    #[schemars(length(min = 1))]
    pub(crate) text: String,
    /// Servers that show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) size: Option<i32>,
    /// How much it may take.
    #[serde(default)]
    pub(crate) tier: Tier,
}

/// One thing that is so or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SiteCondition {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) status: String,
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) observed_generation: i64,
    #[schemars(extend("format" = "date-time"))]
    pub(crate) last_transition_time: String,
}

/// What a site is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SiteStatus {
    #[serde(default)]
    pub(crate) observed_generation: i64,
    /// Servers that are ready.
    #[serde(default)]
    pub(crate) ready: i32,
    /// Which pods are its servers.
    #[serde(default)]
    pub(crate) selector: String,
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub(crate) conditions: Vec<SiteCondition>,
}

/// An object of the kind.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Site {
    #[serde(flatten)]
    types: TypeMeta,
    pub(crate) metadata: ObjectMeta,
    pub(crate) spec: SiteSpec,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<SiteStatus>,
}

impl Site {
    /// A site that shows `page` on whatever number of servers.
    pub(crate) fn new(name: &str, page: &str) -> Self {
        let types = TypeMeta { api_version: format!("{GROUP}/v1"), kind: KIND.to_owned() };
        let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
        let spec = SiteSpec { page: page.to_owned(), ..SiteSpec::default() };
        Self { types, metadata, spec, status: None }
    }

    /// Whether the operator has seen its newest spec, and all of it is there.
    pub(crate) fn is_available(&self) -> bool {
        let Some(status) = &self.status else { return false };
        let available = status.conditions.iter().any(|c| c.kind == "Available" && c.status == "True");
        available && Some(status.observed_generation) == self.metadata.generation
    }
}

impl kube::Resource for Site {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        KIND.into()
    }

    fn group((): &()) -> Cow<'_, str> {
        GROUP.into()
    }

    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        PLURAL.into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// The kind in its first version, for clients without types.
pub(crate) fn old_version() -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, "v1alpha1", KIND), PLURAL)
}
