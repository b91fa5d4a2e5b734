//! `down`: removes exactly what `up` made. It goes on after a failure and reports all of them at the end.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, bail};
use nix::sys::signal::Signal;
use tokio::time::Instant;

use super::{
    checks,
    config::{Choices, Config, DEFAULT_SUBNET, Manager},
    containers,
    layout::Layout,
    manager::{Services, systemd_is_running},
    network,
    process::{self, Ident},
    progress::Progress,
    spec::Spec,
    supervisor::MARK,
};

/// Nodes that a cluster on one machine can have.
const MOST_NODES: u16 = 16;

/// Removes the cluster.
///
/// # Errors
/// Everything that could not be removed.
pub fn run(config: &Config, progress: &Progress) -> anyhow::Result<()> {
    checks::is_root()?;
    let mut failures = Vec::new();
    stop_services(config, progress, &mut failures);
    let step = progress.step("mounts, control groups, network");
    kill_marked(config);
    for node in &config.nodes {
        containers::kill_leftovers(config, node);
        failures.extend(containers::remove_cgroups(config, node).err());
    }
    let layout = config.layout();
    for folder in [layout.root(), layout.run()] {
        failures.extend(containers::unmount_under(folder).err());
    }
    failures.extend(network::remove(config));
    step.done();
    let step = progress.step("files");
    failures.extend(remove_folders(config));
    step.done();
    if failures.is_empty() {
        return Ok(());
    }
    let list: Vec<String> = failures.iter().map(|f| format!("  {f:#}")).collect();
    bail!("the cluster {:?} could not be removed whole:\n{}", config.name, list.join("\n"))
}

/// Daemons first, then containers by their dockerd, then the dockerds, then the rest.
fn stop_services(config: &Config, progress: &Progress, failures: &mut Vec<anyhow::Error>) {
    let services = Services::new(config);
    // Services that run without a supervisor are found again by a new one.
    let specs = match Spec::load_all(&config.layout()) {
        Ok(specs) => specs,
        Err(error) => {
            failures.push(error);
            Vec::new()
        }
    };
    if specs.is_empty() {
        return;
    }
    failures.extend(services.adopt().err());
    let runtime = |name: &str| name.starts_with("dockerd-") || name.starts_with("containerd-");
    let step = progress.step("daemons");
    for name in specs.iter().map(|s| s.name.as_str()).rev().filter(|n| !runtime(n)) {
        failures.extend(services.stop(name, false).err());
    }
    step.done();
    for node in &config.nodes {
        let step = progress.step(format!("containers of {}", node.name));
        failures.extend(containers::remove_by_docker(config, node).err());
        step.done();
    }
    let step = progress.step("container runtimes");
    for name in specs.iter().map(|s| s.name.as_str()).rev().filter(|n| runtime(n)) {
        failures.extend(services.stop(name, false).err());
    }
    failures.extend(services.uninstall().err());
    step.done();
}

/// Removes the cluster's folders.
#[must_use]
pub fn remove_folders(config: &Config) -> Vec<anyhow::Error> {
    let layout = config.layout();
    let mut failures = Vec::new();
    for folder in [layout.run(), layout.root()] {
        match fs::remove_dir_all(folder) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                failures.push(anyhow::Error::from(e).context(format!("cannot remove {}", folder.display())));
            }
            _ => {}
        }
    }
    // The folders above hold other clusters, or nothing.
    for parent in [layout.run().parent(), layout.root().parent()].into_iter().flatten() {
        if parent.ends_with("gantry") {
            drop(fs::remove_dir(parent));
        }
    }
    failures
}

/// The cluster to remove: as described, or, where the description was lost or damaged, as its remains show.
/// `None` where nothing remains.
///
/// # Errors
/// When the name does not fit.
pub fn find(data_dir: &Path, name: &str) -> anyhow::Result<Option<Config>> {
    super::config::check_name(name)?;
    let layout = Layout::new(data_dir, name);
    let damaged = match Config::load(&layout) {
        Ok(Some(config)) => return Ok(Some(config)),
        Ok(None) => false,
        Err(error) => {
            tracing::warn!("{error:#}");
            true
        }
    };
    let choices = Choices {
        name: name.to_owned(),
        data_dir: data_dir.to_owned(),
        nodes: 1,
        control_planes: 1,
        secure_port: 0,
        bridge: None,
        subnet: DEFAULT_SUBNET.parse().context("a constant network")?,
        manager: if systemd_is_running() { Manager::Systemd } else { Manager::Builtin },
        bin_dir: PathBuf::new(),
        extra_args: Vec::new(),
    };
    Ok(remains(&choices)?.or(if damaged { Some(guess(&choices)?) } else { None }))
}

/// A description of a cluster whose own was lost, with as many nodes as there can be.
fn guess(choices: &Choices) -> anyhow::Result<Config> {
    Config::plan(&Choices { nodes: MOST_NODES, ..choices.clone() })
}

/// What is left of a cluster that has no description: links or processes.
///
/// # Errors
/// When the choices do not fit together.
pub fn remains(choices: &Choices) -> anyhow::Result<Option<Config>> {
    let guess = guess(choices)?;
    let found = network::owns_bridge(&guess) || !marked(&guess).is_empty();
    Ok(found.then_some(guess))
}

/// The supervisors of this cluster, the processes that they started, and their children.
fn marked(config: &Config) -> Vec<Ident> {
    let mark = format!("{MARK}={}/", config.layout().root().display());
    let is_ours = |pid: &i32| process::environment(*pid).iter().any(|e| e.starts_with(&mark));
    process::all().into_iter().filter(is_ours).filter_map(Ident::of).collect()
}

/// Ends what no supervisor could be asked to end.
fn kill_marked(config: &Config) {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let left = marked(config);
        if left.is_empty() || Instant::now() > deadline {
            return;
        }
        for process in left {
            process.signal(Signal::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
