//! One worker per pod: the shell around the pure planner.
//!
//! It sleeps until something changed (the object, a container, a probe, an operation, the clock), asks the planner what to
//! do, starts that as operations beside itself, and writes the status that follows. It never waits for an operation, so
//! that a deletion is seen during a long pull.

mod act;
mod build;
mod hooks;
mod ops;
mod probes;
mod resize;
mod start;
#[cfg(test)]
mod tests;
mod writer;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use gantry_common::task;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use tokio::sync::{Notify, mpsc, watch};

pub(crate) use ops::{Deps, PodApi, Settings};
pub(crate) use resize::Grants;

use crate::{
    images::Missing,
    pod::{
        self,
        backoff::Backoff,
        plan::{self, Action},
        state::{Cause, Ending, Local, Op, Snapshot},
        status,
    },
    probe,
    runtime::{Applied, Container},
    volumes::Failed,
};

/// Results that may wait for the worker.
const RESULTS: usize = 64;
/// A worker asks its planner again at once so often; then something is wrong with the plan, and it takes a breath.
const ROUNDS: usize = 16;
/// The least grace that a deletion leaves, as upstream.
const MIN_GRACE_SECONDS: i64 = 1;

/// What a worker is told from outside.
#[derive(Clone)]
pub(crate) enum Input {
    /// The pod's object.
    Present(Arc<Pod>),
    /// The object is gone.
    Gone,
}

/// How an operation ended.
pub(crate) enum Done {
    Volumes(Result<Option<Timestamp>, Failed>),
    Sandbox(Result<(), Missing>),
    Connected(Result<(), Missing>),
    Started(Op, String, Result<(), Missing>),
    Hook(String),
    Touched(String),
    Resized(String, Applied, Result<(), String>),
    Released,
    TornDown(bool),
    Deleted(bool),
    Written(Box<Result<Option<Pod>, String>>),
}

/// The outside's end of a worker.
pub(crate) struct Handle {
    input: watch::Sender<Input>,
    wake: Arc<Notify>,
    refresh: Arc<Notify>,
}

impl Handle {
    /// Tells the object's newest state.
    pub(crate) fn send(&self, input: Input) {
        self.input.send_replace(input);
    }

    /// A container changed.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// A ConfigMap or Secret that the pod uses changed.
    pub(crate) fn refresh(&self) {
        self.refresh.notify_one();
    }
}

pub(crate) struct Worker {
    deps: Arc<Deps>,
    uid: String,
    /// The pod with what it was granted.
    pod: Arc<Pod>,
    /// The pod with what it waits for, and when it asks again.
    asked: Option<(Arc<Pod>, Timestamp)>,
    input: watch::Receiver<Input>,
    wake: Arc<Notify>,
    refresh: Arc<Notify>,
    results: mpsc::Receiver<Done>,
    results_in: mpsc::Sender<Done>,
    reports: mpsc::Receiver<probe::Report>,
    reports_in: mpsc::Sender<probe::Report>,
    local: Local,
    image_backoffs: BTreeMap<String, Backoff>,
    probers: BTreeMap<String, probe::Probers>,
    renew_at: Option<Timestamp>,
    refresh_due: bool,
    writing: bool,
    write_after: Option<Timestamp>,
    last_backoff_event: Option<(String, u32)>,
    told_pulls: BTreeMap<String, Timestamp>,
}

/// Starts a worker. `ended` is told the pod's UID when nothing of the pod is left.
pub(crate) fn spawn(deps: &Arc<Deps>, pod: &Arc<Pod>, gone: bool, ended: mpsc::Sender<String>) -> Handle {
    let first = if gone { Input::Gone } else { Input::Present(Arc::clone(pod)) };
    let (input, watched) = watch::channel(first);
    let (results_in, results) = mpsc::channel(RESULTS);
    let (reports_in, reports) = mpsc::channel(RESULTS);
    let (wake, refresh) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let uid = pod::reference(pod).uid;
    let worker = Worker {
        deps: Arc::clone(deps),
        uid: uid.clone(),
        pod: Arc::clone(pod),
        asked: None,
        input: watched,
        wake: Arc::clone(&wake),
        refresh: Arc::clone(&refresh),
        results,
        results_in,
        reports,
        reports_in,
        local: Local::default(),
        image_backoffs: BTreeMap::new(),
        probers: BTreeMap::new(),
        renew_at: None,
        refresh_due: false,
        writing: false,
        write_after: None,
        last_backoff_event: None,
        told_pulls: BTreeMap::new(),
    };
    task::spawn("pod-worker", async move {
        worker.run().await;
        // The dispatcher ends only with the kubelet.
        drop(ended.send(uid).await);
    });
    Handle { input, wake, refresh }
}

impl Worker {
    async fn run(mut self) {
        tracing::info!(pod = pod::full_name(&self.pod), "pod worker started");
        self.deps.objects.register(&self.pod);
        self.begin();
        loop {
            let mut wake_at = None;
            for _ in 0..ROUNDS {
                self.learn();
                self.ask_again(self.deps.clock.now());
                let containers = self.containers();
                self.follow_probes(&containers);
                self.read_last_words(&containers).await;
                let now = self.deps.clock.now();
                let snapshot = Snapshot { pod: &self.pod, containers: &containers, local: &self.local, now };
                let plan = plan::plan(&snapshot);
                self.write_status(&containers);
                wake_at = plan.wake_at;
                if plan.actions == [Action::Forget] {
                    return self.forget();
                }
                let acted = !plan.actions.is_empty();
                for action in plan.actions {
                    self.act(action, &containers);
                }
                if !acted {
                    break;
                }
            }
            if !self.wait(wake_at).await {
                return;
            }
        }
    }

