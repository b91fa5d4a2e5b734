//! The daemons that lead: who they are, and how they run in process.

use std::path::Path;

use clap::Parser;
use gantry_client::{Client, Config};
use gantry_common::daemon::Context;
use gantry_controller_manager::options::Options;

/// A daemon of which one instance leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// gantry-scheduler.
    Scheduler,
    /// gantry-controller-manager.
    ControllerManager,
}

#[derive(Parser)]
struct SchedulerFlags {
    #[command(flatten)]
    config: gantry_scheduler::Config,
}

#[derive(Parser)]
struct ManagerFlags {
    #[command(flatten)]
    options: Options,
}

/// A leader that dies is replaced within seconds. Leases count in whole seconds, so these cannot be much shorter.
const ELECTION: &[&str] =
    &["--leader-elect-lease-duration=2s", "--leader-elect-renew-deadline=1500ms", "--leader-elect-retry-period=300ms"];

impl Role {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Scheduler, Self::ControllerManager];

    /// Its component name, which its lease has too.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Scheduler => "kube-scheduler",
            Self::ControllerManager => "kube-controller-manager",
        }
    }

    pub(super) fn user(self) -> &'static str {
        match self {
            Self::Scheduler => "system:kube-scheduler",
            Self::ControllerManager => "system:kube-controller-manager",
        }
    }

    /// Runs it until it ends. Nodes that fall silent are noticed and emptied within seconds.
    pub(super) async fn run(self, config: &Config, folder: &Path, seed: u64, context: Context) -> anyhow::Result<()> {
        let client = Client::new(config)?;
        match self {
            Self::Scheduler => {
                let seed = format!("--seed={seed}");
                let flags = [&[self.name(), &seed], ELECTION].concat();
                let config = SchedulerFlags::try_parse_from(flags)?.config;
                Ok(gantry_scheduler::run(config, client, context).await?)
            }
            Self::ControllerManager => {
                let ca = format!("--root-ca-file={}", folder.join("root-ca.crt").display());
                let own = [
                    &ca,
                    "--cluster-cidr=10.244.0.0/16",
                    "--service-cluster-ip-range=10.96.0.0/16",
                    "--node-monitor-grace-period=2s",
                    "--node-eviction-rate=100",
                ];
                let flags = [&[self.name()], &own[..], ELECTION].concat();
                let options = ManagerFlags::try_parse_from(flags)?.options;
                gantry_controller_manager::run(client, options, context.clock, context.shutdown).await
            }
        }
    }
}
