//! `gantryctl status`.

use std::process::ExitCode;

use super::cluster_args::Which;
use crate::{
    cluster::{
        manager::Services,
        process,
        supervisor::protocol::{State, Status},
    },
    output,
};

/// Flags of `status`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    which: Which,
    /// As JSON
    #[arg(long)]
    json: bool,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let config = self.which.config()?;
        let all = Services::new(&config).status()?;
        if self.json {
            output::data(&format!("{}\n", serde_json::to_string_pretty(&all)?))?;
        } else if all.is_empty() {
            output::line(&format!(
                "The supervisor of the cluster {:?} does not run; `gantryctl up` starts it.",
                config.name
            ))?;
        } else {
            output::print(&table(&all))?;
        }
        let well = !all.is_empty() && all.iter().all(|s| s.state == State::Ready);
        Ok(if well { ExitCode::SUCCESS } else { ExitCode::from(3) })
    }
}

fn table(all: &[Status]) -> String {
    let mut out =
        format!("{:<28} {:<9} {:>8} {:>9} {:>9}  {}\n", "SERVICE", "STATE", "PID", "RESTARTS", "MEMORY", "LAST END");
    for s in all {
        let pid = s.pid.map(|p| p.to_string()).unwrap_or_default();
        let memory = s.pid.and_then(process::resident_kib).map(|k| format!("{} MiB", k / 1024)).unwrap_or_default();
        let state = format!("{:?}", s.state);
        let last = s.last_exit.as_deref().unwrap_or("");
        out.push_str(&format!("{:<28} {state:<9} {pid:>8} {:>9} {memory:>9}  {last}\n", s.name, s.restarts));
    }
    out
}
