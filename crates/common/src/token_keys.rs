//! The keys of service-account tokens: one signs, any of several verifies; the public halves are published as a JWK set.
//!
//! The API server signs tokens that it is asked for, the controller manager those that are kept in Secrets.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file could not be read.
    #[error("cannot read the service-account key {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file holds neither an RSA nor a P-256 key.
    #[error("{path} holds no RSA or P-256 key in PEM form that can {purpose}")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// `sign` or `verify`.
        purpose: &'static str,
    },
}

struct Verifier {
    id: String,
    algorithm: Algorithm,
    key: DecodingKey,
    jwk: Jwk,
}

/// Signs and verifies tokens. Never prints a key.
pub struct Keys {
    signer: Option<(String, Algorithm, EncodingKey)>,
    verifiers: Vec<Verifier>,
}

/// A private key: ECDSA first, since an RSA parser refuses its PEM label and the other way round.
fn private(pem: &[u8]) -> Option<(Algorithm, EncodingKey)> {
    let ec = EncodingKey::from_ec_pem(pem).ok().map(|k| (Algorithm::ES256, k));
    ec.or_else(|| EncodingKey::from_rsa_pem(pem).ok().map(|k| (Algorithm::RS256, k)))
}

fn public(pem: &[u8]) -> Option<(Algorithm, DecodingKey)> {
    let ec = DecodingKey::from_ec_pem(pem).ok().map(|k| (Algorithm::ES256, k));
    ec.or_else(|| DecodingKey::from_rsa_pem(pem).ok().map(|k| (Algorithm::RS256, k)))
}

/// The public half in `pem`, which may hold a private key.
fn public_jwk(pem: &[u8]) -> Option<(Algorithm, Jwk)> {
    if let Some((algorithm, key)) = private(pem)
        && let Ok(jwk) = Jwk::from_encoding_key(&key, algorithm)
    {
        return Some((algorithm, jwk));
    }
    let (algorithm, key) = public(pem)?;
    Some((algorithm, Jwk::from_decoding_key(&key, Some(algorithm)).ok()?))
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error::Read { path: path.to_owned(), source })
}

fn verifier(pem: &[u8], path: &Path) -> Result<Verifier, Error> {
    let unusable = || Error::Unusable { path: path.to_owned(), purpose: "verify" };
    let (algorithm, mut jwk) = public_jwk(pem).ok_or_else(unusable)?;
    let key = DecodingKey::from_jwk(&jwk).map_err(|_| unusable())?;
    let id = key_id(&jwk).ok_or_else(unusable)?;
    jwk.common.key_id = Some(id.clone());
    jwk.common.public_key_use = Some(PublicKeyUse::Signature);
    Ok(Verifier { id, algorithm, key, jwk })
}

/// The tag of a DER element, and what it holds (X.690).
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let length = content.len().to_be_bytes();
    let short = &length[length.iter().take_while(|byte| **byte == 0).count().min(length.len() - 1)..];
    let mut out = vec![tag];
    if content.len() >= 0x80 {
        // There are eight at most.
        out.push(0x80 | u8::try_from(short.len()).unwrap_or_default());
    }
    out.extend_from_slice(short);
    out.extend(content);
    out
}

/// An unsigned number as a DER integer.
fn der_number(bytes: &[u8]) -> Vec<u8> {
    let padding: &[u8] = if bytes.first().is_some_and(|first| *first >= 0x80) { &[0] } else { &[] };
    der(0x02, &[padding, bytes])
}

