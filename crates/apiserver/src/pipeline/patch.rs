//! PATCH: JSON patch, merge patch, strategic merge patch.

use bytes::Bytes;
use gantry_api::status::Status;
use gantry_api::{Value, convert, decode as api_decode, field, patch, value};

use super::change::{Change, Made, Part};
use super::current::Current;
use super::{Written, decode};
use crate::app::App;
use crate::request::{Caller, Target, WriteOptions};

/// The kind of a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PatchType {
    Json,
    Merge,
    Strategic,
}

/// Media types, for the 415 of an unknown one.
const ACCEPTED: &str =
    "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json";

impl PatchType {
    /// Reads a `Content-Type`.
    ///
    /// # Errors
    /// 415; server-side apply says so by name.
    pub(crate) fn parse(content_type: &str) -> Result<Self, Status> {
        match content_type.split(';').next().unwrap_or_default().trim() {
            "application/json-patch+json" => Ok(Self::Json),
            "application/merge-patch+json" => Ok(Self::Merge),
            "application/strategic-merge-patch+json" => Ok(Self::Strategic),
            "application/apply-patch+yaml" | "application/apply-patch+cbor" => Err(Self::apply_refused()),
            _ => Err(Status::unsupported_media_type(ACCEPTED)),
        }
    }

    /// 415 for server-side apply, which this release does not serve.
    pub(crate) fn apply_refused() -> Status {
        let mut status = Status::unsupported_media_type(ACCEPTED);
        status.message = format!(
            "server-side apply is not served by this release: apply on the client's side; accepted media types: {ACCEPTED}"
        );
        status
    }
}

/// A patch that was read.
pub(crate) struct Patch {
    pub(crate) kind: PatchType,
    pub(crate) body: Value,
}

impl Patch {
    /// Reads the body.
    ///
    /// # Errors
    /// 400 when it is not JSON (or YAML, which upstream takes too).
    pub(crate) fn parse(kind: PatchType, bytes: &Bytes) -> Result<Self, Status> {
        let (body, _) = api_decode::json(bytes, false)?;
        Ok(Self { kind, body })
    }

    /// The patched value.
    pub(crate) fn apply(&self, old: &Value, type_name: &str) -> Result<Value, Status> {
        match self.kind {
            PatchType::Json => patch::json(old, &self.body),
            PatchType::Merge => patch::merge(old, &self.body),
            PatchType::Strategic => patch::strategic(old, &self.body, type_name),
        }
    }
}

/// Applies a patch to the object or its status.
///
/// # Errors
/// A Status in upstream's words.
pub(crate) async fn patch(
    app: &App,
    caller: &Caller,
    target: &Target,
    patch: &Patch,
    options: &WriteOptions,
) -> Result<Written, Status> {
    options.check("PatchOptions")?;
    let make = |state: &Current| made(target, patch, state, options);
    let part = if matches!(target.subresource, "status" | "approval") { Part::Status } else { Part::Main };
    Change { caller, target, options, part, version_required: false, make: &make }.run(app).await
}

fn made(target: &Target, patch: &Patch, state: &Current, options: &WriteOptions) -> Result<Made, Status> {
    let mut old = state.value.clone();
    convert::from_hub(target.kind, &mut old);
    // Patches may test or replace the version.
    value::set(&mut old, "metadata.resourceVersion", state.revision.to_string());
    let mut object = patch.apply(&old, &target.kind.type_name)?;
    check_same_object(target, &mut object)?;
    let unusable = |why: &str| {
        let shown = patch.body.to_string();
        Status::invalid("", "", "", &[field::Error::invalid(&field::Path::new("patch"), shown, why)])
    };
    let problems =
        api_decode::conform(&mut object, &target.kind.type_name).map_err(|status| unusable(&status.message))?;
    let warnings = decode::judge(problems, options.field_validation).map_err(|why| unusable(&why))?;
    convert::to_hub(target.kind, &mut object);
    Ok(Made { object, warnings })
}

/// A patch may not turn the object into another.
fn check_same_object(target: &Target, object: &mut Value) -> Result<(), Status> {
    let kind = target.kind;
    let at = |path: &str| value::str_at(object, path).unwrap_or_default();
    let refuse = |path: &str, found: &str| {
        let error = field::Error::invalid(&field::Path::new(path), found, "field is immutable");
        Err(Status::invalid(kind.group, kind.kind, &target.name, &[error]))
    };
    if at("kind") != kind.kind {
        return refuse("kind", at("kind"));
    }
    if at("apiVersion") != kind.api_version {
        return refuse("apiVersion", at("apiVersion"));
    }
    decode::place(object, kind, &target.namespace, &target.name)
}
