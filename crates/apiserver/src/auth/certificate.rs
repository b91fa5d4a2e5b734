//! The user in a client certificate: common name = user, organisations = groups.
//!
//! The chain, the dates and the purpose were checked in the TLS handshake already.

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::User;

/// Reads the user; a certificate without a common name names nobody.
pub(crate) fn user(leaf: &CertificateDer<'_>) -> Option<User> {
    let (_, certificate) = X509Certificate::from_der(leaf).ok()?;
    let subject = certificate.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?;
    if name.is_empty() {
        return None;
    }
    let groups: Vec<&str> = subject.iter_organization().filter_map(|o| o.as_str().ok()).collect();
    Some(User::new(name, &groups))
}

/// When the certificate's validity ends; a connection may outlive its handshake, so requests check it again.
pub(crate) fn expires(leaf: &CertificateDer<'_>) -> Option<i64> {
    let (_, certificate) = X509Certificate::from_der(leaf).ok()?;
    Some(certificate.validity().not_after.timestamp())
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
        let user = user(cert.der()).expect("a user");
        assert_eq!((user.name.as_str(), user.node()), ("system:node:n1", Some("n1")));
        assert_eq!(user.groups, ["system:nodes", "system:authenticated"]);
        assert!(expires(cert.der()).is_some_and(|t| t > 0));
    }
}
