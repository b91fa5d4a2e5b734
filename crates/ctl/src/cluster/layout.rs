//! Where a cluster keeps what on this machine.

use std::path::{Path, PathBuf};

/// The folder that holds clusters, one folder each.
pub const DEFAULT_DATA_DIR: &str = "/var/lib/gantry";
/// Sockets with short paths (a unix socket's path ends at 108 bytes).
const RUN_DIR: &str = "/run/gantry";

/// etcd's unix socket. Every etcd from 3.4 on takes this for a host and a port, which it wants in a URL; newer ones take paths, too.
pub(super) const ETCD_SOCKET: &str = "etcd.sock:0";

/// The paths of one cluster.
#[derive(Debug, Clone)]
pub struct Layout {
    root: PathBuf,
    run: PathBuf,
}

impl Layout {
    /// The paths of the cluster `name` under `data_dir`.
    #[must_use]
    pub fn new(data_dir: &Path, name: &str) -> Self {
        Self { root: data_dir.join(name), run: Path::new(RUN_DIR).join(name) }
    }

    /// The paths of a cluster whose folders are given.
    #[must_use]
    pub fn with_run(root: PathBuf, run: PathBuf) -> Self {
        Self { root, run }
    }

    /// The state folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Sockets and pid files; does not outlive a boot.
    #[must_use]
    pub fn run(&self) -> &Path {
        &self.run
    }

    /// The cluster's description.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.root.join("cluster.json")
    }

    /// Keys and certificates.
    #[must_use]
    pub fn pki(&self) -> PathBuf {
        self.root.join("pki")
    }

    /// The kubeconfig of a component.
    #[must_use]
    pub fn kubeconfig(&self, component: &str) -> PathBuf {
        self.root.join("kubeconfig").join(format!("{component}.conf"))
    }

    /// The administrator's kubeconfig for Gantry's own clients: the one with all API servers, where there are several.
    #[must_use]
    pub fn own_kubeconfig(&self) -> PathBuf {
        let all = self.kubeconfig(super::kubeconfigs::ADMIN_ALL);
        if all.exists() { all } else { self.kubeconfig("admin") }
    }

    /// Where etcd runs. Only its owner may enter.
    #[must_use]
    pub fn etcd_run(&self) -> PathBuf {
        self.run.join("etcd")
    }

    /// Where the API servers of this machine reach etcd, which makes it where it runs.
    #[must_use]
    pub fn etcd_socket(&self) -> PathBuf {
        self.etcd_run().join(ETCD_SOCKET)
    }

    /// etcd's data.
    #[must_use]
    pub fn etcd(&self) -> PathBuf {
        self.root.join("etcd")
    }

    /// The registry's images.
    #[must_use]
    pub fn registry(&self) -> PathBuf {
        self.root.join("registry")
    }

    /// Log files.
    #[must_use]
    pub fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }

    /// Descriptions of the services.
    #[must_use]
    pub fn units(&self) -> PathBuf {
        self.root.join("units")
    }

    /// What the supervisor knows about running services.
    #[must_use]
    pub fn records(&self) -> PathBuf {
        self.root.join("supervisor")
    }

    /// Where the supervisor listens.
    #[must_use]
    pub fn supervisor_socket(&self) -> PathBuf {
        self.run.join("supervisor.sock")
    }

    /// Where a service says that it is ready.
    #[must_use]
    pub fn notify_socket(&self, service: &str) -> PathBuf {
        self.run.join(format!("{service}.notify"))
    }

    /// A node's state.
    #[must_use]
    pub fn node(&self, node: &str) -> PathBuf {
        self.root.join("nodes").join(node)
    }

    /// A node's sockets.
    #[must_use]
    pub fn node_run(&self, node: &str) -> PathBuf {
        self.run.join(node)
    }

    /// A node's Docker socket.
    #[must_use]
    pub fn docker_socket(&self, node: &str) -> PathBuf {
        self.node_run(node).join("docker.sock")
    }
}
