//! The seam between the kubelet and whatever runs containers.
//!
//! A pod is a sandbox (the pause container, which owns the namespaces) and containers that join it. The runtime knows
//! neither pods nor restart policies: it creates, starts, signals, removes and reports. Every container that the
//! kubelet makes carries labels from which the kubelet finds it again after a restart.

mod docker;
mod fake;
mod spec;
mod streams;

use std::collections::BTreeMap;

use futures::stream::BoxStream;
use jiff::Timestamp;

pub use docker::Docker;
pub use fake::Fake;
pub use spec::{Applied, BindMount, ContainerSpec, Namespaces, Resources, Security};
pub use streams::{AttachSpec, Chunk, ExecSpec, ExecState, Output, Size, Streams};

/// The pod that a container belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct PodRef {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub name: String,
    /// The pod's UID: a pod that was deleted and made again is another pod.
    pub uid: String,
}

/// What a container is within its pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The pause container.
    Sandbox,
    /// An init, sidecar or application container.
    Container,
}

/// A container as the runtime reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// The runtime's identifier.
    pub id: String,
    /// What it is.
    pub role: Role,
    /// The pod that it belongs to.
    pub pod: PodRef,
    /// The container's name in the pod's spec ("" for a sandbox).
    pub name: String,
    /// How many containers of this name came before it.
    pub attempt: u32,
    /// The sandbox that it joined ("" for a sandbox).
    pub sandbox: String,
    /// A digest of the part of the spec that it was made from.
    pub hash: String,
    /// The image as written in the spec.
    pub image: String,
    /// The image's identity: `docker-pullable://…@sha256:…` or `docker://sha256:…`.
    pub image_id: String,
    /// Whether it runs.
    pub state: State,
    /// Its first process as seen by the host; 0 when it does not run.
    pub pid: u32,
    /// When it was made.
    pub created: Timestamp,
    /// What it may use.
    pub applied: Applied,
    /// Seconds that the pod grants it to stop, kept for pods that are gone from the API.
    pub grace_seconds: i64,
}

/// The life of a container; it only ever moves down this list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Made, never started.
    Created,
    /// Running.
    Running {
        /// Since when.
        started: Timestamp,
    },
    /// Ended; it is never started again, another one takes its place.
    Exited(Exit),
}

/// How a container ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// The exit code; 128 + n for a signal.
    pub code: i32,
    /// When it started (the time of creation where it never did).
    pub started: Timestamp,
    /// When it ended.
    pub finished: Timestamp,
    /// Whether the kernel killed it for want of memory.
    pub oom_killed: bool,
    /// What the runtime says about it, mostly for containers that could not be started.
    pub error: String,
}

impl State {
    /// How far along its life a container is.
    fn rank(&self) -> u8 {
        match self {
            Self::Created => 0,
            Self::Running { .. } => 1,
            Self::Exited(_) => 2,
        }
    }

    /// Whether `self` may follow `before`. Reports overtake each other; a container never lives again.
    #[must_use]
    pub fn supersedes(&self, before: &Self) -> bool {
        self.rank() >= before.rank()
    }
}

impl Container {
    /// Whether it runs.
    #[must_use]
    pub fn running(&self) -> bool {
        matches!(self.state, State::Running { .. })
    }

    /// How it ended, if it did.
    #[must_use]
    pub fn exit(&self) -> Option<&Exit> {
        match &self.state {
            State::Exited(exit) => Some(exit),
            _ => None,
        }
    }
}

/// An image on the node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Image {
    /// The content's identifier, `sha256:…`.
    pub id: String,
    /// `name:tag` names.
    pub tags: Vec<String>,
    /// `name@sha256:…` names.
    pub digests: Vec<String>,
    /// Bytes on disk.
    pub size_bytes: i64,
    /// The user that the image runs as, as written there ("" = root).
    pub user: String,
}

/// Something happened to a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The container.
    pub id: String,
    /// Whether it is gone altogether.
    pub removed: bool,
}

/// What the runtime says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Info {
    /// `docker://20.10.24`.
    pub version: String,
    /// The operating system's name.
    pub os_image: String,
    /// The kernel's release.
    pub kernel: String,
    /// Whether control groups are made by systemd, which wants other names for them.
    pub systemd_cgroups: bool,
}

/// What a command that ran in a container said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Executed {
    /// Its exit code.
    pub code: i64,
    /// The first kilobytes of both its outputs.
    pub output: String,
}

/// Which part of a container's log is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogOptions {
    /// Go on until the container ends.
    pub follow: bool,
    /// Begin each line with its time.
    pub timestamps: bool,
    /// Only the last so many lines.
    pub tail: Option<i64>,
    /// Only lines at or after this instant.
    pub since: Option<Timestamp>,
    /// Leave out the standard output.
    pub no_stdout: bool,
    /// Leave out the standard error.
    pub no_stderr: bool,
}

/// Name and password for a registry.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The user's name.
    pub username: String,
    /// The password.
    pub password: String,
    /// The registry's host.
    pub server: String,
}

