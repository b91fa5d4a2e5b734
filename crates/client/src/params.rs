//! What calls can be told beside the object.

use gantry_proto::v1;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Names a resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ResourceId {
    /// `""` for the core group.
    pub group: String,
    /// `v1`.
    pub version: String,
    /// Plural: `deployments`.
    pub resource: String,
}

impl ResourceId {
    /// `ResourceId::new("apps", "v1", "deployments")`.
    pub fn new(group: impl Into<String>, version: impl Into<String>, resource: impl Into<String>) -> Self {
        Self { group: group.into(), version: version.into(), resource: resource.into() }
    }

    pub(crate) fn to_proto(&self) -> v1::Resource {
        v1::Resource { group: self.group.clone(), version: self.version.clone(), resource: self.resource.clone() }
    }
}

/// Restricts and pages a list.
#[derive(Debug, Clone, Default)]
pub struct ListParams {
    /// `app=web,tier!=db`.
    pub label_selector: String,
    /// `spec.nodeName=n1`.
    pub field_selector: String,
    /// At most this many items; 0 = all.
    pub limit: i64,
    /// Token of the page before.
    pub continue_token: String,
    /// See the Kubernetes API's resource version semantics; empty = consistent.
    pub resource_version: String,
    /// `Exact`, `NotOlderThan` or empty.
    pub resource_version_match: String,
}

impl ListParams {
    /// Only objects with these labels.
    #[must_use]
    pub fn labels(selector: impl Into<String>) -> Self {
        Self { label_selector: selector.into(), ..Self::default() }
    }

    /// Only objects with these fields.
    #[must_use]
    pub fn fields(selector: impl Into<String>) -> Self {
        Self { field_selector: selector.into(), ..Self::default() }
    }
}

/// Options of a write.
#[derive(Debug, Clone, Default)]
pub struct WriteParams {
    /// Do everything but store.
    pub dry_run: bool,
    /// Empty = the user agent up to its slash.
    pub field_manager: String,
    /// `Ignore`, `Warn`, `Strict`; empty = Strict.
    pub field_validation: String,
}

impl WriteParams {
    pub(crate) fn to_proto(&self) -> v1::WriteOptions {
        v1::WriteOptions {
            dry_run: self.dry_run,
            field_manager: self.field_manager.clone(),
            field_validation: self.field_validation.clone(),
        }
    }
}

/// A patch and its kind.
#[derive(Debug, Clone)]
pub enum Patch {
    /// RFC 6902.
    Json(Value),
    /// RFC 7386.
    Merge(Value),
    /// Strategic merge.
    Strategic(Value),
    /// Server-side apply; `force` takes over fields of others.
    Apply {
        /// The applied configuration.
        object: Value,
        /// Take over conflicting fields.
        force: bool,
    },
}

impl Patch {
    pub(crate) fn parts(&self) -> (v1::PatchType, &Value, bool) {
        match self {
            Self::Json(v) => (v1::PatchType::Json, v, false),
            Self::Merge(v) => (v1::PatchType::Merge, v, false),
            Self::Strategic(v) => (v1::PatchType::StrategicMerge, v, false),
            Self::Apply { object, force } => (v1::PatchType::Apply, object, *force),
        }
    }
}

/// What must hold of an object that is to be deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Preconditions {
    /// This very object, not a namesake.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// This very state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<String>,
}

/// meta/v1 DeleteOptions.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DeleteParams {
    /// Seconds; 0 = at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub grace_period_seconds: Option<i64>,
    /// `Background`, `Foreground`, `Orphan`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub propagation_policy: Option<String>,
    /// What must hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub preconditions: Option<Preconditions>,
    /// Do everything but delete.
    #[serde(skip)]
    pub dry_run: bool,
}

impl DeleteParams {
    /// Only the object with this uid.
    #[must_use]
    pub fn uid(mut self, uid: impl Into<String>) -> Self {
        self.preconditions.get_or_insert_default().uid = Some(uid.into());
        self
    }

    /// With this grace period, in seconds.
    #[must_use]
    pub fn grace(mut self, seconds: i64) -> Self {
        self.grace_period_seconds = Some(seconds);
        self
    }

    /// With this propagation policy.
    #[must_use]
    pub fn propagation(mut self, policy: &str) -> Self {
        self.propagation_policy = Some(policy.to_owned());
        self
    }

    pub(crate) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers serialise")
    }
}
