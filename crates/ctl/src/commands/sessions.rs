//! The verbs that open sessions with containers.

use anyhow::Result;
use clap::Subcommand;

use super::{attach, cp, debug, exec, port_forward};
use crate::{Global, session::Session};

/// A verb that opens sessions with containers.
#[derive(Debug, Subcommand)]
pub enum SessionCommand {
    /// Run a command in a container
    Exec(exec::Args),
    /// Join a container that runs
    Attach(attach::Args),
    /// Make ports of a pod reachable at ports of this machine
    PortForward(port_forward::Args),
    /// Copy files and folders between this machine and a container
    Cp(cp::Args),
    /// Start a container with tools in a pod that runs, or a pod on a node
    Debug(debug::Args),
}

impl SessionCommand {
    /// Runs the verb.
    ///
    /// # Errors
    /// What went wrong, for the user; [`crate::CommandFailed`] with the exit code of what ran in the container.
    pub async fn run(self, flags: &Global) -> Result<()> {
        let session = Session::open(flags).await?;
        match self {
            Self::Exec(args) => args.run(&session).await,
            Self::Attach(args) => args.run(&session).await,
            Self::PortForward(args) => args.run(&session).await,
            Self::Cp(args) => args.run(&session).await,
            Self::Debug(args) => args.run(&session).await,
        }
    }
}
