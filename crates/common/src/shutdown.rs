//! One signal that ends a daemon.

use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

/// Cloned into everything that must end with the daemon.
#[derive(Debug, Clone, Default)]
pub struct Shutdown(CancellationToken);

impl Shutdown {
    /// A signal that nobody has given yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Given by the first SIGTERM or SIGINT. Must be called inside a runtime.
    ///
    /// # Errors
    /// When the process may not install signal handlers.
    pub fn from_signals() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut term = signal(SignalKind::terminate())?;
        let mut int = signal(SignalKind::interrupt())?;
        let shutdown = Self::new();
        let given = shutdown.clone();
        crate::task::spawn("signals", async move {
            tokio::select! {
                _ = term.recv() => tracing::info!("SIGTERM received, stopping"),
                _ = int.recv() => tracing::info!("SIGINT received, stopping"),
            }
            given.trigger();
        });
        Ok(shutdown)
    }

    /// Resolves once shutdown was asked for.
    pub fn requested(&self) -> WaitForCancellationFuture<'_> {
        self.0.cancelled()
    }

    /// Whether shutdown was asked for.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Asks for shutdown.
    pub fn trigger(&self) {
        self.0.cancel();
    }

    /// A signal for a part: ends with this one, or alone.
    #[must_use]
    pub fn child(&self) -> Self {
        Self(self.0.child_token())
    }

    /// The token underneath.
    #[must_use]
    pub fn token(&self) -> &CancellationToken {
        &self.0
    }
}
