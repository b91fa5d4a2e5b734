//! The three ways to encrypt a value, byte for byte as upstream's (k8s.io/apiserver/pkg/storage/value/encrypt).
//!
//! * aesgcm: 12-byte nonce ‖ ciphertext ‖ 16-byte tag, the etcd key as additional data (NIST SP 800-38D).
//! * aescbc: 16-byte IV ‖ ciphertext with PKCS#7 padding. Not authenticated; kept for what is stored already.
//! * secretbox: 24-byte nonce ‖ Poly1305 tag ‖ ciphertext (XSalsa20-Poly1305, NaCl).

use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockDecryptMut, BlockEncryptMut, KeyIvInit};
use aes::{Aes128, Aes192, Aes256};
use aes_gcm::AesGcm;
use aes_gcm::aead::consts::U12;
use aes_gcm::aead::{Aead, KeyInit, Payload};
use crypto_secretbox::XSalsa20Poly1305;
use rand::TryRngCore;
use rand::rngs::OsRng;

const GCM_NONCE_BYTES: usize = 12;
const BLOCK_BYTES: usize = 16;
const BOX_NONCE_BYTES: usize = 24;

/// Why a value cannot be decrypted or encrypted, in upstream's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Error {
    /// Not even the nonce is there.
    #[error("the stored data was shorter than the required size")]
    TooShort,
    /// CBC works on whole blocks.
    #[error("the stored data is not a multiple of the block size")]
    BlockSize,
    /// Wrong key, or changed bytes, or (aesgcm) a value that was copied from another key.
    #[error("cipher: message authentication failed")]
    Authentication,
    /// What came out of CBC is not padded: the key is wrong.
    #[error("invalid padding on input")]
    Padding,
    /// As [`Error::Authentication`], for secretbox.
    #[error("output array was not large enough for encryption")]
    Box,
    /// The operating system gives no random bytes.
    #[error("unable to read sufficient random bytes")]
    Random,
}

/// A key with its cipher. Holds no plain text and prints nothing of the key.
pub(crate) enum Cipher {
    Gcm128(Box<AesGcm<Aes128, U12>>),
    Gcm192(Box<AesGcm<Aes192, U12>>),
    Gcm256(Box<AesGcm<Aes256, U12>>),
    Cbc128([u8; 16]),
    Cbc192([u8; 24]),
    Cbc256([u8; 32]),
    Secretbox(Box<XSalsa20Poly1305>),
}

impl Cipher {
    /// AES in Galois/counter mode; `None` when the key has not 16, 24 or 32 bytes.
    pub(crate) fn aesgcm(key: &[u8]) -> Option<Self> {
        Some(match key.len() {
            16 => Self::Gcm128(Box::new(AesGcm::new_from_slice(key).ok()?)),
            24 => Self::Gcm192(Box::new(AesGcm::new_from_slice(key).ok()?)),
            _ => Self::Gcm256(Box::new(AesGcm::new_from_slice(key).ok()?)),
        })
    }

    /// AES in cipher block chaining mode; `None` when the key has not 16, 24 or 32 bytes.
    pub(crate) fn aescbc(key: &[u8]) -> Option<Self> {
        Some(match key.len() {
            16 => Self::Cbc128(key.try_into().ok()?),
            24 => Self::Cbc192(key.try_into().ok()?),
            _ => Self::Cbc256(key.try_into().ok()?),
        })
    }

    /// XSalsa20 and Poly1305; `None` when the key has not 32 bytes.
    pub(crate) fn secretbox(key: &[u8]) -> Option<Self> {
        Some(Self::Secretbox(Box::new(XSalsa20Poly1305::new_from_slice(key).ok()?)))
    }

    /// The plain text of what follows the key's name in a stored value; `place` is the value's etcd key.
    ///
    /// # Errors
    /// [`Error`].
    pub(crate) fn open(&self, stored: &[u8], place: &[u8]) -> Result<Vec<u8>, Error> {
        match self {
            Self::Gcm128(gcm) => gcm_open(&**gcm, stored, place),
            Self::Gcm192(gcm) => gcm_open(&**gcm, stored, place),
            Self::Gcm256(gcm) => gcm_open(&**gcm, stored, place),
            Self::Cbc128(key) => cbc_open::<Aes128>(key, stored),
            Self::Cbc192(key) => cbc_open::<Aes192>(key, stored),
            Self::Cbc256(key) => cbc_open::<Aes256>(key, stored),
            Self::Secretbox(cipher) => {
                let (nonce, sealed) = split(stored, BOX_NONCE_BYTES)?;
                cipher.decrypt(nonce.into(), sealed).map_err(|_| Error::Box)
            }
        }
    }

