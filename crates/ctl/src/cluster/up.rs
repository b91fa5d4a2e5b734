//! `up`: makes a cluster, or what is missing of it. Every step looks first and changes only what differs.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::{Context, ensure};
use gantry_common::clock;

use super::{
    bootstrap, checks,
    config::{Choices, Config},
    kubeconfigs,
    manager::Services,
    network,
    pki::{self, Pki},
    process::write_atomically,
    progress::Progress,
    services,
    spec::Spec,
    supervisor::protocol::State,
};
use crate::commands::block_on;

/// A service may take this long until it works.
const SERVICE_LIMIT: Duration = Duration::from_secs(90);
/// Nodes may take this long until they are ready.
const NODE_LIMIT: Duration = Duration::from_secs(120);

/// What `up` is asked for.
#[derive(Debug)]
pub struct Wanted {
    /// The cluster.
    pub choices: Choices,
    /// Where to write the administrator's kubeconfig, besides the state folder.
    pub kubeconfig_out: Option<PathBuf>,
}

/// What `up` found and did.
#[derive(Debug)]
pub struct Outcome {
    /// The cluster.
    pub config: Config,
    /// What had to be done; nothing when the cluster was up already.
    pub changes: Vec<String>,
    /// The administrator's kubeconfig.
    pub kubeconfig: PathBuf,
}

/// Brings the cluster up.
///
/// # Errors
/// What is missing, in the way, or did not start.
pub fn run(wanted: &Wanted, progress: &Progress) -> anyhow::Result<Outcome> {
    checks::is_root()?;
    let programs = checks::programs()?;
    checks::daemons(&wanted.choices.bin_dir)?;
    let (mut config, is_new) = plan(&wanted.choices)?;
    let mut changes = Vec::new();
    if is_new && let Some(remains) = super::down::remains(&wanted.choices)? {
        progress.note("An earlier cluster of this name lost its state folder; its remains are removed first.");
        super::down::run(&remains, progress)?;
    }
    checks::state_folder(&config)?;
    if is_new {
        let hint = "choose another one with --secure-port";
        checks::port_is_free(std::net::Ipv4Addr::LOCALHOST, config.ports.secure, hint).inspect_err(|_| {
            // Nothing was made yet but empty folders.
            super::down::remove_folders(&config).into_iter().for_each(|e| tracing::debug!("{e:#}"));
        })?;
    }
    config.save()?;
    let step = progress.step("network: bridge and node namespaces");
    network::ensure(&config)?;
    if is_new {
        config.ports.registry = registry_port(&config)?;
    }
    config.save()?;
    step.done();
    changes.extend(make_files(&config, progress)?);
    let specs = services::all(&config, &programs, &resolvers());
    changes.extend(start_services(&config, &specs, progress)?);
    wait_until_ready(&config, progress)?;
    let kubeconfig = publish_kubeconfig(&config, wanted.kubeconfig_out.clone())?;
    Ok(Outcome { config, changes, kubeconfig })
}

/// The cluster that is there, with what may change changed, or a new one.
fn plan(choices: &Choices) -> anyhow::Result<(Config, bool)> {
    super::config::check_name(&choices.name)?;
    let layout = super::layout::Layout::new(&choices.data_dir, &choices.name);
    let Some(mut config) = Config::load(&layout)? else { return Ok((Config::plan(choices)?, true)) };
    let asked_again = |what: &str, is: &str, asked: &str| {
        format!("the cluster {:?} has {what} {is}; to have {asked}, run `gantryctl down --name {0}` first", config.name)
    };
    ensure!(
        config.ports.secure == choices.secure_port,
        asked_again("port", &config.ports.secure.to_string(), &choices.secure_port.to_string())
    );
    ensure!(
        config.subnet == choices.subnet.trunc(),
        asked_again("network", &config.subnet.to_string(), &choices.subnet.to_string())
    );
    config.bin_dir.clone_from(&choices.bin_dir);
    if !choices.extra_args.is_empty() {
        config.extra_args.clone_from(&choices.extra_args);
    }
    if choices.control_planes != 0 {
        config.grow_control_planes(choices.control_planes)?;
    }
    if usize::from(choices.nodes) != config.nodes.len() && choices.nodes != 0 {
        config.grow(choices.nodes)?;
    }
    Ok((config, false))
}

fn registry_port(config: &Config) -> anyhow::Result<u16> {
    (config.ports.registry..config.ports.registry + 50)
        .find(|port| checks::port_is_free(config.gateway(), *port, "").is_ok())
        .with_context(|| format!("no free port for the image registry on {}", config.gateway()))
}

/// Name servers for what is not in the cluster.
fn resolvers() -> Vec<std::net::Ipv4Addr> {
    ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"]
        .iter()
        .map(|file| network::upstream_resolvers(&fs::read_to_string(file).unwrap_or_default()))
        .find(|found| !found.is_empty())
        .unwrap_or_default()
}

fn make_files(config: &Config, progress: &Progress) -> anyhow::Result<Vec<String>> {
    let layout = config.layout();
    let step = progress.step("keys and certificates");
    let pki = Pki::new(layout.pki());
    let made = pki.ensure(&pki::requests(config), clock::system().now())?;
    kubeconfigs::ensure(config, &layout, &pki)?;
    for (path, text) in services::files(config) {
        if fs::read_to_string(&path).ok().as_deref() != Some(&text) {
            write_atomically(&path, text.as_bytes(), 0o600)?;
        }
    }
    step.done();
    Ok(made.into_iter().map(|name| format!("made the key {name}")).collect())
}

/// Which services are started together: those of a stage need those of the one before.
fn stage(spec: &Spec) -> usize {
    match spec.name.split('-').next() {
        Some("etcd" | "registry" | "containerd") => 0,
        Some("apiserver" | "dockerd") => 1,
        _ => 2,
    }
}

fn start_services(config: &Config, specs: &[Spec], progress: &Progress) -> anyhow::Result<Vec<String>> {
    let services = Services::new(config);
    services.install(specs)?;
    let mut changes = Vec::new();
    for n in 0..3 {
        let mut started = Vec::new();
        for spec in specs.iter().filter(|s| stage(s) == n) {
            let now = services.status()?.into_iter().find(|s| s.name == spec.name);
            if now.is_some_and(|s| s.state == State::Ready && !s.outdated) {
                continue;
            }
            services.start(&spec.name)?;
            started.push(spec.name.clone());
        }
        for name in started {
            let step = progress.step(format!("service {name}"));
            services.wait_ready(&name, SERVICE_LIMIT, Some(&step))?;
            step.done();
            changes.push(format!("started {name}"));
        }
    }
    Ok(changes)
}

fn wait_until_ready(config: &Config, progress: &Progress) -> anyhow::Result<()> {
    let names: Vec<String> = config.nodes.iter().map(|n| n.name.clone()).collect();
    let kubeconfig = config.layout().own_kubeconfig();
    block_on(async {
        let client = bootstrap::client(&kubeconfig)?;
        let step = progress.step("cluster objects");
        bootstrap::apply(&client, NODE_LIMIT).await?;
        step.done();
        let step = progress.step(format!("nodes ready: {}", names.join(", ")));
        bootstrap::wait_for_nodes(&client, &names, NODE_LIMIT, &step).await?;
        step.done();
        Ok(())
    })
}

fn publish_kubeconfig(config: &Config, out: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let own = config.layout().kubeconfig("admin");
    let Some(out) = out else { return Ok(own) };
    let text = fs::read(&own).with_context(|| format!("cannot read {}", own.display()))?;
    write_atomically(&out, &text, 0o600)?;
    Ok(out)
}
