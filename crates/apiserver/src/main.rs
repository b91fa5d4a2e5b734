//! The gantry-apiserver daemon.

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser};
use gantry_apiserver::Sifted;
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

/// Ends the program with what is wrong with the command line.
fn refuse(why: &str) -> ! {
    Cli::command().error(clap::error::ErrorKind::UnknownArgument, why).exit()
}

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let program = arguments.next();
    let Sifted { rest, idle } = gantry_apiserver::sift(arguments).unwrap_or_else(|why| refuse(&why));
    if let Some(why) = gantry_apiserver::refused(rest.iter().cloned()) {
        refuse(&why);
    }
    let given = Cli::command().get_matches_from(program.into_iter().chain(rest));
    let Cli { common, mut config } = Cli::from_arg_matches(&given).unwrap_or_else(|error| error.exit());
    config.flags = gantry_apiserver::flags(&Cli::command(), &given);
    config.flags.extend(idle.clone());
    config.idle = idle;
    daemon::main("gantry-apiserver", &common, |context| async move {
        let ready = context.clone();
        gantry_apiserver::run(config, context.clock, context.shutdown, move || ready.ready()).await?;
        Ok(())
    })
}
