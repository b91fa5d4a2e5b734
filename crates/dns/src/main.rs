//! The gantry-dns daemon.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use gantry_client::Client;
use gantry_common::daemon::{self, Common};
use gantry_common::version;

/// Answers for the names of the cluster's services, and asks upstream for all others.
#[derive(Debug, Parser)]
#[command(name = "gantry-dns", version = version::GIT_VERSION)]
struct Flags {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    config: gantry_dns::Config,
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    daemon::main("gantry-dns", &flags.common, |context| async {
        let path = flags.common.required_kubeconfig()?;
        let client = Client::from_kubeconfig(path, &version::user_agent("gantry-dns"))
            .with_context(|| format!("cannot connect with the kubeconfig {}", path.display()))?;
        gantry_dns::run(flags.config, client, context).await.context("the DNS server stopped")
    })
}
