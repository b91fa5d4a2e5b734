//! The user in a client certificate: common name = user, organisations = groups.
//!
//! The chain, the dates and the purpose were checked when the connection was made.

use std::fmt::Write as _;

use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};
use x509_parser::oid_registry::{Oid, asn1_rs::oid};
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};

use super::User;

/// The attribute of a subject that holds the user's UID: upstream's own number (its gate AllowParsingUserUIDFromCertAuth).
const UID: Oid<'static> = oid!(1.3.6.1.4.1.57683.2);
/// Where it is told which certificate was shown (KEP-4193).
const CREDENTIAL_ID: &str = "authentication.kubernetes.io/credential-id";

/// What a certificate says.
#[derive(Debug)]
pub(crate) struct Said {
    /// The common name, if it has one.
    pub(crate) name: Option<String>,
    /// The user; nobody without a common name, with several UIDs, or with a UID that is no text.
    pub(crate) user: Option<User>,
    /// When its validity ends, in seconds since 1970; a connection may outlive its handshake, so requests check it again.
    pub(crate) expires: i64,
}

/// Reads a certificate; nothing where it is none.
pub(crate) fn read(leaf: &CertificateDer<'_>) -> Option<Said> {
    let (_, certificate) = X509Certificate::from_der(leaf).ok()?;
    let subject = certificate.subject();
    let name = last_common_name(subject);
    let user = name.and_then(|name| user(name, subject, leaf));
    Some(Said { name: name.map(str::to_owned), user, expires: certificate.validity().not_after.timestamp() })
}

fn user(name: &str, subject: &X509Name<'_>, leaf: &CertificateDer<'_>) -> Option<User> {
    let groups: Vec<&str> = subject.iter_organization().filter_map(|o| o.as_str().ok()).collect();
    let mut user = User::new(name, &groups);
    user.uid = uid(subject)?;
    user.extra.insert(CREDENTIAL_ID.to_owned(), vec![format!("X509SHA256={}", fingerprint(leaf))]);
    Some(user)
}

/// Of several the last one counts, as for Go (`pkix.Name.FillFromRDNSequence`) and so for all who approve or restrict by it.
fn last_common_name<'a>(subject: &'a X509Name<'_>) -> Option<&'a str> {
    subject.iter_common_name().last()?.as_str().ok().filter(|name| !name.is_empty())
}

/// The UID; empty without one.
fn uid(subject: &X509Name<'_>) -> Option<String> {
    let mut uids = subject.iter_by_oid(&UID);
    let uid = uids.next().map_or(Some(""), |uid| uid.as_str().ok())?;
    uids.next().is_none().then(|| uid.to_owned())
}

/// SHA-256 of the DER, in hexadecimal.
fn fingerprint(leaf: &CertificateDer<'_>) -> String {
    Sha256::digest(leaf.as_ref()).iter().fold(String::with_capacity(64), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_name_and_organisations() {
        let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).expect("valid");
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(rcgen::DnType::CommonName, "system:node:n1");
        params.distinguished_name.push(rcgen::DnType::OrganizationName, "system:nodes");
        let key = rcgen::KeyPair::generate().expect("key");
        let cert = params.self_signed(&key).expect("cert");
        let Said { user, expires, .. } = read(cert.der()).expect("a certificate");
        let user = user.expect("a user");
        assert_eq!((user.name.as_str(), user.node()), ("system:node:n1", Some("n1")));
        assert_eq!(user.groups, ["system:nodes", "system:authenticated"]);
        let shown = user.extra.get(CREDENTIAL_ID).expect("the credential is named");
        assert_eq!(shown, &[format!("X509SHA256={}", fingerprint(cert.der()))]);
        assert!(expires > 0);
    }

    #[test]
    fn uids_and_several_names() {
        let uid = rcgen::DnType::CustomDnType(vec![1, 3, 6, 1, 4, 1, 57683, 2]);
        let of = |parts: &[(rcgen::DnType, &str)]| {
            let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).expect("valid");
            params.distinguished_name = rcgen::DistinguishedName::new();
            for (kind, value) in parts {
                params.distinguished_name.push(kind.clone(), *value);
            }
            let key = rcgen::KeyPair::generate().expect("key");
            read(params.self_signed(&key).expect("cert").der()).expect("a certificate").user
        };
        let name = rcgen::DnType::CommonName;
        let with_uid = of(&[(name.clone(), "anna"), (uid.clone(), "42")]).expect("a user");
        assert_eq!((with_uid.name.as_str(), with_uid.uid.as_str()), ("anna", "42"));
        assert!(of(&[(uid, "42")]).is_none(), "no name, no user");
        assert!(of(&[(name, "")]).is_none(), "an empty name neither");
    }
}
