//! The authorities of client certificates: one CA for users, one for the proxies in front, never the one for the other.

use std::path::{Path, PathBuf};

use gantry_common::tls::{self, Clients};
use rustls::DistinguishedName;
use rustls::pki_types::{CertificateDer, UnixTime};
use tracing::debug;

use crate::auth::authenticator::Peer;
use crate::auth::certificate::{self, Said};

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
    names: Vec<DistinguishedName>,
    clients: Option<Clients>,
    proxies: Option<Clients>,
}

impl Trust {
    /// Reads the files.
    ///
    /// # Errors
    /// When one cannot be read or holds no CA.
    pub(crate) fn load(files: &Files) -> Result<Self, tls::Error> {
        let load = |path: &Path| tls::Authorities::parse(&tls::read(path)?, &path.display().to_string());
        let clients = files.clients.as_deref().map(load).transpose()?;
        let proxies = files.proxies.as_deref().map(load).transpose()?;
        Ok(Self {
            names: clients.iter().chain(&proxies).flat_map(tls::Authorities::names).collect(),
            clients: clients.map(tls::Authorities::of_clients).transpose()?,
            proxies: proxies.map(tls::Authorities::of_clients).transpose()?,
        })
    }

    /// The authorities whose certificates clients are asked for; without one they are not asked.
    pub(crate) fn names(&self) -> Option<Vec<DistinguishedName>> {
        (self.clients.is_some() || self.proxies.is_some()).then(|| self.names.clone())
    }

    /// What a certificate says, by the authority that signed it. Upstream asks for certificates and judges them with the request: one that
    /// nobody stands behind names nobody, and a token beside it counts.
    pub(crate) fn peer(&self, chain: &[CertificateDer<'_>]) -> Option<Peer> {
        let (leaf, rest) = chain.split_first()?;
        let judge = |authority: &Option<Clients>| authority.as_ref().map(|a| a.judge(leaf, rest, UnixTime::now()));
        let (user, proxy) = (judge(&self.clients), judge(&self.proxies));
        let (is_user, is_proxy) = (user == Some(Ok(())), proxy == Some(Ok(())));
        if !is_user
            && !is_proxy
            && let Some(Err(why)) = user.or(proxy)
        {
            debug!("a client's certificate names nobody: {why}");
        }
        let Said { name, user, expires } = certificate::read(leaf)?;
        let user = user.filter(|_| is_user);
        Some(Peer {
            is_refused: (!is_user && !is_proxy) || (is_user && user.is_none() && name.is_some()),
            user,
            proxy: name.filter(|_| is_proxy),
            expires,
        })
    }
}
