//! Verifiers for the two ends of a connection, as lenient as Go's: see [`super::chain`].

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::crypto::{
    CryptoProvider, verify_tls12_signature, verify_tls13_signature, verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::chain::{self, Purpose};

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Authorities that certificates may come from.
#[derive(Debug, Clone)]
pub struct Authorities {
    certificates: Vec<CertificateDer<'static>>,
    store: Arc<RootCertStore>,
}

impl Authorities {
    /// The certificates in PEM text; `what` names the text in errors.
    ///
    /// # Errors
    /// As [`super::roots`].
    pub fn parse(pem: &[u8], what: &str) -> Result<Self, super::Error> {
        let certificates = super::certificates(pem, what)?;
        let store = Arc::new(super::trusting(certificates.iter().cloned(), what)?);
        Ok(Self { certificates, store })
    }

    /// Their names, as a server tells them to clients.
    #[must_use]
    pub fn names(&self) -> Vec<DistinguishedName> {
        self.store.subjects()
    }

    /// One that judges what clients show.
    ///
    /// # Errors
    /// When there is no authority.
    pub fn of_clients(self) -> Result<Clients, super::Error> {
        let strict = WebPkiClientVerifier::builder_with_provider(self.store.clone(), provider());
        Ok(Clients { strict: strict.build().map_err(super::Error::Verifier)?, authorities: self })
    }

    /// One that judges what servers show.
    pub(super) fn of_servers(self) -> Result<Servers, super::Error> {
        let strict = WebPkiServerVerifier::builder_with_provider(self.store.clone(), provider());
        Ok(Servers { strict: strict.build().map_err(super::Error::Verifier)?, authorities: self })
    }
}

/// Judges what clients show.
#[derive(Debug)]
pub struct Clients {
    strict: Arc<dyn ClientCertVerifier>,
    authorities: Authorities,
}

impl Clients {
    /// Whether one of the authorities stands behind a client's certificate.
    ///
    /// # Errors
    /// Why not.
    pub fn judge(
        &self,
        leaf: &CertificateDer<'_>,
        shown: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), chain::Distrust> {
        if self.strict.verify_client_cert(leaf, shown, now).is_ok() {
            return Ok(());
        }
        chain::verify(leaf, shown, &self.authorities.certificates, (Purpose::Client, now))
    }
}

/// Judges what servers show.
#[derive(Debug)]
pub(super) struct Servers {
    strict: Arc<WebPkiServerVerifier>,
    authorities: Authorities,
}

impl ServerCertVerifier for Servers {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        shown: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let strict = self.strict.verify_server_cert(leaf, shown, name, ocsp, now);
        if strict.is_ok() || chain::verify(leaf, shown, &self.authorities.certificates, (Purpose::Server, now)).is_err()
        {
            return strict;
        }
        verify_server_name(&ParsedCertificate::try_from(leaf)?, name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.strict.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.strict.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.strict.supported_verify_schemes()
    }
}

/// Asks clients for a certificate and sees that they have its key, no more: whom it names, and whether anybody stands behind it, is judged
/// with the request, which may name somebody otherwise (Go's `tls.RequestClientCert`).
#[derive(Debug)]
pub(super) struct Asked {
    names: Vec<DistinguishedName>,
    provider: Arc<CryptoProvider>,
}

impl Asked {
    pub(super) fn new(names: Vec<DistinguishedName>) -> Self {
        Self { names, provider: provider() }
    }
}

impl ClientCertVerifier for Asked {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.names
    }

    fn verify_client_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _shown: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signed, &self.provider.signature_verification_algorithms)
    }

    /// With the key alone where webpki cannot read the certificate, as those of version 1.
    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        if ParsedCertificate::try_from(cert).is_ok() {
            return verify_tls13_signature(message, cert, signed, algorithms);
        }
        let (_, parsed) = X509Certificate::from_der(cert).map_err(|_| rustls::CertificateError::BadEncoding)?;
        let key = SubjectPublicKeyInfoDer::from(parsed.public_key().raw);
        verify_tls13_signature_with_raw_key(message, &key, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
