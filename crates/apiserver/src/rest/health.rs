//! Health, version and the OpenID documents.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gantry_api::Value;
use gantry_common::version::{GIT_VERSION, KUBERNETES_MINOR};
use http::{HeaderValue, header};
use serde_json::json;
use tokio::time::Instant;

use super::answer::{self, Style};
use super::query::Query;
use crate::app::App;
use crate::server::Response;

/// How long the store may take to answer a health check.
const STORE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long an answer of the store is good for: whoever asks needs no credentials, and must not keep etcd busy.
const GOOD_FOR: Duration = Duration::from_millis(500);
/// How often a failing check is told in the log.
const TOLD_EVERY: Duration = Duration::from_secs(5);

/// What the store answered when it was asked last; who comes while it is being asked gets that answer.
#[derive(Default)]
pub(crate) struct Asked {
    store: tokio::sync::Mutex<Option<(Instant, Result<(), String>)>>,
    told: parking_lot::Mutex<BTreeMap<&'static str, Instant>>,
}

impl Asked {
    async fn store(&self, app: &App) -> Result<(), String> {
        let mut last = self.store.lock().await;
        if let Some((at, answer)) = &*last
            && at.elapsed() < GOOD_FOR
        {
            return answer.clone();
        }
        let answer = match tokio::time::timeout(STORE_TIMEOUT, app.store.revision()).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(gantry_common::error_chain(&error)),
            Err(_) => Err(format!("no answer within {STORE_TIMEOUT:?}")),
        };
        *last = Some((Instant::now(), answer.clone()));
        answer
    }

    /// Whether the failure of a check has not been told of late.
    fn is_news(&self, check: &'static str) -> bool {
        let mut told = self.told.lock();
        let is_old = told.get(check).is_none_or(|at| at.elapsed() >= TOLD_EVERY);
        if is_old {
            told.insert(check, Instant::now());
        }
        is_old
    }
}

