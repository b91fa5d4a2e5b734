//! How long `gantryctl up` takes until the cluster is Ready.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::Context;
use tokio::process::Command;
use tokio::time::Instant;

use crate::process;
use crate::report::Report;

/// Flags.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The gantryctl binary; default is the one beside this.
    #[arg(long)]
    gantryctl: Option<PathBuf>,
    /// The cluster's name: it is taken down before each run.
    #[arg(long, default_value = "bench")]
    name: String,
    /// More arguments for `up`.
    #[arg(last = true)]
    more: Vec<String>,
}

pub(crate) async fn run(args: &Args, runs: usize, report: &mut Report) -> anyhow::Result<()> {
    let gantryctl = process::binary(args.gantryctl.as_deref(), "gantryctl")?;
    for _ in 0..runs {
        call(&gantryctl, "down", &args.name, &[]).await?;
        let started = Instant::now();
        call(&gantryctl, "up", &args.name, &args.more).await?;
        report.add("up to Ready", "s", started.elapsed().as_secs_f64());
        let started = Instant::now();
        call(&gantryctl, "up", &args.name, &args.more).await?;
        report.add("up again", "s", started.elapsed().as_secs_f64());
    }
    call(&gantryctl, "down", &args.name, &[]).await
}

async fn call(gantryctl: &Path, verb: &str, name: &str, more: &[String]) -> anyhow::Result<()> {
    let mut command = Command::new(gantryctl);
    command.args([verb, "--name", name]).args(more).stdin(Stdio::null());
    let output = command.output().await.with_context(|| format!("running {}", gantryctl.display()))?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(output.status.success(), "gantryctl {verb}: {}: {said}", output.status);
    Ok(())
}
