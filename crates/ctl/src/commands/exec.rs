//! `gantryctl exec`: runs a command in a container.

use std::time::Duration;

use anyhow::{Result, bail};
use gantry_api::value::str_at;
use gantry_proto::v1::{ExecRequest, open_session::Kind};

use crate::{
    interactive::{self, Side},
    pods,
    session::Session,
};

/// Flags of `exec`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  gantryctl exec web-1 -- date\n  gantryctl exec -it web-1 -c nginx -- sh\n  gantryctl exec deployment/web -- ls /"
)]
pub struct Args {
    /// POD or TYPE/NAME
    #[arg(value_name = "POD")]
    pod: String,
    /// What follows POD without `--`
    #[arg(hide = true)]
    misplaced: Vec<String>,
    /// The container [default: the pod's default or first one]
    #[arg(short, long)]
    container: Option<String>,
    /// Send standard input
    #[arg(short = 'i', long)]
    stdin: bool,
    /// The command's standard streams are this terminal
    #[arg(short, long)]
    tty: bool,
    /// Print only what the command prints
    #[arg(short, long)]
    quiet: bool,
    /// How long to wait for a pod of TYPE/NAME, such as 30s or 1m
    #[arg(long, default_value = "1m", value_parser = gantry_common::daemon::duration)]
    pod_running_timeout: Duration,
    /// The command and its arguments
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        if !self.misplaced.is_empty() {
            bail!(
                "exec POD COMMAND is not supported: put -- before the command: `gantryctl exec {} -- {}`",
                self.pod,
                self.misplaced.join(" ")
            );
        }
        if self.command.is_empty() {
            bail!("you must specify at least one command for the container, after --");
        }
        let pod = pods::one(session, &self.pod, self.pod_running_timeout).await?;
        pods::check_not_completed(&pod, "exec into")?;
        let container = pods::container(&pod, self.container.as_deref(), self.quiet)?;
        let side = Side::new(self.stdin, self.tty, self.quiet);
        let request = ExecRequest {
            namespace: str_at(&pod, "metadata.namespace").unwrap_or(&session.namespace).to_owned(),
            pod: pods::name(&pod).to_owned(),
            pod_uid: String::new(),
            container,
            command: self.command,
            stdin: side.stdin,
            stdout: true,
            stderr: !side.tty,
            tty: side.tty,
        };
        let result = interactive::run(&session.client, Kind::Exec(request), side, None).await?;
        interactive::outcome(&result)
    }
}
