//! Chains of certificates, judged as Go's crypto/x509 judges them.
//!
//! webpki is stricter than what the clients and servers of Kubernetes were made for: it takes no leaf that may sign (`openssl req -x509` makes
//! such), and none of version 1 (`openssl x509 -req` without extensions makes such). What webpki takes is taken; of what it refuses this
//! takes what `Certificate.Verify` of Go would take. Constraints of names are not judged here: with them webpki has the last word.

use rustls::pki_types::{CertificateDer, UnixTime};
use x509_parser::extensions::{ExtendedKeyUsage, ParsedExtension};
use x509_parser::oid_registry::{OID_PKCS1_SHA1WITHRSA, OID_SHA1_WITH_RSA};
use x509_parser::prelude::{ASN1Time, FromDer, X509Certificate, X509Version};

/// Certificates in a chain, leaf and root included.
const DEPTH_MAX: usize = 8;
/// Signatures checked for one leaf: each costs up to 0.1 ms, and anybody may send chains.
const CHECKS_MAX: usize = 32;
/// Certificates that are looked at beside the leaf.
const SHOWN_MAX: usize = 16;

/// What a certificate is shown for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// By a server, of itself.
    Server,
    /// By a client, of itself.
    Client,
}

impl Purpose {
    /// A certificate without the extension is for everything.
    fn is_met(self, usage: Option<&ExtendedKeyUsage<'_>>) -> bool {
        usage.is_none_or(|usage| {
            usage.any
                || match self {
                    Self::Server => usage.server_auth,
                    Self::Client => usage.client_auth,
                }
        })
    }
}

/// Why a certificate is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// It is no certificate.
    #[error("the certificate cannot be read")]
    Unreadable,
    /// Before or after its time.
    #[error("the certificate has expired or is not yet valid")]
    OutOfDate,
    /// It has an extension that must be understood and is not.
    #[error("the certificate has a critical extension that is not understood")]
    Critical,
    /// Its extended key usage names other purposes.
    #[error("the certificate is for other purposes")]
    Usage,
    /// No authority that is trusted has signed it.
    #[error("the certificate is signed by an unknown authority")]
    UnknownAuthority,
}

/// Whether one of `roots` stands behind `leaf` for `purpose` at `now`; `shown` is what came with it.
///
/// # Errors
/// Why not.
pub fn verify(
    leaf: &CertificateDer<'_>,
    shown: &[CertificateDer<'_>],
    roots: &[CertificateDer<'_>],
    (purpose, now): (Purpose, UnixTime),
) -> Result<(), Distrust> {
    let seconds = i64::try_from(now.as_secs()).map_err(|_| Distrust::OutOfDate)?;
    let now = ASN1Time::from_timestamp(seconds).map_err(|_| Distrust::OutOfDate)?;
    let parsed = parse(leaf).ok_or(Distrust::Unreadable)?;
    judge(&parsed, purpose, now)?;
    if roots.iter().any(|root| root == leaf) {
        return Ok(());
    }
    let usable = |cert: &X509Certificate<'_>| judge(cert, purpose, now).is_ok() && may_sign(cert);
    let search = Search {
        roots: roots.iter().filter_map(parse).filter(usable).collect(),
        shown: shown.iter().take(SHOWN_MAX).filter_map(parse).filter(usable).collect(),
    };
    let mut checks = CHECKS_MAX;
    if search.reaches_root(&[&parsed], &mut checks) { Ok(()) } else { Err(Distrust::UnknownAuthority) }
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    let (rest, certificate) = X509Certificate::from_der(der).ok()?;
    rest.is_empty().then_some(certificate)
}

/// What holds for each certificate of a chain.
fn judge(certificate: &X509Certificate<'_>, purpose: Purpose, now: ASN1Time) -> Result<(), Distrust> {
    if !certificate.validity().is_valid_at(now) {
        return Err(Distrust::OutOfDate);
    }
    if certificate.extensions().iter().any(|e| e.critical && !is_understood(e.parsed_extension())) {
        return Err(Distrust::Critical);
    }
    let usage = certificate.extended_key_usage().map_err(|_| Distrust::Unreadable)?;
    if purpose.is_met(usage.map(|usage| usage.value)) { Ok(()) } else { Err(Distrust::Usage) }
}

/// The critical extensions that Go understands; names that are constrained are left to webpki.
fn is_understood(extension: &ParsedExtension<'_>) -> bool {
    matches!(
        extension,
        ParsedExtension::BasicConstraints(_)
            | ParsedExtension::KeyUsage(_)
            | ParsedExtension::ExtendedKeyUsage(_)
            | ParsedExtension::SubjectAlternativeName(_)
            | ParsedExtension::AuthorityKeyIdentifier(_)
            | ParsedExtension::SubjectKeyIdentifier(_)
            | ParsedExtension::CertificatePolicies(_)
    )
}

/// Whether others may be signed with its key.
fn may_sign(certificate: &X509Certificate<'_>) -> bool {
    let (Ok(constraints), Ok(usage), Ok(None)) =
        (certificate.basic_constraints(), certificate.key_usage(), certificate.name_constraints())
    else {
        return false;
    };
    let is_authority = match constraints {
        Some(constraints) => constraints.value.ca,
        // Before version 3 there was nothing to say it with.
        None => certificate.version() != X509Version::V3,
    };
    is_authority && usage.is_none_or(|usage| usage.value.key_cert_sign())
}

struct Search<'a> {
    roots: Vec<X509Certificate<'a>>,
    shown: Vec<X509Certificate<'a>>,
}

impl Search<'_> {
    /// Whether what `chain` (the leaf first) ends with leads to a root.
    fn reaches_root(&self, chain: &[&X509Certificate<'_>], checks: &mut usize) -> bool {
        let Some(last) = chain.last() else { return false };
        if chain.len() >= DEPTH_MAX {
            return false;
        }
        // Of the leaf and those between, the leaf does not count.
        let between = u32::try_from(chain.len() - 1).unwrap_or(u32::MAX);
        if self.roots.iter().any(|root| has_signed(root, last, between, checks)) {
            return true;
        }
        let has_authority = |cert: &X509Certificate<'_>| cert.basic_constraints().is_ok_and(|c| c.is_some());
        self.shown.iter().filter(|next| has_authority(next)).any(|next| {
            let is_new = chain.iter().all(|known| known.as_raw() != next.as_raw());
            is_new && has_signed(next, last, between, checks) && self.reaches_root(&[chain, &[next]].concat(), checks)
        })
    }
}

fn has_signed(issuer: &X509Certificate<'_>, signed: &X509Certificate<'_>, between: u32, checks: &mut usize) -> bool {
    let longest = issuer.basic_constraints().ok().flatten().and_then(|c| c.value.path_len_constraint);
    let algorithm = &signed.signature_algorithm.algorithm;
    let is_weak = *algorithm == OID_PKCS1_SHA1WITHRSA || *algorithm == OID_SHA1_WITH_RSA;
    let is_named = issuer.subject().as_raw() == signed.issuer().as_raw();
    if !is_named || is_weak || longest.is_some_and(|longest| between > longest) || *checks == 0 {
        return false;
    }
    *checks -= 1;
    signed.verify_signature(Some(issuer.public_key())).is_ok()
}

#[cfg(test)]
mod tests;
