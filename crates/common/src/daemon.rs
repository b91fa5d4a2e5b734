//! `main` of a daemon: runtime, telemetry, signals, service notification, exit code.

use std::{future::Future, path::PathBuf, process::ExitCode};

use clap::Args;

use crate::{
    clock::{self, SharedClock},
    shutdown::Shutdown,
    telemetry::{self, LogFormat},
};

/// The stack of a thread that serves requests, in bytes. Reading YAML that is nested as deeply as it may be takes more than the
/// usual 2 MiB in a build for debugging; what is not used takes no memory.
pub const STACK_BYTES: usize = 8 * 1024 * 1024;

/// Flags that every daemon has.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Path of the kubeconfig with the API servers' addresses and this component's credentials.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Format of log lines on standard error.
    #[arg(long, value_enum, default_value_t)]
    pub log_format: LogFormat,
    /// Log filter, for example `info` or `info,gantry_store=debug`.
    #[arg(long, default_value = "info", value_name = "FILTER", env = "GANTRY_LOG")]
    pub log_level: String,
}

impl Common {
    /// The kubeconfig's path.
    ///
    /// # Errors
    /// When the flag was not given.
    pub fn required_kubeconfig(&self) -> anyhow::Result<&PathBuf> {
        self.kubeconfig.as_ref().ok_or_else(|| {
            anyhow::anyhow!(
                "--kubeconfig is missing: name the file that holds the API server's address and credentials"
            )
        })
    }
}

/// Reads a flag's `50s`, `1m30s`, `200ms`.
///
/// # Errors
/// What is wrong with the text.
pub fn duration(text: &str) -> Result<std::time::Duration, String> {
    let span: jiff::SignedDuration = text.parse().map_err(|e| format!("{e}; write for example 50s or 1m30s"))?;
    std::time::Duration::try_from(span).map_err(|_| "a duration must not be negative".to_owned())
}

/// What a daemon gets from its frame.
#[derive(Clone)]
pub struct Context {
    /// Ends the daemon.
    pub shutdown: Shutdown,
    /// Wall time.
    pub clock: SharedClock,
}

impl Context {
    /// Tells the service manager that the daemon does its work now (a no-op where there is none).
    pub fn ready(&self) {
        if let Err(error) = sd_notify::notify(&[sd_notify::NotifyState::Ready]) {
            tracing::warn!(%error, "could not tell the service manager that the daemon is ready");
        }
        tracing::info!("ready");
    }
}

/// Runs a daemon to its end. Exit code 0 after an orderly stop, 1 after an error, which is printed with its causes.
pub fn main<F, Fut>(name: &'static str, common: &Common, run: F) -> ExitCode
where
    F: FnOnce(Context) -> Fut,
    Fut: Future<Output = anyhow::Result<()>>,
{
    if let Err(error) = telemetry::init(common.log_format, &common.log_level) {
        eprintln!("{name}: cannot set up logging with --log-level {:?}: {error}", common.log_level);
        return ExitCode::from(64);
    }
    // Daemons are small: with huge pages the allocator's sparse arenas take three times the memory that they use. Where the
    // kernel does not know the switch, nothing is lost.
    if let Err(error) = nix::sys::prctl::set_thp_disable(true) {
        tracing::debug!(%error, "huge pages cannot be switched off");
    }
    crate::tls::install_provider();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(STACK_BYTES).build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "cannot start the runtime");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(async {
        let context = Context { shutdown: Shutdown::from_signals()?, clock: clock::system() };
        tracing::info!(component = name, version = crate::version::GIT_VERSION, "starting");
        let result = run(context).await;
        // The service manager may be gone; the daemon stops all the same.
        drop(sd_notify::notify(&[sd_notify::NotifyState::Stopping]));
        result
    });
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    match result {
        Ok(()) => {
            tracing::info!("stopped");
            ExitCode::SUCCESS
        }
        Err(error) => {
            tracing::error!("{}", crate::error_chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}
