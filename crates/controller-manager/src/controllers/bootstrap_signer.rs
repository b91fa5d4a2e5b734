//! Signs with each bootstrap token what a machine reads before it trusts anybody: the config map `kube-public/cluster-info`.
//!
//! The signature is a JWS (RFC 7515, appendix F) with HS256 whose content is left out (k8s.io/cluster-bootstrap token/jws).

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use gantry_client::{Change, Key, Object};
use gantry_controller::{Doing, Error, Outcome, Reconciler, Runner};
use k8s_openapi::api::core::v1::ConfigMap;
use ring::hmac;
use serde_json::json;

use super::tokens::settled;
use crate::{bootstrap_token, context::Context, readers::CLUSTER_INFO};

/// What is signed.
const CONTENT: &str = "kubeconfig";
/// Before a token's id: the key of its signature.
const SIGNATURE: &str = "jws-kubeconfig-";

/// Starts the controller; resolves when it stopped.
pub(super) async fn run(context: Context) {
    let readers = &context.readers;
    let runner = Runner::new("bootstrap-signer", 1, context.stop.clone())
        .watch(&readers.cluster_info, always)
        .watch(&readers.bootstrap_tokens, always);
    runner.run(Arc::new(Controller { context })).await;
}

fn always<K: Object>(_: &Change<K>) -> Vec<Key> {
    vec![Key::new(bootstrap_token::PUBLIC, CLUSTER_INFO)]
}

/// The signature of `content` by a token.
fn signature(content: &str, id: &str, secret: &str) -> String {
    let header = URL_SAFE_NO_PAD.encode(json!({"alg": "HS256", "kid": id}).to_string());
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(content));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), signed.as_bytes());
    format!("{header}..{}", URL_SAFE_NO_PAD.encode(tag))
}

/// The data of the config map with the signatures of these tokens and no others; nothing where there is nothing to sign.
fn signed<'t>(
    data: &BTreeMap<String, String>,
    tokens: impl Iterator<Item = (&'t str, &'t str)>,
) -> Option<BTreeMap<String, String>> {
    let content = data.get(CONTENT)?;
    let rest = data.iter().filter(|(key, _)| !key.starts_with(SIGNATURE)).map(|(k, v)| (k.clone(), v.clone()));
    let signatures = tokens.map(|(id, secret)| (format!("{SIGNATURE}{id}"), signature(content, id, secret)));
    Some(rest.chain(signatures).collect())
}

struct Controller {
    context: Context,
}

#[async_trait]
impl Reconciler for Controller {
    async fn reconcile(&self, key: &Key) -> Result<Outcome, Error> {
        let readers = &self.context.readers;
        let Some(map) = readers.cluster_info.get(key) else { return Ok(Outcome::Done) };
        let (secrets, now) = (readers.bootstrap_tokens.list(), self.context.clock.now());
        let tokens = secrets.iter().filter_map(|secret| bootstrap_token::signing(secret, now));
        let data =
            map.data.as_ref().and_then(|data| signed(data, tokens)).filter(|data| Some(data) != map.data.as_ref());
        let Some(data) = data else { return Ok(Outcome::Done) };
        let changed = ConfigMap { data: Some(data), ..ConfigMap::clone(&map) };
        let written = self.context.client.namespaced::<ConfigMap>(bootstrap_token::PUBLIC).update(&changed).await;
        settled(written.map(drop)).doing(|| format!("sign config map {key}")).map(|()| Outcome::Done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors are those of upstream's own test.
    #[test]
    fn signatures_are_upstreams() {
        let check = |content: &str, secret: &str, tag: &str| {
            let expected = format!("eyJhbGciOiJIUzI1NiIsImtpZCI6Impvc2h1YSJ9..{tag}");
            assert_eq!(signature(content, "joshua", secret), expected);
        };
        let (content, secret) =
            ("Hello from the other side. I must have called a thousand times.", "my voice is my passcode");
        check(content, secret, "VShe2taLd-YTrmWuRkcL_8QTNDHYxQIEBsAYYiIj1_8");
        check("", secret, "7Ui1ALizW4jXphVUB7xUqC9vLYLL9RZeOFfVLoB7Tgk");
        check(content, "", "UfkqvDGiIFxrMnFseDj9LYJOLNrvjW8aHhF71mvvAs8");
    }

    #[test]
    fn each_token_signs_and_no_signature_outlives_its_token() {
        let data = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let before: BTreeMap<String, String> =
            data(&[("kubeconfig", "x"), ("jws-kubeconfig-old", "s"), ("jws-kubeconfig-new", "wrong"), ("other", "y")]);
        let after = signed(&before, [("new", "secret")].into_iter()).expect("something to sign");
        let right = signature("x", "new", "secret");
        assert_eq!(after, data(&[("kubeconfig", "x"), ("jws-kubeconfig-new", &right), ("other", "y")]));
        assert_eq!(signed(&data(&[("other", "y")]), std::iter::empty()), None);
    }
}
