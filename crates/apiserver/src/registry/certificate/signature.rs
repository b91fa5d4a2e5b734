//! Verifies what a certificate signing request is signed with, as Go's crypto/x509 does: any of its curves with any of its
//! digests. SHA-1 is weak but stands there: a request is no statement that somebody else could have been made to sign.

use p521::ecdsa::signature::hazmat::PrehashVerifier;
use rsa::traits::PublicKeyParts as _;
use rsa::{BigUint, Pkcs1v15Sign, Pss, RsaPublicKey};
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use x509_parser::prelude::{AlgorithmIdentifier, FromDer, SubjectPublicKeyInfo, X509CertificationRequest};
use x509_parser::public_key::RSAPublicKey;
use x509_parser::signature_algorithm::RsaSsaPssParams;

const UNIMPLEMENTED: &str = "x509: cannot verify signature: algorithm unimplemented";
const RSA_FAILED: &str = "crypto/rsa: verification error";
const ECDSA_FAILED: &str = "x509: ECDSA verification failure";

/// The shortest modulus that Go trusts, in bits.
const RSA_MIN_BITS: usize = 1024;
/// The longest one worth the time, in bits. Go has no bound; a request's size is bounded anyway.
const RSA_MAX_BITS: usize = 16_384;

/// The DER header of a SHA-1 digest in PKCS #1 v1.5 padding (RFC 8017, section 9.2, note 1).
const SHA1_PREFIX: [u8; 15] =
    [0x30, 0x21, 0x30, 0x09, 0x06, 0x05, 0x2b, 0x0e, 0x03, 0x02, 0x1a, 0x05, 0x00, 0x04, 0x14];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hash {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

/// What an algorithm identifier of a signature says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    /// Known, and not to be trusted.
    Md5Rsa,
    RsaPkcs1(Hash),
    RsaPss(Hash),
    Dsa,
    Ecdsa(Hash),
    Ed25519,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Curve {
    P224,
    P256,
    P384,
    P521,
}

/// The key that a request is about.
enum Key {
    Rsa(RsaPublicKey),
    Ecdsa(Box<dyn Verify>),
    Ed25519,
    /// Of a kind that Go reads and verifies nothing with.
    Other,
}

/// A point on a curve that verifies a DER signature of a digest.
trait Verify {
    fn verifies(&self, digest: &[u8], signature: &[u8]) -> bool;
}

macro_rules! curves {
    ($($curve:ident, $module:ident, $bytes:literal;)*) => {
        $(impl Verify for $module::ecdsa::VerifyingKey {
            fn verifies(&self, digest: &[u8], signature: &[u8]) -> bool {
                $module::ecdsa::Signature::from_der(signature)
                    .is_ok_and(|signature| self.verify_prehash(&padded::<$bytes>(digest), &signature).is_ok())
            }
        })*

        impl Curve {
            /// Reads an uncompressed point; Go takes no other form.
            fn point(self, bytes: &[u8]) -> Option<Box<dyn Verify>> {
                if bytes.first() != Some(&4) {
                    return None;
                }
                match self {
                    $(Self::$curve => {
                        let key = $module::ecdsa::VerifyingKey::from_sec1_bytes(bytes).ok()?;
                        Some(Box::new(key) as Box<dyn Verify>)
                    })*
                }
            }
        }
    };
}

curves! {
    P224, p224, 28;
    P256, p256, 32;
    P384, p384, 48;
    P521, p521, 66;
}

/// A digest as the number that it is, in at least as many bytes as the curve's field has: the verifiers refuse much shorter ones.
fn padded<const BYTES: usize>(digest: &[u8]) -> Vec<u8> {
    let mut out = vec![0; BYTES.saturating_sub(digest.len())];
    out.extend_from_slice(digest);
    out
}

impl Hash {
    fn digest(self, data: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha1 => <sha1::Sha1 as sha1::Digest>::digest(data).to_vec(),
            Self::Sha256 => Sha256::digest(data).to_vec(),
            Self::Sha384 => Sha384::digest(data).to_vec(),
            Self::Sha512 => Sha512::digest(data).to_vec(),
        }
    }

    fn pkcs1(self) -> Pkcs1v15Sign {
        match self {
            Self::Sha1 => Pkcs1v15Sign {
                hash_len: Some(<sha1::Sha1 as sha1::Digest>::output_size()),
                prefix: Box::new(SHA1_PREFIX),
            },
            Self::Sha256 => Pkcs1v15Sign::new::<Sha256>(),
            Self::Sha384 => Pkcs1v15Sign::new::<Sha384>(),
            Self::Sha512 => Pkcs1v15Sign::new::<Sha512>(),
        }
    }

    /// PSS with the salt as long as the digest; none with SHA-1.
    fn pss(self) -> Option<Pss> {
        match self {
            Self::Sha1 => None,
            Self::Sha256 => Some(Pss::new::<Sha256>()),
            Self::Sha384 => Some(Pss::new::<Sha384>()),
            Self::Sha512 => Some(Pss::new::<Sha512>()),
        }
    }
}

