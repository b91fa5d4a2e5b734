//! Removing what a node's Docker left: containers, their processes, mounts and cgroups.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use nix::{
    mount::{MntFlags, umount2},
    sys::signal::Signal,
};
use tokio::time::Instant;

use super::{
    config::{Config, Node},
    process::{self, Ident},
    shell::run,
};

/// Asks the node's dockerd, if it answers, to remove every container.
///
/// # Errors
/// When Docker refuses.
pub fn remove_by_docker(config: &Config, node: &Node) -> anyhow::Result<()> {
    let socket = config.layout().docker_socket(&node.name);
    if std::os::unix::net::UnixStream::connect(&socket).is_err() {
        return Ok(());
    }
    let host = format!("unix://{}", socket.display());
    let listed = run("docker", &["--host", &host, "ps", "--all", "--quiet", "--no-trunc"])?;
    let ids: Vec<&str> = listed.split_whitespace().collect();
    if ids.is_empty() {
        return Ok(());
    }
    let args = [&["--host", &host, "rm", "--force", "--volumes"], ids.as_slice()].concat();
    run("docker", &args).map(drop)
}

/// Kills what still runs of the node's containers, when Docker could not be asked: the processes in the node's cgroups
/// and the shims of the node's containerd.
pub fn kill_leftovers(config: &Config, node: &Node) {
    let shim_of = config.layout().node_run(&node.name).join("containerd.sock").display().to_string();
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let mut left: Vec<Ident> = cgroups(config, node).iter().flat_map(|c| processes_in(c)).collect();
        left.extend(process::all().into_iter().filter(|pid| is_shim(*pid, &shim_of)).filter_map(Ident::of));
        if left.is_empty() || Instant::now() > deadline {
            return;
        }
        for process in left {
            process.signal(Signal::SIGKILL);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn is_shim(pid: i32, address: &str) -> bool {
    let line = process::command_line(pid);
    line.first().is_some_and(|a| a.contains("containerd-shim")) && line.iter().any(|a| a == address)
}

/// The name of the cgroup that holds a node's pods.
#[must_use]
pub fn cgroup_name(config: &Config, node: &str) -> String {
    format!("gantry-{}-{node}", config.name)
}

/// The node's cgroups, deepest first: one tree per controller (v1), or one (v2).
fn cgroups(config: &Config, node: &Node) -> Vec<PathBuf> {
    let name = cgroup_name(config, &node.name);
    let base = Path::new("/sys/fs/cgroup");
    let mut roots = vec![base.join(&name)];
    if let Ok(controllers) = fs::read_dir(base) {
        roots.extend(controllers.flatten().map(|c| c.path().join(&name)));
    }
    let mut found = Vec::new();
    for root in roots.into_iter().filter(|r| r.is_dir()) {
        collect(&root, &mut found);
    }
    found
}

fn collect(folder: &Path, into: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten().filter(|e| e.file_type().is_ok_and(|t| t.is_dir())) {
        collect(&entry.path(), into);
    }
    into.push(folder.to_owned());
}

fn processes_in(cgroup: &Path) -> Vec<Ident> {
    let listed = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    listed.lines().filter_map(|l| Ident::of(l.parse().ok()?)).collect()
}

/// Removes the node's (now empty) cgroups.
///
/// # Errors
/// When one is not empty.
pub fn remove_cgroups(config: &Config, node: &Node) -> anyhow::Result<()> {
    let deadline = Instant::now() + Duration::from_secs(5);
    for cgroup in cgroups(config, node) {
        while let Err(error) = fs::remove_dir(&cgroup) {
            // A cgroup stays busy for a moment after its last process has ended.
            if error.kind() == std::io::ErrorKind::NotFound {
                break;
            }
            if Instant::now() > deadline {
                return Err(error).with_context(|| format!("cannot remove the cgroup {}", cgroup.display()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}

/// Unmounts everything under a folder, the innermost first.
///
/// # Errors
/// When a mount cannot be removed.
pub fn unmount_under(folder: &Path) -> anyhow::Result<()> {
    let table = fs::read_to_string("/proc/self/mountinfo").context("cannot read the mount table")?;
    for mount in mounts_under(&table, folder).iter().rev() {
        umount2(mount, MntFlags::MNT_DETACH).with_context(|| format!("cannot unmount {}", mount.display()))?;
    }
    Ok(())
}

/// The mount points at or under a folder, in the order of the mount table.
fn mounts_under(table: &str, folder: &Path) -> Vec<PathBuf> {
    table
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|escaped| PathBuf::from(escaped.replace("\\040", " ").replace("\\011", "\t")))
        .filter(|mount| mount.starts_with(folder))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_mounts_under_the_folder_are_found() {
        let table = "22 1 0:20 / / rw - ext4 /dev/vda rw\n\
                     30 22 0:9 / /var/lib/gantry/x/nodes/a rw - tmpfs tmpfs rw\n\
                     31 30 0:9 / /var/lib/gantry/x/nodes/a/with\\040space rw - tmpfs tmpfs rw\n\
                     32 22 0:9 / /var/lib/gantry/xy rw - tmpfs tmpfs rw\n";
        let found = mounts_under(table, Path::new("/var/lib/gantry/x"));
        let expected = ["/var/lib/gantry/x/nodes/a", "/var/lib/gantry/x/nodes/a/with space"];
        assert_eq!(found, expected.map(PathBuf::from));
    }
}
