//! What to do next for a pod: a pure function of what is known.
//!
//! The worker runs it after every change, carries the actions out and runs it again when one of them has ended.
//! Nothing here remembers anything, so a kubelet that starts again takes the same decisions from what it finds.

mod ending;
mod running;
#[cfg(test)]
pub(crate) mod tests;

use jiff::Timestamp;

use super::{
    restart,
    state::{Cause, Op, Snapshot},
    status,
};
use crate::runtime::Container;

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Mount the volumes.
    PrepareVolumes,
    /// Make a sandbox.
    CreateSandbox {
        /// How many came before.
        attempt: u32,
    },
    /// Give the running sandbox its address.
    Connect {
        /// Its identifier.
        sandbox: String,
        /// Its process.
        pid: u32,
    },
    /// Start a container: image, environment, creation, start, hook.
    Start {
        /// Its name.
        name: String,
        /// How many came before.
        attempt: u32,
    },
    /// Begin to stop a container: its hook first, if it has one.
    BeginStop {
        /// Its identifier.
        id: String,
        /// Its name.
        name: String,
        /// When it is killed.
        deadline: Timestamp,
        /// What the event says.
        message: String,
    },
    /// Ask a container to stop.
    Terminate {
        /// Its identifier.
        id: String,
    },
    /// Kill a container.
    Kill {
        /// Its identifier.
        id: String,
    },
    /// Give a running container other resources.
    Resize {
        /// Its identifier.
        id: String,
        /// Its name.
        name: String,
    },
    /// Remove a container that has ended (or a sandbox that is no longer needed).
    Remove {
        /// Its identifier.
        id: String,
    },
    /// Give the address back and stop using the network: the pod has ended but its object stays.
    Release,
    /// Take away network, volumes, folders and control groups.
    TearDown,
    /// Confirm the deletion to the API server.
    Delete,
    /// The pod ends for a reason of its own.
    End(Cause),
    /// Nothing of the pod is left: the worker may end.
    Forget,
}

/// What to do now, and when to ask again if nothing happens before.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// In this order.
    pub(crate) actions: Vec<Action>,
    /// The next instant at which the answer changes by itself.
    pub(crate) wake_at: Option<Timestamp>,
}

impl Plan {
    fn act(&mut self, action: Action) {
        self.actions.push(action);
    }

    fn wake(&mut self, at: Timestamp) {
        self.wake_at = Some(self.wake_at.map_or(at, |before| before.min(at)));
    }
}

/// Decides.
pub(crate) fn plan(s: &Snapshot<'_>) -> Plan {
    let mut plan = Plan::default();
    match &s.local.ending {
        Some(ending) => ending::plan(s, ending, &mut plan),
        None => match expired(s, &mut plan) {
            Some(cause) => plan.act(Action::End(cause)),
            None if status::finished(s).is_some() => ending::settle(s, &mut plan),
            None => running::plan(s, &mut plan),
        },
    }
    plan
}

/// Whether the pod has used up its `activeDeadlineSeconds`.
fn expired(s: &Snapshot<'_>, plan: &mut Plan) -> Option<Cause> {
    let seconds = super::spec(s.pod).active_deadline_seconds?;
    if status::finished(s).is_some() {
        return None;
    }
    let deadline = super::start_time(s.pod)? + jiff::SignedDuration::from_secs(seconds);
    if s.now < deadline {
        plan.wake(deadline);
        return None;
    }
    let message = "Pod was active on the node longer than the specified deadline".to_owned();
    Some(Cause::Failed("DeadlineExceeded", message))
}

/// Moves a container one step further out.
fn stop(s: &Snapshot<'_>, plan: &mut Plan, container: &Container, deadline: Timestamp, message: String) {
    /// A kill whose effect was not seen is repeated.
    const REPEAT_KILL: jiff::SignedDuration = jiff::SignedDuration::from_secs(10);

    let Some(stopping) = s.local.stopping.get(&container.id) else {
        let (id, name) = (container.id.clone(), container.name.clone());
        plan.act(Action::BeginStop { id, name, deadline, message });
        return;
    };
    let deadline = stopping.deadline.min(deadline);
    if s.now >= deadline && !s.local.busy.contains(&Op::Touch(container.id.clone())) {
        let due = stopping.killed.is_none_or(|at| s.now >= at + REPEAT_KILL);
        if due {
            plan.act(Action::Kill { id: container.id.clone() });
        }
        plan.wake(stopping.killed.unwrap_or(s.now) + REPEAT_KILL);
        return;
    }
    if stopping.hook_done && stopping.asked.is_none() {
        plan.act(Action::Terminate { id: container.id.clone() });
    }
    if s.now < deadline {
        plan.wake(deadline);
    }
}

/// How often a container of this name was started before, also where the runtime has forgotten it.
fn next_attempt(s: &Snapshot<'_>, name: &str) -> u32 {
    if let Some(latest) = s.latest(name) {
        return latest.attempt + 1;
    }
    let known = s.pod.status.as_ref().and_then(|status| {
        let lists = [&status.container_statuses, &status.init_container_statuses];
        lists.into_iter().flatten().flatten().find(|c| c.name == name).cloned()
    });
    match known {
        Some(c) if c.container_id.is_some() => u32::try_from(c.restart_count).unwrap_or(0) + 1,
        Some(c) => u32::try_from(c.restart_count).unwrap_or(0),
        None => 0,
    }
}

/// A container whose restart is being held back, and how often it was started.
pub(crate) fn held_back(s: &Snapshot<'_>) -> Option<(String, u32)> {
    if s.local.ending.is_some() {
        return None;
    }
    super::containers(s.pod).find_map(|(kind, spec)| {
        let latest = s.latest(&spec.name)?;
        let exit = latest.exit().filter(|exit| restart::restarts(s.pod, kind, spec, exit.code))?;
        let until = s.local.backoffs.get(&spec.name)?.until(exit.finished)?;
        (s.now < until).then(|| (spec.name.clone(), latest.attempt))
    })
}
