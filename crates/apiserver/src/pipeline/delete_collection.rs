//! DELETE of a whole list: each item is deleted on its own.

use std::sync::Arc;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use gantry_api::status::Status;

use super::delete;
use super::options::{By, DeleteOptions};
use super::read::{self, ListQuery, Listed};
use crate::app::App;
use crate::request::{Caller, Target};

/// Deletions in flight at once.
const AT_ONCE: usize = 16;

/// Deletes what the query selects; answers with what was selected.
///
/// # Errors
/// The first failure; what is gone already is no failure.
pub(crate) async fn delete_collection(
    app: &Arc<App>,
    caller: &Caller,
    target: &Target,
    query: &ListQuery,
    options: &DeleteOptions,
) -> Result<Listed, Status> {
    let listed = read::list(app, &target.kind, query).await?;
    let options = &DeleteOptions { by: By::Collection, ..options.clone() };
    let targets: Vec<Target> = listed
        .items
        .iter()
        .map(|object| Target::new(&target.kind, &object.meta().namespace, &object.meta().name))
        .collect();
    let mut waiting = targets.into_iter();
    let mut running = FuturesUnordered::new();
    loop {
        while running.len() < AT_ONCE
            && let Some(one) = waiting.next()
        {
            running.push(remove(app, caller, one, options));
        }
        match running.next().await {
            Some(result) => result?,
            None => break,
        }
    }
    Ok(listed)
}

async fn remove(app: &App, caller: &Caller, target: Target, options: &DeleteOptions) -> Result<(), Status> {
    match delete::delete(app, caller, &target, options).await {
        Err(status) if !status.is("NotFound") => Err(status),
        _ => Ok(()),
    }
}
