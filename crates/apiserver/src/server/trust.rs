//! The authorities of client certificates: one CA for users, one for the proxies in front, never the one for the other.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use gantry_common::tls;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;

use crate::auth::authenticator::Peer;
use crate::auth::certificate;

/// The files.
#[derive(Debug, Clone, Default)]
pub(crate) struct Files {
    /// `--client-ca-file`.
    pub(crate) clients: Option<PathBuf>,
    /// `--requestheader-client-ca-file`.
    pub(crate) proxies: Option<PathBuf>,
}

impl Files {
    /// Both, where there are both.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.clients.iter().chain(&self.proxies)
    }
}

/// The authorities in force.
pub(crate) struct Trust {
    clients: Option<Authority>,
    proxies: Option<Authority>,
}

struct Authority {
    roots: RootCertStore,
    verifier: Arc<dyn ClientCertVerifier>,
}

impl Authority {
    fn load(path: &Path) -> Result<Self, tls::Error> {
        let roots = tls::roots(&tls::read(path)?, &path.display().to_string())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots.clone()), provider);
        Ok(Self { roots, verifier: verifier.build().map_err(tls::Error::Verifier)? })
    }

    /// Whether it has signed the certificate.
    fn knows(&self, leaf: &CertificateDer<'_>, chain: &[CertificateDer<'_>]) -> bool {
        self.verifier.verify_client_cert(leaf, chain, UnixTime::now()).is_ok()
    }
}

impl Trust {
    /// Reads the files.
    ///
    /// # Errors
    /// When one cannot be read or holds no CA.
    pub(crate) fn load(files: &Files) -> Result<Self, tls::Error> {
        let load = |path: &Option<PathBuf>| path.as_deref().map(Authority::load).transpose();
        Ok(Self { clients: load(&files.clients)?, proxies: load(&files.proxies)? })
    }

    /// Everybody whose certificate the handshake lets in.
    pub(crate) fn roots(&self) -> Option<RootCertStore> {
        let mut all: Option<RootCertStore> = None;
        for authority in self.clients.iter().chain(&self.proxies) {
            all.get_or_insert_with(RootCertStore::empty).roots.extend(authority.roots.roots.iter().cloned());
        }
        all
    }

    /// What a certificate that the handshake has let in says, by the authority that signed it.
    pub(crate) fn peer(&self, chain: &[CertificateDer<'_>]) -> Option<Peer> {
        let (leaf, rest) = chain.split_first()?;
        let knows = |authority: &Option<Authority>| authority.as_ref().is_some_and(|a| a.knows(leaf, rest));
        // With one authority the handshake has asked it already.
        let (user, proxy) = match (&self.clients, &self.proxies) {
            (Some(_), None) => (true, false),
            _ => (knows(&self.clients), knows(&self.proxies)),
        };
        Some(Peer {
            user: if user { certificate::user(leaf) } else { None },
            proxy: if proxy { certificate::user(leaf).map(|user| user.name) } else { None },
            expires: certificate::expires(leaf)?,
        })
    }
}
