//! Health, version, metrics and the OpenID documents.

use std::sync::Arc;
use std::time::Duration;

use gantry_api::Value;
use gantry_common::version::{GIT_VERSION, KUBERNETES_MINOR};
use serde_json::json;

use super::answer;
use super::query::Query;
use crate::app::App;
use crate::server::Response;

/// How long the store may take to answer a health check.
const STORE_TIMEOUT: Duration = Duration::from_secs(2);

/// One check: its name, and why it fails.
type Check = (&'static str, Result<(), String>);

async fn checks(app: &App, probe: &str) -> Vec<Check> {
    let mut checks: Vec<Check> = vec![("ping", Ok(()))];
    let store = match tokio::time::timeout(STORE_TIMEOUT, app.store.revision()).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(gantry_common::error_chain(&error)),
        Err(_) => Err(format!("no answer within {STORE_TIMEOUT:?}")),
    };
    checks.push(("etcd", store));
    let filled = if app.cache.is_ready() { Ok(()) } else { Err("the watch cache is not filled yet".to_owned()) };
    checks.push(("informer-sync", filled));
    let started = if *app.started.borrow() { Ok(()) } else { Err("not finished".to_owned()) };
    checks.push(("poststarthook/bootstrap", started));
    if probe == "readyz" {
        let stopping = app.shutdown.is_requested();
        checks.push(("shutdown", if stopping { Err("process is shutting down".to_owned()) } else { Ok(()) }));
    }
    checks
}

/// Whether all of `/readyz` is fine.
pub(crate) async fn is_ready(app: &App) -> bool {
    checks(app, "readyz").await.iter().all(|(_, result)| result.is_ok())
}

/// `/healthz`, `/livez`, `/readyz`, and one check below them.
pub(crate) async fn answer(app: &Arc<App>, path: &str, query: &Query) -> Response {
    let mut parts = path.trim_matches('/').splitn(2, '/');
    let probe = parts.next().unwrap_or_default();
    let only = parts.next();
    let excluded = query.all("exclude");
    let mut checks = checks(app, probe).await;
    if let Some(only) = only {
        checks.retain(|(name, _)| *name == only);
        if checks.is_empty() {
            return answer::text(404, "404 page not found\n");
        }
    }
    checks.retain(|(name, _)| !excluded.iter().any(|e| e == name));
    let failed = checks.iter().any(|(_, result)| result.is_err());
    let mut text = String::new();
    for (name, result) in &checks {
        match result {
            Ok(()) => text.push_str(&format!("[+]{name} ok\n")),
            // The reason may name addresses; it is in the log for administrators.
            Err(why) => {
                tracing::warn!(probe, check = name, why, "health check failed");
                text.push_str(&format!("[-]{name} failed: reason withheld\n"));
            }
        }
    }
    if failed {
        return answer::text(500, format!("{text}{probe} check failed\n"));
    }
    if query.has("verbose") && only.is_none() {
        answer::text(200, format!("{text}{probe} check passed\n"))
    } else {
        answer::text(200, "ok")
    }
}

/// `/version`.
pub(crate) fn version() -> Value {
    json!({
        "major": "1",
        "minor": KUBERNETES_MINOR,
        "gitVersion": GIT_VERSION,
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "rust",
        "compiler": "rustc",
        "platform": concat!("linux/", "amd64"),
        "emulationMajor": "1",
        "emulationMinor": KUBERNETES_MINOR,
        "minCompatibilityMajor": "1",
        "minCompatibilityMinor": "35",
    })
}

/// `/metrics`.
pub(crate) fn metrics(app: &App) -> Response {
    let counters = app.cache.counters();
    let objects: usize = app.cache.views().iter().map(gantry_store::cache::View::len).sum();
    let watchers: usize = app.cache.views().iter().map(gantry_store::cache::View::watchers).sum();
    let extra: Vec<(&str, &str, f64)> = vec![
        ("gantry_cache_revision", "Revision that the watch cache has reached.", app.cache.revision() as f64),
        ("gantry_cache_objects", "Objects in the watch cache.", objects as f64),
        ("gantry_cache_watchers", "Subscriptions to the watch cache.", watchers as f64),
        ("gantry_cache_events_total", "Events taken from etcd.", counters.events() as f64),
        ("gantry_cache_lists_total", "Full reads of etcd.", counters.lists() as f64),
        ("gantry_cache_watch_starts_total", "Watches of etcd started.", counters.watch_starts() as f64),
        (
            "gantry_cache_mismatches_total",
            "Differences between etcd and cache that were found.",
            counters.mismatches() as f64,
        ),
        ("gantry_cache_revision_reads_total", "Consistent-read questions to etcd.", counters.revision_reads() as f64),
    ];
    answer::text(200, app.metrics.render(&extra))
}

/// `/.well-known/openid-configuration`.
pub(crate) fn openid(app: &App) -> Value {
    let issuer = app.config.issuer();
    let own = || format!("{}/openid/v1/jwks", issuer.trim_end_matches('/'));
    json!({
        "issuer": issuer,
        "jwks_uri": app.config.service_account_jwks_uri.clone().unwrap_or_else(own),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": app.keys.algorithms(),
    })
}
