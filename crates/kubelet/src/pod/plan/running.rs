//! A pod that is to run: volumes, sandbox, address, init containers one after the other, then the others.

use jiff::SignedDuration;
use k8s_openapi::api::core::v1::Container as Spec;

use super::{Action, Plan, next_attempt, stop};
use crate::{
    pod::{
        self, Kind,
        resize::{self, Change},
        restart,
        state::{Failure, Op, Snapshot},
    },
    runtime::{Container, Role, State},
};

/// Dead containers of one name that are kept: the present one and the one before, for `logs --previous`.
const KEPT: usize = 2;

pub(super) fn plan(s: &Snapshot<'_>, plan: &mut Plan) {
    if !ready_volumes(s, plan) {
        return;
    }
    let Some(sandbox) = ready_sandbox(s, plan) else { return };
    collect_garbage(s, plan);
    if stop_all(s, plan) {
        return;
    }
    let initialised = init_containers(s, plan, sandbox);
    if initialised {
        for container in &pod::spec(s.pod).containers {
            keep(s, plan, sandbox, Kind::App, container);
        }
    }
    ephemeral_containers(s, plan);
}

/// Starts the first ephemeral container that never was, whatever the state of the others: it is there to look into them.
fn ephemeral_containers(s: &Snapshot<'_>, plan: &mut Plan) {
    if s.local.busy.contains(&Op::StartEphemeral) {
        return;
    }
    for container in pod::ephemeral_containers(s.pod) {
        let name = &container.name;
        match s.latest(name).map(|latest| &latest.state) {
            Some(State::Created) => s.history(name).into_iter().for_each(|old| remove_dead(s, plan, old)),
            Some(_) => {}
            None if pod::container::was_made(s, name) => {}
            None if must_wait(s, plan, s.local.failures.get(name)) => {
                wake_for_pull(s, plan, s.local.failures.get(name));
            }
            None => {
                plan.act(Action::Start { name: name.clone(), attempt: 0 });
                return;
            }
        }
    }
}

/// Stops what is of the round before, where a container's end starts all of them again; whether something of it still runs.
fn stop_all(s: &Snapshot<'_>, plan: &mut Plan) -> bool {
    let own = |c: &&Container| c.role == Role::Container && pod::containers(s.pod).any(|(_, spec)| spec.name == c.name);
    let over = s.containers.iter().filter(own).filter(|c| c.running() && restart::is_over(s, c));
    let over: Vec<&Container> = over.collect();
    for container in &over {
        stop(s, plan, container, s.now, format!("Container {} is restarted with all others", container.name));
    }
    !over.is_empty()
}

/// A failed pull changes its name while it waits.
fn wake_for_pull(s: &Snapshot<'_>, plan: &mut Plan, failure: Option<&Failure>) {
    if let Some(turns) = failure.and_then(Failure::turns_at).filter(|turns| s.now < *turns) {
        plan.wake(turns);
    }
}

/// Whether something that failed must wait; if so, until when is noted.
fn must_wait(s: &Snapshot<'_>, plan: &mut Plan, failure: Option<&Failure>) -> bool {
    match failure {
        Some(failure) if s.now < failure.retry_at => {
            plan.wake(failure.retry_at);
            true
        }
        _ => false,
    }
}

fn ready_volumes(s: &Snapshot<'_>, plan: &mut Plan) -> bool {
    if s.local.volumes_ready {
        return true;
    }
    if !s.local.busy.contains(&Op::Volumes) && !must_wait(s, plan, s.local.volumes_failure.as_ref()) {
        plan.act(Action::PrepareVolumes);
    }
    false
}

fn ready_sandbox<'a>(s: &Snapshot<'a>, plan: &mut Plan) -> Option<&'a Container> {
    if s.local.busy.contains(&Op::Sandbox) || s.local.busy.contains(&Op::Connect) {
        return None;
    }
    let newest = s.sandbox();
    if let Some(sandbox) = newest.filter(|c| c.running()) {
        if s.local.ip.is_some() || pod::host_network(s.pod) {
            return Some(sandbox);
        }
        if !must_wait(s, plan, s.local.sandbox_failure.as_ref()) {
            plan.act(Action::Connect { sandbox: sandbox.id.clone(), pid: sandbox.pid });
        }
        return None;
    }
    // Without its sandbox a container has lost its network: stop it, then begin anew.
    if s.any_running() {
        let deadline = s.now + SignedDuration::from_secs(pod::grace_seconds(s.pod));
        for container in s.containers.iter().filter(|c| c.role == Role::Container && c.running()) {
            stop(s, plan, container, deadline, "Pod sandbox changed, it will be killed and re-created.".to_owned());
        }
        return None;
    }
    if !must_wait(s, plan, s.local.sandbox_failure.as_ref()) {
        plan.act(Action::CreateSandbox { attempt: newest.map_or(0, |c| c.attempt + 1) });
    }
    None
}

