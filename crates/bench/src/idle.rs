//! What the daemons of a running cluster take when nothing happens.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::process;
use crate::report::Report;

/// Flags.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Time to look at, in seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Only processes whose command line holds this, e.g. the cluster's state folder; all by default.
    #[arg(long = "match", default_value = "")]
    contains: String,
}

pub(crate) async fn run(args: &Args, report: &mut Report) -> anyhow::Result<()> {
    let ours = |name: &str| name.starts_with("gantry") && name != "gantry-bench";
    let found =
        process::find(|name| ours(name) || ["etcd", "dockerd", "containerd", "docker-registry"].contains(&name));
    let found: Vec<_> = found.into_iter().filter(|process| process.command.contains(&args.contains)).collect();
    anyhow::ensure!(
        found.iter().any(|process| ours(&process.name)),
        "no daemon runs: start a cluster by `gantryctl up`"
    );
    let before: BTreeMap<u32, f64> =
        found.iter().filter_map(|process| Some((process.pid, process::cpu_seconds(process.pid).ok()?))).collect();
    tokio::time::sleep(Duration::from_secs(args.seconds)).await;
    for process in &found {
        let (Some(before), Ok(after)) = (before.get(&process.pid), process::cpu_seconds(process.pid)) else { continue };
        let name = format!("{} (pid {})", process.name, process.pid);
        report.add(format!("{name}, RSS"), "MiB", process::rss_mib(process.pid)?);
        let minute = (after - before) * 60.0 / Duration::from_secs(args.seconds).as_secs_f64();
        report.add(format!("{name}, CPU"), "s a minute", minute);
    }
    Ok(())
}
