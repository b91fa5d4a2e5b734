//! Deletes pods that do not tolerate a `NoExecute` taint of their node, or no longer.

mod plan;

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use gantry_client::{
    Change, Client, DeleteParams, Key, Object, Patch,
    events::{EventType, Recorder, reference},
};
use gantry_controller::{Doing, Error, Outcome, Reconciler, Runner};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Pod};
use parking_lot::Mutex;
use serde_json::json;

use self::plan::{Verdict, executing, judge};
use crate::{
    context::Context,
    pods,
    readers::{self, Readers},
};

/// Starts the controller; resolves when it stopped.
pub(super) async fn run(context: Context) {
    let readers = Arc::clone(&context.readers);
    let (for_pods, for_nodes) = (Arc::clone(&readers), Arc::clone(&readers));
    let runner = Runner::new("taint-eviction", 8, context.stop.clone())
        .watch(&readers.pods, move |change| for_pod(&for_pods, change))
        .watch(&readers.nodes, move |change| for_node(&for_nodes, change));
    let controller = Controller {
        client: context.client.clone(),
        recorder: context.recorder("taint-eviction-controller"),
        context,
        waiting: Mutex::default(),
    };
    runner.run(Arc::new(controller)).await;
}

/// A pod that came to a tainted node, changed there or left.
fn for_pod(readers: &Readers, change: &Change<Pod>) -> Vec<Key> {
    let tolerations = |pod: &Option<Arc<Pod>>| pod.as_ref().and_then(|p| p.spec.as_ref()?.tolerations.clone());
    let node = |pod: &Option<Arc<Pod>>| pod.as_ref().map(|p| (p.uid().to_owned(), pods::node(p).to_owned()));
    if node(&change.old) == node(&change.new) && tolerations(&change.old) == tolerations(&change.new) {
        return Vec::new();
    }
    let tainted = |pod: &Arc<Pod>| {
        let node = readers.nodes.get(&Key::cluster(pods::node(pod)));
        node.is_some_and(|n| !executing(&n).is_empty())
    };
    let concerned = change.new.is_none() || change.new.as_ref().is_some_and(tainted);
    concerned.then(|| change.key.clone()).into_iter().collect()
}

fn for_node(readers: &Readers, change: &Change<Node>) -> Vec<Key> {
    let taints = |node: &Option<Arc<Node>>| node.as_deref().map(executing).unwrap_or_default();
    if taints(&change.old) == taints(&change.new) {
        return Vec::new();
    }
    readers.pods.by_index(readers::NODE, &change.key.name).iter().map(|p| p.key()).collect()
}

struct Controller {
    context: Context,
    client: Client,
    recorder: Recorder,
    /// Pods that will have to go, and since when they are known to: one entry per such pod.
    waiting: Mutex<BTreeMap<Key, (String, Timestamp)>>,
}

#[async_trait]
impl Reconciler for Controller {
    async fn reconcile(&self, key: &Key) -> Result<Outcome, Error> {
        let readers = &self.context.readers;
        let Some(pod) = readers.pods.get(key).filter(|p| !pods::is_terminating(p)) else {
            self.waiting.lock().remove(key);
            return Ok(Outcome::Done);
        };
        let node = readers.nodes.get(&Key::cluster(pods::node(&pod)));
        let taints = node.as_deref().map(executing).unwrap_or_default();
        let now = self.context.clock.now();
        let known = self.waiting.lock().get(key).filter(|(uid, _)| uid == pod.uid()).map(|(_, since)| *since);
        match judge(&pod, &taints, known.unwrap_or(now), now) {
            Verdict::Stay => {
                if self.waiting.lock().remove(key).is_some() {
                    let message = format!("Cancelling deletion of Pod {key}");
                    self.recorder.event(&reference(&*pod), EventType::Normal, "TaintManagerEviction", message);
                }
                Ok(Outcome::Done)
            }
            Verdict::Wait(left) => {
                self.waiting.lock().insert(key.clone(), (pod.uid().to_owned(), known.unwrap_or(now)));
                Ok(Outcome::After(left))
            }
            Verdict::Go => {
                self.evict(key, &pod).await?;
                self.waiting.lock().remove(key);
                Ok(Outcome::Done)
            }
        }
    }
}

impl Controller {
    async fn evict(&self, key: &Key, pod: &Arc<Pod>) -> Result<(), Error> {
        let message = format!("Marking for deletion Pod {key}");
        self.recorder.event(&reference(&**pod), EventType::Normal, "TaintManagerEviction", message);
        let api = self.client.namespaced::<Pod>(&key.namespace);
        let now = Timestamp::from_second(self.context.clock.now().as_second()).unwrap_or_default();
        let patch = json!({"metadata": {"uid": pod.uid()}, "status": {"conditions": [{
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "DeletionByTaintManager",
            "message": "Taint manager: deleting due to NoExecute taint",
            "lastTransitionTime": now.to_string(),
        }]}});
        match api.patch(&key.name, &Patch::Strategic(patch), Some("status")).await {
            Ok(_) => {}
            Err(error) if error.is_not_found() => return Ok(()),
            Err(error) => return Err(error).doing(|| format!("mark pod {key} as disrupted")),
        }
        match api.delete(&key.name, &DeleteParams::default().uid(pod.uid())).await {
            Ok(()) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error).doing(|| format!("delete pod {key} from its tainted node")),
        }
    }
}
