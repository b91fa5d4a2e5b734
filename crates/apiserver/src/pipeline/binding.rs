//! Binding a pod to a node: what the scheduler does.

use gantry_api::status::Status;
use gantry_api::table::TypeRef;
use gantry_api::{Value, kinds, value};
use http::StatusCode;

use super::Written;
use super::change::{Change, Made, Part};
use super::current::Current;
use super::decode::{self, Expected};
use crate::admission::Request;
use crate::app::App;
use crate::registry::pod;
use crate::request::{Caller, Payload, Target, WriteOptions};

/// A binding may say which version of the pod it is about.
fn as_wanted(target: &Target, binding: &Value, revision: u64) -> Result<(), Status> {
    let wanted = value::str_at(binding, "metadata.resourceVersion").unwrap_or_default();
    if wanted.is_empty() || wanted == revision.to_string() {
        return Ok(());
    }
    let why = format!(
        "the ResourceVersion in the precondition ({wanted}) does not match the ResourceVersion in record ({revision}). \
         The object might have been modified"
    );
    Err(Status::conflict("", "pods/binding", &target.name, &why))
}

/// Binds the pod that the target (or, for `bindings`, the object itself) names.
///
/// # Errors
/// 400 for a target that is no node, 409 when the pod is bound, gated or being deleted.
pub(crate) async fn bind(
    app: &App,
    caller: &Caller,
    target: &Target,
    payload: &Payload,
    options: &WriteOptions,
) -> Result<Written, Status> {
    let expected = Expected { group: "", version: "v1", kind: "Binding", ty: TypeRef::Name("core/v1.Binding") };
    let mut decoded = decode::object(payload, expected, options.field_validation)?;
    let pods = kinds::by_resource("", "v1", "pods").ok_or_else(Status::no_such_resource)?;
    let named = value::str_at(&decoded.object, "metadata.name").unwrap_or_default();
    if !target.name.is_empty() && named != target.name {
        return Err(Status::bad_request("name in URL does not match name in Binding object"));
    }
    decode::place(&mut decoded.object, pods, &target.namespace, &target.name)?;
    let name = value::str_at(&decoded.object, "metadata.name").unwrap_or_default().to_owned();
    let asked = Target { name: name.clone(), ..target.clone() };
    let target = Target { kind: pods.held(), namespace: target.namespace.clone(), name, subresource: "binding" };
    Request::creating(app, caller, &asked, options).admit_other(&mut decoded.object).await?;
    let binding = &decoded.object;
    let now = app.clock.now();
    let make = |state: &Current| {
        let mut object = state.value.clone();
        pod::bind(&mut object, binding, now)?;
        as_wanted(&target, binding, state.revision)?;
        Ok(Made { object, warnings: Vec::new() })
    };
    let change = Change { caller, target: &target, options, part: Part::System, version_required: false, make: &make };
    let written = change.run(app).await?;
    let mut status = Status::failure(201, "", "");
    "Success".clone_into(&mut status.status);
    Ok(Written { code: StatusCode::CREATED, ..Written { warnings: written.warnings, ..Written::status(status) } })
}