/// Why the runtime did not do it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing answers at the runtime's socket.
    #[error("cannot reach the container runtime at {endpoint}")]
    Unreachable {
        /// The socket.
        endpoint: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The runtime refused, in its own words.
    #[error("{message}")]
    Refused {
        /// The HTTP status of the answer.
        code: u16,
        /// Its words.
        message: String,
    },
    /// It took too long.
    #[error("command {command:?} timed out after {seconds}s")]
    TimedOut {
        /// What ran.
        command: String,
        /// For how long.
        seconds: u64,
    },
    /// A stream that had begun broke off.
    #[error("the container runtime's stream broke off")]
    Stream {
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A command cannot be written down, so it is not started either: nobody could end it after a crash.
    #[error("cannot write the record of the command {exec} below the folder --root-dir")]
    Record {
        /// The runtime's identifier.
        exec: String,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// An answer could not be understood.
    #[error("the container runtime's answer to {what} has no {field}")]
    Incomplete {
        /// The request.
        what: &'static str,
        /// The missing field.
        field: &'static str,
    },
}

impl Error {
    /// The object does not exist.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused { code: 404, .. })
    }

    /// The object is already in the state that was asked for, or in one that forbids it.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { code: 409 | 304, .. })
    }

    /// The runtime is not there at all.
    #[must_use]
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
    }
}

/// Runs containers.
#[async_trait::async_trait]
pub trait Runtime: Send + Sync + 'static {
    /// What the runtime says of itself; also the test whether it is there.
    async fn info(&self) -> Result<Info, Error>;
    /// Every container that carries the kubelet's labels, whatever its state.
    async fn list(&self) -> Result<Vec<Container>, Error>;
    /// One container; `None` when it is gone or not the kubelet's.
    async fn inspect(&self, id: &str) -> Result<Option<Container>, Error>;
    /// Makes a container and returns its identifier.
    async fn create(&self, spec: &ContainerSpec) -> Result<String, Error>;
    /// Starts a container.
    async fn start(&self, id: &str) -> Result<(), Error>;
    /// Changes what a container may use, while it runs.
    async fn update(&self, id: &str, applied: Applied) -> Result<(), Error>;
    /// Sends a signal ("TERM", "KILL", …; `None` = the container's stop signal). A container that has ended is no error.
    async fn signal(&self, id: &str, signal: Option<&str>) -> Result<(), Error>;
    /// Removes a container, killing it if need be. One that is gone is no error.
    async fn remove(&self, id: &str) -> Result<(), Error>;
    /// Prepares a command in a running container and returns its identifier.
    async fn exec_create(&self, id: &str, spec: &ExecSpec) -> Result<String, Error>;
    /// Starts a prepared command and joins its streams.
    async fn exec_start(&self, exec: &str, spec: &ExecSpec) -> Result<Streams, Error>;
    /// How a command is; `None` when the runtime knows nothing of it (any more).
    async fn exec_state(&self, exec: &str) -> Result<Option<ExecState>, Error>;
    /// Sets the size of a started command's terminal.
    async fn exec_resize(&self, exec: &str, size: Size) -> Result<(), Error>;
    /// Joins the streams of a container's first process.
    async fn attach(&self, id: &str, spec: &AttachSpec) -> Result<Streams, Error>;
    /// Sets the size of a container's terminal.
    async fn resize(&self, id: &str, size: Size) -> Result<(), Error>;
    /// A container's log, in chunks.
    async fn logs(&self, id: &str, options: &LogOptions) -> Result<Output, Error>;
    /// An image by name; `None` when the node does not have it.
    async fn image(&self, name: &str) -> Result<Option<Image>, Error>;
    /// Every image.
    async fn images(&self) -> Result<Vec<Image>, Error>;
    /// Fetches an image from its registry.
    async fn pull(&self, name: &str, credentials: Option<&Credentials>) -> Result<(), Error>;
    /// Loads an archive of images.
    async fn load(&self, archive: Vec<u8>) -> Result<(), Error>;
    /// Removes an image by its identifier.
    async fn remove_image(&self, id: &str) -> Result<(), Error>;
    /// Changes to the kubelet's containers from now on. The stream ends when the runtime does.
    async fn events(&self) -> Result<BoxStream<'static, Result<Event, Error>>, Error>;
}

/// The labels under which a container is found again.
pub mod labels {
    /// The pod's name.
    pub const POD_NAME: &str = "io.kubernetes.pod.name";
    /// The pod's namespace.
    pub const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
    /// The pod's UID.
    pub const POD_UID: &str = "io.kubernetes.pod.uid";
    /// The container's name; `POD` for the sandbox.
    pub const CONTAINER_NAME: &str = "io.kubernetes.container.name";
    /// The name of a sandbox where a container has its own.
    pub const SANDBOX: &str = "POD";
    /// How many containers of this name came before.
    pub const ATTEMPT: &str = "io.kubernetes.container.restartCount";
    /// The digest of the spec.
    pub const HASH: &str = "io.kubernetes.container.hash";
    /// The sandbox that the container joined.
    pub const SANDBOX_ID: &str = "io.kubernetes.sandbox.id";
    /// The pod's grace period in seconds.
    pub const GRACE: &str = "io.kubernetes.pod.terminationGracePeriod";
}

/// The labels of a container.
#[must_use]
pub fn label_map(spec: &ContainerSpec) -> BTreeMap<String, String> {
    let name = if spec.role == Role::Sandbox { labels::SANDBOX } else { &spec.name };
    [
        (labels::POD_NAME, spec.pod.name.clone()),
        (labels::POD_NAMESPACE, spec.pod.namespace.clone()),
        (labels::POD_UID, spec.pod.uid.clone()),
        (labels::CONTAINER_NAME, name.to_owned()),
        (labels::ATTEMPT, spec.attempt.to_string()),
        (labels::HASH, spec.hash.clone()),
        (labels::SANDBOX_ID, spec.sandbox.clone()),
        (labels::GRACE, spec.grace_seconds.to_string()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}
