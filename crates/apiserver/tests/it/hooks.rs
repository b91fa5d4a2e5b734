//! A webhook server in the test's own process, and configurations that name it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use gantry_apiserver::testing::{Builder, Identity, Pki};
use gantry_common::tls;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::backends::raw;
use crate::support::Cluster;

pub(crate) const VALIDATING: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
pub(crate) const MUTATING: &str = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations";

/// A cluster whose webhooks may be on this host.
pub(crate) async fn cluster() -> Cluster {
    Cluster::with(Builder::default().configure(|config| {
        config.webhook_allowed_cidrs = vec!["127.0.0.0/8".parse().expect("a network")];
    }))
    .await
}

/// What a webhook was asked.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) uri: String,
    pub(crate) agent: String,
    /// The Authorization header, or nothing.
    pub(crate) authorization: String,
    /// The client certificate's bytes as text, or nothing.
    pub(crate) peer: String,
    pub(crate) review: Value,
}

impl Asked {
    /// The review's request.
    pub(crate) fn request(&self) -> &Value {
        &self.review["request"]
    }
}

/// A webhook server.
pub(crate) struct Hook {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    connections: Arc<AtomicUsize>,
}

/// Code and body of an answer; with code 0 the connection ends instead.
pub(crate) type Raw = (u16, String);

/// The answer to a review whose `response` this is.
pub(crate) fn answer(review: &Value, mut response: Value) -> Raw {
    response["uid"] = review["request"]["uid"].clone();
    let review = json!({"apiVersion": review["apiVersion"], "kind": "AdmissionReview", "response": response});
    (200, review.to_string())
}

/// A response that patches.
pub(crate) fn patch(operations: Value) -> Value {
    json!({"allowed": true, "patchType": "JSONPatch", "patch": STANDARD.encode(operations.to_string())})
}

/// A file in `folder` by which the API server calls `server` as `caller`, and believes what the CA has signed.
pub(crate) fn kubeconfig(folder: &Path, pki: &Pki, server: &str) -> PathBuf {
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).expect("written");
    let caller = pki.client("caller", &[]);
    write("judge-ca.pem", &pki.ca_pem());
    write("caller.pem", &caller.cert_pem);
    write("caller.key", &caller.key_pem);
    let text = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "judge", "cluster": {"server": server, "certificate-authority": "judge-ca.pem"}}],
        "users": [{"name": "me", "user": {"client-certificate": "caller.pem", "client-key": "caller.key"}}],
        "contexts": [{"name": "c", "context": {"cluster": "judge", "user": "me"}}],
    });
    write("judge.yaml", &text.to_string());
    folder.join("judge.yaml")
}

impl Hook {
    /// A server for these names; `respond` makes the `response` of a review.
    pub(crate) async fn start(cluster: &Cluster, respond: impl Fn(&Value) -> Value + Clone + Send + 'static) -> Self {
        Self::raw(cluster, &["127.0.0.1"], move |review| answer(review, respond(&review["request"]))).await
    }

    /// As [`Hook::start`], with a certificate for `names` and whatever answer.
    pub(crate) async fn raw(
        cluster: &Cluster,
        names: &[&str],
        respond: impl Fn(&Value) -> Raw + Clone + Send + 'static,
    ) -> Self {
        Self::of(cluster.server.serving(names), &cluster.server.ca_pem(), respond).await
    }

    /// A server with this certificate; clients may show one of the CA.
    pub(crate) async fn of(
        identity: Identity,
        clients: &str,
        respond: impl Fn(&Value) -> Raw + Clone + Send + 'static,
    ) -> Self {
        let pem = tls::Identity { cert_pem: identity.cert_pem.into_bytes(), key_pem: identity.key_pem.into_bytes() };
        let key = tls::certified_key(&pem, "the webhook").expect("valid");
        let resolver = Arc::new(rustls::sign::SingleCertAndKey::from(key));
        let roots = tls::roots(clients.as_bytes(), "the CA").expect("valid");
        let config = tls::server_config(resolver, Some(roots), &[b"http/1.1"]).expect("valid");
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let connections: Arc<AtomicUsize> = Arc::default();
        let (all, count) = (asked.clone(), connections.clone());
        let address = raw(move |stream| {
            let (acceptor, respond, all, count) = (acceptor.clone(), respond.clone(), all.clone(), count.clone());
            async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                count.fetch_add(1, Ordering::Relaxed);
                let shown = stream.get_ref().1.peer_certificates().and_then(|certificates| certificates.first());
                let peer = shown.map(|der| String::from_utf8_lossy(der).into_owned()).unwrap_or_default();
                let service = service_fn(move |request| answered(request, peer.clone(), respond.clone(), all.clone()));
                drop(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
            }
        })
        .await;
        Self { address, asked, connections }
    }

    /// Everything that it was asked.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().clone()
    }

    /// The last question's request.
    pub(crate) fn last(&self) -> Value {
        self.asked().pop().expect("asked").request().clone()
    }

    /// TLS connections that it has served.
    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// A webhook of this server about creates and updates of config maps, with `change` on top.
    pub(crate) fn config(&self, cluster: &Cluster, name: &str, change: Value) -> Value {
        let ca = STANDARD.encode(cluster.server.ca_pem());
        let url = format!("https://{}/{name}", self.address);
        let mut webhook = json!({
            "name": format!("{name}.example.com"), "clientConfig": {"url": url, "caBundle": ca},
            "rules": [{"operations": ["CREATE", "UPDATE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["configmaps"]}],
            "sideEffects": "None", "admissionReviewVersions": ["v1"],
            // Objects of the bootstrap are none of its business.
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "default"}},
        });
        for (key, value) in change.as_object().into_iter().flatten() {
            webhook[key] = value.clone();
        }
        webhook
    }
}

async fn answered(
    request: Request<Incoming>,
    peer: String,
    respond: impl Fn(&Value) -> Raw,
    all: Arc<Mutex<Vec<Asked>>>,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.expect("a body").to_bytes();
    let review: Value = serde_json::from_slice(&body).expect("JSON");
    let header = |name: &str| parts.headers.get(name).map_or("", |value| value.to_str().expect("text")).to_owned();
    let (agent, authorization) = (header("user-agent"), header("authorization"));
    let (code, body) = respond(&review);
    all.lock().push(Asked { uri: parts.uri.to_string(), agent, authorization, peer, review });
    if code == 0 {
        return Err(std::io::ErrorKind::ConnectionAborted.into());
    }
    let response = Response::builder().status(code).header("content-type", "application/json");
    Ok(response.body(Full::new(Bytes::from(body))).expect("a response"))
}

/// Registers webhooks under a name; the server knows them afterwards.
pub(crate) async fn register(cluster: &Cluster, path: &str, name: &str, webhooks: &[Value]) {
    let body = json!({"metadata": {"name": name}, "webhooks": webhooks});
    let made = cluster.rest("POST", path, &[], &body.to_string()).await;
    assert_eq!(made.code, 201, "{}", made.text);
    assert_eq!(cluster.rest("GET", path, &[], "").await.code, 200);
}
