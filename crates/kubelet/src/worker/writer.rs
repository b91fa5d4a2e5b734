//! Writes the pod's status: only what changed, one write in flight per pod, the newest state next.

use std::sync::Arc;

use gantry_common::task;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use serde_json::Value;

use super::{Done, Worker, newer};
use crate::{
    pod::{self, patch, plan},
    runtime::Container,
};

/// After a failed write.
const RETRY: SignedDuration = SignedDuration::from_secs(2);

impl Worker {
    /// Starts a write if the status differs from what the API has.
    pub(super) fn write_status(&mut self, containers: &[Container]) {
        let gone = matches!(&self.local.ending, Some(e) if e.cause == pod::state::Cause::Orphaned);
        let waiting = self.write_after.is_some_and(|at| self.deps.clock.now() < at);
        if self.writing || gone || self.local.torn_down || waiting {
            return;
        }
        self.write_after = None;
        let status = self.status(containers);
        self.tell_backoffs(containers);
        self.tell_held_pulls();
        let old = serde_json::to_value(&self.pod.status).unwrap_or_default();
        let new = serde_json::to_value(&status).unwrap_or_default();
        let Some(patch) = patch::status(&self.uid, &old, &new) else { return };
        self.send(patch);
    }

    fn send(&mut self, patch: Value) {
        self.writing = true;
        let (deps, pod, results) = (Arc::clone(&self.deps), Arc::clone(&self.pod), self.results_in.clone());
        task::spawn("pod-status", async move {
            let result = deps.api.patch_status(&pod, patch).await;
            // The worker may have ended meanwhile.
            drop(results.send(Done::Written(Box::new(result))).await);
        });
    }

    pub(super) fn written(&mut self, result: Result<Option<Pod>, String>, now: Timestamp) {
        self.writing = false;
        match result {
            // The answer is newer than what the watch has told so far: without it the next difference would be wrong.
            Ok(Some(pod)) => {
                if newer(&pod, &self.pod) {
                    self.take(Arc::new(pod));
                }
            }
            // Gone, or another pod of this name: the watch will say so.
            Ok(None) => self.write_after = Some(now + RETRY),
            Err(error) => {
                tracing::warn!(pod = pod::full_name(&self.pod), error, "pod status could not be written, trying again");
                self.write_after = Some(now + RETRY);
            }
        }
    }

    /// One event for each pull that is being held back.
    fn tell_held_pulls(&mut self) {
        let now = self.deps.clock.now();
        let due = self.local.failures.iter().filter(|(_, f)| f.turns_at().is_some_and(|turns| now >= turns));
        let due: Vec<(String, Timestamp)> = due.map(|(name, failure)| (name.clone(), failure.at)).collect();
        for (name, at) in due {
            if self.told_pulls.get(&name) == Some(&at) {
                continue;
            }
            if let Some((_, spec)) = pod::find(&self.pod, &name) {
                let image = spec.image.as_deref().unwrap_or_default();
                let message = format!("Back-off pulling image \"{image}\"");
                self.deps.events.normal(&self.pod, &spec, "BackOff", &message);
                self.deps.events.warning(&self.pod, &spec, "Failed", "Error: ImagePullBackOff");
            }
            self.told_pulls.insert(name, at);
        }
    }

    /// One event for each restart that is being held back.
    fn tell_backoffs(&mut self, containers: &[Container]) {
        let now = self.deps.clock.now();
        let snapshot = pod::state::Snapshot { pod: &self.pod, containers, local: &self.local, now };
        let Some((name, attempt)) = plan::held_back(&snapshot) else { return };
        if self.last_backoff_event.as_ref() == Some(&(name.clone(), attempt)) {
            return;
        }
        if let Some((_, spec)) = pod::find(&self.pod, &name) {
            let full = pod::full_name(&self.pod);
            let message = format!("Back-off restarting failed container {name} in pod {full}");
            self.deps.events.warning(&self.pod, &spec, "BackOff", &message);
        }
        self.last_backoff_event = Some((name, attempt));
    }
}
