//! The gantry-controller-manager daemon.

use std::process::ExitCode;

use clap::Parser;
use gantry_client::Client;
use gantry_common::{daemon, version};
use gantry_controller_manager::{COMPONENT, options::Options, run};

/// Runs Gantry's controllers: deployments, replica sets, endpoint slices, namespaces, nodes, garbage collection,
/// volumes in use, quotas, disruption budgets.
#[derive(Debug, Parser)]
#[command(name = "gantry-controller-manager", version)]
struct Flags {
    #[command(flatten)]
    common: daemon::Common,
    #[command(flatten)]
    options: Options,
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    daemon::main("gantry-controller-manager", &flags.common, async |context| {
        let kubeconfig = flags.common.required_kubeconfig()?;
        let client = Client::from_kubeconfig(kubeconfig, &format!("{COMPONENT}/{}", version::GIT_VERSION))?;
        context.ready();
        run(client, flags.options.clone(), context.clock, context.shutdown).await
    })
}
