//! `gantryctl down`.

use std::process::ExitCode;

use super::cluster_args::Which;
use crate::cluster::{down, progress::Progress};

/// Flags of `down`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// Print nothing but errors
    #[arg(long, short)]
    quiet: bool,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let progress = Progress::new(self.quiet);
        let Some(config) = down::find(&self.which.data_dir, &self.which.name)? else {
            progress.note(&format!("There is no cluster {:?} in {}.", self.which.name, self.which.data_dir.display()));
            return Ok(ExitCode::SUCCESS);
        };
        progress.note(&format!("Removing the Gantry cluster {:?}", config.name));
        down::run(&config, &progress)?;
        progress.note("Everything that `up` made is gone.");
        Ok(ExitCode::SUCCESS)
    }
}
