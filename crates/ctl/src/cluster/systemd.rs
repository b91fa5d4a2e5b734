//! Services as systemd units: template units from `systemd/`, one instance per cluster or node, arguments in files.

use std::{fs, os::unix::fs::PermissionsExt, path::Path, path::PathBuf};

use anyhow::{Context, bail, ensure};

use super::{
    config::{Config, MOST_CONTROL_PLANES},
    layout::{DEFAULT_DATA_DIR, ETCD_SOCKET},
    process::write_atomically,
    shell::{run, succeeds},
    spec::Spec,
    supervisor::protocol::{State, Status},
};

/// Where units look for the binaries.
pub const BIN_DIR: &str = "/usr/lib/gantry";
const UNIT_DIR: &str = "/etc/systemd/system";
const ARGS_DIR: &str = "/etc/gantry";

macro_rules! unit {
    ($name:literal) => {
        ($name, include_str!(concat!("../../../../systemd/", $name)))
    };
}

/// The template units in `systemd/`.
const UNITS: &[(&str, &str)] = &[
    unit!("gantry-network@.service"),
    unit!("gantry-etcd@.service"),
    unit!("gantry-registry@.service"),
    unit!("gantry-apiserver@.service"),
    unit!("gantry-scheduler@.service"),
    unit!("gantry-controller-manager@.service"),
    unit!("gantry-containerd@.service"),
    unit!("gantry-dockerd@.service"),
    unit!("gantry-kubelet@.service"),
    unit!("gantry-proxy@.service"),
    unit!("gantry-dns@.service"),
];

/// The template units, with those of further API servers: the first one's, but for its file of arguments.
///
/// They are units of their own and no instances: an instance is named after its cluster, and `NAME-2` may be one.
#[must_use]
pub fn unit_files() -> Vec<(String, String)> {
    let (name, text) = UNITS.iter().find(|(name, _)| *name == "gantry-apiserver@.service").expect("it is one of them");
    let others = (2..=MOST_CONTROL_PLANES).map(|n| {
        let text = text.replace("/apiserver.env", &format!("/apiserver-{n}.env"));
        (name.replace('@', &format!("-{n}@")), text.replace(": API server", &format!(": API server {n}")))
    });
    UNITS.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).chain(others).collect()
}

/// A service's unit: the component, and the instance (the cluster, or the node's namespace without its prefix).
fn component_and_instance(config: &Config, name: &str) -> (String, String) {
    for node in &config.nodes {
        if let Some(component) = name.strip_suffix(&format!("-{}", node.name)) {
            let netns = config.netns(&node.name);
            let instance = netns.strip_prefix("gantry-").unwrap_or(&netns).to_owned();
            return (component.to_owned(), instance);
        }
    }
    (name.to_owned(), config.name.clone())
}

fn unit_of(config: &Config, name: &str) -> String {
    let (component, instance) = component_and_instance(config, name);
    format!("gantry-{component}@{instance}.service")
}

fn args_file(config: &Config, name: &str) -> PathBuf {
    let (component, instance) = component_and_instance(config, name);
    Path::new(ARGS_DIR).join(instance).join(format!("{component}.env"))
}

/// etcd's socket, in the runtime directory of its unit.
fn unit_socket(config: &Config) -> String {
    format!("/run/gantry-etcd/{}/{ETCD_SOCKET}", config.name)
}

/// The arguments as the unit sees them: keys are handed over as credentials, because units run under users of their own.
fn args_text(config: &Config, spec: &Spec) -> String {
    let layout = config.layout();
    let credentials = format!("/run/credentials/{}/", unit_of(config, &spec.name));
    let handed_over = [layout.pki(), layout.root().join("kubeconfig"), layout.units()];
    let mut args: Vec<String> = spec.args.clone();
    if !spec.name.starts_with("kubelet-") {
        for arg in &mut args {
            for folder in &handed_over {
                *arg = arg.replace(&format!("{}/", folder.display()), &credentials);
            }
            *arg = arg.replace(&layout.etcd().display().to_string(), &format!("/var/lib/gantry-etcd/{}", config.name));
            *arg = arg.replace(&layout.etcd_socket().display().to_string(), &unit_socket(config));
        }
    }
    format!("GANTRY_ARGS={}\n", args.join(" "))
}

