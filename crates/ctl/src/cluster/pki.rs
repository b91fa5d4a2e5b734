//! Keys and certificates: one CA per purpose, a certificate per component, renewed by `up` before they expire.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::{Timestamp, ToSpan};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType, SerialNumber,
};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{config::Config, process::write_atomically};

/// Life of a component's certificate.
const LEAF_DAYS: i32 = 90;
/// `up` renews a certificate with less left than this.
const RENEW_DAYS: i64 = 45;
/// Life of a CA.
const CA_DAYS: i32 = 3650;

/// What a certificate is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// File name without extension.
    pub file: String,
    /// The CA that signs it.
    pub ca: &'static str,
    /// Common name: the user's name.
    pub common_name: String,
    /// Organizations: the user's groups.
    pub organizations: Vec<String>,
    /// DNS names of a server.
    pub dns: Vec<String>,
    /// Addresses of a server.
    pub addresses: Vec<Ipv4Addr>,
    /// Whether it proves a client.
    pub client: bool,
}

/// The CA of the API server and its clients.
pub const CLUSTER_CA: &str = "ca";
/// The CA of etcd: only the API server has a client certificate of it.
pub const ETCD_CA: &str = "etcd-ca";

/// The CA of proxies in front of an API server: what it has signed speaks for any user, so it is nobody else's.
pub const FRONT_PROXY_CA: &str = "front-proxy-ca";
/// The common name of the API servers as proxies in front of others; upstream's name.
pub const FRONT_PROXY_CLIENT: &str = "front-proxy-client";

/// Every certificate of a cluster.
#[must_use]
pub fn requests(config: &Config) -> Vec<Request> {
    let client = |file: &str, common_name: &str, organizations: &[&str]| Request {
        file: file.to_owned(),
        ca: CLUSTER_CA,
        common_name: common_name.to_owned(),
        organizations: organizations.iter().map(|o| (*o).to_owned()).collect(),
        dns: Vec::new(),
        addresses: Vec::new(),
        client: true,
    };
    let etcd_server = |file: &str| Request {
        ca: ETCD_CA,
        dns: vec!["localhost".to_owned()],
        addresses: vec![Ipv4Addr::LOCALHOST],
        ..client(file, "gantry-etcd", &[])
    };
    let api = "kubernetes";
    let mut all = vec![
        etcd_server("etcd-server"),
        etcd_server("etcd-peer"),
        // For an etcd elsewhere, and for etcdctl: the API servers of this machine take the socket.
        Request { ca: ETCD_CA, ..client("apiserver-etcd-client", "gantry-apiserver", &[]) },
        Request {
            dns: [String::new(), ".default".into(), ".default.svc".into(), format!(".default.svc.{}", config.domain)]
                .iter()
                .map(|suffix| format!("{api}{suffix}"))
                .chain(["localhost".to_owned()])
                .collect(),
            // One for all API servers: a client may reach any of them under any name.
            addresses: [Ipv4Addr::LOCALHOST, config.kubernetes_ip()]
                .into_iter()
                .chain(config.api_servers().iter().map(|s| s.address))
                .collect(),
            client: false,
            ..client("apiserver", "kube-apiserver", &[])
        },
        Request { ca: FRONT_PROXY_CA, ..client(FRONT_PROXY_CLIENT, FRONT_PROXY_CLIENT, &[]) },
        client("admin", "kubernetes-admin", &["system:masters"]),
        client("scheduler", "system:kube-scheduler", &[]),
        client("controller-manager", "system:kube-controller-manager", &[]),
        client("proxy", "system:kube-proxy", &["system:node-proxier"]),
        client("dns", "system:gantry-dns", &[]),
    ];
    for node in &config.nodes {
        all.push(client(&format!("kubelet-{}", node.name), &format!("system:node:{}", node.name), &["system:nodes"]));
    }
    all
}

