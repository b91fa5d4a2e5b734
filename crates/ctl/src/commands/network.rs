//! `gantryctl network`: what a unit runs after a boot, before the node's services.

use std::process::ExitCode;

use super::cluster_args::Which;
use crate::cluster::{checks, network};

/// Flags of `network`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let config = self.which.config()?;
        checks::state_folder(&config)?;
        network::ensure(&config)?;
        Ok(ExitCode::SUCCESS)
    }
}
