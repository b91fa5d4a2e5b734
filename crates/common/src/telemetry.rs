//! Logging to standard error.

use clap::ValueEnum;
use tracing_subscriber::{EnvFilter, fmt, prelude::*};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Warnings of rustls about each connection of a client that names an IP address as its server's name: the connection works,
/// and there is nothing that an operator could do about it.
const QUIET: &str = "rustls::msgs::handshake=error";

/// The operator's directives, with our own where these say nothing about rustls.
fn directives(filter: &str) -> String {
    if filter.contains("rustls") || matches!(filter.trim(), "" | "off") {
        return filter.to_owned();
    }
    format!("{filter},{QUIET}")
}

/// Installs the process's subscriber. `filter` is a `tracing` directive list (`info,gantry_kubelet=debug`); what it does
/// not say of rustls is kept quiet where that would fill the log.
///
/// # Errors
/// When the filter cannot be parsed or a subscriber is installed already.
pub fn init(format: LogFormat, filter: &str) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(directives(filter))?;
    let registry = tracing_subscriber::registry().with(filter);
    match format {
        LogFormat::Text => {
            registry.with(fmt::layer().with_writer(std::io::stderr).with_target(true).with_ansi(false)).try_init()?;
        }
        LogFormat::Json => registry.with(fmt::layer().json().with_writer(std::io::stderr)).try_init()?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    fn warns(filter: &str) -> (bool, bool) {
        let filter = EnvFilter::try_new(directives(filter)).expect("valid");
        tracing::subscriber::with_default(tracing_subscriber::registry().with(filter), || {
            let rustls = tracing::enabled!(target: "rustls::msgs::handshake", Level::WARN);
            (rustls, tracing::enabled!(target: "gantry_apiserver", Level::WARN))
        })
    }

    #[test]
    fn rustls_is_quiet_about_names_unless_it_is_asked() {
        assert_eq!(warns("info"), (false, true));
        assert_eq!(warns("debug,gantry_kubelet=trace"), (false, true));
        assert_eq!(warns("info,rustls=debug"), (true, true));
        assert_eq!(warns("off"), (false, false));
    }
}
