//! Gives every pod of the node its worker, and tells it what changed.

use std::{collections::BTreeMap, sync::Arc};

use gantry_client::{Change, Reader};
use k8s_openapi::{
    api::core::v1::{Pod, PodSpec},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use tokio::sync::mpsc;

use crate::{
    observe::Health,
    pod,
    runtime::{Container, PodRef},
    worker::{self, Deps, Handle, Input},
};

/// Workers' ends that may wait.
const ENDED: usize = 256;

/// The queues that feed the dispatcher.
pub(crate) struct Feeds {
    /// UIDs of pods whose containers changed.
    pub(crate) containers: mpsc::Receiver<String>,
    /// UIDs of pods whose ConfigMaps or Secrets changed.
    pub(crate) objects: mpsc::Receiver<Vec<String>>,
}

pub(crate) struct Dispatcher {
    deps: Arc<Deps>,
    pods: Reader<Pod>,
    workers: BTreeMap<String, Handle>,
    ended_in: mpsc::Sender<String>,
    ended: mpsc::Receiver<String>,
}

impl Dispatcher {
    pub(crate) fn new(deps: Arc<Deps>, pods: Reader<Pod>) -> Self {
        let (ended_in, ended) = mpsc::channel(ENDED);
        Self { deps, pods, workers: BTreeMap::new(), ended_in, ended }
    }

    /// Dispatches for ever. Nothing is started or stopped before both sides are fully known: a pod that the API has not
    /// told of yet must not be taken for one that was deleted.
    pub(crate) async fn run(mut self, mut feeds: Feeds) {
        let mut changes = self.pods.subscribe();
        self.wait_for_both_sides(&mut feeds).await;
        let pods = self.pods.list();
        // Before one of them grows into what others have.
        for pod in &pods {
            self.deps.grants.begin(pod);
        }
        for pod in pods {
            self.present(pod);
        }
        self.adopt_orphans();
        loop {
            tokio::select! {
                change = changes.next() => self.changed(change),
                Some(uid) = feeds.containers.recv() => self.containers_changed(&uid),
                Some(uids) = feeds.objects.recv() => {
                    for handle in uids.iter().filter_map(|uid| self.workers.get(uid)) {
                        handle.refresh();
                    }
                }
                Some(uid) = self.ended.recv() => self.worker_ended(&uid),
            }
        }
    }

    /// The queues are bounded: what arrives meanwhile is taken off them, and found again in the lists.
    async fn wait_for_both_sides(&self, feeds: &mut Feeds) {
        let mut health = self.deps.observed.health();
        let ready = async {
            self.pods.synced().await;
            if let Some(services) = &self.deps.services {
                services.synced().await;
            }
            drop(health.wait_for(|h| *h == Health::Up).await);
        };
        tokio::pin!(ready);
        loop {
            tokio::select! {
                () = &mut ready => return,
                Some(_) = feeds.containers.recv() => {}
                Some(_) = feeds.objects.recv() => {}
            }
        }
    }

    fn changed(&mut self, change: Change<Pod>) {
        let uid = |pod: &Option<Arc<Pod>>| pod.as_ref().map(|pod| pod::reference(pod).uid);
        let (old, new) = (uid(&change.old), uid(&change.new));
        if let Some(old) = old.filter(|old| Some(old) != new.as_ref())
            && let Some(handle) = self.workers.get(&old)
        {
            handle.send(Input::Gone);
        }
        if let Some(pod) = change.new {
            self.present(pod);
        }
    }

    fn present(&mut self, pod: Arc<Pod>) {
        let uid = pod::reference(&pod).uid;
        match self.workers.get(&uid) {
            Some(handle) => handle.send(Input::Present(pod)),
            None => {
                let handle = worker::spawn(&self.deps, &pod, false, self.ended_in.clone());
                self.workers.insert(uid, handle);
            }
        }
    }

    fn containers_changed(&mut self, uid: &str) {
        match self.workers.get(uid) {
            Some(handle) => handle.wake(),
            // Somebody else's, or left over: only the runtime knows it.
            None if !self.deps.observed.of(uid).is_empty() => self.orphan(uid),
            None => {}
        }
    }

    /// What was left of pods that were deleted while the kubelet was away.
    fn adopt_orphans(&mut self) {
        let mut all = self.deps.observed.uids();
        all.extend(self.deps.volumes.known_pods());
        all.extend(self.deps.network.holders());
        for uid in all {
            if !self.workers.contains_key(&uid) {
                self.orphan(&uid);
            }
        }
    }

    fn orphan(&mut self, uid: &str) {
        let pod = Arc::new(remembered(uid, &self.deps.observed.of(uid)));
        tracing::info!(pod = pod::full_name(&pod), "pod is gone from the API, removing what is left of it");
        let handle = worker::spawn(&self.deps, &pod, true, self.ended_in.clone());
        self.workers.insert(uid.to_owned(), handle);
    }

    fn worker_ended(&mut self, uid: &str) {
        self.workers.remove(uid);
        // It may have come back under the same UID: an API server that was restored from a backup.
        let back = self.pods.list().into_iter().find(|pod| pod.metadata.uid.as_deref() == Some(uid));
        if let Some(pod) = back {
            self.present(pod);
        }
    }
}

/// What the containers' labels tell of a pod.
fn remembered(uid: &str, containers: &[Container]) -> Pod {
    let known = containers.first();
    let reference = known.map_or_else(|| PodRef { uid: uid.to_owned(), ..PodRef::default() }, |c| c.pod.clone());
    Pod {
        metadata: ObjectMeta {
            name: Some(reference.name),
            namespace: Some(reference.namespace),
            uid: Some(reference.uid),
            ..ObjectMeta::default()
        },
        spec: Some(PodSpec { termination_grace_period_seconds: known.map(|c| c.grace_seconds), ..PodSpec::default() }),
        status: None,
    }
}
