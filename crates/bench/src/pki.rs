//! Certificates for the daemons that a benchmark starts.

use std::path::{Path, PathBuf};

use gantry_common::tls::Identity;
use gantry_store::EtcdTls;
use gantry_store::testing::ServerTls;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tempfile::TempDir;

/// One authority and what it signed; the files go with it.
pub(crate) struct Pki {
    folder: TempDir,
    ca_pem: String,
    etcd_client: EtcdTls,
    admin: Identity,
}

impl Pki {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("gantry-bench-").tempdir()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "bench");
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let server = issue(&ca, "bench-server", None)?;
        let admin = issue(&ca, "admin", Some("system:masters"))?;
        let etcd_client = issue(&ca, "apiserver", None)?;
        let tokens = KeyPair::generate()?.serialize_pem();
        let ca_pem = ca.pem();
        let files = [
            ("ca.crt", &ca_pem),
            ("server.crt", &server.0),
            ("server.key", &server.1),
            ("etcd-client.crt", &etcd_client.0),
            ("etcd-client.key", &etcd_client.1),
            ("sa.key", &tokens),
        ];
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text)?;
        }
        let (certificate, key) = (etcd_client.0.into_bytes(), etcd_client.1.into_bytes());
        let etcd_client = EtcdTls { ca: ca_pem.clone().into_bytes(), certificate, key };
        let admin = Identity { cert_pem: admin.0.into_bytes(), key_pem: admin.1.into_bytes() };
        Ok(Self { folder, ca_pem, etcd_client, admin })
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn etcd_server(&self) -> ServerTls {
        ServerTls { client_ca: self.file("ca.crt"), certificate: self.file("server.crt"), key: self.file("server.key") }
    }

    pub(crate) fn etcd_client(&self) -> EtcdTls {
        self.etcd_client.clone()
    }

    pub(crate) fn ca_pem(&self) -> &[u8] {
        self.ca_pem.as_bytes()
    }

    /// Client certificate of a member of `system:masters`.
    pub(crate) fn admin(&self) -> &Identity {
        &self.admin
    }
}

fn issue(ca: &CertifiedIssuer<'_, KeyPair>, name: &str, group: Option<&str>) -> anyhow::Result<(String, String)> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned(), "localhost".to_owned()])?;
    params.distinguished_name.push(DnType::CommonName, name);
    if let Some(group) = group {
        params.distinguished_name.push(DnType::OrganizationName, group);
    }
    Ok((params.signed_by(&key, ca)?.pem(), key.serialize_pem()))
}
