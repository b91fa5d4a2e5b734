//! `gantryctl supervise`: the small supervisor itself.

use std::process::ExitCode;

use gantry_common::{
    shutdown::Shutdown,
    telemetry::{self, LogFormat},
};

use super::{block_on, cluster_args::Which};
use crate::cluster::supervisor;

/// Flags of `supervise`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        telemetry::init(LogFormat::default(), "info")?;
        let config = self.which.config()?;
        block_on(async {
            let shutdown = Shutdown::from_signals()?;
            supervisor::run(&config.name, config.layout(), shutdown).await
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
