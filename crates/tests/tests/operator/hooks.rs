//! The operator's webhooks, in the types of kube-rs: they fill in, judge and convert sites.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use gantry_common::{task, tls};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use kube::ResourceExt;
use kube::api::DynamicObject;
use kube::core::Status;
use kube::core::admission::{AdmissionRequest, AdmissionResponse, AdmissionReview, Operation};
use kube::core::conversion::{ConversionRequest, ConversionResponse, ConversionReview};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::site::Site;

/// A word that no page may say.
pub(crate) const BANNED: &str = "lorem";
/// A label that keeps a site.
pub(crate) const PROTECTED: &str = "protected";
/// What a site has that does not say how many servers it wants.
pub(crate) const SERVERS: i32 = 2;

/// Serves the webhooks on a free port.
pub(crate) async fn serve(identity: &tls::Identity) -> SocketAddr {
    let key = tls::certified_key(identity, "the webhooks").expect("valid");
    let resolver = Arc::new(rustls::sign::SingleCertAndKey::from(key));
    let config = tls::server_config(resolver, None, &[b"http/1.1"]).expect("valid");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    drop(task::spawn("webhooks", async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            drop(task::spawn("webhook", async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service_fn(answer));
                drop(connection.await);
            }));
        }
    }));
    address
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await.expect("a body").to_bytes();
    let said = match path.as_str() {
        "/mutate" => review(&body, fill_in),
        "/validate" => review(&body, judge),
        _ => convert(&body),
    };
    let response = Response::builder().header("content-type", "application/json");
    Ok(response.body(Full::new(Bytes::from(said.to_string()))).expect("a response"))
}

fn parsed<T: DeserializeOwned>(body: &Bytes) -> T {
    serde_json::from_slice(body).expect("a review")
}

fn review(body: &Bytes, decide: impl Fn(&AdmissionRequest<Site>, AdmissionResponse) -> AdmissionResponse) -> Value {
    let request: AdmissionRequest<Site> = parsed::<AdmissionReview<Site>>(body).try_into().expect("a request");
    let response = decide(&request, AdmissionResponse::from(&request));
    let review: AdmissionReview<DynamicObject> = response.into_review();
    serde_json::to_value(review).expect("JSON")
}

/// A site that does not say how many servers it wants has two.
fn fill_in(request: &AdmissionRequest<Site>, response: AdmissionResponse) -> AdmissionResponse {
    match &request.object {
        Some(site) if site.spec.replicas.is_none() => {
            let patch = json!([{"op": "add", "path": "/spec/replicas", "value": SERVERS}]);
            response.with_patch(serde_json::from_value(patch).expect("a patch")).expect("a patch")
        }
        _ => response,
    }
}

/// Pages say nothing banned, and protected sites stay.
fn judge(request: &AdmissionRequest<Site>, response: AdmissionResponse) -> AdmissionResponse {
    match (&request.operation, &request.object, &request.old_object) {
        (Operation::Delete, _, Some(site)) if site.labels().contains_key(PROTECTED) => {
            response.deny(format!("{} is protected", site.name_any()))
        }
        (_, Some(site), _) if site.spec.page.contains(BANNED) => {
            let user = request.user_info.username.clone().unwrap_or_default();
            response.deny(format!("{user} may not say {BANNED:?}"))
        }
        _ => response,
    }
}

fn convert(body: &Bytes) -> Value {
    let request = ConversionRequest::from_review(parsed::<ConversionReview>(body)).expect("a request");
    let (objects, wanted) = (request.objects.clone(), request.desired_api_version.clone());
    let response = ConversionResponse::for_request(request);
    let converted: Result<Vec<Value>, String> = objects.into_iter().map(|o| converted(o, &wanted)).collect();
    let response = match converted {
        Ok(objects) => response.success(objects),
        Err(why) => response.failure(Status::failure(&why, "Unconvertible")),
    };
    serde_json::to_value(response.into_review()).expect("JSON")
}

/// `v1` says page and replicas, `v1alpha1` text and size.
fn converted(mut object: Value, wanted: &str) -> Result<Value, String> {
    let names = [("page", "text"), ("replicas", "size")];
    let is_old = wanted.ends_with("/v1alpha1");
    let spec = object["spec"].as_object_mut().ok_or("there is no spec")?;
    for (new, old) in names {
        let (from, to) = if is_old { (new, old) } else { (old, new) };
        if let Some(value) = spec.remove(from) {
            spec.insert(to.to_owned(), value);
        }
    }
    object["apiVersion"] = wanted.into();
    Ok(object)
}
