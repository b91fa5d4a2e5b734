//! Server-side apply: the object as the configuration, the present object and its owners make it; created where there is none.

use bytes::Bytes;
use gantry_api::status::Status;
use gantry_api::{Value, decode as api_decode, field, managed, value};

use super::change::{Change, Made, Part, managed_write};
use super::current::Current;
use super::{Written, create, current, decode, patch};
use crate::app::App;
use crate::rbac::authorizer;
use crate::request::{Caller, FieldValidation, Target, WriteOptions};

/// Tries against others that create and delete the same object.
const TRIES: usize = 4;

/// An applied configuration.
pub(crate) struct Configuration {
    pub(crate) body: Value,
    /// Whether fields of others are taken over.
    pub(crate) force: bool,
    /// Keys that stand twice.
    duplicates: Vec<String>,
}

impl Configuration {
    /// Reads the body, YAML or JSON.
    ///
    /// # Errors
    /// 400 when it is neither.
    pub(crate) fn parse(bytes: &Bytes, force: bool) -> Result<Self, Status> {
        let (mut body, duplicates) = api_decode::applied(bytes)?;
        decode::settle_api_version(&mut body);
        Ok(Self { body, force, duplicates })
    }

    /// What to say about duplicate keys.
    ///
    /// # Errors
    /// 400 where fields are validated strictly.
    pub(crate) fn judge(&self, validation: FieldValidation) -> Result<Vec<String>, Status> {
        match validation {
            FieldValidation::Ignore => Ok(Vec::new()),
            FieldValidation::Strict if !self.duplicates.is_empty() => Err(Status::bad_request(format!(
                "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  {}",
                self.duplicates.join("\n  ")
            ))),
            FieldValidation::Strict | FieldValidation::Warn => Ok(self.duplicates.clone()),
        }
    }
}

/// The options of an apply.
///
/// # Errors
/// 422 without a manager: upstream never derives an applier from the user agent.
pub(crate) fn options(options: &WriteOptions) -> Result<WriteOptions, Status> {
    if options.field_manager.is_empty() {
        let error = field::Error::required(&field::Path::new("fieldManager"), "is required for apply patch");
        return Err(Status::invalid("meta.k8s.io", "PatchOptions", "", &[error]));
    }
    options.check("PatchOptions")?;
    Ok(WriteOptions { applies: true, ..options.clone() })
}

/// Applies a configuration to the object or its status.
///
/// # Errors
/// A Status in upstream's words.
pub(crate) async fn apply(
    app: &App,
    caller: &Caller,
    target: &Target,
    config: &Configuration,
    given: &WriteOptions,
) -> Result<Written, Status> {
    let options = options(given)?;
    let request = Request { app, caller, target, config, options: &options };
    let mut is_there = current::load(app, target).await?.is_some();
    for _ in 0..TRIES {
        match if is_there { request.change().await } else { request.create().await } {
            // Somebody else created or deleted it in between; the store says so, the cache may not know yet.
            Err(status) if is_there && status == target.not_found() => is_there = false,
            Err(status) if !is_there && status.is("AlreadyExists") => is_there = true,
            done => return done,
        }
    }
    Err(target.stale())
}

struct Request<'a> {
    app: &'a App,
    caller: &'a Caller,
    target: &'a Target,
    config: &'a Configuration,
    options: &'a WriteOptions,
}

impl Request<'_> {
    async fn change(&self) -> Result<Written, Status> {
        let Self { app, caller, target, options, .. } = *self;
        let make = |state: &Current| self.made(state);
        let part = Part::of(target.subresource);
        Change { caller, target, options, part, version_required: false, make: &make }.run(app).await
    }

    /// Merged, in the form in which the object is stored.
    fn merged(&self, live: Option<&Value>) -> Result<Value, Status> {
        let write = managed_write(self.app, self.caller, self.target, self.options);
        managed::apply(live, &self.config.body, &write, self.config.force)
    }

    fn made(&self, state: &Current) -> Result<Made, Status> {
        let mut object = self.merged(Some(&state.value))?;
        let warnings = self.config.judge(self.options.field_validation)?;
        patch::check_same_object(self.target, self.target.kind.hub(), &mut object, &state.value)?;
        api_decode::conform(&mut object, self.target.kind.hub())?;
        Ok(Made { object, warnings })
    }

    async fn create(&self) -> Result<Written, Status> {
        let Self { app, caller, target, options, .. } = *self;
        if !target.subresource.is_empty() {
            return Err(target.not_found());
        }
        let mut object = self.merged(None)?;
        let warnings = self.config.judge(options.field_validation)?;
        self.check_new(&mut object)?;
        // Creating by PATCH needs the permission to create.
        let request = authorizer::on(&target.kind, "create", &target.namespace, &target.name, "");
        app.authorizer.require(app, &caller.user, &request).await?;
        let mut written = create::create_object(app, caller, target, object, options).await?;
        written.warnings.splice(0..0, warnings);
        Ok(written)
    }

    fn check_new(&self, object: &mut Value) -> Result<(), Status> {
        let Self { target, .. } = *self;
        let kind = &target.kind;
        let text = |path| value::str_at(object, path).unwrap_or_default();
        if !text("metadata.uid").is_empty() {
            let why = format!(
                "uid mismatch: the provided object specified uid {}, and no existing object was found",
                text("metadata.uid")
            );
            return Err(Status::conflict(kind.group, kind.resource, &target.name, &why));
        }
        if text("metadata.name").is_empty() {
            return Err(decode::nameless(&target.name));
        }
        decode::place(object, kind.hub(), &target.namespace, &target.name)?;
        // Upstream does not compare a version with that of an object which is not there.
        value::remove(object, "metadata.resourceVersion");
        api_decode::conform(object, kind.hub()).map(drop)
    }
}
