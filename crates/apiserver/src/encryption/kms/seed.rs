//! Sealing by a key that was made for one value: AES-256-GCM under HKDF-SHA256 (RFC 5869, the step of expansion) of a seed and
//! 32 random bytes, which stand in front of nonce, ciphertext and tag.

use hkdf::Hkdf;
use sha2::Sha256;

use crate::encryption::cipher::{Cipher, Error, random};

const SEED_BYTES: usize = 32;
const INFO_BYTES: usize = 32;
const KEY_BYTES: usize = 32;

/// What a plugin opened; prints nothing of it.
pub(crate) enum Dek {
    /// Keys come from it.
    Seed(Box<Hkdf<Sha256>>),
    /// A key itself, as versions before 1.29 wrote it.
    Key(Box<Cipher>),
}

impl Dek {
    /// What a plugin opened.
    ///
    /// # Errors
    /// When it has the wrong length.
    pub(super) fn new(plain: &[u8], seeded: bool) -> Result<Self, String> {
        if seeded {
            let seed = Hkdf::from_prk(plain).map_err(|_| ()).ok().filter(|_| plain.len() >= SEED_BYTES);
            let seed = seed.ok_or_else(|| format!("invalid seed length {} used for key generation", plain.len()))?;
            return Ok(Self::Seed(Box::new(seed)));
        }
        let cipher = Cipher::aesgcm(plain).map(|cipher| Self::Key(Box::new(cipher)));
        cipher.ok_or_else(|| format!("crypto/aes: invalid key size {}", plain.len()))
    }

    /// A new seed, with its bytes.
    ///
    /// # Errors
    /// [`Error::Random`].
    pub(super) fn generate() -> Result<([u8; SEED_BYTES], Self), Error> {
        let seed = random::<SEED_BYTES>()?;
        let hkdf = Hkdf::from_prk(&seed).map_err(|_| Error::Random)?;
        Ok((seed, Self::Seed(Box::new(hkdf))))
    }

    /// The plain text of what was sealed at `place`.
    ///
    /// # Errors
    /// [`Error`].
    pub(super) fn open(&self, stored: &[u8], place: &[u8]) -> Result<Vec<u8>, Error> {
        match self {
            Self::Key(cipher) => cipher.open(stored, place),
            Self::Seed(seed) => {
                let (info, sealed) = stored.split_at_checked(INFO_BYTES).ok_or(Error::TooShort)?;
                derived(seed, info)?.open(sealed, place)
            }
        }
    }

    /// Appends what `plain` is sealed to.
    ///
    /// # Errors
    /// [`Error::Random`].
    pub(super) fn seal(&self, plain: &[u8], place: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        match self {
            Self::Key(cipher) => cipher.seal(plain, place, out),
            Self::Seed(seed) => {
                let info = random::<INFO_BYTES>()?;
                out.extend_from_slice(&info);
                derived(seed, &info)?.seal(plain, place, out)
            }
        }
    }
}

fn derived(seed: &Hkdf<Sha256>, info: &[u8]) -> Result<Cipher, Error> {
    let mut key = [0; KEY_BYTES];
    seed.expand(info, &mut key).map_err(|_| Error::TooShort)?;
    Cipher::aesgcm(&key).ok_or(Error::TooShort)
}
