//! What a container is made from, resolved: no references to other objects are left.

use super::{PodRef, Role};

/// Everything the runtime must know to make one container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerSpec {
    /// What it is.
    pub role: Role,
    /// The pod that it belongs to.
    pub pod: PodRef,
    /// The container's name in the pod's spec.
    pub name: String,
    /// How many containers of this name came before it.
    pub attempt: u32,
    /// A digest of the part of the spec that it is made from.
    pub hash: String,
    /// The identifier of the sandbox to join ("" for a sandbox).
    pub sandbox: String,
    /// The image: a name or an identifier.
    pub image: String,
    /// The image as written in the pod's spec.
    pub image_name: String,
    /// Replaces the image's entry point.
    pub command: Option<Vec<String>>,
    /// Replaces the image's arguments.
    pub args: Option<Vec<String>>,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// Where the process starts.
    pub working_dir: Option<String>,
    /// Host paths bound into the container.
    pub mounts: Vec<BindMount>,
    /// Which namespaces it has.
    pub namespaces: Namespaces,
    /// Limits.
    pub resources: Resources,
    /// Rights.
    pub security: Security,
    /// Whether standard input stays open.
    pub stdin: bool,
    /// Whether standard input closes after the first session.
    pub stdin_once: bool,
    /// Whether it has a terminal.
    pub tty: bool,
    /// The signal that asks it to stop, in place of the image's.
    pub stop_signal: Option<String>,
    /// The pod's grace period in seconds.
    pub grace_seconds: i64,
}

/// One bound path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindMount {
    /// On the host.
    pub source: String,
    /// In the container.
    pub target: String,
    /// Not writable from the container.
    pub read_only: bool,
    /// "", `rslave` or `rshared`.
    pub propagation: &'static str,
}

/// The namespaces of a sandbox; containers take them from their sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Namespaces {
    /// The node's network instead of an own one.
    pub host_network: bool,
    /// The node's processes are visible.
    pub host_pid: bool,
    /// The node's System V IPC.
    pub host_ipc: bool,
    /// All containers see each other's processes.
    pub shared_pid: bool,
    /// The processes of the container with this identifier are visible; counts only where neither of the above is set.
    pub pid_of: Option<String>,
    /// The host name inside.
    pub hostname: String,
    /// Kernel parameters of the namespaces.
    pub sysctls: Vec<(String, String)>,
}

/// Limits in the kernel's units.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resources {
    /// The control group to make the container's own in.
    pub cgroup_parent: String,
    /// Relative weight of CPU time.
    pub cpu_shares: i64,
    /// Microseconds of CPU time per 100 ms; 0 = no limit.
    pub cpu_quota: i64,
    /// Bytes of memory; 0 = no limit.
    pub memory_bytes: i64,
    /// How early the kernel kills it when memory runs out, -1000 to 1000.
    pub oom_score_adj: i64,
}

/// What of [`Resources`] can change while the container runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Applied {
    /// Relative weight of CPU time.
    pub cpu_shares: i64,
    /// Microseconds of CPU time per 100 ms; 0 = no limit.
    pub cpu_quota: i64,
    /// Bytes of memory; 0 = no limit.
    pub memory_bytes: i64,
}

/// Rights of the container's processes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Security {
    /// `user[:group]`; `None` = the image's.
    pub user: Option<String>,
    /// Supplementary groups.
    pub groups: Vec<i64>,
    /// All rights and all devices.
    pub privileged: bool,
    /// The image's files cannot be changed.
    pub read_only_root: bool,
    /// Processes cannot gain rights by starting a set-user-ID program.
    pub no_new_privileges: bool,
    /// No system call filter.
    pub unconfined: bool,
    /// Capabilities beyond the default set.
    pub add_capabilities: Vec<String>,
    /// Capabilities taken away.
    pub drop_capabilities: Vec<String>,
}
