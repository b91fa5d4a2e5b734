//! The command line of Gantry: the cluster on this machine (`up`, `down`, `service`, …) and the objects in it.
#![allow(clippy::print_stdout, reason = "standard output is what a command line tool answers on")]

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;

pub mod cluster;
pub mod commands;
mod describe;
mod escape;
mod explain_error;
mod interactive;
mod manifests;
mod output;
mod pods;
mod resources;
mod session;
mod submit;
mod terminal;
mod three_way;

/// gantryctl: brings Gantry clusters up and down and talks to them.
#[derive(Debug, Parser)]
#[command(name = "gantryctl", version = gantry_common::version::GIT_VERSION, disable_help_subcommand = true)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: commands::Command,
}

/// Flags of every command that talks to a cluster.
#[derive(Debug, Clone, clap::Args)]
pub struct Global {
    /// The kubeconfig to use [default: $KUBECONFIG, ~/.kube/config, the local cluster's]
    #[arg(long, global = true, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The context in the kubeconfig [default: its current one]
    #[arg(long, global = true, value_name = "NAME")]
    pub context: Option<String>,
    /// The namespace to work in [default: the context's]
    #[arg(short, long, global = true, value_name = "NAME")]
    pub namespace: Option<String>,
}

impl Cli {
    /// Runs the command.
    ///
    /// # Errors
    /// What went wrong, with its causes.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        self.command.run(&self.global)
    }
}

/// A command in a container did not succeed; gantryctl ends with its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("command terminated with exit code {code}")]
pub struct CommandFailed {
    /// The command's exit code.
    pub code: i32,
}

/// A signal ended the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("ended by signal {signal}")]
pub struct Interrupted {
    /// The signal's number.
    pub signal: i32,
}

/// Tells the user what went wrong; gives the exit code for it.
#[must_use]
pub fn report(error: &anyhow::Error) -> ExitCode {
    if let Some(Interrupted { signal }) = error.downcast_ref() {
        return ExitCode::from(u8::try_from(128 + signal).unwrap_or(u8::MAX));
    }
    if let Some(failed @ CommandFailed { code }) = error.downcast_ref() {
        output::note(&failed.to_string());
        // As a shell shows it: the lowest eight bits.
        return u8::try_from(code & 0xff).map_or(ExitCode::FAILURE, ExitCode::from);
    }
    output::note(&format!("error: {}", gantry_common::error_chain(error.as_ref())));
    ExitCode::FAILURE
}
