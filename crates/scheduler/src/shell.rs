//! The wires: informers feed the core, its attempts become pipelined writes.
//!
//! One task owns the core, so a decision needs no lock; bindings and reports run beside it, at most [`MAX_IN_FLIGHT`] of
//! each kind, and their ends come back as messages to the same loop.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use gantry_client::events::{EventType, Recorder, reference};
use gantry_client::{Batch, Client, Error, Informer, Subscription};
use gantry_common::clock::SharedClock;
use gantry_common::daemon::Context;
use gantry_common::task::Group;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use rand::SeedableRng;
use rand::rngs::StdRng;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::Config;
use crate::core::{Attempt, Core};
use crate::pod::PodInfo;
use crate::report;

/// Writes of each kind that may be on their way at once.
const MAX_IN_FLIGHT: usize = 256;
/// How long the loop sleeps when it has nothing to wait for but messages.
const IDLE: Duration = Duration::from_secs(3600);

struct Bound {
    pod: Arc<PodInfo>,
    node: Arc<str>,
    result: Result<(), Error>,
}

type Writes<T> = FuturesUnordered<Pin<Box<dyn Future<Output = T> + Send>>>;

struct Shell {
    core: Core,
    nodes: Subscription<Node>,
    pods: Subscription<Pod>,
    bindings: Writes<Bound>,
    reports: Writes<()>,
    batch: Batch,
    recorder: Recorder,
    clock: SharedClock,
    lost: Option<CancellationToken>,
}

/// Schedules with `client` until the caller drops this future, shutdown is asked for or `lost` is cancelled.
pub(crate) async fn run(config: &Config, client: Client, context: &Context, lost: Option<CancellationToken>) {
    // A child: what this reign started ends with it.
    let shutdown = context.shutdown.child();
    let group = Group::new(shutdown.clone());
    let nodes = Informer::<Node>::builder(client.api()).start(&group);
    let pods =
        Informer::<Pod>::builder(client.api()).fields("status.phase!=Succeeded,status.phase!=Failed").start(&group);
    let synced = async { tokio::join!(nodes.synced(), pods.synced()) };
    tokio::select! {
        _ = synced => {}
        () = shutdown.requested() => return,
    }
    let rng = config.seed.map_or_else(StdRng::from_os_rng, StdRng::seed_from_u64);
    info!(nodes = nodes.len(), pods = pods.len(), "scheduling");
    let mut shell = Shell {
        core: Core::new(&config.scheduler_name, rng),
        nodes: nodes.subscribe(),
        pods: pods.subscribe(),
        bindings: FuturesUnordered::new(),
        reports: FuturesUnordered::new(),
        batch: client.batch(),
        recorder: Recorder::new(client, context.clock.clone(), &config.scheduler_name, ""),
        clock: context.clock.clone(),
        lost,
    };
    tokio::select! {
        () = shell.serve() => {}
        () = shutdown.requested() => {}
    }
    shutdown.trigger();
}

impl Shell {
    async fn serve(&mut self) {
        loop {
            self.take_changes();
            let sleep = self.until_next_wake();
            let may_decide =
                self.core.has_work() && self.bindings.len() < MAX_IN_FLIGHT && self.reports.len() < MAX_IN_FLIGHT;
            tokio::select! {
                biased;
                change = self.nodes.next() => self.on_node(&change.key.name, change.new.as_deref()),
                change = self.pods.next() => self.on_pod(&change.key, change.new.as_ref()),
                Some(bound) = self.bindings.next() => self.on_bound(bound),
                Some(()) = self.reports.next() => {}
                () = std::future::ready(()), if may_decide => {
                    self.attempt();
                    // Lets the writes and the connection move between decisions.
                    tokio::task::yield_now().await;
                }
                () = tokio::time::sleep(sleep) => self.core.wake(self.clock.now()),
            }
        }
    }

    /// Takes every change that is there before anything is decided: a decision sees the newest world there is.
    fn take_changes(&mut self) {
        while let Some(change) = self.nodes.try_next() {
            self.on_node(&change.key.name, change.new.as_deref());
        }
        while let Some(change) = self.pods.try_next() {
            self.on_pod(&change.key, change.new.as_ref());
        }
    }

    fn on_node(&mut self, name: &str, node: Option<&Node>) {
        self.core.on_node(name, node, self.clock.now());
    }

    fn on_pod(&mut self, key: &gantry_client::Key, pod: Option<&Arc<Pod>>) {
        self.core.on_pod(key, pod, self.clock.now());
    }

    fn until_next_wake(&self) -> Duration {
        self.core.next_wake().map_or(IDLE, |at| until(self.clock.now(), at))
    }

    fn attempt(&mut self) {
        let now = self.clock.now();
        match self.core.attempt(now) {
            Some(Attempt::Bind { pod, node }) => self.bind(pod, node),
            Some(Attempt::Report { pod, message }) => self.report(&pod, &message, now),
            None => {}
        }
    }

    fn bind(&mut self, pod: Arc<PodInfo>, node: Arc<str>) {
        let batch = self.batch.clone();
        let write = report::binding(&pod, &node);
        self.bindings.push(Box::pin(async move {
            let result = batch.submit(write).await.map(drop);
            Bound { pod, node, result }
        }));
    }

    fn report(&mut self, pod: &Arc<PodInfo>, message: &str, now: Timestamp) {
        debug!(pod = %pod.key, message, "unschedulable");
        self.recorder.event(&reference(&*pod.object), EventType::Warning, "FailedScheduling", message);
        let Some(write) = report::condition(pod, message, now) else { return };
        let (batch, key) = (self.batch.clone(), pod.key.clone());
        self.reports.push(Box::pin(async move {
            if let Err(error) = batch.submit(write).await {
                // The next attempt writes it again; a pod that is gone needs none.
                let error = gantry_common::error_chain(&error);
                debug!(pod = %key, error, "cannot write the PodScheduled condition");
            }
        }));
    }

    fn on_bound(&mut self, bound: Bound) {
        let Bound { pod, node, result } = bound;
        let Err(error) = result else {
            let message = format!("Successfully assigned {} to {node}", pod.key);
            self.recorder.event(&reference(&*pod.object), EventType::Normal, "Scheduled", message);
            return;
        };
        if error.is_fenced()
            && let Some(lost) = &self.lost
        {
            lost.cancel();
        }
        // A pod that is gone or already assigned is news that the informer brings; the rest is tried again.
        let expected = error.is_not_found() || error.is_conflict();
        let text = gantry_common::error_chain(&error);
        if expected {
            debug!(pod = %pod.key, node = &*node, error = text, "binding refused");
        } else {
            warn!(pod = %pod.key, node = &*node, error = text, "binding failed, trying again after a back-off");
        }
        self.core.bind_failed(&pod, self.clock.now());
    }
}

/// From `now` to `at`, zero when it is past.
fn until(now: Timestamp, at: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO)
}
