//! Takes back what pods say of an eviction that did not happen.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use gantry_client::{Change, Client, Key, Patch};
use gantry_common::clock::SharedClock;
use gantry_controller::{Doing, Error, Outcome, Reconciler, Runner};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use crate::{context::Context, pods, readers::Readers};

/// How long a pod may say that it is to be disrupted without being asked to go.
const TIMEOUT: Duration = Duration::from_secs(120);
const CONDITION: &str = "DisruptionTarget";

/// Runs until it is stopped.
pub(super) async fn run(context: &Context) {
    let readers = Arc::clone(&context.readers);
    let runner = Runner::new("stale-pod-disruption", 1, context.stop.clone()).watch(&readers.pods, for_pod);
    let (client, clock) = (context.client.clone(), Arc::clone(&context.clock));
    runner.run(Arc::new(Controller { client, clock, readers })).await;
}

fn for_pod(change: &Change<Pod>) -> Vec<Key> {
    let says = change.new.as_deref().is_some_and(|pod| since(pod).is_some());
    says.then(|| change.key.clone()).into_iter().collect()
}

/// Since when the pod says that it is to be disrupted, where that can turn out to be wrong.
fn since(pod: &Pod) -> Option<Timestamp> {
    let condition = pods::condition(pod, CONDITION).filter(|c| c.status == "True")?;
    // The kubelet says so long before the pod ends.
    let by_kubelet = condition.reason.as_deref() == Some("TerminationByKubelet");
    let ends = pods::is_terminating(pod) || pods::is_terminal(pod) || by_kubelet;
    (!ends).then(|| condition.last_transition_time.as_ref().map_or(Timestamp::UNIX_EPOCH, |t| t.0))
}

/// The time until what the pod says is taken back.
pub(super) fn left(pod: &Pod, now: Timestamp) -> Option<Duration> {
    since(pod).map(|since| pods::until(now, since, TIMEOUT))
}

struct Controller {
    client: Client,
    clock: SharedClock,
    readers: Arc<Readers>,
}

#[async_trait]
impl Reconciler for Controller {
    async fn reconcile(&self, key: &Key) -> Result<Outcome, Error> {
        let now = self.clock.now();
        let Some(pod) = self.readers.pods.get(key) else { return Ok(Outcome::Done) };
        match left(&pod, now) {
            None => return Ok(Outcome::Done),
            Some(left) if !left.is_zero() => return Ok(Outcome::After(left)),
            Some(_) => {}
        }
        let now = Timestamp::from_second(now.as_second()).unwrap_or_default();
        let patch = json!({
            "metadata": {"uid": pod.metadata.uid, "resourceVersion": pod.metadata.resource_version},
            "status": {"conditions": [{
                "type": CONDITION, "status": "False", "reason": null, "message": null,
                "lastTransitionTime": now.to_string(),
            }]},
        });
        let api = self.client.namespaced::<Pod>(&key.namespace);
        match api.patch(&key.name, &Patch::Strategic(patch), Some("status")).await {
            Ok(_) => Ok(Outcome::Done),
            Err(error) if error.is_not_found() => Ok(Outcome::Done),
            Err(error) => Err(error).doing(|| format!("reset condition {CONDITION} of pod {key}")),
        }
    }
}