    fn forget(self) {
        self.deps.objects.forget(&self.uid);
        self.deps.grants.release(&self.uid);
        build::remove_control_groups(&self.deps.settings, &self.uid);
        tracing::info!(pod = pod::full_name(&self.pod), "pod is gone");
    }

    /// The pod's containers as the runtime has them, and the address that its sandbox has.
    fn containers(&mut self) -> Vec<Container> {
        let containers = self.deps.observed.of(&self.uid);
        let now = self.deps.clock.now();
        let snapshot = Snapshot { pod: &self.pod, containers: &containers, local: &self.local, now };
        let sandbox = snapshot.sandbox().filter(|c| c.running()).map(|c| c.id.clone());
        self.local.ip = sandbox.and_then(|id| self.deps.network.address(&self.uid, &id));
        let known = |id: &String| containers.iter().any(|c| &c.id == id);
        self.local.stopping.retain(|id, _| known(id));
        self.local.messages.retain(|id, _| known(id));
        self.local.probed.retain(|id, _| known(id));
        self.local.resizes.retain(|id, _| known(id));
        self.probers.retain(|id, _| containers.iter().any(|c| &c.id == id && c.running()));
        containers
    }

    /// Takes over what the API says of the pod.
    fn learn(&mut self) {
        let input = self.input.borrow_and_update().clone();
        let now = self.deps.clock.now();
        match input {
            Input::Gone => {
                if self.local.ending.as_ref().is_none_or(|e| e.cause != Cause::Orphaned) {
                    let ending = Ending { since: now, grace_seconds: self.grace(), cause: Cause::Orphaned };
                    self.local.ending = Some(self.earlier(ending));
                }
            }
            Input::Present(pod) => {
                if newer(&pod, &self.pod) {
                    self.deps.objects.register(&pod);
                    self.take(pod);
                }
                if self.pod.metadata.deletion_timestamp.is_some() {
                    let ending = Ending { since: now, grace_seconds: self.grace(), cause: Cause::Deleted };
                    self.local.ending = Some(self.earlier(ending));
                }
            }
        }
    }

    fn grace(&self) -> i64 {
        let asked = self.pod.metadata.deletion_grace_period_seconds;
        asked.unwrap_or_else(|| pod::grace_seconds(&self.pod)).max(MIN_GRACE_SECONDS)
    }

    /// A deletion that goes on keeps its beginning; only its grace may change.
    fn earlier(&self, ending: Ending) -> Ending {
        match &self.local.ending {
            Some(before) if !matches!(before.cause, Cause::Failed(..)) => Ending { since: before.since, ..ending },
            _ => ending,
        }
    }

    /// Sleeps until something happened; false when the kubelet ends, which leaves everything as it is.
    async fn wait(&mut self, wake_at: Option<Timestamp>) -> bool {
        let now = self.deps.clock.now();
        let again = self.asked.as_ref().map(|(_, at)| *at);
        let next = [wake_at, self.renew_at, self.write_after, again].into_iter().flatten().min();
        // A deadline in the past must not become a spin.
        let pause = next.map(|at| Duration::try_from(at.duration_since(now)).unwrap_or_default());
        let pause = pause.map(|pause| pause.max(Duration::from_millis(20)));
        let sleep = async {
            match pause {
                Some(pause) => tokio::time::sleep(pause).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = self.input.changed() => if changed.is_err() { return false },
            () = self.wake.notified() => {}
            () = self.refresh.notified() => self.refresh_due = true,
            Some(done) = self.results.recv() => self.finish(done),
            Some(report) = self.reports.recv() => self.take_report(&report),
            () = sleep => {}
        }
        while let Ok(done) = self.results.try_recv() {
            self.finish(done);
        }
        self.renew_volumes();
        true
    }

    /// Brings changed objects and new tokens into the volumes of a pod that runs.
    fn renew_volumes(&mut self) {
        let due = self.renew_at.is_some_and(|at| self.deps.clock.now() >= at);
        if !due && !self.refresh_due {
            return;
        }
        self.local.failures.retain(|_, failure| failure.reason != "CreateContainerConfigError");
        self.local.volumes_failure = None;
        let busy = self.local.busy.contains(&Op::Volumes);
        if self.local.volumes_ready && !busy && self.local.ending.is_none() {
            self.refresh_due = false;
            self.renew_at = None;
            self.act(Action::PrepareVolumes, &[]);
        } else if !busy {
            self.refresh_due = false;
        }
    }

    fn status(&self, containers: &[Container]) -> PodStatus {
        let now = self.deps.clock.now();
        let snapshot = Snapshot { pod: &self.pod, containers, local: &self.local, now };
        status::compute(&snapshot, &self.deps.settings.host)
    }
}

/// Whether `a` is a later state of the same object than `b`.
fn newer(a: &Pod, b: &Pod) -> bool {
    let revision = |pod: &Pod| pod.metadata.resource_version.as_deref().and_then(|v| v.parse::<u64>().ok());
    revision(a) > revision(b) || revision(a).is_none()
}
