//! Whether remote group versions can be had: upstream's checks, one after the other, and the condition that says what came of them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt, StreamExt};
use gantry_api::status::Status;
use gantry_api::{Value, kinds, value};
use http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use serde_json::json;

use super::lists::openapi;
use super::remote::{Remote, name_user};
use super::swagger::Swagger;
use super::{Lists, kind};
use crate::app::App;
use crate::auth::{MASTERS, User};
use crate::dial::{self, Endpoints};
use crate::pipeline::change::{self, Made, Part};
use crate::pipeline::current::Current;
use crate::registry::aggregation::{available, condition, local_condition};
use crate::request::Target;

/// The reason when a server does not answer.
const DISCOVERY: &str = "FailedDiscoveryCheck";
/// Connections made for one check: one that succeeds is enough.
const ATTEMPTS: usize = 5;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bytes of a list of resources.
const LIST_BYTES_MAX: usize = 4 << 20;
/// Bytes of a document of OpenAPI version 2, which describes everything that a server serves.
const SWAGGER_BYTES_MAX: usize = 16 << 20;
const SWAGGER: &str = "/openapi/v2";

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

/// Looks at one APIService, and writes down what it found if that is news. Says whether its server did not answer.
///
/// # Errors
/// When the store fails.
pub(super) async fn look(app: &Arc<App>, object: &Value) -> Result<bool, Status> {
    let name = value::str_at(object, "metadata.name").unwrap_or_default();
    let found = match Remote::read(object) {
        Some(remote) => check(app, &remote).await,
        None => {
            let local = local_condition(app.clock.now());
            Found { status: "True", reason: "Local", message: text(&local, "message").to_owned() }
        }
    };
    if found.status == "False" && available(object).is_none_or(|known| text(known, "status") != "False") {
        app.metrics.unavailable.count(name, found.reason);
    }
    if !available(object).is_some_and(|known| says(known, &found)) {
        write(app, name, &found).await?;
    }
    Ok(found.reason == DISCOVERY)
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
                    lists.swagger = swagger(app, remote).await;
                    app.aggregator.hear(&remote.name, lists);
                }
                return Found { status: "True", reason: "Passed", message: "all checks passed".to_owned() };
            }
            Err(why) => last = why,
        }
    }
    Found::missing(DISCOVERY, last)
}

/// What the remote's document of OpenAPI version 2 says, which is asked for only if it has changed. One that cannot be had now
/// is still as it was.
async fn swagger(app: &Arc<App>, remote: &Remote) -> Option<Arc<Swagger>> {
    let before = app.aggregator.said(&remote.name).and_then(|lists| lists.swagger.clone());
    let etag = before.as_ref().map(|swagger| swagger.etag.as_str()).unwrap_or_default();
    let asked = tokio::time::timeout(PATIENCE, get(app, remote, SWAGGER, etag, SWAGGER_BYTES_MAX)).await;
    match asked {
        Ok(Ok(answer)) => Swagger::read(&answer.document, &remote.root(), answer.etag).map(Arc::new),
        Ok(Err((_, Failed::Status(StatusCode::NOT_FOUND)))) => None,
        Ok(Err(_)) | Err(_) => before,
    }
}

/// Reads a document of JSON at a path of the remote server.
async fn ask(app: &Arc<App>, remote: &Remote, path: &str) -> Result<Value, String> {
    let url = |host: &str| format!("https://{host}{path}");
    let by_name = format!("{}.{}.svc:{}", remote.service, remote.namespace, remote.port);
    match tokio::time::timeout(PATIENCE, get(app, remote, path, "", LIST_BYTES_MAX)).await {
        Ok(Ok(answer)) => Ok(answer.document),
        Ok(Err((host, failed))) => {
            let url = url(host.as_deref().unwrap_or(&by_name));
            let why = match failed {
                Failed::Other(why) => why,
                Failed::Status(code) => format!("bad status from {url}: {}", code.as_u16()),
            };
            Err(format!("failing or missing response from {url}: {why}"))
        }
        Err(_) => Err(format!("timed out waiting for {}", url(&by_name))),
    }
}

/// A document that a remote server gave.
struct Answer {
    document: Value,
    etag: String,
}

/// Why there is none.
enum Failed {
    Status(StatusCode),
    Other(String),
}

/// The answer, or who did not give it, if there was somebody, and why. `etag`: that of a document that is there already.
async fn get(
    app: &Arc<App>,
    remote: &Remote,
    path: &str,
    etag: &str,
    bytes_max: usize,
) -> Result<Answer, (Option<String>, Failed)> {
    let connected = remote.connect::<Empty<Bytes>>(app).await;
    let (backend, host) = connected.map_err(|error| (None, Failed::Other(error.status().message)))?;
    let failed = |why: String| (Some(host.clone()), Failed::Other(why));
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = path.parse().map_err(|_| failed("the path cannot be asked for".to_owned()))?;
    let headers = request.headers_mut();
    headers.insert(header::HOST, HeaderValue::from_str(&host).map_err(|error| failed(error.to_string()))?);
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    if let Some(etag) = HeaderValue::from_str(etag).ok().filter(|etag| !etag.is_empty()) {
        headers.insert(header::IF_NONE_MATCH, etag);
    }
    let aggregator = User::new("system:kube-aggregator", &[MASTERS]);
    name_user(headers, &aggregator).map_err(|error| failed(error.to_string()))?;
    let answer = backend.send(request).await.map_err(|error| failed(gantry_common::error_chain(&error)))?;
    if !answer.status().is_success() {
        return Err((Some(host), Failed::Status(answer.status())));
    }
    let etag = answer.headers().get(header::ETAG).and_then(|etag| etag.to_str().ok()).unwrap_or_default().to_owned();
    let body = Limited::new(answer.into_body(), bytes_max).collect().await;
    let bytes = body.map_err(|error| failed(error.to_string()))?.to_bytes();
    Ok(Answer { document: serde_json::from_slice(&bytes).unwrap_or_default(), etag })
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
