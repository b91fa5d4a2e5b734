//! Service account tokens for projected volumes, renewed before they expire.

use std::{collections::BTreeMap, sync::Arc};

use gantry_client::Client;
use gantry_common::clock::SharedClock;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, ServiceAccount, ServiceAccountTokenProjection};
use parking_lot::Mutex;
use serde_json::json;

use crate::pod;

/// The lifetime of a token whose source states none, in seconds.
const DEFAULT_SECONDS: i64 = 3600;
/// A token is renewed after this share of its life, or after a day.
const RENEW_PERCENT: i64 = 80;
const RENEW_AT_LATEST: SignedDuration = SignedDuration::from_hours(24);

/// A token and when to ask for the next one.
#[derive(Debug, Clone)]
pub(crate) struct Token {
    /// The token.
    pub(crate) token: String,
    /// When it should be renewed.
    pub(crate) renew_at: Timestamp,
}

/// Fetches and keeps tokens. One entry per token of a running pod.
#[derive(Clone)]
pub(crate) struct Tokens {
    client: Client,
    clock: SharedClock,
    kept: Arc<Mutex<BTreeMap<(String, String), Token>>>,
}

impl Tokens {
    /// Tokens from the API server.
    pub(crate) fn new(client: Client, clock: SharedClock) -> Self {
        Self { client, clock, kept: Arc::default() }
    }

    /// The token of one source: the kept one, or a new one when it is due.
    pub(crate) async fn get(&self, pod: &Pod, source: &ServiceAccountTokenProjection) -> Result<Token, String> {
        let uid = pod::reference(pod).uid;
        let key = (uid, format!("{}:{}", source.audience.as_deref().unwrap_or_default(), source.path));
        let now = self.clock.now();
        let kept = self.kept.lock().get(&key).cloned();
        if let Some(token) = kept.clone().filter(|token| now < token.renew_at) {
            return Ok(token);
        }
        match self.request(pod, source, now).await {
            Ok(token) => {
                self.kept.lock().insert(key, token.clone());
                Ok(token)
            }
            // The old one is good for a while yet; ask again in a minute.
            Err(error) => match kept {
                Some(token) => {
                    tracing::warn!(pod = pod::full_name(pod), error, "token could not be renewed");
                    Ok(Token { renew_at: now + SignedDuration::from_mins(1), ..token })
                }
                None => Err(error),
            },
        }
    }

    async fn request(
        &self,
        pod: &Pod,
        source: &ServiceAccountTokenProjection,
        now: Timestamp,
    ) -> Result<Token, String> {
        let reference = pod::reference(pod);
        let account = pod::spec(pod).service_account_name.as_deref().unwrap_or("default");
        let seconds = source.expiration_seconds.unwrap_or(DEFAULT_SECONDS);
        let audiences: Vec<&str> = source.audience.as_deref().into_iter().filter(|a| !a.is_empty()).collect();
        let body = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
            "spec": {
                "audiences": audiences, "expirationSeconds": seconds,
                "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": reference.name, "uid": reference.uid},
            },
        });
        let accounts = self.client.namespaced::<ServiceAccount>(&reference.namespace);
        let answer = accounts.create_subresource(account, "token", &body).await;
        let answer = answer.map_err(|error| gantry_common::error_chain(&error))?;
        let token = answer.pointer("/status/token").and_then(serde_json::Value::as_str);
        let token = token.ok_or("the API server's answer holds no token")?.to_owned();
        let expires = answer.pointer("/status/expirationTimestamp").and_then(serde_json::Value::as_str);
        let expires = expires
            .and_then(|t| t.parse::<Timestamp>().ok())
            .unwrap_or_else(|| now + SignedDuration::from_secs(seconds));
        Ok(Token { token, renew_at: renew_at(now, expires) })
    }

    /// Drops a pod's tokens.
    pub(crate) fn forget(&self, uid: &str) {
        self.kept.lock().retain(|(of, _), _| of != uid);
    }
}

fn renew_at(now: Timestamp, expires: Timestamp) -> Timestamp {
    let life = expires.duration_since(now).as_secs().max(0);
    now + SignedDuration::from_secs(life * RENEW_PERCENT / 100).min(RENEW_AT_LATEST)
}

#[cfg(test)]
mod tests {
    use gantry_client::{Config, ResourceId, WriteParams};
    use gantry_common::clock;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_token_is_the_accounts_and_bound_to_the_pod() {
        let folder = tempfile::tempdir().unwrap();
        let server = gantry_apiserver::testing::TestServer::start(folder.path()).await.unwrap();
        let client = |identity: Option<(&str, &str)>, token: Option<String>| {
            let identity = identity.map(|(user, group)| server.identity(user, &[group]));
            let identity = identity.map(|i| gantry_common::tls::Identity {
                cert_pem: i.cert_pem.into_bytes(),
                key_pem: i.key_pem.into_bytes(),
            });
            let (servers, ca_pem) = (vec![server.url()], server.ca_pem().into_bytes());
            let user_agent = "test".to_owned();
            Client::new(&Config { servers, ca_pem, tls_server_name: None, identity, token, user_agent }).unwrap()
        };
        let admin = client(Some(("admin", "system:masters")), None);
        let account = serde_json::from_value(json!({"metadata": {"name": "default"}})).unwrap();
        admin.namespaced::<ServiceAccount>("default").create(&account).await.unwrap();
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "default"},
            "spec": {"nodeName": "n1", "containers": [{"name": "c", "image": "i"}]}}))
        .unwrap();
        let pod = admin.namespaced::<Pod>("default").create(&pod).await.unwrap();
        let clock = clock::Manual::new(Timestamp::now());
        let tokens = Tokens::new(client(Some(("system:node:n1", "system:nodes")), None), clock.clone());
        let source = ServiceAccountTokenProjection { path: "token".to_owned(), ..Default::default() };
        // What the node may reach follows the pod's creation by a watch.
        let first = loop {
            match tokens.get(&pod, &source).await {
                Ok(token) => break token,
                Err(error) => assert!(error.contains("forbidden"), "{error}"),
            }
        };
        let reviews = ResourceId::new("authentication.k8s.io", "v1", "selfsubjectreviews");
        let me = client(None, Some(first.token.clone())).dynamic(reviews, "");
        let me = me.create("", "", &json!({}), &WriteParams::default()).await.unwrap().object;
        let user = &me["status"]["userInfo"];
        assert_eq!(user["username"], "system:serviceaccount:default:default");
        assert_eq!(user["extra"]["authentication.kubernetes.io/pod-name"], json!(["p"]));
        assert_eq!(tokens.get(&pod, &source).await.unwrap().token, first.token, "it is kept");
        clock.set(first.renew_at);
        assert_ne!(tokens.get(&pod, &source).await.unwrap().token, first.token, "it is renewed");
    }

    #[test]
    fn tokens_are_renewed_in_time() {
        let now = Timestamp::from_second(1_000_000).unwrap();
        let check = |life: i64, expected: i64| {
            let at = renew_at(now, now + SignedDuration::from_secs(life));
            assert_eq!(at.duration_since(now).as_secs(), expected);
        };
        check(3607, 2885);
        check(365 * 86400, 86400);
        check(-5, 0);
    }
}