/// Moves the init containers on; whether the others may run.
fn init_containers(s: &Snapshot<'_>, plan: &mut Plan, sandbox: &Container) -> bool {
    // Once one of the others was made in this sandbox, the init containers had all succeeded, and may be forgotten.
    let here = |c: &Container| c.sandbox == sandbox.id && !restart::is_over(s, c);
    let past = pod::spec(s.pod).containers.iter().any(|c| s.latest(&c.name).is_some_and(here));
    for (kind, container) in pod::init_containers(s.pod) {
        match kind {
            Kind::Sidecar => {
                keep(s, plan, sandbox, kind, container);
                let up = s.latest(&container.name).is_some_and(|c| c.sandbox == sandbox.id && s.started(c));
                if !past && !up {
                    return false;
                }
            }
            _ if past => {}
            _ => {
                let done =
                    s.latest(&container.name).is_some_and(|c| here(c) && c.exit().is_some_and(|exit| exit.code == 0));
                if !done {
                    keep(s, plan, sandbox, kind, container);
                    return false;
                }
            }
        }
    }
    true
}

/// Keeps one container as its policy demands.
fn keep(s: &Snapshot<'_>, plan: &mut Plan, sandbox: &Container, kind: Kind, spec: &Spec) {
    let Some(latest) = s.latest(&spec.name) else { return start(s, plan, spec) };
    match &latest.state {
        State::Running { .. } => check_running(s, plan, kind, spec, latest),
        // Left behind by a kubelet that ended between creation and start: it goes, and another one comes.
        State::Created if !s.local.busy.contains(&Op::Start) => remove_dead(s, plan, latest),
        State::Created => {}
        // An init container starts over in a new sandbox, though it succeeded in the old one.
        State::Exited(_) if kind == Kind::Init && latest.sandbox != sandbox.id => start(s, plan, spec),
        State::Exited(exit) => {
            // Its resize policy had it stopped.
            let resized = s.local.stopping.contains_key(&latest.id) && resize::change(spec, latest).is_some();
            let again = resized || restart::restarts(s.pod, kind, spec, exit.code) || restart::is_over(s, latest);
            if !again && !s.changed(latest) {
                return;
            }
            let backoff = s.local.backoffs.get(&spec.name).and_then(|entry| entry.until(exit.finished));
            match backoff {
                Some(until) if s.now < until => plan.wake(until),
                _ => start(s, plan, spec),
            }
        }
    }
}

fn check_running(s: &Snapshot<'_>, plan: &mut Plan, kind: Kind, spec: &Spec, container: &Container) {
    let after = |grace: i64| s.now + SignedDuration::from_secs(grace);
    let failed = s.local.probed.get(&container.id).and_then(|probed| probed.failed.as_ref());
    if kind != Kind::Init && s.changed(container) {
        let message = format!("Container {} definition changed, will be restarted", spec.name);
        stop(s, plan, container, after(pod::grace_seconds(s.pod)), message);
    } else if let Some(failure) = failed {
        let message = format!("Container {} failed {} probe, will be restarted", spec.name, failure.probe);
        let grace = failure.grace_seconds.unwrap_or_else(|| pod::grace_seconds(s.pod));
        stop(s, plan, container, after(grace), message);
    } else if s.local.stopping.contains_key(&container.id) {
        // A stop that was begun is carried through.
        stop(s, plan, container, after(pod::grace_seconds(s.pod)), String::new());
    } else if kind != Kind::Init {
        match resize::change(spec, container) {
            None => {}
            Some(Change::Restart) => {
                let message = format!("Container {} resize requires restart", spec.name);
                stop(s, plan, container, after(pod::grace_seconds(s.pod)), message);
            }
            Some(Change::InPlace) => change_resources(s, plan, container),
        }
    }
}

fn change_resources(s: &Snapshot<'_>, plan: &mut Plan, container: &Container) {
    match resize::failed(s.local, container) {
        Some(retry_at) if s.now < retry_at => plan.wake(retry_at),
        _ if s.local.busy.contains(&Op::Touch(container.id.clone())) => {}
        _ => plan.act(Action::Resize { id: container.id.clone(), name: container.name.clone() }),
    }
}

/// One container starts at a time, in the order of the spec: a start hook holds back those that follow.
fn start(s: &Snapshot<'_>, plan: &mut Plan, spec: &Spec) {
    let planned = plan.actions.iter().any(|action| matches!(action, Action::Start { .. }));
    if s.local.busy.contains(&Op::Start) || planned {
        return;
    }
    let failure = s.local.failures.get(&spec.name);
    wake_for_pull(s, plan, failure);
    if !must_wait(s, plan, failure) {
        plan.act(Action::Start { name: spec.name.clone(), attempt: next_attempt(s, &spec.name) });
    }
}

fn collect_garbage(s: &Snapshot<'_>, plan: &mut Plan) {
    for (_, spec) in pod::containers(s.pod) {
        for old in s.history(&spec.name).into_iter().skip(KEPT) {
            remove_dead(s, plan, old);
        }
    }
    let newest = s.sandbox().map(|c| &c.id);
    for old in s.containers.iter().filter(|c| c.role == Role::Sandbox && Some(&c.id) != newest) {
        remove_dead(s, plan, old);
    }
}

fn remove_dead(s: &Snapshot<'_>, plan: &mut Plan, container: &Container) {
    if !container.running() && !s.local.busy.contains(&Op::Touch(container.id.clone())) {
        plan.act(Action::Remove { id: container.id.clone() });
    }
}
