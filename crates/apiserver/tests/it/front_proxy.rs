//! Users whom a proxy in front has authenticated: its certificate is believed, nobody else's headers are.

use std::sync::Arc;

use gantry_apiserver::RequestHeader;
use gantry_apiserver::testing::{Builder, Pki};
use gantry_common::tls;
use serde_json::{Value, json};

use crate::support::{Cluster, request};

const WHO: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
const ALICE: &[(&str, &str)] = &[
    ("x-remote-user", "alice"),
    ("x-remote-group", "dev"),
    ("x-remote-uid", "7"),
    ("x-remote-extra-acme.com%2fscope", "deep"),
];
const ROOT: &[(&str, &str)] = &[("x-remote-user", "root"), ("x-remote-group", "system:masters")];

/// A server that believes the proxy of another CA, and that CA.
async fn cluster() -> (Cluster, Arc<Pki>) {
    let folder = tempfile::tempdir().expect("a folder");
    let front = Arc::new(Pki::new());
    let path = folder.path().join("front-proxy-ca.crt");
    std::fs::write(&path, front.ca_pem()).expect("written");
    let one = |name: &str| vec![name.to_owned()];
    let builder = Builder::default().configure(move |config| {
        config.request_header = RequestHeader {
            client_ca_file: Some(path),
            allowed_names: one("front-proxy-client"),
            username_headers: one("X-Remote-User"),
            uid_headers: one("X-Remote-Uid"),
            group_headers: one("X-Remote-Group"),
            extra_headers_prefix: one("X-Remote-Extra-"),
        };
    });
    (Cluster::with(builder).await, front)
}

fn shown(pki: &Pki, name: &str) -> tls::Identity {
    let identity = pki.client(name, &["system:masters"]);
    tls::Identity { cert_pem: identity.cert_pem.into_bytes(), key_pem: identity.key_pem.into_bytes() }
}

async fn who(cluster: &Cluster, identity: Option<&tls::Identity>, headers: &[(&str, &str)]) -> Result<Value, u16> {
    let answer = request(&cluster.server, identity, "POST", WHO, headers, "{}").await;
    if answer.code == 201 { Ok(answer.json()["status"]["userInfo"].clone()) } else { Err(answer.code) }
}

#[tokio::test]
async fn a_proxy_in_front_speaks_for_users() {
    let (cluster, front) = cluster().await;
    let proxy = shown(&front, "front-proxy-client");
    let alice = who(&cluster, Some(&proxy), ALICE).await.expect("recognised");
    assert_eq!(
        alice,
        json!({"username": "alice", "uid": "7", "groups": ["dev", "system:authenticated"], "extra": {"acme.com/scope": ["deep"]}})
    );
    let secrets = "/api/v1/namespaces/kube-system/secrets";
    let read = async |headers| request(&cluster.server, Some(&proxy), "GET", secrets, headers, "").await.code;
    assert_eq!((read(ALICE).await, read(ROOT).await), (403, 200), "rights are the user's, not the proxy's");
}

#[tokio::test]
async fn the_headers_of_others_mean_nothing() {
    let (cluster, front) = cluster().await;
    assert_eq!(who(&cluster, None, ROOT).await, Err(403), "without a certificate");
    let bob = cluster.identity("bob", &[]);
    assert_eq!(who(&cluster, Some(&bob), ROOT).await.expect("bob")["username"], "bob");
    let namesake = cluster.identity("front-proxy-client", &[]);
    let seen = who(&cluster, Some(&namesake), ROOT).await.expect("a user of the users' CA");
    assert_eq!(seen["username"], "front-proxy-client", "the name alone is not enough");
    let stranger = shown(&front, "somebody-else");
    assert_eq!(who(&cluster, Some(&stranger), ROOT).await, Err(401), "a name that is not allowed");
    let proxy = shown(&front, "front-proxy-client");
    assert_eq!(who(&cluster, Some(&proxy), &[]).await, Err(401), "its own name and groups make it nobody");
    assert_eq!(who(&cluster, Some(&proxy), &[("x-remote-group", "system:masters")]).await, Err(401), "no user");
    let plain = Cluster::start().await;
    let bob = plain.identity("bob", &[]);
    assert_eq!(who(&plain, Some(&bob), ROOT).await.expect("bob")["username"], "bob", "no CA, no proxies");
}
