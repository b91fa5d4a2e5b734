//! What every cluster starts with: namespaces, roles and bindings, priority classes, default/kubernetes.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use gantry_api::status::Status;
use gantry_api::{Value, kinds, value};
use serde_json::json;
use tracing::{info, warn};

use crate::app::App;
use crate::pipeline::change::{self, Made, Part};
use crate::pipeline::create;
use crate::pipeline::current::{self, Current};
use crate::rbac;
use crate::request::{Caller, Target, WriteOptions};

pub(crate) mod identity;
pub(crate) mod kubernetes;
mod ranges;

/// The namespaces.
const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];
/// Objects written at once.
const AT_ONCE: usize = 32;
/// Between tries when the store fails.
const RETRY: Duration = Duration::from_secs(1);

fn target_of(object: &Value) -> Result<Target, Status> {
    let at = |path| value::str_at(object, path).unwrap_or_default();
    let kind = kinds::by_api_version(at("apiVersion"), at("kind")).ok_or_else(Status::no_such_resource)?;
    Ok(Target::new(kind, at("metadata.namespace"), at("metadata.name")))
}

/// Creates the object unless it is there.
pub(crate) async fn ensure(app: &App, object: Value) -> Result<(), Status> {
    let target = target_of(&object)?;
    if current::load(app, &target).await?.is_some() {
        return Ok(());
    }
    match create::create_object(app, &Caller::apiserver(), &target, object, &WriteOptions::default()).await {
        Err(status) if !status.is("AlreadyExists") => Err(status),
        _ => Ok(()),
    }
}

/// Creates a role or binding, or completes it.
async fn reconcile_rbac(app: &App, wanted: Value) -> Result<(), Status> {
    let target = target_of(&wanted)?;
    let Some(stored) = current::load(app, &target).await? else { return ensure(app, wanted).await };
    if rbac::bootstrap::reconciled(&stored.value, &wanted).is_none() {
        return Ok(());
    }
    let make = |state: &Current| {
        let next = rbac::bootstrap::reconciled(&state.value, &wanted);
        Ok(Made { object: next.unwrap_or_else(|| state.value.clone()), warnings: Vec::new() })
    };
    change::by_server(app, &target, Part::Main, &make).await.map(drop)
}

/// Creates the object, or gives it back the spec that it must have.
async fn restore(app: &App, wanted: Value) -> Result<(), Status> {
    let target = target_of(&wanted)?;
    let spec = value::get(&wanted, "spec").cloned().unwrap_or_default();
    if current::load(app, &target).await?.is_none() {
        return ensure(app, wanted).await;
    }
    let make = |state: &Current| {
        let mut object = state.value.clone();
        value::set(&mut object, "spec", spec.clone());
        Ok(Made { object, warnings: Vec::new() })
    };
    change::by_server(app, &target, Part::Main, &make).await.map(drop)
}

fn priority_class(name: &str, value: i64, description: &str) -> Value {
    json!({
        "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name},
        "value": value, "description": description,
    })
}

async fn all(app: &App) -> Result<(), Status> {
    for name in NAMESPACES {
        ensure(app, json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})).await?;
    }
    crate::allocate::repair::once(app).await?;
    // Bindings may come before their roles: nothing is looked up while the API server writes them itself.
    let mut waiting = rbac::bootstrap::objects().into_iter();
    let mut running = FuturesUnordered::new();
    loop {
        while running.len() < AT_ONCE
            && let Some(object) = waiting.next()
        {
            running.push(reconcile_rbac(app, object));
        }
        match running.next().await {
            Some(result) => result?,
            None => break,
        }
    }
    app.cache.consistent().await.map_err(crate::pipeline::read::cache_failed)?;
    rbac::live::aggregate(app).await?;
    rbac::live::rebuild(app);
    let cluster =
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.";
    let node = "Used for system critical pods that must not be moved from their current node.";
    ensure(app, priority_class("system-cluster-critical", 2_000_000_000, cluster)).await?;
    ensure(app, priority_class("system-node-critical", 2_000_001_000, node)).await?;
    for object in gantry_api::flow::suggested() {
        ensure(app, object).await?;
    }
    for object in gantry_api::flow::mandatory() {
        restore(app, object).await?;
    }
    ranges::ensure(app).await?;
    kubernetes::ensure_service(app).await
}

/// Makes everything, however long the store takes to let it.
pub(crate) async fn run(app: Arc<App>) {
    loop {
        match all(&app).await {
            Ok(()) => break,
            Err(status) => warn!("making the bootstrap objects failed, trying again: {}", status.message),
        }
        tokio::time::sleep(RETRY).await;
    }
    info!("bootstrap objects are in place");
    app.authorizer.set_known();
    app.started.send_replace(true);
}
