//! The gantry-apiserver daemon.

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser};
use gantry_common::daemon::{self, Common};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Serves the Kubernetes API over gRPC and REST on one TLS port, from etcd.
#[derive(Debug, Parser)]
#[command(name = "gantry-apiserver", version = gantry_common::version::GIT_VERSION)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    config: gantry_apiserver::Config,
}

fn main() -> ExitCode {
    if let Some(why) = gantry_apiserver::refused(std::env::args_os().skip(1)) {
        Cli::command().error(clap::error::ErrorKind::UnknownArgument, why).exit();
    }
    let given = Cli::command().get_matches();
    let Cli { common, mut config } = Cli::from_arg_matches(&given).unwrap_or_else(|error| error.exit());
    config.flags = gantry_apiserver::flags(&Cli::command(), &given);
    daemon::main("gantry-apiserver", &common, |context| async move {
        let ready = context.clone();
        gantry_apiserver::run(config, context.clock, context.shutdown, move || ready.ready()).await?;
        Ok(())
    })
}
