//! Clients that the tests drive beside the machine's own: Debian's old kubectl and the Python client. They live below
//! `target/tools`; nothing is installed into the machine for them.

use std::path::PathBuf;

use anyhow::{Context, bail};

use crate::sh;

/// The Python client, of the release that serves Kubernetes 1.36, and what docs/examples/grpc/tour.py needs.
const PYTHON_PACKAGES: &[&str] =
    &["kubernetes==36.0.3", "grpcio==1.85.3", "grpcio-status==1.85.3", "grpcio-tools==1.85.1"];

fn folder(name: &str) -> PathBuf {
    sh::target().join("tools").join(name)
}

/// Fetches what is not there yet.
pub(crate) fn prepare() -> anyhow::Result<()> {
    old_kubectl().context("Debian's kubectl 1.20 cannot be fetched; is this machine connected?")?;
    python().context("the Python client cannot be fetched; is this machine connected?")
}

/// Debian's kubectl 1.20 speaks SPDY and legacy discovery. It is unpacked, not installed: the machine may have a newer one.
fn old_kubectl() -> anyhow::Result<()> {
    let place = folder("kubectl-1.20");
    if place.join("usr/bin/kubectl").exists() {
        return Ok(());
    }
    if !sh::has("apt-get") {
        bail!("this is no Debian (no apt-get)");
    }
    let packages = folder("packages");
    std::fs::create_dir_all(&packages)?;
    let mut download = sh::command("apt-get", &["-q", "download", "kubernetes-client"]);
    sh::run_quietly("apt-get download", download.current_dir(&packages))?;
    let is_it = |p: &PathBuf| p.to_string_lossy().contains("kubernetes-client_");
    let found = std::fs::read_dir(&packages)?.flatten().map(|e| e.path()).find(is_it);
    let package = found.context("apt-get download left no package")?.display().to_string();
    sh::run_quietly("dpkg-deb", &mut sh::command("dpkg-deb", &["-x", &package, &place.display().to_string()]))?;
    println!("  ok  fetched Debian's kubectl 1.20");
    Ok(())
}

fn python() -> anyhow::Result<()> {
    let place = folder("python");
    let marker = place.join("packages");
    let wanted = PYTHON_PACKAGES.join(" ");
    if std::fs::read_to_string(&marker).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    let timer = sh::Timer::start();
    let path = place.display().to_string();
    sh::run_quietly("python venv", &mut sh::command("python3", &["-m", "venv", "--clear", &path]))?;
    let pip = place.join("bin/pip").display().to_string();
    let args = [&["install", "--quiet", "--disable-pip-version-check"], PYTHON_PACKAGES].concat();
    sh::run_quietly("pip install", &mut sh::command(&pip, &args))?;
    std::fs::write(&marker, wanted)?;
    println!("  ok  fetched the Python client ({:.0} s)", timer.seconds());
    Ok(())
}
