//! `gantryctl apply`: makes objects as files declare them, by a three-way strategic merge as kubectl's client side does.
//!
//! The configuration applied last is kept in the annotation that kubectl uses too, so both can be used on one object.

use std::path::PathBuf;

use anyhow::{Context, Result};
use gantry_api::value::{Value, remove, set, str_at};
use gantry_client::{DynApi, Patch, View};

use super::{DryRun, create::How};
use crate::{
    manifests::{self, Manifest},
    output,
    session::Session,
    submit, three_way,
};

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
const MANAGER: &str = "gantryctl-client-side-apply";
/// Somebody else may change the object in between; after this many tries they win.
const TRIES: usize = 5;

/// Flags of `apply`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Files or folders; `-` is standard input
    #[arg(short, long, required = true, value_name = "FILE")]
    filename: Vec<PathBuf>,
    /// Folders with their subfolders
    #[arg(short = 'R', long)]
    recursive: bool,
    #[command(flatten)]
    how: How,
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        // All files are read and placed before the first write: a typo in the last must not leave half applied.
        let manifests = manifests::read(&self.filename, self.recursive)?;
        for manifest in &manifests {
            manifest.locate(session)?;
        }
        for manifest in &manifests {
            self.apply(session, manifest).await?;
        }
        Ok(())
    }

    async fn apply(&self, session: &Session, manifest: &Manifest) -> Result<()> {
        let (resource, api) = manifest.locate(session)?;
        let modified = with_annotation(&manifest.object)?;
        let (object, verb) = self.converge(&api, manifest, &modified).await?;
        match self.how.output {
            Some(format) => output::data(&output::render(&object, format, Some(resource))?),
            None => {
                let name = output::name_of(&object, Some(resource));
                output::line(&format!("{name} {verb}{}", self.how.dry_run.suffix()))
            }
        }
    }

    async fn converge(&self, api: &DynApi, manifest: &Manifest, modified: &Value) -> Result<(Value, &'static str)> {
        let params = submit::params(self.how.dry_run, MANAGER);
        let mut tries = 0;
        loop {
            tries += 1;
            let current = match api.get(manifest.name(), "", View::Full).await {
                Ok(current) => current,
                Err(e) if e.is_not_found() => {
                    if self.how.dry_run == DryRun::Client {
                        return Ok((modified.clone(), "created"));
                    }
                    let reply = api
                        .create("", "", modified, &params)
                        .await
                        .map_err(|e| submit::refused(e, manifest, "creating"))?;
                    submit::warn(&reply.warnings);
                    return Ok((reply.object, "created"));
                }
                Err(e) => return Err(submit::refused(e, manifest, "retrieving")),
            };
            let patch = patch(&current, modified)?;
            if patch.as_object().is_none_or(serde_json::Map::is_empty) {
                return Ok((current, "unchanged"));
            }
            if self.how.dry_run == DryRun::Client {
                return Ok((current, "configured"));
            }
            match api.patch(manifest.name(), "", &Patch::Strategic(patch), &params).await {
                Ok(reply) => {
                    submit::warn(&reply.warnings);
                    return Ok((reply.object, "configured"));
                }
                Err(e) if (e.is_conflict() || e.is_not_found()) && tries < TRIES => {}
                Err(e) => return Err(submit::refused(e, manifest, "applying patch to")),
            }
        }
    }
}

fn with_annotation(object: &Value) -> Result<Value> {
    let mut plain = object.clone();
    // An object that was read from a cluster carries an old annotation, which must not nest.
    if let Some(annotations) =
        gantry_api::value::get_mut(&mut plain, "metadata.annotations").and_then(Value::as_object_mut)
    {
        annotations.remove(LAST_APPLIED);
    }
    let mut text = serde_json::to_string(&plain).context("cannot encode the object")?;
    text.push('\n');
    let mut out = plain;
    gantry_api::value::object_mut(&mut out, "metadata.annotations")
        .context("metadata.annotations is not an object")?
        .insert(LAST_APPLIED.to_owned(), Value::String(text));
    Ok(out)
}

fn patch(current: &Value, modified: &Value) -> Result<Value> {
    let original = gantry_api::value::map_at(current, "metadata.annotations")
        .and_then(|a| a.get(LAST_APPLIED))
        .and_then(Value::as_str);
    let original: Value = match original {
        Some(text) => serde_json::from_str(text)
            .with_context(|| format!("the annotation {LAST_APPLIED} of the live object is not JSON"))?,
        None => Value::Object(serde_json::Map::new()),
    };
    let (group, version) = gantry_api::kinds::split_api_version(str_at(modified, "apiVersion").unwrap_or("v1"));
    let type_name = gantry_api::kinds::type_name(group, version, str_at(modified, "kind").unwrap_or(""));
    let mut patch = three_way::strategic(&original, modified, current, &type_name);
    // What the server owns is never patched, even where a file carries it.
    for path in ["status", "metadata.creationTimestamp", "metadata.managedFields", "metadata.selfLink"] {
        remove(&mut patch, path);
    }
    if patch.get("metadata").and_then(Value::as_object).is_some_and(serde_json::Map::is_empty) {
        remove(&mut patch, "metadata");
    }
    if let (Some(rv), false) =
        (str_at(modified, "metadata.resourceVersion"), patch.as_object().is_none_or(serde_json::Map::is_empty))
    {
        set(&mut patch, "metadata.resourceVersion", rv);
    }
    Ok(patch)
}
