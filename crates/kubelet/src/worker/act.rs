//! Carries a plan's actions out, and takes their results in.

use std::{sync::Arc, time::Duration};

use gantry_common::task;
use jiff::{SignedDuration, Timestamp};

use super::{Done, Worker, build, hooks, start};
use crate::{
    images::Missing,
    pod::{
        self,
        backoff::Backoff,
        plan::Action,
        state::{Ending, Failure, Op, Stopping},
    },
    runtime::{Container, Role},
};

/// A failed operation is tried again after this.
const RETRY: SignedDuration = SignedDuration::from_secs(10);
/// A failed clean-up waits this long before it reports, so that the planner does not repeat it at once.
const BREATH: Duration = Duration::from_secs(3);

impl Worker {
    pub(super) fn act(&mut self, action: Action, containers: &[Container]) {
        let now = self.deps.clock.now();
        match action {
            Action::PrepareVolumes => self.prepare_volumes(),
            Action::CreateSandbox { attempt } => self.create_sandbox(attempt),
            Action::Connect { sandbox, pid } => self.connect(sandbox, pid),
            Action::Start { name, attempt } => self.start(name, attempt, containers, now),
            Action::BeginStop { id, name, deadline, message } => self.begin_stop(&id, &name, deadline, &message),
            Action::Terminate { id } => {
                if let Some(stopping) = self.local.stopping.get_mut(&id) {
                    stopping.asked = Some(now);
                }
                self.signal(id, None);
            }
            Action::Kill { id } => {
                if let Some(stopping) = self.local.stopping.get_mut(&id) {
                    stopping.killed = Some(now);
                }
                self.signal(id, Some("KILL"));
            }
            Action::Resize { id, name } => self.resize(id, &name),
            Action::Remove { id } => self.remove(id),
            Action::Release => self.release(),
            Action::TearDown => self.tear_down(),
            Action::Delete => self.delete(),
            Action::End(cause) => {
                if let pod::state::Cause::Failed(reason, message) = &cause {
                    self.deps.events.pod_warning(&self.pod, reason, message);
                }
                let grace_seconds = pod::grace_seconds(&self.pod);
                self.local.ending = Some(Ending { since: now, grace_seconds, cause });
            }
            Action::Forget => {}
        }
    }

    /// Runs an operation beside the worker.
    pub(super) fn spawn(&mut self, op: Op, work: impl Future<Output = Done> + Send + 'static) {
        self.local.busy.insert(op);
        let results = self.results_in.clone();
        // The worker outlives its operations, but for the end of the kubelet.
        task::spawn("pod-operation", async move { drop(results.send(work.await).await) });
    }

    fn prepare_volumes(&mut self) {
        let (deps, pod, ip) = (Arc::clone(&self.deps), Arc::clone(&self.pod), self.local.ip);
        self.spawn(Op::Volumes, async move {
            let facts = deps.facts(&pod, ip);
            Done::Volumes(deps.volumes.prepare(&pod, &facts).await)
        });
    }

    fn create_sandbox(&mut self, attempt: u32) {
        let (deps, pod) = (Arc::clone(&self.deps), Arc::clone(&self.pod));
        self.spawn(Op::Sandbox, async move {
            let result = start::sandbox(&deps, &pod, attempt).await;
            Done::Sandbox(result)
        });
    }

    fn connect(&mut self, sandbox: String, pid: u32) {
        let (deps, uid) = (Arc::clone(&self.deps), self.uid.clone());
        self.spawn(Op::Connect, async move {
            let result = deps.network.connect(&uid, &sandbox, pid).await.map(drop);
            Done::Connected(result.map_err(|error| Missing {
                reason: "FailedCreatePodSandBox",
                message: gantry_common::error_chain(&error),
            }))
        });
    }

