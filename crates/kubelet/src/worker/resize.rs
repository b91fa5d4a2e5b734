//! Which resizes the node grants, and their carrying out.

use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;

use super::{Done, Worker};
use crate::{
    pod::{
        self, resize,
        resources::in_use,
        state::{Failure, Op},
    },
    runtime::Applied,
};

/// A resize that waits, or failed, is tried again after this.
const RETRY: SignedDuration = SignedDuration::from_secs(10);
/// One that the runtime does not carry out, though it says so, after this.
const LONG_RETRY: SignedDuration = SignedDuration::from_mins(10);

/// What each pod of the node was granted: CPU in thousandths, bytes of memory.
#[derive(Debug, Default)]
pub(crate) struct Grants(Mutex<BTreeMap<String, (i64, i64)>>);

impl Grants {
    /// Notes what a pod has, whatever there is.
    fn hold(&self, uid: &str, amount: (i64, i64)) {
        self.0.lock().insert(uid.to_owned(), amount);
    }

    /// Begins with a pod: it has what it was granted before, whatever there is. A kubelet does so with all that it finds before
    /// it grants anything.
    pub(crate) fn begin(&self, pod: &Pod) {
        if !has_ended(pod) {
            let granted = resize::granted(pod);
            self.hold(&pod::reference(pod).uid, resize::requests(granted.as_ref().unwrap_or(pod)));
        }
    }

    /// Grants a pod another amount, or says why not.
    fn ask(&self, uid: &str, amount: (i64, i64), node: (i64, i64)) -> Option<resize::Waiting> {
        let mut held = self.0.lock();
        let had = held.get(uid).copied().unwrap_or_default();
        let grows = amount.0 > had.0 || amount.1 > had.1;
        let others = held.iter().filter(|(other, _)| *other != uid);
        let others = others.fold((0_i64, 0_i64), |sum, (_, a)| (sum.0.saturating_add(a.0), sum.1.saturating_add(a.1)));
        let waiting = if grows { resize::judge(amount, others, node) } else { None };
        if waiting.is_none() {
            held.insert(uid.to_owned(), amount);
        }
        waiting
    }

    /// A pod that has ended holds nothing.
    pub(super) fn release(&self, uid: &str) {
        self.0.lock().remove(uid);
    }
}

fn has_ended(pod: &Pod) -> bool {
    matches!(pod::phase(pod), "Succeeded" | "Failed")
}

impl Worker {
    /// Begins with a pod: it has what its containers were made with.
    pub(super) fn begin(&mut self) {
        self.deps.grants.begin(&self.pod);
        if let Some(granted) = resize::granted(&self.pod) {
            let asked = std::mem::replace(&mut self.pod, Arc::new(granted));
            self.take(asked);
        }
    }

    /// Takes over a later state of the pod. Resources that are not granted stay as they are.
    pub(super) fn take(&mut self, pod: Arc<Pod>) {
        self.asked = None;
        let before = self.local.waiting.take();
        if resize::same(&pod, &self.pod) {
            self.pod = pod;
            return;
        }
        let settings = &self.deps.settings;
        let node = (settings.cpu_milli, settings.memory_bytes);
        match self.deps.grants.ask(&self.uid, resize::requests(&pod), node) {
            None => {
                self.local.resizes.clear();
                self.pod = pod;
            }
            Some(waiting) => {
                if before.as_ref() != Some(&waiting) {
                    tracing::info!(pod = pod::full_name(&pod), reason = waiting.reason, "{}", waiting.message);
                }
                self.pod = Arc::new(resize::keep(&pod, &self.pod));
                self.asked = Some((pod, self.deps.clock.now() + RETRY));
                self.local.waiting = Some(waiting);
            }
        }
    }

    /// Asks again for what waits; room comes when other pods end.
    pub(super) fn ask_again(&mut self, now: Timestamp) {
        if let Some((pod, _)) = self.asked.take_if(|(_, at)| now >= *at) {
            self.take(pod);
        }
        if has_ended(&self.pod) {
            self.deps.grants.release(&self.uid);
        }
    }

    /// Gives a running container what it was granted.
    pub(super) fn resize(&mut self, id: String, name: &str) {
        let Some((_, spec)) = pod::find(&self.pod, name) else { return };
        let (deps, wanted) = (Arc::clone(&self.deps), in_use(&spec));
        self.spawn(Op::Touch(id.clone()), async move {
            let done = deps.runtime.update(&id, wanted).await;
            let seen = if done.is_ok() { deps.observed.refresh(&id).await } else { Ok(()) };
            Done::Resized(id, wanted, done.and(seen).map_err(|error| gantry_common::error_chain(&error)))
        });
    }

    pub(super) fn resized(&mut self, id: String, wanted: Applied, result: Result<(), String>, now: Timestamp) {
        self.local.busy.remove(&Op::Touch(id.clone()));
        let (message, pause) = match result {
            Err(message) => (message, RETRY),
            // Some kernels have no such limits, and the runtime says so in its own log alone.
            Ok(()) if self.differs(&id, wanted) => {
                ("the container runtime did not take it over".to_owned(), LONG_RETRY)
            }
            Ok(()) => return drop(self.local.resizes.remove(&id)),
        };
        tracing::warn!(container = id, error = message, "container could not be resized");
        let failure = Failure { reason: "Error", message, at: now, retry_at: now + pause };
        self.local.resizes.insert(id, failure);
    }

    /// Whether a running container has not got what it was given.
    fn differs(&self, id: &str, wanted: Applied) -> bool {
        self.deps.observed.of(&self.uid).iter().any(|c| c.id == id && c.running() && c.applied != wanted)
    }
}
