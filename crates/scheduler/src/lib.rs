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

impl Config {
    /// What the flags contradict.
    ///
    /// # Errors
    /// A message that names the flag.
    pub fn check(&self) -> Result<(), String> {
        if self.leader_elect_lease_duration < Duration::from_secs(1) {
            return Err("--leader-elect-lease-duration must be at least 1s: leases count in seconds".to_owned());
        }
        if self.leader_elect_renew_deadline >= self.leader_elect_lease_duration {
            return Err("--leader-elect-renew-deadline must be shorter than --leader-elect-lease-duration".to_owned());
        }
        if self.leader_elect_retry_period >= self.leader_elect_renew_deadline {
            return Err("--leader-elect-retry-period must be shorter than --leader-elect-renew-deadline".to_owned());
        }
        Ok(())
    }
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

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::Config;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        config: Config,
    }

    #[test]
    fn contradicting_flags_are_named() {
        let check = |flag: &str| {
            let config = Command::try_parse_from(["scheduler", flag]).map(|c| c.config);
            config.unwrap_or_else(|e| panic!("{e}")).check()
        };
        check("--seed=1").expect("the defaults agree");
        for flag in [
            "--leader-elect-lease-duration=900ms",
            "--leader-elect-renew-deadline=15s",
            "--leader-elect-retry-period=10s",
        ] {
            let name = flag.split('=').next().unwrap_or_default();
            assert!(check(flag).expect_err(flag).contains(name), "{flag}");
        }
    }
}