/// What tokens call the key: the hash of its SubjectPublicKeyInfo (RFC 5280), as upstream's, so that servers that share a key
/// believe each other's tokens.
fn key_id(jwk: &Jwk) -> Option<String> {
    const SEQUENCE: u8 = 0x30;
    const BIT_STRING: u8 = 0x03;
    // Object identifiers with their tags: rsaEncryption and NULL; ecPublicKey and prime256v1.
    const RSA: &[u8] = &[0x06, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 0x05, 0];
    const P256: &[u8] = &[0x06, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 0x06, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7];
    let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
    let (algorithm, key) = match &jwk.algorithm {
        AlgorithmParameters::RSA(key) => {
            (RSA, der(SEQUENCE, &[&der_number(&bytes(&key.n)?), &der_number(&bytes(&key.e)?)]))
        }
        AlgorithmParameters::EllipticCurve(key) => (P256, [vec![4], bytes(&key.x)?, bytes(&key.y)?].concat()),
        _ => return None,
    };
    let info = der(SEQUENCE, &[&der(SEQUENCE, &[algorithm]), &der(BIT_STRING, &[&[0], &key])]);
    Some(URL_SAFE_NO_PAD.encode(Sha256::digest(info)))
}

impl Keys {
    /// Reads the files. The signing key verifies too.
    ///
    /// # Errors
    /// When a file cannot be read, or holds no key that can do what it is for.
    pub fn load(signing: Option<&Path>, verifying: &[PathBuf]) -> Result<Self, Error> {
        let mut keys = Self { signer: None, verifiers: Vec::new() };
        if let Some(path) = signing {
            let pem = read(path)?;
            let (algorithm, key) =
                private(&pem).ok_or_else(|| Error::Unusable { path: path.to_owned(), purpose: "sign" })?;
            let verifier = verifier(&pem, path)?;
            keys.signer = Some((verifier.id.clone(), algorithm, key));
            keys.verifiers.push(verifier);
        }
        for path in verifying {
            let verifier = verifier(&read(path)?, path)?;
            if !keys.verifiers.iter().any(|v| v.id == verifier.id) {
                keys.verifiers.push(verifier);
            }
        }
        Ok(keys)
    }

    /// Signs claims; `None` where there is no signing key.
    #[must_use]
    pub fn sign(&self, claims: &impl Serialize) -> Option<Result<String, jsonwebtoken::errors::Error>> {
        let (id, algorithm, key) = self.signer.as_ref()?;
        let mut header = Header::new(*algorithm);
        header.typ = None;
        header.kid = Some(id.clone());
        Some(jsonwebtoken::encode(&header, claims, key))
    }

    /// The claims of a token whose signature is good. Times, issuer and audience are the caller's to check.
    #[must_use]
    pub fn verify<T: DeserializeOwned>(&self, token: &str) -> Option<T> {
        let header = jsonwebtoken::decode_header(token).ok()?;
        // The id is a hint. Keys are few, and who signed with one of them may have called it otherwise.
        let fits = |v: &&Verifier| v.algorithm == header.alg;
        self.verifiers.iter().filter(fits).find_map(|v| {
            let mut validation = Validation::new(v.algorithm);
            validation.validate_exp = false;
            validation.validate_aud = false;
            validation.required_spec_claims.clear();
            jsonwebtoken::decode::<T>(token, &v.key, &validation).ok().map(|data| data.claims)
        })
    }

    /// What `/openid/v1/jwks` answers.
    #[must_use]
    pub fn jwks(&self) -> serde_json::Value {
        serde_json::json!({ "keys": self.verifiers.iter().map(|v| &v.jwk).collect::<Vec<_>>() })
    }

    /// The names of the signature algorithms in use, for the discovery document.
    #[must_use]
    pub fn algorithms(&self) -> Vec<String> {
        let mut names: Vec<String> = self.verifiers.iter().map(|v| format!("{:?}", v.algorithm)).collect();
        names.sort();
        names.dedup();
        names
    }
}

/// How Go reads the parts of a token: bits that the last letter has too much mean nothing.
const PARTS: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, NO_PAD.with_decode_allow_trailing_bits(true));

