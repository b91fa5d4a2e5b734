//! The verbs: one file each, one line in [`Command`] and one in [`Command::run`].

use std::{future::Future, process::ExitCode};

use clap::Subcommand;

use crate::Global;

mod apply;
mod attach;
mod cluster_args;
mod cp;
mod create;
mod debug;
mod delete;
mod describe;
mod down;
mod exec;
mod expose;
mod get;
mod kubeconfig;
mod live;
mod logs;
mod network;
mod objects;
mod port_forward;
mod rollout;
mod run;
mod scale;
mod service;
mod sessions;
mod status;
mod supervise;
mod top;
mod up;
mod version;

pub(crate) use create::How;
pub(crate) use objects::targets;
pub use objects::{DryRun, ObjectCommand};
pub use sessions::SessionCommand;

/// What gantryctl can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    #[command(flatten)]
    Objects(ObjectCommand),
    #[command(flatten)]
    Sessions(SessionCommand),
    /// Bring up a cluster on this machine, or repair what is missing of it
    Up(up::Args),
    /// Remove a cluster from this machine: exactly what `up` made
    Down(down::Args),
    /// Show the components of a cluster on this machine
    Status(status::Args),
    /// Start, stop or look at one component of a cluster on this machine
    Service(service::Args),
    /// Print the administrator's kubeconfig
    Kubeconfig(kubeconfig::Args),
    /// Keep a cluster's components running (what `up` starts where systemd is not PID 1)
    #[command(hide = true)]
    Supervise(supervise::Args),
    /// Make the bridge and network namespaces of a cluster (what the systemd units call after a boot)
    #[command(hide = true)]
    Network(network::Args),
}

impl Command {
    /// Runs the verb.
    ///
    /// # Errors
    /// What went wrong, with its causes.
    pub fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        match self {
            Self::Objects(verb) => block_on(verb.run(global)).map(|()| ExitCode::SUCCESS),
            Self::Sessions(verb) => block_on(verb.run(global)).map(|()| ExitCode::SUCCESS),
            Self::Up(args) => args.run(),
            Self::Down(args) => args.run(),
            Self::Status(args) => args.run(),
            Self::Service(args) => args.run(),
            Self::Kubeconfig(args) => args.run(),
            Self::Supervise(args) => args.run(),
            Self::Network(args) => args.run(),
        }
    }
}

/// Runs an asynchronous verb to its end.
///
/// # Errors
/// The verb's own, or that the runtime cannot start.
pub fn block_on<T>(future: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(future)
}
