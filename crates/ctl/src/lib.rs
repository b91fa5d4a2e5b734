//! The command line of Gantry: the cluster on this machine (`up`, `down`, `service`, …) and the objects in it.
#![allow(clippy::print_stdout, reason = "standard output is what a command line tool answers on")]

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;

pub mod cluster;
pub mod commands;
mod describe;
mod explain_error;
mod manifests;
mod output;
mod resources;
mod session;
mod submit;
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
