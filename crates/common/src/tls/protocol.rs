//! Versions and cipher suites of TLS, by the names that kube-apiserver's flags take.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::{CipherSuite, SupportedProtocolVersion, version};

/// How TLS is spoken. Version 1.2 or newer, whatever is asked for.
#[derive(Debug, Clone, Default)]
pub struct Protocol {
    only_tls13: bool,
    /// Those of TLS 1.2; empty: all.
    suites: Vec<CipherSuite>,
}

/// The names of IANA, and Go's older ones, of the suites of TLS 1.2.
const SUITES: &[(&str, CipherSuite)] = &[
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305", CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
];
/// The suites of TLS 1.3 cannot be chosen among, there as here.
const TLS13: &[&str] = &["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];

impl Protocol {
    /// What the flags say: `""` and no suites leave everything as it is.
    ///
    /// # Errors
    /// For a version or a suite that is not known, or that nobody should speak.
    pub fn new(min_version: &str, suites: &[String]) -> Result<Self, String> {
        let only_tls13 = match min_version {
            "" | "VersionTLS10" | "VersionTLS11" | "VersionTLS12" => false,
            "VersionTLS13" => true,
            other => return Err(format!("unknown tls version {other:?}")),
        };
        let mut chosen = Vec::new();
        for name in suites.iter().filter(|name| !TLS13.contains(&name.as_str())) {
            let found = SUITES.iter().find(|(known, _)| known == name);
            let (_, suite) = found.ok_or_else(|| format!("Cipher suite {name} not supported or doesn't exist"))?;
            chosen.push(*suite);
        }
        Ok(Self { only_tls13, suites: chosen })
    }

    /// The versions that are spoken.
    pub(super) fn versions(&self) -> &'static [&'static SupportedProtocolVersion] {
        static ONLY_13: &[&SupportedProtocolVersion] = &[&version::TLS13];
        static BOTH: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];
        if self.only_tls13 { ONLY_13 } else { BOTH }
    }

    /// ring with the suites that are left. As with upstream's server AES with 128 bits comes first: it is secure, and takes a
    /// quarter less of a long list's encryption than 256.
    pub(super) fn provider(&self) -> Arc<CryptoProvider> {
        let mut provider = rustls::crypto::ring::default_provider();
        if !self.suites.is_empty() {
            provider.cipher_suites.retain(|suite| suite.tls13().is_some() || self.suites.contains(&suite.suite()));
        }
        provider.cipher_suites.sort_by_key(|suite| match suite.suite() {
            CipherSuite::TLS13_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
            | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 => 0,
            _ => 1,
        });
        Arc::new(provider)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_suites_are_upstreams() {
        let make = |version: &str, suites: &[&str]| {
            Protocol::new(version, &suites.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(make("", &[]).map(|p| (p.versions().len(), p.provider().cipher_suites.len())), Ok((2, 9)));
        let one = make("VersionTLS12", &["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "TLS_AES_128_GCM_SHA256"]);
        assert_eq!(one.map(|p| (p.versions().len(), p.provider().cipher_suites.len())), Ok((2, 4)));
        let first = Protocol::default().provider().cipher_suites[0].suite();
        assert_eq!(first, CipherSuite::TLS13_AES_128_GCM_SHA256);
        assert_eq!(make("VersionTLS13", &[]).map(|p| p.versions().len()), Ok(1));
        assert_eq!(make("VersionTLS14", &[]).map(drop), Err("unknown tls version \"VersionTLS14\"".to_owned()));
        let weak = make("", &["TLS_RSA_WITH_RC4_128_SHA"]).map(drop);
        assert_eq!(weak, Err("Cipher suite TLS_RSA_WITH_RC4_128_SHA not supported or doesn't exist".to_owned()));
    }
}
