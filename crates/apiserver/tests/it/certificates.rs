//! Client certificates that clients of Kubernetes have, and that a stricter library would not take.

use std::sync::Arc;

use gantry_apiserver::testing::Builder;
use gantry_common::tls;
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use serde_json::json;

use crate::support::{self, Cluster};

const WHO: &str = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
const AUTHORITY: &str = include_str!("../../../common/src/tls/chain/testdata/authority.pem");
const LEAF: &[u8] = include_bytes!("../../../common/src/tls/chain/testdata/version1.pem");
const KEY: &[u8] = include_bytes!("../../../common/src/tls/chain/testdata/version1.key");

/// Shows a certificate that rustls itself would not show.
#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl ResolvesClientCert for Shows {
    fn resolve(&self, _hints: &[&[u8]], _schemes: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// What a server says to somebody of another cluster, with `headers`.
async fn as_foreigner(cluster: &Cluster, path: &str, headers: &[(&str, &str)]) -> support::Answer {
    let other = Cluster::start().await;
    let foreign = other.identity("admin", &["system:masters"]);
    let mut http = support::http(support::connect(&cluster.server, Some(&foreign)).await).await;
    let method = if path == WHO { "POST" } else { "GET" };
    support::answer(support::send_on(&mut http, method, path, headers, "{}").await).await
}

#[tokio::test]
async fn a_foreign_certificate_names_nobody_and_hides_no_token() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("tokens.csv");
    std::fs::write(&path, "s3cret,carol,9\n").expect("written");
    let cluster = Cluster::with(Builder::default().configure(move |config| config.token_auth_file = Some(path))).await;
    let refused = as_foreigner(&cluster, "/api/v1/pods", &[]).await;
    assert_eq!((refused.code, refused.json()["reason"].as_str()), (401, Some("Unauthorized")));
    let me = as_foreigner(&cluster, WHO, &[("authorization", "Bearer s3cret")]).await;
    assert_eq!((me.code, &me.json()["status"]["userInfo"]["username"]), (201, &json!("carol")));
    assert_eq!(as_foreigner(&cluster, WHO, &[("authorization", "Bearer junk")]).await.code, 401);
}

#[tokio::test]
async fn a_certificate_of_version_one_names_its_user() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("ca.crt");
    let cluster = Cluster::with(Builder::default().configure(move |config| {
        let ours = config.client_ca_file.as_ref().expect("an authority of users");
        let ours = std::fs::read_to_string(ours).expect("readable");
        std::fs::write(&path, format!("{ours}{AUTHORITY}")).expect("written");
        config.client_ca_file = Some(path);
    }))
    .await;
    let key = tls::private_key(KEY, "the key").expect("a key");
    let key = rustls::crypto::ring::sign::any_supported_type(&key).expect("a key of a kind that is known");
    let shown = CertifiedKey::new(tls::certificates(LEAF, "the leaf").expect("a certificate"), key);
    let mut config = tls::client_config(cluster.server.ca_pem().as_bytes(), None, &[b"http/1.1"]).expect("valid");
    config.client_auth_cert_resolver = Arc::new(Shows(Arc::new(shown)));
    let address = cluster.server.url().trim_start_matches("https://").to_owned();
    let stream = tokio::net::TcpStream::connect(&address).await.expect("connects");
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let stream = connector.connect("localhost".try_into().expect("a name"), stream).await.expect("shakes hands");
    let mut http = support::http(stream).await;
    let me = support::answer(support::send_on(&mut http, "POST", WHO, &[], "{}").await).await.json();
    let user = &me["status"]["userInfo"];
    assert_eq!((&user["username"], &user["groups"]), (&json!("anna"), &json!(["devs", "system:authenticated"])));
    let credential = user["extra"]["authentication.kubernetes.io/credential-id"][0].as_str().expect("named");
    assert!(credential.starts_with("X509SHA256=") && credential.len() == 75, "{credential}");
}
