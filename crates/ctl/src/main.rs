//! `gantryctl`: brings clusters up and down and talks to them.

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    gantry_common::tls::install_provider();
    match gantry_ctl::Cli::parse().run() {
        Ok(code) => code,
        Err(error) => gantry_ctl::report(&error),
    }
}
