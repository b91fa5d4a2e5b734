//! Which certificate is shown to a client that names the server it wants.

use std::collections::BTreeMap;
use std::sync::Arc;

use gantry_common::tls::{self, ReloadingCert};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::config::NamedCert;

/// The certificates by name, and the one for everybody else.
#[derive(Debug)]
pub(crate) struct Certificates {
    usual: Arc<ReloadingCert>,
    /// With the names that the flag gives; none: those in the certificate.
    named: Vec<(Vec<String>, Arc<ReloadingCert>)>,
}

impl Certificates {
    /// Reads all files.
    pub(crate) fn load(usual: Arc<ReloadingCert>, named: &[NamedCert]) -> Result<Self, tls::Error> {
        let load =
            |named: &NamedCert| Ok((named.names.clone(), ReloadingCert::load(&named.cert_file, &named.key_file)?));
        Ok(Self { usual, named: named.iter().map(load).collect::<Result<_, tls::Error>>()? })
    }

    /// Reads all files again.
    pub(crate) fn reload(&self) -> Result<(), tls::Error> {
        self.usual.reload()?;
        for (_, certificate) in &self.named {
            certificate.reload()?;
        }
        Ok(())
    }

    /// The certificates by name. What the flag names goes over what certificates hold, the earlier over the later.
    pub(crate) fn resolver(self: &Arc<Self>) -> Resolver {
        let mut names = BTreeMap::new();
        let implied = self.named.iter().rev().filter(|(given, _)| given.is_empty());
        let implied = implied.flat_map(|(_, cert)| held(&cert.current()).into_iter().map(move |name| (name, cert)));
        let given = self.named.iter().rev();
        let given = given.flat_map(|(given, cert)| given.iter().cloned().map(move |name| (name, cert)));
        for (name, certificate) in implied.chain(given) {
            names.insert(name, certificate.clone());
        }
        Resolver { usual: self.usual.clone(), names }
    }
}

/// The names that a certificate holds.
fn held(key: &CertifiedKey) -> Vec<String> {
    let Some(leaf) = key.cert.first() else { return Vec::new() };
    let Ok((_, certificate)) = X509Certificate::from_der(leaf) else { return Vec::new() };
    let mut names: Vec<String> =
        certificate.subject().iter_common_name().filter_map(|name| name.as_str().ok()).map(str::to_lowercase).collect();
    if let Ok(Some(alternative)) = certificate.subject_alternative_name() {
        names.extend(alternative.value.general_names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_lowercase()),
            _ => None,
        }));
    }
    names
}

/// Chooses by the name that a client gives.
#[derive(Debug)]
pub(crate) struct Resolver {
    usual: Arc<ReloadingCert>,
    names: BTreeMap<String, Arc<ReloadingCert>>,
}

impl Resolver {
    fn choose(&self, name: Option<&str>) -> &Arc<ReloadingCert> {
        let name = name.unwrap_or_default().trim_end_matches('.').to_lowercase();
        let any = || self.names.get(&format!("*.{}", name.split_once('.')?.1));
        self.names.get(&name).or_else(any).unwrap_or(&self.usual)
    }
}

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.choose(hello.server_name()).current())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_chooses_the_certificate() {
        tls::install_provider();
        let folder = tempfile::tempdir().expect("a folder");
        let write = |file: &str, names: &[&str]| {
            let key = rcgen::KeyPair::generate().expect("a key");
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let cert = rcgen::CertificateParams::new(names).expect("names").self_signed(&key).expect("a certificate");
            let (cert_file, key_file) =
                (folder.path().join(format!("{file}.crt")), folder.path().join(format!("{file}.key")));
            std::fs::write(&cert_file, cert.pem()).expect("written");
            std::fs::write(&key_file, key.serialize_pem()).expect("written");
            NamedCert { cert_file, key_file, names: Vec::new() }
        };
        let usual = write("usual", &["localhost"]);
        let usual = ReloadingCert::load(&usual.cert_file, &usual.key_file).expect("loaded");
        let held = write("held", &["a.example.com", "b.example.com"]);
        let wild = NamedCert { names: vec!["*.example.com".into(), "b.example.com".into()], ..write("wild", &["x"]) };
        let all = Arc::new(Certificates::load(usual, &[held, wild]).expect("loaded"));
        let resolver = all.resolver();
        let check = |name: Option<&str>, expected: &Arc<ReloadingCert>| {
            assert!(Arc::ptr_eq(resolver.choose(name), expected), "{name:?}");
        };
        check(None, &all.usual);
        check(Some("other.org"), &all.usual);
        check(Some("A.example.com"), &all.named[0].1);
        check(Some("b.example.com"), &all.named[1].1);
        check(Some("c.example.com"), &all.named[1].1);
        check(Some("d.c.example.com"), &all.usual);
        all.reload().expect("unchanged");
    }
}
