//! The authority that signs: a certificate and its key.

use std::{path::Path, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use rustls::{
    SignatureScheme,
    crypto::ring::sign::any_supported_type,
    pki_types::{PrivateKeyDer, pem::PemObject},
    sign::SigningKey,
};
use x509_parser::{extensions::ParsedExtension, pem::parse_x509_pem};

use crate::signing_options::Files;

/// How far back a certificate begins, for clocks that are late.
const BACKDATE: SignedDuration = SignedDuration::from_mins(5);
/// A certificate that lasts less does not end earlier for having begun earlier.
const SHORT: SignedDuration = SignedDuration::from_hours(8);

/// How the authority signs, in the order of preference: each key knows one of them.
const SCHEMES: [SignatureScheme; 4] = [
    SignatureScheme::ECDSA_NISTP256_SHA256,
    SignatureScheme::ECDSA_NISTP384_SHA384,
    SignatureScheme::RSA_PKCS1_SHA256,
    SignatureScheme::ED25519,
];

/// Signs certificates.
pub(super) struct Authority {
    key: Arc<dyn SigningKey>,
    /// Its name, in DER.
    pub(super) name: Vec<u8>,
    /// What tells its key from others, if its certificate says so.
    pub(super) key_id: Option<Vec<u8>>,
    not_after: Timestamp,
}

impl Authority {
    /// Reads it from its files.
    ///
    /// # Errors
    /// Which file cannot be used, and why.
    pub(super) async fn read(files: &Files) -> Result<Self, String> {
        let bytes = async |path: &Path| {
            tokio::fs::read(path).await.map_err(|error| format!("cannot read {}: {error}", path.display()))
        };
        let (certificate, key) = (bytes(&files.certificate).await?, bytes(&files.key).await?);
        Self::of(&certificate, &key).map_err(|why| {
            format!("{} and {} cannot sign certificates: {why}", files.certificate.display(), files.key.display())
        })
    }

    /// The authority with this certificate and this key, in PEM.
    ///
    /// # Errors
    /// Why it cannot sign.
    pub(super) fn of(certificate: &[u8], key: &[u8]) -> Result<Self, String> {
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| format!("there is no private key: {error}"))?;
        let key = any_supported_type(&key).map_err(|error| format!("the private key cannot be used: {error}"))?;
        let (_, block) = parse_x509_pem(certificate).map_err(|error| format!("there is no certificate: {error}"))?;
        let certificate = block.parse_x509().map_err(|error| format!("the certificate cannot be read: {error}"))?;
        if key.public_key().is_some_and(|public| public.as_ref() != certificate.public_key().raw) {
            return Err("the key is not that of the certificate".to_owned());
        }
        let mut ids = certificate.extensions().iter().filter_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
            _ => None,
        });
        let not_after = Timestamp::from_second(certificate.validity().not_after.timestamp());
        Ok(Self {
            key,
            name: certificate.subject().as_raw().to_vec(),
            key_id: ids.next(),
            not_after: not_after.map_err(|error| error.to_string())?,
        })
    }

    /// From when to when a certificate is good that is signed now: never longer than the authority's own.
    ///
    /// # Errors
    /// When the authority's has expired.
    pub(super) fn validity(&self, now: Timestamp, lasting: SignedDuration) -> Result<(Timestamp, Timestamp), String> {
        if now >= self.not_after {
            return Err(format!(
                "refusing to sign a certificate that expired in the past: NotAfter={}",
                self.not_after
            ));
        }
        let not_before = now.saturating_sub(BACKDATE).map_err(|error| error.to_string())?;
        let begin = if lasting < SHORT { now } else { not_before };
        let not_after = begin.saturating_add(lasting).map_err(|error| error.to_string())?;
        Ok((not_before, not_after.min(self.not_after)))
    }

    /// The scheme it signs with.
    ///
    /// # Errors
    /// When its key has none that certificates are signed with here.
    pub(super) fn scheme(&self) -> Result<SignatureScheme, String> {
        let signer = self.key.choose_scheme(&SCHEMES).ok_or("its key knows no way to sign certificates")?;
        Ok(signer.scheme())
    }

    /// Signs with that scheme.
    ///
    /// # Errors
    /// Why the key did not sign.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, String> {
        let signer = self.key.choose_scheme(&SCHEMES).ok_or("its key knows no way to sign certificates")?;
        signer.sign(message).map_err(|error| error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_do_not_outlast_their_authority() {
        let mut params = rcgen::CertificateParams::default();
        params.not_after = rcgen::date_time_ymd(2027, 1, 1);
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate").pem();
        let authority = Authority::of(certificate.as_bytes(), key.serialize_pem().as_bytes()).expect("an authority");
        let check = |now: &str, hours: i64, expected: Result<(&str, &str), &str>| {
            let found = authority.validity(now.parse().expect("a time"), SignedDuration::from_hours(hours));
            let found = found.map(|(from, to)| (from.to_string(), to.to_string()));
            assert_eq!(
                found,
                expected.map(|(a, b)| (a.to_owned(), b.to_owned())).map_err(str::to_owned),
                "{now} {hours}"
            );
        };
        check("2026-01-01T00:00:00Z", 1, Ok(("2025-12-31T23:55:00Z", "2026-01-01T01:00:00Z")));
        check("2026-01-01T00:00:00Z", 24, Ok(("2025-12-31T23:55:00Z", "2026-01-01T23:55:00Z")));
        check("2026-12-31T00:00:00Z", 48, Ok(("2026-12-30T23:55:00Z", "2027-01-01T00:00:00Z")));
        let gone = "refusing to sign a certificate that expired in the past: NotAfter=2027-01-01T00:00:00Z";
        check("2027-01-01T00:00:00Z", 1, Err(gone));
    }

    #[test]
    fn files_that_cannot_sign_say_why() {
        let pair = || {
            let key = rcgen::KeyPair::generate().expect("a key");
            let certificate = rcgen::CertificateParams::default().self_signed(&key).expect("a certificate").pem();
            (certificate, key.serialize_pem())
        };
        let ((certificate, key), (_, other)) = (pair(), pair());
        let why = |certificate: &str, key: &str| {
            Authority::of(certificate.as_bytes(), key.as_bytes()).err().unwrap_or_default()
        };
        assert_eq!(why(&certificate, &key), "");
        assert_eq!(why(&certificate, &other), "the key is not that of the certificate");
        assert!(why(&certificate, "").starts_with("there is no private key"));
        assert!(why("", &key).starts_with("there is no certificate"));
    }
}
