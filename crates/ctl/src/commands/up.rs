//! `gantryctl up`.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context;
use ipnet::Ipv4Net;

use crate::cluster::{
    config::{Choices, DEFAULT_SUBNET, MOST_CONTROL_PLANES, Manager},
    layout::DEFAULT_DATA_DIR,
    manager::systemd_is_running,
    progress::Progress,
    up::{self, Wanted},
};

/// Flags of `up`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The cluster's name: several can run on one machine
    #[arg(long, default_value = "default", env = "GANTRY_CLUSTER")]
    pub name: String,
    /// The folder that state folders are in, one per cluster
    #[arg(long, default_value = DEFAULT_DATA_DIR, env = "GANTRY_DATA_DIR")]
    pub data_dir: PathBuf,
    /// Number of nodes; each is a network namespace with a Docker daemon of its own [default: 1, or as many as there are]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=16))]
    pub nodes: Option<u16>,
    /// Number of API servers, each with an address of its own [default: 1, or as many as there are]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=i64::from(MOST_CONTROL_PLANES)))]
    pub control_planes: Option<u16>,
    /// The API servers' port
    #[arg(long, default_value_t = 6443)]
    pub secure_port: u16,
    /// The network between control plane and nodes
    #[arg(long, default_value = DEFAULT_SUBNET)]
    pub subnet: Ipv4Net,
    /// The bridge between control plane and nodes [default: gantry0, or gt-NAME]
    #[arg(long)]
    pub bridge: Option<String>,
    /// Who keeps the services running [default: systemd where it is PID 1 and the state folder is the default one]
    #[arg(long, value_enum)]
    pub service_manager: Option<Manager>,
    /// A flag for a component besides those that `up` gives it, as in `controller-manager=--node-monitor-grace-period=20s`
    #[arg(long, value_name = "COMPONENT=FLAG", value_parser = component_and_flag)]
    pub extra_arg: Vec<(String, String)>,
    /// Write the administrator's kubeconfig to this file too
    #[arg(long, value_name = "FILE")]
    pub kubeconfig_out: Option<PathBuf>,
    /// Print nothing but errors
    #[arg(long, short)]
    pub quiet: bool,
}

impl Args {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let progress = Progress::new(self.quiet);
        let wanted = self.wanted()?;
        progress.note(&format!("Gantry cluster {:?} in {}", self.name, self.data_dir.display()));
        let outcome = up::run(&wanted, &progress)?;
        if outcome.changes.is_empty() {
            progress.note(&format!("The cluster {:?} is already up; nothing had to be done.", self.name));
        } else {
            progress.note(&format!("The cluster {:?} is up: {}", self.name, outcome.config.server_url()));
        }
        progress.note(&format!("  export KUBECONFIG={}", outcome.kubeconfig.display()));
        for (n, server) in (1..).zip(outcome.config.api_servers()).skip(1) {
            let url = outcome.config.url_of(server.address);
            progress.note(&format!("  kubectl --context gantry-{}-{n} reaches {url}", outcome.config.name));
        }
        Ok(ExitCode::SUCCESS)
    }

    fn wanted(&self) -> anyhow::Result<Wanted> {
        let me = std::env::current_exe().context("cannot find the path of gantryctl")?;
        let bin_dir = me.parent().context("gantryctl is in no folder")?.to_owned();
        let by_default = if systemd_is_running() && self.data_dir == std::path::Path::new(DEFAULT_DATA_DIR) {
            Manager::Systemd
        } else {
            Manager::Builtin
        };
        let existing = crate::cluster::layout::Layout::new(&self.data_dir, &self.name).config().exists();
        Ok(Wanted {
            choices: Choices {
                name: self.name.clone(),
                data_dir: self.data_dir.clone(),
                nodes: self.nodes.unwrap_or_else(|| u16::from(!existing)),
                control_planes: self.control_planes.unwrap_or_else(|| u16::from(!existing)),
                secure_port: self.secure_port,
                bridge: self.bridge.clone(),
                subnet: self.subnet,
                manager: self.service_manager.unwrap_or(by_default),
                bin_dir,
                extra_args: self.extra_arg.clone(),
            },
            kubeconfig_out: self.kubeconfig_out.clone(),
        })
    }
}

fn component_and_flag(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((component, flag)) if flag.starts_with("--") && !component.is_empty() => {
            Ok((component.to_owned(), flag.to_owned()))
        }
        _ => Err("expected COMPONENT=--FLAG".to_owned()),
    }
}