/// The folder with keys and certificates.
#[derive(Debug, Clone)]
pub struct Pki {
    folder: PathBuf,
}

impl Pki {
    /// The keys in `folder`.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// A certificate's file.
    #[must_use]
    pub fn cert(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.crt"))
    }

    /// A key's file.
    #[must_use]
    pub fn key(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.key"))
    }

    /// The file that says how etcd's content is encrypted. It is made once: who loses its keys loses every Secret.
    #[must_use]
    pub fn encryption(&self) -> PathBuf {
        self.folder.join("encryption.yaml")
    }

    /// Makes what is missing, does not fit any more, or expires soon. Gives the names of what was made.
    ///
    /// # Errors
    /// When a file cannot be written, or a CA is damaged.
    pub fn ensure(&self, requests: &[Request], now: Timestamp) -> anyhow::Result<Vec<String>> {
        let mut made = Vec::new();
        for (file, name) in
            [(CLUSTER_CA, "gantry-cluster-ca"), (ETCD_CA, "gantry-etcd-ca"), (FRONT_PROXY_CA, "gantry-front-proxy-ca")]
        {
            if !self.cert(file).exists() || !self.key(file).exists() {
                self.make_ca(file, name, now)?;
                made.push(file.to_owned());
            }
        }
        if !self.key("sa").exists() || !self.folder.join("sa.pub").exists() {
            let key = new_key()?;
            self.write("sa.pub", key.public_key_pem().as_bytes(), 0o644)?;
            self.write("sa.key", key.serialize_pem().as_bytes(), 0o600)?;
            made.push("sa".to_owned());
        }
        if !self.encryption().exists() {
            self.write("encryption.yaml", encryption_configuration(rand::random()).as_bytes(), 0o600)?;
            made.push("encryption".to_owned());
        }
        for request in requests {
            if made.iter().any(|m| m == request.ca) || !self.is_current(request, now) {
                self.issue(request, now)?;
                made.push(request.file.clone());
            }
        }
        Ok(made)
    }

    fn write(&self, name: &str, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
        write_atomically(&self.folder.join(name), bytes, mode)
    }

    fn make_ca(&self, file: &str, name: &str, now: Timestamp) -> anyhow::Result<()> {
        let key = new_key()?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        set_validity(&mut params, now, CA_DAYS)?;
        let cert = params.self_signed(&key).with_context(|| format!("cannot make the CA {name}"))?;
        self.write(&format!("{file}.key"), key.serialize_pem().as_bytes(), 0o600)?;
        self.write(&format!("{file}.crt"), cert.pem().as_bytes(), 0o644)
    }

    /// Signs a certificate; the key is new every time.
    fn issue(&self, request: &Request, now: Timestamp) -> anyhow::Result<()> {
        let (cert, key) = self.sign(request, now, LEAF_DAYS)?;
        self.write(&format!("{}.key", request.file), key.as_bytes(), 0o600)?;
        self.write(&format!("{}.crt", request.file), cert.as_bytes(), 0o644)
    }

    /// A signed certificate and its key as PEM, valid for `days` from `now`.
    ///
    /// # Errors
    /// When the CA cannot be read.
    pub fn sign(&self, request: &Request, now: Timestamp, days: i32) -> anyhow::Result<(String, String)> {
        let ca_key = KeyPair::from_pem(&read(&self.key(request.ca))?)
            .with_context(|| format!("{} holds no usable key", self.key(request.ca).display()))?;
        let issuer = Issuer::from_ca_cert_pem(&read(&self.cert(request.ca))?, ca_key)
            .with_context(|| format!("{} is no CA", self.cert(request.ca).display()))?;
        let key = new_key()?;
        let cert = params(request, now, days)?
            .signed_by(&key, &issuer)
            .with_context(|| format!("cannot sign the certificate {}", request.file))?;
        Ok((cert.pem(), key.serialize_pem()))
    }

