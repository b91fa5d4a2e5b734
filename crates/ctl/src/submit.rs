//! Sends a new object and says what became of it.

use anyhow::{Result, anyhow};
use gantry_client::{Error, WriteParams};

use crate::{
    commands::{DryRun, How},
    explain_error,
    manifests::Manifest,
    output,
    session::Session,
};

/// Creates the object of `manifest` and prints the result as `how` asks.
///
/// # Errors
/// The server's refusal, with the source and with suggestions for misspelt fields.
pub(crate) async fn create(session: &Session, manifest: &Manifest, how: &How, manager: &str) -> Result<()> {
    create_saying("created", session, manifest, how, manager).await
}

/// As [`create`], with another word for what happened: kubectl's own for some verbs.
///
/// # Errors
/// As [`create`].
pub(crate) async fn create_saying(
    verb: &str,
    session: &Session,
    manifest: &Manifest,
    how: &How,
    manager: &str,
) -> Result<()> {
    let (resource, api) = manifest.locate(session)?;
    let object = if how.dry_run == DryRun::Client {
        manifest.object.clone()
    } else {
        let params = params(how.dry_run, manager);
        let reply =
            api.create("", "", &manifest.object, &params).await.map_err(|e| refused(e, manifest, "creating"))?;
        warn(&reply.warnings);
        reply.object
    };
    match how.output {
        Some(format) => output::data(&output::render(&object, format, Some(resource))?),
        None => output::line(&format!("{} {verb}{}", output::name_of(&object, Some(resource)), how.dry_run.suffix())),
    }
}

/// Options of a write by `manager`.
#[must_use]
pub(crate) fn params(dry_run: DryRun, manager: &str) -> WriteParams {
    WriteParams {
        dry_run: dry_run == DryRun::Server,
        field_manager: manager.to_owned(),
        field_validation: "Strict".to_owned(),
    }
}

/// Prints the server's warnings as kubectl does.
pub(crate) fn warn(warnings: &[String]) {
    for warning in warnings {
        output::note(&format!("Warning: {warning}"));
    }
}

/// The server's refusal of an object from a file.
#[must_use]
pub(crate) fn refused(error: Error, manifest: &Manifest, doing: &str) -> anyhow::Error {
    let message = match error.status() {
        Some(status) => explain_error::with_suggestions(&status.message, &manifest.object),
        None => gantry_common::error_chain(&error),
    };
    if manifest.source == "flags" {
        anyhow!(message)
    } else {
        anyhow!("error when {doing} {:?}: {message}", manifest.source)
    }
}
