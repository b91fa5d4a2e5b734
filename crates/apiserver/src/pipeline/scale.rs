//! The `scale` subresource: `autoscaling/v1` Scale of anything with `spec.replicas`.

use gantry_api::custom::Scale;
use gantry_api::kinds::KindInfo;
use gantry_api::status::Status;
use gantry_api::table::TypeRef;
use gantry_api::{Value, managed, value};
use http::StatusCode;

use super::apply::Configuration;
use super::change::{Change, Made, Part, managed_write};
use super::current::Current;
use super::decode::{self, Expected};
use super::patch::Patch;
use super::{Outcome, Written, read};
use crate::app::App;
use crate::custom::strategy;
use crate::registry::workload;
use crate::request::{Caller, Payload, Target, WriteOptions};

const EXPECTED: Expected<'static> =
    Expected { group: "autoscaling", version: "v1", kind: "Scale", ty: TypeRef::Name("autoscaling/v1.Scale") };

/// Where a custom kind has what its Scales say.
fn paths(kind: &KindInfo) -> Option<&Scale> {
    kind.custom.as_ref().and_then(|custom| custom.scale.as_ref())
}

/// Where the objects of a kind have their replicas.
fn replicas(kind: &KindInfo) -> &str {
    paths(kind).map_or("spec.replicas", |paths| &paths.replicas)
}

/// The Scale of an object.
fn scale_of(kind: &KindInfo, object: &Value, revision: u64) -> Value {
    let mut scale = match paths(kind) {
        Some(paths) => strategy::scale(paths, object),
        None => workload::scale(object),
    };
    value::set(&mut scale, "metadata.resourceVersion", revision.to_string());
    scale
}

/// The Scale that a write starts from.
fn before(kind: &KindInfo, state: &Current) -> Value {
    let mut scale = scale_of(kind, &state.value, state.revision);
    if has_none(kind, &state.value) {
        value::set(&mut scale, "spec.replicas", strategy::NO_REPLICAS);
    }
    scale
}

/// Whether a custom object does not say how many replicas it wants.
fn has_none(kind: &KindInfo, object: &Value) -> bool {
    paths(kind).is_some_and(|paths| value::i64_at(object, &paths.replicas).is_none())
}

/// Reads the Scale.
///
/// # Errors
/// 404, and what reads say.
pub(crate) async fn get(app: &App, target: &Target, resource_version: &str) -> Result<Vec<u8>, Status> {
    let object = read::get(app, target, resource_version).await?;
    let current = Current::from_object(&object)?.seen_as(app, &target.kind).await?;
    if has_none(&target.kind, &current.value) {
        let why = format!("the spec replicas field \".{}\" does not exist", replicas(&target.kind));
        return Err(Status::internal(why));
    }
    Ok(scale_of(&target.kind, &current.value, current.revision).to_string().into_bytes())
}

/// How the new Scale is made of the old one.
pub(crate) enum Write<'a> {
    Replace(&'a Payload),
    Patch(&'a Patch),
    Apply(&'a Configuration),
}

/// Changes the number of replicas.
///
/// # Errors
/// A Status in upstream's words.
pub(crate) async fn write(
    app: &App,
    caller: &Caller,
    target: &Target,
    write: Write<'_>,
    options: &WriteOptions,
) -> Result<Written, Status> {
    options.check("UpdateOptions")?;
    let mut warnings = Vec::new();
    let replacement = match &write {
        Write::Replace(payload) => {
            let mut decoded = decode::object(payload, EXPECTED, options.field_validation)?;
            decode::place(&mut decoded.object, &target.kind, &target.namespace, &target.name)?;
            warnings = decoded.warnings;
            Some(decoded.object)
        }
        Write::Patch(_) => None,
        Write::Apply(config) => {
            warnings = config.judge(options.field_validation)?;
            None
        }
    };
    let make = |state: &Current| {
        let scale = match (&write, &replacement) {
            (Write::Apply(config), _) => return applied(app, caller, target, config, state, options),
            (Write::Patch(patch), _) => return patched(target, patch, state, options),
            (_, Some(scale)) => scale.clone(),
            (Write::Replace(_), None) => return Err(Status::internal("a replacement was not decoded")),
        };
        scaled(target, state, &scale).map(|object| Made { object, warnings: Vec::new() })
    };
    let written =
        Change { caller, target, options, part: Part::Main, version_required: false, make: &make }.run(app).await?;
    let Outcome::Object { encoded, revision } = &written.outcome else { return Ok(written) };
    let object: Value = serde_json::from_slice(encoded.json()).map_err(Status::internal)?;
    let bytes = scale_of(&target.kind, &object, *revision).to_string().into_bytes();
    warnings.extend(written.warnings);
    Ok(Written { warnings, ..Written::plain(bytes, StatusCode::OK) })
}

/// The object as a patch of its Scale makes it.
fn patched(target: &Target, patch: &Patch, state: &Current, options: &WriteOptions) -> Result<Made, Status> {
    let seen = before(&target.kind, state);
    let mut scale = patch.apply(&seen, EXPECTED.ty.name())?;
    let warnings = patch.conform(&mut scale, &seen, EXPECTED.ty, options.field_validation)?;
    decode::place(&mut scale, &target.kind, &target.namespace, &target.name)?;
    let object = scaled(target, state, &scale)?;
    Ok(Made { object, warnings })
}

/// The object as an apply of its Scale makes it: who owns the Scale's replicas owns those of the object.
fn applied(
    app: &App,
    caller: &Caller,
    target: &Target,
    config: &Configuration,
    state: &Current,
    options: &WriteOptions,
) -> Result<Made, Status> {
    let mut seen = before(&target.kind, state);
    managed::to_scale(&state.value, replicas(&target.kind), &mut seen);
    let api_version = EXPECTED.api_version();
    let write = managed::Write {
        api_version: &api_version,
        ty: EXPECTED.ty,
        reset: &[],
        ..managed_write(app, caller, target, options)
    };
    let scale = managed::apply(Some(&seen), &config.body, &write, config.force)?;
    let mut placed = scale.clone();
    decode::place(&mut placed, &target.kind, &target.namespace, &target.name)?;
    let mut object = scaled(target, state, &placed)?;
    managed::to_workload(&scale, &mut object, &target.kind.api_version, replicas(&target.kind));
    Ok(Made { object, warnings: Vec::new() })
}

/// The object with the replicas of the Scale.
fn scaled(target: &Target, state: &Current, scale: &Value) -> Result<Value, Status> {
    let mut object = state.value.clone();
    match paths(&target.kind) {
        Some(paths) => strategy::rescale(paths, &mut object, scale)?,
        None => workload::rescale(&mut object, scale)
            .map_err(|errors| Status::invalid("autoscaling", "Scale", &target.name, &errors))?,
    }
    for field in ["resourceVersion", "uid"] {
        if let Some(given) = value::get(scale, &format!("metadata.{field}")) {
            value::set(&mut object, &format!("metadata.{field}"), given.clone());
        }
    }
    Ok(object)
}
