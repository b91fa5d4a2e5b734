//! What a controller implements.

use std::time::Duration;

use async_trait::async_trait;
use gantry_client::Key;

/// Why a reconciliation did not finish. The key comes back after its back-off.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A call to the API server failed.
    #[error("cannot {what}")]
    Call {
        /// What was being done, to which object: `create pod default/web-x`.
        what: String,
        /// Why.
        #[source]
        source: gantry_client::Error,
    },
    /// The object cannot be acted upon as it is.
    #[error("{0}")]
    Refused(String),
}

impl Error {
    /// The client's error, where a call failed.
    #[must_use]
    pub fn call(&self) -> Option<&gantry_client::Error> {
        if let Self::Call { source, .. } = self { Some(source) } else { None }
    }

    /// The object changed in between: the next attempt reads it afresh.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        self.call().is_some_and(gantry_client::Error::is_conflict)
    }

    /// Another leader has taken over.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        self.call().is_some_and(gantry_client::Error::is_fenced)
    }

    /// The key's namespace is on its way out.
    #[must_use]
    pub fn is_namespace_terminating(&self) -> bool {
        self.call().is_some_and(gantry_client::Error::is_namespace_terminating)
    }
}

/// Says what a call was for.
pub trait Doing<T> {
    /// Wraps the error with what was being done.
    ///
    /// # Errors
    /// The wrapped error.
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T> Doing<T> for gantry_client::Result<T> {
    fn doing(self, what: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|source| Error::Call { what: what(), source })
    }
}

/// When the key is wanted again, apart from changes that the controller watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// When something changes.
    Done,
    /// Also after this time.
    After(Duration),
}

impl Outcome {
    /// `Done`, or after the given time.
    #[must_use]
    pub fn after(delay: Option<Duration>) -> Self {
        delay.map_or(Self::Done, Self::After)
    }
}

/// Makes the world fit one key. Called again until it succeeds; may be dropped at any await, as a kill would.
#[async_trait]
pub trait Reconciler: Send + Sync + 'static {
    /// Reads the state of `key` and acts on it.
    ///
    /// # Errors
    /// When it could not be done; the key comes back after its back-off.
    async fn reconcile(&self, key: &Key) -> Result<Outcome, Error>;
}
