//! Between gRPC messages and what the pipeline takes and gives.

use std::sync::Arc;

use bytes::Bytes;
use gantry_api::kinds::KindInfo;
use gantry_api::status::Status;
use gantry_proto::v1;
use tonic::Code;

use super::failure;
use crate::app::App;
use crate::auth::credential::Credential;
use crate::calls;
use crate::pipeline::options::DeleteOptions;
use crate::pipeline::patch::PatchType;
use crate::pipeline::{Outcome, Written, current};
use crate::request::{Caller, FieldValidation, Target, WriteOptions};
use crate::server::connection::Origin;
use crate::sessions::{self, right::Right};
use crate::view::{Include, MetaVersion, Shape, View};

/// The gRPC code of a Status; the Status itself travels in the details.
pub(crate) fn failed(status: Status) -> tonic::Status {
    let code = match (status.code, status.reason.as_str()) {
        (_, "AlreadyExists") => Code::AlreadyExists,
        (_, "Expired" | "Gone") => Code::OutOfRange,
        (400 | 405 | 406 | 415 | 422, _) => Code::InvalidArgument,
        (401, _) => Code::Unauthenticated,
        (403, _) => Code::PermissionDenied,
        (404, _) => Code::NotFound,
        (409, _) => Code::Aborted,
        (413 | 429, _) => Code::ResourceExhausted,
        _ if current::is_too_large(&status) => Code::ResourceExhausted,
        (503, _) => Code::Unavailable,
        _ if sessions::is_unreachable(&status) => Code::Unavailable,
        (408 | 504, _) => Code::DeadlineExceeded,
        _ => Code::Internal,
    };
    failure::failed(code, status)
}

/// Who calls, as was found out before the message was read.
pub(crate) fn caller<T>(request: &tonic::Request<T>) -> Result<Caller, tonic::Status> {
    request.extensions().get::<Caller>().cloned().ok_or_else(|| failed(Status::unauthorized()))
}

/// What the caller showed, for a stream that may outlast it.
///
/// # Errors
/// 401 where it is no longer good.
pub(crate) async fn right<T>(app: &Arc<App>, request: &tonic::Request<T>) -> Result<Right, tonic::Status> {
    let credential = Credential::of(request.extensions().get::<Arc<Origin>>(), request.metadata().as_ref());
    Right::new(app, credential, Vec::new()).await.map_err(failed)
}

/// The target that a request names.
pub(crate) fn target(
    app: &App,
    resource: Option<&v1::Resource>,
    namespace: &str,
    name: &str,
    subresource: &str,
) -> Result<Target, Status> {
    let resource = resource.ok_or_else(|| Status::bad_request("the request names no resource"))?;
    calls::target(
        &app.kinds.kinds(),
        (&resource.group, &resource.version, &resource.resource),
        namespace,
        name,
        subresource,
    )
}

/// As [`target`], where a name is needed.
pub(crate) fn named(
    app: &App,
    resource: Option<&v1::Resource>,
    namespace: &str,
    name: &str,
    subresource: &str,
) -> Result<Target, Status> {
    if name.is_empty() {
        return Err(Status::bad_request("the request names no object"));
    }
    target(app, resource, namespace, name, subresource)
}

/// How objects are shown.
pub(crate) fn shape(app: &App, view: i32) -> Shape {
    let (view, include) = match v1::View::try_from(view).unwrap_or_default() {
        v1::View::Full => (View::Full, Include::None),
        v1::View::Metadata => (View::Metadata(MetaVersion::V1), Include::None),
        v1::View::Table => (View::Table(MetaVersion::V1), Include::Metadata),
        v1::View::TableWithObject => (View::Table(MetaVersion::V1), Include::Object),
    };
    Shape { view, include, now: app.clock.now() }
}

/// Options of a write; fields are checked strictly unless the client says otherwise.
pub(crate) fn write_options(options: Option<&v1::WriteOptions>) -> Result<WriteOptions, Status> {
    let Some(options) = options else {
        return Ok(WriteOptions { field_validation: FieldValidation::Strict, ..WriteOptions::default() });
    };
    let validation = FieldValidation::parse(&options.field_validation, FieldValidation::Strict);
    let refused = |error| Status::invalid("meta.k8s.io", "CreateOptions", "", &[error]);
    Ok(WriteOptions {
        dry_run: options.dry_run,
        field_manager: options.field_manager.clone(),
        field_validation: validation.map_err(refused)?,
        applies: false,
        patches: false,
    })
}

/// Options of a deletion.
pub(crate) fn delete_options(bytes: &Bytes, options: Option<&v1::WriteOptions>) -> Result<DeleteOptions, Status> {
    let mut found = if bytes.is_empty() {
        DeleteOptions::default()
    } else {
        let value = gantry_api::decode::json(bytes, false)?.0;
        DeleteOptions::from_value(&value)?
    };
    found.dry_run |= options.is_some_and(|o| o.dry_run);
    Ok(found)
}

/// The kind of a patch.
pub(crate) fn patch_type(kind: i32, force: bool) -> Result<PatchType, Status> {
    let kind = match v1::PatchType::try_from(kind).unwrap_or_default() {
        v1::PatchType::Json => PatchType::Json,
        v1::PatchType::Merge => PatchType::Merge,
        v1::PatchType::StrategicMerge => PatchType::Strategic,
        v1::PatchType::Apply => PatchType::Apply { force },
        v1::PatchType::Unspecified => return Err(Status::bad_request("the patch has no type")),
    };
    let (kind, errors) = kind.checked(force.then_some(true), "of the write's own options");
    if errors.is_empty() { Ok(kind) } else { Err(Status::invalid("meta.k8s.io", "PatchOptions", "", &errors)) }
}

/// The answer to a write.
pub(crate) fn reply(app: &App, kind: &KindInfo, written: Written) -> v1::ObjectReply {
    let object = match written.outcome {
        Outcome::Object { encoded, revision } => shape(app, v1::View::Full.into()).one(kind, &encoded, revision),
        Outcome::Plain(bytes) => bytes,
        Outcome::Status(status) => Bytes::from(serde_json::to_vec(&status).expect("a Status is plain data")),
    };
    v1::ObjectReply { object, warnings: written.warnings, created: written.code == http::StatusCode::CREATED }
}
