//! The status of single containers; pure.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        Container as Spec, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
        ContainerStatus, ResourceRequirements,
    },
    apimachinery::pkg::{api::resource::Quantity, apis::meta::v1::Time},
};

use super::{
    Kind, backoff, resize, restart,
    state::{Failure, Snapshot},
    status::whole_seconds,
};
use crate::runtime::{Container, Exit, State};

/// What a container counts as in the pod's phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It never ran.
    Waiting,
    /// It runs.
    Running,
    /// It ended (and may wait for its restart).
    Ended(i32),
}

/// How far the init containers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Initialisation {
    /// Some have not succeeded yet.
    Pending,
    /// One has failed.
    Failed,
    /// All have succeeded (and the sidecars have started).
    Done,
}

/// What the container counts as.
pub(crate) fn verdict(s: &Snapshot<'_>, name: &str) -> Verdict {
    for container in s.history(name) {
        match &container.state {
            State::Running { .. } => return Verdict::Running,
            State::Exited(exit) => return Verdict::Ended(exit.code),
            State::Created => {}
        }
    }
    match known(s, name).and_then(|status| last_end(&status)) {
        Some(end) => Verdict::Ended(end.exit_code),
        None => Verdict::Waiting,
    }
}

/// How far the init containers are.
pub(crate) fn initialisation(s: &Snapshot<'_>) -> Initialisation {
    let apps = super::containers(s.pod).filter(|(kind, _)| *kind == Kind::App);
    let past = apps.into_iter().any(|(_, spec)| {
        s.latest(&spec.name).is_some() || known(s, &spec.name).is_some_and(|c| c.container_id.is_some())
    });
    if past {
        return Initialisation::Done;
    }
    for (kind, spec) in super::init_containers(s.pod) {
        match (kind, verdict(s, &spec.name)) {
            (Kind::Sidecar, Verdict::Running) if s.latest(&spec.name).is_some_and(|c| s.started(c)) => {}
            (Kind::Sidecar, _) => return Initialisation::Pending,
            (_, Verdict::Ended(0)) => {}
            (kind, Verdict::Ended(code)) if restart::restarts(s.pod, kind, spec, code) => {
                return Initialisation::Pending;
            }
            (_, Verdict::Ended(_)) => return Initialisation::Failed,
            _ => return Initialisation::Pending,
        }
    }
    Initialisation::Done
}

/// The statuses of the init containers (in the spec's order) and of the others (by name), as upstream sorts them.
pub(crate) fn statuses(s: &Snapshot<'_>, finished: bool) -> (Vec<ContainerStatus>, Vec<ContainerStatus>) {
    let waiting = waiting_reason(s);
    let init = super::init_containers(s.pod).map(|(kind, spec)| status(s, kind, spec, finished, waiting)).collect();
    let apps = super::spec(s.pod).containers.iter();
    let mut apps: Vec<ContainerStatus> = apps.map(|spec| status(s, Kind::App, spec, finished, waiting)).collect();
    apps.sort_by(|a, b| a.name.cmp(&b.name));
    (init, apps)
}

/// The statuses of the ephemeral containers, in the spec's order.
pub(crate) fn ephemeral_statuses(s: &Snapshot<'_>, finished: bool) -> Vec<ContainerStatus> {
    let waiting = waiting_reason(s);
    super::ephemeral_containers(s.pod)
        .map(|container| {
            let found = status(s, Kind::Ephemeral, &super::as_container(container), finished, waiting);
            // Neither is meant for containers that nobody waits for.
            ContainerStatus { ready: false, started: None, ..found }
        })
        .collect()
}

/// Whether a container of this name was ever made, whatever became of it.
pub(crate) fn was_made(s: &Snapshot<'_>, name: &str) -> bool {
    known(s, name).is_some_and(|status| status.container_id.is_some())
}