/// One check: its name, and why it fails.
type Check = (&'static str, Result<(), String>);

/// What hangs on the filled cache, by upstream's names of it.
const FILLED: &[&str] = &[
    "poststarthook/start-apiserver-admission-initializer",
    "poststarthook/generic-apiserver-start-informers",
    "poststarthook/start-apiextensions-informers",
    "poststarthook/start-kube-aggregator-informers",
];
/// What is done once the bootstrap objects are there; custom kinds are served before that.
const STARTED: &[&str] = &[
    "poststarthook/start-apiextensions-controllers",
    "poststarthook/crd-informer-synced",
    "poststarthook/start-system-namespaces-controller",
    "poststarthook/rbac/bootstrap-roles",
    "poststarthook/scheduling/bootstrap-system-priority-classes",
    "poststarthook/priority-and-fairness-config-producer",
    "poststarthook/bootstrap-controller",
    "poststarthook/start-kubernetes-service-cidr-controller",
];
/// What is done once the server has registered what it serves.
const REGISTERED: &[&str] = &[
    "poststarthook/apiservice-registration-controller",
    "poststarthook/apiservice-status-local-available-controller",
    "poststarthook/apiservice-status-remote-available-controller",
    "poststarthook/apiservice-discovery-controller",
    "poststarthook/kube-apiserver-autoregistration",
    "poststarthook/apiservice-openapi-controller",
    "poststarthook/apiservice-openapiv3-controller",
];
/// What is done once other API servers can read whom to believe.
const INTRODUCED: &[&str] = &["poststarthook/start-cluster-authentication-info-controller"];

async fn checks(app: &App, probe: &str) -> Vec<Check> {
    let done = |is: bool| if is { Ok(()) } else { Err("not finished".to_owned()) };
    let store = app.health.store(app).await;
    let mut checks: Vec<Check> = vec![("ping", Ok(())), ("log", Ok(())), ("etcd", store.clone())];
    let filled = app.cache.is_ready();
    if probe == "readyz" {
        checks.push(("etcd-readiness", store));
        checks.push(("informer-sync", done(filled)));
    }
    let steps = [
        (FILLED, filled),
        (STARTED, *app.started.borrow()),
        (REGISTERED, *app.registered.borrow()),
        (INTRODUCED, *app.introduced.borrow()),
    ];
    for (names, is_done) in steps {
        checks.extend(names.iter().map(|name| (*name, done(is_done))));
    }
    checks.push(("autoregister-completion", done(*app.registered.borrow())));
    if let Some(plugins) = app.keyring.as_ref().and_then(|keyring| keyring.health()) {
        checks.push(("kms-providers", plugins));
    }
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
    let probe = match parts.next() {
        Some("livez") => "livez",
        Some("readyz") => "readyz",
        _ => "healthz",
    };
    let checks = checks(app, probe).await;
    if let Some(only) = parts.next() {
        return match checks.into_iter().find(|(name, _)| *name == only) {
            None => answer::text(404, "404 page not found\n"),
            Some((_, Ok(()))) => answer::text(200, "ok"),
            Some((_, Err(why))) => answer::text(500, format!("internal server error: {why}\n")),
        };
    }
    let excluded = query.all("exclude");
    for (name, result) in checks.iter().filter(|(name, _)| !excluded.iter().any(|e| e == name)) {
        app.metrics.slis.checked(probe, name, result.is_ok());
    }
    let (text, failed) = report(&checks, excluded);
    if failed {
        tell(app, probe, &checks);
        answer::text(500, format!("{text}{probe} check failed\n"))
    } else if query.has("verbose") {
        answer::text(200, format!("{text}{probe} check passed\n"))
    } else {
        answer::text(200, "ok")
    }
}

/// Writes to the log what fails, as often as that helps whoever reads it, and not as often as somebody asks.
fn tell(app: &App, probe: &str, checks: &[Check]) {
    for (name, result) in checks {
        if let Err(why) = result
            && app.health.is_news(name)
        {
            tracing::warn!(probe, check = name, why, "health check failed");
        }
    }
}

/// What is said of the checks, and whether one fails that is not excluded.
fn report(checks: &[Check], excluded: &[String]) -> (String, bool) {
    let (mut text, mut failed) = (String::new(), false);
    for (name, result) in checks {
        text.push_str(&match result {
            _ if excluded.iter().any(|e| e == name) => format!("[+]{name} excluded: ok\n"),
            Ok(()) => format!("[+]{name} ok\n"),
            // The reason may name addresses; it is in the log for administrators.
            Err(_) => {
                failed = true;
                format!("[-]{name} failed: reason withheld\n")
            }
        });
    }
    let mut unknown: Vec<String> =
        excluded.iter().filter(|e| !checks.iter().any(|(name, _)| name == e)).map(|e| format!("{e:?}")).collect();
    unknown.sort();
    unknown.dedup();
    if !unknown.is_empty() {
        let names = unknown.join(",");
        text.push_str(&format!("warn: some health checks cannot be excluded: no matches for {names}\n"));
    }
    (text, failed)
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

/// What whoever checks tokens may keep for a while.
pub(crate) fn published(content_type: &'static str, value: &Value) -> Response {
    let mut response = answer::value(200, value, Style::default());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=3600"));
    response
}

/// Whether the issuer can be looked up (OpenID Connect Discovery 1.0): as upstream, nothing is told of another one.
pub(crate) fn has_openid(app: &App) -> bool {
    let is_secure = |url: &str| url.starts_with("https://");
    let (issuer, keys) = (app.config.issuer(), app.config.service_account_jwks_uri.as_deref());
    is_secure(issuer) && !issuer.contains(['?', '#']) && keys.is_none_or(is_secure)
}

/// `/.well-known/openid-configuration`. The keys are at `address` (host and port), where nothing else is said.
pub(crate) fn openid(app: &App, address: &str) -> Value {
    let own = || format!("https://{address}/openid/v1/jwks");
    json!({
        "issuer": app.config.issuer(),
        "jwks_uri": app.config.service_account_jwks_uri.clone().unwrap_or_else(own),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": app.keys.algorithms(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_can_be_excluded_and_unknown_ones_are_named() {
        let checks = [("ping", Ok(())), ("etcd", Err("gone".to_owned()))];
        let check = |excluded: &[&str], expected: &str, fails: bool| {
            let excluded: Vec<String> = excluded.iter().map(|e| (*e).to_owned()).collect();
            assert_eq!(report(&checks, &excluded), (expected.to_owned(), fails));
        };
        check(&[], "[+]ping ok\n[-]etcd failed: reason withheld\n", true);
        check(&["etcd"], "[+]ping ok\n[+]etcd excluded: ok\n", false);
        let warning = "warn: some health checks cannot be excluded: no matches for \"a\",\"b\"\n";
        check(&["etcd", "b", "a"], &format!("[+]ping ok\n[+]etcd excluded: ok\n{warning}"), false);
    }
}
