//! `gantryctl kubeconfig`.

use std::{fs, process::ExitCode};

use anyhow::Context;

use super::cluster_args::Which;
use crate::output;

/// Flags of `kubeconfig`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// The one that names all API servers, for gantryctl; kubectl reads one server and has a context for each
    #[arg(long)]
    all_servers: bool,
    /// Print the file's path instead of its content
    #[arg(long)]
    path: bool,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let layout = self.which.config()?.layout();
        let path = if self.all_servers { layout.own_kubeconfig() } else { layout.kubeconfig("admin") };
        if self.path {
            output::line(&path.display().to_string())?;
        } else {
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            output::data(&text)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
