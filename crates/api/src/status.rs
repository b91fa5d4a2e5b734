//! The Status object (meta/v1) that ends every failed call, with upstream's messages.
//!
//! Forms: `kubernetes-api` contract, section 1.7; k8s.io/apimachinery/pkg/api/errors.

use std::collections::HashSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::field;

/// One cause in [`Details`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// `FieldValueInvalid`, `NamespaceTerminating`, ...
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The field, where one is meant.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub field: String,
}

/// Which object a Status speaks of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Details {
    /// The object's name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// The group.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// The resource (plural), or the kind for validation errors.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// The object's uid.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// What in particular.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    /// When to try again, in seconds.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub retry_after_seconds: i32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(n: &i32) -> bool {
    *n == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_unsaid(code: &u16) -> bool {
    *code == 0
}

/// List metadata, as far as a Status uses it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListMeta {
    /// A fresh token, where a list's token had expired.
    #[serde(default, rename = "continue", skip_serializing_if = "String::is_empty")]
    pub continue_token: String,
}

/// meta/v1 Status; the error type of everything that answers clients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Always `Status`.
    #[serde(default)]
    pub kind: String,
    /// Always `v1`.
    #[serde(default)]
    pub api_version: String,
    /// List metadata.
    #[serde(default)]
    pub metadata: ListMeta,
    /// `Success` or `Failure`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub status: String,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// For programs: `NotFound`, `Conflict`, ...
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Details>,
    /// The HTTP code; 0 where it is not said.
    #[serde(default, skip_serializing_if = "is_unsaid")]
    pub code: u16,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Status {}

/// `pods`, or `deployments.apps` for a named group.
fn qualified(group: &str, name: &str) -> String {
    if group.is_empty() { name.to_owned() } else { format!("{name}.{group}") }
}

impl Status {
    /// A failure with code, reason and message.
    #[must_use]
    pub fn failure(code: u16, reason: &str, message: impl Into<String>) -> Self {
        Self {
            kind: "Status".to_owned(),
            api_version: "v1".to_owned(),
            metadata: ListMeta::default(),
            status: "Failure".to_owned(),
            message: message.into(),
            reason: reason.to_owned(),
            details: None,
            code,
        }
    }

    /// The Success status of a DELETE that removed the object. Upstream's store makes it, and says no code in it.
    #[must_use]
    pub fn deleted(group: &str, resource: &str, name: &str, uid: &str) -> Self {
        let mut s = Self::failure(0, "", "").about(group, resource, name);
        "Success".clone_into(&mut s.status);
        if let Some(d) = &mut s.details {
            uid.clone_into(&mut d.uid);
        }
        s
    }

    /// Adds whom it is about.
    #[must_use]
    pub fn about(mut self, group: &str, kind: &str, name: &str) -> Self {
        let d = self.details.get_or_insert_default();
        group.clone_into(&mut d.group);
        kind.clone_into(&mut d.kind);
        name.clone_into(&mut d.name);
        self
    }

    /// Adds a cause.
    #[must_use]
    pub fn with_cause(mut self, reason: &str, message: &str, field: &str) -> Self {
        self.details.get_or_insert_default().causes.push(Cause {
            reason: reason.to_owned(),
            message: message.to_owned(),
            field: field.to_owned(),
        });
        self
    }

    /// Says when to try again.
    #[must_use]
    pub fn retry_after(mut self, seconds: i32) -> Self {
        self.details.get_or_insert_default().retry_after_seconds = seconds;
        self
    }

    /// 404: `pods "x" not found`.
    #[must_use]
    pub fn not_found(group: &str, resource: &str, name: &str) -> Self {
        Self::failure(404, "NotFound", format!("{} \"{name}\" not found", qualified(group, resource)))
            .about(group, resource, name)
    }

    /// 404 for a path that is not served.
    #[must_use]
    pub fn no_such_resource() -> Self {
        Self::failure(404, "NotFound", "the server could not find the requested resource")
            .with_details(Details::default())
    }

    fn with_details(mut self, details: Details) -> Self {
        self.details = Some(details);
        self
    }

    /// 409: `configmaps "t1" already exists`.
    #[must_use]
    pub fn already_exists(group: &str, resource: &str, name: &str) -> Self {
        Self::failure(409, "AlreadyExists", format!("{} \"{name}\" already exists", qualified(group, resource)))
            .about(group, resource, name)
    }