/// What a container waits for that nothing else is known of.
fn waiting_reason(s: &Snapshot<'_>) -> &'static str {
    if super::init_containers(s.pod).next().is_some() { "PodInitializing" } else { "ContainerCreating" }
}

/// The API's present status of a container.
fn known(s: &Snapshot<'_>, name: &str) -> Option<ContainerStatus> {
    let status = s.pod.status.as_ref()?;
    let lists = [&status.container_statuses, &status.init_container_statuses, &status.ephemeral_container_statuses];
    lists.into_iter().flatten().flatten().find(|c| c.name == name).cloned()
}

fn last_end(status: &ContainerStatus) -> Option<ContainerStateTerminated> {
    let of = |state: &Option<ContainerState>| state.as_ref().and_then(|s| s.terminated.clone());
    of(&status.state).or_else(|| of(&status.last_state))
}

fn status(s: &Snapshot<'_>, kind: Kind, spec: &Spec, finished: bool, waiting: &'static str) -> ContainerStatus {
    let history = s.history(&spec.name);
    let made: Vec<&&Container> = history.iter().filter(|c| c.state != State::Created).collect();
    let Some(latest) = made.first() else {
        // It is never made again: what was last known of it, or its end, stays.
        let over = kind == Kind::Ephemeral && was_made(s, &spec.name);
        return unmade(s, spec, finished || over, waiting);
    };
    let previous = made.get(1).and_then(|c| c.exit().map(|exit| terminated(s, c, exit)));
    let probed = s.local.probed.get(&latest.id).cloned().unwrap_or_default();
    let mut status = ContainerStatus {
        name: spec.name.clone(),
        image: image_name(spec, latest),
        image_id: latest.image_id.clone(),
        container_id: Some(format!("docker://{}", latest.id)),
        restart_count: i32::try_from(latest.attempt).unwrap_or(i32::MAX),
        last_state: previous.map(in_state),
        ..ContainerStatus::default()
    };
    match &latest.state {
        State::Running { started } => {
            status.state = Some(running(*started));
            if kind != Kind::Ephemeral {
                (status.resources, status.allocated_resources) = in_use(s, spec, latest);
            }
            status.started = Some(probed.started);
            status.ready = kind != Kind::Init && probed.started && probed.ready;
        }
        State::Exited(exit) => {
            let end = terminated(s, latest, exit);
            status.started = Some(false);
            status.ready = kind == Kind::Init && exit.code == 0;
            match restart_wait(s, kind, latest, exit, finished) {
                Some(wait) => {
                    status.state = Some(wait);
                    status.last_state = Some(in_state(end));
                }
                None => status.state = Some(in_state(end)),
            }
        }
        State::Created => {}
    }
    status
}

type InUse = (Option<ResourceRequirements>, Option<BTreeMap<String, Quantity>>);

/// What a running container may use, and what it was granted. What it had before a resize stays until that is done.
fn in_use(s: &Snapshot<'_>, spec: &Spec, container: &Container) -> InUse {
    let granted = resize::reported(spec);
    let requests = granted.requests.clone().filter(|list| !list.is_empty());
    let before = known(s, &spec.name).and_then(|status| status.resources);
    let shown = match resize::change(spec, container) {
        None => Some(granted),
        Some(_) => before,
    };
    (shown, requests)
}

/// Why a container that ended waits, if it does.
fn restart_wait(
    s: &Snapshot<'_>,
    kind: Kind,
    container: &Container,
    exit: &Exit,
    finished: bool,
) -> Option<ContainerState> {
    let restarts =
        super::find(s.pod, &container.name).is_some_and(|(_, spec)| restart::restarts(s.pod, kind, &spec, exit.code));
    if finished || s.local.ending.is_some() || !restarts {
        return None;
    }
    if let Some(failure) = s.local.failures.get(&container.name) {
        let (reason, message) = shown(s, failure, &container.image);
        return Some(wait(&reason, Some(message)));
    }
    let entry = s.local.backoffs.get(&container.name)?;
    let until = entry.until(exit.finished)?;
    (s.now < until).then(|| {
        let (delay, pod) = (backoff::human(entry.delay()), super::full_name(s.pod));
        let message = format!("back-off {delay} restarting failed container={} pod={pod}", container.name);
        wait("CrashLoopBackOff", Some(message))
    })
}

/// A container that the runtime knows nothing of.
fn unmade(s: &Snapshot<'_>, spec: &Spec, finished: bool, waiting: &'static str) -> ContainerStatus {
    let known = known(s, &spec.name);
    let end = known.as_ref().and_then(last_end).or_else(|| lost(known.as_ref()?));
    if finished {
        // A pod that has ended has no container that could still start.
        let ended = known.clone().filter(|c| c.state.as_ref().is_some_and(|state| state.terminated.is_some()));
        return ended.unwrap_or_else(|| never_seen(spec, known, end));
    }
    let state = match s.local.failures.get(&spec.name) {
        Some(failure) => {
            let (reason, message) = shown(s, failure, spec.image.as_deref().unwrap_or_default());
            wait(&reason, Some(message))
        }
        _ => wait(waiting, None),
    };
    ContainerStatus {
        name: spec.name.clone(),
        image: spec.image.clone().unwrap_or_default(),
        restart_count: known.as_ref().map_or(0, |c| c.restart_count),
        state: Some(state),
        last_state: end.map(in_state),
        started: Some(false),
        ..ContainerStatus::default()
    }
}

/// A container of a pod that has ended, of which nothing is to be found.
fn never_seen(spec: &Spec, known: Option<ContainerStatus>, end: Option<ContainerStateTerminated>) -> ContainerStatus {
    let id = known.as_ref().and_then(|c| c.container_id.clone());
    ContainerStatus {
        name: spec.name.clone(),
        image: spec.image.clone().unwrap_or_default(),
        state: Some(in_state(end.unwrap_or_else(|| unknown_end(id)))),
        started: Some(false),
        ready: false,
        ..known.unwrap_or_default()
    }
}

/// The end of a container that was running when it was last heard of and is not to be found now.
fn lost(known: &ContainerStatus) -> Option<ContainerStateTerminated> {
    known.state.as_ref()?.running.as_ref()?;
    Some(unknown_end(known.container_id.clone()))
}

fn unknown_end(container_id: Option<String>) -> ContainerStateTerminated {
    ContainerStateTerminated {
        reason: Some("ContainerStatusUnknown".to_owned()),
        message: Some("The container could not be located when the pod was terminated".to_owned()),
        exit_code: 137,
        container_id,
        ..ContainerStateTerminated::default()
    }
}

/// A failed pull is an error at first and a back-off afterwards.
fn shown(s: &Snapshot<'_>, failure: &Failure, image: &str) -> (String, String) {
    match failure.turns_at() {
        Some(turns) if s.now >= turns => {
            let message = format!("Back-off pulling image \"{image}\": ErrImagePull: {}", failure.message);
            ("ImagePullBackOff".to_owned(), message)
        }
        _ => (failure.reason.to_owned(), failure.message.clone()),
    }
}

fn image_name(spec: &Spec, container: &Container) -> String {
    if container.image.is_empty() { spec.image.clone().unwrap_or_default() } else { container.image.clone() }
}

fn time(at: jiff::Timestamp) -> Option<Time> {
    Some(Time(whole_seconds(at)))
}

fn wait(reason: &str, message: Option<String>) -> ContainerState {
    let waiting = ContainerStateWaiting { reason: Some(reason.to_owned()), message };
    ContainerState { waiting: Some(waiting), ..ContainerState::default() }
}

fn running(started: jiff::Timestamp) -> ContainerState {
    ContainerState { running: Some(ContainerStateRunning { started_at: time(started) }), ..ContainerState::default() }
}

fn in_state(end: ContainerStateTerminated) -> ContainerState {
    ContainerState { terminated: Some(end), ..ContainerState::default() }
}

fn terminated(s: &Snapshot<'_>, container: &Container, exit: &Exit) -> ContainerStateTerminated {
    let reason = match exit {
        Exit { oom_killed: true, .. } => "OOMKilled",
        Exit { error, .. } if !error.is_empty() => "ContainerCannotRun",
        Exit { code: 0, .. } => "Completed",
        _ => "Error",
    };
    let message = s.local.messages.get(&container.id).cloned().filter(|text| !text.is_empty());
    ContainerStateTerminated {
        container_id: Some(format!("docker://{}", container.id)),
        exit_code: exit.code,
        started_at: time(exit.started),
        finished_at: time(exit.finished),
        message: message.or_else(|| Some(exit.error.clone()).filter(|text| !text.is_empty())),
        reason: Some(reason.to_owned()),
        signal: None,
    }
}