/// Installs binaries, units and arguments, and enables the units, so that the cluster comes back after a boot.
///
/// # Errors
/// When a file cannot be written, or systemd refuses.
pub fn install(config: &Config, specs: &[Spec]) -> anyhow::Result<()> {
    ensure!(
        config.data_dir == Path::new(DEFAULT_DATA_DIR),
        "with systemd the state folder is {DEFAULT_DATA_DIR}; for another one use --service-manager builtin"
    );
    install_binaries(config)?;
    for (name, text) in unit_files() {
        write_if_changed(&Path::new(UNIT_DIR).join(name), &text)?;
    }
    for spec in specs {
        let path = args_file(config, &spec.name);
        let folder = path.parent().context("the file is in a folder")?;
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        write_if_changed(&path, &args_text(config, spec))?;
        copy_credentials(folder, spec)?;
    }
    run("systemctl", &["daemon-reload"])?;
    let mut units = vec![format!("gantry-network@{}.service", config.name)];
    units.extend(specs.iter().map(|s| unit_of(config, &s.name)));
    let mut args = vec!["enable", "--quiet"];
    args.extend(units.iter().map(String::as_str));
    run("systemctl", &args)?;
    // The network is there already; started, the unit stands for it.
    run("systemctl", &["start", &units[0]]).map(drop)
}

/// The credentials of a node's units: a unit cannot tell the cluster's folder from the node's name.
fn copy_credentials(folder: &Path, spec: &Spec) -> anyhow::Result<()> {
    for file in spec.netns.iter().flat_map(|_| &spec.restart_on) {
        let name = file.file_name().context("a credential is a file")?;
        let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
        if fs::read(folder.join(name)).ok().as_ref() != Some(&bytes) {
            write_atomically(&folder.join(name), &bytes, 0o600)?;
        }
    }
    Ok(())
}

fn install_binaries(config: &Config) -> anyhow::Result<()> {
    fs::create_dir_all(BIN_DIR).with_context(|| format!("cannot make {BIN_DIR}"))?;
    let own =
        ["apiserver", "scheduler", "controller-manager", "kubelet", "proxy", "dns"].map(|d| format!("gantry-{d}"));
    for name in own.iter().map(String::as_str).chain(["gantryctl"]) {
        let (from, to) = (config.bin_dir.join(name), Path::new(BIN_DIR).join(name));
        if is_newer(&from, &to) {
            // A running program cannot be written to, but it can be replaced.
            let next = to.with_extension("next");
            fs::copy(&from, &next).with_context(|| format!("cannot copy {}", from.display()))?;
            fs::set_permissions(&next, fs::Permissions::from_mode(0o755))?;
            fs::rename(&next, &to).with_context(|| format!("cannot write {}", to.display()))?;
        }
    }
    Ok(())
}

fn is_newer(from: &Path, to: &Path) -> bool {
    let modified = |p: &Path| fs::metadata(p).and_then(|m| m.modified()).ok();
    match (modified(from), modified(to)) {
        (Some(from), Some(to)) => from > to,
        _ => true,
    }
}

fn write_if_changed(path: &Path, text: &str) -> anyhow::Result<()> {
    if fs::read_to_string(path).ok().as_deref() == Some(text) {
        return Ok(());
    }
    write_atomically(path, text.as_bytes(), 0o644)
}

/// When a unit's process started, in seconds since 1970; `None` when it does not run.
fn started_at(properties: &str) -> Option<i64> {
    let text = property(properties, "ExecMainStartTimestamp")?;
    text.strip_prefix('@')?.parse().ok()
}

fn property<'a>(properties: &'a str, name: &str) -> Option<&'a str> {
    properties.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix('='))
}

/// How the services are.
///
/// # Errors
/// When systemd does not answer.
pub fn status(config: &Config, specs: &[Spec]) -> anyhow::Result<Vec<Status>> {
    specs
        .iter()
        .map(|spec| {
            let unit = unit_of(config, &spec.name);
            let shown = run("systemctl", &["show", "--timestamp=unix", &unit])?;
            Ok(read_status(spec, &shown, &args_file(config, &spec.name)))
        })
        .collect()
}