    fn start(&mut self, name: String, attempt: u32, containers: &[Container], now: Timestamp) {
        let Some((kind, spec)) = pod::find(&self.pod, &name) else { return };
        let spec = spec.into_owned();
        let sandbox = containers.iter().filter(|c| c.role == Role::Sandbox && c.running()).max_by_key(|c| c.attempt);
        let Some(sandbox) = sandbox.map(|c| c.id.clone()) else { return };
        if containers.iter().any(|c| c.name == name && c.exit().is_some()) {
            let before = self.local.backoffs.get(&name).copied();
            self.local.backoffs.insert(name.clone(), Backoff::next(before, now));
        }
        let debugged = pod::debugged(&self.pod, &name).map(|target| {
            let running = containers.iter().filter(|c| c.role == Role::Container && c.name == target && c.running());
            running.max_by_key(|c| c.attempt).map(|c| c.id.clone()).ok_or_else(|| target.to_owned())
        });
        let op = if kind == pod::Kind::Ephemeral { Op::StartEphemeral } else { Op::Start };
        if op == Op::Start {
            self.local.starting = Some(name.clone());
        }
        let (deps, pod, ip) = (Arc::clone(&self.deps), Arc::clone(&self.pod), self.local.ip);
        let ended = op.clone();
        self.spawn(op, async move {
            let result = match debugged.transpose() {
                Ok(debugged) => {
                    let place = build::Place { sandbox, attempt, ip, debugged };
                    start::container(&deps, &pod, &spec, &place).await
                }
                Err(target) => Err(Missing {
                    reason: "CreateContainerConfigError",
                    message: format!("unable to find target container {target}"),
                }),
            };
            Done::Started(ended, name, result)
        });
    }

    fn begin_stop(&mut self, id: &str, name: &str, deadline: Timestamp, message: &str) {
        let spec = pod::find(&self.pod, name).map(|(_, spec)| spec.into_owned());
        if let Some(spec) = &spec {
            self.deps.events.normal(&self.pod, spec, "Killing", message);
        }
        self.probers.remove(id);
        let hook = spec.and_then(|spec| spec.lifecycle.clone().and_then(|l| l.pre_stop).map(|hook| (spec, hook)));
        let stopping = Stopping { deadline, hook_done: hook.is_none(), asked: None, killed: None };
        self.local.stopping.insert(id.to_owned(), stopping);
        let Some((spec, hook)) = hook else { return };
        let (deps, pod, ip, id) = (Arc::clone(&self.deps), Arc::clone(&self.pod), self.local.ip, id.to_owned());
        let left = Duration::try_from(deadline.duration_since(deps.clock.now())).unwrap_or_default();
        self.spawn(Op::PreStop(id.clone()), async move {
            if let Err(error) = hooks::run(&deps, &spec, &id, ip, &hook, left).await {
                let message = format!("PreStopHook failed: {error}");
                deps.events.warning(&pod, &spec, "FailedPreStopHook", &message);
            }
            Done::Hook(id)
        });
    }

    fn signal(&mut self, id: String, signal: Option<&'static str>) {
        let deps = Arc::clone(&self.deps);
        self.spawn(Op::Touch(id.clone()), async move {
            let sent = deps.runtime.signal(&id, signal).await;
            let seen = if sent.is_ok() { deps.observed.refresh(&id).await } else { Ok(()) };
            if let Err(error) = sent.and(seen) {
                tracing::warn!(
                    container = id,
                    error = gantry_common::error_chain(&error),
                    "container could not be signalled"
                );
                tokio::time::sleep(BREATH).await;
            }
            Done::Touched(id)
        });
    }

    fn remove(&mut self, id: String) {
        let deps = Arc::clone(&self.deps);
        self.spawn(Op::Touch(id.clone()), async move {
            match deps.runtime.remove(&id).await {
                Ok(()) => deps.observed.drop_container(&id).await,
                Err(error) => {
                    tracing::warn!(
                        container = id,
                        error = gantry_common::error_chain(&error),
                        "container could not be removed"
                    );
                    tokio::time::sleep(BREATH).await;
                }
            }
            Done::Touched(id)
        });
    }

    fn release(&mut self) {
        let (deps, uid) = (Arc::clone(&self.deps), self.uid.clone());
        self.spawn(Op::TearDown, async move {
            disconnect(&deps, &uid).await;
            Done::Released
        });
    }

    fn tear_down(&mut self) {
        let (deps, uid) = (Arc::clone(&self.deps), self.uid.clone());
        self.spawn(Op::TearDown, async move {
            let mut clean = disconnect(&deps, &uid).await;
            if let Err(error) = deps.volumes.tear_down(&uid).await {
                tracing::warn!(uid, error = gantry_common::error_chain(&error), "volumes could not be removed");
                tokio::time::sleep(BREATH).await;
                clean = false;
            }
            Done::TornDown(clean)
        });
    }

