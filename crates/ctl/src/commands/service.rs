//! `gantryctl service`.

use std::{process::ExitCode, time::Duration};

use clap::Subcommand;

use super::cluster_args::Which;
use crate::{cluster::manager::Services, output};

/// Flags of `service`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show one service, as JSON
    Status {
        /// The service, as `gantryctl status` names it
        service: String,
    },
    /// Start a service and wait until it works
    Start {
        /// The service
        service: String,
    },
    /// Stop a service; it stays stopped until it is started or `up` is run
    Stop {
        /// The service
        service: String,
        /// Without asking it to end (SIGKILL)
        #[arg(long)]
        kill: bool,
    },
    /// Stop a service, start it again, and wait until it works
    Restart {
        /// The service
        service: String,
    },
    /// Print the end of a service's log
    Log {
        /// The service
        service: String,
    },
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let config = self.which.config()?;
        let services = Services::new(&config);
        let limit = Duration::from_secs(60);
        match self.verb {
            Verb::Status { service } => {
                let found = services.status()?.into_iter().find(|s| s.name == service);
                let found = found.ok_or_else(|| anyhow::anyhow!("there is no service {service:?}"))?;
                output::data(&format!("{}\n", serde_json::to_string_pretty(&found)?))?;
            }
            Verb::Start { service } => {
                services.start(&service)?;
                services.wait_ready(&service, limit, None)?;
            }
            Verb::Stop { service, kill } => services.stop(&service, kill)?,
            Verb::Restart { service } => {
                let before = services.status()?.into_iter().find(|s| s.name == service).and_then(|s| s.pid);
                services.restart(&service)?;
                services.wait_replaced(&service, before, limit)?;
            }
            Verb::Log { service } => output::data(&services.log_end(&service))?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
