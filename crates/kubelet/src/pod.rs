//! What the kubelet asks of a pod object; pure. The modules below decide, the worker does.

pub(crate) mod backoff;
pub(crate) mod conditions;
pub(crate) mod container;
pub(crate) mod env;
pub(crate) mod files;
pub(crate) mod patch;
pub(crate) mod plan;
pub(crate) mod resize;
pub(crate) mod resources;
pub(crate) mod restart;
pub(crate) mod state;
pub(crate) mod status;

use std::borrow::Cow;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container as Spec, EphemeralContainer, Pod, PodSpec};
use sha2::{Digest, Sha256};

use crate::runtime::PodRef;

/// The grace period of a pod that states none, in seconds.
pub(crate) const DEFAULT_GRACE_SECONDS: i64 = 30;

/// What a container is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Runs to its end before the next one starts.
    Init,
    /// An init container that keeps running (`restartPolicy: Always`).
    Sidecar,
    /// The pod's purpose.
    App,
    /// Added to a running pod to look into it (`kubectl debug`); runs once.
    Ephemeral,
}

/// When a container that ended is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RestartPolicy {
    /// Always.
    Always,
    /// When it failed.
    OnFailure,
    /// Never.
    Never,
}

impl RestartPolicy {
    /// Whether a container that ended with `code` is started again.
    pub(crate) fn restarts(self, code: i32) -> bool {
        match self {
            Self::Always => true,
            Self::OnFailure => code != 0,
            Self::Never => false,
        }
    }
}

/// The pod as the runtime's labels name it.
pub(crate) fn reference(pod: &Pod) -> PodRef {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    PodRef { namespace: text(&pod.metadata.namespace), name: text(&pod.metadata.name), uid: text(&pod.metadata.uid) }
}

/// `name_namespace(uid)`, as upstream writes a pod in messages.
pub(crate) fn full_name(pod: &Pod) -> String {
    let pod = reference(pod);
    format!("{}_{}({})", pod.name, pod.namespace, pod.uid)
}

/// The spec; the API server admits no pod without one.
pub(crate) fn spec(pod: &Pod) -> &PodSpec {
    static EMPTY: std::sync::LazyLock<PodSpec> = std::sync::LazyLock::new(PodSpec::default);
    pod.spec.as_ref().unwrap_or(&EMPTY)
}

/// The init and sidecar containers, in order.
pub(crate) fn init_containers(pod: &Pod) -> impl Iterator<Item = (Kind, &Spec)> {
    spec(pod).init_containers.iter().flatten().map(|c| {
        let sidecar = c.restart_policy.as_deref() == Some("Always");
        (if sidecar { Kind::Sidecar } else { Kind::Init }, c)
    })
}

/// The ephemeral containers, in order.
pub(crate) fn ephemeral_containers(pod: &Pod) -> impl Iterator<Item = &EphemeralContainer> {
    spec(pod).ephemeral_containers.iter().flatten()
}

/// An ephemeral container as the container that it is. What it must not have (ports, probes, resources) it does not get.
pub(crate) fn as_container(ephemeral: &EphemeralContainer) -> Spec {
    let from = ephemeral.clone();
    Spec {
        name: from.name,
        image: from.image,
        image_pull_policy: from.image_pull_policy,
        command: from.command,
        args: from.args,
        env: from.env,
        env_from: from.env_from,
        working_dir: from.working_dir,
        volume_mounts: from.volume_mounts,
        security_context: from.security_context,
        stdin: from.stdin,
        stdin_once: from.stdin_once,
        tty: from.tty,
        termination_message_path: from.termination_message_path,
        termination_message_policy: from.termination_message_policy,
        ..Spec::default()
    }
}

/// The container whose processes an ephemeral one is to see.
pub(crate) fn debugged<'a>(pod: &'a Pod, name: &str) -> Option<&'a str> {
    let found = ephemeral_containers(pod).find(|c| c.name == name)?;
    found.target_container_name.as_deref().filter(|target| !target.is_empty())
}

/// Every container of the pod's own with its purpose, init containers first; not the ephemeral ones.
pub(crate) fn containers(pod: &Pod) -> impl Iterator<Item = (Kind, &Spec)> {
    init_containers(pod).chain(spec(pod).containers.iter().map(|c| (Kind::App, c)))
}

/// The container of that name, ephemeral ones too.
pub(crate) fn find<'a>(pod: &'a Pod, name: &str) -> Option<(Kind, Cow<'a, Spec>)> {
    let own = containers(pod).find(|(_, c)| c.name == name).map(|(kind, c)| (kind, Cow::Borrowed(c)));
    own.or_else(|| {
        let ephemeral = ephemeral_containers(pod).find(|c| c.name == name)?;
        Some((Kind::Ephemeral, Cow::Owned(as_container(ephemeral))))
    })
}

/// The pod's restart policy.
pub(crate) fn restart_policy(pod: &Pod) -> RestartPolicy {
    match spec(pod).restart_policy.as_deref() {
        Some("OnFailure") => RestartPolicy::OnFailure,
        Some("Never") => RestartPolicy::Never,
        _ => RestartPolicy::Always,
    }
}

/// Whether the pod uses the node's network.
pub(crate) fn host_network(pod: &Pod) -> bool {
    spec(pod).host_network == Some(true)
}

/// Seconds between SIGTERM and SIGKILL.
pub(crate) fn grace_seconds(pod: &Pod) -> i64 {
    spec(pod).termination_grace_period_seconds.unwrap_or(DEFAULT_GRACE_SECONDS)
}

/// When the kubelet first saw the pod, from the status.
pub(crate) fn start_time(pod: &Pod) -> Option<Timestamp> {
    pod.status.as_ref().and_then(|s| s.start_time.as_ref()).map(|t| t.0)
}

/// The phase in the API's object.
pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|s| s.phase.as_deref()).unwrap_or("Pending")
}

/// A digest of what a container is made from. Only what may change in place and then asks for a restart counts: the image.
pub(crate) fn container_hash(container: &Spec) -> String {
    let mut digest = Sha256::new();
    digest.update(container.name.as_bytes());
    digest.update([0]);
    digest.update(container.image.as_deref().unwrap_or_default().as_bytes());
    digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// The name of a volume's or container's field for an event's `fieldPath`.
pub(crate) fn field_path(kind: Kind, name: &str) -> String {
    let list = match kind {
        Kind::App => "containers",
        Kind::Ephemeral => "ephemeralContainers",
        Kind::Init | Kind::Sidecar => "initContainers",
    };
    format!("spec.{list}{{{name}}}")
}
