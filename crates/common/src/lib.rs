//! The frame that every Gantry daemon stands in: flags, telemetry, signals, tasks, time, back-off, TLS, kubeconfig.
//!
//! Nothing here knows a Kubernetes kind. A daemon's `main` is a table of contents over [`daemon::main`].

pub mod backoff;
pub mod clock;
pub mod daemon;
pub mod kubeconfig;
pub mod metrics;
pub mod settled;
pub mod shutdown;
pub mod task;
pub mod telemetry;
pub mod tls;
pub mod token_keys;
pub mod version;

/// Prints an error and its sources as `what: why: why`.
#[must_use]
pub fn error_chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let next = cause.to_string();
        // A wrapped error that repeats its cause must not be said twice.
        if !text.ends_with(&next) {
            text.push_str(": ");
            text.push_str(&next);
        }
        source = cause.source();
    }
    text
}
