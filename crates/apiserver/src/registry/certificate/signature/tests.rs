use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use x509_parser::prelude::{FromDer as _, X509CertificationRequest};

use super::verify;

const REQUESTS: &str = include_str!("requests.tsv");

fn outcome(der: &[u8]) -> Result<(), String> {
    let (_, request) = X509CertificationRequest::from_der(der).expect("a request");
    verify(&request)
}

/// Every row with its DER and what Go says of it, empty if nothing.
fn rows() -> impl Iterator<Item = (&'static str, Vec<u8>, &'static str)> {
    REQUESTS.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let mut cells = line.split('\t');
        let mut next = || cells.next().expect("three cells");
        (next(), STANDARD.decode(next()).expect("base64"), next())
    })
}

#[test]
fn every_curve_goes_with_every_digest_and_refusals_are_gos() {
    for (name, der, expected) in rows() {
        assert_eq!(outcome(&der).err().unwrap_or_default(), expected, "{name}");
    }
}

/// The signature ends the request: its last byte belongs to `s`, or to the RSA number.
#[test]
fn a_changed_signature_is_refused() {
    for (name, mut der, _) in rows().filter(|(_, _, refused)| refused.is_empty()) {
        *der.last_mut().expect("bytes") ^= 1;
        let expected = match () {
            () if name.starts_with("RSA") => "crypto/rsa: verification error",
            () if name.starts_with("Ed25519") => "x509: Ed25519 verification failure",
            () => "x509: ECDSA verification failure",
        };
        assert_eq!(outcome(&der).err().unwrap_or_default(), expected, "{name}");
    }
}