    /// 409: `Operation cannot be fulfilled on configmaps "t1": why`.
    #[must_use]
    pub fn conflict(group: &str, resource: &str, name: &str, why: &str) -> Self {
        let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", qualified(group, resource));
        Self::failure(409, "Conflict", message).about(group, resource, name)
    }

    /// 409 for a stale resource version.
    #[must_use]
    pub fn stale(group: &str, resource: &str, name: &str) -> Self {
        Self::conflict(
            group,
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// 403: `pods "x" is forbidden: why`.
    #[must_use]
    pub fn forbidden(group: &str, resource: &str, name: &str, why: &str) -> Self {
        let what = match (resource.is_empty(), name.is_empty()) {
            (true, _) => "forbidden".to_owned(),
            (false, true) => format!("{} is forbidden", qualified(group, resource)),
            (false, false) => format!("{} \"{name}\" is forbidden", qualified(group, resource)),
        };
        Self::failure(403, "Forbidden", format!("{what}: {why}")).about(group, resource, name)
    }

    /// 422: `Pod "x" is invalid: [a, b]`, a cause per field error.
    #[must_use]
    pub fn invalid(group: &str, kind: &str, name: &str, errors: &[field::Error]) -> Self {
        // There may be very many: a long list can be wrong in every item.
        let mut seen = HashSet::new();
        let mut texts: Vec<String> = Vec::new();
        for error in errors {
            if seen.insert((error.path.as_str(), error.body.as_str())) {
                texts.push(error.to_string());
            }
        }
        let list =
            if let [only] = texts.as_mut_slice() { std::mem::take(only) } else { format!("[{}]", texts.join(", ")) };
        drop(texts);
        let message = format!("{} \"{name}\" is invalid: {list}", qualified(group, kind));
        let mut status = Self::failure(422, "Invalid", message).about(group, kind, name);
        for e in errors {
            status = status.with_cause(e.kind.reason(), &e.body, e.path.as_str());
        }
        status
    }

    /// 400.
    #[must_use]
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::failure(400, "BadRequest", message)
    }

    /// 401.
    #[must_use]
    pub fn unauthorized() -> Self {
        Self::failure(401, "Unauthorized", "Unauthorized")
    }

    /// 405.
    #[must_use]
    pub fn method_not_allowed() -> Self {
        Self::failure(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
            .with_details(Details::default())
    }

    /// 406.
    #[must_use]
    pub fn not_acceptable(accepted: &str) -> Self {
        Self::failure(406, "NotAcceptable", format!("only the following media types are accepted: {accepted}"))
    }

    /// 415.
    #[must_use]
    pub fn unsupported_media_type(accepted: &str) -> Self {
        Self::failure(
            415,
            "UnsupportedMediaType",
            format!("the body of the request was in an unknown format - accepted media types include: {accepted}"),
        )
    }

    /// 413: `Request entity too large: why`.
    #[must_use]
    pub fn too_large(why: &str) -> Self {
        Self::failure(413, "RequestEntityTooLarge", format!("Request entity too large: {why}"))
    }

    /// 410: the resource version is older than what is kept.
    #[must_use]
    pub fn expired(message: impl Into<String>) -> Self {
        Self::failure(410, "Expired", message)
    }

    /// 504: `Timeout: message`.
    #[must_use]
    pub fn timeout(message: impl fmt::Display, retry_after_seconds: i32) -> Self {
        Self::failure(504, "Timeout", format!("Timeout: {message}")).retry_after(retry_after_seconds)
    }

    /// 429.
    #[must_use]
    pub fn too_many_requests(message: impl Into<String>, retry_after_seconds: i32) -> Self {
        Self::failure(429, "TooManyRequests", message).retry_after(retry_after_seconds)
    }

    /// 500.
    #[must_use]
    pub fn internal(message: impl fmt::Display) -> Self {
        Self::failure(500, "InternalError", format!("Internal error occurred: {message}")).with_cause(
            "",
            &message.to_string(),
            "",
        )
    }

    /// 503.
    #[must_use]
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::failure(503, "ServiceUnavailable", message)
    }

    /// Whether this is `reason`.
    #[must_use]
    pub fn is(&self, reason: &str) -> bool {
        self.reason == reason
    }
}
