//! A connection that sends any bytes, and the paths of a kind.

use bytes::Bytes;
use gantry_api::kinds::KindInfo;
use http_body_util::Full;
use hyper::client::conn::http1::SendRequest;
use tokio::sync::Mutex;

use crate::support::{self, Answer, Cluster};

/// One user's connection; requests take turns.
pub(crate) struct Client(Mutex<SendRequest<Full<Bytes>>>);

impl Client {
    pub(crate) async fn admin(cluster: &Cluster) -> Self {
        Self(Mutex::new(cluster.connection().await))
    }

    pub(crate) async fn of(cluster: &Cluster, user: &str, groups: &[&str]) -> Self {
        let identity = cluster.identity(user, groups);
        let stream = support::connect(&cluster.server, Some(&identity)).await;
        Self(Mutex::new(support::http(stream).await))
    }

    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Answer {
        let mut request = http::Request::builder().method(method).uri(path).header("host", "localhost");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).expect("a request");
        let mut sender = self.0.lock().await;
        sender.ready().await.expect("the server keeps the connection");
        support::answer(sender.send_request(request).await.expect("answers")).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], "").await
    }
}

/// `/apis/apps/v1/namespaces/default/deployments`, or without the namespace.
pub(crate) fn collection(kind: &KindInfo, namespace: &str) -> String {
    let group = if kind.group.is_empty() { "/api/v1".to_owned() } else { format!("/apis/{}", kind.api_version) };
    if kind.namespaced && !namespace.is_empty() {
        format!("{group}/namespaces/{namespace}/{}", kind.resource)
    } else {
        format!("{group}/{}", kind.resource)
    }
}
