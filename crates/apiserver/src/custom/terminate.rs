//! The end of a definition: its objects go first.

use gantry_api::custom;
use gantry_api::status::Status;
use gantry_api::{Value, value};
use gantry_store::Range;

use super::status::{condition, set_condition};
use crate::app::App;
use crate::pipeline::current::store_failed;
use crate::pipeline::delete;
use crate::pipeline::options::DeleteOptions;
use crate::registry::definition::FINALIZER;
use crate::request::{Caller, Target};

/// Objects asked for at a time.
const PAGE: usize = 500;

const IN_PROGRESS: (&str, &str, &str) =
    ("True", "InstanceDeletionInProgress", "CustomResource deletion is in progress");
const DONE: (&str, &str, &str) = ("False", "InstanceDeletionCompleted", "removed all instances");
const NEVER: (&str, &str, &str) = ("False", "NeverEstablished", "resource was never established");

/// Whether the definition waits for its objects to go.
pub(super) fn concerns(definition: &Value) -> bool {
    value::str_at(definition, "metadata.deletionTimestamp").is_some()
        && value::list_at(definition, "metadata.finalizers").iter().any(|f| f == FINALIZER)
}

/// Asks the objects to go; lets the definition go once there are none. Whether nothing is left to do.
pub(super) async fn run(app: &App, definition: &Value) -> Result<bool, Status> {
    let served = super::is_served(definition).then(|| custom::definition(definition)).flatten();
    let Some(served) = served else {
        finish(app, definition, NEVER).await?;
        return Ok(true);
    };
    let in_progress =
        condition(definition, "Terminating").and_then(|c| value::str_at(c, "reason")) == Some(IN_PROGRESS.1);
    if !in_progress {
        let now = app.clock.now();
        super::write(app, definition, &|state: &Value| {
            let mut state = state.clone();
            set_condition(&mut state, "Terminating", IN_PROGRESS, now);
            state
        })
        .await?;
    }
    let Some(kind) = served.storage().or_else(|| served.served().next()) else { return Ok(true) };
    let range = Range::prefix(served.storage_prefix.clone()).limit(PAGE).keys_only();
    let found = app.store.range(range).await.map_err(store_failed)?;
    if found.kvs.is_empty() {
        finish(app, definition, DONE).await?;
        return Ok(true);
    }
    for kv in &found.kvs {
        let path = kv.key.strip_prefix(&served.storage_prefix).unwrap_or_default();
        let (namespace, name) = path.split_once('/').unwrap_or(("", path));
        let target = Target::new(kind, namespace, name);
        match delete::delete(app, &Caller::apiserver(), &target, &DeleteOptions::default()).await {
            Err(status) if !status.is("NotFound") => return Err(status),
            _ => {}
        }
    }
    Ok(false)
}

/// Takes the finalizer off; with it the definition goes.
async fn finish(app: &App, definition: &Value, says: (&str, &str, &str)) -> Result<(), Status> {
    let now = app.clock.now();
    super::write(app, definition, &|state: &Value| {
        let mut state = state.clone();
        set_condition(&mut state, "Terminating", says, now);
        let mut finalizers = value::list_at(&state, "metadata.finalizers").to_vec();
        finalizers.retain(|f| f != FINALIZER);
        if finalizers.is_empty() {
            value::remove(&mut state, "metadata.finalizers");
        } else {
            value::set(&mut state, "metadata.finalizers", finalizers);
        }
        state
    })
    .await
}
