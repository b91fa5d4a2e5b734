//! PATCH: JSON patch, merge patch, strategic merge patch. What server-side apply does stands in `apply`.

use bytes::Bytes;
use gantry_api::kinds::KindInfo;
use gantry_api::status::Status;
use gantry_api::table::TypeRef;
use gantry_api::{Object, Value, convert, decode as api_decode, field, go, managed, patch, value};

use super::apply::Configuration;
use super::change::{Change, Made, Part};
use super::current::Current;
use super::decode::{self, Expected};
use super::{Written, patch_errors};
use crate::app::App;
use crate::request::{Caller, FieldValidation, Target, WriteOptions};

/// The kind of a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PatchType {
    Json,
    Merge,
    Strategic,
    /// Server-side apply; `force` takes over fields of others.
    Apply {
        force: bool,
    },
}

/// Media types that are accepted, as the 415 of another one lists them.
pub(crate) const ACCEPTED: &str = "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, application/apply-patch+yaml";

/// The same for custom kinds, which say nothing of strategies.
const ACCEPTED_BY_CUSTOM: &str =
    "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";

impl PatchType {
    /// The media types that a kind takes.
    pub(crate) fn accepted(kind: &KindInfo) -> &'static str {
        if kind.custom.is_some() { ACCEPTED_BY_CUSTOM } else { ACCEPTED }
    }

    /// Reads a `Content-Type`.
    ///
    /// # Errors
    /// 415.
    pub(crate) fn parse(content_type: &str) -> Result<Self, Status> {
        match content_type.split(';').next().unwrap_or_default().trim() {
            "application/json-patch+json" => Ok(Self::Json),
            "application/merge-patch+json" => Ok(Self::Merge),
            "application/strategic-merge-patch+json" => Ok(Self::Strategic),
            "application/apply-patch+yaml" => Ok(Self::Apply { force: false }),
            _ => Err(Status::unsupported_media_type(ACCEPTED)),
        }
    }

    /// With the parameter `force`, and what is wrong with that, or with having no manager.
    pub(crate) fn checked(self, force: Option<bool>, manager: &str) -> (Self, Vec<field::Error>) {
        match (self, force) {
            (Self::Apply { .. }, force) => {
                let unnamed =
                    || field::Error::required(&field::Path::new("fieldManager"), "is required for apply patch");
                let errors = manager.is_empty().then(unnamed);
                (Self::Apply { force: force.unwrap_or(false) }, errors.into_iter().collect())
            }
            (_, None) => (self, Vec::new()),
            (_, Some(_)) => {
                let why = "may not be specified for non-apply patch";
                (self, vec![field::Error::forbidden(&field::Path::new("force"), why)])
            }
        }
    }
}

/// A patch that was read.
pub(crate) struct Patch {
    kind: Rewrite,
    body: Value,
    /// As it came.
    raw: Bytes,
    /// Keys that stand twice, and what operations have that they do not know.
    problems: Vec<String>,
}

/// How a patch rewrites an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rewrite {
    Json,
    Merge,
    Strategic,
}

/// What a PATCH asks for.
pub(crate) enum Asked {
    Patch(Patch),
    Apply(Configuration),
}

impl Asked {
    /// Reads the body.
    ///
    /// # Errors
    /// 400 when it is not JSON, or for an apply not YAML.
    pub(crate) fn parse(kind: PatchType, bytes: &Bytes) -> Result<Self, Status> {
        let kind = match kind {
            PatchType::Apply { force } => return Configuration::parse(bytes, force).map(Self::Apply),
            PatchType::Json => Rewrite::Json,
            PatchType::Merge => Rewrite::Merge,
            PatchType::Strategic => Rewrite::Strategic,
        };
        let (body, mut problems) = api_decode::json(bytes, true).map_err(|status| {
            let why = status.message.trim_start_matches("couldn't get version/kind; json parse error: ");
            undecodable(kind, if why.starts_with("EOF while parsing") { "unexpected end of JSON input" } else { why })
        })?;
        let body = match (body, kind) {
            // Go reads null as a list or map without anything in it, but its merge patches do not take that.
            (Value::Null, Rewrite::Json) => Value::Array(Vec::new()),
            (Value::Null, Rewrite::Strategic) => Value::Object(Object::new()),
            (Value::Null, Rewrite::Merge) => return Err(Status::bad_request("Invalid JSON Patch")),
            (body, _) => body,
        };
        let fits = |item: &Value| if kind == Rewrite::Json { item.is_array() } else { item.is_object() };
        if !fits(&body) {
            let go = if kind == Rewrite::Json { "[]handlers.jsonPatchOp" } else { "map[string]interface {}" };
            let found = value::go_json_type(&body);
            return Err(undecodable(kind, &format!("json: cannot unmarshal {found} into Go value of type {go}")));
        }
        if kind == Rewrite::Json {
            problems.extend(patch_errors::unknown_parts(&body));
            problems = problems.into_iter().map(|problem| format!("json patch {problem}")).collect();
        }
        Ok(Self::Patch(Patch { kind, body, raw: bytes.clone(), problems }))
    }
}

/// What upstream says of a patch that cannot be read; of a strategic one it does not say that it is a patch.
fn undecodable(kind: Rewrite, why: &str) -> Status {
    let head = if kind == Rewrite::Strategic { "" } else { "error decoding patch: " };
    Status::bad_request(format!("{head}{why}"))
}

