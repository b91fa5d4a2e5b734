//! Starts and ends the probes of the pod's containers, and takes their verdicts.

use std::{path::PathBuf, sync::Arc, time::Duration};

use futures::StreamExt;

use super::Worker;
use crate::{
    pod::{
        self,
        state::{Op, ProbeFailure, Probed},
    },
    probe::{self, Which},
    runtime::{Container, LogOptions, Role, State},
};

/// Bytes of a termination message; upstream's limits for a file and for the end of the log.
const MESSAGE_BYTES: usize = 4096;
const LOG_BYTES: usize = 2048;
const LOG_LINES: i64 = 80;
const LOG_TIMEOUT: Duration = Duration::from_secs(2);

impl Worker {
    /// Every running container has its probes, once its start is over (its start hook belongs to it).
    pub(super) fn follow_probes(&mut self, containers: &[Container]) {
        for container in containers.iter().filter(|c| c.role == Role::Container) {
            let State::Running { started } = container.state else { continue };
            let starting =
                self.local.busy.contains(&Op::Start) && self.local.starting.as_ref() == Some(&container.name);
            let known = self.local.probed.contains_key(&container.id);
            let Some((kind, spec)) = pod::find(&self.pod, &container.name) else { continue };
            // An ephemeral container has none.
            if kind == pod::Kind::Ephemeral || starting || known || self.local.stopping.contains_key(&container.id) {
                continue;
            }
            // What was true before the kubelet was restarted stays true until a probe says otherwise.
            let (was_started, was_ready) = self.before(&container.id);
            let first = Probed {
                started: was_started || spec.startup_probe.is_none(),
                ready: was_ready || spec.readiness_probe.is_none(),
                failed: None,
            };
            self.local.probed.insert(container.id.clone(), first);
            let subject = probe::Subject {
                pod: Arc::clone(&self.pod),
                spec: spec.into_owned(),
                id: container.id.clone(),
                ip: self.local.ip.or_else(|| self.deps.settings.host.ip.parse().ok()),
                started_at: started,
                started: was_started,
                ready: was_ready,
            };
            let probers = probe::start(&self.deps.probes, &subject, &self.reports_in);
            self.probers.insert(container.id.clone(), probers);
        }
    }

    /// What the API says of this very container: started, ready.
    fn before(&self, id: &str) -> (bool, bool) {
        let wanted = format!("docker://{id}");
        let status = self.pod.status.as_ref();
        let lists = status.map(|s| [&s.container_statuses, &s.init_container_statuses]);
        let mut all = lists.into_iter().flatten().flatten().flatten();
        let found = all.find(|c| c.container_id.as_ref() == Some(&wanted));
        found.map_or((false, false), |c| (c.started == Some(true), c.ready))
    }

    pub(super) fn take_report(&mut self, report: &probe::Report) {
        let name = self.deps.observed.of(&self.uid).into_iter().find(|c| c.id == report.id).map(|c| c.name);
        let spec = name.and_then(|name| pod::find(&self.pod, &name).map(|(_, spec)| spec.into_owned()));
        let Some(probed) = self.local.probed.get_mut(&report.id) else { return };
        match (report.which, report.success) {
            (Which::Readiness, ready) => probed.ready = ready,
            (Which::Startup, true) => probed.started = true,
            (Which::Liveness, true) => {}
            (which, false) => {
                let probe = spec.as_ref().and_then(|spec| match which {
                    Which::Startup => spec.startup_probe.as_ref(),
                    _ => spec.liveness_probe.as_ref(),
                });
                let grace_seconds = probe.and_then(|p| p.termination_grace_period_seconds);
                probed.failed = Some(ProbeFailure { probe: which.word(), grace_seconds });
            }
        }
    }

    /// Reads what ended containers left as their last words, once.
    pub(super) async fn read_last_words(&mut self, containers: &[Container]) {
        for container in containers.iter().filter(|c| c.role == Role::Container) {
            let Some(exit) = container.exit() else { continue };
            if self.local.messages.contains_key(&container.id) {
                continue;
            }
            let spec = pod::find(&self.pod, &container.name).map(|(_, spec)| spec);
            let path = termination_file(&self.deps.volumes.pod_dir(&self.uid), &container.name, container.attempt);
            let mut text = std::fs::read(path).map(|bytes| tail(&bytes, MESSAGE_BYTES)).unwrap_or_default();
            let policy = spec.as_ref().and_then(|spec| spec.termination_message_policy.as_deref());
            if text.is_empty() && exit.code != 0 && policy == Some("FallbackToLogsOnError") {
                text = self.end_of_log(&container.id).await;
            }
            self.local.messages.insert(container.id.clone(), text);
        }
    }

    async fn end_of_log(&self, id: &str) -> String {
        let options = LogOptions { tail: Some(LOG_LINES), ..LogOptions::default() };
        let read = async {
            let mut bytes = Vec::new();
            let Ok(mut stream) = self.deps.runtime.logs(id, &options).await else { return bytes };
            while let Some(Ok(chunk)) = stream.next().await {
                bytes.extend_from_slice(&chunk.into_bytes());
            }
            bytes
        };
        tokio::time::timeout(LOG_TIMEOUT, read).await.map(|bytes| tail(&bytes, LOG_BYTES)).unwrap_or_default()
    }
}

/// The file that a container's termination message is bound to.
pub(super) fn termination_file(pod_dir: &std::path::Path, name: &str, attempt: u32) -> PathBuf {
    pod_dir.join("containers").join(name).join(attempt.to_string())
}

fn tail(bytes: &[u8], limit: usize) -> String {
    let from = bytes.len().saturating_sub(limit);
    String::from_utf8_lossy(bytes.get(from..).unwrap_or_default()).into_owned()
}