fn read_status(spec: &Spec, shown: &str, args: &Path) -> Status {
    let get = |name| property(shown, name).unwrap_or_default();
    let state = match get("ActiveState") {
        "active" => State::Ready,
        "activating" if get("SubState") == "auto-restart" => State::Waiting,
        "activating" | "reloading" => State::Starting,
        "deactivating" => State::Stopping,
        _ => State::Stopped,
    };
    let pid = get("MainPID").parse().ok().filter(|pid| *pid != 0);
    let changed = |path: &Path| {
        let modified = fs::metadata(path).and_then(|m| m.modified()).ok();
        let modified = modified.and_then(|m| jiff::Timestamp::try_from(m).ok());
        modified.zip(started_at(shown)).is_some_and(|(modified, started)| modified.as_second() > started)
    };
    let mut inputs = vec![args.to_owned()];
    inputs.extend(spec.restart_on.iter().cloned());
    Status {
        name: spec.name.clone(),
        state,
        pid,
        restarts: get("NRestarts").parse().unwrap_or(0),
        last_exit: (get("Result") != "success").then(|| get("Result").to_owned()),
        outdated: pid.is_some() && inputs.iter().any(|p| changed(p)),
    }
}

/// Starts a unit; one that runs with older arguments is started anew.
///
/// # Errors
/// When systemd refuses.
pub fn start(config: &Config, name: &str) -> anyhow::Result<()> {
    let unit = unit_of(config, name);
    let spec = Spec::load_all(&config.layout())?.into_iter().find(|s| s.name == name);
    let spec = spec.with_context(|| format!("there is no service {name:?}"))?;
    let outdated = status(config, &[spec])?.iter().any(|s| s.outdated);
    let verb = if outdated { "restart" } else { "start" };
    // A unit that failed too often waits for this.
    drop(run("systemctl", &["reset-failed", &unit]));
    run("systemctl", &[verb, "--no-block", &unit]).map(drop)
}

/// Ends a unit; `kill` without asking.
///
/// # Errors
/// When systemd refuses.
pub fn stop(config: &Config, name: &str, kill: bool) -> anyhow::Result<()> {
    let unit = unit_of(config, name);
    if kill {
        // Stopping first keeps systemd from starting it again in between; the signal ends it at once.
        run("systemctl", &["stop", "--no-block", &unit])?;
        drop(run("systemctl", &["kill", "--kill-whom=main", "--signal=SIGKILL", &unit]));
    }
    run("systemctl", &["stop", &unit]).map(drop)
}

/// Ends a unit and starts it again.
///
/// # Errors
/// When systemd refuses.
pub fn restart(config: &Config, name: &str) -> anyhow::Result<()> {
    run("systemctl", &["restart", "--no-block", &unit_of(config, name)]).map(drop)
}

/// The end of a unit's log.
#[must_use]
pub fn log_end(config: &Config, name: &str) -> String {
    run("journalctl", &["--unit", &unit_of(config, name), "--lines=8", "--output=cat", "--no-pager"])
        .unwrap_or_default()
}

/// Removes the instances; the templates and binaries with the last of them.
///
/// # Errors
/// When systemd refuses, or a file cannot be removed.
pub fn uninstall(config: &Config) -> anyhow::Result<()> {
    let specs = Spec::load_all(&config.layout())?;
    let mut units = vec![format!("gantry-network@{}.service", config.name)];
    units.extend(specs.iter().map(|s| unit_of(config, &s.name)));
    let mut args = vec!["disable", "--now", "--quiet"];
    args.extend(units.iter().map(String::as_str));
    run("systemctl", &args)?;
    for spec in &specs {
        if let Some(folder) = args_file(config, &spec.name).parent() {
            remove_dir(folder)?;
        }
    }
    for kind in ["etcd", "registry"] {
        for base in ["/var/lib/private", "/var/lib"] {
            let folder = Path::new(base).join(format!("gantry-{kind}"));
            remove_dir(&folder.join(&config.name))?;
            drop(fs::remove_dir(&folder));
            // `/var/lib/gantry-etcd` may be a link into `private`.
            drop(fs::remove_file(&folder));
        }
    }
    if fs::read_dir(ARGS_DIR).is_ok_and(|mut d| d.next().is_none()) {
        drop(fs::remove_dir(ARGS_DIR));
        for (name, _) in unit_files() {
            drop(fs::remove_file(Path::new(UNIT_DIR).join(name)));
        }
        remove_dir(Path::new(BIN_DIR))?;
    }
    if !succeeds("systemctl", &["daemon-reload"]) {
        bail!("systemd does not read its units again after they were removed");
    }
    Ok(())
}

fn remove_dir(path: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
