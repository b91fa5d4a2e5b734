//! `gantryctl attach`: joins the streams of a container that runs.

use std::time::Duration;

use anyhow::{Result, bail};
use gantry_api::value::{Value, bool_at, str_at};
use gantry_proto::v1::{AttachRequest, open_session::Kind};

use crate::{
    interactive::{self, Side},
    output, pods,
    session::Session,
};

/// What a user is told who joins a terminal.
const GREETING: &str = "If you don't see a command prompt, try pressing enter.";

/// Flags of `attach`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  gantryctl attach web-1\n  gantryctl attach -it web-1 -c shell\n  gantryctl attach deployment/web"
)]
pub struct Args {
    /// POD or TYPE/NAME
    #[arg(value_name = "POD")]
    pod: String,
    /// The container [default: the pod's default or first one]
    #[arg(short, long)]
    container: Option<String>,
    /// Send standard input to the container
    #[arg(short = 'i', long)]
    stdin: bool,
    /// This terminal is the container's
    #[arg(short, long)]
    tty: bool,
    /// Print only what the container prints
    #[arg(short, long)]
    quiet: bool,
    /// How long to wait for a pod of TYPE/NAME, such as 30s or 1m
    #[arg(long, default_value = "1m", value_parser = gantry_common::daemon::duration)]
    pod_running_timeout: Duration,
}

impl Args {
    pub(crate) async fn run(self, session: &Session) -> Result<()> {
        let pod = pods::one(session, &self.pod, self.pod_running_timeout).await?;
        pods::check_not_completed(&pod, "attach to")?;
        let container = pods::container(&pod, self.container.as_deref(), self.quiet)?;
        let Some(spec) = pods::spec_of(&pod, &container) else { bail!("pod {} has no {container}", pods::name(&pod)) };
        if self.stdin && !bool_at(spec, "stdin") {
            bail!(
                "container {container} of pod {} does not read standard input (its spec has no `stdin: true`): leave -i out",
                pods::name(&pod)
            );
        }
        // A container with a terminal is always joined as one, as kubectl does.
        let tty = bool_at(spec, "tty");
        if self.tty && !tty && !self.quiet {
            output::note(&format!("error: Unable to use a TTY - container {container} did not allocate one"));
        }
        join(session, &pod, &container, Side::new(self.stdin, tty, self.quiet), self.quiet).await
    }
}

/// Joins a container until it ends.
///
/// # Errors
/// Why that is not possible, or how the container failed.
pub(crate) async fn join(session: &Session, pod: &Value, container: &str, side: Side, quiet: bool) -> Result<()> {
    let has_terminal = pods::spec_of(pod, container).is_some_and(|c| bool_at(c, "tty"));
    let request = AttachRequest {
        namespace: str_at(pod, "metadata.namespace").unwrap_or(&session.namespace).to_owned(),
        pod: pods::name(pod).to_owned(),
        pod_uid: String::new(),
        container: container.to_owned(),
        stdin: side.stdin,
        stdout: true,
        // A container with a terminal has one stream for both.
        stderr: !has_terminal,
        tty: side.tty || has_terminal,
    };
    let greeting = (side.tty && !quiet).then_some(GREETING);
    let result = interactive::run(&session.client, Kind::Attach(request), side, greeting).await?;
    interactive::outcome(&result)
}
