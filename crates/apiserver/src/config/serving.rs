//! The flags of the serving certificate and of TLS, with kube-apiserver's names.

use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use clap::Args;
use gantry_common::tls;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, SanType};

use super::NamedCert;

/// Life of a certificate that the server makes for itself.
const SELF_SIGNED_DAYS: i64 = 365;

/// `--tls-*` and `--cert-dir`.
#[derive(Debug, Clone, Args)]
pub struct Serving {
    /// The serving certificate (PEM, with its chain). Without it and its key the server makes both in --cert-dir.
    #[arg(long = "tls-cert-file", requires = "tls_private_key_file")]
    pub tls_cert_file: Option<PathBuf>,
    /// The key of the serving certificate.
    #[arg(long = "tls-private-key-file", requires = "tls_cert_file")]
    pub tls_private_key_file: Option<PathBuf>,
    /// A certificate for clients that ask for the server by one of its names: `cert,key` or `cert,key:name,name`, with names
    /// like `*.example.com`. It may be given several times.
    #[arg(long = "tls-sni-cert-key")]
    pub tls_sni_cert_keys: Vec<NamedCert>,
    /// Where the server keeps a certificate that it has made for itself.
    #[arg(long = "cert-dir", default_value = "/var/run/kubernetes")]
    pub cert_dir: PathBuf,
    /// The oldest version of TLS that is spoken: VersionTLS10, VersionTLS11, VersionTLS12 or VersionTLS13. Nothing older than 1.2
    /// ever is.
    #[arg(long = "tls-min-version")]
    pub tls_min_version: Option<String>,
    /// The cipher suites of TLS 1.2, by their names of IANA; those of TLS 1.3 are always there.
    #[arg(long = "tls-cipher-suites", value_delimiter = ',')]
    pub tls_cipher_suites: Vec<String>,
}

impl Default for Serving {
    fn default() -> Self {
        Self {
            tls_cert_file: None,
            tls_private_key_file: None,
            tls_sni_cert_keys: Vec::new(),
            cert_dir: PathBuf::from("/var/run/kubernetes"),
            tls_min_version: None,
            tls_cipher_suites: Vec::new(),
        }
    }
}

/// Why there is no serving certificate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of `--cert-dir` cannot be written or read.
    #[error("{path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The certificate cannot be made.
    #[error("the certificate cannot be made")]
    Make(#[source] rcgen::Error),
}

impl Serving {
    /// How TLS is spoken.
    ///
    /// # Errors
    /// In upstream's words for versions and cipher suites that there are not.
    pub(crate) fn protocol(&self) -> Result<tls::Protocol, String> {
        tls::Protocol::new(self.tls_min_version.as_deref().unwrap_or_default(), &self.tls_cipher_suites)
    }

    /// The files of certificate and key; they are made where none are named and none are there.
    ///
    /// # Errors
    /// [`Error`].
    pub(crate) fn files(
        &self,
        address: Option<IpAddr>,
        service: IpAddr,
        now: jiff::Timestamp,
    ) -> Result<(PathBuf, PathBuf), Error> {
        if let (Some(cert), Some(key)) = (&self.tls_cert_file, &self.tls_private_key_file) {
            return Ok((cert.clone(), key.clone()));
        }
        let (cert, key) = (self.cert_dir.join("apiserver.crt"), self.cert_dir.join("apiserver.key"));
        if tls::ReloadingCert::load(&cert, &key).is_err() {
            make(&self.cert_dir, (&cert, &key), [address, Some(service)], now)?;
        }
        Ok((cert, key))
    }
}

/// Makes a certificate that nobody has signed but itself.
fn make(
    folder: &Path,
    (cert, key): (&Path, &Path),
    addresses: [Option<IpAddr>; 2],
    now: jiff::Timestamp,
) -> Result<(), Error> {
    let host = addresses[0].map_or_else(|| "localhost".to_owned(), |address| address.to_string());
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, format!("{host}@{}", now.as_second()));
    let names = ["kubernetes.default.svc", "kubernetes.default", "kubernetes", "localhost"];
    for name in names {
        params.subject_alt_names.push(SanType::DnsName(name.try_into().map_err(Error::Make)?));
    }
    let loopback = IpAddr::from([127, 0, 0, 1]);
    params.subject_alt_names.extend(addresses.into_iter().flatten().chain([loopback]).map(SanType::IpAddress));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let day = |time: jiff::Timestamp| {
        let date = time.to_zoned(jiff::tz::TimeZone::UTC).date();
        rcgen::date_time_ymd(date.year().into(), date.month().cast_unsigned(), date.day().cast_unsigned())
    };
    params.not_before = day(now);
    params.not_after = day(now + jiff::SignedDuration::from_hours(24 * SELF_SIGNED_DAYS));
    let pair = KeyPair::generate().map_err(Error::Make)?;
    let made = params.self_signed(&pair).map_err(Error::Make)?;
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::File { path, source }
    };
    std::fs::DirBuilder::new().recursive(true).mode(0o755).create(folder).map_err(failed(folder))?;
    let write = |path: &Path, text: &str, mode: u32| -> Result<(), Error> {
        let mut options = std::fs::OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(mode).open(path);
        std::io::Write::write_all(&mut file.map_err(failed(path))?, text.as_bytes()).map_err(failed(path))
    };
    write(key, &pair.serialize_pem(), 0o600)?;
    write(cert, &made.pem(), 0o644)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_made_once() {
        use std::os::unix::fs::PermissionsExt;
        gantry_common::tls::install_provider();
        let folder = tempfile::tempdir().expect("a folder");
        let serving = Serving { cert_dir: folder.path().join("certs"), ..Serving::default() };
        let now: jiff::Timestamp = "2026-11-27T10:00:00Z".parse().expect("a time");
        let files = || serving.files(Some([192, 0, 2, 1].into()), [10, 96, 0, 1].into(), now).expect("made");
        let (cert, key) = files();
        let text = std::fs::read_to_string(&cert).expect("there");
        assert_eq!(std::fs::metadata(&key).expect("there").permissions().mode() & 0o777, 0o600);
        assert_eq!(files(), (cert.clone(), key));
        assert_eq!(std::fs::read_to_string(&cert).expect("there"), text, "a good one stays");
        std::fs::write(&cert, "rubbish").expect("written");
        files();
        assert_ne!(std::fs::read_to_string(&cert).expect("there"), "rubbish");
    }
}
