//! Keeps the index of roles and bindings, and the aggregated roles, in step with what is stored.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::select_all;
use gantry_api::kinds::{self, KindInfo};
use gantry_api::status::Status;
use gantry_api::{Value, value};
use gantry_store::cache::Scope;
use serde_json::json;
use tracing::{info, warn};

use super::aggregate;
use super::index::{Index, Objects};
use crate::app::App;
use crate::pipeline::change::{Change, Made, Part};
use crate::pipeline::current::Current;
use crate::request::{Caller, Target, WriteOptions};

const GROUP: &str = "rbac.authorization.k8s.io";
/// How long to wait before watching again after a watch ended.
const PAUSE: Duration = Duration::from_millis(200);
/// Aggregated roles that aggregate others settle in as many rounds as they are nested.
const ROUNDS: usize = 8;

fn kind(resource: &str) -> &'static KindInfo {
    kinds::by_resource(GROUP, "v1", resource).expect("the RBAC kinds are always served")
}

fn all(app: &App, resource: &str) -> Vec<Value> {
    let snapshot = app.view(kind(resource)).snapshot();
    snapshot.list(None, None).filter_map(|o| serde_json::from_slice(o.json()).ok()).collect()
}

/// Whether an API server has made the bootstrap roles before.
pub(crate) fn is_bootstrapped(app: &App) -> bool {
    !app.view(kind("clusterroles")).is_empty()
}

/// Compiles the index anew.
pub(crate) fn rebuild(app: &App) {
    app.authorizer.replace(Index::new(&Objects {
        cluster_roles: all(app, "clusterroles"),
        roles: all(app, "roles"),
        cluster_role_bindings: all(app, "clusterrolebindings"),
        role_bindings: all(app, "rolebindings"),
    }));
}

/// Brings the aggregated roles up to date.
///
/// # Errors
/// When a write fails.
pub(crate) async fn aggregate(app: &App) -> Result<(), Status> {
    for _ in 0..ROUNDS {
        let changes = aggregate::changes(&all(app, "clusterroles"));
        if changes.is_empty() {
            return Ok(());
        }
        for (name, rules) in changes {
            info!(role = name, rules = rules.len(), "aggregating a ClusterRole");
            let target = Target::new(kind("clusterroles"), "", &name);
            let rules = json!(rules);
            let make = |state: &Current| {
                let mut object = state.value.clone();
                value::set(&mut object, "rules", rules.clone());
                Ok(Made { object, warnings: Vec::new() })
            };
            let options = WriteOptions {
                field_manager: "clusterrole-aggregation-controller".to_owned(),
                ..WriteOptions::default()
            };
            let caller = Caller::apiserver();
            let change = Change {
                caller: &caller,
                target: &target,
                options: &options,
                part: Part::Main,
                version_required: false,
                make: &make,
            };
            match change.run(app).await {
                Ok(_) => {}
                Err(status) if status.is("NotFound") => {}
                Err(status) => return Err(status),
            }
        }
        app.cache.consistent().await.map_err(crate::pipeline::read::cache_failed)?;
    }
    Ok(())
}

/// Follows roles and bindings until the server stops.
pub(crate) async fn run(app: Arc<App>) {
    loop {
        if let Err(why) = follow(&app).await {
            warn!(why, "following roles and bindings broke off, starting again");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

async fn follow(app: &App) -> Result<(), String> {
    let from = app.cache.revision();
    let mut watches = Vec::new();
    for resource in ["clusterroles", "roles", "clusterrolebindings", "rolebindings"] {
        let watch = app.view(kind(resource)).watch(from, Scope::All).await.map_err(|e| e.to_string())?;
        watches.push(watch.boxed());
    }
    rebuild(app);
    let mut events = select_all(watches);
    while let Some(event) = events.next().await {
        event.map_err(|e| e.to_string())?;
        // Whatever else is there already is taken up by the same rebuild.
        while let Some(Some(event)) = futures::FutureExt::now_or_never(events.next()) {
            event.map_err(|e| e.to_string())?;
        }
        rebuild(app);
        aggregate(app).await.map_err(|s| s.message)?;
    }
    Err("the watch ended".to_owned())
}
