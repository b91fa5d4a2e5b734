//! Certificates for tests.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

/// A certificate and its key, PEM.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The certificate.
    pub cert_pem: String,
    /// The private key.
    pub key_pem: String,
}

/// A CA.
pub struct Pki {
    issuer: Issuer<'static, KeyPair>,
    ca_pem: String,
    signing_key_pem: String,
}

fn params(name: &str, groups: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    for group in groups {
        params.distinguished_name.push(DnType::OrganizationName, *group);
    }
    params
}

impl Default for Pki {
    fn default() -> Self {
        Self::new()
    }
}

impl Pki {
    /// A new CA.
    ///
    /// # Panics
    /// When the machine gives no random numbers.
    #[must_use]
    pub fn new() -> Self {
        let mut params = params("gantry-test-ca", &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().expect("random numbers");
        let ca_pem = params.self_signed(&key).expect("valid parameters").pem();
        let signing_key_pem = KeyPair::generate().expect("random numbers").serialize_pem();
        Self { issuer: Issuer::new(params, key), ca_pem, signing_key_pem }
    }

    /// The CA's certificate, PEM.
    #[must_use]
    pub fn ca_pem(&self) -> String {
        self.ca_pem.clone()
    }

    /// The key for service-account tokens, PEM: that of all servers of a cluster.
    #[must_use]
    pub fn signing_key_pem(&self) -> String {
        self.signing_key_pem.clone()
    }

    fn issue(&self, mut params: CertificateParams, usage: ExtendedKeyUsagePurpose) -> Identity {
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().expect("random numbers");
        let cert = params.signed_by(&key, &self.issuer).expect("valid parameters");
        Identity { cert_pem: cert.pem(), key_pem: key.serialize_pem() }
    }

    /// A serving certificate for loopback.
    ///
    /// # Panics
    /// When the machine gives no random numbers.
    #[must_use]
    pub fn serving(&self) -> Identity {
        self.serving_for("kube-apiserver", &["127.0.0.1", "localhost"])
    }

    /// A serving certificate for names and addresses.
    ///
    /// # Panics
    /// When one is neither, or the machine gives no random numbers.
    #[must_use]
    pub fn serving_for(&self, common_name: &str, names: &[&str]) -> Identity {
        let mut params = params(common_name, &[]);
        let name = |name: &&str| match name.parse() {
            Ok(address) => rcgen::SanType::IpAddress(address),
            Err(_) => rcgen::SanType::DnsName((*name).try_into().expect("a name")),
        };
        params.subject_alt_names = names.iter().map(name).collect();
        self.issue(params, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A client certificate.
    #[must_use]
    pub fn client(&self, user: &str, groups: &[&str]) -> Identity {
        self.issue(params(user, groups), ExtendedKeyUsagePurpose::ClientAuth)
    }
}

/// A kubeconfig, as JSON (which is YAML).
pub(super) fn kubeconfig(server: &str, ca_pem: &str, identity: &Identity) -> String {
    let encode = |text: &str| STANDARD.encode(text);
    serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": server, "certificate-authority-data": encode(ca_pem)}}],
        "users": [{"name": "test", "user": {
            "client-certificate-data": encode(&identity.cert_pem),
            "client-key-data": encode(&identity.key_pem),
        }}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    })
    .to_string()
}
