//! The scheduler: decides which node each pending pod runs on.
//!
//! - [`core`] is the scheduler without its wires: snapshot, queue and decisions, all synchronous and pure.
//! - [`plugins`] are the checks and scores, one file each.
//! - [`run`] is the shell: informers in, pipelined bindings, conditions and events out, all under a fenced leadership.

pub mod core;
pub mod decide;
#[cfg(test)]
mod fixture;
pub mod plugins;
pub mod pod;
pub mod queue;
pub mod report;
pub mod resources;
pub mod selector;
mod shell;
pub mod snapshot;

use std::time::Duration;

use gantry_client::Client;
use gantry_common::daemon::{Context, duration};
use gantry_controller::leader;

/// What the scheduler is told once, at its start.
#[derive(Clone, Debug, clap::Args)]
pub struct Config {
    /// Take the pods whose spec.schedulerName is this.
    #[arg(long, default_value = core::DEFAULT_NAME, value_name = "NAME")]
    pub scheduler_name: String,
    /// Seed of the generator that breaks ties between equally good nodes; random when absent.
    #[arg(long, value_name = "NUMBER")]
    pub seed: Option<u64>,
    /// Wait to become leader before scheduling; `false` only where there is a single scheduler.
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, value_name = "BOOL")]
    pub leader_elect: bool,
    /// How long other instances wait for a leader that does not renew.
    #[arg(long, default_value = "15s", value_parser = duration, value_name = "DURATION")]
    pub leader_elect_lease_duration: Duration,
    /// How long a leader tries to renew before it stops.
    #[arg(long, default_value = "10s", value_parser = duration, value_name = "DURATION")]
    pub leader_elect_renew_deadline: Duration,
    /// Time between attempts to become leader or to renew.
    #[arg(long, default_value = "2s", value_parser = duration, value_name = "DURATION")]
    pub leader_elect_retry_period: Duration,
}

/// Schedules until shutdown is asked for.
///
/// # Errors
/// When leadership was lost: the process must end, so that nothing of the old reign lives on.
pub async fn run(config: Config, client: Client, context: Context) -> Result<(), leader::Error> {
    // Ready means ready to lead: a scheduler that waits for its turn does its duty.
    context.ready();
    if !config.leader_elect {
        shell::run(&config, client, &context, None).await;
        return Ok(());
    }
    let election = leader::Config {
        lease_duration: config.leader_elect_lease_duration,
        renew_deadline: config.leader_elect_renew_deadline,
        retry_period: config.leader_elect_retry_period,
        ..leader::Config::new("kube-scheduler")
    };
    let (clock, shutdown) = (context.clock.clone(), context.shutdown.clone());
    leader::run(&client, election, clock, &shutdown, |leadership| async move {
        shell::run(&config, leadership.client.clone(), &context, Some(leadership.lost)).await;
    })
    .await
}
