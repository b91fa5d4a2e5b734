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

/// What failed of steps that do not depend on each other: one object that is refused must not keep the others from their turn.
#[derive(Debug, Default)]
pub struct Failures(Option<Error>);

impl Failures {
    /// Takes note of how a step ended.
    ///
    /// # Errors
    /// Another leader has taken over: no more steps.
    pub fn note(&mut self, step: Result<(), Error>) -> Result<(), Error> {
        match step {
            Ok(()) => {}
            Err(error) if error.is_fenced() => return Err(error),
            Err(error) if self.0.is_none() => self.0 = Some(error),
            Err(error) => {
                tracing::warn!(error = gantry_common::error_chain(&error), "one more step of a reconciliation failed");
            }
        }
        Ok(())
    }

    /// How all the steps ended.
    ///
    /// # Errors
    /// The first failure.
    pub fn first(self) -> Result<(), Error> {
        self.0.map_or(Ok(()), Err)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failure_does_not_stop_the_other_steps_but_another_leader_does() {
        let refused = |why: &str| Err(Error::Refused(why.to_owned()));
        let mut failures = Failures::default();
        for step in [Ok(()), refused("a"), Ok(()), refused("b")] {
            assert!(failures.note(step).is_ok());
        }
        assert_eq!(failures.first().map_err(|error| error.to_string()), Err("a".to_owned()));
        assert!(Failures::default().first().is_ok());
        let fenced = gantry_api::status::Status::failure(409, "Fenced", "b leads");
        let fenced = Error::Call { what: "x".to_owned(), source: gantry_client::Error::Api(Box::new(fenced)) };
        assert!(Failures::default().note(Err(fenced)).is_err());
    }
}
