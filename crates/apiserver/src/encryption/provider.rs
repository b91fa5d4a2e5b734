//! Which provider and which key a stored value belongs to: upstream's rule of prefixes.
//!
//! A value reads `k8s:enc:<provider>:v1:<key name>:<bytes>`, or is plain. The first provider and its first key write;
//! all of them read; what another one wrote is stale. Two providers or keys may have one prefix: the next is tried.

use std::borrow::Cow;
use std::sync::Arc;

use super::cipher::Cipher;
use super::kms::{KMS, Kms};

/// What every encrypted value starts with.
pub(crate) const ENCRYPTED: &[u8] = b"k8s:enc:";

/// A key with its name.
pub(crate) struct Key {
    /// `<key name>:`.
    pub(crate) prefix: String,
    pub(crate) cipher: Cipher,
}

/// One entry of `providers`.
pub(crate) enum Provider {
    /// Plain text.
    Identity,
    /// One of the ciphers.
    Keys {
        /// `k8s:enc:aesgcm:v1:`.
        prefix: &'static str,
        /// What is said when no key has the name in the value.
        no_key: &'static str,
        /// Never empty.
        keys: Vec<Key>,
    },
    /// A plugin holds the key.
    Kms(Arc<Kms>),
}

/// The plain text, and whether the next write should replace the stored form.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Opened<'a> {
    pub(crate) plain: Cow<'a, [u8]>,
    pub(crate) stale: bool,
}

/// The providers of one resource, in order.
#[derive(Default)]
pub(crate) struct Providers(pub(crate) Vec<Arc<Provider>>);

impl Providers {
    /// Has a plugin open what it must for [`Providers::open`].
    ///
    /// # Errors
    /// In upstream's words.
    pub(crate) async fn prepare(&self, stored: &[u8]) -> Result<(), String> {
        if !stored.starts_with(KMS.as_bytes()) {
            return Ok(());
        }
        for provider in &self.0 {
            if let Provider::Kms(kms) = &**provider {
                kms.prepare(stored).await?;
            }
        }
        Ok(())
    }

    /// The plain text of `stored`, which stands at the etcd key `place`.
    ///
    /// # Errors
    /// In upstream's words.
    pub(crate) fn open<'a>(&self, stored: &'a [u8], place: &[u8]) -> Result<Opened<'a>, String> {
        let mut errors: Vec<String> = Vec::new();
        for (number, provider) in self.0.iter().enumerate() {
            match provider.open(stored, place) {
                None => {}
                Some(Ok(opened)) => return Ok(Opened { stale: opened.stale || number > 0, ..opened }),
                Some(Err(error)) => errors.push(error),
            }
        }
        Err(aggregate(errors).unwrap_or_else(|| "no matching prefix found".to_owned()))
    }

    /// The stored form of `plain`; `None` = as it is.
    ///
    /// # Errors
    /// When there are no random bytes.
    pub(crate) fn seal(&self, plain: &[u8], place: &[u8]) -> Result<Option<Vec<u8>>, String> {
        let (prefix, keys) = match self.0.first().map(AsRef::as_ref) {
            Some(Provider::Keys { prefix, keys, .. }) => (prefix, keys),
            Some(Provider::Kms(kms)) => return kms.seal(plain, place).map(Some),
            Some(Provider::Identity) | None => return Ok(None),
        };
        let Some(key) = keys.first() else { return Ok(None) };
        let mut out = Vec::with_capacity(prefix.len() + key.prefix.len() + plain.len() + 64);
        out.extend_from_slice(prefix.as_bytes());
        out.extend_from_slice(key.prefix.as_bytes());
        key.cipher.seal(plain, place, &mut out).map_err(|error| error.to_string())?;
        Ok(Some(out))
    }
}

impl Provider {
    /// `None`: the value is of another provider.
    fn open<'a>(&self, stored: &'a [u8], place: &[u8]) -> Option<Result<Opened<'a>, String>> {
        match self {
            Self::Identity if stored.starts_with(ENCRYPTED) => None,
            Self::Identity => Some(Ok(Opened { plain: Cow::Borrowed(stored), stale: false })),
            Self::Kms(kms) => {
                let opened = kms.open(stored, place)?;
                Some(opened.map(|(plain, stale)| Opened { plain: Cow::Owned(plain), stale }))
            }
            Self::Keys { prefix, no_key, keys } => {
                let stored = stored.strip_prefix(prefix.as_bytes())?;
                Some(open_with(keys, no_key, stored, place))
            }
        }
    }
}

fn open_with<'a>(keys: &[Key], no_key: &str, stored: &[u8], place: &[u8]) -> Result<Opened<'a>, String> {
    let mut errors: Vec<String> = Vec::new();
    for (number, key) in keys.iter().enumerate() {
        let Some(sealed) = stored.strip_prefix(key.prefix.as_bytes()) else { continue };
        match key.cipher.open(sealed, place) {
            Ok(plain) => return Ok(Opened { plain: Cow::Owned(plain), stale: number > 0 }),
            Err(error) => errors.push(error.to_string()),
        }
    }
    Err(aggregate(errors).unwrap_or_else(|| no_key.to_owned()))
}

/// Several errors as upstream prints them: each once, in brackets where there are more.
fn aggregate(errors: Vec<String>) -> Option<String> {
    let mut distinct: Vec<String> = Vec::new();
    for error in errors {
        if !distinct.contains(&error) {
            distinct.push(error);
        }
    }
    match distinct.len() {
        0 => None,
        1 => distinct.pop(),
        _ => Some(format!("[{}]", distinct.join(", "))),
    }
}
