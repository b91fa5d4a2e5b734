//! ConfigMaps, Secrets and ServiceAccounts.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use gantry_api::{Value, value};
use gantry_common::tls;
use rustls::SignatureAlgorithm as Algorithm;
use rustls::crypto::ring::sign::any_supported_type;
use serde_json::json;
use x509_parser::asn1_rs::Sequence;
use x509_parser::oid_registry::{OID_KEY_TYPE_EC_PUBLIC_KEY, OID_PKCS1_RSAENCRYPTION, OID_SIG_ED25519};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::columns::{AGE, NAME, age, cells, name, of_field, text};
use super::{Column, Ctx, Row, Strategy, metadata_field};

/// The strategy of config maps.
pub(super) struct ConfigMap;
/// The strategy of secrets.
pub(super) struct Secret;
/// The strategy of service accounts.
pub(super) struct ServiceAccount;

/// Once limited an account's pods to its own secrets.
const ENFORCED: &str = "kubernetes.io/enforce-mountable-secrets";

fn count(object: &Value, path: &str) -> usize {
    value::map_at(object, path).map_or(0, serde_json::Map::len)
}

impl Strategy for ConfigMap {
    fn columns(&self) -> &'static [Column] {
        const { &[NAME, of_field("Data", "string", "core/v1.ConfigMap", "data"), AGE] }
    }

    fn row(&self, map: &Value, now: jiff::Timestamp) -> Row {
        cells(vec![name(map), (count(map, "data") + count(map, "binaryData")).into(), age(map, now)])
    }
}

impl Strategy for Secret {
    fn warnings(&self, secret: &Value, _old: Option<&Value>) -> Vec<String> {
        if text(secret, "type") == "kubernetes.io/tls" { unfit(secret).into_iter().collect() } else { Vec::new() }
    }

    fn field_value<'a>(&self, secret: &'a Value, path: &str) -> Option<Cow<'a, str>> {
        match path {
            "type" => Some(text(secret, path).into()),
            _ => metadata_field(secret, path),
        }
    }

    fn columns(&self) -> &'static [Column] {
        const {
            &[
                NAME,
                of_field("Type", "string", "core/v1.Secret", "type"),
                of_field("Data", "string", "core/v1.Secret", "data"),
                AGE,
            ]
        }
    }

    fn row(&self, secret: &Value, now: jiff::Timestamp) -> Row {
        cells(vec![name(secret), text(secret, "type").into(), count(secret, "data").into(), age(secret, now)])
    }
}

/// Why a certificate and its key cannot serve together, in upstream's words.
fn unfit(secret: &Value) -> Option<String> {
    let pem = |entry: &str| {
        let encoded = value::map_at(secret, "data").and_then(|data| data.get(entry)?.as_str()).unwrap_or_default();
        STANDARD.decode(encoded).unwrap_or_default()
    };
    let identity = tls::Identity { cert_pem: pem("tls.crt"), key_pem: pem("tls.key") };
    let is_key = |block: &String| block.ends_with("PRIVATE KEY");
    let skipped =
        |blocks: &[String]| format!("after skipping PEM blocks of the following types: [{}]", blocks.join(" "));
    let blocks = blocks(&identity.cert_pem);
    if blocks.iter().all(|block| block != "CERTIFICATE") {
        return Some(match blocks.as_slice() {
            [] => "tls: failed to find any PEM data in certificate input".to_owned(),
            [only] if is_key(only) => "tls: failed to find certificate PEM data in certificate input, but did find a \
                                       private key; PEM inputs may have been switched"
                .to_owned(),
            all => format!("tls: failed to find \"CERTIFICATE\" PEM block in certificate input {}", skipped(all)),
        });
    }
    let blocks = self::blocks(&identity.key_pem);
    if !blocks.iter().any(is_key) {
        return Some(match blocks.as_slice() {
            [] => "tls: failed to find any PEM data in key input".to_owned(),
            [only] if only == "CERTIFICATE" => {
                "tls: found a certificate rather than a key in the PEM for the private key".to_owned()
            }
            all => format!(
                "tls: failed to find PEM block with type ending in \"PRIVATE KEY\" in key input {}",
                skipped(all)
            ),
        });
    }
    mismatch(&identity)
}

/// As [`unfit`], of a pair that is there. Go knows keys that are of no use here: of them nothing is said.
fn mismatch(identity: &tls::Identity) -> Option<String> {
    let leaf = tls::certificates(&identity.cert_pem, "").ok()?.into_iter().next()?;
    let Ok((_, certificate)) = X509Certificate::from_der(&leaf) else {
        return Some("x509: malformed certificate".to_owned());
    };
    let key = tls::private_key(&identity.key_pem, "").ok()?;
    if Sequence::from_der(key.secret_der()).is_err() {
        return Some("tls: failed to parse private key".to_owned());
    }
    let algorithm = any_supported_type(&key).ok()?.algorithm();
    let wanted = &certificate.public_key().algorithm.algorithm;
    let known = [(OID_PKCS1_RSAENCRYPTION, Algorithm::RSA), (OID_KEY_TYPE_EC_PUBLIC_KEY, Algorithm::ECDSA)];
    let known = known.into_iter().chain([(OID_SIG_ED25519, Algorithm::ED25519)]);
    if known.into_iter().any(|(oid, of_oid)| oid == *wanted && of_oid != algorithm) {
        return Some("tls: private key type does not match public key type".to_owned());
    }
    match tls::certified_key(identity, "") {
        Err(tls::Error::Rustls { source: rustls::Error::InconsistentKeys(_), .. }) => {
            Some("tls: private key does not match public key".to_owned())
        }
        _ => None,
    }
}

/// The types of the blocks in PEM.
fn blocks(pem: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(pem);
    let heads = text.lines().filter_map(|line| line.trim().strip_prefix("-----BEGIN ")?.strip_suffix("-----"));
    heads.map(str::to_owned).collect()
}

impl Strategy for ServiceAccount {
    fn prepare_create(&self, _ctx: &Ctx<'_>, account: &mut Value) {
        keep_secret_names(account);
    }

    fn prepare_update(&self, _ctx: &Ctx<'_>, new: &mut Value, _old: &Value) {
        keep_secret_names(new);
    }

    fn warnings(&self, account: &Value, old: Option<&Value>) -> Vec<String> {
        let set =
            |account: &Value| value::map_at(account, "metadata.annotations").is_some_and(|a| a.contains_key(ENFORCED));
        let fresh = set(account) && !old.is_some_and(set);
        let told = format!(
            "metadata.annotations[{ENFORCED}]: deprecated in v1.32+; prefer separate namespaces to isolate access to \
             mounted secrets"
        );
        fresh.then_some(told).into_iter().collect()
    }

    fn columns(&self) -> &'static [Column] {
        const { &[NAME, AGE] }
    }

    fn row(&self, account: &Value, now: jiff::Timestamp) -> Row {
        cells(vec![name(account), age(account, now)])
    }
}

/// Only the names of mountable secrets count.
fn keep_secret_names(account: &mut Value) {
    let Some(secrets) = value::get_mut(account, "secrets").and_then(Value::as_array_mut) else { return };
    for secret in secrets {
        *secret = json!({"name": text(secret, "name")});
    }
}