impl Patch {
    /// The patched value.
    pub(crate) fn apply(&self, old: &Value, type_name: &str) -> Result<Value, Status> {
        match self.kind {
            Rewrite::Json => patch::json(old, &self.body).map_err(|mut status| {
                // Upstream keeps to itself what cannot be applied.
                status.details.get_or_insert_default().causes.clear();
                status
            }),
            Rewrite::Merge => patch::merge(old, &self.body),
            Rewrite::Strategic => patch::strategic(old, &self.body, type_name),
        }
    }

    /// Brings `patched`, which this patch made of `old`, into the form of its type; returns warnings.
    ///
    /// # Errors
    /// 422 for what is not of the type and, where fields are validated strictly, for unknown and duplicate fields.
    pub(super) fn conform<'a>(
        &self,
        patched: &mut Value,
        old: &Value,
        ty: impl Into<TypeRef<'a>>,
        validation: FieldValidation,
    ) -> Result<Vec<String>, Status> {
        let ty = ty.into();
        let name = ty.name();
        // The patched object is made again for the message: most patches are fine.
        let whole = || self.apply(old, name).map_or_else(|_| self.text(), |object| object.to_string());
        let unusable = |shown: String, why: &str| {
            Status::invalid("", "", "", &[field::Error::invalid(&field::Path::new("patch"), shown, why)])
        };
        let unknown = api_decode::conform(patched, ty).map_err(|status| {
            let why = status.message.split_once(" cannot be handled as a ").and_then(|(_, rest)| rest.split_once(": "));
            let why = why.map_or(&*status.message, |(_, why)| why);
            match self.kind {
                Rewrite::Strategic => unusable(go::shown(&self.body), &patch_errors::unstructured(why)),
                Rewrite::Json | Rewrite::Merge => unusable(whole(), why),
            }
        })?;
        let known = unknown.is_empty();
        let problems = self.problems.iter().cloned().chain(unknown).collect();
        decode::judge(problems, validation).map_err(|why| {
            let shown = match self.kind {
                Rewrite::Strategic => go::shown(&self.body),
                Rewrite::Json | Rewrite::Merge if known => self.text(),
                Rewrite::Json | Rewrite::Merge => whole(),
            };
            unusable(shown, &why)
        })
    }

    /// What the patched object says it is must be what it was. A strategic patch is made of fields, none of which is that.
    fn check_type(&self, target: &Target, patched: &mut Value) -> Result<(), Status> {
        let kind = &target.kind;
        decode::settle_api_version(patched);
        let said = |path: &str| value::str_at(patched, path).unwrap_or_default();
        for (path, wanted) in [("kind", kind.kind), ("apiVersion", kind.api_version.as_str())] {
            let found = said(path);
            if found == wanted {
                continue;
            }
            if kind.custom.is_some() {
                let error = field::Error::invalid(&field::Path::new(path), found, &format!("must be {wanted}"));
                return Err(Status::invalid(kind.group, kind.kind, &target.name, &[error]));
            }
            if self.kind != Rewrite::Strategic && !found.is_empty() {
                let why = decode::not_of(Expected::of(kind), said("kind"), said("apiVersion"));
                let error = field::Error::invalid(&field::Path::new("patch"), patched.to_string(), &why);
                return Err(Status::invalid("", "", "", &[error]));
            }
        }
        value::set(patched, "kind", kind.kind);
        value::set(patched, "apiVersion", kind.api_version.as_str());
        Ok(())
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.raw).into_owned()
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
    let part = Part::of(target.subresource);
    Change { caller, target, options, part, version_required: false, make: &make }.run(app).await
}

fn made(target: &Target, patch: &Patch, state: &Current, options: &WriteOptions) -> Result<Made, Status> {
    let mut old = state.value.clone();
    convert::from_hub(&target.kind, &mut old);
    // Patches may test or replace the version.
    value::set(&mut old, "metadata.resourceVersion", state.revision.to_string());
    let mut object = patch.apply(&old, &target.kind.type_name)?;
    if target.kind.custom.is_some() && value::str_at(&object, "kind").is_none_or(str::is_empty) {
        let shown = object.to_string();
        let why = decode::kind_missing(&shown);
        return Err(Status::invalid("", "", "", &[field::Error::invalid(&field::Path::new("patch"), shown, &why)]));
    }
    patch.check_type(target, &mut object)?;
    check_same_object(target, &target.kind, &mut object, &state.value)?;
    managed::keep_reset(&mut object);
    let warnings = patch.conform(&mut object, &old, &target.kind, options.field_validation)?;
    convert::to_hub(&target.kind, &mut object);
    Ok(Made { object, warnings })
}

/// A patch may not turn the object, which is in the form of `form`, into another.
pub(super) fn check_same_object(
    target: &Target,
    form: &KindInfo,
    object: &mut Value,
    old: &Value,
) -> Result<(), Status> {
    let kind = &target.kind;
    let at = |path: &str| value::str_at(object, path).unwrap_or_default();
    let refuse = |path: &str, found: &str| {
        let error = field::Error::invalid(&field::Path::new(path), found, "field is immutable");
        Err(Status::invalid(kind.group, kind.kind, &target.name, &[error]))
    };
    if at("metadata.name").is_empty() {
        return Err(decode::nameless(&target.name));
    }
    let uid = at("metadata.uid");
    if !uid.is_empty() && Some(uid) != value::str_at(old, "metadata.uid") {
        return refuse("metadata.uid", uid);
    }
    decode::place(object, form, &target.namespace, &target.name)
}
