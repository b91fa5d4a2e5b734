//! TLS configurations from PEM files, for servers and clients.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::{
    ClientConfig, DistinguishedName, RootCertStore, ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::CertifiedKey,
};
use x509_parser::pem::parse_x509_pem;

pub mod chain;
mod lenient;
mod protocol;
mod unverified;

pub use lenient::{Authorities, Clients};
pub use protocol::Protocol;

/// Why a TLS configuration could not be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// PEM text holds no certificate.
    #[error("{what} holds no certificate (expected PEM blocks `BEGIN CERTIFICATE`)")]
    NoCertificate {
        /// The file or field.
        what: String,
    },
    /// PEM text holds no private key, or a broken one.
    #[error("{what} holds no usable private key")]
    NoKey {
        /// The file or field.
        what: String,
        /// Why.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// PEM text is broken.
    #[error("{what} is not valid PEM")]
    Pem {
        /// The file or field.
        what: String,
        /// Why.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// Certificate and key do not fit, or the verifier refuses the CA.
    #[error("{what} cannot be used for TLS")]
    Rustls {
        /// The file or field.
        what: String,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// There is no authority to verify with.
    #[error("the CA cannot be used to verify certificates")]
    Verifier(#[source] rustls::server::VerifierBuilderError),
}

/// Bytes of a TLS record, its head included, that a server sends at most. Records of the 16 KiB that TLS allows begin at the same
/// place of a page as the bytes that they are made of, which copies slowly: 44 KB to each of 1,000 connections over loopback took
/// 37 us in them and 25 us in these (AMD EPYC, glibc 2.36). Shorter ones cost whoever reads a long list more than they save here.
const RECORD_BYTES_MAX: usize = 12_000;

/// Makes ring the process's cryptography provider; calling it again is harmless.
pub fn install_provider() {
    // An error means that it is installed already.
    drop(rustls::crypto::ring::default_provider().install_default());
}

/// The certificates in PEM text; `what` names the text in errors.
///
/// # Errors
/// When there is none or the text is broken.
pub fn certificates(pem: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certs = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|source| Error::Pem { what: what.to_owned(), source })?;
    if certs.is_empty() { Err(Error::NoCertificate { what: what.to_owned() }) } else { Ok(certs) }
}

/// The DER of a PKCS#10 request in PEM (RFC 7468, section 7).
///
/// # Errors
/// Upstream's words for anything else.
pub fn signing_request_der(pem: &[u8]) -> Result<Vec<u8>, &'static str> {
    let block = parse_x509_pem(pem).ok().map(|(_, pem)| pem).filter(|pem| pem.label == "CERTIFICATE REQUEST");
    block.map(|pem| pem.contents).ok_or("PEM block type must be CERTIFICATE REQUEST")
}

/// A certificate in PEM, from its DER: base64 in lines of 64 characters (RFC 7468).
#[must_use]
pub fn certificate_pem(der: &[u8]) -> String {
    let encoded = STANDARD.encode(der);
    let lines: Vec<&str> = encoded.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

/// The private key in PEM text.
///
/// # Errors
/// When there is none or it is broken.
pub fn private_key(pem: &[u8], what: &str) -> Result<PrivateKeyDer<'static>, Error> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|source| Error::NoKey { what: what.to_owned(), source })
}

/// A trust store of the certificates in PEM text.
///
/// # Errors
/// As [`certificates`], or when one is no CA certificate that can be used.
pub fn roots(pem: &[u8], what: &str) -> Result<RootCertStore, Error> {
    trusting(certificates(pem, what)?, what)
}

fn trusting(
    certificates: impl IntoIterator<Item = CertificateDer<'static>>,
    what: &str,
) -> Result<RootCertStore, Error> {
    let mut store = RootCertStore::empty();
    for cert in certificates {
        store.add(cert).map_err(|source| Error::Rustls { what: what.to_owned(), source })?;
    }
    Ok(store)
}

/// Reads a file for TLS.
///
/// # Errors
/// Names the file and why it cannot be read.
pub fn read(path: &Path) -> Result<Vec<u8>, Error> {
    fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}

/// Certificate chain and key, as PEM.
#[derive(Clone)]
pub struct Identity {
    /// Certificate chain, leaf first.
    pub cert_pem: Vec<u8>,
    /// Private key.
    pub key_pem: Vec<u8>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity(..)")
    }
}

/// Chain and key ready for rustls.
///
/// # Errors
/// When they cannot be parsed or do not fit.
pub fn certified_key(identity: &Identity, what: &str) -> Result<CertifiedKey, Error> {
    let chain = certificates(&identity.cert_pem, what)?;
    let key = private_key(&identity.key_pem, what)?;
    CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider())
        .map_err(|source| Error::Rustls { what: what.to_owned(), source })
}