    fn delete(&mut self) {
        // The last status first: whoever waits for the pod's end reads it there.
        if self.writing {
            return;
        }
        let (deps, pod) = (Arc::clone(&self.deps), Arc::clone(&self.pod));
        self.spawn(Op::Delete, async move {
            if let Err(error) = deps.api.delete(&pod).await {
                tracing::warn!(
                    pod = pod::full_name(&pod),
                    error,
                    "pod's deletion could not be confirmed, trying again"
                );
                tokio::time::sleep(BREATH).await;
                return Done::Deleted(false);
            }
            Done::Deleted(true)
        });
    }

    pub(super) fn finish(&mut self, done: Done) {
        let now = self.deps.clock.now();
        match done {
            Done::Volumes(result) => self.volumes_done(result, now),
            Done::Sandbox(result) => {
                self.local.busy.remove(&Op::Sandbox);
                self.sandbox_done(result, now);
            }
            Done::Connected(result) => {
                self.local.busy.remove(&Op::Connect);
                self.sandbox_done(result, now);
            }
            Done::Started(op, name, result) => self.started(&op, name, result, now),
            Done::Hook(id) => {
                self.local.busy.remove(&Op::PreStop(id.clone()));
                if let Some(stopping) = self.local.stopping.get_mut(&id) {
                    stopping.hook_done = true;
                }
            }
            Done::Resized(id, wanted, result) => self.resized(id, wanted, result, now),
            Done::Touched(id) => drop(self.local.busy.remove(&Op::Touch(id))),
            Done::Released => drop(self.local.busy.remove(&Op::TearDown)),
            Done::TornDown(clean) => {
                self.local.busy.remove(&Op::TearDown);
                self.local.torn_down = clean;
            }
            // A confirmed deletion is over when the watch says so; until then nothing more is asked.
            Done::Deleted(confirmed) => {
                if !confirmed {
                    self.local.busy.remove(&Op::Delete);
                }
            }
            Done::Written(result) => self.written(*result, now),
        }
    }

    fn volumes_done(&mut self, result: Result<Option<Timestamp>, crate::volumes::Failed>, now: Timestamp) {
        self.local.busy.remove(&Op::Volumes);
        match result {
            Ok(renew_at) => {
                self.local.volumes_ready = true;
                self.local.volumes_failure = None;
                self.renew_at = renew_at;
            }
            Err(failed) => {
                let message = gantry_common::error_chain(&failed);
                self.deps.events.pod_warning(&self.pod, "FailedMount", &message);
                let failure = Failure { reason: "FailedMount", message, at: now, retry_at: now + RETRY };
                self.local.volumes_failure = Some(failure);
                if self.local.volumes_ready {
                    self.renew_at = Some(now + RETRY);
                }
            }
        }
    }

    fn sandbox_done(&mut self, result: Result<(), Missing>, now: Timestamp) {
        self.local.sandbox_failure = result.err().map(|missing| {
            let message = format!("Failed to create pod sandbox: {}", missing.message);
            self.deps.events.pod_warning(&self.pod, "FailedCreatePodSandBox", &message);
            Failure { reason: missing.reason, message: missing.message, at: now, retry_at: now + RETRY }
        });
    }

    fn started(&mut self, op: &Op, name: String, result: Result<(), Missing>, now: Timestamp) {
        self.local.busy.remove(op);
        if *op == Op::Start {
            self.local.starting = None;
        }
        let Err(missing) = result else {
            self.local.failures.remove(&name);
            return;
        };
        let Some((_, spec)) = pod::find(&self.pod, &name) else { return };
        let image = spec.image.clone().unwrap_or_default();
        let delay = match missing.reason {
            "ErrImagePull" => {
                let entry = Backoff::next(self.image_backoffs.get(&image).copied(), now);
                self.image_backoffs.insert(image, entry);
                entry.delay()
            }
            _ => self.local.backoffs.get(&name).map_or(RETRY, |entry| entry.delay()),
        };
        self.deps.events.warning(&self.pod, &spec, "Failed", &format!("Error: {}", event_text(&missing)));
        let failure = Failure { reason: missing.reason, message: missing.message, at: now, retry_at: now + delay };
        self.local.failures.insert(name, failure);
    }
}

/// A pull's error was told already; its event names only the reason.
fn event_text(missing: &Missing) -> String {
    if missing.reason.contains("Image") { missing.reason.to_owned() } else { missing.message.clone() }
}

async fn disconnect(deps: &super::Deps, uid: &str) -> bool {
    match deps.network.disconnect(uid).await {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(uid, error = gantry_common::error_chain(&error), "pod's network could not be removed");
            tokio::time::sleep(BREATH).await;
            false
        }
    }
}
