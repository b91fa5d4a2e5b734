//! `cargo xtask`: what a person or a CI machine does with this repository, in one command each.
//!
//! It depends on little, so that it builds in seconds on a machine where nothing is installed yet.
#![allow(clippy::print_stdout, reason = "a tool for the terminal")]

use std::process::ExitCode;

mod demo;
mod fuzz;
mod images;
mod packages;
mod sh;
mod suite;
mod tidy;
mod tools;
mod units;
mod up;

const USAGE: &str = "\
Usage: cargo xtask COMMAND

  up [--no-demo] [--dev] [FLAGS OF gantryctl up]
                     install what is missing, build, bring a cluster up, deploy the demo
  down [FLAGS OF gantryctl down]
                     remove exactly what `up` made
  test [--no-e2e]    every check and test; ends with a summary
  check [--no-lints] the quick part: formatting, lints, tidy checks
  fuzz [--seconds N] [--steady | --seed N] [TARGET...]
                     feed what reads bytes from outside with made-up input
  fuzz replay TARGET FILE
                     run one input again
  fuzz minimise [TARGET...]
                     add what was found to the committed corpus, where it reaches further
  images [--registry HOST:PORT]
                     make the demo's images from Debian packages; push them to a registry
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let rest = args.get(1..).unwrap_or_default();
    let result = match args.first().map(String::as_str) {
        Some("up") => up::up(rest),
        Some("down") => up::down(rest),
        Some("test") => suite::test(rest),
        Some("check") => suite::check(rest),
        Some("fuzz") => fuzz::command(rest),
        Some("images") => images::command(rest),
        Some("help" | "--help" | "-h") => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
