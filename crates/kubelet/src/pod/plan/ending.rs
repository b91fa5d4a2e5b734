//! A pod that is to end: its containers, then the sidecars in reverse order, then everything that belonged to it.

use super::{Action, Plan, stop};
use crate::{
    pod::{
        self, Kind,
        state::{Cause, Ending, Op, Snapshot},
    },
    runtime::{Container, Role},
};

pub(super) fn plan(s: &Snapshot<'_>, ending: &Ending, plan: &mut Plan) {
    if stop_containers(s, ending, plan) {
        return;
    }
    // What is under way may still bring something to life, or hold a volume.
    let making = [Op::Volumes, Op::Sandbox, Op::Connect, Op::Start, Op::StartEphemeral];
    if making.iter().any(|op| s.local.busy.contains(op)) {
        return;
    }
    match ending.cause {
        Cause::Failed(..) => release(s, plan),
        Cause::Deleted | Cause::Orphaned => leave(s, ending, plan),
    }
}

/// A pod that ended by itself: what still runs beside its containers is stopped, its network goes, the rest stays for
/// `kubectl logs` until the object is deleted.
pub(super) fn settle(s: &Snapshot<'_>, plan: &mut Plan) {
    let ending =
        Ending { since: s.now, grace_seconds: pod::grace_seconds(s.pod), cause: Cause::Failed("", String::new()) };
    if !stop_containers(s, &ending, plan) && !s.local.busy.contains(&Op::Sandbox) {
        release(s, plan);
    }
}

/// Whether something still runs.
fn stop_containers(s: &Snapshot<'_>, ending: &Ending, plan: &mut Plan) -> bool {
    let sidecars: Vec<&str> = pod::init_containers(s.pod)
        .filter(|(kind, _)| *kind == Kind::Sidecar)
        .map(|(_, spec)| spec.name.as_str())
        .collect();
    let order = |c: &Container| sidecars.iter().position(|name| *name == c.name);
    let running: Vec<&Container> = s.containers.iter().filter(|c| c.role == Role::Container && c.running()).collect();
    let others = running.iter().any(|c| order(c).is_none());
    let last = running.iter().filter_map(|c| order(c)).max();
    for container in &running {
        // The others first; then the sidecar that started last. Past the deadline nobody waits for a turn.
        let turn = match order(container) {
            None => true,
            place => s.now >= ending.deadline() || (!others && place == last),
        };
        if turn {
            stop(s, plan, container, ending.deadline(), format!("Stopping container {}", container.name));
        }
    }
    if !running.is_empty() && s.now < ending.deadline() {
        plan.wake(ending.deadline());
    }
    !running.is_empty()
}

/// The sandbox and the address go, dead containers and volumes stay.
fn release(s: &Snapshot<'_>, plan: &mut Plan) {
    if s.local.ip.is_some() && !s.local.busy.contains(&Op::TearDown) {
        plan.act(Action::Release);
    }
    remove_all(s, plan, |c| c.role == Role::Sandbox);
}

/// Everything goes, the API object last: once it is gone, the pod's name and resources may be used again.
fn leave(s: &Snapshot<'_>, ending: &Ending, plan: &mut Plan) {
    if !s.local.torn_down {
        if !s.local.busy.contains(&Op::TearDown) {
            plan.act(Action::TearDown);
        }
    } else if !s.containers.is_empty() {
        remove_all(s, plan, |_| true);
    } else if ending.cause == Cause::Orphaned {
        plan.act(Action::Forget);
    } else if !s.local.busy.contains(&Op::Delete) {
        plan.act(Action::Delete);
    }
}

fn remove_all(s: &Snapshot<'_>, plan: &mut Plan, wanted: impl Fn(&Container) -> bool) {
    for container in s.containers.iter().filter(|c| wanted(c)) {
        if !s.local.busy.contains(&Op::Touch(container.id.clone())) {
            plan.act(Action::Remove { id: container.id.clone() });
        }
    }
}