impl Scheme {
    /// The scheme that `algorithm` names; none if Go knows none by it.
    fn of(algorithm: &AlgorithmIdentifier<'_>) -> Option<Self> {
        Some(match algorithm.algorithm.to_id_string().as_str() {
            "1.2.840.113549.1.1.4" => Self::Md5Rsa,
            "1.2.840.113549.1.1.5" | "1.3.14.3.2.29" => Self::RsaPkcs1(Hash::Sha1),
            "1.2.840.113549.1.1.11" => Self::RsaPkcs1(Hash::Sha256),
            "1.2.840.113549.1.1.12" => Self::RsaPkcs1(Hash::Sha384),
            "1.2.840.113549.1.1.13" => Self::RsaPkcs1(Hash::Sha512),
            "1.2.840.113549.1.1.10" => Self::RsaPss(pss_hash(algorithm)?),
            "1.2.840.10040.4.3" | "2.16.840.1.101.3.4.3.2" => Self::Dsa,
            "1.2.840.10045.4.1" => Self::Ecdsa(Hash::Sha1),
            "1.2.840.10045.4.3.2" => Self::Ecdsa(Hash::Sha256),
            "1.2.840.10045.4.3.3" => Self::Ecdsa(Hash::Sha384),
            "1.2.840.10045.4.3.4" => Self::Ecdsa(Hash::Sha512),
            // RFC 8410, section 3: no parameters, not even NULL.
            "1.3.101.112" if algorithm.parameters.is_none() => Self::Ed25519,
            _ => return None,
        })
    }

    /// What Go calls the kind of key that the scheme needs.
    fn key_name(self) -> &'static str {
        match self {
            Self::Md5Rsa | Self::RsaPkcs1(_) | Self::RsaPss(_) => "RSA",
            Self::Dsa => "DSA",
            Self::Ecdsa(_) => "ECDSA",
            Self::Ed25519 => "Ed25519",
        }
    }
}

/// The digest of a PSS signature whose other parameters follow from it: Go takes no other mixture.
fn pss_hash(algorithm: &AlgorithmIdentifier<'_>) -> Option<Hash> {
    let params = RsaSsaPssParams::try_from(algorithm.parameters.as_ref()?).ok()?;
    let generator = params.mask_gen_algorithm().ok()?;
    let digest = params.hash_algorithm_oid();
    if generator.mgf.to_id_string() != "1.2.840.113549.1.1.8"
        || generator.hash != *digest
        || params.trailer_field() != 1
    {
        return None;
    }
    match (digest.to_id_string().as_str(), params.salt_length()) {
        ("2.16.840.1.101.3.4.2.1", 32) => Some(Hash::Sha256),
        ("2.16.840.1.101.3.4.2.2", 48) => Some(Hash::Sha384),
        ("2.16.840.1.101.3.4.2.3", 64) => Some(Hash::Sha512),
        _ => None,
    }
}

impl Key {
    /// Reads a key.
    ///
    /// # Errors
    /// In Go's words, why it is none.
    fn read(info: &SubjectPublicKeyInfo<'_>) -> Result<Self, &'static str> {
        let parameters = info.algorithm.parameters.as_ref();
        let bytes = info.subject_public_key.data.as_ref();
        match info.algorithm.algorithm.to_id_string().as_str() {
            "1.2.840.113549.1.1.1" if parameters.is_none_or(|any| any.as_null().is_err()) => {
                Err("x509: RSA key missing NULL parameters")
            }
            "1.2.840.113549.1.1.1" => rsa_key(bytes).map(Self::Rsa),
            "1.2.840.10045.2.1" => {
                let curve = parameters.and_then(|any| any.as_oid().ok()).ok_or("x509: invalid ECDSA parameters")?;
                let curve = match curve.to_id_string().as_str() {
                    "1.3.132.0.33" => Curve::P224,
                    "1.2.840.10045.3.1.7" => Curve::P256,
                    "1.3.132.0.34" => Curve::P384,
                    "1.3.132.0.35" => Curve::P521,
                    _ => return Err("x509: unsupported elliptic curve"),
                };
                curve.point(bytes).map(Self::Ecdsa).ok_or("x509: failed to unmarshal elliptic curve point")
            }
            "1.3.101.112" if parameters.is_some() => Err("x509: Ed25519 key encoded with illegal parameters"),
            "1.3.101.112" if bytes.len() != 32 => Err("x509: wrong Ed25519 public key size"),
            "1.3.101.112" => Ok(Self::Ed25519),
            _ => Ok(Self::Other),
        }
    }

    /// Go's type of it; none for a kind that it verifies nothing with.
    fn go_type(&self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Rsa(_) => Some(("RSA", "*rsa.PublicKey")),
            Self::Ecdsa(_) => Some(("ECDSA", "*ecdsa.PublicKey")),
            Self::Ed25519 => Some(("Ed25519", "ed25519.PublicKey")),
            Self::Other => None,
        }
    }
}

