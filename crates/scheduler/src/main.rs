//! The gantry-scheduler daemon.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use gantry_client::Client;
use gantry_common::daemon::{self, Common};
use gantry_common::version;

/// Decides which node each pending pod runs on.
#[derive(Debug, Parser)]
#[command(name = "gantry-scheduler", version = version::GIT_VERSION)]
struct Flags {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    config: gantry_scheduler::Config,
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    daemon::main("gantry-scheduler", &flags.common, |context| async {
        flags.config.check().map_err(anyhow::Error::msg)?;
        let path = flags.common.required_kubeconfig()?;
        let client = Client::from_kubeconfig(path, &version::user_agent("kube-scheduler"))
            .with_context(|| format!("cannot connect with the kubeconfig {}", path.display()))?;
        gantry_scheduler::run(flags.config, client, context).await.context("the scheduler stopped")
    })
}
