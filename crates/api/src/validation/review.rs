//! Reviews: questions that are answered, never stored.

use super::at::{At, Out};
use super::read::{list, number, some, text};
use crate::Value;

const UNSET: Value = Value::Null;

/// Who an access review asks about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    /// A named user.
    User,
    /// A named user, in the review's namespace only.
    UserInNamespace,
    /// The asker.
    Oneself,
}

const URL: &str = "*authorization/v1.NonResourceAttributes";

/// A subject access review of one of three kinds.
pub(super) fn access(out: &mut Out, review: &Value, about: About) {
    let spec = some(review, "spec").unwrap_or(&UNSET);
    let at = At::Root("spec");
    let (resource, url) = (some(spec, "resourceAttributes"), some(spec, "nonResourceAttributes"));
    if let (Some(_), Some(url)) = (resource, url) {
        let detail = "cannot be specified in combination with resourceAttributes";
        out.invalid_of(at.child("nonResourceAttributes"), URL, url, detail);
    }
    if resource.is_none() && url.is_none() {
        let detail = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
        out.invalid(at.child("resourceAttributes"), Value::Null, detail);
    }
    if about != About::Oneself && text(spec, "user").is_empty() && list(spec, "groups").is_empty() {
        out.invalid(at.child("user"), "", "at least one of user or group must be specified");
    }
    let metadata = some(review, "metadata").unwrap_or(&UNSET);
    let local = about == About::UserInNamespace;
    // Who asked is noted by now, and is nothing that the client could leave out.
    let counts = |key: &str| key != "managedFields" && !(local && key == "namespace");
    if metadata.as_object().into_iter().flatten().any(|(key, value)| counts(key) && !value.is_null()) {
        let mut told = metadata.clone();
        crate::value::remove(&mut told, "managedFields");
        let detail = if local { "must be empty except for namespace" } else { "must be empty" };
        out.invalid_of(At::Root("metadata"), "meta/v1.ObjectMeta", &told, detail);
    }
    for key in ["fieldSelector", "labelSelector"] {
        if let Some(selector) = resource.and_then(|r| some(r, key)) {
            selection(out, &format!("spec.resourceAttributes.{key}"), selector);
        }
    }
    if about == About::UserInNamespace {
        if let Some(url) = url {
            out.invalid_of(at.child("nonResourceAttributes"), URL, url, "disallowed on this kind of request");
        }
        let asked = resource.map_or("", |r| text(r, "namespace"));
        if resource.is_some() && asked != text(metadata, "namespace") {
            out.invalid(at.child("resourceAttributes.namespace"), asked, "must match metadata.namespace");
        }
    }
}

/// A selector of a review: in one of two forms, and never in both.
fn selection(out: &mut Out, path: &str, selector: &Value) {
    let (raw, requirements) = (text(selector, "rawSelector"), list(selector, "requirements"));
    if !raw.is_empty() && !requirements.is_empty() {
        out.invalid(At::Root(path).child("rawSelector"), raw, "may not specified at the same time as requirements");
    }
    if raw.is_empty() && requirements.is_empty() {
        let detail = format!("when {path} is specified, requirements or rawSelector is required");
        out.required(At::Root(path).child("requirements"), &detail);
    }
}

/// A token request.
pub(super) fn token_request(out: &mut Out, request: &Value) {
    let seconds = some(request, "spec").and_then(|s| number(s, "expirationSeconds")).unwrap_or(0);
    let at = At::Root("spec.expirationSeconds");
    if seconds < 600 {
        out.invalid(at, seconds, "may not specify a duration less than 10 minutes");
    } else if seconds > 1 << 32 {
        out.invalid(at, seconds, "may not specify a duration larger than 2^32 seconds");
    }
}

/// A binding of a pod to a node.
pub(super) fn binding(out: &mut Out, binding: &Value) {
    let target = some(binding, "target").unwrap_or(&UNSET);
    let kind = text(target, "kind");
    if !matches!(kind, "" | "Node") {
        out.not_supported(At::Root("target.kind"), kind, &["Node", "<empty>"]);
    }
    if text(target, "name").is_empty() {
        out.required(At::Root("target.name"), "");
    }
}
