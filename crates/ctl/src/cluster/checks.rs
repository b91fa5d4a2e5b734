//! What must hold before a cluster can be brought up; each failure says what to do.

use std::{
    collections::BTreeSet,
    fs,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

use super::{config::Config, layout::Layout, process, services::Programs, shell::which};

/// Programs, with the Debian package that has each.
const NEEDED: &[(&str, &str)] = &[
    ("ip", "iproute2"),
    ("nsenter", "util-linux"),
    ("setsid", "util-linux"),
    ("nft", "nftables"),
    ("docker", "docker.io"),
];

/// Only root can make namespaces, bridges and mounts.
///
/// # Errors
/// When the user is somebody else.
pub fn is_root() -> anyhow::Result<()> {
    if nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    bail!("bringing a cluster up or down needs root (network namespaces, mounts, Docker); run it with sudo")
}

/// Finds every program that is needed.
///
/// # Errors
/// Names all that are missing and how to install them.
pub fn programs() -> anyhow::Result<Programs> {
    let mut missing = Vec::new();
    let mut need = |program: &'static str, package: &'static str| -> PathBuf {
        which(program).unwrap_or_else(|| {
            missing.push((program, package));
            PathBuf::new()
        })
    };
    for (program, package) in NEEDED {
        need(program, package);
    }
    let found = Programs {
        etcd: need("etcd", "etcd-server"),
        registry: need("docker-registry", "docker-registry"),
        dockerd: need("dockerd", "docker.io"),
        containerd: need("containerd", "containerd"),
    };
    if missing.is_empty() {
        return Ok(found);
    }
    let packages: BTreeSet<&str> = missing.iter().map(|(_, package)| *package).collect();
    bail!(
        "not installed: {}. Install with: apt-get install {}",
        missing.iter().map(|(program, _)| *program).collect::<Vec<_>>().join(", "),
        packages.into_iter().collect::<Vec<_>>().join(" ")
    )
}

/// Finds the daemons beside gantryctl.
///
/// # Errors
/// Names those that are missing.
pub fn daemons(bin_dir: &Path) -> anyhow::Result<()> {
    let all = ["apiserver", "scheduler", "controller-manager", "kubelet", "proxy", "dns"];
    let missing: Vec<String> =
        all.map(|d| format!("gantry-{d}")).into_iter().filter(|d| !bin_dir.join(d).is_file()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    bail!("{} must hold {}; build them with `cargo build --release`", bin_dir.display(), missing.join(", "))
}

/// The state folder can be written to, and files in it can be executed on a shared mount.
///
/// # Errors
/// Names the folder.
pub fn state_folder(config: &Config) -> anyhow::Result<()> {
    let layout = config.layout();
    owns_run_folder(&layout)?;
    let mut folders = vec![
        layout.root().to_owned(),
        layout.run().to_owned(),
        layout.pki(),
        layout.kubeconfig("x").parent().unwrap_or_else(|| layout.root()).to_owned(),
        layout.etcd(),
        layout.etcd_run(),
        layout.registry(),
        layout.logs(),
        layout.units(),
        layout.records(),
    ];
    for node in &config.nodes {
        folders.extend([layout.node(&node.name), layout.node_run(&node.name)]);
    }
    for folder in &folders {
        make_private(folder).with_context(|| {
            format!(
                "the state folder cannot be used; choose another one with --data-dir (now {})",
                config.data_dir.display()
            )
        })?;
    }
    process::write_atomically(&layout.run().join(OWNER), layout.root().as_os_str().as_encoded_bytes(), 0o600)?;
    let probe = layout.root().join(".writable");
    process::write_atomically(&probe, b"", 0o600).with_context(|| {
        format!("the state folder {} cannot be written to; choose another one with --data-dir", layout.root().display())
    })?;
    fs::remove_file(&probe).with_context(|| format!("cannot remove {}", probe.display()))
}

/// In the folder for sockets: the state folder of the cluster that it belongs to.
const OWNER: &str = "owner";

/// Two clusters of one name on one machine would share sockets and namespaces.
fn owns_run_folder(layout: &Layout) -> anyhow::Result<()> {
    let Ok(owner) = fs::read_to_string(layout.run().join(OWNER)) else { return Ok(()) };
    let owner = Path::new(&owner);
    if owner == layout.root() || !owner.join("cluster.json").exists() {
        return Ok(());
    }
    bail!("a cluster of this name exists in {}; choose another one with --name", owner.display())
}

fn make_private(folder: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    let mode = if folder.ends_with("etcd") { 0o700 } else { 0o711 };
    fs::DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(folder)
        .with_context(|| format!("cannot make {}", folder.display()))?;
    fs::set_permissions(folder, fs::Permissions::from_mode(mode))
        .with_context(|| format!("cannot set the permissions of {}", folder.display()))
}

/// Nothing else listens where the service is to listen.
///
/// # Errors
/// Names the port, and the process when it can be found.
pub fn port_is_free(address: Ipv4Addr, port: u16, option: &str) -> anyhow::Result<()> {
    match TcpListener::bind((address, port)) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            let holder = listener(port).map(|h| format!(" by {h}")).unwrap_or_default();
            bail!("port {port} on {address} is in use{holder}; {option}")
        }
        Err(error) => Err(error).with_context(|| format!("cannot listen on {address}:{port}")),
    }
}

/// The process that listens on a TCP port, as `name (pid N)`.
fn listener(port: u16) -> Option<String> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .flat_map(|table| listening_inodes(&fs::read_to_string(table).unwrap_or_default(), port))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    process::all().into_iter().find_map(|pid| {
        let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
        let holds = descriptors
            .flatten()
            .filter_map(|d| fs::read_link(d.path()).ok())
            .any(|target| inodes.iter().any(|i| target.to_str() == Some(i)));
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        holds.then(|| format!("{} (pid {pid})", name.trim()))
    })
}

/// The inodes of listening sockets with the port, from a table like /proc/net/tcp.
fn listening_inodes(table: &str, port: u16) -> Vec<String> {
    table
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let (_, at) = fields.get(1)?.rsplit_once(':')?;
            let listens = *fields.get(3)? == "0A" && u16::from_str_radix(at, 16).ok()? == port;
            listens.then(|| fields.get(9).map(|i| (*i).to_owned())).flatten()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_in_use_is_reported_with_its_holder() {
        let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = socket.local_addr().expect("an address").port();
        let error = port_is_free(Ipv4Addr::LOCALHOST, port, "choose another").expect_err("it is in use");
        let text = error.to_string();
        assert!(text.contains(&format!("port {port} on 127.0.0.1 is in use by ")), "{text}");
        assert!(text.contains(&format!("(pid {})", std::process::id())), "{text}");
        drop(socket);
        port_is_free(Ipv4Addr::LOCALHOST, port, "").expect("it is free");
    }

    #[test]
    fn only_listening_sockets_count() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:192B 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1\n\
             1: 0100007F:192B 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 4712 1\n";
        assert_eq!(listening_inodes(table, 6443), ["4711"]);
        assert_eq!(listening_inodes(table, 6444), Vec::<String>::new());
    }
}