/// Who a token says has made it, if it has the form of a signed one; its signature is not checked.
#[must_use]
pub fn stated_issuer(token: &str) -> Option<String> {
    let parts: Vec<Vec<u8>> = token.split('.').map(|part| PARTS.decode(part).ok()).collect::<Option<_>>()?;
    let [header, claims, _signature] = parts.as_slice() else { return None };
    serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(header).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(claims).ok()?;
    claims.get("iss")?.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_issuer_is_read_of_what_has_the_form_of_a_token() {
        let part = |json: &str| PARTS.encode(json);
        let (header, claims) = (part(r#"{"alg":"RS256"}"#), part(r#"{"iss":"me"}"#));
        let cases = [
            (format!("{header}.{claims}.c2ln"), Some("me")),
            (format!("{header}.{claims}."), Some("me")),
            (format!("{header}.{claims}.AB"), Some("me")),
            (format!("{header}.{claims}"), None),
            (format!("{header}.{claims}.c2ln.x"), None),
            (format!("{header}.{claims}.!"), None),
            (format!("{}.{claims}.c2ln", part("[]")), None),
            (format!("{header}.{}.c2ln", part(r#"{"iss":1}"#)), None),
            ("nobodys".to_owned(), None),
        ];
        for (token, issuer) in cases {
            assert_eq!(stated_issuer(&token).as_deref(), issuer, "{token}");
        }
    }

    #[test]
    fn what_one_key_signs_it_verifies_and_another_does_not() {
        let folder = tempfile::tempdir().expect("folder");
        let make = |name: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, rcgen::KeyPair::generate().expect("key").serialize_pem()).expect("written");
            path
        };
        let (mine, other) = (make("mine"), make("other"));
        let keys = Keys::load(Some(&mine), &[]).expect("loads");
        let token = keys.sign(&serde_json::json!({"sub": "x"})).expect("has a key").expect("signs");
        let claims: Option<serde_json::Value> = keys.verify(&token);
        assert_eq!(claims, Some(serde_json::json!({"sub": "x"})));
        let others = Keys::load(None, &[other]).expect("loads");
        assert_eq!(others.verify::<serde_json::Value>(&token), None);
        assert_eq!(others.algorithms(), ["ES256"]);
        assert!(keys.jwks()["keys"][0]["d"].is_null(), "the private half must not be published");
    }

    #[test]
    fn a_keys_id_is_the_hash_of_its_public_half() {
        let folder = tempfile::tempdir().expect("folder");
        let check = |pem: &str| {
            let path = folder.path().join("key");
            std::fs::write(&path, pem).expect("written");
            let keys = Keys::load(None, std::slice::from_ref(&path)).expect("loads");
            let base64: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
            let der = base64::engine::general_purpose::STANDARD.decode(base64).expect("PEM");
            assert_eq!(keys.verifiers[0].id, URL_SAFE_NO_PAD.encode(Sha256::digest(der)));
        };
        check(&rcgen::KeyPair::generate().expect("key").public_key_pem());
        check(RSA_PEM);
    }

    /// Made for this test; nobody has the private half.
    const RSA_PEM: &str = "\
        -----BEGIN PUBLIC KEY-----\n\
        MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAmasVD3jsK07/CHkhlUSa\n\
        l4KbY8zGB8+CzRGBe/3Ges/TVwrBMapKwSbDM1c2SzhIKUrt4fXTtjHOhoVPzw66\n\
        UiyJvbhlnihhgRT1i2Rs1Jq82YtiDKS8v71C0WpW89417upNlRRQO6r6uPHWAdTO\n\
        hTHTaFF2QptNWPfDX/l1FnoTmUsdh8I81nD9PKBso8EQLy1ihlXrTJVHRBPiJzZ3\n\
        BbcCw5e8sR1LH9oeCwBQhqoGoY917zdo3pBIAZ61HGZlcqdpEdoPuEL8kFdlIW50\n\
        GsT8ka8b2GocIKoUwr2huK/mXAHXYdYb5c8SdQgckT8b/X5ZBRc6cJWQDSPG9a+g\n\
        KQIDAQAB\n\
        -----END PUBLIC KEY-----\n";
}
