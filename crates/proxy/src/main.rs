//! The gantry-proxy daemon.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Parser;
use gantry_client::Client;
use gantry_common::daemon::{self, Common};
use gantry_common::version;
use gantry_proxy::kernel::Nft;

/// Programs this node's packet rules and routes so that service addresses reach ready endpoints, and pods those of other nodes.
#[derive(Debug, Parser)]
#[command(name = "gantry-proxy", version = version::GIT_VERSION)]
struct Flags {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    config: gantry_proxy::Config,
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    daemon::main("gantry-proxy", &flags.common, |context| async {
        let path = flags.common.required_kubeconfig()?;
        let client = Client::from_kubeconfig(path, &version::user_agent("kube-proxy"))
            .with_context(|| format!("cannot connect with the kubeconfig {}", path.display()))?;
        gantry_proxy::run(flags.config, client, Arc::new(Nft), context).await;
        Ok(())
    })
}