    /// Whether the certificate is there, says what is asked, and lasts a while.
    fn is_current(&self, request: &Request, now: Timestamp) -> bool {
        let check = || -> anyhow::Result<bool> {
            read(&self.key(&request.file))?;
            let pem = read(&self.cert(&request.file))?;
            let (_, pem) = x509_parser::pem::parse_x509_pem(pem.as_bytes())?;
            let (_, cert) = X509Certificate::from_der(&pem.contents)?;
            let left = cert.validity().not_after.timestamp() - now.as_second();
            Ok(left > RENEW_DAYS * 86_400 && says(&cert, request))
        };
        check().unwrap_or(false)
    }
}

/// Secrets are sealed with a new key; those of a cluster that is older than its key are read as they are.
fn encryption_configuration(key: [u8; 32]) -> String {
    format!(
        "apiVersion: apiserver.config.k8s.io/v1\nkind: EncryptionConfiguration\nresources:\n\
         - resources: [secrets]\n  providers:\n  - aesgcm:\n      keys:\n      - name: key1\n        secret: {}\n\
         \x20 - identity: {{}}\n",
        STANDARD.encode(key)
    )
}

/// Whether a certificate has the names and addresses of the request.
fn says(cert: &X509Certificate<'_>, request: &Request) -> bool {
    let common_name = cert.subject().iter_common_name().next().and_then(|n| n.as_str().ok());
    if common_name != Some(&request.common_name) {
        return false;
    }
    let Ok(names) = cert.subject_alternative_name() else { return false };
    let names = names.map(|n| n.value.general_names.clone()).unwrap_or_default();
    let has = |wanted: &x509_parser::extensions::GeneralName<'_>| names.contains(wanted);
    request.dns.iter().all(|d| has(&x509_parser::extensions::GeneralName::DNSName(d)))
        && request.addresses.iter().all(|a| has(&x509_parser::extensions::GeneralName::IPAddress(&a.octets())))
}

fn params(request: &Request, now: Timestamp, days: i32) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::default();
    let mut subject = DistinguishedName::new();
    for organization in &request.organizations {
        subject.push(DnType::OrganizationName, organization.as_str());
    }
    subject.push(DnType::CommonName, request.common_name.as_str());
    params.distinguished_name = subject;
    params.serial_number = Some(SerialNumber::from(rand::random::<u64>() >> 1));
    for name in &request.dns {
        params.subject_alt_names.push(SanType::DnsName(name.as_str().try_into()?));
    }
    for address in &request.addresses {
        params.subject_alt_names.push(SanType::IpAddress(IpAddr::V4(*address)));
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    if !request.addresses.is_empty() {
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
    }
    if request.client {
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ClientAuth);
    }
    params.use_authority_key_identifier_extension = true;
    set_validity(&mut params, now, days)?;
    Ok(params)
}

/// From an hour ago (clocks differ) until `days` from `now`.
fn set_validity(params: &mut CertificateParams, now: Timestamp, days: i32) -> anyhow::Result<()> {
    let day = |t: Timestamp| {
        let d = t.to_zoned(jiff::tz::TimeZone::UTC).date();
        rcgen::date_time_ymd(d.year().into(), d.month().cast_unsigned(), d.day().cast_unsigned())
    };
    let end = now.checked_add((i64::from(days) * 24).hours())?;
    // Whole days: the start is last midnight, the end the midnight after the last day.
    params.not_before = day(now.checked_sub(1.hours())?.min(end));
    params.not_after = day(end);
    Ok(())
}

fn new_key() -> anyhow::Result<KeyPair> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).context("cannot make a key")
}

fn read(path: &Path) -> anyhow::Result<String> {
    match fs::read_to_string(path) {
        Ok(text) if text.is_empty() => bail!("{} is empty", path.display()),
        other => other.with_context(|| format!("cannot read {}", path.display())),
    }
}

#[cfg(test)]
mod tests;
