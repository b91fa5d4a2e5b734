//! When what changed the endpoints of a service happened, for those who measure how long it takes until traffic follows.
//!
//! Rules: k8s.io/endpointslice util, trigger_time_tracker.go.

use std::collections::BTreeMap;
use std::sync::Arc;

use gantry_client::Key;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Service};
use parking_lot::Mutex;

use crate::pods;

/// What was seen of services when they were last looked at.
#[derive(Debug, Default)]
pub(super) struct Triggers(Mutex<BTreeMap<Key, Seen>>);

#[derive(Debug)]
struct Seen {
    service: Option<Timestamp>,
    /// By name: when a pod became ready, or ceased to be.
    pods: BTreeMap<String, Timestamp>,
}

impl Triggers {
    /// When the first of what has changed since the last look happened, if anything has that has a time; of a service that was
    /// never looked at, when it was made.
    pub(super) fn changed(&self, key: &Key, service: &Service, pods: &[Arc<Pod>]) -> Option<Timestamp> {
        let name = |pod: &Arc<Pod>| pod.metadata.name.clone().unwrap_or_default();
        let now = Seen {
            service: service.metadata.creation_timestamp.as_ref().map(|time| time.0),
            pods: pods.iter().filter_map(|pod| Some((name(pod), pods::turned(pod)?))).collect(),
        };
        let mut all = self.0.lock();
        let changed = match all.get(key) {
            None => now.service,
            Some(before) => {
                let is_later = |name: &String, at: &Timestamp| before.pods.get(name).is_none_or(|last| at > last);
                let of_pods = now.pods.iter().filter(|(name, at)| is_later(name, at)).map(|(_, at)| *at).min();
                let of_service = now.service.filter(|at| before.service.is_none_or(|last| *at > last));
                of_pods.into_iter().chain(of_service).min()
            }
        };
        all.insert(key.clone(), now);
        changed
    }

    /// Forgets a service that is gone.
    pub(super) fn forget(&self, key: &Key) {
        self.0.lock().remove(key);
    }
}
