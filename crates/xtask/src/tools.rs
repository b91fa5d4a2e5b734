//! Clients that the tests drive beside the machine's own: Debian's old kubectl, a newer one where the machine has none, and the
//! Python client. They live below `target/tools`; nothing is installed into the machine for them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::sh;

/// The Python client, of the release that serves Kubernetes 1.36, and what docs/examples/grpc/tour.py needs.
const PYTHON_PACKAGES: &[&str] =
    &["kubernetes==36.0.3", "grpcio==1.85.3", "grpcio-status==1.85.3", "grpcio-tools==1.85.1"];

/// The kubectl that tests find first writes protobuf, reads OpenAPI v3 and speaks WebSocket, as from this minor version on.
const NEW_MINOR: u32 = 31;
/// The Debian that has one.
const NEWER_DEBIAN: &str = "trixie";
const NEWER_KUBECTL: &str = "kubectl-newer";

fn folder(name: &str) -> PathBuf {
    sh::target().join("tools").join(name)
}

/// Fetches what is not there yet.
pub(crate) fn prepare() -> anyhow::Result<()> {
    old_kubectl().context("Debian's kubectl 1.20 cannot be fetched; is this machine connected?")?;
    newer_kubectl().context("a kubectl of 1.31 or later cannot be fetched; install one, or connect this machine")?;
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
    unpack(&packages, "kubernetes-client", &place)?;
    println!("  ok  fetched Debian's kubectl 1.20");
    Ok(())
}

/// Unpacks a package that `apt-get download` has left in `packages`.
fn unpack(packages: &Path, name: &str, place: &Path) -> anyhow::Result<()> {
    let begins = format!("{name}_");
    let is_it = |p: &PathBuf| p.file_name().is_some_and(|file| file.to_string_lossy().starts_with(&begins));
    let found = std::fs::read_dir(packages)?.flatten().map(|e| e.path()).find(is_it);
    let package = found.context("apt-get download left no package")?.display().to_string();
    let place = place.display().to_string();
    sh::run_quietly(&format!("dpkg-deb {name}"), &mut sh::command("dpkg-deb", &["-x", &package, &place]))
}

/// The minor version of the machine's kubectl, or of the one that was fetched.
fn minor_of_kubectl() -> Option<u32> {
    let mut command = sh::command("kubectl", &["version", "--client", "--output=json"]);
    let told: serde_json::Value = serde_json::from_str(&sh::output(command.env("PATH", path())).ok()?).ok()?;
    let minor = told["clientVersion"]["minor"].as_str()?;
    minor.trim_end_matches('+').parse().ok()
}

/// Where the tests look for programs: first where a newer kubectl was put, if one was.
pub(crate) fn path() -> OsString {
    let own = std::env::var_os("PATH").unwrap_or_default();
    let newer = folder(NEWER_KUBECTL).join("usr/bin");
    if !newer.join("kubectl").exists() {
        return own;
    }
    let folders = std::iter::once(newer).chain(std::env::split_paths(&own));
    std::env::join_paths(folders).unwrap_or(own)
}

/// Fetches a newer kubectl where the machine's is too old, from the next Debian on the mirror that the machine uses.
fn newer_kubectl() -> anyhow::Result<()> {
    if minor_of_kubectl().is_some_and(|minor| minor >= NEW_MINOR) {
        return Ok(());
    }
    let format = ["--format", "$(REPO_URI)", "Created-By: Packages", "Component: main"];
    let mirrors = sh::output(&mut sh::command("apt-get", &[&["indextargets"], &format[..]].concat()))?;
    let mirror = mirrors.lines().find(|uri| !uri.contains("security")).context("apt knows no mirror")?;
    let apt = folder("apt");
    for part in ["lists/partial", "archives/partial"] {
        std::fs::create_dir_all(apt.join(part))?;
    }
    let sources = apt.join("sources.list");
    std::fs::write(&sources, format!("deb {mirror} {NEWER_DEBIAN} main\n"))?;
    let set = |name: &str, value: &str| format!("-o{name}={value}");
    let options = [
        set("Dir::Etc::sourcelist", &sources.display().to_string()),
        set("Dir::Etc::sourceparts", "-"),
        set("Dir::State::lists", &apt.join("lists").display().to_string()),
        set("Dir::State::status", "/dev/null"),
        set("Dir::Cache", &apt.display().to_string()),
    ];
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    sh::run_quietly("apt-get update newer", &mut sh::command("apt-get", &[&options[..], &["-q", "update"]].concat()))?;
    let mut download = sh::command("apt-get", &[&options[..], &["-q", "download", "kubectl"]].concat());
    sh::run_quietly("apt-get download kubectl", download.current_dir(&apt))?;
    unpack(&apt, "kubectl", &folder(NEWER_KUBECTL))?;
    let minor = minor_of_kubectl().context("the kubectl that was fetched does not run")?;
    println!("  ok  fetched kubectl 1.{minor}: the machine's own is older than 1.{NEW_MINOR}");
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
