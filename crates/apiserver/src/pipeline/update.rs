//! PUT: replacing an object, its status, or a namespace's finalizers.

use gantry_api::status::Status;
use gantry_api::{Value, convert, value};

use super::change::{Change, Made, Part};
use super::decode::{self, Expected};
use super::{Written, create, current, metadata};
use crate::app::App;
use crate::registry;
use crate::request::{Caller, Payload, Target, WriteOptions};

/// Replaces the object (or the part that the subresource names) by the one in `payload`.
///
/// # Errors
/// A Status in upstream's words.
pub(crate) async fn update(
    app: &App,
    caller: &Caller,
    target: &Target,
    payload: &Payload,
    options: &WriteOptions,
) -> Result<Written, Status> {
    options.check("UpdateOptions")?;
    let mut decoded = decode::object(payload, Expected::of(&target.kind), options.field_validation)?;
    if value::str_at(&decoded.object, "metadata.name").unwrap_or_default().is_empty() {
        return Err(decode::nameless(&target.name));
    }
    decode::place(&mut decoded.object, &target.kind, &target.namespace, &target.name)?;
    convert::to_hub(&target.kind, &mut decoded.object);
    let mut written = replace(app, caller, target, &decoded.object, options).await?;
    written.warnings.splice(0..0, decoded.warnings);
    Ok(written)
}

async fn replace(
    app: &App,
    caller: &Caller,
    target: &Target,
    object: &Value,
    options: &WriteOptions,
) -> Result<Written, Status> {
    let strategy = registry::strategy(&target.kind);
    if target.subresource.is_empty() && strategy.create_on_update() && current::load(app, target).await?.is_none() {
        return create_by_put(app, caller, target, object.clone(), options).await;
    }
    let finalize = target.subresource == "finalize";
    let make = |state: &super::current::Current| {
        let mut new = object.clone();
        if finalize {
            new = finalized(&state.value, object);
        } else if value::get(&new, "metadata.managedFields").is_none()
            && let Some(managed) = value::get(&state.value, "metadata.managedFields")
        {
            // Clients that do not know managedFields must not wipe them out.
            value::set(&mut new, "metadata.managedFields", managed.clone());
        }
        let warnings = metadata::dedup_owners(&mut new, false).into_iter().collect();
        Ok(Made { object: new, warnings })
    };
    let part = Part::of(target.subresource);
    let version_required = part == Part::Main && !strategy.unconditional_update();
    Change { caller, target, options, part, version_required, make: &make }.run(app).await
}

/// A namespace whose `spec.finalizers` are those of the request.
fn finalized(old: &Value, given: &Value) -> Value {
    let mut new = old.clone();
    match value::get(given, "spec.finalizers") {
        Some(finalizers) => value::set(&mut new, "spec.finalizers", finalizers.clone()),
        None => drop(value::remove(&mut new, "spec.finalizers")),
    }
    for field in ["resourceVersion", "uid"] {
        if let Some(given) = value::get(given, &format!("metadata.{field}")) {
            value::set(&mut new, &format!("metadata.{field}"), given.clone());
        }
    }
    new
}

async fn create_by_put(
    app: &App,
    caller: &Caller,
    target: &Target,
    mut object: Value,
    options: &WriteOptions,
) -> Result<Written, Status> {
    let given = value::remove(&mut object, "metadata.resourceVersion");
    let given = given.as_ref().and_then(Value::as_str).unwrap_or_default();
    if !given.is_empty() && given != "0" {
        // The client saw an object that is gone by now.
        return Err(target.not_found());
    }
    // Creating by PUT needs the permission to create.
    let request = crate::rbac::authorizer::on(&target.kind, "create", &target.namespace, &target.name, "");
    app.authorizer.require(app, &caller.user, &request).await?;
    create::create_object(app, caller, target, object, options).await
}
