//! The kubelet's own HTTP API. It has no port: a request comes as a session, which the API server has authorised.
//!
//! The paths and forms are upstream's. All of them only read.

mod files;
mod metrics;
mod query;
mod summary;

use std::{convert::Infallible, sync::Arc};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use gantry_api::status::Status;
use gantry_proto::v1::LogRequest;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Frame, Incoming as Asked},
    header::{CONTENT_TYPE, LOCATION},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};

use self::query::Query;
use super::{
    Sessions, Work,
    answer::{self, Ended},
    link::{Bytestream, Incoming, Outgoing},
    log,
};
use crate::runtime::Error;

/// Bytes of a request's head.
const HEAD_BYTES: usize = 64 * 1024;

type Body = UnsyncBoxBody<Bytes, Error>;
type Answer = Response<Body>;

/// A connection to the API.
struct Server {
    sessions: Arc<Sessions>,
}

/// A connection to the API.
pub(super) fn prepare(sessions: &Arc<Sessions>) -> Box<dyn Work> {
    Box::new(Server { sessions: Arc::clone(sessions) })
}

#[async_trait::async_trait]
impl Work for Server {
    async fn run(self: Box<Self>, incoming: &mut Incoming, outgoing: &Outgoing) -> Ended {
        let sessions = &self.sessions;
        let service = service_fn(|request: Request<Asked>| async move {
            let answer = answer(sessions, &request).await.unwrap_or_else(|status| refusal(&status));
            Ok::<_, Infallible>(answer)
        });
        let io = TokioIo::new(Bytestream::new(incoming, outgoing));
        let mut builder = http1::Builder::new();
        let served = builder.timer(TokioTimer::new()).max_buf_size(HEAD_BYTES).serve_connection(io, service).await;
        if let Err(error) = served {
            tracing::debug!(%error, "connection to the kubelet's API broke off");
            return Ended::Left;
        }
        answer::success()
    }
}

fn body(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

fn with(code: StatusCode, kind: &'static str, bytes: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(body(bytes));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    response
}

fn text(code: StatusCode, words: impl Into<Bytes>) -> Answer {
    with(code, "text/plain; charset=utf-8", words)
}

fn json(value: &Value) -> Answer {
    with(StatusCode::OK, "application/json", value.to_string())
}

/// Upstream's kubelet answers in words.
fn refusal(status: &Status) -> Answer {
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    text(code, format!("{}\n", status.message))
}

fn redirect(to: &'static str) -> Answer {
    let mut response = text(StatusCode::MOVED_PERMANENTLY, "");
    response.headers_mut().insert(LOCATION, hyper::header::HeaderValue::from_static(to));
    response
}

async fn answer(sessions: &Arc<Sessions>, request: &Request<Asked>) -> Result<Answer, Status> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return Err(Status::method_not_allowed());
    }
    let context = &sessions.context;
    let measured = || context.meter.measure(context.pods.as_ref(), &context.deps);
    match request.uri().path() {
        "/healthz" | "/healthz/ping" | "/healthz/syncloop" => Ok(text(StatusCode::OK, "ok")),
        "/pods" | "/pods/" => Ok(json(&pod_list(context.pods.list().iter().map(|pod| json!(**pod)).collect()))),
        "/runningpods" | "/runningpods/" => Ok(json(&summary::running_pods(context))),
        "/stats/summary" => Ok(json(&summary::summary(&*measured().await, context))),
        "/metrics" => Ok(with(StatusCode::OK, metrics::KIND, metrics::own(sessions))),
        "/metrics/probes" => Ok(with(StatusCode::OK, metrics::KIND, metrics::probes(context))),
        "/metrics/resource" => Ok(with(StatusCode::OK, metrics::KIND, metrics::resources(&*measured().await, context))),
        "/configz" => Ok(json(&json!({"kubeletconfig": context.config}))),
        "/logs" => Ok(redirect("/logs/")),
        path => match (path.strip_prefix("/logs/"), path.strip_prefix("/containerLogs/")) {
            (Some(file), _) => files::answer(file).await,
            (_, Some(container)) => {
                let query = Query::parse(request.uri().query().unwrap_or_default())?;
                container_log(sessions, &query::log_request(container, &query)?).await
            }
            _ => {
                tracing::debug!(path, "the kubelet's API has no such path");
                Err(Status::failure(404, "NotFound", "404 page not found"))
            }
        },
    }
}

fn pod_list(mut items: Vec<Value>) -> Value {
    for item in &mut items {
        item["apiVersion"] = "v1".into();
        item["kind"] = "Pod".into();
    }
    json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})
}

async fn container_log(sessions: &Arc<Sessions>, request: &LogRequest) -> Result<Answer, Status> {
    let stream = log::open(&sessions.context, request).await?;
    let body = StreamBody::new(stream.map_ok(Frame::data)).boxed_unsync();
    let mut response = Response::new(body);
    let kind = hyper::header::HeaderValue::from_static("text/plain");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    Ok(response)
}

/// A file's content as it is read.
fn streamed(chunks: impl futures::Stream<Item = std::io::Result<Bytes>> + Send + 'static) -> Body {
    StreamBody::new(chunks.map(|chunk| chunk.map(Frame::data).map_err(|source| Error::Stream { source })))
        .boxed_unsync()
}
