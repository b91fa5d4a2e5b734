//! Startup, liveness and readiness probes: one task per probe of a running container, its verdicts told to the worker.

mod action;
mod counter;
mod figures;

use std::{net::Ipv4Addr, sync::Arc, time::Duration};

use gantry_common::{clock::SharedClock, task};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container as Spec, Pod, Probe};
use tokio::{
    sync::{mpsc, watch},
    task::JoinHandle,
};

pub(crate) use action::{Answer, Target, http_get};
use counter::{Counter, Verdict};
pub(crate) use figures::Figures;

use crate::{events::Events, exec::Commands};

/// Which of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    /// Holds the others back until it succeeds.
    Startup,
    /// A container that fails it is restarted.
    Liveness,
    /// A container that fails it gets no traffic.
    Readiness,
}

impl Which {
    fn title(self) -> &'static str {
        match self {
            Self::Startup => "Startup",
            Self::Liveness => "Liveness",
            Self::Readiness => "Readiness",
        }
    }

    /// As in `failed liveness probe`.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Startup => "startup",
            Self::Liveness => "liveness",
            Self::Readiness => "readiness",
        }
    }
}

/// A probe changed its mind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    /// The container's identifier.
    pub(crate) id: String,
    /// Which probe.
    pub(crate) which: Which,
    /// What it says now.
    pub(crate) success: bool,
}

/// What a prober needs.
pub(crate) struct Context {
    pub(crate) commands: Arc<Commands>,
    pub(crate) events: Arc<Events>,
    pub(crate) clock: SharedClock,
    pub(crate) figures: Figures,
}

/// The container that is probed.
#[derive(Clone)]
pub(crate) struct Subject {
    pub(crate) pod: Arc<Pod>,
    pub(crate) spec: Spec,
    pub(crate) id: String,
    pub(crate) ip: Option<Ipv4Addr>,
    pub(crate) started_at: Timestamp,
    /// Its startup probe has succeeded before the kubelet started.
    pub(crate) started: bool,
    /// It was ready before the kubelet started.
    pub(crate) ready: bool,
}

/// The tasks of one container; they end with this.
pub(crate) struct Probers {
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Probers {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

/// Starts the container's probes.
pub(crate) fn start(context: &Arc<Context>, subject: &Subject, reports: &mpsc::Sender<Report>) -> Probers {
    let spec = &subject.spec;
    let began = subject.started || spec.startup_probe.is_none();
    let (up, started) = watch::channel(began);
    let mut tasks = Vec::new();
    let all = [
        (Which::Startup, &spec.startup_probe),
        (Which::Liveness, &spec.liveness_probe),
        (Which::Readiness, &spec.readiness_probe),
    ];
    let up = Arc::new(up);
    for (which, probe) in all {
        let Some(probe) = probe.clone() else { continue };
        if which == Which::Startup && began {
            continue;
        }
        let run = Run {
            context: Arc::clone(context),
            subject: subject.clone(),
            which,
            probe,
            reports: reports.clone(),
            up: Arc::clone(&up),
        };
        tasks.push(task::spawn("probe", run.run(started.clone())));
    }
    Probers { tasks }
}

struct Run {
    context: Arc<Context>,
    subject: Subject,
    which: Which,
    probe: Probe,
    reports: mpsc::Sender<Report>,
    up: Arc<watch::Sender<bool>>,
}

impl Drop for Run {
    fn drop(&mut self) {
        self.context.figures.forget(&self.subject, self.which);
    }
}

fn positive(value: Option<i32>, default: u64) -> u64 {
    value.and_then(|v| u64::try_from(v).ok()).filter(|v| *v > 0).unwrap_or(default)
}

impl Run {
    async fn run(self, mut started: watch::Receiver<bool>) {
        if self.which != Which::Startup && started.wait_for(|up| *up).await.is_err() {
            return;
        }
        self.initial_delay().await;
        let period = Duration::from_secs(positive(self.probe.period_seconds, 10));
        let successes = positive(self.probe.success_threshold, 1);
        let failures = positive(self.probe.failure_threshold, 3);
        let before = (self.which == Which::Readiness && self.subject.ready).then_some(true);
        let mut counter = Counter::new(successes, failures, before);
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let answer = self.ask().await;
            self.context.figures.count(&self.subject, self.which, &answer);
            let success = matches!(answer, Answer::Success);
            if let Answer::Failure(output) | Answer::Error(output) = &answer {
                let message = format!("{} probe failed: {output}", self.which.title());
                self.context.events.warning(&self.subject.pod, &self.subject.spec, "Unhealthy", &message);
            }
            match counter.observe(success) {
                Verdict::Unchanged => continue,
                Verdict::Success => self.tell(true).await,
                Verdict::Failure => self.tell(false).await,
            }
            match (self.which, success) {
                (Which::Startup, true) => {
                    self.up.send_replace(true);
                    return;
                }
                // The worker stops the container now; its end ends this task.
                (Which::Startup | Which::Liveness, false) => return,
                _ => {}
            }
        }
    }

    /// Counted from the container's start, so that an adopted container is not spared anew.
    async fn initial_delay(&self) {
        let delay = SignedDuration::from_secs(i64::from(self.probe.initial_delay_seconds.unwrap_or(0)));
        let left = (self.subject.started_at + delay).duration_since(self.context.clock.now());
        if let Ok(left) = Duration::try_from(left) {
            tokio::time::sleep(left).await;
        }
    }

    async fn ask(&self) -> Answer {
        let timeout = Duration::from_secs(positive(self.probe.timeout_seconds, 1));
        let target = Target {
            commands: &self.context.commands,
            id: &self.subject.id,
            spec: &self.subject.spec,
            ip: self.subject.ip,
        };
        action::probe(&target, &self.probe, timeout).await
    }

    /// The worker ends before its probes only when the pod is gone.
    async fn tell(&self, success: bool) {
        let report = Report { id: self.subject.id.clone(), which: self.which, success };
        drop(self.reports.send(report).await);
    }
}
