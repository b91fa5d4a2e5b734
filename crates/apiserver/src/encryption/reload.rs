//! Reads the configuration at start, and again when its file changes (`--encryption-provider-config-automatic-reload`).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use gantry_common::shutdown::Shutdown;
use gantry_store::cache::Cache;
use tracing::{error, info};

use super::{Keyring, Refused};

/// The file and what was read from it.
pub(crate) struct File {
    pub(crate) keyring: Arc<Keyring>,
    path: PathBuf,
    text: Vec<u8>,
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("the file cannot be read")]
    Read(#[source] std::io::Error),
    /// What it says cannot be used.
    #[error("{0}")]
    Invalid(String),
}

impl File {
    /// Reads the file.
    ///
    /// # Errors
    /// [`Error`].
    pub(crate) fn load(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read(path).map_err(Error::Read)?;
        let keyring = Arc::new(Keyring::parse(&text).map_err(Error::Invalid)?);
        Ok(Self { keyring, path: path.to_owned(), text })
    }

    /// Looks at the file every `interval` until shutdown. A text that cannot be used leaves the old keys in force.
    pub(crate) async fn follow(mut self, cache: Cache, interval: Duration, shutdown: Shutdown) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(interval) => {}
                () = shutdown.requested() => return,
            }
            self.look(&cache).await;
        }
    }

    async fn look(&mut self, cache: &Cache) {
        let text = match tokio::fs::read(&self.path).await {
            Ok(text) if text == self.text => return,
            Ok(text) => text,
            Err(why) => {
                error!(path = %self.path.display(), %why, "the encryption configuration cannot be read, the old one stays");
                return;
            }
        };
        match self.keyring.replace(&text).await {
            Ok(()) => {
                info!(path = %self.path.display(), "took up the changed encryption configuration");
                read_again(cache);
            }
            Err(Refused::Plugin(why)) => {
                error!(path = %self.path.display(), why, "a plugin of the changed encryption configuration cannot be used yet");
                return;
            }
            Err(Refused::Text(why)) => {
                error!(path = %self.path.display(), why, "the changed encryption configuration cannot be used, the old one stays");
            }
        }
        self.text = text;
    }
}

/// What could not be read may be readable now.
fn read_again(cache: &Cache) {
    if cache.undecodable().iter().any(|what| what.unreadable) {
        cache.list_again();
    }
}

/// Asks plugins every `interval` how they are until shutdown, and six times less often while all are well.
pub(crate) async fn follow_plugins(keyring: Arc<Keyring>, cache: Cache, interval: Duration, shutdown: Shutdown) {
    let mut well = false;
    loop {
        let before = well;
        well = match keyring.check().await {
            Ok(()) => true,
            Err(why) => {
                error!(why, "a plugin that holds keys cannot be used");
                false
            }
        };
        // One that is well now may have been away for a moment in between.
        if well && (keyring.missed() || !before) {
            read_again(&cache);
        }
        tokio::select! {
            () = tokio::time::sleep(if well { interval * 6 } else { interval }) => {}
            () = shutdown.requested() => return,
        }
    }
}
