//! Debian packages that building, running and testing need.

use std::path::Path;

use anyhow::{Context, bail};

use crate::sh;

/// A program (a name that is looked up in PATH, or the full path of some other file) and the package that has it.
struct Need {
    program: &'static str,
    package: &'static str,
    why: &'static str,
}

const fn need(program: &'static str, package: &'static str, why: &'static str) -> Need {
    Need { program, package, why }
}

impl Need {
    fn is_there(&self) -> bool {
        if self.program.starts_with('/') { Path::new(self.program).exists() } else { sh::has(self.program) }
    }
}

const RUN: &[Need] = &[
    need("cc", "gcc", "links Rust programs"),
    need("protoc", "protobuf-compiler", "compiles the gRPC contract"),
    // Only recommended by the compiler's package, but etcd's contract imports it.
    need("/usr/include/google/protobuf/descriptor.proto", "libprotobuf-dev", "what gRPC contracts import"),
    need("etcd", "etcd-server", "the cluster store"),
    need("dockerd", "docker.io", "runs containers"),
    need("docker-registry", "docker-registry", "serves the demo's images"),
    need("nft", "nftables", "Services' packet rules"),
    need("iptables", "iptables", "accept rules beside another Docker"),
    need("ip", "iproute2", "node networks"),
    need("nsenter", "util-linux", "enters a node's network"),
    need("conntrack", "conntrack", "forgets connections to endpoints that are gone"),
    need("dpkg-deb", "dpkg", "unpacks packages into images"),
    need("gzip", "gzip", "packs images"),
    need("kubectl", "kubernetes-client", "the command line of Kubernetes, where there is none yet"),
    need("/etc/ssl/certs/ca-certificates.crt", "ca-certificates", "the authorities of the world's TLS servers"),
];

const TEST: &[Need] = &[
    need("c++", "g++", "builds libFuzzer"),
    need("etcdctl", "etcd-client", "looks at what is stored"),
    need("systemd-analyze", "systemd", "checks the units"),
    need("curl", "curl", "asks as a stranger would"),
    need("git", "git", "lists the files of the repository"),
    need("busybox", "busybox-static", "the programs in the containers of the kubelet's tests"),
    need("script", "bsdutils", "gives clients a terminal"),
    need("python3", "python3", "runs the Python client"),
    need("/usr/share/doc/python3-venv", "python3-venv", "a place for the Python client's packages"),
];

/// Installs what running needs and is not there.
pub(crate) fn install_for_running() -> anyhow::Result<()> {
    install(RUN.iter().collect())
}

/// Installs what testing needs and is not there.
pub(crate) fn install_for_testing() -> anyhow::Result<()> {
    install(RUN.iter().chain(TEST).collect())
}

fn install(needs: Vec<&Need>) -> anyhow::Result<()> {
    let missing: Vec<&Need> = needs.into_iter().filter(|n| !n.is_there()).collect();
    if missing.is_empty() {
        println!("  ok  nothing is missing on this machine");
        return Ok(());
    }
    println!("  Missing on this machine, to be installed with apt-get:");
    for n in &missing {
        println!("      {:<20} {}", n.package, n.why);
    }
    if !sh::has("apt-get") {
        let all: Vec<&str> = missing.iter().map(|n| n.package).collect();
        bail!("this is no Debian (no apt-get); install what corresponds to: {}", all.join(" "));
    }
    if !sh::is_root() && !sh::has("sudo") {
        bail!("installing packages needs root; run this as root");
    }
    let timer = sh::Timer::start();
    let with = |args: &[&str]| {
        let mut command =
            sh::as_root("env", &[&["DEBIAN_FRONTEND=noninteractive", "apt-get", "-q", "-y"], args].concat());
        command.env("LC_ALL", "C");
        command
    };
    sh::run_quietly("apt-get update", &mut with(&["update"]))
        .context("the package lists cannot be fetched; is this machine connected?")?;
    let mut args = vec!["install", "--no-install-recommends"];
    args.extend(missing.iter().map(|n| n.package));
    let already_running = services_before();
    sh::run_quietly("apt-get install", &mut with(&args))?;
    stop_new_services(&already_running);
    for n in &missing {
        if !n.is_there() {
            bail!("the package {} was installed, but {} is not there", n.package, n.program);
        }
    }
    println!("  ok  installed {} packages ({:.0} s)", missing.len(), timer.seconds());
    Ok(())
}

/// Services that Debian's packages start on installation, and that Gantry runs by itself instead.
const DISTRIBUTION_SERVICES: &[&str] = &["etcd", "docker-registry"];

fn services_before() -> Vec<&'static str> {
    let is_active = |s: &&&str| sh::output(&mut sh::command("systemctl", &["is-active", s])).is_ok();
    DISTRIBUTION_SERVICES.iter().filter(is_active).copied().collect()
}

/// A service that only runs because its package was installed just now is stopped again: nobody asked for it.
fn stop_new_services(before: &[&str]) {
    if !Path::new("/run/systemd/system").exists() {
        return;
    }
    for service in DISTRIBUTION_SERVICES.iter().filter(|s| !before.contains(s)) {
        // It may not have been started at all.
        drop(sh::output(&mut sh::as_root("systemctl", &["disable", "--now", service])));
    }
}
