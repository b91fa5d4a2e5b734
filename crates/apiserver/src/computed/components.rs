//! `ComponentStatus`: how etcd, the scheduler and the controller manager are.
//!
//! Nothing here dials a daemon: one that leads renews its Lease, so a Lease that was renewed in time speaks for it.

use std::sync::Arc;
use std::time::Duration;

use gantry_api::status::Status;
use gantry_api::{Value, kinds, value};
use gantry_store::cache::Object;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use crate::app::App;
use crate::pipeline::selection::Selection;

/// How long etcd may take to answer.
const STORE_TIMEOUT: Duration = Duration::from_secs(2);
/// The components with a leader, by upstream's names: their Lease is `kube-system/kube-<name>`.
const LED: &[&str] = &["controller-manager", "scheduler"];

/// All that the selection covers, in the order of their names.
pub(super) async fn list(app: &App, selection: &Selection) -> Result<Vec<Arc<Object>>, Status> {
    let now = app.clock.now();
    let mut all = Vec::new();
    for name in LED {
        all.push((*name, led(&lease(app, name), now)));
    }
    all.insert(1, ("etcd-0", etcd(app).await));
    let objects = all.into_iter().map(|(name, health)| super::encoded(&component(name, &health)));
    let objects: Vec<Arc<Object>> = objects.collect::<Result<_, _>>()?;
    Ok(objects.into_iter().filter(|object| selection.matches(object)).collect())
}

async fn etcd(app: &App) -> Result<(), String> {
    match tokio::time::timeout(STORE_TIMEOUT, app.store.revision()).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(gantry_common::error_chain(&error)),
        Err(_) => Err(format!("no answer within {STORE_TIMEOUT:?}")),
    }
}

fn lease(app: &App, name: &str) -> Value {
    let leases = kinds::by_resource("coordination.k8s.io", "v1", "leases");
    let found = leases.and_then(|kind| app.view(kind).get("kube-system", &format!("kube-{name}")));
    found.and_then(|lease| serde_json::from_slice(lease.json()).ok()).unwrap_or_default()
}

/// Whether somebody leads.
fn led(lease: &Value, now: Timestamp) -> Result<(), String> {
    let holder = value::str_at(lease, "spec.holderIdentity").unwrap_or_default();
    let renewed = value::str_at(lease, "spec.renewTime").and_then(|time| time.parse::<Timestamp>().ok());
    let seconds = value::i64_at(lease, "spec.leaseDurationSeconds").unwrap_or(15);
    match renewed {
        Some(renewed) if !holder.is_empty() && now <= renewed + SignedDuration::from_secs(seconds) => Ok(()),
        Some(renewed) => Err(format!("nobody leads since {renewed}")),
        None => Err("nobody has led yet".to_owned()),
    }
}

fn component(name: &str, health: &Result<(), String>) -> Value {
    let condition = match health {
        Ok(()) => json!({"type": "Healthy", "status": "True", "message": "ok"}),
        Err(why) => json!({"type": "Healthy", "status": "False", "message": "", "error": why}),
    };
    json!({"kind": "ComponentStatus", "apiVersion": "v1", "metadata": {"name": name}, "conditions": [condition]})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_that_was_renewed_in_time_speaks_for_its_holder() {
        let now: Timestamp = "2026-01-01T00:00:20Z".parse().expect("a time");
        let lease = |holder: &str, renewed: &str| json!({"spec": {"holderIdentity": holder, "renewTime": renewed, "leaseDurationSeconds": 15}});
        assert_eq!(led(&lease("a", "2026-01-01T00:00:05.000000Z"), now), Ok(()));
        assert!(led(&lease("a", "2026-01-01T00:00:04.000000Z"), now).is_err());
        assert!(led(&lease("", "2026-01-01T00:00:19.000000Z"), now).is_err());
        assert_eq!(led(&Value::Null, now), Err("nobody has led yet".to_owned()));
    }
}