    /// Appends nonce and ciphertext to `out`.
    ///
    /// # Errors
    /// [`Error::Random`].
    pub(crate) fn seal(&self, plain: &[u8], place: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        match self {
            Self::Gcm128(gcm) => gcm_seal(&**gcm, plain, place, out),
            Self::Gcm192(gcm) => gcm_seal(&**gcm, plain, place, out),
            Self::Gcm256(gcm) => gcm_seal(&**gcm, plain, place, out),
            Self::Cbc128(key) => cbc_seal::<Aes128>(key, plain, out),
            Self::Cbc192(key) => cbc_seal::<Aes192>(key, plain, out),
            Self::Cbc256(key) => cbc_seal::<Aes256>(key, plain, out),
            Self::Secretbox(cipher) => {
                let nonce = random::<BOX_NONCE_BYTES>()?;
                out.extend_from_slice(&nonce);
                out.extend_from_slice(&cipher.encrypt((&nonce).into(), plain).map_err(|_| Error::Box)?);
                Ok(())
            }
        }
    }
}

/// Bytes from the operating system.
///
/// # Errors
/// [`Error::Random`].
pub(crate) fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    OsRng.try_fill_bytes(&mut bytes).map_err(|_| Error::Random)?;
    Ok(bytes)
}

fn split(stored: &[u8], head: usize) -> Result<(&[u8], &[u8]), Error> {
    stored.split_at_checked(head).ok_or(Error::TooShort)
}

fn gcm_open<C>(gcm: &C, stored: &[u8], place: &[u8]) -> Result<Vec<u8>, Error>
where
    C: Aead<NonceSize = U12>,
{
    let (nonce, sealed) = split(stored, GCM_NONCE_BYTES)?;
    let sealed = Payload { msg: sealed, aad: place };
    gcm.decrypt(nonce.into(), sealed).map_err(|_| Error::Authentication)
}

fn gcm_seal<C>(gcm: &C, plain: &[u8], place: &[u8], out: &mut Vec<u8>) -> Result<(), Error>
where
    C: Aead<NonceSize = U12>,
{
    let nonce = random::<GCM_NONCE_BYTES>()?;
    out.extend_from_slice(&nonce);
    let plain = Payload { msg: plain, aad: place };
    out.extend_from_slice(&gcm.encrypt((&nonce).into(), plain).map_err(|_| Error::Authentication)?);
    Ok(())
}

fn cbc_open<C>(key: &[u8], stored: &[u8]) -> Result<Vec<u8>, Error>
where
    C: aes::cipher::BlockCipher + aes::cipher::BlockDecryptMut + aes::cipher::KeyInit,
    cbc::Decryptor<C>: KeyIvInit,
{
    let (iv, sealed) = split(stored, BLOCK_BYTES)?;
    if sealed.len() % BLOCK_BYTES != 0 {
        return Err(Error::BlockSize);
    }
    let cipher = cbc::Decryptor::<C>::new_from_slices(key, iv).map_err(|_| Error::TooShort)?;
    cipher.decrypt_padded_vec_mut::<Pkcs7>(sealed).map_err(|_| Error::Padding)
}

fn cbc_seal<C>(key: &[u8], plain: &[u8], out: &mut Vec<u8>) -> Result<(), Error>
where
    C: aes::cipher::BlockCipher + aes::cipher::BlockEncryptMut + aes::cipher::KeyInit,
    cbc::Encryptor<C>: KeyIvInit,
{
    let iv = random::<BLOCK_BYTES>()?;
    let cipher = cbc::Encryptor::<C>::new_from_slices(key, &iv).map_err(|_| Error::TooShort)?;
    out.extend_from_slice(&iv);
    out.extend_from_slice(&cipher.encrypt_padded_vec_mut::<Pkcs7>(plain));
    Ok(())
}