/// A TLS 1.3/1.2 server whose certificate comes from `resolver`; clients that show a certificate must show one of `client_ca`.
///
/// # Errors
/// When the CA cannot be used.
pub fn server_config(
    resolver: Arc<dyn rustls::server::ResolvesServerCert>,
    client_ca: Option<RootCertStore>,
    alpn: &[&[u8]],
) -> Result<ServerConfig, Error> {
    let verifier = client_ca.map(|store| {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider);
        verifier.allow_unauthenticated().build().map_err(Error::Verifier)
    });
    server(resolver, verifier.transpose()?, alpn, &Protocol::default())
}

/// As [`server_config`], with versions and cipher suites of one's own choice; clients are asked for certificates of the authorities `named`, and
/// whatever they show is to be judged afterwards (see [`Clients::judge`]).
///
/// # Errors
/// When no cipher suite is left.
pub fn asking_server_config(
    resolver: Arc<dyn rustls::server::ResolvesServerCert>,
    named: Option<Vec<DistinguishedName>>,
    alpn: &[&[u8]],
    protocol: &Protocol,
) -> Result<ServerConfig, Error> {
    let verifier = named.map(|named| Arc::new(lenient::Asked::new(named)) as Arc<dyn ClientCertVerifier>);
    server(resolver, verifier, alpn, protocol)
}

fn server(
    resolver: Arc<dyn rustls::server::ResolvesServerCert>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    alpn: &[&[u8]],
    protocol: &Protocol,
) -> Result<ServerConfig, Error> {
    let builder = ServerConfig::builder_with_provider(protocol.provider())
        .with_protocol_versions(protocol.versions())
        .map_err(|source| Error::Rustls { what: "the protocol version list".to_owned(), source })?;
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(resolver);
    config.ignore_client_order = true;
    config.max_fragment_size = Some(RECORD_BYTES_MAX);
    config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
    Ok(config)
}

/// A client that trusts `ca_pem` alone and shows `identity` where it has one.
///
/// # Errors
/// When a PEM text cannot be used.
pub fn client_config(ca_pem: &[u8], identity: Option<&Identity>, alpn: &[&[u8]]) -> Result<ClientConfig, Error> {
    let authorities = Authorities::parse(ca_pem, "the cluster's CA certificate")?;
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|source| Error::Rustls { what: "the protocol version list".to_owned(), source })?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(authorities.of_servers()?));
    let mut config = match identity {
        Some(identity) => {
            let chain = certificates(&identity.cert_pem, "the client certificate")?;
            let key = private_key(&identity.key_pem, "the client key")?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|source| Error::Rustls { what: "the client certificate".to_owned(), source })?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
    Ok(config)
}

/// As [`client_config`], but whoever answers is believed to be who it should be: for an owner who asks for that in as many
/// words (`insecureSkipTLSVerify`).
///
/// # Errors
/// When the identity cannot be used.
pub fn unverified_client_config(identity: Option<&Identity>, alpn: &[&[u8]]) -> Result<ClientConfig, Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|source| Error::Rustls { what: "the protocol version list".to_owned(), source })?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(unverified::Anybody(provider)));
    let mut config = match identity {
        Some(identity) => {
            let chain = certificates(&identity.cert_pem, "the client certificate")?;
            let key = private_key(&identity.key_pem, "the client key")?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|source| Error::Rustls { what: "the client certificate".to_owned(), source })?
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|p| p.to_vec()).collect();
    Ok(config)
}

/// Serves a certificate from two files and takes up a changed one when [`ReloadingCert::reload`] is called.
#[derive(Debug)]
pub struct ReloadingCert {
    cert_file: PathBuf,
    key_file: PathBuf,
    current: arc_swap::ArcSwap<CertifiedKey>,
}

impl ReloadingCert {
    /// Loads the files.
    ///
    /// # Errors
    /// When they cannot be read or used.
    pub fn load(cert_file: &Path, key_file: &Path) -> Result<Arc<Self>, Error> {
        let key = Self::read_files(cert_file, key_file)?;
        Ok(Arc::new(Self {
            cert_file: cert_file.to_owned(),
            key_file: key_file.to_owned(),
            current: arc_swap::ArcSwap::from_pointee(key),
        }))
    }

    fn read_files(cert_file: &Path, key_file: &Path) -> Result<CertifiedKey, Error> {
        let identity = Identity { cert_pem: read(cert_file)?, key_pem: read(key_file)? };
        certified_key(&identity, &cert_file.display().to_string())
    }

    /// The certificate that is shown now.
    #[must_use]
    pub fn current(&self) -> Arc<CertifiedKey> {
        self.current.load_full()
    }

    /// Reads the files again; `true` when the certificate changed. On an error the old one stays.
    ///
    /// # Errors
    /// When the new files cannot be read or used.
    pub fn reload(&self) -> Result<bool, Error> {
        let key = Self::read_files(&self.cert_file, &self.key_file)?;
        let changed = key.cert != self.current.load().cert;
        if changed {
            self.current.store(Arc::new(key));
        }
        Ok(changed)
    }
}

impl rustls::server::ResolvesServerCert for ReloadingCert {
    fn resolve(&self, _hello: rustls::server::ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}
