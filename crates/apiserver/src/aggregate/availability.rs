//! Whether remote group versions can be had: upstream's checks, one after the other, and the condition that says what came of them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use gantry_api::status::Status;
use gantry_api::{Value, kinds, value};
use http::{HeaderValue, Request, header};
use http_body_util::{BodyExt, Empty, Limited};
use serde_json::json;

use super::lists::openapi;
use super::remote::{Remote, name_user};
use super::{Lists, kind};
use crate::app::App;
use crate::auth::{MASTERS, User};
use crate::dial::{self, Endpoints};
use crate::pipeline::change::{self, Made, Part};
use crate::pipeline::current::Current;
use crate::registry::aggregation::{available, condition, local_condition};
use crate::request::Target;

/// Connections made for one check: one that succeeds is enough.
const ATTEMPTS: usize = 5;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of a list of resources.
const LIST_BYTES_MAX: usize = 4 << 20;

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    status: &'static str,
    reason: &'static str,
    message: String,
}

impl Found {
    fn missing(reason: &'static str, message: String) -> Self {
        Self { status: "False", reason, message }
    }
}

/// Looks at one APIService, and writes down what it found if that is news.
///
/// # Errors
/// When the store fails.
pub(super) async fn look(app: &Arc<App>, object: &Value) -> Result<(), Status> {
    let name = value::str_at(object, "metadata.name").unwrap_or_default();
    let found = match Remote::read(object) {
        Some(remote) => check(app, &remote).await,
        None => {
            let local = local_condition(app.clock.now());
            Found { status: "True", reason: "Local", message: text(&local, "message").to_owned() }
        }
    };
    if available(object).is_some_and(|known| says(known, &found)) {
        return Ok(());
    }
    write(app, name, &found).await
}

fn text<'a>(condition: &'a Value, key: &str) -> &'a str {
    value::str_at(condition, key).unwrap_or_default()
}

fn says(known: &Value, found: &Found) -> bool {
    text(known, "status") == found.status
        && text(known, "reason") == found.reason
        && text(known, "message") == found.message
}

async fn check(app: &Arc<App>, remote: &Remote) -> Found {
    let (service, namespace) = (&remote.service, &remote.namespace);
    let Some(object) = stored(app, namespace, service) else {
        return Found::missing("ServiceNotFound", format!("service/{service} in {namespace:?} is not present"));
    };
    if value::str_at(&object, "spec.type").unwrap_or("ClusterIP") != "ExternalName" {
        let ports = value::list_at(&object, "spec.ports");
        let Some(port) = ports.iter().find(|port| value::i64_at(port, "port") == Some(remote.port.into())) else {
            let why = format!("service/{service} in {namespace:?} is not listening on port {}", remote.port);
            return Found::missing("ServicePortError", why);
        };
        let port = text(port, "name");
        match dial::endpoints(app, namespace, service, port) {
            Endpoints::Ready => {}
            Endpoints::NoSlices => {
                let why = format!("cannot find endpointslices for service/{service} in {namespace:?}");
                return Found::missing("EndpointsNotFound", why);
            }
            Endpoints::NoneReady => {
                let why = format!(
                    "endpoints for service/{service} in {namespace:?} have no addresses with port name {port:?}"
                );
                return Found::missing("MissingEndpoints", why);
            }
        }
    }
    discover(app, remote).await
}

fn stored(app: &App, namespace: &str, name: &str) -> Option<Value> {
    let services = kinds::by_resource("", "v1", "services")?;
    serde_json::from_slice(app.view(services).get(namespace, name)?.json()).ok()
}

/// Asks for the list of resources on several connections at once.
async fn discover(app: &Arc<App>, remote: &Remote) -> Found {
    let root = remote.root();
    let mut asked: FuturesUnordered<BoxFuture<'_, Result<Value, String>>> = FuturesUnordered::new();
    for _ in 0..ATTEMPTS {
        asked.push(ask(app, remote, &root).boxed());
    }
    let mut last = String::new();
    while let Some(answer) = asked.next().await {
        match answer {
            Ok(list) => {
                // The others are not waited for; a connection that is only half made must not be in the way of the next.
                drop(asked);
                if let Some(mut lists) = Lists::read(&list, &remote.group, &remote.version) {
                    let index = ask(app, remote, "/openapi/v3").await.unwrap_or_default();
                    lists.openapi = openapi(&index, &remote.group, &remote.version);
                    app.aggregator.hear(&remote.name, lists);
                }
                return Found { status: "True", reason: "Passed", message: "all checks passed".to_owned() };
            }
            Err(why) => last = why,
        }
    }
    Found::missing("FailedDiscoveryCheck", last)
}

/// Reads a document of JSON at a path of the remote server.
async fn ask(app: &Arc<App>, remote: &Remote, path: &str) -> Result<Value, String> {
    let url = |host: &str| format!("https://{host}{path}");
    let by_name = format!("{}.{}.svc:{}", remote.service, remote.namespace, remote.port);
    match tokio::time::timeout(PATIENCE, get(app, remote, path)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err((host, why))) => {
            let url = url(host.as_deref().unwrap_or(&by_name));
            Err(format!("failing or missing response from {url}: {why}"))
        }
        Err(_) => Err(format!("timed out waiting for {}", url(&by_name))),
    }
}

/// The answer, or who did not give it, if there was somebody, and why.
async fn get(app: &Arc<App>, remote: &Remote, path: &str) -> Result<Value, (Option<String>, String)> {
    let (backend, host) = remote.connect::<Empty<Bytes>>(app).await.map_err(|error| (None, error.status().message))?;
    let failed = |why: String| (Some(host.clone()), why);
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = path.parse().map_err(|_| failed("the path cannot be asked for".to_owned()))?;
    let headers = request.headers_mut();
    headers.insert(header::HOST, HeaderValue::from_str(&host).map_err(|error| failed(error.to_string()))?);
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    name_user(headers, &User::new("system:kube-aggregator", &[MASTERS]));
    let answer = backend.send(request, None).await.map_err(|error| failed(gantry_common::error_chain(&error)))?;
    if !answer.status().is_success() {
        return Err(failed(format!("bad status from https://{host}{path}: {}", answer.status().as_u16())));
    }
    let body = Limited::new(answer.into_body(), LIST_BYTES_MAX).collect().await;
    let bytes = body.map_err(|error| failed(error.to_string()))?.to_bytes();
    Ok(serde_json::from_slice(&bytes).unwrap_or_default())
}

async fn write(app: &App, name: &str, found: &Found) -> Result<(), Status> {
    let now = app.clock.now();
    let make = |state: &Current| {
        let mut object = state.value.clone();
        let mut fresh = condition(now, found.status, found.reason, &found.message);
        let mut conditions = value::list_at(&object, "status.conditions").to_vec();
        let known = conditions.iter().position(|c| text(c, "type") == "Available");
        match known {
            Some(at) => {
                // The time is that of the last change between true and false.
                if text(&conditions[at], "status") == found.status {
                    fresh["lastTransitionTime"] = conditions[at]["lastTransitionTime"].clone();
                }
                conditions[at] = fresh;
            }
            None => conditions.push(fresh),
        }
        value::set(&mut object, "status", json!({"conditions": conditions}));
        Ok(Made { object, warnings: Vec::new() })
    };
    let target = Target { subresource: "status", ..Target::new(kind(), "", name) };
    match change::by_server(app, &target, Part::Status, &make).await {
        Err(status) if status.code != 404 => Err(status),
        _ => Ok(()),
    }
}
