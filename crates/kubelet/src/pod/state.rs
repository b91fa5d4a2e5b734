//! What a worker knows about its pod beyond the API object and the runtime's containers.
//!
//! All of it may be lost with the process: a kubelet that starts again learns it anew from what runs.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;

use super::{backoff::Backoff, container_hash, containers, resize::Waiting};
use crate::runtime::{Container, Role};

/// Something that takes time and is under way; at most one of each.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Op {
    /// Volumes are being mounted.
    Volumes,
    /// The sandbox is being made.
    Sandbox,
    /// The sandbox is being connected to the network.
    Connect,
    /// A container is being started: image, environment, creation, hooks.
    Start,
    /// An ephemeral container is being started; the pod's own ones do not wait for it.
    StartEphemeral,
    /// The stop hook of the container with this identifier runs.
    PreStop(String),
    /// The container with this identifier is being signalled or removed.
    Touch(String),
    /// Network, volumes and folders are being taken away.
    TearDown,
    /// The API object is being deleted.
    Delete,
}

/// Why something did not work, and when it is tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The reason as shown in `kubectl get`.
    pub(crate) reason: &'static str,
    /// In words.
    pub(crate) message: String,
    /// When.
    pub(crate) at: Timestamp,
    /// Not before this instant.
    pub(crate) retry_at: Timestamp,
}

impl Failure {
    /// How long a failed pull is shown as such before it becomes a back-off.
    const SHOWN_AS_ERROR: SignedDuration = SignedDuration::from_secs(2);

    /// When a pull's error turns into the waiting for the next attempt.
    pub(crate) fn turns_at(&self) -> Option<Timestamp> {
        (self.reason == "ErrImagePull").then(|| self.at + Self::SHOWN_AS_ERROR)
    }
}

/// What probes found out about one running container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Probed {
    /// The startup probe has succeeded.
    pub(crate) started: bool,
    /// The readiness probe's present verdict.
    pub(crate) ready: bool,
    /// The liveness or startup probe has failed for good.
    pub(crate) failed: Option<ProbeFailure>,
}

/// A failed liveness or startup probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProbeFailure {
    /// `liveness` or `startup`.
    pub(crate) probe: &'static str,
    /// The probe's own grace period in seconds.
    pub(crate) grace_seconds: Option<i64>,
}

/// A container on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stopping {
    /// When it is killed.
    pub(crate) deadline: Timestamp,
    /// Its stop hook has ended (or there is none).
    pub(crate) hook_done: bool,
    /// When it was asked to stop.
    pub(crate) asked: Option<Timestamp>,
    /// When it was last killed.
    pub(crate) killed: Option<Timestamp>,
}

/// The pod as a whole is on its way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ending {
    /// Since when, by this node's clock.
    pub(crate) since: Timestamp,
    /// Granted seconds.
    pub(crate) grace_seconds: i64,
    /// Why.
    pub(crate) cause: Cause,
}

impl Ending {
    /// When everything is killed.
    pub(crate) fn deadline(&self) -> Timestamp {
        self.since + SignedDuration::from_secs(self.grace_seconds)
    }
}

/// Why a pod ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Its object is being deleted; the kubelet confirms it in the end.
    Deleted,
    /// Its object is gone.
    Orphaned,
    /// It failed as a whole, for the reason and message given; the object stays.
    Failed(&'static str, String),
}

/// The worker's knowledge.
#[derive(Debug, Clone, Default)]
pub(crate) struct Local {
    /// Volumes are mounted.
    pub(crate) volumes_ready: bool,
    /// Why they are not.
    pub(crate) volumes_failure: Option<Failure>,
    /// The pod's address.
    pub(crate) ip: Option<Ipv4Addr>,
    /// Why there is no sandbox.
    pub(crate) sandbox_failure: Option<Failure>,
    /// What is under way.
    pub(crate) busy: BTreeSet<Op>,
    /// The container whose start is under way.
    pub(crate) starting: Option<String>,
    /// Why a container could not be started, by name.
    pub(crate) failures: BTreeMap<String, Failure>,
    /// Restart delays, by name.
    pub(crate) backoffs: BTreeMap<String, Backoff>,
    /// Probe verdicts, by container identifier.
    pub(crate) probed: BTreeMap<String, Probed>,
    /// Containers on their way out, by identifier.
    pub(crate) stopping: BTreeMap<String, Stopping>,
    /// Last words of containers, by identifier.
    pub(crate) messages: BTreeMap<String, String>,
    /// Why a resize waits, if one does.
    pub(crate) waiting: Option<Waiting>,
    /// Why containers could not be resized, by identifier.
    pub(crate) resizes: BTreeMap<String, Failure>,
    /// The pod is on its way out.
    pub(crate) ending: Option<Ending>,
    /// Network, volumes and folders are gone.
    pub(crate) torn_down: bool,
}

/// Everything that a decision may depend on.
#[derive(Clone, Copy)]
pub(crate) struct Snapshot<'a> {
    /// The API's object.
    pub(crate) pod: &'a Pod,
    /// Its containers in the runtime, sandboxes too.
    pub(crate) containers: &'a [Container],
    /// What else is known.
    pub(crate) local: &'a Local,
    /// The present instant.
    pub(crate) now: Timestamp,
}

impl<'a> Snapshot<'a> {
    /// The newest sandbox.
    pub(crate) fn sandbox(&self) -> Option<&'a Container> {
        self.containers.iter().filter(|c| c.role == Role::Sandbox).max_by_key(|c| (c.attempt, c.created))
    }

    /// The containers of one name, newest first.
    pub(crate) fn history(&self, name: &str) -> Vec<&'a Container> {
        let mut found: Vec<&Container> =
            self.containers.iter().filter(|c| c.role == Role::Container && c.name == name).collect();
        found.sort_by_key(|c| std::cmp::Reverse((c.attempt, c.created)));
        found
    }

    /// The newest container of a name.
    pub(crate) fn latest(&self, name: &str) -> Option<&'a Container> {
        self.history(name).first().copied()
    }

    /// Whether any container of the pod runs (the sandbox does not count).
    pub(crate) fn any_running(&self) -> bool {
        self.containers.iter().any(|c| c.role == Role::Container && c.running())
    }

    /// Whether a container was made from another version of its spec.
    pub(crate) fn changed(&self, container: &Container) -> bool {
        containers(self.pod).any(|(_, spec)| spec.name == container.name && container_hash(spec) != container.hash)
    }

    /// Whether the startup probe of a running container has succeeded (or there is none).
    pub(crate) fn started(&self, container: &Container) -> bool {
        container.running() && self.local.probed.get(&container.id).is_some_and(|p| p.started)
    }
}