fn rsa_key(bytes: &[u8]) -> Result<RsaPublicKey, &'static str> {
    let (_, key) = RSAPublicKey::from_der(bytes).map_err(|_error| "x509: invalid RSA public key")?;
    let negative = |bytes: &[u8]| bytes.first().is_none_or(|first| first & 0x80 != 0);
    let (modulus, exponent) = (BigUint::from_bytes_be(key.modulus), BigUint::from_bytes_be(key.exponent));
    let zero = BigUint::default();
    if negative(key.modulus) || modulus == zero {
        return Err("x509: RSA modulus is not a positive number");
    }
    if negative(key.exponent) || exponent == zero {
        return Err("x509: RSA public exponent is not a positive number");
    }
    Ok(RsaPublicKey::new_unchecked(modulus, exponent))
}

/// Whether `key` can be used at all.
fn check_rsa(key: &RsaPublicKey) -> Result<(), String> {
    let bits = key.n().bits();
    if bits < RSA_MIN_BITS {
        let page = "https://go.dev/pkg/crypto/rsa#hdr-Minimum_key_size";
        return Err(format!("crypto/rsa: {bits}-bit keys are insecure (see {page})"));
    }
    RsaPublicKey::new_with_max_size(key.n().clone(), key.e().clone(), RSA_MAX_BITS)
        .map(drop)
        .map_err(|_error| RSA_FAILED.to_owned())
}

/// Whether who made the request has the key that it is about: only then may the key be certified (RFC 2986, section 3).
///
/// # Errors
/// In Go's words, why its signature cannot be trusted.
pub(super) fn verify(request: &X509CertificationRequest<'_>) -> Result<(), String> {
    let key = Key::read(&request.certification_request_info.subject_pki)?;
    let scheme = match Scheme::of(&request.signature_algorithm) {
        None => return Err(UNIMPLEMENTED.to_owned()),
        Some(Scheme::Md5Rsa) => return Err("x509: cannot verify signature: insecure algorithm MD5-RSA".to_owned()),
        Some(scheme) => scheme,
    };
    let Some((name, go_type)) = key.go_type() else { return Err(UNIMPLEMENTED.to_owned()) };
    if name != scheme.key_name() {
        let wanted = scheme.key_name();
        return Err(format!(
            "x509: signature algorithm specifies an {wanted} public key, but have public key of type {go_type}"
        ));
    }
    let signed = request.certification_request_info.raw;
    let signature = request.signature_value.data.as_ref();
    match (scheme, key) {
        (Scheme::RsaPkcs1(hash), Key::Rsa(key)) => {
            check_rsa(&key)?;
            key.verify(hash.pkcs1(), &hash.digest(signed), signature).map_err(|_error| RSA_FAILED.to_owned())
        }
        (Scheme::RsaPss(hash), Key::Rsa(key)) => {
            check_rsa(&key)?;
            let padding = hash.pss().ok_or(UNIMPLEMENTED)?;
            key.verify(padding, &hash.digest(signed), signature).map_err(|_error| RSA_FAILED.to_owned())
        }
        (Scheme::Ecdsa(hash), Key::Ecdsa(point)) => {
            point.verifies(&hash.digest(signed), signature).then_some(()).ok_or_else(|| ECDSA_FAILED.to_owned())
        }
        (Scheme::Ed25519, Key::Ed25519) => {
            request.verify_signature().map_err(|_error| "x509: Ed25519 verification failure".to_owned())
        }
        _ => Err(UNIMPLEMENTED.to_owned()),
    }
}

#[cfg(test)]
mod tests;
