//! Encryption at rest: what the API server keeps in etcd is sealed on its way there and opened on its way back.
//!
//! * `config` reads the file of `--encryption-provider-config`; `provider` and `cipher` are upstream's value format.
//! * [`Keyring`] is the file in force; it is taken up again when the file changes.
//! * [`layer::Layered`] stands between the API server and its store, so that no path goes around it.

mod cipher;
mod config;
mod kms;
pub(crate) mod layer;
mod provider;
pub(crate) mod reload;
mod resource;

use arc_swap::ArcSwap;
use bytes::Bytes;
use gantry_store::{Form, KeyValue};

use self::provider::ENCRYPTED;

/// What is said of an encrypted value of a resource without providers.
const NO_PROVIDER: &str = "identity transformer tried to read encrypted data";

/// Why a text was not taken up.
pub(crate) enum Refused {
    /// It cannot be used.
    Text(String),
    /// A plugin that it names cannot be used now.
    Plugin(String),
}

/// The providers in force.
pub(crate) struct Keyring(ArcSwap<config::Rules>);

impl Keyring {
    /// Makes providers of a configuration file's text.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, String> {
        Ok(Self(ArcSwap::from_pointee(config::parse(text)?)))
    }

    /// Takes up another text; on an error the old providers stay.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) async fn replace(&self, text: &[u8]) -> Result<(), Refused> {
        let rules = config::parse(text).map_err(Refused::Text)?;
        rules.check().await.map_err(Refused::Plugin)?;
        self.0.store(std::sync::Arc::new(rules));
        Ok(())
    }

    /// Asks all plugins how they are, and makes new seeds where their keys have changed.
    ///
    /// # Errors
    /// Why plugins cannot be used.
    pub(crate) async fn check(&self) -> Result<(), String> {
        self.0.load_full().check().await
    }

    /// Whether a plugin has given no answer for some value since the last time.
    pub(crate) fn missed(&self) -> bool {
        self.0.load().missed()
    }

    /// What the plugins said when they were asked last; `None` where there are none.
    pub(crate) fn health(&self) -> Option<Result<(), String>> {
        self.0.load().health()
    }

    /// Has a plugin open what it must for [`Keyring::open`].
    ///
    /// # Errors
    /// In upstream's words.
    pub(crate) async fn prepare(&self, value: &[u8], key: &str) -> Result<(), String> {
        let Some((group, resource)) = resource::of_key(key) else { return Ok(()) };
        let rules = self.0.load_full();
        match rules.providers(group, resource) {
            Some(providers) => providers.prepare(value).await,
            None => Ok(()),
        }
    }

    /// Opens a value in place; `key` is its key as the API server knows it, `place` as etcd does.
    pub(crate) fn open(&self, kv: &mut KeyValue, key: &str, place: &[u8]) {
        let Some((group, resource)) = resource::of_key(key) else { return };
        let rules = self.0.load();
        let Some(providers) = rules.providers(group, resource) else {
            if kv.value.starts_with(ENCRYPTED) {
                withhold(kv, NO_PROVIDER);
            }
            return;
        };
        match providers.open(&kv.value, place) {
            Ok(opened) => {
                let form = if opened.stale { Form::Stale } else { Form::Current };
                let plain = match opened.plain {
                    std::borrow::Cow::Borrowed(_) => None,
                    std::borrow::Cow::Owned(plain) => Some(Bytes::from(plain)),
                };
                kv.form = form;
                kv.value = plain.unwrap_or_else(|| std::mem::take(&mut kv.value));
            }
            Err(reason) => withhold(kv, &reason),
        }
    }

    /// The form in which a value is stored.
    ///
    /// # Errors
    /// When there are no random bytes.
    pub(crate) fn seal(&self, key: &str, place: &[u8], plain: Bytes) -> Result<Bytes, String> {
        let Some((group, resource)) = resource::of_key(key) else { return Ok(plain) };
        let rules = self.0.load();
        let Some(providers) = rules.providers(group, resource) else { return Ok(plain) };
        Ok(providers.seal(&plain, place)?.map_or(plain, Bytes::from))
    }
}

/// What cannot be read is not shown either.
fn withhold(kv: &mut KeyValue, reason: &str) {
    kv.value = Bytes::new();
    kv.form = Form::Unreadable(reason.into());
}

#[cfg(test)]
mod tests;
