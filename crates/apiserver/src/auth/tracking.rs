//! What the server notes of service-account tokens that are kept in Secrets (KEP-2799): the day of the last use on the
//! Secret, and in a ConfigMap since when it does.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use gantry_api::legacy_token::{self, LAST_USED, TRACKED_SINCE, TRACKING};
use gantry_api::status::Status;
use gantry_api::{kinds, value};
use gantry_store::cache::Scope;
use serde_json::json;
use tokio::time::Instant;
use tracing::{error, warn};

use super::legacy::Used;
use crate::app::App;
use crate::bootstrap;
use crate::pipeline::change::{Change, Made, Part};
use crate::pipeline::current::{self, Current};
use crate::request::{Caller, Target, WriteOptions};

const NAMESPACE: &str = "kube-system";
/// Upstream's field manager for what the server writes through itself.
const MANAGER: &str = "kube-apiserver";
/// A ConfigMap that somebody deletes comes back this late, so that servers of which some do not note uses do not fight.
const CREATED_EVERY: Duration = Duration::from_secs(30 * 60);
/// Between tries when the store fails.
const RETRY: Duration = Duration::from_secs(1);

/// Notes uses until the server stops.
pub(crate) async fn run(app: Arc<App>) {
    let mut started = app.started.subscribe();
    if started.wait_for(|done| *done).await.is_ok() {
        tokio::join!(label_used(&app), keep_map(&app));
    }
}

fn core(resource: &str) -> Result<&'static kinds::KindInfo, Status> {
    kinds::by_resource("", "v1", resource).ok_or_else(Status::no_such_resource)
}

/// Writes as the server, under the name that upstream's has.
async fn write(app: &App, target: &Target, made: impl Fn(&Current) -> Made + Send + Sync) -> Result<(), Status> {
    let caller = Caller::apiserver();
    let options = WriteOptions { field_manager: MANAGER.to_owned(), ..WriteOptions::default() };
    let make = |state: &Current| Ok(made(state));
    let change =
        Change { caller: &caller, target, options: &options, part: Part::Main, version_required: false, make: &make };
    change.run(app).await.map(drop)
}

async fn label_used(app: &App) {
    loop {
        let (used, day) = app.authenticator.legacy_uses().next().await;
        if let Err(status) = label(app, &used, &day).await {
            // The next use tries again.
            let secret = format!("{}/{}", used.namespace, used.name);
            error!(secret, "labelling the legacy service account token with its day of use failed: {}", status.message);
        }
    }
}

async fn label(app: &App, used: &Used, day: &str) -> Result<(), Status> {
    let target = Target::new(core("secrets")?, &used.namespace, &used.name);
    let labelled = write(app, &target, |state| {
        let mut object = state.value.clone();
        // A namesake was not used.
        if value::str_at(&object, "metadata.uid") == Some(&used.uid) {
            let mut labels = value::map_at(&object, "metadata.labels").cloned().unwrap_or_default();
            labels.insert(LAST_USED.to_owned(), day.into());
            value::set(&mut object, "metadata.labels", labels);
        }
        Made { object, warnings: Vec::new() }
    });
    match labelled.await {
        Err(status) if status.is("NotFound") => Ok(()),
        other => other,
    }
}

async fn keep_map(app: &App) {
    let mut created: Option<Instant> = None;
    loop {
        if let Err(status) = follow_map(app, &mut created).await {
            warn!("keeping {NAMESPACE}/{TRACKING} failed, trying again: {}", status.message);
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Looks after the ConfigMap at every change of it. `created`: when it was made last.
async fn follow_map(app: &App, created: &mut Option<Instant>) -> Result<(), Status> {
    let kind = core("configmaps")?;
    let target = Target::new(kind, NAMESPACE, TRACKING);
    let failed = |error: gantry_store::cache::WatchError| Status::unavailable(error.to_string());
    loop {
        let scope = Scope::Name { namespace: Some(NAMESPACE.into()), name: TRACKING.into() };
        let mut changes = app.view(kind).watch(app.cache.revision(), scope).await.map_err(failed)?.boxed();
        let again = created.map(|at| at + CREATED_EVERY);
        let is_there = current::load(app, &target).await?.is_some();
        let early = again.filter(|again| !is_there && *again > Instant::now());
        if early.is_none() && repair(app, &target, is_there).await? {
            *created = Some(Instant::now());
        }
        let later = async {
            match early {
                Some(again) => tokio::time::sleep_until(again).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            change = changes.next() => match change.transpose().map_err(failed)? {
                Some(_) => {}
                None => return Ok(()),
            },
            () = later => {}
        }
    }
}

/// Makes the ConfigMap, or gives it a day that can be read. Whether it was made.
async fn repair(app: &App, target: &Target, is_there: bool) -> Result<bool, Status> {
    let today = legacy_token::day(app.clock.now());
    if !is_there {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "data": {TRACKED_SINCE: today},
            "metadata": {"name": TRACKING, "namespace": NAMESPACE}});
        return bootstrap::ensure(app, object).await.map(|()| true);
    }
    let repaired = write(app, target, |state| {
        let mut object = state.value.clone();
        let mut data = value::map_at(&object, "data").cloned().unwrap_or_default();
        let since = data.get(TRACKED_SINCE).and_then(gantry_api::Value::as_str).unwrap_or_default();
        if legacy_token::start_of(since).is_none() {
            data.insert(TRACKED_SINCE.to_owned(), today.clone().into());
            value::set(&mut object, "data", data);
        }
        Made { object, warnings: Vec::new() }
    });
    match repaired.await {
        Err(status) if status.is("NotFound") => Ok(false),
        other => other.map(|()| false),
    }
}
