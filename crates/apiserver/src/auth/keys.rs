//! The keys of service-account tokens: one signs, any of several verifies; the public halves are published as a JWK set.

use std::path::{Path, PathBuf};

use jsonwebtoken::jwk::{Jwk, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::Serialize;
use serde::de::DeserializeOwned;

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
    /// The key's fingerprint could not be computed.
    #[error("cannot publish the key {path}")]
    Publish {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: jsonwebtoken::errors::Error,
    },
}

struct Verifier {
    id: String,
    algorithm: Algorithm,
    key: DecodingKey,
    jwk: Jwk,
}

/// Signs and verifies tokens.
pub(crate) struct Keys {
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
    let id =
        jwk.thumbprint(ThumbprintHash::SHA256).map_err(|source| Error::Publish { path: path.to_owned(), source })?;
    jwk.common.key_id = Some(id.clone());
    jwk.common.public_key_use = Some(PublicKeyUse::Signature);
    Ok(Verifier { id, algorithm, key, jwk })
}

impl Keys {
    /// Reads the files. The signing key verifies too.
    pub(crate) fn load(signing: Option<&Path>, verifying: &[PathBuf]) -> Result<Self, Error> {
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

    /// Signs claims; `None` where this server has no signing key.
    pub(crate) fn sign(&self, claims: &impl Serialize) -> Option<Result<String, jsonwebtoken::errors::Error>> {
        let (id, algorithm, key) = self.signer.as_ref()?;
        let mut header = Header::new(*algorithm);
        header.typ = None;
        header.kid = Some(id.clone());
        Some(jsonwebtoken::encode(&header, claims, key))
    }

    /// The claims of a token whose signature is good. Times, issuer and audience are the caller's to check.
    pub(crate) fn verify<T: DeserializeOwned>(&self, token: &str) -> Option<T> {
        let header = jsonwebtoken::decode_header(token).ok()?;
        let fits = |v: &&Verifier| v.algorithm == header.alg && header.kid.as_ref().is_none_or(|kid| *kid == v.id);
        self.verifiers.iter().filter(fits).find_map(|v| {
            let mut validation = Validation::new(v.algorithm);
            validation.validate_exp = false;
            validation.validate_aud = false;
            validation.required_spec_claims.clear();
            jsonwebtoken::decode::<T>(token, &v.key, &validation).ok().map(|data| data.claims)
        })
    }

    /// What `/openid/v1/jwks` answers.
    pub(crate) fn jwks(&self) -> serde_json::Value {
        serde_json::json!({ "keys": self.verifiers.iter().map(|v| &v.jwk).collect::<Vec<_>>() })
    }

    /// The names of the signature algorithms in use, for the discovery document.
    pub(crate) fn algorithms(&self) -> Vec<String> {
        let mut names: Vec<String> = self.verifiers.iter().map(|v| format!("{:?}", v.algorithm)).collect();
        names.sort();
        names.dedup();
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
