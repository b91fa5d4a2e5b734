//! The gantry-kubelet daemon.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let config = gantry_kubelet::Config::parse();
    gantry_common::daemon::main("gantry-kubelet", &config.common.clone(), |context| {
        gantry_kubelet::run(config, context)
    })
}
